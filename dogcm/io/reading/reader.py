"""One reader of input files: what a file says is obeyed, what it does not say is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dogcm.io.curvilinear import ScatteredVariable, square_metres
from dogcm.io.reading import axes, calendar, meaning, plausible, units
from dogcm.io.reading.axes import Axes
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import AS_IT_SAYS, Request
from dogcm.io.regrid import GriddedVariable

FloatArray = NDArray[np.floating]

#: Magnitudes above this are fill values of which the file does not tell (1e20, 1e34).
UNDECLARED_FILL = 1e19
_AREA = ("area", "cell_area", "areacello", "area_t", "tarea")


def read(
    path: str | Path, name: str, request: Request = AS_IT_SAYS, field: str = ""
) -> GriddedVariable | ScatteredVariable:
    """One variable of a netCDF file, with axes that are understood and values that are plausible.

    Latitudes come out ascending, longitudes ascending without a column twice, depths in metres,
    positive down and ascending; missing values are NaN; a time axis is kept with all its records
    (see :mod:`dogcm.io.reading.calendar`).

    Args:
        path: The file.
        name: The variable.
        request: What the configuration says of the file.
        field: Name in :data:`dogcm.io.reading.plausible.RANGES`: values come out in its unit and
            are checked; default: as stored, unchecked.

    Raises:
        FileNotFoundError: No such file.
        InputError: What is wrong with it or what it does not say, and the key that would say it.
    """
    path = Path(path)
    with open_dataset(path) as dataset:
        where = f"variable '{name}' of {path}"
        where = f"{request.key}: {where}" if request.key else where
        _check_name(dataset, name, path)
        dataset = select(dataset, name, request, where)
        if not dataset[name].size:
            raise InputError(f"{where} is empty: its dimensions are {dict(dataset[name].sizes)}")
        found = axes.find(dataset, dataset[name], request, where)
        array = _without_singles(dataset[name], found, request, where)
        values = _values(array, dataset, request, where)
        if field == "elevation":
            _no_idle_mask(dataset, values, request, where)
        source = _build(dataset, array, found, values, request, where, path)
    return _understood(source, field, request, where) if field else source


def open_dataset(path: Path) -> xr.Dataset:
    """An open file with its coordinates as such, times undecoded.

    Raises:
        FileNotFoundError, InputError: it is not there, or no netCDF.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: check the path in the configuration")
    try:
        return xr.open_dataset(path, decode_times=False)
    # The engines raise errors of many kinds for damaged files.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as netCDF ({type(error).__name__}: {error}); it may be cut "
            "short or of another format: get it again, or look at it with ncdump -h"
        ) from error


def _check_name(dataset: xr.Dataset, name: str, path: Path) -> None:
    if name in dataset.variables:
        return
    have = [str(v) for v in dataset.data_vars]
    near = difflib.get_close_matches(name.lower(), [v.lower() for v in have], cutoff=0.5)
    close = [v for v in have if v.lower() in near]
    hint = f"did you mean {', '.join(close)}? " if close else ""
    raise InputError(f"{path} has no variable '{name}': {hint}It has {', '.join(have) or 'none'}")


# ---- records, levels, members
def select(dataset: xr.Dataset, name: str, request: Request, where: str) -> xr.Dataset:
    """The file with what ``select`` of the configuration leaves of the variable ``name``."""
    for axis, wanted in request.select.items():
        array = dataset[name]
        roles = {str(d): axes.role(dataset, array, str(d), request) for d in array.dims}
        dims = [d for d, kind in roles.items() if axis in (d, kind)]
        if not dims:
            raise InputError(
                f"{where}: {request.ask('select', f'{{{axis}: {wanted}}}')} names no dimension of "
                f"it; it has {', '.join(roles)}"
            )
        picked = _pick(dataset, dims[0], roles[dims[0]], wanted, request, where)
        dataset = dataset.isel({dims[0]: picked})
    return dataset


def _pick(dataset, dim: str, kind, wanted, request: Request, where: str) -> list[int]:
    size = dataset.sizes[dim]
    if kind == "time" and dim in dataset.variables:
        time = dataset[dim]
        unit = request.units.get("time") or str(time.attrs.get("units", ""))
        return calendar.choose(
            time.values, unit, str(time.attrs.get("calendar", "")), wanted, where
        )
    text = str(wanted)
    if text.startswith("record ") and text[7:].isdigit() and 1 <= int(text[7:]) <= size:
        return [int(text[7:]) - 1]
    if text in ("first", "last"):
        return [0 if text == "first" else size - 1]
    if dim in dataset.variables:
        here = np.asarray(dataset[dim].values)
        if kind == "depth":
            depth, order = axes.depths(dataset, dim, request, where, 45.0)
            here = np.empty(size)
            here[order] = depth
        same = (
            np.isclose(here.astype(float), float(wanted), rtol=1e-4, atol=1e-6)
            if here.dtype.kind in "iuf" and _is_number(wanted)
            else here.astype(str) == text
        )
        if same.any():
            return [int(np.argmax(same))]
        raise InputError(
            f"{where}: no {dim} is {wanted}; it has "
            f"{', '.join(map(str, here[:12]))}{' ...' if size > 12 else ''}. 'record N', first or "
            "last choose by number"
        )
    raise InputError(
        f"{where}: dimension '{dim}' has no coordinate, so {wanted} means nothing; 'record N' (1 "
        f"to {size}), first or last do"
    )


def _is_number(wanted) -> bool:
    try:
        float(wanted)
    except (TypeError, ValueError):
        return False
    return True


def _without_singles(array: xr.DataArray, found: Axes, request: Request, where: str):
    """Drop dimensions of length one that are no axis; refuse longer ones."""
    for dim in found.others:
        if array.sizes[dim] > 1:
            raise InputError(
                f"{where} has dimension '{dim}' of {array.sizes[dim]}, which is none of lat, lon, "
                f"depth, time: {request.ask('select', f'{{{dim}: first}}')} selects one of it, "
                f"{request.ask('axes', f'{{time: {dim}}}')} says that it is an axis"
            )
    return array.isel({d: 0 for d in found.others})


# ---- values
def _values(array: xr.DataArray, dataset, request: Request, where: str) -> xr.DataArray:
    """Values as floats, NaN where missing."""
    try:
        values = np.array(array.values, float)
    # Damaged chunks and texts raise what the library below happens to raise.
    except Exception as error:
        raise InputError(
            f"{where} cannot be read ({error}); the file is damaged or not numeric: get it again"
        ) from error
    _mask_declared(values, array)
    for missing in request.missing:
        values[np.isclose(values, missing, rtol=1e-6, atol=0.0)] = np.nan
    values[np.isfinite(values) & (np.abs(values) > UNDECLARED_FILL)] = np.nan
    out = array.copy(data=values)
    if request.mask in ("", "none"):
        return out
    if request.mask not in dataset.variables:
        raise InputError(
            f"{where}: {request.ask('mask', request.mask)} names what the file has not"
        )
    mask = dataset[request.mask].squeeze()
    if not set(mask.dims) <= set(array.dims):
        raise InputError(
            f"{where}: mask {request.mask} has dimensions {mask.dims}, which are not those of the "
            f"variable, {array.dims}"
        )
    return out.where(mask.drop_vars(list(mask.coords)) > 0.5).transpose(*array.dims)


def _no_idle_mask(dataset, values: xr.DataArray, request: Request, where: str) -> None:
    """Refuse a sea floor without land beside a mask with land, as ROMS and CROCO write them."""
    water = values.where(values != 0.0)
    if request.mask or not (bool((water > 0).all()) or bool((water < 0).all())):
        return
    for name, mask in dataset.variables.items():
        if not str(name).lower().startswith(("mask", "tmask")) or mask.dims != values.dims:
            continue
        land = int((np.asarray(mask.values, float) < 0.5).sum())
        if land:
            raise InputError(
                f"{where} has no land, but '{name}' of the same file has {land} points of it; "
                f"{request.ask('mask', str(name))} applies it, {request.ask('mask', 'none')} does "
                "not"
            )


def _mask_declared(values: FloatArray, array: xr.DataArray) -> None:
    """Values beyond ``valid_range``, ``valid_min``, ``valid_max`` are missing (CF 2.5.1)."""
    low, high = array.attrs.get("valid_range", (None, None))
    low, high = array.attrs.get("valid_min", low), array.attrs.get("valid_max", high)
    scale = float(array.encoding.get("scale_factor", 1.0))
    offset = float(array.encoding.get("add_offset", 0.0))
    bounds = sorted(float(b) * scale + offset for b in (low, high) if b is not None)
    slack = 1e-6 * max([abs(b) for b in bounds] or [0.0])
    if low is not None:
        values[values < bounds[0] - slack] = np.nan
    if high is not None:
        values[values > bounds[-1] + slack] = np.nan


# ---- building
def _build(dataset, array, found: Axes, values: xr.DataArray, request, where, path):
    lead = [a for a in ("time", "depth") if a in found.dims]
    place = ("points",) if found.scattered else ("lat", "lon")
    dims = [d for a in (*lead, *place) for d in found.dims[a]]
    numbers = values.transpose(*dims).values
    common: dict = dict(
        unit=request.unit or str(array.attrs.get("units", "")),
        name=str(array.name),
        path=str(path),
        standard_name=str(array.attrs.get("standard_name", "")),
        attributes={k: str(v) for k, v in array.attrs.items()},
        axes=found.names,
        **_times(dataset, found, request),
    )
    if "depth" in found.dims:
        latitude = 45.0 if request.plane else float(np.nanmean(found.lat))
        depth, order = axes.depths(dataset, found.dims["depth"][0], request, where, latitude)
        numbers = np.take(numbers, order, axis=lead.index("depth"))
        common["depth"] = depth
    if found.scattered:
        return _scattered(dataset, found, numbers, common, where)
    return _gridded(found, numbers, common, request, where)


def _times(dataset, found: Axes, request: Request) -> dict:
    """Times of the records: the middle of their bounds, where the file has them."""
    if "time" not in found.dims:
        return {}
    dim = found.dims["time"][0]
    name = request.axes.get("time", dim)
    name = name if name in dataset.variables else dim
    if name not in dataset.variables:
        return {}
    time = dataset[name]
    numbers = np.atleast_1d(np.asarray(time.values, float))
    return dict(
        time=numbers,
        time_middle=_middles(dataset, time, numbers),
        time_unit=request.units.get("time") or str(time.attrs.get("units", "")),
        calendar=str(time.attrs.get("calendar", "")),
    )


def _middles(dataset, time, numbers: FloatArray) -> FloatArray | None:
    bounds = str(time.attrs.get("bounds", ""))
    if bounds not in dataset.variables or dataset[bounds].ndim != 2:
        return None
    low, high = np.sort(np.asarray(dataset[bounds].values, float), axis=1).T
    # Bounds that do not hold their own time are another thing (climatologies, damage).
    inside = (low <= numbers + 1e-6) & (numbers <= high + 1e-6)
    return 0.5 * (low + high) if inside.all() else None


def _scattered(
    dataset, found: Axes, numbers: FloatArray, common: dict, where: str
) -> ScatteredVariable:
    dims = found.dims["points"]
    area = next(
        (
            dataset[v]
            for v in dataset.variables
            if str(v).lower() in _AREA and dataset[v].dims == dims
        ),
        None,
    )
    lead = numbers.shape[: numbers.ndim - len(dims)]
    numbers, areas = numbers.reshape(*lead, found.lat.size), square_metres(area)
    lat, lon, shape = found.lat.ravel(), found.lon.ravel(), found.lat.shape
    # Some models give land no position.
    there = np.isfinite(lat) & np.isfinite(lon)
    if not there.all():
        lat, lon, numbers, shape = lat[there], lon[there], numbers[..., there], (int(there.sum()),)
        areas = None if areas is None else areas[there]
    if lat.size < 4:
        raise InputError(f"{where}: {lat.size} of its points have a position, too few")
    return ScatteredVariable(
        values=numbers,
        lat=lat,
        lon=lon,
        area=areas,
        shape=shape,
        **common,
    )


def _gridded(found: Axes, numbers, common: dict, request, where: str) -> GriddedVariable:
    names = found.names
    lat = axes.monotonic(found.lat, names["lat"], where)
    numbers = np.take(numbers, np.argsort(lat), axis=-2)
    if request.plane:
        lon = axes.monotonic(found.lon, names["lon"], where)
        order, twice = np.argsort(lon), []
        lon = lon[order]
    else:
        lon, order, twice = axes.longitudes(found.lon, names["lon"], where)
    if min(lat.size, lon.size) < 2:
        raise InputError(
            f"{where} has {lat.size} x {lon.size} points: two or more in each direction are needed"
        )
    for kept, dropped in twice:
        one, two = numbers[..., kept], numbers[..., dropped]
        size = np.nanmax(np.abs(numbers)) if np.isfinite(numbers).any() else 0.0
        if not np.allclose(one, two, rtol=0.0, atol=1e-6 * size, equal_nan=True):
            raise InputError(
                f"{where}: columns {kept + 1} and {dropped + 1} lie at the same longitude, "
                f"{found.lon[kept]:g} and {found.lon[dropped]:g}, but hold other values; drop one"
            )
    part = lambda axis, index: found.bounds[axis][index] if axis in found.bounds else None
    north = np.argsort(lat)
    return GriddedVariable(
        np.take(numbers, order, axis=-1),
        lat[north],
        lon,
        plane=request.plane,
        lat_faces=axes.faces(lat[north], part("lat", north)),
        lon_faces=axes.faces(lon, part("lon", order), 0.0 if request.plane else 360.0),
        **common,
    )


def one_level(source, request: Request, where: str):
    """A source without a depth axis.

    Raises:
        InputError: it has several levels, of which the configuration has to choose one.
    """
    if source.depth is None:
        return source
    if source.depth.size > 1:
        raise InputError(
            f"{where} has {source.depth.size} levels, from {source.depth[0]:g} to "
            f"{source.depth[-1]:g} m; {request.ask('select', f'{{depth: {source.depth[0]:g}}}')} "
            "selects one"
        )
    return replace(source, values=np.squeeze(source.values, -source.space - 1), depth=None)


def one_record(source, request: Request, where: str):
    """A source without a time axis.

    Raises:
        InputError: it has several records, of which the configuration has to choose one.
    """
    if not source.timed:
        return source
    count = len(source.values)
    if count > 1:
        raise InputError(
            f"{where} has {count} records in time; {request.ask('select', '{time: record 1}')} or "
            "a date (YYYY-MM) selects one"
        )
    return replace(source, values=source.values[0], time=None, time_middle=None)


# ---- meaning
def _understood(source, field: str, request: Request, where: str):
    """Values in the model's unit and sign, checked."""
    wanted = plausible.RANGES[field].unit
    try:
        values = units.convert(source.values, source.unit, wanted)
    except ValueError as error:
        raise InputError(f"{where}: {error}. {request.ask('unit', wanted)} says better") from None
    if field == "elevation":
        up = meaning.positive_up(source.name, source.attributes, values, request, where)
    else:
        up = meaning.sign(field, source.standard_name, request, where)
    values = values if up == 1.0 else 0.0 - values
    plausible.check(values, field, request, where, place_of(source), source.unit)
    return replace(source, values=values, unit=wanted)


def place_of(source) -> Callable:
    """A function that says where an index of ``source.values`` lies."""

    def place(index) -> str:
        if isinstance(source, ScatteredVariable):
            lat, lon = source.lat[index[-1]], source.lon[index[-1]]
            lead = index[:-1]
        else:
            lat, lon = source.lat[index[-2]], source.lon[index[-1]]
            lead = index[:-2]
        text = f"at lat {lat:.2f}, lon {lon:.2f}"
        if getattr(source, "plane", False):
            text = f"at x {lon:.1f} km, y {lat:.1f} km"
        if source.depth is not None and len(lead):
            text += f", depth {source.depth[lead[-1]]:.0f} m"
            lead = lead[:-1]
        return text + (f", record {lead[0] + 1}" if len(lead) else "")

    return place
