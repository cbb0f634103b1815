"""What a loss makes of the errors of a rollout: their weighted mean, or a measure of one's own.

Each rank returns its share. What is no sum over cells, such as a variance, is summed over ranks
first, and then divided among them.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

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
    """Sums over ranks.

    Attributes:
        sum: of an array of any shape. count: ranks.
    """

    sum: Callable[[jax.Array], jax.Array]
    count: int

    def sums(self, arrays: Sequence[jax.Array]) -> list[jax.Array]:
        """Of several arrays, in one message."""
        flat = self.sum(jnp.concatenate([a.ravel() for a in arrays]))
        ends = np.cumsum([a.size for a in arrays])[:-1]
        return [part.reshape(a.shape) for part, a in zip(jnp.split(flat, ends), arrays)]

    def share(self, value: jax.Array) -> jax.Array:
        """One rank's part of what all ranks hold alike: parts add up to ``value``."""
        return value / self.count


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
        names, weights, values = errors.names, [], []
        for n in names:
            weight = errors.weights[n]
            there = weight > 0 if valid is None else (weight > 0) & (valid[n].interior > 0)
            weights.append(jnp.where(there, weight, 0.0))
            both = (jnp.where(there, f[n].interior, 0.0) for f in (predicted, target))
            values.append([value / errors.scales[n] for value in both])
        amounts, spreads = _moments(weights, values, ranks)
        share = errors(predicted, target, valid)
        for n, amount, spread in zip(names, amounts, spreads):
            least = self.least**2
            off = jnp.square(jnp.log(spread[0] + least) - jnp.log(spread[1] + least))
            # Levels count as they do among the errors.
            levels = tuple(range(-(errors.weights[n].ndim - 2), 0))
            share = share + self.weight * ranks.share(jnp.mean(jnp.sum(amount * off, axis=levels)))
        return share


def _moments(weights, values, ranks: AcrossRanks):
    """Sums of weights ``([n,] [nz])``, and variances of two values by level, for each variable: in
    two messages."""
    over = lambda x: jnp.sum(x, axis=(-2, -1))
    first = [(over(w), *(over(w * x) for x in both)) for w, both in zip(weights, values)]
    found = iter(ranks.sums([s for sums in first for s in sums]))
    amounts, means = [], []
    for _ in weights:
        amount = next(found)
        amounts.append(amount)
        means.append([next(found) / jnp.where(amount > 0, amount, 1.0) for _ in range(2)])
    away = [
        over(w * jnp.square(x - mean[..., None, None]))
        for w, both, two in zip(weights, values, means)
        for x, mean in zip(both, two)
    ]
    found = iter(ranks.sums(away))
    spreads = [[next(found) / jnp.where(a > 0, a, 1.0) for _ in range(2)] for a in amounts]
    return amounts, spreads


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["errors"], meta_fields=["measure", "halos"]
)
@dataclass(frozen=True)
class Measured:
    """Errors, and what a measure makes of them; called as
    :class:`dogcm.learning.losses.SquaredError`."""

    errors: SquaredError
    measure: Measure
    halos: Any = field(repr=False)

    @property
    def names(self) -> list[str]:
        return self.errors.names

    def __call__(self, predicted: Fields, target: Fields, valid: Fields | None = None):
        ranks = AcrossRanks(self.halos.psum, self.halos.size)
        return self.measure(self.errors, predicted, target, valid, ranks)


__all__ = ["AcrossRanks", "MeanError", "Measure", "Measured", "WithVariance"]
