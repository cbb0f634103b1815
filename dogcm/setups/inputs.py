"""Global input fields on the model grid: bathymetry, initial state, surface forcing.

Only rank 0 calls these functions, one field at a time; the fields are then scattered to the tiles.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from dogcm.decomp import fold
from dogcm.grid import bathymetry as bathy
from dogcm.grid import closed
from dogcm.grid.vertical import VerticalGrid
from dogcm.io.reading import reader
from dogcm.physics.surface import RECORDS
from dogcm.setups import atmosphere, idealised, mitgcm, vectors, volumes
from dogcm.setups.atmosphere import DEW_POINT, InputError
from dogcm.setups.config import BathymetryConfig, Config
from dogcm.setups.given import Given
from dogcm.setups.regridding import cell_means, check_cover, filled, on_grid
from dogcm.setups.regridding import points as _points

NOTHING = Given()
_MUCH = 0.05  # part of the ocean
STARTER = Path(__file__).parent / "starter"
# Components of vectors, which follow the directions of the grid: (to the east, to the north).
VECTORS = vectors.PAIRS
STARTER_RECORDS = {"taux": "taux", "tauy": "tauy", "sst": "sst", "sss": "sss", "heat_flux": "qnet"}


def horizontal_grid(config: Config):
    """The horizontal grid of a configuration."""
    return config.grid.horizontal()


def vertical_grid(config: Config) -> VerticalGrid:
    """The layers of a configuration."""
    return config.grid.vertical()


def cell_thickness(
    config: Config,
    horizontal,
    vertical: VerticalGrid,
    given: Given = NOTHING,
    told: list[closed.Closed] | None = None,
) -> np.ndarray:
    """Thickness of every cell at rest (nz, ny, nx), m, 0 on land.

    Args:
        told: gets what becomes land, is cut off from the ocean, or lies beside a pole.

    Warns:
        UserWarning: that is more than a twentieth of the ocean.
    """
    b, told = config.bathymetry, [] if told is None else told
    depth = _floor(config, horizontal, vertical, given, told)
    cells = bathy.vertical_cells(depth, vertical.dz, b.min_fraction, b.min_thickness)
    if not (cells > 0).any():
        raise InputError(
            "the bathymetry leaves no ocean cell: check bathymetry.* and the grid's limits"
        )
    places, advice = _places(horizontal), "A strait (bathymetry.straits)"
    if b.source not in ("starter", "file"):
        advice = "A deeper sea floor between them"
    told += closed.too_thin(depth, cells, places)
    told += closed.parts(cells, places, f"{advice} joins them")
    # Small lakes are for the start table; a basin that is lost is for everybody.
    for one in told:
        if one.cells > _MUCH * (cells[0] > 0).sum():
            warnings.warn(one.text, stacklevel=2)
    told += closed.poles(horizontal, cells)
    return cells


def _floor(
    config: Config, horizontal, vertical: VerticalGrid, given: Given, told: list
) -> np.ndarray:
    """Depth (ny, nx) in m, 0 on land; copies of a cell on a fold are alike."""
    if horizontal.curvilinear:
        horizontal.check()
    if config.bathymetry.source == "given":
        depth = np.minimum(given.depth(horizontal), vertical.edges[-1])
    else:
        depth = _depth(config, horizontal, vertical, told)
    if horizontal.curvilinear:
        depth = np.where(horizontal.dry(), 0.0, depth)
    return fold.consistent(depth, "c") if horizontal.north_fold else depth


def _places(horizontal) -> closed.Places:
    return closed.Places.of(horizontal, *_points(horizontal, "c"))


def _depth(config: Config, horizontal, vertical: VerticalGrid, told: list) -> np.ndarray:
    b, closing = (
        config.bathymetry,
        dict(periodic_x=horizontal.periodic_x, north_fold=horizontal.north_fold),
    )
    if b.source == "mitgcm":
        return mitgcm.depth(b.path, horizontal.shape)
    if b.source == "flat":
        return np.full(horizontal.shape, min(b.depth, vertical.edges[-1]))
    if b.source == "two_basin":
        return idealised.two_basin_depth(horizontal, min(b.depth, vertical.edges[-1]))
    depth = _measured_depth(b, horizontal, float(vertical.edges[-1]))
    if b.straits:
        edits = [s.model_dump() for s in b.straits]
        depth = bathy.edit_straits(depth, edits, *_points(horizontal, "c"))
    if horizontal.curvilinear:
        depth = np.where(horizontal.dry(), 0.0, depth)
    if horizontal.north_fold:
        depth = fold.consistent(depth, "c")
    before, keys = depth, [n for n in ("remove_lakes", "fill_holes") if getattr(b, n)]
    if b.fill_holes:
        depth = bathy.fill_holes(depth, vertical.edges, **closing)
    if b.remove_lakes:
        depth = bathy.remove_lakes(depth, **closing)
    places = _places(horizontal)
    told += closed.lakes(
        before, depth, places, " and ".join(f"bathymetry.{k}: false" for k in keys)
    )
    return depth


def sea_floor(b: BathymetryConfig, plane: bool = False):
    """Elevation of the sea floor (m, positive up) on the grid of its file, NaN where missing.

    Raises:
        InputError: see :func:`dogcm.io.reading.reader.read`.
    """
    path, name = (
        (STARTER / "bathymetry.nc", "elevation") if b.source == "starter" else (b.path, b.variable)
    )
    request = atmosphere.request(b, "bathymetry", plane)
    where = f"bathymetry: variable '{name}' of {path}"
    source = reader.read(path, name, request, "elevation")
    return reader.one_record(reader.one_level(source, request, where), request, where)


def _measured_depth(b: BathymetryConfig, horizontal, deepest: float) -> np.ndarray:
    """Depth (ny, nx) from a file of elevations or depths; land where it has no value."""
    source = sea_floor(b, not horizontal.spherical)
    if b.fill == "none":
        check_cover(source, horizontal, "c", np.ones(horizontal.shape, bool))
    land = np.where(np.isfinite(source.values), source.values, 1.0)
    depth = bathy.model_depth(
        replace(source, values=land),
        lambda values: cell_means(source, values, horizontal),
        min_ocean_fraction=b.min_ocean_fraction,
        min_depth=b.min_depth,
        max_depth=deepest,
    )
    if b.fill == "nearest":
        known = np.isfinite(cell_means(source, np.zeros_like(land), horizontal))
        depth = filled(np.where(known, depth, np.nan), horizontal, "c")
    return depth


def initial_tracer(
    config: Config,
    name: str,
    horizontal,
    vertical: VerticalGrid,
    cells: np.ndarray,
    given: Given = NOTHING,
) -> np.ndarray:
    """Initial temperature (degC) or salinity (g kg-1), (nz, ny, nx), 0 on land."""
    i = config.initial
    if i.source == "mitgcm":
        values = mitgcm.initial(i.path, name, horizontal.shape, vertical.nz)
    elif i.source == "given" and (name in given.initial or not given.initial):
        values = given.tracer(name, horizontal, volumes.depths(config, vertical, cells))
    elif i.source in ("profile", "channel", "given"):
        values = _profile(config, name, horizontal, volumes.depths(config, vertical, cells))
    else:
        values = volumes.initial(config, name, horizontal, vertical, cells)
    return _checked(values, cells > 0, name, horizontal, vertical)


def _profile(config: Config, name: str, horizontal, depths: np.ndarray) -> np.ndarray:
    i = config.initial
    shape = (len(depths), *horizontal.shape)
    if name == "salinity":
        return np.full(shape, i.salinity)
    decay = np.exp(-depths / i.thermocline).reshape(len(depths), *depths.shape[1:] or (1, 1))
    top = np.full(horizontal.shape, i.surface_temperature)
    if i.source == "channel":
        top = idealised.channel_surface(horizontal, i.waves)
    elif i.meridional:
        lat = _points(horizontal, "c")[0]
        top = i.deep_temperature + (top - i.deep_temperature) * np.cos(np.deg2rad(lat)) ** 2
    return np.broadcast_to(i.deep_temperature + (top - i.deep_temperature) * decay, shape).copy()


def records(config: Config, given: Given = NOTHING) -> list[str]:
    """Names of the surface fields that the configuration provides.

    Raises:
        InputError: an unknown field, or one that the chosen physics needs and nobody gives.
    """
    offered = {
        "none": [],
        "given": list(given.forcing),
        "starter": list(STARTER_RECORDS),
        "file": [],
        "gyre": ["taux"],
        "channel": ["taux", "sst"],
        "two_basin": ["taux", "sst", "sss"],
        "mitgcm": list(atmosphere.GIVEN),
    }[config.forcing.source]
    if config.grid.curvilinear:
        # Either component needs both.
        offered = [*offered, *(n for n in ("tauy",) if "taux" in offered and n not in offered)]
    names = atmosphere.choose(config, offered)
    for a, b in sorted({*VECTORS.values()}) if config.grid.curvilinear else ():
        if (a in names) != (b in names):
            raise InputError(
                f"forcing.files: {a} and {b} are turned together on a {config.grid.name()} grid; "
                "give both"
            )
    return names


def record(
    config: Config, name: str, horizontal, wet: np.ndarray, given: Given = NOTHING
) -> np.ndarray:
    """One surface field (n, ny, nx) at its place on the grid, vectors by their components along its
    lines."""
    at = RECORDS[name][0]
    if name in given.forcing:
        out = given.record(name, horizontal)
    elif horizontal.curvilinear and name in VECTORS:
        east, north = (_record(config, n, at, horizontal, wet) for n in VECTORS[name])
        out = horizontal.to_grid(east, north, at)[VECTORS[name].index(name)]
    else:
        out = _record(config, name, at, horizontal, wet)
    open_ = wet_at(wet, at, horizontal.periodic_x)[None]
    return _checked(out, open_, name, horizontal, None)


def _record(config: Config, name: str, at: str, horizontal, wet: np.ndarray) -> np.ndarray:
    """One surface field (n, ny, nx) at a place of the grid, vectors by their components to the east
    and north."""
    f = config.forcing
    if name in f.files:
        return _from_file(config, name, horizontal, wet, at)
    if name == "specific_humidity":
        return _humidity(config, horizontal, wet)
    if f.source == "starter":
        source = reader.read(STARTER / "surface.nc", STARTER_RECORDS[name], field=name)
        return on_grid(source, horizontal, at)
    if f.source == "mitgcm":
        return mitgcm.record(f.path, name, horizontal.shape)
    return idealised.record(f.source, name, _points(horizontal, at)[0], f.wind_amplitude)[None]


def _from_file(config: Config, name: str, horizontal, wet: np.ndarray, at: str = "") -> np.ndarray:
    f = config.forcing
    own = f.files[name]
    source = atmosphere.read(own, name, f, not horizontal.spherical)
    if name == "runoff":
        return atmosphere.spread_runoff(source, horizontal, wet, *_points(horizontal, "c"))
    if name in VECTORS:
        source = vectors.eastward_and_northward(f, name, source, not horizontal.spherical)
    if name in ("sst", "sss"):
        source = volumes.surface(config, name, source)
    at = at or ("c" if name == DEW_POINT else RECORDS[name][0])
    return on_grid(source, horizontal, at, own.fill, wet_at(wet, at, horizontal.periodic_x))


def _humidity(config: Config, horizontal, wet: np.ndarray) -> np.ndarray:
    """From dew point and, where given, pressure at sea level."""
    f = config.forcing
    dew_point = _from_file(config, DEW_POINT, horizontal, wet)
    pressure = atmosphere.STANDARD_PRESSURE
    if "sea_level_pressure" in f.files:
        pressure = _from_file(config, "sea_level_pressure", horizontal, wet)
        if len(pressure) not in (1, len(dew_point)):
            raise InputError(
                f"forcing.files: dew_point has {len(dew_point)} records and sea_level_pressure "
                f"{len(pressure)}: humidity needs as many of both, or one steady pressure"
            )
    return atmosphere.humidity_at_dew_point(dew_point, pressure)


def wet_at(wet: np.ndarray, at: str, periodic: bool) -> np.ndarray:
    """Where a place of the grid (c, u or v) has water, for cells (ny, nx) that have it."""
    if at == "u":
        west = np.roll(wet, 1, -1)
        if not periodic:
            west[..., 0] = False
        return wet & west
    if at == "v":
        return wet & np.concatenate([np.zeros_like(wet[:1]), wet[:-1]])
    return wet


def _checked(values: np.ndarray, wet: np.ndarray, name: str, horizontal, vertical) -> np.ndarray:
    """Zero on land; refuses a missing value in an ocean cell."""
    values = np.asarray(values, float)
    bad = ~np.isfinite(values) & wet
    if bad.any():
        where = np.argwhere(bad)[0]
        lat, lon = (a[where[-2], where[-1]] for a in _points(horizontal, "c"))
        place = f"lat {lat:.2f}, lon {lon:.2f}"
        if vertical is not None:
            place += f", depth {vertical.centres[where[0]]:.0f} m"
        else:
            place += f", record {where[0] + 1}"
        raise InputError(
            f"{name}: {int(bad.sum())} ocean cells have no valid value, the first at {place}; fill "
            "the gaps of the input (key fill: nearest) or close these cells (bathymetry.straits)"
        )
    return np.where(wet, np.nan_to_num(values), 0.0)
