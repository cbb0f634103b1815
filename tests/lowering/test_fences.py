"""What steers the backward pass must not change a value or a derivative, of any order and in either
mode."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.dynamics import tracer_advection
from dogcm.lowering.fences import fence, keep, spread, with_stored_derivatives
from dogcm.lowering.transposes import add_to_first, framed, joined, pairs, with_edges, with_ends
from dogcm.physics.vertical_mixing import diffuse, substitute, thomas

pytestmark = pytest.mark.optimised
X = jnp.asarray(np.random.default_rng(1).normal(size=(4, 5)))
D = jnp.asarray(np.random.default_rng(2).normal(size=(4, 5)))


def plain(x):
    return jnp.sum(jnp.sin(x) * x**2 * jnp.roll(x, 1, -1))


def fenced(x):
    x = fence(x)
    return jnp.sum(
        with_stored_derivatives(lambda a, b: jnp.sin(a) * b, 2)(x, keep(x**2))
        * jnp.roll(fence(x), 1, -1)
    )


LEVELS = jnp.asarray(np.random.default_rng(3).normal(size=(3, 4, 5)))


def broadcast(x, on=jnp.broadcast_to):
    """A level and a number that all levels share."""
    return jnp.sum(LEVELS * jnp.sin(on(x, LEVELS.shape) * on(jnp.sum(x**2), LEVELS.shape)))


OF_SLICES = {
    "diff": lambda a, b: b - a,
    "drop": lambda a, b: a - b,
    "sum": jnp.add,
    "mean": lambda a, b: 0.5 * (a + b),
}


def slices(x, kind, axis):
    """Pairs as JAX would have them."""
    return OF_SLICES[kind](
        *(jax.lax.slice_in_dim(x, n, n + x.shape[axis] - 1, axis=axis) for n in (0, 1))
    )


def neighbours(x, on=slices):
    """Pairs of all kinds and along all axes, of two and three dimensions."""
    cube = LEVELS * x**2
    flat = sum(
        jnp.sum(jnp.sin(on(x, kind, axis)) * on(x**2, kind, axis))
        for kind in OF_SLICES
        for axis in (-1, -2)
    )
    return (
        flat
        + sum(
            jnp.sum(on(jnp.sin(cube), kind, axis) ** 2)
            for kind in OF_SLICES
            for axis in (-1, -2, -3)
        )
        * 0.1
    )


def cuts(x, axis, low, high):
    """Ends as JAX would have them."""
    size = x.shape[axis]
    return [
        jax.lax.slice_in_dim(x, 0, low, axis=axis),
        jax.lax.slice_in_dim(x, size - high, size, axis=axis),
        x,
    ]


def ends(x, on=cuts):
    """Both ends of an array added on to each other; in one direction they overlap."""
    total = 0.0
    for axis, low, high in ((-1, 2, 1), (-2, 3, 2), (-1, 0, 2)):
        first, last, whole = on(x * x, axis, low, high)
        total += jnp.sum(jnp.concatenate([last, jnp.sin(whole), first], axis) ** 2)
    return total


def with_surface(x, add=lambda x, level: x.at[..., 0, :, :].add(level)):
    """A level on top of a cube, both of them variable, and either of them constant."""
    cube = LEVELS * x**2
    return sum(
        jnp.sum(jnp.sin(add(a, b)) ** 2) for a, b in ((cube, jnp.sin(x)), (LEVELS, x), (cube, X))
    )


def together(x, join=lambda *parts: jnp.concatenate(parts[:3], parts[3])):
    """Three arrays in a row, all of them variable, and each of them constant; one of them empty."""
    triples = (x, jnp.sin(x), x**2), (X, x, x), (x, X, x), (x, x, X)
    total = sum(jnp.sum(jnp.sin(join(*parts, axis)) ** 2) for parts in triples for axis in (-1, -2))
    return total + jnp.sum(join(x, x**2, x[:, :0], -1) ** 3)


def edges_of(x, depths):
    s, n, w, e = depths
    return [x[..., :s, :], x[..., x.shape[-2] - n :, :], x[..., :w], x[..., x.shape[-1] - e :], x]


def frame_of(middle, south, north, west, east):
    return jnp.concatenate([south, jnp.concatenate([west, middle, east], -1), north], -2)


def surrounded(x, edges=edges_of, frame=frame_of):
    """An array with its own edges around it, as in an exchange; some of them constant, some empty,
    some not used."""
    total = 0.0
    for s, n, w, e in ((1, 2, 2, 1), (2, 1, 0, 3), (0, 0, 1, 1)):
        south, north, west, east, whole = edges(jnp.sin(x), (n, s, e, w))
        wide = lambda rows, w=w, e=e: jnp.concatenate([rows[..., :w], rows, rows[..., :e]], -1)
        total += jnp.sum(jnp.sin(frame(whole * x, wide(north), wide(south), east, west)) ** 2)
        total += jnp.sum(
            frame(x, wide(edges(X, (n, s, e, w))[1]), wide(south), east, edges(X, (n, s, e, w))[2])
            ** 3
        )
    return total + jnp.sum(edges(x, (1, 1, 1, 1))[0] ** 2)


# A function with what steers its backward pass, one without, and how well they agree: sums in
# another order round otherwise.
PAIRS = {
    "fence": (fenced, plain, 1e-13),
    "spread": (lambda x: broadcast(x, spread), broadcast, 1e-12),
    "pairs": (lambda x: neighbours(x, pairs), neighbours, 1e-12),
    "ends": (lambda x: ends(x, with_ends), ends, 1e-12),
    "first": (lambda x: with_surface(x, add_to_first), with_surface, 1e-12),
    "joined": (lambda x: together(x, joined), together, 1e-12),
    "framed": (lambda x: surrounded(x, with_edges, framed), surrounded, 1e-12),
}
DERIVATIVES = {
    "value": lambda f: f(X),
    "reverse": lambda f: jax.grad(f)(X),
    "forward": lambda f: jax.jvp(f, (X,), (D,))[1],
    "hessian times vector": lambda f: jax.jvp(jax.grad(f), (X,), (D,))[1],
    "reverse of forward": lambda f: jax.grad(lambda x: jax.jvp(f, (x,), (D,))[1])(X),
    "batch": lambda f: jax.vmap(jax.grad(f))(jnp.stack([X, D])),
    "checkpoint in scan": lambda f: jax.grad(
        lambda x: jax.lax.scan(
            jax.checkpoint(lambda c, _: (c + 0.1 * jax.grad(f)(c), None)), x, None, length=3
        )[0].sum()
    )(X),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("kind", DERIVATIVES)
def test_derivatives_are_those_of_the_plain_function(kind, pair):
    derivative, (steered, free, rtol) = DERIVATIVES[kind], PAIRS[pair]
    np.testing.assert_allclose(
        jax.jit(lambda: derivative(steered))(), derivative(free), rtol=rtol, atol=0.1 * rtol
    )


def test_the_cotangent_is_stored_and_the_value_is_not():
    forward = jax.jit(fence).lower(X).as_text()
    backward = jax.jit(jax.grad(lambda x: jnp.sum(fence(x) ** 2))).lower(X).as_text()
    assert "optimization_barrier" not in forward
    assert "optimization_barrier" in backward


# ---- the vertical solver

NZ = 6


def dense(h, k, sink, rhs):
    """The same by a library, column by column."""
    out = np.zeros_like(rhs)
    for j, i in np.ndindex(rhs.shape[1:]):
        between = np.diag(np.asarray(k)[:, j, i], 1)
        exchanged = between + between.T
        matrix = np.diag(np.asarray(h + sink)[:, j, i] + exchanged.sum(0)) - exchanged
        out[:, j, i] = np.linalg.solve(matrix, np.asarray(rhs)[:, j, i])
    return out


def test_solution_against_a_dense_solver():
    rng = np.random.default_rng(5)
    h, sink = (jnp.asarray(a) for a in rng.uniform(0.1, 2, (2, NZ, 2, 3)))
    k, (one, two) = jnp.asarray(rng.uniform(0.1, 1, (NZ - 1, 2, 3))), rng.normal(size=(2, NZ, 2, 3))
    solutions, factors = thomas(h, k, sink, (one, two))
    for x, rhs in zip((*solutions, *substitute(*factors, (two,))), (one, two, two)):
        np.testing.assert_allclose(x, dense(h, k, sink, rhs), rtol=1e-12)


@pytest.mark.parametrize("alone", [True, False], ids=["solution alone", "with factors"])
def test_the_solver_copies_no_column_within_its_loops(alone):
    """What a level needs is read before anything is written; otherwise XLA copies whole arrays,
    once for each level."""
    h, k, sink, one, two = column()
    solve = lambda *a: thomas(*a[:3], a[3:], factors=not alone)
    program = jax.jit(solve, donate_argnums=(3, 4)).lower(h, k, sink, one, two).compile().as_text()
    bodies = re.findall(r"body=%([\w.]+)", program)
    parts = {name: program.split(f"\n%{name} ")[1].split("\n}")[0] for name in bodies}
    assert len(parts) == 2
    copied = [
        line
        for part in parts.values()
        for line in part.splitlines()
        if re.search(r"= f64\[\d,2,3\]\S* copy\(", line)
    ]
    assert copied == []


def column():
    """Thickness, exchange, sink and two contents of a few columns, one with a dry cell at its
    bottom."""
    rng = np.random.default_rng(6)
    h, sink = rng.uniform(0.5, 2, (2, NZ, 2, 3))
    k, content = rng.uniform(0.1, 1, (NZ - 1, 2, 3)), rng.normal(size=(2, NZ, 2, 3))
    h[-1, 0, 0] = k[-1, 0, 0] = content[0, -1, 0, 0] = content[1, -1, 0, 0] = 0.0
    return [jnp.asarray(a) for a in (h, k, sink, *content)]


WEIGHT = jnp.asarray(np.random.default_rng(7).normal(size=(2, NZ, 2, 3)))


def cost(values, used=(1, 1)):
    h, k, sink, one, two = values
    return sum(
        jnp.sum(w * s**2) for w, s, u in zip(WEIGHT, diffuse(h, k, sink, (one, two)), used) if u
    )


def tangent_of(values, seed: int):
    """A random direction, 0 where a value is 0: there nothing may change."""
    rng = np.random.default_rng(seed)
    return [
        jnp.asarray(np.where(np.asarray(v) != 0, rng.normal(size=v.shape), 0.0)) for v in values
    ]


@pytest.mark.parametrize("used", [(1, 1), (1, 0)], ids=["both used", "one used"])
@pytest.mark.parametrize(
    "which", range(5), ids=["thickness", "exchange", "sink", "first content", "second content"]
)
def test_derivative_of_the_solution(which, used):
    values = column()
    alone = lambda x: cost([*values[:which], x, *values[which + 1 :]], used)
    direction = tangent_of(values, 8)[which]
    gradient = jax.jit(jax.grad(alone))(values[which])
    slope = jax.jvp(alone, (values[which],), (direction,))[1]
    np.testing.assert_allclose(jnp.vdot(gradient, direction), slope, rtol=1e-12, atol=1e-14)
    h = 1e-6
    difference = (alone(values[which] + h * direction) - alone(values[which] - h * direction)) / (
        2 * h
    )
    np.testing.assert_allclose(slope, difference, rtol=1e-7, atol=1e-9)


def test_second_derivative_of_the_solution():
    values = column()
    direction = tangent_of(values, 9)
    gradient = jax.jit(jax.grad(cost))
    _, along = jax.jit(lambda v: jax.jvp(jax.grad(cost), (v,), (direction,)))(values)
    h = 1e-6
    up, down = (gradient([v + s * d for v, d in zip(values, direction)]) for s in (h, -h))
    for exact, a, b in zip(along, up, down):
        np.testing.assert_allclose(exact, (a - b) / (2 * h), rtol=1e-6, atol=1e-7)


# ---- the limiter


@pytest.mark.parametrize("scheme", ["dst3_limited", pytest.param("dst3", marks=pytest.mark.slow)])
def test_stored_weights_of_the_limiter(scheme):
    """The derivatives written by hand are those of the formula, on every branch of the limiter."""
    rng = np.random.default_rng(11)
    velocity, low, high, below, here, above = jnp.asarray(rng.normal(size=(6, 500)))
    courant = jnp.asarray(rng.uniform(0.01, 0.9, 500))
    written, formula = tracer_advection._upwind_value, tracer_advection._upwind_value.fun
    weights = tracer_advection._weights(
        scheme, here, jnp.where(velocity > 0, below, above), courant
    )
    kinds = {(bool(a == 0), bool(a == 1), bool(b == 0)) for a, b in zip(*weights)}
    assert len(kinds) == (4 if scheme == "dst3_limited" else 1), "not every branch is taken"
    w = jnp.asarray(rng.normal(size=500))
    of = lambda f: lambda *a: jnp.sum(w * f(scheme, velocity, *a) ** 2)
    at, every = (courant, low, high, below, here, above), tuple(range(6))
    towards = tuple(jnp.asarray(rng.normal(size=(6, 500))))
    gradients = [jax.grad(of(f), every) for f in (formula, written)]
    for expected, found in (
        [g(*at) for g in gradients],
        [jax.jvp(g, at, towards)[1] for g in gradients],
    ):
        for a, b in zip(expected, found):
            np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        jax.jvp(of(written), at, towards)[1], jax.jvp(of(formula), at, towards)[1], rtol=1e-11
    )


@pytest.mark.parametrize(
    ("function", "pads"),
    [
        (lambda x, _: pairs(x, "diff", -1), 1),
        (lambda x, _: with_ends(x, -1, 2, 1), 0),
        (add_to_first, 0),
        (lambda x, _: with_edges(x, (1, 2, 1, 1)), 0),
    ],
)
def test_transposes_store_what_they_say(function, pads):
    """Arrays of zeros with a cotangent in them: JAX makes two of a difference, of two ends, and of
    a sum with a level."""
    out, transpose = jax.vjp(function, LEVELS, X)
    assert str(jax.make_jaxpr(transpose)(out)).count("pad[") == pads


def test_pairs_of_whole_numbers():
    assert pairs(jnp.asarray([1, 2, 4]), "mean", -1).tolist() == [1.5, 3.0]
