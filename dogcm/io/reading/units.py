"""Units of input files, as their writers spell them.

Pint with the UDUNITS names of cf_xarray does the work; here are the spellings that neither knows,
and two equivalences of oceanography: fluxes of fresh water by mass and by volume, and the labels of
salinity.
"""

from __future__ import annotations

import functools
import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Density (kg m-3) that turns a mass flux of fresh water into a volume flux.
FRESH_WATER_DENSITY = 1000.0
#: What salinity is labelled with, all of factor 1: its scale follows from its standard name.
SALINITY_LABELS = {
    *("1", "1e-3", "0.001", "10^-3", "10**-3", "psu", "pss", "pss-78", "pss78", "ppt", "permil"),
    *("g kg-1", "g/kg", "gram/kilogram", "g kg^-1", "g kg**-1", "practical_salinity_unit", "‰"),
    *("parts per thousand", "practical salinity unit", "practical salinity units", "1.e-3"),
}
_CAPITAL = {"w": "W", "n": "N", "pa": "Pa", "hpa": "hPa", "j": "J", "k": "K", "mb": "mbar"}
_TEMPERATURE = re.compile(r"^(?:deg(?:ree)?s?[ _]?)?(c|celsius|centigrade|k|kelvin)$")
_ANGLE = re.compile(r"^deg(?:ree)?s?[ _]?(?:n|north|e|east|true|t)?$")


@functools.cache
def _registry():
    # Costs a third of a second, and most runs read no unit that needs it.
    import cf_xarray.units

    return cf_xarray.units.units


def _spellings(unit: str) -> list[str]:
    """The unit as written, then as what it may mean; first come, first served."""
    written = unit.strip()
    small = " ".join(written.lower().split())
    temperature = _TEMPERATURE.match(small)
    if temperature:
        return ["degC" if temperature[1][0] == "c" else "kelvin"]
    if _ANGLE.match(small):
        return ["degree"]
    # "m of water equivalent" is a depth of water.
    plain = [re.sub(r" of water(?: equivalent)?\b", "", s) for s in (written, small)]
    # Writers of capitals: W/M**2, N/M2.
    names = re.sub(r"[a-z]+", lambda m: _CAPITAL.get(m[0], m[0]), small)
    return list(dict.fromkeys([written, *plain, small, names]))


def _quantities(unit: str) -> list:
    """Every reading of a unit as a quantity of Pint."""
    if not unit.strip():
        return []
    try:
        return [_registry().Quantity(float(unit), "dimensionless")]
    except ValueError:
        pass
    found = []
    for spelled in _spellings(unit):
        try:
            quantity = _registry().Quantity(spelled)
        # Pint raises its own errors, those of Python's tokenizer, and others for what is no unit.
        except Exception:  # noqa: BLE001
            continue
        if hasattr(quantity, "units"):
            found.append(quantity)
    return found


def says(unit: str, wanted: str) -> bool:
    """Whether a unit is that one already, which is known without the library of units."""
    return _spellings(unit)[0] == wanted


def is_like(unit: str, wanted: str) -> bool:
    """Whether ``unit`` can be converted to ``wanted`` (``is_like("feet", "m")``)."""
    try:
        convert(0.0, unit, wanted)
    except ValueError:
        return False
    return True


def convert(values: ArrayLike, unit: str, wanted: str) -> NDArray[np.floating]:
    """Values in another unit.

    Fluxes of fresh water by mass (kg m-2 s-1) and by volume (m s-1) are converted with
    1000 kg m-3. The labels of salinity (1, 1e-3, psu, g kg-1) are all of factor 1: whether it is
    Practical or Absolute Salinity follows from its standard name, see
    :mod:`dogcm.io.reading.seawater`.

    Args:
        values: Any shape.
        unit: Unit of ``values``, in any spelling of UDUNITS and many others.
        wanted: Unit to convert to.

    Raises:
        ValueError: A unit that is not known, or two that measure different things.
    """
    v = np.asarray(values, float)
    if says(unit, wanted):
        return v
    if _labels_salinity(wanted) and _labels_salinity(unit):
        return v
    want = _quantities(wanted)[0]
    readings = _quantities(unit)
    for have in readings:
        if have.is_compatible_with(want.units):
            return _converted(v, have, want)
        for other in _by_density(have):
            if other.is_compatible_with(want.units):
                return _converted(v, other, want)
    if not readings:
        raise ValueError(
            f"unit '{unit}' is not known; cannot convert '{unit}' to '{wanted}'"
            if unit.strip()
            else f"no unit is given; '' is not known as one that becomes '{wanted}'"
        )
    raise ValueError(
        f"cannot convert '{unit}' ({_dimension(readings[0])}) to '{wanted}' ({_dimension(want)})"
    )


def _labels_salinity(unit: str) -> bool:
    return " ".join(unit.lower().split()) in SALINITY_LABELS


def _by_density(quantity) -> list:
    """An amount or flux of fresh water by volume instead of by mass, and the reverse."""
    if not quantity._is_multiplicative:
        return []
    water = _registry().Quantity(FRESH_WATER_DENSITY, "kg m-3")
    return [quantity / water, quantity * water]


def _converted(v: NDArray, have, want) -> NDArray[np.floating]:
    if have.magnitude == 1 and not have._is_multiplicative:
        return np.asarray(have._REGISTRY.Quantity(v, have.units).to(want.units).magnitude, float)
    if not want._is_multiplicative:
        scaled = have._REGISTRY.Quantity(v * have.magnitude, have.units)
        return np.asarray(scaled.to(want.units).magnitude, float)
    factor = float(have.to(want.units).magnitude / want.magnitude)
    return v if factor == 1.0 else v * factor


def _dimension(quantity) -> str:
    """What a quantity measures, in words."""
    for name, unit in (
        ("temperature", "kelvin"),
        ("length", "m"),
        ("pressure or stress", "Pa"),
        ("heat flux", "W m-2"),
        ("speed", "m s-1"),
        ("water flux", "kg m-2 s-1"),
        ("angle or pure number", "1"),
    ):
        if quantity.is_compatible_with(_registry().Quantity(unit).units):
            return name
    return str(quantity.dimensionality)
