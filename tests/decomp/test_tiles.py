"""Scatter and gather: what rank 0 hands out comes back, by whatever layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dogcm.decomp import Decomposition, Halo, SerialCommunicator, choose_layout, make_layout, world
from dogcm.decomp.tiles import pad_global

SHAPE = (13, 22)


def values(lead=(), dtype=np.float64):
    n = int(np.prod((*lead, *SHAPE)))
    return np.arange(1, n + 1, dtype=dtype).reshape(*lead, *SHAPE)


def layouts(size):
    """All cuts that fit ``size`` ranks, uneven ones among them."""
    divisors = [px for px in range(1, size + 1) if size % px == 0]
    made = [
        make_layout(SHAPE, px, size // px, periodic_x=size % 4 == 0, min_cells=2) for px in divisors
    ]
    return made + [choose_layout(SHAPE, size)]


def check_round_trip(comm, layout, lead, halo, fill, dtype):
    d = Decomposition(layout, comm)
    whole = values(lead, dtype)
    mine = d.scatter(whole if d.is_root else None, halo, fill)
    t, h = d.tile, Halo.of(halo)
    padded = pad_global(whole, h, layout.periodic_x, fill)
    assert mine.dtype == dtype and mine.flags.c_contiguous
    np.testing.assert_array_equal(
        mine, padded[..., t.j0 : t.j1 + h.s + h.n, t.i0 : t.i1 + h.w + h.e]
    )
    inside = mine[..., h.s : h.s + t.shape[0], h.w : h.w + t.shape[1]]
    back = d.gather(inside, fill=-1)
    if d.is_root:
        np.testing.assert_array_equal(back, whole)
    else:
        assert back is None


HALOS = [(0, None), (2, None), (Halo(1, 2, 3, 0), 0.0)]


@pytest.mark.parametrize("halo, fill", HALOS)
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_round_trip(lead, halo, fill):
    check_round_trip(SerialCommunicator(), make_layout(SHAPE, 1, 1), lead, halo, fill, np.float64)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_round_trip_over_ranks(dtype):
    comm = world()
    for layout in layouts(comm.size):
        for lead in ((), (3,), (2, 3)):
            for halo, fill in HALOS:
                check_round_trip(comm, layout, lead, halo, fill, dtype)


def with_dropped_tiles(size):
    """A layout for ``size`` (even) ranks with two tiles too many, which are land; and where the
    ocean is."""
    columns = size // 2 + 1
    wet = np.ones(SHAPE, bool)
    wet[:6, : 6 if columns > 2 else None] = False
    cuts = np.linspace(6, SHAPE[1], columns - 1).astype(int)
    cuts_x = (0, 3, *map(int, cuts if columns > 2 else [SHAPE[1]]))
    layout = make_layout(SHAPE, columns, 2, wet=wet, cuts_x=cuts_x, cuts_y=(0, 6, 13))
    assert layout.size == size and columns * 2 == size + 2
    return layout, wet


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_dropped_tiles_come_back_as_fill():
    comm = world()
    layout, wet = with_dropped_tiles(comm.size)
    d = Decomposition(layout, comm)
    mine = d.scatter(values() if d.is_root else None)
    back = d.gather(mine, fill=-7.0)
    if d.is_root:
        np.testing.assert_array_equal(back, np.where(wet, values(), -7.0))


def test_scatter_from_asks_only_rank_0():
    d = Decomposition(make_layout(SHAPE, 1, 1), SerialCommunicator())
    np.testing.assert_array_equal(d.scatter_from(values), values())


@given(halo=st.builds(Halo, *[st.integers(0, 9)] * 4), periodic=st.booleans())
@settings(max_examples=40, deadline=None)
def test_padding(halo, periodic):
    ny, nx = 4, 5
    whole = np.arange(ny * nx, dtype=float).reshape(ny, nx)
    out = pad_global(whole, halo, periodic)
    rows, columns = np.arange(-halo.s, ny + halo.n), np.arange(-halo.w, nx + halo.e)
    i = columns % nx if periodic else columns.clip(0, nx - 1)
    np.testing.assert_array_equal(out, whole[rows.clip(0, ny - 1)[:, None], i])
    dry = pad_global(whole, halo, periodic, fill=-1.0)
    beyond_y, beyond_x = (rows < 0) | (rows >= ny), (columns < 0) | (columns >= nx)
    beyond = beyond_y[:, None] | (beyond_x & (not periodic))
    np.testing.assert_array_equal(dry == -1.0, beyond)


def test_errors():
    with pytest.raises(ValueError, match="layout for 2 ranks on a communicator of 1"):
        Decomposition(make_layout(SHAPE, 2, 1), SerialCommunicator())
    d = Decomposition(make_layout(SHAPE, 1, 1), SerialCommunicator())
    with pytest.raises(ValueError, match=r"array of \(4, 5\) on a grid of \(13, 22\)"):
        d.scatter(np.zeros((4, 5)))
    for call in (lambda c: c.send(np.zeros(1), 1), lambda c: c.receive((1,), float, 1)):
        with pytest.raises(RuntimeError, match="nobody"):
            call(SerialCommunicator())


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_host_messages():
    comm = world()
    assert comm.broadcast({"rank": comm.rank}) == {"rank": 0}
    gathered = comm.gather(comm.rank**2)
    assert gathered == ([r**2 for r in range(comm.size)] if comm.rank == 0 else None)
    assert comm.any(comm.rank == comm.size - 1) is True
    assert comm.any(False) is False
    comm.barrier()
