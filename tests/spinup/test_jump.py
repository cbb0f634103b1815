"""The learned jump: what it keeps, what it refuses, its slope, and that it learns."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jumps import AGE, DIFFUSIVITY, SMALL, made_up, ocean, problem_in, spun_up
from small_basins import turning

from dogcm.components import ConfigError
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.spinup import (
    Anderson,
    Example,
    JumpConfig,
    JumpError,
    JumpVariable,
    JumpWeights,
    LearnedJump,
    Training,
    equilibrium,
    predict,
    train_jump,
)
from dogcm.spinup.jump.training import Prepared, loss_of_process

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
CONFIG = JumpConfig(variables=(AGE,), **SMALL)
ROUND_OFF = 1e-14


@pytest.fixture(scope="module")
def aged():
    """An ocean with age, its problem, the first years from 0, and weights."""
    model = ocean()
    problem = problem_in(model, "age")
    states = spun_up(problem, problem.space.stacked(model.state.tracers), CONFIG.years)
    return model, problem, states, made_up(problem, states, CONFIG)


def test_age_stays_within_its_bounds_and_only_then(aged):
    _, problem, states, weights = aged
    mask = np.asarray(problem.space.mask) > 0
    kept = np.asarray(predict(problem, states, weights).state)[0]
    free = np.asarray(predict(problem, states, weights, ()).state)[0]
    assert (kept[~mask] == 0).all() and kept.min() >= 0 and kept.max() == AGE.most
    assert free.max() > AGE.most
    inside = free < AGE.most
    np.testing.assert_array_equal(kept[inside], free[inside])
    # The first layer is held at 0 by the map, and so by the jump.
    assert (kept[0] == 0).all() and kept[1][mask[1]].min() > 0


def test_a_difference_can_be_negative_and_bounds_cut_it(aged):
    _, problem, states, _ = aged
    config = CONFIG.model_copy(update={"form": "difference"})
    weights = made_up(problem, states, config)
    least = []
    for factor in (-20.0, 20.0):
        values = weights.reference.values * np.array([1.0, factor])[:, None, None]
        strong = dataclasses.replace(weights.reference, values=values)
        turned = dataclasses.replace(weights, reference=strong)
        least.append(np.asarray(predict(problem, states, turned, ()).state).min())
        assert np.asarray(predict(problem, states, turned).state).min() == 0
    assert min(least) < 0


def test_phosphorus_is_kept_to_round_off():
    model = ocean({"cycle": {"kind": "phosphorus"}})
    problem = problem_in(model, "phosphate")
    start = problem.space.stacked(model.state.tracers)
    problem.find_invariants(start)
    level = float(start[0].max())
    config = JumpConfig(
        variables=(
            JumpVariable(name="phosphate", start=level, scale=level, most=10 * level),
            JumpVariable(name="dop", scale=0.01 * level, most=level),
        ),
        **SMALL,
    )
    states = spun_up(problem, start, config.years)
    weights = made_up(problem, states, config)
    kept, free = (predict(problem, states, weights, c).state for c in (None, ("bounds",)))
    off = lambda x: abs(problem.products(x)[0] / problem.contents[0] - 1.0)
    assert off(kept) < ROUND_OFF < 1e-3 < off(free)
    assert np.asarray(kept).min() >= 0
    # The map takes it as a start, and keeps the same content.
    assert off(problem.year(kept)) < 1e-12


def test_a_jump_is_a_start_for_another_method(aged):
    model, problem, states, weights = aged
    alone = equilibrium(model, "age", Anderson(lumped=1), 1e-9, problem)
    start = model.state.tracers["age"]
    tracers = {**model.state.tracers, "age": start.with_data(0.0 * start.data)}
    model.state = dataclasses.replace(model.state, tracers=tracers)
    way = LearnedJump(weights, then=Anderson(lumped=1))
    found = equilibrium(model, "age", way, 1e-9, problem)
    space = problem.space
    a, b = space.stacked(alone.tracers), space.stacked(found.tracers)
    assert space.residual(a - b, a) < 1e-7
    # The first years, then what the jump made of them.
    said = predict(problem, states, weights).state
    expected = space.residual(problem.year(said) - said, problem.year(said))
    assert found.history[CONFIG.years].residual == pytest.approx(expected, rel=1e-12)
    assert problem.costs.count("jump") == 1
    model.state = dataclasses.replace(model.state, tracers=tracers)


def test_another_year_on_the_same_problem_is_as_a_new_problem(aged):
    model, problem, _, _ = aged
    other = turning(model, 1.0, periods=1)
    mine, year, given = problem.params[DIFFUSIVITY], problem.circulation, {DIFFUSIVITY: 2e-4}
    problem.carry_by(other, given)
    x = problem.probe()
    turned = problem.year(x), Anderson(lumped=1).iterates(problem, x, 1e-6)
    second = [next(turned[1]) for _ in range(2)][1][0]
    fresh = problem_in(model, "age")
    fresh.circulation, fresh.params = other, fresh.params | {DIFFUSIVITY: jnp.asarray(2e-4)}
    again = Anderson(lumped=1).iterates(fresh, x, 1e-6)
    np.testing.assert_array_equal(turned[0], fresh.year(x))
    np.testing.assert_allclose(second, [next(again) for _ in range(2)][1][0], rtol=1e-12)
    problem.carry_by(year, {DIFFUSIVITY: mine})


@pytest.mark.slow
def test_the_slope_of_the_process_term_is_that_of_differences(aged):
    _, problem, states, weights = aged
    example = Example(np.stack(states), np.asarray(states[-1]), problem.circulation, {})
    config = CONFIG.model_copy(update={"reference": False, "encoders": ("scalars",)})
    prepared = Prepared.of(problem, [example], config, None)
    one = jax.tree.map(lambda x: jnp.asarray(x[0], jnp.float64), prepared.features)
    loss = loss_of_process(problem, config, weight=1.0)
    own = (one, problem.circulation, problem.params)
    (params,) = made_up(problem, states, config, 1).members
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
    rng = np.random.default_rng(1)
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), params)
    moved = lambda h: jax.tree.map(lambda p, d: p + h * d, params, along)
    value_and_slope = jax.jit(lambda h: jax.value_and_grad(loss)(moved(h), *own))
    expected = (value_and_slope(1e-6)[0] - value_and_slope(-1e-6)[0]) / 2e-6
    slope = value_and_slope(0.0)[1]
    found = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(along)))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


class Linear(nn.Module):
    """Something that compiles fast: of each cell from its features and the parameters."""

    @nn.compact
    def __call__(self, features, level, chosen=None):
        x = jnp.moveaxis(features.columns.reshape(*features.columns.shape[:2], -1), -1, 0)
        x = jnp.swapaxes(x if chosen is None else x[chosen], 1, 2)
        told = jnp.broadcast_to(features.scalars, (*x.shape[:-1], features.scalars.shape[0]))
        return nn.Dense(1, param_dtype=x.dtype)(jnp.concatenate([x, told], axis=-1))


def test_a_jump_learns(aged):
    _, problem, states, _ = aged
    mean = np.linspace(0.0, 30.0, 4)[None, :, None, None] * np.asarray(problem.space.mask)
    examples = [
        Example(np.stack(states), share * mean, problem.circulation, {DIFFUSIVITY: k})
        for share, k in ((0.5, 1e-5), (1.0, 3e-5), (2.0, 1e-4))
    ]
    config = CONFIG.model_copy(update={"variables": (AGE.model_copy(update={"most": 90.0}),)})
    losses = []
    weights = train_jump(
        problem,
        examples,
        config,
        Training(steps=300, rate=3e-2, batch=3, columns=20),
        network=Linear(),
        report=lambda n, loss: losses.append(loss),
    )
    assert losses[-1] < 0.02 * losses[0]
    problem.carry_by(examples[2].circulation, examples[2].params)
    said = np.asarray(predict(problem, states, weights, network=Linear()).state)
    assert np.abs(said - 2.0 * mean).max() < 8.0  # of 60; the reference is 25 off


def test_weights_come_back_from_a_file(aged, tmp_path):
    _, problem, states, weights = aged
    carded = dataclasses.replace(weights, card={"trained on": "nothing"})
    read = JumpWeights.load(carded.save(tmp_path / "jump.npz"))
    assert read.config == weights.config and read.card == carded.card
    both = [np.asarray(predict(problem, states, w).state) for w in (weights, read)]
    np.testing.assert_allclose(*both, rtol=1e-6)


def test_the_reference_is_looked_up_by_place(aged):
    _, problem, states, weights = aged
    finer = ocean().grid
    mask = np.asarray(problem.space.mask)
    found = weights.reference.on(finer, mask)
    assert (found[:, mask == 0] == 0).all()
    depth = np.asarray(finer.z_c)[:, 0, 0]
    lat = np.asarray(finer.lat_c.interior)
    expected = np.interp(depth, weights.reference.depth, weights.reference.depth / 1000.0)
    expected = 100.0 * (0.2 + expected)[:, None, None] * (1.0 + 0.1 * np.sin(np.deg2rad(lat)))
    np.testing.assert_allclose(found[0][mask > 0], expected[mask > 0], rtol=3e-3)


def refused(aged, weights, match, change=None, error=ConfigError):
    model, problem, _, _ = aged
    kept = model.state
    if change is not None:
        model.state = change(model.state)
    with pytest.raises(error, match=match):
        equilibrium(model, "age", LearnedJump(weights), 1e-3, problem)
    model.state = kept


def test_weights_of_other_tracers_are_refused(aged):
    other = JumpVariable(name="phosphate", scale=1.0, most=9.0)
    config = aged[3].config.model_copy(update={"variables": (other,)})
    refused(aged, dataclasses.replace(aged[3], config=config), "of phosphate.*solve is for age")


def test_another_start_is_refused(aged):
    def older(state):
        age = state.tracers["age"]
        tracers = {**state.tracers, "age": age.with_data(age.data + 5.0)}
        return dataclasses.replace(state, tracers=tracers)

    refused(aged, aged[3], "begin with age of 0 everywhere", older)


def test_too_few_years_and_unknown_parameters_are_refused(aged):
    _, problem, states, weights = aged
    with pytest.raises(ConfigError, match="learned from 6 years.*there are 3"):
        predict(problem, states[:4], weights)
    config = weights.config.model_copy(update={"parameters": {"gm_diffusivity": 1000.0}})
    with pytest.raises(ConfigError, match="parameter gm_diffusivity, which this ocean"):
        predict(problem, states, dataclasses.replace(weights, config=config))


def test_files_that_hold_no_jump_are_refused(aged, tmp_path, monkeypatch):
    refused(aged, tmp_path / "nothing.npz", "no such file of weights")
    (tmp_path / "other.npz").write_text("words")
    refused(aged, tmp_path / "other.npz", "holds no weights of a jump")
    path = aged[3].save(tmp_path / "jump.npz")
    monkeypatch.setitem(dogcm_seen(), "maps", ["depth", "colour"])
    with pytest.raises(JumpError, match="look at other maps .*colour.*train them again"):
        JumpWeights.load(path)


def dogcm_seen() -> dict:
    from dogcm.spinup.jump import weights

    return weights._SEEN


def test_options_are_checked(aged):
    with pytest.raises(ConfigError, match="constraint 'salt' of a jump: one of bounds"):
        LearnedJump(aged[3], constraints=("salt",))
    with pytest.raises(ConfigError, match="not a second jump"):
        LearnedJump(aged[3], then=LearnedJump(aged[3]))
    with pytest.raises(JumpError, match="without a network"):
        JumpWeights(CONFIG, ())
