"""Training of the toy ocean's scalars and of its map of sources."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from toy_ocean import SHAPE, STEPS, TRUTH, Toy

from dogcm.field import Field
from dogcm.learning.groups import Ranks
from dogcm.learning.optimiser import Settings
from dogcm.learning.rollout import rollout
from dogcm.learning.trainer import Conduct, Stage, Trainer

SETTINGS = Settings({"physics": 0.05}, updates=200, clip=10.0, average=0.9)
SOURCE = 0.05 * np.cos(np.arange(np.prod(SHAPE))).reshape(SHAPE)


class ToyTargets:
    """Windows of toy oceans with known parameters."""

    def __init__(self, toy, poison: int | None = None):
        self.toy, self.poison = toy, poison
        params = {n: jnp.asarray(v) for n, v in TRUTH.items()} | {
            "source": Field(toy.tile(SOURCE), "c")
        }
        run = lambda s, n: rollout(toy.step, s, params, toy.forcing, None, n, checkpoint="none")[0]
        self._run = toy.halos.jit(lambda s, n: run(s, n)["c"].data, static_argnums=1)

    def count(self, steps):
        return 5 if steps <= STEPS else 0

    def window(self, index, steps):
        start = self.toy.start(index)
        value = self._run(start, steps)
        here = index == self.poison and self.toy.halos.rank == self.toy.halos.size - 1
        return start, jnp.where(here, jnp.nan, value)


def trainer_on(comm, groups=1, px=None, poison=None, explode=False, **options):
    """A trainer of the toy's scalars and of its map of sources."""
    ranks = Ranks(comm, groups)
    toy = Toy(ranks.tiles, px)

    def share(trainable, window, fixed, steps):
        state, target = window
        physics = trainable["physics"]
        params = {
            "k": jnp.exp(physics["log_k"]),
            "pull": physics["pull"],
            "source": physics["source"],
        }
        last, _ = rollout(toy.step, state, params, fixed, None, steps)
        error = jnp.sum((last["c"].data - target) ** 2) / np.prod(SHAPE)
        return jnp.where(physics["log_k"] > -1.0, jnp.nan, error) if explode else error

    start = {
        "log_k": jnp.log(0.05),
        "pull": jnp.asarray(0.0),
        "source": Field(toy.tile(np.zeros(SHAPE)), "c"),
    }
    stages = options.pop("curriculum", [Stage(20, 3), Stage(180, STEPS)])
    settings = options.pop("settings", SETTINGS)
    conduct = Conduct(**{"batch": 2, "seed": 4} | options)
    targets = ToyTargets(toy, poison)
    return toy, Trainer(
        share, toy.forcing, {"physics": start}, targets, ranks, stages, settings, conduct
    )


def values(toy, weights):
    """Everything learned, global, on rank 0 (and the scalars on all ranks)."""
    p = weights.trainable["physics"]
    whole = toy.decomposition.gather(np.asarray(p["source"].data))
    return {"log_k": float(p["log_k"]), "pull": float(p["pull"]), "source": whole}
