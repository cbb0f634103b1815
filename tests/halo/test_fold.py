"""North fold: halos beyond it, its transpose, points stored twice, and layouts that it allows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import (
    Decomposition,
    Halo,
    LayoutError,
    SerialCommunicator,
    fold,
    layout_for,
    make_layout,
    world,
)
from dogcm.decomp.tiles import pad_global
from dogcm.field import Field, exchange
from dogcm.halo import connect, exact_sum, once

SHAPE = (15, 24)
# Place, leading axes, depth, whether it is a component of a vector (None: as the place says).
REQUESTS = [
    ("c", (3,), Halo.of(2), None),
    ("u", (3,), Halo(1, 2, 3, 0), None),
    ("v", (), Halo(2, 3, 2, 3), None),
    ("q", (2, 2), Halo(1, 1, 1, 3), None),
    ("c", (), Halo(0, 0, 2, 2), True),
    ("u", (), Halo(), False),
    ("cw", (), Halo(2, 2, 1, 3), None),
]


def with_land(px, *land):
    """A layout of ``px`` by 2 tiles of which those in ``land`` (q, p) hold none but land."""
    full, wet = make_layout(SHAPE, px, 2, north_fold=True), np.ones(SHAPE, bool)
    for q, p in land:
        wet[full.cuts_y[q] : full.cuts_y[q + 1], full.cuts_x[p] : full.cuts_x[p + 1]] = False
    wet[-1] &= wet[-1, ::-1]
    return make_layout(SHAPE, px, 2, wet=wet, north_fold=True)


def layouts(size):
    """Every way to cut with the fold, and layouts that drop tiles, of the upper row too."""
    made = []
    for px in (p for p in range(1, size + 1) if size % p == 0):
        try:
            made.append(make_layout(SHAPE, px, size // px, north_fold=True))
        except LayoutError:
            assert size // px > 3
    if size == 4:
        made += [with_land(3, (0, 0), (0, 2))]
    if size == 6:
        made += [with_land(5, (1, 1), (0, 0), (0, 1), (0, 2))]
    assert all(m.size == size for m in made)
    return made


def global_arrays():
    """Random numbers, the copies of the last row included; zero at the poles for what changes sign
    there."""
    rng = np.random.default_rng(3)
    return [rng.normal(size=(*lead, *SHAPE)) for _, lead, _, _ in REQUESTS]


def on_tiles(decomposition, arrays):
    d = decomposition
    t = d.tile
    return [
        Field(jnp.asarray(a[..., t.j0 : t.j1, t.i0 : t.i1]), r[0]) for a, r in zip(arrays, REQUESTS)
    ]


def fill(halos, fields):
    return exchange(halos, *((f, r[2], r[3]) for f, r in zip(fields, REQUESTS)))


def check_layout(layout, comm):
    d, halos = Decomposition(layout, comm), connect(layout, comm)
    arrays = global_arrays()
    run = jax.jit(lambda fields: fill(halos, fields))
    for got, whole, (at, _, halo, vector) in zip(run(on_tiles(d, arrays)), arrays, REQUESTS):
        t = layout.tile(comm.rank)
        window = (..., slice(t.j0, t.j1 + halo.s + halo.n), slice(t.i0, t.i1 + halo.w + halo.e))
        padded = pad_global(whole, halo, True, fold=at[0], vector=vector)[window]
        mine = np.zeros(layout.shape)
        for rank in range(layout.size):
            o = layout.tile(rank)
            mine[o.j0 : o.j1, o.i0 : o.i1] = 1.0
        if fold.shifted(at):
            mine *= np.roll(mine, 1, axis=-1)  # a face or corner beside a dropped tile is coast
        known = np.pad(
            pad_global(mine, Halo(0, halo.n, halo.w, halo.e), True, fold=at[0], vector=False),
            ((halo.s, 0), (0, 0)),
        )
        if layout.drops_tiles and fold.on_line(at):
            # Where either of a pair lies on a tile without rank both are land.
            row = halo.s + layout.shape[0] - 1
            pair = pad_global(
                fold.rows_beyond(mine, at[0], 0, False), Halo(0, 0, halo.w, halo.e), True
            )
            known[row] *= pair[0]
        known = known[window[1:]] > 0
        data = np.asarray(got.data)
        assert np.isfinite(data).all()
        known = np.broadcast_to(known, data.shape)
        np.testing.assert_array_equal(data[known], padded[known], err_msg=f"{layout} {at} {halo}")


def dot(a, b):
    return sum(float(np.vdot(x, y)) for x, y in zip(a, b))


def check_adjoint(layout, comm):
    """<F x, y> over all ranks is <x, F' y>; forward mode, and a batch, are the exchange itself."""
    d, halos = Decomposition(layout, comm), connect(layout, comm)
    fields = on_tiles(d, global_arrays())[:4]

    def forward(arrays):
        return [f.data for f in fill(halos, [f.with_data(a) for f, a in zip(fields, arrays)])]

    @jax.jit
    def everything(xs, ys):
        out, pull = jax.vjp(forward, xs)
        batch = jax.vmap(forward)([jnp.stack([x, 2 * x]) for x in xs])
        return out, pull(ys)[0], jax.jvp(forward, (xs,), (xs,))[1], batch

    rng, xs = np.random.default_rng(10 + comm.rank), [f.data for f in fields]
    ys = [jnp.asarray(rng.normal(size=o.shape)) for o in jax.eval_shape(forward, xs)]
    out, back, tangent, batch = everything(xs, ys)
    left, right = (comm.gather(v) for v in (dot(out, ys), dot(xs, back)))
    if comm.rank == 0:
        assert abs(sum(left) - sum(right)) < 1e-13 * sum(map(abs, left)) + 1e-12, (left, right)
    for o, t, b in zip(out, tangent, batch):
        np.testing.assert_array_equal(t, o)
        np.testing.assert_array_equal(b, np.stack([o, 2 * np.asarray(o)]))


def check_sums(layout, comm):
    """Points stored twice count once: the sum is that over originals, on every layout."""
    halos, t = connect(layout, comm), layout.tile(comm.rank)
    whole = {at: np.random.default_rng(4).normal(size=SHAPE) for at in "cuv"}
    counts = {at: np.ones(SHAPE) for at in whole}
    mine = np.zeros(SHAPE)
    for rank in range(layout.size):
        o = layout.tile(rank)
        mine[o.j0 : o.j1, o.i0 : o.i1] = 1.0
    for at in whole:
        counts[at][-1, fold.copies(at, np.arange(SHAPE[1]), SHAPE[1])] = 0
    run = jax.jit(lambda parts: exact_sum(halos, *(once(halos, p, at) for at, p in parts.items())))
    got = run({at: jnp.asarray(v[t.j0 : t.j1, t.i0 : t.i1]) for at, v in whole.items()})
    expected = [(whole[at] * counts[at] * mine).sum() for at in whole]
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("check", [check_layout, check_adjoint, check_sums])
def test_one_rank(check):
    check(make_layout(SHAPE, 1, 1, north_fold=True), SerialCommunicator())


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("check", [check_layout, check_adjoint, check_sums])
def test_on_ranks(check):
    comm = world()
    chosen = layouts(comm.size)
    # Compiled one by one: the transpose is checked on the widest, and where tiles are dropped.
    for layout in chosen if check is check_layout else chosen[-2:]:
        check(layout, comm)


def test_half_of_the_line_is_told_twice():
    nx = SHAPE[1]
    i = np.arange(nx)
    assert fold.copies("c", i, nx).sum() == nx // 2 and fold.copies("u", i, nx).sum() == nx // 2 - 1
    assert not fold.copies("v", i, nx).any() and not fold.copies("q", i, nx).any()


def test_turning_twice_is_nothing():
    """Beyond the fold of what lies beyond the fold are the rows one started from."""
    rng = np.random.default_rng(0)
    for at in "cuvq":
        values = fold.consistent(rng.normal(size=SHAPE), at, False)
        beyond = fold.rows_beyond(values, at, SHAPE[0] - 1 if at in "cu" else SHAPE[0], False)
        again = fold.rows_beyond(beyond, at, SHAPE[0] - 1 if at in "cu" else SHAPE[0], False)
        np.testing.assert_array_equal(again, values)


@pytest.mark.parametrize("px", range(1, 9))
def test_cuts_are_symmetric_and_even(px):
    layout = make_layout((20, 50), px, 1, north_fold=True)
    widths = np.diff(layout.cuts_x)
    np.testing.assert_array_equal(widths, widths[::-1])
    assert widths.max() - widths.min() <= 2 and widths.sum() == 50
    for rank in range(px):
        assert layout.mirror(layout.mirror(rank)) == rank
        mine, there = layout.tile(rank), layout.tile(layout.mirror(rank))
        assert (there.i0, there.i1) == (50 - mine.i1, 50 - mine.i0)


@pytest.mark.parametrize(
    "options, text",
    [
        (dict(shape=(20, 25), px=1, py=1), "even number of columns"),
        (dict(shape=(20, 24), px=1, py=1, periodic_x=False), "closed walls"),
        (dict(shape=(20, 24), px=2, py=1, cuts_x=(0, 10, 24)), "symmetric about the middle"),
        (dict(shape=(12, 24), px=1, py=4), "rows, and a north fold needs one more than the halo"),
        (
            dict(shape=(20, 24), px=6, py=1, min_cells=4),
            "columns, and a north fold needs one more than the halo",
        ),
    ],
)
def test_unfit_layouts_are_refused(options, text):
    with pytest.raises(LayoutError, match=text):
        make_layout(**options, north_fold=True)


def test_an_odd_number_of_columns_is_refused_before_anything_else():
    with pytest.raises(LayoutError, match="change grid.nx"):
        layout_for((20, 25), 1, north_fold=True)
