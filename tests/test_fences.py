"""What steers the backward pass must not change a value or a derivative, of any order and in either mode."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.fences import fence, keep, with_stored_derivatives
from dogcm.physics.vertical_mixing import thomas

X = jnp.asarray(np.random.default_rng(1).normal(size=(4, 5)))
D = jnp.asarray(np.random.default_rng(2).normal(size=(4, 5)))


def plain(x):
    return jnp.sum(jnp.sin(x) * x**2 * jnp.roll(x, 1, -1))


def fenced(x):
    x = fence(x)
    return jnp.sum(with_stored_derivatives(lambda a, b: jnp.sin(a) * b, 2)(x, keep(x**2)) * jnp.roll(fence(x), 1, -1))


DERIVATIVES = {
    "value": lambda f: f(X),
    "reverse": lambda f: jax.grad(f)(X),
    "forward": lambda f: jax.jvp(f, (X,), (D,))[1],
    "hessian times vector": lambda f: jax.jvp(jax.grad(f), (X,), (D,))[1],
    "reverse of forward": lambda f: jax.grad(lambda x: jax.jvp(f, (x,), (D,))[1])(X),
    "batch": lambda f: jax.vmap(jax.grad(f))(jnp.stack([X, D])),
    "checkpoint in scan": lambda f: jax.grad(
        lambda x: jax.lax.scan(jax.checkpoint(lambda c, _: (c + 0.1 * jax.grad(f)(c), None)), x, None, length=3)[0].sum()
    )(X),
}  # fmt: skip


@pytest.mark.parametrize("kind", DERIVATIVES)
def test_derivatives_are_those_of_the_plain_function(kind):
    derivative = DERIVATIVES[kind]
    np.testing.assert_allclose(jax.jit(lambda: derivative(fenced))(), derivative(plain), rtol=1e-13, atol=1e-14)


def test_the_cotangent_is_stored_and_the_value_is_not():
    forward = jax.jit(fence).lower(X).as_text()
    backward = jax.jit(jax.grad(lambda x: jnp.sum(fence(x) ** 2))).lower(X).as_text()
    assert "optimization_barrier" not in forward
    assert "optimization_barrier" in backward


# ---- the vertical solver --------------------------------------------------------------------------

NZ = 6


def system():
    """A tridiagonal system that is not symmetric, and two right-hand sides."""
    rng = np.random.default_rng(5)
    above, below = rng.uniform(0.1, 1, (2, NZ, 2, 3))
    return [jnp.asarray(a) for a in (above, 2.5 + rng.uniform(size=(NZ, 2, 3)), below, *rng.normal(size=(2, NZ, 2, 3)))]


def dense(above, diagonal, below, rhs):
    """The same by a library, column by column."""
    out = np.zeros_like(rhs)
    for j, i in np.ndindex(rhs.shape[1:]):
        a, d, b = (np.asarray(x)[:, j, i] for x in (above, diagonal, below))
        out[:, j, i] = np.linalg.solve(np.diag(d) - np.diag(a[1:], -1) - np.diag(b[:-1], 1), np.asarray(rhs)[:, j, i])
    return out


def test_solution_against_a_dense_solver():
    above, diagonal, below, one, two = system()
    for x, rhs in zip(thomas(above, diagonal, below, (one, two)), (one, two)):
        np.testing.assert_allclose(x, dense(above, diagonal, below, rhs), rtol=1e-12)


@pytest.mark.parametrize("used", [(1, 1), (1, 0)], ids=["both used", "one used"])
@pytest.mark.parametrize("which", range(5), ids=["above", "diagonal", "below", "first rhs", "second rhs"])
def test_derivative_of_the_solution(which, used):
    values = system()
    weight = jnp.asarray(np.random.default_rng(7).normal(size=(2, NZ, 2, 3)))

    def cost(x):
        a, d, b, one, two = [*values[:which], x, *values[which + 1 :]]
        return sum(jnp.sum(w * s**2) for w, s, u in zip(weight, thomas(a, d, b, (one, two)), used) if u)

    direction = jnp.asarray(np.random.default_rng(8).normal(size=values[which].shape))
    gradient = jax.jit(jax.grad(cost))(values[which])
    slope = jax.jvp(cost, (values[which],), (direction,))[1]
    np.testing.assert_allclose(jnp.vdot(gradient, direction), slope, rtol=1e-12, atol=1e-14)
    h = 1e-6
    difference = (cost(values[which] + h * direction) - cost(values[which] - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-9)
