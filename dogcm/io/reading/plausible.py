"""Values that an input field can have: what lies beyond is another unit, a fill value or damage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dogcm.io.reading.errors import InputError


@dataclass(frozen=True)
class Range:
    """Plausible values of a field.

    Attributes:
        unit: the model's unit. low, high: what no value on Earth lies beyond.
        most: the largest magnitude of a whole field (the greatest depth) is at least this, else the
            unit is another one (salinity as a mass fraction, depth in kilometres).
    """

    unit: str
    low: float
    high: float
    most: float = 0.0


_TEMPERATURE, _SALINITY = Range("degC", -5.0, 45.0), Range("g kg-1", 0.0, 60.0, 1.0)
_STRESS, _WIND = Range("N m-2", -8.0, 8.0), Range("m s-1", -120.0, 120.0)
#: Field of the model, the air or the targets: its unit and plausible values.
RANGES: dict[str, Range] = {
    "elevation": Range("m", -12000.0, 9000.0, 12.0),
    "temperature": _TEMPERATURE,
    "salinity": _SALINITY,
    "sst": _TEMPERATURE,
    "sss": _SALINITY,
    "eta": Range("m", -10.0, 10.0),
    "u": Range("m s-1", -10.0, 10.0),
    "v": Range("m s-1", -10.0, 10.0),
    "taux": _STRESS,
    "tauy": _STRESS,
    "heat_flux": Range("W m-2", -3000.0, 1500.0),
    "freshwater_flux": Range("m s-1", -1e-4, 1e-4),
    "wind_u": _WIND,
    "wind_v": _WIND,
    "wind_speed": Range("m s-1", -0.1, 120.0),
    "air_temperature": Range("degC", -90.0, 60.0),
    "dew_point": Range("degC", -100.0, 50.0),
    "specific_humidity": Range("kg kg-1", -2e-3, 0.06),
    "shortwave_down": Range("W m-2", -5.0, 1500.0),
    "longwave_down": Range("W m-2", 20.0, 700.0),
    "precipitation": Range("m s-1", -1e-6, 1e-3),
    "snowfall": Range("m s-1", -1e-6, 1e-3),
    "runoff": Range("m s-1", -1e-5, 0.1),
    "sea_level_pressure": Range("Pa", 8e4, 1.2e5),
}
#: Numbers that stand for missing values in many files whose attributes do not say so.
SENTINELS = (-9.0, -99.0, -99.9, -999.0, -999.9, -9999.0, -99999.0, -32767.0, -32768.0)
SENTINELS += tuple(-v for v in SENTINELS) + (1e10, -1e10, 1e15, -1e15)
#: Fields in which many values of exactly zero are land, not water.
_NEVER_ZERO = ("temperature", "salinity", "sst", "sss")
_FEW = 2
_JUMP = 1.0  # degC, g kg-1


def check(values: np.ndarray, field: str, request, where: str, place, unit: str = "") -> None:
    """Refuse values that ``field`` cannot have.

    Args:
        values: in the unit of :data:`RANGES`, NaN where missing.
        request: what the configuration says: ``range`` and ``missing`` overrule.
        where: what is read, for the message. place: index of a value -> where it lies.
        unit: as which they were read.

    Raises:
        InputError: what was found, how often, where, and the key that says better.
    """
    if np.isinf(values).any():
        found = np.isinf(values)
        raise InputError(
            f"{where}: {int(found.sum())} values are infinite, the first {place(_first(found))}: "
            "repair the file"
        )
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InputError(f"{where} has no value at all: every point is missing")
    if field not in RANGES:
        return
    usual = RANGES[field]
    low, high = request.range or (usual.low, usual.high)
    as_read = f"{usual.unit} (read as '{unit}')" if unit not in ("", usual.unit) else usual.unit
    _within(values, low, high, as_read, field, request, where, place)
    if request.range:
        return
    _no_sentinel(values, finite, request, where, place)
    if field in _NEVER_ZERO:
        _no_zero_land(values, request, where, place)
    most = -finite.min() if field == "elevation" else np.abs(finite).max()
    if most < usual.most and not request.unit:
        turned = f"{request.ask('sign', 'down')} that depth is positive, " * (field == "elevation")
        raise InputError(
            f"{where} goes from {finite.min():.4g} to {finite.max():.4g} {as_read}: too little "
            f"to be {field}. {request.ask('unit', 'UNIT')} says in which unit it is, "
            f"{turned}{request.ask('range', '[LOW, HIGH]')} that it is right"
        )


def _within(values, low, high, as_read, field, request, where, place) -> None:
    beyond = (values < low) | (values > high)
    if not beyond.any():
        return
    worst = values[beyond]
    advice = [f"is the unit another one? {request.ask('unit', 'UNIT')} says so"]
    same, counts = np.unique(worst, return_counts=True)
    if len(same) <= _FEW and counts.max() > 1 or len(worst) <= 0.5 * np.isfinite(values).sum():
        advice.append(
            f"if they stand for missing values, {request.ask('missing', f'[{same[0]:g}]')} says so"
        )
    advice.append(f"if they are right, {request.ask('range', '[LOW, HIGH]')} does")
    raise InputError(
        f"{where} goes from {np.nanmin(values):.4g} to {np.nanmax(values):.4g} {as_read}; "
        f"{len(worst)} of {values.size} values lie beyond what {field} can be "
        f"({low:g} to {high:g}), the first {place(_first(beyond))}: {'; '.join(advice)}"
    )


def _no_sentinel(values, finite, request, where, place) -> None:
    for extreme in (finite.min(), finite.max()):
        found = values == extreme
        if extreme in SENTINELS and found.sum() > _FEW:
            raise InputError(
                f"{where}: {int(found.sum())} values are exactly {extreme:g}, the first "
                f"{place(_first(found))}: they look like missing values that the file does "
                f"not declare; {request.ask('missing', f'[{extreme:g}]')} takes them so, "
                f"{request.ask('range', '[LOW, HIGH]')} as values"
            )


def _no_zero_land(values, request, where, place) -> None:
    zero = values == 0.0
    if zero.sum() <= _FEW or 0.0 in request.missing:
        return
    # Water of 0 degC has neighbours of nearly 0 degC; at a coast values jump.
    edge = zero[..., 1:] != zero[..., :-1]
    jumps = np.abs(np.diff(values, axis=-1))[edge]
    jumps = jumps[np.isfinite(jumps)]
    if not jumps.size or np.median(jumps) < _JUMP:
        return
    raise InputError(
        f"{where}: {int(zero.sum())} of {values.size} values are exactly 0, the first "
        f"{place(_first(zero))}: is it land? {request.ask('missing', '[0]')} takes them "
        f"for land, {request.ask('mask', 'VARIABLE')} names a variable that is 1 in water, and "
        f"{request.ask('range', '[LOW, HIGH]')} takes them as they are"
    )


def _first(mask: np.ndarray) -> tuple[int, ...]:
    """Index of the first True."""
    return tuple(map(int, np.unravel_index(int(np.argmax(mask)), mask.shape)))
