"""A loss of one's own: errors count by the logarithm of their hyperbolic cosine.

A recipe names it ``loss: {penalty: own_penalty:LogCosh}``.
"""

import jax.numpy as jnp

import dogcm


class LogCosh(dogcm.Penalty):
    """The square of small errors, twice the size of large ones, smooth in between."""

    def __call__(self, error):
        size = jnp.abs(error)
        return 2.0 * (size + jnp.log1p(jnp.exp(-2.0 * size)) - jnp.log(2.0))
