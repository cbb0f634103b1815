"""A small sea and the input files that it is made from, as other tools would write them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dogcm.setups import inputs
from dogcm.setups.registry import load_config

LAT, LON = np.arange(-26.0, 27.0, 2.0), np.arange(56.0, 105.0, 2.0)
DEPTH = np.array([0.0, 50.0, 200.0, 800.0, 2000.0])
NORTH = {"units": "degrees_north", "standard_name": "latitude"}
EAST = {"units": "degrees_east", "standard_name": "longitude"}
#: Middles of the months of a year of 365 days.
MIDDLES = np.cumsum([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) - 15.5


def field(values, unit="degC", lat=LAT, lon=LON, time=None, **attrs) -> xr.Dataset:
    """Records ``(n,)`` or ``(n, lat, lon)`` of a surface field named ``f``."""
    v = np.asarray(values, float)
    v = v[:, None, None] * np.ones((lat.size, lon.size)) if v.ndim == 1 else v
    name, when = ("month", ("month", np.arange(1.0, len(v) + 1))) if time is None else time
    axes = {"lat": ("lat", lat, NORTH), "lon": ("lon", lon, EAST), name: when}
    return xr.Dataset({"f": ((name, "lat", "lon"), v, {"units": unit, **attrs})}, axes)


def dated(values, times, since="days since 2001-01-01", calendar="noleap", **more) -> xr.Dataset:
    """Records with dates."""
    when = ("time", np.asarray(times, float), {"units": since, "calendar": calendar})
    return field(values, time=("time", when), **more)


def volume(t=None, s=None, depth=DEPTH, lat=LAT, lon=LON, zaxis=None, **attrs) -> xr.Dataset:
    """Temperature and salinity ``(depth, lat, lon)``, by default uniform on levels."""
    shape = (len(depth), lat.size, lon.size)
    t = np.broadcast_to((20.0 - 5e-3 * depth)[:, None, None], shape) if t is None else t
    s = np.full(shape, 35.0) if s is None else s
    zaxis = {"units": "m", "positive": "down", "axis": "Z"} if zaxis is None else zaxis
    dims = ("depth", "lat", "lon")
    return xr.Dataset(
        {
            "t": (dims, np.array(t), {"units": "degC", **attrs}),
            "s": (dims, np.array(s), {"units": "g kg-1"}),
        },
        {"depth": ("depth", depth, zaxis), "lat": ("lat", lat, NORTH), "lon": ("lon", lon, EAST)},
    )


def floor(values=None, lat=LAT, lon=LON, unit="m", **attrs) -> xr.Dataset:
    """A sea floor ``(lat, lon)``, by default 1500 m below the sea."""
    v = np.full((lat.size, lon.size), -1500.0) if values is None else values
    axes = {"lat": ("lat", lat, NORTH), "lon": ("lon", lon, EAST)}
    return xr.Dataset({"elevation": (("lat", "lon"), v, {"units": unit, **attrs})}, axes)


def sea(**changes):
    """A configuration of 10 x 8 cells of 4 degrees in the Indian Ocean, at rest, without files."""
    tree = {
        "name": "sea",
        "grid": {"nx": 10, "ny": 8, "lon": [60, 100], "lat": [-16, 16], "layers": [100, 400, 1000]},
        "bathymetry": {"source": "flat", "depth": 1500.0},
        "forcing": {"source": "none"},
        "run": {"output": {}},
    }
    return load_config(tree, changes)


def surface(path, name="sst", change=None, entry=None, **more):
    """A surface field from a file, as the model gets it, ``(n, ny, nx)``.

    Args:
        change: of the configuration. entry, more: keys of ``forcing.files.NAME``.
    """
    own = {"path": str(path), "variable": "f", **(entry or {}), **more}
    files = {"forcing.files": {name: own}}
    c = sea(**files, **(change or {}))
    horizontal, cells = ocean(c)
    return inputs.record(c, name, horizontal, cells[0] > 0)


def ocean(c):
    horizontal = inputs.horizontal_grid(c)
    return horizontal, inputs.cell_thickness(c, horizontal, inputs.vertical_grid(c))


def initial(path, name="temperature", **change):
    """An initial field from a file, as the model gets it, ``(nz, ny, nx)``."""
    settings = {
        "initial.source": "file",
        "initial.path": str(path),
        "initial.temperature_variable": "t",
        "initial.salinity_variable": "s",
    }
    c = sea(**{**settings, **change})
    horizontal, cells = ocean(c)
    return inputs.initial_tracer(c, name, horizontal, inputs.vertical_grid(c), cells)


def wet(path, **change):
    """Which cells of the surface are water, with the sea floor of a file."""
    settings = {"bathymetry.source": "file", "bathymetry.path": str(path)}
    return ocean(sea(**{**settings, **change}))[1][0] > 0
