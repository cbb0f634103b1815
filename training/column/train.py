"""Learn constants, and then a network, from the truth of the training columns.

    python training/column/train.py OUTPUT constants     # tke and kpp: some ten minutes
    python training/column/train.py OUTPUT networks      # three seeds at once

Coarse columns (layers of 5 m, steps of an hour) run ten days beside the truth. Constants are found
by the method of Gauss and Newton with a tangent for each, from the defaults and from another
start; the best on the validation columns is kept. Networks then go on from the constants of
``tke`` by Adam, through rollouts of five days, on minibatches of training columns, and are kept as
they were where they did best on the validation columns. Test columns are not touched. Both write
into ``weights`` here and can be interrupted: what is there is not learned again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cases as parts
import jax
import jax.numpy as jnp
import numpy as np
import optax
from closure import LearnedTKE, fresh_network, load, network, save
from columns import Columns, coarsened, mixed_layer_depth
from truth import DAYS, EVERY, FAMILY_SIZE, read

import dogcm

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE / "weights"
CONSTANTS = {
    "tke": ("tke_c_k", "tke_c_eps", "tke_alpha", "tke_surface_flux", "tke_background"),
    "kpp": (
        "kpp_critical_richardson",
        "kpp_unresolved_shear",
        "kpp_nonlocal",
        "kpp_shear_mixing",
        "kpp_shear_richardson",
    ),
}
# Factors on the defaults from which constants start.
STARTS, STEPS = ((1.0, 1.0, 1.0, 1.0, 1.0), (0.6, 0.8, 0.3, 1.5, 1.2)), 6
LARGEST = {"kpp_nonlocal": 15.0, "kpp_unresolved_shear": 10.0, "kpp_critical_richardson": 5.0}
FLOOR_T, FLOOR_H = 0.02, 5.0  # K, m: errors this small count less
SEEDS, BATCH, UPDATES, RATE, LOOK = 3, 24, 200, 8e-3, 20
ROLLOUT = 5.0  # days that networks learn from; they are validated on all


class SeedsTKE(LearnedTKE):
    """Networks of several seeds, each for its own share of the columns."""

    def answer(self, weights, x):
        seeds = weights[0][0].shape[0]
        apart = x.reshape(*x.shape[:-1], seeds, -1)
        found = jax.vmap(network, (0, -2), -2)(weights, apart)
        return found.reshape(*found.shape[:-2], -1)


def residuals(T, truth: dict, edges):
    """What is squared: temperature over the spread of the truth's change, and depth of the mixed
    layer over its own. Each column weighs 1.

    Args:
        T: (records, layers, columns). truth: ``T`` likewise, its ``scale`` and ``depth``.
    """
    depth = mixed_layer_depth(T, edges)
    of_T = (T - truth["T"]) / truth["scale"] / np.sqrt(T.shape[0] * T.shape[1])
    of_depth = (depth - truth["depth"]) / (truth["depth"] + FLOOR_H) / np.sqrt(T.shape[0])
    return of_T, of_depth


def wanted(truth: dict, which, edges, days: float = DAYS) -> dict:
    """The first days of the truth of some columns, as :func:`residuals` wants it."""
    T = truth["T"][: round(days * 86400 / EVERY), :, which]
    change = T - truth["first"][..., which]
    return {
        "T": T,
        "scale": np.sqrt((change**2).mean((0, 1))) + FLOOR_T,
        "depth": mixed_layer_depth(T, edges),
    }


class Data:
    """Columns, their parts, and the truth on layers of some thickness."""

    def __init__(self, folder: Path, layer: float):
        self.cases, self.parts, self.families = parts.drawn()
        fine = read(folder)
        edges = np.arange(0.0, fine["edges"][-1] + layer / 2, layer)
        self.truth = coarsened({n: fine[n] for n in ("T", "first")}, fine["edges"], edges)
        self.edges = edges

    def of(self, *names: str) -> np.ndarray:
        """Numbers of the columns of these parts."""
        return np.flatnonzero(np.isin(self.parts, names))


def constants(folder: Path, scheme: str) -> None:
    """Gauss and Newton's method for the constants of a scheme."""
    path = WEIGHTS / f"{scheme}.npz"
    if path.exists():
        return
    data = Data(folder, 5.0)
    names = CONSTANTS[scheme]
    which, check = data.of("train"), data.of("validation")
    every = np.concatenate([which, check])
    plane = Columns.of(len(every), {"tke": dogcm.TKE, "kpp": dogcm.KPP}[scheme]())
    cases, truth = data.cases[every], wanted(data.truth, every, data.edges)
    defaults = np.array([float(plane.params[n]) for n in names])
    highest = np.log([LARGEST.get(n, np.inf) for n in names]) - 1e-6

    def run(logs):
        params = plane.params | dict(zip(names, jnp.exp(logs)))
        return residuals(plane.run(params, cases, DAYS, EVERY)["T"], truth, data.edges)

    split = len(which)

    @jax.jit
    def all_of(logs):
        tangents, (of_T, of_h) = jax.jacfwd(lambda x: (run(x),) * 2, has_aux=True)(logs)
        flat = lambda x: x[..., :split, :].reshape(-1, len(names))
        J = jnp.concatenate([flat(t) for t in tangents])
        r = jnp.concatenate([x[..., :split].ravel() for x in (of_T, of_h)])
        per_column = (of_T**2).sum((0, 1)) + (of_h**2).sum(0)
        return per_column, J.T @ J / split, J.T @ r / split

    rows, best = [], (np.inf, defaults)
    for n, factors in enumerate(STARTS):
        logs, damping = np.minimum(np.log(defaults * factors), highest), 1e-2
        loss, square, slope = map(np.asarray, all_of(logs))
        for update in range(STEPS + 1):
            values = loss[:split].mean(), loss[split:].mean()
            rows.append({"start": n, "update": update, "train": values[0], "validation": values[1]})
            rows[-1] |= dict(zip(names, np.exp(logs)))
            print(scheme, rows[-1], flush=True)
            best = min(best, (values[1], np.exp(logs)), key=lambda b: b[0])
            if update == STEPS:
                break
            logs, damping, (loss, square, slope) = _improved(
                all_of, logs, damping, (loss, square, slope), split, highest
            )
    write(HERE / f"constants_{scheme}.csv", rows)
    save(path, dict(zip(names, best[1])))


def _improved(all_of, logs, damping, now, split, highest):
    """One step of Levenberg and Marquardt's, of at most a factor of two."""
    loss, square, slope = now
    for _ in range(3):
        step = np.linalg.solve(square + damping * np.diag(np.diag(square) + 1e-9), -slope)
        step *= min(1.0, np.log(2.0) / np.abs(step).max())
        tried = np.minimum(logs + step, highest)
        new = tuple(map(np.asarray, all_of(tried)))
        if new[0][:split].mean() < loss[:split].mean():
            return tried, damping / 5, new
        damping *= 10
    return logs, damping, now


def networks(folder: Path, updates: int = UPDATES) -> None:
    """Networks of all seeds, side by side in one plane."""
    if all((WEIGHTS / f"network_{s}.npz").exists() for s in range(SEEDS)):
        return
    data, learned = Data(folder, 5.0), load(WEIGHTS / "tke.npz")
    train, check = data.of("train"), data.of("validation")
    plane = Columns.of(SEEDS * BATCH, SeedsTKE())
    checked = Columns.of(SEEDS * len(check), SeedsTKE())
    fixed = lambda p: {n: v for n, v in p.params.items() if n != "corrector"} | learned

    def losses(weights, plane, cases, truth, days):
        """Of each seed."""
        params = fixed(plane) | {"mixing_network": weights}
        of_T, of_h = residuals(plane.run(params, cases, days, EVERY)["T"], truth, data.edges)
        return ((of_T**2).sum((0, 1)) + (of_h**2).sum(0)).reshape(SEEDS, -1).mean(1)

    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, 20, updates, RATE / 50)
    optimiser = optax.chain(
        _clip_each(1.0), optax.scale_by_adam(), optax.scale_by_learning_rate(schedule)
    )

    @jax.jit
    def update(weights, memory, cases, truth):
        def total(w):
            each = losses(w, plane, cases, truth, ROLLOUT)
            return each.sum(), each

        (_, each), gradient = jax.value_and_grad(total, has_aux=True)(weights)
        change, memory = optimiser.update(gradient, memory)
        return optax.apply_updates(weights, change), memory, each

    everyone = np.tile(check, SEEDS)
    of_check = data.cases[everyone], wanted(data.truth, everyone, data.edges)
    validate = jax.jit(lambda w: losses(w, checked, *of_check, DAYS))
    weights = jax.tree.map(lambda *x: jnp.stack(x), *(fresh_network(s) for s in range(SEEDS)))
    memory, at = optimiser.init(weights), 0
    best = [(np.inf, None)] * SEEDS
    rows: list[dict] = []
    kept = folder / "networks.npz"
    if kept.exists():
        weights, memory, at, best, rows = _resumed(kept, weights, memory)
    batches = [_Batches(data, train, s) for s in range(SEEDS)]
    for n in range(updates):
        which = np.concatenate([b.next() for b in batches])
        if n < at:
            continue
        if n % LOOK == 0:
            best = _look(np.asarray(validate(weights)), weights, best, rows, n)
            _keep(kept, weights, memory, n, best, rows)
        cases, truth = data.cases[which], wanted(data.truth, which, data.edges, ROLLOUT)
        weights, memory, each = update(weights, memory, cases, truth)
        rows.append({"update": n + 1} | {f"train_{s}": float(x) for s, x in enumerate(each)})
        print(n + 1, np.asarray(each), flush=True)
    best = _look(np.asarray(validate(weights)), weights, best, rows, updates)
    for s, (_, layers) in enumerate(best):
        save(WEIGHTS / f"network_{s}.npz", learned | {"mixing_network": layers})
    write(HERE / "training.csv", _thinned(rows))


class _Batches:
    """Minibatches with as many columns of each family, shuffled anew when all were seen."""

    def __init__(self, data: Data, which: np.ndarray, seed: int):
        self.rng = np.random.default_rng(100 + seed)
        self.groups = which.reshape(-1, FAMILY_SIZE)
        self.waiting: list[np.ndarray] = []

    def next(self) -> np.ndarray:
        if not self.waiting:
            mixed = np.stack([self.rng.permutation(g) for g in self.groups])
            share = BATCH // len(self.groups)
            self.waiting = [mixed[:, m : m + share].ravel() for m in range(0, FAMILY_SIZE, share)]
        return self.waiting.pop()


def _clip_each(largest: float) -> optax.GradientTransformation:
    """Clip the gradient of each seed by its own norm."""

    def clip(gradient, state, params=None):
        squares = [(g**2).reshape(SEEDS, -1).sum(1) for g in jax.tree.leaves(gradient)]
        norm = jnp.sqrt(sum(squares) + 1e-30)
        factor = jnp.where(jnp.isfinite(norm), jnp.minimum(1.0, largest / norm), 0.0)
        by = lambda g: jnp.nan_to_num(g) * factor.reshape(-1, *[1] * (g.ndim - 1))
        return jax.tree.map(by, gradient), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), clip)


def _look(found, weights, best, rows, n):
    """Note the validation losses, and keep what is best of each seed."""
    rows.append({"update": n} | {f"validation_{s}": float(x) for s, x in enumerate(found)})
    print("validation", n, found, flush=True)
    out = []
    for s, (value, b) in enumerate(zip(found, best)):
        own = jax.tree.map(lambda x, s=s: np.asarray(x[s]), weights)
        out.append((float(value), own) if value < b[0] else b)
    return out


def _keep(path: Path, *what) -> None:
    leaves = jax.tree.leaves(what[:2])
    np.savez(
        path,
        **{f"leaf_{n}": np.asarray(x) for n, x in enumerate(leaves)},
        rest=np.array(what[2:], dtype=object),
    )


def _resumed(path: Path, *like):
    with np.load(path, allow_pickle=True) as data:
        leaves, form = jax.tree.flatten(like)
        weights, memory = jax.tree.unflatten(
            form, [jnp.asarray(data[f"leaf_{n}"]) for n in range(len(leaves))]
        )
        at, best, rows = data["rest"]
    return weights, memory, at, best, list(rows)


def _thinned(rows: list[dict]) -> list[dict]:
    """Validation, and the mean training loss since the last one."""
    out, since = [], []
    for row in rows:
        if "train_0" in row:
            since.append([row[f"train_{s}"] for s in range(SEEDS)])
            continue
        mean = np.mean(since, axis=0) if since else [float("nan")] * SEEDS
        out.append(row | {f"train_{s}": float(x) for s, x in enumerate(mean)})
        since = []
    return out


def write(path: Path, rows: list[dict]) -> None:
    short = lambda x: f"{x:.6g}" if isinstance(x, float) else x
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({n: short(x) for n, x in row.items()} for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder of truth.npz")
    parser.add_argument("what", choices=("constants", "networks"))
    options = parser.parse_args()
    WEIGHTS.mkdir(exist_ok=True)
    if options.what == "networks":
        networks(options.output)
        return
    for scheme in CONSTANTS:
        constants(options.output, scheme)


if __name__ == "__main__":
    main()
