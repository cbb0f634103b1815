"""Where the command line prints its tables."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """Where tables go. A file or pipe gets enough width that no value is cut."""
    probe = Console(highlight=False)
    return probe if probe.is_terminal else Console(width=200, highlight=False)
