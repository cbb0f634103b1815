"""Targets: what the model is compared with. Reanalysis, gridded observations, profiles, and finer
runs.

Readers and coarsening work with numpy on rank 0; :class:`Targets` hands each rank its tile when
asked.
"""

from dogcm.targets.clock import Clock, decode_times
from dogcm.targets.container import Sample, Targets
from dogcm.targets.errors import TargetError
from dogcm.targets.glorys import read_glorys
from dogcm.targets.gridded import TargetGrid, read_sst
from dogcm.targets.profiles import ProfileOperator, Profiles, gather_profiles, locate, read_profiles
from dogcm.targets.twin import Coarse, Coarsening, nesting_problems
from dogcm.targets.windows import TargetWindows

__all__ = [
    "Clock",
    "Coarse",
    "Coarsening",
    "ProfileOperator",
    "Profiles",
    "Sample",
    "TargetError",
    "TargetGrid",
    "TargetWindows",
    "Targets",
    "decode_times",
    "gather_profiles",
    "locate",
    "nesting_problems",
    "read_glorys",
    "read_profiles",
    "read_sst",
]
