"""Water that becomes land, or is cut off, is told: how much, where, and what would keep it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.decomp import SerialCommunicator
from dogcm.grid import closed
from dogcm.grid.horizontal import LatLonGrid
from dogcm.setups import inputs
from dogcm.setups.registry import load_config
from dogcm.simulation.progress import start_table

# Two basins of 5 x 8 cells of 4 degrees, joined by one row in the middle.
GRID = {"nx": 12, "ny": 8, "lon": [20, 68], "lat": [0, 32], "layers": [50, 200, 750]}
STRAIT_ROW = slice(4, 5)


def sea_floor(strait: float) -> np.ndarray:
    depth = np.zeros((8, 12))
    depth[1:7, 1:5], depth[1:7, 6:11] = 900.0, 800.0
    depth[2, 3], depth[5, 8] = 950.0, 850.0
    depth[STRAIT_ROW, 5] = strait
    return depth


@pytest.fixture
def told(tmp_path):
    """What is told of a sea floor in a file on the model's own cells."""

    def tell(depth: np.ndarray, **changes) -> list:
        lat = ("lat", np.arange(2.0, 32.0, 4.0), {"units": "degrees_north"})
        lon = ("lon", np.arange(22.0, 68.0, 4.0), {"units": "degrees_east"})
        field = (("lat", "lon"), np.where(depth > 0, -depth, 100.0), {"units": "m"})
        xr.Dataset({"elevation": field}, {"lat": lat, "lon": lon}).to_netcdf(tmp_path / "t.nc")
        tree = {"grid": GRID, "bathymetry": {"source": "file", "path": str(tmp_path / "t.nc")}}
        config = load_config(tree, {f"bathymetry.{k}": v for k, v in changes.items()})
        found: list = []
        grids = inputs.horizontal_grid(config), inputs.vertical_grid(config)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            inputs.cell_thickness(config, *grids, told=found)
        assert [str(w.message) for w in said] == [t.text for t in found if t.cells > 2]
        return found

    return tell


def test_an_ocean_in_one_piece_has_nothing_to_tell(told):
    assert told(sea_floor(900.0)) == []


def test_a_basin_without_a_strait(told):
    (basin,) = told(sea_floor(0.0))
    assert basin.cells == 24
    for words in (
        "24 cells of water become land",
        "24 cells at lon 34.0, lat 10.0 (down to 950 m)",
        "bathymetry.remove_lakes: false",
        "bathymetry.straits",
    ):
        assert words in basin.text


def test_a_strait_closed_by_hand(told):
    edit = {"lat": [16, 20], "lon": [40, 44], "depth": 0.0}
    (basin,) = told(sea_floor(900.0), straits=[edit])
    assert "24 cells at lon 34.0, lat 10.0" in basin.text


def test_a_strait_too_shallow_for_a_cell(told):
    """Depth 20 m is below half of the smallest cell, 50 m: the strait is land, the basin stays."""
    thin, parted = told(sea_floor(20.0), min_depth=10.0, fill_holes=False)
    assert thin.cells == 1 and "lon 42.0, lat 18.0 (down to 20 m)" in thin.text
    assert "bathymetry.min_thickness" in thin.text and "bathymetry.min_depth" in thin.text
    assert parted.cells == 24 and "cut off from the ocean" in parted.text


def test_the_default_minimum_keeps_that_strait(told):
    assert told(sea_floor(20.0)) == []


def test_single_cells_are_told_in_the_start_table_alone(told):
    depth = sea_floor(900.0)
    depth[1, 2], depth[:, 11] = 0.0, 0.0
    depth[0, 2] = 500.0
    (lake,) = told(depth)
    assert lake.cells == 1 and "1 cell at lon 30.0, lat 2.0 (down to 500 m)" in lake.text


def test_the_start_table_says_so_also_of_a_sea_floor_given_in_python():
    grid = dogcm.CartesianGrid(nx=12, ny=8, dx=20e3, dy=20e3, layers=[50.0, 200.0], periodic=False)
    floor = np.minimum(sea_floor(0.0), 250.0)
    with pytest.warns(UserWarning, match="24 cells of water are cut off"):
        model = dogcm.Model(grid=grid, bathymetry=floor, comm=SerialCommunicator())
    table = start_table(model)
    assert "24 cells at x 30.0 km, y 30.0 km" in table and "deeper sea floor" in table


def test_of_many_bodies_the_largest_are_told_and_all_are_counted():
    """Single cells, and rows of 2, 3, 4 and 5 of them beside the ocean."""
    wet = np.zeros((20, 20))
    wet[0] = 1.0
    for row, length in enumerate((3, 5, 2, 4)):
        wet[2 + 2 * row, :length] = 1.0
    wet[10::2, ::2] = 1.0
    at = np.indices(wet.shape, dtype=float)
    places = closed.Places(at[0], at[1], " km", ("x", "y"), False, False)
    (told,) = closed.parts(100.0 * wet[None], places, "A strait joins them")
    assert told.cells == 2 + 3 + 4 + 5 + 50
    sizes = ("5 cells at x 0.0 km, y 4.0", "4 cells at x 0.0 km, y 8.0", "3 cells at", "2 cells at")
    assert [told.text.index(s) for s in sizes] == sorted(told.text.index(s) for s in sizes)
    assert "(down to 100 m); and 50 more bodies of water" in told.text


def test_one_row_from_pole_to_pole_is_counted_once():
    (found,) = closed.poles(LatLonGrid.regular(8, 1, lat=(-90, 90)), np.ones((2, 1, 8)))
    assert found.cells == 8
