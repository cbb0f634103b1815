"""Pictures of ``diagnostics.nc``: overturning, barotropic stream function, heat transport,
sections, mixed layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dogcm.plots.style import (
    LAND,
    cell_edges,
    date_label,
    draw_coast,
    experiment_of,
    label_axes,
    label_latitudes,
    open_dataset,
    save,
)

SVERDRUP, PETAWATT, YEAR = 1e6, 1e15, 366.0
_TITLES = {
    "global": "Global",
    "atlantic": "Atlantic and Arctic",
    "indo_pacific": "Indian and Pacific",
    "indian": "Indian",
    "pacific": "Pacific",
}
_COLOURS = {
    "global": "black",
    "atlantic": "tab:blue",
    "indo_pacific": "tab:red",
    "indian": "tab:orange",
    "pacific": "tab:purple",
}


def circulation_pictures(path: Path, target: Path) -> list[Path]:
    """Draw all that a diagnostics file holds into ``target``: means over its last year; returns the
    pictures."""
    with open_dataset(path) as data:
        if not data.sizes.get("time"):
            return []
        last = _last_year(data)
        written = [
            draw_overturning(last, "overturning", target),
            draw_streamfunction(last, target),
            draw_heat_transport(last, target),
            draw_mixed_layer(last, target),
        ]
        if "overturning_density" in data:
            written.append(draw_overturning(last, "overturning_density", target))
        if "section_volume" in data:
            written.append(draw_sections(data, target))
    return written


def _last_year(data):
    """The records of the last 366 days."""
    days = np.array([_day(b) for b in data["time_bnds"].values[:, 0]])
    end = _day(data["time_bnds"].values[-1, 1])
    return data.isel(time=np.flatnonzero(days >= end - YEAR))


def _day(value) -> float:
    """Model day of a decoded time."""
    if hasattr(value, "toordinal") or hasattr(value, "calendar"):
        import cftime

        return float(
            cftime.date2num(
                value, "days since 0001-01-01", calendar=getattr(value, "calendar", "standard")
            )
        )
    if np.issubdtype(np.asarray(value).dtype, np.datetime64):
        return float((np.datetime64(value) - np.datetime64("0001-01-01")) / np.timedelta64(1, "D"))
    return float(value)


def _interval(data) -> str:
    bounds = data["time_bnds"].values
    return f"mean {date_label(bounds[0, 0])} to {date_label(bounds[-1, 1])}"


def _names(data, axis: str) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in data[f"{axis}_name"].values]


def _mean(field) -> np.ndarray:
    return np.asarray(field.values, float).mean(axis=0)


def _levels(values: np.ndarray, steps=(0.5, 1.0, 2.0, 4.0, 5.0, 10.0, 20.0, 50.0)) -> np.ndarray:
    """Round contour levels, symmetric about 0 and without it: up to about 9 on each side."""
    good = np.abs(values[np.isfinite(values)])
    largest = float(np.percentile(good, 99.7)) if good.size else 1.0
    step = next(
        (s for s in steps if largest / s <= 9), steps[-1] * np.ceil(largest / steps[-1] / 9)
    )
    count = max(int(np.ceil(largest / step)), 1)
    return np.concatenate([np.arange(-count, 0), np.arange(1, count + 1)]) * step


def _contours(ax, x, y, values, levels):
    """Filled and labelled contours; returns what the colour bar needs."""
    import cmocean

    # The middle colour spans 0 on both sides.
    filled = ax.contourf(x, y, values, levels=levels, cmap=cmocean.cm.balance, extend="both")
    lines = ax.contour(x, y, values, levels=levels, colors="k", linewidths=0.5)
    for label in ax.clabel(lines, fmt="%g", fontsize=7):
        label.set_clip_on(True)
    ax.contour(x, y, values, levels=[0.0], colors="0.35", linewidths=0.9)
    return filled


def draw_overturning(data, name: str, target: Path) -> Path:
    """Stream function by basin (Sv) over latitude, and depth or density."""
    import matplotlib.pyplot as plt

    names = _names(data, "basin")
    axis, y_name = data[name].dims[2:]
    psi, y, z = _mean(data[name]) / SVERDRUP, data[y_name].values, data[axis].values
    shown = [m for m in range(len(names)) if np.isfinite(psi[m]).any()]
    figure, axes = plt.subplots(
        len(shown),
        1,
        figsize=(9, 2.9 * len(shown) + 0.4),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    place, ticks = (
        (_stretched(z), _depth_ticks(z)) if axis == "zw" else (_ranked(z), _density_ticks(z))
    )
    for ax, m in zip(axes[:, 0], shown):
        deep = psi[m] if axis != "zw" else np.where(z[:, None] >= 400, psi[m], np.nan)
        levels = _levels(deep)
        ax.set_facecolor(LAND)
        filled = _contours(ax, y, place, psi[m], levels)
        figure.colorbar(
            filled, ax=ax, label="Sv", pad=0.02, ticks=levels[:: max(1, levels.size // 8)]
        )
        ax.set_ylim(place[-1], place[0])
        ax.set_yticks(ticks[0], ticks[1])
        ax.set_ylabel("depth (m)" if axis == "zw" else r"$\sigma$ (kg m$^{-3}$)")
        ax.set_title(_TITLES.get(names[m], names[m]), loc="left", fontsize=10)
        ax.set_title(_strongest(psi[m], y, z, axis), loc="right", fontsize=8, color="0.35")
        rows = np.flatnonzero(np.isfinite(psi[m]).any(axis=0))
        ax.set_xlim(*((y[rows[0]], y[rows[-1]]) if len(shown) == 1 else (y[0], y[-1])))
    label_latitudes(axes[-1, 0], str(data[y_name].attrs.get("units", "")))
    what = "Overturning stream function" + (" in density classes" if axis != "zw" else "")
    figure.suptitle(
        f"{what}, {_interval(data)}   {experiment_of(data)}", fontsize=10, x=0.01, ha="left"
    )
    return save(figure, target / f"{name}.png")


def _strongest(psi: np.ndarray, y: np.ndarray, z: np.ndarray, axis: str) -> str:
    """Largest and smallest values and their latitudes, below the surface cells."""
    deep = psi if axis != "zw" else np.where(z[:, None] >= 400, psi, np.nan)
    if not np.isfinite(deep).any():
        return ""
    text = []
    for value, index in (
        (np.nanmax(deep), np.nanargmax(deep)),
        (np.nanmin(deep), np.nanargmin(deep)),
    ):
        k, j = np.unravel_index(index, deep.shape)
        where = f"{z[k]:.0f} m" if axis == "zw" else f"{z[k]:.2f}"
        text.append(f"{value:+.1f} Sv at {y[j]:.0f}°, {where}")
    return ("below 400 m: " if axis == "zw" else "") + "; ".join(text)


def _stretched(depth: np.ndarray) -> np.ndarray:
    """The upper 1000 m as tall as what lies below."""
    bottom = depth[-1]
    if bottom <= 1500:
        return depth
    return np.where(depth <= 1000, depth / 1000, 1 + (depth - 1000) / (bottom - 1000))


def _depth_ticks(depth: np.ndarray) -> tuple[np.ndarray, list[str]]:
    bottom = depth[-1]
    values = np.array([v for v in (0, 250, 500, 750, 1000, 2000, 3000, 4000, 5000) if v <= bottom])
    if bottom <= 1500:
        return values, [f"{v:g}" for v in values]
    return np.where(values <= 1000, values / 1000, 1 + (values - 1000) / (bottom - 1000)), [
        f"{v:g}" for v in values
    ]


def _ranked(sigma: np.ndarray) -> np.ndarray:
    """Classes of equal height: they are finer where the ocean is nearly uniform."""
    return np.arange(len(sigma), dtype=float)


def _density_ticks(sigma: np.ndarray) -> tuple[np.ndarray, list[str]]:
    every = max(1, len(sigma) // 9)
    return np.arange(len(sigma))[::every], [f"{s:g}" for s in sigma[::every]]


def draw_streamfunction(data, target: Path) -> Path:
    """Map of the barotropic stream function (Sv)."""
    import cmocean
    import matplotlib.pyplot as plt

    psi = _mean(data["barotropic_streamfunction"]) / SVERDRUP
    y_name, x_name = data["barotropic_streamfunction"].dims[1:]
    x, y = data[x_name].values, data[y_name].values
    wet = (
        np.asarray(data["basin_mask"].values[_names(data, "basin").index("global")]) > 0
        if "global" in _names(data, "basin")
        else np.isfinite(_mean(data["mixed_layer_depth"]))
    )
    xc, yc = (data[d].values for d in data["mixed_layer_depth"].dims[:0:-1])
    # Corners along the eastern end and the northern wall, where the file has none.
    psi, x = np.hstack([psi, psi[:, :1]]), np.append(x, 2 * x[-1] - x[-2])
    psi, y = np.vstack([psi, 0 * psi[:1]]), np.append(y, 2 * y[-1] - y[-2])
    spherical = str(data[x_name].attrs.get("units", "")).startswith("degree")
    figure, ax = plt.subplots(figsize=(10, 4.9), layout="constrained")
    positive, negative = np.nanmax(psi), np.nanmin(psi)
    step = next((s for s in (1, 2, 5, 10, 20) if max(positive, -negative) / s <= 22), 50)
    levels = np.arange(np.floor(negative / step), np.ceil(positive / step) + 1) * step
    bound = max(positive, -negative)
    filled = ax.contourf(x, y, psi, levels=levels, cmap=cmocean.cm.balance, vmin=-bound, vmax=bound)
    lines = ax.contour(x, y, psi, levels=levels, colors="k", linewidths=0.4)
    for label in ax.clabel(lines, levels[::2], fmt="%g", fontsize=7):
        label.set_clip_on(True)
    land = np.where(wet, np.nan, 1.0)
    from matplotlib.colors import ListedColormap

    ax.pcolormesh(
        cell_edges(xc), cell_edges(yc), land, cmap=ListedColormap([LAND]), zorder=3, rasterized=True
    )
    draw_coast(ax, xc, yc, np.where(wet, 1.0, np.nan))
    ax.collections[-1].set_zorder(4)
    label_axes(
        ax, str(data[x_name].attrs.get("units", "")), str(data[y_name].attrs.get("units", ""))
    )
    if spherical:
        ax.set_aspect("equal")
    ax.set_xlim(cell_edges(xc)[[0, -1]])
    ax.set_ylim(cell_edges(yc)[[0, -1]])
    ax.set_title(f"Barotropic stream function, {_interval(data)}", loc="left", fontsize=11)
    ax.set_title(
        f"{negative:.0f} to {positive:.0f} Sv   {experiment_of(data)}",
        loc="right",
        fontsize=9,
        color="0.35",
    )
    figure.colorbar(filled, ax=ax, label="Sv", shrink=0.86, pad=0.02)
    return save(figure, target / "barotropic_streamfunction.png")


def draw_heat_transport(data, target: Path) -> Path:
    """Northward transports of heat (PW) and fresh water (Sv) by basin; dashed: the part by
    diffusion and eddies."""
    import matplotlib.pyplot as plt

    y_name = data["heat_transport"].dims[2]
    y, names = data[y_name].values, _names(data, "basin")
    heat, eddy = (
        _mean(data["heat_transport"]) / PETAWATT,
        _mean(data["heat_transport_diffusive"]) / PETAWATT,
    )
    fresh = _mean(data["freshwater_transport"]) / 1e9
    figure, axes = plt.subplots(2, 1, figsize=(9, 6.4), sharex=True, layout="constrained")
    for m, name in enumerate(names):
        colour, title = _COLOURS.get(name), _TITLES.get(name, name)
        axes[0].plot(y, heat[m], color=colour, label=title)
        axes[0].plot(y, eddy[m], color=colour, linestyle="--", linewidth=0.9)
        axes[1].plot(y, fresh[m], color=colour)
    axes[0].plot(
        [], [], color="0.4", linestyle="--", linewidth=0.9, label="by diffusion and eddies"
    )
    axes[0].set_ylabel("heat (PW)")
    axes[1].set_ylabel("fresh water (10$^9$ kg s$^{-1}$)")
    for ax in axes:
        ax.axhline(0, color="0.6", linewidth=0.8)
        ax.grid(alpha=0.3)
        ax.margins(x=0.0)
    axes[0].legend(fontsize=8, ncols=2)
    label_latitudes(axes[1], str(data[y_name].attrs.get("units", "")))
    axes[0].set_title(f"Northward transports, {_interval(data)}", loc="left", fontsize=11)
    axes[0].set_title(experiment_of(data), loc="right", fontsize=9, color="0.35")
    return save(figure, target / "heat_transport.png")


def draw_sections(data, target: Path) -> Path:
    """Volume transport (Sv) through each section over time, with its mean of the last year."""
    import matplotlib.pyplot as plt

    names = _names(data, "section")
    days = np.array([_day(t) for t in data["time"].values])
    last = _last_year(data)["section_volume"].values.mean(axis=0) / SVERDRUP
    x, label = (days / 365.0, "model year") if np.ptp(days) > 1095 else (days, "model day")
    columns = 2
    figure, axes = plt.subplots(
        -(-len(names) // columns),
        columns,
        figsize=(10, 1.5 * -(-len(names) // columns) + 0.8),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for m, (ax, name) in enumerate(zip(axes.flat, names)):
        ax.plot(
            x,
            data["section_volume"].values[:, m] / SVERDRUP,
            marker="." if len(x) < 60 else None,
            linewidth=1.1,
        )
        ax.axhline(0, color="0.6", linewidth=0.8)
        ax.set_title(f"{name.replace('_', ' ')}: {last[m]:.2f} Sv", fontsize=9, loc="left")
        ax.grid(alpha=0.3)
        ax.margins(x=0.01)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax in axes[-1]:
        ax.set_xlabel(label)
    figure.suptitle(
        f"Volume transports (Sv), titles: mean of the last year   {experiment_of(data)}",
        fontsize=10,
    )
    return save(figure, target / "section_transports.png")


def draw_mixed_layer(data, target: Path) -> Path:
    """Map of the deepest mean of an interval within the last year."""
    import cmocean
    import matplotlib.pyplot as plt

    field = data["mixed_layer_depth"]
    deepest = np.asarray(field.values, float).max(axis=0)
    (y_name, x_name) = field.dims[1:]
    x, y = data[x_name].values, data[y_name].values
    figure, ax = plt.subplots(figsize=(10, 4.9), layout="constrained")
    ax.set_facecolor(LAND)
    high = float(np.nanpercentile(deepest, 99)) if np.isfinite(deepest).any() else 1.0
    from matplotlib.colors import LogNorm

    norm = LogNorm(vmin=max(10.0, float(np.nanmin(deepest))), vmax=max(high, 20.0))
    mesh = ax.pcolormesh(
        cell_edges(x), cell_edges(y), deepest, cmap=cmocean.cm.deep, norm=norm, rasterized=True
    )
    draw_coast(ax, x, y, deepest)
    units = (str(data[n].attrs.get("units", "")) for n in (x_name, y_name))
    label_axes(ax, *units)
    ax.set_aspect("equal")
    bounds = data["time_bnds"].values
    ax.set_title(
        f"Mixed-layer depth, deepest of {len(bounds)} intervals from {date_label(bounds[0, 0])} to "
        f"{date_label(bounds[-1, 1])}",
        loc="left",
        fontsize=11,
    )
    ax.set_title(experiment_of(data), loc="right", fontsize=9, color="0.35")
    bar = figure.colorbar(mesh, ax=ax, label="m", extend="max", shrink=0.86, pad=0.02)
    ticks = [
        t for t in (10, 20, 50, 100, 200, 500, 1000, 2000, 4000) if norm.vmin <= t <= norm.vmax
    ]
    bar.set_ticks(ticks, labels=[str(t) for t in ticks])
    bar.minorticks_off()
    return save(figure, target / "mixed_layer_depth.png")


__all__ = ["circulation_pictures"]
