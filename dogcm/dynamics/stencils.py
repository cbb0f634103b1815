"""What wide advection schemes read around a face: the two cells, differences across faces, and which faces are open.

Cells are told apart by differences alone, and a difference across a closed face is zero: nothing is ever read from
land. ``open`` lets a scheme lower its order before it gets there.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import jax.numpy as jnp

from dogcm.field import Field, fence, fmap
from dogcm.operators import (
    diff_x_c2u, diff_x_q2v, diff_y_c2v, diff_y_q2u, diff_z_c2w, lower_x_c2u, lower_x_q2v, lower_y_c2v, lower_y_q2u,
    lower_z_c2w, next_x, next_y, previous_x, previous_y, upper_x_c2u, upper_x_q2v, upper_y_c2v, upper_y_q2u, upper_z_c2w,
)  # fmt: skip


class Around(NamedTuple):
    """A face and its surroundings along one axis; "high" is where the index grows.

    Attributes:
        low, high: values on the two sides. differences: high minus low, from ``reach`` faces below to as many above.
        open: 1 where the face of that difference is open, else 0.
    """

    low: Field
    high: Field
    differences: list[Field]
    open: list[Field]

    @property
    def reach(self) -> int:
        return len(self.differences) // 2


def _spread(f: Field, reach: int, previous: Callable, following: Callable) -> list[Field]:
    """``f`` from ``reach`` faces below to ``reach`` above."""
    below, above = [f], [f]
    for _ in range(reach):
        below.append(previous(below[-1]))
        above.append(following(above[-1]))
    return below[:0:-1] + above


def around_x(c: Field, reach: int, grid) -> Around:
    """West faces; needs a halo of ``reach + 1``."""
    c = fence(c)
    spread = lambda f: _spread(f, reach, previous_x, next_x)  # noqa: E731
    return Around(lower_x_c2u(c), upper_x_c2u(c), spread(diff_x_c2u(c) * grid.mask_u), spread(grid.mask_u))


def around_y(c: Field, reach: int, grid) -> Around:
    """South faces; needs a halo of ``reach + 1``."""
    c = fence(c)
    spread = lambda f: _spread(f, reach, previous_y, next_y)  # noqa: E731
    return Around(lower_y_c2v(c), upper_y_c2v(c), spread(diff_y_c2v(c) * grid.mask_v), spread(grid.mask_v))


def _shifted(f: Field, levels: int) -> Field:
    """``out[k] = f[k + levels]``, 0 beyond the ends."""
    if levels == 0:
        return f
    count = min(abs(levels), f.shape[0])
    zeros = jnp.zeros_like(f.data[:count])
    return f.with_data(
        jnp.concatenate([f.data[count:], zeros] if levels > 0 else [zeros, f.data[: f.shape[0] - count]])
    )


def around_z(c: Field, reach: int, grid) -> Around:
    """Interfaces between layers: low is the layer above, high the one below."""
    c = fence(c)
    spread = lambda f: [_shifted(f, k) for k in range(-reach, reach + 1)]  # noqa: E731
    fall = diff_z_c2w(c) * (-1.0) * grid.mask_cw
    return Around(upper_z_c2w(c), lower_z_c2w(c), spread(fall), spread(grid.mask_cw))


def around_u_from_corners(q: Field, reach: int, grid) -> Around:
    """West faces between the corners south and north of them."""
    q = fence(q)
    spread = lambda f: _spread(f, reach, previous_y, next_y)  # noqa: E731
    return Around(lower_y_q2u(q), upper_y_q2u(q), spread(diff_y_q2u(q) * grid.mask_u), spread(grid.mask_u))


def around_v_from_corners(q: Field, reach: int, grid) -> Around:
    """South faces between the corners west and east of them."""
    q = fence(q)
    spread = lambda f: _spread(f, reach, previous_x, next_x)  # noqa: E731
    return Around(lower_x_q2v(q), upper_x_q2v(q), spread(diff_x_q2v(q) * grid.mask_v), spread(grid.mask_v))


def choose(function: Callable, velocity: Field, around: Around, *more, name: str) -> Field:
    """The value that flow carries through a face: of the cell upstream plus what a scheme adds.

    Args:
        velocity: positive towards high. more: Fields and scalars handed on.
        function: ``(differences, open, forward, *more) -> addition``: differences along the flow from far upstream
            on, one more upstream than downstream of the face; ``forward`` where the flow is towards high.
    """
    count, last = len(around.differences), len(around.differences) - 1

    def value(v, low, high, *rest):
        d, wet, more = rest[:count], rest[count : 2 * count], rest[2 * count :]
        forward = v > 0
        along = lambda f: [jnp.where(forward, f[m], f[last - m]) for m in range(last)]  # noqa: E731
        # Seen against the axis every difference changes its sign, and so does what is added.
        added = function(along(d), along(wet), forward, *more)
        return jnp.where(forward, low + added, high - added)

    return fmap(value, velocity, around.low, around.high, *around.differences, *around.open, *more, name=name)
