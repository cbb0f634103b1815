"""Pictures of what a run, a training or an evaluation has written."""
