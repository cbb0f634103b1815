"""Temperature and salinity from files, on the scales of the equation of state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dogcm.io import regrid
from dogcm.io.curvilinear import ScatteredVariable
from dogcm.io.reading import reader, seawater
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request
from dogcm.setups import atmosphere
from dogcm.setups.config import Config
from dogcm.setups.regridding import check_cover, filled, level_on_grid

_STARTER = Path(__file__).parent / "starter" / "hydrography.nc"
_OTHER = {"temperature": "salinity", "salinity": "temperature"}
# The deepest layer may lie below the last level by this part of its depth.
_BELOW = 0.25


@dataclass(frozen=True)
class _File:
    path: str | Path
    variable: str
    request: Request
    fill: str

    @property
    def where(self) -> str:
        return f"{self.request.key}: variable '{self.variable}' of {self.path}"


def file_of(config: Config, name: str, plane: bool = False) -> _File:
    """Which file holds the initial temperature or salinity, and what is said of it."""
    i = config.initial
    own = i.temperature_file if name == "temperature" else i.salinity_file
    variable = i.temperature_variable if name == "temperature" else i.salinity_variable
    path = _STARTER if i.source == "starter" else own.path or i.path
    return _File(
        path,
        own.variable or variable,
        atmosphere.request(own, f"initial.{name}_file", plane),
        own.fill,
    )


def source(config: Config, name: str, plane: bool = False):
    """Initial temperature or salinity on the grid of its file, on the model's scale.

    Raises:
        InputError: see :func:`dogcm.io.reading.reader.read`.
    """
    own = file_of(config, name, plane)
    found = _read(own, name)
    scale = _scale(own, found, name)
    wanted = _wanted(config, name)
    if scale in ("", wanted):
        return found
    lat, lon, depth = _places(found, plane)
    if name == "salinity":
        convert = (
            seawater.absolute_salinity if wanted == "absolute" else seawater.practical_salinity
        )
        return replace(found, values=convert(found.values, depth, lat, lon))
    salinity = _absolute(config, found, plane)
    convert = seawater.conservative if wanted == "conservative" else seawater.potential
    return replace(found, values=convert(found.values, scale, salinity, depth, lat))


def scale_of(config: Config, name: str, plane: bool = False) -> str:
    """Scale of the file, if its values are converted from it; else ""."""
    own = file_of(config, name, plane)
    scale = _scale(own, _read(own, name), name)
    return "" if scale == _wanted(config, name) else scale


def _read(own: _File, name: str):
    found = reader.read(own.path, own.variable, own.request, name)
    found = reader.one_record(found, own.request, own.where)
    if found.depth is None:
        raise InputError(f"{own.where} has no depth axis")
    return found


def _wanted(config: Config, name: str) -> str:
    practical = config.physics.equation_of_state.kind == "jmd95"
    if name == "salinity":
        return "practical" if practical else "absolute"
    return "potential" if practical else "conservative"


def _scale(own: _File, found, name: str) -> str:
    says = own.request.standard_name or seawater.said_name(found)
    if name == "temperature":
        return seawater.temperature_scale(says)
    return seawater.salinity_scale(says, found.attributes.get("units", own.request.unit))


def _places(found, plane: bool):
    """Latitude, longitude and depth of every value; on a plane, of the middle of an ocean."""
    depth = found.depth.reshape(-1, *[1] * found.space)
    return *((0.0, 0.0) if plane else _points(found)), depth


def _points(found):
    """Latitudes and longitudes that broadcast to the values."""
    if isinstance(found, ScatteredVariable):
        return found.lat, found.lon
    return found.lat[:, None], found.lon


def _absolute(config: Config, temperature, plane: bool):
    """Absolute Salinity at the places of the temperature (g kg-1)."""
    own = file_of(config, "salinity", plane)
    found = _read(own, "salinity")
    if found.values.shape != temperature.values.shape:
        raise InputError(
            f"{own.where} has shape {found.values.shape}, the temperature beside it "
            f"{temperature.values.shape}: on one grid, or temperature cannot be converted"
        )
    if _scale(own, found, "salinity") == "practical":
        lat, lon, depth = _places(found, plane)
        return seawater.absolute_salinity(found.values, depth, lat, lon)
    return found.values


def surface(config: Config, name: str, source):
    """Surface temperature or salinity from a file of the forcing, on the model's scale.

    At the surface, in-situ and potential temperature are the same; the salinity that their
    conversion to Conservative Temperature needs is taken as :data:`seawater.USUAL_SALINITY`.

    Args:
        source: ``sst`` or ``sss`` as :func:`dogcm.setups.atmosphere.read` gives it.
    """
    own, kind = config.forcing.files[name], {"sst": "temperature", "sss": "salinity"}[name]
    says, wanted = own.standard_name or seawater.said_name(source), _wanted(config, kind)
    if kind == "temperature":
        scale = seawater.temperature_scale(says).replace("in_situ", "potential")
    else:
        scale = seawater.salinity_scale(says, source.attributes.get("units", own.unit))
    if scale in ("", wanted):
        return source
    lat, lon = (0.0, 0.0) if getattr(source, "plane", False) else _points(source)
    if kind == "salinity":
        convert = (
            seawater.absolute_salinity if wanted == "absolute" else seawater.practical_salinity
        )
        return replace(source, values=convert(source.values, 0.0, lat, lon))
    convert = seawater.conservative if wanted == "conservative" else seawater.potential
    return replace(source, values=convert(source.values, scale, np.nan, 0.0, lat))


def initial(config: Config, name: str, horizontal, vertical, cells: np.ndarray) -> np.ndarray:
    """Initial temperature (degC) or salinity (g kg-1) on the model grid, (nz, ny, nx).

    Raises:
        InputError: the file cannot be read, or does not cover the ocean.
    """
    plane = not horizontal.spherical
    own, found = file_of(config, name, plane), source(config, name, plane)
    wet = cells > 0
    if own.fill == "none":
        check_cover(found, horizontal, "c", wet[0])
        _check_depth(own, found, vertical.centres[wet.any((1, 2))])
    levels = np.stack(
        [level_on_grid(found, found.values[k], horizontal, "c") for k in range(len(found.depth))]
    )
    if own.fill == "nearest":
        levels = _filled(levels, horizontal)
    return regrid.interp_depth(levels, found.depth, depths(config, vertical, cells))


def depths(config: Config, vertical, cells: np.ndarray) -> np.ndarray:
    """Depths (m) at which the values of cells hold: of layers (nz,), or where the pressure gradient
    takes partial cells at their own depth, of cells (nz, ny, nx).

    Args:
        cells: thickness (m), (nz, ny, nx), 0 on land.
    """
    if not config.physics.pressure.true_depths:
        return vertical.centres
    whole = np.broadcast_to(np.asarray(vertical.dz)[:, None, None], cells.shape)
    top = np.asarray(vertical.edges)[:-1, None, None]
    return top + 0.5 * np.where(cells > 0, cells, whole)


def _check_depth(own: _File, found, centres: np.ndarray) -> None:
    last = float(found.depth[-1])
    step = float(found.depth[-1] - found.depth[-2]) if found.depth.size > 1 else last
    if centres.max() > last + max(step, _BELOW * last):
        raise InputError(
            f"{own.where} ends at {last:g} m, but the ocean's deepest layer lies at "
            f"{centres.max():g} m: nothing is known of what lies between. Give a deeper file, or "
            f"{own.request.ask('fill', 'nearest')} continues the last level downwards"
        )


def _filled(levels: np.ndarray, horizontal) -> np.ndarray:
    """Gaps filled from the nearest place of the same level; levels without any, from above."""
    out = []
    for level in levels:
        level = filled(level, horizontal, "c")
        out.append(out[-1] if out and not np.isfinite(level).any() else level)
    return np.stack(out)


__all__ = ["file_of", "initial", "scale_of", "source", "surface"]
