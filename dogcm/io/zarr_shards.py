"""Shards of zarr arrays: how large they are, and who writes which.

A *shard* is a file of some levels of a part of the globe, and consists of *chunks* of one level
each, which is what a reader unpacks. Shards are as large as the tiles, as far as that is sensible;
what does not lie in one tile goes to the rank that has most of a shard (:mod:`dogcm.decomp.boxes`).
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.decomp import Boxes

# The largest shard, before packing: a rank puts together one of another layout in memory.
SHARD_BYTES = 1 << 24
# Earlier versions do not replace files as a whole.
_LEAST = (3, 1, 3)


def require_zarr(comm, wish: str) -> None:
    """See that every rank can work on zarr stores; all ranks call it.

    Args:
        wish: what needs them, as the subject of a sentence.

    Raises:
        ConfigError: the library is missing on a rank, or too old.
    """
    told = comm.broadcast(comm.gather(_lacking(wish)))
    if first := next(filter(None, told), None):
        raise ConfigError(first)


def _lacking(wish: str) -> str | None:
    wanted = ".".join(map(str, _LEAST))
    advice = 'pip install "dogcm[zarr]", or take netCDF'
    try:
        found = importlib.import_module("zarr").__version__
    except ImportError as error:
        return f"{wish} needs zarr, which cannot be imported ({error}): {advice}"
    if tuple(int(n) for n in found.split(".")[:3] if n.isdigit()) < _LEAST:
        return f"{wish} needs zarr {wanted}, not {found}: {advice}"
    return None


class Shards:
    """The shards of arrays on a decomposition."""

    def __init__(self, decomposition):
        self._decomposition = decomposition
        self._cuts: dict[tuple, Boxes] = {}

    def storage(self, shape: tuple[int, ...], dtype: str, records: bool = False) -> dict:
        """Chunks and shards of fields of ``shape``, ([levels,] ny, nx), as zarr takes them.

        Args:
            records: whether the array has a first axis besides, along which it grows.
        """
        levels, *columns = self.sizes(shape, np.dtype(dtype).itemsize)
        one = (1,) * (records + len(shape) - 2)
        found = {"chunks": (*one, *columns)}
        return found if levels == 1 else found | {"shards": (*one[1:], levels, *columns)}

    def sizes(self, shape: tuple[int, ...], itemsize: int) -> tuple[int, int, int]:
        """Levels, rows and columns of a shard of fields of ``shape``."""
        layout = self._decomposition.layout
        rows, columns = (math.ceil(n / p) for n, p in zip(shape[-2:], (layout.py, layout.px)))
        while rows * columns * itemsize > SHARD_BYTES and rows > 1:
            rows = math.ceil(rows / 2)
        levels = shape[0] if len(shape) == 3 else 1
        fit = max(SHARD_BYTES // (rows * columns * itemsize), 1)
        return math.ceil(levels / math.ceil(levels / fit)), rows, columns

    def pieces(
        self, array, values: np.ndarray, turn: int
    ) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """This rank's shards of a field, one after the other, as ``(place, block)``; all ranks go
        through them.

        Args:
            array: of zarr. values: ([levels,] ny, nx) on this rank's tile. turn: see
                :meth:`dogcm.decomp.boxes.Boxes.collect`.
        """
        layers = values.reshape(-1, *values.shape[-2:])
        each = size_of(array)[-3] if values.ndim == 3 else 1
        for number, k in enumerate(range(0, len(layers), each)):
            part = layers[k : k + each].astype(array.dtype, copy=False)
            levels = (slice(k, k + len(part)),) if values.ndim == 3 else ()
            boxes = self._boxes(size_of(array)[-2:])
            for box, block in boxes.collect(part, float(array.fill_value), turn + number):
                place = (*levels, slice(box.j0, box.j1), slice(box.i0, box.i1))
                yield place, block if levels else block[0]

    def _boxes(self, size: tuple[int, int]) -> Boxes:
        if size not in self._cuts:
            self._cuts[size] = Boxes(self._decomposition, *size)
        return self._cuts[size]


def size_of(array) -> tuple[int, ...]:
    """The size of what an array keeps in one file."""
    return array.shards or array.chunks


def packing():
    """How chunks are packed: fast, and without loss."""
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")


def consolidate(path: Path) -> None:
    """Gather the metadata of a store in one file, which readers then go by."""
    import zarr

    with warnings.catch_warnings():
        # That format 3 does not speak of consolidated metadata yet; xarray reads it.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path, zarr_format=3)


def writing_all(array, length: int | None = None):
    """The array, which writes chunks also where they hold nothing but the fill value; with room for
    ``length`` records, of which the store does not know yet."""
    import zarr

    shape = array.shape if length is None else (length, *array.shape[1:])
    # To look for chunks of land alone takes longer than to pack them.
    metadata = array.metadata.update_shape(shape)
    return zarr.Array(zarr.AsyncArray(metadata, array.store_path, {"write_empty_chunks": True}))


__all__ = [
    "SHARD_BYTES",
    "Shards",
    "consolidate",
    "packing",
    "require_zarr",
    "size_of",
    "writing_all",
]
