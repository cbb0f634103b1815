"""Losses beyond the mean of errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator, make_layout
from dogcm.field import Field
from dogcm.halo import connect
from dogcm.learning.derivatives import check_derivatives
from dogcm.learning.losses import SquaredError
from dogcm.learning.measures import Measured, WithVariance

RECORDS, LEVELS, ROWS, COLUMNS = 3, 2, 4, 5
SCALE = 2.0


@pytest.fixture(scope="module")
def halos():
    return connect(make_layout((ROWS, COLUMNS), 1, 1), SerialCommunicator())


def field(values) -> dict[str, Field]:
    return {"temperature": Field(jnp.asarray(values), "c")}


def random(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(RECORDS, LEVELS, ROWS, COLUMNS))


def errors() -> SquaredError:
    """Of which the cell in the south-west is land, and levels count 0.7 and 0.3."""
    weights = np.ones((LEVELS, ROWS, COLUMNS))
    weights[:, 0, 0] = 0.0
    weights *= np.array([0.7, 0.3])[:, None, None] / weights.sum(axis=(-2, -1), keepdims=True)
    return SquaredError({"temperature": jnp.asarray(weights)}, {"temperature": jnp.asarray(SCALE)})


def test_variances_count_beside_errors(halos):
    """Against numpy; land and places without a target are not read."""
    found, truth, valid = random(1), random(2) + 5.0, np.ones((RECORDS, LEVELS, ROWS, COLUMNS))
    valid[1, 0, 2, 3] = 0.0
    truth[1, 0, 2, 3], truth[:, :, 0, 0] = np.nan, np.nan
    loss = Measured(errors(), WithVariance(weight=0.5, least=0.2), halos)
    there = valid.astype(bool)
    there[:, :, 0, 0] = False
    off = np.empty((RECORDS, LEVELS))
    for n in range(RECORDS):
        for k in range(LEVELS):
            a, b = ((x[n, k][there[n, k]] / SCALE).var() + 0.2**2 for x in (found, truth))
            off[n, k] = there[n, k].sum() / 19 * (0.7, 0.3)[k] * np.log(a / b) ** 2
    plain = float(errors()(field(found), field(truth), field(valid)))
    share = float(loss(field(found), field(truth), field(valid)))
    assert share == pytest.approx(plain + 0.5 * off.sum(axis=1).mean(), rel=1e-12)


def test_the_right_variance_costs_nothing_and_a_smooth_forecast_much(halos):
    truth = random(3)
    loss = Measured(errors(), WithVariance(weight=1.0, least=0.01), halos)
    assert float(loss(field(truth), field(truth))) == 0.0
    smooth = float(loss(field(0.5 * truth), field(truth)))
    assert smooth > float(errors()(field(0.5 * truth), field(truth))) + 1.8  # ln(4)^2 = 1.92


def test_derivatives(halos):
    truth, loss = random(4), Measured(errors(), WithVariance(), halos)
    report = check_derivatives(lambda x: loss(field(x), field(truth)), jnp.asarray(random(5)))
    assert report.passed, str(report)
    flat = jax.grad(lambda x: loss(field(x), field(truth)))(jnp.zeros(truth.shape))
    assert bool(jnp.isfinite(flat).all())
