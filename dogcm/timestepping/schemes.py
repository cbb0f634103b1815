"""Time schemes as strategy objects: how explicit accelerations are extrapolated, and Coriolis."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from dogcm.field import Field


@dataclass(frozen=True)
class TimeScheme:
    """Adams-Bashforth extrapolation of the nonlinear accelerations, and the Coriolis treatment.

    Attributes:
        name: how a config calls it.
        weights: of the newest and older accelerations; they sum to 1.
        coriolis: ``forward_backward`` (u first with the old v, then v with the new u: neutral for
            f dt < 2) or ``extrapolated`` (part of the Adams-Bashforth sum).
        dt_limit: largest f dt for which inertial oscillations do not grow, for the message at
            start.
    """

    name: str
    weights: tuple[float, ...]
    coriolis: str
    dt_limit: float

    @property
    def memory(self) -> int:
        """How many older accelerations the state carries."""
        return len(self.weights) - 1

    def extrapolate(self, newest: Field, older: tuple[Field, ...], steps_done) -> Field:
        """The acceleration of this step; the first steps use as many old ones as exist."""
        if not older:
            return newest
        rows = [self._row(n) for n in range(len(self.weights))]
        table = jnp.asarray(rows, newest.dtype)
        w = table[jnp.minimum(steps_done, self.memory)]
        out = newest * w[0]
        for m, old in enumerate(older):
            out = out + old * w[m + 1]
        return out

    def _row(self, available: int) -> list[float]:
        """Weights when ``available`` older accelerations exist."""
        start = {0: [1.0], 1: [1.5, -0.5]}
        row = list(self.weights) if available == self.memory else start[available]
        return row + [0.0] * (len(self.weights) - len(row))


def _quasi_second(eps: float) -> tuple[float, float]:
    return (1.5 + eps, -0.5 - eps)


SCHEMES = {
    s.name: s
    for s in (
        TimeScheme("forward_backward_ab2", _quasi_second(0.1), "forward_backward", 2.0),
        TimeScheme("forward_backward_ab3", (23 / 12, -16 / 12, 5 / 12), "forward_backward", 2.0),
        TimeScheme("ab2", _quasi_second(0.1), "extrapolated", 0.45),
        TimeScheme("ab3", (23 / 12, -16 / 12, 5 / 12), "extrapolated", 0.72),
    )
}
