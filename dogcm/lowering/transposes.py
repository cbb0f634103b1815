"""Linear operations with transposes that store fewer arrays than those which JAX makes of their
parts.

The transpose of a slice is an array of zeros with a cotangent in it. The compiler merges most
loops, but stores every such array; what reads several slices of one array therefore costs several
of them on the way back.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def _linear(name: str, function, shape, transpose, several: bool = False) -> Primitive:
    """A linear operation ``function(*arrays, **parameters)`` with a transpose of its own;
    ``shape``: from abstract arrays to
    abstract results. All batched arrays are batched along their first axis: axes count from the
    last."""
    primitive = Primitive(name)
    primitive.multiple_results = several

    def batched(args, dims, **parameters):
        size = next(a.shape[d] for a, d in zip(args, dims) if d is not None)
        lead = lambda a, d: (
            jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
        )
        out = primitive.bind(*map(lead, args, dims), **parameters)
        return out, [0] * len(out) if several else 0

    primitive.def_impl(function)
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=several))
    batching.primitive_batchers[primitive] = batched
    ad.deflinear2(primitive, transpose)
    return primitive


# ---- neighbours
_OF_PAIRS = {
    "diff": lambda low, high: high - low,
    "drop": lambda low, high: low - high,
    "sum": lambda low, high: low + high,
    "mean": lambda low, high: 0.5 * (low + high),
}
_REVERSED = {"diff": "drop", "drop": "diff", "sum": "sum", "mean": "mean"}


def _of_pairs(x, *, kind, axis):
    count = x.shape[axis]
    cut = lambda first: jax.lax.slice_in_dim(x, first, first + count - 1, axis=axis)
    return _OF_PAIRS[kind](cut(0), cut(1))


def _shape_of_pairs(x, *, kind, axis):
    shape = list(x.shape)
    shape[axis] -= 1
    return x.update(shape=tuple(shape))


def _transpose_of_pairs(cotangent, x, *, kind, axis):
    if type(cotangent) is ad.Zero:
        return [ad.Zero(x.aval)]
    around = [(0, 0, 0)] * cotangent.ndim
    around[axis] = (1, 1, 0)
    padded = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), around)
    return [_pairs_p.bind(padded, kind=_REVERSED[kind], axis=axis)]


_pairs_p = _linear("pairs", _of_pairs, _shape_of_pairs, _transpose_of_pairs)


def pairs(x, kind: str, axis: int):
    """Neighbours along a (negative) axis combined: their ``diff`` (higher index minus lower),
    ``drop`` (the other way), ``sum``
    or ``mean``.

    As two slices each would be transposed by an array of its own with zeros at one end, and such
    arrays are always stored; this is one array with zeros at both ends.
    """
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return _of_pairs(x, kind=kind, axis=axis)  # no derivative, and a mean is of another type
    return _pairs_p.bind(x, kind=kind, axis=axis)


# ---- a level on top
def _added(x, level):
    return jnp.concatenate([(x[..., 0, :, :] + level)[..., None, :, :], x[..., 1:, :, :]], axis=-3)


def _transpose_of_added(cotangent, x, level):
    owed = (
        (cotangent, cotangent[..., 0, :, :])
        if type(cotangent) is not ad.Zero
        else (ad.Zero(x.aval), ad.Zero(level.aval))
    )
    return [c if ad.is_undefined_primal(a) else None for c, a in zip(owed, (x, level))]


_first_p = _linear("add_to_first", _added, lambda x, level: x, _transpose_of_added)


def add_to_first(x, level):
    """``x`` with a level added to its first one. Put together from two parts, its cotangent would
    be taken apart into two
    arrays of its size."""
    return _first_p.bind(x, level)


# ---- ends of an array
def _with_ends(x, *, axis, low, high):
    size = x.shape[axis]
    return [
        jax.lax.slice_in_dim(x, 0, low, axis=axis),
        jax.lax.slice_in_dim(x, size - high, size, axis=axis),
        x,
    ]


def _shapes_of_ends(x, *, axis, low, high):
    position = axis % x.ndim
    end = lambda n: x.update(shape=(*x.shape[:position], n, *x.shape[position + 1 :]))
    return [end(low), end(high), x]


def _transpose_of_ends(cotangents, x, *, axis, low, high):
    first, last, whole = map(ad.instantiate_zeros, cotangents)
    size = whole.shape[axis]
    cut = lambda x, a, b: jax.lax.slice_in_dim(x, a, b, axis=axis)
    if low + high <= size:
        parts = [
            cut(whole, 0, low) + first,
            cut(whole, low, size - high),
            cut(whole, size - high, size) + last,
        ]
        return [jnp.concatenate(parts, axis=axis)]
    # They overlap: one after the other.
    whole = jnp.concatenate([cut(whole, 0, low) + first, cut(whole, low, size)], axis=axis)
    return [
        jnp.concatenate(
            [cut(whole, 0, size - high), cut(whole, size - high, size) + last], axis=axis
        )
    ]


_ends_p = _linear("ends", _with_ends, _shapes_of_ends, _transpose_of_ends, several=True)


def with_ends(x, axis: int, low: int, high: int) -> list:
    """The first ``low`` and the last ``high`` cells along a (negative) axis, and ``x``; what they
    owe to it is added in
    one array."""
    return _ends_p.bind(x, axis=axis, low=low, high=high)


# ---- three in a row
def _joined(low, middle, high, *, axis):
    around = [(0, 0, 0)] * middle.ndim
    around[axis] = (low.shape[axis], high.shape[axis], 0)
    out = jax.lax.pad(middle, jnp.zeros((), middle.dtype), around)
    out = jax.lax.dynamic_update_slice_in_dim(out, low, 0, axis)
    return jax.lax.dynamic_update_slice_in_dim(
        out, high, low.shape[axis] + middle.shape[axis], axis
    )


def _shape_of_joined(low, middle, high, *, axis):
    shape = list(middle.shape)
    shape[axis] += low.shape[axis] + high.shape[axis]
    return middle.update(shape=tuple(shape))


def _transpose_of_joined(cotangent, *parts, axis):
    like = [p.aval if ad.is_undefined_primal(p) else jax.typeof(p) for p in parts]
    if type(cotangent) is ad.Zero:
        owed = map(ad.Zero, like)
    else:
        owed = jax.lax.split(cotangent, [a.shape[axis] for a in like], axis % cotangent.ndim)
    return [c if ad.is_undefined_primal(p) else None for c, p in zip(owed, parts)]


_joined_p = _linear("joined", _joined, _shape_of_joined, _transpose_of_joined)


def joined(low, middle, high, axis: int):
    """Three arrays put together along a (negative) axis; along the last one in half the time of a
    concatenation, which copies
    row by row. Its transpose cuts, as that of a concatenation does; those of the updates it is made
    of would store zeros."""
    return _joined_p.bind(low, middle, high, axis=axis)


# ---- all four sides
# Sides in the order south, north, west, east; a slab of one is a slice along this axis, at the
# lower or the upper end.
_SIDES = ((-2, False), (-2, True), (-1, False), (-1, True))


def _with_edges(x, *, depths):
    slabs = []
    for (axis, upper), depth in zip(_SIDES, depths):
        start = x.shape[axis] - depth if upper else 0
        slabs.append(jax.lax.slice_in_dim(x, start, start + depth, axis=axis))
    return [*slabs, x]


def _shapes_of_edges(x, *, depths):
    *outer, ny, nx = x.shape
    shapes = [
        (depth, nx) if axis == -2 else (ny, depth) for (axis, _), depth in zip(_SIDES, depths)
    ]
    return [*(x.update(shape=(*outer, *shape)) for shape in shapes), x]


def _transpose_of_edges(cotangents, x, *, depths):
    *slabs, whole = cotangents
    whole = ad.instantiate_zeros(whole)
    for (axis, upper), depth, slab in zip(_SIDES, depths, slabs):
        if type(slab) is ad.Zero:
            continue
        start = x.aval.shape[axis] - depth if upper else 0
        owed = jax.lax.slice_in_dim(whole, start, start + depth, axis=axis) + slab
        whole = jax.lax.dynamic_update_slice_in_dim(whole, owed, start, axis)
    return [whole]


_edges_p = _linear("edges", _with_edges, _shapes_of_edges, _transpose_of_edges, several=True)


def with_edges(x, depths) -> list:
    """The slabs of ``x`` ``(..., y, x)`` along its southern, northern, western and eastern side, so
    many cells deep, and ``x``;
    what they owe to it is added in one array."""
    return _edges_p.bind(x, depths=tuple(depths))


def _framed(middle, south, north, west, east):
    below, left = south.shape[-2], west.shape[-1]
    ny, nx = middle.shape[-2:]
    around = [(0, 0, 0)] * (middle.ndim - 2) + [
        (below, north.shape[-2], 0),
        (left, east.shape[-1], 0),
    ]
    out = jax.lax.pad(middle, jnp.zeros((), middle.dtype), around)
    for part, row, column in (
        (west, below, 0),
        (east, below, left + nx),
        (south, 0, 0),
        (north, below + ny, 0),
    ):
        out = jax.lax.dynamic_update_slice(out, part, (*[0] * (middle.ndim - 2), row, column))
    return out


def _shape_of_framed(middle, south, north, west, east):
    rows = south.shape[-2] + middle.shape[-2] + north.shape[-2]
    return middle.update(shape=(*middle.shape[:-2], rows, south.shape[-1]))


def _transpose_of_framed(cotangent, *parts):
    if type(cotangent) is ad.Zero:
        owed = [ad.Zero(p.aval if ad.is_undefined_primal(p) else jax.typeof(p)) for p in parts]
    else:
        shapes = [(p.aval if ad.is_undefined_primal(p) else p).shape for p in parts]
        (ny, nx), below, left = shapes[0][-2:], shapes[1][-2], shapes[3][-1]
        corners = (below, left), (0, 0), (below + ny, 0), (below, 0), (below, left + nx)
        owed = [
            cotangent[..., j : j + shape[-2], i : i + shape[-1]]
            for (j, i), shape in zip(corners, shapes)
        ]
    return [c if ad.is_undefined_primal(p) else None for c, p in zip(owed, parts)]


_framed_p = _linear("framed", _framed, _shape_of_framed, _transpose_of_framed)


def framed(middle, south, north, west, east):
    """``middle`` ``(..., y, x)`` with slabs along its four sides; ``south`` and ``north`` hold the
    corners. One array is written
    once: put together axis by axis it would be three times. Its transpose cuts, see
    :func:`joined`."""
    return _framed_p.bind(middle, south, north, west, east)
