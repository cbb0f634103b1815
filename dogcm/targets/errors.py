"""The one exception of unusable targets, and checks that several readers share."""

from __future__ import annotations

import numpy as np

from dogcm.io.reading import plausible, units


class TargetError(ValueError):
    """Target data that cannot be used; says what, where and what to do."""


def in_unit(name: str, values: np.ndarray, unit: str, source: str) -> np.ndarray:
    """``values`` of the model variable ``name`` in the model's unit, checked for a sane size.

    Raises:
        TargetError: no unit, one that cannot be converted, or values that the stated unit cannot
            mean (kelvin labelled degC, centimetres labelled m).
    """
    usual = plausible.RANGES[name]
    wanted, low, high = usual.unit, usual.low, usual.high
    if not str(unit).strip():
        raise TargetError(
            f"{source} has no units attribute; set it to a CF unit such as '{wanted}'"
        )
    try:
        out = units.convert(values, unit, wanted)
    except ValueError as error:
        raise TargetError(
            f"{source}, the target of {name} (model unit {wanted}): {error}"
        ) from None
    finite = out[np.isfinite(out)]
    # Single wild values are noise that a mask should take; a wrong unit moves the typical value.
    if finite.size and not (
        low <= np.median(finite) <= high and np.mean((finite < low) | (finite > high)) < 0.01
    ):
        raise TargetError(
            f"{source} is labelled '{unit}', but its values ({finite.min():.4g} to "
            f"{finite.max():.4g} {wanted}) cannot be {name} in {wanted} ({low:g} to {high:g}): "
            "correct the units attribute of the file"
        )
    return out
