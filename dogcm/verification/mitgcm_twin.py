"""Comparison of ``mitgcm_4deg`` with MITgcm's own synchronous run of the same ocean.

The reference files hold MITgcm's state after 30, 90, 180 and 360 days, and a yardstick: the
difference of two MITgcm runs that differ only in their tracer advection.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dogcm.setups.inputs import InputError
from dogcm.simulation.model import Model

STATES = "latlon4deg_sync_days_30_90_180_360.nc"
YARDSTICK = "latlon4deg_sync_yardstick.csv"
DAYS = (30, 90, 180, 360)
# How many times the yardstick a difference may be.
BAR = {"theta": 2.0, "salt": 2.0, "eta": 4.0, "u": 4.0, "v": 4.0}
_NAMES = {"theta": "temperature", "salt": "salinity", "u": "u", "v": "v", "eta": "eta"}


@dataclass(frozen=True)
class TwinRow:
    """One field on one day: RMS difference from MITgcm (volume-weighted; area-weighted for eta),
    beside the yardstick."""

    day: int
    field: str
    rms: float
    yardstick: float

    @property
    def ratio(self) -> float:
        return self.rms / self.yardstick

    @property
    def passed(self) -> bool:
        """Whether it is within the bar; NaN never is."""
        return bool(self.ratio <= BAR[self.field])


def reference_folder(inputs: str | Path, reference: str | Path | None = None) -> Path:
    """The folder with the reference files: the one given, or ``mitgcm_reference`` beside the
    inputs.

    Raises:
        InputError: a file is missing there.
    """
    folder = Path(reference) if reference else Path(inputs).resolve().parent / "mitgcm_reference"
    missing = [name for name in (STATES, YARDSTICK) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {' and no '.join(missing)}: give the folder of MITgcm's results by "
            f"--reference"
        )
    return folder


def check_reference(folder: Path, shape: tuple[int, int, int], days) -> None:
    """Refuse, before anything is run, reference files that do not fit.

    Args:
        shape: layers, rows and columns of the model.

    Raises:
        InputError: another grid, or a day that they do not hold.
    """
    import xarray as xr

    with xr.open_dataset(folder / STATES) as data:
        held = [int(day) for day in data["day"].values]
        absent = [day for day in days if day not in held]
        if absent:
            raise InputError(
                f"{folder / STATES} has no day {absent[0]}; it holds {', '.join(map(str, held))}"
            )
        if data["theta"].shape[1:] != tuple(shape):
            raise InputError(
                f"{folder / STATES} is of a grid of {data['theta'].shape[1:]} cells, the model of "
                f"{shape}"
            )


def compare(model: Model, reference: str | Path, days=DAYS, progress=print) -> list[TwinRow]:
    """Run ``model`` through ``days`` and compare it with the reference states.

    Args:
        model: a :class:`Model` of ``mitgcm_4deg`` at its start.
        reference: folder with the reference states and the yardstick.

    Returns:
        Rows, the same on every rank.

    Raises:
        InputError: reference files that do not fit the model.
    """
    folder, rows, root = Path(reference), [], model.comm.rank == 0
    model._on_root(check_reference, folder, (model.vertical.nz, *model.horizontal.shape), days)
    yardstick = _yardstick(folder / YARDSTICK) if root else {}
    weights = _weights(model)
    for day, fields in fields_by_day(model, days):
        if not root:
            continue
        for name, values in fields.items():
            weight = weights["eta" if name == "eta" else "volume"]
            rms = rms_difference(values, read_state(folder / STATES, name, day=day), weight)
            rows.append(TwinRow(day, name, rms, yardstick[(day, name)]))
        if progress:
            progress(
                "  ".join(f"{r.field} {r.rms:.3g} ({r.ratio:.1f}x)" for r in rows[-5:])
                + f"  day {day}"
            )
    return model.comm.broadcast(rows)


def fields_by_day(model: Model, days) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Advance ``model`` to one day of ``days`` after another; yields the day and (on rank 0) fields
    by MITgcm's names."""
    done = 0
    for day in days:
        model.advance(model.steps_in(day - done))
        done = day
        yield day, {name: model.gather(own) for name, own in _NAMES.items()}


def read_state(path: Path, name: str, **at: int) -> np.ndarray:
    """A field of MITgcm at one place of the file's own time (``day=30``, ``step=10``); NaN where it
    has none."""
    import xarray as xr

    with xr.open_dataset(path) as data:
        values = data[name].sel(at).values.astype(float)
    return np.where(np.abs(values) > 1e19, np.nan, values)


def rms_difference(own: np.ndarray, theirs: np.ndarray, weight: np.ndarray) -> float:
    """Weighted, over places of positive weight where MITgcm has a value."""
    w = np.where(np.isfinite(theirs) & (weight > 0), weight, 0.0)
    return float(np.sqrt((w * np.where(w > 0, own - theirs, 0.0) ** 2).sum() / w.sum()))


def _weights(model: Model) -> dict[str, np.ndarray]:
    area = model.gather(model.grid.area_c)
    thickness = model.gather(model.grid.h_c)
    if model.comm.rank:
        return {}
    return {"volume": area * thickness, "eta": area * (thickness[0] > 0)}


def _yardstick(path: Path) -> dict[tuple[int, str], float]:
    with open(path, encoding="utf-8") as file:
        return {
            (int(r["day"]), r["field"]): float(r["rms_difference"]) for r in csv.DictReader(file)
        }
