"""From accuracy.csv and families.csv to tables and a figure; seconds.

python training/memory_closure/table.py
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
TIMES = (60, 120, 300, 600)
DRAWS = 2000
# With memory, and the twin of equal parameters without.
PAIRS = (
    ("memory", "markov"),
    ("local", "local_markov"),
    ("sharp", "sharp_markov"),
    ("sharp", "published"),
)
NAMES = {
    "relative": "published relative measure",
    "mse": "mean squared error (kg2 m-6)",
    "log": "mean error of asinh(c / 1e-9 kg m-3)",
}


def read() -> dict:
    """(contender, memory, measure, time) to an array (seed, case)."""
    found: dict = defaultdict(lambda: defaultdict(dict))
    with open(HERE / "accuracy.csv") as file:
        for r in csv.DictReader(file):
            key = r["contender"], r["memory"], r["measure"], int(r["time"])
            found[key][int(r["seed"])][int(r["case"])] = float(r["value"])
    return {
        k: np.array([[cases[c] for c in sorted(cases)] for cases in seeds.values()])
        for k, seeds in found.items()
    }


def ratio(a: np.ndarray, b: np.ndarray, random) -> tuple[float, float, float]:
    """Mean over seeds and cases of ``a`` over that of ``b``, with 95 % of a bootstrap over test
    cases (the same for both) and seeds (of each)."""
    draws = []
    for _ in range(DRAWS):
        cases = random.integers(a.shape[1], size=a.shape[1])
        pick = lambda x, cases=cases: x[random.integers(len(x), size=len(x))][:, cases].mean()
        draws.append(pick(a) / pick(b))
    low, high = np.quantile(draws, [0.025, 0.975])
    return a.mean() / b.mean(), low, high


def tables(values: dict) -> str:
    """All tables as markdown."""
    random, out = np.random.default_rng(0), []
    for measure, about in NAMES.items():
        out += [
            f"**{about}**",
            "",
            "| | seeds | 60 s | 120 s | 300 s | 600 s |",
            "|---|" * 1 + "---|" * 5,
        ]
        for name, memory in dict.fromkeys((k[0], k[1]) for k in values):
            rows = [values[name, memory, measure, t] for t in TIMES]
            label = name if memory == "kept" else f"{name}, {memory}"
            cells = " | ".join(f"{r.mean():.3g}" for r in rows)
            out.append(f"| {label} | {len(rows[0])} | {cells} |")
        for pair in PAIRS:
            if any((name, "kept", measure, 60) not in values for name in pair):
                continue
            cells = []
            for t in TIMES:
                both = (values[name, "kept", measure, t] for name in pair)
                cells.append("{:.2f} ({:.2f} to {:.2f})".format(*ratio(*both, random)))
            out.append(f"| **{' / '.join(pair)}** | | {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out)


def families() -> str:
    """Table of families.csv: medians over cases."""
    found = defaultdict(list)
    with open(HERE / "families.csv") as file:
        for r in csv.DictReader(file):
            found[r["family"], r["contender"]].append(
                [float(r[k]) for k in ("spearman", "slope", "median_ratio")]
            )
    out = [
        "| family | contender | cases | Spearman | slope | median ratio |",
        "|---|---|---|---|---|---|",
    ]
    for (family, name), rows in found.items():
        cells = " | ".join(f"{x:.3f}" for x in np.median(rows, axis=0))
        out.append(f"| {family} | {name} | {len(rows)} | {cells} |")
    return "\n".join(out)


def few() -> str:
    """Table of few.csv: mean error of logarithms, over seeds, against the training cases."""
    found = defaultdict(list)
    with open(HERE / "few.csv") as file:
        for r in csv.DictReader(file):
            if r["measure"] == "log":
                key = r["contender"], int(r["training_cases"]), int(r["time"])
                found[key].append(float(r["mean"]))
    counts = sorted({k[1] for k in found})
    out = [
        f"**{NAMES['log']}, by training cases**",
        "",
        "| | " + " | ".join(str(n) for n in counts) + " |",
        "|---|" + "---|" * len(counts),
    ]
    for name in dict.fromkeys(k[0] for k in found):
        for t in (120, 600):
            cells = (found[name, n, t] for n in counts)
            spread = lambda c: f" ({min(c):.2f} to {max(c):.2f})" if len(c) > 1 else ""
            shown = (f"{np.mean(c):.2f}{spread(c)}" if c else "" for c in cells)
            out.append(f"| {name}, {t} s | {' | '.join(shown)} |")
    return "\n".join(out)


def draw(values: dict) -> None:
    """error.png: error by time of all contenders, of a colour each; what happens to the memory by
    the line."""
    left_out = ("physics_follows",)
    shown = [k for k in dict.fromkeys((k[0], k[1]) for k in values) if k[0] not in left_out]
    names = list(dict.fromkeys(n for n, _ in shown))
    colours = dict(zip(names, plt.get_cmap("tab20").colors))
    styles = {"kept": "o-", "reset": "s:", "shuffled": "x--"}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, measure in zip(axes, ("mse", "log")):
        for name, memory in shown:
            label = name if memory == "kept" else f"{name}, {memory}"
            mean = [values[name, memory, measure, t].mean() for t in TIMES]
            axis.plot(TIMES, mean, styles[memory], ms=4, color=colours[name], label=label)
        axis.set(xlabel="time (s)", yscale="log", title=NAMES[measure])
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside right", fontsize=8)
    figure.savefig(HERE / "error.png", dpi=110)


if __name__ == "__main__":
    scores = read()
    text = tables(scores)
    if (HERE / "families.csv").exists():
        text += "\n" + families() + "\n"
    if (HERE / "few.csv").exists():
        text += "\n" + few() + "\n"
    (HERE / "tables.md").write_text(text)
    draw(scores)
    print(text)
