"""CF netCDF files of numbers that describe the whole ocean: arrays on axes of their own, one record
an interval."""

from __future__ import annotations

from dataclasses import dataclass

import netCDF4
import numpy as np

from dogcm.io.appending import open_to_append
from dogcm.io.description import FILL, HEADER_BYTES
from dogcm.io.output import OutputFile
from dogcm.io.root import RootTask, require_space

# Of the name of a basin or section.
NAME_LENGTH = 40


@dataclass(frozen=True)
class Axis:
    """An axis of a series file.

    Attributes:
        values: numbers, or names. attributes: CF attributes of its variable.
    """

    values: tuple
    attributes: dict

    @property
    def names(self) -> bool:
        return bool(self.values) and isinstance(self.values[0], str)


@dataclass(frozen=True)
class SeriesVariable:
    """What a series file says about a variable.

    Attributes:
        name, unit, standard_name, long_name: as :class:`dogcm.io.description.FileVariable`.
        axes: names of its axes after time.
        coordinates: names of the file's constants that say where its values lie.
    """

    name: str
    axes: tuple[str, ...]
    unit: str
    standard_name: str
    long_name: str
    coordinates: tuple[str, ...] = ()


class SeriesFile(OutputFile):
    """A file of means over intervals, continued like any other output file; rank 0 writes.

    Args:
        path: of the file. variables: :class:`SeriesVariable`. axes: ``{name: Axis}``.
        constants: ``{name: (axes, values, attributes)}``, written once.
        model, attributes, resume: see :class:`dogcm.io.output.OutputFile`.
    """

    variables: dict[str, SeriesVariable]

    def __init__(
        self,
        path,
        variables: list[SeriesVariable],
        axes: dict[str, Axis],
        constants: dict,
        model,
        attributes: dict,
        resume: float | None = None,
    ):
        self._own_axes, self._constants = axes, constants
        super().__init__(path, variables, "mean", model, attributes, resume)

    def record_bytes(self) -> int:
        return series_bytes(self.variables.values(), self._own_axes)

    def append(self, values: dict, start: float, end: float) -> None:
        """Add a record of arrays that every rank holds; NaN becomes the fill value."""
        task = RootTask(self._comm, self.path)
        task.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
        data = task.do(open_to_append, self.path)
        task.do(self._write, data, values)
        task.do(self._stamp, data, start, end)
        self._close(task, data)
        task.finish()
        self._index += 1

    def _write(self, data, values: dict[str, np.ndarray]) -> None:
        for name in self.variables:
            array = np.asarray(values[name], float)
            data[name][self._index, ...] = np.where(np.isnan(array), FILL, array)

    def _create(self, attributes: dict) -> None:
        task = RootTask(self._comm, self.path)
        task.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
        data = task.do(netCDF4.Dataset, self.path, "w")
        task.do(self._define, data, attributes)
        self._close(task, data)
        task.finish()

    def _define(self, data, attributes: dict) -> None:
        data.setncatts({"Conventions": "CF-1.11", **attributes})
        self._define_time(data)
        for name, axis in self._own_axes.items():
            _define_own_axis(data, name, axis)
        for variable in self.variables.values():
            v = data.createVariable(
                variable.name,
                "f8",
                ("time", *variable.axes),
                zlib=True,
                complevel=1,
                fill_value=FILL,
            )
            attributes = {
                "units": variable.unit,
                "long_name": variable.long_name,
                "cell_methods": "time: mean",
            }
            if variable.standard_name:
                attributes["standard_name"] = variable.standard_name
            labels = [f"{a}_name" for a in variable.axes if self._own_axes[a].names]
            labels += variable.coordinates
            v.setncatts(attributes | ({"coordinates": " ".join(labels)} if labels else {}))
        for name, (axes, values, attributes) in self._constants.items():
            v = data.createVariable(name, np.asarray(values).dtype, axes, zlib=True)
            v.setncatts(attributes)
            v[...] = values


def series_bytes(variables, axes: dict[str, Axis]) -> int:
    """Upper limit of the size in bytes of one record."""
    return (
        sum(8 * int(np.prod([len(axes[a].values) for a in v.axes], dtype=int)) for v in variables)
        + 64
    )


def _define_own_axis(data, name: str, axis: Axis) -> None:
    data.createDimension(name, len(axis.values))
    if not axis.names:
        v = data.createVariable(name, "f8", (name,))
        v.setncatts(axis.attributes)
        v[:] = np.asarray(axis.values, float)
        return
    if "name_length" not in data.dimensions:
        data.createDimension("name_length", NAME_LENGTH)
    v = data.createVariable(f"{name}_name", "S1", (name, "name_length"))
    v.setncatts(axis.attributes)
    text = np.zeros((len(axis.values), NAME_LENGTH), "S1")
    for row, value in zip(text, axis.values):
        row[: len(value)] = list(value[:NAME_LENGTH])
    v[:] = text


__all__ = ["Axis", "SeriesFile", "SeriesVariable", "series_bytes"]
