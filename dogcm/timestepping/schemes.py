"""Time schemes: how explicit accelerations are extrapolated, and Coriolis."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import Component, option
from dogcm.field import Field


class TimeScheme(Component):
    """Adams-Bashforth extrapolation of the nonlinear accelerations, and the Coriolis treatment.

    Attributes:
        coriolis: ``forward_backward`` (u first with the old v, then v with the new u: neutral for
            f dt < 2) or ``extrapolated`` (part of the Adams-Bashforth sum).
    """

    slot: ClassVar[str] = "time_scheme"
    coriolis: ClassVar[str] = "forward_backward"

    @property
    @abstractmethod
    def weights(self) -> tuple[float, ...]:
        """Of the newest and older accelerations; they sum to 1."""

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


class SecondOrder(TimeScheme):
    """Quasi-second-order Adams-Bashforth."""

    stabilisation: float = option(
        0.1, "1", "moves weight to the newest acceleration, which damps oscillations", ge=0, le=0.5
    )

    @property
    def weights(self) -> tuple[float, ...]:
        return (1.5 + self.stabilisation, -0.5 - self.stabilisation)


class ThirdOrder(TimeScheme):
    """Third-order Adams-Bashforth."""

    @property
    def weights(self) -> tuple[float, ...]:
        return (23 / 12, -16 / 12, 5 / 12)


class ForwardBackwardAB2(SecondOrder):
    """Quasi-second-order Adams-Bashforth; Coriolis forward-backward, neutral for f dt < 2."""

    kind: ClassVar[str] = "forward_backward_ab2"


class ForwardBackwardAB3(ThirdOrder):
    """Third-order Adams-Bashforth; Coriolis forward-backward, neutral for f dt < 2."""

    kind: ClassVar[str] = "forward_backward_ab3"


class AB2(SecondOrder):
    """Quasi-second-order Adams-Bashforth of the Coriolis force too; damped for f dt < 0.45."""

    kind: ClassVar[str] = "ab2"
    coriolis: ClassVar[str] = "extrapolated"


class AB3(ThirdOrder):
    """Third-order Adams-Bashforth of the Coriolis force too; damped for f dt < 0.72."""

    kind: ClassVar[str] = "ab3"
    coriolis: ClassVar[str] = "extrapolated"
