"""The room of the three-dimensional truth, and how it lies on a grid of cubes or slabs.

A room is a box with openings in its walls, solid blocks and thin partitions; it is read from
``room.yaml``. `rasterise` says for each cell whether it is air and for each face whether air can
pass and how fast it must. Lengths are metres, speeds metres per second.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

HERE = Path(__file__).resolve().parent
SIDES = {"west": (0, 0), "east": (0, 1), "south": (1, 0), "north": (1, 1), "ceiling": (2, 1)}
AXES = {"x": 0, "y": 1}
NEAR = 1e-6  # metres: what counts as the same place


@dataclass(frozen=True)
class Opening:
    """Where air enters (``speed`` > 0) or leaves (< 0) through a side of the room."""

    name: str
    side: str
    low: tuple
    high: tuple
    speed: float


@dataclass(frozen=True)
class Block:
    """A solid box."""

    name: str
    low: tuple
    high: tuple


@dataclass(frozen=True)
class Partition:
    """A thin screen normal to ``axis``; ``low`` and ``high`` are its corners along the other
    horizontal axis and in height."""

    name: str
    axis: str
    at: float
    low: tuple
    high: tuple


@dataclass(frozen=True)
class Plane:
    """The slab that the coarse model sees."""

    height: float = 1.5
    thickness: float = 0.5
    spacing: float = 0.5


@dataclass(frozen=True)
class Room:
    """A box of ``size`` (x, y, z) with what stands in it."""

    size: tuple
    plane: Plane = field(default_factory=Plane)
    openings: tuple = ()
    blocks: tuple = ()
    partitions: tuple = ()

    def with_inflow(self, factors: dict[str, float]) -> Room:
        """The room whose openings of these names blow ``factor`` times as fast."""
        unknown = set(factors) - {o.name for o in self.openings}
        if unknown:
            raise ValueError(f"the room has no opening {sorted(unknown)}; see room.yaml")
        changed = tuple(
            dataclasses.replace(o, speed=o.speed * factors.get(o.name, 1.0)) for o in self.openings
        )
        return dataclasses.replace(self, openings=changed)

    def with_moved(self, shifts: dict[str, tuple[float, float]]) -> Room:
        """The room whose partitions of these names are moved by (x, y) metres."""
        unknown = set(shifts) - {p.name for p in self.partitions}
        if unknown:
            raise ValueError(f"the room has no partition {sorted(unknown)}; see room.yaml")

        def moved(p: Partition) -> Partition:
            across, along = shifts.get(p.name, (0.0, 0.0))[:: 1 if p.axis == "x" else -1]
            low, high = (p.low[0] + along, p.low[1]), (p.high[0] + along, p.high[1])
            return dataclasses.replace(p, at=p.at + across, low=low, high=high)

        return dataclasses.replace(self, partitions=tuple(moved(p) for p in self.partitions))


def load_room(path: Path = HERE / "room.yaml") -> Room:
    """The room of a YAML file.

    Errors: ValueError for keys that mean nothing, an opening on an unknown side, or a block or
    partition that leaves the room.
    """
    given = yaml.safe_load(Path(path).read_text())
    kinds = {"openings": Opening, "blocks": Block, "partitions": Partition}
    unknown = set(given) - {"size", "plane", *kinds}
    if unknown or "size" not in given:
        raise ValueError(f"{path}: keys are size, plane, {', '.join(kinds)}; not {sorted(unknown)}")
    try:
        parts = {
            key: tuple(kind(**_tuples(item)) for item in given.get(key, ()))
            for key, kind in kinds.items()
        }
        plane = Plane(**given.get("plane", {}))
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    room = Room(tuple(map(float, given["size"])), plane, **parts)
    _check(room, path)
    return room


def _tuples(item: dict) -> dict:
    return {k: tuple(map(float, v)) if isinstance(v, list) else v for k, v in item.items()}


def _check(room: Room, where: object) -> None:
    for o in room.openings:
        if o.side not in SIDES:
            raise ValueError(f"{where}: opening {o.name} on side {o.side!r}; sides: {list(SIDES)}")
    for b in room.blocks:
        inside = all(-NEAR <= lo < hi <= n + NEAR for lo, hi, n in zip(b.low, b.high, room.size))
        if not inside:
            raise ValueError(f"{where}: block {b.name} is not a box within {room.size} m")
    for p in room.partitions:
        if p.axis not in AXES:
            raise ValueError(f"{where}: partition {p.name} has axis {p.axis!r}; x or y")
        across, along = AXES[p.axis], 1 - AXES[p.axis]
        if not (0 < p.at < room.size[across] and p.high[0] <= room.size[along] + NEAR):
            raise ValueError(f"{where}: partition {p.name} is not within {room.size} m")


@dataclass(frozen=True)
class Cells:
    """A room on a grid, arrays ordered (z, y, x).

    Attributes:
        spacing: (x, y, z) size of a cell, m.
        air: True where a cell is air, (nz, ny, nx).
        open: for x, y and z, True on faces between two cells of air without a partition; with one
            more face than cells along that axis.
        speed: for x, y and z, the prescribed velocity on openings in m/s (positive towards larger
            coordinates), zero elsewhere; shapes as ``open``.
    """

    spacing: tuple
    air: np.ndarray
    open: tuple
    speed: tuple

    @property
    def volume(self) -> float:
        """Volume of a cell (m3)."""
        return float(np.prod(self.spacing))

    def centres(self) -> tuple:
        """Coordinates of cell centres along x, y and z (m)."""
        return tuple((np.arange(n) + 0.5) * d for n, d in zip(self.air.shape[::-1], self.spacing))


def rasterise(room: Room, spacing: tuple) -> Cells:
    """The room on cells of ``spacing`` (x, y, z) metres.

    Volume fluxes balance exactly: the speeds of exhausts are scaled by one factor.

    Errors: ValueError if the room is not a whole number of cells, if an opening lies before
    something solid, or if air enters and cannot leave.
    """
    counts = [round(n / d) for n, d in zip(room.size, spacing)]
    if any(abs(n * d - s) > NEAR for n, d, s in zip(counts, spacing, room.size)):
        raise ValueError(f"a room of {room.size} m is not a whole number of cells of {spacing} m")
    air = np.ones(counts[::-1], bool)
    for block in room.blocks:
        air[_box(block.low, block.high, spacing)] = False
    faces = [_between(air, 2 - axis) for axis in range(3)]
    for p in room.partitions:
        _close(faces[AXES[p.axis]], p, spacing)
    speed = [np.zeros(f.shape) for f in faces]
    for o in room.openings:
        _blow(speed[SIDES[o.side][0]], o, spacing, air)
    _balance(speed, spacing)
    return Cells(tuple(spacing), air, tuple(faces), tuple(speed))


def _span(low: float, high: float, d: float) -> slice:
    return slice(round(low / d), max(round(high / d), round(low / d) + 1))


def _box(low: tuple, high: tuple, spacing: tuple) -> tuple:
    return tuple(_span(lo, hi, d) for lo, hi, d in zip(low, high, spacing))[::-1]


def _between(air: np.ndarray, dim: int) -> np.ndarray:
    """Faces along array dimension ``dim`` with air on both sides."""
    padded = np.pad(air, [(1, 1) if d == dim else (0, 0) for d in range(3)])
    n = padded.shape[dim]
    return padded.take(range(n - 1), dim) & padded.take(range(1, n), dim)


def _close(faces: np.ndarray, p: Partition, spacing: tuple) -> None:
    axis = AXES[p.axis]
    where = [slice(None)] * 3
    where[2 - axis] = round(p.at / spacing[axis])
    where[1 + axis] = _span(p.low[0], p.high[0], spacing[1 - axis])
    where[0] = _span(p.low[1], p.high[1], spacing[2])
    faces[tuple(where)] = False


def _blow(speed: np.ndarray, o: Opening, spacing: tuple, air: np.ndarray) -> None:
    axis, far = SIDES[o.side]
    where, others = [slice(None)] * 3, [a for a in range(3) if a != axis]
    for a, lo, hi in zip(others, o.low, o.high):
        where[2 - a] = _span(lo, hi, spacing[a])
    where[2 - axis] = -1 if far else 0
    if not air[tuple(where)].all() or not air[tuple(where)].size:
        raise ValueError(f"opening {o.name} on side {o.side} lies before something solid")
    speed[tuple(where)] = -o.speed if far else o.speed


def _balance(speed: list, spacing: tuple) -> None:
    """Scale what leaves so that as much leaves as enters (volume per time)."""
    inward = []
    for axis, s in enumerate(speed):
        area = np.prod(spacing) / spacing[axis]
        inward += [(s, 2 - axis, 0, area), (s, 2 - axis, -1, -area)]
    fluxes = [a * s.take(i, dim) for s, dim, i, a in inward]
    enters = sum(np.maximum(f, 0).sum() for f in fluxes)
    leaves = -sum(np.minimum(f, 0).sum() for f in fluxes)
    if enters > 0 and leaves == 0:
        raise ValueError("air enters the room and has no way out; add an opening of speed < 0")
    for s, dim, i, a in inward:
        side = s[tuple(i if d == dim else slice(None) for d in range(3))]
        side[np.sign(a) * side < 0] *= enters / leaves if leaves else 1.0


def wall_distance(room: Room, cells: Cells) -> np.ndarray:
    """Distance from cell centres to the nearest wall, block or partition (m), (nz, ny, nx)."""
    x, y, z = np.meshgrid(*cells.centres(), indexing="ij")
    here = np.stack([x, y, z], -1).transpose(2, 1, 0, 3)
    near = np.minimum(here, np.array(room.size) - here).min(-1)
    boxes = [(b.low, b.high) for b in room.blocks]
    for p in room.partitions:
        low, high = ([p.at, p.at, c[1]] for c in (p.low, p.high))
        low[1 - AXES[p.axis]], high[1 - AXES[p.axis]] = p.low[0], p.high[0]
        boxes.append((low, high))
    for low, high in boxes:
        gap = np.maximum(np.maximum(np.array(low) - here, here - np.array(high)), 0)
        near = np.minimum(near, np.sqrt((gap**2).sum(-1)))
    return near
