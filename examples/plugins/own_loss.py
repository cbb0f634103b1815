"""A loss of one's own: errors, and beside them the mean error of each level, which is its drift.

A recipe names it ``loss: {measure: {kind: own_loss:Drift, weight: 10}}``.
"""

import jax.numpy as jnp

import dogcm


class Drift(dogcm.Measure):
    """The mean of the errors, and the square of the mean error of each level."""

    weight: float = dogcm.option(1.0, "1", "of the drift, beside a mean error of 1", ge=0)

    def __call__(self, errors, predicted, target, valid, ranks):
        share = errors(predicted, target, valid)
        for name in errors.names:
            there = errors.weights[name] > 0
            away = jnp.where(there, (predicted[name] - target[name]).interior, 0.0)
            mean = ranks.sum(jnp.sum(errors.weights[name] * away / errors.scales[name], (-2, -1)))
            share = share + self.weight * ranks.share(jnp.mean(jnp.square(mean)))
        return share
