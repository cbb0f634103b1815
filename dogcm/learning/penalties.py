"""How an error counts in a loss: a function of the error in units of its scale."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import Component, option


class Penalty(Component):
    """What an error adds to the loss, before it is weighted."""

    slot: ClassVar[str] = "penalty"

    @abstractmethod
    def __call__(self, error: jax.Array) -> jax.Array:
        """At least 0, and 0 with a finite derivative where there is no error.

        Args:
            error: in units of its scale, any shape.
        """


class Squared(Penalty):
    """The square of the error."""

    kind: ClassVar[str] = "squared"

    def __call__(self, error: jax.Array) -> jax.Array:
        return jnp.square(error)


class Huber(Penalty):
    """The square of small errors; large ones, which may be blunders of the data, count linearly."""

    kind: ClassVar[str] = "huber"
    source: ClassVar[str] = "Huber (1964), doi:10.1214/aoms/1177703732"
    threshold: float = option(1.0, "1", "error, in units of its scale, from which on", gt=0)

    def __call__(self, error: jax.Array) -> jax.Array:
        size = jnp.abs(error)
        near = jnp.minimum(size, self.threshold)
        return near * (2.0 * size - near)


__all__ = ["Huber", "Penalty", "Squared"]
