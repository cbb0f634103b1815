"""What only the compiler cares about: its settings, barriers, replays and hand-made transposes."""
