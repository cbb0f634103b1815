"""Profiles as targets: the model is read where and when they were measured."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import model_validator

from dogcm.components import ConfigError, option
from dogcm.io.root import on_root
from dogcm.simulation.model import Model
from dogcm.targets.cast_scores import CastJudge
from dogcm.targets.casts import CastError, CastWindows
from dogcm.targets.clock import Clock, parse_date
from dogcm.targets.errors import TargetError
from dogcm.targets.glorys import paths_of
from dogcm.targets.interfaces import Parts, Truth
from dogcm.targets.profiles import Profiles, joined, read_profiles
from dogcm.targets.seasons import Seasons, write_seasons

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe

_HELD = ("temperature", "salinity")


class ProfileTruth(Truth):
    """Profiles of temperature and salinity, for instance Argo's; windows start from the model's own
    states."""

    kind: ClassVar[str] = "profiles"
    files: str | list[str] = option("", "1", "netCDF files: path, glob pattern, or a list of them")
    names: dict[str, str] = option(
        dict,
        "1",
        "names in the files of temperature, salinity, lat, lon, time, and depth or pressure; "
        "without an entry: this project's or Argo's",
    )
    period: tuple[str, str] | None = option(
        None, "1", "first and last day, YYYY-MM-DD; null: from the first to the last profile"
    )
    seasons: int = option(
        12, "1", "states that windows start from, spread over the year after the spin-up", ge=1
    )

    @model_validator(mode="after")
    def _has_files(self):
        if not self.files:
            raise ValueError("targets.files: kind profiles needs a path or pattern")
        return self

    def check(self, recipe: Recipe) -> None:
        odd = sorted(set(recipe.loss.factors) - set(_HELD))
        if odd:
            raise ValueError(
                f"loss.factors: targets of kind profiles hold {' and '.join(_HELD)}, not {odd[0]}"
            )
        if recipe.loss.columns:
            raise ValueError("loss.columns: profiles are where they are; leave it out")

    def description(self, recipe: Recipe) -> dict:
        return super().description(recipe) | {"seasons": self.seasons}

    def make(self, folder: Path, truth: Model, model: Model) -> None:
        write_seasons(truth, folder, self.spinup, self.seasons)

    def parts(self, folder: Path, model: Model, names: list[str], every: int) -> Parts:
        year = model.config.forcing.year * 86400.0
        profiles, begin, end = on_root(model.comm, self._read, year)
        seasons, interval = Seasons.read(folder, model, self.seasons), every * model.physics.dt
        intervals = int((end - begin + 1e-3) // interval)
        cut = begin + interval * (intervals - round(intervals * self.test))
        last = begin + interval * intervals
        return Parts(
            *(
                CastWindows(profiles, model, seasons, names, span, every)
                for span in ((begin, cut), (cut, last))
            )
        )

    def loss(self, model: Model, loss, part: CastWindows, steps: int) -> CastError:
        if loss.vertical != "level":
            raise ConfigError("loss.vertical: profiles are weighted by level; write level")
        if part.count(steps) < 1:
            raise ConfigError(
                f"curriculum: no rollout of {steps} steps fits into the part of the profiles for "
                "training; choose a longer period or shorter rollouts"
            )
        part.require(steps)
        scales: dict[str, Any] = part.spread(steps) if loss.scales == "persistence" else {}
        return CastError.of(model, loss, scales | dict(loss.scale))

    def judge(self, setup, names: list[str]) -> CastJudge:
        return CastJudge(setup, names)

    def _read(self, year: float) -> tuple[Profiles, float, float]:
        """All profiles of the period, its begin and its end (s of the model)."""
        clock = Clock(_ANY_YEAR, year)
        found = joined(
            [
                read_profiles(p, clock=clock, names=self.names or None)
                for p in paths_of(self.files, "profile")
            ]
        )
        begin, end = float(found.times[0]), float(found.times[-1])
        if self.period is not None:
            first, last = (datetime(*parse_date(day)) for day in self.period)
            begin, end = map(float, clock.seconds([first, last + timedelta(days=1)]))
            found = found.window(begin, end - begin)
        # Model year 1 is that of the first day.
        shift = np.floor(begin / year) * year
        moved = Profiles(
            found.lat, found.lon, found.times - shift, found.depth, found.values, found.left_out
        )
        if end <= begin:
            raise TargetError(f"targets: all profiles of {self.files} are of one time")
        return moved, begin - shift, end - shift


# Which date is which model time is settled when the first is known.
_ANY_YEAR = 2000

__all__ = ["ProfileTruth"]
