"""The kinds of targets that recipes know by a short name, one file each."""

from dogcm.targets.kinds import finer, profiles, reanalysis, sst, twin

MODULES = (finer, profiles, reanalysis, sst, twin)

__all__ = ["MODULES"]
