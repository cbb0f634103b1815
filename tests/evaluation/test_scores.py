"""Scores: numbers by hand, invariances, baselines, tables and pictures."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.evaluation import baselines, score_table, scores
from dogcm.evaluation.baselines import (
    Climatology,
    DampedPersistence,
    MonthlyClimatology,
    Persistence,
)
from dogcm.evaluation.scores import ScoreError
from dogcm.plots import scores as score_plots

DAY, YEAR = 86400.0, 365 * 86400.0
RNG = np.random.default_rng(4)


@pytest.fixture
def fields():
    """(forecast, truth, climatology, weights) with land, 5 cases of 3 layers."""
    f, o = RNG.normal(size=(2, 5, 3, 6, 8))
    weights = RNG.uniform(0.5, 2.0, size=(3, 6, 8)) * (RNG.uniform(size=(3, 6, 8)) > 0.3)
    return f, o, RNG.normal(size=(3, 6, 8)), weights


def test_numbers_by_hand():
    f, o, c, w = (
        np.array([[1.0, 5.0]]),
        np.array([[2.0, 2.0]]),
        np.array([[1.5, 1.0]]),
        np.array([[3.0, 1.0]]),
    )
    assert scores.bias(f, o, w) == pytest.approx((3 * -1 + 1 * 3) / 4)
    assert scores.mse(f, o, w) == pytest.approx((3 * 1 + 1 * 9) / 4)
    assert scores.rmse(f, o, w) == pytest.approx(3**0.5)
    # Anomalies (-0.5, 4) and (0.5, 1).
    both, ff, oo = 3 * -0.25 + 4, 3 * 0.25 + 16, 3 * 0.25 + 1
    assert scores.acc(f, o, c, w) == pytest.approx(both / np.sqrt(ff * oo))
    assert scores.acc(f, o, c, w, centred=True) == pytest.approx(1.0)  # two points lie on a line
    assert scores.variance_ratio(f, o, c, w) == pytest.approx((4.5 / 0.5) ** 2)
    assert scores.skill(3.0, 12.0) == pytest.approx(0.75) and np.isnan(scores.skill(1.0, 0.0))
    assert scores.weighted_mean(f, w) == pytest.approx(2.0)


def test_a_perfect_forecast(fields):
    _, o, c, w = fields
    assert (scores.rmse(o, o, w) == 0).all() and (scores.bias(o, o, w) == 0).all()
    for score in (scores.acc, scores.variance_ratio):
        assert np.allclose(score(o, o, c, w), 1.0, rtol=1e-14)
    assert np.allclose(scores.acc(2 * c - o, o, c, w), -1.0, rtol=1e-14)
    assert np.isnan(
        scores.acc(np.broadcast_to(c, o.shape), o, c, w)
    ).all()  # climatology has no anomaly


def test_anomaly_correlation_is_invariant(fields):
    f, o, c, w = fields
    base = scores.acc(f, o, c, w)
    assert np.all(np.abs(base) < 1) and base.shape == (5,)
    assert np.allclose(scores.acc(c + 7 * (f - c), o, c, w), base)
    assert np.allclose(scores.acc(f + 3, o + 3, c + 3, w), base) and np.allclose(
        scores.acc(f, o, c, 9 * w), base
    )
    assert np.allclose(scores.acc(o, f, c, w), base)
    centred = scores.acc(f, o, c, w, centred=True)
    assert np.allclose(scores.acc(f + 3, o, c, w, centred=True), centred) and not np.allclose(
        base, centred
    )
    assert not np.allclose(scores.acc(f + 3, o, c, w), base)


def test_land_and_missing_truth_do_not_count(fields):
    f, o, c, w = fields
    base = scores.rmse(f, o, w)
    dry = w == 0
    for bad in (np.nan, 1e30):
        assert np.array_equal(scores.rmse(np.where(dry, bad, f), np.where(dry, -bad, o), w), base)
    gap = o.copy()
    gap[:, 0] = np.nan
    only = np.where(np.arange(3)[:, None, None] > 0, w, 0.0)
    assert np.allclose(scores.rmse(f, gap, w), scores.rmse(f, o, only))
    assert np.allclose(scores.acc(f, gap, c, w), scores.acc(f, o, c, only))
    broken = f.copy()
    broken[0][tuple(np.argwhere(w > 0)[0])] = np.nan  # a forecast that blew up must not look good
    assert (
        np.isnan(scores.rmse(broken, o, w)[0]) and np.isfinite(scores.rmse(broken, o, w)[1:]).all()
    )


def test_scores_by_depth_add_up(fields):
    f, o, _, w = fields
    w = w.copy()
    w[2] = 0.0
    layers = scores.by_depth(scores.mse, f, o, weights=w)
    assert layers.shape == (5, 3) and np.isnan(layers[:, 2]).all()
    share = w.sum((1, 2)) / w.sum()
    assert np.allclose((layers * share)[:, :2].sum(1), scores.mse(f, o, w))


def test_bias_map():
    f, o = np.full((3, 2, 2), 1.0), np.zeros((3, 2, 2))
    o[:, 0, 0], o[0, 1, 1] = np.nan, np.nan
    f[2, 1, 1] = 4.0
    assert np.isnan(scores.bias_map(f, o)[0, 0]) and scores.bias_map(f, o)[1].tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    "weights", [np.zeros((2, 2)), -np.ones((2, 2)), np.ones((2, 3)), np.full((2, 2), np.nan)]
)
def test_weights_that_make_no_sense(weights):
    with pytest.raises(ScoreError):
        scores.rmse(np.ones((2, 2)), np.ones((2, 2)), weights)


def test_spectrum_of_waves_and_parseval():
    x = 2 * np.pi * np.arange(24) / 24
    area = np.array([1.0, 3.0])[:, None] * np.ones(24)
    field = np.stack([3 * np.cos(2 * x) + 1, np.sin(5 * x) + 0.5 * np.cos(12 * x)])
    spectrum = scores.zonal_spectrum(field, area)
    expected = np.zeros(12)
    expected[1], expected[4], expected[11] = 4.5 / 4, 0.5 * 3 / 4, 0.25 * 3 / 4
    assert np.allclose(spectrum, expected, atol=1e-14)
    assert np.allclose(
        scores.zonal_spectrum(field, area, slice(0, 1)), np.eye(12)[1] * 4.5, atol=1e-14
    )
    noise, wet = RNG.normal(size=(4, 24)), RNG.uniform(size=(4, 24)) > 0.4
    row = [noise[j][wet[j]].var() * wet[j].sum() for j in range(4)]
    # All waves, odd and even lengths of rows, add up to the variance over water.
    assert scores.zonal_spectrum(noise, wet * 1.0).sum() == pytest.approx(
        sum(row) / wet.sum(), rel=1e-12
    )
    assert scores.zonal_spectrum(noise[:, :23], np.ones((4, 23))).sum() == pytest.approx(
        noise[:, :23].var(1).mean()
    )


def test_inventory_and_conservation():
    area, h = np.full((2, 2), 10.0), np.full((3, 2, 2), 5.0)
    h[:, 0, 0] = 0.0
    area[0, 0] = 0.0
    t, s, eta = np.full((3, 2, 2), 2.0), np.full((3, 2, 2), 35.0), np.full((2, 2), 1.5)
    t[:, 0, 0], eta[0, 0] = np.nan, np.nan
    start = scores.inventory(t, s, 0 * eta, h * area, area, rho0=1000.0, heat_capacity=4000.0)
    assert start["volume"] == pytest.approx(450.0) and start["heat"] == pytest.approx(450 * 2 * 4e6)
    assert start["salt"] == pytest.approx(450 * 35.0)
    end = scores.inventory(t, s / 1.1, eta, h * area, area, rho0=1000.0, heat_capacity=4000.0)
    drift = scores.conservation_residual(start, end, {"volume": 45.0, "heat": 45.0 * 2 * 4e6})
    assert {k: round(v, 12) for k, v in drift.items()} == {"volume": 0.0, "heat": 0.0, "salt": 0.0}
    assert scores.conservation_residual(start, end)["volume"] == pytest.approx(0.1)


# ---- baselines
def seasonal(times, shape=(2, 3)):
    amplitude = np.arange(1.0, 7.0).reshape(shape)
    phase = 2 * np.pi * np.asarray(times)[:, None, None] / YEAR
    return 10 + amplitude * np.cos(phase - amplitude) + 0.3 * np.sin(2 * phase)


def test_harmonic_climatology_is_exact_for_harmonics():
    times = np.sort(RNG.uniform(0, 3 * YEAR, 40))
    fields = seasonal(times)
    fields[:, 0, 0] = np.nan
    fields[:5, 1, 1] = np.nan  # ice in some records
    c = Climatology.fit(times, fields)
    later = 7 * YEAR + np.linspace(0, YEAR, 9)
    expected = seasonal(later)
    expected[:, 0, 0] = np.nan
    assert np.allclose(c.at(later), expected, atol=1e-10, equal_nan=True)
    assert np.allclose(c.forecast(None, 5.0, later - 5.0), expected, atol=1e-10, equal_nan=True)
    assert c.at(later[0]).shape == (2, 3)
    with pytest.raises(ScoreError, match="at least 5 records"):
        Climatology.fit(times[:4], fields[:4])
    with pytest.raises(ScoreError, match="spread over the year"):
        Climatology.fit(np.arange(9) * YEAR, fields[:9])


def test_monthly_climatology():
    middles = (np.arange(24) + 0.5) * YEAR / 12
    fields = np.where(np.arange(24) < 12, np.arange(24), np.arange(24) - 12 + 2.0)[
        :, None
    ] * np.ones((1, 2))
    c = MonthlyClimatology.fit(middles, fields)
    assert np.allclose(c.at(middles[:12]), (np.arange(12) + 1.0)[:, None])
    assert np.allclose(c.at(5 * YEAR), 0.5 * (12 + 1))  # between December and January
    assert np.allclose(c.forecast(None, middles[3], [0.0, YEAR / 24])[:, 0], [4.0, 4.5])
    with pytest.raises(ScoreError, match="no record in month 7"):
        MonthlyClimatology.fit(np.delete(middles[:12], 6), np.delete(fields[:12], 6, 0))


def test_persistence_and_its_damped_kin():
    start = RNG.normal(size=(2, 3))
    assert np.array_equal(Persistence().forecast(start, 0.0, [0.0, 5 * DAY])[1], start)
    times = np.arange(3000) * 10 * DAY
    noise = np.zeros((3000, 2))
    for n in range(1, 3000):  # a first-order process that forgets in 50 days
        noise[n] = np.exp(-10 / 50) * noise[n - 1] + RNG.normal(size=2)
    truth = 5 + np.cos(2 * np.pi * times / YEAR)[:, None] + noise
    c = Climatology.fit(times, truth)
    d = DampedPersistence.fit(c, times, truth, 10 * DAY)
    assert np.allclose(d.tau / DAY, 50, rtol=0.15)
    f = d.forecast(truth[7], times[7], [0.0, 1e5 * DAY])
    assert np.allclose(f[0], truth[7]) and np.allclose(f[1], c.at(times[7] + 1e5 * DAY))
    with pytest.raises(ScoreError, match="apart"):
        DampedPersistence.fit(c, times[[0, 1, 5]], truth[[0, 1, 5]], 10 * DAY)
    assert baselines.YEAR == YEAR


# ---- tables and pictures
LEADS = np.array([10.0, 20.0]) * DAY


def contest(cases=3):
    """Truth, climatology and contenders whose errors are known: persistence 2, model 1 with seeds
    0.8 and 1.2."""
    truth = {
        "temperature": RNG.normal(size=(cases, 2, 2, 3, 4)),
        "eta": RNG.normal(size=(cases, 2, 3, 4)),
    }
    climatology = {k: np.zeros_like(v) for k, v in truth.items()}
    off = lambda by: {k: v + by for k, v in truth.items()}
    weights = {"temperature": np.ones((2, 3, 4)), "eta": np.ones((3, 4))}
    forecasts = {
        "persistence": {0: off(2.0)},
        "climatology": {0: climatology},
        "model": {0: off(0.8), 1: off(1.2)},
    }
    return forecasts, truth, climatology, weights


def test_score_table_by_hand(tmp_path):
    bands = {"all": slice(None), "top": slice(0, 1)}
    rows = score_table.score_table(*contest(), LEADS, bands=bands)
    assert (
        len(rows) == 3 * 2 * 3
    )  # contenders, leads, and two bands of temperature with one of sea level
    (row,) = [
        r for r in rows if (r["contender"], r["depth"], r["lead_days"]) == ("model", "top", 20.0)
    ]
    assert row["rmse"] == pytest.approx(1.0) and row["rmse_std"] == pytest.approx(0.4 / 2**0.5)
    assert row["bias"] == pytest.approx(1.0) and row["variance_ratio"] == pytest.approx(1.0)
    expected = np.array([1 - 0.64 / 4, 1 - 1.44 / 4])
    assert row["skill_vs_persistence"] == pytest.approx(expected.mean())
    assert row["skill_vs_persistence_std"] == pytest.approx(expected.std(ddof=1))
    assert (row["seeds"], row["cases"]) == (2, 3) and "skill_vs_climatology" in row
    (self_,) = [
        r
        for r in rows
        if (r["contender"], r["variable"], r["lead_days"]) == ("persistence", "eta", 10.0)
    ]
    assert self_["skill_vs_persistence"] == pytest.approx(0.0) and self_["rmse_std"] == 0.0
    back = score_table.read_csv(score_table.write_csv(rows, tmp_path / "scores.csv"))
    assert all(back[3][k] == v or (v != v and back[3][k] != back[3][k]) for k, v in rows[3].items())
    text = score_table.write_markdown(
        rows, tmp_path / "scores.md", ["rmse", "skill_vs_persistence"]
    ).read_text()
    assert "| temperature | top | 20 | model | 1 ± 0.28 | 0.74 ± 0.14 |" in text
    assert (
        text.splitlines()[0]
        == "| variable | depth | lead_days | contender | rmse | skill_vs_persistence |"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.csv", "scores.md"]


def test_cases_are_pooled_before_the_root():
    book = score_table.ScoreBook({"eta": np.ones((1, 2))})
    for error in (1.0, 7.0):
        book.add("model", "eta", DAY, np.full((1, 2), error), np.zeros((1, 2)), np.ones((1, 2)))
    (row,) = book.rows()
    assert row["rmse"] == pytest.approx(5.0) and "skill_vs_persistence" not in row


def test_tables_that_do_not_fit(tmp_path):
    forecasts, truth, climatology, weights = contest()
    with pytest.raises(ScoreError, match="no truth or climatology"):
        score_table.score_table(
            {"model": {0: {"u": truth["eta"]}}}, truth, climatology, weights, LEADS
        )
    with pytest.raises(ScoreError, match="do not fit"):
        score_table.score_table(forecasts, truth, climatology, weights, LEADS[:1])
    with pytest.raises(ScoreError, match="must all have the shape"):
        score_table.score_table(
            forecasts, truth, climatology, {n: np.ones((2, 3, 5)) for n in truth}, LEADS
        )
    with pytest.raises(ScoreError, match="no weights for eta"):
        score_table.score_table(
            forecasts, truth, climatology, {"temperature": weights["temperature"]}, LEADS
        )
    book = score_table.ScoreBook({"eta": np.ones((1, 2))})
    for contender, count in (("model", 2), ("persistence", 1)):
        for _ in range(count):
            book.add(contender, "eta", DAY, np.ones((1, 2)), np.zeros((1, 2)), np.ones((1, 2)))
    with pytest.raises(ScoreError, match="different numbers of cases"):
        book.rows()
    with pytest.raises(ScoreError, match="no scores"):
        score_table.write_csv([], tmp_path / "none.csv")
    with pytest.raises(ScoreError, match="no score error"):
        score_table.write_markdown(
            score_table.score_table(*contest(), LEADS), tmp_path / "x.md", ["error"]
        )
    assert not list(tmp_path.iterdir())


def test_pictures(tmp_path):
    rows = score_table.score_table(*contest(), LEADS)
    made = [score_plots.draw_by_lead(rows, s, tmp_path / f"{s}.png") for s in ("rmse", "acc")]
    maps = {
        "physics": RNG.normal(size=(3, 4)),
        "corrected": np.where(np.eye(3, 4) > 0, np.nan, 0.1),
    }
    made.append(
        score_plots.draw_bias_maps(maps, np.arange(3), np.arange(4), tmp_path / "bias.png", "°C")
    )
    waves = {"truth": np.arange(1, 9.0) ** -3, "model": RNG.uniform(0.1, 1, size=(3, 8))}
    made.append(score_plots.draw_spectra(waves, tmp_path / "spectra.png", "Sea level", "m²"))
    assert all(p.read_bytes()[:4] == b"\x89PNG" and p.stat().st_size > 8000 for p in made)
    x, land = tmp_path / "x.png", np.full((2, 2), np.nan)
    for call in (
        lambda: score_plots.draw_by_lead(rows, "rmse", x, ["u"]),
        lambda: score_plots.draw_by_lead(rows, "rmse", x, depth="abyss"),
        lambda: score_plots.draw_bias_maps({"m": land}, [0, 1], [0, 1], x),
        lambda: score_plots.draw_spectra({}, x),
    ):
        with pytest.raises(score_plots.ScorePlotError):
            call()
    assert not x.exists()
