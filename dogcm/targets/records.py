"""Truth from a run, kept as restarts, which hold everything a rollout starts from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import numpy as np

from dogcm.components import ConfigError, option
from dogcm.io.restart import RestartError, read_restart, write_restart
from dogcm.io.root import on_root
from dogcm.learning.losses import observe
from dogcm.learning.problem import Window, stacked
from dogcm.simulation.model import Model
from dogcm.simulation.progress import say
from dogcm.targets.finer import VALID_FILE, read_valid
from dogcm.targets.interfaces import Parts, Truth

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe


#: The state from which a truth that was interrupted goes on.
UNFINISHED = "unfinished.nc"
#: Wall time (s) between the moments at which it is written.
KEPT_EVERY = 300.0


def record_path(folder: Path, record: int) -> Path:
    """File of a record."""
    return folder / f"record_{record:05d}.nc"


def write_records(
    truth: Model,
    spinup: float,
    intervals: int,
    every: int,
    write: Callable[[int], Any],
    kept: Path | None = None,
) -> None:
    """Run ``truth`` for ``spinup`` days, then call ``write`` for the records ``0 ... intervals``,
    ``every`` steps apart.

    Args:
        kept: where the state of the run is kept now and then, to go on from if it is there; None:
            an interrupted run begins anew.
    """
    before = truth.steps_in(spinup) if spinup else 0
    start = int(truth.state.steps)
    if kept is not None and on_root(truth.comm, kept.is_file):
        truth.state = read_restart(kept, truth)
        say(truth.comm, f"the truth goes on from day {float(truth.state.time) / 86400.0:g}")
    saved, end = time.monotonic(), before + intervals * every
    while True:
        done = int(truth.state.steps) - start
        if done >= before and (done - before) % every == 0:
            write((done - before) // every)
        if done >= end:
            break
        if kept is not None and truth.comm.any(time.monotonic() - saved > KEPT_EVERY):
            write_restart(kept, truth)
            part = 100 * done / end
            say(truth.comm, f"truth: day {float(truth.state.time) / 86400.0:g}, {part:.0f} %")
            saved = time.monotonic()
        truth.advance(min(every, before - done) if done < before else every)
    if kept is not None:
        on_root(truth.comm, lambda: kept.unlink(missing_ok=True))


class RecordedTruth(Truth):
    """Base of truths that are runs: windows start from their records, which are whole states."""

    days: float = option(60.0, "days", "length of the record", gt=0)
    skip: float = option(
        0.0,
        "days",
        "first part of the record, not used: what a drifting truth was like",
        ge=0,
    )
    validates: ClassVar[bool] = True
    changes: dict[str, Any] = option(dict, "1", "configuration of the truth where it differs")

    @property
    def intervals(self) -> int:
        """Number of records after the first."""
        return round(self.days / self.every)

    def description(self, recipe: Recipe) -> dict:
        return super().description(recipe) | {"days": self.days, "every": self.every}

    def parts(self, folder: Path, model: Model, names: list[str], every: int) -> Parts:
        test = self.intervals - round(self.intervals * self.test)
        cut = test - round(self.intervals * self.validation)
        first = round(self.skip / self.every)
        if first >= cut:
            raise ConfigError(
                f"targets: skip ({self.skip:g} days), validation and test leave nothing to train on"
            )
        if self.validation and cut == test:
            raise ConfigError(
                f"targets.validation: {self.validation:g} of {self.intervals} records is none; "
                "give it a larger part, or 0"
            )
        part = lambda a, b: TwinTargets(model, folder, names, a, b, every)
        between = part(cut, test) if cut < test else None
        return Parts(part(first, cut), part(test, self.intervals), validation=between)


class TwinTargets:
    """Windows of a truth's records; see :class:`dogcm.targets.interfaces.Part`.

    All ranks build it together.

    Args:
        model: on whose tiles the records are wanted. names: variables that are compared.
        first, last: records that may be used. every: steps between records.
    """

    def __init__(self, model: Model, folder: Path, names, first: int, last: int, every: int):
        self.model, self.folder, self.names = model, folder, list(names)
        self.first, self.last, self.every = first, last, every
        #: Name to Field, 1 where the truth holds a value; None: wherever the model has water.
        self.valid = read_valid(folder / VALID_FILE, model, self.names)
        self._states: dict[int, object] = {}

    def state(self, record: int):
        """The truth's state; read once, then kept in the host's memory."""
        if record not in self._states:
            state = read_restart(record_path(self.folder, record), self.model)
            self._states[record] = jax.tree.map(np.asarray, state)
        return jax.tree.map(jax.numpy.asarray, self._states[record])

    def count(self, steps: int) -> int:
        """Number of windows for rollouts of ``steps``."""
        return max(0, self.last - self.first - steps // self.every + 1)

    def window(self, index: int, steps: int) -> Window:
        """The window that starts at the ``index``-th record."""
        start = self.first + index
        records = range(start + 1, start + 1 + steps // self.every)
        values = stacked([observe(self.state(r), self.names) for r in records])
        valid = None if self.valid is None else stacked([self.valid] * len(records))
        return Window(self.state(start), values, valid)

    def record(self, number: int) -> tuple[float, dict, dict | None]:
        """Time (s), observed variables (Fields) of the ``number``-th record of this part, and
        :attr:`valid`."""
        state = self.state(self.first + number)
        return float(state.time), observe(state, self.names), self.valid

    @property
    def records(self) -> int:
        """Number of records of this part."""
        return self.last - self.first + 1


__all__ = ["RecordedTruth", "RestartError", "TwinTargets", "record_path", "write_records"]
