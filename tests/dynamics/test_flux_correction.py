"""Fluxes corrected so that no new extremes arise: bounds in three dimensions, conservation, order,
derivatives, tiles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_sea import NX, NY, Sea

import dogcm
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics.tracer_advection import DST3, LimitedDST3
from dogcm.field import Field, exchange
from dogcm.learning.derivatives import check_derivatives

SCHEMES = {"dst3_limited": LimitedDST3, "dst3": DST3}
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


def carried(sea: Sea, c: Field, kind: str, bounded: bool = True, flow=None, grid=None):
    """Value and thickness after one step."""
    flow, grid = flow or sea.flow, grid or sea.grid
    scheme = SCHEMES[kind](bounded=bounded)
    deep = {"c": c.crop(scheme.tracer_halo())}
    return sea.after(c, scheme.prepare(deep, flow, sea.halos, 0, grid)("c"), flow, grid)


@pytest.fixture(scope="module")
def sea() -> Sea:
    return Sea(SerialCommunicator())


def patch(sea: Sea) -> Field:
    values = np.full((6, NY, NX), 5.0)
    values[1:4, 3:8, 5:12] = 30.0
    return sea.field(values, "c")


@pytest.fixture(scope="module")
def steps(sea):
    """One step by each scheme, as it is and bounded."""
    return {
        (kind, bounded): jax.jit(lambda c, k=kind, b=bounded: carried(sea, c, k, b))
        for kind in SCHEMES
        for bounded in (False, True)
    }


@one_rank
@pytest.mark.parametrize("kind", SCHEMES)
def test_bounds_in_three_dimensions(sea, steps, kind):
    """A patch of 30 in water of 5, in a random flow of up to half a cell in each dimension."""
    c, wet = patch(sea), np.asarray(sea.grid.mask_c.interior) > 0
    beyond = {}
    for bounded in (False, True):
        new = np.asarray(steps[kind, bounded](c)[0].data)[wet]
        beyond[bounded] = max(new.max() - 30, 5 - new.min())
    assert beyond[True] < 1e-13 * 30
    if kind == "dst3":
        assert beyond[False] > 1e-2


@one_rank
@pytest.mark.parametrize("kind", SCHEMES)
def test_uniform_tracer_and_content_are_kept(sea, steps, kind):
    go = steps[kind, True]
    same, _ = go(sea.field(np.full((6, NY, NX), 7.0), "c"))
    np.testing.assert_allclose(same.data, 7.0 * sea.grid.mask_c.interior, rtol=1e-14)
    c, area = sea.random(3), sea.grid.area_c.interior
    new, h = go(c)
    volume = sea.grid.h_c.interior * area
    change = jnp.sum(new.data * h.data * area) - jnp.sum(c.interior * volume)
    assert abs(float(change)) < 1e-14 * float(jnp.sum(volume))
    wild = c + (1.0 - sea.grid.mask_c) * 1e6
    np.testing.assert_array_equal(go(wild)[0].data, new.data)


@one_rank
def test_smooth_fields_are_left_alone(sea):
    """Where no extreme is near, not a flux is touched, and the order is that of the scheme."""
    ramp = np.linspace(0, 1, 6)[:, None, None] + np.arange(NY)[:, None] + 0.1 * np.arange(NX)
    c = sea.field(ramp, "c")
    slow = sea.flow._replace(dt=1.0)
    both = [
        np.asarray(jax.jit(lambda c, b=b: carried(sea, c, "dst3", b, slow)[0].data)(c))
        for b in (False, True)
    ]
    inner = (slice(1, -2), slice(1, -1), slice(8, 10))  # east of the islands, west of the seam
    moved = np.abs(both[0] - np.asarray(c.interior))[inner].max()
    assert moved > 0
    np.testing.assert_allclose(both[1][inner], both[0][inner], rtol=0, atol=1e-13)


@one_rank
def test_order():
    """A quarter turn of a sine around a channel: between its extremes the error falls as it does
    without bounds."""
    orders = {}
    for bounded in (False, True):
        coarse, fine = error("dst3", bounded, 16), error("dst3", bounded, 32)
        orders[bounded] = np.log2(coarse / fine)
    assert orders[True] > orders[False] - 0.5 and orders[False] > 2.9, orders


def error(kind: str, bounded: bool, cells: int) -> float:
    layers = np.array([50.0, 50.0])
    sea = Sea(SerialCommunicator(), shape=(8, cells), layers=layers, islands=False, speed=0.0)
    dt = 0.1 * 2e4
    flow = sea.flow._replace(u=sea.field(np.full((2, 8, cells), 50.0), "u"), dt=dt)
    edges = 2 * np.pi * np.arange(cells + 1) / cells
    sine = lambda turn: -np.diff(np.cos(edges - turn)) * cells / (2 * np.pi)

    def one(_, c):
        (deep,) = exchange(sea.halos, (Field(c, "c"), 4))
        return carried(sea, deep, kind, bounded, flow)[0].data

    start = jnp.asarray(np.broadcast_to(sine(0.0), (2, 8, cells)))
    new = jax.jit(lambda c: jax.lax.fori_loop(0, round(cells / 4 / 0.1), one, c))(start)
    inside = np.abs(np.cos(0.5 * (edges[1:] + edges[:-1]) - np.pi / 2)) > 0.5
    return float(np.abs(np.asarray(new)[0, 4] - sine(np.pi / 2))[inside].mean())


def disk(n: int, slotted: bool) -> np.ndarray:
    """1 in a disk beside the middle of a square of n by n cells, with a slot or without, else 0."""
    y, x = np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5] * 2, indexing="ij")
    inside = np.hypot(x - 0.2, y) < 0.15
    if slotted:
        inside &= (np.abs(x - 0.2) > 0.04) | (y > 0.08)
    return inside.astype(float)


@one_rank
@pytest.mark.parametrize("slotted", [False, True])
def test_disk_in_rotation(slotted):
    """Half a turn of Zalesak's disk: within its bounds, and its content is kept."""
    n = 40
    sea = Sea(
        SerialCommunicator(),
        shape=(n, n),
        layers=np.array([50.0, 50.0]),
        islands=False,
        speed=0.0,
    )
    y, x = np.meshgrid(*[np.arange(n + 1) / n - 0.5] * 2, indexing="ij")
    psi = 0.5 * (np.minimum(np.hypot(x, y), 0.5) ** 2 - 0.25)  # angle times area of the square
    u, v = -np.diff(psi, axis=0)[:, :-1], np.diff(psi, axis=1)[:-1]
    # In units of cells per step: a turn of 0.01 in each.
    size, g = 0.01 * n * n * 50.0 / sea.dt, sea.grid
    both = lambda f, width: np.broadcast_to(f * size * width, (2, n, n))
    flow = sea.flow._replace(
        u=sea.field(both(u, 2e4), "u"), v=sea.field(both(v, 3e4), "v"), w=g.mask_cw * 0.0
    )
    start = np.broadcast_to(disk(n, slotted), (2, n, n))

    def many(kind, bounded):
        def one(_, c):
            (deep,) = exchange(sea.halos, (Field(c, "c"), 4))
            return carried(sea, deep, kind, bounded, flow)[0].data

        go = jax.jit(lambda c: jax.lax.fori_loop(0, 314, one, c))
        return np.asarray(go(jnp.asarray(start)))

    c = many("dst3_limited", True)
    assert max(c.max() - 1, -c.min()) < 1e-13
    assert abs(c.sum() - start.sum()) < 1e-12 * start.sum()
    turned = start[:, ::-1, ::-1]
    assert np.abs(c - turned).mean() < 0.7 * np.abs(start - turned).mean()
    if not slotted:
        loose = many("dst3_limited", False)
        assert max(loose.max() - 1, -loose.min()) > 1e-5


@one_rank
def test_derivatives(sea):
    """Against differences, with respect to tracer and flow; and finite where there is nothing to
    correct."""

    def step(x):
        flow = sea.flow._replace(u=x["u"])
        return carried(sea, x["c"], "dst3_limited", True, flow)[0].data

    x = {"c": sea.random(3), "u": sea.flow.u}
    ladder = tuple(10.0**-k for k in range(4, 8))  # the limiter has kinks, which large steps cross
    report = check_derivatives(step, x, decades=2.0, ladder=ladder)
    assert report.passed, str(report)
    flat = x | {"c": sea.grid.mask_c * 7.0}
    slope = jax.jit(jax.grad(lambda x: jnp.sum(step(x) ** 2)))(flat)
    assert all(bool(jnp.isfinite(s).all()) for s in jax.tree.leaves(slope))


@one_rank
def test_float32_stays_and_small_tracers_scale():
    sea = Sea(SerialCommunicator(), np.float32)
    step = jax.jit(lambda c: carried(sea, c, "dst3_limited")[0])
    c = sea.random(3)
    one, small = step(c), step(c * 2.0**-30)
    assert one.dtype == small.dtype == np.float32
    np.testing.assert_allclose(small.data * 2.0**30, one.data, atol=2e-5)


@one_rank
def test_lock_exchange():
    """Warm water of 30 degC beside cold of 5 (Ilicak et al. 2012, doi:10.1016/j.ocemod.2011.10.003)
    stays between the two."""
    found = {}
    for bounded in (False, True):
        model = dogcm.Model(
            grid=dogcm.CartesianGrid(
                nx=48, ny=4, dx=500.0, dy=500.0, f0=0.0, nz=10, depth=20.0, top=2.0, periodic=()
            ),
            bathymetry=20.0,
            initial={"temperature": lambda x, y, z: np.where(x < 12e3, 5.0, 30.0) + 0 * z},
            tracer_advection={"kind": "dst3_limited", "bounded": bounded},
            equation_of_state="linear",
            time_step=60.0,
            parameters={"vertical_diffusivity": 0.0, "lateral_diffusivity": 0.0}
            | {"lateral_viscosity": 20.0, "convection_diffusivity": 0.0, "mixing_richardson": 0.0},
            comm=SerialCommunicator(),
        )
        t = np.asarray(model.advance(240).temperature.interior)
        found[bounded] = max(t.max() - 30, 5 - t.min())
        assert t[:, :, 30:].min() < 20  # the cold water has come this far
    assert found[True] < 1e-11 and found[False] > 1e-6, found


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_the_same_bits_on_tiles():
    comm = world()
    tiled, alone = Sea(comm), Sea(SerialCommunicator())
    t = tiled.decomposition.tile
    here, whole = (
        # Grid and flow as arguments: of constants the compiler would compute parts itself.
        jax.jit(
            lambda c, flow, grid, s=s: (
                carried(s, c, "dst3_limited", True, flow._replace(dt=s.dt), grid)[0].data
            )
        )(s.random(3), s.flow, s.grid)
        for s in (tiled, alone)
    )
    np.testing.assert_array_equal(here, whole[..., t.j0 : t.j1, t.i0 : t.i1])
