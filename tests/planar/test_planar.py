"""Planes: transport against theory, inventories, closures with memory, restarts, tiles,
gradients."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_room import CELL, CLOSURES, SHAPE, model, part, room, source, stirred

from dogcm.components import ConfigError
from dogcm.components.registry import make
from dogcm.corrector.memory import LSTM, Relaxing
from dogcm.decomp import SerialCommunicator, make_layout, world
from dogcm.field import Field
from dogcm.learning.parameters import LearnableSet
from dogcm.planar import (
    PlaneError,
    Recurrent,
    load_tree,
    make_plane,
    place_source,
    save_tree,
    transport,
)

# Tests compile a lot and compute little.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
each_closure = pytest.mark.parametrize("name", CLOSURES)


def jit(function):
    return jax.jit(function, compiler_options=QUICK)


def run(m, params, src, steps, state=None, every=0):
    state = m.at_rest() if state is None else state
    return jit(lambda s, p: m.rollout(s, p, src, steps, every or steps))(state, params)


# ---- transport
def open_plane(n: int, u: float, v: float, d: float, scheme: str, dtype=np.float64):
    """A square of 10 m without obstacles, in uniform motion but for its rim."""
    flow_u, flow_v = np.full((n, n + 1), u), np.full((n + 1, n), v)
    flow_u[:, [0, -1]] = flow_v[[0, -1]] = 0.0
    ones = np.ones((n, n))
    arrays = {"mask": ones, "u": flow_u, "v": flow_v, "eddy_diffusivity": d * ones}
    plane, deco, halos = make_plane(
        SerialCommunicator(), make_layout((n, n), 1, 1, periodic_x=False), arrays,
        (10 / n, 10 / n, 1.0), dtype,
    )  # fmt: skip
    m = model(vertical="closed", scheme=scheme)
    return replace(m, plane=plane, decomposition=deco, halos=halos, closure=None, dt=2.0 / n)


def puff(n, x0, y0, variance):
    x = (np.arange(n) + 0.5) * 10 / n
    return np.exp(-((x - x0) ** 2 + ((x - y0) ** 2)[:, None]) / 2 / variance) / variance


@pytest.mark.parametrize("scheme, least", [("limited", 1.4), ("exponential", 0.6)])
def test_a_puff_moves_and_spreads_as_theory_says(scheme, least):
    """Gaussian in uniform flow: variance grows by 2 D t; the error falls with the order."""
    u, v, d, seconds, errors = 0.5, 0.25, 0.02, 4.0, []
    for n in (20, 40, 80):
        m = open_plane(n, u, v, d, scheme)
        state = m.at_rest()
        start = jnp.asarray(puff(n, 4.0, 4.0, 0.6))
        held = state.held._replace(layers=state.held.layers.with_data(start[None]))
        params = m.params(jax.random.key(0), d)
        last, _ = run(m, params, source(m) * 0.0, round(seconds / m.dt), replace(state, held=held))
        exact = puff(n, 4.0 + u * seconds, 4.0 + v * seconds, 0.6 + 2 * d * seconds)
        errors.append(np.abs(np.asarray(last.concentration.data) - exact).mean())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders[-1] > least, (errors, orders)


@pytest.mark.parametrize("scheme", ["limited", "exponential"])
@pytest.mark.parametrize("speed", [0.5, 50.0])
def test_derivatives_do_not_grow(scheme, speed):
    """In single precision, and at ten times the speed that a step bears."""
    m = open_plane(20, speed, 0.2, 0.01, scheme, np.float32)
    held = m.at_rest().held
    weights = jnp.asarray(np.random.default_rng(5).uniform(-1, 1, (20, 20)), jnp.float32)
    start = jnp.zeros((20, 20), jnp.float32).at[10, 3].set(1e-5)

    def seen(start, d):
        first = held._replace(layers=held.layers.with_data(start[None]))
        params = m.params(jax.random.key(0), d)
        last, _ = m.rollout(replace(m.at_rest(), held=first), params, source(m) * 0.0, 60, every=60)
        return jnp.sum(weights * last.concentration.data)

    slopes = jit(jax.grad(seen, (0, 1)))(start, jnp.float32(0.01))
    assert all(bool(jnp.isfinite(x).all()) for x in slopes)
    # Each cell's content ends somewhere: no more than a few times the largest weight of it.
    assert float(jnp.abs(slopes[0]).max()) < 10.0


def test_derivatives_of_limits_in_next_to_nothing():
    """Far from a source, where squares are below the least number of single precision."""
    sizes = jnp.asarray([2.0**-n for n in range(40, 120, 2)], jnp.float32)
    slopes = lambda f: jax.vmap(jax.grad(f, (0, 1)))(sizes, 2 * sizes)
    assert all(bool(jnp.isfinite(x).all()) for x in slopes(transport._van_leer))
    of_content, of_loss = (np.asarray(x * sizes) for x in slopes(transport._affordable))
    there = np.asarray(sizes) > 1e4 * np.finfo(np.float32).tiny
    np.testing.assert_allclose(of_content[there], 0.5, rtol=1e-6)
    np.testing.assert_allclose(of_loss[there], -0.25, rtol=1e-6)
    assert np.isfinite(of_content).all() and np.isfinite(of_loss).all()


@each_closure
def test_nothing_is_lost_and_nothing_negative(name):
    """Also with steps ten times too long."""
    dt = 5.0
    m = model(name, dt=dt)
    last, seen = run(m, stirred(m), source(m, 2), 40, m.at_rest(2), every=10)
    put = 1e-6 * 40 * dt
    whole = np.asarray(last.inventory().data).sum(axis=(-2, -1))
    np.testing.assert_allclose(whole, put, rtol=1e-13)
    for f in (seen, last.held.layers):
        assert np.asarray(f.data).min() >= 0.0
    plane = np.asarray(last.concentration.data).sum(axis=(-2, -1))
    assert np.all(plane > 0) and np.all(plane < put)
    assert np.all(np.asarray(last.concentration.data)[:, room()["mask"] == 0] == 0)


@pytest.mark.parametrize("name", ["layers", "markov"])
def test_before_training_there_is_the_physics_alone(name):
    m = model(name)
    alone = replace(m, closure=None)
    with_, _ = run(m, m.params(jax.random.key(3)), source(m), 30)
    without, _ = run(alone, alone.params(jax.random.key(3)), source(m), 30)
    np.testing.assert_allclose(
        with_.concentration.data, without.concentration.data, rtol=1e-12, atol=1e-22
    )


@pytest.mark.parametrize("name", ["layers", "relaxing"])
def test_amplitudes_do_not_matter(name):
    m = model(name)
    one, _ = run(m, stirred(m), source(m), 20)
    many, _ = run(m, stirred(m), source(m) * 1e5, 20)
    np.testing.assert_allclose(many.concentration.data, one.concentration.data * 1e5, rtol=1e-6)


def test_layers_are_stepped_exactly():
    """Without flow between cells, what goes to and fro alone: many short steps make a long one
    where a layer only empties."""
    m = model("layers")
    params = stirred(m)
    ready = m.prepared(params)
    state = m.at_rest()
    held = state.held
    full = held.layers.data.at[1:].set(1.0) * m.plane.wet_c.crop(0).data
    held = held._replace(layers=held.layers.with_data(full))
    rates = ready.closure
    no = rates._replace(leaves=rates.leaves * 0.0, onward=rates.onward * 0.0)
    scene = m._scene(ready.plane)
    for_step = lambda dt: no._replace(parts=m.closure._parts(no, dt))
    long = m.closure.exchanged(for_step(8.0), held, scene)
    short = held
    for _ in range(4):
        short = m.closure.exchanged(for_step(2.0), short, scene)
    np.testing.assert_allclose(long.layers.data, short.layers.data, rtol=1e-9, atol=1e-14)
    pace = np.asarray((rates.back + rates.gone).data)
    wet = np.asarray(m.plane.wet_c.interior)
    left = np.exp(-pace * 8.0) * wet
    np.testing.assert_allclose(long.layers.data[1:], left, rtol=1e-9, atol=1e-14)


def test_a_relaxing_memory_tells_the_time():
    """Under constant inputs h(t) = g (1 - exp(-t / tau)), in one step or in many."""
    from dogcm.corrector.layers import constant_level

    m = model("none")
    cell = Relaxing(channels=3, shortest=2.0, longest=200.0)
    x = Field(jnp.asarray(np.random.default_rng(0).normal(size=(2, *SHAPE))), "c")
    h = cell.blank(x)
    level = constant_level(m.halos, x)
    weights = cell.module().init(jax.random.key(0), h, x, level, 1.0)
    step = lambda h, dt: cell.module().apply(weights, h, x, level, dt)
    once = step(h, 30.0)
    for _ in range(10):
        h = step(h, 3.0)
    np.testing.assert_allclose(once.data, h.data, rtol=1e-12)
    far = step(h, 1e9).data
    tau = np.array([2.0, 20.0, 200.0])[:, None, None]
    np.testing.assert_allclose(once.data, far * (1 - np.exp(-30.0 / tau)), rtol=1e-10)


def test_the_twin_without_memory_has_as_many_weights():
    start = lambda n: model(n).params(jax.random.key(0))
    sizes = [sum(x.size for x in jax.tree.leaves(start(n))) for n in ("layers", "markov")]
    assert sizes[0] == sizes[1]


# ---- restarts
@pytest.mark.parametrize("name", ["lstm"])
def test_a_restart_in_the_middle_changes_no_bit(name, tmp_path):
    m, src = model(name), source(model(name), 2)
    params = stirred(m)
    step = jit(lambda s, p: m.rollout(s, p, src, 15, 15)[0])
    half = step(m.at_rest(2), params)
    save_tree(tmp_path / "half.npz", m, half)
    save_tree(tmp_path / "params.npz", m, params)
    again = load_tree(tmp_path / "half.npz", m, m.at_rest(2))
    there = load_tree(tmp_path / "params.npz", m, m.params(jax.random.key(9)))
    whole, parts = step(half, params), step(again, there)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts)):
        np.testing.assert_array_equal(a, b)
    assert float(parts.time) == 30 * m.dt


def test_a_file_of_something_else_is_refused(tmp_path):
    m = model("lstm")
    path = tmp_path / "state.npz"
    save_tree(path, m, m.at_rest())
    other = replace(m, closure=Recurrent(memory={"kind": "lstm", "channels": 5}, width=6))
    with pytest.raises(PlaneError, match="another closure.*channels"):
        load_tree(path, other, other.at_rest())
    with pytest.raises(PlaneError, match="held/layers is \\(2, 12, 17\\) there, \\(4, 2"):
        load_tree(path, m, m.at_rest(4))
    finer = model("lstm", arrays=room((24, 17)))
    with pytest.raises(PlaneError, match="another plane"):
        load_tree(path, finer, finer.at_rest())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PlaneError, match="no file of a plane|damaged|another"):
        load_tree(path, m, m.at_rest())
    with pytest.raises(PlaneError, match="no such file"):
        load_tree(tmp_path / "absent.npz", m, m.at_rest())


# ---- bad input
def changed(**arrays):
    made = room() | arrays
    return make_plane(SerialCommunicator(), make_layout(SHAPE, 1, 1, periodic_x=False), made, CELL)


def test_what_cannot_be_a_plane_is_refused():
    u = room()["u"]
    with pytest.raises(PlaneError, match="u is \\(12, 17\\), wanted: \\(12, 18\\)"):
        changed(u=u[:, :-1])
    u = u.copy()
    u[3, 5] = 0.3  # the west face of the pillar
    with pytest.raises(PlaneError, match="u\\[3, 5\\] = 0.3 m s-1 blows through a wall"):
        changed(u=u)
    with pytest.raises(PlaneError, match="mask\\[0, 0\\] is not finite"):
        changed(mask=np.full(SHAPE, np.nan))
    with pytest.raises(PlaneError, match="negative"):
        changed(eddy_diffusivity=-np.ones(SHAPE))
    for opening in (-3.0, 5.0):
        with pytest.raises(PlaneError, match="open_x is a part, from 0 to 1"):
            changed(open_x=np.full((SHAPE[0], SHAPE[1] + 1), opening))
    with pytest.raises(PlaneError, match="mixng: unknown; a plane is made of mask, u, v,"):
        changed(mixng=np.ones(SHAPE))
    with pytest.raises(PlaneError, match="periodic_x=False"):
        make_plane(SerialCommunicator(), make_layout(SHAPE, 1, 1), room(), CELL)


def test_sources_are_in_the_air():
    mask = room()["mask"]
    rate = place_source(SHAPE, CELL, (1.2, 0.3), 2.0, mask)
    assert rate[0, 2] * np.prod(CELL) == pytest.approx(2.0) and (rate > 0).sum() == 1
    with pytest.raises(PlaneError, match="x = 9 m, y = 0.3 m is outside the plane"):
        place_source(SHAPE, CELL, (9.0, 0.3))
    with pytest.raises(PlaneError, match="is in a wall \\(cell \\[3, 5\\]\\)"):
        place_source(SHAPE, CELL, (2.7, 1.6), mask=mask)


def test_a_source_is_a_field_of_the_tile_or_an_array_of_the_plane():
    m = replace(model(), closure=None)
    params, rate = m.params(None), place_source(SHAPE, CELL, (1.2, 0.3))
    field = Field(jnp.asarray(rate), "c")
    last = [m.rollout(m.at_rest(), params, s, 2)[0] for s in (rate, field, lambda time: rate)]
    for other in last[1:]:
        np.testing.assert_array_equal(other.concentration.data, last[0].concentration.data)
    assert float(last[0].concentration.data.max()) > 0
    for wrong in (rate[:1], Field(field.data[:1], "c"), Field(field.data, "u"), 1.0):
        with pytest.raises(PlaneError, match="the source is .* wanted"):
            m.rollout(m.at_rest(), params, wrong, 2)
    for steps, every in ((0, 1), (-10, 1), (2, 0)):
        with pytest.raises(PlaneError, match="positive and a multiple"):
            m.rollout(m.at_rest(), params, rate, steps, every)
    with pytest.raises(PlaneError, match="positive and finite"):
        replace(m, dt=np.inf)


def test_names_and_options_are_checked():
    with pytest.raises(ConfigError, match="unknown kind 'gruu'; did you mean gru"):
        make("memory", "gruu")
    with pytest.raises(ConfigError, match="shorter than shortest"):
        make("plane_closure", {"kind": "layers", "longest": 1.0, "shortest": 2.0})
    with pytest.raises(PlaneError, match="multiple"):
        run(model(), stirred(model()), source(model()), 10, every=3)

    def twice():
        class Mine(Relaxing):
            kind = "lstm"

    with pytest.raises(ConfigError, match="two components of the slot memory are named 'lstm'"):
        twice()
    assert LSTM(channels=5).states == 10


# ---- gradients
def loss(m, params, src, steps=20):
    _, seen = m.rollout(m.at_rest(), params, src, steps, 10)
    weight = part(m, np.random.default_rng(7).normal(size=m.decomposition.layout.shape))
    return jnp.sum((seen.data * 1e6) ** 2 * (1 + 0.3 * weight))


@pytest.mark.parametrize("name", ["layers", "markov", "lstm"])
def test_gradients_are_slopes(name):
    """Along a random direction of all parameters, by central differences."""
    m = model(name)
    params, src = stirred(m), source(m)
    keys = iter(jax.random.split(jax.random.key(5), 99))
    along = jax.tree.map(lambda x: jax.random.normal(next(keys), x.shape) * (1e-3 + jnp.abs(x)),
                         params)  # fmt: skip
    moved = lambda h: loss(m, jax.tree.map(lambda a, b: a + h * b, params, along), src)
    value, h = jit(jax.value_and_grad(moved)), 1e-5
    slope = float(value(0.0)[1])
    found = float(value(h)[0] - value(-h)[0]) / (2 * h)
    assert slope == pytest.approx(found, rel=2e-5), (slope, found)
    assert slope != 0


def test_diffusivities_and_sources_are_learnable_like_any_parameter():
    m = model("layers")
    learn = LearnableSet(["plane_diffusivity: orthotropic", "source_strength"])
    params = stirred(m)
    raw = learn.initial(params, m.plane)
    again = learn.apply(raw, params, m.halos, m.plane)
    a, _ = run(m, params, source(m), 10)
    b, _ = run(m, again, source(m), 10)
    np.testing.assert_allclose(a.concentration.data, b.concentration.data, rtol=1e-12, atol=1e-24)
    slopes = jit(jax.grad(lambda r: loss(m, learn.apply(r, params, m.halos, m.plane), source(m))))(
        raw
    )
    west, south = slopes["plane_diffusivity"]
    assert (west.at, south.at) == ("u", "v")
    assert float(jnp.abs(west.data).max()) > 0 and float(jnp.abs(south.data).max()) > 0
    closed = np.asarray(m.plane.wet_u.interior) == 0
    assert np.all(np.asarray(west.data)[closed] == 0), "walls teach nothing"


# ---- tiles
def on_tiles(name, **options):
    comm = world()
    layout = make_layout(
        SHAPE, max(comm.size // 2, 1), min(comm.size, 2), periodic_x=False, min_cells=3
    )
    return comm, model(name, comm, layout, **options)


@pytest.mark.mpi
@pytest.mark.parametrize(
    "name, options",
    [
        pytest.param("none", {}, marks=pytest.mark.ranks(2)),
        # A step that is too long for the flow, so that it is slowed down across tiles.
        pytest.param("none", {"scheme": "limited", "dt": 3.0}, marks=pytest.mark.ranks(2)),
        pytest.param("layers", {}, marks=pytest.mark.ranks(2, 4)),
    ],
)
def test_the_same_bits_on_tiles(name, options):
    comm, m = on_tiles(name, **options)
    last, _ = run(m, stirred(m), source(m, 2), 30, m.at_rest(2))
    whole = [m.decomposition.gather(np.asarray(f.data)) for f in last.held]
    if comm.rank == 0:
        alone = model(name, **options)
        want, _ = run(alone, stirred(alone), source(alone, 2), 30, alone.at_rest(2))
        # The network that gives the layers their rates multiplies matrices as wide as a tile: its
        # sums round by how many columns there are. Without it there are the same bits.
        off = 0.0 if name == "none" else 1e-12
        for got, f in zip(whole, want.held):
            np.testing.assert_allclose(got, f.data, rtol=off, atol=off * np.abs(got).max(initial=0))
        assert float(jnp.max(want.concentration.data)) > 0


@pytest.mark.mpi
@pytest.mark.ranks(4)
def test_gradients_are_the_same_on_tiles():
    """Through 150 steps with memory: of a replicated parameter and of tiled maps."""
    comm, m = on_tiles("layers")

    def gradient(m):
        g = jit(jax.grad(lambda p: loss(m, p, source(m), 150)))(stirred(m))
        d = g["plane_diffusivity"][0].data
        # Halos of the given diffusivity hold shares of the neighbours' cells: compare the sum.
        return g["closure"]["log_tau"], jnp.sum(d), g["closure"]["maps"]

    found = gradient(m)
    shared = [np.asarray(jax.jit(m.halos.psum)(x)) for x in found[:2]]
    maps = m.decomposition.gather(np.asarray(found[2].data))
    if comm.rank == 0:
        alone = gradient(model("layers"))
        for a, b in zip(shared, alone[:2]):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())
        want = np.asarray(alone[2].data)
        np.testing.assert_allclose(maps, want, rtol=1e-10, atol=1e-10 * np.abs(want).max())


@pytest.mark.mpi
@pytest.mark.ranks(2)
def test_a_restart_goes_to_any_layout(tmp_path_factory):
    comm, m = on_tiles("lstm")
    folder = comm.broadcast(str(tmp_path_factory.mktemp("planes")) if comm.rank == 0 else None)
    last, _ = run(m, stirred(m), source(m), 5)
    save_tree(f"{folder}/s.npz", m, last)
    if comm.rank == 0:
        alone = model("lstm")
        there = load_tree(f"{folder}/s.npz", alone, alone.at_rest())
        want, _ = run(alone, stirred(alone), source(alone), 5)
        np.testing.assert_allclose(there.held.hidden.data, want.held.hidden.data, rtol=1e-10)
    back = load_tree(f"{folder}/s.npz", m, m.at_rest())
    np.testing.assert_array_equal(back.held.hidden.data, last.held.hidden.data)
