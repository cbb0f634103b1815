"""C-grid calculus on Fields. The place on the grid is in the name.

``diff_x_c2u(T)`` is the difference of two neighbouring cell centres and sits on the west face
between them; ``mean_y_v2c(V)`` is the mean of a cell's two south/north faces. Every operator uses
up the halo it reads: a difference from centres to west faces needs one cell more to the west.

All horizontal operators are two-point stencils built by :func:`_two_point`, the single place where
neighbours are sliced.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.field import Field, FieldError, _Label, same_place
from dogcm.lowering.fences import ordered_sum
from dogcm.lowering.transposes import add_to_first, pairs

# From a place to the neighbouring place in x or y, and whether the stencil reaches back (to the
# west or south) or forward (to the east or north) in index space.
_X_MOVES = {("c", "u"): -1, ("u", "c"): +1, ("v", "q"): -1, ("q", "v"): +1}
_Y_MOVES = {("c", "v"): -1, ("v", "c"): +1, ("u", "q"): -1, ("q", "u"): +1}


def _two_point(f: Field, axis: str, source: str, target: str, kind: str, name: str) -> Field:
    """Combine the two neighbours of each ``target`` point."""
    if f.at[0] != source:
        raise FieldError(f"{name} needs a Field at {source}, got {f!r}")
    moves, dim = (_X_MOVES, -1) if axis == "x" else (_Y_MOVES, -2)
    step = moves[(source, target)]
    side = {("x", -1): "w", ("x", 1): "e", ("y", -1): "s", ("y", 1): "n"}[(axis, step)]
    if getattr(f.halo, side) < 1:
        raise FieldError(f"{name}: {f!r} has no valid halo left on side {side!r}; exchange it")
    halo = f.halo.less(**{side: 1})
    at = target + f.at[1:]
    return Field(_combined(f.data, kind, dim), at, halo, _Label(f"{name}({f.name})"[:80]))


def _combined(data, kind: str, dim: int):
    if kind not in _CHOICES:
        return pairs(data, kind, dim)
    size = data.shape[dim]
    return _CHOICES[kind](*(jax.lax.slice_in_dim(data, n, n + size - 1, axis=dim) for n in (0, 1)))


_CHOICES = {
    "lower": lambda lower, upper: lower,
    "upper": lambda lower, upper: upper,
    "min": jnp.minimum,
    "max": jnp.maximum,
}
_KINDS = {
    "lower": "lower-index one of",
    "upper": "higher-index one of",
    "diff": "difference (higher index minus lower) of",
    "mean": "arithmetic mean of",
    "sum": "sum of",
    "min": "smaller of",
    "max": "larger of",
}
_PLACE = {"c": "cell centres", "u": "west faces", "v": "south faces", "q": "corners"}


def _make(kind: str, axis: str, source: str, target: str) -> Callable[[Field], Field]:
    name = f"{kind}_{axis}_{source}2{target}"

    def operator(f: Field) -> Field:
        return _two_point(f, axis, source, target, kind, name)

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = (
        f"The {_KINDS[kind]} two neighbouring {_PLACE[source]} in {axis}, at {_PLACE[target]}."
    )
    return operator


diff_x_c2u, diff_x_u2c = _make("diff", "x", "c", "u"), _make("diff", "x", "u", "c")
diff_x_v2q, diff_x_q2v = _make("diff", "x", "v", "q"), _make("diff", "x", "q", "v")
diff_y_c2v, diff_y_v2c = _make("diff", "y", "c", "v"), _make("diff", "y", "v", "c")
diff_y_u2q, diff_y_q2u = _make("diff", "y", "u", "q"), _make("diff", "y", "q", "u")
mean_x_c2u, mean_x_u2c = _make("mean", "x", "c", "u"), _make("mean", "x", "u", "c")
mean_x_v2q, mean_x_q2v = _make("mean", "x", "v", "q"), _make("mean", "x", "q", "v")
mean_y_c2v, mean_y_v2c = _make("mean", "y", "c", "v"), _make("mean", "y", "v", "c")
mean_y_u2q, mean_y_q2u = _make("mean", "y", "u", "q"), _make("mean", "y", "q", "u")
lower_x_c2u, upper_x_c2u = _make("lower", "x", "c", "u"), _make("upper", "x", "c", "u")
lower_y_c2v, upper_y_c2v = _make("lower", "y", "c", "v"), _make("upper", "y", "c", "v")
lower_x_q2v, upper_x_q2v = _make("lower", "x", "q", "v"), _make("upper", "x", "q", "v")
lower_y_q2u, upper_y_q2u = _make("lower", "y", "q", "u"), _make("upper", "y", "q", "u")
lower_x_u2c, upper_x_u2c = _make("lower", "x", "u", "c"), _make("upper", "x", "u", "c")
lower_y_v2c, upper_y_v2c = _make("lower", "y", "v", "c"), _make("upper", "y", "v", "c")
sum_x_c2u, sum_y_c2v = _make("sum", "x", "c", "u"), _make("sum", "y", "c", "v")
sum_x_u2c, sum_y_v2c = _make("sum", "x", "u", "c"), _make("sum", "y", "v", "c")
min_x_c2u, min_y_c2v = _make("min", "x", "c", "u"), _make("min", "y", "c", "v")
min_x_u2c, min_y_v2c = _make("min", "x", "u", "c"), _make("min", "y", "v", "c")
min_x_v2q, min_y_u2q = _make("min", "x", "v", "q"), _make("min", "y", "u", "q")
max_x_c2u, max_y_c2v = _make("max", "x", "c", "u"), _make("max", "y", "c", "v")
max_x_v2q, max_y_u2q = _make("max", "x", "v", "q"), _make("max", "y", "u", "q")


def mean_xy_c2q(f: Field) -> Field:
    """Mean of the four cell centres around a corner."""
    h = f.data
    quarter = 0.25 * (h[..., :-1, :-1] + h[..., :-1, 1:] + h[..., 1:, :-1] + h[..., 1:, 1:])
    return _corner(f, quarter, "mean_xy_c2q")


def min_xy_c2q(f: Field) -> Field:
    """Smallest of the four cell centres around a corner."""
    h = f.data
    low = jnp.minimum(
        jnp.minimum(h[..., :-1, :-1], h[..., :-1, 1:]), jnp.minimum(h[..., 1:, :-1], h[..., 1:, 1:])
    )
    return _corner(f, low, "min_xy_c2q")


def _corner(f: Field, data, name: str) -> Field:
    if f.at[0] != "c" or f.halo.s < 1 or f.halo.w < 1:
        raise FieldError(f"{name} needs a Field at c with halo to the south and west, got {f!r}")
    return Field(data, "q" + f.at[1:], f.halo.less(s=1, w=1), _Label(f"{name}({f.name})"[:80]))


def previous_x(f: Field) -> Field:
    """The western neighbour at the same kind of place: ``out[i] = f[i-1]``."""
    return _moved(f, -1, -1)


def next_x(f: Field) -> Field:
    """The eastern neighbour at the same kind of place: ``out[i] = f[i+1]``."""
    return _moved(f, -1, +1)


def previous_y(f: Field) -> Field:
    """The southern neighbour at the same kind of place: ``out[j] = f[j-1]``."""
    return _moved(f, -2, -1)


def next_y(f: Field) -> Field:
    """The northern neighbour at the same kind of place: ``out[j] = f[j+1]``."""
    return _moved(f, -2, +1)


def _moved(f: Field, dim: int, step: int) -> Field:
    side = {(-1, -1): "w", (-1, 1): "e", (-2, -1): "s", (-2, 1): "n"}[(dim, step)]
    if getattr(f.halo, side) < 1:
        raise FieldError(f"{f!r} has no valid halo left on side {side!r}; exchange it")
    size = f.shape[dim]
    data = jax.lax.slice_in_dim(f.data, max(step, 0), size + min(step, 0), axis=dim)
    return Field(data, f.at, f.halo.less(**{side: 1}), f.name)


# ---- vertical
# Axis -3, k = 0 at the surface. Interface k lies between layers k and k + 1.


def _vertical(f: Field, data, at: str, name: str) -> Field:
    return Field(data, at, f.halo, _Label(f"{name}({f.name})"[:80]))


def _check_layers(f: Field, name: str) -> None:
    if f.at.endswith("w"):
        raise FieldError(f"{name} needs a Field on layers, got {f!r}")


def _layers(f: Field, name: str):
    _check_layers(f, name)
    return f.data[..., :-1, :, :], f.data[..., 1:, :, :]


def diff_z_c2w(f: Field) -> Field:
    """Upper layer minus lower layer, at the interface between them."""
    _check_layers(f, "diff_z_c2w")
    return _vertical(f, pairs(f.data, "drop", -3), f.at + "w", "diff_z_c2w")


def mean_z_c2w(f: Field) -> Field:
    """Mean of the layers above and below each interface."""
    _check_layers(f, "mean_z_c2w")
    return _vertical(f, pairs(f.data, "mean", -3), f.at + "w", "mean_z_c2w")


def add_top(f: Field, flux: Field) -> Field:
    """Add a two-dimensional Field to the surface layer."""
    same_place(f.level(0), flux, what="add to the surface layer")
    f, flux = common(f, flux)
    return f.with_data(add_to_first(f.data, flux.data))


def upper_z_c2w(f: Field) -> Field:
    """The layer above each interface."""
    return _vertical(f, _layers(f, "upper_z_c2w")[0], f.at + "w", "upper_z_c2w")


def lower_z_c2w(f: Field) -> Field:
    """The layer below each interface."""
    return _vertical(f, _layers(f, "lower_z_c2w")[1], f.at + "w", "lower_z_c2w")


def _with_boundaries(f: Field, name: str, outside: float = 0.0):
    """Interface values with ``outside`` added at the sea surface and below the last layer."""
    if not f.at.endswith("w"):
        raise FieldError(f"{name} needs a Field on interfaces, got {f!r}")
    pad = [(0, 0)] * (f.ndim - 3) + [(1, 1), (0, 0), (0, 0)]
    return jnp.pad(f.data, pad, constant_values=outside)


def around_layers(f: Field, outside: float = 0.0) -> tuple[Field, Field]:
    """A Field on interfaces as two on layers: at the interface above and at the one below each;
    ``outside``: at the sea
    surface and at the bottom.

    Stored, as padding within a larger loop keeps the compiler from vector instructions: it takes
        twice as long then.
    """
    full = jax.lax.optimization_barrier(_with_boundaries(f, "around_layers", outside))
    parts = full[..., :-1, :, :], full[..., 1:, :, :]
    return tuple(_vertical(f, part, f.at[:-1], "around_layers") for part in parts)


def diff_z_w2c(f: Field) -> Field:
    """Interface above minus interface below; zero at the sea surface and at the bottom."""
    full = _with_boundaries(f, "diff_z_w2c")
    return _vertical(f, pairs(full, "drop", -3), f.at[:-1], "diff_z_w2c")


def mean_z_w2c(f: Field) -> Field:
    """Mean of the interfaces above and below; zero at the sea surface and at the bottom."""
    full = _with_boundaries(f, "mean_z_w2c")
    return _vertical(f, pairs(full, "mean", -3), f.at[:-1], "mean_z_w2c")


def sum_z(f: Field) -> Field:
    """Sum over the vertical axis, from the surface down, always in this order."""
    return Field(ordered_sum(f.data), f.at[0], f.halo, _Label(f"sum_z({f.name})"[:80]))


def running_sum_down(f: Field) -> Field:
    """``out[k] = f[0] + ... + f[k]``, accumulated in this order."""
    return _running(f, reverse=False, name="running_sum_down")


def running_sum_up(f: Field) -> Field:
    """``out[k] = f[nz-1] + ... + f[k]``, accumulated from the bottom."""
    return _running(f, reverse=True, name="running_sum_up")


def _running(f: Field, reverse: bool, name: str) -> Field:
    # A scan over the leading axis is several times faster than cumsum on CPUs, and its order of
    # additions does not depend on the tile.
    def add(total, level):
        total = total + level
        return total, total

    start = jnp.zeros_like(f.data[0])
    _, out = jax.lax.scan(add, start, f.data, reverse=reverse)
    return _vertical(f, out, f.at, name)


def common(*fields: Field) -> list[Field]:
    """The Fields cropped to their common halo (places may differ)."""
    halo = Halo(*(min(sides) for sides in zip(*(f.halo for f in fields))))
    return [f.crop(halo) for f in fields]


__all__ = [
    n
    for n in dir()
    if n.split("_")[0]
    in {"diff", "mean", "sum", "min", "max", "previous", "next", "running", "upper", "lower"}
]
__all__ += ["around_layers", "common"]
