"""Running an ocean: the model, the loop of a run, its tables, progress and folder."""
