"""The grid that targets are brought to, averages onto it, and gridded sea surface temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dogcm.grid.horizontal import CartesianGrid, LatLonGrid, Metrics
from dogcm.grid.vertical import VerticalGrid
from dogcm.io import regrid
from dogcm.io.reading import reader
from dogcm.io.reading.request import AS_IT_SAYS, Request
from dogcm.targets.clock import DAY, Clock, decode_times, middle_of_month, select_period
from dogcm.targets.container import VARIABLES, Targets
from dogcm.targets.errors import TargetError, in_unit

#: Sea water at 35 g/kg freezes near -1.9; analyses write -1.8 degC under sea ice.
UNDER_ICE = -1.79


@dataclass(frozen=True)
class TargetGrid:
    """The model grid as numpy on rank 0.

    Attributes:
        horizontal: horizontal grid; data by position need a latitude-longitude grid. vertical:
            layers.
        cells: thickness of every cell at rest (m), ``(nz, ny, nx)``, 0 on land.
    """

    horizontal: LatLonGrid | CartesianGrid
    vertical: VerticalGrid
    cells: np.ndarray

    def __post_init__(self):
        shape = (self.vertical.nz, *self.horizontal.shape)
        if np.shape(self.cells) != shape:
            raise TargetError(
                f"cell thicknesses have shape {np.shape(self.cells)}, the grid has {shape}"
            )

    @classmethod
    def gather(cls, model) -> TargetGrid | None:
        """The grid of a model on rank 0, None elsewhere. All ranks call this."""
        cells = model.decomposition.gather(np.asarray(model.grid.h_c.interior, float))
        return None if cells is None else cls(model.horizontal, model.vertical, cells)

    @property
    def metrics(self) -> Metrics:
        """Distances and areas of all cells, ``(ny, nx)``."""
        ny, nx = self.horizontal.shape
        return self.horizontal.metrics(np.arange(ny), np.arange(nx))

    @property
    def area(self) -> np.ndarray:
        """Areas of the cells (m2), ``(ny, nx)``."""
        return self.metrics.area_c

    @property
    def volume(self) -> np.ndarray:
        """Volumes of the cells at rest (m3), ``(nz, ny, nx)``, 0 on land."""
        return self.area * self.cells

    def weights(self, name: str) -> np.ndarray:
        """Weights of scores of a variable, 0 on land: volumes (m3) with layers, areas (m2)
        without."""
        at, layered = VARIABLES[name]
        area, h = getattr(self.metrics, f"area_{at}"), self.thickness(at)
        return area * h if layered else area * (h[0] > 0)

    def thickness(self, at: str) -> np.ndarray:
        """Thickness (m) at ``c``, ``u`` or ``v``: that of the thinner of two cells at a face, 0 at
        walls."""
        h = self.cells
        if at == "u":
            west = np.roll(h, 1, -1)
            if not self.horizontal.periodic_x:
                west[..., 0] = 0.0
            return np.minimum(h, west)
        if at == "v":
            return np.minimum(h, np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], 1))
        return h

    def edges(self, at: str) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes between which a value at ``c``, ``u`` or ``v`` is a mean."""
        if not isinstance(self.horizontal, LatLonGrid):
            raise TargetError(
                "targets by position need a latitude-longitude grid; this experiment has none"
            )
        lat, lon = self.horizontal.lat_edges, self.horizontal.lon_edges
        if at == "v":
            lat = np.clip(_shifted_back(lat), -90.0, 90.0)
        return lat, _shifted_back(lon) if at == "u" else lon

    def describe(self, where: np.ndarray) -> str:
        """Where the True cells of ``([nz,] ny, nx)`` lie."""
        flat: np.ndarray = np.any(where, axis=0) if where.ndim == 3 else where
        c = self.horizontal.coordinates()
        lat, lon = c["lat"][0][flat.any(1)], c["lon"][0][flat.any(0)]
        j, i = np.argwhere(flat)[0]
        text = f"between lat {lat[0]:.1f} and {lat[-1]:.1f}, lon {lon[0]:.1f} and {lon[-1]:.1f}"
        if where.ndim == 3:
            z = self.vertical.centres[where.any((1, 2))]
            text += f", depth {z[0]:.0f} and {z[-1]:.0f} m"
        return f"{text}, the first at lat {c['lat'][0][j]:.1f}, lon {c['lon'][0][i]:.1f}"

    def check_cover(self, values: np.ndarray, wet: np.ndarray, source: str, most: float) -> None:
        """Refuse targets that leave more than the share ``most`` of the wet cells without a value.

        Raises:
            TargetError: how many cells, and where.
        """
        bare = wet & ~np.isfinite(values)
        if bare.sum() > most * wet.sum():
            raise TargetError(
                f"{source} does not cover the ocean: {int(bare.sum())} of {int(wet.sum())} wet "
                f"cells ({100 * bare.sum() / wet.sum():.1f} %) have no target, "
                f"{self.describe(bare)}; use global data, a smaller model domain, or a larger "
                f"max_uncovered (now {most:g})"
            )


def _shifted_back(edges: np.ndarray) -> np.ndarray:
    """Edges of the cells around west or south faces: the centres, with one more before the
    first."""
    centres = 0.5 * (edges[1:] + edges[:-1])
    period = edges[-1] - edges[0]
    first = centres[-1] - period if np.isclose(period, 360.0) else 2 * edges[0] - centres[0]
    return np.concatenate([[first], centres])


class LayerMeans:
    """Volume-weighted means over model layers, fed one source level at a time.

    A model cell takes from each source level the part that lies between its top and its own
    (partial) bottom,
    times the wet area of the source there: means run over water alone, and sums of
    ``mean * cover * thickness * area`` are the integral of the source.
    """

    def __init__(self, tops: np.ndarray, thickness: np.ndarray):
        """Args: tops ``(nz,)`` m; thickness ``(nz, ny, nx)`` m."""
        self._top, self._thickness = tops[:, None, None], thickness
        self._bottom = self._top + thickness
        self._total, self._cover = np.zeros_like(thickness), np.zeros_like(thickness)

    def add(self, mean: np.ndarray, cover: np.ndarray, top: float, bottom: float) -> None:
        """One source level: horizontal mean and wet share of each model cell, ``(ny, nx)``."""
        overlap = np.maximum(np.minimum(self._bottom, bottom) - np.maximum(self._top, top), 0.0)
        self._total += overlap * np.where(cover > 0, np.nan_to_num(mean) * cover, 0.0)
        self._cover += overlap * cover

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """``(mean, cover)``: NaN and 0 where there is no water of the source."""
        there = self._cover > 1e-12 * np.maximum(self._thickness, 1e-30)
        mean = np.where(there, self._total / np.where(there, self._cover, 1.0), np.nan)
        return mean, np.where(there, self._cover / np.where(there, self._thickness, 1.0), 0.0)


def read_sst(
    path,
    grid: TargetGrid,
    *,
    variable: str = "sst",
    period=None,
    clock: Clock | None = None,
    year: float = 365.0 * DAY,
    monthly: bool = True,
    mask_ice: bool = True,
    max_uncovered: float = 0.1,
    request: Request = AS_IT_SAYS,
) -> Targets:
    """Gridded sea surface temperature (for instance ERSSTv5, doi:10.1175/JCLI-D-16-0836.1) as
    targets ``sst``.

    Args:
        path: CF netCDF, absolute temperatures in degC or K, ``(time, lat, lon)``; missing on land.
        grid: the model grid.
        period: first and last day, ``("2010-01-01", "2015-12-31")``; default: all records.
        clock: default: model year 1, of ``year`` seconds, is the year of the first record used.
        monthly: the records are monthly means; their time is then the middle of the month, whatever
            the stamp.
        mask_ice: leave out cells where the analysis only says that there is sea ice (at most -1.79
            degC).
        max_uncovered: largest share of wet cells without a value in the first record, ice not
            counted.
        request: what the file does not say itself, see :class:`dogcm.io.reading.request.Request`.

    Raises:
        TargetError: see :mod:`dogcm.targets`. Nothing is regridded before the checks have passed.
    """
    label = f"variable '{variable}' of {path}"
    source = _records(path, variable, request, label)
    dates = decode_times(source.time, source.time_unit, source.calendar, str(path))
    chosen = select_period(dates, period, str(path))
    values = in_unit("sst", source.values[chosen], source.unit, label)
    edges = grid.edges("c")

    def average(v):
        return regrid.conservative_average(v, source.lat_edges, source.lon_edges, *edges)[0]

    wet = grid.cells[0] > 0
    grid.check_cover(average(values[0]), wet, label, max_uncovered)
    if mask_ice:
        values = np.where(values <= UNDER_ICE, np.nan, values)
    dates = [dates[n] for n in chosen]
    if monthly:
        dates = middle_of_month(dates)
        if len(set(dates)) < len(dates):
            raise TargetError(
                f"{label} has several records in one month, so they are no monthly means; set "
                "monthly to false"
            )
    clock = clock or Clock(dates[0].year, year)
    return Targets(clock.seconds(dates), {"sst": np.where(wet, average(values), np.nan)})


def _records(path, variable: str, request: Request, label: str) -> regrid.GriddedVariable:
    """Records ``(time, lat, lon)`` of a file in the order of their times."""
    try:
        source = reader.one_level(reader.read(path, variable, request), request, label)
    except (ValueError, FileNotFoundError) as error:
        raise TargetError(str(error)) from None
    flat = isinstance(source, regrid.GriddedVariable) and source.values.ndim == 3
    if source.time is None or not flat:
        raise TargetError(f"{label} has shape {source.values.shape}; needed is (time, lat, lon)")
    order = np.argsort(source.time, kind="stable")
    return replace(source, values=source.values[order], time=source.time[order])
