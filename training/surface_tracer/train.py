"""Train the contenders: segments of days, state carried and detached, growing horizon.

    python training/surface_tracer/train.py memory markov diluted --seeds 0 1 2

writes ``FOLDER/NAME_SEED.npz``. What is there already is not trained again. Training sees the first
forty days of ten releases; two more releases are for choices.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contenders import CONTENDERS
from releases import DAY, Truth, read_truth

from dogcm.planar import adam_by_name, save_tree

HERE = Path(__file__).resolve().parent
SEGMENT = 10.0  # days of one update
# Segments of an episode, and how many episodes: 10, 20 and 40 days.
HORIZONS = ((1, 40), (2, 40), (4, 50))
BATCH = 5
HELD_OUT = 2  # of the releases for training, for choices
SMALL = 1e-9  # kg m-3, below which concentrations count as nothing
RATES = {"physics": 2e-2, "network": 3e-3, "rest": 2e-2}


def chosen(truth: Truth, what: str) -> np.ndarray:
    """Releases for ``train``, for choices (``valid``), or for the ``test``."""
    train = np.flatnonzero(truth.train)
    found = {"train": train[:-HELD_OUT], "valid": train[-HELD_OUT:]}
    return found.get(what, np.flatnonzero(~truth.train))


def loss_of(model, contender, learned, state, source, target):
    """Loss of one segment and the state after it: of logarithms, and of squares.

    Args:
        target: (record, case, y, x), every step.
    """
    last, seen = model.rollout(state, contender.params(model, learned), source, len(target))
    scaled = lambda c: jnp.arcsinh(c / SMALL)
    far = jnp.mean((scaled(seen.data) - scaled(target)) ** 2)
    # Each release and record for itself, so that none outweighs the others.
    size = jnp.sum(target**2, axis=(-2, -1)) + SMALL**2
    mass = jnp.mean(jnp.sum((seen.data - target) ** 2, axis=(-2, -1)) / size)
    return far + 4.0 * mass, (last, (far, mass))


def train(name: str, truth: Truth, seed: int, tell=print, horizons=HORIZONS):
    """Train one contender; returns the model and what it learned."""
    contender, cases = CONTENDERS[name], chosen(truth, "train")
    model = contender.model(truth)
    learned = contender.start(model, seed)
    updates = sum(n * m for n, m in horizons)
    rule = adam_by_name(RATES, updates)
    moments, steps = rule.init(learned), round(SEGMENT * DAY / truth.every)

    @jax.jit
    def update(learned, moments, state, batch, target):
        source = truth.source(batch, model.dt)
        loss = lambda w: loss_of(model, contender, w, state, source, target)
        (value, (last, parts)), slope = jax.value_and_grad(loss, has_aux=True)(learned)
        change, moments = rule.update(slope, moments, learned)
        learned = optax.apply_updates(learned, change)
        if model.closure is not None:
            learned = learned | {"closure": model.closure.feasible(learned["closure"])}
        return learned, moments, last, (value, *parts)

    random, done, began = np.random.default_rng(seed), 0, time.perf_counter()
    for segments, episodes in horizons:
        for _ in range(episodes):
            batch = random.choice(cases, BATCH, replace=False)
            state, seen = model.at_rest(BATCH), []
            for n in range(segments):
                at = slice(n * steps + 1, (n + 1) * steps + 1)
                target = truth.concentration[batch][:, at].swapaxes(0, 1)
                learned, moments, state, parts = update(
                    learned, moments, state, batch, jnp.asarray(target, jnp.float32)
                )
                seen.append([float(x) for x in parts])
                done += 1
            if done % 10 < segments:
                told = " ".join(f"{x:.3f}" for x in np.mean(seen, axis=0))
                tell(f"{name} {seed}: {done}/{updates} {told}, {time.perf_counter() - began:.0f} s")
    return model, learned


def main() -> None:
    """The command; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=[n for n, c in CONTENDERS.items() if c.learns])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--truth", type=Path, default=HERE / "truth.nc")
    parser.add_argument("--folder", type=Path, default=Path("output/surface_tracer/trained"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    truth = read_truth(given.truth)
    for seed in given.seeds:
        for name in given.names:
            path = given.folder / f"{name}_{seed}.npz"
            if path.exists():
                continue
            began = time.perf_counter()
            model, learned = train(name, truth, seed, lambda t: print(t, flush=True))
            save_tree(path, model, learned)
            facts = {"seconds": time.perf_counter() - began}
            path.with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
