"""Horizontal grids: metrics of any orthogonal curvilinear C grid, tile by tile.

The dynamics know a grid only by :class:`Metrics`: distances, face lengths, areas and the Coriolis
parameter at the places of the C grid. A new grid is a new class with the method ``metrics(rows,
columns)``; those whose lines are no parallels and meridians are in :mod:`dogcm.grid.curvilinear`
and :mod:`dogcm.grid.tripolar`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

EARTH_RADIUS = 6.371e6  # m
EARTH_ROTATION = 7.292115e-5  # rad s-1, sidereal


@dataclass(frozen=True)
class Metrics:
    """Metrics of a block of cells, arrays of shape (rows, columns).

    ``dx_*`` and ``dy_*`` are distances in metres along x and y centred on the place: ``dx_u`` joins
    two cell centres across a west face, ``dy_u`` is that face's length. ``area_*`` in m2, ``f_q``
    in s-1, longitudes and latitudes in degrees.
    """

    lon_c: np.ndarray
    lat_c: np.ndarray
    lon_u: np.ndarray
    lat_v: np.ndarray
    dx_c: np.ndarray
    dy_c: np.ndarray
    dx_u: np.ndarray
    dy_u: np.ndarray
    dx_v: np.ndarray
    dy_v: np.ndarray
    dx_q: np.ndarray
    dy_q: np.ndarray
    area_c: np.ndarray
    area_u: np.ndarray
    area_v: np.ndarray
    area_q: np.ndarray
    f_q: np.ndarray

    def names(self) -> list[str]:
        return [f.name for f in fields(self)]


def _edges_of(edges, what: str) -> np.ndarray:
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"{what} edges must be one increasing sequence, got {edges}")
    return edges


@dataclass(frozen=True)
class LatLonGrid:
    """Spherical latitude-longitude grid of any extent, regular or stretched.

    Attributes:
        lon_edges: ``nx + 1`` longitudes of the cell faces, degrees east.
        lat_edges: ``ny + 1`` latitudes, degrees north, within +-90.
        radius: m. rotation: rad s-1.
    """

    lon_edges: np.ndarray
    lat_edges: np.ndarray
    radius: float = EARTH_RADIUS
    rotation: float = EARTH_ROTATION

    def __post_init__(self):
        object.__setattr__(self, "lon_edges", _edges_of(self.lon_edges, "longitude"))
        object.__setattr__(self, "lat_edges", _edges_of(self.lat_edges, "latitude"))
        if np.abs(self.lat_edges).max() > 90:
            raise ValueError("latitude edges must lie within -90 and 90 degrees")
        if self.lon_edges[-1] - self.lon_edges[0] > 360 + 1e-9:
            raise ValueError("longitude edges span more than 360 degrees")

    spherical = True
    curvilinear = False
    north_fold = False

    @classmethod
    def regular(cls, nx: int, ny: int, lon=(0.0, 360.0), lat=(-80.0, 80.0), **kw) -> LatLonGrid:
        """``nx`` by ``ny`` equal steps between the given limits."""
        (west, east), (south, north) = lon, lat
        return cls(np.linspace(west, east, nx + 1), np.linspace(south, north, ny + 1), **kw)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.lat_edges) - 1, len(self.lon_edges) - 1

    @property
    def periodic_x(self) -> bool:
        return bool(np.isclose(self.lon_edges[-1] - self.lon_edges[0], 360.0))

    def metrics(self, rows: np.ndarray, columns: np.ndarray) -> Metrics:
        """Metrics of the cells (rows x columns); indices beyond the grid wrap in x and repeat in
        y."""
        ny, nx = self.shape
        rad = np.pi / 180
        centre_y = 0.5 * (self.lat_edges[1:] + self.lat_edges[:-1])
        centre_x = 0.5 * (self.lon_edges[1:] + self.lon_edges[:-1])
        j = np.clip(rows, 0, ny - 1)
        i = columns % nx if self.periodic_x else np.clip(columns, 0, nx - 1)
        below = np.maximum(j - 1, 0)
        west = (i - 1) % nx if self.periodic_x else np.maximum(i - 1, 0)
        turn = 360.0 * ((i == 0) & self.periodic_x)

        lat_s, lat_n = self.lat_edges[j], self.lat_edges[j + 1]
        lat_c, lat_b = centre_y[j], centre_y[below]
        d_lat_c = (lat_n - lat_s) * rad
        d_lat_v = np.where(j > 0, lat_c - lat_b, lat_n - lat_s) * rad
        d_lon_c = (self.lon_edges[i + 1] - self.lon_edges[i]) * rad
        d_lon_u = np.where(i == west, d_lon_c, (centre_x[i] - centre_x[west] + turn) * rad)
        lat_b = np.where(j > 0, lat_b, 2 * lat_s - lat_c)

        r, r2 = self.radius, self.radius**2
        column, ones_y, ones_x = (lambda a: a[:, None]), np.ones(len(j)), np.ones(len(i))
        # A face at a pole has no length; a tiny one keeps divisions finite (it is always land).
        cos_c = np.maximum(np.cos(lat_c * rad), 1e-6)
        cos_s = np.maximum(np.cos(lat_s * rad), 1e-6)
        band_c = np.sin(lat_n * rad) - np.sin(lat_s * rad)
        band_v = np.maximum(np.sin(lat_c * rad) - np.sin(np.maximum(lat_b, -90) * rad), 1e-12)
        outer = lambda y, x: column(y) * x[None, :]
        return Metrics(
            lon_c=outer(ones_y, centre_x[i]),
            lat_c=outer(lat_c, ones_x),
            lon_u=outer(ones_y, self.lon_edges[i]),
            lat_v=outer(lat_s, ones_x),
            dx_c=r * outer(cos_c, d_lon_c),
            dy_c=r * outer(d_lat_c, ones_x),
            dx_u=r * outer(cos_c, d_lon_u),
            dy_u=r * outer(d_lat_c, ones_x),
            dx_v=r * outer(cos_s, d_lon_c),
            dy_v=r * outer(d_lat_v, ones_x),
            dx_q=r * outer(cos_s, d_lon_u),
            dy_q=r * outer(d_lat_v, ones_x),
            area_c=r2 * outer(band_c, d_lon_c),
            area_u=r2 * outer(band_c, d_lon_u),
            area_v=r2 * outer(band_v, d_lon_c),
            area_q=r2 * outer(band_v, d_lon_u),
            f_q=2 * self.rotation * outer(np.sin(lat_s * rad), ones_x),
        )

    def coordinates(self) -> dict[str, tuple[np.ndarray, str]]:
        """One-dimensional coordinates for files: name -> (values, unit)."""
        mid = lambda e: 0.5 * (e[1:] + e[:-1])
        return {
            "lon": (mid(self.lon_edges), "degrees_east"),
            "lat": (mid(self.lat_edges), "degrees_north"),
            "lon_u": (self.lon_edges[:-1], "degrees_east"),
            "lat_v": (self.lat_edges[:-1], "degrees_north"),
        }


@dataclass(frozen=True)
class CartesianGrid:
    """Rectangular f-plane or beta-plane grid with equal steps.

    Attributes:
        nx, ny: cells. dx, dy: m. f0: s-1 at y = 0. beta: m-1 s-1.
        periodic: whether it closes on itself in x. y0: m, the southern edge.
    """

    nx: int
    ny: int
    dx: float
    dy: float
    f0: float = 0.0
    beta: float = 0.0
    periodic: bool = True
    y0: float = 0.0

    spherical = False
    curvilinear = False
    north_fold = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.ny, self.nx

    @property
    def periodic_x(self) -> bool:
        return self.periodic

    def metrics(self, rows: np.ndarray, columns: np.ndarray) -> Metrics:
        """Metrics of the cells (rows x columns); "longitude" and "latitude" are x and y in km."""
        shape = (len(rows), len(columns))
        x, y = np.asarray(columns) * self.dx, self.y0 + np.asarray(rows) * self.dy
        lon = np.broadcast_to((x + self.dx / 2) / 1e3, shape)
        lat = np.broadcast_to((y + self.dy / 2)[:, None] / 1e3, shape)
        full = lambda value: np.full(shape, float(value))
        lengths = {f"dx_{p}": full(self.dx) for p in "cuvq"} | {
            f"dy_{p}": full(self.dy) for p in "cuvq"
        }
        areas = {f"area_{p}": full(self.dx * self.dy) for p in "cuvq"}
        return Metrics(
            lon_c=lon,
            lat_c=lat,
            lon_u=lon - self.dx / 2e3,
            lat_v=lat - self.dy / 2e3,
            f_q=np.broadcast_to((self.f0 + self.beta * y)[:, None], shape).copy(),
            **lengths,
            **areas,
        )

    def coordinates(self) -> dict[str, tuple[np.ndarray, str]]:
        """One-dimensional coordinates for files: name -> (values, unit)."""
        x, y = np.arange(self.nx) * self.dx / 1e3, (self.y0 + np.arange(self.ny) * self.dy) / 1e3
        return {
            "lon": (x + self.dx / 2e3, "km"),
            "lat": (y + self.dy / 2e3, "km"),
            "lon_u": (x, "km"),
            "lat_v": (y, "km"),
        }
