"""The verifications of ``dogcm verify``, on this test's own ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dogcm.cli import main
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.experiments import verify
from dogcm.experiments.model import Model
from dogcm.experiments.registry import load_config

STEPS = 20
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


@pytest.mark.mpi
@pytest.mark.slow
def test_layout_gives_identical_bits():
    """Also with uneven tiles: 90 x 40 cells do not divide evenly by 4 or 6 ranks in every layout."""
    result = verify.verify_layout("global_4deg", STEPS)
    assert {r.name for r in result.rows} >= {"u", "v", "eta", "temperature", "salinity", "history_u_1"}
    assert result.passed, result


SMALL = {"grid.nx": 24, "grid.ny": 20, "grid.nz": 4}


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


# ---- conservation --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def ocean() -> Model:
    """The global ocean with a fresh-water flux, so that volume changes as well."""
    model = Model("global_4deg")
    like = model.forcing.records["sst"]
    pattern = 1e-7 * np.cos(np.arange(like.data.shape[-2]))[None, :, None] + 3e-8  # m s-1
    rain = like.with_data(like.data * 0.0 + pattern).named("freshwater_flux")
    model.forcing = replace(model.forcing, records={**model.forcing.records, "freshwater_flux": rain})
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


# ---- what makes a verification fail --------------------------------------------------------------
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
