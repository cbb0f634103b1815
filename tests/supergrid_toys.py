"""The project's own grids written as MOM6 and NEMO write theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from dogcm.grid.curvilinear import RotatedGrid
from dogcm.grid.tripolar import TripolarGrid


@dataclass(frozen=True)
class Product:
    """A grid whose areas are products of its lengths, as those of NEMO are."""

    base: TripolarGrid | RotatedGrid

    def __getattr__(self, name):
        return getattr(self.base, name)

    def metrics(self, rows, columns):
        m = self.base.metrics(rows, columns)
        areas = {f"area_{p}": getattr(m, f"dx_{p}") * getattr(m, f"dy_{p}") for p in "cuvq"}
        return replace(m, **areas)


def mom6(grid, first: int = 0) -> xr.Dataset:
    """A supergrid from its half row ``first`` on."""
    ny, nx = grid.shape
    last = 2 * ny - 1 if grid.north_fold else 2 * ny
    lines, columns = np.arange(first, last + 1), np.arange(2 * nx + 1)
    lat, lon, angle = grid.positions(lines[:, None] / 2, columns[None, :] / 2)
    if grid.north_fold:
        dx = grid._along_x(lines, columns[:-1])
        dy = grid._along_y(lines[:-1], columns)
        area = grid._areas(lines[:-1], columns[:-1])
    else:
        b, rad = grid.base, np.pi / 180
        edges = np.interp(lines / 2, np.arange(ny + 1), b.lat_edges) * rad
        step = np.diff(np.interp(columns / 2, np.arange(nx + 1), b.lon_edges)) * rad
        dx = b.radius * np.cos(edges)[:, None] * step
        dy = b.radius * np.diff(edges)[:, None] * np.ones(columns.size)
        area = b.radius**2 * np.diff(np.sin(edges))[:, None] * step
    return xr.Dataset(
        {
            "x": (("nyp", "nxp"), lon, {"units": "degrees"}),
            "y": (("nyp", "nxp"), lat, {"units": "degrees"}),
            "dx": (("nyp", "nx"), dx, {"units": "meters"}),
            "dy": (("ny", "nxp"), dy, {"units": "meters"}),
            "area": (("ny", "nx"), area, {"units": "m2"}),
            "angle_dx": (("nyp", "nxp"), np.rad2deg(angle), {"units": "degrees"}),
        }
    )


# Which place of the model each point of NEMO is, and the row and column there less those here.
_WALLS = {"t": ("c", -1, -1), "u": ("u", -1, 0), "v": ("v", 0, -1), "f": ("q", 0, 0)}
_ROUND = {"t": ("c", -1, 0), "u": ("u", -1, 1), "v": ("v", 0, 0), "f": ("q", 0, 1)}
_T_POINT = {"t": ("u", -1, 0), "u": ("c", -1, 0), "v": ("q", 0, 0), "f": ("v", 0, 0)}
_F_POINT = {"t": ("v", 0, 0), "u": ("q", 0, 1), "v": ("c", 0, 0), "f": ("u", 0, 1)}


def nemo(grid, fold: str = "none", repeats: bool = True, time: bool = False) -> xr.Dataset:
    """A mesh; ``repeats``: with the columns and the row that are there twice."""
    ny, nx = grid.shape
    places = {"t_point": _T_POINT, "f_point": _F_POINT}.get(fold)
    places = places or (_ROUND if grid.periodic_x else _WALLS)
    rows = np.arange(ny + (fold != "f_point") + (repeats and fold != "none"))
    columns = np.arange(nx + (not grid.periodic_x))
    if repeats and grid.periodic_x:
        columns = np.arange(-1, nx + 1)
    found = {}
    for point, (at, down, left) in places.items():
        j, i = rows + down, columns + left
        m = grid.metrics(j, i)
        lat, lon = grid.points(at, j, i)
        values = {"glam": lon, "gphi": lat}
        values |= {"e1": getattr(m, f"dx_{at}"), "e2": getattr(m, f"dy_{at}")}
        for name, v in values.items():
            found[f"{name}{point}"] = (("t", "y", "x"), v[None]) if time else (("y", "x"), v)
    return xr.Dataset(found)
