"""Learning: parameters, losses, rollouts, checkpointing, the optimiser loop, targets and scores."""
