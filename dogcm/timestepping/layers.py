"""Fields of layers and of their top."""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.field import Field


def add_top(f: Field, flux: Field) -> Field:
    """Add a two-dimensional Field to the surface layer."""
    first = f.level(0) + flux
    rest = f.crop(first.halo)
    return rest.with_data(jnp.concatenate([first.data[None], rest.data[1:]]))
