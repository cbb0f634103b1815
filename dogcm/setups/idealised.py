"""Idealised oceans that need no data: shapes and winds by formula."""

from __future__ import annotations

import numpy as np


def two_basin_depth(horizontal, depth: float) -> np.ndarray:
    """Two basins joined by a re-entrant channel in the south, with a sill under it.

    A narrow and a wide basin, as in Ferreira, Marshall and Campin (2010,
    doi:10.1175/2009JCLI3197.1), with two thin continents that leave the south open.
    """
    coordinates = horizontal.coordinates()
    lat, lon = coordinates["lat"][0][:, None], coordinates["lon"][0][None, :]
    lon0 = horizontal.lon_edges[0]
    width = horizontal.lon_edges[1] - lon0
    wall_a, wall_b = np.abs(lon - lon0) <= width, np.abs(lon - lon0 - 100.0) <= width
    land = (wall_a & (lat > -52)) | (wall_b & (lat > -36))
    floor = np.full(np.broadcast_shapes(lat.shape, lon.shape), depth)
    sill = (lat < -40) & (np.abs(lon - lon0) < 2 * width)
    floor = np.where(sill, np.minimum(floor, 0.5 * depth), floor)
    return np.where(land, 0.0, floor)


def record(source: str, name: str, lat: np.ndarray, amplitude: float) -> np.ndarray:
    """One steady surface field (ny, nx) of the idealised set-ups, by latitude (degrees, or km, (ny,
    nx))."""
    ones = np.ones_like(lat)
    south, north = lat.min(), lat.max()
    phase = (lat - south) / (north - south or 1.0)  # one row is its own south
    if name == "taux":
        if source == "gyre":  # one subtropical gyre (Stommel 1948)
            return -amplitude * np.cos(np.pi * phase) * ones
        if source == "channel":
            return amplitude * np.sin(np.pi * phase) * ones
        return _westerlies(lat, amplitude) * ones
    if name == "tauy":
        return 0.0 * ones
    if name == "sst":
        if source == "channel":
            return (2.0 + 12.0 * phase) * ones
        return (27.0 * np.cos(np.deg2rad(lat)) ** 2) * ones
    if name == "sss":
        return (34.5 + 1.5 * np.cos(np.deg2rad(3 * lat)) ** 2 * (np.abs(lat) < 60)) * ones
    raise ValueError(f"no idealised {name} for {source}")


def channel_surface(horizontal, waves: float) -> np.ndarray:
    """Surface temperature (ny, nx), degC, of the channel's front: that of its restoring, and waves.

    Args:
        waves: amplitude (K) of each; lengths are parts of the channel's, so that a finer grid
            starts from the same waves.
    """
    ny, nx = horizontal.shape
    y, x = (np.arange(ny)[:, None] + 0.5) / ny, (np.arange(nx)[None, :] + 0.5) / nx
    rng = np.random.default_rng(0)
    lat = np.broadcast_to(np.asarray(horizontal.coordinates()["lat"][0], float)[:, None], (ny, nx))
    top = record("channel", "sst", lat, 0.0)
    for in_x in range(1, 9):
        for in_y in range(1, 9):
            size, start = rng.normal(), rng.random()
            top = top + waves * size * np.sin(2 * np.pi * (in_x * x + start)) * np.sin(
                np.pi * in_y * y
            )
    return top


def _westerlies(lat: np.ndarray, amplitude: float) -> np.ndarray:
    """Trades, westerlies and polar easterlies; strongest in the Southern Ocean."""
    knots = np.array([-90, -70, -47, -15, 0, 15, 45, 70, 90.0])
    values = np.array([0, 0, 1.6, -0.8, -0.2, -0.8, 0.9, 0, 0])
    dense = np.interp(np.linspace(-90, 90, 721), knots, values)
    smooth = np.convolve(np.pad(dense, 20, mode="edge"), np.ones(41) / 41, mode="valid")
    return amplitude * np.interp(lat, np.linspace(-90, 90, 721), smooth)
