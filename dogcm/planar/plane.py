"""A plane of air or water: its cells, walls, flow and eddy diffusivity, on tiles.

What moves in the plane is all that a coarse model knows; what leaves it through its upper and
lower side is not resolved. The horizontal flow of a plane is therefore not free of divergence. The
flow may be steady or change from interval to interval.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import Decomposition, Halo
from dogcm.field import Field, exchange, fmap, maximum
from dogcm.halo import connect
from dogcm.operators import (
    diff_x_u2c,
    diff_y_v2c,
    lower_x_c2u,
    lower_y_c2v,
    mean_x_c2u,
    mean_y_c2v,
    upper_x_c2u,
    upper_y_c2v,
)

# Cells around a tile that one step uses up: slopes, fluxes, and the limits of fluxes.
DEPTH = 3
# Diffusivity (m2 s-1) that counts as none: a logarithm of it is still a number.
SMALLEST = 1e-6
# A cell of which less than this part is fluid counts as wall.
THINNEST = 0.05


class PlaneError(ValueError):
    """A plane, source or state that cannot be used; says what, where, and what to do."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["wet_c", "wet_u", "wet_v", "part", "u", "v", "diffusivity_u", "diffusivity_v",
                 "mixing", "signals"],
    meta_fields=["dx", "dy", "height", "every"],
)  # fmt: skip
@dataclass(frozen=True)
class Plane:
    """Cells, flow and diffusivity on one tile with a halo of :data:`DEPTH` cells.

    Attributes:
        wet_c: 1 in fluid, 0 in walls and beyond them. wet_u, wet_v: open part of faces.
        part: of a cell that is fluid; 1 in walls, where nothing is.
        u, v: velocity (m s-1) normal to faces, zero on closed ones.
        diffusivity_u, diffusivity_v: eddy diffusivity (m2 s-1) on west and south faces.
        dx, dy, height: of a cell (m).
        mixing: known rate (s-1) at which turbulence exchanges the plane with what is beside it.
        signals: what else is known, dimensionless and of order one, ``(signals, y, x)``.
        every: interval (s) after which flow, mixing and signals change: they then have a leading
            axis of intervals, and :meth:`at` gives the plane of a moment. 0: all are steady.
    """

    wet_c: Field
    wet_u: Field
    wet_v: Field
    part: Field
    u: Field
    v: Field
    diffusivity_u: Field
    diffusivity_v: Field
    dx: float
    dy: float
    height: float
    mixing: Field | None = None
    signals: Field | None = None
    every: float = 0.0

    # What a set of learnable maps asks of a grid.
    nz = 1

    @property
    def h_c(self) -> Field:
        """The mask, for its halo."""
        return self.wet_c

    @property
    def dtype(self):
        return self.wet_c.dtype

    @property
    def area(self) -> float:
        """Of a cell (m2)."""
        return self.dx * self.dy

    def divergence(self) -> Field:
        """Of the horizontal flow (s-1): what comes in from above and below."""
        rate = diff_x_u2c(self.u) * (1.0 / self.dx) + diff_y_v2c(self.v) * (1.0 / self.dy)
        return rate * self.wet_c / self.part

    def at(self, time) -> Plane:
        """The steady plane of the interval of ``time`` (s), the first or last one beyond them."""
        if not self.every:
            return self
        # A moment between two intervals belongs to the later one, whatever it was rounded to.
        number = jnp.floor(time / self.every + 1e-3).astype(jnp.int32)
        now = lambda f: None if f is None else f.with_data(jnp.take(f.data, number, 0, mode="clip"))
        names = ("u", "v", "mixing", "signals")
        return replace(self, every=0.0, **{n: now(getattr(self, n)) for n in names})

    def leaving(self) -> Field:
        """Rate (s-1) at which flow and mixing take out of a steady plane."""
        sinking = fmap(lambda d: jnp.maximum(-d, 0.0), self.divergence())
        return sinking if self.mixing is None else sinking + self.mixing


def make_plane(
    comm, layout, arrays: dict[str, np.ndarray], cell: tuple, dtype=np.float64, every: float = 0.0
):
    """The plane and the halo exchange of this rank's tile.

    Args:
        comm: host communicator (:func:`dogcm.decomp.world`). layout: closed in x.
        arrays: global, on every rank: ``mask`` (ny, nx), the part of a cell that is fluid; ``u``
            (ny, nx + 1) and ``v`` (ny + 1, nx), volume flux over area of whole faces, m s-1;
            ``eddy_diffusivity`` (ny, nx) in m2 s-1; and, where there are screens between cells,
            ``open_x`` and ``open_y``, the open part of faces; where they are known, ``mixing`` (ny,
            nx) in s-1 and ``signals`` (signals, ny, nx), see :class:`Plane`.
        cell: dx, dy and height of cells (m).
        every: seconds after which ``u``, ``v``, ``mixing`` and ``signals`` change: they then have a
            leading axis of intervals.

    Returns:
        Plane, :class:`dogcm.decomp.Decomposition`, :class:`dogcm.halo.HaloExchange`.

    Raises:
        PlaneError: unknown names, shapes that do not fit, numbers that are not finite, parts beyond
            0 and 1, a flow through walls.
    """
    _check(layout, arrays, cell, every)
    d, halos = Decomposition(layout, comm), connect(layout, comm)
    told = _told(arrays)
    t, halo = d.tile, Halo.of(DEPTH + 1)
    cut = lambda a, at: Field(jnp.asarray(a[..., t.j0 : t.j1, t.i0 : t.i1], dtype), at)
    f = dict(zip(told, exchange(halos, *((cut(*part), halo) for part in told.values()))))
    inside = Field(jnp.asarray(_inside(layout, t, DEPTH + 1), dtype), "c", halo)
    f = _with_walls(f, inside)
    # Closed faces have a diffusivity too, which nothing uses: that of a logarithm has to exist.
    eddy = f.pop("eddy_diffusivity")
    for name, on in (("diffusivity_u", mean_x_c2u), ("diffusivity_v", mean_y_c2v)):
        f[name] = maximum(on(eddy), SMALLEST)
    dx, dy, height = map(float, cell)
    cropped = {n: x.crop(DEPTH) for n, x in f.items()}
    return Plane(**cropped, dx=dx, dy=dy, height=height, every=float(every)), d, halos


def _with_walls(f: dict[str, Field], inside: Field) -> dict[str, Field]:
    """What is beyond the rim of the domain, and through walls, taken out."""
    # Beyond walls an exchange brings whatever is on the other side of the domain.
    f = f | {n: x * inside for n, x in f.items() if x.at == "c"}
    f["part"] = f["part"] + (1.0 - inside)
    f["wet_u"] = f["wet_u"] * lower_x_c2u(f["wet_c"]) * upper_x_c2u(f["wet_c"])
    f["wet_v"] = f["wet_v"] * lower_y_c2v(f["wet_c"]) * upper_y_c2v(f["wet_c"])
    shut = lambda f, w: f * fmap(lambda x: (x > 0).astype(x.dtype), w, name="open")
    return f | {"u": shut(f["u"], f["wet_u"]), "v": shut(f["v"], f["wet_v"])}


def _told(arrays: dict) -> dict[str, tuple[np.ndarray, str]]:
    """Global arrays by name, and their place."""
    mask = np.asarray(arrays["mask"], float)
    fluid = mask > THINNEST
    open_x, open_y = _open_faces(fluid, arrays)
    eddy = np.maximum(np.asarray(arrays["eddy_diffusivity"], float), SMALLEST) * fluid
    told = {
        "wet_c": (fluid, "c"),
        "eddy_diffusivity": (eddy, "c"),
        "part": (np.where(fluid, mask, 1.0), "c"),
        "wet_u": (open_x, "u"),
        "wet_v": (open_y, "v"),
        "u": (np.asarray(arrays["u"]), "u"),
        "v": (np.asarray(arrays["v"]), "v"),
    }
    more = [n for n in ("mixing", "signals") if n in arrays]
    return told | {n: (np.where(fluid, arrays[n], 0.0), "c") for n in more}


def _open_faces(fluid: np.ndarray, arrays: dict) -> tuple[np.ndarray, np.ndarray]:
    """The open part of west and of south faces, and of those at the far walls."""
    found = []
    for name, axis in (("open_x", 1), ("open_y", 0)):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (1, 1)
        padded = np.pad(fluid, pad)
        n = padded.shape[axis] - 1
        both = padded.take(range(n), axis) & padded.take(range(1, n + 1), axis)
        found.append(both * np.asarray(arrays.get(name, 1.0), float))
    return found[0], found[1]


def _inside(layout, tile, depth: int) -> np.ndarray:
    """1 within the walls of the domain, 0 beyond."""
    ny, nx = layout.shape
    rows = np.arange(tile.j0 - depth, tile.j1 + depth)
    columns = np.arange(tile.i0 - depth, tile.i1 + depth)
    return np.outer((rows >= 0) & (rows < ny), (columns >= 0) & (columns < nx)).astype(float)


_KNOWN = dict.fromkeys(
    ("mask", "u", "v", "eddy_diffusivity", "open_x", "open_y", "mixing", "signals")
).keys()


def _check(layout, arrays: dict, cell, every: float) -> None:
    ny, nx = layout.shape
    if layout.periodic_x or layout.drops_tiles or layout.north_fold:
        raise PlaneError(
            f"{layout.describe()}: a plane has walls on all sides and no missing tiles; make its "
            "layout with periodic_x=False"
        )
    if np.shape(cell) != (3,) or not all(np.isfinite(x) and x > 0 for x in cell):
        raise PlaneError(f"cell {cell}: give dx, dy and height in m, all positive")
    if not (np.isfinite(every) and every >= 0):
        raise PlaneError(
            f"every = {every}: seconds from interval to interval, or 0 for a steady flow"
        )
    unknown = sorted(set(arrays) - _KNOWN)
    if unknown:
        raise PlaneError(f"{', '.join(unknown)}: unknown; a plane is made of {', '.join(_KNOWN)}")
    for name, shape in _wanted(ny, nx, arrays, every).items():
        have = np.shape(arrays.get(name))
        if name not in arrays or have != shape:
            raise PlaneError(f"{name} is {have if name in arrays else 'absent'}, wanted: {shape}")
        if not np.isfinite(arrays[name]).all():
            at = ", ".join(str(i) for i in np.argwhere(~np.isfinite(arrays[name]))[0])
            raise PlaneError(f"{name}[{at}] is not finite")
    for name in ("eddy_diffusivity", "mixing"):
        if (np.asarray(arrays.get(name, 0.0)) < 0).any():
            raise PlaneError(f"{name} is negative somewhere: it has to be 0 or more")
    for name in ("mask", "open_x", "open_y"):
        part = np.asarray(arrays.get(name, 1.0), float)
        if part.min() < 0 or part.max() > 1:
            raise PlaneError(
                f"{name} is a part, from 0 to 1, not from {part.min():g} to {part.max():g}"
            )
    _check_walls({n: np.asarray(a) for n, a in arrays.items()})


def _wanted(ny: int, nx: int, arrays: dict, every: float) -> dict[str, tuple]:
    """Shapes by name; the number of intervals is that of u, the number of signals is free."""
    changing = np.shape(arrays.get("u"))[:1] if every else ()
    wanted = {
        "mask": (ny, nx), "u": (*changing, ny, nx + 1), "v": (*changing, ny + 1, nx),
        "eddy_diffusivity": (ny, nx), "open_x": (ny, nx + 1), "open_y": (ny + 1, nx),
        "mixing": (*changing, ny, nx),
        "signals": (*changing, *np.shape(arrays.get("signals"))[-3:-2], ny, nx),
    }  # fmt: skip
    always = ("mask", "u", "v", "eddy_diffusivity")
    return {n: shape for n, shape in wanted.items() if n in always or n in arrays}


def _check_walls(arrays: dict) -> None:
    faces = _open_faces(np.asarray(arrays["mask"]) > THINNEST, arrays)
    for name, is_open in zip(("u", "v"), faces):
        through = np.abs(np.where(is_open > 0, 0.0, arrays[name]))
        if through.max() > 1e-6:
            at = np.unravel_index(through.argmax(), through.shape)
            raise PlaneError(
                f"{name}[{', '.join(map(str, at))}] = {arrays[name][at]:g} m s-1 blows through a "
                "wall: make it zero there, or the cells on both sides fluid"
            )


def place_source(plane_shape, cell, position, strength: float = 1.0, mask=None) -> np.ndarray:
    """Concentration that a point source adds to the cells of a plane each second.

    Args:
        plane_shape: (ny, nx). cell: dx, dy and height (m). position: x and y (m).
        strength: kg s-1 (then kg m-3 s-1 returned). mask: part of cells that is fluid.

    Returns:
        (ny, nx), zero but in one cell, whatever the spacing with the same sum over volumes.

    Raises:
        PlaneError: the source is outside the domain or in a wall.
    """
    (ny, nx), (dx, dy, height), (x, y) = plane_shape, cell, position
    if not (0 <= x < nx * dx and 0 <= y < ny * dy):
        raise PlaneError(
            f"the source at x = {x:g} m, y = {y:g} m is outside the plane (0 to {nx * dx:g} m, "
            f"0 to {ny * dy:g} m)"
        )
    j, i = int(y / dy), int(x / dx)
    if mask is not None and np.asarray(mask)[j, i] <= THINNEST:
        raise PlaneError(f"the source at x = {x:g} m, y = {y:g} m is in a wall (cell [{j}, {i}])")
    rate = np.zeros((ny, nx))
    part = 1.0 if mask is None else float(np.asarray(mask)[j, i])
    rate[j, i] = strength / (dx * dy * height * part)
    return rate


def with_diffusivity(plane: Plane, value: Any) -> Plane:
    """The plane with another diffusivity: a number, a Field at c, or one on west and one on south
    faces, with halo."""
    if isinstance(value, tuple):
        du, dv = value
    elif isinstance(value, Field):
        du, dv = mean_x_c2u(value), mean_y_c2v(value)
    else:
        du, dv = (f * 0.0 + value for f in (plane.diffusivity_u, plane.diffusivity_v))
    return replace(plane, diffusivity_u=du, diffusivity_v=dv)
