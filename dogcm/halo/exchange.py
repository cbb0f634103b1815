"""Filling halos: two phases, one buffer per neighbour for all fields together.

First every array gets its western and eastern halo, then, rows already widened, its southern
and northern one: four messages in all, and the corners come for free. Where tiles of land have no rank
a corner may lie behind one of them. Layouts that drop tiles therefore send the new rows once more to the
west and east, and a corner whose northern or southern neighbour is missing is taken from there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from dogcm.decomp.depth import Halo
from dogcm.decomp.layout import Layout

# What messages bring carries this name, so that jax.checkpoint can be told to keep it.
RECEIVED = "halo"


class HaloExchange:
    """The neighbours of one tile, and the backend that reaches them."""

    def __init__(self, layout: Layout, backend):
        self.layout, self.backend = layout, backend
        self.rank, self.size = backend.rank, backend.size
        self.neighbours = layout.neighbours(backend.rank)
        self.psum, self.pmax = backend.psum, backend.pmax
        self.broadcast = backend.broadcast

    def exchange(self, arrays: list, wants: list[Halo]) -> list:
        """Arrays ``(..., ny, nx)`` without halo in, arrays with the wanted halos out."""
        self._check_depth(wants)
        # Stored before and after, so that the compiler sees the same arithmetic around an exchange
        # whether it is a message or a copy: contracted products then round alike on every layout.
        arrays = list(jax.lax.optimization_barrier(tuple(arrays)))
        near = self.neighbours
        split_x, split_y = self.layout.px > 1, self.layout.py > 1
        depths = [(w.w, w.e) for w in wants]
        arrays = self._phase(arrays, depths, -1, near.w, near.e, split_x)
        depths = [(w.s, w.n) for w in wants]
        arrays = self._phase(arrays, depths, -2, near.s, near.n, split_y)
        if self.layout.drops_tiles and split_x and split_y:
            arrays = self._corners(arrays, wants)
        return list(jax.lax.optimization_barrier(tuple(arrays)))

    def _phase(self, arrays, depths, axis, lower: int, upper: int, split: bool) -> list:
        """Add ``depths = (below, above)`` cells to each array along ``axis``."""
        to_lower = [_edge(a, above, axis, first=True) for a, (_, above) in zip(arrays, depths)]
        to_upper = [_edge(a, below, axis, first=False) for a, (below, _) in zip(arrays, depths)]
        if split:
            received = self.backend.swap(_pack(to_lower), _pack(to_upper), lower, upper)
            from_lower, from_upper = (checkpoint_name(buffer, RECEIVED) for buffer in received)
            below, above = _unpack(from_lower, to_upper), _unpack(from_upper, to_lower)
        else:
            # One tile spans this direction: it is its own neighbour.
            below, above = to_upper, to_lower
        return [jnp.concatenate(parts, axis=axis) for parts in zip(below, arrays, above)]

    def _corners(self, arrays: list, wants: list[Halo]) -> list:
        """Corners behind a dropped tile, from the halo rows of the western and eastern neighbours."""
        bare = [a[..., w.w : a.shape[-1] - w.e] for a, w in zip(arrays, wants)]
        rows = [jnp.concatenate([b[..., : w.s, :], b[..., b.shape[-2] - w.n :, :]], axis=-2) for b, w in zip(bare, wants)]
        near, depths = self.neighbours, [(w.w, w.e) for w in wants]
        rows = self._phase(rows, depths, -1, near.w, near.e, True)
        missing_s, missing_n = self.layout.missing(self.rank)
        out = []
        for array, row, w in zip(arrays, rows, wants):
            ny, nx = array.shape[-2:]
            corner = np.ones(nx, bool)
            corner[w.w : nx - w.e] = False
            # Which corners to replace is data, not code: every rank runs the same program.
            south = jnp.where(corner & missing_s, row[..., : w.s, :], array[..., : w.s, :])
            north = jnp.where(corner & missing_n, row[..., w.s :, :], array[..., ny - w.n :, :])
            out.append(jnp.concatenate([south, array[..., w.s : ny - w.n, :], north], axis=-2))
        return out

    def _check_depth(self, wants: list[Halo]) -> None:
        rows, columns = self.layout.smallest_tile
        for want in wants:
            if max(want.s, want.n) > rows or max(want.w, want.e) > columns:
                raise ValueError(
                    f"{want} is deeper than the smallest tile ({rows} x {columns} cells) of "
                    f"{self.layout.describe()}; use fewer tiles"
                )


def _edge(array, depth: int, axis: int, first: bool):
    size = array.shape[axis]
    start = 0 if first else size - depth
    index = [slice(None)] * array.ndim
    index[axis] = slice(start, start + depth)
    return array[tuple(index)]


def _pack(slabs: list):
    return jnp.concatenate([s.ravel() for s in slabs])


def _unpack(buffer, like: list) -> list:
    out, start = [], 0
    for slab in like:
        size = int(np.prod(slab.shape))
        out.append(buffer[start : start + size].reshape(slab.shape))
        start += size
    return out
