"""What a component of the model is: what it declares, and how a configuration names it."""
