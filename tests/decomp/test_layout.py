"""Layouts: automatic choice, uneven cuts, tiles without ocean, neighbours, and errors that say what
to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dogcm.decomp import LayoutError, choose_layout, layout_for, make_layout
from dogcm.decomp.layout import parse_layout
from dogcm.setups import inputs
from dogcm.setups.registry import load_config


def assert_consistent(layout):
    """Tiles are disjoint and inside the grid; neighbours are permutations that undo each other."""
    owners = np.zeros(layout.shape, int)
    for rank in range(layout.size):
        t = layout.tile(rank)
        owners[t.j0 : t.j1, t.i0 : t.i1] += 1
        assert (t.j1 - t.j0, t.i1 - t.i0) == t.shape and min(t.shape) >= 1
    assert owners.max() == 1
    near = [layout.neighbours(r) for r in range(layout.size)]
    for side, other in (("w", "e"), ("s", "n")):
        assert sorted(getattr(n, side) for n in near) == list(range(layout.size))
        for rank in range(layout.size):
            assert getattr(near[getattr(near[rank], side)], other) == rank
            assert getattr(near[getattr(near[rank], other)], side) == rank
    return owners


def assert_real_neighbours(layout):
    """Tiles that touch are neighbours of each other, across the date line too where x is
    periodic."""
    tiles = {layout.tile(r): r for r in range(layout.size)}
    ny, nx = layout.shape
    for tile, rank in tiles.items():
        near = layout.neighbours(rank)
        for other, number in tiles.items():
            beside, above = other[:2] == tile[:2], other[2:] == tile[2:]
            touches = other.i0 == tile.i1 or (layout.periodic_x and tile.i1 == nx and other.i0 == 0)
            if beside and touches:
                assert near.e == number
            if above and other.j0 == tile.j1:
                assert near.n == number


@given(
    shape=st.tuples(st.integers(6, 30), st.integers(6, 30)),
    px=st.integers(1, 6),
    py=st.integers(1, 6),
    periodic=st.booleans(),
    land=st.floats(0, 0.98),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_any_layout_is_consistent(shape, px, py, periodic, land, seed):
    rng = np.random.default_rng(seed)
    # Patches of land, so that whole tiles are dry.
    wet = np.kron(rng.random((6, 6)) > land, np.ones((5, 5), bool))[: shape[0], : shape[1]]
    assume(wet.any() and 3 * px <= shape[1] and 3 * py <= shape[0])
    layout = make_layout(shape, px, py, periodic_x=periodic, wet=wet)
    owners = assert_consistent(layout)
    assert_real_neighbours(layout)
    assert not (wet & (owners == 0)).any(), "an ocean cell without owner"
    dry_tiles = px * py - layout.size
    assert ("dropped" in layout.describe()) == (dry_tiles > 0)
    for rank in range(layout.size):
        t = layout.tile(rank)
        assert wet[t.j0 : t.j1, t.i0 : t.i1].any(), "a rank without ocean"
    full = make_layout(shape, px, py, periodic_x=periodic, wet=wet, drop_land=False)
    assert full.size == px * py and assert_consistent(full).min() == 1


def test_uneven_tiles_differ_by_one():
    layout = make_layout((40, 90), 4, 3)
    assert set(np.diff(layout.cuts_x)) == {22, 23} and set(np.diff(layout.cuts_y)) == {13, 14}
    assert (
        layout.smallest_tile == (13, 22) and layout.describe() == "4 x 3 tiles of the 90 x 40 grid"
    )


def test_explicit_cuts():
    layout = make_layout((10, 20), 2, 2, cuts_x=(0, 3, 20), cuts_y=(0, 7, 10))
    assert layout.tile(0) == (0, 7, 0, 3) and layout.tile(3) == (7, 10, 3, 20)
    assert_consistent(layout)


def test_a_lone_tile_is_its_own_neighbour():
    assert make_layout((4, 5), 1, 1).neighbours(0) == (0, 0, 0, 0)


def test_walls_and_dropped_tiles_close_chains():
    wet = np.ones((3, 12), bool)
    wet[:, 3:6] = False
    layout = make_layout((3, 12), 4, 1, periodic_x=True, wet=wet)
    # Tiles 0 . 1 2 in a ring with a gap: the run 1, 2, 0 goes across the date line and is closed on
    # itself.
    assert [layout.neighbours(r).e for r in range(3)] == [1, 2, 0]
    closed = make_layout((3, 12), 4, 1, periodic_x=False, wet=wet)
    # Without the date line tile 0 is alone, and 1, 2 are a run of their own.
    assert [closed.neighbours(r).e for r in range(3)] == [0, 2, 1]
    assert_consistent(closed)


# ---- automatic choice


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 12, 24])
def test_automatic_layout_fits_and_is_balanced(size):
    layout = choose_layout((40, 90), size)
    assert layout.size == size and assert_consistent(layout).min() == 1
    largest = max(np.prod(layout.tile(r).shape) for r in range(size))
    assert largest <= 1.35 * 40 * 90 / size


@pytest.mark.parametrize(
    "shape, size, best", [((40, 400), 4, (4, 1)), ((400, 40), 4, (1, 4)), ((40, 90), 6, (3, 2))]
)
def test_automatic_layout_has_short_seams(shape, size, best):
    layout = choose_layout(shape, size)
    assert (layout.px, layout.py) == best


def test_of_equal_seams_the_one_that_keeps_rows_long_is_taken():
    """Rows are what the inner loops run along."""
    layout = choose_layout((400, 400), 8)
    assert (layout.px, layout.py) == (2, 4)


def test_automatic_layout_leaves_out_land():
    wet = np.zeros((40, 40), bool)
    wet[:20, :20] = wet[20:, 20:] = wet[:20, 20:] = True  # a quarter is land
    layout = choose_layout((40, 40), 3, periodic_x=False, wet=wet)
    assert (layout.px, layout.py, layout.size) == (2, 2, 3)
    assert_consistent(layout)


def test_real_ocean_is_cut_for_many_numbers_of_ranks():
    config = load_config("global_4deg")
    grid = inputs.horizontal_grid(config)
    wet = inputs.cell_thickness(config, grid, inputs.vertical_grid(config))[0] > 0
    dropped = 0
    for size in (*range(1, 31), 32, 35, 36, 39, 48, 64):
        layout = choose_layout(grid.shape, size, wet=wet)
        assert layout.size == size
        assert_consistent(layout)
        dropped += layout.px * layout.py > size
    assert dropped, "no layout of the real ocean drops a tile of land"


# ---- requests and errors


def test_requests_by_name():
    assert layout_for((40, 90), 6, "3x2").px == 3
    assert layout_for((40, 90), 6, "2X3").py == 3
    assert layout_for((40, 90), 6, "auto").size == 6
    assert parse_layout("4×2") == (4, 2)


def test_a_request_with_one_rank_per_tile_keeps_land_tiles():
    wet = np.ones((12, 12), bool)
    wet[:6, :6] = False
    assert layout_for((12, 12), 3, "2x2", wet=wet).size == 3
    assert layout_for((12, 12), 4, "2x2", wet=wet).size == 4


@pytest.mark.parametrize(
    "arguments, says",
    [
        (
            ((40, 90), 4, "3x2"),
            r"layout 3x2 has 6 tiles with ocean, but there are 4 ranks; start 6 ranks",
        ),
        (((40, 90), 4, "4"), r"write it as PXxPY"),
        (((40, 90), 4, "twoxtwo"), r"write it as PXxPY"),
        (((40, 90), 4, "0x4"), r"at least 1"),
        (((40, 90), 40, "40x1"), r"narrower than the halo.*use at most 30"),
        (((40, 90), 40, "9999999999x1"), r"9999999999 tiles in x for 90 cells; use at most 30"),
        (((40, 90), 40, "1x41"), r"41 tiles in y for 40 cells"),
        (((6, 6), 50, "auto"), r"no layout of 50 tiles fits.*use fewer ranks"),
    ],
)
def test_unfit_layouts_are_refused(arguments, says):
    with pytest.raises(LayoutError, match=says):
        layout_for(*arguments)


@pytest.mark.parametrize("cuts", [(0, 5, 19), (0, 20), (1, 5, 20), (0, 12, 5, 20), (0, 0, 20)])
def test_unfit_cuts_are_refused(cuts):
    with pytest.raises(LayoutError, match="cuts"):
        make_layout((10, 20), 2, 1, cuts_x=cuts)
