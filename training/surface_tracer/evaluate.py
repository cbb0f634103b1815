"""Scores of what has been trained, on releases that training has not seen; tables and figures.

python training/surface_tracer/evaluate.py scores   # accuracy.csv, ratio.csv
python training/surface_tracer/evaluate.py checks   # checks.csv: time scales, inventory, speed
python training/surface_tracer/evaluate.py draw     # errors.png
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from contenders import CONTENDERS
from releases import DAY, Truth, read_truth
from scipy.stats import spearmanr
from train import chosen
from truth import ocean, releases

from dogcm.planar import load_tree

HERE = Path(__file__).resolve().parent
DAYS = (1, 2, 5, 10, 20, 40, 60)
SEEN = 1e-8  # kg m-3: where magnitudes are compared
MEASURES = ("squared", "logarithms", "spearman", "slope")
KINDS = ("all", "continuous", "spill", "moving")
RESETS = 1.0  # days between what is done to the memory


class Trained:
    """A contender with what it learned."""

    def __init__(self, name: str, seed: int, truth: Truth, folder: Path):
        self.contender, self.truth = CONTENDERS[name], truth
        self.model = self.contender.model(truth)
        learned = self.contender.start(self.model, seed)
        if learned:
            learned = load_tree(folder / f"{name}_{seed}.npz", self.model, learned)
        self.params = self.contender.params(self.model, learned)

    def run(self, cases, memory: str = "kept"):
        """Concentrations of all records but the first, (record, case, y, x), and the last state.

        Args:
            memory: kept, or reset (what layers hold is gone every so many days).
        """
        m, t = self.model, self.truth
        total = t.concentration.shape[1] - 1
        steps = total if memory == "kept" else round(RESETS * DAY / t.every)
        source = t.source(cases, m.dt)
        roll = jax.jit(lambda s, p: m.rollout(s, p, source, steps))
        state, seen = m.at_rest(len(cases)), []
        for _ in range(total // steps):
            state, records = roll(state, self.params)
            seen.append(np.asarray(records.data, float))
            if memory == "reset":
                state = replace(state, held=forgotten(state.held))
        return np.concatenate(seen), state


def forgotten(held):
    """What layers hold is gone for good."""
    data = held.layers.data
    lost = data[..., 1:, :, :].sum(-3, keepdims=True)
    gone = held.gone.with_data(held.gone.data + lost)
    return held._replace(layers=held.layers.with_data(data.at[..., 1:, :, :].set(0.0)), gone=gone)


def records(truth: Truth, days) -> np.ndarray:
    """Numbers of the records at these days."""
    return np.round(np.asarray(days) * DAY / truth.every).astype(int)


def measures(seen: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Of one release at one moment: error over size, of logarithms (decades), rank correlation,
    slope of logarithms."""
    there = wanted > SEEN
    a, b = np.log10(np.maximum(seen[there], 1e-3 * SEEN)), np.log10(wanted[there])
    return {
        "squared": float(np.sqrt(((seen - wanted) ** 2).sum() / (wanted**2).sum())),
        "logarithms": float(np.sqrt(np.mean((a - b) ** 2))),
        # Where nothing is left there is no order.
        "spearman": float(spearmanr(a, b)[0]) if np.ptp(a) > 0 else 0.0,
        "slope": float(np.polyfit(b, a, 1)[0]),
    }


def interval(values: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """Bootstrap interval (95 %) of the mean over releases, of (seed, release)."""
    random = np.random.default_rng(0)
    picks = random.integers(0, values.shape[1], (draws, values.shape[1]))
    means = values.mean(0)[picks].mean(1)
    return tuple(np.quantile(means, (0.025, 0.975)))


def of_kind(truth: Truth, cases, kind: str) -> np.ndarray:
    """Which of these releases go on, end, or move."""
    ends = truth.stops[cases] < truth.seconds - 1.0
    moves = np.abs(truth.end - truth.begin).max(axis=1)[cases] > 0
    found = {"continuous": ~ends & ~moves, "spill": ends & ~moves, "moving": moves}
    return found.get(kind, np.ones(len(cases), bool))


def scores(truth: Truth, folder: Path, what: str, names) -> None:
    """All measures of all contenders, at all days: mean over seeds and releases."""
    cases, rows, errors = chosen(truth, what), [], {}
    at = records(truth, DAYS)
    for name, memory in names:
        every = []
        for seed in seeds_of(name, folder):
            seen, _ = Trained(name, seed, truth, folder).run(cases, memory)
            every.append([
                [measures(seen[k - 1, i], truth.concentration[case, k]) for k in at]
                for i, case in enumerate(cases)
            ])  # fmt: skip
        label = name + ("" if memory == "kept" else f", {memory}")
        for m, kind in [(m, k) for m in MEASURES for k in KINDS]:
            those = of_kind(truth, cases, kind)
            if not those.any():
                continue
            values = np.array([[[x[m] for x in days] for days in seed] for seed in every])[:, those]
            for n, day in enumerate(DAYS):
                of = values[:, :, n]
                rows.append(
                    [label, kind, m, day, of.mean(), *interval(of), of.mean(1).std(), len(of)]
                )
        errors[label] = np.array(
            [[[x["squared"] for x in days] for days in seed] for seed in every]
        )
        told = [f"{r[4]:.3f}" for r in rows if r[0] == label and r[1:3] == ["all", "squared"]]
        print(f"{label}: {' '.join(told)}", flush=True)
    if what == "test" and {"memory", "markov"} <= set(errors):
        ratios(errors)
    suffix = "" if what == "test" else f"_{what}"
    with open(HERE / f"accuracy{suffix}.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow("contender releases measure day mean low high std_of_seeds seeds".split())
        out.writerows([*r[:4], *(f"{x:.4g}" for x in r[4:8]), r[8]] for r in rows)


def ratios(errors: dict[str, np.ndarray], draws: int = 2000) -> None:
    """Error with memory over error without, means over seeds and releases, which are drawn again
    in pairs for the interval."""
    one, other = (errors[n].mean(0) for n in ("memory", "markov"))
    picks = np.random.default_rng(0).integers(0, len(one), (draws, len(one)))
    drawn = one[picks].mean(1) / other[picks].mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    with open(HERE / "ratio.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("day", "ratio", "low", "high"))
        for row in zip(DAYS, one.mean(0) / other.mean(0), low, high):
            out.writerow(f"{x:.4g}" for x in row)


def checks(truth: Truth, folder: Path) -> None:
    """What layers hold for how long, the inventory after the whole time, and how long it takes."""
    lines = []
    for seed in seeds_of("memory", folder):
        tau = np.exp(
            np.asarray(Trained("memory", seed, truth, folder).params["closure"]["log_tau"])
        )
        lines += [[f"time scale {k + 1}, seed {seed}", t / DAY, "day"] for k, t in enumerate(tau)]
    cases = chosen(truth, "test")
    for name in ("memory", "markov", "diluted"):
        one = Trained(name, 0, truth, folder)
        _, last = one.run(cases)
        whole = np.asarray(last.inventory().data, float).sum((-2, -1)).ravel()
        held = whole * np.prod(truth.cell)
        strength = float(one.params["source_strength"])
        put = truth.strength[cases] * np.minimum(truth.stops[cases], truth.seconds) * strength
        lines.append([f"{name}: inventory over what was released", float((held / put).mean()), "1"])
        lines.append([f"{name}: strength of sources", strength, "1"])
        lines.append(
            [
                f"{name}: numbers learned",
                sum(x.size for x in jax.tree.leaves(one.params.get("closure", {}))),
                "1",
            ]
        )
        lines.append([f"{name}: time of {len(cases)} releases", seconds_of(one, cases), "s"])
    lines.append(
        [f"ocean: time of {len(cases)} releases", seconds_of_the_ocean(len(cases), truth), "s"]
    )
    with open(HERE / "checks.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("what", "value", "unit"), *([n, f"{v:.6g}", u] for n, v, u in lines)]
        )


def seconds_of(trained: Trained, cases) -> float:
    """Median time of three runs over the whole time, compiled before."""
    m, t = trained.model, trained.truth
    source = t.source(cases, m.dt)
    roll = jax.jit(lambda s, p: m.rollout(s, p, source, t.concentration.shape[1] - 1))
    took = []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(roll(m.at_rest(len(cases)), trained.params))
        took.append(time.perf_counter() - began)
    return float(np.median(took[1:]))


def seeds_of(name: str, folder: Path) -> list[int]:
    """Seeds that are trained; one where nothing is learned."""
    if not CONTENDERS[name].learns:
        return [0]
    return sorted(int(p.stem.rsplit("_", 1)[1]) for p in folder.glob(f"{name}_[0-9].npz"))


def seconds_of_the_ocean(number: int, truth: Truth, days: float = 2.0) -> float:
    """Time of as many releases in the ocean itself, from a few days of it, compiled before."""
    made, _ = releases(0.0, truth.seconds / DAY)
    sea = ocean(dict(list(made.items())[:number]))
    steps, took = sea.steps_in(days), []
    for _ in range(4):
        began = time.perf_counter()
        sea.advance(steps)
        jax.block_until_ready(sea.state.eta.data)
        took.append(time.perf_counter() - began)
    return float(np.median(took[1:])) * truth.seconds / DAY / days


def draw(truth: Truth, folder: Path) -> None:
    """Errors by day, and a spill that training has not seen after twenty and sixty days."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(15, 6.5), layout="constrained")
    with open(HERE / "accuracy.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for panel, kind in zip(axes[:, 0], ("continuous", "spill")):
        for name in ("memory", "markov", "diluted", "memory, reset"):
            those = [r for r in rows if r["contender"] == name and r["releases"] == kind]
            those = [r for r in those if r["measure"] == "squared"]
            day, mean, low, high = (
                [float(r[k]) for r in those] for k in ("day", "mean", "low", "high")
            )
            panel.plot(day, mean, "o-", ms=3, label=name)
            panel.fill_between(day, low, high, alpha=0.2)
        panel.set(xlabel="day", ylabel="error over size", title=f"releases: {kind}", yscale="log")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=4)
    cases = chosen(truth, "test")
    spill = np.flatnonzero(of_kind(truth, cases, "spill"))[0]
    fields = {n: Trained(n, 0, truth, folder).run(cases)[0][:, spill] for n in ("memory", "markov")}
    extent = [0, truth.shape[1] * truth.cell[0] / 1e3, 0, truth.shape[0] * truth.cell[1] / 1e3]
    for line, day in zip(axes[:, 1:], (20, 60)):
        k = int(records(truth, day))
        true = truth.concentration[cases[spill], k]
        shown = {"truth": true} | {n: f[k - 1] for n, f in fields.items()}
        for panel, (name, field) in zip(line, shown.items()):
            image = panel.imshow(
                field * 1e9, origin="lower", extent=extent, vmin=0, vmax=true.max() * 1e9,
                cmap="magma",
            )  # fmt: skip
            panel.set(title=f"{name}, day {day}", xlabel="x (km)", ylabel="y (km)")
            plt.colorbar(image, ax=panel, label="1e-9 kg/m3", shrink=0.7)
    figure.savefig(HERE / "errors.png", dpi=75)


def main() -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["scores", "checks", "draw"])
    parser.add_argument("--cases", choices=["test", "valid", "train"], default="test")
    parser.add_argument("--truth", type=Path, default=HERE / "truth.nc")
    parser.add_argument("--folder", type=Path, default=Path("output/surface_tracer/trained"))
    given = parser.parse_args()
    truth = read_truth(given.truth)
    if given.what != "scores":
        {"checks": checks, "draw": draw}[given.what](truth, given.folder)
        return
    names = [(n, "kept") for n in CONTENDERS if seeds_of(n, given.folder)]
    names += [("memory", "reset")] if ("memory", "kept") in names else []
    scores(truth, given.folder, given.cases, names)


if __name__ == "__main__":
    main()
