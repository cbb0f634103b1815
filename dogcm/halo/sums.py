"""Global sums that do not depend on the order of additions, hence not on the layout.

Each addend is rounded to two 64-bit whole numbers that share one power of two for all ranks (the
idea of Hallberg and Adcroft 2014, doi:10.1016/j.parco.2014.04.007, with a scale taken from the
largest addend). Sums of whole numbers are exact, so every layout gives the same bits. The error
is below 2**-78 of the largest addend per term.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import fold

# Whole numbers of 64 bits carry these sums, also where nothing else of the model has been imported.
jax.config.update("jax_enable_x64", True)

# Forty bits per digit leave room for 2**22 addends per rank and rank counts up to thousands.
_BITS = 40


def once(exchange, values, at: str = "c"):
    """``values (..., y, x)`` of this tile with 0 where a north fold stores a point for the second
    time.

    Args:
        exchange: a :class:`dogcm.halo.HaloExchange`; without a north fold nothing is done.
        at: place on the C grid.
    """
    layout = getattr(exchange, "layout", None)
    if layout is None or not layout.north_fold:
        return values

    def counts(rank: int) -> np.ndarray:
        tile = layout.tile(rank)
        counted = np.ones(tile.shape, bool)
        if layout.on_fold(rank):
            counted[-1] = ~fold.copies(at, np.arange(tile.i0, tile.i1), layout.shape[1])
        return counted

    return jnp.where(exchange.here(counts), values, jnp.zeros((), values.dtype))


def exact_sum(exchange, *terms):
    """Order-independent sum of each array over all its elements and all ranks.

    Args:
        exchange: anything with ``psum`` and ``pmax``.
        terms: arrays; NaN or infinity anywhere makes that sum NaN.

    Returns:
        float64 array of one sum per term.
    """
    return _exact_sum(exchange, [jnp.asarray(t, jnp.float64) for t in terms])


def _exact_sum(exchange, terms):
    # A maximum may lose a NaN on CPUs, so what is not finite is counted on its own.
    bad = [(~jnp.isfinite(t)).any().astype(jnp.float64) for t in terms]
    sizes = [jnp.max(jnp.where(jnp.isfinite(t), jnp.abs(t), 0.0), initial=0.0) for t in terms]
    largest, bad = exchange.pmax(jnp.stack([jnp.stack(sizes), jnp.stack(bad)]))
    finite = bad == 0
    # The exponent is a whole number, so scaling by it is exact.
    _, exponent = jnp.frexp(jnp.where(largest > 0, largest, 1.0))
    digits = []
    for m, term in enumerate(terms):
        scaled = jnp.ldexp(jnp.where(jnp.isfinite(term), term, 0.0), _BITS - exponent[m])
        high = jnp.round(scaled)
        low = jnp.round((scaled - high) * 2.0**_BITS)
        digits.append(jnp.stack([jnp.sum(high.astype(jnp.int64)), jnp.sum(low.astype(jnp.int64))]))
    total = exchange.psum(jnp.stack(digits))
    value = total[:, 0].astype(jnp.float64) + total[:, 1].astype(jnp.float64) * 2.0**-_BITS
    return jnp.where(finite, jnp.ldexp(value, exponent - _BITS), jnp.nan)


def exact_row_sums(exchange, values):
    """Order-independent sums over x, for every row of the globe, with the derivatives of plain
    ones.

    Args:
        exchange: a :class:`dogcm.halo.HaloExchange`, which knows where this tile lies.
        values: this tile's ``(m, y, x)``; NaN or infinity makes all sums of its ``m`` NaN.

    Returns:
        float64 array (m, rows of the globe), the same on every rank.
    """
    values = jnp.asarray(values, jnp.float64)
    first, rows = exchange.origin[0], exchange.layout.shape[0]

    def placed(part):
        """All ranks' parts added up, each at its rows."""
        globe = jnp.zeros((*part.shape[:-1], rows), part.dtype)
        return exchange.psum(jax.lax.dynamic_update_slice_in_dim(globe, part, first, axis=-1))

    fixed = jax.lax.stop_gradient(values)
    good = jnp.isfinite(fixed)
    fixed = jnp.where(good, fixed, 0.0)
    bad = (~good).any(axis=(1, 2)).astype(jnp.float64)
    largest, bad = exchange.pmax(jnp.stack([jnp.abs(fixed).max(axis=(1, 2)), bad]))
    _, exponent = jnp.frexp(jnp.where(largest > 0, largest, 1.0))
    scaled = jnp.ldexp(fixed, (_BITS - exponent)[:, None, None])
    high = jnp.round(scaled)
    low = jnp.round((scaled - high) * 2.0**_BITS)
    high, low = placed(
        jnp.stack([jnp.sum(part.astype(jnp.int64), axis=-1) for part in (high, low)])
    )
    exact = jnp.ldexp(
        high.astype(jnp.float64) + low.astype(jnp.float64) * 2.0**-_BITS,
        (exponent - _BITS)[:, None],
    )
    exact = jnp.where(bad[:, None] == 0, exact, jnp.nan)
    plain = placed(jnp.sum(values, axis=-1))
    return exact + (plain - jax.lax.stop_gradient(plain))


def differentiable_sum(exchange, term):
    """:func:`exact_sum` of one array with the derivatives, of any order, of a plain sum over
    ranks."""
    return differentiable_sums(exchange, term)[0]


def differentiable_sums(exchange, *terms):
    """:func:`differentiable_sum` of several arrays in the same messages; an array of one sum per
    term, of their dtype."""
    terms = [jnp.asarray(t) for t in terms]
    value = exact_sum(exchange, *jax.lax.stop_gradient(terms)).astype(jnp.result_type(*terms))
    # Adds nothing but derivatives. A custom rule would be lost in second derivatives of a scan: JAX
    # drops rules when it splits the loop, and differentiates the rounding instead.
    plain = exchange.psum(jnp.stack([jnp.sum(t) for t in terms]))
    return value + (plain - jax.lax.stop_gradient(plain))
