"""netCDF output: one file per entry of ``run.output``.

A file is closed after each record, so it is complete at any time. Rank 0 writes; it gathers one
level of one field at a time.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np

from dogcm.field import Field
from dogcm.io.appending import open_to_append
from dogcm.io.description import FILL, HEADER_BYTES, Entry
from dogcm.io.root import RootTask, require_space
from dogcm.io.stream import OutputStream, interior, kept, on_water
from dogcm.io.whole import whole_file


class OutputFile(OutputStream):
    """One netCDF file, written by rank 0; see :class:`dogcm.io.stream.OutputStream`."""

    suffix = ".nc"

    # ---- records
    def append(self, fields: dict[str, Field | np.ndarray], start: float, end: float) -> None:
        task = RootTask(self._comm, self.path)
        task.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
        data = task.do(open_to_append, self.path)
        for name in self.variables:
            values, mask = self._levels(name, fields[name])
            for k in np.ndindex(values.shape[:-2]):
                level = self._decomposition.gather(on_water(values[k], mask[k]), FILL)
                task.do(_put, data, name, (self._index, *k), level)
        task.do(self._stamp, data, start, end)
        self._close(task, data)
        task.finish()
        self._index += 1

    def _stamp(self, data, start: float, end: float) -> None:
        time, bounds = self._times(start, end)
        data["time"][self._index] = time
        if bounds is not None:
            data["time_bnds"][self._index] = np.array(bounds)

    def _close(self, task: RootTask, data) -> None:
        if data is not None:
            failed = task.error
            task.error = None  # close in any case
            task.do(data.close)
            task.error = failed or task.error

    # ---- opening
    def _create(self, attributes: dict) -> None:
        task = RootTask(self._comm, self.path)
        task.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
        data = task.do(netCDF4.Dataset, self.path, "w")
        task.do(self._define, data, attributes)
        for entry in self.description.metrics():
            values = interior(getattr(self._model.grid, entry.name))
            for k in np.ndindex(values.shape[:-2]):
                level = self._decomposition.gather(values[k])
                task.do(_put, data, entry.name, k, level)
        self._close(task, data)
        task.finish()

    def _define(self, data, attributes: dict) -> None:
        d, compressed = self.description, {"zlib": True, "complevel": 1}
        data.setncatts(d.attributes(attributes))
        self._define_time(data)
        for entry, values in d.axes():
            self._define_entry(data, entry)[:] = values
        for entry, values in d.places():
            self._define_entry(data, entry, **compressed)[:] = values()
        for entry in d.metrics():
            self._define_entry(data, entry, **compressed)
        shape = self._model.horizontal.shape
        for entry in d.records():
            chunks = (1,) * (len(entry.dimensions) - 2) + shape
            self._define_entry(data, entry, chunksizes=chunks, **compressed)

    def _define_time(self, data) -> None:
        for entry in self.description.time():
            self._define_entry(data, entry)

    def _define_entry(self, data, entry: Entry, **storage):
        """The netCDF variable of an entry, with the dimensions that it needs."""
        for name in entry.dimensions:
            if name not in data.dimensions:
                data.createDimension(name, self.description.sizes()[name])
        fill = {} if entry.fill is None else {"fill_value": entry.fill}
        v = data.createVariable(entry.name, entry.dtype, entry.dimensions, **storage, **fill)
        v.setncatts(entry.attributes)
        return v

    # ---- continuing
    def _resume(self, now: float) -> None:
        task = RootTask(self._comm, self.path)
        count = task.do(self._drop_later, now)
        task.finish()
        self._index = self._comm.broadcast(count)

    def _drop_later(self, now: float) -> int:
        """Keep the records that end by ``now`` (s); returns how many."""
        with netCDF4.Dataset(self.path) as data:
            held = {n for n, v in data.variables.items() if v.dimensions[:1] == ("time",)}
            held -= {"time", "time_bnds"}
            methods = {getattr(data[n], "cell_methods", "") for n in held & set(self.variables)}
            self._require_same(held, methods)
            ends = data["time_bnds"][:, 1] if "time_bnds" in data.variables else data["time"][:]
            ends = np.ma.filled(ends, np.inf)
            count = kept(ends, now)
            if count < len(ends):
                with whole_file(self.path) as shorter:
                    _copy(data, shorter, count)
        return count


def _put(data, name: str, index: tuple, values: np.ndarray) -> None:
    data[name][index + (Ellipsis,)] = values


def _copy(data, path: Path, records: int) -> None:
    """Copy a dataset with its first ``records`` records only."""
    with netCDF4.Dataset(path, "w") as out:
        out.setncatts({k: data.getncattr(k) for k in data.ncattrs()})
        for name, dimension in data.dimensions.items():
            out.createDimension(name, None if dimension.isunlimited() else len(dimension))
        data.set_auto_maskandscale(False)
        for name, v in data.variables.items():
            chunks = v.chunking()
            new = out.createVariable(
                name,
                v.dtype,
                v.dimensions,
                zlib=v.filters()["zlib"],
                complevel=1,
                fill_value=getattr(v, "_FillValue", None),
                chunksizes=None if chunks == "contiguous" else chunks,
            )
            new.setncatts({k: v.getncattr(k) for k in v.ncattrs() if k != "_FillValue"})
            new.set_auto_maskandscale(False)
            if v.dimensions[:1] == ("time",):
                for n in range(records):
                    new[n] = v[n]
            else:
                new[:] = v[:]


__all__ = ["OutputFile"]
