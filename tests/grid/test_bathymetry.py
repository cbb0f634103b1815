"""Bathymetry: averaging, connectivity, holes, straits, and partial cells as in MITgcm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dogcm.grid import bathymetry
from dogcm.io.reading.reader import read
from dogcm.io.regrid import GriddedVariable, conservative_average

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mitgcm_4deg"
STARTER = Path(bathymetry.__file__).parents[1] / "setups" / "starter" / "bathymetry.nc"


def elevation(values):
    ny, nx = values.shape
    return GriddedVariable(
        values, -90 + 180 / ny * (np.arange(ny) + 0.5), 360 / nx * (np.arange(nx) + 0.5)
    )


def cell_means(source, lat, lon):
    return lambda values: conservative_average(
        values, source.lat_edges, source.lon_edges, lat, lon
    )[0]


def test_model_depth_means_and_ocean_fraction():
    z = np.full((4, 8), 100.0)
    z[:, :4] = -4000.0
    z[:, 2] = 500.0
    src = elevation(z)
    mean = cell_means(src, np.linspace(-90, 90, 3), np.linspace(0, 360, 5))
    wet = bathymetry.model_depth(src, mean)
    assert np.allclose(wet, [[4000.0, 4000.0, 0.0, 0.0]] * 2)
    cell = bathymetry.model_depth(src, mean, mean_over="cell")
    assert np.allclose(cell, [[4000.0, 2000.0, 0.0, 0.0]] * 2)
    strict = bathymetry.model_depth(src, mean, min_ocean_fraction=0.6)
    assert np.allclose(strict, [[4000.0, 0.0, 0.0, 0.0]] * 2)


def test_model_depth_mean_over_cell_keeps_volume_and_limits_hold():
    z = np.random.default_rng(1).uniform(-5000, -10, (36, 72))
    src, lat, lon = elevation(z), np.linspace(-90, 90, 14), np.linspace(0, 360, 17)
    depth = bathymetry.model_depth(src, cell_means(src, lat, lon), mean_over="cell")

    def volume(d, y, x):
        return (d * np.diff(np.sin(np.deg2rad(y)))[:, None] * np.diff(x)).sum()

    assert np.isclose(volume(depth, lat, lon), volume(-z, src.lat_edges, src.lon_edges), rtol=1e-12)
    cut = bathymetry.model_depth(src, cell_means(src, lat, lon), min_depth=2600.0, max_depth=2700.0)
    assert cut.min() >= 2600.0 and cut.max() <= 2700.0
    for wrong in ({"mean_over": "all"}, {"min_ocean_fraction": 2.0}):
        with pytest.raises(ValueError):
            bathymetry.model_depth(src, cell_means(src, lat, lon), **wrong)


BASINS = np.array(
    [[0, 0, 0, 0, 0, 0], [9, 0, 0, 5, 0, 9], [9, 0, 5, 0, 0, 9], [0, 0, 5, 0, 0, 0]], float
)


def test_remove_lakes_joins_across_the_seam_but_not_at_corners():
    assert (bathymetry.remove_lakes(BASINS) > 0).sum() == 4
    labels, count = bathymetry.label_basins(BASINS > 0)
    assert count == 3 and labels[1, 0] == labels[1, 5] and labels[1, 3] != labels[2, 2]
    assert bathymetry.label_basins(BASINS > 0, periodic_x=False)[1] == 4


def test_remove_lakes_seeds():
    out = bathymetry.remove_lakes(BASINS, seeds=[(2, 2)])
    assert np.argwhere(out > 0).tolist() == [[2, 2], [3, 2]]
    with pytest.raises(ValueError, match="lie on land"):
        bathymetry.remove_lakes(BASINS, seeds=[(0, 0)])
    with pytest.raises(ValueError, match="seeds"):
        bathymetry.remove_lakes(BASINS, seeds="biggest")


def test_fill_holes_raises_pits_and_leaves_what_is_in_one_level():
    edges = np.arange(0, 5001, 100.0)
    depth = np.full((5, 6), 1000.0)
    depth[2, 2], depth[2, 4] = 3000.0, 1000.0
    depth[0, 0] = 930.0
    out = bathymetry.fill_holes(depth, edges)
    assert out[2, 2] == 1000.0 and out[0, 0] == 930.0
    pair = np.full((5, 6), 1000.0)
    pair[2, 2:4] = 3000.0
    assert np.array_equal(bathymetry.fill_holes(pair, edges), pair)
    same_level = np.full((5, 6), 910.0)
    same_level[2, 2] = 990.0
    assert np.array_equal(bathymetry.fill_holes(same_level, edges), same_level)


def test_fill_holes_sees_the_seam_and_closes_inlets_on_demand():
    edges = np.arange(0, 5001, 100.0)
    depth = np.full((3, 5), 500.0)
    depth[1, 0] = depth[1, 4] = 2000.0
    assert np.array_equal(bathymetry.fill_holes(depth, edges), depth)
    assert bathymetry.fill_holes(depth, edges, periodic_x=False).max() == 500.0
    inlet = np.zeros((5, 5))
    inlet[1:4, 1:4] = 200.0
    inlet[2, 4] = 200.0
    assert bathymetry.fill_holes(inlet, edges, False)[2, 4] == 200.0
    assert bathymetry.fill_holes(inlet, edges, False, min_wet_neighbours=2)[2, 4] == 0.0
    lone = np.zeros((3, 3))
    lone[1, 1] = 300.0
    assert bathymetry.fill_holes(lone, edges, False).max() == 0.0
    assert bathymetry.fill_holes(lone, edges, False, min_wet_neighbours=0)[1, 1] == 300.0


def test_edit_straits_opens_closes_and_crosses_the_meridian():
    lat, lon = np.arange(-78.0, 79, 4), np.arange(2.0, 360, 4)
    depth = np.full((40, 90), 100.0)
    out = bathymetry.edit_straits(
        depth,
        [
            {"lat": [34, 38], "lon": [350, 6], "depth": 0, "name": "Gibraltar"},
            {"lat": [0, 4], "lon": [100, 104], "depth": 55.0},
        ],
        lat,
        lon,
    )
    closed = np.argwhere(out == 0)
    assert set(closed[:, 0]) == {28, 29} and set(closed[:, 1]) == {87, 88, 89, 0, 1}
    assert (out == 55.0).sum() == 1 and depth.min() == 100.0


@pytest.mark.parametrize(
    "edit, message",
    [
        ({"lat": [0, 1], "lon": [0, 9]}, "missing keys \\['depth'\\]"),
        ({"lat": [0, 9], "lon": [0, 9], "depth": 1, "deep": 2}, "unknown keys \\['deep'\\]"),
        ({"lat": [0.1, 0.2], "lon": [0, 9], "depth": 1}, "no cell centre"),
        ({"lat": [0, 9], "lon": [0, 9], "depth": -1}, "positive down"),
    ],
)
def test_edit_straits_refuses(edit, message):
    with pytest.raises(ValueError, match=message):
        bathymetry.edit_straits(
            np.ones((40, 90)), [edit], np.arange(-78.0, 79, 4), np.arange(2.0, 360, 4)
        )


def test_vertical_cells_thin_cells_are_kept_or_dropped():
    depth = np.array([[0.0, 24.0, 26.0, 100.0, 130.0, 124.0, 160.0, 999.0]])
    h = bathymetry.vertical_cells(depth, [100.0, 100.0], 0.05, 50.0)
    assert h[0, 0].tolist() == [0, 0, 50, 100, 100, 100, 100, 100]
    assert h[1, 0].tolist() == [0, 0, 0, 0, 50, 0, 60, 100]
    thin = bathymetry.vertical_cells(np.array([[12.0, 4.0]]), [20.0], 0.5, 50.0)
    assert thin[0, 0].tolist() == [20.0, 0.0]
    with pytest.raises(ValueError):
        bathymetry.vertical_cells(-depth, [100.0])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the MITgcm data of ../shared are not here")
def test_vertical_cells_equal_mitgcm():
    depth = -np.fromfile(SHARED / "bathymetry.bin", ">f4").reshape(40, 90).astype(float)
    dz = [50, 70, 100, 140, 190, 240, 290, 340, 390, 440, 490, 540, 590, 640, 690]
    h = bathymetry.vertical_cells(depth, dz, 0.05, 50.0)
    faces = np.sin(np.deg2rad(np.arange(-80, 81, 4)))
    area = (6370e3**2 * np.deg2rad(4) * np.diff(faces))[:, None]
    assert (h > 0).sum() == 29309
    assert np.isclose(((h[0] > 0) * area).sum(), 3.45061414665e14, rtol=2e-12)
    assert np.isclose((h * area).sum(), 1.32267824367e18, rtol=3e-12)


def test_starter_bathymetry_makes_a_believable_four_degree_ocean():
    source = read(STARTER, "elevation", field="elevation")
    lat, lon = np.linspace(-80, 80, 41), np.linspace(0, 360, 91)
    depth = bathymetry.model_depth(
        source, cell_means(source, lat, lon), min_depth=50.0, max_depth=5200.0
    )
    depth = bathymetry.remove_lakes(depth)
    area = np.diff(np.sin(np.deg2rad(lat)))[:, None] * np.ones(90)
    assert 0.64 < (area * (depth > 0)).sum() / area.sum() < 0.74
    assert 3500 < (area * depth).sum() / (area * (depth > 0)).sum() < 3950
    assert depth[5, 75] > 2000.0, "Drake Passage (58 S, 302 E) must be open and deep"
    assert depth[30, 12] == 0.0, "the Caspian Sea (42 N, 50 E) is not ocean"
