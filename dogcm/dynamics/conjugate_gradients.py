"""Symmetric positive definite systems on tiles: conjugate gradients, the same to the bit on every
layout.

Chronopoulos and Gear (1989), doi:10.1016/0377-0427(89)90045-9: one sum over ranks an iteration
instead of two. The sums do not depend on the order of additions (:mod:`dogcm.halo.sums`), so every
layout takes the same iterations to the same bits. The preconditioner is a Chebyshev polynomial of
the matrix scaled by its diagonal: it needs neighbours alone, no sums.

Derivatives are those of the solution, not of the iterations (implicit function theorem): of ``A x =
b`` they are ``A dx = db - dA x``, another solution with the same matrix, in forward and in reverse
mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dogcm.field import Field, exchange, fmap, hold
from dogcm.halo import exact_sum
from dogcm.operators import diff_x_c2u, diff_x_u2c, diff_y_c2v, diff_y_v2c, sum_x_u2c, sum_y_v2c

# Products with the matrix in one preconditioning and the residual after it.
DEGREE = 4
# Where the polynomial's damping begins, as part of the largest eigenvalue. Below, conjugate
# gradients do the work.
_LOWEST = 0.02
_COEFFICIENTS = ("area", "k_u", "k_v", "wet")


@dataclass(frozen=True)
class Helmholtz:
    """``A x = area x - div(k grad x)``, all of one symmetric matrix: ``k`` is zero at walls.

    Attributes:
        halos: :class:`dogcm.halo.HaloExchange`. area, k_u, k_v: coefficients at centres, west and
            south faces, >= 0.
        wet: 1 in water; elsewhere the right-hand side has to be zero. depth: halo that an exchange
            fills, at least 1.
    """

    halos: object
    area: Field
    k_u: Field
    k_v: Field
    wet: Field
    depth: int

    def near(self, x: Field) -> Field:
        """``A x``; uses up one cell of halo."""
        flux = diff_x_u2c(self.k_u * diff_x_c2u(x)) + diff_y_v2c(self.k_v * diff_y_c2v(x))
        return hold(self.area * x - flux)

    def __call__(self, x: Field) -> Field:
        """``A x`` for a Field without halo."""
        return self.near(exchange(self.halos, (x, 1))[0]).crop(0)

    def inverse_diagonal(self) -> Field:
        """One over the matrix's diagonal in water, zero elsewhere."""
        diagonal = self.area + sum_x_u2c(self.k_u) + sum_y_v2c(self.k_v)
        invert = lambda d, w: jnp.where(w > 0, 1.0 / jnp.where(w > 0, d, 1.0), 0.0)
        return hold(fmap(invert, diagonal, self.wet, name="inverse_diagonal"))


def chebyshev(matrix: Helmholtz, inverse: Field) -> Callable[[Field], Field]:
    """Preconditioner: a polynomial of degree ``DEGREE - 1`` in the matrix, symmetric and positive
    definite.

    The matrix scaled by its diagonal has eigenvalues in (0, 2): each row's other entries add up to
    less than the diagonal. So no bounds have to be estimated. Saad (2003), algorithm 12.1,
    doi:10.1137/1.9780898718003.

    Returns:
        a function of a Field without halo; its result has halo where some is left.
    """
    middle, half = 1.0 + _LOWEST, 1.0 - _LOWEST
    sigma = middle / half

    def apply(r: Field) -> Field:
        residual = hold(exchange(matrix.halos, (r, matrix.depth))[0] * inverse)
        step = residual * (1.0 / middle)
        x, rho = step, 1.0 / sigma
        for _ in range(DEGREE - 1):
            residual = hold(residual - matrix.near(_with_halo(matrix, step)) * inverse)
            next_rho = 1.0 / (2.0 * sigma - rho)
            step = hold(step * (next_rho * rho) + residual * (2.0 * next_rho / half))
            x, rho = hold(x + step), next_rho
        return x

    return apply


def _with_halo(matrix: Helmholtz, f: Field) -> Field:
    """``f`` with halo; an exchange where it has none left. What lies beyond walls is multiplied by
    zero."""
    return f if min(f.halo) > 0 else exchange(matrix.halos, (f, 1))[0]


def solve(
    matrix: Helmholtz, right: Field, tolerance: float, iterations: int
) -> tuple[Field, jax.Array]:
    """The solution of ``matrix(x) = right``, with its derivatives of any order.

    Args:
        right: without halo, zero where the matrix has no water.
        tolerance: of the residual per area, root mean square, relative to that of ``right``.
            iterations: at most.

    Returns:
        x without halo, and the number of iterations (int32). Where they did not suffice, x is NaN
        and the number is negative.
    """
    fixed = replace(
        matrix,
        **{n: jax.tree.map(jax.lax.stop_gradient, getattr(matrix, n)) for n in _COEFFICIENTS},
    )
    inverse = fixed.inverse_diagonal()
    precondition = chebyshev(fixed, inverse)
    tolerance = max(tolerance, 4.0 * float(jnp.finfo(right.dtype).eps))

    def iterate(_, b: Field):
        return _conjugate_gradients(fixed, precondition, b, tolerance, iterations)

    return jax.lax.custom_linear_solve(matrix, right, iterate, symmetric=True, has_aux=True)


class _Iterate(NamedTuple):
    """Where the iteration stands: its number, the solution and what the next one is made of."""

    count: jax.Array
    x: Field
    r: Field
    p: Field
    s: Field
    u: Field
    w: Field
    scalars: tuple[jax.Array, jax.Array, jax.Array]  # gamma, alpha, beta
    size: jax.Array  # of the residual


def _conjugate_gradients(
    matrix: Helmholtz, precondition, right: Field, tolerance: float, iterations: int
):
    """See :func:`solve`; starts from zero."""
    per_area = fmap(
        lambda a, w: w / (a * w + (1.0 - w)), matrix.area, matrix.wet, name="per_area"
    ).crop(0)

    def products(r: Field):
        """Preconditioned residual, matrix times that, and their sums over the ocean."""
        u = precondition(r)
        w = matrix.near(_with_halo(matrix, u)).crop(0)
        u = u.crop(0)
        terms = hold(r * u, w * u, r * r * per_area)
        return u, w, exact_sum(matrix.halos, *(t.data for t in terms))

    u, w, (gamma, delta, size) = products(right)
    limit, zero = size * tolerance**2, right * 0.0
    scalars = gamma, gamma / delta, jnp.zeros_like(gamma)
    start = _Iterate(jnp.int32(0), zero, right, zero, zero, u, w, scalars, size)
    unfinished = lambda now: (now.count < iterations) & (now.size > limit)
    end = jax.lax.while_loop(unfinished, lambda now: _next(now, products), start)
    failed = end.size > limit
    solution = fmap(lambda x: jnp.where(failed, jnp.nan, x), end.x, name="solution")
    return solution, jnp.where(failed, -end.count, end.count)


def _next(now: _Iterate, products) -> _Iterate:
    """One iteration more."""
    gamma, alpha, beta = now.scalars
    cast = lambda value: value.astype(now.x.dtype)
    p, s = hold(now.u + now.p * cast(beta), now.w + now.s * cast(beta))
    x, r = hold(now.x + p * cast(alpha), now.r - s * cast(alpha))
    u, w, (new_gamma, delta, size) = products(r)
    beta = new_gamma / gamma
    scalars = new_gamma, new_gamma / (delta - beta * new_gamma / alpha), beta
    return _Iterate(now.count + 1, x, r, p, s, u, w, scalars, size)
