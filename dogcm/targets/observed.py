"""Observations as the truth of a recipe: gridded sea surface temperature."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.evaluation.baselines import Climatology
from dogcm.field import Field
from dogcm.learning.problem import Window
from dogcm.simulation.model import Model
from dogcm.targets import Sample, TargetError, TargetGrid, Targets, TargetWindows
from dogcm.targets.background import climatology, held_forcing, last_for_training, read_observed
from dogcm.targets.finer import on_root_only
from dogcm.targets.interfaces import Parts
from dogcm.targets.seasons import Seasons

# A record and the rollout's interval about it are the same month, whatever the number of its days.
_SAME = 0.02


@dataclass(frozen=True)
class ObservedTargets:
    """Windows that start from the model's own states, compared with observations; see
    :class:`dogcm.targets.interfaces.Part`.

    Attributes:
        windows: of this part of the period.
        seasons: states of the model over a year; a window starts from the one nearest to its
            season.
        anomalies: observed less climatology, which a start takes over; None: nothing of the
            observations.
        width: K, see :func:`reach`. mask: 1 in water.
        usual: on rank 0 ``sst`` and its climatology in the part for training, where that spans a
            year.
    """

    windows: TargetWindows
    seasons: Seasons
    anomalies: Targets | None = None
    width: float = 0.0
    mask: Field | None = None
    usual: dict[str, Climatology] = field(default_factory=dict)

    def count(self, steps: int) -> int:
        """Number of windows for rollouts of ``steps``."""
        return self.windows.count(steps)

    def window(self, index: int, steps: int) -> Window:
        """The window that starts at the time of the ``index``-th observation."""
        background = self.seasons.nearest(self._start(index))
        window = replace(self.windows, background=background).window(index, steps)
        if self.anomalies is None:
            return window
        state = window.state
        sample = self.anomalies.at(self._start(index), ("sst",), state.temperature.dtype)
        warmer = with_anomaly(state.temperature, sample.fields["sst"], self.width, self.mask)
        return replace(window, state=state.replace(tracers=state.tracers | {"temperature": warmer}))

    def initial(self, index: int) -> tuple[dict, dict]:
        """What was observed at the start of a window, as :meth:`record`: the start of
        persistence."""
        return self.record(index * self.windows.stride)[1:]

    def _start(self, index: int) -> float:
        return float(self.windows.targets.times[index * self.windows.stride])

    @property
    def records(self) -> int:
        """Number of observed records."""
        return self.windows.targets.times.size

    def record(self, number: int) -> tuple[float, dict, dict]:
        """Time (s), observed fields of a record, and where they hold values."""
        time = float(self.windows.targets.times[number])
        sample: Sample = self.windows.targets.at(time, self.windows.names)
        return time, sample.fields, sample.valid


def reach(temperature: Field, width: float):
    """How much of an anomaly of the surface each level takes, ``(nz, y, x)``: 1 in the mixed layer,
    0 far below.

    Args:
        width: K; it decreases linearly, to 0 where the temperature differs from that of the surface
            by so much.
    """
    t = temperature.interior
    near = jnp.clip(1.0 - jnp.abs(t - t[:1]) / width, 0.0, 1.0)
    # Water that is as warm as the surface, but below the thermocline, has not been touched by it.
    return jax.lax.cummin(near, axis=0)


def with_anomaly(temperature: Field, anomaly: Field, width: float, mask: Field) -> Field:
    """Temperature with an anomaly of the surface (degC, 0 where it is not known) spread over the
    mixed layer."""
    warmer = temperature.interior + reach(temperature, width) * anomaly.interior * mask.interior
    return temperature.crop(0).with_data(warmer).named("temperature")


def observed(recipe, truth: Path, model: Model, every: int) -> Parts:
    """Observations for training, and later ones for evaluation; every rank calls it.

    With ``targets.hold`` they come with a forcing that holds the model at the observed
    climatology.

    Args:
        recipe: the section ``targets`` of a recipe. truth: folder with the states that windows
            start from.
        every: steps between comparisons.

    Raises:
        TargetError: the file cannot be used, or the grid has no latitudes and longitudes.
    """
    grid = TargetGrid.gather(model)
    year = model.config.forcing.year * 86400.0
    all_of_it = Targets.on_ranks(model.decomposition, lambda: read_observed(recipe, grid, year))
    if recipe.mean:
        _check_interval(all_of_it.times, every * model.physics.dt)
    seasons = Seasons.read(truth, model, recipe.seasons)
    forcing = held_forcing(truth, model) if recipe.hold else None
    usual = on_root_only(model.comm, _usual, recipe, grid, year)
    anomalies = None
    if recipe.anomaly:
        anomalies = Targets.on_ranks(model.decomposition, lambda: _anomalies(recipe, grid, year))
    out, last = [], all_of_it.times.size - 1
    cut = last_for_training(last + 1, recipe.test)
    for first, end in ((0, cut), (cut, last)):
        a, b = all_of_it.times[first], all_of_it.times[end]
        part = all_of_it.window(float(a), float(b - a))
        windows = TargetWindows(part, seasons.states[0], model.physics.dt, every, ("sst",), ())
        out.append(
            ObservedTargets(
                windows, seasons, anomalies, recipe.anomaly, model.grid.mask_c, usual or {}
            )
        )
    return Parts(*out, forcing)


def _check_interval(times: np.ndarray, interval: float) -> None:
    """Raises:
    TargetError: means of the model over ``interval`` (s) are not those of the records.
    """
    between = np.diff(times)
    if abs(between.mean() / interval - 1) > _SAME:
        raise TargetError(
            f"targets.every: {interval / 86400:g} days, but the records are "
            f"{between.mean() / 86400:g} days apart; "
            "with targets.mean both have to be the same"
        )


def _usual(recipe, grid: TargetGrid, year: float) -> dict[str, Climatology]:
    try:
        return {"sst": climatology(recipe, read_observed(recipe, grid, year, mask_ice=False), year)}
    except TargetError:
        return {}


def _anomalies(recipe, grid: TargetGrid, year: float) -> Targets:
    """Observed less climatology, on rank 0; under ice both have the value of the file."""
    whole = read_observed(recipe, grid, year, mask_ice=False)
    usual = climatology(recipe, whole, year)
    return replace(whole, values={"sst": whole.values["sst"] - usual.at(whole.times)})


__all__ = ["ObservedTargets", "observed", "reach", "with_anomaly"]
