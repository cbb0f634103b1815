"""Weighted essentially non-oscillatory (WENO) reconstruction at faces, from cell means on the
upwind side.

The parabolas (fifth order) or cubics (seventh) through all groups of neighbouring cells are
averaged with weights
that vanish where a group holds a jump: Jiang and Shu (1996, doi:10.1006/jcph.1996.0130) and Balsara
and Shu (2000, doi:10.1006/jcph.2000.6443). Two things differ from the papers. The small number that
keeps the weights finite is relative to the smoothness indicators, so that the result scales with
the tracer, whatever its unit, also in float32. And towards walls the order falls, 7, 5, 3, 1, as
soon as a stencil would reach across a closed face.

In the vertical the layers' thicknesses enter: fifth order there too, third and first towards the
surface and the bottom. Partial bottom cells count as whole ones.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.dynamics.stencils import around_x, around_y, around_z, choose
from dogcm.field import Field

ORDERS = {"weno5": 5, "weno7": 7}
# Relative to the sum of the smoothness indicators; the other one only matters where all of them are
# zero.
_EPSILON, _TINY = 1e-6, 1e-30


class Parabola(NamedTuple):
    """Slope (times the width of the upstream cell) ``a d + b d'`` and half its change ``e d' - c
    d``, of two
    neighbouring differences."""

    a: float
    b: float
    c: float
    e: float


class Coefficients(NamedTuple):
    """Of three parabolas, most upstream first, and of the ideal weights; numbers, or profiles (nz -
    1, 1, 1)."""

    parabolas: tuple[Parabola, Parabola, Parabola]
    ideal: tuple
    ideal3: tuple
    half: tuple  # slope of the two straight lines, per difference, to the face


UNIFORM = Coefficients(
    (Parabola(-0.5, 1.5, 0.5, 0.5), Parabola(0.5, 0.5, 0.5, 0.5), Parabola(1.5, -0.5, 0.5, 0.5)),
    (0.1, 0.6, 0.3),
    (1 / 3, 2 / 3),
    (0.5, 0.5),
)


@jax.custom_jvp
def _inverse(x):
    return 1.0 / x


@_inverse.defjvp
def _inverse_jvp(values, changes):
    """Factor by factor: the square of an inverse may be above the largest number in single
    precision."""
    y = _inverse(*values)
    return y, -(y * (y * changes[0]))


def weighted(values: list, indicators: list, ideal) -> jnp.ndarray:
    """Mean of ``values`` with the weights of Jiang and Shu: ``ideal / (epsilon + indicator)**2``,
    normalised."""
    scale = _inverse(sum(indicators) + _TINY)
    weights = [g / (_EPSILON + b * scale) ** 2 for g, b in zip(ideal, indicators)]
    return sum(w * v for w, v in zip(weights, values)) / sum(weights)


def third(d: list, k: Coefficients) -> jnp.ndarray:
    """What third order adds to the upstream value: from two straight lines."""
    lines = [d[0] * k.half[0], d[1] * k.half[1]]
    return weighted(lines, [x * x for x in lines], k.ideal3)


def fifth(d: list, k: Coefficients) -> jnp.ndarray:
    """From three parabolas; ``d``: four differences along the flow, the third is that across the
    face."""
    values, indicators = [], []
    for s, p in enumerate(k.parabolas):
        slope, bend = p.a * d[s] + p.b * d[s + 1], p.e * d[s + 1] - p.c * d[s]
        values.append(0.5 * slope + bend * (1 / 6))
        indicators.append(slope * slope + (13 / 3) * (bend * bend))
    return weighted(values, indicators, k.ideal)


def _cubics() -> tuple[np.ndarray, np.ndarray]:
    """Values at the face and smoothness indicators of four cubics, by their three differences each.

    Returns:
        arrays (4, 3) and (4, 3, 3): linear and quadratic forms. Cells have width 1, the upstream
        one is at 0.
    """
    at_face, rough = [], []
    for first in (-3, -2, -1, 0):
        edges = np.arange(first, first + 5) - 0.5
        powers = np.array(
            [(edges[1:] ** (n + 1) - edges[:-1] ** (n + 1)) / (n + 1) for n in range(4)]
        ).T
        of_means = np.linalg.inv(powers)  # coefficients of the polynomial, by cell means
        # Means less that of the upstream cell, as sums of differences.
        sums = np.array(
            [
                [np.sign(m - 0) * (min(m, 0) <= n < max(m, 0)) for n in range(first, first + 3)]
                for m in range(first, first + 4)
            ],
            dtype=float,
        )
        poly = of_means @ sums
        at_face.append(0.5 ** np.arange(4) @ poly)
        total = np.zeros((3, 3))
        for order in (1, 2, 3):
            slope = [np.polynomial.Polynomial(column).deriv(order) for column in poly.T]
            for m in range(3):
                for n in range(3):
                    square = (slope[m] * slope[n]).integ()
                    total[m, n] += square(0.5) - square(-0.5)
        rough.append(total)
    return np.array(at_face), np.array(rough)


_FACE7, _ROUGH7 = (a.tolist() for a in _cubics())
_IDEAL7 = (1 / 35, 12 / 35, 18 / 35, 4 / 35)


def seventh(d: list) -> jnp.ndarray:
    """From four cubics on equal cells; ``d``: six differences along the flow, the fourth is that
    across the face."""
    values, indicators = [], []
    for s, (face, rough) in enumerate(zip(_FACE7, _ROUGH7)):
        x, y, z = d[s : s + 3]
        values.append(face[0] * x + face[1] * y + face[2] * z)
        indicators.append(
            x * (rough[0][0] * x + 2 * rough[0][1] * y + 2 * rough[0][2] * z)
            + y * (rough[1][1] * y + 2 * rough[1][2] * z)
            + rough[2][2] * (z * z)
        )
    return weighted(values, indicators, _IDEAL7)


def lowered(d: list, wet: list, k: Coefficients) -> jnp.ndarray:
    """The highest order whose stencil crosses no closed face; 1 adds nothing. ``d``: four or six
    differences."""
    far = len(d) == 6
    near, wet_near = (d[1:5], wet[1:5]) if far else (d, wet)
    behind, three = wet_near[1] > 0, third(near[1:3], k)
    out = jnp.where(behind, three, jnp.zeros_like(three))
    out = jnp.where(behind & (wet_near[0] > 0) & (wet_near[3] > 0), fifth(near, k), out)
    if far:
        all_open = wet[0] * wet[1] * wet[2] * wet[4] * wet[5] > 0
        out = jnp.where(all_open, seventh(d), out)
    return out


def reach(scheme: str) -> int:
    """Faces on each side of a face that are read: a halo of one more is needed."""
    return (ORDERS[scheme] - 1) // 2


def along(around, velocity: Field, name: str) -> Field:
    """Value carried through faces between equal cells, of fifth or seventh order by what is
    around."""
    return choose(lambda d, wet, _: lowered(d, wet, UNIFORM), velocity, around, name=name)


def reconstruct_x(c: Field, velocity: Field, scheme: str, grid) -> Field:
    """Value of ``c`` carried through west faces."""
    return along(around_x(c, reach(scheme), grid), velocity, "weno_x")


def reconstruct_y(c: Field, velocity: Field, scheme: str, grid) -> Field:
    """Value of ``c`` carried through south faces."""
    return along(around_y(c, reach(scheme), grid), velocity, "weno_y")


def reconstruct_z(c: Field, w: Field, grid) -> Field:
    """Value of ``c`` carried through layer interfaces (``w`` positive up), of fifth order at
    most."""
    around, down, up = around_z(c, 2, grid), *layer_coefficients(grid.dz)

    def added(d, wet, forward):
        return lowered(d, wet, jax.tree.map(lambda a, b: jnp.where(forward, a, b), down, up))

    return choose(added, -w, around, name="weno_z")


def layer_coefficients(dz) -> tuple[Coefficients, Coefficients]:
    """Coefficients for flow down and for flow up through the interfaces of layers ``dz``, (nz, 1,
    1)."""
    return _one_way(dz), _mirrored(_one_way(dz[::-1]))


def _mirrored(k: Coefficients) -> Coefficients:
    flip = lambda x: x[::-1]
    return Coefficients(
        tuple(Parabola(*map(flip, p)) for p in k.parabolas),
        *(tuple(map(flip, x)) for x in (k.ideal, k.ideal3, k.half)),
    )


def _one_way(dz) -> Coefficients:
    """For flow along the index. Interface m has layers m - 2 to m + 2 around its upstream layer m;
    beyond the ends
    their thickness is that of the last, which no stencil in use reads."""
    nz = dz.shape[0]
    padded = jnp.concatenate([dz[:1], dz[:1], dz, dz[-1:], dz[-1:]])
    far, back, here, ahead, last = (padded[s : s + nz - 1] for s in range(5))
    # Distances of the layers' edges from the face, and their centres from that of the upstream
    # layer.
    x = [-(far + back + here), -(back + here), -here, None, ahead, ahead + last]
    widths = [far, back, here, ahead, last]
    centres = [
        -(0.5 * here + back + 0.5 * far),
        -0.5 * (here + back),
        0.0 * here,
        0.5 * (here + ahead),
        0.5 * here + ahead + 0.5 * last,
    ]
    # A mean of x**2 over a layer; its growth from one centre to the next.
    square = [c * c + w * w * (1 / 12) for c, w in zip(centres, widths)]
    step = [b - a for a, b in zip(centres, centres[1:])]
    growth = [(b - a) / s for a, b, s in zip(square, square[1:], step)]
    parabolas = []
    for s in range(3):
        bend = here * here / (growth[s + 1] - growth[s])
        c, e = bend / step[s], bend / step[s + 1]
        # slope = here * d / step - bend * growth
        a = here / step[s] + c * growth[s] / here
        parabolas.append(Parabola(a, -e * growth[s] / here, c, e))
    low, high = -x[0] / (x[4] - x[0]), -x[1] / (x[5] - x[1])  # share of the higher of each pair
    top = -x[0] / (x[5] - x[0])
    ideal = ((1 - top) * (1 - low), (1 - top) * low + top * (1 - high), top * high)
    ahead_share = (back + here) / (back + here + ahead)
    return Coefficients(
        tuple(parabolas),
        ideal,
        (1 - ahead_share, ahead_share),
        (here / (back + here), here / (here + ahead)),
    )
