"""Orthogonal curvilinear grids from files: MOM6's supergrid, and NEMO's four sets of points.

Both files hold positions and lengths at every half cell, on the lines of a *supergrid* of twice the
resolution: line ``2 j`` in y runs through corners and south faces of row ``j``, line ``2 j + 1``
through its centres; likewise in x. What a grid needs is read from there, and nothing is computed
that the file has; every rank reads the lines that its own tile needs.

A file's north fold may go through centres of cells, with pivots at centres (NEMO's "T-point
pivot"), or through their corners (MOM6, NEMO's "F-point pivot"); that of
:mod:`dogcm.decomp.fold` goes through centres, with pivots at faces. On the supergrid they are
the same fold, and the lines are counted so that it is: cells then lie half a cell beside those of
the file, in x or in y.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.grid.curvilinear import OFFSETS, Curvilinear, unit
from dogcm.grid.horizontal import Metrics

# Lines meet in the poles of a grid: what has no length there gets this one (m).
SHORTEST = 1.0
# A face shorter than this part of its cell's height or width belongs to a pole of the grid.
_POLE = 1e-3


class Supergrid(Protocol):
    """A file, as the grid sees it.

    Attributes:
        path: of the file. shape: rows and columns of cells. periodic_x, north_fold: of the grid.
        has_angle: whether ``angle`` can be read.
        narrows: whether the file may narrow faces (straits) below what positions say.
    """

    path: str
    shape: tuple[int, int]
    periodic_x: bool
    north_fold: bool
    has_angle: bool
    narrows: bool

    def lines(self, name: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Values where lines meet, (len(y), len(x)); NaN where the file has none.

        Args:
            name: ``lat``, ``lon`` (degrees), ``angle`` (radians); ``dx``, ``dy`` (m), distances of
                a whole cell centred on the place, and ``area`` (m2) around it.
            y, x: numbers of lines, 0 to 2 ny (with a fold: 2 ny - 1) and 0 to 2 nx.
        """

    def stored(self, name: str, y: int, x: int) -> str:
        """What the file calls it there."""

    def negative(self) -> str:
        """The first length or area of the file below 0, in words; empty: none."""


class SupergridGrid(Curvilinear):
    """The grid of a :class:`Supergrid`.

    Args:
        file: where it is read from. radius: m. rotation: rad s-1.
    """

    def __init__(self, file: Supergrid, radius: float, rotation: float):
        self.file, self.radius, self.rotation = file, radius, rotation

    @property
    def shape(self) -> tuple[int, int]:
        return self.file.shape

    @property
    def periodic_x(self) -> bool:
        return self.file.periodic_x

    @property
    def north_fold(self) -> bool:  # type: ignore[override]
        return self.file.north_fold

    # ---- lines
    def _take(self, name: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Values at lines of any number, arrays of one shape: beyond the fold those of this side,
        round the globe those of the first turn, beyond walls those at them."""
        y, x, turned = self._inside(*np.broadcast_arrays(y, x))
        (rows, y), (columns, x) = _numbered(y), _numbered(x)
        out = self.file.lines(name, rows, columns)[y, x]
        return out + np.pi * turned if name == "angle" else out

    def _inside(self, y, x):
        """Lines in the file, and whether the grid's directions are turned round there."""
        ny, nx = self.shape
        fold = 2 * ny - 1
        x = np.mod(x, 2 * nx) if self.periodic_x else np.clip(x, 0, 2 * nx)
        y = np.maximum(y, 0)
        if not self.north_fold:
            return np.minimum(y, 2 * ny), x, np.zeros(x.shape, bool)
        # What is there twice on the fold is read once, so that copies agree to the bit.
        turned = (y > fold) | ((y == fold) & (x > nx))
        y = np.where(y > fold, 2 * fold - y, y)
        return y, np.where(turned, np.mod(-x, 2 * nx), x), turned

    def _vectors(self, y, x) -> np.ndarray:
        return unit(self._take("lat", y, x), self._take("lon", y, x))

    def _angle(self, y, x) -> np.ndarray:
        """From east to growing x: the file's, or that between the neighbours in x."""
        if self.file.has_angle:
            return self._take("angle", y, x)
        return _direction(self._vectors(y, x), self._vectors(y, x + 1) - self._vectors(y, x - 1))

    # ---- places
    def _at(self, at: str, rows, columns):
        y, x = self._of_cells(at, rows, columns)
        lat, lon = self._take("lat", y, x), self._take("lon", y, x)
        return lat, lon % 360.0, self._angle(y, x)

    def _of_cells(self, at: str, rows, columns) -> tuple[np.ndarray, np.ndarray]:
        """Lines of a place of cells, which repeat beyond walls."""
        (ny, nx), (dy, dx) = self.shape, OFFSETS[at]
        j = np.arange(ny) if rows is None else np.maximum(np.asarray(rows), 0)
        i = np.arange(nx) if columns is None else np.asarray(columns)
        j = j if self.north_fold else np.minimum(j, ny - 1)
        i = i if self.periodic_x else np.clip(i, 0, nx - 1)
        return (2 * j + int(2 * dy))[:, None], (2 * i + int(2 * dx))[None, :]

    def points(self, at: str, rows=None, columns=None) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Curvilinear`."""
        y, x = self._of_cells(at, rows, columns)
        return self._take("lat", y, x), self._take("lon", y, x) % 360.0

    def angle(self, at: str, rows=None, columns=None) -> np.ndarray:
        """See :class:`Curvilinear`."""
        return self._angle(*self._of_cells(at, rows, columns))

    def positions(self, y, x):
        """See :class:`Curvilinear`; between the lines of the file along straight ones."""
        y, x = np.broadcast_arrays(2.0 * np.asarray(y, float), 2.0 * np.asarray(x, float))
        place, ahead = self._place(y, x), self._place(y, x + 0.5) - self._place(y, x - 0.5)
        return *_degrees(place), _direction(place, ahead)

    def _place(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Vectors of places between lines."""
        j, i = np.floor(y).astype(int), np.floor(x).astype(int)
        part_y, part_x = (y - j)[..., None], (x - i)[..., None]
        south = _between(self._vectors(j, i), self._vectors(j, i + 1), part_x)
        north = _between(self._vectors(j + 1, i), self._vectors(j + 1, i + 1), part_x)
        return _between(south, north, part_y)

    def samples(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See :class:`Curvilinear`."""
        ny, nx = self.shape
        lines = np.arange(2 * ny + 1)[:, None], np.arange(2 * nx + 1)[None, :]
        v = self._vectors(*lines)
        for y in 2 * (np.arange(count) + 0.5) / count:
            j = int(y)
            low, high = v[j : 2 * ny - 1 + j : 2], v[j + 1 : 2 * ny + j : 2]
            for x in 2 * (np.arange(count) + 0.5) / count:
                i = int(x)
                west, east = slice(i, 2 * nx - 1 + i, 2), slice(i + 1, 2 * nx + i, 2)
                south = _between(low[:, west], low[:, east], x - i)
                north = _between(high[:, west], high[:, east], x - i)
                yield _degrees(_between(south, north, y - j))

    def row_step(self) -> float:
        """See :class:`Curvilinear`; of each row where it is highest, away from the poles."""
        return self._row_step

    @functools.cached_property
    def _row_step(self) -> float:
        height = self._take("dy", *self._of_cells("c", None, None))
        return float(np.rad2deg(height.max(axis=1).min() / self.radius))

    def dry(self) -> np.ndarray:
        """The cells that touch a pole of the grid, where faces have no length."""
        take = lambda name, at: self._take(name, *self._of_cells(at, None, None))
        ny, nx = self.shape
        y, x = self._of_cells("c", None, None)
        high, wide = take("dy", "c"), take("dx", "c")
        out = np.minimum(high, wide) < SHORTEST
        for side in (-1, 1):
            out |= self._take("dy", y, x + side) < _POLE * high
            out |= self._take("dx", y + side, x) < _POLE * wide
        return out

    # ---- metrics
    def metrics(self, rows: np.ndarray, columns: np.ndarray) -> Metrics:
        """Metrics of the cells (rows x columns); indices wrap in x and go on beyond a fold in y,
        and repeat beyond walls."""
        out = {}
        for at in OFFSETS:
            y, x = self._of_cells(at, rows, columns)
            for name, least in (("dx", SHORTEST), ("dy", SHORTEST), ("area", SHORTEST**2)):
                out[f"{name}_{at}"] = np.maximum(self._take(name, y, x), least)
        lat_c, lon_c = self.points("c", rows, columns)
        return Metrics(
            lon_c=lon_c,
            lat_c=lat_c,
            lon_u=self.points("u", rows, columns)[1],
            lat_v=self.points("v", rows, columns)[0],
            f_q=2 * self.rotation * np.sin(np.deg2rad(self.points("q", rows, columns)[0])),
            **out,
        )

    def coordinates(self) -> dict[str, tuple[np.ndarray, str]]:
        """Rows and columns counted in cells from the south-west corner: name -> (values, unit)."""
        ny, nx = self.shape
        return {
            "lon": (np.arange(nx) + 0.5, "1"),
            "lat": (np.arange(ny) + 0.5, "1"),
            "lon_u": (np.arange(float(nx)), "1"),
            "lat_v": (np.arange(float(ny)), "1"),
        }

    def check(self) -> None:
        """See :class:`Curvilinear`.

        Raises:
            ConfigError: the file has what is no number, no length or no angle, or what does not
                fit its positions.
        """
        if text := self.file.negative():
            raise ConfigError(f"grid.path: {self.file.path}: {text}")
        last = 2 * self.shape[0] - self.north_fold
        for first in range(0, max(last - _OVERLAP, 1), _BAND):
            Checks(self, first, min(first + _BAND + _OVERLAP, last)).all()


# Lines that are looked at at once, and again with the next ones; bounds of :class:`Checks`.
_BAND, _OVERLAP = 256, 10
_NEARLY, _FACTOR, _AREA, _RIGHT_ANGLE, _ANGLE = 0.02, 1.6, 0.02, 20.0, 2.0


class Checks:
    """Whether the numbers of a file make an orthogonal grid.

    A band of the supergrid is looked at, what has to fit its neighbours away from the edges of the
    band and from the poles of the grid, where lines meet.

    Args:
        first, last: lines in y.
    """

    def __init__(self, grid: SupergridGrid, first: int, last: int):
        self._grid, self._file, self._first = grid, grid.file, first
        self._y = np.arange(first, last + 1)[:, None]
        self._x = np.arange(2 * grid.shape[1] + 1)[None, :]
        names = ("lat", "lon", "dx", "dy", "area", *(["angle"] if self._file.has_angle else []))
        self._found = {n: grid._take(n, self._y, self._x) for n in names}

    def all(self) -> None:
        """Raise :class:`ConfigError` for the first fault."""
        for name, values in self._found.items():
            self._refuse(~np.isfinite(values), name, "is no number")
        lat = self._found["lat"]
        self._refuse(np.abs(lat) > 90 + 1e-6, "lat", "is a latitude beyond 90 degrees")
        self._place = unit(lat, self._found["lon"])
        self._along_x, self._along_y = self._steps()
        self._inner = self._away()
        self._right_angles()
        self._lengths("dx", self._along_x)
        self._lengths("dy", self._along_y)
        self._areas()
        self._angles()

    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """From the neighbour in the west to that in the east, and from south to north; at edges
        one of both is the place itself."""
        x, y = self._x[0], np.arange(self._y.size)
        last, round_ = x[-1], self._grid.periodic_x
        east = np.where(x < last, x + 1, 1 if round_ else last)
        west = np.where(x > 0, x - 1, last - 1 if round_ else 0)
        along_x = self._place[:, east] - self._place[:, west]
        north, south = np.minimum(y + 1, y[-1]), np.maximum(y - 1, 0)
        return along_x, self._place[north] - self._place[south]

    def _away(self) -> np.ndarray:
        """Away from walls, edges of the band and the poles of the grid."""
        dx, dy = self._found["dx"], self._found["dy"]
        pole = np.minimum(dx / np.median(dx), dy / np.median(dy, axis=1, keepdims=True)) < 0.05
        pole |= np.linalg.norm(self._along_x, axis=-1) < 1e-9
        pole |= np.linalg.norm(self._along_y, axis=-1) < 1e-9
        pole = _grown(_grown(_grown(pole)))
        pole[0], pole[-1] = True, True
        if not self._grid.periodic_x:
            pole[:, [0, -1]] = True
        return ~pole

    def _lengths(self, name: str, along: np.ndarray) -> None:
        chord = self._grid.radius * np.linalg.norm(along, axis=-1)
        values = self._found[name]
        self._refuse(
            (values <= 0) & (chord > 1e-3 * np.median(chord)),
            name,
            "is 0 between places that lie apart",
        )
        ratio = np.where(self._inner, values / np.where(self._inner, chord, 1.0), 1.0)
        middle = float(np.median(ratio[self._inner])) if self._inner.any() else 1.0
        if abs(middle - 1) > _NEARLY:
            raise ConfigError(
                f"grid.path: {self._file.path}: {name} is {middle:.4g} times the distances between "
                f"its positions: another unit than m, or another radius than {self._grid.radius:g} "
                "m (grid.radius)?"
            )
        far = ratio > _FACTOR
        if not self._file.narrows:
            far |= ratio < 1 / _FACTOR
        self._refuse(far, name, "does not fit the positions around it", ratio)

    def _areas(self) -> None:
        dx, dy, area = (self._found[n] for n in ("dx", "dy", "area"))
        inner, product = self._inner, dx * dy
        if not inner.any():
            return
        ratio = np.where(inner, area / np.where(inner, product, 1.0), 1.0)
        typical = float(np.median(ratio[inner]))
        if abs(typical - 1) <= _AREA:  # else all of them would be told one by one
            far = (ratio > _FACTOR) | (ratio < 1 / _FACTOR)
            self._refuse(far, "area", "is not dx * dy", ratio)
        whole = float(area[inner].sum() / product[inner].sum())
        for text, value in (("typically", typical), ("in all", whole)):
            if abs(value - 1) > _AREA:
                raise ConfigError(
                    f"grid.path: {self._file.path}: area is {text} {value:.4g} times dx * dy: "
                    "another unit than m2?"
                )

    def _right_angles(self) -> None:
        norm = np.linalg.norm(self._along_x, axis=-1) * np.linalg.norm(self._along_y, axis=-1)
        cos = np.where(self._inner, (self._along_x * self._along_y).sum(-1), 0.0)
        off = np.rad2deg(np.abs(np.arcsin(np.clip(cos / np.maximum(norm, 1e-30), -1, 1))))
        text = "lies where lines do not cross at right angles, degrees off"
        self._refuse(off > _RIGHT_ANGLE, "lat", text, off)

    def _angles(self) -> None:
        if not self._file.has_angle:
            return
        turn = _direction(self._place, self._along_x) - self._found["angle"]
        off = np.rad2deg(np.abs(np.angle(np.exp(1j * turn))))
        off = np.where(self._inner & (np.abs(self._found["lat"]) < 89), off, 0.0)
        middle = float(np.median(off[self._inner])) if self._inner.any() else 0.0
        if middle > _ANGLE:
            raise ConfigError(
                f"grid.path: {self._file.path}: angle_dx differs by {middle:.3g} degrees from the "
                "direction of the lines: it is anticlockwise from east to growing x, in degrees, "
                "or in radians if its units say so"
            )
        text = "is not the direction of the lines, degrees off"
        self._refuse(off > _RIGHT_ANGLE, "angle", text, off)

    def _refuse(
        self, wrong: np.ndarray, name: str, what: str, values: np.ndarray | None = None
    ) -> None:
        if not wrong.any():
            return
        j, i = (int(n) for n in np.argwhere(wrong)[0])
        row = j + self._first
        what = f"{self._file.stored(name, row, i)} {what}"
        value = "" if values is None else f" ({values[j, i]:.3g})"
        lat, lon = self._found["lat"][j, i], self._found["lon"][j, i]
        raise ConfigError(
            f"grid.path: {self._file.path}: {what}{value}, at {int(wrong.sum())} points "
            f"of the half cells, the first at row {row / 2:g}, column {i / 2:g} "
            f"(lat {lat:.2f}, lon {lon:.2f})"
        )


def _numbered(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers among ``lines``, and where each of these stands among them."""
    there = np.zeros(lines.max() + 1, bool)
    there[lines] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[lines]


def _grown(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    return out | np.roll(mask, 1, axis=1) | np.roll(mask, -1, axis=1)


def _between(a: np.ndarray, b: np.ndarray, part) -> np.ndarray:
    return a + (b - a) * part


def _degrees(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude of vectors of any length."""
    lat = np.arctan2(place[..., 2], np.hypot(place[..., 0], place[..., 1]))
    return np.rad2deg(lat), np.rad2deg(np.arctan2(place[..., 1], place[..., 0])) % 360.0


def _direction(place: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Angle (radians, anticlockwise) from east to ``ahead`` at a place."""
    lat, lon = (np.deg2rad(a) for a in _degrees(place))
    east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], axis=-1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    return np.arctan2((ahead * north).sum(-1), (ahead * east).sum(-1))


__all__ = ["SHORTEST", "Checks", "Supergrid", "SupergridGrid"]
