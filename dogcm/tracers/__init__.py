"""Passive tracers: what the flow carries and mixes without being moved by it, and where it comes
from and goes.

A *kind* (:class:`TracerKind`) declares one or more tracers with their sources; a configuration
declares any number of kinds by name. A kind of one's own is named ``package.module:Class``, see
docs/passive_tracers.md.
"""

from dogcm.components import option, parameter
from dogcm.tracers.age import IdealAge
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water
from dogcm.tracers.dye import Dye
from dogcm.tracers.passive import NAMES_OF_STATE, PassiveTracers, make_kind
from dogcm.tracers.phosphorus import Phosphorus
from dogcm.tracers.radiocarbon import Radiocarbon
from dogcm.tracers.region import region
from dogcm.tracers.surface_history import SurfaceHistory

__all__ = [
    "NAMES_OF_STATE",
    "Dye",
    "IdealAge",
    "PassiveTracers",
    "Phosphorus",
    "Radiocarbon",
    "Sources",
    "SurfaceHistory",
    "TracerKind",
    "TracerVariable",
    "Water",
    "make_kind",
    "option",
    "parameter",
    "region",
]
