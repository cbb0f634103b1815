"""What a component of the model is: what it declares, and how a configuration names it."""

from dogcm.components.base import Component, ParameterInfo, option, parameter
from dogcm.components.errors import ConfigError
from dogcm.components.registry import collect, kinds_of, known_parameters, make

__all__ = [
    "Component",
    "ConfigError",
    "ParameterInfo",
    "collect",
    "kinds_of",
    "known_parameters",
    "make",
    "option",
    "parameter",
]
