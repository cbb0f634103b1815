"""Field: places and halo depths are checked when a formula is written down, and cost nothing
afterwards."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dogcm.decomp import Halo
from dogcm.field import (
    POINTS,
    Field,
    FieldError,
    as_one_row,
    exchange,
    fmap,
    hold,
    maximum,
    minimum,
    where,
    zeros_like,
)
from dogcm.operators import diff_x_c2u, diff_z_c2w, mean_x_c2u

NY, NX = 4, 5


def make(at="c", halo=0, lead=(), name="", seed=0, tile=(NY, NX)) -> Field:
    """Random values on a tile of ``tile`` cells."""
    h = Halo.of(halo)
    shape = (*lead, tile[0] + h.s + h.n, tile[1] + h.w + h.e)
    data = np.random.default_rng(seed).normal(size=shape)
    return Field(jnp.asarray(data), at, h).named(name)


# ---- cropping


def test_shape_of_tile_and_interior():
    f = make(halo=Halo(s=1, n=2, w=3, e=4), lead=(7,))
    assert f.shape == (7, NY + 3, NX + 7) and f.tile_shape == (NY, NX) and f.ndim == 3
    np.testing.assert_array_equal(f.interior, f.data[:, 1:-2, 3:-4])


@given(have=st.tuples(*[st.integers(0, 3)] * 4), want=st.tuples(*[st.integers(0, 3)] * 4))
@settings(max_examples=60, deadline=None)
def test_crop_keeps_the_cells_next_to_the_tile(have, want):
    f = make(halo=Halo(*have))
    if any(w > h for w, h in zip(want, have)):
        with pytest.raises(FieldError, match="not enough valid halo"):
            f.crop(Halo(*want))
        return
    s, n, w, e = (h - k for h, k in zip(have, want))
    ny, nx = f.shape
    out = f.crop(Halo(*want))
    assert out.halo == Halo(*want) and out.at == f.at
    np.testing.assert_array_equal(out.data, np.asarray(f.data)[s : ny - n, w : nx - e])


def test_operands_are_cropped_to_what_both_have():
    a, b = make(halo=Halo(2, 1, 0, 3)), make(halo=Halo(1, 2, 2, 3), seed=1)
    out = a * b
    assert out.halo == Halo(1, 1, 0, 3)
    np.testing.assert_array_equal(out.data, a.crop(out.halo).data * b.crop(out.halo).data)


# ---- errors


def test_mixing_places_names_both_operands():
    with pytest.raises(FieldError) as error:
        make("c", name="temperature") * make("u", name="zonal_velocity")
    text = str(error.value)
    assert "temperature" in text and "zonal_velocity" in text and "*" in text
    assert "cell centres (c)" in text and "west faces (u)" in text


@pytest.mark.parametrize("a", [p for p in POINTS if len(p) == 1])
@pytest.mark.parametrize("b", [p for p in POINTS if len(p) == 1])
def test_only_the_same_place_combines(a, b):
    if a == b:
        assert (make(a) + make(b)).at == a
    else:
        with pytest.raises(FieldError, match="cannot apply"):
            make(a) + make(b)


def test_layers_and_interfaces_do_not_mix():
    with pytest.raises(FieldError, match="layer interfaces"):
        make("c", lead=(3,)) + make("cw", lead=(3,))


def test_stale_halo_is_an_error_that_names_the_field():
    f = make(halo=0, name="salinity")
    with pytest.raises(FieldError, match=r"salinity.*no valid halo left on side 'w'"):
        diff_x_c2u(f)
    with pytest.raises(FieldError, match=r"salinity.*is needed.*is left"):
        f.crop(1)


def test_halo_is_used_up_step_by_step():
    f = make(halo=2)
    once = diff_x_c2u(f)
    assert once.halo == Halo(s=2, n=2, w=1, e=2)
    with pytest.raises(FieldError, match="not enough valid halo"):
        once.crop(2)


def test_stale_halo_is_found_while_tracing():
    traced = []

    def step(f):
        traced.append(1)
        return diff_x_c2u(diff_x_c2u(f).with_data(f.data[..., 1:], at="c"))

    with pytest.raises(FieldError):
        jax.jit(step)(make(halo=Halo(w=1)))
    assert traced == [1]  # refused before anything was compiled or run


def test_other_tile_sizes_do_not_combine():
    with pytest.raises(FieldError, match=r"\(4, 5\) and \(4, 6\)"):
        make() + make(tile=(4, 6))


@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 4, 5)])
def test_plain_arrays_carry_no_place(shape):
    with pytest.raises(FieldError, match="plain array of shape"):
        make(lead=(3,)) * jnp.ones(shape)


def test_no_silent_conversion_to_arrays_or_truth():
    f = make(name="eta")
    with pytest.raises(FieldError, match="eta.*not a plain array"):
        np.asarray(f)
    with pytest.raises(FieldError, match="eta.*no truth value"):
        bool(f)
    with pytest.raises(FieldError, match="whole powers"):
        f**0.5
    with pytest.raises(FieldError, match="no Field"):
        fmap(jnp.add, 1.0, 2.0)


# ---- arithmetic

OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


@pytest.mark.parametrize("symbol", OPERATIONS)
def test_arithmetic_is_that_of_numpy(symbol):
    op = OPERATIONS[symbol]
    a, b = make(halo=1), make(halo=1, seed=1)
    x, y = np.asarray(a.data), np.asarray(b.data)
    np.testing.assert_array_equal(op(a, b).data, op(x, y))
    np.testing.assert_array_equal(op(a, 2.0).data, op(x, 2.0))
    np.testing.assert_array_equal(op(3.0, a).data, op(3.0, x))


def test_unary_and_elementwise_functions():
    a, b = make(), make(seed=1)
    x, y = np.asarray(a.data), np.asarray(b.data)
    np.testing.assert_array_equal((-a).data, -x)
    np.testing.assert_array_equal((a**3).data, np.asarray(a.data**3))
    np.testing.assert_array_equal(where(a > b, a, 0.0).data, np.where(x > y, x, 0.0))
    np.testing.assert_array_equal(minimum(a, b).data, np.minimum(x, y))
    np.testing.assert_array_equal(maximum(a, 0.5).data, np.maximum(x, 0.5))
    np.testing.assert_array_equal(zeros_like(a).data, 0 * x)
    assert a.astype(jnp.float32).dtype == jnp.float32


def test_two_dimensional_fields_broadcast_over_layers_and_interfaces():
    flat, layers, interfaces = make(halo=1), make("c", 2, (3,), seed=1), make("cw", 0, (2,), seed=2)
    for product in (flat * layers, layers * flat):
        assert product.at == "c" and product.shape == (3, NY + 2, NX + 2)
        np.testing.assert_array_equal(product.data, flat.data * layers.crop(1).data)
    product = flat * interfaces
    assert product.at == "cw" and product.halo == Halo()
    np.testing.assert_array_equal(product.data, flat.interior * interfaces.data)
    with pytest.raises(FieldError):
        make("u") * layers


def test_profiles_broadcast():
    f, profile = make(halo=1, lead=(3,)), jnp.arange(1.0, 4.0)[:, None, None]
    np.testing.assert_array_equal((f * profile).data, f.data * profile)
    np.testing.assert_array_equal((profile - f).data, profile - f.data)
    assert (f / profile).halo == f.halo


def test_levels():
    f = make(halo=1, lead=(6,))
    np.testing.assert_array_equal(f.level(2).data, f.data[2])
    np.testing.assert_array_equal(f.level(slice(1, 3)).data, f.data[1:3])


# ---- as a pytree


def test_labels_cause_no_second_compilation():
    traced = []

    @jax.jit
    def double(f):
        traced.append(1)
        return f + f

    a = make(halo=1, name="a")
    double(a)
    double(a.named("something else"))
    double((a * 1.0) - 0.0)
    assert len(traced) == 1
    double(a.crop(0))  # another halo is another program
    double(Field(a.data, "u", a.halo))  # and so is another place
    assert len(traced) == 3


def test_labels_are_no_part_of_the_structure():
    a, b = make(name="a"), make(name="b")
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert hash(jax.tree.structure(a)) == hash(jax.tree.structure(b))
    assert jax.tree.structure(a) != jax.tree.structure(Field(a.data, "u"))
    summed = jax.tree.map(jnp.add, a, b)
    np.testing.assert_array_equal(summed.data, a.data + b.data)


def test_error_messages_keep_names_inside_jit():
    def wrong(t, u):
        return t.named("T") * u.named("velocity")

    with pytest.raises(FieldError, match="T.*velocity"):
        jax.jit(wrong)(make("c"), make("u"))


def test_round_trip_through_jit_and_scan():
    f = make("v", Halo(1, 0, 2, 0), (3,), name="v")
    out = jax.jit(lambda f: f)(f)
    assert (out.at, out.halo) == (f.at, f.halo)
    np.testing.assert_array_equal(out.data, f.data)

    def body(carry, weight):
        # The name differs from that of the carry that came in: a scan must not mind.
        return (carry * weight).named("stepped"), carry.level(0)

    last, tops = jax.jit(lambda f: jax.lax.scan(body, f, jnp.full(4, 0.5)))(f)
    np.testing.assert_allclose(last.data, f.data * 0.5**4)
    assert last.halo == f.halo and tops.data.shape == (4, *f.shape[1:])


def test_fields_cost_nothing_at_run_time():
    """The compiled program of a formula is that of the same formula on bare arrays."""
    f = make(halo=2)

    def on_fields(data):
        g = Field(data, "c", Halo.of(2))
        return (mean_x_c2u(g) * diff_x_c2u(g)).crop(1).data

    def on_arrays(data):
        low, high = data[:, :-1], data[:, 1:]
        return (0.5 * (low + high) * (high - low))[1:-1, :-1]

    flops = [
        jax.jit(g).lower(f.data).compile().cost_analysis()["flops"] for g in (on_fields, on_arrays)
    ]
    np.testing.assert_array_equal(on_fields(f.data), on_arrays(f.data))
    assert flops[0] <= flops[1]


# ---- hold


def _held(data):
    g = Field(data, "c")
    a, b = hold(g * g, g * 3.0)
    return (hold(a * b)).data


def _free(data):
    return data * data * (data * 3.0)


def test_hold_keeps_values():
    f = make(halo=1, name="T")
    one = hold(f)
    assert isinstance(one, Field) and (one.at, one.halo, one.name) == (f.at, f.halo, f.name)
    pair = jax.jit(lambda f: hold(f, f * 2.0))(f)
    np.testing.assert_array_equal(one.data, f.data)
    np.testing.assert_array_equal(pair[1].data, 2 * f.data)


def test_hold_keeps_derivatives():
    x, dx = make().data, make(seed=1).data
    np.testing.assert_allclose(jax.jit(_held)(x), _free(x), rtol=1e-15)
    held, free = (
        jax.jit(lambda x, dx, g=g: jax.jvp(g, (x,), (dx,)))(x, dx) for g in (_held, _free)
    )
    np.testing.assert_allclose(held[1], free[1], rtol=1e-13)
    held, free = (jax.jit(jax.grad(lambda x, g=g: g(x).sum()))(x) for g in (_held, _free))
    np.testing.assert_allclose(held, free, rtol=1e-13)
    held, free = (jax.vmap(g)(jnp.stack([x, dx])) for g in (_held, _free))
    np.testing.assert_allclose(held, free, rtol=1e-15)


# ---- as one row
def test_as_one_row_is_the_same_function_on_the_common_halo():
    rng = np.random.default_rng(4)
    deep = Field(jnp.asarray(rng.normal(size=(3, 8, 9))), "c", Halo(2, 2, 2, 2))
    flat = Field(jnp.asarray(rng.normal(size=(6, 8))), "c", Halo(1, 1, 1, 2))
    function = lambda a, b: diff_z_c2w(a * b) * fmap(jnp.exp, b)
    plain, row = function(deep, flat), as_one_row(function, deep, flat)
    assert (
        (row.at, row.halo, row.shape)
        == (plain.at, plain.halo, plain.shape)
        == ("cw", Halo(1, 1, 1, 2), (2, 6, 8))
    )
    np.testing.assert_array_equal(row.data, plain.data)
    total = lambda on: lambda a: jnp.sum(on(function, deep.with_data(a), flat).data ** 2)
    expected = jax.grad(total(lambda f, *fields: f(*fields)))(deep.data)
    np.testing.assert_allclose(jax.grad(total(as_one_row))(deep.data), expected, rtol=1e-13)


def test_as_one_row_knows_no_horizontal_neighbours():
    f = Field(jnp.ones((3, 8, 9)), "c", Halo(2, 2, 2, 2))
    with pytest.raises(FieldError, match="no valid halo"):
        as_one_row(diff_x_c2u, f)


def test_exchange_asks_for_each_fields_own_depth():
    class Recorder:
        def exchange(self, arrays, wants):
            self.shapes, self.wants = [a.shape for a in arrays], wants
            sides = [
                [(0, 0)] * (a.ndim - 2) + [(w.s, w.n), (w.w, w.e)] for a, w in zip(arrays, wants)
            ]
            return [jnp.pad(a, s) for a, s in zip(arrays, sides)]

    recorder, deep = Recorder(), Halo(1, 2, 3, 4)
    a, b = exchange(recorder, (make("u", 2, name="u"), 1), (make("v", deep, (3,)), deep))
    assert recorder.shapes == [(NY, NX), (3, NY, NX)] and recorder.wants == [Halo.of(1), deep]
    assert (a.at, a.halo, a.name, b.at, b.halo) == ("u", Halo.of(1), "u", "v", deep)
