"""States of the model over a year, for targets that are no whole states to start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dogcm.io.restart import read_restart, write_restart
from dogcm.simulation.model import Model
from dogcm.targets.records import record_path, write_records
from dogcm.timestepping import State


@dataclass(frozen=True)
class Seasons:
    """States spread over a year.

    Attributes:
        year: s.
    """

    states: tuple[State, ...]
    year: float

    @classmethod
    def read(cls, folder: Path, model: Model, count: int) -> Seasons:
        """Those of :func:`write_seasons`; every rank calls it."""
        states = tuple(read_restart(record_path(folder, n), model) for n in range(count))
        return cls(states, model.config.forcing.year * 86400.0)

    def nearest(self, time: float) -> State:
        """The state whose season is nearest to that of ``time`` (s)."""
        away = [abs((float(b.time) - time) / self.year) % 1.0 for b in self.states]
        return self.states[min(range(len(away)), key=lambda n: min(away[n], 1.0 - away[n]))]


def write_seasons(truth: Model, folder: Path, spinup: float, count: int) -> None:
    """Run ``truth`` for ``spinup`` days and keep ``count`` states over the year that follows."""
    apart = round(truth.config.forcing.year * 86400.0 / count / truth.physics.dt)
    write = lambda n: write_restart(record_path(folder, n), truth)
    write_records(truth, spinup, count - 1, apart, write)


__all__ = ["Seasons", "write_seasons"]
