"""A configuration from keywords: what ``Model(grid=..., vertical_mixing=..., ...)`` means."""

from __future__ import annotations

from typing import Any

from dogcm.components import Component, ConfigError
from dogcm.components.names import did_you_mean
from dogcm.setups.config import PhysicsConfig
from dogcm.setups.given import Given

_PLAIN = {
    "name": "name",
    "description": "description",
    "grid": "grid",
    "tracers": "tracers",
    "time_step": "time.step",
    "momentum_step": "time.momentum_step",
    "time_scheme": "time.scheme",
    "free_surface": "time.free_surface",
    "precision": "run.precision",
    "year": "forcing.year",
    "bulk": "forcing.bulk",
    "surface_fluxes": "forcing.fluxes",
}
_SECTIONS = ("bathymetry", "initial", "forcing")
KEYWORDS = (*_PLAIN, *_SECTIONS, "parameters", *PhysicsConfig.model_fields)


def from_keywords(keywords: dict[str, Any]) -> tuple[dict[str, Any], Given]:
    """Settings by dotted key, and the values that come as arrays or functions.

    Raises:
        ConfigError: an unknown keyword, with the nearest.
        InputError: an unknown variable of ``initial`` or ``forcing``.
    """
    settings: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, value in keywords.items():
        if name not in KEYWORDS:
            raise ConfigError(f"Model has no keyword {name!r}{did_you_mean(name, KEYWORDS)}")
        if name in _PLAIN:
            settings[_PLAIN[name]] = value
        elif name == "parameters":
            settings |= {f"parameters.{n}": v for n, v in value.items()}
        elif name in _SECTIONS:
            _section(name, value, settings, given)
        else:
            settings[f"physics.{name}"] = value
    return settings, Given(**given)


def _section(name: str, value: Any, settings: dict, given: dict) -> None:
    """Of the sea floor, the initial state or the forcing: settings, or values."""
    if isinstance(value, str):
        settings[f"{name}.source"] = value
    elif isinstance(value, dict) and ("source" in value or "path" in value):
        settings |= {f"{name}.{k}": v for k, v in value.items()}
    elif name == "bathymetry" and isinstance(value, int | float):
        settings |= {"bathymetry.source": "flat", "bathymetry.depth": float(value)}
    elif name != "bathymetry" and not isinstance(value, dict):
        raise ConfigError(f"{name}: give a dict of values by name, or the name of a source")
    else:
        settings[f"{name}.source"] = "given"
        given[name] = value


def plain(value: Any) -> Any:
    """A component as an entry of a configuration; anything else as it is."""
    return value.entry() if isinstance(value, Component) else value


__all__ = ["KEYWORDS", "from_keywords", "plain"]
