"""What vertical mixing needs of a column, and the implicit solver."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dogcm.field import Field, as_one_row, fence, fmap, keep
from dogcm.operators import (
    common,
    diff_z_c2w,
    lower_z_c2w,
    mean_x_c2u,
    mean_x_u2c,
    mean_y_c2v,
    mean_y_v2c,
    sum_x_u2c,
    sum_y_v2c,
    upper_z_c2w,
)


def buoyancy_frequency_squared(
    eos,
    temperature: Field,
    salinity: Field,
    density: Field,
    grid,
    stretch: Field,
    gravity: float,
    rho0: float,
) -> Field:
    """N2 (s-2) at the interfaces below each layer but the last.

    The layer above is brought down to the depth of the layer below before their densities are
    compared, so that compressibility does not count as stratification.
    """

    def squared(T, S, density, stretch, mask):
        brought_down = eos.anomaly(upper_z_c2w(T), upper_z_c2w(S), slice(1, None))
        difference = keep(lower_z_c2w(density) - brought_down)
        return difference * (gravity / rho0 / grid.dz_w) / stretch * mask

    return as_one_row(squared, temperature, salinity, density, stretch, grid.mask_cw)


def shear_squared(u: Field, v: Field, grid, stretch: Field) -> Field:
    """Squared vertical shear (s-2) at the interfaces of cell centres; faces on land count as
    zero."""
    u, v = fence(u, v)
    du, dv = diff_z_c2w(u) * grid.mask_uw, diff_z_c2w(v) * grid.mask_vw
    squared = keep(mean_x_u2c(du * du) + mean_y_v2c(dv * dv))
    return squared * (1.0 / grid.dz_w**2) / (stretch * stretch)


def stress_squared(now: dict[str, Field], grid, halo: int = 0) -> Field | None:
    """Squared wind stress (N2 m-4) at cell centres, with this halo; None without wind."""
    tools = {"taux": (sum_x_u2c, grid.wet_u), "tauy": (sum_y_v2c, grid.wet_v)}
    squares = []
    for name, (sum_of_faces, wet) in tools.items():
        if name in now:
            # Over the wet faces: no stress acts on the others.
            both = [sum_of_faces(f).crop(halo) for f in (now[name] * now[name] * wet, wet)]
            squares.append(
                fmap(
                    lambda total, count: total / jnp.maximum(count, 1.0),
                    *both,
                    name="stress squared",
                )
            )
    return sum(squares[1:], squares[0]) if squares else None


def to_u(coefficient: Field, grid) -> Field:
    """A centre coefficient on the interfaces of west faces."""
    return mean_x_c2u(coefficient) * grid.mask_uw


def to_v(coefficient: Field, grid) -> Field:
    """A centre coefficient on the interfaces of south faces."""
    return mean_y_c2v(coefficient) * grid.mask_vw


def implicit_solve(
    content: list[Field], thickness: Field, exchange: Field, sink: Field | None = None
) -> list[Field]:
    """Backward-Euler vertical diffusion of one or more columns that share coefficients.

    Solves ``h C - [exchange (C_above - C) + exchange_below (C_below - C)] + sink C = content``.

    Args:
        content: right-hand sides, thickness times value (nz, y, x).
        thickness: layer thickness h (m), positive in water; dry cells may hold 0.
        exchange: ``dt * coefficient / distance`` (m) at the interfaces, 0 where either side is dry.
        sink: extra diagonal term (m), for example implicit bottom drag.

    Returns:
        The values C, 0 in dry cells.
    """
    fields = common(*content, thickness, exchange, *([sink] if sink is not None else []))
    rhs, (h, k) = fields[: len(content)], fields[len(content) : len(content) + 2]
    solution = diffuse(
        h.data, k.data, None if sink is None else fields[-1].data, tuple(f.data for f in rhs)
    )
    return [f.with_data(x) for f, x in zip(rhs, solution)]


@jax.custom_jvp
def diffuse(h, k, sink, content: tuple):
    """:func:`implicit_solve` of arrays with the vertical axis first.

    Derivatives come from the solution, not from the elimination: ``A dC = d(content) - dA C``. A is
    symmetric, so the adjoint of a solve is a solve, with the factors that the elimination has
    found.
    """
    return thomas(h, k, sink, content, factors=False)[0]


@jax.custom_jvp
def _diffuse_with_factors(h, k, sink, content: tuple):
    """The solution, and what solves for other right-hand sides; the derivative of the latter is
    left out."""
    return thomas(h, k, sink, content)


@diffuse.defjvp
def _(primals, tangents):
    (solution, _), (tangent, _) = jax.jvp(_diffuse_with_factors, primals, tangents)
    return solution, tangent


@_diffuse_with_factors.defjvp
def _(primals, tangents):
    h, k, sink, _ = primals
    d_h, d_k, d_sink, d_content = tangents
    solution, factors = _diffuse_with_factors(*primals)
    d_diagonal = jnp.where(h > 0, d_h if sink is None else d_h + d_sink, 0.0)
    level = [(0, 0, 0)] * (h.ndim - 1)
    zero = jnp.zeros((), h.dtype)

    def force(f, x):
        down = d_k * (x[:-1] - x[1:])
        from_above, to_below = (jax.lax.pad(down, zero, [(n, 1 - n, 0), *level]) for n in (1, 0))
        return f - d_diagonal * x + (from_above - to_below)

    forced = [force(f, x) for f, x in zip(d_content, solution)]
    # One array for all right-hand sides: of several, those without a tangent could not be
    # transposed.
    apart = lambda c: c if c is None or len(forced) == 1 else c[:, None]
    together = forced[0] if len(forced) == 1 else jnp.stack(forced, axis=1)
    tangent = _solve_linearly(*map(apart, (h, k, sink)), tuple(map(apart, factors)), together)
    tangents = (tangent,) if len(forced) == 1 else tuple(tangent[:, m] for m in range(len(forced)))
    return (solution, factors), (tangents, jax.tree.map(jnp.zeros_like, factors))


def _solve_linearly(h, k, sink, factors, rhs):
    def product(x):
        down = k * (x[:-1] - x[1:])
        lost, gained = (jnp.pad(down, [end, *[(0, 0)] * (h.ndim - 1)]) for end in ((0, 1), (1, 0)))
        inner = h * x if sink is None else (h + sink) * x
        return jnp.where(h > 0, inner + lost - gained, x)

    solve = lambda _, r: substitute(*factors, (r,))[0]
    return jax.lax.custom_linear_solve(product, rhs, solve, symmetric=True)


def thomas(h, k, sink, rhs: tuple, factors: bool = True) -> tuple[tuple, tuple | None]:
    """Solve :func:`implicit_solve` of arrays along the first axis.

    Thomas algorithm. A loop over levels is four times faster on CPUs than unrolled code or the
    library solver. The diagonals of the matrix are made as they are needed, and not stored;
    solutions are written where the right-hand sides were, as the outputs of a scan would each be
    set to zero first.

    Returns:
        the solutions, and the factors for :func:`substitute` if asked for.
    """
    between = jnp.pad(k, [(1, 1), *[(0, 0)] * (k.ndim - 1)])

    def eliminate(n, carry):
        ratio, values, columns, ratios, pivots = carry
        exchanges = between if factors else ratios
        above, below = _level(exchanges, n), _level(exchanges, n + 1)
        thickness = _level(h, n)
        diagonal = (
            thickness + above + below
            if sink is None
            else thickness + above + below + _level(sink, n)
        )
        pivot = 1.0 / (jnp.where(thickness > 0, diagonal, 1.0) - above * ratio)
        values = tuple((_level(x, n) + above * y) * pivot for x, y in zip(columns, values))
        # All has been read before anything is written, or the whole array would be copied.
        ratio, values, pivot = jax.lax.optimization_barrier((below * pivot, values, pivot))
        columns = tuple(_with_level(x, y, n) for x, y in zip(columns, values))
        return (
            ratio,
            values,
            columns,
            _with_level(ratios, ratio, n),
            _with_level(pivots, pivot, n) if factors else None,
        )

    # The exchange above a level is not asked for below it, and its place takes the ratio: in an
    # array of its own if asked for.
    start = (
        jnp.zeros_like(h[0]),
        _nothing(rhs),
        rhs,
        between,
        jnp.zeros_like(h) if factors else None,
    )
    _, _, columns, ratios, pivots = jax.lax.fori_loop(0, h.shape[0], eliminate, start)
    return _upwards(ratios, columns), (between, pivots, ratios) if factors else None


def substitute(between, pivot, ratio, rhs: tuple) -> tuple:
    """The solutions for other right-hand sides, with the factors that :func:`thomas` has found."""

    def down(n, carry):
        values, columns = carry
        above, by = _level(between, n), _level(pivot, n)
        values = tuple((_level(x, n) + above * y) * by for x, y in zip(columns, values))
        values = jax.lax.optimization_barrier(values)
        return values, tuple(_with_level(x, y, n) for x, y in zip(columns, values))

    _, columns = jax.lax.fori_loop(0, pivot.shape[0], down, (_nothing(rhs), rhs))
    return _upwards(ratio, columns)


def _upwards(ratio, columns: tuple) -> tuple:
    last = columns[0].shape[0] - 1

    def up(m, carry):
        values, columns = carry
        by = _level(ratio, last - m)
        values = jax.lax.optimization_barrier(
            tuple(_level(x, last - m) + by * y for x, y in zip(columns, values))
        )
        return values, tuple(_with_level(x, y, last - m) for x, y in zip(columns, values))

    return jax.lax.fori_loop(0, last + 1, up, (_nothing(columns), columns))[1]


def _level(column, n):
    return jax.lax.dynamic_index_in_dim(column, n, keepdims=False)


def _with_level(column, level, n):
    return jax.lax.dynamic_update_index_in_dim(column, level, n, 0)


def _nothing(columns: tuple) -> tuple:
    return tuple(jnp.zeros_like(c[0]) for c in columns)
