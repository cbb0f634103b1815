"""Read gridded CF data and move it between grids, on plain numpy arrays.

The model never reads a file by itself: this module turns any rectilinear CF netCDF into a
`GriddedVariable` with known axes and offers the few interpolations that forcing, initial state
and bathymetry need. Latitudes and longitudes are in degrees, depths in metres (positive down),
missing values are NaN. Horizontal axes are always the last two, `(..., lat, lon)`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial import cKDTree

FloatArray = NDArray[np.floating]

#: Magnitudes above this are never geophysical: fill values that a file forgot to declare.
UNDECLARED_FILL = 1e19
#: Density (kg m-3) that turns a volume flux of fresh water into a mass flux.
FRESH_WATER_DENSITY = 1000.0
ZERO_CELSIUS = 273.15

_AXIS_NAMES = {
    "lat": ("lat", "latitude", "nav_lat", "y"),
    "lon": ("lon", "longitude", "nav_lon", "x"),
    "depth": ("depth", "lev", "level", "deptht", "z", "st_ocean", "z_t"),
    "time": ("time", "month", "t", "time_counter"),
}
_AXIS_LETTER = {"Y": "lat", "X": "lon", "Z": "depth", "T": "time"}
_AXIS_STANDARD = {
    "latitude": "lat",
    "grid_latitude": "lat",
    "longitude": "lon",
    "grid_longitude": "lon",
    "depth": "depth",
    "height": "depth",
    "altitude": "depth",
    "time": "time",
}
_LENGTH = {"m": 1.0, "cm": 0.01, "km": 1000.0, "mm": 0.001}
_ORDER = ("time", "depth", "lat", "lon")


@dataclass(frozen=True)
class GriddedVariable:
    """One variable on a rectilinear latitude-longitude grid.

    Attributes:
        values: `([time,] [depth,] lat, lon)`, float64, NaN where missing.
        lat: Latitudes of the points (degrees north), ascending.
        lon: Longitudes of the points (degrees east), ascending within [0, 360).
        depth: Depths of the levels (m, positive down, ascending), or None.
        time: Time axis as stored (its unit is `time_unit`; 1, 2, ... where a record axis has no
            coordinate), or None.
        unit: Unit of `values` as the file spells it ("" where it gives none).
        name: Name of the variable in the file.
        path: The file.
        time_unit: Unit of `time` as the file spells it.
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

    @property
    def lat_edges(self) -> FloatArray:
        """Latitudes of the cell faces, midway between the points, within [-90, 90]."""
        return np.clip(edges_from_centres(self.lat), -90.0, 90.0)

    @property
    def lon_edges(self) -> FloatArray:
        """Longitudes of the cell faces, midway between the points; spans at most 360 degrees."""
        edges = edges_from_centres(self.lon)
        gap = self.lon[0] + 360.0 - self.lon[-1]
        if is_periodic(self.lon):
            # Face of the seam: the same meridian at both ends, so that the cells close exactly.
            edges[0] = self.lon[0] - 0.5 * gap
            edges[-1] = edges[0] + 360.0
        return edges

    def to_unit(self, wanted: str) -> GriddedVariable:
        """The same variable in another unit; see `to_unit`."""
        try:
            return replace(self, values=to_unit(self.values, self.unit, wanted), unit=wanted)
        except ValueError as error:
            raise ValueError(f"variable '{self.name}' of {self.path}: {error}") from None


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
        if lon[-1] - lon[0] > 360.0 + 1e-6:
            raise ValueError(
                f"{name} span {lon[-1] - lon[0]:.4f} degrees: drop the repeated "
                "column of the grid, cells may not be counted twice"
            )
    wy, wx = _overlap_lat(src_lat, dst_lat), _overlap_lon(src_lon, dst_lon)
    w = np.isfinite(v) * (1.0 if weights is None else np.asarray(weights, float))
    total = _apply(wy, wx, np.where(w > 0, v, 0.0) * w)
    cover = _apply(wy, wx, w)
    area = np.diff(np.sin(np.deg2rad(np.clip(dst_lat, -90, 90))))[:, None] * np.deg2rad(
        np.diff(dst_lon)
    )
    # Slivers of relative size 1e-12 are round-off of coincident faces, not coverage.
    wet = cover > 1e-12 * area
    mean = np.where(wet, total / np.where(wet, cover, 1.0), np.nan)
    return mean, np.where(wet, cover / area, 0.0)


def _bracket_lat(src: FloatArray, target: FloatArray) -> tuple[NDArray, NDArray, NDArray]:
    """Lower index, upper index and upper weight; constant up to one spacing past the ends."""
    j = np.clip(np.searchsorted(src, target, side="right") - 1, 0, src.size - 2)
    weight = (target - src[j]) / (src[j + 1] - src[j])
    weight = np.where((weight < -1.0) | (weight > 2.0), np.nan, np.clip(weight, 0.0, 1.0))
    return j, j + 1, weight


def _bracket_lon(src: FloatArray, target: FloatArray) -> tuple[NDArray, NDArray, NDArray]:
    """Like `_bracket_lat` modulo 360; a regional source gives NaN outside its points."""
    x = src[0] + np.mod(target - src[0], 360.0)
    i = np.clip(np.searchsorted(src, x, side="right") - 1, 0, src.size - 1)
    periodic = is_periodic(src)
    nxt = (i + 1) % src.size
    step = np.where(i + 1 < src.size, src[nxt] - src[i], src[nxt] + 360.0 - src[i])
    weight = (x - src[i]) / step
    if not periodic:
        weight = np.where((i + 1 == src.size) & (x > src[-1]), np.nan, weight)
    return i, nxt, weight


def bilinear(
    values: ArrayLike,
    src_lat: ArrayLike,
    src_lon: ArrayLike,
    dst_lat: ArrayLike,
    dst_lon: ArrayLike,
    min_weight: float = 1e-6,
) -> FloatArray:
    """Bilinear interpolation from a rectilinear grid to any points, periodic in longitude.

    Missing corners are left out and the weights of the others renormalised. Past the first and
    the last row values are constant for up to one row spacing (the polar caps), then NaN; a
    source that does not go round the globe gives NaN outside its longitudes.

    Args:
        values: `(..., n_lat, n_lon)`; NaN = missing.
        src_lat: `(n_lat,)` degrees, strictly ascending.
        src_lon: `(n_lon,)` degrees, strictly ascending, span < 360.
        dst_lat: Degrees, any shape (2-D for a curvilinear grid).
        dst_lon: Degrees, same shape.
        min_weight: Least weight of valid corners (0 to 1) for which a value is given.

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
    if lon[-1] - lon[0] >= 360.0 - 1e-6:
        raise ValueError("src_lon spans 360 degrees or more: drop the repeated column")
    j0, j1, wy = _bracket_lat(lat, y)
    i0, i1, wx = _bracket_lon(lon, x)
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
    _, index = cKDTree(points[known]).query(points[~known])
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


def interp_depth(values: ArrayLike, src_z: ArrayLike, dst_z: ArrayLike) -> FloatArray:
    """Linear interpolation in depth, constant above the first and below the last level.

    Args:
        values: `(..., n, ny, nx)`, the depth axis third from the end.
        src_z: `(n,)` depths of the levels (m, positive down), strictly ascending.
        dst_z: `(m,)` wanted depths (m, positive down), any order.

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
        return np.repeat(v, dst.size, axis=-3)
    k = np.clip(np.searchsorted(src, dst, side="right") - 1, 0, src.size - 2)
    w = np.clip((dst - src[k]) / (src[k + 1] - src[k]), 0.0, 1.0)[:, None, None]
    lower, upper = v[..., k, :, :], v[..., k + 1, :, :]
    # A weight of exactly 0 must not let a NaN of the other level through.
    return np.where(w == 0.0, lower, np.where(w == 1.0, upper, (1 - w) * lower + w * upper))


def _kelvin(to_kelvin: bool) -> Callable[[FloatArray], FloatArray]:
    shift = ZERO_CELSIUS if to_kelvin else -ZERO_CELSIUS
    return lambda values: values + shift


#: Spellings of a unit, its family and its factor to the family's first unit.
_UNITS: dict[str, tuple[str, float]] = {
    **{
        u: ("temperature_c", 1.0)
        for u in (
            "degc",
            "deg_c",
            "degree_c",
            "degrees_c",
            "celsius",
            "degree_celsius",
            "degrees_celsius",
            "c",
            "deg_celsius",
        )
    },
    **{
        u: ("temperature_k", 1.0) for u in ("k", "kelvin", "degk", "degree_k", "deg_k", "degrees_k")
    },
    **{u: ("length", f) for u, f in _LENGTH.items()},
    **{u: ("length", 1.0) for u in ("meter", "meters", "metre", "metres")},
    **{u: ("pressure", 1.0) for u in ("n m-2", "pa", "pascal", "kg m-1 s-2")},
    **{u: ("pressure", 0.1) for u in ("dyn cm-2", "dyne cm-2", "dynes cm-2")},
    "w m-2": ("heat flux", 1.0),
    **{u: ("water flux", 1.0) for u in ("kg m-2 s-1", "mm s-1")},
    "mm day-1": ("water flux", 1.0 / 86400.0),
    **{u: ("speed", f) for u, f in (("m s-1", 1.0), ("cm s-1", 0.01))},
    **{
        u: ("salinity", 1.0)
        for u in ("g kg-1", "psu", "pss", "pss-78", "pss78", "ppt", "1e-3", "0.001", "1", "g/kg")
    },
    "kg kg-1": ("salinity", 1000.0),
}


def _canonical_unit(unit: str) -> str:
    """'W/m^2', 'W m**-2' and 'W/m2' all become 'w m-2'; 'Deg C' becomes 'deg_c'."""
    u = " ".join(unit.strip().lower().replace("**", "").replace("^", "").split())
    if u.replace(" ", "_") in _UNITS:
        return u.replace(" ", "_")
    head, *below = u.replace(".", " ").split("/") if not u[:1].isdigit() else (u,)
    for part in below:
        for factor in part.split():
            digits = factor.lstrip("abcdefghijklmnopqrstuvwxyz")
            head += f" {factor[: len(factor) - len(digits)]}-{digits or '1'}"
    return " ".join(head.split())


def to_unit(values: ArrayLike, unit: str, wanted: str) -> FloatArray:
    """Convert between the units that ocean files use.

    Known: degC / K, m / cm / mm / km, N m-2 / Pa / dyn cm-2, W m-2, m s-1 / cm s-1,
    kg m-2 s-1 <-> m s-1 of fresh water (1000 kg m-3), and the labels of salinity (g kg-1, psu,
    1, 1e-3: factor 1; no conversion between Practical and Absolute Salinity is made, use gsw).

    Args:
        values: Any shape.
        unit: Unit of `values`, in any common spelling.
        wanted: Unit to convert to.

    Raises:
        ValueError: A unit that is not known, or two that measure different things.
    """
    v = np.asarray(values, float)
    have, want = _canonical_unit(unit), _canonical_unit(wanted)
    if have == want:
        return v
    for spelled, u in ((unit, have), (wanted, want)):
        if u not in _UNITS:
            raise ValueError(
                f"unit '{spelled}' is not known; cannot convert '{unit}' to "
                f"'{wanted}'. Set the units attribute of the file to a CF unit"
            )
    (family, factor), (family_to, factor_to) = _UNITS[have], _UNITS[want]
    if family == family_to:
        return v * (factor / factor_to)
    pair = (family, family_to)
    if pair == ("temperature_c", "temperature_k"):
        return _kelvin(True)(v)
    if pair == ("temperature_k", "temperature_c"):
        return _kelvin(False)(v)
    if pair == ("water flux", "speed"):
        return v * (factor / factor_to / FRESH_WATER_DENSITY)
    if pair == ("speed", "water flux"):
        return v * (factor / factor_to * FRESH_WATER_DENSITY)
    raise ValueError(f"cannot convert '{unit}' ({family}) to '{wanted}' ({family_to})")


def _axis_of(dataset: xr.Dataset, dim: str) -> str | None:
    """Which of lat, lon, depth, time a dimension is: CF attributes first, its name last."""
    attrs = dataset[dim].attrs if dim in dataset.variables else {}
    if str(attrs.get("axis", "")).upper() in _AXIS_LETTER:
        return _AXIS_LETTER[str(attrs["axis"]).upper()]
    if str(attrs.get("standard_name", "")).lower() in _AXIS_STANDARD:
        return _AXIS_STANDARD[str(attrs["standard_name"]).lower()]
    units = str(attrs.get("units", "")).strip().lower()
    if units.startswith(("degrees_n", "degree_n", "degreesn")):
        return "lat"
    if units.startswith(("degrees_e", "degree_e", "degreese")):
        return "lon"
    if " since " in units:
        return "time"
    if "positive" in attrs:
        return "depth"
    for axis, names in _AXIS_NAMES.items():
        if dim.lower() in names:
            return axis
    return None


def _open(path: Path) -> xr.Dataset:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: check the path in the configuration")
    try:
        return xr.open_dataset(path, decode_times=False)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as netCDF ({type(error).__name__}: {error}); it "
            "may be cut short or of another format: get it again, or look at it "
            "with ncdump -h"
        ) from error


def _select(dataset: xr.Dataset, name: str, path: Path) -> xr.DataArray:
    if name in dataset.data_vars:
        return dataset[name]
    have = [str(v) for v in dataset.data_vars]
    near = difflib.get_close_matches(name.lower(), [v.lower() for v in have], cutoff=0.5)
    close = [v for v in have if v.lower() in near]
    hint = f"did you mean {', '.join(close)}? " if close else ""
    raise ValueError(f"{path} has no variable '{name}': {hint}It has {', '.join(have) or 'none'}")


def _identify_axes(dataset: xr.Dataset, array: xr.DataArray, path: Path) -> dict[str, str]:
    """Map axis (lat, lon, depth, time) -> dimension name, refusing what cannot be placed."""
    where = f"variable '{array.name}' of {path}"
    axes: dict[str, str] = {}
    for dim in array.dims:
        axis = _axis_of(dataset, str(dim))
        if axis is None:
            raise ValueError(
                f"{where} has dimension '{dim}', which is none of lat, lon, depth, "
                "time: select one index of it, or give its coordinate CF attributes "
                "(units, axis or standard_name)"
            )
        if axis in axes:
            raise ValueError(
                f"{where}: dimensions '{axes[axis]}' and '{dim}' both look like "
                f"{axis}; correct their CF attributes"
            )
        axes[axis] = str(dim)
    for axis in ("lat", "lon"):
        if axis not in axes:
            raise ValueError(
                f"{where} has dimensions {array.dims}: no {axis} axis found. A "
                "rectilinear (time, depth, lat, lon) field is needed"
            )
        if axes[axis] not in dataset.variables or dataset[axes[axis]].ndim != 1:
            raise ValueError(
                f"{where}: dimension '{axes[axis]}' has no 1-D coordinate; only "
                "rectilinear grids are read"
            )
    return axes


def _coordinate(dataset: xr.Dataset, dim: str, path: Path) -> FloatArray:
    """Coordinate values of a dimension (1, 2, ... where it has none), checked monotonic."""
    if dim not in dataset.variables:
        return np.arange(1.0, dataset.sizes[dim] + 1.0)
    c = np.asarray(dataset[dim].values, float)
    steps = np.diff(c)
    if not np.all(np.isfinite(c)) or not (np.all(steps > 0) or np.all(steps < 0)):
        bad = int(np.argmax(~np.isfinite(c[1:]) | (steps * np.sign(np.nanmedian(steps)) <= 0)))
        raise ValueError(
            f"coordinate '{dim}' of {path} is not strictly monotonic (near index "
            f"{bad}: {c[bad : bad + 2]}); sort or repair the file"
        )
    return c


def _longitudes(dataset: xr.Dataset, dim: str, path: Path) -> tuple[FloatArray, NDArray]:
    """Ascending longitudes in [0, 360) and the order that sorts them; no column twice."""
    raw = np.asarray(dataset[dim].values, float)
    # One jump by a whole turn (180 -> -180) is a matter of notation, not of order.
    jumps = np.flatnonzero(np.abs(np.diff(raw)) > 180.0)
    if jumps.size == 1 and np.all(np.isfinite(raw)):
        raw = raw.copy()
        raw[jumps[0] + 1 :] -= 360.0 * np.sign(raw[jumps[0] + 1] - raw[jumps[0]])
    _coordinate(dataset.assign_coords({dim: raw}), dim, path)
    spacing = float(np.median(np.abs(np.diff(raw)))) if raw.size > 1 else 360.0
    # Rounding noise in a file must not send 360 - 1e-7 to the far end of the axis.
    wrapped = np.mod(raw, 360.0)
    wrapped = np.where(wrapped > 360.0 - 1e-4 * spacing, 0.0, wrapped)
    order = np.argsort(wrapped, kind="stable")
    keep = np.concatenate([[True], np.diff(wrapped[order]) > 1e-3 * spacing])
    return wrapped[order][keep], order[keep]


def _depths(dataset: xr.Dataset, dim: str, path: Path) -> tuple[FloatArray, NDArray]:
    """Depths in metres, positive down and ascending, and the order that sorts them."""
    raw = _coordinate(dataset, dim, path)
    attrs = dataset[dim].attrs if dim in dataset.variables else {}
    unit = str(attrs.get("units", "m"))
    if _UNITS.get(_canonical_unit(unit), ("length",))[0] == "length":
        raw = to_unit(raw, unit, "m")
    if str(attrs.get("positive", "")).lower() == "up" or np.all(raw <= 0):
        raw = -raw
    order = np.argsort(raw)
    return raw[order] + 0.0, order  # + 0.0 turns -0.0 into 0.0


def read_cf(path: str | Path, name: str, *, unit: str | None = None) -> GriddedVariable:
    """Read one variable of a CF netCDF file on a rectilinear latitude-longitude grid.

    Axes are found by their CF attributes (axis, standard_name, units, positive) and, failing
    these, by common names. Latitudes come out ascending, longitudes ascending in [0, 360) (a
    repeated cyclic column is dropped), depths positive down, missing values NaN; a time or month
    axis is kept with all its records.

    Args:
        path: The file.
        name: The variable.
        unit: Unit to convert to (see `to_unit`); default: as stored.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file that is not netCDF, a missing variable (with the close names that are
            there), dimensions that are not (time, depth, lat, lon) or part of it, a coordinate
            that is not monotonic, or a unit that cannot be converted.
    """
    path = Path(path)
    with _open(path) as dataset:
        array = _select(dataset, name, path)
        axes = _identify_axes(dataset, array, path)
        array = array.transpose(*(axes[a] for a in _ORDER if a in axes))
        lat = _coordinate(dataset, axes["lat"], path)
        order = {"lat": np.argsort(lat)}
        lon, order["lon"] = _longitudes(dataset, axes["lon"], path)
        depth = time = None
        if "depth" in axes:
            depth, order["depth"] = _depths(dataset, axes["depth"], path)
        if "time" in axes:
            time = _coordinate(dataset, axes["time"], path)
        try:
            values = np.array(array.values, float)
        except Exception as error:
            raise ValueError(
                f"variable '{name}' of {path} cannot be read ({error}); the file is "
                "damaged or not numeric: get it again"
            ) from error
        time_unit = str(dataset[axes["time"]].attrs.get("units", "")) if time is not None else ""
        stored = str(array.attrs.get("units", ""))
    for axis, index in order.items():
        values = np.take(values, index, axis=[a for a in _ORDER if a in axes].index(axis))
    values[np.abs(values) > UNDECLARED_FILL] = np.nan
    result = GriddedVariable(
        values, np.sort(lat), lon, depth, time, stored, name, str(path), time_unit
    )
    return result if unit is None else result.to_unit(unit)
