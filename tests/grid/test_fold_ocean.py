"""The ocean on tripolar and rotated grids: balance, a blob over the pole, conservation, rest, and
the same bits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import Decomposition, Halo, SerialCommunicator, fold, make_layout, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics import momentum, tracer_advection
from dogcm.field import Field, exchange
from dogcm.grid.curvilinear import RotatedGrid, unit
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import LatLonGrid
from dogcm.grid.tripolar import TripolarGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect, exact_sum, once
from dogcm.io.restart import _refill
from dogcm.operators import diff_x_c2u, diff_x_u2c, diff_y_c2v, diff_y_v2c
from dogcm.simulation.model import Model
from dogcm.timestepping.state import at_rest

DEPTH, GRAVITY = 4000.0, 9.81
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


def tiled(horizontal, halo=3):
    """One layer of water on one rank: its grid and its halos."""
    comm = SerialCommunicator()
    layout = make_layout(
        horizontal.shape, 1, 1, periodic_x=horizontal.periodic_x, north_fold=horizontal.north_fold
    )
    cells = np.full((1, *horizontal.shape), DEPTH)
    decomposition = Decomposition(layout, comm)
    grid = build_grid(horizontal, VerticalGrid([DEPTH]), decomposition, cells, halo, Halo.of(halo))
    return grid, connect(layout, comm)


# ---- balance
def imbalance(horizontal, speed=20.0) -> float:
    """Acceleration of a zonal flow in balance (Williamson et al. 1992,
    doi:10.1016/S0021-9991(05)80016-6, case 2), root
    mean square away from walls and poles of the grid, relative to the Coriolis acceleration."""
    grid, halos = tiled(horizontal)
    place = {
        at: np.deg2rad(
            horizontal.points(at)
            if horizontal.curvilinear
            else np.meshgrid(
                *(
                    horizontal.coordinates()[n][0]
                    for n in (("lat_v" if at == "v" else "lat"), ("lon_u" if at == "u" else "lon"))
                ),
                indexing="ij",
            )
        )
        for at in "cuv"
    }
    parts = {at: speed * np.cos(place[at][0]) for at in "uv"}
    if horizontal.curvilinear:
        u, v = (
            horizontal.to_grid(parts["u"], 0 * parts["u"], "u")[0],
            horizontal.to_grid(parts["v"], 0 * parts["v"], "v")[1],
        )
    else:
        u, v = parts["u"], 0 * parts["v"]
    eta = (
        -(horizontal.radius * horizontal.rotation * speed + 0.5 * speed**2)
        * np.sin(place["c"][0]) ** 2
        / GRAVITY
    )

    @jax.jit
    def rates(u, v, eta):
        u, v, eta = exchange(halos, (Field(u, "u"), 2), (Field(v, "v"), 2), (Field(eta, "c"), 2))
        q, energy = momentum.vorticity(u, v, grid) + grid.f_q, momentum.kinetic_energy(u, v, grid)
        q = q * grid.inv_h_q
        head = energy + eta * GRAVITY
        gu = momentum.vorticity_flux_u(v, q, grid) - diff_x_c2u(head) / grid.dx_u
        gv = momentum.vorticity_flux_v(u, q, grid) - diff_y_c2v(head) / grid.dy_v
        return gu.interior[0], gv.interior[0]

    gu, gv = rates(jnp.asarray(u)[None], jnp.asarray(v)[None], jnp.asarray(eta))
    ny, nx = horizontal.shape
    away = np.ones(horizontal.shape, bool)
    away[: ny // 8] = False
    if horizontal.north_fold:
        away[:, np.abs((np.arange(nx) * 2 / nx) % 1 - 0.5) > 0.35] = False
    else:
        away[-(ny // 8) :] = False
    mean = np.sqrt(np.mean(np.square(gu)[away]) + np.mean(np.square(gv)[away]))
    return float(mean / (2 * horizontal.rotation * speed))


def rotated(n):
    return RotatedGrid(LatLonGrid.regular(24 * n, 16 * n), (0.0, 0.0))


@one_rank
@pytest.mark.parametrize(
    "make",
    [rotated, lambda n: TripolarGrid(24 * n, 18 * n, join=55.0)],
    ids=["rotated", "tripolar"],
)
def test_a_zonal_flow_stays_in_balance_to_second_order(make):
    """The same flow that is in balance on parallels, also where it crosses the lines of the grid,
    and the fold."""
    coarse, fine = imbalance(make(2)), imbalance(make(4))
    assert fine < 0.004 and 3.2 < coarse / fine < 5.0, (coarse, fine)
    plain = imbalance(LatLonGrid.regular(96, 64))
    assert fine < 20 * plain and plain < 0.004


# ---- a blob over the pole
@one_rank
def test_a_blob_crosses_the_pole_and_comes_back():
    """Solid-body rotation: beside its analytic place on the other side, and at its start again;
    nothing is lost."""
    horizontal = TripolarGrid(72, 50, join=60.0)
    grid, halos = tiled(horizontal)
    steps, path = 400, np.deg2rad(64.0)
    across = horizontal.pole + 90.0  # the meridian between both poles of the grid
    axis = unit(0.0, across + 90.0)
    place = unit(*horizontal.points("c"))

    def blob(angle):
        """After turning by ``angle`` about the axis, from 32 degrees off the pole on the near
        side."""
        start = unit(58.0, across)
        centre = start * np.cos(angle) + np.cross(axis, start) * np.sin(angle)
        return np.exp(-0.5 * (np.arccos(np.clip(place @ centre, -1, 1)) / np.deg2rad(9.0)) ** 2)

    sign = 1.0 if (np.cross(axis, unit(58.0, across)) * unit(90.0, 0.0)).sum() > 0 else -1.0
    axis = sign * axis
    q = unit(*horizontal.points("q", np.arange(51), np.arange(73)))
    psi = -(horizontal.radius**2) * (q @ axis) * path
    through_u = jnp.asarray(-(psi[1:, :-1] - psi[:-1, :-1]))[None] / steps
    through_v = jnp.asarray(psi[:-1, 1:] - psi[:-1, :-1])[None] / steps

    @jax.jit
    def carry(c, direction):
        u, v = exchange(
            halos, (Field(through_u * direction, "u"), 2), (Field(through_v * direction, "v"), 2)
        )
        u, v = u * grid.mask_u / grid.dy_u, v * grid.mask_v / grid.dx_v
        cu, cv = (
            f.with_data(jnp.abs(f.data)) / (grid.dx_u if f.at == "u" else grid.dy_v) for f in (u, v)
        )

        def step(_, c):
            (c,) = exchange(halos, (Field(c, "c"), 2))
            fx = u * grid.dy_u * tracer_advection.reconstruct_x(c, u, cu, "dst3_limited", grid)
            fy = v * grid.dx_v * tracer_advection.reconstruct_y(c, v, cv, "dst3_limited", grid)
            return (c - (diff_x_u2c(fx) + diff_y_v2c(fy)) / grid.area_c).interior

        return jax.lax.fori_loop(0, steps, step, c)

    area = once(halos, grid.area_c.interior)
    start = blob(0.0)
    there = carry(jnp.asarray(start)[None], 1.0)
    back = carry(there, -1.0)
    total = [float(exact_sum(halos, c * area)[0]) for c in (jnp.asarray(start)[None], there, back)]
    np.testing.assert_allclose(total, total[0], rtol=1e-13)
    weigh = np.asarray(area)[..., None] * place
    centre = (np.asarray(there[0])[..., None] * weigh).sum((0, 1))
    wanted = (blob(path)[..., None] * weigh).sum((0, 1))
    off = np.arccos(centre @ wanted / np.linalg.norm(centre) / np.linalg.norm(wanted))
    assert np.rad2deg(off) < 0.4, f"{np.rad2deg(off)} degrees off, cells are 3 to 5 wide"
    error = lambda a, b: np.sqrt((area * (a - b) ** 2).sum() / (area * b**2).sum())
    assert error(np.asarray(there[0]), blob(path)) < 0.12
    assert error(np.asarray(back[0]), start) < 0.15
    assert float(there.min()) > -1e-3 and float(back.max()) < 1.0


# ---- the whole model
TOY = {
    "name": "toy_tripolar",
    "grid": {
        "kind": "tripolar",
        "nx": 36,
        "ny": 22,
        "lon": [60, 420],
        "lat": [-76, 90],
        "join": 64,
        "layers": [200.0, 800.0, 3000.0],
    },
    "bathymetry": {"source": "starter", "min_depth": 300.0},
    "initial": {"source": "profile", "meridional": True},
    "forcing": {"source": "gyre"},
    "physics": {"equation_of_state": "linear", "freezing": None},
    "time": {"step": 3600},
    "parameters": {"lateral_viscosity": 3e5, "lateral_diffusivity": 1e3},
}


@one_rank
def test_volume_heat_and_salt_are_kept_and_a_lake_stays_at_rest():
    model = Model(TOY)
    kept = {n: jnp.array(f.data) for n, f in model.state.tracers.items()}
    before = model.read()
    model.advance(30)
    after = model.read()
    for name in ("volume", "heat", "salt"):
        assert abs(getattr(after, name) / getattr(before, name) - 1) < 2e-14, name
    salinity, wet = model.state.salinity.data, model.grid.mask_c.interior > 0
    assert float(jnp.abs(jnp.where(wet, salinity - 35.0, 0.0)).max()) < 1e-11, (
        "uniform salinity stays uniform"
    )
    v = np.asarray(model.state.v.data)
    assert np.abs(v[:, -1]).max() > 1e-4 and after.speed < 1.0, "the fold lies in moving water"
    for name, f in model.state.variables().items():
        np.testing.assert_array_equal(
            fold.consistent(model.gather(f), f.at), model.gather(f), err_msg=name
        )
    # A restart refills what it does not store, old accelerations beyond the fold, with the same
    # bits.
    old = (*model.state.history_u, *model.state.history_v)
    for f, again in zip(old, _refill(model.halos, tuple(f.crop(0) for f in old), model.grid)):
        np.testing.assert_array_equal(again.data, f.data)
    # A lake: temperature by layer alone, nothing drives, nothing mixes.
    mask = model.grid.mask_c.crop(0)
    layers = mask.with_data(jnp.asarray([15.0, 8.0, 3.0])[:, None, None] * mask.data)
    quiet = {
        n: 0 * p if "diffusivity" in n or n == "mixing_richardson" else p
        for n, p in model.params.items()
    }
    start = at_rest(
        {"temperature": layers, "salinity": mask.with_data(kept["salinity"])}, model.scheme.memory
    )
    still = jax.tree.map(lambda x: 0 * x, model.forcing)
    state = model._advance(start, 30, quiet, still, model.grid)
    assert float(jnp.abs(state.u.data).max()) < 1e-12 and float(jnp.abs(state.v.data).max()) < 1e-12


def laid_out(comm, request):
    model = Model(TOY, comm=comm, layout=request)
    model.advance(12)
    return model


@pytest.fixture(scope="module")
def alone():
    if world().rank:
        return None
    model = laid_out(SerialCommunicator(), "auto")
    return {n: model.gather(f) for n, f in model.state.variables().items()}


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize(
    "size, request_",
    [pytest.param(2, "2x1", marks=pytest.mark.slow), (4, "2x2"), (6, "3x2")],
)
def test_the_same_bits_on_every_layout(size, request_, alone):
    comm = world()
    if comm.size != size:
        pytest.skip(f"a layout for {size} ranks")
    model = laid_out(comm, request_)
    found = {n: model.gather(f) for n, f in model.state.variables().items()}
    wrong = [n for n in found if comm.rank == 0 and not np.array_equal(found[n], alone[n])]
    assert not comm.broadcast(wrong)
