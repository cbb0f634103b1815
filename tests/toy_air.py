"""A made-up atmosphere in files, as reanalyses give it, and an ocean under it that is cold enough
for ice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

LAT, LON, MONTHS = np.arange(-88.0, 89.0, 4.0), np.arange(2.5, 360.0, 5.0), 12
FIELDS = (
    "wind_u",
    "wind_v",
    "air_temperature",
    "specific_humidity",
    "shortwave_down",
    "longwave_down",
    "precipitation",
    "snowfall",
    "runoff",
)
SMALL = {
    "grid.nx": 24,
    "grid.lat": [-76, 76],
    "initial.surface_temperature": 1.0,
    "initial.deep_temperature": -1.85,
    "initial.salinity": 33.0,
    "grid.ny": 18,
    "grid.layers": [20.0, 60.0, 200.0, 700.0, 1500.0],
    "bathymetry.depth": 1700.0,
    "time.step": 7200,
    "forcing.bulk": "ncar",
    "physics.sea_ice": "semtner",
    "physics.shortwave": "II",
    "forcing.balance_freshwater": True,
    "run.output": {},
}


def air() -> xr.Dataset:
    """Twelve months of air in the units of JRA-55 and ERA5."""
    lat = LAT[None, :, None] * np.ones((MONTHS, 1, LON.size))
    month = (np.arange(MONTHS) + 0.5)[:, None, None]
    wave = np.cos(np.deg2rad(3 * LON))[None, None, :]
    season = np.cos(2 * np.pi * (month - 1.0) / 12) * np.sin(
        np.deg2rad(lat)
    )  # of the north's winter
    t = 28.0 - 60.0 * np.sin(np.deg2rad(lat)) ** 2 - 8.0 * season + 2.0 * wave
    sun = np.maximum(330.0 * np.cos(np.deg2rad(lat)) - 120.0 * season, 0.0)
    cold = np.clip(1.0 - t / 4.0, 0.0, 1.0)
    rain = 3e-5 * (1.0 + np.cos(np.deg2rad(6 * lat))) + 5e-6
    values = {
        "wind_u": (8.0 * -np.cos(np.deg2rad(3 * lat)) + wave, "m s-1"),
        "wind_v": (2.0 * wave + 0 * lat, "m/s"),
        "air_temperature": (t + 273.15, "K"),
        "specific_humidity": (3.2e-3 * np.exp(0.067 * np.minimum(t, 30.0)), "kg kg-1"),
        "shortwave_down": (sun, "W m-2"),
        "longwave_down": (260.0 + 4.5 * t, "W m**-2"),
        "precipitation": (rain, "kg m-2 s-1"),
        "snowfall": (rain * cold, "kg m-2 s-1"),
        "runoff": (1e-8 * (np.abs(lat) < 20) * (wave > 0.9) + 0 * lat, "m s-1"),
    }
    axes = {
        "lat": ("lat", LAT, {"units": "degrees_north"}),
        "lon": ("lon", LON, {"units": "degrees_east"}),
        "month": ("month", np.arange(12.0), {"axis": "T"}),
    }
    return xr.Dataset(
        {n: (("month", "lat", "lon"), v, {"units": u}) for n, (v, u) in values.items()}, axes
    )


def write_air(folder: Path) -> dict:
    """The file and the settings that point at it."""
    path = Path(folder) / "air.nc"
    air().to_netcdf(path)
    return files(path)


def files(path) -> dict:
    return {"forcing.files": {n: {"path": str(path), "variable": n} for n in FIELDS}}
