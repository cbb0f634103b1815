"""The learned jump as a way to the equilibrium: some years, one leap, and a method that ends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dogcm.components import ConfigError
from dogcm.io.root import on_root
from dogcm.spinup.jump.config import CONSTRAINTS
from dogcm.spinup.jump.predict import Prediction, predict, require_variables
from dogcm.spinup.jump.weights import JumpError, JumpWeights
from dogcm.spinup.methods import DirectIntegration, Method
from dogcm.spinup.problem import Problem


@dataclass(frozen=True)
class LearnedJump(Method):
    """The first years of a spin-up, then the equilibrium that a network infers from them.

    The network has learned from other equilibria (:func:`dogcm.spinup.train_jump`). What it says is
    not solved for: ``then`` goes on from there, and decides about the tolerance.

    Attributes:
        weights: :class:`JumpWeights`, or their file. then: the method that goes on: the years as
            they are, Anderson acceleration, Newton's method.
        constraints: kept exactly by what is inferred: ``bounds`` (nothing below the least there can
            be, nor above what the weights say), ``inventory`` (contents that the map conserves).
            None: those that the weights were made with.
    """

    weights: JumpWeights | str | Path
    then: Method = field(default_factory=DirectIntegration)
    constraints: tuple[str, ...] | None = None

    def __post_init__(self):
        wrong = [c for c in self.constraints or () if c not in CONSTRAINTS]
        if wrong:
            raise ConfigError(f"constraint {wrong[0]!r} of a jump: one of {', '.join(CONSTRAINTS)}")
        if isinstance(self.then, LearnedJump):
            raise ConfigError("after a jump another method goes on, not a second jump")

    @property
    def name(self) -> str:
        return f"LearnedJump, then {self.then.name}"

    def iterates(self, problem: Problem, x, tolerance: float) -> Iterator[tuple]:
        weights = self._read(problem)
        _require_start(problem, x, weights)
        states = [x]
        for _ in range(weights.config.years):
            new = problem.year(x)
            yield x, new - x
            states.append(new)
            x = new
        found = self._leap(problem, states, weights)
        yield from self.then.iterates(problem, found.state, tolerance)

    def _read(self, problem: Problem) -> JumpWeights:
        weights = self.weights
        if not isinstance(weights, JumpWeights):
            try:
                weights = on_root(problem.decomposition.comm, JumpWeights.load, weights)
            except JumpError as error:
                raise ConfigError(str(error)) from None
        require_variables(problem, weights.config)
        return weights

    def _leap(self, problem: Problem, states, weights: JumpWeights) -> Prediction:
        clock, found = problem.costs.clock, None
        # Once before it counts: what the compiler takes is no cost of a year.
        for _ in range(2):
            start = clock()
            found = predict(problem, states, weights, self.constraints)
            found.state.block_until_ready()
        problem.costs.add("jump", clock() - start)
        return found


def _require_start(problem: Problem, x, weights: JumpWeights) -> None:
    """Refuse a start that the network has not learned from.

    Raises:
        ConfigError: saying which.
    """
    mask = problem.space.mask
    start = jnp.asarray([v.start for v in weights.config.variables])[:, None, None, None]
    scale = jnp.asarray([v.scale for v in weights.config.variables])[:, None, None, None]
    off = np.asarray(jnp.max(jnp.abs(x - start) / scale * mask, axis=(1, 2, 3)))
    wrong = [v for v, o in zip(weights.config.variables, off) if o > 1e-3]
    if problem.decomposition.comm.any(bool(wrong)):
        told = ", ".join(f"{v.name} of {v.start:g}" for v in weights.config.variables)
        raise ConfigError(
            f"the jump was learned from spin-ups that begin with {told} everywhere, and the model "
            "holds something else: set these tracers first"
        )


__all__ = ["LearnedJump"]
