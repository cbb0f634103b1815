"""Which rank owns which part of the grid.

A layout cuts the global index space ``(ny, nx)`` by ``px - 1`` lines of constant i and ``py - 1``
lines of constant j. Tiles may differ by one row or column (uneven cuts), and a tile without ocean
gets no rank. Each rank compiles for its own tile shape; the messages of two neighbours always have
the same size, because tiles of one row share their height and tiles of one column their width.

Neighbours are kept as permutations of the ranks. Where the ocean ends (a wall, or a tile that
was dropped) the end of a chain of tiles is linked back to its beginning: every rank then sends and
receives the same number of messages, whatever the coastline, and what arrives across a wall is
masked. ``MPI.PROC_NULL`` would leave uninitialised memory there.

A grid with a north fold (tripolar) is cut symmetrically about its middle column, so that beyond the
fold the neighbour of a tile of the top row is one whole tile, its mirror image
(:meth:`Layout.mirror`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class LayoutError(ValueError):
    """The requested layout does not fit the grid or the number of ranks."""


class Tile(NamedTuple):
    """Index range of one tile: rows ``j0 <= j < j1``, columns ``i0 <= i < i1``."""

    j0: int
    j1: int
    i0: int
    i1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.j1 - self.j0, self.i1 - self.i0


class Neighbours(NamedTuple):
    """Ranks to the south, north, west and east (a closed chain wraps around)."""

    s: int
    n: int
    w: int
    e: int


@dataclass(frozen=True)
class Layout:
    """A cut of the global grid into tiles, and the rank of each tile.

    Attributes:
        shape: global ``(ny, nx)``.
        px, py: number of tiles in x and y.
        periodic_x: whether the global grid closes on itself in x.
        cuts_x, cuts_y: tile edges, ``px + 1`` and ``py + 1`` indices.
        ranks: ``ranks[q][p]``, the rank of tile column p in row q, or -1 for a tile of land.
        north_fold: whether the last row is folded onto itself, see :mod:`dogcm.decomp.fold`.
    """

    shape: tuple[int, int]
    px: int
    py: int
    periodic_x: bool
    cuts_x: tuple[int, ...]
    cuts_y: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]
    north_fold: bool = False
    places: tuple[tuple[int, int], ...] = field(init=False, repr=False)

    def __post_init__(self):
        table = np.asarray(self.ranks)
        places = {int(table[q, p]): (q, p) for q, p in zip(*np.nonzero(table >= 0))}
        object.__setattr__(self, "places", tuple(places[r] for r in range(len(places))))

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.places)

    def tile(self, rank: int) -> Tile:
        """Index range of the tile of ``rank``."""
        q, p = self.places[rank]
        return Tile(self.cuts_y[q], self.cuts_y[q + 1], self.cuts_x[p], self.cuts_x[p + 1])

    def neighbours(self, rank: int) -> Neighbours:
        """Ranks that ``rank`` exchanges with."""
        q, p = self.places[rank]
        row = list(self.ranks[q])
        column = [self.ranks[m][p] for m in range(self.py)]
        west, east = _links(row, p, self.periodic_x)
        south, north = _links(column, q, False)
        return Neighbours(south, north, west, east)

    @property
    def drops_tiles(self) -> bool:
        """Whether some tile has no rank."""
        return self.size < self.px * self.py

    def missing(self, rank: int) -> tuple[bool, bool]:
        """Whether the tile to the south, and to the north (or beyond the fold), is a dropped
        one."""
        q, p = self.places[rank]
        south = q > 0 and self.ranks[q - 1][p] < 0
        if q == self.py - 1:
            return south, self.north_fold and self.ranks[q][self.px - 1 - p] < 0
        return south, self.ranks[q + 1][p] < 0

    def on_fold(self, rank: int) -> bool:
        """Whether the north fold is the northern side of this rank's tile."""
        return self.north_fold and self.places[rank][0] == self.py - 1

    def mirror(self, rank: int) -> int:
        """The rank beyond the fold: that of the mirrored tile of the top row, and a rank itself
        anywhere else."""
        q, p = self.places[rank]
        there = self.ranks[q][self.px - 1 - p] if self.on_fold(rank) else -1
        return there if there >= 0 else rank

    @property
    def alike(self) -> bool:
        """Whether all tiles have the same size."""
        return all(len(set(np.diff(cuts))) == 1 for cuts in (self.cuts_x, self.cuts_y))

    @property
    def smallest_tile(self) -> tuple[int, int]:
        """(rows, columns) of the smallest tile: the deepest halo that one exchange can fill."""
        return int(np.diff(self.cuts_y).min()), int(np.diff(self.cuts_x).min())

    def describe(self) -> str:
        dropped = self.px * self.py - self.size
        text = f"{self.px} x {self.py} tiles of the {self.shape[1]} x {self.shape[0]} grid"
        return text + (f", {dropped} without ocean dropped" if dropped else "")


def _links(chain: list[int], place: int, periodic: bool) -> tuple[int, int]:
    """The ranks before and after ``chain[place]``, closing each unbroken run of tiles on itself."""
    count = len(chain)
    if periodic and min(chain) >= 0:
        return chain[(place - 1) % count], chain[(place + 1) % count]

    def walk(step: int) -> int:
        here = place
        for _ in range(count):
            there = here + step
            if periodic:
                there %= count
            if not 0 <= there < count or chain[there] < 0:
                return here
            here = there
        return here

    def neighbour(step: int) -> int:
        there = place + step
        if periodic:
            there %= count
        if 0 <= there < count and chain[there] >= 0:
            return chain[there]
        return chain[walk(-step)]

    return neighbour(-1), neighbour(+1)


def _even_cuts(cells: int, parts: int) -> tuple[int, ...]:
    """Cut ``cells`` into ``parts`` that differ by at most one, the longer ones first."""
    base, extra = divmod(cells, parts)
    return tuple(
        int(c) for c in np.concatenate([[0], np.cumsum([base + (m < extra) for m in range(parts)])])
    )


def _mirrored_cuts(cells: int, parts: int) -> tuple[int, ...]:
    """Cut an even number of ``cells`` into ``parts`` as even as can be, symmetrically about the
    middle."""
    side = parts // 2
    # With an odd number of tiles the middle one takes what the sides leave.
    half = cells // 2 if parts % 2 == 0 else round(cells * side / parts)
    left = _even_cuts(half, side) if side else (0,)
    right = tuple(cells - c for c in left[::-1])
    return (*left, *(right if parts % 2 else right[1:]))


def _check_fold(shape: tuple[int, int], cuts_x, cuts_y, min_cells: int, periodic_x: bool) -> None:
    """Refuse what a north fold cannot be exchanged on."""
    (ny, nx), name = shape, f"layout {len(cuts_x) - 1}x{len(cuts_y) - 1}"
    if nx % 2 or not periodic_x:
        what = f"{nx} columns" if nx % 2 else "closed walls in x"
        raise LayoutError(
            f"a grid with a north fold needs an even number of columns that close on themselves, "
            f"not {what}: "
            "column i of the last row meets column nx - 1 - i; change grid.nx"
        )
    if any(a + b != nx for a, b in zip(cuts_x, cuts_x[::-1])):
        raise LayoutError(
            f"{name}: the cuts {tuple(cuts_x)} in x are not symmetric about the middle column "
            f"{nx // 2}; beyond a north "
            "fold each tile has to meet a whole one"
        )
    if len(cuts_x) > 2 and np.diff(cuts_x).min() < min_cells + 1:
        raise LayoutError(
            f"{name}: the narrowest tile has {np.diff(cuts_x).min()} columns, and a north fold "
            f"needs one more than the halo "
            f"of {min_cells}; use at most {max(nx // (min_cells + 1), 1)} tiles in x"
        )
    if cuts_y[-1] - cuts_y[-2] < min_cells + 1:
        raise LayoutError(
            f"{name}: the northern tiles have {cuts_y[-1] - cuts_y[-2]} rows, and a north fold "
            f"needs one more than the halo "
            f"of {min_cells}; use at most {max(ny // (min_cells + 1), 1)} tiles in y"
        )


def _wet_table(wet: np.ndarray | None, cuts_y, cuts_x) -> np.ndarray:
    table = np.ones((len(cuts_y) - 1, len(cuts_x) - 1), dtype=int)
    if wet is None:
        return table
    for q in range(table.shape[0]):
        for p in range(table.shape[1]):
            table[q, p] = wet[cuts_y[q] : cuts_y[q + 1], cuts_x[p] : cuts_x[p + 1]].any()
    return table


def make_layout(
    shape: tuple[int, int],
    px: int,
    py: int,
    *,
    periodic_x: bool = True,
    wet: np.ndarray | None = None,
    cuts_x: tuple[int, ...] | None = None,
    cuts_y: tuple[int, ...] | None = None,
    drop_land: bool = True,
    min_cells: int = 3,
    north_fold: bool = False,
) -> Layout:
    """Cut the grid into ``px`` by ``py`` tiles and number those that hold ocean.

    Args:
        shape: global ``(ny, nx)``.
        px, py: tiles in x and y.
        wet: global ``(ny, nx)`` bool, True where there is ocean; without it every tile counts.
        cuts_x, cuts_y: explicit tile edges (for uneven tiles); default: as even as can be.
        drop_land: give no rank to tiles without ocean.
        min_cells: smallest number of rows or columns of a tile that is cut (the halo's depth).
        north_fold: whether the last row is folded onto itself; cuts in x are then symmetric about
            the middle.

    Raises:
        LayoutError: when the cuts do not fit the grid.
    """
    ny, nx = shape
    if px < 1 or py < 1:
        raise LayoutError(f"layout {px}x{py}: both numbers of tiles must be at least 1")
    for name, parts, cells in (("x", px, nx), ("y", py, ny)):
        if parts > cells:
            raise LayoutError(
                f"layout {px}x{py}: {parts} tiles in {name} for {cells} cells; use at most "
                f"{max(cells // min_cells, 1)} tiles in {name}"
            )
    even = _mirrored_cuts if north_fold else _even_cuts
    cuts_x = tuple(cuts_x) if cuts_x is not None else even(nx, px)
    cuts_y = tuple(cuts_y) if cuts_y is not None else _even_cuts(ny, py)
    for name, cuts, cells, parts in (("x", cuts_x, nx, px), ("y", cuts_y, ny, py)):
        widths = np.diff(cuts)
        if len(cuts) != parts + 1 or cuts[0] != 0 or cuts[-1] != cells or (widths <= 0).any():
            raise LayoutError(
                f"layout {px}x{py}: the cuts {cuts} in {name} do not divide 0..{cells} into "
                f"{parts} tiles"
            )
        if parts > 1 and widths.min() < min_cells:
            raise LayoutError(
                f"layout {px}x{py}: tiles of {widths.min()} cells in {name} are narrower than the "
                f"halo "
                f"of {min_cells}; use at most {cells // min_cells} tiles in {name}"
            )
    if north_fold:
        _check_fold((ny, nx), cuts_x, cuts_y, min_cells, periodic_x)
    table = _wet_table(wet if drop_land else None, cuts_y, cuts_x)
    numbers = np.where(table > 0, np.cumsum(table.ravel() > 0).reshape(table.shape) - 1, -1)
    ranks = tuple(tuple(int(r) for r in row) for row in numbers)
    return Layout((ny, nx), px, py, periodic_x, cuts_x, cuts_y, ranks, north_fold)


def _cost(layout: Layout, halo: int) -> float:
    """Time of the slowest rank, in cells: its tile, half of its halo, and its messages."""
    rows = np.diff(layout.cuts_y).max()
    columns = np.diff(layout.cuts_x).max()
    ring_y = halo * columns if layout.py > 1 else 0
    ring_x = halo * rows if layout.px > 1 else 0
    # The inner loops run along x, so a short row costs more than a short column.
    return rows * columns + ring_y + ring_x + 4.0 * rows


def choose_layout(
    shape: tuple[int, int],
    size: int,
    *,
    periodic_x: bool = True,
    wet: np.ndarray | None = None,
    min_cells: int = 3,
    north_fold: bool = False,
    alike: bool = False,
) -> Layout:
    """The layout for ``size`` ranks with the least work on the slowest rank.

    Layouts with more than ``size`` tiles are candidates too, when just ``size`` of them hold ocean.
    ``alike``: only tiles of one size.

    Raises:
        LayoutError: when no layout fits.
    """
    best, best_cost = None, np.inf
    most = 2 * size if wet is not None else size
    for tiles in range(size, most + 1):
        for px in (d for d in range(1, tiles + 1) if tiles % d == 0):
            try:
                layout = make_layout(
                    shape,
                    px,
                    tiles // px,
                    periodic_x=periodic_x,
                    wet=wet,
                    min_cells=min_cells,
                    north_fold=north_fold,
                )
            except LayoutError:
                if tiles == 1 and size == 1:
                    raise  # there is one way only to have one tile
                continue
            if layout.size != size or (alike and not layout.alike):
                continue
            if (cost := _cost(layout, min_cells)) < best_cost:
                best, best_cost = layout, cost
    if best is None:
        if alike:
            raise LayoutError(_none_alike(shape, size, min_cells))
        raise LayoutError(
            f"no layout of {size} tiles fits a grid of {shape[1]} x {shape[0]} cells (tiles need "
            f"at "
            f"least {min_cells} cells a side, and {size} of them must hold ocean); use fewer ranks"
        )
    return best


def parse_layout(text: str) -> tuple[int, int]:
    """``'4x2'`` to ``(px, py) = (4, 2)``."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(p.strip().isdigit() for p in parts):
        raise LayoutError(f"layout {text!r}: write it as PXxPY, for example 2x1, or auto")
    return int(parts[0]), int(parts[1])


def layout_for(
    shape: tuple[int, int],
    size: int,
    request: str = "auto",
    *,
    periodic_x: bool = True,
    wet: np.ndarray | None = None,
    min_cells: int = 3,
    north_fold: bool = False,
    alike: bool = False,
) -> Layout:
    """The layout asked for by name (``auto`` or ``PXxPY``), checked against the number of ranks;
    ``alike``: tiles share one size."""
    options = dict(periodic_x=periodic_x, min_cells=min_cells, north_fold=north_fold)
    if request == "auto":
        return choose_layout(shape, size, wet=wet, alike=alike, **options)
    px, py = parse_layout(request)
    layout = make_layout(shape, px, py, wet=wet, **options)
    if layout.size != size and px * py == size:
        layout = make_layout(shape, px, py, drop_land=False, **options)
    if layout.size != size:
        raise LayoutError(
            f"layout {px}x{py} has {layout.size} tiles with ocean, but there are {size} ranks; "
            f"start {layout.size} ranks, or use --layout auto"
        )
    if alike and not layout.alike:
        raise LayoutError(
            f"layout {px}x{py} cuts the grid of {shape[1]} x {shape[0]} cells into tiles of "
            f"different size, and devices share a program and so a size of "
            f"tile; {_that_divide(shape, size, min_cells)}"
        )
    return layout


def _that_divide(shape: tuple[int, int], size: int, min_cells: int) -> str:
    """Which layouts have tiles of one size."""
    (ny, nx), fit = shape, lambda cells, parts: cells % parts == 0 and cells // parts >= min_cells
    pairs = [(p, size // p) for p in range(1, size + 1) if size % p == 0]
    found = [f"{p}x{q}" for p, q in pairs if fit(nx, p) and fit(ny, q)]
    if found:
        return f"use --layout {' or '.join(found)}"
    most = max(
        (p * q for p in range(1, size) for q in range(1, size // p + 1) if fit(nx, p) * fit(ny, q)),
        default=1,
    )
    return f"no layout of {size} does; {most} devices can, and MPI ranks any number"


def _none_alike(shape: tuple[int, int], size: int, min_cells: int) -> str:
    return (
        f"no layout of {size} tiles of one size fits a grid of {shape[1]} x {shape[0]} cells "
        f"(devices share a program and so a size of tile, of at least {min_cells} "
        f"cells a side): {_that_divide(shape, size, min_cells)}"
    )
