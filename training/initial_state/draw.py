"""Table and figure of a finished run: ``python training/initial_state/draw.py
[output/initial_state]``.

Writes ``recovered.csv`` and ``recovered.png`` here.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib
import numpy as np

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
#: Where the truth is smaller (K) there is nothing that a correlation could be of.
NOTHING = 0.01


def main(run: Path) -> None:
    setup, trained = dogcm.trained_in(run)
    recipe = setup.recipe
    changes = setup.problem.initial.changes(trained["initial"], setup.model.halos, setup.model.grid)
    found = np.asarray(changes["temperature"].data, np.float64)
    true = sum(
        np.asarray(dogcm.blob_field(b, setup.model).data, np.float64) for b in recipe.targets.blobs
    )
    grid = setup.model.grid
    area = np.asarray((grid.area_c * grid.wet_c).interior, np.float64)
    volume = np.asarray(grid.h_c.interior, np.float64) * area
    rows = [
        row(f"{z:.0f} m", true[k], found[k], volume[k]) for k, z in enumerate(np.ravel(grid.z_c))
    ]
    rows.append(row("all depths", true, found, volume))
    heat = [(x * np.asarray(grid.h_c.interior)).sum(0) for x in (true, found)]
    rows.append(row("integral over depth", *heat, area))
    with open(HERE / "recovered.csv", "w", newline="") as f:
        head = (
            "where",
            "rms of the truth",
            "rms of the error",
            "correlation",
            "amplitude (regression on the truth)",
        )
        csv.writer(f).writerows([head, *rows])
    print(*rows, sep="\n")
    draw(grid, true, found, heat, recipe.targets.blobs)


def row(where: str, true, found, weight) -> tuple:
    """Weighted over the globe. No mean is removed: these are differences from the background, whose
    error is the truth."""
    dot = lambda a, b: float((weight * a * b).sum() / weight.sum())
    size, error = dot(true, true) ** 0.5, dot(found - true, found - true) ** 0.5
    if size < NOTHING:
        return (where, f"{size:.3f}", f"{error:.3f}", "", "")
    correlation = dot(true, found) / size / dot(found, found) ** 0.5
    return (
        where,
        f"{size:.3f}",
        f"{error:.3f}",
        f"{correlation:.2f}",
        f"{dot(true, found) / size**2:.2f}",
    )


def draw(grid, true, found, heat, blobs) -> None:
    import cmocean

    lon, lat = np.asarray(grid.lon_c.interior)[0], np.asarray(grid.lat_c.interior)[:, 0]
    z, mask = np.ravel(grid.z_c), np.asarray(grid.mask_c.interior) > 0
    look = dict(cmap=cmocean.cm.balance, shading="nearest")
    fig, axes = plt.subplots(2, 3, figsize=(13, 6), layout="constrained", width_ratios=(2, 1, 1))
    first, second = blobs[0], blobs[-1]
    for line, (name, values, column) in zip(
        axes, (("truth", true, heat[0]), ("recovered", found, heat[1]))
    ):
        top = np.abs(heat[0]).max() / 100
        mesh = line[0].pcolormesh(
            lon, lat, np.where(mask[0], column / 100, np.nan), vmin=-top, vmax=top, **look
        )
        fig.colorbar(mesh, ax=line[0], label="integral over depth (100 K m)")
        line[0].set_title(name, loc="left")
        for ax, blob in zip(line[1:], (first, second)):
            j = int(np.argmin(np.abs(lat - blob.lat)))
            near = np.abs(lon - blob.lon) < 40
            section = np.where(mask[:, j, near], values[:, j, near], np.nan)
            mesh = ax.pcolormesh(lon[near], z, section, vmin=-1, vmax=1, **look)
            ax.set(ylim=(3500, 0), ylabel="depth (m)", title=f"{lat[j]:.0f} degrees north")
            ax.set_facecolor("0.75")
        fig.colorbar(mesh, ax=line[2], label="K")
        line[0].set_facecolor("0.75")
    fig.savefig(HERE / "recovered.png", dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/initial_state"))
