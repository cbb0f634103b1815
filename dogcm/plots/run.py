"""Pictures of a run: maps of the surface, a zonal-mean section, and the monitor's time series."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dogcm.diagnostics.files import CIRCULATION_FILE, MONITOR_FILE
from dogcm.io.restart import is_restart_name
from dogcm.plots.circulation import circulation_pictures
from dogcm.plots.curvilinear import draw_curvilinear_map
from dogcm.plots.style import (
    LAND,
    Look,
    PlotError,
    cell_edges,
    colourbar_ends,
    date_label,
    draw_coast,
    experiment_of,
    extremes,
    label_axes,
    label_latitudes,
    open_dataset,
    save,
)

_DAY = 86400.0


LOOKS = {
    "temperature": Look("Sea surface temperature", "°C", "thermal", low=0, high=100),
    "salinity": Look("Sea surface salinity", "g kg$^{-1}$", "haline"),
    "eta": Look("Sea level", "m", "balance", symmetric=True, low=0.5, high=99.5),
    "speed": Look("Surface speed", "m s$^{-1}$", "speed", low=0),
    "u": Look("Eastward surface velocity", "m s$^{-1}$", "balance", symmetric=True),
    "v": Look("Northward surface velocity", "m s$^{-1}$", "balance", symmetric=True),
    "w": Look("Upward velocity below the first layer", "m s$^{-1}$", "balance", symmetric=True),
}
DEFAULT_MAPS = ("temperature", "salinity", "eta", "speed")


def pictures(
    folder: str | Path, variables: list[str] | None = None, file: str | None = None
) -> list[Path]:
    """Draw the pictures of an output folder into its ``pictures``.

    Args:
        folder: output folder of a run.
        variables: maps wanted (any variable of the file, or ``speed``); default: of
            :data:`DEFAULT_MAPS` those that are there, a section of temperature, the circulation,
            and the monitor.
        file: name of the netCDF file without ``.nc``; default: the first of means, then any other.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: no such folder, or no output in it. PlotError: no such variable.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder = Path(folder)
    path = _find(folder, file)
    target = folder / "pictures"
    target.mkdir(exist_ok=True)
    written = []
    if path is not None:
        with open_dataset(path) as data:
            names = variables or [n for n in DEFAULT_MAPS if _has(data, n)]
            written += [draw_map(data, name, target) for name in names]
            if variables is None and "temperature" in data:
                written.append(draw_section(data, "temperature", target))
    if variables is None and (folder / CIRCULATION_FILE).is_file():
        written += circulation_pictures(folder / CIRCULATION_FILE, target)
    if variables is None and (folder / MONITOR_FILE).is_file():
        written.append(draw_monitor(folder / MONITOR_FILE, target))
    return [p for p in written if p is not None]


def _find(folder: Path, file: str | None) -> Path | None:
    if not folder.is_dir():
        raise FileNotFoundError(f"no such output folder: {folder}")
    files = sorted(
        p
        for p in (*folder.glob("*.nc"), *folder.glob("*.zarr"))
        if not is_restart_name(p.name) and p.name != CIRCULATION_FILE
    )
    if file is not None:
        for path in files:
            if file in (path.name, path.stem):
                return path
        there = ", ".join(p.stem for p in files) or "no output file"
        raise FileNotFoundError(f"no {folder / file}; there: {there}")
    with_record = [p for p in files if _records(p)]
    if not with_record and not (folder / MONITOR_FILE).is_file():
        raise FileNotFoundError(
            f"{folder} holds no output file with a record (NAME.nc, NAME.zarr) and no monitor.csv"
        )
    return next(
        (p for p in with_record if p.stem == "monthly"), with_record[0] if with_record else None
    )


def _records(path: Path) -> int:
    with open_dataset(path) as data:
        return int(data.sizes.get("time", 0))


def _has(data, name: str) -> bool:
    return name in data or (name == "speed" and "u" in data and "v" in data)


# ---- maps
def surface(data, name: str):
    """The last record of a variable at the surface, ``(y, x)``; ``speed`` is computed at cell
    centres.

    Raises:
        PlotError: if the file has no such variable, or it is not a field.
    """
    if name == "speed" and "speed" not in data:
        return _speed(data)
    if name not in data:
        known = ", ".join(str(v) for v in data.data_vars if data[v].ndim >= 2)
        raise PlotError(f"no variable {name!r} in this file; it has {known}")
    field = data[name]
    if "time" in field.dims:
        field = field.isel(time=-1)
    while field.ndim > 2:
        field = field[0]
    if field.ndim != 2:
        raise PlotError(f"{name} has dimensions {data[name].dims}: it cannot be drawn as a map")
    return field.load()


def _speed(data):
    """Surface speed at cell centres from the means of opposite faces (m s-1)."""
    u, v = surface(data, "u"), surface(data, "v")
    wet = surface(data, "mask_c").values > 0
    east, north = np.nan_to_num(u.values), np.nan_to_num(v.values)
    east = 0.5 * (east + np.roll(east, -1, axis=1))
    # Beyond a north fold lies the last row itself, turned round.
    beyond = -north[-1:, ::-1] if data.attrs.get("north_fold") else 0 * north[:1]
    north = 0.5 * (north + np.concatenate([north[1:], beyond]))
    x, y = _axes(data["mask_c"])
    return _Plain(np.where(wet, np.hypot(east, north), np.nan), x, y)


@dataclass
class _Plain:
    """A field with its axes, as :func:`_axes` gives them."""

    values: np.ndarray
    x: tuple
    y: tuple


def _axes(field) -> tuple[tuple, tuple]:
    """((values, unit) of x, of y): the coordinates of the last two dimensions."""
    out = []
    for dim in field.dims[-2:]:
        if dim in field.coords:
            out.append(
                (np.asarray(field[dim].values, float), str(field[dim].attrs.get("units", "")))
            )
        else:
            out.append((np.arange(field.sizes[dim], dtype=float), "cells"))
    return out[1], out[0]


def colour_range(values: np.ndarray, look: Look) -> tuple[float, float]:
    """Limits of the colour bar: the percentiles that ``look`` names, never empty."""
    good = values[np.isfinite(values)]
    if good.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(good, [look.low, look.high])
    if look.symmetric:
        high = np.percentile(np.abs(good), look.high)
        low = -high
    if look.low == 0 and good.min() >= 0 and not look.symmetric:
        low = min(low, 0.0) if low < 0.2 * high else low
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def draw_map(data, name: str, target: Path) -> Path:
    """One map of the surface; returns the picture's path."""
    import cmocean
    import matplotlib.pyplot as plt

    field = surface(data, name)
    if "lat_bnds" in data.variables:
        look, values = (
            _look(data, name),
            np.where(np.abs(field.values) < 1e30, field.values, np.nan),
        )
        title = f"{look.title}, {_when(data, name)}", f"{extremes(values)}   {experiment_of(data)}"
        return draw_curvilinear_map(
            data, name, field, look, title, colour_range(values, look), target
        )
    (x, x_unit), (y, y_unit) = (field.x, field.y) if isinstance(field, _Plain) else _axes(field)
    look = _look(data, name)
    values = np.where(np.abs(field.values) < 1e30, field.values, np.nan)
    low, high = colour_range(values, look)
    aspect = (y[-1] - y[0]) / (x[-1] - x[0]) if len(x) > 1 and len(y) > 1 else 0.5
    width = 10.0 if aspect < 0.8 else 7.0
    figure, ax = plt.subplots(
        figsize=(width, float(np.clip(width * aspect * 0.86 + 1.0, 3.0, 9.0))), layout="constrained"
    )
    colours = getattr(cmocean.cm, look.colours).copy()
    ax.set_facecolor(LAND)
    mesh = ax.pcolormesh(
        cell_edges(x), cell_edges(y), values, cmap=colours, vmin=low, vmax=high, rasterized=True
    )
    draw_coast(ax, x, y, values)
    label_axes(ax, x_unit, y_unit)
    ax.set_aspect("equal")
    ax.set_title(f"{look.title}, {_when(data, name)}", loc="left", fontsize=11, pad=18)
    # Below the title: a square ocean has no room for both in one line.
    told = f"{extremes(values)}   {experiment_of(data)}"
    ax.text(
        1, 1.01, told, transform=ax.transAxes, ha="right", va="bottom", fontsize=9, color="0.35"
    )
    figure.colorbar(
        mesh,
        ax=ax,
        label=look.unit,
        extend=colourbar_ends(values, low, high),
        shrink=0.86,
        pad=0.02,
    )
    return save(figure, target / f"{name}.png")


def _look(data, name: str) -> Look:
    if name in LOOKS:
        return LOOKS[name]
    attributes = data[name].attrs
    title = str(attributes.get("long_name", name))
    return Look(title[:1].upper() + title[1:], str(attributes.get("units", "")), "haline")


def _when(data, name: str) -> str:
    """The date of the last record, with its interval where it is a mean."""
    if "time" not in data:
        return "steady"
    bounds = data["time"].attrs.get("bounds")
    if bounds in data.variables and "mean" in str(
        data.get(name, data["time"]).attrs.get("cell_methods", "mean")
    ):
        first, last = (date_label(t) for t in np.ravel(data[bounds].isel(time=-1).values))
        return f"mean {first} to {last}"
    return date_label(data["time"].values[-1])


# ---- section
def zonal_mean(field: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over x of ``(z, y, x)`` where there is water, NaN where there is none.

    Args:
        weights: e.g. layer thickness, same shape: partial cells then count for what they hold.
    """
    wet = np.isfinite(field)
    weight = np.where(wet, 1.0 if weights is None else np.nan_to_num(weights), 0.0)
    total = weight.sum(-1)
    mean = np.where(wet, field, 0.0) * weight
    return np.where(total > 0, mean.sum(-1) / np.where(total > 0, total, 1.0), np.nan)


def draw_section(data, name: str, target: Path) -> Path | None:
    """Zonal mean over latitude and depth, above and below 1000 m; None for a field without
    depth."""
    import matplotlib.pyplot as plt

    field = data[name].isel(time=-1) if "time" in data[name].dims else data[name]
    if field.ndim != 3:
        return None
    values = zonal_mean(np.asarray(field.values, float), _thickness(data, field.shape))
    depth, (_, (y, y_unit)) = _depths(field), _axes(field)
    look = LOOKS.get(name) or _look(data, name)
    edges = np.maximum(cell_edges(depth), 0.0)
    split = 1000.0 if depth.max() > 1500 else float(edges[len(edges) // 2])
    figure, axes = plt.subplots(2, 1, figsize=(9, 5.6), sharex=True, layout="constrained")
    for ax, (top, bottom) in zip(axes, ((0.0, split), (split, float(edges[-1])))):
        rows = (edges[1:] > top) & (edges[:-1] < bottom)
        _panel(figure, ax, y, depth, edges, values, rows, look)
        ax.set_ylim(bottom, top)
        ax.set_ylabel("depth (m)")
    label_latitudes(axes[1], y_unit)
    long_name = str(field.attrs.get("long_name", name))
    axes[0].set_title(
        f"{'Zonal' if y_unit != '1' else 'Row'}-mean {long_name.lower()}, {_when(data, name)}",
        loc="left",
        fontsize=11,
    )
    axes[0].set_title(experiment_of(data), loc="right", fontsize=9, color="0.35")
    return save(figure, target / f"{name}_section.png")


def _panel(figure, ax, y, depth, edges, values, rows, look: Look) -> None:
    """Part of the depths with colours of its own: the deep ocean would be of one colour
    otherwise."""
    import cmocean

    low, high = colour_range(values[rows], look)
    ax.set_facecolor(LAND)
    mesh = ax.pcolormesh(
        cell_edges(y), edges, values, cmap=getattr(cmocean.cm, look.colours), vmin=low, vmax=high
    )
    near = np.flatnonzero(rows)
    near = slice(max(near[0] - 1, 0), near[-1] + 2)
    if np.isfinite(values[near]).sum() > 8 and values[near].shape[0] > 1 and len(y) > 1:
        lines = ax.contour(
            y, depth[near], values[near], levels=_levels(low, high), colors="k", linewidths=0.5
        )
        for label in ax.clabel(lines, fmt="%g", fontsize=7):
            label.set_clip_on(True)
    figure.colorbar(
        mesh, ax=ax, label=look.unit, pad=0.02, extend=colourbar_ends(values[rows], low, high)
    )


def _thickness(data, shape: tuple[int, ...]) -> np.ndarray | None:
    same = "h_c" in data and data["h_c"].shape == shape
    return np.asarray(data["h_c"].values, float) if same else None


def _depths(field) -> np.ndarray:
    """Depths of the levels, positive down (m)."""
    dim = field.dims[0]
    values = (
        np.asarray(field[dim].values, float)
        if dim in field.coords
        else np.arange(field.sizes[dim], dtype=float)
    )
    return np.abs(values)


def _levels(low: float, high: float) -> np.ndarray:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=10).tick_values(low, high)


# ---- monitor
# --------------------------------------------------------------------------------------- name,
# title, unit, and how it is drawn: its value, its change, or its change relative to the first line.
_PANELS = (
    ("temperature", "mean temperature", "°C", "change"),
    ("salinity", "mean salinity", "g kg$^{-1}$", "change"),
    ("volume", "volume", "m$^3$", "relative"),
    ("kinetic_energy", "kinetic energy", "J m$^{-3}$", "value"),
    ("speed", "largest speed", "m s$^{-1}$", "value"),
    ("cfl", "largest Courant number", "", "value"),
    ("sst", "mean surface temperature", "°C", "value"),
    ("enstrophy", "enstrophy", "s$^{-2}$", "value"),
)


def read_monitor(path: Path) -> dict[str, np.ndarray]:
    """Columns of a monitor file; lines starting with # are remarks.

    Raises:
        PlotError: if it is not a table of numbers with a ``time`` column.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    columns: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            try:
                columns.setdefault(key, []).append(float(value))
            except (TypeError, ValueError):
                columns.setdefault(key, []).append(np.nan)
    if not rows or not any(k.startswith("time") for k in columns):
        raise PlotError(f"{path} holds no monitor lines (a table with a column time is expected)")
    return {k: np.asarray(v) for k, v in columns.items()}


def draw_monitor(path: Path, target: Path) -> Path:
    """Time series of the monitor. Slow quantities are drawn as change since the first line."""
    import matplotlib.pyplot as plt

    columns = read_monitor(path)
    days = (
        columns["time"] / _DAY
        if "time" in columns
        else columns[next(k for k in columns if k.startswith("time"))]
    )
    years = days[-1] - days[0] > 1095
    x, label = (days / 365.0, "model year") if years else (days, "model day")
    panels = [p for p in _PANELS if p[0] in columns]
    figure, axes = plt.subplots(
        -(-len(panels) // 2), 2, figsize=(10, 7), sharex=True, layout="constrained", squeeze=False
    )
    marker = "." if len(x) < 60 else None
    for ax, (name, title, unit, how) in zip(axes.flat, panels):
        values, first = columns[name], columns[name][0]
        if how == "change":
            values, title, unit = values - first, f"{title}: change from {first:.6g} {unit}", unit
        elif how == "relative" and first:
            values, title, unit = (
                values / first - 1.0,
                f"{title}: relative change from {first:.4g} {unit}",
                "",
            )
        ax.plot(x, values, marker=marker, linewidth=1.2, color="tab:blue")
        ax.set_title(
            f"{title} ({unit})" if unit and how == "value" else title, fontsize=10, loc="left"
        )
        ax.grid(alpha=0.3)
        ax.margins(x=0.01)
    for ax in axes[-1]:
        ax.set_xlabel(label)
    return save(figure, target / "monitor.png")
