"""First guess of a corrector's maps from the mean errors of short forecasts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_recipe import RECIPE

from dogcm.components.errors import ConfigError
from dogcm.corrector.maps import MAPS
from dogcm.learning.column_search import ColumnSearch
from dogcm.learning.first_guess import _Cycle, _Guess, first_guess
from dogcm.learning.recipe import load_recipe
from dogcm.learning.training import build

NETWORK = {
    "network": {"kind": "column", "width": 2, "depth": 1},
    "every": 1,
    "maps": 1,
    "inputs": ["mask"],
    "outputs": {"temperature": "tendency_no_mean", "velocity": "tendency"},
}
# A model whose viscosity is four times that of the truth.
MAPPED = RECIPE | {
    "learnable": [],
    "corrector": NETWORK,
    "first_guess": {"passes": 3, "days": 0.5, "windows": 8},
    "loss": {"factors": {"u": 1, "eta": 1, "temperature": 1}},
}


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    return build(load_recipe(MAPPED), tmp_path_factory.mktemp("guess"))


def test_forecasts_improve_with_every_pass(setup, capsys):
    maps = first_guess(setup)["corrector"][MAPS]
    said = [
        line.split()
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("first guess")
    ]
    eta = [float(words[words.index("eta") + 1]) for words in said]
    assert len(eta) == 3 and max(eta[1:]) < 0.5 * eta[0]
    # What was missing is the work of the viscosity that the truth does not have: along the flow.
    u = np.mean(
        [
            np.asarray(setup.train.state(k).u.interior)
            for k in range(setup.train.first, setup.train.last)
        ],
        0,
    )
    assert (np.asarray(maps["u"].data) * u).sum() > 0
    # Other seeds of the same model find it where the truth is.
    again = first_guess(setup)["corrector"][MAPS]
    assert "first guess from" in capsys.readouterr().out
    assert all(
        (again[n].data == f.data).all() and np.isfinite(f.data).all() for n, f in maps.items()
    )


def test_momentum_of_a_right_model_is_in_balance(setup):
    """With the truth's own viscosity, what is left is what the flow really changes by."""
    wrong, right = _Guess(setup), _Guess(setup)
    wrong.balance_momentum()
    right.model.params = setup.model.params | {
        "lateral_viscosity": setup.model.params["lateral_viscosity"] / 4
    }
    right.balance_momentum()
    setup.model.params = setup.fixed["params"]
    size = lambda g: float(np.abs(np.asarray(g.maps["v"].data)).mean())
    assert size(right) < 0.1 * size(wrong)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_cycle_is_found_again(count):
    rng = np.random.default_rng(1)
    scales = load_recipe(MAPPED).corrector.scales
    truth, fit = rng.normal(size=(count, 2, 4, 5)), _Cycle(count, scales)
    for day in rng.uniform(0, 3000, 20):
        phase = 2 * np.pi * day / 365.0
        waves = [1.0, np.sin(phase), np.cos(phase), np.sin(2 * phase), np.cos(2 * phase)][:count]
        fit.add(day * 86400.0, {"u": sum(w * t for w, t in zip(waves, truth))})
    np.testing.assert_allclose(fit.coefficients()["u"], truth, atol=1e-10)


@pytest.mark.parametrize("change", [{"corrector.maps": 0}, {"physics": False}])
def test_a_first_guess_needs_maps_and_physics(change):
    with pytest.raises(
        ConfigError, match="first guess is of the corrector's maps|without physics nothing moves"
    ):
        load_recipe(MAPPED, change)


def test_maps_are_part_of_what_is_trained(setup):
    assert {n: f.at for n, f in setup.trainable["corrector"][MAPS].items()} == {
        "temperature": "c",
        "u": "u",
        "v": "v",
    }


def test_what_changes_from_forecast_to_forecast_is_left_alone():
    rng, fit = np.random.default_rng(2), _Cycle(3, load_recipe(MAPPED).corrector.scales)
    for day in np.arange(0.0, 3650.0, 10.0):
        noise = rng.normal(size=3)
        phase = 2 * np.pi * day / 365.0
        fit.add(day * 86400.0, {"u": np.array([1 + 2 * np.sin(phase), noise[0], 1.0 + noise[1]])})
    all_of_it, kept = (np.abs(f()["u"]) for f in (fit.coefficients, fit.reliable))
    np.testing.assert_allclose(kept[:, 0], all_of_it[:, 0], atol=1e-12)
    assert kept[:, 1].max() < 0.1 * all_of_it[:, 1].max()
    assert 0.4 < kept[0, 2] < 0.6, (
        "half of the squares is a mean of one, the other half noise of variance one"
    )


# ---- maps of parameters, column by column
SEARCHED = MAPPED | {
    "learnable": ["vertical_diffusivity: map", "lateral_viscosity"],
    "targets": RECIPE["targets"] | {"changes": {"parameters.vertical_diffusivity": 3e-3}},
}


class _Forecasts:
    """Errors of an imagined model: none where the map of vertical diffusivity has its best
    value."""

    def __init__(self, setup, factor):
        self.factor, self.start = factor, setup.model.params["vertical_diffusivity"]
        self.shape = setup.model.vertical.nz, *setup.model.grid.wet_c.interior.shape
        self.ones = np.ones(self.shape)

    def __call__(self, trainable):
        value = np.exp(
            np.asarray(trainable["physics"]["vertical_diffusivity"].data, float)
        ) / float(self.start)
        error = np.abs(np.log(value / self.factor)) + 0.01
        for _ in range(3):
            yield (
                {"temperature": error * self.ones, "eta": 9 * error},
                {"temperature": self.ones, "eta": 1.0},
            )


def _search(tmp_path, **options):
    columns = {
        "factors": {"vertical_diffusivity": [0.1, 10.0]},
        "days": 0.5,
        "windows": 4,
        **options,
    }
    setup = build(load_recipe(SEARCHED, {"first_guess.columns": columns}), tmp_path)
    return setup, setup.trainable


def test_each_column_takes_what_suits_it(tmp_path, capsys):
    setup, trainable = _search(tmp_path)
    best = np.ones(setup.model.grid.wet_c.interior.shape)
    best[:3, :4], best[5, 6] = 10.0, 0.1
    found = ColumnSearch(setup, _Forecasts(setup, best)).run(trainable)
    factors = np.exp(
        np.asarray(
            found["vertical_diffusivity"].data - trainable["physics"]["vertical_diffusivity"].data
        )
    )
    np.testing.assert_allclose(factors, best, rtol=1e-5)
    assert found["lateral_viscosity"] is trainable["physics"]["lateral_viscosity"]
    assert "columns: 13 changed" in capsys.readouterr().out


def test_what_is_held_has_no_gradient(tmp_path):
    learnable = [{"vertical_diffusivity": {"shape": "map", "held": True}}, "lateral_viscosity"]
    columns = {"factors": {"vertical_diffusivity": [10.0]}}
    s = build(
        load_recipe(SEARCHED, {"learnable": learnable, "first_guess.columns": columns}), tmp_path
    )
    value = lambda raw: sum(jnp.sum(x) for x in jax.tree.leaves(s.problem.learn.values(raw)))
    gradient = jax.grad(value)(s.trainable["physics"])
    assert (gradient["vertical_diffusivity"].data == 0).all() and gradient["lateral_viscosity"] != 0


def test_a_small_gain_changes_nothing(tmp_path):
    setup, trainable = _search(tmp_path, least_gain=0.99)
    best = np.full(setup.model.grid.wet_c.interior.shape, 3.0)
    found = ColumnSearch(setup, _Forecasts(setup, best)).run(trainable)
    assert all(
        found[n] is trainable["physics"][n] or (found[n].data == trainable["physics"][n].data).all()
        for n in found
    )


def test_searched_maps_are_found_and_kept(tmp_path, capsys):
    """Columns of an ocean that mixes too little ask for more, in every run that follows."""
    columns = {
        "factors": {"vertical_diffusivity": [0.1, 30.0]},
        "days": 0.5,
        "windows": 4,
        "after": 1,
    }
    setup = build(
        load_recipe(SEARCHED, {"first_guess.columns": columns, "first_guess.passes": 2}), tmp_path
    )
    found = first_guess(setup)
    again = first_guess(setup)
    text = capsys.readouterr().out
    assert "columns:" in text and "first guess from" in text
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(again)):
        np.testing.assert_array_equal(a, b)
    more = np.asarray(found["physics"]["vertical_diffusivity"].data) > np.log(
        setup.model.params["vertical_diffusivity"]
    )
    assert more.mean() > 0.5


@pytest.mark.parametrize(
    "change, says",
    [
        ({"learnable": ["vertical_diffusivity"]}, "not learned as a map"),
        ({"first_guess.passes": 0}, "needs first_guess.passes"),
        (
            {"learnable": ["vertical_diffusivity: map", {"lateral_viscosity": {"held": True}}]},
            "is held",
        ),
        ({"first_guess.columns.factors": {"vertical_diffusivity": [-1.0]}}, "greater than 0"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(change, says):
    base = {"first_guess.columns.factors": {"vertical_diffusivity": [10.0]}}
    with pytest.raises(ConfigError, match=says):
        load_recipe(SEARCHED, base | change)
