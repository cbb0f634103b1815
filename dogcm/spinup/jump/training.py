"""Learn a jump from an ensemble of equilibria."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dogcm.components import ConfigError
from dogcm.corrector.layers import Level
from dogcm.spinup.circulation import Circulation
from dogcm.spinup.jump.config import JumpConfig
from dogcm.spinup.jump.features import Features, features_of
from dogcm.spinup.jump.network import JumpNetwork
from dogcm.spinup.jump.predict import as_features, changed, known, level_of, value_of
from dogcm.spinup.jump.reference import Reference
from dogcm.spinup.jump.weights import JumpWeights, in_type
from dogcm.spinup.problem import Problem

# Of the scale, below which errors are absolute.
SMALL = 0.01


@dataclass(frozen=True)
class Example:
    """One spin-up and its equilibrium, on one rank.

    Attributes:
        states: the start and the ends of the first years, (year, tracer, z, y, x). equilibrium:
            (tracer, z, y, x). circulation, params: what carries the tracers, and the parameters of
            the map that are not the problem's own.
    """

    states: Any
    equilibrium: Any
    circulation: Circulation
    params: dict[str, float]


@dataclass(frozen=True)
class Training:
    """How a jump is learned.

    Attributes:
        steps: of Adam. rate: its largest, falling as a cosine. batch, columns: examples and columns
            of each in a step. weight: of the squared error of values beside that of logarithms, see
            :func:`misfit`.
        process: weight of what a year of the map changes the prediction by (mean size, in
            thousandths of the scale): the solver in the loop. process_steps: in how many of the
            last steps.
        seed: of the first weights and of the choice of columns.
    """

    steps: int = 1500
    rate: float = 3e-3
    batch: int = 4
    columns: int = 256
    weight: float = 1.0
    process: float = 0.0
    process_steps: int = 0
    seed: int = 0


def reference_of(
    problem: Problem, examples: Sequence[Example], config: JumpConfig
) -> Reference | None:
    """The mean equilibrium of examples, and the principal components of how they differ from it,
    of size 1 over the examples; None where the configuration wants none."""
    if not config.reference:
        return None
    mask = np.asarray(problem.space.mask)
    scale = np.array([v.scale for v in config.variables])[:, None, None, None]
    all_of = np.stack([np.asarray(e.equilibrium, float) for e in examples]) / scale
    mean = all_of.mean(axis=0)
    off = all_of - mean
    if config.form == "ratio":
        # As in the loss.
        off = np.log(np.maximum(all_of, 0.0) + SMALL) - np.log(np.maximum(mean, 0.0) + SMALL)
    weight = np.sqrt(weights_of(problem)) * mask
    rows = (off * weight).reshape(len(examples), -1)
    _, sizes, parts = np.linalg.svd(rows, full_matrices=False)
    count = min(config.modes, len(examples))
    size = sizes[:count, None] / np.sqrt(len(examples))
    modes = (parts[:count] * size).reshape(count, *mean.shape)
    modes = modes / np.where(weight > 0, weight, 1.0)
    missing = np.zeros((config.modes - count, *mean.shape))
    values = np.concatenate([(mean * scale)[None], modes, missing])
    return Reference.of(problem.grid, mask, values.reshape(-1, *mask.shape))


def weights_of(problem: Problem) -> np.ndarray:
    """Of each cell in the loss, (z, y, x): half by volume and half alike, so that thin layers
    count; of sum 1."""
    volume, mask = np.asarray(problem.space.volume), np.asarray(problem.space.mask)
    return (0.5 * volume / volume.sum() + 0.5 * mask / mask.sum()) * mask


def seen_of(
    problem: Problem, example: Example, config: JumpConfig, reference: Reference | None
) -> Features:
    """Features of an example, in single precision; the problem is turned to it."""
    problem.carry_by(example.circulation, example.params)
    given = None if reference is None else known(problem, config, reference)
    states = [jnp.asarray(s, jnp.float64) for s in example.states]
    return as_features(features_of(problem, states, config, given), jnp.float32)


@dataclass(frozen=True)
class Prepared:
    """Examples as training takes them: (example, ...) each.

    Attributes:
        features: see :class:`Features`. target: equilibria over scale, (example, tracer, z, y, x).
        weight: of each cell, (z, y, x).
    """

    features: Features
    target: jax.Array
    weight: jax.Array

    @staticmethod
    def of(
        problem: Problem,
        examples: Sequence[Example],
        config: JumpConfig,
        reference: Reference | None,
    ) -> Prepared:
        """From examples."""
        seen = [seen_of(problem, e, config, reference) for e in examples]
        scale = np.array([v.scale for v in config.variables])[:, None, None, None]
        target = np.stack([np.asarray(e.equilibrium) / scale for e in examples])
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *seen)
        narrow = lambda x: jnp.asarray(x, jnp.float32)
        weight = weights_of(problem)
        return Prepared(stacked, narrow(target), narrow(weight / weight.max()))


def train_jump(
    problem: Problem,
    examples: Sequence[Example],
    config: JumpConfig,
    training: Training = Training(),
    network: nn.Module | None = None,
    prepared: Prepared | None = None,
    first=None,
    report: Callable[[int, float], None] | None = None,
) -> JumpWeights:
    """One network that has learned from examples; on one rank.

    Args:
        problem: of the grid of the examples; it is turned to each of them.
        network: instead of :class:`JumpNetwork`, with the same arguments. prepared: the examples'
            features, where they are at hand (:meth:`Prepared.of`). first: parameters to go on from.
        report: called with the step and its loss.

    Raises:
        ConfigError: no examples, or more than one rank.
    """
    if problem.decomposition.comm.size > 1:
        raise ConfigError("a jump is learned on one rank")
    if not examples:
        raise ConfigError("a jump is learned from examples, of which there are none")
    reference = reference_of(problem, examples, config)
    prepared = prepared or Prepared.of(problem, examples, config, reference)
    level = _narrow(level_of(problem))
    network = network or JumpNetwork(config)
    one = jax.tree.map(lambda x: x[0], prepared.features)
    params = first
    if params is None:
        params = jax.jit(lambda key: network.init(key, one, level))(jax.random.key(training.seed))
    params = in_type(params, jnp.float32)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, training.rate, training.steps // 20 + 1, training.steps, 0.01 * training.rate
    )
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3))
    step = _compiled_step(network, config, level, prepared, training)

    @jax.jit
    def follow(params, held, slope):
        change, held = adam.update(slope, held, params)
        return optax.apply_updates(params, change), held

    wet = np.flatnonzero(np.asarray(problem.space.mask).any(axis=0).ravel())
    rng, held = np.random.default_rng(training.seed), adam.init(params)
    process = _Process(problem, examples, config, network, training.process)
    for n in range(training.steps):
        which = rng.choice(len(examples), min(training.batch, len(examples)), replace=False)
        columns = rng.choice(wet, min(training.columns, len(wet)), replace=False)
        loss, slope = step(params, jnp.asarray(which), jnp.asarray(columns))
        if n >= training.steps - training.process_steps:
            slope = process.added(slope, params, prepared, int(which[0]))
        params, held = follow(params, held, slope)
        if report is not None:
            report(n, float(loss))
    return JumpWeights(config, (params,), reference)


def _compiled_step(network, config, level: Level, prepared: Prepared, training: Training):
    """Loss and its slope over some columns of some examples."""

    def of_one(params, number, columns):
        features = jax.tree.map(lambda x: x[number], prepared.features)
        said = jnp.moveaxis(network.apply(params, features, level, columns), -1, 0)
        flat = lambda x: jnp.swapaxes(x.reshape(*x.shape[:-2], -1)[..., columns], -1, -2)
        free = flat(features.free)
        value = changed(said, flat(features.reference), config) * free
        weight = flat(prepared.weight) * free
        return misfit(value, flat(prepared.target[number]), weight, training.weight)

    def loss(params, which, columns):
        return jnp.mean(jax.vmap(of_one, (None, 0, None))(params, which, columns))

    return jax.jit(jax.value_and_grad(loss))


def misfit(value, target, weight, squared: float):
    """Mean squared error of logarithms, and four times ``squared`` that of values, in units of
    scale."""
    logs = jnp.log(jnp.maximum(value, 0.0) + SMALL) - jnp.log(jnp.maximum(target, 0.0) + SMALL)
    # What is negative has no logarithm.
    errors = logs**2 + squared * (value - target) ** 2 * 4.0
    return jnp.sum(errors * weight) / jnp.sum(weight)


def loss_of_process(problem: Problem, config: JumpConfig, weight: float, network=None):
    """Mean change that a year of the map makes to what a network says, in thousandths of the scale:
    function of its parameters, features, a circulation and the parameters of the map."""
    network, level = network or JumpNetwork(config), level_of(problem)
    space, cycle = problem.space, problem.cycle
    scales = jnp.asarray([v.scale for v in config.variables])[:, None, None, None]
    share = space.volume / jnp.sum(space.volume)

    def loss(params, features, circulation, given):
        exact = level if features.columns.dtype == jnp.float64 else _narrow(level)
        said = network.apply(params, features, exact)
        x = value_of(said, features, config).astype(jnp.float64) * scales
        new = cycle.year(space.fields(x), given, circulation, problem.grid, remember=False)
        moved = jnp.stack([new[n].data for n in space.names]) - x
        return weight * jnp.sum(jnp.abs(moved) / scales * share) * 1000.0

    return loss


class _Process:
    """The slope of that, example by example: the solver in the loop."""

    def __init__(self, problem: Problem, examples, config: JumpConfig, network, weight: float):
        self.examples, self.problem = examples, problem
        self._slope = jax.jit(jax.grad(loss_of_process(problem, config, weight, network)))

    def added(self, slope, params, prepared: Prepared, number: int):
        """``slope`` and its own for one example."""
        example = self.examples[number]
        given = {n: jnp.asarray(v, jnp.float64) for n, v in example.params.items()}
        features = jax.tree.map(lambda x: x[number], prepared.features)
        more = self._slope(params, features, example.circulation, self.problem.params | given)
        return jax.tree.map(lambda a, b: a + b.astype(a.dtype), slope, more)


def _narrow(level: Level) -> Level:
    return replace(level, wet=level.wet.astype(jnp.float32))


__all__ = [
    "Example",
    "Prepared",
    "Training",
    "loss_of_process",
    "misfit",
    "reference_of",
    "seen_of",
    "train_jump",
]
