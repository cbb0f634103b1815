"""Train the jump, its ablations and other networks on the ensemble.

    python training/learned_jump/train.py jump --seeds 0 1 2
    python training/learned_jump/train.py no_series no_maps fourier --seeds 0

writes ``FOLDER/weights/NAME_SEED.npz``; what is there is not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from contenders import ABLATIONS, JUMP, NETWORKS
from ensemble import FOLDER, LARGEST_STEP, Circulations, Member, in_order, with_age

from dogcm import spinup

STEPS, PROCESS_STEPS = 700, 25
HOW = {"batch": 2, "columns": 384, "rate": 2e-3, "weight": 3.0}
NAMES = ("jump", "process", *ABLATIONS, *NETWORKS)


def examples_of(folder: Path, splits, model) -> dict[str, spinup.Example]:
    """Members of some splits that have been made, by name."""
    these = Circulations(folder)
    out = {}
    for member in in_order():
        path = folder / f"{member.name}.npz"
        if member.split in splits and path.exists():
            out[member.name] = _example(path, member, these, model)
    return out


def _example(path: Path, member: Member, these: Circulations, model) -> spinup.Example:
    with np.load(path) as data:
        years, equilibrium = data["years"][:, None], data["equilibrium"][None]
    given = {
        "vertical_diffusivity": member.vertical,
        "isoneutral_diffusivity": member.isoneutral,
        "gm_diffusivity": these.gm(member),
    }
    return spinup.Example(years, equilibrium, these.read(member, model), given)


def together(paths: Sequence[Path]) -> spinup.JumpWeights:
    """Networks of several seeds as one ensemble."""
    read = [spinup.JumpWeights.load(p) for p in paths]
    return dataclasses.replace(read[0], members=tuple(r.members[0] for r in read))


def problem_with(examples, model):
    """The map of a year, to be turned to each of the examples."""
    settings = spinup.Settings(largest_step=LARGEST_STEP)
    return spinup.problem_of(model, "age", next(iter(examples.values())).circulation, settings)


class Trainer:
    """Trains contenders, and keeps the features of the examples between them."""

    def __init__(self, folder: Path):
        self.folder = folder / "weights"
        self.folder.mkdir(exist_ok=True)
        model = with_age()
        self.examples = list(examples_of(folder, ("train",), model).values())
        self.problem = problem_with({"": self.examples[0]}, model)
        self._prepared: dict[str, spinup.Prepared] = {}

    def prepared(self, config: spinup.JumpConfig) -> spinup.Prepared:
        """Features, with the reference or without."""
        key = f"{config.reference} {config.form} {config.modes}"
        if key not in self._prepared:
            known = spinup.reference_of(self.problem, self.examples, config)
            self._prepared[key] = spinup.Prepared.of(self.problem, self.examples, config, known)
        return self._prepared[key]

    def train(self, name: str, seed: int, steps: int) -> None:
        """One contender, unless it is there."""
        path = self.folder / f"{name}_{seed}.npz"
        if path.exists():
            return
        config = JUMP.model_copy(update=ABLATIONS.get(name, {}))
        how = spinup.Training(steps=steps, seed=seed, **HOW)
        first = None
        if name == "process":
            # Goes on from the jump of the same seed.
            first = spinup.JumpWeights.load(self.folder / f"jump_{seed}.npz").members[0]
            more = {"rate": 1e-3, "process": 0.01, "process_steps": PROCESS_STEPS}
            how = spinup.Training(steps=PROCESS_STEPS, seed=seed, **(HOW | more))
        losses: list[float] = []

        def report(n: int, loss: float) -> None:
            losses.append(loss)
            if n % max(how.steps // 15, 1) == 0:
                print(f"  {n:5d}  {np.mean(losses[-100:]):.5f}", flush=True)

        start = time.process_time()
        found = spinup.train_jump(
            self.problem,
            self.examples,
            config,
            how,
            network=NETWORKS.get(name),
            prepared=self.prepared(config),
            first=first,
            report=report,
        )
        spent = time.process_time() - start
        size = sum(x.size for x in jax.tree.leaves(found.members[0]))
        card = {
            "name": name,
            "seed": seed,
            "numbers": size,
            "learned from": f"{len(self.examples)} equilibria of ideal age, global_4deg",
            "steps": how.steps,
            "seconds of the CPU": round(spent, 1),
            "last loss": float(np.mean(losses[-100:])),
        }
        spinup.JumpWeights(config, found.members, found.reference, card).save(path)
        print(f"{name} {seed}: {size} numbers, {spent:.0f} s", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    trainer = Trainer(options.folder)
    print(f"{len(trainer.examples)} examples", flush=True)
    for name in options.names:
        for seed in options.seeds:
            trainer.train(name, seed, options.steps)


if __name__ == "__main__":
    main()
