"""Ready experiments: configurations, the inputs that they name, and starter data."""
