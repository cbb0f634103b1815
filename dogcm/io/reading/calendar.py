"""Which part of the model's year each record of a file belongs to.

Records of the surface are interpolated in time and repeated every year: record ``n`` of ``N``
stands for the middle of the ``n``-th part of the year. A file is therefore put in order by its
dates, not by their place in the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import cftime
import numpy as np
from numpy.typing import NDArray

from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request

_LONG = re.compile(r"^\s*(month|year|common_year)s?\s+since\s+(.*)$", re.IGNORECASE)
_YEAR = (359.0, 367.0)  # days in the year of some calendar
_UNEVEN = 0.45  # of an interval: months are of unequal length
_TWICE = 0.05  # of an interval: two records of the same time of the year


def dates(numbers, unit: str, calendar: str) -> list:
    """Dates of a CF time axis, in its calendar (cftime); of months since a date likewise.

    Raises:
        ValueError: no ``UNIT since DATE``, or a calendar that is not known.
    """
    try:
        with warnings.catch_warnings():
            # cftime warns of every date in year 0, which is how climatologies are dated.
            warnings.simplefilter("ignore")
            return _dates(numbers, unit, calendar)
    # cftime: beyond the calendar, beyond 64 bits, units that are no texts.
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _dates(numbers, unit: str, calendar: str) -> list:
    unit = unit.strip().removesuffix("UTC").strip()
    calendar = calendar or "standard"
    numbers = np.atleast_1d(np.asarray(numbers, float))
    if not np.isfinite(numbers).all():
        raise ValueError("times that are no numbers")
    match = _LONG.match(unit)
    if match:
        return [_later(n, match[1].lower(), match[2], calendar) for n in numbers]
    try:
        return list(np.atleast_1d(cftime.num2date(numbers, unit, calendar)))
    except ValueError:
        # "0000-01-01" is how climatologies say that the year does not matter.
        return list(np.atleast_1d(cftime.num2date(numbers, unit, calendar, has_year_zero=True)))


def _later(count: float, step: str, since: str, calendar: str):
    """The date so many calendar months (or years) after another."""
    start = cftime.num2date(0, f"days since {since}", calendar)
    months = (start.month - 1) + count * (1 if step == "month" else 12)
    whole = int(np.floor(months))
    year, month = start.year + whole // 12, whole % 12 + 1
    first = start.replace(year=year, month=month, day=1)
    after = first.replace(year=year + month // 12, month=month % 12 + 1)
    return first + (after - first) * ((months - whole) + (start.day - 1) / 31.0)


def year_fraction(date) -> float:
    """How much of its calendar year has passed (0 to 1)."""
    start = date.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return (date - start) / (start.replace(year=start.year + 1) - start)


def describe(date) -> str:
    """``YYYY-MM-DD``."""
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}"


def order(
    count: int,
    time,
    unit: str,
    calendar: str,
    year: float,
    same: Callable[[int, int], bool],
    request: Request,
    where: str,
) -> NDArray[np.intp]:
    """The records that a year needs, from January on.

    Args:
        count: of records. time: their times as stored (middles of their bounds where the file has
            them), or None. unit, calendar: of these.
        year: days after which records are repeated (``forcing.year``).
        same: whether two records hold the same values, for records that come twice.

    Raises:
        InputError: records that do not cover the year once, evenly; says what they cover.
    """
    if count == 1 or request.spread:
        return np.arange(count)
    if time is None or " since " not in unit:
        return _undated(count, time, unit, same, request, where)
    try:
        found = dates(time, unit, calendar)
    except ValueError as error:
        raise InputError(
            f"{where}: its time axis (unit '{unit}', calendar '{calendar}') cannot be decoded "
            f"({error}); {request.ask('units', '{time: days since 2001-01-01}')} says its unit, "
            f"{request.ask('spread', 'true')} spreads the records evenly over the year"
        ) from None
    if not _YEAR[0] <= year <= _YEAR[1]:
        return _whole_period(count, found, year, request, where)
    return _by_date(found, year, same, request, where)


def _by_date(found: list, year: float, same, request: Request, where: str) -> NDArray[np.intp]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of year 0, as above
        fractions = np.array([year_fraction(d) for d in found])
    years = np.array([d.year for d in found]) + fractions
    steps = np.diff(np.sort(years))
    interval = float(np.median(steps))
    covered = f"has {len(found)} records from {describe(min(found))} to {describe(max(found))}"
    if interval <= 0:
        raise InputError(f"{where} {covered}: several have the same time; repair the file")
    if np.ptp(years) > 1.0 + 1.5 * interval:
        raise InputError(
            f"{where} {covered}, more than a year, but forcing.year is {year:g} days: records are "
            "repeated with that period. "
            f"{request.ask('select', f'{{time: {min(found).year:04d}}}')} selects one year; or set "
            "forcing.year to what the file covers"
        )
    sorted_ = np.argsort(fractions, kind="stable")
    kept = [int(sorted_[0])]
    for n in map(int, sorted_[1:]):
        if fractions[n] - fractions[kept[-1]] > _TWICE * interval:
            kept.append(n)
        else:
            _same_or_refuse(kept[-1], n, found, same, year, request, f"{where} {covered}")
    last = kept[-1]
    if len(kept) > 1 and 1.0 - fractions[last] + fractions[kept[0]] <= _TWICE * interval:
        _same_or_refuse(kept[0], last, found, same, year, request, f"{where} {covered}")
        kept.pop()
    n = len(kept)
    offset = fractions[kept] * n - np.arange(n)
    # A day more or less (leap years, calendars) shifts days, but not months.
    if np.ptp(offset) > max(_UNEVEN, 1.5 * n / year) or not -0.75 < offset.mean() < 1.25:
        raise InputError(
            f"{where} {covered}, which do not cover the year evenly, but forcing.year is {year:g} "
            f"days: records are repeated with that period, {n} of equal length; select one year "
            f"({request.ask('select', '{time: YYYY}')}), or set forcing.year to what the file "
            "covers"
        )
    return np.array(kept)


def _same_or_refuse(one: int, two: int, found: list, same, year: float, request, covered) -> None:
    if not same(one, two):
        raise InputError(
            f"{covered}: {describe(found[one])} and {describe(found[two])} are the same part of "
            f"the year with other values, but forcing.year is {year:g} days: records are repeated "
            f"with that period. {request.ask('select', f'{{time: {found[one].year:04d}}}')} "
            "selects one year; or set forcing.year to what the file covers"
        )


def _whole_period(count: int, found: list, year: float, request, where: str) -> NDArray[np.intp]:
    """Records in their order, if they are evenly spaced over a period that is no calendar year."""
    seconds = np.array([(d - found[0]).total_seconds() for d in found]) / 86400.0
    steps = np.diff(seconds)
    days = (seconds[-1] - seconds[0]) * count / (count - 1)
    if (steps <= 0).any() or np.ptp(steps) > 0.5 * np.median(steps):
        raise InputError(f"{where}: its times are uneven or out of order; repair the file")
    if abs(days / year - 1.0) > 0.05:
        raise InputError(
            f"{where} has {count} records over {days:.4g} days, but forcing.year is {year:g} days: "
            f"records are repeated with that period; {request.ask('select', '{time: YYYY}')} "
            "selects one year, or set forcing.year to what the file covers"
        )
    return np.arange(count)


def _undated(count: int, time, unit: str, same, request, where: str) -> NDArray[np.intp]:
    """Twelve months by number; fourteen or thirteen of them if the surplus repeats others."""
    ask = (
        f"{request.ask('units', '{time: days since 2001-01-01}')} says their dates, "
        f"{request.ask('spread', 'true')} spreads them evenly over the year in their order"
    )
    if time is None:
        if count == 12:
            return np.arange(12)
        raise InputError(f"{where} has {count} records without times, which are no months: {ask}")
    numbers = np.asarray(time, float)
    steps = np.diff(np.sort(numbers))
    if not np.isfinite(numbers).all() or (steps <= 0).any():
        raise InputError(f"{where}: its times are no numbers, or come twice; {ask}")
    if count == 12 and np.allclose(steps, 1.0):
        first = 1.0 if numbers.min() >= 1.0 and float(numbers.min()).is_integer() else 0.0
        return np.argsort(np.mod(np.floor(numbers - first), 12), kind="stable")
    if count == 12:
        return np.argsort(numbers, kind="stable")
    if count in (13, 14) and np.allclose(steps, 1.0):
        first = 1.0 if count == 14 or numbers.min() >= 1.0 else 0.0
        months = np.mod(np.floor(numbers - first), 12).astype(int)
        kept: dict[int, int] = {}
        for n in map(int, np.argsort(numbers)):
            if kept.setdefault(months[n], n) != n and not same(kept[months[n]], n):
                raise InputError(
                    f"{where} has {count} records, of which numbers {kept[months[n]] + 1} and "
                    f"{n + 1} should repeat each other as months of a year but do not; {ask}"
                )
        return np.array([kept[m] for m in range(12)])
    raise InputError(f"{where} has {count} records ('{unit}' gives no dates), no months: {ask}")


def choose(time, unit: str, calendar: str, wanted, where: str) -> list[int]:
    """Records that ``select: {time: ...}`` means: those whose date begins with the text.

    Raises:
        InputError: none does.
    """
    text = str(wanted).strip()
    number = re.fullmatch(r"record (\d+)", text)
    if number:
        if not 1 <= int(number[1]) <= len(time):
            raise InputError(f"{where} has {len(time)} records, none is {text}")
        return [int(number[1]) - 1]
    if text in ("first", "last"):
        return [0 if text == "first" else len(time) - 1]
    try:
        found = [describe(d) for d in dates(time, unit, calendar)]
    except ValueError as error:
        raise InputError(
            f"{where}: its times are no dates ({error}); select one by 'record N', first or last"
        ) from None
    chosen = [n for n, d in enumerate(found) if d.startswith(text)]
    if not chosen:
        raise InputError(
            f"{where} has no record of {text}; its times go from {min(found)} to {max(found)}"
        )
    return chosen
