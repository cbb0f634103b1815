"""Priors: how far learned parameters are expected to be from where they start, in raw numbers.

With ``d`` the deviation and ``s`` its standard deviation, scalars and profiles cost ``0.5 sum((d /
s)**2)``. So do maps whose cells are independent. A map with a correlation length L costs

    1 / (2 s**2 L**2) * integral of (d**2 + L**2 |grad d|**2) dA

over the wet part of the sphere, and of a value for every cell layer by layer: the precision
operator of Whittle and Matern fields (Lindgren, Rue and Lindstroem 2011,
doi:10.1111/j.1467-9868.2011.00777.x, with alpha = 1). It does not depend on the resolution.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dogcm.field import Field, exchange
from dogcm.operators import (
    diff_x_c2u,
    diff_x_u2c,
    diff_x_v2q,
    diff_y_c2v,
    diff_y_u2q,
    diff_y_v2c,
    min_x_c2u,
    min_x_u2c,
    min_x_v2q,
    min_y_c2v,
    min_y_u2q,
    min_y_v2c,
)

# By place of the map: differences in x and y, the same of wet masks, and where the differences sit.
_DIFFERENCES = {
    "c": ((diff_x_c2u, min_x_c2u, "u"), (diff_y_c2v, min_y_c2v, "v")),
    "u": ((diff_x_u2c, min_x_u2c, "c"), (diff_y_u2q, min_y_u2q, "q")),
    "v": ((diff_x_v2q, min_x_v2q, "q"), (diff_y_v2c, min_y_v2c, "c")),
}


def prior_of(item, deviation, halos, grid):
    """This rank's share of one parameter's prior (dimensionless).

    Args:
        item: a :class:`dogcm.learning.parameters.Learnable`.
        deviation: raw number less its start: array, Field (interior), or pair of Fields.
    """
    scaled = jax.tree.map(lambda d: d / item.sd, deviation)
    if not item.tiled:
        # Every rank holds the whole: each takes an equal part of it.
        return 0.5 * jnp.sum(scaled**2) / halos.size
    maps = scaled if isinstance(scaled, tuple) else (scaled,)
    if not item.smoothness:
        return sum(0.5 * jnp.sum((f**2 * _wet(f, grid)).interior) for f in maps)
    deep = exchange(halos, *((f, 1) for f in maps))
    return sum(_smooth(f, item.smoothness, grid) for f in deep)


def _smooth(f: Field, length: float, grid):
    area = getattr(grid, f"area_{f.at}")
    total = jnp.sum((f**2 * area * _wet(f, grid)).interior) / length**2
    for axis, (difference, both, at) in zip("xy", _DIFFERENCES[f.at]):
        spacing, around = getattr(grid, f"d{axis}_{at}"), getattr(grid, f"area_{at}")
        slope = difference(f) / spacing
        total = total + jnp.sum((slope**2 * around * both(_wet(f, grid))).interior)
    return 0.5 * total


def _wet(f: Field, grid) -> Field:
    return getattr(grid, f"wet_{f.at}" if f.ndim == 2 else f"mask_{f.at}")
