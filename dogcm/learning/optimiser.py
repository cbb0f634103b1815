"""The optimiser: by parts of the trainable tree, with clipping by the global norm, and a moving
average.

The trainable tree is ``{"physics": ..., "corrector": ..., "initial": ...}``; any part may be
absent. Each part has its own learning rate, because physical parameters (behind their bijectors)
and network weights live on different scales. Parameters and weights are moved by Adam. It makes all
components of a gradient alike, which suits numbers that have little to do with each other. Changes
of the initial state are a field whose prior covariance is in its controls already: the gradient
    itself is the way to go (:func:`scale_by_norm`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

PARTS = ("physics", "corrector", "initial")


@dataclass(frozen=True)
class Settings:
    """Attributes:
    learning_rate: by part. warmup: updates from 0 to the full rate. updates: length of the cosine
        decay.
    final: rate at the end, as a part of the full one. clip: largest global norm of the gradient.
    weight_decay: of the corrector (AdamW). average: decay of the moving average of weights; 0:
        none.
    """

    learning_rate: dict[str, float]
    updates: int
    warmup: int = 0
    final: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.0
    average: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["trainable", "state", "average"], meta_fields=[]
)
@dataclass(frozen=True)
class Weights:
    """What an update changes: the trainable tree, the optimiser's state, and the moving average of
    the former."""

    trainable: Any
    state: Any
    average: Any


class Optimiser:
    """Updates of a trainable tree.

    Raises:
        ValueError: a part that has no learning rate.
    """

    def __init__(self, settings: Settings, trainable: dict):
        self.settings = settings
        missing = sorted(set(trainable) - set(settings.learning_rate))
        if missing:
            raise ValueError(
                f"no learning rate for {', '.join(missing)}: give one under optimiser.learning_rate"
            )
        self._chain = optax.multi_transform(
            {p: self._part(p) for p in trainable}, {p: p for p in trainable}
        )

    def _part(self, part: str) -> optax.GradientTransformation:
        s = self.settings
        if part == "initial":
            return optax.chain(
                scale_by_norm(*s.betas), optax.scale_by_learning_rate(self.schedule(part))
            )
        decay = s.weight_decay if part == "corrector" else 0.0
        return optax.chain(
            optax.scale_by_adam(*s.betas),
            optax.add_decayed_weights(decay) if decay else optax.identity(),
            optax.scale_by_learning_rate(self.schedule(part)),
        )

    def schedule(self, part: str = PARTS[0]) -> optax.Schedule:
        """Update number to learning rate: linear warm-up, then a cosine (Loshchilov and Hutter
        2017)."""
        s, peak = self.settings, self.settings.learning_rate[part]
        return optax.warmup_cosine_decay_schedule(
            0.0 if s.warmup else peak, peak, s.warmup, max(s.updates, s.warmup + 1), s.final * peak
        )

    def start(self, trainable: dict) -> Weights:
        """Before the first update."""
        return Weights(trainable, self._chain.init(trainable), trainable)

    def update(self, weights: Weights, gradients, norm, multiplier) -> Weights:
        """One update; pure.

        Args:
            norm: global norm of the gradients, over all ranks. multiplier: of the learning rates.
        """
        s = self.settings
        scale = jnp.minimum(1.0, s.clip / jnp.maximum(norm, 1e-300))
        gradients = jax.tree.map(lambda g: (g * scale).astype(g.dtype), gradients)
        change, state = self._chain.update(
            gradients, weights.state, weights.trainable, norm=jnp.minimum(norm, s.clip)
        )
        new = jax.tree.map(
            lambda w, c: (w + multiplier * c).astype(w.dtype), weights.trainable, change
        )
        return Weights(new, state, self._averaged(weights.average, new, state))

    def _averaged(self, old, new, state):
        decay = self.settings.average
        if not decay:
            return new
        # Early on, the start must not weigh more than what has been learned since.
        count = optax.tree_utils.tree_get_all_with_path(state, "count")[0][1].astype(jnp.float64)
        decay = jnp.minimum(decay, count / (10.0 + count))
        return jax.tree.map(lambda a, b: (decay * a + (1 - decay) * b).astype(b.dtype), old, new)


class NormState(NamedTuple):
    """Momentum, mean square of the norms, and number of updates."""

    momentum: Any
    square: Any
    count: Any


def scale_by_norm(b1: float, b2: float) -> optax.GradientTransformationExtraArgs:
    """Momentum over the root mean square of the global norms so far: Adam with one scale for all
    components.

    A learning rate of 1 is a way of length 1 after the first updates; as gradients get smaller so
    do the steps. The norm comes as an argument of the update, since tiles know only their part.
    """

    def init(params):
        zero = jnp.zeros((), jnp.float64)
        return NormState(jax.tree.map(jnp.zeros_like, params), zero, jnp.zeros((), jnp.int32))

    def update(gradients, state, params=None, *, norm, **_):
        count = state.count + 1
        square = b2 * state.square + (1.0 - b2) * norm.astype(jnp.float64) ** 2
        typical = jnp.sqrt(square / (1.0 - b2**count)) + 1e-300
        momentum = jax.tree.map(lambda m, g: b1 * m + (1.0 - b1) * g, state.momentum, gradients)
        steps = jax.tree.map(lambda m: (m / typical).astype(m.dtype), momentum)
        return steps, NormState(momentum, square, count)

    return optax.GradientTransformationExtraArgs(init, update)
