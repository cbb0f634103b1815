"""GLORYS12 and its relatives: reanalysis files of the Copernicus Marine Service, as they come.

Format (GLOBAL_MULTIYEAR_PHY_001_030, doi:10.48670/moi-00021): ``thetao`` (potential temperature,
degrees_C), ``so`` (practical salinity, 1e-3), ``uo`` and ``vo`` (m s-1) with dimensions (time,
depth, latitude, longitude), ``zos`` (m) with (time, latitude, longitude), packed as 16-bit integers
with ``scale_factor``, ``add_offset`` and ``_FillValue``; longitudes -180 to 180, latitudes -80 to
90; daily or monthly means in any number of files. All variables sit at the same points, so
velocities are averaged onto the model's faces directly.
"""

from __future__ import annotations

import glob
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from dogcm.io import regrid
from dogcm.io.reading import axes, seawater
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request
from dogcm.targets.clock import DAY, Clock, decode_times, select_period
from dogcm.targets.container import VARIABLES, Targets
from dogcm.targets.errors import TargetError, in_unit
from dogcm.targets.gridded import LayerMeans, TargetGrid

#: Model variable: variable of the file.
FILE_NAMES = {"temperature": "thetao", "salinity": "so", "u": "uo", "v": "vo", "eta": "zos"}
_DIMS = ("time", "depth", "latitude", "longitude")


@dataclass(frozen=True)
class _Axes:
    """Coordinates in order, what sorts them, and columns that lie at one longitude."""

    lat: np.ndarray
    lon: np.ndarray
    depth: np.ndarray
    lat_order: np.ndarray
    lon_order: np.ndarray
    depth_order: np.ndarray
    twice: tuple[tuple[int, int], ...] = ()

    @property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes of the cell faces."""
        points = regrid.GriddedVariable(np.empty(0), self.lat, self.lon)
        return points.lat_edges, points.lon_edges

    @property
    def depth_edges(self) -> np.ndarray:
        """Interfaces of the levels (m), from the surface."""
        if self.depth.size == 1:
            return np.array([0.0, 2.0 * self.depth[0]])
        edges = regrid.edges_from_centres(self.depth)
        edges[0] = 0.0
        return edges

    def same(self, other: _Axes) -> bool:
        return all(
            a.shape == b.shape and np.allclose(a, b, atol=1e-4)
            for a, b in ((self.lat, other.lat), (self.lon, other.lon))
        )


def read_glorys(
    files,
    grid: TargetGrid,
    *,
    variables=("temperature", "salinity", "u", "v", "eta"),
    period=None,
    clock: Clock | None = None,
    convert: bool = True,
    max_uncovered: float = 0.05,
    year: float = 365.0 * DAY,
) -> Targets:
    """Reanalysis on the model grid, by conservative, land-aware averages.

    Args:
        files: a glob pattern, a path, or a list of paths; several times and variables a file, or
            one each.
        grid: the model grid (:meth:`TargetGrid.gather`).
        variables: model variables wanted.
        period: first and last day, ``("1993-01-01", "1993-12-31")``; default: all records.
        clock: default: model year 1, of ``year`` seconds, is the year of the first record used.
        convert: to Conservative Temperature and Absolute Salinity (TEOS-10,
            doi:10.5194/os-8-1117-2012), before averaging, so that heat and salt are what is
            conserved. Needs both thetao and so. False: keep potential temperature and practical
            salinity.
        max_uncovered: largest share of wet cells (of the surface, then of all layers) without a
            value.

    Returns:
        Targets with ``(n, nz, ny, nx)`` degC, g kg-1, m s-1 and ``(n, ny, nx)`` m, NaN on land and
        where the reanalysis has no water.

    Raises:
        TargetError: missing files, variables or dimensions, wrong units, times that are out of
            order or do not overlap the period, an ocean that is not covered. All of it before the
            first record is regridded (the deep ocean's coverage: after the first).
    """
    unknown = [v for v in variables if v not in FILE_NAMES]
    if unknown or not variables:
        raise TargetError(
            f"no reanalysis variable for {unknown or 'an empty list'}; known: "
            f"{', '.join(FILE_NAMES)}"
        )
    needs = list(variables)
    if convert and {"temperature", "salinity"} & set(needs):
        # Each of the two conversions needs the other variable as well.
        needs += [v for v in ("temperature", "salinity") if v not in needs]
    with ExitStack() as stack:
        archive = _Archive(paths_of(files), needs, stack, period)
        archive.check_values(grid, max_uncovered)
        records = []
        for n in range(len(archive.dates)):
            records.append(_record(archive, n, variables, grid, convert))
            if n == 0:
                for name in variables:
                    label = f"{FILE_NAMES[name]} of {archive.where}"
                    grid.check_cover(records[0][name], _wet(grid, name), label, max_uncovered)
        clock = clock or Clock(archive.dates[0].year, year)
        return Targets(
            clock.seconds(archive.dates), {v: np.stack([r[v] for r in records]) for v in variables}
        )


def paths_of(files, what: str = "reanalysis") -> list[Path]:
    """Files that paths and glob patterns name.

    Raises:
        TargetError: one of them is not there.
    """
    given = [files] if isinstance(files, (str, Path)) else list(files)
    found = sorted({p for pattern in given for p in (glob.glob(str(pattern)) or [str(pattern)])})
    missing = [p for p in found if not Path(p).is_file()]
    if missing or not found:
        raise TargetError(
            f"no such {what} file: {missing[0] if missing else given}; check the path or pattern"
        )
    return [Path(p) for p in found]


class _Archive:
    """Files opened lazily, checked against each other, and an index from (variable, record) to
    file."""

    def __init__(self, paths: list[Path], names: list[str], stack: ExitStack, period):
        self.where = (
            str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files"
        )
        self.axes: _Axes | None = None
        found: dict[str, dict] = {n: {} for n in names}
        for path in paths:
            data = stack.enter_context(_open(path))
            here = [n for n in names if FILE_NAMES[n] in data.variables]
            dates = self._check(data, here, path) if here else []
            for name in here:
                for t, date in enumerate(dates):
                    if date in found[name]:
                        raise TargetError(
                            f"{FILE_NAMES[name]} of {date} is in two files, one of them {path}"
                        )
                    found[name][date] = (data, t)
        for name in names:
            if not found[name]:
                raise TargetError(
                    f"variable '{FILE_NAMES[name]}' (target of {name}) is in none of {self.where}; "
                    f"the first file has {', '.join(sorted(map(str, _open(paths[0]).data_vars)))}"
                )
        self._index = found
        self._choose(names, period)

    def _choose(self, names: list[str], period) -> None:
        first = sorted(self._index[names[0]])
        for name in names[1:]:
            odd = sorted(set(first) ^ set(self._index[name]))
            if odd:
                raise TargetError(
                    f"{FILE_NAMES[names[0]]} and {FILE_NAMES[name]} of {self.where} are not there "
                    f"for the same times: {odd[0]} has only one of them"
                )
        self.dates = [first[n] for n in select_period(first, period, self.where)]

    def _check(self, data, names: list[str], path: Path) -> list:
        """Shapes and axes of one file; its dates."""
        for name in names:
            array = data[FILE_NAMES[name]]
            wanted = tuple(d for d in _DIMS if d != "depth" or VARIABLES[name][1])
            if array.dims != wanted:
                raise TargetError(
                    f"variable '{array.name}' of {path} has dimensions {array.dims}; a reanalysis "
                    f"file has {wanted}"
                )
        own = _axes(data, path)
        if self.axes is not None and not self.axes.same(own):
            raise TargetError(
                f"{path} is on another grid than the files before it; read them one by one"
            )
        if self.axes is None or own.depth.size > self.axes.depth.size:
            self.axes = own
        time = data["time"]
        units, calendar = (str(time.attrs.get(a, "")) for a in ("units", "calendar"))
        return decode_times(time.values, units, calendar, str(path))

    def level(self, name: str, record: int, k: int | None) -> np.ndarray:
        """One horizontal slice ``(lat, lon)`` in the model's unit; NaN on land."""
        data, t = self._index[name][self.dates[record]]
        array = data[FILE_NAMES[name]]
        level = {} if k is None else {"depth": int(self.axes.depth_order[k])}
        label = f"variable '{array.name}' of {self.where}"
        try:
            values = np.asarray(array.isel(time=t, **level).values, float)
        # Texts instead of numbers, damaged chunks: what the libraries happen to raise.
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            raise TargetError(f"{label} cannot be read: {error}") from None
        for kept, dropped in self.axes.twice:
            if not np.allclose(values[:, kept], values[:, dropped], equal_nan=True):
                raise TargetError(
                    f"{label}: columns {kept + 1} and {dropped + 1} lie at one longitude but hold "
                    "other values; drop one"
                )
        values = values[self.axes.lat_order][:, self.axes.lon_order]
        return in_unit(name, values, str(array.attrs.get("units", "")), label)

    def levels(self, name: str, record: int) -> int:
        data, _ = self._index[name][self.dates[record]]
        return data.sizes["depth"]

    def check_values(self, grid: TargetGrid, most: float) -> None:
        """Units, sizes and horizontal cover, from the surface of the first record."""
        for name in self._index:
            top = self.level(name, 0, 0 if VARIABLES[name][1] else None)
            at = VARIABLES[name][0]
            mean, _ = regrid.conservative_average(top, *self.axes.edges, *grid.edges(at))
            grid.check_cover(
                mean, grid.thickness(at)[0] > 0, f"{FILE_NAMES[name]} of {self.where}", most
            )


def _open(path: Path):
    try:
        return xr.open_dataset(path, decode_times=False, mask_and_scale=True)
    except Exception as error:  # noqa: BLE001 whatever a netCDF library raises
        raise TargetError(f"{path} cannot be read as netCDF ({error}); get it again") from None


def _axes(data, path: Path) -> _Axes:
    for dim in _DIMS:
        if dim not in data.variables and (dim != "depth" or "depth" in data.dims):
            raise TargetError(
                f"{path} has no coordinate '{dim}'; a reanalysis file has {', '.join(_DIMS)}"
            )
    try:
        lat, lon = (
            axes.degrees(data, name, name[:3], Request(), str(path)).values
            for name in ("latitude", "longitude")
        )
        lat = axes.monotonic(lat, "latitude", str(path))
        lon, lon_order, twice = axes.longitudes(lon, "longitude", str(path))
        # Depths of a file of sea level alone do not matter.
        depth, depth_order = np.array([0.5]), np.array([0])
        if "depth" in data.variables:
            dim = data["depth"].dims or ("depth",)
            data = data if data["depth"].dims else data.expand_dims("depth")
            depth, depth_order = axes.depths(data, str(dim[0]), Request(), str(path), 45.0)
    except InputError as error:
        raise TargetError(str(error)) from None
    if min(lat.size, lon.size) < 2:
        raise TargetError(f"{path} has {lat.size} x {lon.size} points: two or more are needed")
    return _Axes(np.sort(lat), lon, depth, np.argsort(lat), lon_order, depth_order, tuple(twice))


def _wet(grid: TargetGrid, name: str) -> np.ndarray:
    thickness = grid.thickness(VARIABLES[name][0])
    return (thickness if VARIABLES[name][1] else thickness[0]) > 0


def _record(
    archive: _Archive, n: int, variables, grid: TargetGrid, convert: bool
) -> dict[str, np.ndarray]:
    """One record of all variables on the model grid."""
    out = {}
    tracers = [v for v in variables if v in ("temperature", "salinity")]
    for group in ([tracers] if tracers else []) + [[v] for v in variables if v in ("u", "v")]:
        out |= _volume(archive, n, group, grid, convert)
    if "eta" in variables:
        eta = archive.level("eta", n, None)
        mean, _ = regrid.conservative_average(eta, *archive.axes.edges, *grid.edges("c"))
        out["eta"] = np.where(grid.cells[0] > 0, mean, np.nan)
    return out


def _volume(
    archive: _Archive, n: int, names: list, grid: TargetGrid, convert: bool
) -> dict[str, np.ndarray]:
    """Layer means of variables at one place, reading one level at a time."""
    at = VARIABLES[names[0]][0]
    means = {v: LayerMeans(grid.vertical.edges[:-1], grid.thickness(at)) for v in names}
    edges = archive.axes.depth_edges
    for k in range(archive.levels(names[0], n)):
        if edges[k] >= grid.vertical.edges[-1]:
            break
        for name, values in _slices(archive, n, k, names, convert).items():
            mean, cover = regrid.conservative_average(values, *archive.axes.edges, *grid.edges(at))
            means[name].add(mean, cover, edges[k], edges[k + 1])
    return {v: np.where(_wet(grid, v), means[v].result()[0], np.nan) for v in names}


def _slices(
    archive: _Archive, n: int, k: int, names: list[str], convert: bool
) -> dict[str, np.ndarray]:
    if not convert or names[0] not in ("temperature", "salinity"):
        return {v: archive.level(v, n, k) for v in names}
    both = to_teos10(
        archive.level("temperature", n, k),
        archive.level("salinity", n, k),
        archive.axes.depth[k],
        archive.axes.lat[:, None],
        archive.axes.lon[None, :],
    )
    return {v: both[v] for v in names}


def to_teos10(potential, practical, depth, lat, lon) -> dict[str, np.ndarray]:
    """Conservative Temperature (degC) and Absolute Salinity (g kg-1); NaN where either input is.

    Args:
        potential: potential temperature at 0 dbar (degC). practical: practical salinity. depth: m,
            positive down.
        lat, lon: degrees. All broadcast together.
    """
    there = np.isfinite(potential) & np.isfinite(practical)
    practical = np.where(there, practical, np.nan)
    absolute = seawater.absolute_salinity(practical, depth, lat, lon)
    out = np.full(there.shape, np.nan)
    out[there] = seawater.conservative(
        np.asarray(potential)[there], "potential", absolute[there], 0.0, 0.0
    )
    return {"temperature": out, "salinity": absolute}
