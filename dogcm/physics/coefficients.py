"""Physical parameters where formulas need them.

A parameter is a scalar, a profile over levels of shape (nz, 1, 1) (interfaces: (nz - 1, 1, 1)), a
map: a Field at cell centres, (y, x), or a Field with a value for every cell, (z, y, x). Maps are
brought to faces and corners here; scalars and profiles hold at every place. Of a diffusivity there
may be two maps, one on west and one on south faces (orthotropic).
"""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.field import Field
from dogcm.operators import mean_x_c2u, mean_x_v2q, mean_y_c2v, mean_z_c2w


def at_u(value):
    """A parameter on west faces. A face is wet only between two wet cells, so land never counts."""
    return mean_x_c2u(value) if isinstance(value, Field) and value.at[0] == "c" else value


def at_v(value):
    """A parameter on south faces."""
    return mean_y_c2v(value) if isinstance(value, Field) and value.at[0] == "c" else value


def at_interfaces(value):
    """A parameter of layers on the interfaces between them."""
    if isinstance(value, Field):
        return mean_z_c2w(value) if value.ndim == 3 else value
    return value if jnp.ndim(value) == 0 else 0.5 * (value[:-1] + value[1:])


def at_faces(value) -> tuple:
    """A diffusivity on west and on south faces; a pair is taken as it is."""
    return value if isinstance(value, tuple) else (at_u(value), at_v(value))


def at_q(value, grid):
    """A parameter on corners: the mean over the wet ones of the four cells around (0 among
    land)."""
    if not isinstance(value, Field):
        return value
    # At a coast friction acts between water and wall, and what a map holds on land has no meaning.
    wet = _around(grid.wet_c)
    return _around(value * grid.wet_c) / (wet + _none(wet))


def on_layers(value):
    """A parameter of interfaces at the bottom of each layer: a profile's last value holds at the
    last layer's."""
    if isinstance(value, Field) or jnp.ndim(value) == 0:
        return value
    return jnp.concatenate([value, value[-1:]])


def _around(f: Field) -> Field:
    return mean_x_v2q(mean_y_c2v(f))


def _none(share: Field) -> Field:
    """1 where no cell around is wet, else 0."""
    return share.with_data((share.data == 0).astype(share.dtype))
