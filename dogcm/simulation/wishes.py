"""What a run in Python is asked for: output tables and callbacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dogcm.components.errors import ConfigError

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS |= {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


def in_days(interval: float | str) -> float:
    """An interval in days: a number of days, or text such as ``"1 h"``, ``"30 min"``, ``"5 d"``.

    Raises:
        ConfigError: another text.
    """
    if isinstance(interval, int | float):
        return float(interval)
    found = re.fullmatch(r"\s*([\d.]+)\s*([a-z]+?)s?\s*", interval.lower())
    unit = found and (found[2] if found[2] in _SECONDS else found[2].rstrip("s"))
    if not found or unit not in _SECONDS:
        raise ConfigError(f"interval {interval!r}: write it as '1 h', '30 min' or '5 d'")
    return float(found[1]) * _SECONDS[unit] / 86400.0


@dataclass(frozen=True)
class Output:
    """One output file of a run.

    Attributes:
        name: of the file, without suffix. variables: see ``dogcm show --variables``.
        every: interval, in days or as text (``"1 h"``).
        kind: mean, minimum, maximum or root_mean_square over the interval; or snapshot at its end.
        format: netcdf, or zarr, which needs ``pip install "dogcm[zarr]"``.
    """

    name: str
    variables: Sequence[str]
    every: float | str = 30.0
    kind: str = "mean"
    format: str = "netcdf"

    def entry(self) -> dict[str, Any]:
        """As a configuration has it."""
        return {
            "variables": list(self.variables),
            "every": in_days(self.every),
            "kind": self.kind,
            "format": self.format,
        }


@dataclass(frozen=True)
class Callback:
    """A function that is called during a run.

    Attributes:
        function: called with the model, whose ``state`` is that of the moment; it may set
            ``model.forcing`` to another one of the same form, and ends the run by returning True
            (on any rank).
        every: interval, in days or as text.
    """

    function: Callable[[Any], bool | None]
    every: float | str = 1.0


__all__ = ["Callback", "Output", "in_days"]
