"""The study of tracers at the surface: its sources, its contenders and its measures."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

HERE = Path(__file__).resolve().parents[2] / "training" / "surface_tracer"
SHAPE, EVERY = (9, 11), 10800.0
# Names that other studies use for files of their own, too.
NAMES = ("truth", "releases", "contenders", "train", "evaluate")


@pytest.fixture(scope="module")
def study():
    """The study's files, by name."""
    held = {n: sys.modules.pop(n) for n in NAMES if n in sys.modules}
    sys.path.insert(0, str(HERE))
    import contenders
    import evaluate
    import releases
    import train

    yield {"releases": releases, "contenders": contenders, "train": train, "evaluate": evaluate}
    sys.path.remove(str(HERE))
    for n in NAMES:
        sys.modules.pop(n, None)
    sys.modules.update(held)


def sea(study, days: float = 2.0):
    """Four releases into a small sea that nobody has run; one moves and one ends."""
    ny, nx = SHAPE
    n, random = round(days * 86400 / EVERY), np.random.default_rng(0)
    u, v = 0.1 * random.normal(size=(n, ny, nx + 1)), 0.1 * random.normal(size=(n, ny + 1, nx))
    u[..., [0, -1]], v[:, [0, -1]] = 0.0, 0.0
    arrays = {
        "mask": np.ones(SHAPE), "u": u, "v": v, "eddy_diffusivity": 20.0 * np.ones(SHAPE),
        "mixing": 1e-4 * random.random((n, ny, nx)), "signals": random.normal(size=(n, 2, ny, nx)),
    }  # fmt: skip
    begin = np.full((4, 2), 5.5 * 12e3)
    end = begin + np.array([[0, 0], [30e3, 0], [0, 0], [0, 0]])
    return study["releases"].Truth(
        1e-6 * random.random((4, n + 1, ny, nx)), np.ones((4, n + 1)), EVERY,
        np.array([True, True, True, False]), arrays, (12e3, 12e3, 8.0), begin, end,
        np.array([1.0, 1.0, 3.0, 1.0]), np.array([days, days, 0.5, days]) * 86400, 12e3,
    )  # fmt: skip


def test_sources_release_what_they_say_where_they_are(study):
    truth = sea(study)
    at = truth.source(np.array([0, 1, 2]), EVERY)
    cell = np.prod(truth.cell)
    rates = np.stack([np.asarray(at(jnp.float64(n * EVERY)).data) for n in range(16)])
    mass = (rates * cell).sum((-2, -1))
    np.testing.assert_allclose(mass[:4], [[1.0, 1.0, 3.0]] * 4, rtol=1e-2)
    assert (mass[4:, 2] == 0).all() and (mass[4:, :2] > 0.98).all()
    x = (np.arange(SHAPE[1]) + 0.5) * 12e3
    centre = (rates[:, 1] * x).sum((-2, -1)) / rates[:, 1].sum((-2, -1))
    np.testing.assert_allclose(np.diff(centre), 30e3 / 16, rtol=0.05)


def test_every_contender_keeps_its_inventory(study):
    truth, cases = sea(study, 1.0), np.array([0, 2])
    for name, contender in study["contenders"].CONTENDERS.items():
        m = contender.model(truth)
        params = contender.params(m, contender.start(m, 0))
        roll = jax.jit(
            lambda s, p, m=m: m.rollout(s, p, truth.source(cases, m.dt), 8),
            compiler_options={"xla_backend_optimization_level": 0},
        )
        last, _ = roll(m.at_rest(2), params)
        put = np.asarray(last.inventory().data, float).sum((-2, -1)).ravel() * np.prod(truth.cell)
        np.testing.assert_allclose(put, [86400.0, 3 * 43200.0], rtol=1e-2, err_msg=name)
        again = study["evaluate"].forgotten(last.held)
        assert float(np.abs(again.layers.data[:, 1:]).max(initial=0)) == 0.0


def test_training_changes_what_it_should_and_lowers_the_loss(study):
    train, truth, told = study["train"], sea(study, 10.0), []
    truth.concentration[:] = truth.concentration[:1, :1] * np.ones((4, 81, 1, 1))
    truth = type(truth)(**(truth.__dict__ | {"train": np.ones(4, bool)}))
    train.BATCH, batch = 2, train.BATCH
    try:
        _, learned = train.train("diluted", truth, 0, told.append, horizons=((1, 40),))
    finally:
        train.BATCH = batch
    losses = [float(line.split()[3]) for line in told]
    assert len(losses) == 4 and losses[-1] < 0.9 * losses[0]
    assert np.isfinite(float(learned["physics"]["source_strength"]))


def test_measures_of_a_perfect_forecast_and_of_half_of_it(study):
    wanted = 10.0 ** np.random.default_rng(0).uniform(-8, -5, SHAPE)
    perfect, half = (study["evaluate"].measures(f * wanted, wanted) for f in (1.0, 0.5))
    assert perfect["squared"] == 0.0 and perfect["spearman"] == pytest.approx(1.0)
    assert half["squared"] == pytest.approx(0.5)
    assert half["logarithms"] == pytest.approx(np.log10(2)) and half["slope"] == pytest.approx(1.0)


def test_a_file_that_is_missing_is_asked_for(study, tmp_path):
    with pytest.raises(study["releases"].TruthError, match="truth.py make"):
        study["releases"].read_truth(tmp_path / "none.nc")
