"""The figure of docs/grids.md: lines of a tripolar grid from above the north pole, and its smallest
cells.

python docs/make_grids_figure.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PolyCollection

from dogcm.plots.curvilinear import from_above
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

TARGET = Path(__file__).parent / "figures" / "tripolar_grid.png"


def main() -> None:
    config = load_config("global_tripolar_2deg")
    grid = inputs.horizontal_grid(config)
    wet = inputs.cell_thickness(config, grid, inputs.vertical_grid(config))[0] > 0
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 5), layout="constrained", width_ratios=[1, 1.25]
    )
    y = np.linspace(0, grid.ny - 0.5, 400)
    for i in range(0, grid.nx, 3):
        lat, lon, _ = grid.positions(y, float(i))
        left.plot(*from_above(lat, lon), color="tab:blue", linewidth=0.6)
    for j in [*range(grid.join_row - 9, grid.ny, 3), grid.ny - 0.5]:
        lat, lon, _ = grid.positions(float(j), np.linspace(0, grid.nx, 721))
        left.plot(
            *from_above(lat, lon),
            color="tab:red" if j == grid.ny - 0.5 else "tab:green",
            linewidth=0.8,
        )
    near = ~wet & (grid.points("c")[0] > 35.0)
    corners = np.stack(from_above(*(a[near] for a in grid.bounds())), axis=-1)
    left.add_collection(PolyCollection(corners, facecolors="0.85", edgecolors="0.85", zorder=0))
    left.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[], aspect="equal")
    left.set_title(
        "The north from above: grid lines every 6 degrees, land, and the fold (red)",
        fontsize=9,
        loc="left",
    )
    m = grid.metrics(np.arange(grid.ny), np.arange(grid.nx))
    size = np.where(wet, np.sqrt(m.area_c) / 1e3, np.nan)
    mesh = right.pcolormesh(size, cmap="viridis", rasterized=True)
    right.axhline(grid.join_row, color="white", linewidth=0.8)
    right.set(xlabel="column", ylabel="row")
    right.set_title("Width of cells (km); white: the join", fontsize=9, loc="left")
    figure.colorbar(mesh, ax=right)
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
