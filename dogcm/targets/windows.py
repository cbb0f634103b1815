"""Windows of targets to train on: a start state and what the ocean looked like afterwards, tile by
tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from dogcm.field import Field
from dogcm.learning.problem import Window, stacked
from dogcm.targets.container import Targets
from dogcm.targets.errors import TargetError
from dogcm.timestepping.state import State

#: What a start state can take from targets.
STARTS = ("temperature", "salinity", "u", "v", "eta")


@dataclass(frozen=True)
class TargetWindows:
    """Windows that start at the records of targets.

    Attributes:
        targets: with a decomposition (:meth:`Targets.on_ranks`).
        background: a state of the model; a start keeps its values where there is no target, its
            older accelerations are 0.
        dt: step of the model (s). every: steps between targets within a window.
        names: variables compared; default: all that there are.
        start: variables that the start state takes from the targets; default: all of :data:`STARTS`
            there are.
        stride: only every so many-th record starts a window, so that windows need not overlap.
    """

    targets: Targets
    background: State
    dt: float
    every: int
    names: tuple[str, ...] = ()
    start: tuple[str, ...] | None = None
    stride: int = 1

    def __post_init__(self):
        if self.every < 1 or self.stride < 1 or self.dt <= 0:
            raise TargetError("windows need a positive step, and every and stride of at least 1")
        starts = (
            self.start if self.start is not None else [n for n in self.targets.names if n in STARTS]
        )
        object.__setattr__(self, "start", tuple(starts))
        object.__setattr__(self, "names", tuple(self.names) or tuple(self.targets.names))
        nz = self.background.temperature.shape[0]
        self.targets.require([*self.names, *self.start], nz=nz)
        odd = [n for n in self.start if n not in STARTS]
        if odd:
            raise TargetError(
                f"a start state has no {', '.join(odd)}; it takes {', '.join(STARTS)}"
            )

    def count(self, steps: int) -> int:
        """Number of windows that are long enough for rollouts of ``steps``."""
        last = self.targets.times[-1] - steps * self.dt + 1e-3
        return int((self.targets.times[:: self.stride] <= last).sum())

    def window(self, index: int, steps: int) -> Window:
        """Window ``index``; all ranks call this.

        Raises:
            TargetError: no such window, or ``steps`` is no multiple of ``every``.
        """
        if not 0 <= index < self.count(steps):
            raise TargetError(f"window {index} of {steps} steps: there are {self.count(steps)}")
        if steps % self.every:
            raise TargetError(
                f"rollouts of {steps} steps with targets every {self.every}: choose a multiple"
            )
        time = float(self.targets.times[index * self.stride])
        dtype = self.background.temperature.dtype
        after = [time + self.dt * self.every * n for n in range(1, steps // self.every + 1)]
        # The sum of steps may pass the last record by round-off.
        after = [min(t, float(self.targets.times[-1])) for t in after]
        samples = [self.targets.at(t, self.names, dtype) for t in after]
        values, valid = stacked([s.fields for s in samples]), stacked([s.valid for s in samples])
        return Window(self._state(time, dtype), values, valid)

    def _state(self, time: float, dtype: Any) -> State:
        sample = self.targets.at(time, self.start, dtype)
        old = self.background

        def taken(name: str, now: Field) -> Field:
            if name not in sample.fields:
                return now
            there = sample.valid[name].interior > 0
            return Field(
                jnp.where(there, sample.fields[name].interior, now.interior), now.at
            ).named(name)

        tracers = {n: taken(n, f) for n, f in old.tracers.items()}
        rest = {
            n: tuple(f.with_data(jnp.zeros_like(f.data)) for f in getattr(old, n))
            for n in ("history_u", "history_v")
        }
        return old.replace(
            u=taken("u", old.u),
            v=taken("v", old.v),
            eta=taken("eta", old.eta),
            tracers=tracers,
            time=jnp.asarray(time, jnp.float64),
            steps=jnp.asarray(0, old.steps.dtype),
            **rest,
        )
