"""Forcing, bathymetry and initial state of a Cartesian grid from files of x and y."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io.reading.errors import InputError
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")

X, Y, Z = np.arange(10.0, 1200, 20), np.arange(10.0, 800, 20), np.array([0.0, 400.0, 1000.0])
KM = {"x": {"units": "km"}, "y": {"units": "km"}}
METRES = {
    "x": {"units": "m", "standard_name": "projection_x_coordinate"},
    "y": {"units": "m", "standard_name": "projection_y_coordinate"},
}


def write(path, name, values, unit, attrs=KM, dims=("y", "x"), **lead):
    factor = 1000.0 if attrs["x"].get("units") == "m" else 1.0
    axes = {"y": ("y", Y * factor, attrs["y"]), "x": ("x", X * factor, attrs["x"])}
    data = xr.Dataset({name: (dims, values, {"units": unit})}, {**axes, **lead})
    data.to_netcdf(path)
    return str(path)


def basin(**changes):
    return load_config(
        {
            "name": "basin",
            "grid": {
                "kind": "cartesian", "nx": 24, "ny": 16, "dx": 50e3, "dy": 50e3,
                "periodic": False, "layers": [200, 400, 600],
            },
            "bathymetry": {"source": "flat", "depth": 1200.0},
            "forcing": {"source": "none"},
            "run": {"output": {}},
        },
        changes,
    )  # fmt: skip


def grid(c):
    horizontal, vertical = inputs.horizontal_grid(c), inputs.vertical_grid(c)
    return horizontal, vertical, inputs.cell_thickness(c, horizontal, vertical)


@pytest.mark.parametrize("attrs", [KM, METRES])
@pytest.mark.parametrize("periodic", [False, True])
def test_a_wind_that_rises_across_the_basin(tmp_path, attrs, periodic):
    rise = 1e-4 * X + np.zeros((Y.size, 1))
    path = write(tmp_path / "wind.nc", "w", rise, "N m-2", attrs)
    own = {"taux": {"path": path, "variable": "w"}}
    c = basin(**{"forcing.files": own, "grid.periodic": periodic})
    horizontal, _, cells = grid(c)
    found = inputs.record(c, "taux", horizontal, cells[0] > 0)
    x = np.arange(24) * 50.0
    np.testing.assert_allclose(found[0, 8, 1:], 1e-4 * x[1:], atol=1e-12)
    # The western wall, or the middle between the two ends.
    assert found[0, 8, 0] == pytest.approx(1e-4 * 600 if periodic else 0.0)


def test_rivers(tmp_path):
    """They reach the nearest water, and only those of the basin."""
    flow = np.zeros((Y.size, X.size))
    flow[20, 2] = 1e-6  # on land, at x = 50 km
    path = write(tmp_path / "rivers.nc", "r", flow, "m s-1")
    slope = np.where(X < 130.0, 30.0, -1000.0) + np.zeros((Y.size, 1))
    floor = write(tmp_path / "floor.nc", "elevation", slope, "m")
    c = basin(**{
        "forcing.files": {"runoff": {"path": path, "variable": "r"}},
        "bathymetry.source": "file", "bathymetry.path": floor,
    })  # fmt: skip
    horizontal, _, cells = grid(c)
    found = inputs.record(c, "runoff", horizontal, cells[0] > 0)[0]
    assert np.argwhere(found > 0).tolist() == [[8, 2]]
    assert (found * 50e3**2).sum() == pytest.approx(1e-6 * 20e3**2)
    far = basin(**{"forcing.files": c.forcing.model_dump()["files"], "grid.y0": -7e5})
    horizontal, _, cells = grid(far)
    assert not inputs.record(far, "runoff", horizontal, cells[0] > 0).any()


def test_sea_floor_and_water(tmp_path):
    slope = -200.0 - X + np.zeros((Y.size, 1))
    slope[:, :5] = 30.0
    floor = write(tmp_path / "floor.nc", "elevation", slope, "m")
    t = (20.0 - 0.01 * Z)[:, None, None] + 1e-3 * X + np.zeros((3, Y.size, 1))
    depth = {"z": ("z", Z, {"units": "m", "positive": "down"})}
    path = write(tmp_path / "water.nc", "t", t, "degC", METRES, ("z", "y", "x"), **depth)
    c = basin(**{
        "bathymetry.source": "file", "bathymetry.path": floor, "initial.source": "file",
        "initial.path": path, "initial.temperature_variable": "t",
    })  # fmt: skip
    horizontal, vertical, cells = grid(c)
    wet = cells[0] > 0
    assert not wet[:, :2].any() and wet[:, 2:].all()
    centres = np.arange(24) * 50.0 + 25.0
    total = cells.sum(0)[8]
    open_sea = (total > 250) & (total < 1150)
    np.testing.assert_allclose(total[open_sea], 200.0 + centres[open_sea], atol=61.0)
    found = inputs.initial_tracer(c, "temperature", horizontal, vertical, cells)
    want = 20.0 - 0.01 * 100.0 + 1e-3 * centres
    np.testing.assert_allclose(found[0, 8, 2:], want[2:], atol=0.01)


def test_a_plane_needs_positions_with_units(tmp_path):
    rise = 1e-4 * X + np.zeros((Y.size, 1))
    bare = write(tmp_path / "a.nc", "w", rise, "N m-2", {"x": {}, "y": {}})

    def read(path, **more):
        c = basin(**{"forcing.files": {"taux": {"path": path, "variable": "w", **more}}})
        horizontal, _, cells = grid(c)
        return inputs.record(c, "taux", horizontal, cells[0] > 0)[0, 8, 1:]

    with pytest.raises(InputError, match="'y' gives no km: .*taux.units: {y: UNIT}"):
        read(bare)
    np.testing.assert_allclose(
        read(bare, units={"x": "km", "y": "km"}), 5e-3 * np.arange(1, 24), atol=1e-12
    )
    with pytest.raises(InputError, match="does not cover .* x from 0.0 to 1.2 km"):
        read(bare, units={"x": "m", "y": "m"})
    with xr.open_dataset(bare) as data:
        sphere = data.rename({"x": "lon", "y": "lat"})
        sphere.lon.attrs["units"], sphere.lat.attrs["units"] = "degrees_east", "degrees_north"
        sphere.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(
        InputError, match="no coordinate y, which a Cartesian grid needs.*axes: {y:"
    ):
        read(str(tmp_path / "b.nc"))
