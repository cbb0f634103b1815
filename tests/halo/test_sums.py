"""Global sums: the same bits in any order and on any layout, accurate, honest about NaN."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dogcm.decomp import Decomposition, SerialCommunicator, choose_layout, make_layout, world
from dogcm.halo import SerialBackend, connect, differentiable_sum, exact_sum

serial = SerialBackend()
total = jax.jit(lambda *terms: exact_sum(serial, *terms))
N = 96  # one shape, so that JAX compiles once


def numbers(seed=0, n=N, spread=12):
    """Numbers of both signs over ``2 * spread`` decades: naive sums in another order differ."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) * 10.0 ** rng.uniform(-spread, spread, n)


# ---- one rank


@given(st.lists(st.floats(-1e15, 1e15), min_size=N, max_size=N))
@settings(max_examples=60, deadline=None)
def test_accuracy_against_fsum(values):
    got, exact = float(total(np.array(values))[0]), math.fsum(values)
    # Each addend is rounded to 2**-78 of the largest; the result once more to float64. Compiled
    # code may take numbers below the smallest normal one for nought.
    bound = N * max(map(abs, values), default=0.0) * 2.0**-78 + np.spacing(abs(exact))
    bound += N * np.finfo(float).tiny
    assert abs(got - exact) <= bound


@pytest.mark.parametrize("seed", range(5))
def test_cancellation(seed):
    """Large terms that cancel leave the small one: a naive sum loses it."""
    x = numbers(seed, N // 2 - 1, spread=3)
    small = 1e-7
    values = np.random.default_rng(seed).permutation(np.concatenate([x, -x, [small, 0.0]]))
    assert float(total(values)[0]) == pytest.approx(small, rel=1e-9)


@given(st.permutations(range(N)))
@settings(max_examples=30, deadline=None)
def test_order_does_not_matter(order):
    values = numbers(1)
    assert float(total(values[list(order)])[0]) == float(total(values)[0])


def test_plain_sums_would_depend_on_the_order():
    """The test above can fail: an ordinary sum does."""
    values, rng = numbers(1), np.random.default_rng(0)
    assert len({float(np.cumsum(rng.permutation(values))[-1]) for _ in range(20)}) > 1


@pytest.mark.parametrize("shape", [(2, 48), (48, 2), (4, 3, 8)])
def test_shape_does_not_matter(shape):
    values = numbers(2)
    assert float(total(values.reshape(shape))[0]) == float(total(values)[0])


def test_several_sums_do_not_mix():
    a, b, c = numbers(3), 1e-9 * numbers(4, 40), np.zeros(5)
    sums = total(a, b, c)
    assert sums.dtype == jnp.float64 and sums.shape == (3,)
    for got, values in zip(sums, (a, b, c)):
        assert float(got) == float(total(values)[0])
    assert float(sums[2]) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_shows_in_its_sum_alone(bad):
    spoilt = numbers(5)
    spoilt[7] = bad
    sums = np.asarray(total(spoilt, numbers(5)))
    assert np.isnan(sums[0]) and np.isfinite(sums[1])
    assert np.isnan(total(np.array([np.inf, -np.inf] + [0.0] * (N - 2)))[0])


@pytest.mark.parametrize("scale", [1e-290, 1e-30, 1e30, 1e290])
def test_any_scale(scale):
    values = np.random.default_rng(6).normal(size=N) * scale
    assert float(total(values)[0]) == pytest.approx(math.fsum(values), rel=1e-14)


def test_many_addends_of_one_sign_do_not_overflow():
    values = np.full(2**20, 1.0 - 2.0**-53)
    assert float(jax.jit(lambda x: exact_sum(serial, x))(values)[0]) == math.fsum(values)


def test_float32_addends_are_summed_in_float64():
    values = numbers(7, spread=3).astype(np.float32)
    assert float(total(values)[0]) == pytest.approx(math.fsum(values.astype(float)), rel=1e-15)


def test_derivative_is_that_of_a_sum():
    x, dx = numbers(8, spread=1), numbers(9, spread=1)
    out, tangent = jax.jvp(lambda x: differentiable_sum(serial, x), (x,), (dx,))
    assert float(out) == float(total(x)[0]) and float(tangent) == pytest.approx(
        math.fsum(dx), rel=1e-12
    )
    slope = jax.grad(lambda x: differentiable_sum(serial, x) ** 2)(x)
    np.testing.assert_array_equal(slope, np.full(N, 2 * float(out)))


def test_serial_backend_is_its_own_world():
    x = jnp.arange(4.0)
    for reduce in (serial.psum, serial.pmax, serial.broadcast):
        np.testing.assert_array_equal(reduce(x), x)


# ---- several ranks

SHAPE = (3, 12, 18)


def exchanges(comm):
    """A halo exchange and its tiles for every regular cut of the ranks at hand."""
    for px in range(1, comm.size + 1):
        if comm.size % px == 0:
            layout = make_layout(SHAPE[1:], px, comm.size // px, min_cells=1)
            yield connect(layout, comm), Decomposition(layout, comm)


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_reductions_over_ranks():
    comm = world()
    halos = connect(choose_layout(SHAPE[1:], comm.size), comm)
    mine = np.random.default_rng(comm.rank).normal(size=5)
    everyone = np.stack([np.random.default_rng(r).normal(size=5) for r in range(comm.size)])
    np.testing.assert_allclose(jax.jit(halos.psum)(mine), everyone.sum(0), rtol=1e-14)
    np.testing.assert_array_equal(jax.jit(halos.pmax)(mine), everyone.max(0))
    np.testing.assert_array_equal(jax.jit(halos.broadcast)(mine), everyone[0])
    for root in range(comm.size):
        got = jax.jit(lambda x: halos.broadcast(x, root))(mine)  # noqa: B023
        np.testing.assert_array_equal(got, everyone[root])
    integers = jax.jit(halos.psum)(jnp.asarray([2**60 // comm.size, comm.rank]))
    assert integers.dtype == jnp.int64
    assert integers.tolist() == [2**60 // comm.size * comm.size, comm.size * (comm.size - 1) // 2]


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_sum_has_the_bits_of_one_rank_on_every_layout():
    comm = world()
    whole = numbers(10, int(np.prod(SHAPE))).reshape(SHAPE)
    other = whole[0] * 1e3
    expected = np.asarray(jax.jit(lambda *t: exact_sum(serial, *t))(whole, other))
    for halos, d in exchanges(comm):
        t = d.tile
        mine = whole[:, t.j0 : t.j1, t.i0 : t.i1], other[t.j0 : t.j1, t.i0 : t.i1]
        np.testing.assert_array_equal(jax.jit(lambda *x: exact_sum(halos, *x))(*mine), expected)  # noqa: B023


@pytest.mark.layouts
@pytest.mark.mpi(min_size=2)
def test_a_bad_value_on_one_rank_is_seen_by_all():
    comm = world()
    halos, _ = next(exchanges(comm))
    mine = numbers(comm.rank)
    for bad in (np.nan, np.inf):
        if comm.rank == comm.size - 1:
            mine[3] = bad
        sums = np.asarray(jax.jit(lambda *x: exact_sum(halos, *x))(mine, np.ones(4)))
        assert np.isnan(sums[0]) and sums[1] == 4 * comm.size


def test_serial_communicator_connects_without_mpi():
    halos = connect(make_layout(SHAPE[1:], 1, 1), SerialCommunicator())
    assert isinstance(halos.backend, SerialBackend) and halos.size == 1
