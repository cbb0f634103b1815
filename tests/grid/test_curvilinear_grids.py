"""Rotated and tripolar grids: areas, distances, angles, inputs on them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import Halo, fold
from dogcm.grid.curvilinear import RotatedGrid, unit
from dogcm.grid.horizontal import LatLonGrid
from dogcm.grid.tripolar import TripolarGrid
from dogcm.io.curvilinear import sampled_mean
from dogcm.io.regrid import conservative_average
from dogcm.plots.curvilinear import on_parallels
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

POLE = (200.0, 35.0)


def all_of(grid, more=0):
    ny, nx = grid.shape
    return grid.metrics(np.arange(ny + more), np.arange(nx))


def sphere_north_of(grid, lat):
    return 2 * np.pi * grid.radius**2 * (1 - np.sin(np.deg2rad(lat)))


@pytest.mark.parametrize(
    "options",
    [
        dict(nx=48, ny=36),
        dict(nx=48, ny=36, join=55.0, pole=-20.0, south=-70.0),
        dict(nx=90, ny=80, mercator=True, south=-75.0),
    ],
)
def test_areas_of_a_tripolar_grid_are_those_of_the_sphere(options):
    """Each cell counted once, and so is each dual cell, to the round-off of the quadrature."""
    grid = TripolarGrid(**options)
    m, nx = all_of(grid), grid.nx
    once = np.ones(grid.shape)
    once[-1, nx // 2 :] = 0
    assert abs((m.area_c * once).sum() / sphere_north_of(grid, grid.south) - 1) < 1e-11
    u_once = np.ones(grid.shape)
    u_once[-1, nx // 2 + 1 :] = 0
    # Around a pole of the grid a west face's cell is folded onto itself: half of it is the other
    # half.
    u_once[-1, [0, nx // 2]] = 0.5
    assert abs((m.area_u * u_once).sum() / sphere_north_of(grid, grid.south) - 1) < 1e-11
    first = 0.5 * (grid.lat_edges[0] + grid.lat_edges[1])
    # Around v the half row beyond the fold belongs to faces that are there already.
    for area in (m.area_v[1:], m.area_q[1:]):
        upper = 0.5 * m.area_c[-1].sum() * 0.5
        assert abs((area.sum() + upper) / sphere_north_of(grid, first) - 1) < 1e-2
    assert all(np.isfinite(getattr(m, n)).all() for n in m.names())
    assert all((getattr(m, n) > 0).all() for n in m.names() if n[:2] in ("dx", "dy", "ar"))


def test_metrics_go_on_beyond_the_fold_to_the_bit():
    grid = TripolarGrid(48, 36)
    m, more = all_of(grid), all_of(grid, 4)
    for name in m.names():
        if name[0] in "da":
            padded = fold.pad_north(getattr(m, name), name[-1], Halo(0, 4, 0, 0), False)
            np.testing.assert_array_equal(padded, getattr(more, name), err_msg=name)
    for at in "cuvq":
        lat, lon = grid.points(at)
        beyond = (
            fold.pad_north(lat, at, Halo(0, 4, 0, 0), False),
            fold.pad_north(lon, at, Halo(0, 4, 0, 0), False),
        )
        place = grid.points(at, np.arange(grid.ny + 4))
        np.testing.assert_allclose(unit(*beyond), unit(*place), atol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: TripolarGrid(24 * n, 18 * n),
        lambda n: RotatedGrid(LatLonGrid.regular(24 * n, 16 * n), POLE),
    ],
)
def test_distances_and_angles_are_those_between_places(make):
    """Great circles between neighbours: second order in the size of cells."""
    errors = []
    for n in (2, 4):
        grid = make(n)
        ny, nx = grid.shape
        c, m = unit(*grid.points("c")), all_of(grid)
        away = ~grid.dry() & (np.abs(grid.points("c")[0]) < 89)
        away &= (np.abs((np.arange(nx) * 2 / nx) % 1 - 0.5) < 0.4)[
            None, :
        ]  # not at the poles of the grid
        chord = np.linalg.norm(c - np.roll(c, 1, axis=1), axis=-1)
        distance = 2 * grid.radius * np.arcsin(0.5 * chord)
        ahead = unit(*grid.points("u", None, np.arange(1, nx + 1))) - unit(*grid.points("u"))
        lat, lon, angle = (
            np.deg2rad(a) if k < 2 else a
            for k, a in enumerate((*grid.points("c"), grid.angle("c")))
        )
        east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], -1)
        turned = np.arctan2((ahead * np.cross(c, east)).sum(-1), (ahead * east).sum(-1)) - angle
        off = np.abs(np.angle(np.exp(1j * turned)))
        errors.append((np.abs(distance / m.dx_u - 1)[away].max(), off[away].max()))
    (d1, a1), (d2, a2) = errors
    assert d2 < 0.02 and 3.0 < d1 / d2 < 5.5
    assert a2 < 0.02 and (3.0 < a1 / a2 < 5.5 or a1 < 1e-9)


def test_a_grid_rotated_onto_itself_is_the_plain_one():
    plain = LatLonGrid.regular(36, 17)
    a, b = all_of(RotatedGrid(plain)), all_of(plain)
    for name in a.names():
        shift = np.abs(getattr(a, name) - getattr(b, name))
        assert (
            np.minimum(shift, 360 - shift) if name.startswith("lon") else shift
        ).max() < 1e-9 * 10 ** (4 * ("a" == name[0]))
    assert np.abs(RotatedGrid(plain).angle("u")).max() < 1e-12


def test_the_rotated_pole_lies_where_it_was_put():
    grid = RotatedGrid(LatLonGrid.regular(36, 18, lat=(-90, 90)), POLE)
    lat, lon, _ = grid.positions(18.0, 7.0)
    assert abs(lat - POLE[1]) < 1e-9 and abs(lon - POLE[0]) < 1e-9
    lat, lon, angle = grid.positions(9.0, 0.0)
    # The grid's origin lies a quarter of a turn south of its pole, and its x points to the east
    # there.
    assert abs(lat - (POLE[1] - 90.0)) < 1e-9 or abs(lat - (90.0 - POLE[1])) < 1e-9
    assert abs(np.sin(angle)) < 1e-9


@pytest.mark.parametrize(
    "grid", [TripolarGrid(48, 36), RotatedGrid(LatLonGrid.regular(48, 32), POLE)]
)
def test_vectors_keep_their_direction(grid):
    """A wind that turns as a solid body about any axis has the same components in space."""
    axis = np.array([0.3, -0.8, 0.52])
    place = unit(*grid.points("c"))
    wind = np.cross(axis, place)
    lat, lon = (np.deg2rad(a) for a in grid.points("c"))
    east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], -1)
    along_x, along_y = grid.to_grid(
        (wind * east).sum(-1), (wind * np.cross(place, east)).sum(-1), "c"
    )
    step = 1e-5
    ny, nx = grid.shape
    ahead = (
        unit(*grid.positions(np.arange(ny)[:, None] + 0.5, np.arange(nx) + 0.5 + step)[:2]) - place
    )
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    away = np.abs(grid.points("c")[0]) < 89
    np.testing.assert_allclose(along_x[away], (wind * ahead).sum(-1)[away], atol=1e-4)
    np.testing.assert_allclose(
        np.hypot(along_x, along_y), np.linalg.norm(wind, axis=-1), atol=1e-12
    )


def test_sampled_means_are_nearly_those_of_overlaps():
    lat, lon = np.linspace(-90, 90, 61), np.linspace(0, 360, 121)
    values = np.random.default_rng(1).normal(size=(60, 120))
    values[10:20, 30:50] = np.nan
    grid = RotatedGrid(LatLonGrid.regular(24, 10))
    exact = conservative_average(values, lat, lon, grid.base.lat_edges, grid.base.lon_edges)[0]
    sampled = sampled_mean(values, lat, lon, grid.samples(20))
    both = np.isfinite(exact) & np.isfinite(sampled)
    assert both.mean() > 0.9 and np.abs(exact - sampled)[both].max() < 0.2


def test_bathymetry_meets_itself_at_the_fold():
    config = load_config(
        "global_tripolar_2deg", {"grid.nx": 60, "grid.ny": 30, "bathymetry.straits": []}
    )
    grid = inputs.horizontal_grid(config)
    cells = inputs.cell_thickness(config, grid, inputs.vertical_grid(config))
    np.testing.assert_array_equal(cells[:, -1], cells[:, -1, ::-1])
    assert (cells[0, -1] > 0).sum() > 10 and not cells[:, grid.dry()].any()
    lat = grid.points("c")[0]
    assert lat[cells[0] > 0].max() > 88, "the north pole lies in the Arctic Ocean"


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"grid.nx": 181}, "nx must be even"),
        ({"grid.join": -85}, "join latitude"),
        ({"grid.lon": [0, 180]}, "round the globe"),
        ({"grid.ny": 3}, "2 at least"),
        ({"forcing.source": "two_basin"}, "needs grid.kind: latlon"),
        ({"grid.kind": "rotated", "grid.pole": [0, 95]}, "grid.pole"),
    ],
)
def test_unfit_settings_are_refused(changes, text):
    with pytest.raises(ConfigError, match=text):
        load_config("global_tripolar_2deg", changes)


@pytest.mark.parametrize("name", ["global_tripolar_1deg", "global_quarter_deg"])
def test_larger_set_ups_are_accepted(name):
    config = load_config(name)
    grid = inputs.horizontal_grid(config)
    steps = np.diff(grid.lat_edges)[:-1]
    assert abs(np.diff(steps)).max() < 0.03 * steps.max(), (
        "rows of one height go on beyond the join"
    )


def test_maps_show_the_value_of_the_nearest_cell():
    grid = TripolarGrid(90, 60)
    lat, lon = grid.points("c")
    field = np.sin(np.deg2rad(lat)) + np.cos(np.deg2rad(lat)) * np.cos(np.deg2rad(lon - 40))
    raster, to_lat, to_lon = on_parallels(field, lat, lon, (90, 180))
    exact = np.sin(np.deg2rad(to_lat))[:, None] + np.cos(np.deg2rad(to_lat))[:, None] * np.cos(
        np.deg2rad(to_lon - 40)
    )
    north = to_lat > -78
    assert np.abs(raster - exact)[north].max() < 0.06 and np.isnan(raster[to_lat < -87]).all()
