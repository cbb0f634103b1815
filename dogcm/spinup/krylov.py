"""GMRES for vectors on tiles (Saad and Schultz 1986, doi:10.1137/0907058), right-preconditioned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.spinup.errors import SINGULAR, EquilibriumError
from dogcm.spinup.space import Space


class Solved(NamedTuple):
    """A solution, and how well it does.

    Attributes:
        x: the solution. residual: norm of what is left over that of the right-hand side.
        products: matrix-vector products.
    """

    x: jax.Array
    residual: float
    products: int


def gmres(
    space: Space,
    matrix: Callable,
    rhs,
    weights,
    tolerance: float,
    limit: int,
    preconditioner: Callable | None = None,
) -> Solved:
    """Solve ``matrix(x) = rhs`` to ``tolerance`` (relative), with at most ``limit`` products.

    Orthogonalised twice by classical Gram-Schmidt with sums that do not depend on the layout.

    Args:
        weights: of the inner product, see :meth:`Space.weights`.

    Raises:
        EquilibriumError: the matrix is singular: the solution would not be finite.
    """
    inverse = preconditioner or (lambda v: v)
    size = float(np.sqrt(space.dot(rhs, rhs, weights)))
    if size == 0.0:
        return Solved(jnp.zeros_like(rhs), 0.0, 0)
    basis = jnp.zeros((limit + 1, *rhs.shape)).at[0].set(rhs / size)
    hessenberg, target = np.zeros((limit + 1, limit)), np.zeros(limit + 1)
    target[0] = size
    for n in range(limit):
        basis, column = _extended(space, basis, matrix(inverse(basis[n])), n, weights)
        hessenberg[: n + 2, n] = column
        inner = hessenberg[: n + 2, : n + 1]
        y = np.linalg.lstsq(inner, target[: n + 2], rcond=None)[0]
        left = float(np.linalg.norm(inner @ y - target[: n + 2])) / size
        if not np.isfinite(left):
            raise EquilibriumError("the Jacobian of the year cannot be solved: not finite")
        if left <= tolerance or column[-1] <= 1e-14 * np.linalg.norm(column):
            break
    x = inverse(combined(jnp.asarray(np.pad(y, (0, limit - n))), basis))
    if left > tolerance and column[-1] <= 1e-14 * np.linalg.norm(column):
        raise EquilibriumError(SINGULAR)
    return Solved(x, left, n + 1)


def _extended(space: Space, basis, new, n: int, weights):
    column = np.zeros(basis.shape[0])
    for _ in range(2):
        h = space.dots(basis, new, weights)
        new = new - combined(jnp.asarray(h), basis)
        column += h
    size = float(np.sqrt(max(space.dot(new, new, weights), 0.0)))
    column = np.append(column[: n + 1], size)
    return _put(basis, new / (size or 1.0), n + 1), column


@partial(jax.jit, donate_argnums=0)
def _put(basis, vector, n):
    return basis.at[n].set(vector)


@jax.jit
def combined(factors, vectors):
    """Sum of the products of ``factors`` (m) and ``vectors`` (m or more), always in this order."""
    add = lambda n, total: total + factors[n] * vectors[n]
    return jax.lax.fori_loop(0, factors.shape[0], add, jnp.zeros_like(vectors[0]))


__all__ = ["Solved", "combined", "gmres"]
