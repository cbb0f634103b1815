"""How far what is said of the equilibrium is from it, in years, and what it breaks.

    python training/learned_jump/evaluate.py     # violations.csv, calibration.csv

and ``FOLDER/errors.csv``, member by member, of which draw.py makes table.csv. Contenders are all
weights in ``FOLDER/weights`` and what needs none. What has to be chosen (the horizon of an
extrapolation, the kernel) is chosen on the members for validation.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import simple
from contenders import NETWORKS
from ensemble import FOLDER, with_age
from train import examples_of, problem_with, together

from dogcm import spinup

HERE = Path(__file__).resolve().parent
SPLITS = ("validation", "test", "beyond", "warmer")
BANDS = {
    "50 to 200 m": (50.0, 200.0),
    "200 to 1000 m": (200.0, 1000.0),
    "1000 to 2000 m": (1000.0, 2000.0),
    "below 2000 m": (2000.0, 1e4),
    "below 50 m": (50.0, 1e4),
}
LENGTHS, NOISES = (1.0, 2.0, 4.0, 8.0), (1e-3, 1e-2, 1e-1)


class Members:
    """The members that are told of, and the map of a year turned to one of them."""

    def __init__(self, folder: Path):
        model = with_age()
        self.folder = folder
        self.train = list(examples_of(folder, ("train",), model).values())
        self.told = examples_of(folder, SPLITS, model)
        self.problem = problem_with(self.told, model)
        self.mask = np.asarray(self.problem.space.mask) > 0
        self.volume = np.asarray(self.problem.space.volume)
        self.depth = np.asarray(model.grid.z_c)[:, 0, 0]
        self._now: spinup.Example | None = None

    def turn_to(self, example: spinup.Example) -> spinup.Problem:
        """The problem of an example."""
        if self._now is not example:
            self.problem.carry_by(example.circulation, example.params)
            self._now = example
        return self.problem

    def of(self, split: str) -> dict[str, spinup.Example]:
        """Members of a split, by name."""
        return {n: e for n, e in self.told.items() if n.startswith(split)}

    def scores(self, found, truth, band) -> dict[str, float]:
        """Weighed by volume, over cells of a band of depths."""
        low, high = band
        here = self.mask & ((self.depth >= low) & (self.depth < high))[:, None, None]
        x, y, w = found[0][here], truth[0][here], self.volume[here]
        w = w / w.sum()
        mean = (w * y).sum()
        spread = np.sqrt((w * (y - mean) ** 2).sum())
        rmse = np.sqrt((w * (x - y) ** 2).sum())
        slope = (w * (y - mean) * (x - (w * x).sum())).sum() / spread**2
        return {
            "rmse": rmse,
            "nrmse": rmse / spread,
            "r2": 1.0 - (rmse / spread) ** 2,
            "slope": slope,
            "bias": (w * (x - y)).sum(),
        }


def of_weights(members: Members, paths: list[Path], constraints=None) -> Callable:
    """What one network says, or the mean of several."""
    weights = together(paths)
    network = NETWORKS.get(weights.card["name"])

    def say(example: spinup.Example):
        problem = members.turn_to(example)
        states = [jnp.asarray(s, jnp.float64) for s in example.states]
        found = spinup.predict(problem, states, weights, constraints, network)
        return np.asarray(found.state), np.asarray(found.spread)

    return say


def operator(members: Members) -> Callable:
    """The equilibrium of the mean transport operator: one step of the preconditioner from 0."""

    def say(example: spinup.Example):
        problem = members.turn_to(example)
        start = jnp.zeros_like(jnp.asarray(example.equilibrium, jnp.float64))
        steps = spinup.Anderson(lumped=1).iterates(problem, start, 1e-3)
        next(steps)
        return np.asarray(next(steps)[0]), None

    return say


def chosen(members: Members, makers: dict) -> tuple[object, Callable]:
    """The maker with the least error on the members for validation."""
    band = BANDS["below 50 m"]
    score = lambda say: np.mean(
        [
            members.scores(say(e)[0], e.equilibrium, band)["rmse"]
            for e in members.of("validation").values()
        ]
    )
    best = min(makers, key=lambda k: score(makers[k]))
    return best, makers[best]


def plain(members: Members) -> dict[str, Callable]:
    """Contenders without a network; what was chosen is printed."""
    mean = np.mean([e.equilibrium for e in members.train], axis=0)
    alone = lambda f: lambda e: (f(e), None)
    sets = {
        "linear": {h: alone(lambda e, h=h: simple.linear(e.states, h)) for h in simple.HORIZONS},
        "exponential": {
            c: alone(lambda e, c=c: simple.exponential(e.states, c)) for c in simple.CAPS
        },
        "gaussian_process": {
            (length, noise): alone(simple.Gaussian.of(members.train, length, noise))
            for length in LENGTHS
            for noise in NOISES
        },
    }
    out = {"persistence": alone(lambda e: e.states[20]), "mean": alone(lambda e: mean)}
    for name, makers in sets.items():
        best, out[name] = chosen(members, makers)
        print(f"{name}: {best} does best on the members for validation", flush=True)
    return out | {"operator": operator(members)}


def contenders(members: Members) -> dict[str, Callable]:
    """All, by name; of several seeds each, and the mean of the jump's."""
    found: dict[str, list[Path]] = {}
    for path in sorted((members.folder / "weights").glob("*.npz")):
        found.setdefault(path.stem.rpartition("_")[0], []).append(path)
    out = plain(members)
    for name, paths in found.items():
        for path in paths:
            out[path.stem] = of_weights(members, [path])
        if len(paths) > 1:
            out[f"{name}_mean"] = of_weights(members, paths)
    if "difference" in found:
        out["difference_free"] = of_weights(members, found["difference"], ())
    return out


def violations(members: Members, example, found) -> dict[str, float]:
    """What is broken, and what the first year changes (root mean square, years)."""
    problem = members.turn_to(example)
    x = jnp.asarray(found, jnp.float64)
    new = problem.year(x)
    wet = found[0][members.mask]
    space = problem.space
    return {
        "negative": float((wet < 0).mean()),
        "least": float(wet.min()),
        "above": float((wet > simple.MOST).mean()),
        "residual": space.residual(new - x, new),
        "drift": float(space.sizes(new - x)[0]),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    members = Members(parser.parse_args().folder)
    errors, broken, spreads = [], [], []
    all_of = contenders(members)
    for member, example in members.told.items():
        for name, say in all_of.items():
            found, spread = say(example)
            for band, limits in BANDS.items():
                row = members.scores(found, example.equilibrium, limits)
                errors.append({"contender": name, "member": member, "band": band} | row)
            row = violations(members, example, found)
            broken.append({"contender": name, "member": member} | row)
            if name.endswith("_mean"):
                spreads += _spread(members, name, member, example, found, spread)
        rows = [e for e in errors if e["member"] == member and e["band"] == "below 50 m"]
        print(member, {e["contender"]: round(float(e["rmse"]), 1) for e in rows}, flush=True)
    errors.sort(key=lambda e: list(all_of).index(e["contender"]))
    broken.sort(key=lambda e: list(all_of).index(e["contender"]))
    _write(members.folder / "errors.csv", errors)
    _write(HERE / "violations.csv", broken)
    _write(HERE / "calibration.csv", spreads)


def _spread(members: Members, name, member, example, found, spread) -> list[dict]:
    """Errors where the networks differ by little, and by much: fifths of the volume."""
    here = members.mask & (members.depth > 50.0)[:, None, None]
    error = (found - example.equilibrium)[0][here]
    spread, w = spread[0][here], members.volume[here]
    order = np.argsort(spread)
    part = np.minimum((np.cumsum(w[order]) / w.sum() * 5).astype(int), 4)
    out = []
    for n in range(5):
        those = order[part == n]
        share = w[those] / w[those].sum()
        root = lambda x, those=those, share=share: float(np.sqrt((share * x[those] ** 2).sum()))
        row = {"spread": root(spread), "error": root(error)}
        out.append({"contender": name, "member": member, "fifth": n + 1} | row)
    return out


def _write(path: Path, rows: list[dict]) -> None:
    if not rows:
        return
    plain = lambda v: f"{v:.5g}" if isinstance(v, float | np.floating) else v
    with open(path, "w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows({k: plain(v) for k, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
