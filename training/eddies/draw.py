"""Figures of the eddying channel, from the tables beside this script and OUTPUT/climate.npz.

python training/eddies/draw.py OUTPUT
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib
import numpy as np
from runs import HERE

matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS = {
    "truth": "k",
    "uncorrected": "tab:red",
    "network": "tab:blue",
    "leith": "tab:orange",
    "stop_gradient": "tab:green",
    "offline": "tab:purple",
    "zanna_bolton": "tab:cyan",
    "gent_mcwilliams": "tab:olive",
    "weak_leith": "tab:brown",
    "weaker_leith": "tab:pink",
    "persistence": "0.4",
    "climatology": "0.75",
}
UNITS = {"temperature": "K", "u": "m s$^{-1}$", "v": "m s$^{-1}$", "eta": "m"}


def colour(name: str) -> str:
    """One for each contender, whatever its seed."""
    return COLOURS.get(name.rstrip("_0123456789"), "0.5")


def forecasts() -> None:
    """Error by lead."""
    with open(HERE / "forecasts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    for ax, (name, unit) in zip(axes, UNITS.items()):
        mine = [r for r in rows if r["variable"] == name]
        for who in dict.fromkeys(r["contender"] for r in mine):
            line = [
                (float(r["lead_days"]), float(r["rmse"])) for r in mine if r["contender"] == who
            ]
            ax.plot(*zip(*line), "o-", ms=3, color=colour(who), label=who.replace("_", " "))
        ax.set(xlabel="days", title=f"{name} ({unit})", ylim=(0, None))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("root mean square error")
    axes[0].legend(fontsize=7)
    figure.savefig(HERE / "forecasts.png", dpi=110)


def end_to_end() -> None:
    """By how much other ways to train, and other closures, are behind the gradient of the whole
    rollout."""
    with open(HERE / "end_to_end.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    for ax, name in zip(axes, UNITS):
        mine = [r for r in rows if r["variable"] == name and r["contender"] != "network"]
        for who in dict.fromkeys(r["contender"] for r in mine):
            own = [r for r in mine if r["contender"] == who]
            days = [float(r["lead_days"]) for r in own]
            column = lambda key, own=own: [100 * float(r[key]) for r in own]
            ax.plot(days, column("excess"), "o-", ms=3, color=colour(who), label=who)
            band = column("excess_low"), column("excess_high")
            ax.fill_between(days, *band, color=colour(who), alpha=0.2, lw=0)
        ax.axhline(0, color="k", lw=0.8)
        ax.set(xlabel="days", title=name)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("error beyond the network's (%)")
    axes[0].legend(fontsize=7)
    figure.savefig(HERE / "end_to_end.png", dpi=110)


def climate(folder: Path) -> None:
    """Energy by time, depth and wavenumber, and one day's surface temperature."""
    with np.load(folder / "climate.npz") as data:
        found = {n: data[n] for n in data.files}
    runs = list(dict.fromkeys(n.split("/")[0] for n in found))
    figure, axes = pyplot.subplots(2, 3, figsize=(12, 7.5), layout="constrained")
    depth = np.cumsum([50, 80, 120, 180, 260, 360, 450, 500]) - 0.5 * np.array(
        [50, 80, 120, 180, 260, 360, 450, 500]
    )
    for run in runs:
        series, style = found[f"{run}/series"], {"color": colour(run), "lw": 1}
        axes[0, 0].plot(np.arange(series.size) * 2 / 365, series, label=run, **style)
        axes[0, 1].plot(found[f"{run}/eke"], depth, **style)
        power = found[f"{run}/spectrum"]
        axes[0, 2].loglog(np.arange(1, power.size + 1), power, **style)
    axes[0, 0].set(xlabel="years", ylabel="eddy kinetic energy (m$^2$ s$^{-2}$)", ylim=(0, None))
    axes[0, 0].legend(fontsize=6)
    axes[0, 1].set(
        xlabel="eddy kinetic energy (m$^2$ s$^{-2}$)", ylabel="depth (m)", xlim=(0, 0.04)
    )
    axes[0, 1].invert_yaxis()
    axes[0, 2].set(xlabel="zonal wavenumber", ylabel="surface power (m$^2$ s$^{-2}$)")
    shown = [r for r in ("truth", "uncorrected", "network_0") if r in runs]
    for ax, run in zip(axes[1], shown):
        image = ax.imshow(
            found[f"{run}/surface"], origin="lower", extent=(0, 1200, 0, 1200), vmin=2, vmax=14
        )
        ax.set(title=f"{run}: surface temperature, last day", xlabel="km", ylabel="km")
    figure.colorbar(image, ax=axes[1], label="degC", shrink=0.8)
    figure.savefig(HERE / "climate.png", dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    end_to_end()
    forecasts()
    climate(Path(sys.argv[1]))
