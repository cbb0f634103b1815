"""Variables whose latitudes and longitudes are two-dimensional, and how they come to other points.

Cubed spheres, tripolar grids, swaths: the points are taken one by one, and nothing is assumed of
    their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dogcm.io.reading import units
from dogcm.io.regrid import nearest, unit_vectors

FloatArray = NDArray[np.floating]
# Nearer than this (radians on the unit sphere) a point is the source's own.
_COINCIDENT = 1e-9


@dataclass(frozen=True)
class ScatteredVariable:
    """One variable at points of the sphere.

    Attributes:
        values: ([time,] [depth,] points), NaN where missing; one record is steady.
        lat, lon: degrees, (points,). area: of their cells (m2), or None where the file has none.
        shape: of the points in the file. The others: as of
            :class:`dogcm.io.regrid.GriddedVariable`.
    """

    values: FloatArray
    lat: FloatArray
    lon: FloatArray
    area: FloatArray | None = None
    shape: tuple[int, ...] = ()
    depth: FloatArray | None = None
    time: FloatArray | None = None
    unit: str = ""
    name: str = ""
    path: str = ""
    time_unit: str = ""
    calendar: str = ""
    time_middle: FloatArray | None = None
    standard_name: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)

    space = 1  # axes of position

    @property
    def timed(self) -> bool:
        """Whether there is an axis of records."""
        return self.values.ndim - self.space - (self.depth is not None) > 0

    def spacing(self) -> FloatArray:
        """Distance (radians) of each point to the farthest of its neighbours in the file.

        Of points in no order: to the fourth nearest.
        """
        vectors = unit_vectors(self.lat, self.lon)
        if len(self.shape) < 2:
            count = min(5, len(vectors))
            return nearest(vectors).query(vectors, k=count)[0].reshape(len(vectors), -1)[:, -1]
        v = vectors.reshape(*self.shape, 3)
        out = np.zeros(self.shape)
        for axis in (0, 1):
            step = np.linalg.norm(np.diff(v, axis=axis), axis=-1)
            lower = [slice(None), slice(None)]
            upper = [slice(None), slice(None)]
            lower[axis], upper[axis] = slice(None, -1), slice(1, None)
            # A fold or the edge of a tile is no neighbour.
            step = np.minimum(step, 3.0 * np.median(step))
            out[tuple(lower)] = np.maximum(out[tuple(lower)], step)
            out[tuple(upper)] = np.maximum(out[tuple(upper)], step)
        return out.ravel()


def square_metres(area) -> FloatArray | None:
    """Areas of cells (an xarray variable with a unit) in m2, `(points,)`; None if they are none."""
    if area is None:
        return None
    try:
        return units.convert(
            np.asarray(area.values, float).ravel(), str(area.attrs.get("units", "m2")), "m2"
        )
    except ValueError:
        return None


def interpolate(
    values: ArrayLike,
    lat: ArrayLike,
    lon: ArrayLike,
    to_lat: ArrayLike,
    to_lon: ArrayLike,
    reach: ArrayLike | None = None,
) -> FloatArray:
    """Inverse-distance mean of the nearest points: four of them, or as many as share a target
    point.

    Args:
        values: (n, points); points with a NaN in any record are left out.
        lat, lon: of the points (degrees). to_lat, to_lon: where values are wanted, any shape.
        reach: largest distance (radians) of a target point to the nearest source point with a
            value, beyond which it gets none; shape of the targets or a scalar. None: any.

    Returns:
        (n, \\*to_lat.shape), NaN beyond ``reach``.
    """
    v, target = np.asarray(values, float), np.asarray(to_lat, float)
    known = np.isfinite(v).all(0)
    if not known.any():
        raise ValueError("no point has a value in all records")
    count = min(int(known.sum()), max(4, round(known.sum() / target.size)))
    tree = nearest(unit_vectors(np.asarray(lat)[known], np.asarray(lon)[known]))
    distance, index = tree.query(unit_vectors(target, to_lon).reshape(-1, 3), k=count)
    distance, index = distance.reshape(-1, count), index.reshape(-1, count)
    weight = 1.0 / np.maximum(distance, _COINCIDENT) ** 2
    weight /= weight.sum(1, keepdims=True)
    out = (v[:, known][:, index] * weight).sum(-1).reshape(-1, *target.shape)
    if reach is None:
        return out
    return np.where(distance[:, 0].reshape(target.shape) <= reach, out, np.nan)


def distance_to(source: ScatteredVariable, to_lat: ArrayLike, to_lon: ArrayLike):
    """Distance (radians) of points to the nearest of a source, and the source's spacing there."""
    tree = nearest(unit_vectors(source.lat, source.lon))
    target = np.asarray(to_lat, float)
    distance, index = tree.query(unit_vectors(target, to_lon).reshape(-1, 3))
    return distance.reshape(target.shape), source.spacing()[index].reshape(target.shape)


def scattered_mean(
    source: ScatteredVariable, values: ArrayLike, points: Iterable[tuple[FloatArray, FloatArray]]
) -> FloatArray:
    """Means over cells, each known by points spread evenly over it, of a field known at points.

    Every point takes the value of the nearest point of the source, if that is no farther than the
    source's own spacing.

    Args:
        values: (points,), NaN where missing: left out.
        points: latitudes and longitudes (ny, nx) of one point in each cell after the other.

    Returns:
        (ny, nx), NaN where no point has a value.
    """
    v, spacing = np.asarray(values, float), source.spacing()
    tree = nearest(unit_vectors(source.lat, source.lon))
    total, count = 0.0, 0
    for lat, lon in points:
        distance, index = tree.query(unit_vectors(lat, lon).reshape(-1, 3))
        here = np.where(distance <= spacing[index], v[index], np.nan).reshape(np.shape(lat))
        known = np.isfinite(here)
        total, count = total + np.where(known, here, 0.0), count + known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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
    plane: bool = False,
):
    """Bring amounts (m3 s-1) at points to the nearest wet cells, without losing any.

    Args:
        amount: (n, points), NaN counts as nothing. to_lat, to_lon, wet: (ny, nx).
        plane: positions are y and x on a plane.

    Returns:
        (n, ny, nx), amounts by cell.
    """
    vectors = (lambda y, x: np.stack([y, x], axis=-1)) if plane else unit_vectors
    a, wet = np.nan_to_num(np.asarray(amount, float)), np.asarray(wet, bool)
    some = (a != 0).any(0)
    tree = nearest(vectors(np.asarray(to_lat)[wet], np.asarray(to_lon)[wet]))
    _, cell = tree.query(vectors(np.asarray(lat)[some], np.asarray(lon)[some]))
    out = np.zeros((len(a), *wet.shape))
    sums = np.zeros((len(a), int(wet.sum())))
    for record, values in zip(sums, a[:, some]):
        np.add.at(record, cell, values)
    out[:, wet] = sums
    return out
