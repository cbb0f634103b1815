"""CF-1.11 netCDF output: one file per entry of ``run.output``.

Files hold the fields on their C-grid places with everything that is needed to work with them:
coordinates with ``axis`` and ``c_grid_axis_shift`` (from which xgcm builds its axes), metrics,
thicknesses at rest, masks, the full configuration and where they come from. A file is closed after
each record, so it is complete at any time.

Rank 0 writes; it gathers one level of one field at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cftime
import netCDF4
import numpy as np

from dogcm.field import Field
from dogcm.io.appending import open_to_append
from dogcm.io.root import OutputError, RootTask, require_space
from dogcm.io.whole import whole_file

FILL = 9.969209968386869e36  # netCDF's own default for floats
SECONDS_PER_DAY = 86400.0
_CALENDARS = {360.0: "360_day", 365.0: "noleap", 365.25: "julian", 366.0: "all_leap"}
HEADER_BYTES = 1 << 20
# Kinds of output, and what CF calls them.
METHODS = {
    "snapshot": "point",
    "mean": "mean",
    "minimum": "minimum",
    "maximum": "maximum",
    "root_mean_square": "root_mean_square",
}
# Grid Fields that are written once: name -> (unit, meaning).
_METRICS = {
    **{
        f"area_{p}": ("m2", f"horizontal area of {w}")
        for p, w in (
            ("c", "cells"),
            ("u", "cells around west faces"),
            ("v", "cells around south faces"),
            ("q", "cells around corners"),
        )
    },
    **{
        f"d{x}_{p}": ("m", f"distance along {x} at {w}")
        for x in "xy"
        for p, w in (
            ("c", "cell centres"),
            ("u", "west faces"),
            ("v", "south faces"),
            ("q", "corners"),
        )
    },
    "depth_c": ("m", "depth of the sea floor at rest"),
    "h_c": ("m", "thickness of cells at rest"),
    "h_u": ("m", "thickness of west faces at rest"),
    "h_v": ("m", "thickness of south faces at rest"),
    "mask_c": ("1", "1 in ocean cells, 0 on land"),
    "mask_u": ("1", "1 at west faces between ocean cells, 0 elsewhere"),
    "mask_v": ("1", "1 at south faces between ocean cells, 0 elsewhere"),
}


# Latitude and longitude of each place where they are two-dimensional.
PLACES = {
    "c": ("lat", "lon"),
    "u": ("lat_u", "lon_u"),
    "v": ("lat_v", "lon_v"),
    "q": ("lat_q", "lon_q"),
}
_WORDS = {"c": "cell centres", "u": "west faces", "v": "south faces", "q": "corners"}


@dataclass(frozen=True)
class FileVariable:
    """What a file says about a variable.

    Attributes:
        name: in the file. at: place on the C grid. layers: whether it has a vertical axis.
        unit: as UDUNITS reads it. standard_name: of the CF table, or empty. long_name: for people.
    """

    name: str
    at: str
    layers: bool
    unit: str
    standard_name: str
    long_name: str


def calendar_of(year_days: float) -> str:
    """The CF calendar of a forcing year of that many days; ``noleap`` if none fits."""
    return _CALENDARS.get(float(year_days), "noleap")


def date_of(time: float, year_days: float) -> str:
    """Model date ``year-month-day`` of a time (s since the start of year 1)."""
    d = cftime.num2date(
        time / SECONDS_PER_DAY, "days since 0001-01-01", calendar=calendar_of(year_days)
    )
    return f"{d.year:04d}-{d.month:02d}-{d.day:02d}"


class OutputFile:
    """One netCDF file, written by rank 0, to which records are appended.

    Args:
        path: of the file. variables: what it holds. kind: ``snapshot``, or what is made of an
            interval (:data:`METHODS`).
        model: gives grid, decomposition, precision and length of the year.
        attributes: global attributes (provenance).
        resume: add to the file if it is there, dropping records later than the model's present
            time.

    Raises:
        OutputError: the file cannot be written. All methods are to be called on every rank.
    """

    def __init__(
        self,
        path,
        variables: list[FileVariable],
        kind: str,
        model,
        attributes: dict,
        resume: float | None = None,
    ):
        self.path, self.kind, self.variables = Path(path), kind, {v.name: v for v in variables}
        self._model, self._decomposition = model, model.decomposition
        self._comm, self._calendar = model.comm, calendar_of(model.config.forcing.year)
        self._axes = axis_names(model.horizontal)
        self._masks = _masks(model.grid)
        self._index = 0
        found = self._comm.broadcast(self.path.exists() if self._comm.rank == 0 else None)
        if resume is not None and found:
            self._resume(resume)
        else:
            self._create(attributes)

    def record_bytes(self) -> int:
        """Upper limit of the size of one record."""
        return record_bytes(self.variables.values(), self._model)

    # ---- records
    def append(self, fields: dict[str, Field | np.ndarray], start: float, end: float) -> None:
        """Add a record.

        Args:
            fields: by name: Fields, or arrays without halo at the variable's place.
            start, end: the interval (s) that a mean covers; a snapshot is taken at ``end``.
        """
        task = RootTask(self._comm, self.path)
        task.do(require_space, self.path, self.record_bytes() + HEADER_BYTES)
        data = task.do(open_to_append, self.path)
        for name, variable in self.variables.items():
            value = fields[name]
            values = np.asarray(value.interior if isinstance(value, Field) else value)
            self._append_variable(task, data, variable, values)
        task.do(self._stamp, data, start, end)
        self._close(task, data)
        task.finish()
        self._index += 1

    def _append_variable(
        self, task: RootTask, data, variable: FileVariable, values: np.ndarray
    ) -> None:
        mask = self._masks[variable.at]
        if not variable.layers:
            level = self._gather(values, mask[0])
            task.do(_put, data, variable.name, (self._index,), level)
            return
        if variable.at.endswith("w"):  # nothing crosses the sea surface and the bottom
            values = np.pad(values, [(1, 1), (0, 0), (0, 0)])
        for k in range(values.shape[0]):
            level = self._gather(values[k], mask[k])
            task.do(_put, data, variable.name, (self._index, k), level)

    def _gather(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
        land = np.asarray(FILL, values.dtype)
        return self._decomposition.gather(np.where(mask, values, land), float(land))

    def _stamp(self, data, start: float, end: float) -> None:
        mean = self.kind != "snapshot"
        data["time"][self._index] = (0.5 * (start + end) if mean else end) / SECONDS_PER_DAY
        if mean:
            data["time_bnds"][self._index] = np.array([start, end]) / SECONDS_PER_DAY

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
        if self._model.horizontal.curvilinear:
            task.do(self._put_places, data)
        for name in _METRICS:
            field = getattr(self._model.grid, name)
            values = np.asarray(field.interior)
            for k in np.ndindex(values.shape[:-2]):
                level = self._decomposition.gather(values[k])
                task.do(_put, data, name, k, level)
        self._close(task, data)
        task.finish()

    def _define(self, data, attributes: dict) -> None:
        data.setncatts({"Conventions": "CF-1.11", **attributes})
        if self._model.horizontal.north_fold:
            data.north_fold = (
                "cell (ny - 1, i) is cell (ny - 1, nx - 1 - i), velocities change sign"
            )
        self._define_axes(data)
        for name, (unit, text) in _METRICS.items():
            layers = name.startswith(("h_", "mask_"))
            kind = "i1" if name.startswith("mask_") else "f8"
            v = data.createVariable(
                name, kind, self._dimensions(name[-1], layers), zlib=True, complevel=1
            )
            v.setncatts({"units": unit, "long_name": text})
        for variable in self.variables.values():
            self._define_variable(data, variable)

    def _define_places(self, data) -> None:
        """Two-dimensional latitudes and longitudes of all places, with the corners of cells, and
        the grid's angle."""
        data.createDimension("corner", 4)
        for at, (lat, lon) in PLACES.items():
            for name in (lat, lon):
                v = data.createVariable(
                    name, "f8", self._dimensions(at, False), zlib=True, complevel=1
                )
                v.setncatts(place_attributes(name, at))
                if at == "c":
                    v.bounds = f"{name}_bnds"
                    data.createVariable(
                        v.bounds,
                        "f8",
                        (*self._dimensions(at, False), "corner"),
                        zlib=True,
                        complevel=1,
                    )
        v = data.createVariable("angle", "f8", self._dimensions("c", False), zlib=True, complevel=1)
        v.setncatts(
            {
                "units": "radian",
                "long_name": "angle from east to the grid's x direction, anticlockwise",
            }
        )

    def _put_places(self, data) -> None:
        horizontal = self._model.horizontal
        for at, names in PLACES.items():
            for name, values in zip(names, horizontal.points(at)):
                data[name][:] = values
        for name, values in zip(PLACES["c"], horizontal.bounds()):
            data[f"{name}_bnds"][:] = values
        data["angle"][:] = horizontal.angle("c")

    def _define_variable(self, data, variable: FileVariable) -> None:
        ny, nx = self._model.horizontal.shape
        dimensions = ("time", *self._dimensions(variable.at, variable.layers))
        v = data.createVariable(
            variable.name,
            self._model.dtype.str[1:],
            dimensions,
            zlib=True,
            complevel=1,
            shuffle=True,
            fill_value=FILL,
            chunksizes=(1,) * (len(dimensions) - 2) + (ny, nx),
        )
        attributes = {"units": variable.unit, "long_name": variable.long_name}
        if variable.standard_name:
            attributes["standard_name"] = variable.standard_name
        attributes["cell_methods"] = f"time: {METHODS[self.kind]}"
        if self._model.horizontal.curvilinear:
            attributes["coordinates"] = " ".join(PLACES[variable.at[0]])
        attributes["cell_measures"] = f"area: area_{variable.at[0]}"
        v.setncatts(attributes)

    def _dimensions(self, at: str, layers: bool) -> tuple[str, ...]:
        y = self._axes["lat_v" if at[0] in "vq" else "lat"]
        x = self._axes["lon_u" if at[0] in "uq" else "lon"]
        return (("zw" if at.endswith("w") else "z",) if layers else ()) + (y, x)

    def _define_axes(self, data) -> None:
        self._define_time(data)
        vertical = self._model.vertical
        for name, values, shift, text in (
            ("z", vertical.centres, None, "depth of layer centres at rest"),
            ("zw", vertical.edges, -0.5, "depth of layer interfaces at rest"),
        ):
            attributes = {
                "units": "m",
                "positive": "down",
                "standard_name": "depth",
                "long_name": text,
                "axis": "Z",
            }
            _define_axis(data, name, values, attributes, shift)
        for key, (values, unit) in self._model.horizontal.coordinates().items():
            shift = -0.5 if key in ("lon_u", "lat_v") else None
            attributes = horizontal_attributes(key, unit, self._model.horizontal)
            _define_axis(data, self._axes[key], values, attributes, shift)
        if self._model.horizontal.curvilinear:
            self._define_places(data)

    def _define_time(self, data) -> None:
        data.createDimension("time", None)
        time = data.createVariable("time", "f8", ("time",))
        time.setncatts(
            {
                "units": "days since 0001-01-01 00:00:00",
                "calendar": self._calendar,
                "standard_name": "time",
                "long_name": "model time",
                "axis": "T",
            }
        )
        if self.kind != "snapshot":
            time.bounds = "time_bnds"
            data.createDimension("nv", 2)
            data.createVariable("time_bnds", "f8", ("time", "nv"))

    # ---- continuing
    def _resume(self, now: float) -> None:
        task = RootTask(self._comm, self.path)
        kept = task.do(self._drop_later, now)
        task.finish()
        self._index = self._comm.broadcast(kept)

    def _drop_later(self, now: float) -> int:
        """Keep the records that end by ``now`` (s); returns how many."""
        with netCDF4.Dataset(self.path) as data:
            self._require_same_stream(data)
            ends = data["time_bnds"][:, 1] if "time_bnds" in data.variables else data["time"][:]
            ends = np.ma.filled(ends, np.inf)
            keep = int(np.sum(ends * SECONDS_PER_DAY <= now + 1e-3))
            if keep < len(ends):
                with whole_file(self.path) as shorter:
                    _copy(data, shorter, keep)
        return keep

    def _require_same_stream(self, data) -> None:
        """Records of one file are all of one kind and of the same variables."""
        held = {n for n, v in data.variables.items() if v.dimensions[:1] == ("time",)}
        held -= {"time", "time_bnds"}
        kinds = {getattr(data[n], "cell_methods", "") for n in held & set(self.variables)}
        wanted = f"time: {METHODS[self.kind]}"
        if set(self.variables) != held:
            found = f"holds {', '.join(sorted(held))}, not {', '.join(sorted(self.variables))}"
        elif kinds != {wanted}:
            found = f"holds '{kinds.pop()}', not '{wanted}'"
        else:
            return
        raise OutputError(
            f"{self.path} {found}: give this output another name, move the file away, or choose "
            "another output folder"
        )


def record_bytes(variables, model) -> int:
    """Upper limit of the size in bytes of one record of ``variables``."""
    ny, nx = model.horizontal.shape
    levels = sum((model.vertical.nz + v.at.endswith("w")) if v.layers else 1 for v in variables)
    return levels * ny * nx * model.dtype.itemsize


def metric_bytes(model) -> int:
    """Upper limit of the size in bytes of what a file holds besides its records."""
    ny, nx = model.horizontal.shape
    places = 17 if model.horizontal.curvilinear else 0
    return (len(_METRICS) + 6 * model.vertical.nz + places) * ny * nx * 8 + HEADER_BYTES


def axis_names(horizontal) -> dict[str, str]:
    """What a grid's axes are called in files, by key of ``horizontal.coordinates()``: x and y where
    they are no
    longitudes and latitudes."""
    names = ("lon", "lat", "lon_u", "lat_v")
    plain = horizontal.spherical and not horizontal.curvilinear
    return dict(zip(names, names if plain else ("x", "y", "x_u", "y_v")))


def horizontal_attributes(key: str, unit: str, horizontal) -> dict[str, str]:
    """CF attributes of the axis ``key`` of ``horizontal.coordinates()``, whose values are in
    ``unit``."""
    x, spherical = key.startswith("lon"), horizontal.spherical
    where = {"lon_u": "west faces", "lat_v": "south faces"}.get(key, "cell centres")
    if horizontal.curvilinear:
        own = f"the grid's own {'longitude' if x else 'latitude'}"
        count = f"{'columns' if x else 'rows'} from the south-west corner"
        return {
            "units": unit,
            "long_name": f"{count if unit == '1' else own} of {where}",
            "axis": "X" if x else "Y",
        }
    what = ("longitude" if x else "latitude") if spherical else ("x" if x else "y")
    standard = what if spherical else f"projection_{what}_coordinate"
    text = f"{what} of {where}"
    return {"units": unit, "standard_name": standard, "long_name": text, "axis": "X" if x else "Y"}


def place_attributes(name: str, at: str) -> dict[str, str]:
    """CF attributes of a two-dimensional latitude or longitude of :data:`PLACES`."""
    lat = name.startswith("lat")
    what, unit = ("latitude", "degrees_north") if lat else ("longitude", "degrees_east")
    return {"units": unit, "standard_name": what, "long_name": f"{what} of {_WORDS[at]}"}


def _define_axis(
    data, name: str, values: np.ndarray, attributes: dict, shift: float | None
) -> None:
    data.createDimension(name, len(values))
    v = data.createVariable(name, "f8", (name,))
    v.setncatts(attributes)
    if shift is not None:
        v.c_grid_axis_shift = shift
    v[:] = values


def _masks(grid) -> dict[str, np.ndarray]:
    """Where this rank's tile has water, by place; interfaces have water if the layer above has."""
    wet = {at: np.asarray(getattr(grid, f"mask_{at}").interior) > 0 for at in "cuv"}
    return wet | {"cw": np.concatenate([wet["c"][:1], wet["c"]])}


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


__all__ = [
    "FileVariable",
    "OutputError",
    "OutputFile",
    "PLACES",
    "axis_names",
    "calendar_of",
    "date_of",
    "horizontal_attributes",
    "metric_bytes",
    "place_attributes",
    "record_bytes",
]
