"""Grid: metrics against formulas, areas against the sphere, masks against thicknesses, and
MITgcm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout
from dogcm.grid.bathymetry import vertical_cells
from dogcm.grid.geometry import Grid, build_grid
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.vertical import VerticalGrid, stretched_layers
from dogcm.simulation.model import Model

DZ = np.array([50.0, 100.0, 200.0, 400.0])


def metrics(grid):
    ny, nx = grid.shape
    return grid.metrics(np.arange(ny), np.arange(nx))


def built(horizontal, cells, halo=2, wide=None) -> Grid:
    """The whole grid as one tile."""
    layout = make_layout(horizontal.shape, 1, 1, periodic_x=horizontal.periodic_x)
    alone = Decomposition(layout, SerialCommunicator())
    return build_grid(horizontal, VerticalGrid(DZ), alone, cells, halo, wide or Halo.of(halo))


@pytest.fixture(scope="module")
def rough():
    """A random sea floor with partial cells, islands and dry columns: cell thickness and the
    grid."""
    rng = np.random.default_rng(0)
    depth = np.where(rng.random((8, 12)) < 0.3, 0.0, rng.uniform(30, 750, (8, 12)))
    cells = vertical_cells(depth, DZ, min_fraction=0.2, min_thickness=20.0)
    return cells, built(LatLonGrid.regular(12, 8), cells)


# ---- horizontal


@given(
    south=st.floats(-90, 60),
    height=st.floats(5, 150),
    width=st.floats(5, 360),
    nx=st.integers(2, 9),
    ny=st.integers(2, 9),
)
@settings(max_examples=50, deadline=None)
def test_areas_add_up_to_the_band_of_the_sphere(south, height, width, nx, ny):
    north = min(90.0, south + height)
    grid = LatLonGrid.regular(nx, ny, lon=(10.0, 10.0 + width), lat=(south, north))
    band = (
        grid.radius**2 * np.deg2rad(width) * (np.sin(np.deg2rad(north)) - np.sin(np.deg2rad(south)))
    )
    m = metrics(grid)
    np.testing.assert_allclose(m.area_c.sum(), band, rtol=1e-12)
    assert all((getattr(m, n) > 0).all() for n in m.names() if n.startswith(("area", "dx", "dy")))


def test_the_whole_sphere():
    grid = LatLonGrid.regular(36, 18, lat=(-90, 90))
    np.testing.assert_allclose(metrics(grid).area_c.sum(), 4 * np.pi * grid.radius**2, rtol=1e-13)


def test_staggered_areas_overlap_to_the_same_total():
    """Faces of a periodic grid share its area anew; rows of v and q lie half a row further
    south."""
    m = metrics(LatLonGrid(np.array([0.0, 30, 90, 200, 360]), np.linspace(-60, 60, 7)))
    np.testing.assert_allclose(m.area_u.sum(), m.area_c.sum(), rtol=1e-13)
    np.testing.assert_allclose(m.area_v.sum(), m.area_q.sum(), rtol=1e-13)
    # Away from the closed southern wall an area at v is half of each cell beside it, up to
    # curvature.
    np.testing.assert_allclose(m.area_v[1:], 0.5 * (m.area_c[1:] + m.area_c[:-1]), rtol=0.02)


def test_lat_lon_distances_by_formula():
    grid = LatLonGrid.regular(90, 40)
    m, r, d = metrics(grid), grid.radius, np.deg2rad(4.0)
    lat_c, lat_s = np.deg2rad(-78 + 4 * np.arange(40)), np.deg2rad(-80 + 4 * np.arange(40))
    for name, lat in (("dx_c", lat_c), ("dx_u", lat_c), ("dx_v", lat_s), ("dx_q", lat_s)):
        expected = np.broadcast_to((r * np.cos(lat) * d)[:, None], (40, 90))
        np.testing.assert_allclose(getattr(m, name), expected, rtol=1e-12)
    for name in ("dy_c", "dy_u", "dy_v", "dy_q"):
        np.testing.assert_allclose(getattr(m, name), r * d, rtol=1e-12)
    np.testing.assert_allclose(
        m.f_q[:, 0], 2 * grid.rotation * np.sin(lat_s), rtol=1e-12, atol=1e-20
    )
    assert (
        m.lon_c[0, 0] == 2.0
        and m.lon_u[0, 0] == 0.0
        and m.lat_c[0, 0] == -78.0
        and m.lat_v[0, 0] == -80.0
    )


def test_stretched_grid_measures_between_centres():
    grid = LatLonGrid(np.array([0.0, 10, 30, 60]), np.array([0.0, 2, 8]))
    m, rad = metrics(grid), np.pi / 180 * grid.radius
    np.testing.assert_allclose(
        m.dx_u[0, 1:], rad * np.cos(np.deg2rad(1.0)) * np.array([15.0, 25.0])
    )
    np.testing.assert_allclose(m.dy_v[1], rad * 4.0)


def test_indices_beyond_the_grid_wrap_and_repeat():
    grid = LatLonGrid.regular(12, 6)
    inside, outside = metrics(grid), grid.metrics(np.arange(-2, 8), np.arange(-3, 15))
    for name in inside.names():
        whole = getattr(inside, name)
        expected = whole[np.arange(-2, 8).clip(0, 5)[:, None], np.arange(-3, 15) % 12]
        np.testing.assert_allclose(getattr(outside, name), expected, rtol=1e-13, err_msg=name)


def test_tiles_see_the_metrics_of_the_globe():
    grid = LatLonGrid.regular(12, 6)
    whole, part = metrics(grid), grid.metrics(np.arange(2, 5), np.arange(4, 9))
    for name in whole.names():
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[2:5, 4:9])


def test_cartesian_plane():
    grid = CartesianGrid(5, 4, dx=1e3, dy=2e3, f0=1e-4, beta=2e-11, periodic=False, y0=-4e3)
    m = metrics(grid)
    assert (m.area_c == 2e6).all() and (m.dx_u == 1e3).all() and (m.dy_v == 2e3).all()
    np.testing.assert_allclose(m.f_q[:, 0], 1e-4 + 2e-11 * (-4e3 + 2e3 * np.arange(4)), rtol=1e-14)
    assert not grid.periodic_x and m.lon_c[0, 0] == 0.5 and m.lat_c[0, 0] == -3.0


@pytest.mark.parametrize(
    "lon, lat, says",
    [
        ([0, 10, 5], [0, 1], "longitude edges must be one increasing"),
        ([0, 10], [0, 0], "latitude edges must be one increasing"),
        ([0, 10], [0, 95], "within -90 and 90"),
        ([0, 200, 400], [0, 1], "more than 360"),
    ],
)
def test_unfit_edges_are_refused(lon, lat, says):
    with pytest.raises(ValueError, match=says):
        LatLonGrid(np.array(lon, float), np.array(lat, float))


# ---- vertical


def test_layers():
    v = VerticalGrid(DZ)
    np.testing.assert_array_equal(v.edges, [0, 50, 150, 350, 750])
    np.testing.assert_array_equal(v.centres, [25, 100, 250, 550])
    np.testing.assert_array_equal(v.spacing, [75, 150, 300])
    for bad in ([], [10, -1], [0.0], [[1.0]]):
        with pytest.raises(ValueError, match="thicknesses must be positive"):
            VerticalGrid(np.array(bad))


@given(nz=st.integers(1, 60), depth=st.floats(100, 6000), top=st.floats(1, 200))
@settings(max_examples=60, deadline=None)
def test_stretched_layers_fill_the_depth(nz, depth, top):
    dz = stretched_layers(nz, depth, top)
    assert dz.shape == (nz,) and dz.sum() == pytest.approx(depth, rel=1e-12)
    assert (np.diff(dz) >= -1e-9).all() and (dz > 0).all()


# ---- thicknesses and masks


def test_column_depths_and_partial_cells(rough):
    cells, grid = rough
    h = np.asarray(grid.h_c.interior)
    np.testing.assert_array_equal(h, cells)
    np.testing.assert_allclose(grid.depth_c.interior, cells.sum(0), rtol=1e-15)
    thinner = (h > 0) & (h < DZ[:, None, None])
    assert thinner.any(), "no partial cell in the example"
    below = np.concatenate([h[1:], 0 * h[:1]])
    assert (below[thinner] == 0).all(), (
        "only the lowest wet cell of a column may be thinner than its layer"
    )
    assert (h[1:][h[:-1] == 0] == 0).all(), "water below land"


def test_faces_have_the_thinner_of_their_cells(rough):
    cells, grid = rough
    west = np.roll(cells, 1, -1)
    south = np.concatenate([0 * cells[:, :1], cells[:, :-1]], 1)
    np.testing.assert_array_equal(grid.h_u.interior, np.minimum(cells, west))
    np.testing.assert_array_equal(grid.h_v.interior, np.minimum(cells, south))
    np.testing.assert_allclose(grid.depth_u.interior, np.minimum(cells, west).sum(0), rtol=1e-15)
    np.testing.assert_allclose(grid.depth_v.interior, np.minimum(cells, south).sum(0), rtol=1e-15)


def test_masks_follow_from_thicknesses(rough):
    cells, grid = rough
    for p in "cuv":
        h, mask = (
            np.asarray(getattr(grid, f"h_{p}").data),
            np.asarray(getattr(grid, f"mask_{p}").data),
        )
        np.testing.assert_array_equal(mask, h > 0)
        wet = getattr(grid, f"wet_{p}").crop(getattr(grid, f"h_{p}").halo)
        np.testing.assert_array_equal(wet.data, mask[0])
    for p in "uv":
        product = getattr(grid, f"h_{p}") * getattr(grid, f"inv_h_{p}")
        np.testing.assert_allclose(product.data, getattr(grid, f"mask_{p}").data, rtol=1e-15)
        bottom = np.asarray(getattr(grid, f"bottom_{p}").interior)
        np.testing.assert_array_equal(bottom.sum(0), np.asarray(getattr(grid, f"wet_{p}").interior))
    assert (np.asarray(grid.mask_v.interior)[:, 0] == 0).all(), "the southern wall is closed"


def test_corners_and_interfaces(rough):
    cells, grid = rough
    mask = (cells > 0).astype(float)
    west, south = np.roll(mask, 1, -1), np.concatenate([0 * mask[:, :1], mask[:, :-1]], 1)
    np.testing.assert_array_equal(grid.mask_q.interior, mask * west * south * np.roll(south, 1, -1))
    np.testing.assert_array_equal(grid.mask_cw.interior, mask[1:] * mask[:-1])
    for p in "uv":
        m = np.asarray(getattr(grid, f"mask_{p}").interior)
        np.testing.assert_array_equal(getattr(grid, f"mask_{p}w").interior, m[1:] * m[:-1])


def test_beyond_closed_boundaries_all_is_land(rough):
    _, grid = rough
    mask = np.asarray(grid.mask_c.data)
    assert (mask[:, :2] == 0).all() and (mask[:, -2:] == 0).all()
    flat = np.broadcast_to(DZ[:, None, None], (4, 4, 5))
    closed = built(CartesianGrid(5, 4, 1e3, 1e3, periodic=False), flat)
    assert (np.asarray(closed.mask_c.data)[..., :2] == 0).all() and np.asarray(
        closed.mask_c.interior
    ).all()
    assert (np.asarray(closed.mask_u.interior)[..., 0] == 0).all()
    periodic = built(CartesianGrid(5, 4, 1e3, 1e3), flat)
    assert np.asarray(periodic.mask_u.crop(Halo(0, 0, 2, 2)).data).all()


def test_a_tile_is_a_window_of_the_whole_grid(rough):
    """Every rank computes its metrics and masks, halo included, as one rank would."""

    class Lonely(SerialCommunicator):
        """Rank 1 of 2, to which rank 0 has sent its part already."""

        rank, size = 1, 2

        def __init__(self, levels):
            self._levels = iter(levels)

        def broadcast(self, value):
            return (), "<f8"

        def receive(self, shape, dtype, rank):
            return next(self._levels)

    cells, whole = rough
    layout = make_layout((8, 12), 2, 1)
    t = layout.tile(1)
    # The grid asks for one cell more than the halo of 2.
    padded = np.pad(np.pad(cells, [(0, 0), (0, 0), (3, 3)], mode="wrap"), [(0, 0), (3, 3), (0, 0)])
    mine = padded[:, t.j0 : t.j1 + 6, t.i0 : t.i1 + 6]
    d = Decomposition(layout, Lonely(mine))
    part = build_grid(LatLonGrid.regular(12, 8), VerticalGrid(DZ), d, None, 2, Halo.of(2))
    for name in (
        "h_c",
        "h_u",
        "h_v",
        "mask_q",
        "inv_h_q",
        "h_visc_c",
        "h_visc_q",
        "area_u",
        "f_q",
        "depth_v",
    ):
        got, all_of_it = getattr(part, name), np.asarray(getattr(whole, name).data)
        np.testing.assert_array_equal(
            got.data[..., :8], all_of_it[..., t.i0 : t.i0 + 8], err_msg=name
        )


# ---- against MITgcm


@pytest.fixture(scope="module")
def mitgcm(data_dir):
    folder = str(data_dir / "mitgcm_4deg")
    return Model(
        "mitgcm_4deg",
        {f"{part}.path": folder for part in ("bathymetry", "initial", "forcing")},
        comm=SerialCommunicator(),
    )


def test_wet_cells_of_mitgcm(mitgcm):
    h = np.asarray(mitgcm.grid.h_c.interior)
    assert int((h > 0).sum()) == 29309
    area, wet = np.asarray(mitgcm.grid.area_c.interior), h[0] > 0
    # All digits that MITgcm's output gives.
    assert f"{area[wet].sum():.11e}" == "3.45061414665e+14"
    assert f"{(h * area).sum():.11e}" == "1.32267824367e+18"


def test_initial_means_of_mitgcm(mitgcm):
    reading = mitgcm.read()
    assert reading.temperature == pytest.approx(3.6197074666131, abs=5.1e-14)
    assert reading.salinity == pytest.approx(34.718006161477, abs=5.1e-13)
    assert f"{reading.volume:.11e}" == "1.32267824367e+18"
