"""The north fold of tripolar grids: which stored point lies where, and what changes sign.

The last row of cell centres, ``j = ny - 1``, lies on the fold line, and the pivots are west faces
of columns 0 and ``nx / 2``, the poles of the grid (a fold of the T-point kind in the words of Madec
et al., NEMO ocean engine, but with pivots between two T points). Rows beyond are those below,
turned by half a revolution about a pivot:

====  ==============================================  ==========================
at    point ``[ny - 1 + m, i]`` is the same as        stored twice in row ny - 1
====  ==============================================  ==========================
c     ``[ny - 1 - m, nx - 1 - i]``                    ``i >= nx / 2``
u     ``[ny - 1 - m, nx - i]``                        ``i > nx / 2``
v     ``[ny - m, nx - 1 - i]`` (m > 0)                nothing
q     ``[ny - m, nx - i]`` (m > 0)                    nothing
====  ==============================================  ==========================

Components of vectors (what is stored at u and v, unless said otherwise) change sign. Of a pair of
copies the western one counts in sums, and is what the eastern one is set to by every exchange.
"""

from __future__ import annotations

import numpy as np

from dogcm.decomp.depth import Halo


def on_line(at: str) -> bool:
    """Whether this place has points on the fold line."""
    return at[0] in "cu"


def shifted(at: str) -> bool:
    """Whether the mirrored column is ``nx - i`` (west faces, corners) and not ``nx - 1 - i``."""
    return at[0] in "uq"


def flips(at: str) -> bool:
    """Whether what is stored here is a component of a vector, if nothing else is said."""
    return at[0] in "uv"


def copies(at: str, columns: np.ndarray, nx: int) -> np.ndarray:
    """Which of these columns of the last row repeat one farther west."""
    if not on_line(at):
        return np.zeros(np.shape(columns), bool)
    return np.mod(columns, nx) >= nx // 2 + shifted(at)


def rows_beyond(values: np.ndarray, at: str, count: int, vector: bool | None = None) -> np.ndarray:
    """The ``count`` rows north of a global ``(..., ny, nx)`` array; for c and u preceded by the
    last row, mirrored."""
    ny = values.shape[-2]
    first = ny - count - on_line(at)
    turned = values[..., first:, :][..., ::-1, ::-1]
    if shifted(at):
        turned = np.roll(turned, 1, axis=-1)
    return -turned if (flips(at) if vector is None else vector) else turned


def consistent(values: np.ndarray, at: str, vector: bool | None = None) -> np.ndarray:
    """A global array whose copies in the last row are those of their originals."""
    if not on_line(at):
        return values
    out = np.array(values)
    twice = copies(at, np.arange(values.shape[-1]), values.shape[-1])
    out[..., -1, twice] = rows_beyond(values, at, 0, vector)[..., 0, twice]
    return out


def pad_north(values: np.ndarray, at: str, halo: Halo, vector: bool | None = None) -> np.ndarray:
    """:func:`consistent`, with ``halo.n`` rows beyond the fold."""
    out = consistent(values, at, vector)
    beyond = rows_beyond(out, at, halo.n, vector)[..., int(on_line(at)) :, :]
    return np.concatenate([out, beyond], axis=-2)


__all__ = ["consistent", "copies", "flips", "on_line", "pad_north", "rows_beyond", "shifted"]
