"""Output intervals that a restart cuts in two: what was summed up to then goes into the restart, so
that the records of a run that was interrupted are those of one that was not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ATTRIBUTE = "open_intervals"


@dataclass(frozen=True)
class OpenInterval:
    """An interval of an output table that has begun.

    Attributes:
        table: its name. start: of the interval (s). count: steps summed up so far.
        what: what is summed, as plain values; sums go on only where it is the same.
        sums: by variable (..., ny, nx) on this rank's tile, float64. stored: names of the
            variables in the file.
    """

    table: str
    start: float
    count: int
    what: dict[str, Any]
    sums: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    stored: dict[str, str] = field(default_factory=dict)

    def bytes(self, model) -> int:
        """Upper limit of what it adds to a restart."""
        ny, nx = model.horizontal.shape
        levels = sum(int(np.prod(s.shape[:-2])) for s in self.sums.values())
        return levels * ny * nx * 8


def define(data, intervals: Sequence[OpenInterval]) -> None:
    """Describe the intervals in a restart that is being written, and make their variables."""
    told = []
    for interval, names in zip(intervals, _names(intervals)):
        for variable, name in names.items():
            dimensions = tuple(_dimension(data, n) for n in interval.sums[variable].shape[:-2])
            v = data.createVariable(name, "f8", (*dimensions, "y", "x"), fill_value=False)
            v.long_name = f"{variable} of {interval.table}, summed up so far"
        told.append(
            {
                "table": interval.table,
                "start": interval.start,
                "count": interval.count,
                "what": interval.what,
                "stored": names,
            }
        )
    text = json.dumps(told)
    data.setncattr(_ATTRIBUTE, text)
    data.setncattr(f"{_ATTRIBUTE}_sha256", hashlib.sha256(text.encode()).hexdigest())


def arrays(intervals: Sequence[OpenInterval]) -> dict[str, np.ndarray]:
    """The sums by their names in the file."""
    return {
        name: np.asarray(interval.sums[variable])
        for interval, names in zip(intervals, _names(intervals))
        for variable, name in names.items()
    }


def described(data) -> list[OpenInterval]:
    """The intervals in a restart, without their sums.

    Raises:
        ValueError: what the file says of them is damaged.
    """
    text = getattr(data, _ATTRIBUTE, "")
    if not text:
        return []
    if hashlib.sha256(text.encode()).hexdigest() != getattr(data, f"{_ATTRIBUTE}_sha256", ""):
        raise ValueError("the checksum of their description does not fit")
    return [OpenInterval(**entry) for entry in json.loads(text)]


def _names(intervals: Sequence[OpenInterval]) -> list[dict[str, str]]:
    return [
        # One layer has no interfaces: nothing to keep of what lies there.
        {v: f"sum_{n}_{m}" for m, (v, s) in enumerate(interval.sums.items()) if s.size}
        for n, interval in enumerate(intervals)
    ]


def _dimension(data, size: int) -> str:
    name = f"sum_axis_{size}"
    if name not in data.dimensions:
        data.createDimension(name, size)
    return name


__all__ = ["OpenInterval", "arrays", "define", "described"]
