"""Rollouts: what the backward pass keeps must not change the gradient; memory and messages are as
promised."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import core
from toy_ocean import STEPS, TRUTH, Toy

from dogcm.decomp import SerialCommunicator, world
from dogcm.learning.checkpointing import (
    MENU,
    factors,
    measure_memory,
    predict_memory,
    recompute,
    repeat,
    tree_bytes,
)
from dogcm.learning.rollout import rollout

PARAMS = {n: jnp.asarray(v) for n, v in TRUTH.items()}


def share(toy, menu, steps=STEPS, **options):
    """A loss on observations of a rollout; of the start and of the parameters."""

    def loss(values, params):
        state = toy.start(1)
        state = state | {"c": state["c"].with_data(values)}
        last, seen = rollout(
            toy.step,
            state,
            params,
            toy.forcing,
            None,
            steps,
            checkpoint=menu,
            observe=lambda s: s["c"].data,
            **options,
        )
        return jnp.sum(seen**2) + jnp.sum(jnp.sin(last["c"].data))

    return loss


def gradient(toy, menu, **options):
    return jax.jit(jax.value_and_grad(share(toy, menu, **options), argnums=(0, 1)))(
        toy.start(1)["c"].data, PARAMS
    )


@pytest.fixture(scope="module")
def toy():
    return Toy(SerialCommunicator())


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize(
    "options", [{}, {"observe_every": 1}, {"observe_every": 3, "truncate": 2}], ids=str
)
def test_every_menu_gives_the_same_gradient(toy, options):
    expected = gradient(toy, "none", **options)
    for menu in MENU[1:]:
        close(gradient(toy, menu, **options), expected, rtol=1e-13, atol=1e-15)


def test_gradient_against_a_plain_loop_and_finite_differences(toy):
    def plain(values, params):
        c, total = toy.start(1)["c"].with_data(values), 0.0
        state = {"c": c, "steps": 0}
        for n in range(STEPS):
            state = toy.step(state, params, toy.forcing, None)
            total = total + jnp.sum(state["c"].data ** 2) * (n % 2)
        return total + jnp.sum(jnp.sin(state["c"].data))

    at = toy.start(1)["c"].data, PARAMS
    value, (of_start, of_params) = gradient(toy, "step", observe_every=2)
    expected = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))(*at)
    close((value, (of_start, of_params)), expected, rtol=1e-12, atol=1e-14)
    h, loss = 1e-6, jax.jit(share(toy, "step", observe_every=2))
    up, down = (loss(at[0], PARAMS | {"k": PARAMS["k"] + s}) for s in (h, -h))
    assert float(of_params["k"]) == pytest.approx(float(up - down) / (2 * h), rel=1e-7)


def test_observations_are_those_of_the_run(toy):
    look = lambda s: (s["steps"], s["c"].data)
    last, seen = rollout(
        toy.step,
        toy.start(2),
        PARAMS,
        toy.forcing,
        None,
        6,
        observe=look,
        observe_every=2,
        checkpoint="nested",
    )
    np.testing.assert_array_equal(seen[0], [2, 4, 6])
    np.testing.assert_array_equal(seen[1][-1], last["c"].data)
    half, nothing = rollout(toy.step, toy.start(2), PARAMS, toy.forcing, None, 4)
    assert nothing is None
    np.testing.assert_array_equal(seen[1][1], half["c"].data)


@pytest.mark.parametrize("every, menu", [(2, "nested"), (3, "step")])
def test_means_are_those_of_the_states_about_each_time(toy, every, menu):
    """States of a plain loop, averaged by hand; the gradient is that of this average."""
    count, look = 6 // every, lambda s: {"c": s["c"].data}
    options = dict(observe=look, observe_every=every, mean=True)

    def by_hand(values, params):
        state, states = toy.start(2) | {"c": toy.start(2)["c"].with_data(values)}, []
        for _ in range(6 + every // 2):
            state = toy.step(state, params, toy.forcing, None)
            states.append(state["c"].data)
        states = jnp.stack(states[every // 2 :]).reshape(count, every, *toy.shape)
        return states.mean(1), state["c"].data

    def rolled(values, params):
        start = toy.start(2) | {"c": toy.start(2)["c"].with_data(values)}
        last, seen = rollout(
            toy.step, start, params, toy.forcing, None, 6, checkpoint=menu, **options
        )
        return seen["c"], last["c"].data

    at = toy.start(2)["c"].data, PARAMS

    def checked(function):
        def loss(*at):
            means, last = function(*at)
            return jnp.sum(means**3) + jnp.sum(last), means

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(*at)

    close(checked(rolled), checked(by_hand), rtol=1e-12, atol=1e-14)


def test_truncation_cuts_the_way_back(toy):
    """With a cut after 4 of 6 steps the gradient of the last value is that of a rollout from the
    4th state."""
    final = lambda s: s["c"].data

    def loss(params, state, steps, **options):
        return jnp.sum(
            final(rollout(toy.step, state, params, toy.forcing, None, steps, **options)[0]) ** 3
        )

    middle, _ = rollout(toy.step, toy.start(3), PARAMS, toy.forcing, None, 4)
    cut = jax.grad(loss)(PARAMS, toy.start(3), 6, truncate=4)
    expected = jax.grad(loss)(PARAMS, middle, 2)
    whole = jax.grad(loss)(PARAMS, toy.start(3), 6)
    close(cut, expected, rtol=1e-12)
    assert abs(float(whole["k"] - cut["k"])) > 1e-3 * abs(float(cut["k"]))
    of_start = jax.grad(
        lambda x: loss(PARAMS, toy.start(3) | {"c": toy.start(3)["c"].with_data(x)}, 6, truncate=4)
    )
    assert not np.any(of_start(toy.start(3)["c"].data)), "the start lies before the cut"


def test_offline_sums_what_is_added_along_the_plain_rollout(toy):
    """Values and gradients against a plain loop whose states are given; nothing passes from step
    to step: a source that is added at every step counts just as often."""
    plain = lambda s, p, *rest: toy.step(s, {n: v for n, v in p.items() if n != "source"}, *rest)
    source = toy.start(5)["c"]

    def offline(values, menu):
        options = dict(observe=lambda s: s["c"].data, observe_every=2, offline=plain)
        params = PARAMS | {"source": source.with_data(values)}
        start, fixed = toy.start(1), (toy.forcing, None)
        last, seen = rollout(toy.step, start, params, *fixed, STEPS, checkpoint=menu, **options)
        return jnp.sum(seen**2), (last["c"].data, seen)

    state, expected = toy.start(1), []
    for n in range(STEPS):
        state = plain(state, PARAMS, toy.forcing, None)
        expected.append(state["c"].data + (n + 1) * source.data)
    (_, (last, seen)), slope = jax.value_and_grad(offline, has_aux=True)(source.data, "step")
    close(seen, jnp.stack(expected[1::2]), rtol=1e-12, atol=1e-14)
    close(last, expected[-1], rtol=1e-12, atol=1e-14)
    by_hand = sum(2 * n * x for n, x in zip((2, 4, 6), expected[1::2]))
    close(slope, by_hand, rtol=1e-12, atol=1e-14)
    online, _ = rollout(toy.step, toy.start(1), PARAMS | {"source": source}, toy.forcing, None, 6)
    assert float(jnp.abs(online["c"].data - last).max()) > 0.1


def test_second_derivatives_and_batches(toy):
    """Forward over reverse where messages are kept, and ``vmap`` over an ensemble where all is
    repeated."""
    direction = {"k": jnp.asarray(0.3), "pull": jnp.asarray(-0.2)}
    start = toy.start(1)["c"].data
    of = lambda menu: jax.grad(lambda p: share(toy, menu)(start, p))
    first, second = (
        jax.jit(lambda p, m=m: jax.jvp(of(m), (p,), (direction,))[1])(PARAMS)
        for m in ("none", "halo")
    )
    close(first, second, rtol=1e-11)
    ensemble = jnp.stack([start, 0.5 * start])
    one = jax.grad(share(toy, "nested"), argnums=0)
    together = jax.jit(jax.vmap(lambda x: one(x, PARAMS)))(ensemble)
    close(together, jnp.stack([one(x, PARAMS) for x in ensemble]), rtol=1e-12, atol=1e-14)


def test_recompute_costs_nothing_for_what_is_not_differentiated():
    """No product with the derivative of an argument that has no tangent."""
    f = recompute(lambda x, frozen: jnp.sin(x) * jnp.sum(jnp.cosh(frozen)))
    jaxpr = jax.make_jaxpr(jax.grad(lambda x, frozen: f(x, frozen), argnums=0))(1.0, jnp.ones(3))
    assert "cosh" in str(jaxpr) and "sinh" not in str(jaxpr)
    assert "sinh" in str(
        jax.make_jaxpr(jax.grad(lambda x, y: f(x, y), argnums=1))(1.0, jnp.ones(3))
    )


@pytest.mark.parametrize(
    "count, levels, sum_", [(1000, 3, 30), (1000, 4, 23), (48, 3, 11), (7, 3, 7), (1, 3, 1)]
)
def test_factors(count, levels, sum_):
    found = factors(count, levels)
    assert int(np.prod(found)) == count and sum(found) == sum_


@pytest.mark.parametrize("count", [1, 2, 13, 47, 101])
def test_any_number_of_steps_can_be_nested(count):
    """Prime numbers too: the body runs just that often, and outputs come in order."""
    body = lambda carry, fixed: (carry + fixed, carry)
    last, out = repeat(body, jnp.asarray(0.0), count, jnp.asarray(1.0), "nested")
    assert float(last) == count
    np.testing.assert_array_equal(out, np.arange(count))


def test_memory_of_a_long_gradient():
    """1000 steps: nested checkpoints keep a few dozen states, one checkpoint a step a thousand."""
    toy = Toy(SerialCommunicator(), shape=(100, 100))
    state, found = tree_bytes(toy.start(0)), {}
    residual = measure_memory(
        jax.grad(share(toy, "step", steps=1), argnums=1), toy.start(0)["c"].data, PARAMS
    )
    for menu in ("nested", "step"):
        of_params = jax.grad(share(toy, menu, steps=1000), argnums=1)
        found[menu] = measure_memory(of_params, toy.start(0)["c"].data, PARAMS)
        assert found[menu] == pytest.approx(predict_memory(menu, 1000, state, residual), rel=0.6)
    assert found["nested"] < 60 * state < 1000 * state < found["step"]


@pytest.mark.parametrize(
    "options, says",
    [
        ({"checkpoint": "all"}, "choose none, step, halo, nested"),
        ({"observe_every": 4}, "multiple"),
        ({"truncate": 0}, "at least 1"),
    ],
)
def test_bad_requests(toy, options, says):
    with pytest.raises(ValueError, match=says):
        rollout(toy.step, toy.start(0), PARAMS, toy.forcing, None, 6, **options)


# ---- across ranks
def messages(jaxpr, times: int = 1) -> int:
    """Messages that a program sends: loops count as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        total += times * ("sendrecv" in equation.primitive.name)
        inner = (
            times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        )
        total += sum(messages(j, inner) for j in core.jaxprs_in_params(equation.params))
    return total


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("menu", MENU)
def test_gradient_and_messages_across_ranks(menu, toy):
    """Every menu gives the serial gradient, and repeats messages only where promised."""
    comm = world()
    tiled = Toy(comm)
    value, (of_start, of_params) = gradient(tiled, menu, observe_every=3)
    expected, (whole, all_params) = gradient(toy, "none", observe_every=3)
    total = jax.jit(tiled.halos.psum)
    np.testing.assert_allclose(total(value), expected, rtol=1e-13)
    np.testing.assert_allclose(of_start, tiled.tile(whole), rtol=1e-11, atol=1e-13)
    for name, g in of_params.items():
        np.testing.assert_allclose(total(g), all_params[name], rtol=1e-12)
    at = tiled.start(1)["c"].data, PARAMS
    forward = messages(jax.make_jaxpr(share(tiled, menu, steps=8))(*at).jaxpr)
    both = messages(jax.make_jaxpr(jax.grad(share(tiled, menu, steps=8)))(*at).jaxpr)
    assert forward == 2 * 8
    assert both / forward == {"none": 2, "halo": 2, "step": 3, "nested": 5}[menu]
