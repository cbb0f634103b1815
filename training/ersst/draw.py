"""Tables and figure of an evaluated run: ``python training/ersst/draw.py [output/ersst]``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
STYLES = {
    "trained": ("trained model", "tab:red", "-"),
    "uncorrected": ("uncorrected model", "tab:blue", "-"),
    "uniformly_damped": ("damped persistence, one time scale", "tab:green", "--"),
    "damped_persistence": ("damped persistence, by cell", "tab:olive", "--"),
    "anomaly_persistence": ("persistence of anomalies", "0.5", "--"),
    "climatology": ("climatology", "black", ":"),
    "persistence": ("persistence", "0.7", ":"),
}
DAYS_OF_A_MONTH = 365 / 12


def main(run: Path) -> None:
    """Write ``scores.csv``, ``parameters.csv`` and ``scores.png`` beside this file."""
    with open(run / "evaluation.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    leads = sorted({round(float(r["lead_days"]) / DAYS_OF_A_MONTH) for r in rows})
    found = {(r["contender"], round(float(r["lead_days"]) / DAYS_OF_A_MONTH)): r for r in rows}
    for score in ("rmse", "acc"):
        print(score, *leads, sep=" | ")
        for name in STYLES:
            print(name, *(f"{float(found[name, lead][score]):.3f}" for lead in leads), sep=" | ")
    header = (
        "contender",
        "lead (months)",
        "rmse (K)",
        "anomaly correlation",
        "bias (K)",
        "variance ratio",
    )
    _write(
        "scores.csv",
        header,
        [
            (
                n,
                lead,
                *(
                    f"{float(found[n, lead][s]):.4f}"
                    for s in ("rmse", "acc", "bias", "variance_ratio")
                ),
            )
            for n in STYLES
            for lead in leads
        ],
    )
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for ax, score, label in zip(
        axes, ("rmse", "acc"), ("root mean square error (K)", "anomaly correlation")
    ):
        for name, (text, colour, line) in STYLES.items():
            # A climatology has no anomaly; persistence with the seasons in it is off the scale.
            if name != "persistence" and (score, name) != ("acc", "climatology"):
                values = [float(found[name, lead][score]) for lead in leads]
                ax.plot(leads, values, line, marker="o", markersize=4, color=colour, label=text)
        ax.set(xlabel="lead (months)", ylabel=label, xticks=leads)
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    fig.savefig(HERE / "scores.png", dpi=110)
    _parameters(run)


def _parameters(run: Path) -> None:
    start = dogcm.load_recipe(HERE / "recipe.yaml").config().parameters
    with open(run / "training.csv", newline="") as f:
        last = list(csv.DictReader(f))[-1]
    names = dogcm.load_recipe(HERE / "recipe.yaml").learnable
    rows = [(n, f"{getattr(start, n):.4g}", f"{float(last[n]):.4g}") for n in names]
    _write("parameters.csv", ("parameter", "start", f"after {last['update']} updates"), rows)
    print(*rows, sep="\n")


def _write(name: str, header: tuple, rows: list) -> None:
    with open(HERE / name, "w", newline="") as f:
        csv.writer(f).writerows([header, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/ersst"))
