"""Grids whose lines are no parallels and meridians: what they share, and the rotated one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from dogcm.grid.horizontal import LatLonGrid, Metrics

# Offsets (y, x) of the places of the C grid in a cell, from its south-west corner.
OFFSETS = {"c": (0.5, 0.5), "u": (0.5, 0.0), "v": (0.0, 0.5), "q": (0.0, 0.0)}


class Curvilinear:
    """Places of a grid that is given by ``positions(y, x)``: latitude and longitude (degrees) and
    the angle (radians,
    anticlockwise) from east to the direction of growing x, for y rows and x columns from the
    south-west corner.

    Attributes:
        along_parallels: whether its rows are parallels, in a tripolar grid up to its cap.
    """

    spherical = True
    curvilinear = True
    north_fold = False
    along_parallels = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        raise NotImplementedError

    @property
    def periodic_x(self) -> bool:
        """Whether the last column is the western neighbour of the first."""
        raise NotImplementedError

    def positions(self, y, x) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Latitude and longitude (degrees), and the angle (radians) from east to growing x."""
        raise NotImplementedError

    def points(self, at: str, rows=None, columns=None) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes (degrees) at a place of the C grid, (rows, columns); default:
        all."""
        return self._at(at, rows, columns)[:2]

    def angle(self, at: str, rows=None, columns=None) -> np.ndarray:
        """Angle (radians, anticlockwise) from east to the grid's x direction, (rows, columns)."""
        return self._at(at, rows, columns)[2]

    def _at(self, at: str, rows, columns):
        dy, dx = OFFSETS[at]
        ny, nx = self.shape
        j = np.arange(ny) if rows is None else np.asarray(rows)
        i = np.arange(nx) if columns is None else np.asarray(columns)
        return self.positions(j[:, None] + dy, i[None, :] + dx)

    def samples(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Latitudes and longitudes (ny, nx) of ``count * count`` points spread over each cell, one
        after the other."""
        ny, nx = self.shape
        part = (np.arange(count) + 0.5) / count
        for dy in part:
            for dx in part:
                yield self.positions(np.arange(ny)[:, None] + dy, np.arange(nx)[None, :] + dx)[:2]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes of the corners of cells, (ny, nx, 4), anticlockwise from the
        south-west."""
        ny, nx = self.shape
        y, x = np.arange(ny + 1.0)[:, None], np.arange(nx + 1.0)[None, :]
        return tuple(
            np.stack([a[:-1, :-1], a[:-1, 1:], a[1:, 1:], a[1:, :-1]], axis=-1)
            for a in self.positions(y, x)[:2]
        )

    def to_grid(
        self, east: np.ndarray, north: np.ndarray, at: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Components along the grid's x and y of vectors given by those to the east and north."""
        cos, sin = np.cos(self.angle(at)), np.sin(self.angle(at))
        return east * cos + north * sin, north * cos - east * sin

    def row_step(self) -> float:
        """Smallest height of a row (degrees)."""
        raise NotImplementedError

    def dry(self) -> np.ndarray:
        """Cells that the grid itself makes land, (ny, nx)."""
        return np.zeros(self.shape, bool)

    def check(self) -> None:
        """Refuse numbers that make no grid; called once, on one rank."""


def unit(lat, lon) -> np.ndarray:
    """Unit vectors (..., 3) of latitudes and longitudes in degrees."""
    lat, lon = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack(
        np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)),
        axis=-1,
    )


@dataclass(frozen=True)
class RotatedGrid(Curvilinear):
    """Latitude-longitude grid about another pole.

    Distances and areas are those of the plain grid, exactly. Its prime meridian runs from the
    rotated north pole through the geographic south pole, as CF's rotated_latitude_longitude has it:
    a pole at (180, 90) changes nothing.

    Attributes:
        base: the grid in its own longitudes and latitudes.
        pole: geographic longitude and latitude of its north pole (degrees).
    """

    base: LatLonGrid
    pole: tuple[float, float] = (180.0, 90.0)
    _axes: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        lon, lat = self.pole
        if not -90 <= lat <= 90:
            raise ValueError(
                f"the pole of a rotated grid at latitude {lat}: it must lie within -90 and 90 "
                f"degrees"
            )
        z, x = unit(lat, lon), unit(90.0 - lat, lon + 180.0)
        object.__setattr__(self, "_axes", np.stack([x, np.cross(z, x), z]))

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    @property
    def periodic_x(self) -> bool:
        return self.base.periodic_x

    @property
    def radius(self) -> float:
        return self.base.radius

    @property
    def rotation(self) -> float:
        return self.base.rotation

    def row_step(self) -> float:
        """See :class:`Curvilinear`."""
        return float(np.diff(self.base.lat_edges).min())

    def positions(self, y, x):
        """See :class:`Curvilinear`."""
        rlat = np.interp(y, np.arange(self.base.lat_edges.size), self.base.lat_edges)
        # np.interp is constant beyond its ends, and longitudes go on.
        edges, nx = self.base.lon_edges, self.base.lon_edges.size - 1
        turns = np.floor_divide(x, nx) * self.periodic_x
        rlon = np.interp(x - turns * nx, np.arange(nx + 1), edges) + 360.0 * turns
        place = unit(rlat, rlon) @ self._axes
        zero = np.zeros_like(np.asarray(rlon, float))
        along = unit(zero, rlon + 90.0) @ self._axes
        lon = np.arctan2(place[..., 1], place[..., 0])
        lat = np.arctan2(place[..., 2], np.hypot(place[..., 0], place[..., 1]))
        east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], axis=-1)
        north = np.cross(place, east)
        along = np.broadcast_to(along, place.shape)
        angle = np.arctan2((along * north).sum(-1), (along * east).sum(-1))
        return np.rad2deg(lat), np.rad2deg(lon) % 360.0, angle

    def metrics(self, rows: np.ndarray, columns: np.ndarray) -> Metrics:
        """Metrics of the cells (rows x columns); see :class:`dogcm.grid.horizontal.LatLonGrid`."""
        ny, nx = self.shape
        j = np.clip(rows, 0, ny - 1)
        i = np.asarray(columns) if self.periodic_x else np.clip(columns, 0, nx - 1)
        lat_c, lon_c = self.points("c", j, i)
        f_q = 2 * self.rotation * np.sin(np.deg2rad(self.points("q", j, i)[0]))
        return replace(
            self.base.metrics(rows, columns),
            lon_c=lon_c,
            lat_c=lat_c,
            lon_u=self.points("u", j, i)[1],
            lat_v=self.points("v", j, i)[0],
            f_q=f_q,
        )

    def coordinates(self) -> dict[str, tuple[np.ndarray, str]]:
        """The grid's own longitudes and latitudes: name -> (values, unit)."""
        return {name: (values, "degrees") for name, (values, _) in self.base.coordinates().items()}


__all__ = ["Curvilinear", "OFFSETS", "RotatedGrid", "unit"]
