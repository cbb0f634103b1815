"""Read netCDF variables whose latitudes and longitudes are two-dimensional, and bring them to other
points.

Cubed spheres, tripolar grids, swaths: the points are taken one by one, and nothing is assumed of
    their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from dogcm.io.regrid import UNDECLARED_FILL, unit_vectors

FloatArray = NDArray[np.floating]
_LAT, _LON = (
    ("lat", "latitude", "nav_lat", "yc", "tlat"),
    ("lon", "longitude", "nav_lon", "xc", "tlon"),
)
_AREA = ("area", "cell_area", "areacello", "area_t", "tarea")
_AREA_UNITS = {
    "m2": 1.0,
    "m^2": 1.0,
    "m**2": 1.0,
    "km2": 1e6,
    "km^2": 1e6,
    "cm2": 1e-4,
    "cm^2": 1e-4,
}
# Nearer than this (radians on the unit sphere) a point is the source's own.
_COINCIDENT = 1e-9


@dataclass(frozen=True)
class ScatteredVariable:
    """One variable at points of the sphere.

    Attributes:
        values: (n, points), NaN where missing; one record is steady.
        lat, lon: degrees, (points,). area: of their cells (m2), or None where the file has none.
        time, time_unit: as stored, or None and "". unit, name, path: as in the file.
    """

    values: FloatArray
    lat: FloatArray
    lon: FloatArray
    area: FloatArray | None
    time: FloatArray | None
    time_unit: str
    unit: str
    name: str
    path: str


def read_scattered(path: str | Path, name: str) -> ScatteredVariable | None:
    """The variable, if its file gives each of its points a latitude and a longitude; None if it
    does not.

    A file that cannot be opened is left to :func:`dogcm.io.regrid.read_cf` to say.

    Raises:
        ValueError: more than one dimension besides those of the points.
    """
    try:
        data = xr.open_dataset(path, decode_times=False)
    except (OSError, ValueError):
        return None
    with data:
        return _read(data, name, path)


def _read(data: xr.Dataset, name: str, path) -> ScatteredVariable | None:
    if name not in data.data_vars:
        return None
    array = data[name]
    axes = [
        _coordinate(data, array, names, standard)
        for names, standard in ((_LAT, "latitude"), (_LON, "longitude"))
    ]
    if any(a is None for a in axes) or axes[0].dims != axes[1].dims:
        return None
    dims = axes[0].dims
    lead = [d for d in array.dims if d not in dims]
    if len(lead) > 1:
        raise ValueError(
            f"variable {name} of {path} has dimensions {array.dims}: one besides {dims} is understood"
        )
    values = np.array(array.transpose(*lead, *dims).values, float).reshape(-1, axes[0].size)
    values[np.abs(values) > UNDECLARED_FILL] = np.nan
    time = data[lead[0]] if lead and lead[0] in data.variables else None
    stamps = (
        (None, "")
        if time is None
        else (np.asarray(time.values, float), str(time.attrs.get("units", "")))
    )
    area = next(
        (data[v] for v in data.variables if str(v).lower() in _AREA and data[v].dims == dims), None
    )
    return ScatteredVariable(
        values,
        *(np.asarray(a.values, float).ravel() for a in axes),
        _square_metres(area),
        *stamps,
        str(array.attrs.get("units", "")),
        name,
        str(path),
    )


def _coordinate(data: xr.Dataset, array: xr.DataArray, names: tuple[str, ...], standard: str):
    for v in data.variables:
        found = data[v]
        named = str(v).lower() in names or found.attrs.get("standard_name") == standard
        if named and found.ndim == 2 and set(found.dims) <= set(array.dims):
            return found
    return None


def _square_metres(area) -> FloatArray | None:
    factor = (
        None
        if area is None
        else _AREA_UNITS.get(str(area.attrs.get("units", "m2")).replace(" ", "").lower())
    )
    return None if factor is None else np.asarray(area.values, float).ravel() * factor


def interpolate(
    values: ArrayLike, lat: ArrayLike, lon: ArrayLike, to_lat: ArrayLike, to_lon: ArrayLike
) -> FloatArray:
    """Inverse-distance mean of the nearest points: four of them, or as many as share a target
    point.

    Args:
        values: (n, points); points with a NaN in any record are left out.
        lat, lon: of the points (degrees). to_lat, to_lon: where values are wanted, any shape.

    Returns:
        (n, \\*to_lat.shape).
    """
    v, target = np.asarray(values, float), np.asarray(to_lat, float)
    known = np.isfinite(v).all(0)
    if not known.any():
        raise ValueError("no point has a value in all records")
    count = min(int(known.sum()), max(4, round(known.sum() / target.size)))
    tree = cKDTree(unit_vectors(np.asarray(lat)[known], np.asarray(lon)[known]))
    distance, index = tree.query(unit_vectors(target, to_lon).reshape(-1, 3), k=count)
    distance, index = distance.reshape(-1, count), index.reshape(-1, count)
    weight = 1.0 / np.maximum(distance, _COINCIDENT) ** 2
    weight /= weight.sum(1, keepdims=True)
    return (v[:, known][:, index] * weight).sum(-1).reshape(-1, *target.shape)


def sampled_mean(
    values: ArrayLike,
    lat_edges: ArrayLike,
    lon_edges: ArrayLike,
    points: Iterable[tuple[FloatArray, FloatArray]],
) -> FloatArray:
    """Means over cells of any shape, each known by points spread evenly over it, of a field that is
    constant in boxes.

    Args:
        values: (n_lat, n_lon) in boxes of latitude and longitude, NaN where missing: left out.
        lat_edges, lon_edges: of the boxes (degrees), ascending.
        points: latitudes and longitudes (ny, nx) of one point in each cell after the other.

    Returns:
        (ny, nx), NaN where no point has a value.
    """
    v, lat_edges, lon_edges = (np.asarray(a, float) for a in (values, lat_edges, lon_edges))
    total, count = 0.0, 0
    for lat, lon in points:
        x = lon_edges[0] + np.mod(lon - lon_edges[0], 360.0)
        j, i = (
            np.searchsorted(lat_edges, lat, "right") - 1,
            np.searchsorted(lon_edges, x, "right") - 1,
        )
        inside = (j >= 0) & (j < v.shape[0]) & (i < v.shape[1])
        here = np.where(
            inside, v[np.clip(j, 0, v.shape[0] - 1), np.clip(i, 0, v.shape[1] - 1)], np.nan
        )
        known = np.isfinite(here)
        total, count = total + np.where(known, here, 0.0), count + known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def pour(
    amount: ArrayLike,
    lat: ArrayLike,
    lon: ArrayLike,
    to_lat: ArrayLike,
    to_lon: ArrayLike,
    wet: ArrayLike,
):
    """Bring amounts (m3 s-1) at points to the nearest wet cells, without losing any.

    Args:
        amount: (n, points), NaN counts as nothing. to_lat, to_lon, wet: (ny, nx).

    Returns:
        (n, ny, nx), amounts by cell.
    """
    a, wet = np.nan_to_num(np.asarray(amount, float)), np.asarray(wet, bool)
    some = (a != 0).any(0)
    tree = cKDTree(unit_vectors(np.asarray(to_lat)[wet], np.asarray(to_lon)[wet]))
    _, nearest = tree.query(unit_vectors(np.asarray(lat)[some], np.asarray(lon)[some]))
    out = np.zeros((len(a), *wet.shape))
    sums = np.zeros((len(a), int(wet.sum())))
    for record, values in zip(sums, a[:, some]):
        np.add.at(record, nearest, values)
    out[:, wet] = sums
    return out
