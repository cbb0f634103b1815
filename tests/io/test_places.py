"""Two-dimensional latitudes and longitudes where the grid's lines are no parallels."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.decomp import world
from dogcm.diagnostics.circulation_series import Circulation
from dogcm.io.series import SeriesFile


@pytest.mark.mpi
@pytest.mark.ranks(1, 2)
def test_datasets_and_series_say_where_values_lie(tmp_path):
    folder = Path(world().broadcast(str(tmp_path)))
    grid = dogcm.RotatedGrid(nx=24, ny=12, nz=2, pole=(200.0, 35.0), lat=(-60, 60))
    initial = {"temperature": 10.0, "salinity": 35.0}
    model = dogcm.Model(grid=grid, bathymetry=3000.0, initial=initial, time_step=600.0)
    ds, c = model.dataset(), Circulation(model)
    SeriesFile(folder / "series.nc", c.variables, c.axes, c.constants, model, {})
    if world().rank:
        assert ds is None
        return
    ds.to_netcdf(folder / "state.nc")
    with netCDF4.Dataset(folder / "state.nc") as data:
        for name, at in (("temperature", "c"), ("eta", "c"), ("u", "u"), ("v", "v")):
            pair = ("lat", "lon") if at == "c" else (f"lat_{at}", f"lon_{at}")
            assert data[name].coordinates == " ".join(pair)
            for where, values in zip(pair, model.horizontal.points(at)):
                assert data[where].dimensions == data[name].dimensions[-2:]
                np.testing.assert_array_equal(data[where][:], values)
            assert data[pair[0]].standard_name == "latitude"
            assert data[pair[1]].units == "degrees_east"
    with xr.open_dataset(folder / "state.nc") as data:
        assert {"lat", "lon"} <= set(data.temperature.coords)
        assert {"lat_v", "lon_v"} <= set(data.v.coords) and "lat" not in data.v.coords
    with netCDF4.Dataset(folder / "series.nc") as data:
        assert data["mixed_layer_depth"].coordinates == "lat lon"
        assert data["barotropic_streamfunction"].coordinates == "lat_q lon_q"
        assert data["basin_mask"].coordinates == "basin_name lat lon"
        np.testing.assert_array_equal(data["lon_q"][:], model.horizontal.points("q")[1])
        assert data["lat_q"].dimensions == data["barotropic_streamfunction"].dimensions[-2:]
