"""From an elevation data set to the wet cells of a model grid (plain numpy, before step 0).

Depths are metres, positive down, 0 on land, `(ny, nx)`; neighbours are those across the faces of
the C grid, because water moves through faces only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csgraph

FloatArray = NDArray[np.floating]


class Elevation(Protocol):
    """What `model_depth` needs of its source; `dogcm.io.regrid.GriddedVariable` has it."""

    values: FloatArray

    @property
    def lat_edges(self) -> FloatArray: ...

    @property
    def lon_edges(self) -> FloatArray: ...


def model_depth(
    elevation: Elevation,
    mean: Callable[[FloatArray], FloatArray],
    *,
    min_ocean_fraction: float = 0.5,
    mean_over: str = "wet",
    min_depth: float = 0.0,
    max_depth: float | None = None,
) -> FloatArray:
    """Depth of a model grid by averaging the ocean depth over its cells.

    Args:
        elevation: Height above sea level (m, positive up) with `values (n_lat, n_lon)`,
            `lat_edges` and `lon_edges` (degrees); below zero is ocean, NaN is no data.
        mean: Function that gives the means `(ny, nx)` over the model's cells of a field `(n_lat,
            n_lon)`, NaN left out.
        min_ocean_fraction: Least share of ocean in the covered area of a wet cell (0 to 1).
        mean_over: "wet": mean depth of the ocean part (keeps depth at coasts);
            "cell": that mean times the ocean fraction (keeps the volume of wet cells).
        min_depth: Shallower wet cells are deepened to this depth (m).
        max_depth: Deeper cells are cut at this depth (m), the bottom of the model grid.

    Returns:
        `(ny, nx)` depth (m, positive), 0 on land and where there are no data.

    Raises:
        ValueError: An unknown `mean_over`, a fraction outside 0 to 1, or unfit edges.
    """
    if mean_over not in ("wet", "cell"):
        raise ValueError(f"mean_over is '{mean_over}': use 'wet' or 'cell'")
    if not 0.0 <= min_ocean_fraction <= 1.0:
        raise ValueError(f"min_ocean_fraction is {min_ocean_fraction}: use 0 to 1")
    z = np.asarray(elevation.values, float)
    wet = np.where(np.isfinite(z), (z < 0.0).astype(float), np.nan)
    fraction, depth = mean(wet), mean(np.where(z < 0.0, -z, np.nan))
    ocean = np.nan_to_num(fraction) >= max(min_ocean_fraction, 1e-12)
    if mean_over == "cell":
        depth = depth * fraction
    depth = np.clip(depth, min_depth, np.inf if max_depth is None else max_depth)
    return np.where(ocean, np.nan_to_num(depth), 0.0)


def remove_lakes(
    depth: ArrayLike,
    periodic_x: bool = True,
    seeds: str | Sequence[tuple[int, int]] = "largest",
    north_fold: bool = False,
) -> FloatArray:
    """Turn all water that is not connected to the ocean through cell faces into land.

    Args:
        depth: `(ny, nx)` m, 0 on land.
        periodic_x: Whether the last column is the western neighbour of the first.
        seeds: "largest": keep the body with the most cells; or indices `(j, i)` of wet cells
            whose bodies are kept.
        north_fold: Whether the last row is folded onto itself (see `dogcm.decomp.fold`).

    Raises:
        ValueError: A seed on land or an unknown word for `seeds`.
    """
    depth = np.array(depth, float)
    labels, count = label_basins(depth > 0.0, periodic_x, north_fold)
    if count == 0:
        return depth
    if isinstance(seeds, str):
        if seeds != "largest":
            raise ValueError(f"seeds is '{seeds}': use 'largest' or a list of (j, i) wet cells")
        keep = [1 + int(np.argmax(np.bincount(labels.ravel(), minlength=count + 1)[1:]))]
    else:
        keep = [int(labels[j, i]) for j, i in seeds]
        dry = [tuple(s) for s, label in zip(seeds, keep) if label == 0]
        if dry:
            raise ValueError(f"seeds {dry} (j, i) lie on land: give wet cells of the ocean")
    return np.where(np.isin(labels, keep), depth, 0.0)


def label_basins(
    wet: ArrayLike, periodic_x: bool = True, north_fold: bool = False
) -> tuple[NDArray[np.intp], int]:
    """Number the bodies of water that are connected through faces.

    Args:
        wet: `(..., ny, nx)` bool; axes before the last two (levels) have ends.
        periodic_x: Whether the last column is the western neighbour of the first.
        north_fold: Whether the last row meets itself, mirrored.

    Returns:
        `(labels, count)`: 0 on land, else 1 to `count`, in the order of their first cells.
    """
    wet = np.asarray(wet, bool)
    labels = np.zeros(wet.shape, np.intp)
    if not wet.any():
        return labels, 0
    cell = np.cumsum(wet).reshape(wet.shape) - 1
    sides = [(_all_but(wet, a, -1), _all_but(wet, a, 0)) for a in range(wet.ndim)]
    if periodic_x:
        sides.append((np.s_[..., -1], np.s_[..., 0]))
    if north_fold:
        sides.append((np.s_[..., -1, :], np.s_[..., -1, ::-1]))
    pairs = []
    for one, other in sides:
        both = wet[one] & wet[other]
        pairs.append(np.stack([cell[one][both], cell[other][both]]))
    first, second = np.concatenate(pairs, axis=1)
    count = int(wet.sum())
    faces = sparse.coo_array((np.ones(first.size, bool), (first, second)), (count, count))
    number, found = csgraph.connected_components(faces, directed=False)
    labels[wet] = found + 1
    return labels, int(number)


def _all_but(array: np.ndarray, axis: int, end: int) -> tuple[slice, ...]:
    """Index of all but the first (0) or the last (-1) place along an axis."""
    keep = slice(1, None) if end == 0 else slice(None, -1)
    return (slice(None),) * axis + (keep,)


def _neighbours(field: FloatArray, periodic_x: bool, north_fold: bool = False) -> FloatArray:
    """Values across the four faces, `(4, ny, nx)`; closed walls count as 0."""
    padded = np.pad(field, ((1, 1), (0, 0)))
    if north_fold:
        padded[-1] = field[-2, ::-1]
    padded = np.pad(padded, ((0, 0), (1, 1)), mode="wrap" if periodic_x else "constant")
    return np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])


def fill_holes(
    depth: ArrayLike,
    z_edges: ArrayLike,
    periodic_x: bool = True,
    min_wet_neighbours: int = 1,
    north_fold: bool = False,
) -> FloatArray:
    """Raise one-cell holes of the sea floor, which no horizontal flow can reach.

    A cell whose bottom lies in a deeper level than that of each of its four neighbours is raised
    to the deepest neighbour. Repeated until nothing changes (depths only fall, so it ends).

    Args:
        depth: `(ny, nx)` m, 0 on land.
        z_edges: `(nz + 1,)` depths of the level interfaces (m), ascending from 0.
        periodic_x: Whether the last column is the western neighbour of the first.
        min_wet_neighbours: Wet cells with fewer wet neighbours become land: 1 closes lone
            cells, 2 also one-cell inlets, 0 nothing beyond the raising.
    """
    depth, edges = np.array(depth, float), np.asarray(z_edges, float)
    while True:
        around = _neighbours(depth, periodic_x, north_fold)
        deepest = around.max(axis=0)
        # Level number of the bottom: edges[k-1] < depth <= edges[k] gives k, land gives 0.
        level, level_around = (np.searchsorted(edges, d, side="left") for d in (depth, deepest))
        new = np.where(level > level_around, deepest, depth)
        # A lone cell has no wet neighbour to be raised to: whether it stays is the option's say.
        new = np.where(deepest == 0.0, depth, new)
        new = np.where((around > 0).sum(axis=0) < min_wet_neighbours, 0.0, new)
        if np.array_equal(new, depth):
            return depth
        depth = new


def _box(edit: dict[str, Any], number: int, lat: FloatArray, lon: FloatArray) -> NDArray[np.bool_]:
    """Cells whose centre lies in the box of one edit, `(ny, nx)`."""
    unknown = set(edit) - {"lat", "lon", "depth", "name"}
    missing = {"lat", "lon", "depth"} - set(edit)
    label = f"strait edit {number} ({edit.get('name', 'no name')})"
    if unknown or missing:
        raise ValueError(
            f"{label}: unknown keys {sorted(unknown)}, missing keys "
            f"{sorted(missing)}; use lat: [south, north], lon: [west, east], depth"
        )
    south, north = sorted(edit["lat"])
    west, east = edit["lon"]
    span = east - west if 0.0 < east - west <= 360.0 else (east - west) % 360.0
    in_lon = np.mod(lon - west, 360.0) <= span
    inside = (lat >= south) & (lat <= north) & in_lon
    if not inside.any():
        raise ValueError(
            f"{label}: no cell centre lies in lat {edit['lat']}, lon {edit['lon']}; "
            "widen the box to the model's grid"
        )
    if not float(edit["depth"]) >= 0.0:
        raise ValueError(f"{label}: depth {edit['depth']} must be >= 0 (m, positive down)")
    return inside


def edit_straits(
    depth: ArrayLike, edits: Sequence[dict[str, Any]], lat: ArrayLike, lon: ArrayLike
) -> FloatArray:
    """Open or close straits that a coarse grid gets wrong, in the order of the list.

    Args:
        depth: `(ny, nx)` m, 0 on land.
        edits: Dicts `{lat: [south, north], lon: [west, east], depth: metres, name: optional}`:
            every cell whose centre lies in the box gets this depth; 0 closes. A box may cross
            any meridian (`lon: [350, 10]`).
        lat: Latitudes of the cell centres (degrees), `(ny,)` or `(ny, nx)`.
        lon: Longitudes (degrees), `(nx,)` or `(ny, nx)`.

    Raises:
        ValueError: Unknown or missing keys, a negative depth, a box without a cell centre.
    """
    depth = np.array(depth, float)
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    lat = np.broadcast_to(lat[:, None] if lat.ndim == 1 else lat, depth.shape)
    lon = np.broadcast_to(lon, depth.shape)
    for number, edit in enumerate(edits):
        inside = _box(edit, number, lat, lon)
        depth[inside] = float(edit["depth"])
    return depth


def vertical_cells(
    depth: ArrayLike, dz: ArrayLike, min_fraction: float = 0.05, min_thickness: float = 50.0
) -> FloatArray:
    """Thickness of the cells with partial bottom cells, by MITgcm's rule.

    The open fraction of a level is `h = clip((depth - z_top) / dz, 0, 1)`. With the least
    fraction `m = max(min_fraction, min(min_thickness / dz, 1))`, an `h < m` becomes 0 below
    `m / 2` and `m` above (Adcroft et al. 1997, doi:10.1175/1520-0493(1997)125<2293:ROTBSC>2.0.CO;2;
    hFacMin and hFacMinDr of MITgcm).

    Args:
        depth: `(ny, nx)` m, positive, 0 on land.
        dz: `(nz,)` nominal level thickness (m), from the surface down.
        min_fraction: Least open fraction of a wet cell (hFacMin).
        min_thickness: Least thickness of a wet cell (m), but no more than its level (hFacMinDr).

    Returns:
        `(nz, ny, nx)` thickness (m), 0 where dry.

    Raises:
        ValueError: Negative depths or thicknesses.
    """
    depth, dz = np.asarray(depth, float), np.asarray(dz, float)
    if np.any(~np.isfinite(depth)) or np.any(depth < 0):
        raise ValueError("depth must be finite and >= 0 (m, positive down, 0 on land)")
    if np.any(dz <= 0):
        raise ValueError("dz must be positive (m)")
    top = np.concatenate([[0.0], np.cumsum(dz)[:-1]])[:, None, None]
    dz = dz[:, None, None]
    fraction = np.clip((depth - top) / dz, 0.0, 1.0)
    least = np.maximum(min_fraction, np.minimum(min_thickness / dz, 1.0))
    fraction = np.where(fraction < least, np.where(fraction < 0.5 * least, 0.0, least), fraction)
    return fraction * dz
