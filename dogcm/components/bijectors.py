"""Bijectors: from the whole real line, where an optimiser walks, to values that physics allows.

``forward`` takes an unconstrained number to a value, ``inverse`` brings it back; both work on
arrays of any shape, are differentiable, and neither overflows where the value itself does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Bijector(Protocol):
    """What all bijectors have in common."""

    @property
    def low(self) -> float:
        """Values lie above this."""

    @property
    def high(self) -> float:
        """Values lie below this."""

    def forward(self, raw): ...

    def inverse(self, value): ...


@dataclass(frozen=True)
class Identity:
    """Any value."""

    low: float = -np.inf
    high: float = np.inf

    def forward(self, raw):
        return raw

    def inverse(self, value):
        return value


@dataclass(frozen=True)
class Exp:
    """Positive values of unknown scale: a step of log 2 doubles the value, wherever it is."""

    low: float = 0.0
    high: float = np.inf

    def forward(self, raw):
        return jnp.exp(raw)

    def inverse(self, value):
        return jnp.log(value)


@dataclass(frozen=True)
class Softplus:
    """Positive values that may come close to zero: ``scale log(1 + exp(raw))``, linear far above
    ``scale``."""

    scale: float = 1.0
    low: float = 0.0
    high: float = np.inf

    def forward(self, raw):
        return jax.nn.softplus(raw) * self.scale

    def inverse(self, value):
        x = value / self.scale
        return x + jnp.log(-jnp.expm1(-x))  # log(exp(x) - 1) without its overflow


@dataclass(frozen=True)
class Interval:
    """Values between ``low`` and ``high``: a sigmoid of the raw number."""

    low: float
    high: float

    def forward(self, raw):
        # Both ends by their own sigmoid: no value loses its digits by a difference.
        return self.low * jax.nn.sigmoid(-raw) + self.high * jax.nn.sigmoid(raw)

    def inverse(self, value):
        return jnp.log(value - self.low) - jnp.log(self.high - value)


@dataclass(frozen=True)
class LogInterval:
    """Positive values between ``low`` and ``high`` whose logarithm is a sigmoid of the raw
    number."""

    low: float
    high: float

    @property
    def _logs(self) -> Interval:
        return Interval(float(np.log(self.low)), float(np.log(self.high)))

    def forward(self, raw):
        return jnp.exp(self._logs.forward(raw))

    def inverse(self, value):
        return self._logs.inverse(jnp.log(value))
