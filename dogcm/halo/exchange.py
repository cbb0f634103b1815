"""Filling halos: two phases, one buffer per neighbour for all fields together.

First go western and eastern slabs, then southern and northern ones, as wide as the rows have become
by
that: four messages in all, and the corners come for free. Where tiles of land have no rank
a corner may lie behind one of them. Layouts that drop tiles therefore send the new rows once more
to the west and east, and a corner whose northern or southern neighbour is missing is taken from
there.

Beyond a north fold (:mod:`dogcm.decomp.fold`) lies the mirrored tile of the same row: one message
more, in which the two trade their uppermost rows. Rows of the first phase are made wide enough that
the mirrored halo is in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.ad_checkpoint import name_p
from jax.ad_checkpoint import checkpoint_name
from jax.interpreters import ad

from dogcm.decomp import fold
from dogcm.decomp.depth import Halo
from dogcm.decomp.layout import Layout, Tile
from dogcm.lowering.transposes import framed, joined, with_edges, with_ends

# What messages bring carries this name, so that jax.checkpoint can be told to keep it.
RECEIVED = "halo"
# JAX has no transpose of a name, as tangents carry none; dogcm.field.send_back transposes an
# exchange itself.
ad.primitive_transposes.setdefault(name_p, lambda cotangent, _, *, name: [cotangent])


class HaloExchange:
    """The neighbours of one tile, and the backend that reaches them.

    What differs between tiles is asked of the backend (:meth:`here`): where all tiles share one
    program it is data, chosen by the device.

    Attributes:
        size: number of ranks. psum, pmax, broadcast: over all of them, inside a program. jit,
            shapes: ``jax.jit`` and ``jax.eval_shape`` for functions that send messages.
    """

    def __init__(self, layout: Layout, backend):
        """Raises:
        LayoutError: the backend cannot serve this layout.
        """
        backend.check(layout)
        self.layout, self.backend, self.size = layout, backend, backend.size
        self.psum, self.pmax = backend.psum, backend.pmax
        self.broadcast, self.here = backend.broadcast, backend.here
        self.jit, self.shapes = backend.jit, backend.shapes
        self._near = functools.cache(layout.neighbours)

    @property
    def rank(self) -> int:
        """Of this tile, where each has its own program."""
        return self.backend.rank

    @property
    def pattern(self) -> Tile:
        """A tile of this one's size and parity: this one, where each has its own program."""
        return self.layout.tile(self.backend.pattern)

    @property
    def origin(self) -> tuple:
        """Global (row, column) of the tile's first cell: whole numbers, or data."""
        return (
            self.here(lambda rank: self.layout.tile(rank).j0),
            self.here(lambda rank: self.layout.tile(rank).i0),
        )

    def _south_north(self, rank: int) -> tuple[int, int]:
        near = self._near(rank)
        return near.s, near.n

    def _west_east(self, rank: int) -> tuple[int, int]:
        near = self._near(rank)
        return near.w, near.e

    @property
    def north_fold(self) -> bool:
        """Whether the grid is folded in the north."""
        return self.layout.north_fold

    def exchange(
        self, arrays: list, wants: list[Halo], places: list[str] | None = None, vectors=None
    ) -> list:
        """Arrays ``(..., ny, nx)`` without halo in, arrays with the wanted halos out.

        Args:
            places: where on the C grid the arrays are; only a north fold asks for it (default: cell
                centres).
            vectors: whether they change sign across the fold (default, and None: those at u and v
                do).
        """
        self._check_depth(wants)
        # Stored before and after, so that the compiler sees the same arithmetic around an exchange
        # whether it is a message or a copy: contracted products then round alike on every layout.
        arrays = list(jax.lax.optimization_barrier(tuple(arrays)))
        split_x, split_y = self.layout.px > 1, self.layout.py > 1
        if self.north_fold:
            places = list(places or ["c"] * len(arrays))
            signs = [
                fold.flips(p) if v is None else v
                for p, v in zip(places, vectors or [None] * len(places))
            ]
            arrays, beyond = self._folded(arrays, wants, places, signs)
            depths = [(w.s, w.n) for w in wants]
            arrays = self._phase(arrays, depths, -2, self._south_north, split_y)
            arrays = [self._capped(*parts) for parts in zip(arrays, beyond, wants)]
        elif self._wraps(wants):
            # A grid of fewer cells than the halo is one tile, its own neighbour again and again.
            pads = [
                [(0, 0)] * (a.ndim - 2) + [(w.s, w.n), (w.w, w.e)] for a, w in zip(arrays, wants)
            ]
            arrays = [jnp.pad(a, p, mode="wrap") for a, p in zip(arrays, pads)]
        else:
            arrays = self._surrounded(arrays, wants)
        if self.layout.drops_tiles and split_x and split_y:
            also = [int(self.north_fold and fold.on_line(p)) for p in places or ["c"] * len(arrays)]
            arrays = self._corners(arrays, wants, also)
        return list(jax.lax.optimization_barrier(tuple(arrays)))

    def _surrounded(self, arrays: list, wants: list[Halo]) -> list:
        """Both phases where there is no fold: slabs travel, and each array is written once with all
        of them around it."""
        # A neighbour's northern halo is what lies along this tile's southern side, and so on.
        edges = [with_edges(a, (w.n, w.s, w.e, w.w)) for a, w in zip(arrays, wants)]
        first, last, to_west, to_east, arrays = zip(*edges)
        west, east = self._traded(to_west, to_east, self._west_east, self.layout.px > 1)
        to_south, to_north = [], []
        for lowest, highest, left, right, w in zip(first, last, west, east, wants):
            ny = left.shape[-2]
            to_south.append(
                jnp.concatenate([left[..., : w.n, :], lowest, right[..., : w.n, :]], axis=-1)
            )
            to_north.append(
                jnp.concatenate(
                    [left[..., ny - w.s :, :], highest, right[..., ny - w.s :, :]], axis=-1
                )
            )
        south, north = self._traded(to_south, to_north, self._south_north, self.layout.py > 1)
        return [framed(*parts) for parts in zip(arrays, south, north, west, east)]

    def _phase(self, arrays, depths, axis, near: Callable, split: bool) -> list:
        """Add ``depths = (below, above)`` cells to each array along ``axis``."""
        to_lower, to_upper, arrays = zip(
            *(with_ends(a, axis, above, below) for a, (below, above) in zip(arrays, depths))
        )
        below, above = self._traded(to_lower, to_upper, near, split)
        return [joined(*parts, axis) for parts in zip(below, arrays, above)]

    def _traded(self, to_lower, to_upper, near: Callable, split: bool) -> tuple[list, list]:
        """Slabs for the two neighbours of one direction in, theirs for this tile out (from below,
        from above)."""
        if not split:
            # One tile spans this direction: it is its own neighbour.
            return list(to_upper), list(to_lower)
        received = self.backend.swap(_pack(to_lower), _pack(to_upper), near)
        from_lower, from_upper = (checkpoint_name(buffer, RECEIVED) for buffer in received)
        return _unpack(from_lower, to_upper), _unpack(from_upper, to_lower)

    def _folded(
        self, arrays: list, wants: list[Halo], places: list[str], signs: list[bool]
    ) -> tuple[list, list]:
        """First phase where there is a fold: arrays with their halos in x, and the rows beyond the
        fold.

        In the last row what is there twice is set to its original.
        """
        reach = [max(w.w + fold.shifted(p), w.e) for w, p in zip(wants, places)]
        arrays = self._phase(
            arrays, [(r, r) for r in reach], -1, self._west_east, self.layout.px > 1
        )
        sent = [
            _edge(a, w.n + fold.on_line(p), -2, first=False)
            for a, w, p in zip(arrays, wants, places)
        ]
        got = sent
        if self.layout.px > 1:
            buffer = self.backend.trade(_pack(sent), self.layout.mirror)
            got = _unpack(checkpoint_name(buffer, RECEIVED), sent)
        out, beyond = [], []
        for array, rows, w, at, r, flip in zip(arrays, got, wants, places, reach, signs):
            width = array.shape[-1] - 2 * r + w.w + w.e
            array = _columns(array, r - w.w, width)
            rows = _columns(rows[..., ::-1, ::-1], r - fold.shifted(at) - w.w, width)
            rows = -rows if flip else rows
            if fold.on_line(at):
                array = self._once_told(array, rows[..., :1, :], at, w)
                rows = rows[..., 1:, :]
            out.append(array)
            beyond.append(rows)
        return out, beyond

    def _once_told(self, array, mirrored, at: str, want: Halo):
        """``array`` whose last row has the mirrored values where it repeats others."""
        layout = self.layout

        def repeated(rank: int) -> np.ndarray:
            tile = layout.tile(rank)
            columns = np.arange(tile.i0 - want.w, tile.i1 + want.e)
            known = layout.on_fold(rank) and not layout.missing(rank)[1]
            return fold.copies(at, columns, layout.shape[1]) & known

        last = jnp.where(self.here(repeated), mirrored, array[..., -1:, :])
        return jnp.concatenate([array[..., :-1, :], last], axis=-2)

    def _capped(self, array, beyond, want: Halo):
        """The northern halo from beyond the fold. Which tiles have one is data, not code."""
        if not want.n:
            return array
        ny = array.shape[-2] - want.n
        folded = self.here(lambda rank: np.bool_(self.layout.on_fold(rank)))
        north = jnp.where(folded, beyond, array[..., ny:, :])
        return jnp.concatenate([array[..., :ny, :], north], axis=-2)

    def _corners(self, arrays: list, wants: list[Halo], also: list[int]) -> list:
        """Corners behind a dropped tile, from the halo rows of the western and eastern neighbours;
        ``also`` so many rows
        below the northern ones (what they repeat on a fold)."""
        bare = [a[..., w.w : a.shape[-1] - w.e] for a, w in zip(arrays, wants)]
        upper = [w.n + more for w, more in zip(wants, also)]
        rows = [
            jnp.concatenate([b[..., : w.s, :], b[..., b.shape[-2] - n :, :]], axis=-2)
            for b, w, n in zip(bare, wants, upper)
        ]
        rows = self._phase(rows, [(w.w, w.e) for w in wants], -1, self._west_east, True)
        missing_s, missing_n = (
            self.here(lambda rank, side=side: np.bool_(self.layout.missing(rank)[side]))
            for side in (0, 1)
        )
        out = []
        for array, row, w, n in zip(arrays, rows, wants, upper):
            ny, nx = array.shape[-2:]
            corner = np.ones(nx, bool)
            corner[w.w : nx - w.e] = False
            # Which corners to replace is data, not code: every rank runs the same program.
            south = jnp.where(corner & missing_s, row[..., : w.s, :], array[..., : w.s, :])
            north = jnp.where(corner & missing_n, row[..., w.s :, :], array[..., ny - n :, :])
            out.append(jnp.concatenate([south, array[..., w.s : ny - n, :], north], axis=-2))
        return out

    def _wraps(self, wants: list[Halo]) -> bool:
        """Whether a halo is deeper than the whole grid, which then is one tile."""
        rows, columns = self.layout.shape
        deeper = any(max(w.s, w.n) > rows or max(w.w, w.e) > columns for w in wants)
        return deeper and self.layout.px == self.layout.py == 1

    def _check_depth(self, wants: list[Halo]) -> None:
        rows, columns = self.layout.smallest_tile
        if not self.north_fold and self._wraps(wants):
            return
        more = int(self.layout.north_fold)
        for want in wants:
            if max(want.s, want.n + more) > rows or max(want.w + more, want.e) > columns:
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


def _columns(array, start: int, width: int):
    return array[..., start : start + width]


def _pack(slabs: list):
    return jnp.concatenate([s.ravel() for s in slabs])


def _unpack(buffer, like: list) -> list:
    out, start = [], 0
    for slab in like:
        size = int(np.prod(slab.shape))
        out.append(buffer[start : start + size].reshape(slab.shape))
        start += size
    return out
