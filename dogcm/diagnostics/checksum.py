"""A checksum of a state: the same on every layout, another one as soon as a single bit of a single
cell differs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dogcm.field import Field
from dogcm.timestepping.state import State

_HALF = 32


def state_checksum(state: State, grid, halos) -> jax.Array:
    """Sum modulo 2**64, over all prognostic variables and all wet cells, of the bits of each value
    times an odd number
    that its place in the globe and its variable give; uint64.

    Swapped cells are found too. Whole numbers that wrap around add up to the same in any order.
    """
    sums = jnp.stack([_local(f, grid, halos) for _, f in sorted(state.variables().items())])
    # In halves, whose sums over ranks cannot overflow.
    low, high = (part.astype(jnp.int64) for part in (sums & (2**_HALF - 1), sums >> _HALF))
    low, high = (part.astype(jnp.uint64) for part in halos.psum(jnp.stack([low, high])))
    totals = low + (high << _HALF)
    names = jnp.arange(totals.shape[0], dtype=jnp.uint64)
    return jnp.sum(totals * (2 * names + 1), dtype=jnp.uint64)


def _local(f: Field, grid, halos) -> jax.Array:
    values, wet = f.interior, _mask(f, grid)
    if wet is not None:
        values = jnp.where(wet > 0, values, jnp.zeros_like(values))
    bits = jax.lax.bitcast_convert_type(
        values, jnp.uint64 if values.dtype.itemsize == 8 else jnp.uint32
    )
    (first_row, first_column), (rows, columns) = halos.origin, halos.layout.shape
    count = lambda n: jnp.arange(n, dtype=jnp.uint64)
    first = lambda n: jnp.asarray(n, jnp.uint64)
    y = first(first_row) + count(values.shape[-2])
    x = first(first_column) + count(values.shape[-1])
    place = y[:, None] * columns + x
    if values.ndim == 3:
        place = place + (count(values.shape[0]) * (rows * columns))[:, None, None]
    return jnp.sum(bits.astype(jnp.uint64) * (2 * place + 1), dtype=jnp.uint64)


def _mask(f: Field, grid):
    """Where there is water at the Field's place; None if the grid does not say."""
    mask = getattr(grid, f"wet_{f.at}" if f.ndim == 2 else f"mask_{f.at}", None)
    return None if mask is None or mask.shape[:-2] != f.shape[:-2] else mask.interior


__all__ = ["state_checksum"]
