"""Output as zarr stores (format 3): one folder per entry of ``run.output`` that asks for it, to
which every rank writes its own part.

A record consists of *shards*, files of some levels of a part of the globe, and a shard of *chunks*
of one level each, which is what a reader unpacks. Shards are as large as the tiles of the run that
begins the store, as far as that is sensible, and stay as they are: a run that goes on on another
layout sends what does not lie in its tiles to the rank that has most of a shard
(:mod:`dogcm.decomp.boxes`).

A record counts from the moment at which the consolidated metadata has it, which is the last thing
that rank 0 writes when all shards are there. They are replaced as a whole, so a store can be opened
at any time, also one whose run was killed.
"""

from __future__ import annotations

import base64
import json
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dogcm.field import Field
from dogcm.io.description import HEADER_BYTES, Entry
from dogcm.io.root import OutputError, RootTask, SharedTask, on_root, require_space
from dogcm.io.stream import OutputStream, interior, kept, on_water
from dogcm.io.whole import remove, whole_file
from dogcm.io.zarr_shards import Shards, consolidate, packing, writing_all

# Of times: few files, which are read as one when a store is opened.
_TIMES = 1024
_METADATA = "zarr.json"


@dataclass(frozen=True)
class _Record:
    """A record that is being written: its interval (s), and whether this rank's part is there."""

    start: float
    end: float
    written: Future


class ZarrStore(OutputStream):
    """One zarr store; see :class:`dogcm.io.stream.OutputStream`."""

    suffix = ".zarr"
    _arrays: dict[str, Any]
    _pending: _Record | None

    # ---- records
    def append(self, fields: dict[str, Field | np.ndarray], start: float, end: float) -> None:
        self.hand_over(fields, start, end)
        self.complete()

    def hand_over(self, fields: dict[str, Field | np.ndarray], start: float, end: float) -> None:
        self.complete()  # one record at a time: what waits is held in memory
        space = RootTask(self._comm, self.path)
        space.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
        space.finish()
        pieces = []
        for turn, name in enumerate(self.variables):
            values, mask = self._levels(name, fields[name])
            array = writing_all(self._arrays[name], self._index + 1)
            # Copies: the steps to come use the memory of the fields again.
            found = self._shards.pieces(array, on_water(values, mask), turn)
            pieces += [(array, (self._index, *place), block) for place, block in found]
        # The thread speaks to nobody; what went wrong in it is told in complete.
        self._pending = _Record(start, end, self._writer.submit(_write, pieces))

    def complete(self, wait: bool = True) -> None:
        if (record := self._pending) is None:
            return
        if not wait and self._comm.any(not record.written.done()):
            return
        self._pending = None
        task = SharedTask(self._comm, self.path)
        task.each(record.written.result)
        task.finish()
        last = RootTask(self._comm, self.path)
        last.do(self._stamp, record.start, record.end)
        last.do(_set_length, self.path, self._growing(), self._index + 1)
        last.finish()
        self._index += 1

    def close(self) -> None:
        self._writer.shutdown()

    def _stamp(self, start: float, end: float) -> None:
        time, bounds = self._times(start, end)
        if bounds is not None:
            writing_all(self._arrays["time_bnds"], self._index + 1)[self._index] = np.array(bounds)
        writing_all(self._arrays["time"], self._index + 1)[self._index] = time

    def _growing(self) -> list[str]:
        """Names of the arrays that have a record's part."""
        return [*self.variables, *(entry.name for entry in self.description.time())]

    # ---- opening
    def _create(self, attributes: dict) -> None:
        self._begin()
        beside = self.path.with_name(f".{self.path.name}.partial")
        try:
            task = SharedTask(self._comm, self.path)
            task.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
            task.do(self._define, beside, attributes)
            task.finish()
            self._open(beside)
            task = SharedTask(self._comm, self.path)
            for turn, entry in enumerate(self.description.metrics()):
                array = self._arrays[entry.name]
                values = interior(getattr(self._model.grid, entry.name))
                for place, block in self._shards.pieces(array, values, turn):
                    task.each(array.__setitem__, place, block)
            task.finish()
            settle = RootTask(self._comm, self.path)
            settle.do(beside.rename, self.path)
            settle.finish()
        finally:
            if self._comm.rank == 0:
                remove(beside)
        self._open(self.path)

    def _begin(self) -> None:
        self._shards = Shards(self._decomposition)
        self._writer = ThreadPoolExecutor(1, "zarr-writer")
        self._pending = None

    def _open(self, path: Path) -> None:
        # Opened once and handed out: another machine may not see a new file at once.
        self._arrays = on_root(self._comm, partial(_arrays_of, path))

    def _define(self, path: Path, attributes: dict) -> None:
        import zarr

        remove(path)
        d = self.description
        group = zarr.create_group(path, zarr_format=3, attributes=_plain(d.attributes(attributes)))
        for entry in d.time():
            self._define_entry(group, entry, chunks=(_TIMES, 2)[: len(entry.dimensions)])
        for entry, values in d.axes():
            self._define_entry(group, entry, chunks=values.shape)[:] = values
        for entry, function in d.places():
            values = function()
            chunks = (*self._shards.sizes(values.shape[:2], 8)[1:], *values.shape[2:])
            self._define_entry(group, entry, chunks=chunks)[:] = values
        sizes = d.sizes()
        for entry in (*d.metrics(), *d.records()):
            shape = tuple(sizes[n] for n in entry.dimensions if n != "time")
            storage = self._shards.storage(shape, entry.dtype, entry.dimensions[0] == "time")
            self._define_entry(group, entry, **storage)
        consolidate(path)

    def _define_entry(self, group, entry: Entry, **storage):
        """The empty array of an entry."""
        sizes = self.description.sizes()
        attributes = _plain(entry.attributes)
        if entry.fill is not None:  # as xarray has it in stores of format 3
            packed = struct.pack("<d", entry.fill)
            attributes["_FillValue"] = base64.standard_b64encode(packed).decode()
        return group.create_array(
            entry.name,
            shape=tuple(sizes[n] or 0 for n in entry.dimensions),
            dtype=entry.dtype,
            fill_value=0 if entry.fill is None else entry.fill,
            attributes=attributes,
            dimension_names=entry.dimensions,
            compressors=packing(),
            **storage,
        )

    # ---- continuing
    def _resume(self, now: float) -> None:
        self._begin()
        task = RootTask(self._comm, self.path)
        count = task.do(self._drop_later, now)
        task.finish()
        self._index = self._comm.broadcast(count)
        self._open(self.path)

    def _drop_later(self, now: float) -> int:
        """Keep the records that end by ``now`` (s); returns how many."""
        arrays = self._checked()
        ends = arrays["time_bnds"][:, 1] if "time_bnds" in arrays else arrays["time"][:]
        if (np.diff(ends) <= 0).any():
            raise OutputError(
                f"{self.path} is damaged: its times do not rise from record to record; move it "
                "away, or choose another output folder"
            )
        count = kept(ends, now)
        _set_length(self.path, self._growing(), count)
        for name in self.variables:  # also what a run that was killed had begun
            for old in (self.path / name / "c").glob("*"):
                if not old.name.isdigit() or int(old.name) >= count:
                    remove(old)
        for name in ("", "time/c", "time_bnds/c", *self._growing()):
            for left in (self.path / name).glob("*.partial"):
                remove(left)
        return count

    def _checked(self) -> dict[str, Any]:
        """The arrays of a store that fits this stream."""
        try:
            arrays = _arrays_of(self.path)
            held = {n for n, a in arrays.items() if a.metadata.dimension_names[:1] == ("time",)}
            times = {entry.name for entry in self.description.time()}
            lengths = {arrays[n].shape[0] for n in held}
        except Exception as error:  # noqa: BLE001 damage has many faces
            raise OutputError(
                f"{self.path} is damaged or no zarr store ({type(error).__name__}: {error}): move "
                "it away, or choose another output folder"
            ) from None
        held -= {"time", "time_bnds"}
        methods = {str(arrays[n].attrs.get("cell_methods", "")) for n in held & {*self.variables}}
        self._require_same(held, methods)
        self._require_shapes(arrays)
        if not times <= set(arrays) or len(lengths) != 1 or not _rises(arrays["time"][:]):
            raise OutputError(
                f"{self.path} is damaged: its arrays do not agree on the records that it has; move "
                "it away, or choose another output folder"
            )
        return arrays

    def _require_shapes(self, arrays: dict[str, Any]) -> None:
        sizes = self.description.sizes()
        for entry in self.description.records():
            wanted = tuple(sizes[n] for n in entry.dimensions[1:])
            if (found := arrays[entry.name].shape[1:]) != wanted:
                raise OutputError(
                    f"{self.path} is of another grid: {entry.name} has the shape {found}, not "
                    f"{wanted}; move it away, or choose another output folder"
                )


def _write(pieces: list[tuple[Any, tuple, np.ndarray]]) -> None:
    """Write the blocks to their places in arrays, and let go of each then."""
    while pieces:
        array, place, block = pieces.pop(0)
        array[place] = block


def _arrays_of(path: Path) -> dict[str, Any]:
    """The arrays of a store by name, as its consolidated metadata has them."""
    import zarr

    return dict(zarr.open_group(path, mode="r+", use_consolidated=True).arrays())


def _rises(times: np.ndarray) -> bool:
    return bool((np.diff(times) > 0).all())


def _set_length(path: Path, names: list[str], count: int) -> None:
    """Let the store know how many records it has: what readers go by comes last if there are more,
    and first if there are fewer."""
    root = json.loads((path / _METADATA).read_text(encoding="utf-8"))
    known = root["consolidated_metadata"]["metadata"]
    grows = known["time"]["shape"][0] < count
    for name in names:
        known[name]["shape"][0] = count
    files = [(path / name / _METADATA, known[name]) for name in names]
    for file, content in [*files, (path, root)] if grows else [(path, root), *files]:
        file = file / _METADATA if file == path else file
        with whole_file(file) as beside:
            beside.write_text(json.dumps(content), encoding="utf-8")


def _plain(attributes: dict) -> dict:
    """Attributes without numpy's types, for JSON."""
    return {n: v.item() if isinstance(v, np.generic) else v for n, v in attributes.items()}


__all__ = ["ZarrStore"]
