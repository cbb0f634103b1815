"""Scatter and gather of global fields by tile, one field at a time.

Rank 0 alone ever holds an array of global size, and only while one field (or one level of it)
passes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dogcm.decomp.depth import Halo
from dogcm.decomp.fold import pad_north
from dogcm.decomp.layout import Layout


def pad_global(
    values: np.ndarray,
    halo: Halo,
    periodic_x: bool,
    fill: float | None = None,
    fold: str = "",
    vector: bool | None = None,
):
    """Extend a global ``(..., ny, nx)`` array by ``halo``: periodic or repeated in x, repeated in
    y.

    With ``fill`` the cells beyond a wall get that value instead of a repetition. ``fold``: the
    place (c, u, v, q) of the values where the grid has a north fold; ``vector``: whether they
    change sign there (None: at u and v).
    """
    if fold:
        values = pad_north(values, fold, halo, vector)
        halo = Halo(halo.s, 0, halo.w, halo.e)
    lead = [(0, 0)] * (values.ndim - 2)
    mode = dict(mode="constant", constant_values=fill) if fill is not None else dict(mode="edge")
    in_x = dict(mode="wrap") if periodic_x else mode
    out = np.pad(values, lead + [(0, 0), (halo.w, halo.e)], **in_x)
    return np.pad(out, lead + [(halo.s, halo.n), (0, 0)], **mode)


class Decomposition:
    """A layout together with the ranks that work on it."""

    def __init__(self, layout: Layout, comm):
        if layout.size != comm.size:
            raise ValueError(f"layout for {layout.size} ranks on a communicator of {comm.size}")
        self.layout, self.comm = layout, comm
        self.rank = comm.rank
        self.tile = layout.tile(comm.rank)
        self.is_root = comm.rank == 0

    def scatter(
        self,
        values: np.ndarray | None,
        halo: int | Halo = 0,
        fill: float | None = None,
        at: str = "c",
        vector: bool | None = None,
    ) -> np.ndarray:
        """Give every rank its tile, with ``halo``, of the array ``(..., ny, nx)`` on rank 0.

        ``at``, ``vector``: place, and whether a north fold changes the sign (None: at u and v).
        Other ranks pass None. The result has shape ``(..., tile ny + s + n, tile nx + w + e)``.
        """
        halo = Halo.of(halo)
        lead, dtype = self.comm.broadcast(
            (values.shape[:-2], values.dtype.str) if self.is_root else None
        )
        if not self.is_root:
            ny, nx = self.tile.shape
            shape = (*lead, ny + halo.s + halo.n, nx + halo.w + halo.e)
            return self.comm.receive(shape, np.dtype(dtype), 0)
        if tuple(values.shape[-2:]) != self.layout.shape:
            raise ValueError(f"array of {values.shape[-2:]} on a grid of {self.layout.shape}")
        fold = at if self.layout.north_fold else ""
        padded = pad_global(values, halo, self.layout.periodic_x, fill, fold, vector)
        for rank in range(1, self.comm.size):
            self.comm.send(_cut(padded, self.layout.tile(rank), halo), rank)
        return _cut(padded, self.layout.tile(0), halo)

    def scatter_from(
        self,
        make: Callable[[], np.ndarray],
        halo: int | Halo = 0,
        fill: float | None = None,
        at: str = "c",
        vector: bool | None = None,
    ) -> np.ndarray:
        """:meth:`scatter` of ``make()``, which only rank 0 calls."""
        return self.scatter(make() if self.is_root else None, halo, fill, at, vector)

    def gather(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray | None:
        """The global array on rank 0 (None elsewhere) from every rank's ``(..., ny, nx)`` tile.

        Tiles that were dropped because they hold no ocean get ``fill``.
        """
        values = np.asarray(values)
        if not self.is_root:
            self.comm.send(values, 0)
            return None
        out = np.full((*values.shape[:-2], *self.layout.shape), fill, values.dtype)
        for rank in range(self.comm.size):
            tile = self.layout.tile(rank)
            part = values
            if rank:
                part = self.comm.receive((*values.shape[:-2], *tile.shape), values.dtype, rank)
            out[..., tile.j0 : tile.j1, tile.i0 : tile.i1] = part
        return out


def _cut(padded: np.ndarray, tile, halo: Halo) -> np.ndarray:
    rows = slice(tile.j0, tile.j1 + halo.s + halo.n)
    columns = slice(tile.i0, tile.i1 + halo.w + halo.e)
    return np.ascontiguousarray(padded[..., rows, columns])
