"""Transports and overturning: against stream functions, analytic areas, differences, and on every
layout."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout, world
from dogcm.diagnostics import transports as tr
from dogcm.field import Field
from dogcm.grid.bathymetry import vertical_cells
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect
from dogcm.timestepping.state import at_rest

SHAPE = (12, 24)
DZ = np.array([50.0, 150.0, 300.0, 600.0])


by_layer = jax.jit(tr.transport_by_layer, static_argnums=2)
overturning = jax.jit(tr.overturning, static_argnums=2)


def transport(state, section, halos, grid) -> float:
    """As the function of this name; compiled once, for all of a grid's sections."""
    return float(by_layer(state, section, halos, grid).sum())


def ocean(comm, layout, horizontal, depth):
    """A tile of an ocean at rest."""
    d = Decomposition(layout, comm)
    cells = vertical_cells(depth, DZ, 0.2, 20.0) if comm.rank == 0 else None
    grid = build_grid(horizontal, VerticalGrid(DZ), d, cells, 2, Halo.of(2))
    ny, nx = d.tile.j1 - d.tile.j0, d.tile.i1 - d.tile.i0
    tracers = {
        n: Field(jnp.full((4, ny, nx), v), "c")
        for n, v in (("temperature", 10.0), ("salinity", 35.0))
    }
    return SimpleNamespace(
        grid=grid, state=at_rest(tracers, 0), halos=connect(layout, comm), d=d, tile=d.tile
    )


def globe(comm=None, layout=None):
    """Rough floor with islands, closed at both ends, so that every column can be reached by a
    stream function."""
    rng = np.random.default_rng(2)
    depth = np.where(rng.random(SHAPE) < 0.15, 0.0, rng.uniform(300, 1090, SHAPE))
    depth[[0, -1]] = 0.0
    layout = layout or make_layout(SHAPE, 1, 1, periodic_x=True)
    return ocean(
        comm or SerialCommunicator(), layout, LatLonGrid.regular(24, 12, lat=(-60, 60)), depth
    )


def in_motion(o, seed=3):
    """Random flow and sea level, the same on every layout."""
    rng = np.random.default_rng(seed)
    t = o.tile
    part = lambda lead, size: jnp.asarray(
        size * rng.normal(size=(*lead, *SHAPE))[..., t.j0 : t.j1, t.i0 : t.i1]
    )
    g = o.grid
    return o.state.replace(
        u=Field(part((4,), 0.1), "u") * g.mask_u.crop(0),
        v=Field(part((4,), 0.1), "v") * g.mask_v.crop(0),
        eta=Field(part((), 0.5), "c") * g.wet_c.crop(0),
    )


@pytest.fixture(scope="module")
def world_of_one():
    return globe()


@pytest.mark.parametrize("lon", [3.0, 100.0, 359.0, 0.0, -8.0])
def test_uniform_flow_through_a_meridian(world_of_one, lon):
    """Also where longitudes wrap; every face of the meridian counts once."""
    o = world_of_one
    section = tr.meridional_section(o.grid, lon, (-90, 90))
    state = o.state.replace(u=0.1 * o.grid.mask_u.crop(0))
    area = np.asarray((o.grid.h_u * o.grid.dy_u).interior)
    # Centres lie at 7.5, 22.5, ...: face i lies between 15 i - 7.5 and 15 i + 7.5.
    column = int(((lon + 7.5) % 360) // 15)
    assert (
        np.asarray(section.faces.data).sum() == 12
        and (np.asarray(section.faces.data)[:, column] == 1).all()
    )
    found = by_layer(state, section, o.halos, o.grid)
    np.testing.assert_allclose(found, 0.1 * area[:, :, column].sum(1), rtol=1e-14)
    assert found.dtype == jnp.float64


def test_what_goes_round_the_globe_is_the_same_everywhere():
    """A zonal jet that depends on the latitude alone, in an open channel: one number at all
    longitudes."""
    depth = np.full(SHAPE, 1000.0)
    o = ocean(
        SerialCommunicator(),
        make_layout(SHAPE, 1, 1, periodic_x=True),
        LatLonGrid.regular(24, 12),
        depth,
    )
    jet = Field(jnp.broadcast_to(jnp.sin(jnp.arange(12.0))[:, None], (4, *SHAPE)), "u")
    state = o.state.replace(u=jet * o.grid.mask_u.crop(0))
    found = [
        transport(state, tr.meridional_section(o.grid, lon, (-90, 90)), o.halos, o.grid)
        for lon in range(0, 360, 15)
    ]
    assert np.ptp(found) < 1e-12 * abs(found[0]) and abs(found[0]) > 1e6


def test_depth_integrated_flow_of_a_stream_function(world_of_one):
    """Through any line of faces between two corners: the difference of the stream function."""
    o, rng = world_of_one, np.random.default_rng(0)
    # At south-west corners, 0 on the corners of land: one stream function for all islands.
    psi = rng.normal(size=(13, 24)) * 1e7
    dry = np.pad(np.asarray(o.grid.wet_c.interior) == 0, ((1, 1), (0, 0)), constant_values=True)
    for dj, di in ((0, 0), (1, 0), (0, 1), (1, 1)):
        psi[np.roll(dry, di, 1)[dj : dj + 13]] = 0.0
    h_u, h_v = (np.asarray(f.interior) for f in (o.grid.depth_u, o.grid.depth_v))
    over = lambda a, h, w: np.where(h > 0, a / np.where(h > 0, h * np.asarray(w.interior), 1), 0.0)
    u = over(-(psi[1:] - psi[:-1]), h_u, o.grid.dy_u)
    v = over(np.roll(psi, -1, 1)[:-1] - psi[:-1], h_v, o.grid.dx_v)
    state = o.state.replace(
        u=Field(jnp.asarray(u), "u") * o.grid.mask_u, v=Field(jnp.asarray(v), "v") * o.grid.mask_v
    )
    checked = 0
    for column, lon in ((4, 60.0), (0, 0.0), (20, -60.0)):
        # Rows 2 to 8: centres at -35 to 25 degrees.
        zonal = transport(state, tr.meridional_section(o.grid, lon, (-36, 26)), o.halos, o.grid)
        assert zonal == pytest.approx(-(psi[9, column] - psi[2, column]), abs=1e-6)
        checked += zonal != 0
    for row, lat in ((5, -10.0), (6, 0.0), (8, 20.0)):
        # Southern faces of columns 22, 23, 0 and 1: across longitude 0.
        northward = transport(state, tr.zonal_section(o.grid, lat, (330, 30)), o.halos, o.grid)
        assert northward == pytest.approx(psi[row, 2] - psi[row, 22], abs=1e-6)
        checked += northward != 0
    assert checked > 2
    # All the way round nothing is left, at no latitude.
    for lat in (-40.0, 0.0, 30.0):
        assert (
            abs(transport(state, tr.zonal_section(o.grid, lat, (0, 360)), o.halos, o.grid)) < 1e-6
        )


def test_overturning_of_two_layers(world_of_one):
    """Northwards above, southwards below: the stream function is what goes north, largest between
    the two."""
    o = world_of_one
    section = tr.zonal_section(o.grid, -1.0, (100, 200))
    v = o.grid.mask_v.crop(0)
    state = o.state.replace(v=v * jnp.asarray([0.1, 0.1, -0.02, -0.02])[:, None, None])
    psi = overturning(state, section, o.halos, o.grid)
    area = np.asarray((o.grid.h_v * o.grid.dx_v).interior * section.faces.data).sum((1, 2))
    np.testing.assert_allclose(psi, np.cumsum(area * [0.1, 0.1, -0.02, -0.02]), rtol=1e-13)
    strongest = jax.jit(tr.overturning_strength, static_argnums=2)
    strength = lambda below: float(strongest(state, section, o.halos, o.grid, below))
    assert strength(100.0) == psi[1] and strength(300.0) == psi[2]
    west = tr.box(o.grid, (90, 150), (-90, 90)).crop(1)
    part = tr.within(section, west)
    np.testing.assert_array_equal(part.faces.data.sum(), 3)
    assert transport(state, part, o.halos, o.grid) != psi[-1]


def test_derivatives(world_of_one):
    """With respect to the flow: area of the face; to the sea level: against differences."""
    o, state = world_of_one, in_motion(world_of_one)
    section = tr.zonal_section(o.grid, 20.0, (40, 260))

    @jax.jit
    def index(v, eta):
        changed = state.replace(v=state.v.with_data(v), eta=state.eta.with_data(eta))
        return tr.overturning_strength(changed, section, o.halos, o.grid, 100.0) / tr.SVERDRUP

    of_v, of_eta = jax.jit(jax.grad(index, (0, 1)))(state.v.data, state.eta.data)
    direction = jax.random.normal(jax.random.key(0), of_eta.shape)
    step = 1e-3
    ends = [index(state.v.data, state.eta.data + s * step * direction) for s in (1, -1)]
    np.testing.assert_allclose(
        jnp.vdot(of_eta, direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-7
    )
    assert jnp.count_nonzero(of_eta) > 0 and jnp.isfinite(of_v).all()
    # Linear in the flow: the slope along the flow itself is the index.
    np.testing.assert_allclose(
        jnp.vdot(of_v, state.v.data), index(state.v.data, state.eta.data), rtol=1e-12
    )


def test_on_a_plane():
    horizontal = CartesianGrid(24, 12, 10e3, 10e3, f0=1e-4, periodic=False)
    o = ocean(SerialCommunicator(), make_layout(SHAPE, 1, 1), horizontal, np.full(SHAPE, 1100.0))
    state = o.state.replace(v=0.5 * o.grid.mask_v.crop(0))
    section = tr.zonal_section(o.grid, 62.0, (0, 100), period=None)
    assert transport(state, section, o.halos, o.grid) == pytest.approx(0.5 * 1100 * 100e3)
    with pytest.raises(ValueError, match="southern end first"):
        tr.meridional_section(o.grid, 100.0, (50, 20), period=None)


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("px", [1, 2])
def test_the_same_on_every_layout(px):
    """To the bit, and each rank's share of the gradient is that of one rank."""
    comm = world()
    if comm.size % px:
        pytest.skip("does not divide")
    layout = make_layout(SHAPE, px, comm.size // px, periodic_x=True, min_cells=2)

    def numbers(o):
        state = in_motion(o)
        north = tr.zonal_section(o.grid, 20.0, (40, 400))
        east = tr.meridional_section(o.grid, 0.0, (-50, 20))

        def share(v):
            s = state.replace(v=state.v.with_data(v))
            return tr.overturning_strength(s, north, o.halos, o.grid, 100.0) / o.halos.size

        psi = tr.overturning(state, north, o.halos, o.grid)
        return psi, tr.transport(state, east, o.halos, o.grid), jax.grad(share)(state.v.data)

    whole, o = globe(), globe(comm, layout)
    one, many = (jax.jit(lambda o=o: numbers(o))() for o in (whole, o))
    np.testing.assert_array_equal(many[0], one[0])
    assert many[1] == one[1] and many[1] != 0
    t = o.tile
    np.testing.assert_allclose(many[2], one[2][:, t.j0 : t.j1, t.i0 : t.i1], rtol=1e-14)
