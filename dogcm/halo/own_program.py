"""What backends have in common whose ranks have a program each."""

from __future__ import annotations

import jax


class OwnProgram:
    """A rank that compiles for its own tile: what belongs to the tile is known while tracing.

    Attributes:
        rank: of this tile.
    """

    rank: int

    @property
    def pattern(self) -> int:
        """The rank whose tile has this one's size: its own."""
        return self.rank

    def jit(self, function, **options):
        """``jax.jit``."""
        return jax.jit(function, **options)

    def shapes(self, function, *args):
        """``jax.eval_shape``."""
        return jax.eval_shape(function, *args)

    def check(self, layout) -> None:
        """Every layout will do."""

    def here(self, of):
        """``of(rank)`` of this rank."""
        return of(self.rank)


__all__ = ["OwnProgram"]
