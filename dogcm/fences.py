"""Where the compiler must not merge loops: in the backward pass.

A Field that enters several terms collects a cotangent from each. Left alone, the compiler sums them in one huge
loop that computes every term anew for each neighbour that a stencil reads. ``fence`` does nothing to a value, but
has its cotangent stored before it goes on.
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
    return [cotangent if type(cotangent) is ad.Zero else jax.lax.optimization_barrier(_fence_p.bind(cotangent))]


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
    # Taken apart level by level, its transpose would add up as many padded arrays as there are levels.
    # Stored: merged with what follows, the sum would be computed for each neighbour anew.
    return jax.lax.optimization_barrier(ordered_sum(*primals)), jnp.sum(tangents[0], axis=-3)


_spread_p = Primitive("spread")


def _on_all(x, *, levels):
    return jnp.broadcast_to(x[..., None, :, :], (*x.shape[:-2], levels, *x.shape[-2:]))


_spread_p.def_impl(_on_all)
_spread_p.def_abstract_eval(lambda x, *, levels: x.update(shape=(*x.shape[:-2], levels, *x.shape[-2:])))
mlir.register_lowering(_spread_p, mlir.lower_fun(_on_all, multiple_results=False))
batching.primitive_batchers[_spread_p] = lambda args, dims, *, levels: (
    _spread_p.bind(jnp.moveaxis(args[0], dims[0], 0), levels=levels), 0)


def _transpose_of_spread(cotangent, _, *, levels):
    if type(cotangent) is ad.Zero:
        return [ad.Zero(cotangent.aval.update(shape=(*cotangent.aval.shape[:-3], *cotangent.aval.shape[-2:])))]
    return [jax.lax.optimization_barrier(ordered_sum(jax.lax.optimization_barrier(cotangent)))]


ad.deflinear2(_spread_p, _transpose_of_spread)


def spread(x, shape):
    """A scalar or a two-dimensional array on all levels of three-dimensional ``shape``.

    Its cotangent is stored, summed over levels one after the other, and what remains over the level: as one loop with the
    arithmetic before it, or over all cells at once, the sum is an order of magnitude slower.
    """
    level = x if jnp.ndim(x) == 2 else jnp.broadcast_to(x, shape[-2:])
    return _spread_p.bind(level, levels=shape[-3])


_OF_PAIRS = {
    "diff": lambda low, high: high - low, "drop": lambda low, high: low - high,
    "sum": lambda low, high: low + high, "mean": lambda low, high: 0.5 * (low + high),
}  # fmt: skip
_REVERSED = {"diff": "drop", "drop": "diff", "sum": "sum", "mean": "mean"}
_pairs_p = Primitive("pairs")


def _of_pairs(x, *, kind, axis):
    count = x.shape[axis]
    cut = lambda first: jax.lax.slice_in_dim(x, first, first + count - 1, axis=axis)  # noqa: E731
    return _OF_PAIRS[kind](cut(0), cut(1))


def _shape_of_pairs(x, *, kind, axis):
    shape = list(x.shape)
    shape[axis] -= 1
    return x.update(shape=tuple(shape))


_pairs_p.def_impl(_of_pairs)
_pairs_p.def_abstract_eval(_shape_of_pairs)
mlir.register_lowering(_pairs_p, mlir.lower_fun(_of_pairs, multiple_results=False))
batching.primitive_batchers[_pairs_p] = lambda args, dims, **kw: (_pairs_p.bind(jnp.moveaxis(args[0], dims[0], 0), **kw), 0)


def _transpose_of_pairs(cotangent, x, *, kind, axis):
    if type(cotangent) is ad.Zero:
        return [ad.Zero(x.aval)]
    around = [(0, 0, 0)] * cotangent.ndim
    around[axis] = (1, 1, 0)
    padded = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), around)
    return [_pairs_p.bind(padded, kind=_REVERSED[kind], axis=axis)]


ad.deflinear2(_pairs_p, _transpose_of_pairs)


def pairs(x, kind: str, axis: int):
    """Neighbours along a (negative) axis combined: their ``diff`` (higher index minus lower), ``drop`` (the other way), ``sum``
    or ``mean``.

    As two slices each would be transposed by an array of its own with zeros at one end, and such arrays are always
    stored; this is one array with zeros at both ends.
    """
    return _pairs_p.bind(x, kind=kind, axis=axis)


_first_p = Primitive("add_to_first")


def _added(x, level):
    return jnp.concatenate([(x[..., 0, :, :] + level)[..., None, :, :], x[..., 1:, :, :]], axis=-3)


def _batch_of_added(args, dims):
    size = next(a.shape[d] for a, d in zip(args, dims) if d is not None)
    lead = lambda a, d: jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)  # noqa: E731
    return _first_p.bind(*map(lead, args, dims)), 0


def _transpose_of_added(cotangent, x, level):
    owed = (cotangent, cotangent[..., 0, :, :]) if type(cotangent) is not ad.Zero else (ad.Zero(x.aval), ad.Zero(level.aval))
    return [c if ad.is_undefined_primal(a) else None for c, a in zip(owed, (x, level))]


_first_p.def_impl(_added)
_first_p.def_abstract_eval(lambda x, level: x)
mlir.register_lowering(_first_p, mlir.lower_fun(_added, multiple_results=False))
batching.primitive_batchers[_first_p] = _batch_of_added
ad.deflinear2(_first_p, _transpose_of_added)


def add_to_first(x, level):
    """``x`` with a level added to its first one. Put together from two parts, its cotangent would be taken apart into two
    arrays of its size."""
    return _first_p.bind(x, level)


_ends_p = Primitive("ends")
_ends_p.multiple_results = True


def _with_ends(x, *, axis, low, high):
    size = x.shape[axis]
    return [jax.lax.slice_in_dim(x, 0, low, axis=axis), jax.lax.slice_in_dim(x, size - high, size, axis=axis), x]


def _shapes_of_ends(x, *, axis, low, high):
    position = axis % x.ndim
    end = lambda n: x.update(shape=(*x.shape[:position], n, *x.shape[position + 1 :]))  # noqa: E731
    return [end(low), end(high), x]


def _transpose_of_ends(cotangents, x, *, axis, low, high):
    first, last, whole = map(ad.instantiate_zeros, cotangents)
    size = whole.shape[axis]
    cut = lambda x, a, b: jax.lax.slice_in_dim(x, a, b, axis=axis)  # noqa: E731
    if low + high <= size:
        parts = [cut(whole, 0, low) + first, cut(whole, low, size - high), cut(whole, size - high, size) + last]
        return [jnp.concatenate(parts, axis=axis)]
    # They overlap: one after the other.
    whole = jnp.concatenate([cut(whole, 0, low) + first, cut(whole, low, size)], axis=axis)
    return [jnp.concatenate([cut(whole, 0, size - high), cut(whole, size - high, size) + last], axis=axis)]


_ends_p.def_impl(_with_ends)
_ends_p.def_abstract_eval(_shapes_of_ends)
mlir.register_lowering(_ends_p, mlir.lower_fun(_with_ends, multiple_results=True))
batching.primitive_batchers[_ends_p] = lambda args, dims, **kw: (_ends_p.bind(jnp.moveaxis(args[0], dims[0], 0), **kw), [0] * 3)
ad.deflinear2(_ends_p, _transpose_of_ends)


def with_ends(x, axis: int, low: int, high: int) -> list:
    """The first ``low`` and the last ``high`` cells along a (negative) axis, and ``x``; what they owe to it is added in
    one array."""
    return _ends_p.bind(x, axis=axis, low=low, high=high)


@jax.custom_jvp
def keep(x):
    """``x``; when a derivative is taken, it is stored rather than computed anew wherever the backward pass needs it."""
    return x


@keep.defjvp
def _(primals, tangents):
    return jax.lax.optimization_barrier(keep(primals[0])), tangents[0]


def with_stored_derivatives(function, count: int, formulas: tuple | None = None):
    """An elementwise function whose derivatives with respect to its first ``count`` arrays are computed once
    and stored; its other arguments are constants. ``formulas``: functions for them that cost less than JAX's."""
    wrapped = jax.custom_jvp(function)

    @wrapped.defjvp
    def _(primals, tangents):
        active, rest = primals[:count], primals[count:]
        partial = lambda i: jax.jvp(  # noqa: E731
            lambda x: function(*active[:i], x, *active[i + 1 :], *rest), (active[i],), (jnp.ones_like(active[i]),)
        )[1]
        found = (partial(i) for i in range(count)) if formulas is None else (f(*primals) for f in formulas)
        partials = jax.lax.optimization_barrier(tuple(found))
        return wrapped(*primals), sum(p * t for p, t in zip(partials, tangents))

    return wrapped
