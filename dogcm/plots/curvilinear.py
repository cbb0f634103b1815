"""Maps of fields on rotated and tripolar grids: the globe by longitude and latitude, and the Arctic
from above."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dogcm.grid.curvilinear import unit
from dogcm.plots.style import LAND, cell_edges, colourbar_ends, draw_coast, label_axes, save

_SOUTHERNMOST = 55.0  # of the view from above (degrees north)


def on_parallels(
    values: np.ndarray, lat: np.ndarray, lon: np.ndarray, steps: tuple[int, int]
) -> tuple[np.ndarray, ...]:
    """The nearest value on a regular grid: (values, latitudes, longitudes).

    Args:
        values, lat, lon: (ny, nx), degrees. steps: (rows, columns) of the regular grid, which is
            global.
    """
    from scipy.spatial import cKDTree

    to_lat = -90.0 + 180.0 / steps[0] * (np.arange(steps[0]) + 0.5)
    to_lon = 360.0 / steps[1] * (np.arange(steps[1]) + 0.5)
    points = unit(lat, lon).reshape(-1, 3)
    distance, nearest = cKDTree(points).query(unit(to_lat[:, None], to_lon[None, :]).reshape(-1, 3))
    out = values.reshape(-1)[nearest]
    # Farther than two of its cells from every point lies what the grid does not cover.
    beyond = distance > 2 * np.sqrt(4 * np.pi / values.size)
    return np.where(beyond, np.nan, out).reshape(steps), to_lat, to_lon


def from_above(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polar stereographic coordinates (x to 90 degrees east, Greenwich downwards), 1 at the rim of
    the picture."""
    r = np.tan(np.deg2rad(90.0 - lat) / 2) / np.tan(np.deg2rad(90.0 - _SOUTHERNMOST) / 2)
    return r * np.sin(np.deg2rad(lon)), -r * np.cos(np.deg2rad(lon))


def draw_curvilinear_map(
    data, name: str, field, look, title: tuple[str, str], limits, target: Path
) -> Path:
    """One map of the surface; returns the picture's path.

    Args:
        field: (y, x) at some place of the C grid. look: :class:`dogcm.plots.style.Look`.
        title: left and right. limits: of the colours.
    """
    import cmocean
    import matplotlib.pyplot as plt

    at = {"x_u": "_u", "y_v": "_v"}
    suffix = "".join(at[d] for d in getattr(field, "dims", ()) if d in at)
    suffix = "_q" if len(suffix) > 2 else suffix
    lat, lon = (np.asarray(data[f"{n}{suffix}"].values) for n in ("lat", "lon"))
    values = np.where(np.abs(field.values) < 1e30, field.values, np.nan)
    ny, nx = values.shape
    raster, to_lat, to_lon = on_parallels(values, lat, lon, (max(2 * ny, 90), max(2 * nx, 180)))
    has_arctic = bool((lat > 85).any())
    figure, axes = plt.subplots(
        1,
        1 + has_arctic,
        figsize=(15.5 if has_arctic else 10, 5.0),
        layout="constrained",
        squeeze=False,
        width_ratios=[2, 1][: 1 + has_arctic],
    )
    paint = dict(
        cmap=getattr(cmocean.cm, look.colours), vmin=limits[0], vmax=limits[1], rasterized=True
    )
    ax = axes[0, 0]
    ax.set_facecolor(LAND)
    mesh = ax.pcolormesh(cell_edges(to_lon), cell_edges(to_lat), raster, **paint)
    draw_coast(ax, to_lon, to_lat, raster)
    label_axes(ax, "degrees_east", "degrees_north")
    ax.set_aspect("equal")
    ax.set_title(title[0], loc="left", fontsize=11)
    ax.set_title(title[1], loc="right", fontsize=9, color="0.35")
    if has_arctic:
        _arctic(axes[0, 1], data, values, lat, lon, suffix, paint)
    figure.colorbar(
        mesh, ax=axes, label=look.unit, extend=colourbar_ends(values, *limits), shrink=0.8, pad=0.01
    )
    return save(figure, target / f"{name}.png")


def _arctic(ax, data, values, lat, lon, suffix: str, paint: dict) -> None:
    """The north from above, on the cells themselves."""
    from matplotlib.collections import PolyCollection

    ax.set_facecolor(LAND)
    near = (lat > _SOUTHERNMOST - 12) & np.isfinite(values)
    if suffix:
        x, y = from_above(lat, lon)
        ax.scatter(x[near], y[near], c=values[near], s=4, **paint)
    else:
        corners = from_above(data["lat_bnds"].values[near], data["lon_bnds"].values[near])
        colours = {"cmap": paint["cmap"], "clim": (paint["vmin"], paint["vmax"])}
        cells = PolyCollection(
            np.stack(corners, axis=-1),
            array=values[near],
            rasterized=True,
            edgecolors="face",
            linewidths=0.2,
            **colours,
        )
        ax.add_collection(cells)
    for parallel in (60, 70, 80):
        ax.plot(
            *from_above(np.full(181, float(parallel)), np.linspace(0, 360, 181)),
            color="0.4",
            linewidth=0.4,
        )
    for meridian in range(0, 360, 60):
        ax.plot(
            *from_above(np.array([_SOUTHERNMOST, 85.0]), np.full(2, float(meridian))),
            color="0.4",
            linewidth=0.4,
        )
    ax.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[], aspect="equal")
    ax.set_title("Arctic", loc="left", fontsize=11)


__all__ = ["draw_curvilinear_map", "from_above", "on_parallels"]
