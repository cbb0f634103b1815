"""Tripolar grid: parallels and meridians, and north of a join latitude a cap with two poles (Murray
1996,
doi:10.1006/jcph.1996.0136).

The cap is mapped by stereographic projection onto the unit disc. There the grid lines are the two
families of
circles of bipolar coordinates: through the poles of the grid, z = 1 and z = -1, and around them.
With theta the longitude at which a line crosses the rim, counted from the first pole, and sigma
falling from pi / 2 at the rim to 0 on the segment between the poles,

    z = (cos(theta / 2) e^(i sigma) - sin(theta / 2)) / (cos(theta / 2) e^(i sigma) + sin(theta /
    2)).

Lines meet the rim at right angles, so that meridians go on without a kink. The map is conformal;
distances and areas are integrals of its scale factor by Gauss's rule, and add up to those of the
sphere to round-off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dogcm.grid.curvilinear import Curvilinear
from dogcm.grid.horizontal import EARTH_RADIUS, EARTH_ROTATION, Metrics

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
# Lines meet in the poles of the grid: what has no length there gets this one (m). It is always
# land.
_SHORTEST = 1.0


@dataclass(frozen=True)
class TripolarGrid(Curvilinear):
    """Global grid with poles at the south pole and at two places of the join latitude.

    The last row is folded onto itself, see :mod:`dogcm.decomp.fold`: its cell centres lie on the
    line from one northern pole of the grid over the geographic pole to the other.

    Attributes:
        nx, ny: cells; nx is even, and ny counts the last row in full.
        south: latitude of the southern edge. join: of the poles of the grid (degrees).
        pole: longitude of the first of them, where column 0 starts; the other one is opposite.
        mercator: rows south of the join are as high as they are wide at each latitude (of equal
            height otherwise).
        radius: m. rotation: rad s-1.
    """

    nx: int
    ny: int
    south: float = -80.0
    join: float = 66.0
    pole: float = 60.0
    mercator: bool = False
    radius: float = EARTH_RADIUS
    rotation: float = EARTH_ROTATION

    north_fold = True
    periodic_x = True
    along_parallels = True

    def __post_init__(self):
        if self.nx % 2:
            raise ValueError(
                f"a tripolar grid of {self.nx} columns: nx must be even, so that the last row can "
                f"be folded"
            )
        if not -90 <= self.south < self.join < 90:
            raise ValueError(
                f"tripolar grid: join latitude {self.join} must lie between {self.south} and 90 "
                f"degrees"
            )
        if self.mercator and self.south <= -89.9:
            raise ValueError(
                "tripolar grid: Mercator rows cannot start at the south pole; set grid.lat"
            )
        if self.ny < 4 or self.cap_rows < 2 or self.join_row < 2:
            raise ValueError(
                f"a tripolar grid of {self.ny} rows has {self.cap_rows} north of {self.join} "
                f"degrees: 2 at least are "
                "needed there and south of it; use more rows or a lower join latitude"
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self.ny, self.nx

    # ---- rows
    @property
    def cap_rows(self) -> int:
        """Rows north of the join: as many as make heights agree there."""
        counts = np.arange(1, self.ny)
        heights = (90.0 - self.join) / (counts - 0.5)
        below = self.ny - counts
        if self.mercator:
            edge = (
                (_mercator(self.join) - _mercator(self.south))
                / below
                * np.rad2deg(np.cos(np.deg2rad(self.join)))
            )
        else:
            edge = (self.join - self.south) / below
        return int(counts[np.abs(np.log(heights / edge)).argmin()])

    @property
    def join_row(self) -> int:
        """The row whose southern edge is the join."""
        return self.ny - self.cap_rows

    @property
    def lat_edges(self) -> np.ndarray:
        """Latitudes of the edges of rows up to the join, then on the middle meridian of the cap;
        the last row, of which
        half lies beyond the pole, ends at 90 degrees."""
        if self.mercator:
            below = np.linspace(_mercator(self.south), _mercator(self.join), self.join_row + 1)
            below = np.rad2deg(2 * np.arctan(np.exp(below)) - 0.5 * np.pi)
            below[[0, -1]] = self.south, self.join
        else:
            below = np.linspace(self.south, self.join, self.join_row + 1)
        return np.concatenate([below, self._middle(np.arange(self.join_row + 1, self.ny)), [90.0]])

    @property
    def lon_edges(self) -> np.ndarray:
        """Longitudes of the columns' edges south of the join."""
        return self.pole + 360.0 / self.nx * np.arange(self.nx + 1)

    def row_step(self) -> float:
        """See :class:`dogcm.grid.curvilinear.Curvilinear`; the last row is half one."""
        return float(np.diff(self.lat_edges)[:-1].min())

    def _middle(self, y):
        """Latitude on the middle meridian of the cap, y rows from the south."""
        return self.join + (y - self.join_row) * (90.0 - self.join) / (self.cap_rows - 0.5)

    @property
    def _kappa(self) -> float:
        return float(np.tan(np.deg2rad(90.0 - self.join) / 2))

    def _sigma(self, y):
        """Angle between the circle through the poles at row y and the line between them."""
        return 2 * np.arctan(np.tan(np.deg2rad(90.0 - self._middle(y)) / 2) / self._kappa)

    # ---- places
    def positions(self, y, x):
        """See :class:`dogcm.grid.curvilinear.Curvilinear`."""
        y, x = (np.array(a, float) for a in np.broadcast_arrays(y, x))
        fold = self.ny - 0.5
        beyond = y > fold
        y, x = np.where(beyond, 2 * fold - y, y), np.mod(np.where(beyond, self.nx - x, x), self.nx)
        in_cap = y > self.join_row
        lon = self.pole + 360.0 / self.nx * x
        lat = np.interp(y, np.arange(self.join_row + 1), self.lat_edges[: self.join_row + 1])
        cap_lat, cap_lon, cap_angle = self._cap(np.where(in_cap, y, self.join_row), x)
        lat, lon = np.where(in_cap, cap_lat, lat), np.where(in_cap, cap_lon, lon)
        return lat, lon % 360.0, np.where(in_cap, cap_angle, 0.0) + np.where(beyond, np.pi, 0.0)

    def _cap(self, y, x):
        # West of the second pole; the other half is its mirror image.
        half = np.minimum(x, self.nx - x)
        theta, sigma = 2 * np.pi * half / self.nx, self._sigma(y)
        a, s = np.cos(theta / 2) * np.exp(1j * sigma), np.sin(theta / 2)
        z = (a - s) / (a + s)
        eastward = -np.exp(1j * sigma) / (a + s) ** 2  # along growing theta
        other = x > self.nx / 2
        z, eastward = np.where(other, np.conj(z), z), np.where(other, -np.conj(eastward), eastward)
        # At the pole of the earth "east" is that of the meridian of the grid's first pole.
        z = np.where(np.abs(z) < 1e-12, 1e-12, z)
        lat = 90.0 - 2 * np.rad2deg(np.arctan(self._kappa * np.abs(z)))
        return lat, self.pole + np.rad2deg(np.angle(z)), np.angle(eastward / (1j * z))

    def dry(self) -> np.ndarray:
        """The cells of the cap that touch the poles of the grid, where lines meet."""
        out = np.zeros(self.shape, bool)
        middle = self.nx // 2
        out[self.join_row - 1 :, [0, -1, middle - 1, middle]] = True
        return out

    # ---- metrics
    # In half cells: line m lies at y = m / 2, and part m between lines m and m + 1; likewise in x.
    def _scale(self, theta, sigma):
        """Metres per radian of theta in the cap."""
        k2 = self._kappa**2
        return self.radius * 2 * self._kappa / (1 + k2 + (1 - k2) * np.sin(theta) * np.cos(sigma))

    def _row(self, m, parts: bool):
        """Lines or parts in y on this side of the fold, and not south of the grid."""
        last = 2 * self.ny - 1
        return np.maximum(np.where(m > last - parts, 2 * last - parts - m, m), 0)

    def _theta(self, m, parts: bool):
        """West of the second pole, as an index."""
        m = np.mod(m, 2 * self.nx)
        return np.where(m > self.nx - parts, 2 * self.nx - parts - m, m)

    def _half_edges(self) -> np.ndarray:
        """Latitudes of all half lines up to the join."""
        edges = self.lat_edges[: self.join_row + 1]
        return np.interp(np.arange(2 * self.join_row + 1) / 2, np.arange(self.join_row + 1), edges)

    def _along_x(self, line, part):
        """Lengths (m) of parts of lines, (rows, columns)."""
        line, part = self._row(np.asarray(line), False), self._theta(np.asarray(part), True)
        step, lats = np.pi / self.nx, self._half_edges()
        out = np.empty((line.size, part.size))
        cap = line >= lats.size
        out[~cap] = (self.radius * np.cos(np.deg2rad(lats[line[~cap]])) * step)[:, None]
        sigma = self._sigma(line[cap] / 2)[:, None]
        out[cap] = (
            sum(
                w * self._scale((part + 0.5 + 0.5 * n) * step, sigma)
                for n, w in zip(_NODES, _WEIGHTS)
            )
            * 0.5
            * step
        )
        return out

    def _along_y(self, part, line):
        """Lengths (m) of parts in y on lines of constant x."""
        part, line = self._row(np.asarray(part), True), self._theta(np.asarray(line), False)
        lats = self._half_edges()
        out = np.empty((part.size, line.size))
        cap = part >= lats.size - 1
        out[~cap] = (self.radius * np.deg2rad(lats[part[~cap] + 1] - lats[part[~cap]]))[:, None]
        theta = line * np.pi / self.nx
        sin = np.where(line == self.nx, 0.0, np.sin(theta))
        out[cap] = sum(w * self._scale(theta, s) for s, w in self._sigma_nodes(part[cap])) * sin
        return out

    def _areas(self, part, column):
        """Areas (m2) of quarter cells."""
        part, column = self._row(np.asarray(part), True), self._theta(np.asarray(column), True)
        step, lats = np.pi / self.nx, self._half_edges()
        out = np.zeros((part.size, column.size))
        cap, sin = part >= lats.size - 1, np.sin(np.deg2rad(lats))
        out[~cap] = (self.radius**2 * (sin[part[~cap] + 1] - sin[part[~cap]]) * step)[:, None]
        for n, w in zip(_NODES, _WEIGHTS):
            theta = (column + 0.5 + 0.5 * n) * step
            band = sum(v * self._scale(theta, s) ** 2 for s, v in self._sigma_nodes(part[cap]))
            out[cap] += w * 0.5 * step * np.sin(theta) * band
        return out

    def _sigma_nodes(self, part):
        """Nodes and weights of Gauss's rule in sigma, over parts of the cap in y."""
        a, b = self._sigma(part[:, None] / 2), self._sigma((part[:, None] + 1) / 2)
        return [
            (0.5 * (a + b) + 0.5 * n * (b - a), 0.5 * w * (a - b)) for n, w in zip(_NODES, _WEIGHTS)
        ]

    def metrics(self, rows: np.ndarray, columns: np.ndarray) -> Metrics:
        """Metrics of the cells (rows x columns); indices wrap in x and go on beyond the fold in
        y."""
        j, i = 2 * np.maximum(np.asarray(rows), 0), 2 * np.asarray(columns)
        # Centre and west face of a column, centre and south face of a row: the two parts around
        # each.
        around_x, around_y = {"c": (i, i + 1), "w": (i - 1, i)}, {"c": (j, j + 1), "s": (j - 1, j)}
        places = {"c": ("c", "c"), "u": ("c", "w"), "v": ("s", "c"), "q": ("s", "w")}
        quarters = {(m, n): self._areas(j + m, i + n) for m in (-1, 0, 1) for n in (-1, 0, 1)}
        out = {}
        for at, (y, x) in places.items():
            line_y, line_x = j + (y == "c"), i + (x == "c")
            (south, north), (west, east) = around_y[y], around_x[x]
            dx = self._along_x(line_y, west) + self._along_x(line_y, east)
            dy = self._along_y(south, line_x) + self._along_y(north, line_x)
            m, n = -(y == "s"), -(x == "w")
            area = (quarters[m, n] + quarters[m, n + 1]) + (
                quarters[m + 1, n] + quarters[m + 1, n + 1]
            )
            out |= {
                f"dx_{at}": np.maximum(dx, _SHORTEST),
                f"dy_{at}": np.maximum(dy, _SHORTEST),
                f"area_{at}": area,
            }
        inside = np.maximum(np.asarray(rows), 0)
        lat_c, lon_c = self.points("c", inside, columns)
        f_q = 2 * self.rotation * np.sin(np.deg2rad(self.points("q", inside, columns)[0]))
        return Metrics(
            lon_c=lon_c,
            lat_c=lat_c,
            lon_u=self.points("u", inside, columns)[1],
            lat_v=self.points("v", inside, columns)[0],
            f_q=f_q,
            **out,
        )

    def coordinates(self) -> dict[str, tuple[np.ndarray, str]]:
        """Longitudes and latitudes south of the join, and in the cap where its lines cross the join
        and the middle
        meridian: name -> (values, unit)."""
        lon, lat = self.lon_edges, self.lat_edges
        centres = np.append(0.5 * (lat[1:-1] + lat[:-2]), 90.0)
        return {
            "lon": (0.5 * (lon[1:] + lon[:-1]), "degrees"),
            "lat": (centres, "degrees"),
            "lon_u": (lon[:-1], "degrees"),
            "lat_v": (lat[:-1], "degrees"),
        }


def _mercator(lat: float) -> float:
    return float(np.log(np.tan(np.deg2rad(45.0 + 0.5 * lat))))


__all__ = ["TripolarGrid"]
