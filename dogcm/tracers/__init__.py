"""Passive tracers: what the flow carries and mixes without being moved by it, and where it comes
from and goes.

A *kind* (:class:`TracerKind`) declares one or more tracers with their sources; a configuration
declares any number of kinds by name. ``register`` adds kinds of your own, see
docs/passive_tracers.md.
"""

from dogcm.tracers import age, dye, phosphorus, surface_history  # noqa: F401  (they register themselves)
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water, option, parameter
from dogcm.tracers.kinds import KINDS, TracerError, make_kind, register, unit_of_option
from dogcm.tracers.passive import NAMES_OF_STATE, PassiveTracers

__all__ = [
    "KINDS",
    "NAMES_OF_STATE",
    "PassiveTracers",
    "Sources",
    "TracerError",
    "TracerKind",
    "TracerVariable",
    "Water",
    "make_kind",
    "option",
    "parameter",
    "unit_of_option",
    "register",
]
