"""Scores of what has been trained, on the test cases and out of distribution; tables and figures.

python training/memory_closure/evaluate.py scores      # accuracy.csv
python training/memory_closure/evaluate.py families    # families.csv
python training/memory_closure/evaluate.py few         # few.csv
python training/memory_closure/evaluate.py near        # near.csv
python training/memory_closure/evaluate.py checks      # conservation.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from contenders import CONTENDERS, DT
from planes import Truth, field, read_truth
from scipy.stats import spearmanr

from dogcm.planar import load_tree

HERE = Path(__file__).resolve().parent
TIMES = (60, 120, 300, 600)
EPSILON = 1e-9  # kg m-3, of the published relative measure
RECORD = 20.0  # s
RADII = (0.5, 1.0, 2.0)  # m, around the source
FEW = (2, 4, 8, 16)  # training cases, fewer than all
MEMORY = 60.0  # s between what is done to the memory
WITH_RESETS = ("memory", "local", "sharp")
STEPS = 3000  # of the check of conservation: 6000 s
SEEN = 1e-8  # kg m-3: where magnitudes are compared


class Trained:
    """A contender with what it learned, on the plane of a truth's flow."""

    def __init__(
        self, name: str, seed: int, truth: Truth, base: Truth, folder: Path, flow=0, few=""
    ):
        self.contender = CONTENDERS[name]
        self.model = self.contender.model(truth, flow)
        home = self.contender.model(base)
        learned = self.contender.start(home, seed)
        if learned:
            learned = load_tree(folder / f"{name}_{seed}{few}.npz", home, learned)
        if truth.cell != base.cell or flow or truth.name in ("moved_partitions", "changed_inflow"):
            learned = carried_over(learned, self.contender, home, self.model)
        self.params = self.contender.params(self.model, learned)

    def run(self, truth: Truth, cases, seconds: float, memory: str = "kept") -> np.ndarray:
        """Concentrations every RECORD seconds, (record, case, y, x).

        Args:
            memory: kept; reset (what layers hold is gone every MEMORY seconds); shuffled (it is
                that of another case).
        """
        m, dt = self.model, self.model.dt
        steps, rates = round(MEMORY / dt), field(truth.sources(cases, seconds, dt))
        if len(rates.data) > 1:
            source = lambda t: rates.level(0).with_data(rates.data[jnp.int32(t / dt + 0.5)])
        else:
            source = rates.with_data(rates.data[0])
        roll = jax.jit(lambda s, p: m.rollout(s, p, source, steps, round(RECORD / dt)))
        state, seen = m.at_rest(len(cases)), []
        for _ in range(round(seconds / MEMORY)):
            state, records = roll(state, self.params)
            seen.append(np.asarray(records.data))
            state = replace(state, held=_touched(state.held, memory))
        return np.concatenate(seen)


def _touched(held, memory: str):
    data = held.layers.data
    if memory == "reset":
        lost = data[..., 1:, :, :].sum(-3, keepdims=True)
        held = held._replace(gone=held.gone.with_data(held.gone.data + lost))
        data = data.at[..., 1:, :, :].set(0.0)
    elif memory == "shuffled":
        data = data.at[..., 1:, :, :].set(jnp.roll(data[..., 1:, :, :], 1, axis=0))
    return held._replace(layers=held.layers.with_data(data))


def carried_over(learned: dict, contender, home, there) -> dict:
    """What was learned in one room on the plane of another: maps where the cells lie; the
    diffusivity as a factor of the eddies' own."""
    if not learned:
        return learned
    old, new = contender.start(home, 0)["physics"], contender.start(there, 0)["physics"]
    ratio = lambda a, b: a.with_data(a.data - b.data)
    moved = []
    for got, was, now in zip(
        learned["physics"]["plane_diffusivity"], old["plane_diffusivity"], new["plane_diffusivity"]
    ):
        extra = resampled(ratio(got, was).data, home.plane, there.plane, now.shape)
        moved.append(now.with_data(now.data + extra))
    physics = learned["physics"] | {"plane_diffusivity": tuple(moved)}
    closure = learned.get("closure", {})
    if "maps" in closure:
        like = there.closure.weights(jax.random.key(0), there.plane)["maps"]
        data = resampled(closure["maps"].data, home.plane, there.plane, like.shape)
        closure = closure | {"maps": like.with_data(data)}
    return learned | {"physics": physics} | ({"closure": closure} if closure else {})


def resampled(data, home, there, shape):
    """The nearest cell of another spacing."""
    ny, nx = data.shape[-2:]
    j = np.minimum(((np.arange(shape[-2]) + 0.5) * there.dy / home.dy).astype(int), ny - 1)
    i = np.minimum(((np.arange(shape[-1]) + 0.5) * there.dx / home.dx).astype(int), nx - 1)
    return data[..., j[:, None], i]


def at_times(truth: Truth, cases, seconds) -> np.ndarray:
    """The truth at these times, (time, case, y, x)."""
    k = np.searchsorted(truth.time, np.asarray(seconds) - 1e-6)
    return truth.concentration[cases][:, k].swapaxes(0, 1)


def measures(found: np.ndarray, truth: np.ndarray, wet: np.ndarray) -> dict[str, np.ndarray]:
    """Per time and case: the published relative measure (halved mean of squares of the error over
    the truth, SMALL added) and the mean squared error."""
    error = (found - truth)[..., wet]
    relative = 0.5 * np.mean((error / (truth[..., wet] + EPSILON)) ** 2, axis=-1)
    logs = np.mean(np.abs(np.arcsinh(found / 1e-9) - np.arcsinh(truth / 1e-9))[..., wet], axis=-1)
    return {"relative": relative, "mse": np.mean(error**2, axis=-1), "log": logs}


def magnitudes(found, truth, wet) -> dict[str, float]:
    """Rank correlation over all cells, and where the truth is seen: slope of log10 predicted
    against log10 true, median ratio."""
    f, t = found[wet], truth[wet]
    seen = t > SEEN
    logs = np.log10(np.maximum(f[seen], 1e-30)), np.log10(t[seen])
    slope = np.polyfit(logs[1], logs[0], 1)[0]
    ratio = np.median(f[seen] / t[seen])
    return {"spearman": spearmanr(f, t).statistic, "slope": slope, "median_ratio": ratio}


def runs(names, seeds):
    """Contenders with their seeds; those that learn nothing once."""
    for name in names:
        for seed in seeds if CONTENDERS[name].learns else seeds[:1]:
            yield name, seed


def scores(given, truth: Truth) -> None:
    """accuracy.csv: every contender, seed, treatment of the memory, case and time."""
    cases, rows = np.flatnonzero(~truth.train), []
    want, wet = at_times(truth, cases, TIMES), truth.flows[0]["mask"] > 0.05
    for name, seed in runs(given.names, given.seeds):
        if CONTENDERS[name].learns and not (given.folder / f"{name}_{seed}.npz").exists():
            continue
        trained = Trained(name, seed, truth, truth, given.folder)
        for memory in ("kept", "reset", "shuffled") if name in WITH_RESETS else ("kept",):
            seen = trained.run(truth, cases, 600.0, memory)
            found = seen[[round(t / RECORD) - 1 for t in TIMES]]
            scored = measures(found, want, wet)
            for key, values in scored.items():
                for t, row in zip(TIMES, values):
                    who = [name, seed, memory, key, t]
                    rows += [[*who, c, f"{v:.6g}"] for c, v in zip(cases, row)]
            print(name, seed, memory, *(f"{v:.4g}" for v in scored["relative"].mean(1)))
    head = ["contender", "seed", "memory", "measure", "time", "case", "value"]
    _write("accuracy.csv", head, rows)


def few(given, truth: Truth) -> None:
    """few.csv: errors on the test cases against the number of training cases."""
    cases, rows = np.flatnonzero(~truth.train), []
    want, wet = at_times(truth, cases, TIMES), truth.flows[0]["mask"] > 0.05
    for name, seed in runs(given.names, given.seeds):
        for count in (*FEW, int(truth.train.sum())):
            label = f"_of{count}" if count in FEW else ""
            if not (given.folder / f"{name}_{seed}{label}.npz").exists():
                continue
            trained = Trained(name, seed, truth, truth, given.folder, few=label)
            seen = trained.run(truth, cases, 600.0)[[round(t / RECORD) - 1 for t in TIMES]]
            for key, values in measures(seen, want, wet).items():
                means = zip(TIMES, values.mean(1), np.median(values, axis=1))
                rows += [[name, count, seed, key, t, f"{a:.5g}", f"{b:.5g}"] for t, a, b in means]
            print(name, count, seed, flush=True)
    head = ["contender", "training_cases", "seed", "measure", "time", "mean", "median"]
    _write("few.csv", head, rows)


def near(given, truth: Truth) -> None:
    """near.csv: how much of the squared error lies within so many metres of the source."""
    cases, rows = np.flatnonzero(~truth.train), []
    want, wet = at_times(truth, cases, TIMES), truth.flows[0]["mask"] > 0.05
    y, x = (np.indices(truth.shape) + 0.5) * truth.cell[0]
    source = truth.start[cases][:, 0]
    away = np.stack([np.hypot(x - at[0], y - at[1]) for at in source])
    for name, seed in runs(given.names, given.seeds):
        if CONTENDERS[name].learns and not (given.folder / f"{name}_{seed}.npz").exists():
            continue
        trained = Trained(name, seed, truth, truth, given.folder)
        seen = trained.run(truth, cases, 600.0)[[round(t / RECORD) - 1 for t in TIMES]]
        error = (seen - want) ** 2 * wet
        for radius in RADII:
            part = (error * (away <= radius)).sum((1, 2, 3)) / error.sum((1, 2, 3))
            rows.append([name, seed, radius, *(f"{x:.3f}" for x in part)])
    _write("near.csv", ["contender", "seed", "radius_m", *(f"{t} s" for t in TIMES)], rows)


def _write(name: str, head: list[str], rows: list) -> None:
    with open(HERE / name, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def families(given, base: Truth) -> None:
    """families.csv: rank correlation and magnitudes at the end of every case of every family."""
    rows = []
    for path in sorted(given.truth.parent.glob("*.nc")):
        truth = base if path.name == given.truth.name else read_truth(path)
        seconds = float(truth.time[-1])
        for name, seed in runs(given.names, given.seeds):
            if CONTENDERS[name].learns and not (given.folder / f"{name}_{seed}.npz").exists():
                continue
            for flow in np.unique(truth.flow):
                cases = np.flatnonzero((truth.flow == flow) & ~truth.train)
                if not len(cases):
                    continue
                trained = Trained(name, seed, truth, base, given.folder, int(flow))
                found = trained.run(truth, cases, seconds)[-1]
                want = at_times(truth, cases, [seconds])[0]
                wet = truth.flows[int(flow)]["mask"] > 0.05
                for c, f, t in zip(cases, found, want):
                    m = magnitudes(f, t, wet)
                    rows.append([truth.name, name, seed, c, *(f"{v:.5g}" for v in m.values())])
            print(truth.name, name, seed, flush=True)
            head = ["family", "contender", "seed", "case", "spearman", "slope", "median_ratio"]
            _write("families.csv", head, rows)


def checks(given, truth: Truth) -> None:
    """conservation.csv: 6000 s in double precision; speed.csv: seconds of a run of 600 s."""
    cases, rows = np.flatnonzero(~truth.train)[:1], []
    for name in [n for n in given.names if CONTENDERS[n].closure]:
        contender = CONTENDERS[name]
        model = contender.model(truth, 0, np.float64)
        home = contender.model(truth)
        learned = load_tree(given.folder / f"{name}_0.npz", home, contender.start(home, 0))
        wide = jax.tree.map(lambda x: x.astype(np.float64), learned)
        params = contender.params(model, wide)
        source = field(truth.sources(cases, DT, DT)[0], np.float64)
        run = jax.jit(lambda p, m=model, s=source: m.rollout(m.at_rest(1), p, s, STEPS, 30))
        last, seen = jax.block_until_ready(run(params))
        part = np.asarray(model.plane.part.interior)
        total = float((np.asarray(last.inventory().data) * part).sum())
        put = float((np.asarray(source.data) * part).sum()) * DT * STEPS
        put *= float(params["source_strength"])
        low = min(float(seen.data.min()), float(last.held.layers.data.min()))
        rows.append([name, f"{total / put - 1:.2e}", f"{low / float(seen.data.max()):.2e}"])
        began = time.perf_counter()
        jax.block_until_ready(run(params))
        rows[-1].append(f"{(time.perf_counter() - began) / 10:.3f}")
        rows[-1].append(sum(x.size for x in jax.tree.leaves(learned)))
        print(rows[-1])
    head = ["contender", "relative_error_of_inventory", "lowest_over_highest", "seconds_per_600s"]
    _write("conservation.csv", [*head, "learned_numbers"], rows)


def main() -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["scores", "families", "few", "near", "checks"])
    parser.add_argument("--names", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--truth", type=Path, default=HERE / "truth.nc")
    parser.add_argument("--folder", type=Path, default=Path("output/memory_closure/trained"))
    given = parser.parse_args()
    todo = {"scores": scores, "families": families, "few": few, "near": near, "checks": checks}
    todo[given.what](given, read_truth(given.truth))


if __name__ == "__main__":
    main()
