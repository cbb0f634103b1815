"""Quality flags and adjusted values of profiles, after Argo's reference table 2.

Argo user's manual, doi:10.13155/29825: 1 good, 2 probably good, 5 changed, 8 estimated are taken; 0
(not checked), 3, 4 (bad) and 9 (missing) are not. Where the data mode of a profile is adjusted (A)
or delayed (D), its adjusted values hold, with their own flags.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

_TAKEN = (b"1", b"2", b"5", b"8")
_FLAGS = {"lat": "POSITION_QC", "lon": "POSITION_QC", "time": "JULD_QC"}
_DEEP = ("temperature", "salinity", "pressure", "depth")


def values(data: xr.Dataset, own: dict[str, str]) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Values of all variables of a profile, NaN where a flag says that they are bad.

    Args:
        own: what (``temperature``, ``lat``, ...) -> variable of the file.

    Returns:
        what -> values, and how many values were left out of each by its flags.
    """
    raw, left_out = {}, {}
    for what, name in own.items():
        numbers = np.asarray(data[name].values, float).copy()
        bad = _bad(data, _FLAGS.get(what, f"{name}_QC"), numbers.shape)
        adjusted = _adjusted(data, name) if what in _DEEP else None
        if adjusted is not None:
            better = adjusted & np.ones_like(bad)
            other = np.asarray(data[f"{name}_ADJUSTED"].values, float)
            numbers = np.where(better, other, numbers)
            bad = np.where(better, _bad(data, f"{name}_ADJUSTED_QC", bad.shape), bad)
        bad &= np.isfinite(numbers)
        numbers[bad] = np.nan
        if bad.any():
            left_out[f"values of {name} by their flags"] = int(bad.sum())
        raw[what] = numbers
    return raw, left_out


def _bad(data: xr.Dataset, flags: str, shape: tuple[int, ...]) -> np.ndarray:
    if flags not in data.variables or data[flags].shape != shape:
        return np.zeros(shape, bool)
    return ~np.isin(_letters(data[flags]), _TAKEN)


def _adjusted(data: xr.Dataset, name: str) -> np.ndarray | None:
    """Whether a profile's adjusted values hold, ``(profile, 1)``; None: the file has none."""
    if f"{name}_ADJUSTED" not in data.variables or "DATA_MODE" not in data.variables:
        return None
    return np.isin(_letters(data["DATA_MODE"]), (b"A", b"D"))[:, None]


def _letters(variable: xr.DataArray) -> np.ndarray:
    """Single characters, as bytes whatever they were stored as."""
    kind = variable.dtype.kind
    if kind == "S":
        return variable.values
    if kind in "iuf":
        return np.char.mod("%d", np.nan_to_num(variable.values, nan=9).astype(int)).astype("S")
    filled = np.where(variable.isnull(), "9", variable.values)
    text = [x.decode() if isinstance(x, bytes) else str(x) for x in filled.ravel()]
    return np.array(text).astype("S").reshape(variable.shape)
