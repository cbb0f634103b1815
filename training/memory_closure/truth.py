"""Make the three-dimensional truth that the coarse model of the plane learns from.

    python training/memory_closure/truth.py make [FAMILY ...] [--grid fine] [--output FOLDER]

writes FAMILY.nc beside this script, of all families if none is named; what has been
computed is kept in the output folder and not computed again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flow import Flow, steady_flow
from plane import CoarsePlane, write
from room import Room, load_room, rasterise
from transport import Plume, Sources, Transport, crosses, plane_levels

HERE = Path(__file__).resolve().parent
SIXTH = 1 / 6
GRIDS = {  # (x, y, z) spacings in metres: the flow is run up on the first
    "draft": [(0.5, 0.5, 0.25)],
    "standard": [(0.5, 0.5, 0.25), (0.25, 0.25, 0.25)],
    "fine": [(0.5, 0.5, 0.25), (SIXTH, SIXTH, 0.25)],
    "finest": [(0.5, 0.5, 0.25), (0.125, 0.125, 0.25)],
}
RUN_UP = (400.0, 15.0)  # s, on the first grid and on the others
STRENGTH = 1e-6  # kg/s
TRAINED, TESTED = 26, 27
AWAY = 0.4  # m: the least distance of sources from walls, blocks and partitions


@dataclass(frozen=True)
class Case:
    """A release in a flow, which is named by what is changed in the room."""

    sources: Sources
    split: str = "test"
    flow: int = 0


@dataclass(frozen=True)
class Family:
    """Cases that differ from those of training in one way.

    Attributes:
        rooms: rooms whose flows the cases use.
        cases: the releases.
        seconds: how long they are followed; every: seconds between records.
        spacing: cells of the plane (m).
        about: what it is, for the file.
    """

    rooms: tuple
    cases: tuple
    about: str
    seconds: float = 600.0
    every: float = 4.0
    spacing: float = 0.5


class Places:
    """Where sources may be: quasi-random points (Halton) on the height of the plane."""

    def __init__(self, room: Room, seed: int):
        from scipy.stats import qmc

        self.room, self.halton = room, qmc.Halton(2, seed=seed)
        self.random = np.random.default_rng(seed)
        self.cells = rasterise(room, (0.25, 0.25, 0.25))

    def _possible(self, start, end) -> bool:
        for shift in AWAY * np.array([(0, 0, 0), (1, 1, 0), (1, -1, 0), (-1, 1, 0), (-1, -1, 0)]):
            moved = [np.array([p + shift]) for p in (start, end)]
            try:
                Sources(*moved, np.ones(1)).check(self.cells, self.room)
            except ValueError:
                return False
        around = [
            start + AWAY * np.array(s) for s in ((-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0))
        ]
        return not any(
            crosses(self.room, np.linspace(a, b, 50))
            for a, b in zip(around, around[1:] + around[:1])
        )

    def point(self) -> np.ndarray:
        """The next place (3,)."""
        while True:
            x, y = self.halton.random(1)[0] * self.room.size[:2]
            here = np.array([x, y, self.room.plane.height])
            if self._possible(here, here):
                return here

    def path(self, shortest: float = 4.0, longest: float = 12.0) -> tuple:
        """Begin and end (3,) of a straight way that is free."""
        while True:
            start, end = self.point(), self.point()
            if shortest < np.linalg.norm(end - start) < longest and self._possible(start, end):
                return start, end


def still(*points: np.ndarray, strength=None) -> Sources:
    """Sources that stay where they are."""
    at = np.stack(points)
    given = np.full(len(at), STRENGTH) if strength is None else np.asarray(strength)
    return Sources(at, at, given)


def families(room: Room) -> dict[str, Family]:
    """All families by name; ``truth`` is the one for training and testing."""
    places = Places(room, seed=1)
    base = [still(places.point()) for _ in range(TRAINED + TESTED)]
    shuffled = np.random.default_rng(1).permutation(len(base))
    trains = set(shuffled[:TRAINED])
    cases = tuple(Case(s, "train" if i in trains else "test") for i, s in enumerate(base))
    tests = tuple(c for c in cases if c.split == "test")
    made = {"truth": Family((room,), cases, "one source at rest")}
    places = Places(room, seed=2)
    paths = [places.path() for _ in range(12)]
    moving = [Sources(a[None], b[None], np.array([STRENGTH])) for a, b in paths]
    made["moving_source"] = Family((room,), tuple(map(Case, moving)), "a source that moves")
    several, random = [], np.random.default_rng(3)
    for i in range(12):
        points = [places.point() for _ in range(2 + i % 2)]
        several.append(
            still(*points, strength=STRENGTH * 3.0 ** random.uniform(-1, 1, len(points)))
        )
    about = "two or three sources of different strengths"
    made["several_sources"] = Family((room,), tuple(map(Case, several)), about)
    made["changed_inflow"] = _changed_inflow(room)
    made["moved_partitions"] = _moved_partitions(room)
    made["half_spacing"] = Family((room,), tests, "plane of 0.25 m", spacing=0.25)
    made["double_spacing"] = Family((room,), tests, "plane of 1 m", spacing=1.0)
    about = "one source at rest, ten times as long"
    made["long_horizon"] = Family((room,), tests[:10], about, 6000.0, every=20.0)
    return made


def _changed_inflow(room: Room) -> Family:
    random = np.random.default_rng(4)
    supplies = [o.name for o in room.openings if o.speed > 0]
    rooms = tuple(
        room.with_inflow(dict(zip(supplies, 2.0 ** random.uniform(-1, 0.6, len(supplies)))))
        for _ in range(3)
    )
    places = Places(room, seed=4)
    cases = tuple(Case(still(places.point()), flow=i % len(rooms)) for i in range(12))
    return Family(rooms, cases, "air conditioners blow at 0.5 to 1.5 times their speeds")


def _moved_partitions(room: Room) -> Family:
    random = np.random.default_rng(5)
    rooms = []
    for _ in range(3):
        shifts = {p.name: (0.0, 0.0) for p in room.partitions}
        for p in room.partitions:
            if p.high[1] < room.size[2]:  # screens, not walls
                move = float(random.choice([-1.5, -1.0, -0.5, 0.5, 1.0]))
                shifts[p.name] = (move, 0.0) if p.axis == "x" else (0.0, move)
        rooms.append(room.with_moved(shifts))
    cases = []
    for i, changed in enumerate(rooms):
        places = Places(changed, seed=50 + i)
        cases += [Case(still(places.point()), flow=i) for _ in range(4)]
    return Family(tuple(rooms), tuple(cases), "screens moved by 0.5 to 1.5 m")


class Maker:
    """Computes flows and cases, and keeps them in ``folder``."""

    def __init__(self, folder: Path, grid: str, seconds: tuple = RUN_UP):
        self.folder, self.spacings, self.seconds = folder, GRIDS[grid], seconds
        self.folder.mkdir(parents=True, exist_ok=True)
        self.transports: dict = {}

    def _file(self, *what) -> Path:
        key = hashlib.sha256(repr((self.spacings, *what)).encode()).hexdigest()[:16]
        return self.folder / f"{key}.npz"

    def flow(self, room: Room) -> Flow:
        """The flow of a room."""
        path, cells = self._file("flow", room), rasterise(room, self.spacings[-1])
        if not path.exists():
            made = steady_flow(room, self.spacings, self.seconds, tell=print)
            _save(
                path, x=made.velocity[0], y=made.velocity[1], z=made.velocity[2], d=made.diffusivity
            )
        with np.load(path) as kept:
            return Flow(cells, (kept["x"], kept["y"], kept["z"]), kept["d"])

    def plume(self, room: Room, sources: Sources, seconds: float, every: float) -> Plume:
        """The plume of a case."""
        what = [np.asarray(getattr(sources, n)).tolist() for n in ("start", "end", "strength")]
        path = self._file("plume", room, what, sources.travel, seconds, every)
        names = ("plane", "inventory", "exhausted", "emitted")
        if not path.exists():
            if (room, every) not in self.transports:
                flow = self.flow(room)
                levels = plane_levels(flow.cells, room.plane.height, room.plane.thickness)
                self.transports = {(room, every): Transport(flow, levels, every)}
            transport = self.transports[room, every]
            sources.check(transport.flow.cells, room)
            plume = transport.plume(sources, seconds)
            _save(path, **{n: getattr(plume, n) for n in names})
        with np.load(path) as kept:
            return Plume(*(kept[n] for n in names))

    def write(self, name: str, family: Family, path: Path) -> None:
        """Compute a family and write its file."""
        plumes, began = [], time.perf_counter()
        for i, case in enumerate(family.cases):
            plumes.append(
                self.plume(family.rooms[case.flow], case.sources, family.seconds, family.every)
            )
            print(
                f"{name}: {i + 1} of {len(family.cases)}, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
        flows = [self.flow(room) for room in family.rooms]
        height, thickness = family.rooms[0].plane.height, family.rooms[0].plane.thickness
        levels = plane_levels(flows[0].cells, height, thickness)
        planes = [CoarsePlane(flow.cells, levels, family.spacing) for flow in flows]
        values = _values(family, plumes, planes, flows)
        write(path, values, [c.split for c in family.cases], self._attributes(name, family))

    def _attributes(self, name: str, family: Family) -> dict:
        room = family.rooms[0]
        return {
            "title": f"Tracer on a plane of a ventilated room: {family.about}",
            "family": name,
            "room": f"{room.size[0]} x {room.size[1]} x {room.size[2]} m",
            "plane_height": room.plane.height,
            "plane_thickness": room.plane.thickness,
            "plane_spacing": family.spacing,
            "grid_of_the_truth": "{} x {} x {} m".format(*self.spacings[-1]),
            "schmidt_number": 0.9,
            "source": "training/memory_closure/truth.py",
            "command": f"python training/memory_closure/truth.py make {name}",
        }


def _save(path: Path, **arrays) -> None:
    part = path.with_name(f"{path.stem}.part.npz")
    np.savez_compressed(part, **arrays)
    part.replace(path)


def _values(family: Family, plumes: list, planes: list, flows: list) -> dict[str, np.ndarray]:
    first, d = planes[0], family.spacing
    ny, nx = first.shape
    fields = [plane.fields(flow) for plane, flow in zip(planes, flows)]
    values = {n: np.stack([f[n] for f in fields]) for n in fields[0]}
    values["concentration"] = np.stack(
        [planes[c.flow].concentration(p.plane) for c, p in zip(family.cases, plumes)]
    )
    values["time"] = family.every * np.arange(len(plumes[0].emitted))
    values["x"], values["y"] = ((np.arange(n) + 0.5) * d for n in (nx, ny))
    values["x_face"], values["y_face"] = (np.arange(n + 1) * d for n in (nx, ny))
    for name in ("inventory", "exhausted", "emitted"):
        values[name] = np.stack([getattr(p, name) for p in plumes])
    values |= _source_values([c.sources for c in family.cases])
    values["flow"] = np.array([c.flow for c in family.cases])
    return values


def _source_values(cases: list) -> dict[str, np.ndarray]:
    """Arrays (case, source); sources that a case has not are where its last one is, of no
    strength."""
    most = max(len(s.strength) for s in cases)
    more = [((0, most - len(s.strength)), (0, 0)) for s in cases]
    values = {"source_strength": np.stack([np.pad(s.strength, m[0]) for s, m in zip(cases, more)])}
    for which, name in (("start", "source_"), ("end", "source_end_")):
        at = np.stack([np.pad(getattr(s, which), m, mode="edge") for s, m in zip(cases, more)])
        values |= {f"{name}{axis}": at[..., i] for i, axis in enumerate("xyz")}
    values["source_travel"] = np.array([s.travel for s in cases])
    return values


def main(arguments: list[str] | None = None) -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["make"])
    parser.add_argument("families", nargs="*")
    parser.add_argument("--grid", choices=list(GRIDS), default="standard")
    parser.add_argument("--output", type=Path, default=Path("output/memory_closure"))
    parser.add_argument("--room", type=Path, default=HERE / "room.yaml")
    given = parser.parse_args(arguments)
    every = families(load_room(given.room))
    unknown = set(given.families) - set(every)
    if unknown:
        sys.exit(f"no family {sorted(unknown)}; there are {', '.join(every)}")
    maker = Maker(given.output, given.grid)
    for name in given.families or every:
        maker.write(name, every[name], HERE / f"{name}.nc")


if __name__ == "__main__":
    main()
