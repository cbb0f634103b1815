"""Output intervals that a restart cuts in two: what was summed up to then goes into the restart, so
that the records of a run that was interrupted are those of one that was not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dogcm.io.description import Entry
from dogcm.io.restart_file import Part

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


def attributes(intervals: Sequence[OpenInterval]) -> dict[str, str]:
    """What a restart says of the intervals, as global attributes."""
    if not intervals:
        return {}
    told = [
        {
            "table": interval.table,
            "start": interval.start,
            "count": interval.count,
            "what": interval.what,
            "stored": names,
        }
        for interval, names in zip(intervals, _names(intervals))
    ]
    text = json.dumps(told)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {_ATTRIBUTE: text, f"{_ATTRIBUTE}_sha256": digest}


def parts(intervals: Sequence[OpenInterval]) -> list[Part]:
    """The sums as variables of a restart."""
    found = []
    for interval, names in zip(intervals, _names(intervals)):
        for variable, name in names.items():
            sums = np.asarray(interval.sums[variable])
            dimensions = (*(f"sum_axis_{n}" for n in sums.shape[:-2]), "y", "x")
            about = {"long_name": f"{variable} of {interval.table}, summed up so far"}
            found.append(Part(Entry(name, dimensions, "f8", about), sums))
    return found


def described(attributes: dict) -> list[OpenInterval]:
    """The intervals in a restart of these global attributes, without their sums.

    Raises:
        ValueError: what the file says of them is damaged.
    """
    text = attributes.get(_ATTRIBUTE, "")
    if not text:
        return []
    if hashlib.sha256(text.encode()).hexdigest() != attributes.get(f"{_ATTRIBUTE}_sha256"):
        raise ValueError("the checksum of their description does not fit")
    return [OpenInterval(**entry) for entry in json.loads(text)]


def _names(intervals: Sequence[OpenInterval]) -> list[dict[str, str]]:
    return [
        # One layer has no interfaces: nothing to keep of what lies there.
        {v: f"sum_{n}_{m}" for m, (v, s) in enumerate(interval.sums.items()) if s.size}
        for n, interval in enumerate(intervals)
    ]


__all__ = ["OpenInterval", "attributes", "described", "parts"]
