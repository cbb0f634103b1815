"""Files that hold a supergrid: MOM6's ``ocean_hgrid.nc``, NEMO's ``mesh_mask.nc`` and
``domain_cfg.nc``.

Which of them a file is, is seen from its variables. Whether it closes on itself in x and folds in
the north is read from the file where it says so, by an entry or by places that it holds twice.
Otherwise the seam is asked for, and nothing folds; a fold that the file tells of, and that cannot
be made, is refused rather than left out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import netCDF4
import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.grid.curvilinear import unit

# Places nearer than this part of the distance to the next are the same.
_SAME = 0.02
Fold = Literal["file", "none", "t_point", "f_point"]
_FOLDS = ("t_point", "f_point")
_SOME_FOLD = "a fold"  # of a file that does not say which
_SEAMLESS = (
    "but does not close on itself in x (the file's places or entries, or grid.periodic), which a "
    "fold needs. Set grid.periodic: true, or grid.north_fold: none"
)
_MOM6 = ("x", "y", "dx", "dy", "area")
_NEMO = tuple(f"{n}{p}" for n in ("glam", "gphi", "e1", "e2") for p in "tuvf")
_IN_NEMO = {"lat": "gphi", "lon": "glam", "dx": "e1", "dy": "e2"}


@dataclass(frozen=True)
class Wishes:
    """What a configuration says of a file.

    Attributes:
        periodic: whether the grid closes on itself in x; None: as the file says.
        north_fold: how the last row is folded, in NEMO's words; file: as the file says.
    """

    periodic: bool | None = None
    north_fold: Fold = "file"


def open_supergrid(path: str | os.PathLike, wishes: Wishes) -> Mom6Supergrid | NemoMesh:
    """The supergrid of a file.

    Raises:
        ConfigError: no such file, neither of both kinds, a variable that is missing or of another
            shape, or it does not say what ``wishes`` leaves open.
    """
    path = str(path)
    if not Path(path).is_file():
        raise ConfigError(f"grid.path: no such file: {path or 'grid.path is not given'}")
    try:
        with netCDF4.Dataset(path) as data:
            have = list(data.variables)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"grid.path: {path} is no netCDF file that can be read: {error}"
        ) from None
    is_nemo = bool({*have} & {"glamt", "gphit", "e1t", "e2t", "glamf", "gphif"})
    is_mom6 = {"x", "y"} <= {*have} or {"dx", "dy"} <= {*have}
    if not (is_nemo or is_mom6):
        raise ConfigError(
            f"grid.path: {path} is neither a MOM6 supergrid ({', '.join(_MOM6)}) nor a NEMO mesh "
            f"(glamt, gphit, e1t, ...): it has {', '.join(have[:12]) or 'no variable'}"
        )
    kind, wanted = (NemoMesh, _NEMO) if is_nemo else (Mom6Supergrid, _MOM6)
    missing = [n for n in wanted if n not in have]
    if missing:
        raise ConfigError(f"grid.path: {path} is a {kind.what}, but has no {', '.join(missing)}")
    return kind(path, wishes)


class _File:
    """What both kinds share: reading parts of two-dimensional variables."""

    what = ""

    def __init__(self, path: str):
        self.path = path
        self.shape = (0, 0)
        self.periodic_x = self.north_fold = False

    @contextlib.contextmanager
    def _data(self) -> Iterator[netCDF4.Dataset]:
        """The file, open."""
        try:
            with netCDF4.Dataset(self.path) as data:
                yield data
        except (OSError, RuntimeError) as error:
            raise self.error(f"it cannot be read, is it damaged? {error}") from None

    def _shapes(self, names: Iterable[str]) -> dict[str, tuple[int, int]]:
        found = {}
        with self._data() as data:
            for name in names:
                shape = data[name].shape
                if len(shape) < 2 or any(n != 1 for n in shape[:-2]) or not all(shape):
                    raise self.error(f"variable {name} has the shape {shape}, not (y, x)")
                found[name] = shape[-2:]
        return found

    def _read(self, name: str, rows, columns) -> np.ndarray:
        """Part of a variable, NaN where it is missing; rows and columns ascend."""
        rows, columns = np.asarray(rows), np.asarray(columns)
        first = slice(rows.min(), rows.max() + 1)
        with self._data() as data:
            variable = data[name]
            lead = (0,) * (variable.ndim - 2)
            # Columns on both sides of the seam are read as two pieces.
            parts = np.split(columns, np.flatnonzero(np.diff(columns) > 16) + 1)
            pieces = [
                np.ma.filled(
                    variable[(*lead, first, slice(p[0], p[-1] + 1))].astype(float), np.nan
                )[:, p - p[0]]
                for p in parts
            ]
        return np.concatenate(pieces, axis=1)[rows - rows.min()]

    def _any_order(self, name: str, rows, columns) -> np.ndarray:
        (rows, j), (columns, i) = (np.unique(a, return_inverse=True) for a in (rows, columns))
        return self._read(name, rows, columns)[j][:, i]

    def _negative(self, names: Iterable[str]) -> str:
        """The first value below 0 of these variables, in words."""
        for name in names:
            with self._data() as data:
                wrong = np.argwhere(np.ma.filled(data[name][:] < 0, False))
            if wrong.size:
                y, x = wrong[0][-2:]
                return f"{name} is negative at {len(wrong)} points, the first at y {y}, x {x}"
        return ""

    def error(self, text: str) -> ConfigError:
        return ConfigError(f"grid.path: {self.path} ({self.what}): {text}")

    def _need_even(self, columns: int) -> None:
        if columns % 2:
            raise self.error(f"{columns} columns cannot be folded in the north: an even number can")


class Mom6Supergrid(_File):
    """``ocean_hgrid.nc``: x, y (nyp, nxp) in degrees, dx (nyp, nx), dy (ny, nxp) in m and area (ny,
    nx) in m2 of half and quarter cells, and perhaps angle_dx (nyp, nxp).

    It is periodic if its first and last column are the same places, and folded if its last row is
    its own mirror image. Rows are counted from the fold, which the centres of the last row lie on:
    in MOM6 it goes through their northern corners, so that rows lie half a cell south of MOM6's and
    the first half row falls away.
    """

    what = "MOM6 supergrid"
    narrows = False

    def __init__(self, path: str, wishes: Wishes):
        super().__init__(path)
        shapes = self._shapes(_MOM6)
        ny, nx = shapes["area"]
        self._size, more = (ny, nx), {"x": (1, 1), "y": (1, 1), "dx": (1, 0), "dy": (0, 1)}
        for name, (j, i) in more.items():
            if shapes[name] != (ny + j, nx + i):
                raise self.error(
                    f"variable {name} has {shapes[name]} values, and area {ny, nx}: "
                    f"{(ny + j, nx + i)} are expected"
                )
        self._units()
        if nx % 2 or nx < 4 or ny < 4:
            raise self.error(f"{nx} x {ny} half cells: 4 at least, and an even number in x")
        self._set_closure(wishes)
        if not self.north_fold and ny % 2:
            raise self.error(f"{ny} half rows: an even number where nothing folds")
        if self.north_fold:
            self._need_even(nx // 2)
        rows = (ny + 1) // 2 if self.north_fold else ny // 2
        self._skip = ny + 1 - 2 * rows if self.north_fold else 0
        self.shape = (rows, nx // 2)

    def _units(self) -> None:
        with self._data() as data:
            for name in "xy":
                unit_ = str(getattr(data[name], "units", "degrees")).lower()
                if not unit_.startswith("deg"):
                    raise self.error(f"variable {name} is in {unit_}: degrees are expected")
            self.has_angle = "angle_dx" in data.variables
            angle = data["angle_dx"] if self.has_angle else None
            if angle is not None and angle.shape[-2:] != data["x"].shape[-2:]:
                raise self.error(f"angle_dx has {angle.shape} values, and x {data['x'].shape}")
            self._radians = str(getattr(angle, "units", "degrees")).lower().startswith("rad")

    def _set_closure(self, wishes: Wishes) -> None:
        ny, nx = self._size
        rows, columns = np.arange(ny + 1), np.arange(nx + 1)
        place = lambda j, i: unit(self._read("y", j, i), self._read("x", j, i))
        seam = place(rows, [0, 1, nx])
        gap = _distance(seam[:, 0], seam[:, 2]) / _distance(seam[:, 0], seam[:, 1]).max()
        closes = bool(gap.max() < _SAME)
        if wishes.periodic and not closes:
            raise self.error(
                "grid.periodic is true, but the first and the last column are not the same places"
            )
        self.periodic_x = closes if wishes.periodic is None else wishes.periodic
        top = place([ny], columns)[0]
        step = np.median(_distance(top[1:], top[:-1]))
        mirrored = _distance(top, top[::-1]).max() < _SAME * step
        # All of a row at a pole of the earth is one place, and mirrors itself as well.
        folds = bool(mirrored and _distance(top[0], top[nx // 2]) > step)
        self._check_fold(wishes.north_fold, folds)
        self.north_fold = folds and wishes.north_fold != "none"

    def _check_fold(self, wish: Fold, folds: bool) -> None:
        if wish in _FOLDS and not folds:
            raise self.error(
                f"grid.north_fold is {wish}, but the last row is not its own mirror image"
            )
        if wish != "none" and folds and not self.periodic_x:
            raise self.error(f"its last row is its own mirror image, {_SEAMLESS}")
        pivots = "faces" if self._size[0] % 2 else "corners"
        if wish in _FOLDS and (wish, pivots) != ("f_point", "corners"):
            raise self.error(
                f"grid.north_fold is {wish}, but the pivots of its fold are {pivots} of cells, as "
                "the number of half rows tells. Leave grid.north_fold out"
            )

    def lines(self, name: str, y, x) -> np.ndarray:
        """See :class:`dogcm.grid.supergrid.Supergrid`."""
        y = np.asarray(y) + self._skip
        if name in ("lat", "lon", "angle"):
            stored = {"lat": "y", "lon": "x", "angle": "angle_dx"}[name]
            values = self._any_order(stored, y, np.asarray(x))
            return values if name != "angle" or self._radians else np.deg2rad(values)
        west, east = self._parts(np.asarray(x))
        if name == "dx":
            return self._any_order("dx", y, west) + self._any_order("dx", y, east)
        if name == "dy":
            south, north = self._halves("dy", y, np.asarray(x), self._turned(np.asarray(x)))
            return south + north
        corners = [self._halves("area", y, p, self._size[1] - 1 - p) for p in (west, east)]
        return (corners[0][0] + corners[1][0]) + (corners[0][1] + corners[1][1])

    def stored(self, name: str, y: int, x: int) -> str:
        """See :class:`dogcm.grid.supergrid.Supergrid`."""
        return {"lat": "y", "lon": "x", "angle": "angle_dx"}.get(name, name)

    def negative(self) -> str:
        """See :class:`dogcm.grid.supergrid.Supergrid`."""
        return self._negative(("dx", "dy", "area"))

    def _turned(self, x: np.ndarray) -> np.ndarray:
        """The line at the same place on the other side of the fold."""
        return self._size[1] - x

    def _parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Half columns west and east of lines; those at walls stand for what lies beyond."""
        nx = self._size[1]
        if self.periodic_x:
            return (x - 1) % nx, x % nx
        return np.maximum(x - 1, 0), np.minimum(x, nx - 1)

    def _halves(self, name: str, y, x, turned) -> tuple[np.ndarray, np.ndarray]:
        """Values of the half rows south and north of lines, at ``x``; beyond the fold those at
        ``turned``."""
        last = self._size[0] - 1
        south = self._any_order(name, np.maximum(y - 1, 0), x)
        north = self._any_order(name, np.minimum(y, last), x)
        if self.north_fold and (y > last).any():
            beyond = self._any_order(name, [last], turned)
            north = np.where((y > last)[:, None], beyond, north)
        return south, north


class NemoMesh(_File):
    """``mesh_mask.nc`` or ``domain_cfg.nc``: glam, gphi (degrees), e1 and e2 (m) at t, u, v and f
    points, with or without a leading axis of one record.

    Columns that repeat others (the first and last in NEMO before 4.2) and the row beyond a fold
    fall away; so do, at walls, the first column and row, which have no western and southern faces
    in the file. With a fold cells lie half a cell beside those of NEMO: east of them for a T-point
    pivot (the model's centres are u points), north of them for an F-point pivot (v points).
    """

    what = "NEMO mesh"
    narrows = True
    has_angle = False

    def __init__(self, path: str, wishes: Wishes):
        super().__init__(path)
        shapes = self._shapes(_NEMO)
        ny, nx = shapes["glamt"]
        for name, shape in shapes.items():
            if shape != (ny, nx):
                raise self.error(f"variable {name} has {shape} values, and glamt {ny, nx}")
        if nx < 5 or ny < 4:
            raise self.error(f"{nx} x {ny} points: 5 x 4 at least")
        self._size = (ny, nx)
        said_periodic, said_fold = self._said()
        self._first, self._columns = 0, nx  # that are there once
        repeats = self._repeats_columns()
        self.periodic_x = self._choose_periodic(wishes, said_periodic, repeats)
        if self.periodic_x and repeats:
            self._first, self._columns = 1, nx - 2
        fold = self._choose_fold(wishes, said_fold)
        self.north_fold = fold != "none"
        self._lay_out(fold)

    # ---- what closes
    def _said(self) -> tuple[bool | None, str | None]:
        """Whether it closes in x, and how it folds, by the entries of NEMO's files."""
        with self._data() as data:
            entries = {n.lower(): data.getncattr(n) for n in data.ncattrs()}
            small = {n: v for n, v in data.variables.items() if v.size == 1}
            scalars = {n.lower(): np.asarray(v[...]).item() for n, v in small.items()}
        entries = scalars | entries
        if "iperio" in entries:  # NEMO 4.2
            if int(entries.get("jperio", 0)):
                raise self.error("it closes on itself in y, which is not possible here")
            kind = str(entries.get("nftype", "")).strip().upper()
            fold = {"T": "t_point", "F": "f_point"}.get(kind, _SOME_FOLD)
            return bool(entries["iperio"]), fold if entries.get("nfold") else "none"
        code = entries.get("jperio", entries.get("nn_perio"))
        if code is None:
            return None, None
        known = {0: (False, "none"), 1: (True, "none"), 4: (True, "t_point"), 6: (True, "f_point")}
        if int(code) not in known:
            raise self.error(
                f"jperio {int(code)} is not possible here: 0 (walls), 1 (periodic in x), 4 and 6 "
                "(that with a north fold) are"
            )
        return known[int(code)]

    def _place(self, at: str, rows, columns) -> np.ndarray:
        rows, columns = np.atleast_1d(rows), np.atleast_1d(columns)
        lat, lon = (self._any_order(f"{n}{at}", rows, columns) for n in ("gphi", "glam"))
        return unit(lat, lon)

    def _repeats_columns(self) -> bool:
        ny, nx = self._size
        place = self._place("t", np.arange(ny), [0, 1, nx - 2, nx - 1])
        step = _distance(place[:, 0], place[:, 1]).max()
        both = _distance(place[:, 0], place[:, 2]).max(), _distance(place[:, 1], place[:, 3]).max()
        return bool(step > 0 and max(both) < _SAME * step)

    def _choose_periodic(self, wishes: Wishes, said: bool | None, repeats: bool) -> bool:
        if wishes.periodic is not None:
            return wishes.periodic
        if said is None and not repeats:
            raise self.error(
                "it does not say whether it closes on itself in x: it has no jperio, nn_perio or "
                "Iperio, and no columns that repeat others. Set grid.periodic: true or false"
            )
        return repeats if said is None else said

    def _choose_fold(self, wishes: Wishes, said: str | None) -> str:
        fold = wishes.north_fold if wishes.north_fold != "file" else said
        if not self.periodic_x:
            if fold not in (None, "none"):
                source = "the file" if fold == said else "grid.north_fold"
                raise self.error(f"it folds in the north, as {source} says, {_SEAMLESS}")
            return "none"
        fits = [f for f in _FOLDS if self._fold_row(f)]
        if fold is None:
            return fits[0] if fits else "none"
        if fold == _SOME_FOLD:
            if fits:
                return fits[0]
            raise self.error(
                "NFold says that it folds in the north, but NFtype is neither T nor F, and its "
                "last rows are not their own mirror image. Set NFtype in the file, or "
                "grid.north_fold: none"
            )
        if fold != "none" and fold not in fits:
            raise self.error(
                f"it has a north fold ({fold}), but its last rows are not their own mirror image "
                f"as such a fold makes them{f'; they fit {fits[0]}' if fits else ''}"
            )
        return fold

    def _fold_row(self, fold: str) -> int:
        """Number of rows with that whose centres (T-point pivot) or northern faces (F-point) lie on
        the fold; 0: none."""
        ny, nx = self._size[0], self._columns
        at, shift = ("t", 0) if fold == "t_point" else ("v", 1)
        columns = np.arange(nx)
        for rows in (ny, ny - 1):
            line = self._place(at, rows - 1, columns + self._first)[0]
            step = np.median(_distance(line, np.roll(line, 1, axis=0)))
            mirror = line[np.mod(-columns - shift, nx)]
            if _distance(line, mirror).max() < _SAME * step < _distance(line[0], line[nx // 2]):
                return rows
        return 0

    def _lay_out(self, fold: str) -> None:
        """Which line of the file the model's first lines are: the file's are counted so that t
        points lie where odd ones meet, u points east of them, and v points north."""
        ny, nx = self._size[0], self._columns
        if fold != "none":
            self._need_even(nx)
            rows = self._fold_row(fold)
            self._skip = (2, 1) if fold == "t_point" else (1, 0)
            self.shape = (rows - (fold == "t_point"), nx)
        else:
            self._skip = (2, 0 if self.periodic_x else 2)
            self.shape = (ny - 1, nx - (not self.periodic_x))

    def lines(self, name: str, y, x) -> np.ndarray:
        """See :class:`dogcm.grid.supergrid.Supergrid`."""
        y, x = np.asarray(y) + self._skip[0], np.asarray(x) + self._skip[1]
        if name == "area":
            return self._points("e1", y, x) * self._points("e2", y, x)
        return self._points(_IN_NEMO[name], y, x)

    def stored(self, name: str, y: int, x: int) -> str:
        """See :class:`dogcm.grid.supergrid.Supergrid`."""
        point = "fvut"[2 * ((y + self._skip[0]) % 2) + (x + self._skip[1]) % 2]
        return f"{_IN_NEMO[name]}{point}" if name in _IN_NEMO else f"e1{point} * e2{point}"

    def negative(self) -> str:
        """See :class:`dogcm.grid.supergrid.Supergrid`."""
        return self._negative(n for n in _NEMO if n.startswith("e"))

    def _points(self, name: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        out = np.empty((y.size, x.size))
        for at, (odd_y, odd_x) in {"t": (1, 1), "u": (1, 0), "v": (0, 1), "f": (0, 0)}.items():
            j, i = np.flatnonzero(y % 2 == odd_y), np.flatnonzero(x % 2 == odd_x)
            if j.size and i.size:
                rows, columns = (y[j] + 1) // 2 - 1, (x[i] + 1) // 2 - 1
                columns = columns % self._columns if self.periodic_x else columns
                out[np.ix_(j, i)] = self._any_order(f"{name}{at}", rows, columns + self._first)
        return out


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=-1)


__all__ = ["Fold", "Mom6Supergrid", "NemoMesh", "Wishes", "open_supergrid"]
