"""Build the starter data of the package from the public-domain NOAA/PMEL Ferret data sets.

The originals are the `*.cdf` and `*.nc` files of the Debian package `ferret-datasets` (7.6.0-5):

    apt-get download ferret-datasets && dpkg-deb -x ferret-datasets_*.deb ferret
    python -m dogcm.setups.starter.build_starter_data ferret/usr/share/ferret-vis/data

Only this package is read. Method, sources and known weaknesses of every field are in
PROVENANCE.md beside this file. The build is deterministic: the same originals give the same
numbers.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import gsw
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage, special
from scipy.spatial import cKDTree

from dogcm.grid.bathymetry import label_basins
from dogcm.io.reading import units
from dogcm.io.reading.reader import read
from dogcm.io.regrid import (
    GriddedVariable,
    bilinear,
    conservative_average,
    fill_missing,
    unit_vectors,
)

FloatArray = NDArray[np.floating]

LICENCE = (
    "Public domain (work of the United States Government; Ferret License Agreement: data "
    "in the public domain, furnished AS IS, no warranty)"
)
PACKAGE = "Debian package ferret-datasets 7.6.0-5 (NOAA/PMEL Ferret data sets)"
AIR_DENSITY = 1.22  # kg m-3, Large & Pond (1981)
BATHYMETRY_STEP = 0.25  # degrees
SURFACE_STEP = 2.0  # degrees
#: Nodes per direction of the Gauss-Hermite rule over the sub-monthly wind.
WIND_NODES = 9
#: Distance (km) over which the net heat flux fades to 0 away from any observation.
HEAT_FLUX_FADE = 1000.0
#: Departures (K) from the neighbouring months that mark a bad patch of SST, and its fringe.
SPIKE_LIMIT, SPIKE_FRINGE = 3.0, 1.0
#: South, north, west, east of the one bad corner of the atlas that ships do visit: the
#: north-western Sea of Okhotsk, 5 to 10 degC in winter there, ice-covered from December to May.
ICE_BOX = 52.0, 60.0, 135.0, 145.0
EARTH_RADIUS = 6371.0  # km


def _read(path: Path, name: str, unit: str = "") -> GriddedVariable:
    """A variable of a file, in ``unit``; default: as stored."""
    found = read(path, name)
    return (
        replace(found, values=units.convert(found.values, found.unit, unit), unit=unit)
        if unit
        else found
    )


def cell_faces(step: float) -> tuple[FloatArray, FloatArray]:
    """Faces (lat, lon) of the global grid of cells of `step` degrees."""
    return np.linspace(-90, 90, round(180 / step) + 1), np.linspace(0, 360, round(360 / step) + 1)


def cell_centres(step: float) -> tuple[FloatArray, FloatArray]:
    """Centres (lat, lon) of the same grid."""
    lat, lon = cell_faces(step)
    return 0.5 * (lat[1:] + lat[:-1]), 0.5 * (lon[1:] + lon[:-1])


def mean_elevation(source: Path, step: float) -> FloatArray:
    """Cell means of ETOPO5 (m, positive up) on the global grid of `step` degrees."""
    relief = _read(source / "etopo5.cdf", "ROSE")
    mean, _ = conservative_average(
        relief.values, relief.lat_edges, relief.lon_edges, *cell_faces(step)
    )
    return mean


# --- hydrography -------------------------------------------------------------------------------


def fill_within_basins(
    values: FloatArray, wet: NDArray[np.bool_], points: FloatArray, above: FloatArray | None
) -> FloatArray:
    """Fill one level without carrying water across land.

    A wet cell without data takes the nearest data of its own body of water at this depth; where
    that body has none (deep trenches, marginal seas), the value of the level above. Land takes
    the nearest wet value, smoothed.

    Args:
        values: `(ny, nx)`, NaN = no data.
        wet: `(ny, nx)` cells deeper than this level.
        points: `(ny, nx, 3)` unit vectors of the cells.
        above: The filled level above, or None at the surface.
    """
    out = values.copy()
    labels, count = label_basins(wet)
    for body in range(1, count + 1):
        inside = labels == body
        gap = inside & np.isnan(values)
        data = inside & np.isfinite(values)
        if not gap.any():
            continue
        if data.any():
            _, near = cKDTree(points[data]).query(points[gap])
            out[gap] = values[data][near]
        elif above is not None:
            out[gap] = above[gap]
    return fill_missing(out)


def build_hydrography(source: Path) -> xr.Dataset:
    """Annual conservative temperature and absolute salinity, 1 degree, 20 levels, no gaps."""
    t = _read(source / "levitus_climatology.cdf", "TEMP", unit="degC")
    s = _read(source / "levitus_climatology.cdf", "SALT", unit="psu")
    pressure = gsw.p_from_z(-t.depth[:, None, None], t.lat[None, :, None])
    salt = gsw.SA_from_SP(s.values, pressure, t.lon[None, None, :], t.lat[None, :, None])
    temp = gsw.CT_from_t(salt, t.values, pressure)
    missing = ~(np.isfinite(salt) & np.isfinite(temp))
    floor = mean_elevation(source, 1.0)
    points = unit_vectors(*np.meshgrid(t.lat, t.lon, indexing="ij"))
    filled: dict[str, FloatArray] = {}
    for name, field in (("conservative_temperature", temp), ("absolute_salinity", salt)):
        levels: list[FloatArray] = []
        for k, depth in enumerate(t.depth):
            level = np.where(missing[k], np.nan, field[k])
            levels.append(
                fill_within_basins(level, floor < -depth, points, levels[-1] if levels else None)
            )
        filled[name] = np.stack(levels)
    # Water of the deep interior cannot be below the surface freezing point; objective analysis
    # can. The freezing point at zero pressure is where such water was last in contact with ice.
    freezing = gsw.CT_freezing(filled["absolute_salinity"], 0.0, 0.0)
    temp = np.maximum(filled["conservative_temperature"], freezing)
    data = xr.Dataset(coords={"depth": t.depth, "lat": t.lat, "lon": t.lon})
    data["conservative_temperature"] = (
        ("depth", "lat", "lon"),
        temp,
        {
            "standard_name": "sea_water_conservative_temperature",
            "units": "degC",
            "long_name": "annual mean conservative temperature (TEOS-10)",
        },
    )
    data["absolute_salinity"] = (
        ("depth", "lat", "lon"),
        filled["absolute_salinity"],
        {
            "standard_name": "sea_water_absolute_salinity",
            "units": "g kg-1",
            "long_name": "annual mean absolute salinity (TEOS-10)",
        },
    )
    data.attrs.update(
        title="Starter hydrography of dogcm: annual mean temperature and salinity",
        references="Levitus (1982), Climatological Atlas of the World Ocean, NOAA Prof. Paper 13; "
        "IOC, SCOR and IAPSO (2010), TEOS-10",
        comment="In-situ temperature and practical salinity converted with gsw. Filled "
        "everywhere: see PROVENANCE.md for the rule.",
        source_files="levitus_climatology.cdf etopo5.cdf",
    )
    return data


# --- wind --------------------------------------------------------------------------------------


def drag_coefficient(speed: FloatArray) -> FloatArray:
    """Neutral 10 m drag coefficient of Large & Pond (1981).

    doi:10.1175/1520-0485(1981)011<0324:OOMFMI>2.0.CO;2, equation 19: 1.2e-3 below 11 m/s,
    (0.49 + 0.065 U) 1e-3 from there to 25 m/s; held constant beyond the measured range.
    """
    return np.where(speed < 11.0, 1.2, 0.49 + 0.065 * np.minimum(speed, 25.0)) * 1e-3


def rice_mean_speed(vector_speed: FloatArray, sigma: FloatArray) -> FloatArray:
    """Mean speed (m/s) of a wind of mean vector length `vector_speed` and an isotropic Gaussian
    scatter of `sigma` per component: the mean of the Rice distribution.
    """
    x = vector_speed**2 / (4.0 * sigma**2)
    return (
        sigma * np.sqrt(np.pi / 2) * ((1 + 2 * x) * special.ive(0, x) + 2 * x * special.ive(1, x))
    )


def scatter_from_speed(vector_speed: FloatArray, mean_speed: FloatArray) -> FloatArray:
    """Invert `rice_mean_speed` for sigma (m/s) by bisection; NaN where an input is missing."""
    low, high = np.full(vector_speed.shape, 0.5), np.full(vector_speed.shape, 12.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        too_big = rice_mean_speed(vector_speed, middle) > mean_speed
        low, high = np.where(too_big, low, middle), np.where(too_big, middle, high)
    return np.where(np.isfinite(vector_speed + mean_speed), 0.5 * (low + high), np.nan)


def smooth(field: FloatArray, cells_lat: float, cells_lon: float) -> FloatArray:
    """Gaussian smoothing of the last two axes, periodic in longitude; NaN left out."""
    sigma = (0,) * (field.ndim - 2) + (cells_lat, cells_lon)
    mode = ["nearest"] * (field.ndim - 1) + ["wrap"]
    known = np.isfinite(field)
    total = ndimage.gaussian_filter(np.where(known, field, 0.0), sigma, mode=mode)
    cover = ndimage.gaussian_filter(known.astype(float), sigma, mode=mode)
    return np.where(cover > 1e-3, total / np.maximum(cover, 1e-3), np.nan)


def stress_of(
    u: FloatArray, v: FloatArray, sigma: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean stress (N m-2) and mean speed (m/s) over a Gaussian wind of mean (u, v).

    tau = rho_air E[C_D(|U|) |U| U], the expectation by Gauss-Hermite quadrature: storms that a
    monthly mean averages out carry much of the stress (Thompson et al. 1983,
    doi:10.1175/1520-0485(1983)013<1093:WSRUSA>2.0.CO;2, discuss the size of the effect).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(WIND_NODES)
    weights = weights / weights.sum()
    taux, tauy, mean_speed = (np.zeros_like(u) for _ in range(3))
    for a, wa in zip(nodes, weights):
        for b, wb in zip(nodes, weights):
            x, y = u + a * sigma, v + b * sigma
            speed = np.hypot(x, y)
            factor = wa * wb * AIR_DENSITY * drag_coefficient(speed) * speed
            taux, tauy = taux + factor * x, tauy + factor * y
            mean_speed = mean_speed + wa * wb * speed
    return taux, tauy, mean_speed


def navy_climatology(source: Path, name: str, lat: FloatArray, lon: FloatArray) -> FloatArray:
    """Monthly mean of the FNOC wind 1982-1992 over the ocean, interpolated; NaN inland."""
    wind = _read(source / "monthly_navy_winds.cdf", name, unit="m s-1")
    monthly = wind.values.reshape(-1, 12, *wind.values.shape[1:]).mean(axis=0)
    relief = _read(source / "etopo20.cdf", "ROSE")
    ocean, _ = conservative_average(
        (relief.values < 0).astype(float),
        relief.lat_edges,
        relief.lon_edges,
        wind.lat_edges,
        wind.lon_edges,
    )
    # Wind over land is slower and turned: it must not leak into the stress at the coast.
    monthly = np.where(ocean >= 0.5, monthly, np.nan)
    return bilinear(monthly, wind.lat, wind.lon, *np.meshgrid(lat, lon, indexing="ij"))


def ship_weight(lat: FloatArray) -> FloatArray:
    """Trust in ship winds: 1 between 30 S and 62 N, fading to 0 at 40 S and 72 N."""
    return np.clip(np.minimum((lat + 40.0) / 10.0, (72.0 - lat) / 10.0), 0.0, 1.0)[:, None]


def build_wind(source: Path, lat: FloatArray, lon: FloatArray) -> dict[str, FloatArray]:
    """Monthly stress (N m-2) and scalar wind speed (m/s), `(12, lat, lon)`, no gaps."""
    ship = {
        n: _read(source / "coads_climatology.cdf", n, unit="m s-1").values
        for n in ("UWND", "VWND", "WSPD")
    }
    wind: dict[str, FloatArray] = {}
    for name in ("UWND", "VWND"):
        navy = fill_missing(navy_climatology(source, name, lat, lon), lat=lat, lon=lon)
        correction = smooth(ship[name] - navy, 1.5, 1.5)
        correction = fill_missing(correction, lat=lat, lon=lon) * ship_weight(lat)
        wind[name] = navy + correction
    sigma = scatter_from_speed(np.hypot(ship["UWND"], ship["VWND"]), ship["WSPD"])
    # Broad along latitude circles: few ships, and a storm track is a zonal thing.
    sigma = fill_missing(smooth(sigma, 1.5, 5.0), lat=lat, lon=lon)
    taux, tauy, speed = stress_of(wind["UWND"], wind["VWND"], sigma)
    return {"taux": taux, "tauy": tauy, "wind_speed": speed}


# --- surface -----------------------------------------------------------------------------------


def drop_spikes(monthly: FloatArray) -> FloatArray:
    """Replace patches that are warm or cold in one month only.

    The objective analysis has bull's eyes of one bad cruise (11 K in Baffin Bay in February). A
    value is suspect where it departs from the median of its own and the two neighbouring months;
    a connected patch above `SPIKE_FRINGE` that exceeds `SPIKE_LIMIT` somewhere takes that median.

    Args:
        monthly: `(12, ny, nx)` degC without gaps.
    """
    triple = np.stack([np.roll(monthly, 1, 0), monthly, np.roll(monthly, -1, 0)])
    median = np.median(triple, axis=0)
    departure = np.abs(monthly - median)
    out = monthly.copy()
    for month in range(12):
        patches, _ = label_basins(departure[month] > SPIKE_FRINGE)
        bad = np.unique(patches[departure[month] > SPIKE_LIMIT])
        inside = np.isin(patches, bad[bad > 0])
        out[month][inside] = median[month][inside]
    return out


def northern_ice(source: Path, lat: FloatArray, lon: FloatArray) -> FloatArray:
    """Weight (0 to 1) of winter sea ice in the north, `(12, lat, lon)`: where no ship goes.

    The atlas has almost no winter data in the ice-covered seas (Hudson Bay, Baffin Bay, Kara Sea,
    Sea of Okhotsk) and fills them with summer water of 4 to 10 degC. North of 45 N the open ocean
    is observed by ships in every month, so from November to June water without any ship
    observation in a 3 x 3 neighbourhood is taken as ice-covered.
    """
    seen = np.isfinite(_read(source / "coads_climatology.cdf", "SST").values)
    near = ndimage.maximum_filter(
        np.pad(seen, ((0, 0), (0, 0), (1, 1)), mode="wrap"), size=(1, 3, 3), mode="nearest"
    )[..., 1:-1]
    ice = ~near & (lat[:, None] > 45.0)
    ice[6:10] = False
    south, north, west, east = ICE_BOX
    box = ((lat > south) & (lat < north))[:, None] & (lon > west) & (lon < east)
    ice[[11, 0, 1, 2, 3, 4]] |= box
    return smooth(ice.astype(float), 0.7, 0.7)


def build_sst(source: Path, sss: FloatArray, lat: FloatArray, lon: FloatArray) -> FloatArray:
    """Monthly surface conservative temperature (degC), `(12, lat, lon)`, not below freezing."""
    t = _read(source / "ocean_atlas_subset.nc", "TEMP")
    surface = drop_spikes(fill_missing(t.values[:, 0], lat=t.lat, lon=t.lon))
    surface = np.where(np.isfinite(t.values[:, 0]), surface, np.nan)
    surface = bilinear(surface, t.lat, t.lon, *np.meshgrid(lat, lon, indexing="ij"), min_weight=0.2)
    # The atlas lacks the Black Sea and some coasts, where ships do go.
    ship = _read(source / "coads_climatology.cdf", "SST").values
    surface = np.where(np.isnan(surface) & (np.abs(lat) < 60.0)[:, None], ship, surface)
    surface = fill_missing(surface, lat=lat, lon=lon)
    freezing = gsw.CT_freezing(sss, 0.0, 0.0)
    ice = northern_ice(source, lat, lon)
    surface = (1.0 - ice) * gsw.CT_from_pt(sss, surface) + ice * freezing
    return np.maximum(surface, freezing)


def build_heat_flux(source: Path, lat: FloatArray, lon: FloatArray) -> FloatArray:
    """Monthly net downward heat flux (W m-2), `(12, lat, lon)`.

    Gaps take the nearest value, faded to 0 with the distance from the data: where no ship went
    there is ice, and under ice the flux is small.
    """
    flux = _read(source / "esku_heat_budget.cdf", "FDH", unit="W m-2")
    points = unit_vectors(*np.meshgrid(flux.lat, flux.lon, indexing="ij"))
    filled = fill_missing(flux.values, lat=flux.lat, lon=flux.lon)
    for month, known in enumerate(np.isfinite(flux.values)):
        chord, _ = cKDTree(points[known]).query(points)
        distance = 2.0 * EARTH_RADIUS * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))
        filled[month] *= np.exp(-((distance / HEAT_FLUX_FADE) ** 2))
    return bilinear(filled, flux.lat, flux.lon, *np.meshgrid(lat, lon, indexing="ij"))


SURFACE_ATTRIBUTES = {
    "sst": {
        "units": "degC",
        "standard_name": "sea_water_conservative_temperature",
        "long_name": "monthly mean conservative temperature of the sea surface",
    },
    "sss": {
        "units": "g kg-1",
        "standard_name": "sea_water_absolute_salinity",
        "long_name": "annual mean absolute salinity of the sea surface",
    },
    "taux": {
        "units": "N m-2",
        "standard_name": "surface_downward_eastward_stress",
        "long_name": "eastward wind stress on the ocean, positive east",
    },
    "tauy": {
        "units": "N m-2",
        "standard_name": "surface_downward_northward_stress",
        "long_name": "northward wind stress on the ocean, positive north",
    },
    "wind_speed": {
        "units": "m s-1",
        "standard_name": "wind_speed",
        "long_name": "monthly mean scalar wind speed",
    },
    "qnet": {
        "units": "W m-2",
        "standard_name": "surface_downward_heat_flux_in_sea_water",
        "long_name": "net heat flux into the ocean, positive down",
    },
}


def build_surface(source: Path, hydrography: xr.Dataset) -> xr.Dataset:
    """Monthly surface forcing on the 2 degree grid."""
    lat, lon = cell_centres(SURFACE_STEP)
    salt = hydrography["absolute_salinity"]
    levels = GriddedVariable(salt.values[0], salt["lat"].values, salt["lon"].values)
    sss, _ = conservative_average(
        levels.values, levels.lat_edges, levels.lon_edges, *cell_faces(SURFACE_STEP)
    )
    fields = {
        "sst": build_sst(source, sss, lat, lon),
        "sss": sss,
        **build_wind(source, lat, lon),
        "qnet": build_heat_flux(source, lat, lon),
    }
    time = xr.Variable(
        "time",
        (np.arange(12) + 0.5) * 365.0 / 12.0,
        {
            "units": "days since 0001-01-01 00:00:00",
            "calendar": "noleap",
            "axis": "T",
            "standard_name": "time",
            "long_name": "middle of the month, climatological year",
        },
    )
    data = xr.Dataset(coords={"time": time, "lat": lat, "lon": lon})
    for name, values in fields.items():
        dims = ("time", "lat", "lon")[3 - values.ndim :]
        data[name] = (dims, values, SURFACE_ATTRIBUTES[name])
    data.attrs.update(
        title="Starter surface forcing of dogcm: monthly climatology",
        references="Levitus & Boyer (1994), World Ocean Atlas 1994, NOAA Atlas NESDIS 4; "
        "Levitus (1982), NOAA Prof. Paper 13; Woodruff et al. (1987), COADS; FNOC "
        "winds 1982-1992; Large & Pond (1981), "
        "doi:10.1175/1520-0485(1981)011<0324:OOMFMI>2.0.CO;2; Esbensen & Kushnir (1981)",
        comment="Land and gaps are filled: see PROVENANCE.md for the rules.",
        source_files="ocean_atlas_subset.nc levitus_climatology.cdf coads_climatology.cdf "
        "monthly_navy_winds.cdf esku_heat_budget.cdf etopo5.cdf etopo20.cdf",
    )
    return data


def build_bathymetry(source: Path) -> xr.Dataset:
    """Cell means of the elevation (m, positive up) on the 1/4 degree grid."""
    lat, lon = cell_centres(BATHYMETRY_STEP)
    data = xr.Dataset(coords={"lat": lat, "lon": lon})
    # Land heights are not needed, and their detail would take half of the file.
    elevation = np.minimum(mean_elevation(source, BATHYMETRY_STEP), LAND_CEILING)
    data["elevation"] = (
        ("lat", "lon"),
        elevation,
        {
            "units": "m",
            "standard_name": "height_above_mean_sea_level",
            "positive": "up",
            "long_name": f"mean elevation of the cell, cut at {LAND_CEILING:g} m on land",
        },
    )
    data.attrs.update(
        title="Starter bathymetry of dogcm: 1/4 degree mean elevation",
        references="NOAA National Geophysical Data Center (1988), ETOPO5, Data Announcement "
        "88-MGG-02, doi:10.7289/V5D798BF",
        comment="Area mean of the 1/12 degree points; ice sheets count as land, basins below sea "
        "level (Caspian) are still in it.",
        source_files="etopo5.cdf",
    )
    return data


# --- files -------------------------------------------------------------------------------------

#: Heights above this (m) are cut.
LAND_CEILING = 50.0
#: Packing as int16: name -> (scale_factor, add_offset); elevations are whole metres. Steps are
#: a tenth or less of the error of the data, since finer ones only store noise.
PACKING = {
    "elevation": (1.0, 0.0),
    "conservative_temperature": (0.005, 15.0),
    "absolute_salinity": (0.004, 20.0),
    "sst": (0.01, 15.0),
    "sss": (0.004, 20.0),
    "taux": (2e-4, 0.0),
    "tauy": (2e-4, 0.0),
    "wind_speed": (0.05, 0.0),
    "qnet": (0.5, 0.0),
}
COORDINATES = {
    "lat": {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"},
    "lon": {"units": "degrees_east", "standard_name": "longitude", "axis": "X"},
    "depth": {"units": "m", "standard_name": "depth", "axis": "Z", "positive": "down"},
}


def write(data: xr.Dataset, source: Path, path: Path) -> None:
    """Write one file: CF attributes, origin and checksums, int16 packing, zlib."""
    for name in data.coords:
        data[name].attrs.update(COORDINATES.get(str(name), {}))
    files = data.attrs.pop("source_files").split()
    sums = (f"{f} sha256 {hashlib.sha256((source / f).read_bytes()).hexdigest()}" for f in files)
    data.attrs.update(
        Conventions="CF-1.11",
        institution="NOAA (original data)",
        licence=LICENCE,
        source=f"{PACKAGE}: {', '.join(files)}",
        source_checksums="; ".join(sums),
        history="built by dogcm/setups/starter/build_starter_data.py",
    )
    encoding: dict[str, dict] = {str(n): {"_FillValue": None} for n in data.coords}
    for name in data.data_vars:
        scale, offset = PACKING[str(name)]
        packed = np.rint((data[name].values - offset) / scale)
        if not np.all(np.abs(packed) < 32767):
            raise ValueError(f"'{name}' is missing somewhere or does not fit its packing")
        encoding[str(name)] = {
            "dtype": "int16",
            "scale_factor": scale,
            "add_offset": offset,
            "zlib": True,
            "complevel": 9,
            "shuffle": True,
            "_FillValue": np.int16(-32768),
        }
    data.to_netcdf(path, encoding=encoding, format="NETCDF4", engine="netcdf4")
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Command line: the folder of the originals, and where to write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the original *.cdf files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    hydrography = build_hydrography(args.source)
    surface = build_surface(args.source, hydrography)
    write(build_bathymetry(args.source), args.source, args.out / "bathymetry.nc")
    write(hydrography, args.source, args.out / "hydrography.nc")
    write(surface, args.source, args.out / "surface.nc")


if __name__ == "__main__":
    main()
