"""How good the truth is, and what it looks like.

    python training/memory_closure/verify_truth.py converge [--output FOLDER]
    python training/memory_closure/verify_truth.py check
    python training/memory_closure/verify_truth.py draw

``converge`` computes cases on several grids and writes ``convergence.csv``. ``check`` writes
``checks.csv``: mass, divergence and positivity of each file of `truth`. ``draw`` writes
``truth.png`` from ``truth.nc``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib
import netCDF4
import numpy as np
from plane import CoarsePlane
from room import load_room
from transport import plane_levels
from truth import GRIDS, HERE, Maker, families

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COMPARED = (  # grid, finer grid, how many cases
    ("draft", "fine", 27),
    ("standard", "fine", 27),
)
TIMES = (60, 120, 300, 600)


def plumes_on(grid: str, cases: int, folder: Path) -> np.ndarray:
    """Concentrations of the first ``cases`` on the plane at `TIMES`, (case, time, y, x)."""
    room = load_room()
    family = families(room)["truth"]
    maker, planes = Maker(folder, grid), []
    cells = maker.flow(room).cells
    plane = CoarsePlane(cells, plane_levels(cells, room.plane.height, room.plane.thickness), 0.5)
    for number, case in enumerate(family.cases[:cases]):
        plume = maker.plume(room, case.sources, family.seconds, family.every)
        planes.append(plane.concentration(plume.plane[[round(t / family.every) for t in TIMES]]))
        print(f"{grid}: {number + 1} of {cases}", flush=True)
    return np.stack(planes)


def differences(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Sum of differences over the sum of ``b``, correlation of logarithms where there is more than
    a thousandth of the largest, and ratio of mass."""
    seen = b > 1e-3 * b.max()
    logs = np.corrcoef(np.log(a[seen] + 1e-12), np.log(b[seen] + 1e-12))[0, 1]
    return np.abs(a - b).sum() / b.sum(), logs, a.sum() / b.sum()


def converge(folder: Path) -> None:
    """Differences of coarser from finer grids, flow and tracer together: medians over cases."""
    with (HERE / "convergence.csv").open("w", newline="") as file:
        table = csv.writer(file)
        names = ["relative_l1", "correlation_of_logs", "mass_ratio"]
        table.writerow(["spacing_m", "reference_m", "cases", "time_s", *names])
        for coarse, fine, cases in COMPARED:
            a, b = (plumes_on(grid, cases, folder) for grid in (coarse, fine))
            spacings = [f"{GRIDS[grid][-1][0]:.3g}" for grid in (coarse, fine)]
            for i, t in enumerate(TIMES):
                found = np.median([differences(*pair) for pair in zip(a[:, i], b[:, i])], 0)
                table.writerow([*spacings, cases, t, *(f"{n:.4f}" for n in found)])
            file.flush()


def check() -> None:
    """What each file says of its own mass, divergence and sign."""
    with (HERE / "checks.csv").open("w", newline="") as out:
        table = csv.writer(out)
        names = ["family", "cases", "mass_error", "lowest", "divergence_error_per_s", "exhausted"]
        table.writerow([*names, "share_in_slab"])
        for path in sorted(HERE.glob("*.nc")):
            with netCDF4.Dataset(path) as file:
                value = lambda name: np.asarray(file[name][:], np.float64)
                c, emitted = value("concentration"), value("emitted")
                held, gone = value("inventory"), value("exhausted")
                budget = np.abs(held + gone - emitted).max() / emitted.max()
                through = (value("w_top") - value("w_bottom")) / file.plane_thickness
                divergence = np.abs(value("divergence") + through).max()
                volume = value("mask") * file.plane_spacing**2 * file.plane_thickness
                volume = volume[np.asarray(file["flow"][:])] if volume.ndim == 3 else volume
                share = (c[:, -1] * volume).sum((1, 2)) / held[:, -1]
                row = budget, c.min() / c.max(), divergence, np.median(gone[:, -1] / emitted[:, -1])
                numbers = [f"{n:.1e}" for n in row[:3]] + [f"{n:.3f}" for n in row[3:]]
                table.writerow([path.stem, len(c), *numbers, f"{np.median(share):.3f}"])


def _panel(axes, x, y, values, title, label, **how):
    picture = axes.pcolormesh(x, y, values, rasterized=True, **how)
    axes.set(title=title, aspect="equal", xlabel="x (m)", ylabel="y (m)")
    axes.title.set_fontsize(9)
    plt.colorbar(picture, ax=axes, label=label, shrink=0.8)


def draw(case: int = 2) -> None:
    """Flow, exchange through top and bottom, eddy diffusivity, and one plume."""
    with netCDF4.Dataset(HERE / "truth.nc") as file:
        value = {n: np.asarray(file[n][:]) for n in file.variables if n != "concentration"}
        c = np.asarray(file["concentration"][case])
    x, y, solid = value["x"], value["y"], value["mask"] == 0
    hide = lambda a: np.ma.masked_where(solid, a)
    u, v = value["u"], value["v"]
    u, v = 0.5 * (u[:, 1:] + u[:, :-1]), 0.5 * (v[1:] + v[:-1])
    figure, axes = plt.subplots(3, 2, figsize=(12, 9.2), layout="constrained")
    flat = axes.ravel()
    _panel(flat[0], x, y, hide(np.hypot(u, v)), "horizontal flow at 1.5 m", "m/s")
    flat[0].quiver(x[::1], y[::1], u, v, color="w", scale=4, width=0.0015)
    through = hide(value["w_top"] - value["w_bottom"])
    most = np.abs(through).max()
    title = "what leaves the slab by its top and bottom"
    _panel(flat[1], x, y, through, title, "m/s", cmap="RdBu_r", vmin=-most, vmax=most)
    diffusivity = hide(value["eddy_diffusivity"])
    _panel(flat[2], x, y, diffusivity, "eddy diffusivity", "m2/s", cmap="viridis")
    for panel, t in zip(flat[3:], (60, 180, 600)):
        now = hide(np.log10(np.maximum(c[np.argmin(np.abs(value["time"] - t))], 1e-12)))
        title = f"concentration after {t} s, log10"
        _panel(panel, x, y, now, title, "kg/m3", vmin=-9, vmax=-4.5, cmap="magma")
        panel.plot(value["source_x"][case, 0], value["source_y"][case, 0], "c*", ms=8)
    for panel in flat:
        _walls(panel, value)
    figure.savefig(HERE / "truth.png", dpi=75)


def _walls(axes, value: dict) -> None:
    """Faces in the room that nothing passes."""
    x, y = value["x_face"], value["y_face"]
    for j, i in np.argwhere(value["open_x"][:, 1:-1] == 0):
        axes.plot([x[i + 1]] * 2, y[j : j + 2], "0.6", lw=1.2)
    for j, i in np.argwhere(value["open_y"][1:-1] == 0):
        axes.plot(x[i : i + 2], [y[j + 1]] * 2, "0.6", lw=1.2)


def main() -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["converge", "check", "draw"])
    parser.add_argument("--output", type=Path, default=Path("output/memory_closure"))
    given = parser.parse_args()
    jobs = {"converge": lambda: converge(given.output), "check": check, "draw": draw}
    jobs[given.what]()


if __name__ == "__main__":
    main()
