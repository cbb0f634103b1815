"""Coarser levels that do not depend on how the grid is cut into tiles.

A coarse cell joins the *global* pairs of rows ``(2J, 2J + 1)`` and of columns ``(2I, 2I + 1)``. A
tile owns the coarse cells whose first fine cell it owns, hence ``ceil(i0 / 2) <= I < ceil(i1 /
2)``; for a pair that a cut divides it needs one cell from the east or north. Of an odd number of
columns the last coarse cell holds one alone.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.corrector.layers import Level, owned
from dogcm.decomp.depth import Halo
from dogcm.decomp.layout import Layout, LayoutError
from dogcm.field import Field
from dogcm.halo import HaloExchange

_PAIR = Halo(n=1, e=1)


def _half(cells: int) -> int:
    return -(-cells // 2)


def coarse_layout(layout: Layout) -> Layout:
    """The same ranks on the grid of half the size.

    Raises:
        LayoutError: some tile would own no coarse cell, or a dropped tile would own one that holds
            cells of a tile that is kept.
    """
    cuts = [tuple(_half(c) for c in old) for old in (layout.cuts_x, layout.cuts_y)]
    if min(np.diff(c).min() for c in cuts) < 1:
        rows, columns = layout.smallest_tile
        raise LayoutError(
            f"{layout.describe()}: the smallest tile ({rows} x {columns} cells) cannot be "
            f"coarsened again; "
            "use fewer tiles, or fewer poolings (a smaller depth) in the network"
        )
    for axis, old in ((1, layout.cuts_x), (0, layout.cuts_y)):
        table = np.moveaxis(np.asarray(layout.ranks) >= 0, axis, 0)
        for p, edge in enumerate(old[1:-1]):
            if edge % 2 and (~table[p] & table[p + 1]).any():
                raise LayoutError(
                    f"{layout.describe()}: the cut at {'ji'[axis]} = {edge} divides a pair of "
                    f"cells of a "
                    "tile without ocean, which nobody would compute; choose a layout with even cuts"
                )
    shape = (_half(layout.shape[0]), _half(layout.shape[1]))
    return replace(layout, shape=shape, cuts_x=cuts[0], cuts_y=cuts[1])


def _pairs(values, tile):
    """The fine cells of this tile's coarse cells, from a tile with one cell more to the north and
    east."""
    j, i = tile.j0 % 2, tile.i0 % 2
    rows, columns = 2 * (_half(tile.j1) - _half(tile.j0)), 2 * (_half(tile.i1) - _half(tile.i0))
    return values[..., j : j + rows, i : i + columns]


def _add_pairs(values):
    by_row = values[..., 0::2, :] + values[..., 1::2, :]
    return by_row[..., 0::2] + by_row[..., 1::2]


def coarsen(fine: Level, depth: int) -> Level:
    """The level of half the resolution, its mask known ``depth`` cells deep."""
    layout = fine.halos.layout
    halos = HaloExchange(coarse_layout(layout), fine.halos.backend)
    # A last column without partner must not be paired with the first, which a periodic exchange
    # puts there.

    def counted(rank: int) -> np.ndarray:
        tile = layout.tile(rank)
        return owned(layout, rank, _PAIR) * (np.arange(tile.i0, tile.i1 + 1) < layout.shape[1])

    there = fine.halos.here(counted)
    weight = fine.fill(fine.weight, _PAIR).crop(_PAIR).data
    weight = _pairs(weight * jnp.asarray(there, weight.dtype), fine.halos.pattern)
    total = _add_pairs(weight)
    wet = Field((total > 0).astype(total.dtype), "c")
    full = jnp.repeat(jnp.repeat(jnp.where(total > 0, total, 1.0), 2, axis=-1), 2, axis=-2)
    return Level.of(halos, wet, Field(total, "c"), depth, fine.strategy, weight / full)


def pool(x: Field, fine: Level, coarse: Level) -> Field:
    """Mean over the water of each coarse cell; zero where there is none."""
    tile = fine.halos.pattern
    data = _pairs(fine.fill(x, _PAIR).crop(_PAIR).data, tile)
    return Field(_add_pairs(data * coarse.shares.astype(x.dtype)), "c")


def unpool(x: Field, fine: Level, coarse: Level) -> Field:
    """Every fine cell takes the value of its coarse cell."""
    tile = fine.halos.pattern
    halo = Halo(s=1, w=1)
    data = coarse.fill(x, halo).crop(halo).data
    data = jnp.repeat(jnp.repeat(data, 2, axis=-1), 2, axis=-2)
    # The first fine cell of the halo's first coarse cell is 2 (ceil(i0 / 2) - 1).
    j, i = 2 - tile.j0 % 2, 2 - tile.i0 % 2
    ny, nx = tile.shape
    return Field(jax.lax.slice(data, (0, j, i), (data.shape[0], j + ny, i + nx)), "c")
