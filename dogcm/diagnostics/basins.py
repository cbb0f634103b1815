"""Basins: parts of the ocean, found on any grid by a rule rather than from a map.

The ocean is cut along a few lines (Bering Strait, Central America, Suez, the Indonesian islands,
and the parallel of Africa's southern end) and filled from one point in each basin. Where land
closes a line already, the cut does nothing; at coarse resolution it also closes straits that the
grid leaves open by accident.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from dogcm.diagnostics.sections import SectionError, corners, faces_along

# North of it a basin's overturning is defined: it is closed by land to the west and east.
SOUTHERN_END = -33.5
_CUTS = {
    "Bering Strait": ((172, 66), (199, 66)),
    "Central America": (
        (260, 20),
        (264, 17),
        (270, 15),
        (275, 13),
        (276.5, 10),
        (279.5, 8.7),
        (283, 7.5),
        (286, 4),
    ),
    "Suez": ((30, 29.3), (38, 29.3)),
    "Indonesia": (
        (101, 15),
        (102, 4),
        (104, -3),
        (107, -7),
        (115.3, -8.5),
        (121, -8.7),
        (125.5, -9.2),
        (131, -16),
    ),
    "southern end": tuple((lon, SOUTHERN_END) for lon in range(0, 361, 90)),
}
# Points in open water. A basin is what is connected with one of its points.
_SEEDS = {
    "atlantic": ((-35, 30), (-25, -15), (18, 35), (0, 73)),
    "indian": ((75, -10),),
    "pacific": ((-150, 15), (-110, -20)),
}
# Farther from its point than this (degrees), a basin is not there.
_NEAR = 12.0
BASINS = ("global", "atlantic", "indo_pacific", "indian", "pacific")
DEFAULT = ("global", "atlantic", "indo_pacific")


class BasinError(ValueError):
    """A basin that this grid does not have, or that nobody knows."""


@dataclass(frozen=True)
class Basins:
    """Basins of a global grid, on one rank.

    Attributes:
        names: of the basins found, in the order asked for.
        cells: (basins, ny, nx), whether a column belongs to it.
        faces: (basins, ny, nx), whether its meridional transport counts what crosses the column's
            south face.
    """

    names: tuple[str, ...]
    cells: np.ndarray
    faces: np.ndarray


def check_basins(names) -> None:
    """Refuse unknown names.

    Raises:
        BasinError: with the nearest known names.
    """
    for name in names:
        if name not in BASINS:
            close = difflib.get_close_matches(name, BASINS, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(BASINS)}"
            raise BasinError(f"unknown basin {name!r}; {hint}")


def find_basins(horizontal, wet: np.ndarray, names=None) -> Basins:
    """The basins of a grid.

    Args:
        horizontal: the horizontal grid. wet: (ny, nx), whether a column holds water.
        names: some of :data:`BASINS`; None: those of :data:`DEFAULT` that the grid has (``global``
            it always has).

    Raises:
        BasinError: unknown name, or a basin that the grid does not have.
    """
    wet = np.asarray(wet) > 0
    check_basins(names or ())
    found, row = _fill(horizontal, wet) if horizontal.spherical else ({}, None)
    found["global"] = wet
    chosen = [n for n in DEFAULT if n in found] if names is None else list(names)
    for name in chosen:
        if name not in found:
            raise BasinError(
                f"this grid has no basin {name!r} that land and the usual lines close off: it has "
                f"{', '.join(found)}"
            )
    cells = np.stack([found[n] for n in chosen])
    return Basins(tuple(chosen), cells, np.stack([_south_faces(c, wet, row) for c in cells]))


# ---- parts
def _fill(horizontal, wet: np.ndarray) -> tuple[dict[str, np.ndarray], int | None]:
    """Basins by name, and the row whose south faces are their southern end."""
    open_u, open_v = open_faces(horizontal, wet)
    for name, points in _CUTS.items():
        try:
            faces = faces_along(horizontal, points, name)
        except SectionError:
            continue  # a region without this line
        for at, j, i, _ in faces:
            (open_u if at == "u" else open_v)[j, i] = False
    label = _components(wet, open_u, open_v, horizontal.north_fold)
    groups = {name: _labels_near(horizontal, wet, label, seeds) for name, seeds in _SEEDS.items()}
    masks = {name: np.isin(label, list(group)) for name, group in groups.items() if group}
    if groups["atlantic"] & (groups["indian"] | groups["pacific"]):
        return {}, None  # not an ocean of this world
    if {"indian", "pacific"} <= set(masks):
        masks["indo_pacific"] = masks["indian"] | masks["pacific"]
    if groups["indian"] & groups["pacific"]:
        del masks["indian"], masks["pacific"]
    return masks, _southern_row(horizontal)


def _southern_row(horizontal) -> int | None:
    """The row whose south faces lie along the basins' southern end; None where no row does."""
    ny = horizontal.shape[0]
    if not horizontal.curvilinear or horizontal.along_parallels:
        row = int(np.abs(corners(horizontal)[1] - SOUTHERN_END).argmin())
        return row if 0 < row < ny else None
    off = np.abs(horizontal.points("v")[0] - SOUTHERN_END).max(axis=1)
    row = int(off.argmin())
    return row if 0 < row and off[row] <= horizontal.row_step() else None


def open_faces(horizontal, wet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether west and south faces have water on both sides."""
    west, south = np.roll(wet, 1, axis=1), np.roll(wet, 1, axis=0)
    if not horizontal.periodic_x:
        west[:, 0] = False
    south[0] = False
    return wet & west, wet & south


def _components(
    wet: np.ndarray, open_u: np.ndarray, open_v: np.ndarray, north_fold: bool = False
) -> np.ndarray:
    """Number of the connected part that each column belongs to, -1 on land."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    index = np.arange(wet.size).reshape(wet.shape)
    pairs = [
        (index[open_u], np.roll(index, 1, axis=1)[open_u]),
        (index[open_v], np.roll(index, 1, axis=0)[open_v]),
    ]
    if north_fold:  # both are the same cell
        pairs.append((index[-1, wet[-1]], index[-1, ::-1][wet[-1]]))
    a, b = (np.concatenate(side) for side in zip(*pairs))
    graph = coo_matrix((np.ones(a.size, bool), (a, b)), shape=(wet.size, wet.size))
    return np.where(wet, connected_components(graph, directed=False)[1].reshape(wet.shape), -1)


def _labels_near(horizontal, wet, label, seeds) -> set[int]:
    """Labels of the columns of water nearest to the points."""
    if horizontal.curvilinear:
        lat, lon = horizontal.points("c")
    else:
        x, y = corners(horizontal)
        lon, lat = 0.5 * (x[1:] + x[:-1])[None, :], 0.5 * (y[1:] + y[:-1])[:, None]
    found = set()
    for seed_lon, seed_lat in seeds:
        east = ((lon - seed_lon + 180.0) % 360.0 - 180.0) * np.cos(np.deg2rad(seed_lat))
        distance = np.where(wet, np.hypot(east, lat - seed_lat), np.inf)
        place = np.unravel_index(distance.argmin(), wet.shape)
        if distance[place] < _NEAR:
            found.add(int(label[place]))
    return found


def _south_faces(cells: np.ndarray, wet: np.ndarray, row: int | None) -> np.ndarray:
    """Faces with the basin on both sides, and those of its southern end."""
    south, water = np.roll(cells, 1, axis=0), np.roll(wet, 1, axis=0)
    south[0], water[0] = False, False
    faces = cells & south
    if row is not None:
        faces[row] |= cells[row] & water[row]
    return faces


__all__ = [
    "BASINS",
    "BasinError",
    "Basins",
    "DEFAULT",
    "SOUTHERN_END",
    "check_basins",
    "find_basins",
    "open_faces",
]
