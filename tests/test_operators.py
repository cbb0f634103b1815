"""C-grid operators against numpy: the value at every position, and the halo that is left."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dogcm import operators
from dogcm.decomp import Halo
from dogcm.field import Field, FieldError

# Where a place lies, in half cells from the centre of the cell with the same index.
OFFSET = {"c": (0, 0), "u": (0, -1), "v": (-1, 0), "q": (-1, -1)}  # (y, x)
COMBINE = {
    "diff": lambda low, high: high - low,
    "mean": lambda low, high: 0.5 * (low + high),
    "sum": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "lower": lambda low, high: low,
    "upper": lambda low, high: high,
}
TWO_POINT = sorted(
    n
    for n in operators.__all__
    if n.count("_") == 2 and n.split("_")[1] in ("x", "y") and "2" in n.split("_")[2]
)
MOVES = {"previous_x": (-1, -1), "next_x": (-1, 1), "previous_y": (-2, -1), "next_y": (-2, 1)}
VERTICAL = {
    "around_layers",
    "diff_z_c2w",
    "mean_z_c2w",
    "upper_z_c2w",
    "lower_z_c2w",
    "diff_z_w2c",
    "mean_z_w2c",
    "sum_z",
    "running_sum_down",
    "running_sum_up",
}

# Few distinct shapes: JAX compiles every operation anew for each.
shapes = st.sampled_from([(1, 1), (3, 2), (2, 5)])
halos = st.sampled_from([Halo(), Halo.of(1), Halo(2, 0, 1, 0), Halo(0, 3, 0, 2)])
leads = st.sampled_from([(), (2, 3)])
depths = st.sampled_from([2, 5])
SOME = settings(max_examples=12, deadline=None)


def position(j, i, at):
    """A number that tells index and place: ``1000 y + x`` in half cells, for indices relative to
    the tile."""
    dy, dx = OFFSET[at]
    return 1000.0 * (2 * j + dy) + (2 * i + dx)


def located(at: str, tile, halo: Halo) -> Field:
    """Every element holds its own position."""
    j = np.arange(-halo.s, tile[0] + halo.n)[:, None]
    i = np.arange(-halo.w, tile[1] + halo.e)[None, :]
    return Field(jnp.asarray(position(j, i, at)), at, halo)


def random_field(at, tile, halo: Halo, lead=(), seed=0) -> Field:
    shape = (*lead, tile[0] + halo.s + halo.n, tile[1] + halo.w + halo.e)
    return Field(jnp.asarray(np.random.default_rng(seed).normal(size=shape)), at, halo).named("f")


def test_every_operator_of_the_module_is_tested_here():
    corner = {"mean_xy_c2q", "min_xy_c2q"}
    assert set(operators.__all__) == {*TWO_POINT, *MOVES, *VERTICAL, *corner, "common"}
    assert len(TWO_POINT) >= 30


# ---- two-point stencils


@pytest.mark.parametrize("name", TWO_POINT)
def test_location_of_the_result(name):
    """The two points that enter lie half a cell to either side of where the result is said to
    be."""
    kind, axis, (source, _, target) = name.split("_")
    tile, halo = (3, 4), Halo(2, 2, 2, 2)
    f, operator = located(source, tile, halo), getattr(operators, name)
    step = 1.0 if axis == "x" else 1000.0
    out = operator(f)
    here = located(target, tile, out.halo).data
    expected = {
        "diff": 2 * step + 0 * here,
        "mean": here,
        "sum": 2 * here,
        "min": here - step,
        "max": here + step,
        "lower": here - step,
        "upper": here + step,
    }[kind]
    np.testing.assert_array_equal(out.data, expected)
    assert out.at == target


@pytest.mark.parametrize("name", TWO_POINT)
@given(tile=shapes, halo=halos, lead=leads)
@SOME
def test_two_point_operator_against_numpy(name, tile, halo, lead):
    kind, axis, (source, _, target) = name.split("_")
    f, operator = random_field(source, tile, halo, lead), getattr(operators, name)
    # A face or corner has the index of the cell to its east or north, so a stencil onto faces
    # reaches back.
    back = OFFSET[source][axis == "x"] == 0
    side = {("x", True): "w", ("x", False): "e", ("y", True): "s", ("y", False): "n"}[axis, back]
    if getattr(halo, side) == 0:
        with pytest.raises(FieldError, match=rf"{name}: f\[.*side '{side}'"):
            operator(f)
        return
    x = np.moveaxis(np.asarray(f.data), -1 if axis == "x" else -2, 0)
    expected = np.moveaxis(COMBINE[kind](x[:-1], x[1:]), 0, -1 if axis == "x" else -2)
    out = operator(f)
    assert out.halo == halo.less(**{side: 1}) and out.tile_shape == tile and out.at == target
    np.testing.assert_array_equal(out.data, expected)


@pytest.mark.parametrize("name", TWO_POINT)
def test_two_point_operator_refuses_other_places(name):
    source = name.split("_")[2][0]
    for at in set(OFFSET) - {source}:
        with pytest.raises(FieldError, match=f"{name} needs a Field at {source}"):
            getattr(operators, name)(random_field(at, (3, 3), Halo.of(1)))


@pytest.mark.parametrize("name", TWO_POINT)
def test_interfaces_keep_their_w(name):
    source, target = name.split("_")[2][0], name.split("_")[2][2]
    f = random_field(source, (3, 3), Halo.of(1), (2,))
    out = getattr(operators, name)(Field(f.data, source + "w", f.halo))
    assert out.at == target + "w"
    np.testing.assert_array_equal(out.data, getattr(operators, name)(f).data)


@pytest.mark.parametrize("name, at", [("mean_xy_c2q", "c"), ("min_xy_c2q", "c")])
@given(tile=shapes, halo=halos, lead=leads)
@SOME
def test_corner_operators(name, at, tile, halo, lead):
    f, operator = random_field(at, tile, halo, lead), getattr(operators, name)
    if halo.s < 1 or halo.w < 1:
        with pytest.raises(FieldError, match=name):
            operator(f)
        return
    x = np.asarray(f.data)
    four = np.stack([x[..., :-1, :-1], x[..., :-1, 1:], x[..., 1:, :-1], x[..., 1:, 1:]])
    out = operator(f)
    expected = four.mean(0) if name.startswith("mean") else four.min(0)
    np.testing.assert_allclose(out.data, expected, rtol=1e-13, atol=1e-15)
    assert out.at == "q" and out.halo == halo.less(s=1, w=1)


def test_location_of_corner_means():
    out = operators.mean_xy_c2q(located("c", (3, 4), Halo.of(2)))
    np.testing.assert_array_equal(out.data, located("q", (3, 4), out.halo).data)


# ---- neighbours


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("at", ["c", "u", "v", "q", "uw"])
@given(tile=shapes, halo=halos, lead=leads)
@SOME
def test_neighbours_at_the_same_kind_of_place(name, at, tile, halo, lead):
    axis, step = MOVES[name]
    side = {(-1, -1): "w", (-1, 1): "e", (-2, -1): "s", (-2, 1): "n"}[axis, step]
    f, operator = random_field(at, tile, halo, lead), getattr(operators, name)
    if getattr(halo, side) == 0:
        with pytest.raises(FieldError, match=f"side '{side}'"):
            operator(f)
        return
    out = operator(f)
    assert out.at == at and out.halo == halo.less(**{side: 1})
    # out[i] = f[i + step], on the tile's own cells
    rows, columns = np.arange(tile[0]) + halo.s, np.arange(tile[1]) + halo.w
    rows, columns = (rows, columns + step) if axis == -1 else (rows + step, columns)
    np.testing.assert_array_equal(out.interior, np.asarray(f.data)[..., rows[:, None], columns])


# ---- vertical


@given(nz=depths, tile=shapes, halo=halos, at=st.sampled_from("cuvq"))
@SOME
def test_layers_to_interfaces(nz, tile, halo, at):
    f = random_field(at, tile, halo, (nz,))
    x = np.asarray(f.data)
    upper, lower = x[:-1], x[1:]
    for name, expected in {
        "diff_z_c2w": upper - lower,
        "mean_z_c2w": 0.5 * (upper + lower),
        "upper_z_c2w": upper,
        "lower_z_c2w": lower,
    }.items():
        out = getattr(operators, name)(f)
        np.testing.assert_array_equal(out.data, expected)
        assert out.at == at + "w" and out.halo == halo
        with pytest.raises(FieldError, match=f"{name} needs a Field on layers"):
            getattr(operators, name)(out)


@given(nz=depths, tile=shapes, halo=halos, at=st.sampled_from("cuvq"))
@SOME
def test_interfaces_to_layers_vanish_at_surface_and_bottom(nz, tile, halo, at):
    f = random_field(at + "w", tile, halo, (nz - 1,))
    zero = np.zeros_like(f.data[:1])
    full = np.concatenate([zero, f.data, zero])
    above, below = full[:-1], full[1:]
    for name, expected in {
        "diff_z_w2c": above - below,
        "mean_z_w2c": 0.5 * (above + below),
    }.items():
        out = getattr(operators, name)(f)
        np.testing.assert_array_equal(out.data, expected)
        assert out.at == at and out.shape[0] == nz
        with pytest.raises(FieldError, match=f"{name} needs a Field on interfaces"):
            getattr(operators, name)(out)
    # What leaves one layer enters the next: nothing is made or lost in a column.
    np.testing.assert_allclose(operators.sum_z(operators.diff_z_w2c(f)).data, 0.0, atol=1e-13)
    for outside in (0.0, 3.0):
        both = operators.around_layers(f, outside)
        assert [g.at for g in both] == [f.at[:-1]] * 2
        ends = np.full_like(f.data[..., :1, :, :], outside)
        np.testing.assert_array_equal(both[0].data, np.concatenate([ends, f.data], axis=-3))
        np.testing.assert_array_equal(both[1].data, np.concatenate([f.data, ends], axis=-3))


@given(nz=st.sampled_from([1, 5]), tile=shapes, halo=halos)
@SOME
def test_sums_over_the_column(nz, tile, halo):
    f = random_field("v", tile, halo, (nz,))
    x = np.asarray(f.data)
    total = operators.sum_z(f)
    assert total.at == "v" and total.shape == x.shape[1:]
    down, up = operators.running_sum_down(f), operators.running_sum_up(f)
    for name, out, expected in (
        ("total", total, np.cumsum(x, 0)[-1]),
        ("down", down, np.cumsum(x, 0)),
        ("up", up, np.cumsum(x[::-1], 0)[::-1]),
    ):
        # The order of additions is part of the contract: it makes answers independent of the
        # layout.
        np.testing.assert_array_equal(out.data, expected, err_msg=name)


def test_common_crops_to_the_smallest_halo_whatever_the_place():
    a, b = random_field("c", (3, 3), Halo(2, 0, 1, 3)), random_field("u", (3, 3), Halo(1, 1, 2, 0))
    a, b = operators.common(a, b)
    assert a.halo == b.halo == Halo(1, 0, 1, 0) and (a.at, b.at) == ("c", "u")


# ---- calculus


def test_differences_are_minus_the_adjoint_of_differences():
    """Summation by parts: sum(u dx(c)) = -sum(c dx(u)) on a periodic plane; energy conservation
    needs it."""
    ny, nx = 5, 7
    rng = np.random.default_rng(0)
    for place, forward, back in (
        ("u", operators.diff_x_c2u, operators.diff_x_u2c),
        ("v", operators.diff_y_c2v, operators.diff_y_v2c),
    ):
        c, face = rng.normal(size=(2, ny, nx))
        wrapped = [
            Field(jnp.asarray(np.pad(a, 1, mode="wrap")), at, Halo.of(1))
            for a, at in ((c, "c"), (face, place))
        ]
        left = (wrapped[1].crop(0) * forward(wrapped[0])).interior.sum()
        right = (wrapped[0].crop(0) * back(wrapped[1])).interior.sum()
        np.testing.assert_allclose(left, -right, rtol=1e-12)


def test_curl_of_a_gradient_is_zero():
    f = random_field("c", (4, 5), Halo.of(2))
    u, v = operators.diff_x_c2u(f), operators.diff_y_c2v(f)
    curl = operators.diff_x_v2q(v) - operators.diff_y_u2q(u)
    np.testing.assert_allclose(curl.data, 0.0, atol=1e-14)
