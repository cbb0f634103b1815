"""Halo exchange: after it, every tile with its halo is a window of the padded global array."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout, world
from dogcm.decomp.tiles import pad_global
from dogcm.field import Field, exchange
from dogcm.halo import HaloExchange, SerialBackend, connect
from dogcm.halo.counting import Traffic, traffic

SHAPE = (14, 23)  # no number of ranks divides it: tiles are uneven
# Several Fields of one exchange: place, leading axes, depth.
REQUESTS = [
    ("c", (3,), Halo.of(2)),
    ("u", (3,), Halo(1, 2, 3, 0)),
    ("v", (), Halo.of(1)),
    ("q", (2, 2), Halo()),
    ("c", (), Halo(0, 0, 2, 2)),
    ("u", (), Halo(3, 1, 0, 0)),
]


def global_array(lead=(), dtype=np.float64, seed=0):
    return np.random.default_rng(seed).normal(size=(*lead, *SHAPE)).astype(dtype)


def dry_corner(size):
    """A layout for ``size`` ranks (even) of which two tiles are land and dropped."""
    wet = np.ones(SHAPE, bool)
    if size == 2:
        wet[:7] = False
        return make_layout(SHAPE, 2, 2, wet=wet)
    columns = size // 2 + 1
    cuts = (0, *np.linspace(7, SHAPE[1], columns).astype(int))
    wet[:7, : cuts[2]] = False
    return make_layout(SHAPE, columns, 2, wet=wet, cuts_x=tuple(map(int, cuts)))


def layouts(size):
    """Every way to cut, periodic or closed, uneven, and with dropped tiles."""
    cuts = [(px, size // px) for px in range(1, size + 1) if size % px == 0]
    made = [make_layout(SHAPE, px, py, min_cells=2) for px, py in cuts]
    made.append(make_layout(SHAPE, size, 1, periodic_x=False))
    if size > 1:
        lopsided = (0, 3, *np.linspace(3, SHAPE[1], size).astype(int)[1:])
        made.append(make_layout(SHAPE, size, 1, cuts_x=tuple(map(int, lopsided))))
        made.append(dry_corner(size))
    return made


def real_cells(layout, halo: Halo):
    """Where padding is told by the global array: not beyond walls, and not in tiles without
    ocean."""
    owned = np.zeros(layout.shape)
    for rank in range(layout.size):
        t = layout.tile(rank)
        owned[t.j0 : t.j1, t.i0 : t.i1] = 1.0
    return pad_global(owned, halo, layout.periodic_x, fill=0.0) > 0


def window(padded, tile, halo: Halo):
    return padded[..., tile.j0 : tile.j1 + halo.s + halo.n, tile.i0 : tile.i1 + halo.w + halo.e]


def scatter(comm, layout, arrays, places):
    d = Decomposition(layout, comm)
    return d, [
        Field(jnp.asarray(d.scatter(a if d.is_root else None)), at) for a, at in zip(arrays, places)
    ]


def check_windows(layout, rank, whole, got: Field):
    halo, tile = got.halo, layout.tile(rank)
    expected = window(pad_global(whole, halo, layout.periodic_x), tile, halo)
    known = np.broadcast_to(window(real_cells(layout, halo), tile, halo), expected.shape)
    data = np.asarray(got.data)
    assert data.shape == expected.shape and data.dtype == whole.dtype
    assert np.isfinite(data).all(), "beyond a wall any finite value will do, but no other"
    np.testing.assert_array_equal(data[known], expected[known])


def check_exchange(comm, layout, dtype, run):
    arrays = [global_array(lead, dtype, seed) for seed, (_, lead, _) in enumerate(REQUESTS)]
    d, tiles = scatter(comm, layout, arrays, [at for at, _, _ in REQUESTS])
    halos = connect(layout, comm)
    rows, columns = layout.smallest_tile
    most = Halo(rows, rows, columns, columns)
    wants = [h.meet(most) for _, _, h in REQUESTS]
    out = run(lambda fields: exchange(halos, *zip(fields, wants)))(tiles)
    for whole, field, want, tile in zip(arrays, out, wants, tiles):
        assert field.halo == want and field.at == tile.at
        check_windows(layout, d.rank, whole, field)
        np.testing.assert_array_equal(field.interior, tile.data)


def in_scan(function):
    """``function`` inside ``jit`` and ``lax.scan``, on Fields that have lost their halo in
    between."""

    @jax.jit
    def run(fields):
        def body(carry, _):
            deep = function(carry)
            return [f.crop(0) for f in deep], deep

        return jax.tree.map(lambda x: x[-1], jax.lax.scan(body, fields, None, length=3)[1])

    return run


RUNS = {"plain": lambda f: f, "jit": jax.jit, "scan": in_scan}


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exchange_on_one_rank(dtype, how):
    for layout in layouts(1):
        check_exchange(SerialCommunicator(), layout, dtype, RUNS[how])


def test_each_array_of_an_exchange_is_written_once():
    """Where there is no fold: padded to its final size, then slabs go into it; no array of its size
    is copied."""
    layout = next(p for p in layouts(1) if not p.north_fold)
    halos, fields = (
        connect(layout, SerialCommunicator()),
        [Field(jnp.ones((4, *SHAPE)), at) for at in "cuv"],
    )
    # As in a step, what comes out is read by loops of its own.
    run = jax.jit(lambda fields: [f.data * 2.0 for f in exchange(halos, *((f, 2) for f in fields))])
    program = run.lower(fields).compile().as_text()
    shapes = re.findall(r"= f64\[4,(\d+),(\d+)\]\S* (copy|pad)\(", program)
    assert [(int(ny), int(nx), kind) for ny, nx, kind in shapes] == [
        (SHAPE[0] + 4, SHAPE[1] + 4, "pad")
    ] * 3


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("dtype, how", [(np.float64, "jit"), (np.float32, "scan")])
def test_exchange(dtype, how):
    comm = world()
    for layout in layouts(comm.size):
        check_exchange(comm, layout, dtype, RUNS[how])


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_halos_as_wide_as_the_tile():
    """The free surface takes as much halo as the smallest tile has cells."""
    comm = world()
    for layout in layouts(comm.size):
        rows, columns = layout.smallest_tile
        want = Halo(s=rows - 1, n=rows, w=columns - 1, e=columns)
        whole = global_array((2,))
        d, (tile,) = scatter(comm, layout, [whole], "c")
        (deep,) = jax.jit(lambda f: exchange(connect(layout, comm), (f, want)))(tile)  # noqa: B023
        check_windows(layout, d.rank, whole, deep)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_too_deep_a_halo_is_refused():
    comm = world()
    layout = layouts(comm.size)[0]
    d, (tile,) = scatter(comm, layout, [global_array()], "c")
    with pytest.raises(ValueError, match="deeper than the smallest tile.*use fewer tiles"):
        exchange(connect(layout, comm), (tile, Halo.of(max(SHAPE) + 1)))


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_one_message_each_way_for_all_fields():
    """Latency rules on clusters: four sends for a step's Fields together, two if one direction is
    whole."""
    comm = world()
    for px, expected in ((1, 2), (2, 4)) if comm.size > 2 else ((1, 2), (2, 2)):
        layout = make_layout(SHAPE, px, comm.size // px, min_cells=2)
        d, tiles = scatter(
            comm, layout, [global_array((3,)), global_array(), global_array((2,))], "cuv"
        )
        halos = connect(layout, comm)
        text = str(jax.make_jaxpr(lambda fs: exchange(halos, *((f, 2) for f in fs)))(tiles))  # noqa: B023
        assert text.count("sendrecv") == expected


@pytest.mark.mpi(min_size=2)
def test_traffic_is_counted():
    """Messages and bytes of an exchange; loops as often as they run, of branches the larger."""
    comm = world()
    layout = make_layout(SHAPE, 1, comm.size, min_cells=2)
    d, (tile,) = scatter(comm, layout, [global_array((3,))], "c")
    halos = connect(layout, comm)
    count = lambda f, *at: traffic(jax.make_jaxpr(f)(*at))
    once_ = lambda t: exchange(halos, (t, 2))[0].crop(0)
    found = count(once_, tile)
    # Two rows, widened by the columns round the globe, to the south and to the north.
    size = 3 * 2 * (SHAPE[1] + 4) * tile.data.dtype.itemsize
    assert (found.messages, found.message_bytes, found.open_ended) == (2, 2 * size, False)
    loop = lambda t: jax.lax.fori_loop(0, 5, lambda _, x: once_(x), t)
    assert count(loop, tile) == found.times(5)
    unknown = lambda t, n: jax.lax.while_loop(
        lambda x: x[0] < n, lambda x: (x[0] + 1, once_(x[1])), (0, t)
    )
    assert count(unknown, tile, 3) == found + Traffic(open_ended=True)
    either = lambda t: jax.lax.cond(True, lambda x: once_(once_(x)), lambda x: x, t)
    assert count(either, tile) == found.times(2)
    total = count(lambda t: halos.psum(t.data), tile)
    assert (total.reductions, total.reduction_bytes) == (1, tile.data.nbytes)
    assert total.messages == 0
    gradient = count(jax.grad(lambda t: jnp.sum(once_(t).data ** 2)), tile)
    assert gradient.messages == 2 * found.messages


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_every_rank_runs_one_program():
    """Ranks with equal tiles compile the same messages, whatever the coast: else backward passes
    deadlock."""
    comm = world()
    layout = dry_corner(comm.size)
    d, tiles = scatter(comm, layout, [global_array()], "c")
    halos = connect(layout, comm)
    text = str(jax.make_jaxpr(lambda f: exchange(halos, (f, 2)))(tiles[0]))
    counts = comm.broadcast(comm.gather(text.count("sendrecv")))
    assert len(set(counts)) == 1


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_repeated_exchanges_agree_with_a_serial_model():
    """Thirty smoothing steps with one exchange each: the same bits as on one rank."""
    comm = world()
    whole = global_array((2,))

    def smooth(halos, field):
        def body(f, _):
            (g,) = exchange(halos, (f, 1))
            x = g.data
            new = 0.5 * x[..., 1:-1, 1:-1] + 0.25 * (x[..., 1:-1, :-2] + x[..., 1:-1, 2:])
            return f.with_data(new), None

        return jax.lax.scan(body, field, None, length=30)[0]

    alone = HaloExchange(make_layout(SHAPE, 1, 1), SerialBackend())
    expected = jax.jit(lambda f: smooth(alone, f))(Field(jnp.asarray(whole), "c")).data
    for layout in layouts(comm.size):
        if layout.size < layout.px * layout.py or not layout.periodic_x:
            continue
        d, (tile,) = scatter(comm, layout, [whole], "c")
        out = jax.jit(lambda f: smooth(connect(layout, comm), f))(tile)  # noqa: B023
        t = d.tile
        np.testing.assert_array_equal(out.data, expected[:, t.j0 : t.j1, t.i0 : t.i1])
