"""Comparison of ``mitgcm_4deg`` with MITgcm's tutorial as it is published: tracers step a day,
velocity half an hour.

The reference is MITgcm's own monitor (least, largest, mean and standard deviation of every field),
daily for 20 days and monthly for ten years, and its state after 1, 10 and 20 days.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dogcm.setups.inputs import InputError
from dogcm.simulation.model import Model
from dogcm.verification.mitgcm_twin import fields_by_day, read_state, rms_difference

STATES = "latlon4deg_states_steps_1_10_20.nc"
MONITOR = "tutorial_global_oce_latlon.output.monitor.csv"
LONG_MONITOR = "latlon4deg_first10yr_monthly_monitor.csv.gz"
# How the tutorial steps: deltaTtracer = deltaTfreesurf = deltaTClock, deltaTmom, and an implicit
# free surface.
SETTINGS = {"time.step": 86400.0, "time.momentum_step": 1800.0, "time.free_surface": "implicit"}
STATE_DAYS = (1, 10, 20)
DAYS = (*STATE_DAYS, 360, 1800, 3600)
# Largest difference of the standard deviations, relative, and of the means, in standard deviations.
BAR = {"theta": 0.02, "salt": 0.02, "eta": 0.02, "u": 0.05, "v": 0.05}
MEAN_BAR = 0.02
# From rest, the first days are gravity waves, which short steps (time.free_surface: split) do not
# damp as MITgcm does.
FIRST_DAY_OF_BAR = 10
_THEIRS = {"u": "uvel", "v": "vvel"}


@dataclass(frozen=True)
class Statistics:
    """Least, largest, mean and standard deviation over wet places, weighted by volume (sea level:
    by area)."""

    low: float
    high: float
    mean: float
    sd: float


@dataclass(frozen=True)
class StatisticsRow:
    """One field on one day; ``rms`` is the difference cell by cell where MITgcm's state is at hand,
    else None."""

    day: int
    field: str
    own: Statistics
    theirs: Statistics
    rms: float | None = None

    @property
    def spread(self) -> float:
        """Relative difference of the standard deviations."""
        return self.own.sd / self.theirs.sd - 1.0

    @property
    def shift(self) -> float:
        """Difference of the means in standard deviations."""
        return (self.own.mean - self.theirs.mean) / self.theirs.sd

    @property
    def passed(self) -> bool:
        """Whether it is within the bar; NaN never is, and the first days have none."""
        if self.day < FIRST_DAY_OF_BAR:
            return bool(np.isfinite([self.spread, self.shift]).all())
        return bool(abs(self.spread) <= BAR[self.field] and abs(self.shift) <= MEAN_BAR)


def available_days(folder: str | Path) -> list[int]:
    """The days of :data:`DAYS` that the monitors in ``folder`` hold.

    Raises:
        InputError: no monitor there.
    """
    folder = Path(folder)
    if not (folder / MONITOR).is_file():
        raise InputError(
            f"{folder} has no {MONITOR}: give the folder of MITgcm's results by --reference"
        )
    held = _monitors(folder)
    return [day for day in DAYS if day in held]


def compare(
    model: Model, reference: str | Path, days=STATE_DAYS, progress=print
) -> list[StatisticsRow]:
    """Run ``model`` through ``days`` and put its statistics beside MITgcm's.

    Args:
        model: a :class:`Model` of ``mitgcm_4deg`` at its start, with :data:`SETTINGS`.
        reference: folder with MITgcm's monitors and states.

    Returns:
        Rows, the same on every rank.
    """
    folder, rows, root = Path(reference), [], model.comm.rank == 0
    monitors = _monitors(folder) if root else {}
    weights = _weights(model)
    for day, fields in fields_by_day(model, days):
        if not root:
            continue
        held = day in STATE_DAYS and (folder / STATES).is_file()
        for name, values in fields.items():
            w = weights[name]
            rms = (
                rms_difference(values, read_state(folder / STATES, name, step=day), w)
                if held
                else None
            )
            rows.append(
                StatisticsRow(day, name, statistics(values, w), _theirs(monitors[day], name), rms)
            )
        if progress:
            progress(
                "  ".join(f"{r.field} {r.spread:+.1%}" for r in rows[-5:])
                + f" of the deviation  day {day}"
            )
    return model.comm.broadcast(rows)


def statistics(values: np.ndarray, weight: np.ndarray) -> Statistics:
    """As MITgcm's monitor computes them: over places of positive weight."""
    wet = weight > 0
    v, w = values[wet].astype(float), weight[wet]
    mean = (v * w).sum() / w.sum()
    return Statistics(
        float(v.min()),
        float(v.max()),
        float(mean),
        float(np.sqrt((w * (v - mean) ** 2).sum() / w.sum())),
    )


def _weights(model: Model) -> dict[str, np.ndarray]:
    g = model.grid
    area = {at: model.gather(getattr(g, f"area_{at}")) for at in "cuv"}
    thickness = {at: model.gather(getattr(g, f"h_{at}")) for at in "cuv"}
    if model.comm.rank:
        return {}
    volume = {at: area[at] * thickness[at] for at in "cuv"}
    surface = area["c"] * (thickness["c"][0] > 0)
    return {
        "theta": volume["c"],
        "salt": volume["c"],
        "eta": surface,
        "u": volume["u"],
        "v": volume["v"],
    }


def _monitors(folder: Path) -> dict[int, dict[str, str]]:
    """Lines of the monitors by day; the daily one has the last word."""
    found = {}
    if (folder / LONG_MONITOR).is_file():
        with gzip.open(folder / LONG_MONITOR, "rt", encoding="utf-8") as file:
            found.update(_by_day(file))
    with open(folder / MONITOR, encoding="utf-8") as file:
        return found | _by_day(file)


def _by_day(file) -> dict[int, dict[str, str]]:
    return {round(float(row["time_secondsf"]) / 86400): row for row in csv.DictReader(file)}


def _theirs(row: dict[str, str], name: str) -> Statistics:
    key = f"dynstat_{_THEIRS.get(name, name)}_"
    return Statistics(*(float(row[key + part]) for part in ("min", "max", "mean", "sd")))
