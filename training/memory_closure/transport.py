"""Advection and diffusion of a concentration in a steady flow, from small sources.

Finite volumes, one direction after the other in alternating order (Strang 1968, doi
10.1137/0705041), each with van Leer's limited flux (1974, doi 10.1016/0021-9991(74)90019-9) and
central diffusion. The air that a single direction gathers in a cell is followed beside the
concentration (Easter 1993, doi 10.1175/1520-0493(1993)121<0297:TMVOBS>2.0.CO;2), so a uniform
concentration stays uniform. What leaves one cell enters another or an exhaust, to round-off; the
step is so short that no cell can lose more than it has, so nothing becomes negative. Air that
enters is clean.

Arrays are flat over (z, y, x) with one ring of cells around the room, where what leaves through an
exhaust is gathered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flow import Flow
from room import Cells, Room

CUBE = 0.1  # edge of a source, m
UNIT = 1e-6  # kg: what the mass of a run is counted in
TINY = 1e-30  # keeps a slope between equal neighbours from being 0 / 0
SLOTS = 3  # sources of a case; those that are not used have no strength


@dataclass(frozen=True)
class Sources:
    """What a case releases: ``start`` and ``end`` (n, 3) positions x, y, z in m, between which a
    source moves evenly over ``travel`` seconds; ``strength`` (n,) in kg/s."""

    start: np.ndarray
    end: np.ndarray
    strength: np.ndarray
    travel: float = 600.0

    def filled(self, dtype) -> tuple:
        """Arrays with `SLOTS` sources, strength in mg/s: squares of kg/m3 underflow."""
        more = ((0, SLOTS - len(self.strength)), (0, 0))
        start, end = (np.pad(a, more, mode="edge") for a in (self.start, self.end))
        strength = np.pad(self.strength / UNIT, more[0])
        return tuple(jnp.asarray(a, dtype) for a in (start, end, strength, self.travel))

    def check(self, cells: Cells, room: Room, samples: int = 300) -> None:
        """Errors: ValueError if a source is, or comes, outside the room or into something solid,
        or if it crosses a partition."""
        if len(self.strength) > SLOTS:
            raise ValueError(f"{len(self.strength)} sources in a case; at most {SLOTS}")
        for start, end in zip(self.start, self.end):
            path = np.linspace(start, end, samples if (start != end).any() else 1)
            corners = CUBE / 2 * (np.indices((2, 2, 2)).reshape(3, -1).T * 2 - 1)
            where = (path[:, None] + corners).reshape(-1, 3)
            if (where < 0).any() or (where > np.array(room.size)).any():
                raise ValueError(f"a source from {start} to {end} m leaves the room {room.size}")
            index = np.minimum(
                (where / cells.spacing).astype(int), np.array(cells.air.shape[::-1]) - 1
            )
            if not cells.air[tuple(index.T[::-1])].all():
                raise ValueError(f"a source from {start} to {end} m is within a block of the room")
            if crosses(room, where):
                raise ValueError(f"a source from {start} to {end} m crosses a partition")


def crosses(room: Room, where: np.ndarray) -> bool:
    """Whether the points ``where`` lie on both sides of the extent of a partition."""
    for p in room.partitions:
        across, along = (0, 1) if p.axis == "x" else (1, 0)
        beside = (where[:, along] >= p.low[0]) & (where[:, along] <= p.high[0])
        beside &= (where[:, 2] >= p.low[1]) & (where[:, 2] <= p.high[1])
        side = np.sign(where[beside, across] - p.at)
        if (side != side[:1]).any():
            return True
    return False


def longest_step(flow: Flow, longest: float) -> float:
    """The longest step (s) that divides ``longest`` into an even number of parts and with which
    no cell can lose more than it has."""
    for parts in range(2, 20000, 2):
        if all(_positive(flow, longest / parts, order) for order in ((0, 1, 2), (2, 1, 0))):
            return longest / parts
    raise ValueError(f"no step of more than {longest / 20000:g} s keeps the concentration positive")


def _positive(flow: Flow, dt: float, order: tuple) -> bool:
    left = np.ones(flow.cells.air.shape)
    for axis in order:
        dim, d = 2 - axis, flow.cells.spacing[axis]
        c = flow.velocity[axis] * dt / d
        k = _face_diffusivity(flow, axis) * dt / d**2
        (c_low, c_high), (k_low, k_high) = (_both_faces(a, dim) for a in (c, k))
        out = np.maximum(-c_low, 0), np.maximum(c_high, 0)
        lost = sum(o * (2 - np.minimum(o, 1)) for o in out) + k_low + k_high
        if (left - lost < 0).any() or max(o.max() for o in out) > 1:
            return False
        left = left - (c_high - c_low)
    return True


def _both_faces(a: np.ndarray, dim: int) -> tuple:
    """Values on the lower and the upper faces of cells."""
    n = a.shape[dim]
    return a.take(range(n - 1), dim), a.take(range(1, n), dim)


def _face_diffusivity(flow: Flow, axis: int) -> np.ndarray:
    """Diffusivity on faces (m2/s): mean of both sides, zero where nothing passes."""
    dim = 2 - axis
    padded = np.pad(flow.diffusivity, [(1, 1) if d == dim else (0, 0) for d in range(3)])
    return 0.5 * sum(_both_faces(padded, dim)) * flow.cells.open[axis]


def _coefficients(flow: Flow, dt: float, dtype) -> tuple:
    """For each order of directions, for each sweep, what `_sweep` needs: on faces below the cells
    of the ringed room Courant and diffusion numbers (these for two more rows of faces, zero where
    nothing passes), in cells the air before and one over that after."""
    orders, ringed = [], [n + 2 for n in flow.cells.air.shape]
    strides = (1, ringed[2], ringed[2] * ringed[1])
    for order in ((0, 1, 2), (2, 1, 0)):
        air, sweeps = np.ones(flow.cells.air.shape), []
        for axis in order:
            dim, d = 2 - axis, flow.cells.spacing[axis]
            c, k = flow.velocity[axis] * dt / d, _face_diffusivity(flow, axis) * dt / d**2
            # Exactly one at the end: mass is kept to round-off whatever divergence is left.
            after = air - np.diff(c, axis=dim) if len(sweeps) < 2 else np.ones_like(air)
            ring = [(1, 1)] * 3
            faces = [(1, 1) if a != dim else (1, 0) for a in range(3)]
            s = strides[axis]
            c, k = (np.append(np.pad(a, faces).ravel(), np.zeros(s)) for a in (c, k))
            arrays = [c, np.pad(k, s)]
            arrays += [np.pad(a, ring, constant_values=1).ravel() for a in (air, 1 / after)]
            sweeps.append(tuple(jnp.asarray(a, dtype) for a in arrays))
            air = after
        orders.append(tuple(sweeps))
    return tuple(orders)


_once = jax.lax.optimization_barrier


def _sweep(c, s: int, coefficients: tuple, n: int, margin: int):
    """One direction, whose neighbours are ``s`` apart. ``c`` has ``n`` cells and a margin of
    zeros at both ends; faces are numbered by the cell above them.

    Barriers keep the compiler from working out slopes and fluxes twice for each cell."""
    courant, k, before, after = coefficients
    take = lambda low, length: jax.lax.slice(c, (margin + low,), (margin + low + length,))
    jump = _once(jnp.where(k > 0, take(-s, n + 3 * s) - take(-2 * s, n + 3 * s), 0))
    a, b = jump[:-s], jump[s:]
    product = jnp.maximum(a * b, 0)
    half_slope = _once(product * (a + b) / ((a + b) ** 2 + TINY))
    up, down = jnp.maximum(courant, 0), jnp.minimum(courant, 0)
    flux = up * (take(-s, n + s) + (1 - up) * half_slope[:-s]) - k[s:-s] * jump[s:-s]
    flux = _once(flux + down * (take(0, n + s) - (1 + down) * half_slope[s:]))
    new = (before * take(0, n) - (flux[s:] - flux[:-s])) * after
    return jax.lax.dynamic_update_slice(c, new, (margin,))


def _release(c, place: tuple, t, dt: float, sources: tuple):
    """Add what the sources emit in ``dt`` from time ``t`` on."""
    spacing, strides, volume = place
    start, end, strength, travel = sources
    corner = start + (end - start) * jnp.minimum((t + dt / 2) / travel, 1.0) - CUBE / 2
    at = corner / spacing
    cell = jnp.floor(at).astype(jnp.int32)
    lower = jnp.clip((cell + 1 - at) * spacing / CUBE, 0, 1)  # the share below the next face
    share = jnp.stack([lower, 1 - lower], -1)
    amount = strength[:, None, None, None] * dt / volume
    amount = amount * share[:, 0, :, None, None] * share[:, 1, None, :, None]
    amount = amount * share[:, 2, None, None, :]
    step = jnp.arange(2)
    where = ((cell + 1) * strides).sum(-1)[:, None, None, None] + (
        step[:, None, None] * strides[0] + step[:, None] * strides[1] + step * strides[2]
    )
    return c.at[where.ravel() + 2 * strides[2]].add(amount.astype(c.dtype).ravel())


@lru_cache
def _runner(shape: tuple, spacing: tuple, levels: tuple, dt: float, parts: int, records: int):
    """The compiled run of one case."""
    ringed = tuple(n + 2 for n in shape)
    strides = (1, ringed[2], ringed[2] * ringed[1])
    n, margin, volume = int(np.prod(ringed)), 2 * strides[2], float(np.prod(spacing))
    place = np.asarray(spacing), np.asarray(strides), volume

    def step(i, carried, orders, sources):
        c, t = carried
        for order, axes in zip(orders, ((0, 1, 2), (2, 1, 0))):
            c = _release(c, place, t, dt, sources)
            for axis, coefficients in zip(axes, order):
                c = _sweep(c, strides[axis], coefficients, n, margin)
            t = t + dt
        return c, t

    def record(carried, _, orders, sources):
        c, t = jax.lax.fori_loop(
            0, parts // 2, partial(step, orders=orders, sources=sources), carried
        )
        cube = c[margin : margin + n].reshape(ringed)
        inside = cube[1:-1, 1:-1, 1:-1]
        held = inside.sum() * volume
        gone = cube.at[1:-1, 1:-1, 1:-1].set(0).sum() * volume
        plane = inside[levels[0] : levels[1]].mean(0)
        return (c, t), (plane, held, gone)

    @jax.jit
    def run(initial, orders, sources):
        start = jnp.pad(jnp.pad(initial, 1).ravel(), margin), jnp.zeros((), initial.dtype)
        body = partial(record, orders=orders, sources=sources)
        return jax.lax.scan(body, start, None, length=records)[1]

    return run


@dataclass(frozen=True)
class Plume:
    """What is kept of a run, at times 0, ``every``, ...

    Attributes:
        plane: concentration (kg/m3), mean over the levels of the plane, (time, y, x).
        inventory: mass in the room (kg), (time,).
        exhausted: mass that has left (kg), (time,).
        emitted: mass released (kg), (time,).
    """

    plane: np.ndarray
    inventory: np.ndarray
    exhausted: np.ndarray
    emitted: np.ndarray


class Transport:
    """The tracer equation in one flow; `plume` runs it for a case."""

    def __init__(self, flow: Flow, levels: tuple, every: float = 4.0, dtype=jnp.float32):
        """``levels`` (low, high) of the plane; a record is kept ``every`` seconds."""
        self.flow, self.levels, self.every, self.dtype = flow, levels, every, dtype
        self.dt = longest_step(flow, every)
        self.orders = _coefficients(flow, self.dt, dtype)

    def plume(self, sources: Sources, seconds: float, initial: np.ndarray | None = None) -> Plume:
        """Release ``sources`` and follow them for ``seconds``, from clean air or from ``initial``
        (kg/m3, (nz, ny, nx))."""
        cells, records = self.flow.cells, round(seconds / self.every)
        parts = round(self.every / self.dt)
        run = _runner(cells.air.shape, cells.spacing, self.levels, self.dt, parts, records)
        if initial is None:
            initial = np.zeros(cells.air.shape)
        initial = initial * cells.air / UNIT
        kept = run(jnp.asarray(initial, self.dtype), self.orders, sources.filled(self.dtype))
        first = initial[slice(*self.levels)].mean(0), initial.sum() * cells.volume, 0.0
        plane, held, gone = (
            UNIT * np.concatenate([np.asarray(a)[None], b]) for a, b in zip(first, kept)
        )
        emitted = sources.strength.sum() * self.every * np.arange(records + 1)
        return Plume(plane.astype(self.dtype), held, gone, emitted)


def plane_levels(cells: Cells, height: float, thickness: float) -> tuple:
    """The levels (low, high) whose cells make up a slab about ``height``.

    Errors: ValueError if the slab's faces are not faces of cells."""
    edges = [(height + s * thickness / 2) / cells.spacing[2] for s in (-1, 1)]
    low, high = map(round, edges)
    if abs(low - edges[0]) + abs(high - edges[1]) > 1e-6:
        raise ValueError(f"levels of {cells.spacing[2]} m do not meet {height} m +- {thickness}/2")
    return low, high
