"""Train the contenders: back-propagation in segments, state carried and detached, growing horizon.

    python training/memory_closure/train.py memory markov learned_d --seeds 3

writes ``FOLDER/NAME_SEED.npz`` (open, versioned) and a line of the log every so many updates. What
is there already is not trained again.
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
from contenders import CONTENDERS, DT
from planes import Truth, field, read_truth

from dogcm.planar import adam_by_name, save_tree

HERE = Path(__file__).resolve().parent
SEGMENT = 120.0  # s, of one update
RECORD = 20.0  # s between what the loss compares
# Segments of an episode, and how many episodes: 120, 240, 360 and 600 s.
HORIZONS = ((1, 60), (2, 30), (3, 24), (5, 36))
BATCH = 6
SMALL = 1e-9  # kg m-3, below which concentrations count as nothing
RATES = {"physics": 2e-2, "published": 1e-3, "network": 3e-3, "maps": 2e-2, "rest": 2e-2}


def loss_of(model, contender, own, learned, state, source, target):
    """Loss of one segment and the state after it.

    The published relative error divides by concentrations that are nearly zero: it is ruled by
    cells in front of the plume, where it may be 1e4 and more, and says nothing where the mass is.
    Here logarithms count above SMALL, and besides the squared error where the mass is.

    Args:
        own: raw diffusivities of the eddies. source: (case, y, x). target: (record, case, y, x).
    """
    steps, every = round(SEGMENT / DT), round(RECORD / DT)
    last, seen = model.rollout(state, contender.params(model, learned), source, steps, every)
    wet = model.plane.wet_c.crop(0).data
    scaled = lambda c: jnp.arcsinh(c / SMALL)
    far = jnp.sum((scaled(seen.data) - scaled(target)) ** 2 * wet) / (
        jnp.sum(wet) * target.shape[0] * target.shape[1]
    )
    # Each case and record for itself, so that none outweighs the others.
    size = jnp.sum(target**2, axis=(-2, -1)) + SMALL**2
    mass = jnp.mean(jnp.sum((seen.data - target) ** 2 * wet, axis=(-2, -1)) / size)
    return far + 4.0 * mass + prior(contender, own, learned), (last, (far, mass))


def prior(contender, own, learned):
    """Maps are small, and diffusivities (their logarithms) near the eddies'."""
    square = lambda tree: [jnp.mean(x**2) for x in jax.tree.leaves(tree)]
    away = jax.tree.map(
        jnp.subtract,
        learned["physics"]["plane_diffusivity"],
        own,
    )
    of_maps, of_diffusivity = contender.prior
    return of_diffusivity * sum(square(away)) + of_maps * sum(
        square(learned.get("closure", {}).get("maps", {}))
    )


def train(name: str, truth: Truth, seed: int, cases, tell=print):
    """Train one contender; returns the model and what it learned."""
    contender = CONTENDERS[name]
    model = contender.model(truth)
    learned = contender.start(model, seed)
    own = contender.own_diffusivity(model)
    updates = sum(n * m for n, m in HORIZONS)
    rule = adam_by_name(RATES, updates)
    moments = rule.init(learned)

    @jax.jit
    def update(learned, moments, state, source, target):
        loss = lambda w: loss_of(model, contender, own, w, state, source, target)
        (value, (last, parts)), slope = jax.value_and_grad(loss, has_aux=True)(learned)
        change, moments = rule.update(slope, moments, learned)
        learned = optax.apply_updates(learned, change)
        if contender.projected:
            learned = learned | {"closure": model.closure.feasible(learned["closure"])}
        return learned, moments, last, (value, *parts)

    random, done, began = np.random.default_rng(seed), 0, time.perf_counter()
    for segments, episodes in HORIZONS:
        for _ in range(episodes):
            batch = random.choice(cases, min(BATCH, len(cases)), replace=False)
            source = field(truth.sources(batch, DT, DT)[0])
            state, seen = model.at_rest(len(batch)), []
            for n in range(segments):
                times = n * SEGMENT + RECORD * (1 + np.arange(round(SEGMENT / RECORD)))
                at = np.searchsorted(truth.time, times - 1e-6)
                target = jnp.asarray(truth.concentration[batch][:, at].swapaxes(0, 1), jnp.float32)
                learned, moments, state, parts = update(learned, moments, state, source, target)
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
    parser.add_argument("--cases", type=int, default=0, help="so many training cases (0: all)")
    parser.add_argument("--folder", type=Path, default=Path("output/memory_closure/trained"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    truth = read_truth(given.truth)
    for seed in given.seeds:
        for name in given.names:
            cases = np.flatnonzero(truth.train)
            label = f"{name}_{seed}"
            if given.cases:
                cases = np.random.default_rng(seed).permutation(cases)[: given.cases]
                label += f"_of{given.cases}"
            path = given.folder / f"{label}.npz"
            if path.exists():
                continue
            began = time.perf_counter()
            model, learned = train(name, truth, seed, cases, lambda t: print(t, flush=True))
            save_tree(path, model, learned)
            facts = {"seconds": time.perf_counter() - began, "cases": cases.tolist()}
            path.with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
