"""Which dimension of a variable is which axis, and where its points lie.

What counts, in this order: the key ``axes`` of the configuration, CF attributes (read by
cf_xarray), and last the names that ocean models give their coordinates. Two-dimensional latitudes
and longitudes win over one-dimensional ones: beside them, the latter are nominal. What is known by
none of these is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cf_xarray  # noqa: F401 the accessor .cf
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dogcm.io.reading import units
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request

FloatArray = NDArray[np.floating]

# (latitude, longitude) as models and tools name them, lower case.
_PAIRS = (
    ("lat", "lon"),
    ("latitude", "longitude"),
    ("nav_lat", "nav_lon"),
    ("geolat", "geolon"),
    ("geolat_t", "geolon_t"),
    ("geolat_c", "geolon_c"),
    ("geolat_u", "geolon_u"),
    ("geolat_v", "geolon_v"),
    ("gphit", "glamt"),
    ("gphiu", "glamu"),
    ("gphiv", "glamv"),
    ("gphif", "glamf"),
    ("tlat", "tlong"),
    ("tlat", "tlon"),
    ("ulat", "ulong"),
    ("ulat", "ulon"),
    ("lat_rho", "lon_rho"),
    ("lat_u", "lon_u"),
    ("lat_v", "lon_v"),
    ("lat_psi", "lon_psi"),
    ("xlat", "xlong"),
    ("yc", "xc"),
    ("yg", "xg"),
    ("nav_lat_grid_t", "nav_lon_grid_t"),
)
_NAMES = {
    "time": ("time", "month", "t", "time_counter", "ocean_time", "xtime"),
    "depth": ("depth", "lev", "level", "deptht", "z", "st_ocean", "z_t", "nav_lev", "z_l", "zt"),
}
_LETTER = {"X": "x", "Y": "y", "Z": "depth", "T": "time"}
_SPHERE = ("latitude", "longitude")
_SAME = 1e-6  # degrees, between what should be one latitude


@dataclass(frozen=True)
class Axes:
    """The axes of one variable.

    Attributes:
        dims: axis (``lat``, ``lon``, ``depth``, ``time``; ``x``, ``y`` on a plane) -> dimension; of
            scattered points ``points`` -> their dimensions.
        lat, lon: positions (degrees; km on a plane): ``(n_lat,)`` and ``(n_lon,)``, or both with
            the shape of the points' dimensions.
        others: dimensions that are none of these. names: axis -> name in the file.
        bounds: ``lat``, ``lon`` -> edges of each cell ``(n, 2)`` in the unit of the positions,
            where the file has them.
    """

    dims: dict[str, tuple[str, ...]]
    lat: FloatArray
    lon: FloatArray
    others: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    bounds: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def scattered(self) -> bool:
        """Whether each point has a position of its own."""
        return "points" in self.dims


def find(dataset: xr.Dataset, array: xr.DataArray, request: Request, where: str) -> Axes:
    """The axes of ``array``.

    Raises:
        InputError: positions that are not there, not degrees, ambiguous, or no numbers; says which
            key of the configuration would say better.
    """
    _refuse_unknown(dataset, request, where)
    names = _plane(dataset, array, request, where) if request.plane else None
    names = names or _positions(dataset, array, request, where)
    lat, lon = (degrees(dataset, n, a, request, where) for n, a in zip(names, _pair(request)))
    dims: dict[str, tuple[str, ...]] = {}
    if lat.dims == lon.dims and lat.ndim in (1, 2):
        simple = _rectilinear(lat, lon) if lat.ndim == 2 else None
        if simple is None:
            dims["points"] = tuple(map(str, lat.dims))
            positions = lat.values, lon.values
        else:
            dims["lat"], dims["lon"], *positions = simple
    elif lat.ndim == 1 and lon.ndim == 1:
        dims["lat"], dims["lon"] = map(lambda a: tuple(map(str, a.dims)), (lat, lon))
        positions = lat.values, lon.values
    else:
        raise InputError(
            f"{where}: {names[0]} has dimensions {lat.dims} and {names[1]} {lon.dims}; they must "
            f"be the same two, or one each. {request.ask('axes', '{lat: NAME, lon: NAME}')} names "
            "others"
        )
    used = {d for group in dims.values() for d in group}
    known, others = _rest(dataset, array, used, request, where)
    found = dict(zip(("lat", "lon"), names)) | {k: v for k, v in known.items()}
    dims |= {k: (v,) for k, v in known.items()}
    return Axes(dims, *positions, others, found, _bounds(dataset, names, request))


def _pair(request: Request) -> tuple[str, str]:
    return ("y", "x") if request.plane else ("lat", "lon")


def _refuse_unknown(dataset: xr.Dataset, request: Request, where: str) -> None:
    for axis, name in request.axes.items():
        if axis not in ("lat", "lon", "x", "y", "depth", "time", "angle"):
            raise InputError(
                f"{request.ask('axes', f'{{{axis}: ...}}')}: no such axis; there are lat, lon, x, "
                "y, depth, time and angle"
            )
        if name not in dataset.variables and name not in dataset.dims:
            raise InputError(
                f"{where}: {request.ask('axes', f'{{{axis}: {name}}}')} names what the file has "
                f"not; it has {', '.join(map(str, dataset.variables))}"
            )


# ---- positions
def _plane(dataset, array, request: Request, where: str) -> tuple[str, str]:
    """Names of y and x (1-D) for a model on a plane."""
    found = {}
    for axis, letter in (("y", "Y"), ("x", "X")):
        named = request.axes.get(axis)
        by_cf = [n for n in array.cf.axes.get(letter, []) if dataset[n].ndim == 1]
        own = [d for d in map(str, array.dims) if d.lower() == axis]
        candidates = [named] if named else by_cf or own
        if not candidates or candidates[0] not in dataset.variables:
            raise InputError(
                f"{where} has no coordinate {axis}, which a Cartesian grid needs: "
                f"{request.ask('axes', f'{{{axis}: NAME}}')} names it (1-D, with a unit of length)"
            )
        found[axis] = str(candidates[0])
    return found["y"], found["x"]


def _positions(dataset, array, request: Request, where: str) -> tuple[str, str]:
    """Names of the latitudes and longitudes of a variable."""
    if request.axes.get("lat") and request.axes.get("lon"):
        return request.axes["lat"], request.axes["lon"]
    pairs = _candidates(dataset, array, request)
    flat = [p for p in pairs if dataset[p[0]].squeeze().ndim == 2]
    if len(flat) > 1:
        raise InputError(
            f"{where} has more than one pair of two-dimensional coordinates: "
            f"{', '.join(f'{a} and {b}' for a, b in flat)}; "
            f"{request.ask('axes', f'{{lat: {flat[0][0]}, lon: {flat[0][1]}}}')} names the right "
            "one"
        )
    if flat:
        return flat[0]
    own = [p for p in pairs if all(n in array.dims for n in p)] or pairs
    if own:
        return own[0]
    raise InputError(f"{where}: {_why_not(dataset, array, request)}")


def _candidates(dataset, array, request: Request) -> list[tuple[str, str]]:
    """Pairs (latitude, longitude) on the dimensions of a variable: by attributes, then by name."""
    fits = lambda n: n in dataset.variables and set(_squeezed(dataset[n]).dims) <= set(array.dims)
    numbers = [str(n) for n in dataset.variables if fits(n) and n != array.name]
    lats, lons = (
        [n for n in numbers if n in set(_by_attributes(dataset, array, standard))]
        for standard in _SPHERE
    )
    if request.axes.get("lat"):
        lats = [request.axes["lat"]]
    if request.axes.get("lon"):
        lons = [request.axes["lon"]]
    lower = {n.lower(): n for n in numbers}
    named = [(lower[a], lower[b]) for a, b in _PAIRS if a in lower and b in lower]
    found = [(a, b) for a in lats for b in lons if _go_together(dataset, a, b)]
    # Of several pairs by attribute, those whose names belong together.
    by_name = [p for p in found if p in named]
    found = by_name if len(found) > 1 and by_name else found
    declared = str(array.encoding.get("coordinates", array.attrs.get("coordinates", ""))).split()
    chosen = [p for p in found + named if set(p) <= set(declared)]
    half = [
        (lower[a], lower[b])
        for a, b in _PAIRS
        if a in lower and b in lower and (lower[a] in lats or lower[b] in lons)
    ]
    return list(dict.fromkeys(chosen or [*found, *half, *named]))


def _by_attributes(dataset, array, standard: str) -> list[str]:
    letter = {"latitude": "north", "longitude": "east"}[standard]
    found = list(dataset.cf.coordinates.get(standard, []))
    for n, v in dataset.variables.items():
        attrs = v.attrs
        unit = str(attrs.get("units", "")).lower().replace(" ", "_")
        if unit.startswith(("degree_", "degrees_", "degrees")) and letter in unit:
            found.append(n)
        if str(attrs.get("standard_name", "")).lower() == standard:
            found.append(n)
    return [str(n) for n in found]


def _squeezed(variable: xr.DataArray) -> xr.DataArray:
    return variable.isel(
        {d: 0 for d in variable.dims if variable.sizes[d] == 1 and variable.ndim > 1}
    )


def _go_together(dataset, a: str, b: str) -> bool:
    one, two = _squeezed(dataset[a]), _squeezed(dataset[b])
    return one.dims == two.dims or (one.ndim == two.ndim == 1)


def _why_not(dataset, array, request: Request) -> str:
    """Why no positions were found, and what would help."""
    odd = []
    for dim in map(str, array.dims):
        attrs = dataset[dim].attrs if dim in dataset.variables else {}
        says = str(attrs.get("standard_name", ""))
        if says in ("grid_latitude", "grid_longitude"):
            odd.append(f"'{dim}' is a {says}: of a rotated pole, not geographic")
        elif "projection" in says or (
            attrs.get("units") and units.is_like(str(attrs["units"]), "m") and "axis" in attrs
        ):
            odd.append(f"'{dim}' is a position on a plane ({attrs.get('units', 'no unit')})")
        elif dim not in dataset.variables:
            odd.append(f"'{dim}' has no coordinate")
    text = f" ({'; '.join(odd)})" if odd else ""
    missing = "lat" if not request.axes.get("lat") else "lon"
    return (
        f"dimensions {array.dims}: no {missing} axis found, geographic latitudes and longitudes "
        f"are needed{text}. {request.ask('axes', '{lat: NAME, lon: NAME}')} names variables that "
        "hold them"
    )


def degrees(dataset, name: str, axis: str, request: Request, where: str) -> xr.DataArray:
    """A coordinate in degrees (km on a plane), checked for being one."""
    coordinate = _squeezed(dataset[name])
    unit = request.units.get(axis) or str(coordinate.attrs.get("units", ""))
    wanted = "km" if request.plane else "degree"
    if not unit and not request.plane and name.lower() in {n for pair in _PAIRS for n in pair}:
        unit = "degree"
    try:
        if not request.plane and unit.strip() in ("1", "m", "km"):
            raise ValueError(f"its unit is '{unit}'")
        values = units.convert(np.asarray(coordinate.values, float), unit, wanted)
    except ValueError as error:
        raise InputError(
            f"{where}: coordinate '{name}' gives no {'km' if request.plane else 'degrees'}: "
            f"{error}. {request.ask('units', f'{{{axis}: UNIT}}')} says its unit"
        ) from None
    if not request.plane:
        limit = 90.0 + 1e-3 if axis == "lat" else 1080.0
        far = np.abs(values) > limit
        if far.any():
            raise InputError(
                f"{where}: coordinate '{name}' goes from {np.nanmin(values):.6g} to "
                f"{np.nanmax(values):.6g} degrees, which no "
                f"{'latitude' if axis == 'lat' else 'longitude'} does; "
                f"{request.ask('axes', f'{{{axis}: NAME}}')} or "
                f"{request.ask('units', f'{{{axis}: UNIT}}')} says better"
            )
    return coordinate.copy(data=values)


def _bounds(dataset, names: tuple[str, str], request: Request) -> dict[str, FloatArray]:
    """Edges of cells along one-dimensional coordinates, by their attribute ``bounds``."""
    out = {}
    for axis, name, own in zip(("lat", "lon"), names, _pair(request)):
        attrs = dataset[name].attrs
        bounds = dataset.variables.get(str(attrs.get("bounds", "")))
        if bounds is None or bounds.shape != (dataset[name].size, 2):
            continue
        unit = request.units.get(own) or str(attrs.get("units", "degree"))
        numbers = np.asarray(bounds.values, float)
        out[axis] = units.convert(numbers, unit, "km" if request.plane else "degree")
    return out


def faces(centres: FloatArray, bounds: FloatArray | None, turn: float = 0.0) -> FloatArray | None:
    """Faces ``(n + 1,)`` of ascending cells whose bounds ``(n, 2)`` join up; else None.

    Args:
        turn: after which positions repeat (360 for longitudes); 0: they do not.
    """
    if bounds is None:
        return None
    b = np.sort(bounds, axis=1)
    if turn:
        b = b - turn * np.round((b.mean(1) - centres) / turn)[:, None]
    slack = 1e-3 * float(np.median(np.diff(centres)))
    inside = (b[:, 0] <= centres + slack) & (centres <= b[:, 1] + slack)
    if not inside.all() or not np.allclose(b[1:, 0], b[:-1, 1], rtol=0.0, atol=slack):
        return None
    return np.append(b[:, 0], b[-1, 1])


def _rectilinear(lat: xr.DataArray, lon: xr.DataArray):
    """Dimensions and 1-D values of coordinates that are two-dimensional without need; else None."""
    for y, x in ((0, 1), (1, 0)):
        a, b = np.moveaxis(lat.values, x, 1), np.moveaxis(lon.values, x, 1)
        if not (np.isfinite(a).all() and np.isfinite(b).all()) or min(a.shape) < 2:
            continue
        if np.ptp(a, axis=1).max() <= _SAME and np.ptp(b, axis=0).max() <= _SAME:
            return (str(lat.dims[y]),), (str(lat.dims[x]),), a[:, 0], b[0]
    return None


# ---- the other dimensions
def _rest(dataset, array, used: set[str], request: Request, where: str):
    """Depth and time among the dimensions that hold no positions, and what is left."""
    known: dict[str, str] = {}
    others = []
    for dim in map(str, array.dims):
        if dim in used:
            continue
        axis = role(dataset, array, dim, request)
        if axis is None:
            others.append(dim)
        elif axis in known:
            raise InputError(
                f"{where}: dimensions '{known[axis]}' and '{dim}' both look like {axis}; "
                f"{request.ask('axes', f'{{{axis}: NAME}}')} says which it is"
            )
        else:
            known[axis] = dim
    return known, tuple(others)


def role(dataset, array, dim: str, request: Request) -> str | None:
    """``time`` or ``depth``, if a dimension is one of them."""
    for axis, name in request.axes.items():
        if axis in _NAMES and (name == dim or dataset[name].dims == (dim,)):
            return axis
    if dim in dataset.variables:
        attrs = dataset[dim].attrs
        if " since " in str(attrs.get("units", "")):
            return "time"
        of = xr.Dataset(coords={dim: dataset[dim].variable}).cf
        for letter, names in of.axes.items():
            if dim in names and _LETTER[letter] in _NAMES:
                return _LETTER[letter]
        if dim in of.coordinates.get("vertical", []) or "positive" in attrs:
            return "depth"
        if str(attrs.get("standard_name", "")) in ("depth", "height", "altitude"):
            return "depth"
        if dim in of.coordinates.get("time", []):
            return "time"
    for axis, names in _NAMES.items():
        if dim.lower() in names:
            return axis
    return None


# ---- order
def monotonic(values: FloatArray, name: str, where: str) -> FloatArray:
    """``values``, if finite and strictly monotonic.

    Raises:
        InputError: near which index they are not.
    """
    if values.size == 1 and not np.isfinite(values[0]):
        raise InputError(f"coordinate '{name}' of {where} is no number")
    steps = np.diff(values)
    if not np.all(np.isfinite(values)) or not (np.all(steps > 0) or np.all(steps < 0)):
        bad = int(np.argmax(~np.isfinite(values[1:]) | (steps * np.sign(np.nanmedian(steps)) <= 0)))
        raise InputError(
            f"coordinate '{name}' of {where} is not strictly monotonic (near index {bad}: "
            f"{values[bad : bad + 2]}); sort or repair the file"
        )
    return values


def longitudes(raw: FloatArray, name: str, where: str) -> tuple[FloatArray, NDArray, list]:
    """Ascending longitudes without a column twice, and the order that sorts them.

    Round the globe they lie within [0, 360); those of a region begin at its western end, so that
    one across Greenwich stays in one piece.

    Returns:
        longitudes, order, and pairs of columns (index kept, index dropped) at the same longitude,
        whose values must agree.

    Raises:
        InputError: no numbers, or columns in no order.
    """
    if not np.all(np.isfinite(raw)):
        monotonic(raw, name, where)
    steps = np.diff(raw)
    turns = np.abs(steps) > 180.0
    plain = steps[~turns]
    if raw.size > 2 and plain.size and not (np.all(plain > 0) or np.all(plain < 0)):
        monotonic(raw, name, where)
    spacing = float(np.median(np.abs(steps))) if raw.size > 1 else 360.0
    # Rounding noise in a file must not send 360 - 1e-7 to the far end of the axis.
    wrapped = np.mod(raw, 360.0)
    wrapped = np.where(wrapped > 360.0 - 1e-4 * spacing, 0.0, wrapped)
    order = np.argsort(wrapped, kind="stable")
    new = np.concatenate([[True], np.diff(wrapped[order]) > 1e-3 * spacing])
    kept = order[new][np.cumsum(new) - 1]
    twice = [(int(a), int(b)) for a, b in zip(kept, order) if a != b]
    lon, order = wrapped[order][new], order[new]
    if lon.size < 2:
        return lon, order, twice
    gaps = np.append(np.diff(lon), lon[0] + 360.0 - lon[-1])
    widest = int(np.argmax(gaps))
    if gaps[widest] > 1.5 * np.max(np.delete(gaps, widest)) and widest + 1 < lon.size:
        lon = np.concatenate([lon[widest + 1 :] - 360.0, lon[: widest + 1]])
        order = np.concatenate([order[widest + 1 :], order[: widest + 1]])
    return lon, order, twice


def depths(
    dataset: xr.Dataset, dim: str, request: Request, where: str, latitude: float
) -> tuple[FloatArray, NDArray]:
    """Depths (m, positive down, ascending) of a vertical axis, and the order that sorts them.

    Pressures become depths at ``latitude`` (degrees); gsw, TEOS-10.

    Raises:
        InputError: no coordinate, no unit, or one that is no depth: sigma, level numbers, density.
    """
    ask = f"{request.ask('axes', '{depth: NAME}')} names a coordinate of depth"
    name = _levels(dataset, dim, request, where, ask)
    attrs = dataset[name].attrs
    unit = request.units.get("depth") or str(attrs.get("units", ""))
    raw = monotonic(np.asarray(dataset[name].values, float), name, where)
    try:
        if unit and not units.says(unit, "m") and units.is_like(unit, "dbar"):
            raw = _from_pressure(units.convert(raw, unit, "dbar"), latitude)
        else:
            raw = units.convert(raw, unit, "m")
    except ValueError as error:
        raise InputError(
            f"{where}: its levels ('{name}') are no depths: {error}. "
            f"{request.ask('units', '{depth: m}')} says their unit; {ask}"
        ) from None
    up = str(attrs.get("positive", "")).lower() == "up" and not request.units.get("depth")
    if up or np.all(raw <= 0):
        raw = -raw
    if (raw < -1.0).any():
        raise InputError(
            f"{where}: its levels ('{name}') lie above the sea, up to {-raw.min():.4g} m; the "
            f"ocean's lie below. {ask}"
        )
    order = np.argsort(raw)
    return raw[order] + 0.0, order  # + 0.0 turns -0.0 into 0.0


def _levels(dataset: xr.Dataset, dim: str, request: Request, where: str, ask: str) -> str:
    """Name of the coordinate of a vertical axis, if it may hold depths."""
    name = request.axes.get("depth", dim)
    name = name if name in dataset.variables else dim
    if name not in dataset.variables or dataset[name].dims != (dim,):
        raise InputError(f"{where}: its levels ('{dim}') have no coordinate, so no depths; {ask}")
    says = str(dataset[name].attrs.get("standard_name", ""))
    if "sigma" in says or "s_coordinate" in says or "model_level" in says:
        raise InputError(f"{where}: its levels ('{name}') are {says}, no depths; {ask}")
    return name


def _from_pressure(pressure: FloatArray, latitude: float) -> FloatArray:
    import gsw

    return -gsw.z_from_p(pressure, latitude)
