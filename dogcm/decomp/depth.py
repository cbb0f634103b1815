"""How deep a halo is on each side of a tile."""

from __future__ import annotations

from typing import NamedTuple


class Halo(NamedTuple):
    """Number of valid cells beyond the tile's own, to the south, north, west and east."""

    s: int = 0
    n: int = 0
    w: int = 0
    e: int = 0

    @staticmethod
    def of(depth: int | Halo) -> Halo:
        """The same depth on every side, or ``depth`` itself if it is a Halo already."""
        return depth if isinstance(depth, Halo) else Halo(depth, depth, depth, depth)

    def meet(self, other: Halo) -> Halo:
        """Deepest halo that both have."""
        return Halo(*map(min, self, other))

    def less(self, s: int = 0, n: int = 0, w: int = 0, e: int = 0) -> Halo:
        """This halo with some cells used up."""
        return Halo(self.s - s, self.n - n, self.w - w, self.e - e)

    def __str__(self) -> str:
        return f"halo s{self.s} n{self.n} w{self.w} e{self.e}"
