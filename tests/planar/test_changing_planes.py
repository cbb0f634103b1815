"""Planes whose flow and mixing change, and the exchange of all layers at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from small_room import CELL, SHAPE, part, room, source, stirred

from dogcm.decomp import SerialCommunicator, make_layout, world
from dogcm.field import Field
from dogcm.planar import Layers, PlaneError, PlaneModel, make_plane
from dogcm.planar.closures import Rates, transition

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
EVERY, DT, INTERVALS = 4.0, 1.0, 3


def weather(same: bool = False) -> dict:
    """A room with a flow, mixing and two signals of three intervals."""
    still, random = room(), np.random.default_rng(3)
    size = np.ones(INTERVALS) if same else np.array([1.0, -0.5, 0.3])
    shaped = size[:, None, None]
    mixing = 0.4 * random.random(SHAPE)
    return still | {
        "u": shaped * still["u"],
        "v": shaped * still["v"],
        "mixing": np.abs(shaped) * mixing,
        "signals": shaped[:, None] * random.normal(size=(2, *SHAPE)),
    }


def changing(arrays=None, comm=None, layout=None, closure: dict | None = None) -> PlaneModel:
    layout = layout or make_layout(SHAPE, 1, 1, periodic_x=False)
    arrays = weather() if arrays is None else arrays
    made = make_plane(comm or SerialCommunicator(), layout, arrays, CELL, every=EVERY)
    options = {"count": 3, "width": 6, "coupled": True} | (closure or {})
    return PlaneModel(*(made[0], made[2], made[1]), DT, Layers(**options))


def run(m, steps, every=0):
    roll = lambda p: m.rollout(m.at_rest(), p, source(m), steps, every or steps)
    return jax.jit(roll, compiler_options=QUICK)(stirred(m))


def random_rates(n: int, size: float, seed: int = 0) -> Rates:
    random = np.random.default_rng(seed)
    fields = [Field(jnp.asarray(size * random.random((n, 2, 3)) ** 3), "c") for _ in range(4)]
    return Rates(*fields, flow=None, pace=None)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("size, off", [(1e-3, 1e-14), (0.5, 1e-10), (20.0, 1e-3)])
def test_all_layers_exchange_as_the_exponential_says(n, size, off):
    """Beside scipy's; and whatever the step, nothing is lost or negative."""
    rates, dt = random_rates(n, size), 2.0
    got = np.asarray(transition(rates, dt).data)
    assert got.min() >= 0.0
    np.testing.assert_allclose(got.sum(0), 1.0, rtol=4e-16)
    leaves, back, gone, onward = (np.asarray(f.data) for f in rates[:4])
    for j, i in np.ndindex(2, 3):
        a = np.zeros((n + 2, n + 2))
        for k in range(n):
            a[1 + k, 0], a[0, 1 + k] = leaves[k, j, i], back[k, j, i]
            a[n + 1, 1 + k] = gone[k, j, i]
            if n > 1:
                a[1 + (k + 1) % n, 1 + k] = onward[k, j, i]
        a -= np.diag(a.sum(0))
        np.testing.assert_allclose(got[:, :, j, i], expm(a * dt), atol=off)


def test_a_flow_that_stays_is_a_steady_flow():
    m = changing(weather(same=True))
    last, _ = run(m, 12)
    steady = {k: v[0] if k in ("u", "v", "mixing", "signals") else v
              for k, v in weather(same=True).items()}  # fmt: skip
    layout = make_layout(SHAPE, 1, 1, periodic_x=False)
    plane, d, halos = make_plane(SerialCommunicator(), layout, steady, CELL)
    alone = PlaneModel(plane, halos, d, DT, m.closure)
    want, _ = run(alone, 12)
    np.testing.assert_allclose(last.held.layers.data, want.held.layers.data, rtol=1e-12, atol=1e-22)


def test_each_interval_has_its_own_flow():
    """Piece by piece with steady planes; the last interval lasts."""
    m = changing()
    _, seen = run(m, 16, every=4)
    layout = make_layout(SHAPE, 1, 1, periodic_x=False)
    state, params, told = m.at_rest(), stirred(m), weather()
    for n in (0, 1, 2, 2):
        now = {k: v[n] if k in ("u", "v", "mixing", "signals") else v for k, v in told.items()}
        plane, d, halos = make_plane(SerialCommunicator(), layout, now, CELL)
        piece = PlaneModel(plane, halos, d, DT, m.closure)
        roll = jax.jit(
            lambda s, m=piece: m.rollout(s, params, source(m), 4), compiler_options=QUICK
        )
        state, _ = roll(state)
    np.testing.assert_allclose(seen.data[-1], state.concentration.data, rtol=1e-11, atol=1e-22)


@pytest.mark.parametrize("remembers", [True, False])
def test_nothing_is_lost_and_nothing_negative_as_the_flow_changes(remembers):
    m = changing(closure={"remembers": remembers})
    last, seen = run(m, 40, every=10)
    whole = float(np.asarray(last.inventory().data).sum())
    assert whole == pytest.approx(1e-6 * 40 * DT, rel=1e-12)
    assert np.asarray(seen.data).min() >= 0 and np.asarray(last.held.layers.data).min() >= 0
    assert float(jnp.sum(last.held.gone.data)) > 0


def test_nothing_is_gone_where_layers_are_closed():
    last, _ = run(changing(closure={"closed": True}), 20)
    assert float(jnp.sum(last.held.gone.data)) == 0.0
    assert float(jnp.sum(last.held.layers.data)) == pytest.approx(1e-6 * 20 * DT, rel=1e-12)


def still(mixing) -> PlaneModel:
    """Nothing flows, and mixing is as strong everywhere."""
    told = weather() | {"u": weather()["u"] * 0, "v": weather()["v"] * 0}
    told |= {"mixing": np.array(mixing)[:, None, None] * np.ones(SHAPE)}
    return changing(told, closure={"closed": True})


def filled(m: PlaneModel):
    """One everywhere in the plane, nothing beside it."""
    start = m.at_rest()
    one = start.held.layers.data.at[0].set(m.plane.wet_c.interior)
    held = start.held._replace(layers=start.held.layers.with_data(one))
    return type(start)(held, start.time)


def test_what_is_mixed_away_without_a_closure_is_gone():
    m = still([0.3, 0.0, 0.1])
    m = PlaneModel(m.plane, m.halos, m.decomposition, DT)
    params = m.params(jax.random.key(0))
    last, _ = jax.jit(lambda s: m.rollout(s, params, source(m) * 0.0, 12))(filled(m))
    left = np.exp(-0.4 * EVERY) * room()["mask"]
    np.testing.assert_allclose(last.concentration.data, left, rtol=1e-10)


def test_mixing_for_long_leaves_plane_and_layers_alike():
    """Before training: layers hold the more the thicker they are, and nothing is lost."""
    m = still([40.0, 40.0, 40.0])
    params = m.params(jax.random.key(0))
    last, _ = jax.jit(lambda s: m.rollout(s, params, source(m) * 0.0, 600))(filled(m))
    c, *h = np.asarray(last.held.layers.data)[:, room()["mask"] > 0]
    thinner = np.exp(params["closure"]["mixed"][1])
    np.testing.assert_allclose(h * thinner[:, None], np.stack([c] * len(h)), rtol=1e-3)
    np.testing.assert_allclose(c + np.sum(h, axis=0), 1.0, rtol=1e-10)


@pytest.mark.slow
def test_gradients_through_a_changing_flow_are_slopes():
    m = changing()
    params, src = stirred(m), source(m)
    keys = iter(jax.random.split(jax.random.key(5), 99))
    along = jax.tree.map(
        lambda x: jax.random.normal(next(keys), x.shape) * (1e-3 + jnp.abs(x)), params
    )

    def moved(h):
        now = jax.tree.map(lambda a, b: a + h * b, params, along)
        _, seen = m.rollout(m.at_rest(), now, src, 12, 4)
        return jnp.sum((seen.data * 1e6) ** 2)

    value, h = jax.jit(jax.value_and_grad(moved), compiler_options=QUICK), 1e-5
    slope, found = float(value(0.0)[1]), float(value(h)[0] - value(-h)[0]) / (2 * h)
    assert slope == pytest.approx(found, rel=2e-5) and slope != 0


def test_gates_stay_where_they_have_a_slope():
    m = changing()
    weights = m.closure.weights(jax.random.key(0), m.plane)
    weights["gates"] = weights["gates"] - 1.0
    assert float(m.closure.feasible(weights)["gates"].min()) == 0.0
    none = PlaneModel(m.plane, m.halos, m.decomposition, DT, None)
    assert "closure" not in none.params(jax.random.key(0))


def test_what_does_not_fit_the_intervals_is_refused():
    told = weather()
    with pytest.raises(PlaneError, match=r"v is \(2, 13, 17\), wanted: \(3, 13, 17\)"):
        changing(told | {"v": told["v"][:2]})
    with pytest.raises(PlaneError, match=r"mixing is \(12, 17\), wanted: \(3, 12, 17\)"):
        changing(told | {"mixing": told["mixing"][0]})
    with pytest.raises(PlaneError, match=r"signals is .*, wanted: \(3, 2, 12, 17\)"):
        changing(told | {"signals": told["signals"][:1]})
    with pytest.raises(PlaneError, match="mixing is negative"):
        changing(told | {"mixing": -told["mixing"]})
    layout = make_layout(SHAPE, 1, 1, periodic_x=False)
    with pytest.raises(PlaneError, match=r"u is \(3, 12, 18\), wanted: \(12, 18\)"):
        make_plane(SerialCommunicator(), layout, told, CELL)
    with pytest.raises(PlaneError, match="every = -1"):
        make_plane(SerialCommunicator(), layout, told, CELL, every=-1.0)


@pytest.mark.mpi
@pytest.mark.ranks(2, slow=(2,))
def test_a_changing_plane_is_the_same_on_tiles():
    comm = world()
    layout = make_layout(SHAPE, 1, comm.size, periodic_x=False, min_cells=3)
    m = changing(comm=comm, layout=layout)
    last, _ = run(m, 12)
    whole = [m.decomposition.gather(np.asarray(f.data)) for f in last.held]

    def slope(m):
        weight = part(m, np.random.default_rng(7).normal(size=SHAPE))

        def loss(params):
            _, seen = m.rollout(m.at_rest(), params, source(m), 12, 4)
            return jnp.sum((seen.data * 1e6) ** 2 * (1 + 0.3 * weight))

        return jax.jit(jax.grad(loss), compiler_options=QUICK)(stirred(m))["closure"]["log_tau"]

    found = np.asarray(jax.jit(m.halos.psum)(slope(m)))
    if comm.rank == 0:
        alone = changing()
        want, _ = run(alone, 12)
        for got, f in zip(whole, want.held):
            off = 1e-12 * np.abs(f.data).max(initial=0)
            np.testing.assert_allclose(got, f.data, rtol=1e-12, atol=off)
        np.testing.assert_allclose(found, slope(alone), rtol=1e-10)
