"""The verifications of ``dogcm verify``, on this test's own ranks."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.cli import main
from dogcm.decomp import world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field, exchange
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.verification import gradients, verify

STEPS = 20
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


@pytest.mark.ranks(2)
@pytest.mark.mpi
@pytest.mark.slow
def test_layout_gives_identical_bits():
    """Also with uneven tiles: 90 x 40 cells do not divide evenly by 4 or 6 ranks in every
    layout."""
    result = verify.verify_layout("global_4deg", STEPS)
    assert {r.name for r in result.rows} >= {
        "u",
        "v",
        "eta",
        "temperature",
        "salinity",
        "history_u_1",
    }
    assert result.passed, result


SMALL = {"grid.nx": 24, "grid.ny": 20, "grid.nz": 4}


@pytest.mark.ranks(2)
@pytest.mark.mpi
def test_restart_gives_identical_bits_on_several_ranks():
    result = verify.verify_restart(load_config("channel", SMALL), 10)
    assert result.passed, result


@one_rank
def test_restart_gives_identical_bits():
    result = verify.verify_restart(load_config("channel", SMALL), 10)
    assert result.passed and "5 + 5 steps" in result.title, result


@one_rank
def test_one_rank_says_that_it_has_one_layout():
    result = verify.verify_layout(load_config("channel", SMALL), 4)
    assert result.passed and "several ranks" in result.note


# ---- conservation
@pytest.fixture(scope="module")
def ocean() -> Model:
    """The global ocean with a fresh-water flux, so that volume changes as well."""
    model = Model("global_4deg")
    like = model.forcing.records["sst"]
    pattern = 1e-7 * np.cos(np.arange(like.data.shape[-2]))[None, :, None] + 3e-8  # m s-1
    rain = like.with_data(like.data * 0.0 + pattern).named("freshwater_flux")
    model.forcing = replace(
        model.forcing, records={**model.forcing.records, "freshwater_flux": rain}
    )
    return model


@pytest.fixture(scope="module")
def figures(ocean):
    return verify.Conservation(STEPS, tuple(verify.budget_figures(ocean, STEPS)))


@one_rank
@pytest.mark.parametrize("name", ["volume", "heat", "salt", "constant tracer"])
def test_budgets_close_to_rounding(figures, name):
    assert figures[name].passed, figures[name]


@one_rank
def test_the_budgets_had_something_to_close(ocean):
    """Fluxes are far above the tolerance, so that a budget that forgets them would fail."""
    budget = verify.Budget(ocean)
    state = verify.with_dye(ocean)
    before = budget.content(state)
    _, entered = budget.run(state, STEPS)
    assert (np.abs(entered / before) > 1e3 * verify.BUDGET_LIMIT * np.finfo(float).eps).all()


@one_rank
def test_lake_at_rest_stays_at_rest():
    figure = verify.lake_figure(load_config("global_4deg"), STEPS)
    assert figure.passed, figure


# ---- what makes a verification fail
def test_comparison_finds_one_changed_bit():
    a = np.linspace(0, 1, 12).reshape(3, 4)
    b = a.copy()
    b[1, 2] = np.nextafter(b[1, 2], 2)
    (same,) = verify.compare({"u": a}, {"u": a.copy()})
    (other,) = verify.compare({"u": a}, {"u": b})
    assert same.identical and same.difference == 0
    assert not other.identical and 0 < other.difference < 1e-15


def test_nan_never_passes():
    a = np.array([[np.nan]])
    assert not verify.compare({"u": a}, {"u": a})[0].identical
    assert not verify.Figure("volume", float("nan"), 1.0, "", "").passed


@one_rank
def test_command_fails_where_a_figure_is_too_large(monkeypatch, capsys):
    bad = verify.Conservation(2, (verify.Figure("volume", 1.0, 1e-14, "", "change of volume"),))
    monkeypatch.setattr(verify, "verify_conservation", lambda *a: bad)
    assert main(["verify", "conservation", "--experiment", "gyre", "--steps", "2"]) == 1
    assert "FELL SHORT" in capsys.readouterr().out


@one_rank
def test_command_prints_variables_and_verdict(monkeypatch, capsys):
    good = verify.Comparisons("a against b", 2, (verify.Comparison("eta", True, 0.0),))
    monkeypatch.setattr(verify, "verify_restart", lambda *a: good)
    assert main(["verify", "restart", "--experiment", "gyre", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "eta" in out and "passed" in out


# ---- gradients
class Toy:
    """Stands in for the ocean, which takes minutes to compile: a loss with one exchange and one
    sum."""

    fault = 0.0

    def __init__(self, model, steps):
        wave = model.grid.lat_c.interior / 20.0 + jnp.sin(model.grid.lon_c.interior / 30.0)
        self.model, field = model, Field(jnp.sin(wave), "c")
        self.controls = {"initial state": {"eta": field}, "parameters": {"k": jnp.asarray(0.4)}}

    def direction(self, n=0):
        return jax.tree.map(lambda x: 0.1 * jnp.cos(x), self.controls)

    def loss(self, controls, checkpoint="step"):
        halos, x = self.model.halos, controls["initial state"]["eta"]
        wide = exchange(halos, (x, 1))[0].data
        # Rows beyond the walls are not part of the ocean.
        near = jnp.where(self.model.grid.mask_u.interior[0] > 0, wide[1:-1, :-2], 0.0)
        mean = halos.psum(jnp.sum(x.data)) / 216.0
        spoilt = self.fault * (halos.size > 1) * jnp.sum(x.data) if self.fault else 0.0
        return (
            jnp.sum(
                jnp.sin(near * x.data) * controls["parameters"]["k"] ** 2 + (mean - x.data) ** 4
            )
            + spoilt
        )


TINY = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 2}


@pytest.mark.mpi
@pytest.mark.parametrize("fault", [0.0, 1e-3])
def test_gradients_are_compared_with_those_of_one_rank(monkeypatch, fault):
    monkeypatch.setattr(gradients, "Rollout", Toy)
    monkeypatch.setattr(Toy, "fault", fault)
    result = gradients.verify_gradients(load_config("two_basin", TINY), 2)
    alone = world().size == 1
    assert {f.name for f in result.figures} == {
        "the loss",
        "gradient by initial state",
        "gradient by parameters",
        "finite",
        "dot product",
        "finite differences",
        "Taylor order",
        "Hessian symmetry",
    }
    assert bool(result.note) == alone
    if fault and not alone:
        assert not result["gradient by initial state"].passed and not result.passed
    else:
        assert result.passed, result


@one_rank
def test_everything_that_is_differentiated_matters():
    run = gradients.Rollout(Model("two_basin", SMALL), 2)
    loss, direction = jax.jit(run.loss), run.direction()
    assert jax.tree.structure(direction) == jax.tree.structure(run.controls)
    base = float(loss(run.controls))
    assert np.isfinite(base)
    for part in run.controls:
        moved = {**run.controls, part: jax.tree.map(jnp.add, run.controls[part], direction[part])}
        assert float(loss(moved)) != base, part


def test_comparison_of_gradients_finds_the_leaf():
    a = {"map": {"x": np.array([1.0, -2.0]), "y": np.zeros(3)}, "loss": {"": np.asarray(3.0)}}
    changed = {
        "map": {"x": np.array([1.0, -2.0 + 2e-6]), "y": np.zeros(3)},
        "loss": {"": np.asarray(np.nan)},
    }
    assert all(f.passed and f.value == 0 for f in gradients._compare(a, a, 1e-10))
    by_map, loss = gradients._compare(changed, a, 1e-10)
    assert not by_map.passed and by_map.value == pytest.approx(1e-6) and "in x" in by_map.meaning
    assert not loss.passed
    (spurious,) = gradients._compare({"map": {"y": np.ones(3)}}, {"map": {"y": np.zeros(3)}}, 1e-10)
    assert not spurious.passed, "a gradient where there should be none"


@one_rank
@pytest.mark.parametrize("value, status, verdict", [(1e-12, 0, "passed"), (1e-3, 1, "FELL SHORT")])
def test_command_for_gradients(monkeypatch, capsys, value, status, verdict):
    asked = []

    def stand_in(config, steps, layout, say):
        asked.append(steps)
        say("compiling")
        figures = (
            verify.Figure("gradient by map", value, 1e-10, "", "largest relative difference"),
        )
        return gradients.Gradients("a against b", steps, figures, "one rank has one layout")

    monkeypatch.setattr(gradients, "verify_gradients", stand_in)
    assert main(["verify", "gradients", "--experiment", "gyre"]) == status
    out = capsys.readouterr().out
    assert (
        asked == [48]
        and "compiling ..." in out
        and "gradient by map" in out
        and verdict in out
        and "note: one rank" in out
    )
