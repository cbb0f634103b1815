"""Boxes of a file: every cell arrives once, whatever the boxes and the layout."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.decomp import Boxes, Decomposition, SerialCommunicator, choose_layout, make_layout, world

SHAPE = (13, 22)


def check_boxes(comm, layout, wet, rows, columns, turn):
    d = Decomposition(layout, comm)
    whole = np.where(wet, np.arange(1.0, 2 * 13 * 22 + 1).reshape(2, *SHAPE), -1.0)
    t = d.tile
    found = Boxes(d, rows, columns).collect(whole[:, t.j0 : t.j1, t.i0 : t.i1], -1.0, turn)
    parts = comm.broadcast(comm.gather(found))
    seen = np.zeros(SHAPE, int)
    for box, values in (one for part in parts for one in part):
        assert box.j0 % rows == 0 and box.i0 % columns == 0
        np.testing.assert_array_equal(values, whole[:, box.j0 : box.j1, box.i0 : box.i1])
        seen[box.j0 : box.j1, box.i0 : box.i1] += 1
    assert seen.max() == 1 and seen[wet].min() == 1


@pytest.mark.parametrize("size", [(13, 22), (5, 7), (1, 30), (20, 3)])
def test_boxes_of_one_tile(size):
    everywhere = np.ones(SHAPE, bool)
    check_boxes(SerialCommunicator(), make_layout(SHAPE, 1, 1), everywhere, *size, 0)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("turn", [0, 1])
def test_boxes_over_ranks(turn):
    comm, everywhere = world(), np.ones(SHAPE, bool)
    layout = choose_layout(SHAPE, comm.size, min_cells=2)
    for size in ((13, 22), (7, 11), (5, 7), (1, 30), (20, 3)):
        check_boxes(comm, layout, everywhere, *size, turn)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_cells_of_tiles_without_a_rank_are_filled():
    comm, wet = world(), np.ones(SHAPE, bool)
    wet[:, :8] = False  # the first of three columns of tiles
    if comm.size % 2:
        pytest.skip("an even number of ranks")
    layout = make_layout(SHAPE, 3, comm.size // 2, wet=wet, min_cells=2)
    assert layout.drops_tiles
    for size in ((13, 22), (5, 7), (7, 8)):
        check_boxes(comm, layout, wet, *size, 1)


class Mute:
    """A communicator over which nothing may be sent."""

    def __init__(self, comm):
        self.rank, self.size = comm.rank, comm.size


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_nothing_is_sent_where_boxes_are_tiles():
    comm = world()
    layout = make_layout((4 * comm.size, 6), 1, comm.size)
    d = Decomposition(layout, Mute(comm))
    found = Boxes(d, 4, 6).collect(np.full((3, 4, 6), comm.rank), 0, 0)
    assert [box for box, _ in found] == [d.tile] and (found[0][1] == comm.rank).all()
