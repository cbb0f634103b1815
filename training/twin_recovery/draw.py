"""Table and figure of a finished run: ``python training/twin_recovery/draw.py
[output/twin_recovery]``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent


def main(run: Path) -> None:
    recipe = dogcm.load_recipe(HERE / "recipe.yaml")
    truth, start = recipe.truth_config().parameters, recipe.config().parameters
    with open(run / "training.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    updates, table = [int(r["update"]) for r in rows], []
    left.semilogy(updates, [float(r["loss"]) for r in rows])
    left.set(xlabel="update", ylabel="loss (1: error of persistence)")
    for name in recipe.learnable:
        true, values = getattr(truth, name), [float(r[name]) for r in rows]
        right.semilogy(updates, [abs(v / true - 1) for v in values], label=name)
        table.append(
            (name, getattr(start, name), true, values[-1], f"{100 * (values[-1] / true - 1):.3f}")
        )
    right.axhline(0.01, color="grey", linewidth=0.8)
    right.set(xlabel="update", ylabel="relative error of the parameter")
    right.legend(fontsize=8)
    fig.savefig(HERE / "recovered.png", dpi=110)
    with open(HERE / "recovered.csv", "w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(("parameter", "start", "truth", "recovered", "error (%)"))
        writer.writerows(table)
        print(*table, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/twin_recovery"))
