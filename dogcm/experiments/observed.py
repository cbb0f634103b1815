"""Observations as the truth of a recipe: gridded sea surface temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dogcm.experiments.model import Model
from dogcm.experiments.twin import record_path
from dogcm.io.restart import read_restart
from dogcm.learning.problem import Window
from dogcm.learning.targets import Clock, TargetError, TargetGrid, Targets, TargetWindows, read_sst
from dogcm.timestepping import State


@dataclass(frozen=True)
class ObservedTargets:
    """Windows that start from the model's own states, compared with observations; see
    :class:`dogcm.learning.trainer.Targets`.

    Attributes:
        windows: of this part of the period.
        backgrounds: states of the model over a year; a window starts from the one nearest to its season.
        year: s.
    """

    windows: TargetWindows
    backgrounds: tuple[State, ...]
    year: float

    def count(self, steps: int) -> int:
        """Number of windows for rollouts of ``steps``."""
        return self.windows.count(steps)

    def window(self, index: int, steps: int) -> Window:
        """The window that starts at the time of the ``index``-th observation."""
        away = [abs((float(b.time) - self._start(index)) / self.year) % 1.0 for b in self.backgrounds]
        nearest = min(range(len(away)), key=lambda n: min(away[n], 1.0 - away[n]))
        return replace(self.windows, background=self.backgrounds[nearest]).window(index, steps)

    def _start(self, index: int) -> float:
        return float(self.windows.targets.times[index * self.windows.stride])

    @property
    def records(self) -> int:
        """Number of observed records."""
        return self.windows.targets.times.size

    def record(self, number: int) -> tuple[float, dict, dict]:
        """Time (s), observed fields of a record, and where they hold values."""
        time = float(self.windows.targets.times[number])
        sample = self.windows.targets.at(time, self.windows.names)
        return time, sample.fields, sample.valid


def observed(recipe, truth: Path, model: Model, every: int) -> list[ObservedTargets]:
    """Observations for training, and later ones for evaluation; every rank calls it.

    Args:
        recipe: the section ``targets`` of a recipe. truth: folder with the states that windows start from.
        every: steps between comparisons.

    Raises:
        TargetError: the file cannot be used, or the grid has no latitudes and longitudes.
    """
    grid = TargetGrid.gather(model)
    year = model.config.forcing.year * 86400.0
    all_of_it = Targets.on_ranks(model.decomposition, lambda: _read(recipe, grid, year))
    last = all_of_it.times.size - 1
    cut = last - round(last * recipe.test)
    states = tuple(read_restart(record_path(truth, n), model) for n in range(recipe.seasons))
    out = []
    for first, end in ((0, cut), (cut, last)):
        a, b = all_of_it.times[first], all_of_it.times[end]
        part = all_of_it.window(float(a), float(b - a))
        windows = TargetWindows(part, states[0], model.physics.dt, every, ("sst",), ())
        out.append(ObservedTargets(windows, states, year))
    return out


def _read(recipe, grid: TargetGrid, year: float) -> Targets:
    targets = read_sst(
        recipe.path, grid, variable=recipe.variable, period=recipe.period, monthly=recipe.monthly,
        clock=None if recipe.period is None else Clock(int(recipe.period[0][:4]), year),
    )  # fmt: skip
    if targets.times.size < 2:
        raise TargetError(f"{recipe.path} has one record in the period: training needs two at least")
    return targets


__all__ = ["ObservedTargets", "observed"]
