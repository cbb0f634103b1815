"""Field: an array that knows where it sits on the C grid and how deep its halo is.

The two worst bugs of a tiled model, a stale halo and a value half a cell away from where the
formula needs it, are errors at trace time here. Combining two Fields crops both to the region
where both are valid; combining two places of the grid, or asking for more halo than is left, raises
:class:`FieldError` with the names of the operands. All of this is static: it costs nothing at run
time.

Places (Arakawa C grid, Arakawa and Lamb 1977):

====  ==========================================  ====================================
name  horizontal position of element ``[j, i]``   neighbours
====  ==========================================  ====================================
c     centre of cell (j, i)
u     west face of cell (j, i)                    between c[j, i-1] and c[j, i]
v     south face of cell (j, i)                   between c[j-1, i] and c[j, i]
q     south-west corner of cell (j, i)            between u[j-1, i] and u[j, i]
====  ==========================================  ====================================

A trailing ``w`` (``cw``, ``uw``, ``vw``) marks the interfaces between layers: element ``k`` of such
a Field lies between layers ``k`` and ``k + 1``, so it has one level fewer than a layer Field.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp.depth import Halo
from dogcm.lowering import fences
from dogcm.lowering.storage import as_one_row, fence, hold, keep  # noqa: F401 part of what Fields do

# Fixed-point sums, clocks and float64 runs need 64-bit types; float32 runs ask for their type by
# name everywhere, so this does not widen them.
jax.config.update("jax_enable_x64", True)

POINTS = ("c", "u", "v", "q", "cw", "uw", "vw", "qw")
_NAMES = {
    "c": "cell centres (c)",
    "u": "west faces (u)",
    "v": "south faces (v)",
    "q": "corners (q)",
}


class FieldError(TypeError):
    """Two Fields do not fit together: other places on the grid, or not enough valid halo."""


class _Label(str):
    """A name for messages only: all labels are equal, so they never cause a second compilation."""

    def __eq__(self, other):
        return isinstance(other, str)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return 0


def _describe(at: str) -> str:
    return _NAMES[at[0]] + (", layer interfaces" if at.endswith("w") else "")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["data"],
    meta_fields=["at", "halo", "name"],
)
@dataclass(frozen=True, eq=False)
class Field:
    """Values on one tile and on the part of its halo that is valid.

    Attributes:
        data: array ``(..., y, x)``; the last two axes hold the tile's own cells and ``halo``.
        at: place on the C grid, one of :data:`POINTS`.
        halo: valid cells beyond the tile on each side.
        name: for error messages only.
    """

    data: Any
    at: str
    halo: Halo = Halo()
    name: str = _Label("")

    # ---- inspection
    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def tile_shape(self) -> tuple[int, int]:
        """(ny, nx) of the tile itself, without halo."""
        ny, nx = self.data.shape[-2:]
        return ny - self.halo.s - self.halo.n, nx - self.halo.w - self.halo.e

    @property
    def interior(self):
        """The tile's own values, as a plain array."""
        return self.crop(Halo()).data

    def __repr__(self) -> str:
        label = str(self.name) or "Field"
        shape = getattr(self.data, "shape", "?")
        return f"{label}[{self.at}, {self.halo}, shape {shape}]"

    # ---- structure
    def named(self, name: str) -> Field:
        return Field(self.data, self.at, self.halo, _Label(name[:80]))

    def with_data(self, data, at: str | None = None) -> Field:
        """The same place and halo with other data (leading axes may differ)."""
        return Field(data, at or self.at, self.halo, self.name)

    def level(self, k) -> Field:
        """One level (or a slice of levels) of the vertical axis, which is axis -3."""
        return self.with_data(self.data[..., k, :, :])

    def crop(self, halo: int | Halo) -> Field:
        """Drop halo cells down to ``halo``; asking for more than is valid is an error."""
        want = Halo.of(halo)
        if want == self.halo:
            return self
        if any(w > h for w, h in zip(want, self.halo)):
            raise FieldError(
                f"{self!r} has not enough valid halo: {want} is needed, {self.halo} is left. "
                "Exchange it deeper, or use it before it is used up."
            )
        ny, nx = self.data.shape[-2:]
        js, je = self.halo.s - want.s, ny - (self.halo.n - want.n)
        is_, ie = self.halo.w - want.w, nx - (self.halo.e - want.e)
        return Field(self.data[..., js:je, is_:ie], self.at, want, self.name)

    def astype(self, dtype) -> Field:
        return self.with_data(self.data.astype(dtype))

    # ---- arithmetic
    def __add__(self, other):
        return _binary(operator.add, "+", self, other)

    def __radd__(self, other):
        return _binary(operator.add, "+", other, self)

    def __sub__(self, other):
        return _binary(operator.sub, "-", self, other)

    def __rsub__(self, other):
        return _binary(operator.sub, "-", other, self)

    def __mul__(self, other):
        return _binary(operator.mul, "*", self, other)

    def __rmul__(self, other):
        return _binary(operator.mul, "*", other, self)

    def __truediv__(self, other):
        return _binary(operator.truediv, "/", self, other)

    def __rtruediv__(self, other):
        return _binary(operator.truediv, "/", other, self)

    def __lt__(self, other):
        return _binary(operator.lt, "<", self, other)

    def __gt__(self, other):
        return _binary(operator.gt, ">", self, other)

    def __le__(self, other):
        return _binary(operator.le, "<=", self, other)

    def __ge__(self, other):
        return _binary(operator.ge, ">=", self, other)

    def __neg__(self):
        return self.with_data(-self.data)

    def __pow__(self, power: int):
        if not isinstance(power, int):
            raise FieldError("only whole powers: fractional powers need a safe base, see fmap")
        return self.with_data(self.data**power)

    def __array__(self, *args, **kwargs):
        raise FieldError(f"{self!r} is not a plain array: use .interior or .data")

    def __bool__(self):
        raise FieldError(f"{self!r} has no truth value; use where(condition, a, b)")


def same_place(*fields: Field, what: str = "combine") -> str:
    """The common place of ``fields``; :class:`FieldError` naming two that differ otherwise."""
    first = fields[0]
    place = next((f.at for f in fields if f.ndim >= 3), first.at)
    for f in fields[1:]:
        if f.at[0] != first.at[0] or f.tile_shape != first.tile_shape:
            raise FieldError(_mismatch(what, first, f))
    for f in fields:
        # A two-dimensional Field broadcasts over layers and over interfaces alike.
        if f.ndim >= 3 and f.at != place:
            raise FieldError(_mismatch(what, next(g for g in fields if g.at == place), f))
    return place


def _mismatch(what: str, a: Field, b: Field) -> str:
    if a.at != b.at:
        return (
            f"cannot {what} {a!r} and {b!r}: the first is at {_describe(a.at)}, the second at "
            f"{_describe(b.at)}. Bring one to the other's place with mean_*, diff_* or "
            f"reconstruct_*."
        )
    return f"cannot {what} {a!r} and {b!r}: tiles of {a.tile_shape} and {b.tile_shape} cells"


def _check_plain(value, field: Field, what: str) -> None:
    shape = np.shape(value)
    if len(shape) >= 2 and tuple(shape[-2:]) == (1, 1):
        return  # a profile over levels
    if shape != ():
        raise FieldError(
            f"cannot {what} {field!r} with a plain array of shape {shape}: only scalars and "
            "profiles of shape (nz, 1, 1) carry no place; make it a Field"
        )


def align(*operands, what: str = "combine") -> tuple[list, str, Halo]:
    """Crop Fields to their common valid region.

    Returns the arrays (scalars unchanged), the common place and the common halo.
    """
    fields = [o for o in operands if isinstance(o, Field)]
    if not fields:
        raise FieldError(f"cannot {what}: no Field among the operands")
    at = same_place(*fields, what=what)
    halo = functools.reduce(Halo.meet, (f.halo for f in fields))
    arrays = []
    for o in operands:
        if isinstance(o, Field):
            arrays.append(o.crop(halo).data)
        else:
            _check_plain(o, fields[0], what)
            arrays.append(o)
    return arrays, at, halo


def _on_levels(x, shape):
    """A scalar that is traced, or a two-dimensional array, on all levels of a three-dimensional
    ``shape``, see
    :func:`dogcm.lowering.fences.spread`."""
    if len(shape) == 3 and (
        np.ndim(x) == 2 or (np.ndim(x) == 0 and isinstance(x, jax.core.Tracer))
    ):
        return fences.spread(x, shape)
    return x


def _binary(op: Callable, symbol: str, a, b) -> Field:
    (x, y), at, halo = align(a, b, what=f"apply '{symbol}' to")
    # XLA would choose between a division and a product with the reciprocal by how arrays are cut to
    # size, and so by the layout, and the last bit with it. Where many are divided by one it is the
    # reciprocal, always.
    if op is operator.truediv and not isinstance(y, (int, float)) and np.size(y) < np.size(x):
        op, y = operator.mul, 1.0 / y
    x, y = _on_levels(x, np.shape(y)), _on_levels(y, np.shape(x))
    name = f"({_name_of(a)} {symbol} {_name_of(b)})"
    return Field(op(x, y), at, halo, _Label(name[:80]))


def _name_of(operand) -> str:
    if isinstance(operand, Field):
        return str(operand.name) or f"Field@{operand.at}"
    return "scalar" if np.shape(operand) == () else "profile"


def fmap(function: Callable, *operands, name: str = "") -> Field:
    """Apply an elementwise ``function`` to Fields (and scalars) on their common valid region."""
    label = name or getattr(function, "__name__", "fmap")
    arrays, at, halo = align(*operands, what=f"apply {label} to")
    shape = max((np.shape(a) for a in arrays), key=len)
    # Arrays of one level stay: what the function does with them alone would then be done on every
    # level.
    scalars_apart = [_on_levels(a, shape) if np.ndim(a) == 0 else a for a in arrays]
    return Field(function(*scalars_apart), at, halo, _Label(label))


def where(condition: Field, a, b) -> Field:
    """Elementwise choice; see :func:`jax.numpy.where`."""
    return fmap(jnp.where, condition, a, b, name="where")


def minimum(a, b) -> Field:
    """Elementwise minimum of Fields or scalars."""
    return fmap(jnp.minimum, a, b, name="minimum")


def maximum(a, b) -> Field:
    """Elementwise maximum of Fields or scalars."""
    return fmap(jnp.maximum, a, b, name="maximum")


def zeros_like(f: Field) -> Field:
    """A Field of zeros at the same place with the same halo."""
    return f.with_data(jnp.zeros_like(f.data))


def exchange(communicator, *requests: tuple) -> list[Field]:
    """Make halos deep again: the only way to gain valid halo.

    All Fields travel together, in one buffer per neighbour.

    Args:
        communicator: a :class:`dogcm.halo.HaloExchange`.
        requests: pairs ``(field, depth)``; each Field comes back with just that halo. A third entry
            says whether the Field is a component of a vector, which changes sign across a north
            fold; without it those at u and v are.
    """
    wants = [Halo.of(r[1]) for r in requests]
    tiles = [r[0].crop(Halo()) for r in requests]
    fold = ()
    if getattr(communicator, "north_fold", False):
        fold = ([t.at for t in tiles], [r[2] if len(r) > 2 else None for r in requests])
    arrays = communicator.exchange([t.data for t in tiles], wants, *fold)
    return [Field(a, t.at, w, t.name) for a, t, w in zip(arrays, tiles, wants)]


def send_back(communicator, *fields: Field) -> list[Field]:
    """What Fields hold in their halos goes to the tiles that own these cells, and is added there.

    The transpose of :func:`exchange`; the result has no halo.
    """
    tiles = [jax.eval_shape(lambda f: f.crop(0), f) for f in fields]
    ask = lambda *tiles: exchange(communicator, *((t, f.halo) for t, f in zip(tiles, fields)))
    return list(jax.linear_transpose(ask, *tiles)(list(fields)))
