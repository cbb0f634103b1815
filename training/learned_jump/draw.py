"""Tables and pictures from what evaluate.py and costs.py have written.

python training/learned_jump/draw.py     # table.csv, years.csv, errors.png, residuals.png
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
from ensemble import FOLDER

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
SPLITS = ("validation", "test", "beyond", "warmer")
SCORES = ("rmse", "nrmse", "r2", "slope", "bias")
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6)
DRAWN = ("persistence", "exponential", "mean", "gaussian_process", "perceptron", "convolutions")
DRAWN += ("fourier", "jump", "operator")


def read(path: Path) -> list[dict]:
    """Rows of a table."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def split_of(member: str) -> str:
    """The split that a member belongs to."""
    return member.rpartition("_")[0]


def table(folder: Path) -> dict[tuple[str, str, str], dict[str, float]]:
    """Means over the members of a split, by contender, split and band; seeds count as members."""
    found = defaultdict(list)
    for row in read(folder / "errors.csv"):
        name, seed = row["contender"], row["contender"].rpartition("_")
        if seed[2].isdigit():
            name = seed[0]
        found[name, split_of(row["member"]), row["band"]].append([float(row[s]) for s in SCORES])
    out = {k: dict(zip(SCORES, np.mean(v, axis=0))) for k, v in found.items()}
    with open(HERE / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("contender", "split", "band", *SCORES))
        for (name, split, band), row in out.items():
            writer.writerow((name, split, band, *(f"{row[s]:.4g}" for s in SCORES)))
    return out


def years() -> None:
    """Model-year equivalents to tolerances, by member and method."""
    with open(HERE / "years.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("member", "method", *(f"to {t:g}" for t in TOLERANCES), "last", "least"))
        for path in sorted((HERE / "residuals").glob("*.csv")):
            curve = curve_of(path)
            first = lambda t, curve=curve: next((y for y, r in curve if r <= t), math.inf)
            cells = [f"{first(t):.0f}" if math.isfinite(first(t)) else "" for t in TOLERANCES]
            parts = path.stem.split("_")
            member, method = "_".join(parts[:2]), "_".join(parts[2:])
            least = f"{curve[:, 1].min():.2e}"
            writer.writerow((member, method, *cells, f"{curve[-1, 0]:.0f}", least))


def curve_of(path: Path) -> np.ndarray:
    """Years and residuals of one solve."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([(float(r["years"]), float(r["residual"])) for r in rows])


def errors_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Years and errors of integration as it is."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(np.array([float(r[n]) for r in rows]) for n in ("years", "error"))


def draw_errors(found) -> None:
    """Errors by split, and by depth on the test members."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.4))
    names = [n for n in DRAWN if (n, "test", "below 50 m") in found]
    for k, split in enumerate(SPLITS):
        heights = [found[n, split, "below 50 m"]["rmse"] for n in names]
        axes[0].bar(np.arange(len(names)) + 0.2 * k - 0.3, heights, 0.2, label=split)
    axes[0].set_xticks(np.arange(len(names)), [n.replace("_", " ") for n in names])
    axes[0].tick_params(axis="x", rotation=40, labelsize=7)
    axes[0].set(yscale="log", ylabel="root mean square error, years", title="below 50 m")
    bands = [b for n, s, b in found if n == names[0] and s == "test" and b != "below 50 m"]
    for name in names:
        errors = [found[name, "test", b]["rmse"] for b in bands]
        axes[1].semilogx(errors, np.arange(len(bands)), "o-", ms=3, label=name.replace("_", " "))
    axes[1].set_yticks(np.arange(len(bands)), bands, fontsize=7)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="root mean square error, years", title="test members")
    _draw_calibration(axes[2])
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6.5)
    figure.tight_layout()
    figure.savefig(HERE / "errors.png", dpi=100)


def _draw_calibration(axis) -> None:
    rows = [r for r in read(HERE / "calibration.csv") if r["contender"] == "jump_mean"]
    for split in SPLITS:
        mine = [r for r in rows if split_of(r["member"]) == split]
        x, y = (np.array([float(r[n]) for r in mine]) for n in ("spread", "error"))
        axis.loglog(x, y, "o", ms=3, label=split)
    ends = np.array([1.0, 1000.0])
    axis.loglog(ends, ends, "k-", lw=0.7)
    axis.set(
        xlabel="spread of three seeds, years", ylabel="error of their mean, years", title="fifths"
    )


def draw_residuals() -> None:
    """Residuals against cost, of the member that all methods were run on."""
    files = sorted((HERE / "residuals").glob("*.csv"))
    whole = [p.stem.removesuffix("_direct") for p in files if p.stem.endswith("_direct")]
    member = next(m for m in whole if "jump" not in m)
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 4.6))
    axis, right = axes
    colours: dict[str, str] = {}
    for path in sorted(files, key=lambda p: "jump" in p.stem):
        if not path.stem.startswith(member):
            continue
        name = path.stem.removeprefix(f"{member}_")
        method = name.removeprefix("jump_")
        jump = name != method
        curve = curve_of(path)
        colour = colours.get(method)
        (line,) = axis.loglog(
            np.maximum(curve[:, 0], 1.0),
            curve[:, 1],
            "--" if jump else "-",
            color=colour,
            label=("jump, then " if jump else "") + method.replace("_", " "),
        )
        colours[method] = line.get_color()
    axis.set(xlabel="model-year equivalents", ylabel="residual", title=member.replace("_", " "))
    for name in ("direct", "jump_direct"):
        years, error = errors_of(HERE / "residuals" / f"{member}_{name}.csv")
        right.plot(
            years, error, "--" if "jump" in name else "-", label=name.replace("_", ", then ")
        )
    right.set(xlabel="years of the map", ylabel="root mean square error, years", yscale="log")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(HERE / "residuals.png", dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    draw_errors(table(parser.parse_args().folder))
    years()
    draw_residuals()
