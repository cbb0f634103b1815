"""Surface fluxes: records interpolated in time, restoring, bulk formulae, light, fresh water, sea
ice."""

from dogcm.physics.surface.fluxes import (
    SurfaceFluxes,
    SurfaceScheme,
    global_mean,
    imbalance,
    surface_fluxes,
)
from dogcm.physics.surface.records import RECORDS, Forcing

__all__ = [
    "RECORDS",
    "Forcing",
    "SurfaceFluxes",
    "SurfaceScheme",
    "global_mean",
    "imbalance",
    "surface_fluxes",
]
