"""From the grid of an input file to the cells of the model, and where it does not reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dogcm.io import curvilinear, regrid
from dogcm.io.curvilinear import ScatteredVariable
from dogcm.io.reading.errors import InputError

_FINEST_SAMPLING = 8  # points across a cell
_CELLS_AWAY = 1.5  # source cells within which a value still belongs to a place
_EARTH = 6371.0  # km


def points(horizontal, at: str) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes and longitudes (ny, nx) of a place of the C grid; y and x (km) on a plane."""
    if horizontal.curvilinear:
        return horizontal.points(at)
    c = horizontal.coordinates()
    lon = c["lon_u"][0] if at == "u" else c["lon"][0]
    lat = c["lat_v"][0] if at == "v" else c["lat"][0]
    return tuple(np.meshgrid(lat, lon, indexing="ij"))


def edges(horizontal) -> tuple[np.ndarray, np.ndarray]:
    """Faces of the rows and columns of a rectilinear grid (degrees; km on a plane)."""
    if horizontal.spherical:
        return horizontal.lat_edges, horizontal.lon_edges
    y = horizontal.y0 + np.arange(horizontal.ny + 1) * horizontal.dy
    return y / 1e3, np.arange(horizontal.nx + 1) * horizontal.dx / 1e3


def on_grid(source, horizontal, at: str, fill: str = "none", wet=None) -> np.ndarray:
    """All records of a source on the model grid, (n, ny, nx); NaN where it has no value.

    Args:
        at: place on the C grid. fill: ``nearest`` gives places without a value the nearest one.
        wet: (ny, nx), where values are needed: what the source does not cover there is refused.

    Raises:
        InputError: the source does not cover the model's ocean.
    """
    if wet is not None and fill == "none":
        check_cover(source, horizontal, at, wet)
    if isinstance(source, ScatteredVariable):
        values = source.values.reshape(-1, source.lat.size)
        lat, lon = points(horizontal, at)
        return curvilinear.interpolate(
            values, source.lat, source.lon, lat, lon, _reach(source, horizontal, at, fill)
        )
    values = source.values.reshape(-1, *source.values.shape[-2:])
    out = np.stack([level_on_grid(source, v, horizontal, at) for v in values])
    return np.stack([filled(v, horizontal, at) for v in out]) if fill == "nearest" else out


def level_on_grid(source, values: np.ndarray, horizontal, at: str) -> np.ndarray:
    """One level on the model grid: averages where the model is coarser, interpolation where
    finer."""
    if isinstance(source, ScatteredVariable):
        lat, lon = points(horizontal, at)
        if not np.isfinite(values).any():
            return np.full(lat.shape, np.nan)
        reach = _reach(source, horizontal, at, "none")
        return curvilinear.interpolate(values[None], source.lat, source.lon, lat, lon, reach)[0]
    if at == "c" and coarseness(source, horizontal) > 1.5:
        return cell_means(source, values, horizontal)
    source, values = _wrapped(source, values, horizontal)
    return regrid.bilinear(
        values, source.lat, source.lon, *points(horizontal, at), plane=source.plane
    )


def cell_means(source, values: np.ndarray, horizontal) -> np.ndarray:
    """Means over the cells of the model of a field on the grid of ``source``, NaN left out."""
    if isinstance(source, ScatteredVariable):
        return curvilinear.scattered_mean(source, values.ravel(), _samples(horizontal))
    if not horizontal.curvilinear:
        return regrid.conservative_average(
            values, source.lat_edges, source.lon_edges, *edges(horizontal), plane=source.plane
        )[0]
    count = int(np.clip(round(2 * coarseness(source, horizontal)), 1, _FINEST_SAMPLING))
    return curvilinear.sampled_mean(
        values, source.lat_edges, source.lon_edges, horizontal.samples(count)
    )


def _samples(horizontal):
    """Points spread evenly over each cell, one of each cell after the other."""
    if horizontal.curvilinear:
        yield from horizontal.samples(_FINEST_SAMPLING)
        return
    lat, lon = edges(horizontal)
    for j in (np.arange(_FINEST_SAMPLING) + 0.5) / _FINEST_SAMPLING:
        for i in (np.arange(_FINEST_SAMPLING) + 0.5) / _FINEST_SAMPLING:
            yield np.meshgrid(
                lat[:-1] + j * np.diff(lat), lon[:-1] + i * np.diff(lon), indexing="ij"
            )


def coarseness(source, horizontal) -> float:
    """Smallest height of the model's rows over the spacing of the source."""
    step = horizontal.row_step() if horizontal.curvilinear else np.diff(edges(horizontal)[0]).min()
    return float(step / np.abs(np.diff(source.lat)).mean())


def _wrapped(source, values: np.ndarray, horizontal):
    """A source on a plane that closes on itself, with a column of the other side at both ends."""
    if not source.plane or not horizontal.periodic_x:
        return source, values
    step, length = source.lon[1] - source.lon[0], horizontal.nx * horizontal.dx / 1e3
    if abs(np.diff(source.lon_edges[[0, -1]])[0] - length) > 0.5 * step:
        return source, values
    lon = np.concatenate([[source.lon[-1] - length], source.lon, [source.lon[0] + length]])
    return replace(source, lon=lon, lon_faces=None), np.concatenate(
        [values[..., -1:], values, values[..., :1]], axis=-1
    )


# ---- cover
def check_cover(source, horizontal, at: str, wet: np.ndarray) -> None:
    """Refuse a source that ends before the model's ocean does.

    Args:
        wet: (ny, nx), where values are needed.

    Raises:
        InputError: what the source covers, how much of the ocean lies outside, and where.
    """
    lat, lon = points(horizontal, at)
    outside = ~covered(source, lat, lon, _half_cell(horizontal)) & wet
    if not outside.any():
        return
    j, i = np.argwhere(outside)[0]
    what = ("y", "x") if getattr(source, "plane", False) else ("lat", "lon")
    raise InputError(
        f"variable '{source.name}' of {source.path} does not cover the model's ocean: it has "
        f"{extent(source)}; {int(outside.sum())} of {int(wet.sum())} ocean cells lie outside, the "
        f"first at {what[0]} {lat[j, i]:.2f}, {what[1]} {lon[j, i]:.2f}. Give a file that covers "
        "the domain, or take the nearest values by the key fill: nearest"
    )


def covered(source, lat: np.ndarray, lon: np.ndarray, half_cell=0.0) -> np.ndarray:
    """Which points lie within the cells of a source (a row beyond its first and last counts: the
    poles)."""
    if isinstance(source, ScatteredVariable):
        distance, spacing = curvilinear.distance_to(source, lat, lon)
        return distance <= np.maximum(_CELLS_AWAY * spacing, half_cell)
    y, past = source.lat, 0.5 if source.plane else 1.0
    south, north = y[0] - past * (y[1] - y[0]), y[-1] + past * (y[-1] - y[-2])
    inside = (lat >= south - 1e-6) & (lat <= north + 1e-6)
    if not source.plane and regrid.is_periodic(source.lon):
        return inside
    west, east = source.lon_edges[[0, -1]]
    x = lon if source.plane else west + np.mod(lon - west + 1e-6, 360.0) - 1e-6
    return inside & (x >= west - 1e-6) & (x <= east + 1e-6)


def extent(source) -> str:
    """What a source covers, in words."""
    if getattr(source, "plane", False):
        y, x = source.lat_edges, source.lon_edges
        return f"y from {y[0]:.1f} to {y[-1]:.1f} km, x from {x[0]:.1f} to {x[-1]:.1f} km"
    lat = f"lat {np.nanmin(source.lat):.2f} to {np.nanmax(source.lat):.2f}"
    if isinstance(source, ScatteredVariable):
        return f"{lat}, lon {np.nanmin(source.lon):.2f} to {np.nanmax(source.lon):.2f}"
    if regrid.is_periodic(source.lon):
        return f"{lat}, all longitudes"
    return f"{lat}, lon {source.lon[0]:.2f} to {source.lon[-1]:.2f}"


def _half_cell(horizontal) -> np.ndarray | float:
    """Half the diagonal of the model's cells (radians), (ny, nx)."""
    if not horizontal.spherical:
        return 0.0
    ny, nx = horizontal.shape
    area = horizontal.metrics(np.arange(ny), np.arange(nx)).area_c
    return np.sqrt(area / 2.0) / horizontal.radius


def _reach(source: ScatteredVariable, horizontal, at: str, fill: str):
    """How far from a value of the source its values hold (radians); None: any distance."""
    if fill == "nearest":
        return None
    _, spacing = curvilinear.distance_to(source, *points(horizontal, at))
    return np.maximum(2.0 * _CELLS_AWAY * spacing, 2.0 * _half_cell(horizontal))


def filled(values: np.ndarray, horizontal, at: str) -> np.ndarray:
    """A field (ny, nx) whose gaps have the value of the nearest place that has one."""
    known = np.isfinite(values)
    if known.all() or not known.any():
        return values
    lat, lon = points(horizontal, at)
    where = (
        np.stack([lat, lon, 0.0 * lat], axis=-1)
        if not horizontal.spherical
        else regrid.unit_vectors(lat, lon)
    )
    return regrid.nearest_fill(values, known, where)
