"""The air above the ocean: which surface fields bulk formulae need, where they come from, and in
which units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dogcm.io import curvilinear
from dogcm.io.reading import calendar, meaning, plausible, reader, units
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request
from dogcm.physics.surface import RECORDS, SurfaceScheme
from dogcm.setups.config import Config, FileKeys, ForcingConfig, ForcingFile
from dogcm.setups.regridding import edges

# Name in forcing.files that stands for a record: dew point (degC) for specific humidity.
DEW_POINT = "dew_point"
GIVEN = ("taux", "tauy", "heat_flux", "freshwater_flux", "sst", "sss")
_NEEDED = (
    "air_temperature",
    "specific_humidity",
    "shortwave_down",
    "longwave_down",
    "precipitation",
)
_AIR = (*_NEEDED, "wind_u", "wind_v", "wind_speed", "snowfall", "sea_level_pressure")
# What formulae supersede, if it comes from the source and not from a file of its own.
_SUPERSEDED = ("heat_flux", "freshwater_flux", "sst")
_NEVER_NEGATIVE = (
    "wind_speed",
    "specific_humidity",
    "shortwave_down",
    "precipitation",
    "snowfall",
    "runoff",
)
STANDARD_PRESSURE = 101325.0
_RATIO = 0.622  # of the gas constants of air and vapour


def surface_scheme(config: Config) -> SurfaceScheme | None:
    """Choices of surface physics; None where records of fluxes are all there is."""
    f, p = config.forcing, config.physics
    chosen = f.bulk or p.shortwave or f.fluxes
    if not (chosen or f.balance_freshwater or f.balance_salt):
        return None
    return SurfaceScheme(
        bulk=f.bulk,
        ice=p.sea_ice,
        shortwave=p.shortwave,
        extra=tuple(f.fluxes.items()),
        balance_freshwater=f.balance_freshwater,
        balance_salt=f.balance_salt,
        freezing_point="teos10" if p.equation_of_state.kind == "teos10" else "millero",
    )


# ---- which fields
def choose(config: Config, offered: list[str]) -> list[str]:
    """Names of the surface fields to be read, in the order of RECORDS.

    Args:
        offered: what the source has by itself.

    Raises:
        InputError: an unknown name, one too many, or one that is missing.
    """
    f, files = config.forcing, set(config.forcing.files)
    unknown = files - set(RECORDS) - {DEW_POINT}
    if unknown:
        known = ", ".join([*RECORDS, DEW_POINT])
        raise InputError(f"forcing.files: unknown field {sorted(unknown)}; known: {known}")
    dropped = {
        n
        for n, keep in (("heat_flux", f.heat_flux), ("freshwater_flux", f.freshwater_flux))
        if not keep
    }
    if f.bulk is not None:
        dropped |= set(_SUPERSEDED)
        if {"wind_u", "wind_v"} <= files:
            dropped |= {"taux", "tauy"}
    names = {n for n in offered if n not in dropped} | files
    if DEW_POINT in files:
        names = (names - {DEW_POINT}) | {"specific_humidity"}
    _refuse_surplus(config, files)
    _refuse_missing(config, names)
    return [n for n in RECORDS if n in names]


def _refuse_surplus(config: Config, files: set[str]) -> None:
    if {DEW_POINT, "specific_humidity"} <= files:
        raise InputError(
            "forcing.files has dew_point and specific_humidity: one follows from the other, give "
            "one"
        )
    if config.forcing.bulk is None:
        used = {"shortwave_down"} if config.physics.shortwave is not None else set()
        idle = sorted((files & {*_AIR, DEW_POINT}) - used)
        if idle:
            raise InputError(
                f"forcing.files.{idle[0]} is of no use without forcing.bulk: ncar; set that or "
                "leave it out"
            )
    elif {"wind_u", "wind_v"} <= files and files & {"taux", "tauy"}:
        raise InputError(
            "forcing.files has winds and taux or tauy: bulk formulae make stress from winds; "
            "leave one of them out (wind_speed alone gives heat and evaporation beside a given "
            "stress)"
        )


def _refuse_missing(config: Config, names: set[str]) -> None:
    f = config.forcing
    write = "give it as forcing.files.{0}: {{path: ..., variable: ...}}"
    if f.bulk is not None:
        for n in _NEEDED:
            if n not in names:
                also = " (or dew_point)" if n == "specific_humidity" else ""
                raise InputError(
                    f"forcing.bulk: ncar needs {n}{also}, {RECORDS[n][2]}; {write.format(n)}"
                )
        winds = {"wind_u", "wind_v"} & names
        if len(winds) == 1 or not (winds or "wind_speed" in names):
            missing = sorted({"wind_u", "wind_v"} - names)
            raise InputError(
                f"forcing.bulk: ncar needs {' and '.join(missing)}; {write.format(missing[0])}, or "
                "wind_speed beside a given stress (taux, tauy)"
            )
    elif config.physics.shortwave is not None and "shortwave_down" not in names:
        raise InputError(
            f"physics.shortwave: {config.physics.shortwave.name()} needs shortwave_down, of which "
            f"heat_flux holds what the sea does not reflect; {write.format('shortwave_down')}"
        )


# ---- reading
def request(own: FileKeys, key: str, plane: bool = False) -> Request:
    """What a section of the configuration says of its file. plane: the grid is Cartesian."""
    return Request(
        key=key,
        axes=own.axes,
        unit=own.unit,
        units=own.units,
        standard_name=own.standard_name,
        sign=own.sign,
        select=own.select,
        missing=tuple(own.missing),
        mask=own.mask,
        range=own.range,
        spread=getattr(own, "spread", False),
        plane=plane,
    )


def read(own: ForcingFile, name: str, forcing: ForcingConfig, plane: bool = False):
    """A field of the surface from its file, in the unit of RECORDS, its records in the order of the
    model's year.

    Args:
        plane: the model's grid is Cartesian.

    Returns:
        :class:`dogcm.io.regrid.GriddedVariable` or :class:`dogcm.io.curvilinear.ScatteredVariable`.

    Raises:
        InputError, FileNotFoundError: what is wrong with the file, its units or its time axis.
    """
    asked = request(own, f"forcing.files.{name}", plane)
    source = reader.read(own.path, own.variable, asked)
    where = f"forcing.files.{name}: variable '{own.variable}' of {own.path}"
    source = reader.one_level(source, asked, where)
    wanted = "degC" if name == DEW_POINT else RECORDS[name][1]
    try:
        values = convert(source.values, source.unit, wanted, own.accumulated)
    except ValueError as error:
        better = f"if the file is wrong about it, forcing.files.{name}.unit says better"
        raise InputError(f"{where}: {error}; {better}") from None
    turned = meaning.sign(name, source.standard_name, asked, where)
    values = values if turned == 1.0 else 0.0 - values
    plausible.check(values, name, asked, where, reader.place_of(source), source.unit)
    source = replace(source, values=values, unit=wanted)
    source = in_order_of_the_year(source, asked, forcing.year, where)
    if name in _NEVER_NEGATIVE:
        source = replace(source, values=np.maximum(source.values, 0.0))
    return source


def in_order_of_the_year(source, asked: Request, year: float, where: str):
    """A source with the records that a year needs, from January on; see
    :mod:`dogcm.io.reading.calendar`."""
    values = source.values
    flat = values if source.timed else values[None]
    size = np.nanmax(np.abs(flat))

    def same(one: int, two: int) -> bool:
        return np.allclose(flat[one], flat[two], rtol=0.0, atol=1e-5 * size, equal_nan=True)

    time = source.time if source.time_middle is None else source.time_middle
    order = calendar.order(
        len(flat), time, source.time_unit, source.calendar, year, same, asked, where
    )
    if np.array_equal(order, np.arange(len(flat))):
        return source
    part = lambda a: None if a is None else a[order]
    return replace(
        source,
        values=flat[order],
        time=part(source.time),
        time_middle=part(source.time_middle),
    )


def convert(values, unit: str, wanted: str, accumulated: float = 0.0):
    """:func:`dogcm.io.reading.units.convert`, also of sums (J m-2, m, kg m-2).

    Args:
        accumulated: seconds over which the values were summed; 0: they are no sums.

    Raises:
        ValueError: units that do not fit, or a sum without its seconds.
    """
    v = np.asarray(values, float)
    amounts = {"W m-2": ("J m-2",), "m s-1": ("m", "kg m-2")}.get(wanted, ())
    amount = next((a for a in amounts if units.is_like(unit, a)), None)
    if amount and not accumulated:
        raise ValueError(
            f"'{unit}' is an amount, '{wanted}' a rate: set accumulated to the seconds over which "
            "it was summed"
        )
    if not accumulated:
        return units.convert(v, unit, wanted)
    if not amount:
        raise ValueError(
            f"'{unit}' is no amount of {' or '.join(amounts) or wanted}, but accumulated is set"
        )
    return units.convert(units.convert(v, unit, amount) / accumulated, f"{amount} s-1", wanted)


def humidity_at_dew_point(celsius, pressure):
    """Specific humidity (kg kg-1) of air whose dew point is ``celsius``; Bolton (1980),
    doi:10.1175/1520-0493(1980)108<1046:TCOEPT>2.0.CO;2. pressure: Pa."""
    vapour = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
    return _RATIO * vapour / (pressure - (1.0 - _RATIO) * vapour)


def spread_runoff(
    source, horizontal, wet: np.ndarray, to_lat: np.ndarray, to_lon: np.ndarray
) -> np.ndarray:
    """Rivers into the nearest wet cells (m s-1), (n, ny, nx); no water is lost.

    Of a region, what lies outside its limits stays outside.

    Args:
        wet, to_lat, to_lon: cells that have water, and the centres of all (degrees; km on a
            plane), (ny, nx).
    """
    lat, lon, area = _river_cells(source, horizontal)
    ny, nx = horizontal.shape
    if horizontal.north_fold:
        # A river ends in one of two copies of a cell; the exchange sees to the other.
        wet = np.array(wet)
        wet[-1, nx // 2 :] = False
    amount = source.values.reshape(-1, lat.size) * area * _within(horizontal, lat, lon)
    cells = horizontal.metrics(np.arange(ny), np.arange(nx)).area_c
    plane = not horizontal.spherical
    return curvilinear.pour(amount, lat, lon, to_lat, to_lon, wet, plane) / cells


def _river_cells(source, horizontal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitudes, longitudes (km on a plane) and areas (m2) of the cells of a source, (points,)."""
    if isinstance(source, curvilinear.ScatteredVariable):
        if source.area is None:
            raise InputError(
                f"forcing.files.runoff: {source.path} has no variable area (m2) beside the "
                f"two-dimensional coordinates of {source.name}; rivers cannot be brought to wet "
                "cells without it"
            )
        return source.lat, source.lon, source.area
    lat, lon = (a.ravel() for a in np.meshgrid(source.lat, source.lon, indexing="ij"))
    if source.plane:
        area = np.diff(source.lat_edges)[:, None] * np.diff(source.lon_edges) * 1e6
    else:
        band = np.diff(np.sin(np.deg2rad(source.lat_edges)))[:, None] * np.deg2rad(
            np.diff(source.lon_edges)
        )
        area = band * horizontal.radius**2
    return lat, lon, area.ravel()


def _within(horizontal, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Which points belong to the model: all, unless it is a region between limits."""
    if horizontal.curvilinear or horizontal.periodic_x and horizontal.spherical:
        return np.ones(lat.shape, bool)
    y, x = edges(horizontal)
    along = lon if not horizontal.spherical else x[0] + np.mod(lon - x[0], 360.0)
    inside = (lat >= y[0]) & (lat <= y[-1])
    return inside & ((along >= x[0]) & (along <= x[-1]) | horizontal.periodic_x)
