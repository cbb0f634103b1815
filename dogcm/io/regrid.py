"""Move gridded data between grids, on plain numpy arrays.

The few averages and interpolations that forcing, initial state and bathymetry need; files are read
by :mod:`dogcm.io.reading`. Latitudes and longitudes are in degrees, depths in metres (positive
down), missing values are NaN. Horizontal axes are always the last two, `(..., lat, lon)`. On a
plane, latitudes and longitudes are y and x in km.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class GriddedVariable:
    """One variable on a rectilinear latitude-longitude grid, or one of x and y on a plane.

    Attributes:
        values: `([time,] [depth,] lat, lon)`, float64, NaN where missing.
        lat: Latitudes of the points (degrees north), ascending.
        lon: Longitudes of the points (degrees east), ascending: within [0, 360) round the globe,
            from its western end in a region.
        depth: Depths of the levels (m, positive down, ascending), or None.
        time: Time axis as stored (its unit is `time_unit`), or None.
        unit: Unit of `values` as the file spells it ("" where it gives none).
        name: Name of the variable in the file.
        path: The file.
        time_unit, calendar: Unit and calendar of `time` as the file spells them.
        time_middle: Middles of the bounds of `time`, or None.
        standard_name, attributes: Of the variable in the file. axes: Axis -> its name there.
        plane: `lat` and `lon` are y and x on a plane (km).
        lat_faces, lon_faces: Faces of the cells, `(n + 1,)`, where the file has bounds.
    """

    values: FloatArray
    lat: FloatArray
    lon: FloatArray
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
    plane: bool = False
    lat_faces: FloatArray | None = None
    lon_faces: FloatArray | None = None

    space = 2  # axes of position

    @property
    def timed(self) -> bool:
        """Whether there is an axis of records."""
        return self.values.ndim - self.space - (self.depth is not None) > 0

    @property
    def lat_edges(self) -> FloatArray:
        """Latitudes of the cell faces, else midway between the points, within [-90, 90]."""
        if self.lat_faces is not None:
            return self.lat_faces
        if self.plane:
            return edges_from_centres(self.lat)
        return np.clip(edges_from_centres(self.lat), -90.0, 90.0)

    @property
    def lon_edges(self) -> FloatArray:
        """Longitudes of the cell faces, else midway between the points; at most 360 degrees."""
        if self.lon_faces is not None and np.ptp(self.lon_faces) <= 360.0 + 1e-6:
            return self.lon_faces
        edges = edges_from_centres(self.lon)
        gap = self.lon[0] + 360.0 - self.lon[-1]
        if not self.plane and is_periodic(self.lon):
            # Face of the seam: the same meridian at both ends, so that the cells close exactly.
            edges[0] = self.lon[0] - 0.5 * gap
            edges[-1] = edges[0] + 360.0
        return edges


def edges_from_centres(centres: ArrayLike) -> FloatArray:
    """Faces midway between points; the two outer faces mirror the first and last spacing.

    Args:
        centres: `(n,)`, n >= 2, strictly monotonic.

    Returns:
        `(n + 1,)` faces.
    """
    c = np.asarray(centres, float)
    if c.ndim != 1 or c.size < 2:
        raise ValueError(f"need a 1-D axis of at least 2 points, got shape {c.shape}")
    middle = 0.5 * (c[1:] + c[:-1])
    return np.concatenate([[2 * c[0] - middle[0]], middle, [2 * c[-1] - middle[-1]]])


def is_periodic(lon: ArrayLike) -> bool:
    """Whether ascending longitudes (degrees) go round the globe with no gap at the seam."""
    lon = np.asarray(lon, float)
    gap = lon[0] + 360.0 - lon[-1]
    return lon.size > 1 and 0.0 < gap <= 1.5 * np.max(np.diff(lon))


def _ascending(name: str, edges: ArrayLike) -> FloatArray:
    e = np.asarray(edges, float)
    if e.ndim != 1 or e.size < 2 or not np.all(np.diff(e) > 0):
        raise ValueError(f"{name} must be a 1-D, strictly ascending array of cell faces (degrees)")
    return e


def _overlap_lat(src: FloatArray, dst: FloatArray) -> sparse.csr_matrix:
    """Overlap of latitude bands, `(n_dst, n_src)`, as differences of sin(lat)."""
    s, d = (np.sin(np.deg2rad(np.clip(e, -90.0, 90.0))) for e in (src, dst))
    width = np.minimum(d[1:, None], s[None, 1:]) - np.maximum(d[:-1, None], s[None, :-1])
    return sparse.csr_matrix(np.maximum(width, 0.0))


def _overlap_lon(src: FloatArray, dst: FloatArray) -> sparse.csr_matrix:
    """Overlap of longitude sectors modulo 360, `(n_dst, n_src)`, in radians."""
    first = int(np.floor((dst[0] - src[-1]) / 360.0))
    last = int(np.ceil((dst[-1] - src[0]) / 360.0))
    total = np.zeros((dst.size - 1, src.size - 1))
    for turn in range(first, last + 1):
        s = src + 360.0 * turn
        width = np.minimum(dst[1:, None], s[None, 1:]) - np.maximum(dst[:-1, None], s[None, :-1])
        total += np.maximum(width, 0.0)
    return sparse.csr_matrix(np.deg2rad(total))


def _overlap_plain(src: FloatArray, dst: FloatArray) -> sparse.csr_matrix:
    """Overlap of intervals on a line, `(n_dst, n_src)`."""
    width = np.minimum(dst[1:, None], src[None, 1:]) - np.maximum(dst[:-1, None], src[None, :-1])
    return sparse.csr_matrix(np.maximum(width, 0.0))


def _apply(wy: sparse.csr_matrix, wx: sparse.csr_matrix, field: FloatArray) -> FloatArray:
    """`wy @ field @ wx.T` on the last two axes."""
    lead = field.shape[:-2]
    flat = field.reshape(-1, *field.shape[-2:])
    out = np.stack([(wx @ (wy @ level).T).T for level in flat])
    return out.reshape(*lead, wy.shape[0], wx.shape[0])


def conservative_average(
    values: ArrayLike,
    src_lat_edges: ArrayLike,
    src_lon_edges: ArrayLike,
    dst_lat_edges: ArrayLike,
    dst_lon_edges: ArrayLike,
    weights: ArrayLike | None = None,
    plane: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """First-order conservative area average between rectilinear latitude-longitude grids.

    The mean of a target cell is the integral of the source, constant in each source cell, over
    the part of the target cell that valid source cells cover, divided by the area of that part
    (Jones 1999, doi:10.1175/1520-0493(1999)127<2204:FASOCR>2.0.CO;2, first-order scheme). On such
    grids the overlap area is a product, (sin(lat) overlap) x (lon overlap), so two sparse 1-D
    matrices do all the work. Longitudes are periodic: either grid may start at any meridian.

    Args:
        values: `(..., n_lat, n_lon)` source cell means; NaN = missing.
        src_lat_edges: `(n_lat + 1,)` source faces, degrees, ascending.
        src_lon_edges: `(n_lon + 1,)` source faces, degrees, ascending, span <= 360.
        dst_lat_edges: `(m_lat + 1,)` target faces, degrees, ascending.
        dst_lon_edges: `(m_lon + 1,)` target faces, degrees, ascending, span <= 360.
        weights: Weight of each source cell beside its area (for instance its ocean fraction),
            broadcastable to `values`, >= 0. Default 1.
        plane: Faces are those of y and x on a plane.

    Returns:
        `(mean, covered_fraction)`, both `(..., m_lat, m_lon)`: the weighted mean (NaN where
        nothing covers the cell) and the weighted covered area over the area of the target cell.
        `sum(mean * covered_fraction * area)` is the integral of the source over the target grid.

    Raises:
        ValueError: Faces not ascending, a span above 360 degrees, or shapes that do not match.
    """
    v = np.asarray(values, float)
    src_lat, src_lon = (
        _ascending("src_lat_edges", src_lat_edges),
        _ascending("src_lon_edges", src_lon_edges),
    )
    dst_lat, dst_lon = (
        _ascending("dst_lat_edges", dst_lat_edges),
        _ascending("dst_lon_edges", dst_lon_edges),
    )
    if v.shape[-2:] != (src_lat.size - 1, src_lon.size - 1):
        raise ValueError(
            f"values have shape {v.shape}, but the source faces describe "
            f"(..., {src_lat.size - 1}, {src_lon.size - 1}) cells"
        )
    for name, lon in (("src_lon_edges", src_lon), ("dst_lon_edges", dst_lon)):
        if lon[-1] - lon[0] > 360.0 + 1e-6 and not plane:
            raise ValueError(
                f"{name} span {lon[-1] - lon[0]:.4f} degrees: drop the repeated "
                "column of the grid, cells may not be counted twice"
            )
    if plane:
        wy, wx = _overlap_plain(src_lat, dst_lat), _overlap_plain(src_lon, dst_lon)
        area = np.diff(dst_lat)[:, None] * np.diff(dst_lon)
    else:
        wy, wx = _overlap_lat(src_lat, dst_lat), _overlap_lon(src_lon, dst_lon)
        area = np.diff(np.sin(np.deg2rad(np.clip(dst_lat, -90, 90))))[:, None] * np.deg2rad(
            np.diff(dst_lon)
        )
    w = np.isfinite(v) * (1.0 if weights is None else np.asarray(weights, float))
    total = _apply(wy, wx, np.where(w > 0, v, 0.0) * w)
    cover = _apply(wy, wx, w)
    # Slivers of relative size 1e-12 are round-off of coincident faces, not coverage.
    wet = cover > 1e-12 * area
    mean = np.where(wet, total / np.where(wet, cover, 1.0), np.nan)
    return mean, np.where(wet, cover / area, 0.0)


def _bracket_line(
    src: FloatArray, target: FloatArray, past: float = 1.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Lower index, upper index and upper weight; constant up to `past` spacings beyond the ends."""
    j = np.clip(np.searchsorted(src, target, side="right") - 1, 0, src.size - 2)
    weight = (target - src[j]) / (src[j + 1] - src[j])
    outside = (weight < -past - 1e-9) | (weight > 1.0 + past + 1e-9)
    return j, j + 1, np.where(outside, np.nan, np.clip(weight, 0.0, 1.0))


def _bracket_lon(src: FloatArray, target: FloatArray) -> tuple[NDArray, NDArray, NDArray]:
    """Like `_bracket_line` modulo 360; a region ends half a spacing beyond its points."""
    if not is_periodic(src):
        first = src[0] - 0.5 * (src[1] - src[0])
        return _bracket_line(src, first + np.mod(target - first + 1e-9, 360.0) - 1e-9, 0.5)
    x = src[0] + np.mod(target - src[0], 360.0)
    i = np.clip(np.searchsorted(src, x, side="right") - 1, 0, src.size - 1)
    nxt = (i + 1) % src.size
    step = np.where(i + 1 < src.size, src[nxt] - src[i], src[nxt] + 360.0 - src[i])
    return i, nxt, (x - src[i]) / step


def bilinear(
    values: ArrayLike,
    src_lat: ArrayLike,
    src_lon: ArrayLike,
    dst_lat: ArrayLike,
    dst_lon: ArrayLike,
    min_weight: float = 1e-6,
    plane: bool = False,
) -> FloatArray:
    """Bilinear interpolation from a rectilinear grid to any points, periodic in longitude.

    Missing corners are left out and the weights of the others renormalised. Past the first and
    the last row values are constant for up to one row spacing (the polar caps), then NaN; a
    source that does not go round the globe gives NaN beyond half a spacing outside its longitudes.

    Args:
        values: `(..., n_lat, n_lon)`; NaN = missing.
        src_lat: `(n_lat,)` degrees, strictly ascending.
        src_lon: `(n_lon,)` degrees, strictly ascending, span < 360.
        dst_lat: Degrees, any shape (2-D for a curvilinear grid).
        dst_lon: Degrees, same shape.
        min_weight: Least weight of valid corners (0 to 1) for which a value is given.
        plane: Positions are y and x on a plane, where a source ends half a spacing outside.

    Returns:
        `(..., *dst_lat.shape)`; NaN where no value can be given.

    Raises:
        ValueError: Axes not ascending or shapes that do not match.
    """
    v = np.asarray(values, float)
    lat, lon = _ascending("src_lat", src_lat), _ascending("src_lon", src_lon)
    y, x = np.asarray(dst_lat, float), np.asarray(dst_lon, float)
    if v.shape[-2:] != (lat.size, lon.size):
        raise ValueError(f"values have shape {v.shape}, axes say (..., {lat.size}, {lon.size})")
    if y.shape != x.shape:
        raise ValueError(f"dst_lat {y.shape} and dst_lon {x.shape} must have one shape")
    if lon[-1] - lon[0] >= 360.0 - 1e-6 and not plane:
        raise ValueError("src_lon spans 360 degrees or more: drop the repeated column")
    j0, j1, wy = _bracket_line(lat, y, 0.5 if plane else 1.0)
    i0, i1, wx = _bracket_line(lon, x, 0.5) if plane else _bracket_lon(lon, x)
    outside = np.isnan(wy) | np.isnan(wx)
    wy, wx = np.where(outside, 0.0, wy), np.where(outside, 0.0, wx)
    total = np.zeros(v.shape[:-2] + y.shape)
    cover = np.zeros_like(total)
    for j, i, w in (
        (j0, i0, (1 - wy) * (1 - wx)),
        (j0, i1, (1 - wy) * wx),
        (j1, i0, wy * (1 - wx)),
        (j1, i1, wy * wx),
    ):
        corner = v[..., j, i]
        valid = np.isfinite(corner)
        total += np.where(valid, corner, 0.0) * w
        cover += valid * w
    good = (cover >= min_weight) & ~outside
    return np.where(good, total / np.where(good, cover, 1.0), np.nan)


def unit_vectors(lat: ArrayLike, lon: ArrayLike) -> FloatArray:
    """Points on the unit sphere, `(..., 3)`, of latitudes and longitudes in degrees."""
    y, x = np.deg2rad(np.asarray(lat, float)), np.deg2rad(np.asarray(lon, float))
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def nearest(points: ArrayLike) -> cKDTree:
    """A tree of points `(n, dimensions)` whose `query` finds the nearest of them."""
    # It takes long to load, and files on the model's own or on regular axes do without.
    from scipy.spatial import cKDTree

    return cKDTree(points)


def nearest_fill(values: ArrayLike, known: ArrayLike, points: ArrayLike) -> FloatArray:
    """Give every point of one field the value of the nearest known point on the sphere.

    Args:
        values: `(ny, nx)`.
        known: `(ny, nx)` bool.
        points: `(ny, nx, 3)` from `unit_vectors`.
    """
    v, known, points = np.asarray(values, float), np.asarray(known, bool), np.asarray(points)
    if not known.any():
        raise ValueError("no known value to fill from: the field is missing everywhere")
    _, index = nearest(points[known]).query(points[~known])
    out = v.copy()
    out[~known] = v[known][index]
    return out


def _smooth_unknown(field: FloatArray, known: FloatArray, sweeps: int) -> FloatArray:
    """Jacobi sweeps of Laplace's equation on the unknown points, periodic in x."""
    for _ in range(sweeps):
        north = np.concatenate([field[1:], field[-1:]])
        south = np.concatenate([field[:1], field[:-1]])
        mean = 0.25 * (north + south + np.roll(field, 1, -1) + np.roll(field, -1, -1))
        field = np.where(known, field, mean)
    return field


def fill_missing(
    values: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    lat: ArrayLike | None = None,
    lon: ArrayLike | None = None,
    sweeps: int = 40,
) -> FloatArray:
    """Fill gaps of global fields: nearest known point on the sphere, then Laplace smoothing.

    Known values are kept to the bit; filled ones stay within the range of the known ones
    (every step is an average), each 2-D field for itself.

    Args:
        values: `(..., n_lat, n_lon)`; NaN = missing.
        mask: True where a value is to be kept, broadcastable to `values`; default: where finite.
            A point that is NaN is filled whatever the mask says.
        lat: `(n_lat,)` degrees; default: a uniform global grid of cell centres.
        lon: `(n_lon,)` degrees; default: likewise.
        sweeps: Jacobi sweeps on the filled points (0: nearest neighbour only).

    Raises:
        ValueError: A 2-D field with no known value at all.
    """
    v = np.asarray(values, float)
    ny, nx = v.shape[-2:]
    lat = -90.0 + 180.0 / ny * (np.arange(ny) + 0.5) if lat is None else np.asarray(lat, float)
    lon = 360.0 / nx * (np.arange(nx) + 0.5) if lon is None else np.asarray(lon, float)
    known = np.isfinite(v) if mask is None else np.isfinite(v) & np.asarray(mask, bool)
    points = unit_vectors(*np.meshgrid(lat, lon, indexing="ij"))
    flat, flat_known = v.reshape(-1, ny, nx), known.reshape(-1, ny, nx)
    filled = [
        _smooth_unknown(nearest_fill(f, k, points), k, sweeps) for f, k in zip(flat, flat_known)
    ]
    return np.stack(filled).reshape(v.shape)


def _interp_columns(v: FloatArray, src: FloatArray, dst: FloatArray) -> FloatArray:
    """:func:`interp_depth` to depths that differ from column to column."""
    k = np.clip(np.searchsorted(src, dst, side="right") - 1, 0, src.size - 2)
    w = np.clip((dst - src[k]) / (src[k + 1] - src[k]), 0.0, 1.0)
    take = lambda n: np.take_along_axis(v, np.broadcast_to(n, (*v.shape[:-3], *n.shape)), axis=-3)
    lower, upper = take(k), take(k + 1)
    return np.where(w == 0.0, lower, np.where(w == 1.0, upper, (1 - w) * lower + w * upper))


def interp_depth(values: ArrayLike, src_z: ArrayLike, dst_z: ArrayLike) -> FloatArray:
    """Linear interpolation in depth, constant above the first and below the last level.

    Args:
        values: `(..., n, ny, nx)`, the depth axis third from the end.
        src_z: `(n,)` depths of the levels (m, positive down), strictly ascending.
        dst_z: `(m,)` wanted depths (m, positive down), any order; or `(m, ny, nx)`, of every
            column its own.

    Returns:
        `(..., m, ny, nx)`. NaN in a level that takes part gives NaN.

    Raises:
        ValueError: `src_z` not ascending or not the length of the depth axis.
    """
    v, src, dst = np.asarray(values, float), np.asarray(src_z, float), np.asarray(dst_z, float)
    if v.ndim < 3 or v.shape[-3] != src.size:
        raise ValueError(
            f"values of shape {v.shape} have no depth axis of {src.size} levels third from the end"
        )
    if np.any(np.diff(src) <= 0):
        raise ValueError("src_z must be strictly ascending depths (m, positive down)")
    if src.size == 1:
        return np.repeat(v, len(dst), axis=-3)
    if dst.ndim == 3:
        return _interp_columns(v, src, dst)
    k = np.clip(np.searchsorted(src, dst, side="right") - 1, 0, src.size - 2)
    w = np.clip((dst - src[k]) / (src[k + 1] - src[k]), 0.0, 1.0)[:, None, None]
    lower, upper = v[..., k, :, :], v[..., k + 1, :, :]
    # A weight of exactly 0 must not let a NaN of the other level through.
    return np.where(w == 0.0, lower, np.where(w == 1.0, upper, (1 - w) * lower + w * upper))
