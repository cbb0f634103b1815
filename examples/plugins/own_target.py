"""A reader of one's own for targets: sea level at the model's cells from a netCDF file.

A recipe names it ``targets: {kind: own_target:SeaLevel, path: sea_level.nc}``.
"""

import numpy as np
import xarray as xr

from dogcm import GriddedTruth, TargetError, Targets, option


class SeaLevel(GriddedTruth):
    """Sea level ``eta`` (time, y, x) in m on the model's grid; time in days of the model."""

    holds = ("eta",)
    path: str = option("", "1", "netCDF file")
    bias: float = option(0.0, "m", "taken off every value")

    def read(self, grid, names, year):
        with xr.open_dataset(self.path, decode_times=False) as data:
            if "eta" not in data:
                raise TargetError(f"targets.path: {self.path} has no variable eta")
            eta, days = data["eta"].values - self.bias, data["time"].values
        eta = np.where(grid.cells[0] > 0, eta, np.nan)
        return Targets(days * 86400.0, {"eta": eta})
