"""What output files say, in whatever format they are: variables, axes, metrics, attributes, as CF
1.11 wants them.

Files hold the fields on their C-grid places with everything that is needed to work with them:
coordinates with ``axis`` and ``c_grid_axis_shift`` (from which xgcm builds its axes), metrics,
thicknesses at rest, masks, the full configuration and where they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cftime
import numpy as np

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


@dataclass(frozen=True)
class Entry:
    """A variable as a file of any format is to hold it.

    Attributes:
        name: in the file. dimensions: names of its axes. dtype: numpy's short name of the type.
        attributes: CF attributes, without that of missing values.
        fill: what stands for missing values; None: there are none.
    """

    name: str
    dimensions: tuple[str, ...]
    dtype: str
    attributes: dict
    fill: float | None = None


class Description:
    """What a file of fields holds.

    Args:
        model: gives grid, precision and length of the year. kind: of :data:`METHODS`.
        variables: :class:`FileVariable`.
    """

    def __init__(self, model, kind: str, variables):
        self.model, self.kind, self.variables = model, kind, list(variables)
        self.names = axis_names(model.horizontal)
        self._curvilinear = model.horizontal.curvilinear

    def attributes(self, provenance: dict) -> dict:
        """Global attributes."""
        found = {"Conventions": "CF-1.11", **provenance}
        if self.model.horizontal.north_fold:
            found["north_fold"] = (
                "cell (ny - 1, i) is cell (ny - 1, nx - 1 - i), velocities change sign"
            )
        return found

    def sizes(self) -> dict[str, int | None]:
        """Lengths of the dimensions by name; None: grows by a record at a time."""
        axes = {entry.name: len(values) for entry, values in self.axes()}
        return {"time": None, "nv": 2, **axes, "corner": 4}

    def time(self) -> list[Entry]:
        """Time (days), and the bounds of intervals."""
        attributes = {
            "units": "days since 0001-01-01 00:00:00",
            "calendar": calendar_of(self.model.config.forcing.year),
            "standard_name": "time",
            "long_name": "model time",
            "axis": "T",
        }
        if self.kind == "snapshot":
            return [Entry("time", ("time",), "f8", attributes)]
        return [
            Entry("time", ("time",), "f8", attributes | {"bounds": "time_bnds"}),
            Entry("time_bnds", ("time", "nv"), "f8", {}),
        ]

    def axes(self) -> Iterator[tuple[Entry, np.ndarray]]:
        """Axes of space with their values."""
        vertical, horizontal = self.model.vertical, self.model.horizontal
        depth = {"units": "m", "positive": "down", "standard_name": "depth"}
        text = "depth of layer {} at rest"
        yield _axis("z", vertical.centres, depth | {"long_name": text.format("centres")}, "Z")
        edges = depth | {"long_name": text.format("interfaces")}
        yield _axis("zw", vertical.edges, edges, "Z", shifted=True)
        for key, (values, unit) in horizontal.coordinates().items():
            attributes = horizontal_attributes(key, unit, horizontal)
            axis, shifted = attributes.pop("axis"), key in ("lon_u", "lat_v")
            yield _axis(self.names[key], values, attributes, axis, shifted)

    def places(self) -> Iterator[tuple[Entry, Callable[[], np.ndarray]]]:
        """Two-dimensional latitudes and longitudes of all places, with the corners of cells, and
        the grid's angle, where it has them; with functions that give their values on the globe."""
        if not self._curvilinear:
            return
        horizontal = self.model.horizontal
        for at, names in PLACES.items():
            dimensions = self.dimensions(at, False)
            for n, name in enumerate(names):
                attributes = place_attributes(name, at)
                if at == "c":
                    attributes |= {"bounds": f"{name}_bnds"}
                values = lambda at=at, n=n: horizontal.points(at)[n]
                yield Entry(name, dimensions, "f8", attributes), values
                if at == "c":
                    corners = Entry(f"{name}_bnds", (*dimensions, "corner"), "f8", {})
                    yield corners, lambda n=n: horizontal.bounds()[n]
        text = "angle from east to the grid's x direction, anticlockwise"
        about = {"units": "radian", "long_name": text}
        yield (
            Entry("angle", self.dimensions("c", False), "f8", about),
            lambda: horizontal.angle("c"),
        )

    def metrics(self) -> Iterator[Entry]:
        """Fields of the grid of the same names, which are written once."""
        for name, (unit, text) in _METRICS.items():
            layers = name.startswith(("h_", "mask_"))
            dtype = "i1" if name.startswith("mask_") else "f8"
            about = {"units": unit, "long_name": text}
            yield Entry(name, self.dimensions(name[-1], layers), dtype, about)

    def records(self) -> Iterator[Entry]:
        """What each record holds."""
        for variable in self.variables:
            attributes = {"units": variable.unit, "long_name": variable.long_name}
            if variable.standard_name:
                attributes["standard_name"] = variable.standard_name
            attributes["cell_methods"] = cell_methods(self.kind)
            if self._curvilinear:
                attributes["coordinates"] = " ".join(PLACES[variable.at[0]])
            attributes["cell_measures"] = f"area: area_{variable.at[0]}"
            dimensions = ("time", *self.dimensions(variable.at, variable.layers))
            yield Entry(variable.name, dimensions, self.model.dtype.str[1:], attributes, FILL)

    def dimensions(self, at: str, layers: bool) -> tuple[str, ...]:
        """Names of the axes of a place of the C grid."""
        y = self.names["lat_v" if at[0] in "vq" else "lat"]
        x = self.names["lon_u" if at[0] in "uq" else "lon"]
        return (("zw" if at.endswith("w") else "z",) if layers else ()) + (y, x)


def cell_methods(kind: str) -> str:
    """What CF says of a kind of output."""
    return f"time: {METHODS[kind]}"


def _axis(
    name: str, values: np.ndarray, attributes: dict, axis: str, shifted: bool = False
) -> tuple[Entry, np.ndarray]:
    shift = {"c_grid_axis_shift": -0.5} if shifted else {}
    return Entry(name, (name,), "f8", attributes | {"axis": axis} | shift), np.asarray(values)


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


__all__ = [
    "Description",
    "Entry",
    "FILL",
    "FileVariable",
    "HEADER_BYTES",
    "METHODS",
    "PLACES",
    "SECONDS_PER_DAY",
    "axis_names",
    "calendar_of",
    "cell_methods",
    "date_of",
    "horizontal_attributes",
    "metric_bytes",
    "place_attributes",
    "record_bytes",
]
