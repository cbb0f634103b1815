"""The components that have been defined, by slot and kind."""

from __future__ import annotations

from typing import Any

from dogcm.components.errors import ConfigError

# By slot, in the order of definition: the base class, and the kinds that have a name.
BASES: dict[str, Any] = {}
KINDS: dict[str, dict[str, Any]] = {}
# Learnable parameters of all classes that have been defined, by name.
PARAMETERS: dict[str, Any] = {}


def remember(component: Any) -> None:
    """Note a class that has just been defined; :class:`dogcm.components.Component` calls it.

    Raises:
        ConfigError: another class of its slot has the same kind.
    """
    if not component.slot:
        return
    if "slot" in vars(component):
        # A module that is loaded anew defines its slot anew.
        BASES[component.slot] = component
        KINDS.setdefault(component.slot, {})
        return
    if component.kind and "kind" in vars(component):
        kinds = KINDS[component.slot]
        other = kinds.get(component.kind)
        if other is not None and _place(other) != _place(component):
            raise ConfigError(
                f"two components of the slot {component.slot} are named {component.kind!r}: "
                f"{_place(other)} and {_place(component)}; rename one"
            )
        kinds[component.kind] = component
    if not component.labelled:
        for name, info in component.parameter_infos().items():
            PARAMETERS.setdefault(name, info)


def _place(component: Any) -> str:
    return f"{component.__module__}.{component.__qualname__}"
