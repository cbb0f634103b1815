"""A second cut of the grid, into boxes, each of which one rank puts together.

Files are written in boxes of their own, which need not be the tiles: a file may have been begun on
another layout. A box that lies in one tile is that rank's, and nothing is sent; a box that several
tiles share goes to the rank that has most of it.
"""

from __future__ import annotations

import numpy as np

from dogcm.decomp.layout import Tile
from dogcm.decomp.tiles import Decomposition


class Boxes:
    """Boxes of ``rows`` by ``columns`` cells, counted from the south-west corner; the last ones are
    cut off where the grid ends."""

    def __init__(self, decomposition: Decomposition, rows: int, columns: int):
        self._comm, self._tile = decomposition.comm, decomposition.tile
        ny, nx = decomposition.layout.shape
        tiles = [decomposition.layout.tile(rank) for rank in range(decomposition.layout.size)]
        # Only boxes that have cells of this rank, with the parts of all ranks.
        self._shared: list[tuple[Tile, dict[int, Tile]]] = []
        own = self._tile
        for j in range(own.j0 // rows * rows, own.j1, rows):
            for i in range(own.i0 // columns * columns, own.i1, columns):
                box = Tile(j, min(j + rows, ny), i, min(i + columns, nx))
                common = {rank: _common(box, tile) for rank, tile in enumerate(tiles)}
                self._shared.append((box, {r: t for r, t in common.items() if t is not None}))

    def collect(self, values: np.ndarray, fill: float, turn: int) -> list[tuple[Tile, np.ndarray]]:
        """This rank's boxes of a global array, as ``(box, (..., rows, columns))``; all ranks call.

        Args:
            values: ``(..., tile ny, tile nx)``. fill: for cells of tiles that have no rank.
            turn: ranks with equal shares of a box take it in turns, by this number.
        """
        found = []
        # Everybody goes through the boxes in the same order, so no two ranks wait for each other.
        for box, parts in self._shared:
            most = max(_cells(part) for part in parts.values())
            equal = [rank for rank, part in parts.items() if _cells(part) == most]
            owner = equal[turn % len(equal)]
            own = values[_within(self._tile, parts[self._comm.rank])]
            if owner != self._comm.rank:
                self._comm.send(own, owner)
                continue
            if parts[owner] == box:
                found.append((box, own))
                continue
            out = np.full((*values.shape[:-2], *box.shape), fill, values.dtype)
            for rank, part in parts.items():
                if rank != owner:
                    shape = (*values.shape[:-2], *part.shape)
                    out[_within(box, part)] = self._comm.receive(shape, values.dtype, rank)
            out[_within(box, parts[owner])] = own
            found.append((box, out))
        return found


def _common(a: Tile, b: Tile) -> Tile | None:
    """The cells of both, None if there are none."""
    both = Tile(max(a.j0, b.j0), min(a.j1, b.j1), max(a.i0, b.i0), min(a.i1, b.i1))
    return both if both.j0 < both.j1 and both.i0 < both.i1 else None


def _cells(tile: Tile) -> int:
    rows, columns = tile.shape
    return rows * columns


def _within(outer: Tile, part: Tile) -> tuple:
    """Index of ``part`` in an array of ``outer``."""
    rows = slice(part.j0 - outer.j0, part.j1 - outer.j0)
    return (..., rows, slice(part.i0 - outer.i0, part.i1 - outer.i0))


__all__ = ["Boxes"]
