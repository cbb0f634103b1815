"""Judge what was learned on columns that nothing was learned or chosen from.

    python training/column/evaluate.py OUTPUT       # some minutes on one core

writes ``scores.csv`` (error by test, contender and lead, with intervals), ``ratios.csv`` (error
over that of others), ``thicker.csv`` (on layers of 10 m), ``scores.png`` and ``columns.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import matplotlib
import numpy as np
from cases import TESTS
from closure import LearnedTKE, load
from columns import Columns, mixed_layer_depth
from train import SEEDS, WEIGHTS, Data, write
from truth import DAYS, EVERY

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
LEADS = (1, 2, 5, 10)  # days; errors are those of the day that ends there
DRAWS = 2000
LABELS = {
    "tke": "tke, defaults",
    "kpp": "kpp, defaults",
    "mean": "tke less its mean error",
    "kpp learned": "kpp, constants learned",
    "tke learned": "tke, constants learned",
    "network": "the same with network",
}
COLOURS = dict(zip(LABELS, ("C3", "C1", "C4", "C2", "C0", "k")))


class Contenders:
    """Runs of all contenders on some columns."""

    def __init__(self, data: Data, which: np.ndarray):
        self.data, self.which, self.cases = data, which, data.cases[which]
        layer = float(data.edges[1])
        of = lambda scheme: Columns.of(len(which), scheme, layer=layer)
        self.tke, self.kpp, self.learned = of(dogcm.TKE()), of(dogcm.KPP()), of(LearnedTKE())

    def run(self, plane: Columns, more: dict):
        """Temperature and mixed-layer depth of all records."""
        go = jax.jit(lambda p: plane.run(p, self.cases, DAYS, EVERY)["T"])
        T = np.asarray(go(plane.params | more))
        return T, self.depth(T)

    def depth(self, T):
        return np.asarray(mixed_layer_depth(T, self.data.edges))

    def truth(self):
        T = self.data.truth["T"][..., self.which]
        return T, self.depth(T)

    def networks(self) -> list:
        return [self.run(self.learned, load(WEIGHTS / f"network_{s}.npz")) for s in range(SEEDS)]


def mean_corrected(data: Data, contenders: Contenders, run):
    """The default with the mean errors of its training columns taken out: of temperature by
    record, layer and family, of depth as a factor. Families unseen get the mean of all."""
    train = Contenders(data, data.of("train"))
    T, depth = train.run(train.tke, {})
    true_T, true_depth = train.truth()
    families = np.array(data.families)
    error, factor = T - true_T, true_depth / depth
    corrected_T, corrected_depth = (x.copy() for x in run)
    for n, own in enumerate(families[contenders.which]):
        like = families[train.which] == own
        like = like if like.any() else np.ones_like(like)
        corrected_T[..., n] -= error[..., like].mean(-1)
        corrected_depth[..., n] *= factor[..., like].mean(-1)
    return corrected_T, corrected_depth


def errors(run, truth) -> dict:
    """Squared errors by day and column: temperature (K2), depth (m2), and the depth's ratio."""
    by_day = lambda x: x.reshape(round(DAYS), -1, x.shape[-1]).mean(1)
    (T, h), (true_T, true_h) = run, truth
    return {
        "temperature_K": by_day(((T - true_T) ** 2).mean(1)),
        "depth_m": by_day((h - true_h) ** 2),
        "depth_share": by_day(((h - true_h) / true_h) ** 2),
    }


def interval(values) -> tuple[float, float]:
    return tuple(float(x) for x in np.percentile(values, [2.5, 97.5]))


def resampled(groups: np.ndarray, count: int = DRAWS) -> np.ndarray:
    """Bootstrap samples of columns, drawn within each family."""
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(groups == g), (count, int((groups == g).sum())))
            for g in np.unique(groups)
        ],
        axis=1,
    )


class Judge:
    """Scores of runs on the test columns, with bootstrap intervals over columns."""

    def __init__(self, contenders: Contenders):
        data, which = contenders.data, contenders.which
        self.parts = np.array(data.parts)[which]
        self.families = np.array(data.families)[which]

    def score_rows(self, name: str, per_seed: list[dict]) -> list[dict]:
        """Root mean squares by test and lead with intervals, and the spread of seeds."""
        rows = []
        for test in TESTS:
            at = np.flatnonzero(self.parts == test)
            for lead in (*LEADS, "all"):
                row = {"test": test, "contender": name, "lead": lead}
                for measure in per_seed[0]:
                    each = np.stack([_over(e[measure], lead)[at] for e in per_seed])
                    row |= self._score(measure, each, at)
                rows.append(row)
        return rows

    def _score(self, measure: str, each: np.ndarray, at: np.ndarray) -> dict:
        """Of squared errors (seeds, columns)."""
        both = each.mean(0)
        low, high = interval(np.sqrt(both[resampled(self.families[at])].mean(1)))
        out = {measure: float(np.sqrt(both.mean()))}
        out |= {f"{measure}_low": low, f"{measure}_high": high}
        if measure == "depth_m":
            seeds = np.sqrt(each.mean(1))
            out |= {"seeds_low": float(seeds.min()), "seeds_high": float(seeds.max())}
        return out

    def ratio_rows(self, found: dict, against: str) -> list[dict]:
        """Errors over all leads beside those of ``against``, on the same resampled columns."""
        groups = []
        for test in TESTS:
            own = self.parts == test
            groups += [(test, "all", np.flatnonzero(own))]
            for family in dict.fromkeys(self.families[own]):
                groups += [(test, family, np.flatnonzero(own & (self.families == family)))]
        return [
            {"test": test, "family": family, "contender": name, "against": against}
            | self._ratio(found[name], found[against], at)
            for test, family, at in groups
            for name in found
            if name != against
        ]

    def _ratio(self, one: list[dict], other: list[dict], at: np.ndarray) -> dict:
        draws, out = resampled(self.families[at]), {}
        for measure in ("depth_m", "temperature_K"):
            a, b = (
                np.mean([_over(e[measure], "all")[at] for e in each], axis=0)
                for each in (one, other)
            )
            out[measure] = float(np.sqrt(a.mean() / b.mean()))
            low, high = interval(np.sqrt(a[draws].mean(1) / b[draws].mean(1)))
            out |= {f"{measure}_low": low, f"{measure}_high": high}
        return out


def _over(error: np.ndarray, lead) -> np.ndarray:
    """Of one day, or the mean of all."""
    return error.mean(0) if lead == "all" else error[lead - 1]


def draw_scores(rows: list[dict], path: Path) -> None:
    fig, axes = plt.subplots(1, len(TESTS), figsize=(11, 3.6), layout="constrained", sharey=True)
    for ax, test in zip(axes, TESTS):
        for name, label in LABELS.items():
            own = [r for r in rows if r["test"] == test and r["contender"] == name]
            own = [r for r in own if r["lead"] != "all"]
            y, low, high = (
                np.array([r[k] for r in own]) for k in ("depth_m", "depth_m_low", "depth_m_high")
            )
            x = np.array([r["lead"] for r in own])
            ax.errorbar(
                x,
                y,
                [y - low, high - y],
                color=COLOURS[name],
                marker="o",
                ms=3,
                capsize=2,
                label=label,
            )
        ax.set(
            title={
                "within": "within the range",
                "beyond": "beyond the range",
                "together": "wind and cooling together",
            }[test],
            xlabel="day",
        )
    axes[0].set(ylabel="error of the mixed layer's depth (m)", ylim=(0, None))
    axes[0].legend(fontsize=7)
    fig.savefig(path, dpi=100)


def draw_columns(runs: dict, truth, contenders: Contenders, path: Path) -> None:
    """Depth of the mixed layer of the first test column of each family."""
    data = contenders.data
    own_part = np.array(data.parts)[contenders.which]
    families = np.array(data.families)[contenders.which]
    chosen = {(p, f): n for n, (p, f) in reversed(list(enumerate(zip(own_part, families))))}
    chosen = dict(list(chosen.items())[::-1])
    fig, axes = plt.subplots(2, 4, figsize=(12, 5.4), layout="constrained", sharex=True)
    days = np.arange(1, truth[1].shape[0] + 1) * EVERY / 86400
    for ax, ((part, family), n) in zip(axes.flat, chosen.items()):
        ax.plot(days, truth[1][:, n], color="0.6", lw=4, label="truth")
        for name in ("tke", "kpp", "tke learned", "network"):
            ax.plot(days, runs[name][0][1][:, n], color=COLOURS[name], lw=1.2, label=LABELS[name])
        ax.set_title(f"{family} ({part})", fontsize=9)
        ax.invert_yaxis()
    for ax in axes[:, 0]:
        ax.set_ylabel("depth (m)")
    for ax in axes[1]:
        ax.set_xlabel("day")
    axes[0, 0].legend(fontsize=7)
    fig.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    data = Data(options.output, 5.0)
    contenders = Contenders(data, data.of(*TESTS))
    truth, c = contenders.truth(), contenders
    runs = {
        "tke": [c.run(c.tke, {})],
        "kpp": [c.run(c.kpp, {})],
        "kpp learned": [c.run(c.kpp, load(WEIGHTS / "kpp.npz"))],
        "tke learned": [c.run(c.tke, load(WEIGHTS / "tke.npz"))],
        "network": c.networks(),
    }
    runs["mean"] = [mean_corrected(data, c, runs["tke"][0])]
    found = {n: [errors(r, truth) for r in runs[n]] for n in LABELS}
    judge = Judge(c)
    rows = [r for n in LABELS for r in judge.score_rows(n, found[n])]
    write(HERE / "scores.csv", rows)
    ratios = judge.ratio_rows(found, "tke") + judge.ratio_rows(found, "tke learned")
    write(HERE / "ratios.csv", ratios)
    draw_scores(rows, HERE / "scores.png")
    draw_columns(runs, truth, c, HERE / "columns.png")
    write(HERE / "thicker.csv", on_thicker_layers(options.output))


def on_thicker_layers(folder: Path) -> list[dict]:
    """The same constants and networks on layers of 10 m, which they have not seen."""
    data = Data(folder, 10.0)
    c = Contenders(data, data.of("within"))
    truth = c.truth()
    runs = {
        "tke": [c.run(c.tke, {})],
        "tke learned": [c.run(c.tke, load(WEIGHTS / "tke.npz"))],
        "network": c.networks(),
    }
    rows = []
    for name, own in runs.items():
        each = [errors(r, truth) for r in own]
        rows.append(
            {"contender": name}
            | {m: float(np.sqrt(np.mean([e[m].mean() for e in each]))) for m in each[0]}
        )
    return rows


if __name__ == "__main__":
    main()
