"""What wide advection schemes read around a face: the two cells, differences across faces, and
which faces are open.

Cells are told apart by differences alone, and a difference across a closed face is zero: nothing is
ever read from land. ``open`` lets a scheme lower its order before it gets there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from dogcm.field import Field, fence, fmap
from dogcm.operators import (
    diff_x_c2u,
    diff_x_q2v,
    diff_y_c2v,
    diff_y_q2u,
    diff_z_c2w,
    lower_x_c2u,
    lower_x_q2v,
    lower_y_c2v,
    lower_y_q2u,
    lower_z_c2w,
    next_x,
    next_y,
    previous_x,
    previous_y,
    upper_x_c2u,
    upper_x_q2v,
    upper_y_c2v,
    upper_y_q2u,
    upper_z_c2w,
)

_ALONG_X = (previous_x, next_x)
_ALONG_Y = (previous_y, next_y)


class Around(NamedTuple):
    """A face and its surroundings along one axis; "high" is where the index grows.

    Attributes:
        low, high: values on the two sides. differences: high minus low, from ``reach`` faces below
            to as many above.
        open: 1 where the face of that difference is open, else 0.
    """

    low: Field
    high: Field
    differences: list[Field]
    open: list[Field]


def _around(
    f: Field,
    reach: int,
    low: Callable,
    high: Callable,
    difference: Callable,
    shift: tuple,
    mask: Field,
) -> Around:
    """``low`` and ``high``: operators to the two sides of a face; ``shift``: to the previous and
    the next index."""

    def spread(at_faces: Field) -> list[Field]:
        below, above = [at_faces], [at_faces]
        for _ in range(reach):
            below.append(shift[0](below[-1]))
            above.append(shift[1](above[-1]))
        return below[:0:-1] + above

    f = fence(f)
    return Around(low(f), high(f), spread(difference(f) * mask), spread(mask))


def around_x(c: Field, reach: int, grid) -> Around:
    """West faces; needs a halo of ``reach + 1``."""
    return _around(c, reach, lower_x_c2u, upper_x_c2u, diff_x_c2u, _ALONG_X, grid.mask_u)


def around_y(c: Field, reach: int, grid) -> Around:
    """South faces; needs a halo of ``reach + 1``."""
    return _around(c, reach, lower_y_c2v, upper_y_c2v, diff_y_c2v, _ALONG_Y, grid.mask_v)


def around_u_from_corners(q: Field, reach: int, grid) -> Around:
    """West faces between the corners south and north of them."""
    return _around(q, reach, lower_y_q2u, upper_y_q2u, diff_y_q2u, _ALONG_Y, grid.mask_u)


def around_v_from_corners(q: Field, reach: int, grid) -> Around:
    """South faces between the corners west and east of them."""
    return _around(q, reach, lower_x_q2v, upper_x_q2v, diff_x_q2v, _ALONG_X, grid.mask_v)


def _shifted(f: Field, levels: int) -> Field:
    """``out[k] = f[k + levels]``, 0 beyond the ends."""
    if levels == 0:
        return f
    count = min(abs(levels), f.shape[0])
    zeros = jnp.zeros_like(f.data[:count])
    return f.with_data(
        jnp.concatenate(
            [f.data[count:], zeros] if levels > 0 else [zeros, f.data[: f.shape[0] - count]]
        )
    )


def around_z(c: Field, reach: int, grid) -> Around:
    """Interfaces between layers: low is the layer above, high the one below."""
    c = fence(c)
    spread = lambda f: [_shifted(f, k) for k in range(-reach, reach + 1)]
    fall = diff_z_c2w(c) * (-1.0) * grid.mask_cw
    return Around(upper_z_c2w(c), lower_z_c2w(c), spread(fall), spread(grid.mask_cw))


def choose(function: Callable, velocity: Field, around: Around, *more, name: str) -> Field:
    """The value that flow carries through a face: of the cell upstream plus what a scheme adds.

    Args:
        velocity: positive towards high. more: Fields and scalars handed on.
        function: ``(differences, open, forward, *more) -> addition``: differences along the flow
            from far upstream on, one more upstream than downstream of the face; ``forward`` where
            the flow is towards high.
    """
    count, last = len(around.differences), len(around.differences) - 1

    def value(v, low, high, *rest):
        d, wet, more = rest[:count], rest[count : 2 * count], rest[2 * count :]
        forward = v > 0
        along = lambda f: [jnp.where(forward, f[m], f[last - m]) for m in range(last)]
        # Seen against the axis every difference changes its sign, and so does what is added.
        added = function(along(d), along(wet), forward, *more)
        return jnp.where(forward, low + added, high - added)

    return fmap(
        value,
        velocity,
        around.low,
        around.high,
        *around.differences,
        *around.open,
        *more,
        name=name,
    )
