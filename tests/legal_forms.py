"""Files that hold the same field in any of the forms that CF and the habits of models allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

#: Community: names of (lat, lon, depth, time), of the dimensions (y, x), whether positions are 2-D.
COMMUNITIES = {
    "CF": (("lat", "lon", "depth", "time"), None, False),
    "ECMWF": (("latitude", "longitude", "depth", "time"), None, False),
    "NEMO": (("nav_lat", "nav_lon", "deptht", "time_counter"), ("y", "x"), True),
    "MOM6": (("geolat", "geolon", "z_l", "time"), ("yh", "xh"), True),
    "POP": (("TLAT", "TLONG", "z_t", "time"), ("nlat", "nlon"), True),
    "ROMS": (("lat_rho", "lon_rho", "depth", "ocean_time"), ("eta_rho", "xi_rho"), True),
}
UNITS = {
    "temperature": (
        ("degC", 1.0, 0.0), ("degrees_celsius", 1.0, 0.0), ("Celsius", 1.0, 0.0), ("°C", 1.0, 0.0),
        ("K", 1.0, 273.15), ("degree_Kelvin", 1.0, 273.15), ("degF", 1.8, 32.0),
    ),
    "stress": (
        ("N m-2", 1.0, 0.0), ("newton meter-2", 1.0, 0.0), ("Newtons/m^2", 1.0, 0.0),
        ("Pa", 1.0, 0.0), ("dyn cm-2", 10.0, 0.0), ("dyne/centimeter**2", 10.0, 0.0),
    ),
    "salinity": (
        ("g kg-1", 1.0, 0.0), ("1e-3", 1.0, 0.0), ("kg/kg", 1e-3, 0.0), ("gram/kilogram", 1.0, 0.0),
    ),
    "length": (
        ("m", 1.0, 0.0), ("meters", 1.0, 0.0), ("cm", 100.0, 0.0), ("centimeters", 100.0, 0.0),
        ("km", 1e-3, 0.0), ("feet", 1 / 0.3048, 0.0), ("yards", 1 / 0.9144, 0.0),
    ),
    "water": (
        ("m s-1", 1.0, 0.0), ("kg m-2 s-1", 1e3, 0.0), ("mm d-1", 8.64e7, 0.0),
        ("cm/day", 8.64e6, 0.0), ("kilogram meter-2 second-1", 1e3, 0.0),
    ),
}  # fmt: skip
CALENDARS = ("standard", "gregorian", "noleap", "365_day", "360_day", "julian", "all_leap")
#: Unit, how many of them a month (1/12 of the calendar's year) has.
TIMES = ("days since", "hours since", "seconds since", "months since")
_LENGTH = {"360_day": 360.0, "noleap": 365.0, "365_day": 365.0, "all_leap": 366.0}


@dataclass
class Form:
    """One drawn form.

    Attributes:
        choice: what was drawn, for the message of a failure. fixed: what is not drawn.
        axes: latitudes, longitudes, months and times of what was written, in the file's order.
    """

    rng: np.random.Generator
    fixed: dict = field(default_factory=dict)
    choice: dict = field(default_factory=dict)
    axes: dict = field(default_factory=dict)

    def pick(self, name: str, options):
        options = list(options)
        found = self.fixed.get(name, options[int(self.rng.integers(len(options)))])
        self.choice[name] = found
        return found

    def flip(self, name: str, share: float = 0.5) -> bool:
        self.choice[name] = bool(self.fixed.get(name, self.rng.random() < share))
        return self.choice[name]


def positions(form: Form):
    """Latitudes and longitudes in the file, of a globe or a region across Greenwich."""
    count = int(form.rng.integers(7, 12))
    lat = np.linspace(-72, 72, count) + form.rng.uniform(-3, 3, count)
    if form.flip("latitudes descend"):
        lat = lat[::-1]
    if form.flip("globe", 0.7):
        count = int(form.pick("columns", (12, 15, 18, 24)))
        start = float(form.pick("first longitude", (0.0, -180.0, 20.0, -93.7, 11.25)))
        lon = start + 360.0 / count * np.arange(count)
        if form.flip("seam twice", 0.3):
            lon = np.append(lon, lon[0] + 360.0)
    else:
        lon = np.arange(-40.0, 61.0, 10.0) + form.rng.uniform(-3, 3)
    notation = form.pick("notation", ("as it is", "0 to 360", "-180 to 180"))
    if notation == "0 to 360" and not form.choice.get("seam twice"):
        lon = np.mod(lon, 360.0)
    elif notation == "-180 to 180" and not form.choice.get("seam twice"):
        lon = np.mod(lon + 180.0, 360.0) - 180.0
    return lat, lon[::-1] if form.flip("longitudes descend", 0.3) else lon


def turned(lat, lon, tilt: float = 25.0):
    """The same points about a pole that is tilted: rows and columns follow neither."""
    y, x, t = np.deg2rad(lat), np.deg2rad(lon), np.deg2rad(tilt)
    px, py, pz = np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)
    px, pz = px * np.cos(t) - pz * np.sin(t), px * np.sin(t) + pz * np.cos(t)
    return np.rad2deg(np.arcsin(np.clip(pz, -1, 1))), np.rad2deg(np.arctan2(py, px))


def encode(form: Form, name: str, values: np.ndarray, kind: str, low: float, high: float):
    """Values in a unit and a storage: array, attributes, encoding, resolution."""
    unit, factor, shift = form.pick("unit", UNITS[kind])
    stored, ends = values * factor + shift, (low * factor + shift, high * factor + shift)
    attrs: dict = {"units": unit}
    storage = form.pick("storage", ("double", "float", "short", "int"))
    gap = form.pick("missing", ("NaN", "_FillValue", "missing_value", "valid_range"))
    if storage in ("short", "int"):
        steps = 60000 if storage == "short" else 2_000_000_000
        scale, offset = (ends[1] - ends[0]) / steps, 0.5 * (ends[0] + ends[1])
        encoding = {
            "dtype": "int16" if storage == "short" else "int32", "scale_factor": scale,
            "add_offset": offset, "_FillValue": -32767 if storage == "short" else -2147483647,
        }  # fmt: skip
        return stored, attrs, encoding, scale / factor
    encoding = {"dtype": "float64" if storage == "double" else "float32", "_FillValue": None}
    if gap == "NaN":
        encoding["_FillValue"] = np.nan
    elif gap == "valid_range":
        margin = 0.1 * (ends[1] - ends[0])
        attrs["valid_range"] = np.array([ends[0] - margin, ends[1] + margin])
        stored = np.where(np.isnan(stored), ends[0] - 30 * margin, stored)
    else:
        value = float(form.pick("fill", (-9999.0, 1e20, -1e34, 9.96921e36)))
        encoding[gap] = value
        if gap == "missing_value":
            encoding["_FillValue"] = None
    resolution = 0.0 if storage == "double" else 2e-7 * max(abs(ends[0]), abs(ends[1])) / factor
    return stored, attrs, encoding, resolution


def records(form: Form, count: int = 12):
    """Month of each record (0 to 11, in the file's order), its coordinate and attributes."""
    first = int(form.pick("first month", (0, 0, 4, 6, 11)))
    months = first + np.arange(count)
    if form.flip("wrapped", 0.25):
        months = np.append(months, months[-1] + 1)
    if form.flip("times descend", 0.15):
        months = months[::-1]
    calendar, unit = form.pick("calendar", CALENDARS), form.pick("time", TIMES)
    phase = float(form.pick("stamp", (0.5, 0.5, 0.0)))
    length = _LENGTH.get(calendar, 365.25)
    if unit == "months since":
        numbers = months + phase
    else:
        per_day = {"days since": 1.0, "hours since": 24.0, "seconds since": 86400.0}[unit]
        numbers = (months + phase) / 12 * length * per_day
    attrs = {"units": f"{unit} 1999-01-01", "calendar": calendar}
    if form.flip("time has axis"):
        attrs["axis"] = "T"
    if form.flip("time has standard_name"):
        attrs["standard_name"] = "time"
    return months % 12, numbers, attrs


def levels(form: Form, depth: np.ndarray):
    """A vertical axis as the file has it, and the order of its levels."""
    unit, factor, _ = form.pick("depth unit", UNITS["length"][:6])
    order = np.argsort(depth) if not form.flip("levels upwards", 0.3) else np.argsort(-depth)
    z, attrs = depth[order] * factor, {"units": unit}
    style = form.pick("direction", ("positive down", "positive up", "none", "axis"))
    if style == "positive up":
        z, attrs["positive"] = -z, "up"
    elif style == "positive down":
        attrs["positive"] = "down"
    elif style == "axis":
        attrs["axis"] = "Z"
    if form.flip("depth has standard_name"):
        attrs["standard_name"] = "depth"
    return order, z, attrs


def write(path: Path, form: Form, name, function, kind, limits, axes=(), **about) -> tuple:
    """A file with one variable.

    Args:
        function: ``(month, depth, lat, lon)`` -> values, which broadcast; NaN where missing.
        limits: least and greatest value. axes: of ``time`` and ``depth``, those that it has.
        about: attributes of the variable.

    Returns:
        name of the variable, error of its storage.
    """
    (n_lat, n_lon, n_depth, n_time), flat, two = COMMUNITIES[form.pick("community", COMMUNITIES)]
    lat, lon = positions(form)
    form.axes = {"lat": lat, "lon": lon}
    dims = {"y": flat[0] if flat else n_lat, "x": flat[1] if flat else n_lon}
    month, depth, coordinates = np.zeros(1), np.zeros(1), {}
    if "time" in axes:
        month, numbers, attrs = records(form)
        form.axes |= {"month": month, "time": numbers}
        coordinates[n_time] = ((n_time,), numbers, attrs)
    if "depth" in axes:
        levels_at = np.array([5.0, 50.0, 300.0, 1000.0, 2500.0])
        order, z, attrs = levels(form, levels_at)
        depth, coordinates[n_depth] = levels_at[order], ((n_depth,), z, attrs)
    y, x = np.meshgrid(lat, lon, indexing="ij")
    if two and form.flip("turned", 0.4):
        y, x = turned(y, x)
    values = function(month[:, None, None, None], depth[:, None, None], y, x) + np.zeros(
        (month.size, depth.size, lat.size, lon.size)
    )
    values = values[(slice(None) if "time" in axes else 0,)]
    values = values[..., slice(None) if "depth" in axes else 0, :, :]
    stored, attrs, encoding, resolution = encode(form, name, values, kind, *limits)
    lead = [n for a, n in (("time", n_time), ("depth", n_depth)) if a in axes]
    data = xr.DataArray(stored, dims=[*lead, dims["y"], dims["x"]], attrs={**attrs, **about})
    data = data.transpose(*(list(data.dims)[i] for i in form.rng.permutation(data.ndim)))
    coordinates |= _positions(form, lat, lon, (y, x), n_lat, n_lon, dims, two)
    out = xr.Dataset({name: data}).assign_coords(coordinates)
    out[name].encoding = encoding
    for n in coordinates:
        out[n].encoding["_FillValue"] = None
    if two and form.flip("coordinates undeclared", 0.3):
        out = out.reset_coords([n for n in (n_lat, n_lon)])
    engine = form.pick("format", ("NETCDF4", "NETCDF3_64BIT"))
    out.to_netcdf(path, format=engine)
    return name, resolution


def _positions(form, lat, lon, points, n_lat, n_lon, dims, two) -> dict:
    """Coordinates of latitude and longitude with one set of attributes or another."""
    style = form.pick("marked by", ("units", "standard_name", "both", "name"))
    north, east = {}, {}
    if style in ("units", "both"):
        north["units"], east["units"] = "degrees_north", "degrees_east"
    if style in ("standard_name", "both"):
        north["standard_name"], east["standard_name"] = "latitude", "longitude"
        north.setdefault("units", "degrees"), east.setdefault("units", "degrees")
    if style == "name":
        north["units"] = east["units"] = "degrees"
    if not two:
        return {n_lat: ((n_lat,), lat, north), n_lon: ((n_lon,), lon, east)}
    pair = (dims["y"], dims["x"])
    out = {n_lat: (pair, points[0], north), n_lon: (pair, points[1], east)}
    if form.flip("nominal axes", 0.3):
        about = {"units": "degrees_north", "axis": "Y"}, {"units": "degrees_east", "axis": "X"}
        out[dims["y"]] = ((dims["y"],), np.linspace(-50, 50, lat.size), about[0])
        out[dims["x"]] = ((dims["x"],), np.linspace(0, 300, lon.size), about[1])
    return out
