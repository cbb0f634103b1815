"""Scales of temperature and salinity, by standard name; conversions by gsw (TEOS-10).

IOC, SCOR and IAPSO (2010), https://www.teos-10.org/pubs/TEOS-10_Manual.pdf.
"""

from __future__ import annotations

import re

import gsw
import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]

#: Salinity where none is given (g kg-1): enters the conversion of temperature alone, weakly.
USUAL_SALINITY = 35.165
_SURFACE = ("sea_surface_temperature", "sea_surface_skin_temperature")
_SURFACE += ("sea_surface_subskin_temperature", "sea_surface_foundation_temperature")
_PRACTICAL = ("sea_water_practical_salinity", "sea_surface_practical_salinity")
_PRACTICAL_UNITS = ("1e-3", "psu", "pss", "pss-78", "0.001", "1", "ppt")


# In the words of a long name, and by the names that CMIP prescribes.
_WORDS = (
    (re.compile(r"conservative temperature"), "sea_water_conservative_temperature"),
    (re.compile(r"potential temperature"), "sea_water_potential_temperature"),
    (re.compile(r"in[- _]?situ temperature"), "sea_water_temperature"),
    (re.compile(r"absolute salinity"), "sea_water_absolute_salinity"),
    (re.compile(r"practical salinity"), "sea_water_practical_salinity"),
)
_PRESCRIBED = {
    "thetao": "sea_water_potential_temperature",
    "bigthetao": "sea_water_conservative_temperature",
    "so": "sea_water_practical_salinity",
    "sos": "sea_water_practical_salinity",
}


def said_name(source) -> str:
    """Standard name of a variable; without one, what its long name or its own name says of it."""
    if source.standard_name:
        return source.standard_name
    long_name = source.attributes.get("long_name", "").lower()
    for words, name in _WORDS:
        if words.search(long_name):
            return name
    return _PRESCRIBED.get(source.name, "")


def temperature_scale(standard_name: str) -> str:
    """``in_situ``, ``potential``, ``conservative``, or "" where the name does not say."""
    if standard_name in ("sea_water_temperature", *_SURFACE):
        return "in_situ"
    return {
        "sea_water_potential_temperature": "potential",
        "sea_water_conservative_temperature": "conservative",
    }.get(standard_name, "")


def salinity_scale(standard_name: str, unit: str) -> str:
    """``practical``, ``absolute``, or "" where name and unit do not say.

    ``sea_water_salinity`` in units of practical salinity is practical.
    """
    if standard_name in _PRACTICAL:
        return "practical"
    if standard_name == "sea_water_absolute_salinity":
        return "absolute"
    if standard_name in ("sea_water_salinity", "sea_surface_salinity"):
        return "practical" if unit.strip().lower() in _PRACTICAL_UNITS else ""
    return ""


def absolute_salinity(practical: ArrayLike, depth, lat, lon) -> FloatArray:
    """Absolute Salinity (g kg-1) of practical salinity; NaN where it is NaN. depth: m."""
    s, depth, lat, lon = np.broadcast_arrays(np.asarray(practical, float), depth, lat, lon)
    out = np.full(s.shape, np.nan)
    there = np.isfinite(s)
    p = gsw.p_from_z(-depth[there], lat[there])
    out[there] = gsw.SA_from_SP(s[there], p, lon[there], lat[there])
    return out


def practical_salinity(absolute: ArrayLike, depth, lat, lon) -> FloatArray:
    """Practical salinity of Absolute Salinity (g kg-1); NaN where it is NaN. depth: m."""
    s, depth, lat, lon = np.broadcast_arrays(np.asarray(absolute, float), depth, lat, lon)
    out = np.full(s.shape, np.nan)
    there = np.isfinite(s)
    p = gsw.p_from_z(-depth[there], lat[there])
    out[there] = gsw.SP_from_SA(s[there], p, lon[there], lat[there])
    return out


def conservative(values: ArrayLike, scale: str, salinity, depth, lat) -> FloatArray:
    """Conservative Temperature (degC) of temperature on a scale.

    Args:
        values: degC. scale: as :func:`temperature_scale` gives. salinity: Absolute Salinity
            (g kg-1); where it is NaN, :data:`USUAL_SALINITY`. depth: m.
    """
    t = np.asarray(values, float)
    salinity = np.where(np.isfinite(salinity), salinity, USUAL_SALINITY)
    if scale == "potential":
        return np.asarray(gsw.CT_from_pt(salinity, t))
    if scale == "in_situ":
        t, salinity, depth, lat = np.broadcast_arrays(t, salinity, depth, lat)
        return np.asarray(gsw.CT_from_t(salinity, t, gsw.p_from_z(-depth, lat)))
    return t


def potential(values: ArrayLike, scale: str, salinity, depth, lat) -> FloatArray:
    """Potential temperature (degC) of temperature on a scale; arguments as :func:`conservative`."""
    t = np.asarray(values, float)
    salinity = np.where(np.isfinite(salinity), salinity, USUAL_SALINITY)
    if scale == "conservative":
        return np.asarray(gsw.pt_from_CT(salinity, t))
    if scale == "in_situ":
        t, salinity, depth, lat = np.broadcast_arrays(t, salinity, depth, lat)
        return np.asarray(gsw.pt0_from_t(salinity, t, gsw.p_from_z(-depth, lat)))
    return t
