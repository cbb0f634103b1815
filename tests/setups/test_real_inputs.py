"""An ocean made of real files alone: ETOPO, the World Ocean Atlas, COADS, rivers of CORE."""

from __future__ import annotations

import gsw
import numpy as np
import pytest
import xarray as xr

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


@pytest.fixture(scope="module")
def ocean(request):
    data_dir = request.getfixturevalue("data_dir")
    files = {
        "floor": "ferret/etopo20.nc", "water": "woa18_5deg/woa18_annual_5deg.nc",
        "coads": "ferret/coads_monthly_2deg.nc", "rivers": "woa18_5deg/core2_runoff_1deg.nc",
    }  # fmt: skip
    files = {k: data_dir / v for k, v in files.items()}
    for path in files.values():
        if not path.is_file():
            pytest.skip(f"no {path}")
    own = {"path": str(files["water"]), "fill": "nearest"}
    c = load_config(
        "global_4deg",
        {
            "bathymetry.source": "file", "bathymetry.path": str(files["floor"]),
            "bathymetry.variable": "ROSE", "bathymetry.sign": "up", "initial.source": "file",
            "initial.path": str(files["water"]), "forcing.source": "file",
            "initial.temperature_file": {**own, "variable": "temp"},
            "initial.salinity_file": {**own, "variable": "salt"},
            "forcing.files": {
                "sst": {"path": str(files["coads"]), "variable": "SST", "fill": "nearest"},
                "runoff": {"path": str(files["rivers"]), "variable": "runoff"},
            },
        },
    )  # fmt: skip
    horizontal, vertical = inputs.horizontal_grid(c), inputs.vertical_grid(c)
    return c, files, horizontal, vertical, inputs.cell_thickness(c, horizontal, vertical)


def test_sea_floor(ocean):
    *_, horizontal, _, cells = ocean
    wet = cells[0] > 0
    area = horizontal.metrics(np.arange(40), np.arange(90)).area_c
    assert 0.6 < (area * wet).sum() / area.sum() < 0.75
    assert 3300 < (area * cells.sum(0)).sum() / (area * wet).sum() < 4100


def test_water_is_converted(ocean):
    c, files, horizontal, vertical, cells = ocean
    found = [inputs.initial_tracer(c, n, horizontal, vertical, cells)
             for n in ("temperature", "salinity")]  # fmt: skip
    lat, lon = horizontal.coordinates()["lat"][0], horizontal.coordinates()["lon"][0]
    j, i = np.argmin(np.abs(lat - 2.0)), np.argmin(np.abs(lon - 202.0))
    z = vertical.centres[cells[:, j, i] > 0]
    with xr.open_dataset(files["water"]) as data:
        there = data.interp(lat=lat[j], lon=lon[i], depth=z)
        p = gsw.p_from_z(-z, lat[j])
        SA = gsw.SA_from_SP(there.salt.values, p, lon[i], lat[j])
        CT = gsw.CT_from_t(SA, there.temp.values, p)
    np.testing.assert_allclose(found[0][: len(z), j, i], CT, atol=0.05)
    np.testing.assert_allclose(found[1][: len(z), j, i], SA, atol=0.01)


def test_months_and_rivers(ocean):
    c, files, horizontal, _, cells = ocean
    sst = inputs.record(c, "sst", horizontal, cells[0] > 0)
    lat = horizontal.coordinates()["lat"][0]
    north = np.where(cells[0] > 0, sst, np.nan)[:, (lat > 30) & (lat < 50)]
    warmest = np.nanmean(north, axis=(1, 2)).argmax()
    assert sst.shape[0] == 12 and warmest in (7, 8)  # August, September
    area = horizontal.metrics(np.arange(40), np.arange(90)).area_c
    rivers = (inputs.record(c, "runoff", horizontal, cells[0] > 0) * area).sum()
    assert rivers == pytest.approx(1.26e6, rel=0.05)  # m3 s-1
