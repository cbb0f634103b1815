"""From the dates of a file to the model's clock: seconds since the start of model year 1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from dogcm.io.reading import calendar as times
from dogcm.targets.errors import TargetError

DAY = 86400.0


@dataclass(frozen=True)
class Clock:
    """Which date is which model time.

    Attributes:
        first_year: calendar year that model year 1 stands for.
        year: length of the model's year (s), the period of its forcing. A date keeps its place
            within the year, so leap years do not shift the seasons of targets against those of the
            forcing. None: count true seconds from 1 January of ``first_year``.
    """

    first_year: int
    year: float | None = 365.0 * DAY

    def seconds(self, dates) -> np.ndarray:
        """Model times (s) of calendar dates, ``(n,)``."""
        return np.array([self._one(d) for d in dates], float)

    def _one(self, date) -> float:
        def new_year(year):
            return date.replace(
                year=year, month=1, day=1, hour=0, minute=0, second=0, microsecond=0
            )

        if self.year is None:
            return (date - new_year(self.first_year)).total_seconds()
        start = new_year(date.year)
        fraction = (date - start).total_seconds() / (
            new_year(date.year + 1) - start
        ).total_seconds()
        return (date.year - self.first_year + fraction) * self.year


def decode_times(values, units: str, calendar: str, source: str) -> list:
    """Dates of a CF time axis.

    Raises:
        TargetError: units that are not ``UNIT since DATE``, an unknown calendar, or times not in
            order.
    """
    numbers = np.atleast_1d(np.asarray(values, float))
    if numbers.size == 0 or not np.isfinite(numbers).all() or (np.diff(numbers) <= 0).any():
        raise TargetError(
            f"time axis of {source} is empty or not strictly increasing; repair or sort the file"
        )
    try:
        return times.dates(numbers, units, calendar)
    except Exception as error:  # noqa: BLE001 whatever a decoder raises
        raise TargetError(
            f"time axis of {source} cannot be decoded (units '{units}', calendar '{calendar}': "
            f"{error}); CF wants units like 'hours since 1950-01-01'"
        ) from None


def parse_date(text) -> tuple[int, int, int]:
    """``'1993-01-31'`` (or anything with year, month, day) as a tuple that compares in any
    calendar."""
    try:
        date = datetime.strptime(text, "%Y-%m-%d") if isinstance(text, str) else text
        return date.year, date.month, date.day
    except (ValueError, AttributeError):
        raise TargetError(f"date {text!r}: write it as YYYY-MM-DD") from None


def select_period(dates: list, period, source: str) -> list[int]:
    """Indices of the dates within ``period = (first day, last day)``, both included; None takes
    all.

    Raises:
        TargetError: no date within the period.
    """
    if period is None:
        return list(range(len(dates)))
    first, last = map(parse_date, period)
    if first > last:
        raise TargetError(f"period {period[0]} to {period[1]}: the first day is after the last")
    chosen = [n for n, d in enumerate(dates) if first <= (d.year, d.month, d.day) <= last]
    if not chosen:
        raise TargetError(
            f"{source}: no record between {period[0]} and {period[1]}; its time axis runs from "
            f"{_day(dates[0])} to {_day(dates[-1])} ({len(dates)} records)"
        )
    return chosen


def middle_of_month(dates: list) -> list:
    """Monthly means stamped anywhere in their month, moved to its middle."""
    out = []
    for d in dates:
        start = d.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end = start.replace(year=d.year + d.month // 12, month=d.month % 12 + 1)
        out.append(start + (end - start) / 2)
    return out


def _day(date) -> str:
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}"
