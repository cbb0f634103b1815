"""The piecewise parabolic method (PPM): what leaves a cell is the mean of its parabola over the
part that leaves.

Colella and Woodward (1984, doi:10.1016/0021-9991(84)90143-8): edges of third order and more by
their equations 1.6 to 1.8, parabolas without new extremes by 1.10, fluxes over the time step by
1.12. In the vertical with the layers' thicknesses (partial bottom cells count as whole ones);
horizontally for equal cells. Beside a wall, the surface and
the bottom the parabola is flat: first order, and nothing is read from land.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from dogcm.dynamics.split import Split
from dogcm.dynamics.stencils import around_x, around_y, around_z, choose
from dogcm.field import Field


class Edge(NamedTuple):
    """A value between two cells: the first one's plus ``step d - ahead s' + behind s``, with d the
    difference and s, s'
    the slopes of the first and the second; numbers, or profiles (nz - 1, 1, 1)."""

    step: float
    ahead: float
    behind: float


class Slope(NamedTuple):
    """Slope of a cell by the differences behind it and ahead of it."""

    behind: float
    ahead: float


class Coefficients(NamedTuple):
    """For slopes of the cells one upstream of the face's upstream cell, that one, and one
    downstream; its edges."""

    slopes: tuple[Slope, Slope, Slope]
    edges: tuple[Edge, Edge]


_SLOPE, _EDGE = Slope(0.5, 0.5), Edge(0.5, 1 / 6, 1 / 6)
UNIFORM = Coefficients((_SLOPE, _SLOPE, _SLOPE), (_EDGE, _EDGE))


def limited_slope(behind, ahead, k: Slope) -> jnp.ndarray:
    """The slope of a cell that makes no new extreme: 0 at an extreme (equation 1.8)."""
    one = behind.dtype.type(1)
    sign = jnp.where(ahead < 0, -one, one)
    b, a = behind * sign, ahead * sign
    return sign * jnp.maximum(
        jnp.minimum(jnp.minimum(k.behind * b + k.ahead * a, 2.0 * a), 2.0 * b), 0.0
    )


def carried(d: list, courant, k: Coefficients) -> jnp.ndarray:
    """What the mean over the part ``courant`` of the upstream cell adds to that cell's own.

    Args:
        d: four differences along the flow, the third is that across the face.
    """
    s = [limited_slope(d[m], d[m + 1], k.slopes[m]) for m in range(3)]
    inflow, outflow = k.edges
    # From the cell's mean down to its upstream edge, and up to its downstream edge.
    rise_in = d[1] - (inflow.step * d[1] - inflow.ahead * s[1] + inflow.behind * s[0])
    rise_out = outflow.step * d[2] - outflow.ahead * s[2] + outflow.behind * s[1]
    one = rise_in.dtype.type(1)
    sign = jnp.where(d[2] < 0, -one, one)
    low, high = rise_in * sign, rise_out * sign
    low, high = jnp.minimum(low, 2.0 * high), jnp.minimum(high, 2.0 * low)
    # An extreme has a flat parabola.
    inside = (low > 0) & (high > 0)
    low, high = (jnp.where(inside, x, 0.0) for x in (low, high))
    return sign * (high - 0.5 * courant * (high + low - (3.0 - 2.0 * courant) * (low - high)))


def reconstruct_x(c: Field, velocity: Field, courant: Field, grid) -> Field:
    """Mean value of ``c`` carried through west faces in one step; ``courant``: part of the upstream
    cell."""
    return choose(
        lambda d, _, __, k: carried(d, k, UNIFORM),
        velocity,
        around_x(c, 2, grid),
        courant,
        name="ppm_x",
    )


def reconstruct_y(c: Field, velocity: Field, courant: Field, grid) -> Field:
    """Mean value of ``c`` carried through south faces in one step."""
    return choose(
        lambda d, _, __, k: carried(d, k, UNIFORM),
        velocity,
        around_y(c, 2, grid),
        courant,
        name="ppm_y",
    )


def reconstruct_z(c: Field, w: Field, courant: Field, grid) -> Field:
    """Mean value of ``c`` carried through layer interfaces (``w`` positive up) in one step."""
    down, up = layer_coefficients(grid.dz)

    def added(d, _, forward, k):
        return carried(d, k, jax.tree.map(lambda a, b: jnp.where(forward, a, b), down, up))

    return choose(added, -w, around_z(c, 2, grid), courant, name="ppm_z")


def layer_coefficients(dz) -> tuple[Coefficients, Coefficients]:
    """Coefficients for flow down and for flow up through the interfaces of layers ``dz``, (nz, 1,
    1)."""
    flip = lambda k: type(k)(*(x[::-1] for x in k))
    up = _one_way(dz[::-1])
    return _one_way(dz), Coefficients(tuple(map(flip, up.slopes)), tuple(map(flip, up.edges)))


def _one_way(dz) -> Coefficients:
    nz = dz.shape[0]
    padded = jnp.concatenate([dz[:1], dz[:1], dz, dz[-1:], dz[-1:]])
    layers = [padded[s : s + nz - 1] for s in range(5)]
    return Coefficients(
        tuple(_slope(*layers[s : s + 3]) for s in range(3)),
        tuple(_edge(*layers[s : s + 4]) for s in range(2)),
    )


def _slope(a, b, c) -> Slope:
    """Equation 1.7 for the middle one of three cells of these widths."""
    share = b / (a + b + c)
    return Slope(share * (b + 2 * c) / (a + b), share * (2 * a + b) / (c + b))


def _edge(a, b, c, d) -> Edge:
    """Equation 1.6 for the edge between the middle two of four cells of these widths."""
    total = a + b + c + d
    left, right = (a + b) / (2 * b + c), (d + c) / (2 * c + b)
    return Edge(
        b / (b + c) * (1 + 2 * c / total * (left - right)), b * left / total, c * right / total
    )


class PPM(Split):
    """Piecewise parabolic method, one dimension after the other: bounded in three dimensions."""

    kind: ClassVar[str] = "ppm"
    source: ClassVar[str] = "Colella and Woodward (1984), doi:10.1016/0021-9991(84)90143-8"
    reach: ClassVar[int] = 3
    turns: ClassVar[bool] = True

    def carried(self, c, sweep, grid):
        along = (reconstruct_x, reconstruct_y, reconstruct_z)[sweep.dimension]
        return along(c, sweep.amount, sweep.part, grid)
