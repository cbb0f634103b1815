"""Comparison of ``mitgcm_4deg`` with MITgcm's own synchronous run of the same ocean.

The reference files hold MITgcm's state after 30, 90, 180 and 360 days, and a yardstick: the difference of two
MITgcm runs that differ only in their tracer advection.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dogcm.experiments.model import Model

STATES = "latlon4deg_sync_days_30_90_180_360.nc"
YARDSTICK = "latlon4deg_sync_yardstick.csv"
_NAMES = {"theta": "temperature", "salt": "salinity", "u": "u", "v": "v", "eta": "eta"}


@dataclass(frozen=True)
class TwinRow:
    """One field on one day: RMS difference from MITgcm (volume-weighted; area-weighted for eta), beside the yardstick."""

    day: int
    field: str
    rms: float
    yardstick: float

    @property
    def ratio(self) -> float:
        return self.rms / self.yardstick


def compare(model: Model, reference: str | Path, days=(30, 90, 180, 360), progress=print) -> list[TwinRow]:
    """Run ``model`` through ``days`` and compare it with the reference states.

    Args:
        model: a :class:`Model` of ``mitgcm_4deg`` at its start.
        reference: folder with the reference states and the yardstick.

    Returns:
        Rows on rank 0, an empty list elsewhere.
    """
    folder, rows, done = Path(reference), [], 0
    root = model.comm.rank == 0
    yardstick = _yardstick(folder / YARDSTICK) if root else {}
    weights = _weights(model)
    for day in days:
        model.advance(model.steps_in(day - done))
        done = day
        for name, own in _NAMES.items():
            values = model.gather(own)
            if root:
                theirs = _reference(folder / STATES, name, day)
                rms = _rms(values - theirs, weights["eta" if name == "eta" else "volume"], np.isfinite(theirs))
                rows.append(TwinRow(day, name, rms, yardstick[(day, name)]))
        if root and progress:
            progress("  ".join(f"{r.field} {r.rms:.3g} ({r.ratio:.1f}x)" for r in rows[-5:]) + f"  day {day}")
    return rows


def _weights(model: Model) -> dict[str, np.ndarray]:
    area = model.gather(model.grid.area_c)
    thickness = model.gather(model.grid.h_c)
    if model.comm.rank:
        return {}
    return {"volume": area * thickness, "eta": area * (thickness[0] > 0)}


def _reference(path: Path, name: str, day: int) -> np.ndarray:
    import xarray as xr

    with xr.open_dataset(path) as data:
        values = data[name].sel(day=day).values.astype(float)
    return np.where(np.abs(values) > 1e19, np.nan, values)


def _yardstick(path: Path) -> dict[tuple[int, str], float]:
    with open(path) as file:
        return {(int(r["day"]), r["field"]): float(r["rms_difference"]) for r in csv.DictReader(file)}


def _rms(difference: np.ndarray, weight: np.ndarray, valid: np.ndarray) -> float:
    w = np.where(valid & (weight > 0), weight, 0.0)
    return float(np.sqrt((w * np.nan_to_num(difference) ** 2).sum() / w.sum()))
