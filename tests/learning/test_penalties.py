"""How errors count in a loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.field import Field
from dogcm.learning.losses import SquaredError
from dogcm.learning.penalties import Huber, Squared

ERRORS = np.array([-5.0, -2.0, -0.5, 0.0, 0.5, 2.0, 5.0])


def test_hubers_function_is_a_square_that_goes_on_as_its_tangent():
    huber = Huber(threshold=2.0)
    near = np.abs(ERRORS) <= 2
    tangent = 4 + 4 * (np.abs(ERRORS) - 2)
    np.testing.assert_allclose(huber(jnp.asarray(ERRORS)), np.where(near, ERRORS**2, tangent))
    slopes = jax.vmap(jax.grad(huber))(jnp.asarray(ERRORS))
    np.testing.assert_allclose(slopes, 2 * np.clip(ERRORS, -2, 2))


@pytest.mark.parametrize("penalty", [Squared(), Huber(threshold=1.0)], ids=lambda p: p.kind)
def test_a_loss_weights_what_the_penalty_says(penalty):
    """Errors in units of the scale; a blunder counts by its size, and what is not known not at
    all."""
    truth, found = np.zeros((2, 3)), np.array([[1.0, -2.0, 40.0], [0.5, 0.0, 7.0]])
    weights, scale = np.full((2, 3), 1 / 6), 2.0
    valid = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    loss = SquaredError({"eta": jnp.asarray(weights)}, {"eta": jnp.asarray(scale)}, penalty)
    field = lambda x: {"eta": Field(jnp.asarray(x), "c")}
    share = jax.jit(lambda x: loss(field(x), field(truth), field(valid)))
    size = np.abs(found / scale)
    each = size**2 if penalty.kind == "squared" else np.where(size < 1, size**2, 2 * size - 1)
    assert float(share(found)) == pytest.approx(float((weights * each * valid).sum()), rel=1e-14)
    slope = jax.grad(share)(jnp.asarray(found))
    assert float(slope[1, 2]) == 0 and np.isfinite(slope).all()
