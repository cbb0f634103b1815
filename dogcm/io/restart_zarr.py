"""Restarts as zarr stores (format 3), of which every rank writes and reads its own part.

A restart is a folder with an array for each variable, in shards (:mod:`dogcm.io.zarr_shards`), and
with ``SHA256SUMS``, the checksums of all its files as the ``sha256sum`` of other tools has them;
the checksum of that list is in the metadata of the whole, ``zarr.json``, which comes last. The
folder then takes its final name, so what has that name is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dogcm.io.restart_file import Part, RestartFile
from dogcm.io.root import RootTask, SharedTask, on_root, require_space
from dogcm.io.whole import remove, settle, to_disk
from dogcm.io.zarr_shards import Shards, consolidate, packing, require_zarr, size_of, writing_all

_METADATA, _SUMS = "zarr.json", "SHA256SUMS"
_SUM_OF_SUMS = "checksums_sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


class ZarrRestart(RestartFile):
    """One zarr store; see :class:`dogcm.io.restart_file.RestartFile`."""

    suffix = ".zarr"

    def __init__(self, path: Path, model):
        super().__init__(path, model)
        self._arrays: dict[str, Any] = {}
        self._sums: dict[str, str] = {}  # of files that are not metadata

    @classmethod
    def time(cls, path: Path) -> float:
        return float(_attributes(path)["time"])

    # ---- writing
    def write(self, attributes: dict, parts: Sequence[Part], need: int) -> None:
        require_zarr(self._comm, str(self.path))
        beside = self.path.with_name(f".{self.path.name}.partial")
        try:
            task = SharedTask(self._comm, self.path)
            task.do(require_space, self.path, need)
            task.do(self._define, beside, parts)
            task.finish()
            # Opened once and handed out: another machine may not see a new file at once.
            names = [part.entry.name for part in parts]
            arrays = on_root(self._comm, partial(_arrays_of, beside, names, "r+"))
            sums = self._put(beside, arrays, parts)
            last = RootTask(self._comm, self.path)
            last.do(self._complete, beside, attributes, sums)
            last.finish()
        finally:
            if self._comm.rank == 0:
                remove(beside)

    def _define(self, path: Path, parts: Sequence[Part]) -> None:
        import zarr

        remove(path)
        group, shards = zarr.create_group(path, zarr_format=3), Shards(self._decomposition)
        for part in parts:
            e = part.entry
            shape = (*part.values.shape[:-2], *self._model.horizontal.shape)
            group.create_array(
                e.name,
                shape=shape,
                dtype=e.dtype,
                fill_value=0,
                attributes=e.attributes,
                dimension_names=e.dimensions,
                compressors=packing(),
                # All files of a variable in one folder.
                chunk_key_encoding={"name": "default", "separator": "."},
                **shards.storage(shape, e.dtype),
            )
        consolidate(path)

    def _put(self, path: Path, arrays: dict[str, Any], parts: Sequence[Part]) -> dict[str, str]:
        """Write this rank's shards; returns the checksums of all ranks' files on rank 0."""
        task, shards = SharedTask(self._comm, self.path), Shards(self._decomposition)
        sums: dict[str, str] = {}
        for turn, part in enumerate(parts):
            array = writing_all(arrays[part.entry.name])
            for place, block in shards.pieces(array, part.values, turn):
                corner = [n.start // size for n, size in zip(place, size_of(array))]
                file = _file_of(part.entry.name, array, corner)
                task.each(array.__setitem__, place, block)
                task.each(_sum_up, path, file, sums)
        every = self._comm.gather(sums)
        task.finish()
        return {k: v for one in every or () for k, v in one.items()}

    def _complete(self, path: Path, attributes: dict, sums: dict[str, str]) -> None:
        names = sorted(p.name for p in path.iterdir() if p.is_dir())
        for name in names:
            _sum_up(path, f"{name}/{_METADATA}", sums)
        text = "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
        (path / _SUMS).write_text(text, encoding="utf-8")
        root = json.loads((path / _METADATA).read_text(encoding="utf-8"))
        root["attributes"] = attributes | {_SUM_OF_SUMS: hashlib.sha256(text.encode()).hexdigest()}
        (path / _METADATA).write_text(json.dumps(root, indent=1), encoding="utf-8")
        for place in (_SUMS, _METADATA, *names, ""):
            to_disk(path / place)
        settle(path, self.path)

    # ---- reading
    def look(self) -> None:
        require_zarr(self._comm, str(self.path))
        found = on_root(self._comm, partial(_contents, self.path))
        self.attributes, self._sums, self._arrays = found
        self.shapes = {n: a.shape for n, a in self._arrays.items()}
        self.fields = {n for n, a in self._arrays.items() if "place" in a.attrs}

    def damaged(self, names: Sequence[str]) -> list[str]:
        tile = self._decomposition.tile
        bad = {n for n in names if not self._sound(n, (tile.j0, tile.j1), (tile.i0, tile.i1))}
        found = set().union(*self._comm.broadcast(self._comm.gather(bad)))
        return [n for n in names if n in found]

    def _sound(self, name: str, *bounds: tuple[int, int]) -> bool:
        """Whether the files that hold these rows and columns of a variable are as they were."""
        if name not in self._arrays:
            return False
        return all(self._fits(file) for file in _files(name, self._arrays[name], bounds))

    def _fits(self, file: str) -> bool:
        try:
            return _digest(self.path / file) == self._sums.get(file)
        except FileNotFoundError:
            return file not in self._sums  # of tiles of land that had no rank
        except OSError:
            return False

    def tile(self, name: str, dtype: np.dtype) -> np.ndarray:
        array, t = self._arrays[name], self._decomposition.tile
        place = (slice(t.j0, t.j1), slice(t.i0, t.i1))
        if array.ndim == 2:
            return array[place].astype(dtype)
        out = np.empty((array.shape[0], *t.shape), dtype)
        # Chunks of another layout hold more columns than the tile: fewer levels at a time then.
        depth, *columns = size_of(array)
        bounds = ((t.j0, t.j1), (t.i0, t.i1))
        met = math.prod(len(_numbers(*ends, size)) * size for ends, size in zip(bounds, columns))
        each = max(depth * math.prod(t.shape) // met, 1)
        for k in range(0, array.shape[0], each):
            out[k : k + each] = array[(slice(k, min(k + each, array.shape[0])), *place)]
        return out

    def whole(self, name: str) -> np.ndarray:
        ny, nx = self._model.horizontal.shape
        if not self._sound(name, (0, ny), (0, nx)):
            raise ValueError(f"the checksum of {name} does not fit")
        return self._arrays[name][...]


def _attributes(path: Path) -> dict[str, Any]:
    return json.loads((path / _METADATA).read_text(encoding="utf-8"))["attributes"]


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Attributes, checksums of data and arrays; of metadata that are as they were."""
    attributes = _attributes(path)
    text = (path / _SUMS).read_bytes()
    if hashlib.sha256(text).hexdigest() != attributes[_SUM_OF_SUMS]:
        raise ValueError(f"the checksum of {_SUMS} does not fit")
    sums = {m[2]: m[1] for m in map(_LINE.fullmatch, text.decode().splitlines()) if m}
    files = [file for file in sums if file.endswith(f"/{_METADATA}")]
    for file in files:
        if _digest(path / file) != sums.pop(file):
            raise ValueError(f"the checksum of {file} does not fit")
    return attributes, sums, _arrays_of(path, [file.rpartition("/")[0] for file in files], "r")


def _arrays_of(path: Path, names: Sequence[str], mode: str) -> dict[str, Any]:
    import zarr

    return {n: zarr.open_array(path / n, mode=mode, zarr_format=3) for n in names}


def _files(name: str, array, bounds: Sequence[tuple[int, int]]) -> Iterator[str]:
    """The files that hold some rows and columns of an array."""
    extents = [*((0, n) for n in array.shape[:-2]), *bounds]
    numbers = [_numbers(*ends, size) for ends, size in zip(extents, size_of(array))]
    for corner in itertools.product(*numbers):
        yield _file_of(name, array, corner)


def _numbers(first: int, end: int, size: int) -> range:
    """The shards of a size that hold a range of cells."""
    return range(first // size, (end - 1) // size + 1)


def _file_of(name: str, array, corner: Sequence[int]) -> str:
    return f"{name}/{array.metadata.encode_chunk_key(tuple(corner))}"


def _sum_up(folder: Path, file: str, sums: dict[str, str]) -> None:
    """Note the checksum of a file that is safe on disk."""
    to_disk(folder / file)
    sums[file] = _digest(folder / file)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["ZarrRestart"]
