"""Sections: lines of cell faces between points on the globe, by name or by their end points.

A section is a staircase of faces from the cell corner nearest to one point to that nearest to the
next, close to the straight line in longitude and latitude (where the grid's lines are no parallels
and meridians, see :mod:`dogcm.diagnostics.corner_paths`). What flows through it therefore depends
on its ends only, as long as the flow between two such lines has no divergence. **Positive is what
crosses to the left** of someone who walks from the first
point to the last: northward for a section from west to east, eastward for one from north to south.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.diagnostics.corner_paths import Corners, straight
from dogcm.field import Field

# Points (longitude, latitude) from land to land, and where positive is. Ends lie well inland, so
# that the lines are closed at any resolution.
NAMED = {
    "drake_passage": (((-70, -50), (-67, -55), (-66, -68), (-66, -75)), "eastward"),
    "africa_antarctica": (((22, -31), (20, -72)), "eastward"),
    "australia_antarctica": (((145, -34), (146.5, -42), (143, -70)), "eastward"),
    "indonesian_throughflow": (
        (
            (131, -16),
            (125.5, -9.2),
            (121, -8.7),
            (115.3, -8.5),
            (107, -7),
            (104, -3),
            (102, 4),
            (101, 15),
        ),
        "from the Pacific to the Indian Ocean",
    ),
    "mozambique_channel": (((36, -18), (47, -19)), "northward"),
    "bering_strait": (((172, 66), (199, 66)), "northward"),
    "denmark_strait": (((-35, 69.5), (-19, 65)), "northward, into the Nordic Seas"),
    "iceland_scotland": (((-19, 65), (-4.5, 57)), "northward, into the Nordic Seas"),
    "fram_strait": (((-25, 79), (17, 79)), "northward, into the Arctic"),
    "gibraltar": (((-5.6, 37.5), (-5.6, 34)), "eastward, into the Mediterranean"),
}


class SectionError(ValueError):
    """A section that cannot be made; the message says which, and what to do."""


def find_section(name: str) -> tuple[tuple[tuple[float, float], ...], str]:
    """Points of a named section, and its positive direction.

    Raises:
        SectionError: unknown name, with the nearest known ones.
    """
    if name not in NAMED:
        close = difflib.get_close_matches(name, NAMED, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(NAMED)}"
        raise SectionError(f"unknown section {name!r}; {hint}")
    return NAMED[name]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["u", "v"], meta_fields=[])
@dataclass(frozen=True)
class Line:
    """A section on one tile: +1 or -1 at the west faces (u) and south faces (v) that it runs along,
    else 0."""

    u: Field
    v: Field


def corners(horizontal) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes (nx + 1) and latitudes (ny + 1) of the cell corners; x and y in km on a plane."""
    if horizontal.curvilinear and not horizontal.along_parallels:
        raise SectionError(
            "this grid's lines are no parallels and meridians, and its corners have no axes"
        )
    if horizontal.spherical:
        return np.asarray(horizontal.lon_edges), np.asarray(horizontal.lat_edges)
    ny, nx = horizontal.shape
    return np.arange(nx + 1) * horizontal.dx / 1e3, (
        horizontal.y0 + np.arange(ny + 1) * horizontal.dy
    ) / 1e3


def faces_along(horizontal, points, name: str = "section") -> list[tuple[str, int, int, int]]:
    """Faces of the staircase through ``points`` as (``u`` or ``v``, row j, column i, sign).

    Args:
        points: two or more (longitude, latitude), degrees; (x, y) in km on a plane. Between
            neighbours the shorter way round is taken.

    Raises:
        SectionError: fewer than two points, or one outside the grid.
    """
    points = [(float(x), float(y)) for x, y in points]
    if len(points) < 2:
        raise SectionError(f"{name}: a section needs two points at least, got {len(points)}")
    if _needs_graph(horizontal, points):
        return _along_corners(horizontal, points, name)
    x, y = corners(horizontal)
    periodic = horizontal.periodic_x
    ny, nx = horizontal.shape
    lon = _beside(points, horizontal, x)
    copies = (
        np.concatenate([x[:-1] + (x[-1] - x[0]) * turn for turn in range(-2, 4)]) if periodic else x
    )
    offset = -2 * nx if periodic else 0
    nodes = []
    for (_, lat), here in zip(points, lon):
        _check_inside(name, here, lat, x, y, periodic)
        nodes.append((int(np.abs(y - lat).argmin()), int(np.abs(copies - here).argmin()) + offset))
    faces: list[tuple[str, int, int, int]] = []
    for start, end in zip(nodes, nodes[1:]):
        path = _staircase(start, end, lambda j, i: (copies[i - offset], y[j]))
        faces += [_face(a, b) for a, b in zip(path, path[1:])]
    wrap = lambda i: i % nx if periodic else i
    # There is nothing to flow through beyond the northern and eastern walls.
    return [(at, j, wrap(i), s) for at, j, i, s in faces if j < ny and (periodic or i < nx)]


def line(horizontal, points, tile, dtype=np.float64, name: str = "section") -> Line:
    """The part of a section on one tile (:class:`dogcm.decomp.layout.Tile`); see
    :func:`faces_along`."""
    weights = {at: np.zeros(tile.shape) for at in "uv"}
    for at, j, i, sign in faces_along(horizontal, points, name):
        if tile.j0 <= j < tile.j1 and tile.i0 <= i < tile.i1:
            weights[at][j - tile.j0, i - tile.i0] += sign
    return Line(*(Field(jnp.asarray(weights[at], dtype), at) for at in "uv"))


# ---- parts
def _needs_graph(horizontal, points) -> bool:
    """Whether a section leaves the part of the grid where lines are parallels and meridians."""
    if not horizontal.curvilinear:
        return False
    if not horizontal.along_parallels:
        return True
    y = corners(horizontal)[1]
    return max(lat for _, lat in points) > horizontal.join + (y[1] - y[0])


def _along_corners(horizontal, points, name: str) -> list[tuple[str, int, int, int]]:
    """:func:`faces_along` on any grid."""
    graph = _graph_of(horizontal)
    nodes = []
    for lon, lat in points:
        node, inside = graph.nearest(lon, lat)
        if not inside:
            raise SectionError(f"{name}: the point ({lon:g}, {lat:g}) lies outside the grid")
        nodes.append(node)
    faces: list[tuple[str, int, int, int]] = []
    for a, b, start, end in zip(points, points[1:], nodes, nodes[1:]):
        found = graph.path(start, end, *straight(a, b))
        if found is None:
            raise SectionError(
                f"{name}: the line from ({a[0]:g}, {a[1]:g}) to ({b[0]:g}, {b[1]:g}) leaves the "
                "grid"
            )
        faces += found
    ny, nx = horizontal.shape
    return [f for f in faces if f[1] < ny and f[2] < nx]


_last: list = []


def _graph_of(horizontal) -> Corners:
    """The graph of a grid; that of the last one is kept, for its other sections."""
    if not _last or _last[0] is not horizontal:
        _last[:] = [horizontal, Corners(horizontal)]
    return _last[1]


def _beside(points, horizontal, x: np.ndarray) -> list[float]:
    """Longitudes of the points without jumps; the first one on the grid."""
    lon = [p[0] for p in points]
    if not horizontal.periodic_x:
        # Regional grids may count longitudes from 0 or from -180.
        nearest = lambda p: (
            0.5 * (x[0] + x[-1]) + (p - 0.5 * (x[0] + x[-1]) + 180.0) % 360.0 - 180.0
        )
        return [nearest(p) if horizontal.spherical and not x[0] <= p <= x[-1] else p for p in lon]
    width = x[-1] - x[0]
    out = [x[0] + (lon[0] - x[0]) % width]
    for before, now in zip(lon, lon[1:]):
        # Exactly half way round counts as eastward.
        step = (now - before) % width
        out.append(out[-1] + (step if step <= 0.5 * width else step - width))
    return out


def _check_inside(name, lon, lat, x, y, periodic) -> None:
    inside_x = periodic or x[0] - (x[1] - x[0]) <= lon <= x[-1] + (x[-1] - x[-2])
    if not (inside_x and y[0] - (y[1] - y[0]) <= lat <= y[-1] + (y[-1] - y[-2])):
        raise SectionError(
            f"{name}: the point ({lon:g}, {lat:g}) lies outside the grid, which spans {x[0]:g} to "
            f"{x[-1]:g} in x and "
            f"{y[0]:g} to {y[-1]:g} in y"
        )


def _staircase(start, end, place) -> list[tuple[int, int]]:
    """Corners (j, i) from ``start`` to ``end``: always nearer, and as close to the straight line as
    possible."""
    (xa, ya), (xb, yb) = place(*start), place(*end)

    def off(node):
        px, py = place(*node)
        return abs((xb - xa) * (py - ya) - (yb - ya) * (px - xa))

    path = [start]
    while path[-1] != end:
        j, i = path[-1]
        choices = []
        if i != end[1]:
            choices.append((j, i + int(np.sign(end[1] - i))))
        if j != end[0]:
            choices.append((j + int(np.sign(end[0] - j)), i))
        path.append(min(choices, key=off))
    return path


def _face(a: tuple[int, int], b: tuple[int, int]) -> tuple[str, int, int, int]:
    """The face between two neighbouring corners, with +1 where its positive direction is to the
    left."""
    (ja, ia), (jb, ib) = a, b
    if ja == jb:
        return "v", ja, min(ia, ib), (1 if ib > ia else -1)
    return "u", min(ja, jb), ia, (1 if jb < ja else -1)


__all__ = ["NAMED", "Line", "SectionError", "corners", "faces_along", "find_section", "line"]
