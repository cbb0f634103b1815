"""Verification cases of the field: ``dogcm verify cases``. One file a case."""

from dogcm.components import ConfigError, kinds_of
from dogcm.components.registry import make
from dogcm.verification.cases import (
    baroclinic_channel,
    cosine_bell,
    eady,
    inertial,
    internal_wave,
    kato_phillips,
    lock_exchange,
    manufactured,
    merry_go_round,
    overflow,
    seamount,
)
from dogcm.verification.cases.base import Bench, Case, Measure, Outcome, Panel

MODULES = (
    baroclinic_channel,
    cosine_bell,
    eady,
    inertial,
    internal_wave,
    kato_phillips,
    lock_exchange,
    manufactured,
    merry_go_round,
    overflow,
    seamount,
)


def ready(dear: bool = False) -> list[Case]:
    """The cases that ship, with their usual options; ``dear``: also those that take long."""
    kinds = [c for c in kinds_of(Case.slot).values() if issubclass(c, Case)]
    return [c() for c in kinds if dear or not c.dear]


def find(name: str) -> Case:
    """A case by its name, or ``package.module:Class``.

    Raises:
        ConfigError: no such case (with the nearest).
    """
    found = make(Case.slot, name, "case")
    if not isinstance(found, Case):
        raise ConfigError(f"case: there is none of the name {name!r}")
    return found


__all__ = ["Bench", "Case", "MODULES", "Measure", "Outcome", "Panel", "find", "ready"]
