"""First guess of a corrector's maps from the mean errors of short forecasts."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.corrector.maps import MAPS
from dogcm.experiments.first_guess import _Cycle, _Guess, first_guess
from dogcm.experiments.recipe import load_recipe
from dogcm.experiments.registry import ConfigError
from dogcm.experiments.training import build
from test_recipe import RECIPE

NETWORK = {"kind": "column", "width": 2, "depth": 1, "every": 1, "maps": 1, "inputs": ["mask"],
           "outputs": {"temperature": "tendency_no_mean", "velocity": "tendency"}}  # fmt: skip
# A model whose viscosity is four times that of the truth.
MAPPED = RECIPE | {
    "learnable": [], "corrector": NETWORK, "first_guess": {"passes": 3, "days": 0.5, "windows": 8},
    "loss": {"factors": {"u": 1, "eta": 1, "temperature": 1}},
}  # fmt: skip


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    return build(load_recipe(MAPPED), tmp_path_factory.mktemp("guess"))


def test_forecasts_improve_with_every_pass(setup, capsys):
    maps = first_guess(setup)
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("first guess")]
    eta = [float(words[words.index("eta") + 1]) for words in said]
    assert len(eta) == 3 and max(eta[1:]) < 0.5 * eta[0]
    # What was missing is the work of the viscosity that the truth does not have: along the flow.
    u = np.mean([np.asarray(setup.train.state(k).u.interior) for k in range(setup.train.first, setup.train.last)], 0)
    assert (np.asarray(maps["u"].data) * u).sum() > 0
    # Other seeds of the same model find it where the truth is.
    again = first_guess(setup)
    assert "first guess from" in capsys.readouterr().out
    assert all((again[n].data == f.data).all() and np.isfinite(f.data).all() for n, f in maps.items())


def test_momentum_of_a_right_model_is_in_balance(setup):
    """With the truth's own viscosity, what is left is what the flow really changes by."""
    wrong, right = _Guess(setup), _Guess(setup)
    wrong.balance_momentum()
    right.model.params = setup.model.params | {"lateral_viscosity": setup.model.params["lateral_viscosity"] / 4}
    right.balance_momentum()
    setup.model.params = setup.fixed["params"]
    size = lambda g: float(np.abs(np.asarray(g.maps["v"].data)).mean())  # noqa: E731
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
    with pytest.raises(ConfigError, match="first guess is of the corrector's maps|without physics nothing moves"):
        load_recipe(MAPPED, change)


def test_maps_are_part_of_what_is_trained(setup):
    assert {n: f.at for n, f in setup.trainable["corrector"][MAPS].items()} == {"temperature": "c", "u": "u", "v": "v"}


def test_what_changes_from_forecast_to_forecast_is_left_alone():
    rng, fit = np.random.default_rng(2), _Cycle(3, load_recipe(MAPPED).corrector.scales)
    for day in np.arange(0.0, 3650.0, 10.0):
        noise = rng.normal(size=3)
        phase = 2 * np.pi * day / 365.0
        fit.add(day * 86400.0, {"u": np.array([1 + 2 * np.sin(phase), noise[0], 1.0 + noise[1]])})
    all_of_it, kept = (np.abs(f()["u"]) for f in (fit.coefficients, fit.reliable))
    np.testing.assert_allclose(kept[:, 0], all_of_it[:, 0], atol=1e-12)
    assert kept[:, 1].max() < 0.1 * all_of_it[:, 1].max()
    assert 0.4 < kept[0, 2] < 0.6, "half of the squares is a mean of one, the other half noise of variance one"
