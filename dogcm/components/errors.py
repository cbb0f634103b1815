"""The one exception of configurations that cannot be used."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says which key, why, and what to do."""
