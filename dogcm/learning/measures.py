"""What a loss makes of the errors of a rollout: their weighted mean, or a measure of one's own.

Each rank returns its share. What is no sum over cells, such as a variance, is summed over ranks
first, and then divided among them.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import Component, option
from dogcm.field import Field
from dogcm.learning.losses import SquaredError

Fields = dict[str, Field]


class Measure(Component):
    """A loss."""

    slot: ClassVar[str] = "loss"

    @abstractmethod
    def __call__(
        self, errors: SquaredError, predicted: Fields, target: Fields, valid: Fields | None, ranks
    ) -> jax.Array:
        """This rank's share of the loss: scalar.

        Args:
            errors: their weighted mean, and its ``weights`` and ``scales``. predicted, target: name
                to Field ``([n,] [nz,] y, x)``, n records. valid: 1 where there is a target; None:
                everywhere. ranks: see :class:`AcrossRanks`.
        """


@dataclass(frozen=True)
class AcrossRanks:
    """Sums over ranks: ``sum`` of an array of any shape, ``share`` of what all ranks hold alike."""

    sum: Callable[[jax.Array], jax.Array]

    def share(self, value: jax.Array) -> jax.Array:
        """Add up over ranks to ``value``."""
        return value / self.sum(jnp.ones((), value.dtype))


class MeanError(Measure):
    """The weighted mean of the errors."""

    kind: ClassVar[str] = "mean_error"

    def __call__(self, errors, predicted, target, valid, ranks):
        return errors(predicted, target, valid)


class WithVariance(Measure):
    """The mean of the errors, and how far the variance of each level is from the target's.

    A forecast whose squared error is least is smoother than what it foresees: where eddies cannot
    be told any more, none are the smaller error. This counts the squared logarithm of the ratio of
    both variances, so that half and twice the variance count alike.
    """

    kind: ClassVar[str] = "with_variance"
    weight: float = option(0.1, "1", "of the variances, beside a mean error of 1", ge=0)
    least: float = option(
        0.1, "1", "standard deviation that counts as none, in units of an error's scale", gt=0
    )

    def __call__(self, errors, predicted, target, valid, ranks):
        share = errors(predicted, target, valid)
        for n in errors.names:
            weight, scale = errors.weights[n], errors.scales[n]
            there = weight > 0 if valid is None else (weight > 0) & (valid[n].interior > 0)
            here = jnp.where(there, weight, 0.0)
            total = lambda x, w=here: ranks.sum(jnp.sum(w * x, axis=(-2, -1)))
            amount = total(1.0)
            spread = []
            for f in (predicted[n], target[n]):
                value = jnp.where(there, f.interior, 0.0) / scale
                mean = total(value) / jnp.where(amount > 0, amount, 1.0)
                away = jnp.square(value - mean[..., None, None])
                spread.append(total(away) / jnp.where(amount > 0, amount, 1.0) + self.least**2)
            off = jnp.square(jnp.log(spread[0]) - jnp.log(spread[1]))
            # Levels count as they do among the errors.
            levels = tuple(range(-(weight.ndim - 2), 0))
            share = share + self.weight * ranks.share(jnp.mean(jnp.sum(amount * off, axis=levels)))
        return share


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["errors"], meta_fields=["measure", "halos"]
)
@dataclass(frozen=True)
class Measured:
    """Errors, and what a measure makes of them; called as :class:`dogcm.learning.losses.
    SquaredError`."""

    errors: SquaredError
    measure: Measure
    halos: Any = field(repr=False)

    @property
    def names(self) -> list[str]:
        return self.errors.names

    def __call__(self, predicted: Fields, target: Fields, valid: Fields | None = None):
        ranks = AcrossRanks(self.halos.psum)
        return self.measure(self.errors, predicted, target, valid, ranks)


__all__ = ["AcrossRanks", "MeanError", "Measure", "Measured", "WithVariance"]
