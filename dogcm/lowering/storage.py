"""Where values and cotangents of Fields are stored, instead of being computed anew.

They change no value. What each is for, and when to use which: docs/lowering.md. A Field here is
anything like :class:`dogcm.field.Field`, which this file lies below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import jax

from dogcm.lowering import fences


def hold(*fields: Any) -> Any:
    """Have the values computed once, here.

    The compiler merges everything it can into the loops that use it, and would compute a
    flux anew for each of the cells that share its face, and their neighbours' inputs again. A model
    step is several times faster when such values are stored at a few chosen places.
    """
    data = jax.lax.optimization_barrier(tuple(f.data for f in fields))
    out = tuple(f.with_data(d) for f, d in zip(fields, data))
    return out[0] if len(out) == 1 else out


def fence(*fields: Any) -> Any:
    """The same values; what the terms that follow contribute to their cotangents is stored on its
    own."""
    out = tuple(f.with_data(fences.fence(f.data)) for f in fields)
    return out[0] if len(out) == 1 else out


def keep(f: Any) -> Any:
    """The same values; when a derivative is taken, the backward pass finds them stored."""
    return f.with_data(fences.keep(f.data))


def as_one_row(function: Callable, *fields: Any) -> Any:
    """A ``function`` of Fields that uses no horizontal neighbours, applied to each level as one
    long row, and stored.

    Of a row that is no multiple of sixteen cells long the compiler handles the rest one by one:
    with as much arithmetic as density takes, on rows of 94, that is a third of the time. Horizontal
    operators find no halo.
    """
    halo = reduce(lambda a, b: a.meet(b), (f.halo for f in fields))
    none = type(halo)()
    near = [f.crop(halo) for f in fields]
    rows = jax.lax.optimization_barrier(
        tuple(f.data.reshape(*f.shape[:-2], 1, math.prod(f.shape[-2:])) for f in near)
    )
    out = function(*(replace(f, data=r, halo=none) for r, f in zip(rows, near)))
    found = jax.lax.optimization_barrier(out.data)
    back = found.reshape(*out.shape[:-2], *near[0].shape[-2:])
    return replace(out, data=back, halo=halo)


__all__ = ["as_one_row", "fence", "hold", "keep"]
