"""Restarts as netCDF files, which rank 0 writes and reads level by level.

Each variable carries the SHA-256 of its bytes, in the order of the levels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import netCDF4
import numpy as np

from dogcm.io.restart_file import Part, RestartFile
from dogcm.io.root import RootTask, on_root, require_space
from dogcm.io.whole import settle


class NetcdfRestart(RestartFile):
    """One netCDF file; see :class:`dogcm.io.restart_file.RestartFile`."""

    suffix = ".nc"

    @classmethod
    def time(cls, path: Path) -> float:
        with netCDF4.Dataset(path) as data:
            return float(data.getncattr("time"))

    # ---- writing
    def write(self, attributes: dict, parts: Sequence[Part], need: int) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        task = RootTask(self._comm, self.path)
        task.do(require_space, self.path, need)
        data = task.do(netCDF4.Dataset, partial, "w")
        task.do(self._define, data, attributes, parts)
        for part in parts:
            self._put(task, data, part)
        if data is not None:
            failed, task.error = task.error, None
            task.do(data.close)
            task.error = failed or task.error
        task.do(settle, partial, self.path)
        if self._comm.rank == 0 and task.error is not None:
            partial.unlink(missing_ok=True)
        task.finish()

    def _define(self, data, attributes: dict, parts: Sequence[Part]) -> None:
        for key, value in attributes.items():
            data.setncattr(key, np.int64(value) if isinstance(value, int) else value)
        for part in parts:
            e = part.entry
            shape = (*part.values.shape[:-2], *self._model.horizontal.shape)
            for name, size in zip(e.dimensions, shape):
                if name not in data.dimensions:
                    data.createDimension(name, size)
            v = data.createVariable(e.name, e.dtype, e.dimensions, fill_value=False)
            v.setncatts(e.attributes)

    def _put(self, task: RootTask, data, part: Part) -> None:
        digest, name = hashlib.sha256(), part.entry.name

        def put(k, level):
            level = np.ascontiguousarray(level)
            data[name][k + (Ellipsis,)] = level
            digest.update(level.tobytes())

        for k in np.ndindex(part.values.shape[:-2]):
            level = self._decomposition.gather(part.values[k])
            task.do(put, k, level)
        task.do(lambda: data[name].setncattr("sha256", digest.hexdigest()))

    # ---- reading
    def look(self) -> None:
        found = on_root(self._comm, _contents, self.path)
        self.attributes, self.shapes, self.fields = found

    def damaged(self, names: Sequence[str]) -> list[str]:
        def found() -> list[str]:
            with netCDF4.Dataset(self.path) as data:
                return [n for n in names if not _sound(data[n])]

        return on_root(self._comm, found)

    def tile(self, name: str, dtype: np.dtype) -> np.ndarray:
        lead = self.shapes[name][:-2]
        data = netCDF4.Dataset(self.path) if self._comm.rank == 0 else None
        try:
            levels = _levels(data[name]) if data is not None else None
            parts = [
                self._decomposition.scatter(next(levels).astype(dtype) if levels else None)
                for _ in range(math.prod(lead))
            ]
        finally:
            if data is not None:
                data.close()
        return np.stack(parts).reshape(*lead, *parts[0].shape)

    def whole(self, name: str) -> np.ndarray:
        with netCDF4.Dataset(self.path) as data:
            return np.asarray(data[name][:])


def _contents(path: Path) -> tuple[dict, dict, set]:
    with netCDF4.Dataset(path) as data:
        attributes = {k: _plain(data.getncattr(k)) for k in data.ncattrs()}
        shapes = {n: v.shape for n, v in data.variables.items()}
        return attributes, shapes, {n for n, v in data.variables.items() if "place" in v.ncattrs()}


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def _levels(variable) -> Iterator[np.ndarray]:
    variable.set_auto_maskandscale(False)
    for k in np.ndindex(variable.shape[:-2]):
        yield np.ascontiguousarray(variable[k + (Ellipsis,)])


def _sound(variable) -> bool:
    digest = hashlib.sha256()
    for level in _levels(variable):
        digest.update(level.tobytes())
    return digest.hexdigest() == getattr(variable, "sha256", None)


__all__ = ["NetcdfRestart"]
