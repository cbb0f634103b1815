"""Where the compiler must not merge loops: in the backward pass.

A Field that enters several terms collects a cotangent from each. Left alone, the compiler sums them
in one huge loop that computes every term anew for each neighbour that a stencil reads. ``fence``
does nothing to a value, but has its cotangent stored before it goes on.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_fence_p = Primitive("fence")
_fence_p.def_impl(lambda x: x)
_fence_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(_fence_p, lambda ctx, x: [x])
batching.primitive_batchers[_fence_p] = lambda args, dims: (_fence_p.bind(args[0]), dims[0])


def _transpose(cotangent, _):
    return [
        cotangent
        if type(cotangent) is ad.Zero
        else jax.lax.optimization_barrier(_fence_p.bind(cotangent))
    ]


ad.deflinear2(_fence_p, _transpose)


def fence(x):
    """``x``; its cotangent is computed once, and stored, before anything else is done with it."""
    return _fence_p.bind(x)


@jax.custom_jvp
def ordered_sum(levels):
    """Sum over axis -3, level by level from the surface down, so that its rounding never varies."""
    total = levels[..., 0, :, :]
    for k in range(1, levels.shape[-3]):
        total = total + levels[..., k, :, :]
    return total


@ordered_sum.defjvp
def _(primals, tangents):
    # Taken apart level by level, its transpose would add up as many padded arrays as there are
    # levels. Stored: merged with what follows, the sum would be computed for each neighbour anew.
    return jax.lax.optimization_barrier(ordered_sum(*primals)), jnp.sum(tangents[0], axis=-3)


_spread_p = Primitive("spread")


def _on_all(x, *, levels):
    return jnp.broadcast_to(x[..., None, :, :], (*x.shape[:-2], levels, *x.shape[-2:]))


_spread_p.def_impl(_on_all)
_spread_p.def_abstract_eval(
    lambda x, *, levels: x.update(shape=(*x.shape[:-2], levels, *x.shape[-2:]))
)
mlir.register_lowering(_spread_p, mlir.lower_fun(_on_all, multiple_results=False))
batching.primitive_batchers[_spread_p] = lambda args, dims, *, levels: (
    _spread_p.bind(jnp.moveaxis(args[0], dims[0], 0), levels=levels),
    0,
)


def _transpose_of_spread(cotangent, _, *, levels):
    if type(cotangent) is ad.Zero:
        return [
            ad.Zero(
                cotangent.aval.update(
                    shape=(*cotangent.aval.shape[:-3], *cotangent.aval.shape[-2:])
                )
            )
        ]
    return [jax.lax.optimization_barrier(ordered_sum(jax.lax.optimization_barrier(cotangent)))]


ad.deflinear2(_spread_p, _transpose_of_spread)


def spread(x, shape):
    """A scalar or a two-dimensional array on all levels of three-dimensional ``shape``.

    Its cotangent is stored, summed over levels one after the other, and what remains over the
    level: as one loop with the arithmetic before it, or over all cells at once, the sum is an order
        of magnitude slower.
    """
    level = x if jnp.ndim(x) == 2 else jnp.broadcast_to(x, shape[-2:])
    return _spread_p.bind(level, levels=shape[-3])


@jax.custom_jvp
def keep(x):
    """``x``; when a derivative is taken, it is stored rather than computed anew wherever the
    backward pass needs it."""
    return x


@keep.defjvp
def _(primals, tangents):
    return jax.lax.optimization_barrier(keep(primals[0])), tangents[0]


def with_stored_derivatives(function, count: int, formulas: tuple | None = None):
    """An elementwise function whose derivatives with respect to its first ``count`` arrays are
    computed once
    and stored; its other arguments are constants. ``formulas``: functions for them that cost less
    than JAX's."""
    wrapped = jax.custom_jvp(function)

    @wrapped.defjvp
    def _(primals, tangents):
        active, rest = primals[:count], primals[count:]
        partial = lambda i: jax.jvp(
            lambda x: function(*active[:i], x, *active[i + 1 :], *rest),
            (active[i],),
            (jnp.ones_like(active[i]),),
        )[1]
        found = (
            (partial(i) for i in range(count))
            if formulas is None
            else (f(*primals) for f in formulas)
        )
        partials = jax.lax.optimization_barrier(tuple(found))
        return wrapped(*primals), sum(p * t for p, t in zip(partials, tangents))

    return wrapped
