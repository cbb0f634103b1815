"""What is trained: from a trainable tree and a window to this rank's share of the loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dogcm.field import Field
from dogcm.learning.losses import observe
from dogcm.learning.rollout import rollout
from dogcm.timestepping.state import State


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["state", "values", "valid"], meta_fields=[]
)
@dataclass(frozen=True)
class Window:
    """A piece of the truth on one tile.

    Attributes:
        state: where rollouts start.
        values: name to Field ``(n, [nz,] y, x)``, halo 0: targets at equal intervals after the
            start; or whatever the loss of the targets takes (see
            :class:`dogcm.targets.casts.Casts`).
        valid: same shapes, 1 where there is a target; None: everywhere.
    """

    state: State
    values: dict[str, Any]
    valid: dict[str, Field] | None = None


@dataclass(frozen=True)
class Problem:
    """Rollouts of the model against windows.

    Attributes:
        step: the model's, with its corrector installed. halos: of the tile.
        every: steps between targets. learn: a :class:`dogcm.learning.parameters.LearnableSet`, or
            None.
        checkpoint, truncate: see :func:`dogcm.learning.rollout.rollout`.
        prior: weight of the prior of the physical parameters.
        mean: targets are means over ``every`` steps about their times.
        initial: a :class:`dogcm.learning.initial.InitialSet` that says what ``initial`` in the
            trainable tree means; None: it holds the changes themselves. background: weight of its
            background term.
        prepare: ``(params, grid) -> params``, what the corrector needs once a rollout.
        offline: the step without what is learned, see :func:`dogcm.learning.rollout.rollout`; None:
            what is learned acts within the rollout.
    """

    step: Callable
    halos: Any
    every: int
    learn: Any = None
    checkpoint: str = "step"
    truncate: int | None = None
    prior: float = 0.0
    mean: bool = False
    initial: Any = None
    background: float = 0.0
    prepare: Callable | None = None
    offline: Callable | None = None

    def params(self, trainable: dict, fixed: dict) -> dict:
        """The model's parameters with what is learned in place."""
        params = fixed["params"]
        if self.learn is not None and "physics" in trainable:
            params = self.learn.apply(trainable["physics"], params, self.halos, fixed["grid"])
        if "corrector" not in trainable:
            return params
        params = params | {"corrector": trainable["corrector"]}
        return params if self.prepare is None else self.prepare(params, fixed["grid"])

    def start(self, trainable: dict, state: State, fixed: dict) -> State:
        """``state`` with what is learned about the start added."""
        changes = trainable.get("initial", {})
        if self.initial is not None and changes:
            changes = self.initial.changes(changes, self.halos, fixed["grid"])
        return perturbed(state, changes)

    def forecast(
        self, trainable: dict, state: State, fixed: dict, steps: int, names
    ) -> dict[str, Field]:
        """Observed variables ``(n, [nz,] y, x)`` at every target time of a rollout."""
        _, seen = rollout(
            self.step,
            self.start(trainable, state, fixed),
            self.params(trainable, fixed),
            fixed["forcing"],
            fixed["grid"],
            steps,
            checkpoint=self.checkpoint,
            observe=lambda s: observe(s, names),
            observe_every=self.every,
            mean=self.mean,
            truncate=self.truncate,
            offline=self.offline,
        )
        return seen

    def share(self, trainable: dict, window: Window, fixed: dict, steps: int):
        """This rank's share of the loss of one window.

        Args:
            trainable: see :mod:`dogcm.learning.optimiser`; for ``initial`` see :attr:`initial`.
            fixed: ``params``, ``forcing``, ``grid`` of the model, and ``loss``
                (:class:`dogcm.learning.losses.SquaredError`).
        """
        loss = fixed["loss"]
        share = loss(
            self.forecast(trainable, window.state, fixed, steps, loss.names),
            window.values,
            window.valid,
        )
        if self.prior and self.learn is not None:
            away = self.learn.prior(
                trainable["physics"], fixed["params"], self.halos, fixed["grid"]
            )
            share = share + self.prior * away.astype(share.dtype)
        if self.background and self.initial is not None:
            away = self.initial.background(trainable["initial"], fixed["grid"])
            share = share + self.background * away.astype(share.dtype)
        return share


def perturbed(state: State, changes: dict[str, Field]) -> State:
    """``state`` with changes added, by variable (``temperature``, ``eta``, ``u``, ...)."""
    tracers = {n: f + changes[n] if n in changes else f for n, f in state.tracers.items()}
    plain = {n: getattr(state, n) + f for n, f in changes.items() if n not in state.tracers}
    return state.replace(tracers=tracers, **plain)


def stacked(samples: list[dict[str, Field]]) -> dict[str, Field]:
    """Samples at several times as one, with a leading time axis."""
    return {n: f.with_data(jnp.stack([s[n].data for s in samples])) for n, f in samples[0].items()}
