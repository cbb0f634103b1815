"""Inputs given in Python: arrays, DataArrays and functions in place of files.

A value may be a number, an array over the grid, an :class:`xarray.DataArray` (its unit is obeyed,
its dimensions are put in order), or a function of the places: ``(x, y)`` for the sea floor,
``(x, y, depth)`` for the initial state, ``(x, y, t)`` for forcing. On a plane x and y are metres
from its south-western corner (y counts from ``y0``), on a sphere longitude and latitude in degrees;
depth is positive down (m), t the model time (s). Vectors point along the lines of the grid.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dogcm.components.names import did_you_mean
from dogcm.io.reading import plausible, units
from dogcm.io.reading.errors import InputError
from dogcm.physics.surface import RECORDS
from dogcm.setups.regridding import points

# Other names of surface fields.
ALIASES = {"wind_stress_x": "taux", "wind_stress_y": "tauy"}
_UNITS = {"temperature": "degC", "salinity": "g kg-1", "depth": "m"}
_ORDER = (
    ("time", "month", "record"),
    ("depth", "z", "lev", "level"),
    ("y", "lat", "latitude"),
    ("x", "lon", "longitude"),
)


@dataclass(frozen=True)
class Given:
    """Values given in Python.

    Attributes:
        bathymetry: depth of the sea floor (m, positive; 0 or NaN is land), or None.
        initial: ``temperature`` (degC), ``salinity`` (g kg-1). forcing: surface fields by name, in
            the units of :data:`dogcm.physics.surface.RECORDS`.
    """

    bathymetry: Any = None
    initial: Mapping[str, Any] = field(default_factory=dict)
    forcing: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        named = {ALIASES.get(n, n): v for n, v in self.forcing.items()}
        for name in named:
            if name not in RECORDS:
                hint = did_you_mean(name, [*RECORDS, *ALIASES])
                raise InputError(f"forcing: unknown surface field {name!r}{hint}")
        for name in self.initial:
            if name not in ("temperature", "salinity"):
                hint = did_you_mean(name, ("temperature", "salinity"))
                raise InputError(f"initial: unknown variable {name!r}{hint}")
        object.__setattr__(self, "forcing", named)

    @property
    def functions(self) -> dict[str, Callable]:
        """Surface fields that are functions of ``(x, y, t)``."""
        return {n: v for n, v in self.forcing.items() if callable(v) and not _is_array(v)}

    def depth(self, horizontal) -> np.ndarray:
        """Depth of the sea floor (ny, nx), 0 on land.

        Raises:
            InputError: another shape or unit, or a negative depth.
        """
        if self.bathymetry is None:
            raise _missing("bathymetry")
        x, y = places(horizontal, "c")
        values = _evaluate(self.bathymetry, "bathymetry", "depth", horizontal.shape, (x, y))
        values = np.where(np.isfinite(values), values, 0.0)
        if values.min() < 0:
            raise InputError(
                f"bathymetry: depth of the sea floor has {int((values < 0).sum())} negative values "
                f"(least {values.min():g} m): depth is positive, 0 or NaN is land"
            )
        return values

    def tracer(self, name: str, horizontal, depths: np.ndarray) -> np.ndarray:
        """Initial temperature or salinity (nz, ny, nx).

        Args:
            depths: of the values (m), (nz,) or (nz, ny, nx).
        """
        if name not in self.initial:
            raise _missing(f"initial.{name}")
        x, y = places(horizontal, "c")
        shape = (len(depths), *horizontal.shape)
        z = depths.reshape(len(depths), *depths.shape[1:] or (1, 1))
        values = _evaluate(self.initial[name], f"initial.{name}", name, shape, (x, y, z))
        return _plausible(values, f"initial.{name}", name)

    def try_functions(self, horizontal) -> None:
        """Evaluate every function of ``(x, y, t)`` once, at the start.

        Raises:
            InputError: it fails, gives another shape, or what is no number.
        """
        for name, function in self.functions.items():
            x, y = places(horizontal, RECORDS[name][0])
            key = f"forcing.{name}"
            try:
                inspect.signature(function).bind(x, y, 0.0)
                values = np.asarray(function(x, y, 0.0), float)
                values = np.broadcast_to(values, x.shape)
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{key}: a function of (x, y, t) is wanted, which takes and gives arrays of "
                    f"the shape of x: {error}"
                ) from None
            if not np.isfinite(values).all():
                raise InputError(f"{key}: not finite at {int((~np.isfinite(values)).sum())} points")
            _plausible(values, key, name)

    def record(self, name: str, horizontal) -> np.ndarray:
        """One surface field (n, ny, nx) at its place."""
        value, (at, _, _) = self.forcing[name], RECORDS[name]
        key, (x, y) = f"forcing.{name}", places(horizontal, at)
        shape = horizontal.shape
        if _is_array(value) and np.ndim(value) == 3:
            shape = (np.shape(value)[0], *shape)
        values = _evaluate(value, key, name, shape, (x, y))
        values = values if values.ndim == 3 else values[None]
        return _plausible(values, key, name)


def places(horizontal, at: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y (ny, nx) of a place of the C grid: metres on a plane, degrees on a sphere."""
    lat, lon = points(horizontal, at)
    return (lon, lat) if horizontal.spherical else (lon * 1e3, lat * 1e3)


def _is_array(value: Any) -> bool:
    return (
        hasattr(value, "dims")
        or isinstance(value, np.ndarray | list | tuple)
        or (hasattr(value, "shape") and hasattr(value, "dtype"))
    )


def _missing(key: str) -> InputError:
    section = key.partition(".")[0]
    return InputError(
        f"{section}.source is given: the values of {key} were given in Python and are in no file; "
        f"pass them again, Model(..., {section}=...), or choose another source"
    )


def _evaluate(value: Any, key: str, name: str, shape: tuple[int, ...], at: tuple) -> np.ndarray:
    """``value`` as an array of ``shape``."""
    if callable(value) and not _is_array(value):
        value = _call(value, key, at)
    if hasattr(value, "dims"):
        _same_places(value, key, at)
        value = _ordered(value, key, _UNITS.get(name) or RECORDS[name][1])
    try:
        values = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: no numbers: {error}") from None
    if values.ndim == 1 and len(shape) == 3 and values.size == shape[0]:
        values = values[:, None, None]  # a profile
    try:
        return np.broadcast_to(values, shape).copy()
    except ValueError:
        raise InputError(
            f"{key}: has the shape {values.shape}, and the grid wants {shape} "
            f"({'depth, ' * (len(shape) == 3)}y, x)"
        ) from None


def _call(function: Callable, key: str, at: tuple) -> Any:
    wanted = ("x", "y", "depth")[: len(at)]
    try:
        inspect.signature(function).bind(*at)
    except TypeError:
        raise InputError(f"{key}: a function of ({', '.join(wanted)}) is wanted") from None
    return function(*at)


def _same_places(array: Any, key: str, at: tuple) -> None:
    """Refuse a DataArray whose coordinates are not the places of the grid.

    Args:
        at: x and y (ny, nx) where the values are wanted.
    """
    for dim in array.dims:
        name, axis = str(dim).lower(), None
        if name in _ORDER[3]:
            axis = at[0][0]
        elif name in _ORDER[2]:
            axis = at[1][:, 0]
        elif name in _ORDER[0] and array.sizes[dim] > 1 and dim in array.coords:
            raise InputError(
                f"{key}: its {dim} coordinate is not used: records given in Python are spread "
                "evenly over the forcing year. Drop the coordinate if that is meant, or give a "
                "file (forcing.files), whose dates are read"
            )
        if axis is None or dim not in array.coords:
            continue
        own = np.asarray(array[dim].values, float)
        unit = str(array[dim].attrs.get("units", ""))
        own = own * (1e3 if unit in ("km", "kilometer", "kilometers") else 1.0)
        step = np.abs(np.diff(axis)).max() if axis.size > 1 else 1.0
        curved = np.ptp(at[0], axis=0).max() > 1e-6 * step or np.ptp(at[1], axis=1).max() > 1e-6
        if not curved and (own.shape != axis.shape or np.abs(own - axis).max() > 0.01 * step):
            raise InputError(
                f"{key}: its {dim} goes from {own[0]:g} to {own[-1]:g}, and the grid wants values "
                f"at {axis[0]:g} to {axis[-1]:g}: bring it to the grid (array.interp), or drop the "
                "coordinate if the values are there already"
            )


def _ordered(array: Any, key: str, wanted: str) -> Any:
    """A DataArray's values in the model's unit, its dimensions in the order time, depth, y, x."""
    rank = {name: n for n, names in enumerate(_ORDER) for name in names}
    if all(str(d).lower() in rank for d in array.dims):
        array = array.transpose(*sorted(array.dims, key=lambda d: rank[str(d).lower()]))
    unit = str(array.attrs.get("units", ""))
    values = np.asarray(array.values, float)
    if not unit:
        return values
    try:
        return units.convert(values, unit, wanted)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None


def _plausible(values: np.ndarray, key: str, name: str) -> np.ndarray:
    usual = plausible.RANGES.get(name)
    finite = values[np.isfinite(values)]
    if usual and finite.size and (finite.min() < usual.low or finite.max() > usual.high):
        raise InputError(
            f"{key}: goes from {finite.min():g} to {finite.max():g}, and no ocean goes beyond "
            f"{usual.low:g} to {usual.high:g} {usual.unit}: is it given in another unit?"
        )
    return values


__all__ = ["ALIASES", "Given", "places"]
