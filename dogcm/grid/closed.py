"""What becomes land, or is cut off, on the way from a sea floor to the cells of a model.

A strait that is narrower than a cell, shallower than half of a first layer, or closed by hand,
parts a sea from the ocean. That changes a circulation, so it is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dogcm.grid.bathymetry import FloatArray, label_basins

_MOST_TOLD = 4
_AT_POLE = 89.999  # degrees


@dataclass(frozen=True)
class Bodies:
    """Bodies of water. There may be thousands, so they have no masks of their own.

    Attributes:
        labels: (ny, nx) number of the body, 0 on land. sizes: cells, by number.
        numbers: of those that are meant, the largest first.
    """

    labels: np.ndarray
    sizes: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Places:
    """Where cells lie.

    Attributes:
        y, x: of the centres (ny, nx), degrees or km. unit: of both, for messages.
        names: of x and y. periodic_x, north_fold: how the grid closes.
    """

    y: FloatArray
    x: FloatArray
    unit: str
    names: tuple[str, str]
    periodic_x: bool
    north_fold: bool

    @classmethod
    def of(cls, horizontal, y: FloatArray, x: FloatArray) -> Places:
        """Of a grid whose centres these are."""
        closing = (horizontal.periodic_x, horizontal.north_fold)
        if horizontal.spherical:
            return cls(y, x, "", ("lon", "lat"), *closing)
        return cls(y, x, " km", ("x", "y"), *closing)

    def bodies(self, wet: FloatArray) -> Bodies:
        """The bodies of water, largest first."""
        labels, count = label_basins(wet, self.periodic_x, self.north_fold)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        return Bodies(labels, sizes, 1 + np.argsort(-sizes[1:], kind="stable"))

    def describe(self, bodies: Bodies, depth: FloatArray) -> str:
        """Size, place and depth of the largest."""
        told = []
        for number in bodies.numbers[:_MOST_TOLD]:
            body = bodies.labels == number
            j, i = np.unravel_index(int(np.argmax(np.where(body, depth, -1.0))), depth.shape)
            place = f"{self.names[0]} {self.x[j, i]:.1f}{self.unit}, {self.names[1]} "
            count = int(bodies.sizes[number])
            told.append(
                f"{count} cell{'s' if count > 1 else ''} at {place}{self.y[j, i]:.1f}{self.unit} "
                f"(down to {depth[j, i]:.0f} m)"
            )
        more = len(bodies.numbers) - _MOST_TOLD
        return "; ".join(told) + (f"; and {more} more bodies of water" if more > 0 else "")


@dataclass(frozen=True)
class Closed:
    """Water that is lost or cut off. cells: how many. text: for people."""

    cells: int
    text: str


def lakes(before: FloatArray, after: FloatArray, places: Places, keys: str) -> list[Closed]:
    """Water that is made land because nothing joins it to the ocean; nothing or one.

    Args:
        before, after: depths (ny, nx) in m, 0 on land. keys: what keeps it.
    """
    closed = (before > 0) & (after == 0)
    return _told(
        places.bodies(closed),
        before,
        places,
        "{cells} become land, because no face of a cell joins them to the ocean: {found}. "
        f"Kept by {keys}, joined by a strait (bathymetry.straits)",
    )


def too_thin(depth: FloatArray, cells: FloatArray, places: Places) -> list[Closed]:
    """Water that is too shallow for a cell of the first layer; nothing or one.

    Args:
        depth: (ny, nx) m, 0 on land. cells: thicknesses (nz, ny, nx), m.
    """
    closed = (depth > 0) & (cells[0] == 0)
    return _told(
        places.bodies(closed),
        depth,
        places,
        "{cells} become land, because they are shallower than half of the smallest cell: {found}. "
        "Kept by a thinner first layer, a smaller bathymetry.min_thickness or a larger "
        "bathymetry.min_depth",
    )


def parts(cells: FloatArray, places: Places, advice: str) -> list[Closed]:
    """Parts of the ocean that no face joins, besides the largest; nothing or one.

    Args:
        cells: thicknesses (nz, ny, nx), m. advice: what joins them.
    """
    bodies = places.bodies(cells[0] > 0)
    bodies = replace(bodies, numbers=bodies.numbers[1:])
    text = f"{{cells}} are cut off from the ocean by land: {{found}}. {advice}"
    return _told(bodies, cells.sum(0), places, text)


def poles(horizontal, cells: FloatArray) -> list[Closed]:
    """Rows of water beside a pole of a latitude-longitude grid, whose meridians meet there; nothing
    or one.

    Args:
        horizontal: the grid. cells: thicknesses (nz, ny, nx), m.
    """
    if not horizontal.spherical or horizontal.curvilinear:
        return []
    ends = ((0, horizontal.lat_edges[0]), (-1, horizontal.lat_edges[-1]))
    ny, nx = horizontal.shape
    beside = {j % ny for j, edge in ends if abs(edge) > _AT_POLE}  # one row may be both
    rows = [j for j in sorted(beside) if (cells[0, j] > 0).any()]
    if not rows:
        return []
    width = horizontal.metrics(np.arange(ny), np.arange(nx)).dx_c[rows].min() / 1e3
    text = (
        f"grid.lat reaches the pole: no water crosses it, and cells beside it are {width:.3g} km "
        "wide, which limits the time step. Grids of kind tripolar or rotated have their poles on "
        "land; bathymetry.straits makes the last row land"
    )
    return [Closed(int((cells[0, rows] > 0).sum()), text)]


def _told(bodies: Bodies, depth: FloatArray, places: Places, text: str) -> list[Closed]:
    if not bodies.numbers.size:
        return []
    count = int(bodies.sizes[bodies.numbers].sum())
    cells = f"{count} cell{'s' if count > 1 else ''} of water"
    found = places.describe(bodies, depth)
    return [Closed(count, "bathymetry: " + text.format(cells=cells, found=found))]


__all__ = ["Closed", "Places", "lakes", "parts", "poles", "too_thin"]
