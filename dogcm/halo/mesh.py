"""Messages between devices that share a program: collectives of XLA inside ``jax.shard_map``.

The mesh has one axis, the ranks, whatever the layout: a neighbour is an entry of a permutation of
ranks, and so is the tile beyond a north fold. All tiles share one program. What differs between
them is therefore data, chosen by the index of the device (:meth:`MeshBackend.here`).

Derivatives need no rules of our own here: without JAX's checks for replicated values
(``check_vma=False``) the transpose of a permutation is its inverse and that of a sum a sum, which
is the convention that every tile differentiates its own share of a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp.layout import Layout, LayoutError
from dogcm.halo.shared_program import AXIS, SharedProgram


class MeshBackend:
    """Messages over the devices of a :class:`dogcm.decomp.crew.Crew`.

    Outside a program each message is a program of its own.
    """

    # Any tile's size is that of all.
    pattern = 0

    def __init__(self, comm):
        self.comm, self.size = comm, comm.size
        self._alone: dict[Any, SharedProgram] = {}

    @property
    def rank(self) -> int:
        """Of this tile, outside a program of all tiles.

        Raises:
            RuntimeError: inside one.
        """
        if _inside():
            raise RuntimeError(
                "all tiles share one program, which cannot ask for its rank: use HaloExchange.here"
            )
        return self.comm.rank

    def jit(self, function: Callable, **options) -> SharedProgram:
        """``jax.jit`` of a function of this tile's arrays that may send messages; every tile calls
        it."""
        return SharedProgram(function, self.comm, **options)

    def shapes(self, function: Callable, *args):
        """``jax.eval_shape`` of a function that may send messages."""
        make = jax.make_jaxpr(function, axis_env=[(AXIS, self.size)], return_shape=True)
        return make(*args)[1]

    def check(self, layout: Layout) -> None:
        """Refuse tiles that no common program fits.

        Raises:
            LayoutError: tiles differ in size.
        """
        if not layout.alike:
            shapes = {layout.tile(r).shape for r in range(layout.size)}
            raise LayoutError(
                f"{layout.describe()}: tiles of {_several(shapes)} cells, and devices share "
                "a program and so a size of tile; choose numbers of tiles that divide the grid, or "
                "MPI ranks without devices"
            )

    def here(self, of: Callable[[int], Any]):
        """``of(rank)`` of this device's rank: data inside a program of all tiles."""
        if not _inside():
            return of(self.comm.rank)
        table = jnp.asarray(np.stack([np.asarray(of(rank)) for rank in range(self.size)]))
        return table[jax.lax.axis_index(AXIS)]

    def swap(self, to_lower, to_upper, near: Callable[[int], tuple[int, int]]):
        """Send one buffer to each rank's ``near[0]`` and one to its ``near[1]``; returns (from
        lower, from upper)."""
        pairs = [near(rank) for rank in range(self.size)]
        from_upper = self._moved(to_lower, [lower for lower, _ in pairs])
        from_lower = self._moved(to_upper, [upper for _, upper in pairs])
        return from_lower, from_upper

    def trade(self, buffer, partner: Callable[[int], int]):
        """Send a buffer to each rank's partner and return the one that comes from there."""
        return self._moved(buffer, [partner(rank) for rank in range(self.size)])

    def psum(self, value):
        """Sum over ranks; its transpose is a sum over ranks."""
        return self._bound("psum", lambda v: jax.lax.psum(v, AXIS), value)

    def pmax(self, value):
        """Largest value over ranks (no derivative)."""
        largest = lambda v: jax.lax.pmax(jax.lax.stop_gradient(v), AXIS)
        return self._bound("pmax", largest, value)

    def broadcast(self, value, root: int = 0):
        """The value of rank ``root``, as a sum of which only one term is not zero."""

        def told(v):
            mine = jax.lax.axis_index(AXIS) == root
            return jax.lax.psum(jnp.where(mine, v, jnp.zeros_like(v)), AXIS)

        return self._bound(("broadcast", root), told, value)

    def _moved(self, value, targets: list[int]):
        """Each rank's value to its target."""
        move = lambda v: jax.lax.ppermute(v, AXIS, list(enumerate(targets)))
        return self._bound(("move", *targets), move, value)

    def _bound(self, name, message: Callable, value):
        if _inside():
            # Of a constant JAX would take it that all tiles hold the same.
            traced = isinstance(value, jax.core.Tracer)
            return message(value if traced else jax.lax.optimization_barrier(value))
        if isinstance(value, jax.core.Tracer):
            raise RuntimeError(
                "a message between devices in a program of one tile: compile it by model.jit (or "
                "halos.jit), not by jax.jit"
            )
        if name not in self._alone:
            self._alone[name] = self.jit(message)
        return self._alone[name](value)


def _inside() -> bool:
    """Whether a program of all tiles is being made."""
    try:
        jax.lax.axis_size(AXIS)
    except NameError:
        return False
    return True


def _several(shapes: set) -> str:
    told = [f"{rows} x {columns}" for rows, columns in sorted(shapes)]
    return f"{', '.join(told[:-1])} and {told[-1]}"


__all__ = ["MeshBackend"]
