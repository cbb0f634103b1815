"""Derivatives through halo exchange, global sums, space and time.

The convention of :mod:`dogcm.halo`: each rank differentiates its own share of the loss, the loss is
the sum of the shares, and gradients of parameters that all ranks hold are summed over ranks once,
at the end.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import Decomposition, SerialCommunicator, make_layout, world
from dogcm.field import Field, exchange
from dogcm.halo import HaloExchange, SerialBackend, connect, differentiable_sum
from dogcm.simulation.model import Model

# ---- a small model with everything that talks to other ranks

SHAPE = (12, 18)
STEPS = 5
N = float(np.prod(SHAPE))


def step(halos, values, k, nudge):
    """Nonlinear diffusion with a fourth-order part, pulled by ``nudge`` to a function of the global
    mean."""
    (f,) = exchange(halos, (Field(values, "c"), 2))
    x = f.data
    lap = x[1:-1, :-2] + x[1:-1, 2:] + x[:-2, 1:-1] + x[2:, 1:-1] - 4 * x[1:-1, 1:-1]
    bilap = lap[1:-1, :-2] + lap[1:-1, 2:] + lap[:-2, 1:-1] + lap[2:, 1:-1] - 4 * lap[1:-1, 1:-1]
    mean = halos.psum(jnp.sum(values * values)) / N
    total = differentiable_sum(halos, values) / N
    return (
        values
        + k * lap[1:-1, 1:-1]
        - 0.1 * k * bilap
        + nudge * (jnp.sin(mean) + total - values) ** 2
    )


def share(halos, values, params, weight, remat=False):
    """This rank's part of the loss."""
    one = lambda x, _: (step(halos, x, params["k"], params["nudge"]), None)
    last, _ = jax.lax.scan(jax.checkpoint(one) if remat else one, values, None, length=STEPS)
    return jnp.sum(weight * last**2)


PARAMS = {"k": jnp.asarray(0.05), "nudge": jnp.asarray(0.02)}


def example():
    rng = np.random.default_rng(3)
    return rng.normal(size=(3, *SHAPE))  # start, weights of the loss, a direction


def serial_halos():
    # What lies beyond walls is masked in the real model. Here y closes on itself, as a chain of
    # tiles does.
    return HaloExchange(make_layout(SHAPE, 1, 1), SerialBackend())


@pytest.fixture(scope="module")
def expected():
    """Loss, its gradients, and the directional derivative, on one rank."""
    start, weight, direction = map(jnp.asarray, example())
    halos = serial_halos()
    loss = lambda x, p: share(halos, x, p, weight)
    value, gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(start, PARAMS)
    _, slope = jax.jit(lambda x, p, dx: jax.jvp(lambda x: loss(x, p), (x,), (dx,)))(
        start, PARAMS, direction
    )
    return {"loss": value, "start": gradient[0], "params": gradient[1], "slope": slope}


def test_serial_gradient_against_finite_differences(expected):
    start, weight, direction = map(jnp.asarray, example())
    loss = jax.jit(lambda x, p: share(serial_halos(), x, p, weight))
    h = 1e-5
    slope = (loss(start + h * direction, PARAMS) - loss(start - h * direction, PARAMS)) / (2 * h)
    assert float(expected["slope"]) == pytest.approx(float(slope), rel=1e-7)
    assert float(jnp.vdot(expected["start"], direction)) == pytest.approx(
        float(expected["slope"]), rel=1e-12
    )
    for name in PARAMS:
        up, down = (loss(start, PARAMS | {name: PARAMS[name] + d}) for d in (h, -h))
        assert float(expected["params"][name]) == pytest.approx(
            float((up - down) / (2 * h)), rel=1e-6
        )


def tiled():
    """Every regular cut of the ranks at hand: halos, decomposition and this rank's part of the
    example."""
    comm = world()
    for px in range(1, comm.size + 1):
        if comm.size % px == 0 and SHAPE[0] // (comm.size // px) >= 2:
            d = Decomposition(make_layout(SHAPE, px, comm.size // px, min_cells=2), comm)
            t = d.tile
            parts = [jnp.asarray(a[t.j0 : t.j1, t.i0 : t.i1]) for a in example()]
            yield connect(d.layout, comm), t, parts


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("remat", [False, True], ids=["stored", "checkpoint"])
def test_reverse_mode_across_ranks(expected, remat):
    for halos, t, (start, weight, _) in tiled():
        loss = lambda x, p: share(halos, x, p, weight, remat)  # noqa: B023
        mine, (of_start, of_params) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
            start, PARAMS
        )
        np.testing.assert_allclose(jax.jit(halos.psum)(mine), expected["loss"], rtol=1e-13)
        there = expected["start"][t.j0 : t.j1, t.i0 : t.i1]
        np.testing.assert_allclose(of_start, there, rtol=1e-11, atol=1e-12)
        for name, g in of_params.items():
            np.testing.assert_allclose(jax.jit(halos.psum)(g), expected["params"][name], rtol=1e-11)


@pytest.mark.mpi(min_size=2)
def test_forward_mode_across_ranks(expected):
    for halos, _, (start, weight, direction) in tiled():
        loss = lambda x: share(halos, x, PARAMS, weight)  # noqa: B023
        _, slope = jax.jit(lambda x, dx: jax.jvp(loss, (x,), (dx,)))(start, direction)  # noqa: B023
        np.testing.assert_allclose(jax.jit(halos.psum)(slope), expected["slope"], rtol=1e-11)


@pytest.mark.mpi(min_size=2)
def test_batches_across_ranks():
    """``vmap`` over an ensemble of starts gives what a loop over them gives, also for the
    gradient."""
    halos, _, (start, weight, direction) = next(tiled())
    ensemble = jnp.stack([start, direction, 0.5 * start])
    one = lambda x: exchange(halos, (Field(x, "c"), 2))[0].data * halos.psum(jnp.sum(x))
    batched, looped = (
        jax.jit(jax.vmap(one))(ensemble),
        jnp.stack([jax.jit(one)(x) for x in ensemble]),
    )
    np.testing.assert_allclose(batched, looped, rtol=1e-13)
    slope = jax.grad(lambda x: jnp.sum(one(x) ** 2))
    batched, looped = (
        jax.jit(jax.vmap(slope))(ensemble),
        jnp.stack([jax.jit(slope)(x) for x in ensemble]),
    )
    np.testing.assert_allclose(batched, looped, rtol=1e-12, atol=1e-12)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_exchange_and_its_transpose_are_adjoint():
    """<exchange(x), y> = <x, exchange'(y)> summed over ranks: no cotangent is lost or counted
    twice."""
    for halos, _, (x, _, _) in tiled():
        deep = lambda x: exchange(halos, (Field(x, "c"), 2))[0].data  # noqa: B023
        out, back = jax.vjp(jax.jit(deep), x)
        y = jnp.asarray(np.random.default_rng(halos.rank).normal(size=out.shape))
        left, right = (jax.jit(halos.psum)(jnp.vdot(a, b)) for a, b in ((out, y), (x, back(y)[0])))
        np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_maximum_over_ranks_has_no_derivative():
    halos, _, (x, _, _) = next(tiled())
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(x) * halos.pmax(jnp.max(x))))(x)
    np.testing.assert_allclose(gradient, jnp.full_like(x, jax.jit(halos.pmax)(jnp.max(x))))


# ---- the ocean

SMALL = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 5, "run.monitor_every": 1.0}
ROLLOUT = 2


def ocean(comm=None) -> Model:
    """A small two-basin ocean, spun up for a few days so that nothing is zero by symmetry."""
    model = Model("two_basin", SMALL, comm=comm)
    model.advance(60)
    return model


def rollout_share(model, weight):
    """This rank's part of a loss on temperature, flow and sea level after a few steps."""

    def loss(temperature, viscosity):
        state = model.state.replace(tracers=model.state.tracers | {"temperature": temperature})
        params = model.params | {"lateral_viscosity": viscosity}
        one = lambda s, _: (model.step(s, params, model.forcing, model.grid), None)
        state, _ = jax.lax.scan(one, state, None, length=ROLLOUT)
        flow = jnp.sum(state.u.interior**2) + jnp.sum(state.v.interior**2)
        warmth = jnp.sum(weight * state.temperature.interior**2)
        return 1e-3 * warmth + 1e3 * flow + jnp.sum(state.eta.interior**2)

    return loss


def weights(model):
    grid = model.grid
    return jnp.cos(grid.lat_c.interior / 20.0 + grid.lon_c.interior / 40.0) * grid.mask_c.interior


@pytest.fixture(scope="module")
def rollout():
    model = ocean(SerialCommunicator())
    loss = rollout_share(model, weights(model))
    at = model.state.temperature, model.params["lateral_viscosity"]
    value, gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*at)
    return model, jax.jit(loss), at, value, gradient


def test_gradient_of_the_ocean_is_finite_and_not_zero(rollout):
    model, _, _, value, (of_temperature, of_viscosity) = rollout
    g = np.asarray(of_temperature.data)
    assert np.isfinite(value) and np.isfinite(g).all() and np.isfinite(of_viscosity)
    wet = np.asarray(model.grid.mask_c.interior) > 0
    assert (g[wet] != 0).mean() > 0.95 and float(of_viscosity) != 0
    assert (g[~wet] == 0).all(), "the temperature of land matters to the ocean"


def remainder(loss, at, direction, slope, sizes):
    """Taylor test: what a tangent leaves over, for steps of falling size."""
    middle = loss(*at)
    step = lambda h: jax.tree.map(lambda a, d: a + h * d, at, direction)
    return np.array([abs(float(loss(*step(h)) - middle - h * slope)) for h in sizes])


def test_taylor_viscosity(rollout):
    model, loss, at, _, (_, of_viscosity) = rollout
    direction = (at[0].with_data(jnp.zeros_like(at[0].data)), at[1])
    slope = float(of_viscosity * at[1])
    h = 1e-3
    up, down = (loss(at[0], at[1] * (1 + s)) for s in (h, -h))
    assert slope == pytest.approx(float((up - down) / (2 * h)), rel=1e-6)
    left = remainder(loss, at, direction, slope, [0.2, 0.1, 0.05])
    np.testing.assert_allclose(np.log2(left[:-1] / left[1:]), 2.0, atol=0.2)


def test_taylor_temperature(rollout):
    """Limiters and convection have kinks, and some cell is near one: differences have to be very
    small."""
    model, loss, at, _, (of_temperature, _) = rollout
    smooth = 0.01 * jnp.sin(model.grid.lat_c.interior / 15.0) * model.grid.mask_c.interior
    slope = float(jnp.vdot(of_temperature.data, smooth))
    h = 1e-6
    up, down = (loss(at[0].with_data(at[0].data + s * smooth), at[1]) for s in (h, -h))
    assert slope == pytest.approx(float((up - down) / (2 * h)), rel=1e-4)


def test_forward_mode_agrees_with_reverse_mode(rollout):
    model, _, at, value, (of_temperature, of_viscosity) = rollout
    loss = rollout_share(model, weights(model))
    d = jnp.asarray(np.random.default_rng(0).normal(size=at[0].shape)) * model.grid.mask_c.interior
    tangent = (at[0].with_data(d), 0.1 * at[1])
    out, slope = jax.jit(lambda a, t: jax.jvp(loss, a, t))(at, tangent)
    assert float(out) == float(value)
    expected = jnp.vdot(of_temperature.data, d) + 0.1 * at[1] * of_viscosity
    assert float(slope) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_gradient_of_the_ocean_across_ranks(request):
    """One gradient end to end through space, time and ranks: the same as on one rank."""
    comm = world()
    reference = None
    if comm.rank == 0:  # the others wait, and leave it the cores
        _, _, _, value, (g, of_viscosity) = request.getfixturevalue("rollout")
        reference = float(value), np.asarray(g.data), float(of_viscosity)
    value, whole, of_viscosity = comm.broadcast(reference)
    model = ocean(comm)
    loss = rollout_share(model, weights(model))
    at = model.state.temperature, model.params["lateral_viscosity"]
    mine, (here, part) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*at)
    total = jax.jit(model.halos.psum)
    np.testing.assert_allclose(total(mine), value, rtol=1e-12)
    np.testing.assert_allclose(total(part), of_viscosity, rtol=1e-9)
    t = model.decomposition.tile
    scale = np.abs(whole).max()
    np.testing.assert_allclose(
        here.data, whole[:, t.j0 : t.j1, t.i0 : t.i1], rtol=1e-8, atol=1e-11 * scale
    )


def test_hook_may_push_the_flow():
    """A tendency given on the tile alone reaches velocity as well as tracers."""
    from dataclasses import replace

    model = Model(
        "gyre",
        {"grid.nx": 12, "grid.ny": 10, "grid.nz": 3, "forcing.wind_amplitude": 0.0},
        comm=SerialCommunicator(),
    )
    push = lambda state, params, now, grid: {
        "u": (state.u * 0.0 + 1e-6).crop(0),
        "temperature": state.temperature * 0.0,
    }
    model.dynamics = replace(model.dynamics, extra_tendency=push)
    after = jax.jit(model.dynamics.step)(model.state, model.params, model.forcing, model.grid)
    assert 0 < float(np.abs(np.asarray(after.u.interior)).max()) < 1e-6 * model.physics.dt * 2
