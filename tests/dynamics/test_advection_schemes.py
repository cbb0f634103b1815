"""Wide advection schemes: exact where theory says so, of their order, bounded, conservative; the
same on any layout."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_sea import DEPTH, NX, NY, Sea

from dogcm.components.registry import kinds_of
from dogcm.decomp import LayoutError, SerialCommunicator, world
from dogcm.dynamics import ppm, tracer_advection, weno
from dogcm.field import Field, exchange
from dogcm.learning.derivatives import check_derivatives
from dogcm.simulation.model import Model

WIDE = ("weno5", "weno7", "ppm", "dst3_split")


# ---- one reconstruction
def polynomial(degree: int, layers):
    """Coefficients, and means over the layers of a monotone polynomial."""
    p = np.random.default_rng(degree).normal(size=degree + 1) * 0.01 ** np.arange(degree + 1)
    p[1] = 100.0
    edges, integral = np.concatenate([[0], np.cumsum(layers)]), np.polynomial.Polynomial(p).integ()
    return edges, integral, np.diff(integral(edges)) / layers


def along(d, interface: int, down: bool):
    """Four differences along the flow."""
    d = d[interface - 2 : interface + 2] if down else -d[interface - 1 : interface + 3][::-1]
    return [jnp.asarray(x) for x in d]


@pytest.mark.parametrize("down", [True, False], ids=["down", "up"])
def test_parabolas_are_exact_on_uneven_layers(down):
    """WENO at the interface (its ideal weights even for a quartic), PPM over the part that
    leaves."""
    layers = np.random.default_rng(0).uniform(0.5, 2, 10)
    profile, way = jnp.asarray(layers)[:, None, None], 0 if down else 1
    at = lambda k, m: jax.tree.map(lambda x: x[m, 0, 0], k)
    for m in range(3, 6):
        up = m if down else m + 1
        edges, integral, c = polynomial(2, layers)
        d, k = along(np.diff(c), m, down), at(weno.layer_coefficients(profile)[way], m)
        exact = integral.deriv()(edges[m + 1])
        assert float(c[up] + weno.fifth(d, k)) == pytest.approx(exact, rel=1e-12)
        part = 0.3 * layers[up] * (-1 if down else 1)
        mean = (integral(edges[m + 1] + part) - integral(edges[m + 1])) / part
        carried = ppm.carried(d, 0.3, at(ppm.layer_coefficients(profile)[way], m))
        assert float(c[up] + carried) == pytest.approx(mean, rel=1e-12)

        edges, integral, c = polynomial(4, layers)
        d = along(np.diff(c), m, down)
        values = [
            0.5 * (p.a * x + p.b * y) + (p.e * y - p.c * x) / 6
            for p, x, y in zip(k.parabolas, d, d[1:])
        ]
        ideal = sum(g * v for g, v in zip(k.ideal, values))
        assert float(c[up] + ideal) == pytest.approx(integral.deriv()(edges[m + 1]), rel=1e-12)


def test_smoothness_indicators_are_the_published_ones():
    """Balsara and Shu (2000), equations 2.13 to 2.16, times 240; uniform coefficients are those of
    equal layers."""
    v = np.random.default_rng(1).normal(size=7)
    a, b, c, d, e, f, g = v
    published = [
        a * (547 * a - 3882 * b + 4642 * c - 1854 * d)
        + b * (7043 * b - 17246 * c + 7042 * d)
        + c * (11003 * c - 9402 * d)
        + 2107 * d**2,
        b * (267 * b - 1642 * c + 1602 * d - 494 * e)
        + c * (2843 * c - 5966 * d + 1922 * e)
        + d * (3443 * d - 2522 * e)
        + 547 * e**2,
        c * (547 * c - 2522 * d + 1922 * e - 494 * f)
        + d * (3443 * d - 5966 * e + 1602 * f)
        + e * (2843 * e - 1642 * f)
        + 267 * f**2,
        d * (2107 * d - 9402 * e + 7042 * f - 1854 * g)
        + e * (11003 * e - 17246 * f + 4642 * g)
        + f * (7043 * f - 3882 * g)
        + 547 * g**2,
    ]
    _, rough = weno._cubics()
    jumps = np.diff(v)
    ours = [240 * jumps[s : s + 3] @ rough[s] @ jumps[s : s + 3] for s in range(4)]
    np.testing.assert_allclose(ours, published, rtol=1e-12)
    for module in (weno, ppm):
        for k in module.layer_coefficients(jnp.full((8, 1, 1), 30.0)):
            even = jax.tree.map(lambda x: float(x[3, 0, 0]), k)
            np.testing.assert_allclose(
                jax.tree.leaves(even), jax.tree.leaves(module.UNIFORM), rtol=1e-13
            )


@pytest.fixture(scope="module")
def sea() -> Sea:
    return Sea(SerialCommunicator())


@pytest.fixture(scope="module")
def advance(sea):
    """One step by each scheme, compiled once."""
    return {s: jax.jit(lambda c, n, s=s: sea.advance(c, s, n)) for s in WIDE}


@pytest.mark.parametrize("scheme", WIDE)
def test_uniform_tracer_and_content_are_kept(sea, advance, scheme):
    volume = sea.grid.h_c.interior * sea.grid.area_c.interior
    for steps in (0, 1):
        same, _ = advance[scheme](sea.field(np.full((6, NY, NX), 7.0), "c"), steps)
        np.testing.assert_allclose(same.data, 7.0 * sea.grid.mask_c.interior, rtol=1e-14)
        c = sea.random(3)
        new, h = advance[scheme](c, steps)
        before, after = (
            jnp.sum(c.interior * volume),
            jnp.sum(new.data * h.data * sea.grid.area_c.interior),
        )
        assert abs(float(after - before)) < 1e-14 * float(jnp.sum(volume))


@pytest.mark.parametrize(
    "scheme, beyond", [("ppm", 1e-13), ("dst3_split", 1e-13), ("weno5", 0.02), ("weno7", 0.05)]
)
def test_bounds(sea, advance, scheme, beyond):
    """A patch carried by a flow that takes up to half of a cell per step in each dimension: split
    schemes make no new extreme."""
    patch = np.zeros((6, NY, NX))
    patch[1:4, 3:8, 5:12] = 1.0
    c = sea.field(patch, "c")
    # Thickness changes with the flow: forth and back again every step keeps it.
    new, _ = advance[scheme](c, 0)
    other, _ = advance[scheme](sea.field(np.asarray(new.data), "c"), 1)
    for values in (new.data, other.data):
        assert float(values.min()) >= -beyond and float(values.max()) <= 1.0 + beyond
    assert float(jnp.abs(new.data - c.interior).max()) > 0.2


@pytest.mark.parametrize("scheme", WIDE)
def test_land_is_not_read(sea, advance, scheme):
    c = sea.random(3)
    wild = c + (1.0 - sea.grid.mask_c) * 1e6
    np.testing.assert_array_equal(advance[scheme](wild, 0)[0].data, advance[scheme](c, 0)[0].data)


ADDED = {
    "weno5": lambda x: weno.lowered(list(x["d"]), [jnp.ones_like(d) for d in x["d"]], weno.UNIFORM),
    "weno7": lambda x: weno.seventh(list(x["d"])),
    "ppm": lambda x: ppm.carried(list(x["d"]), x["part"], ppm.UNIFORM),
}


@pytest.mark.parametrize("scheme", ADDED)
def test_derivatives(scheme):
    """Of what a scheme adds to the upstream value: against differences, and finite where the tracer
    is uniform."""
    count = 6 if scheme == "weno7" else 4
    x = {"d": jnp.asarray(np.random.default_rng(3).normal(size=(count, 50)))}
    if scheme == "ppm":
        x["part"] = jnp.full(50, 0.3)
    # PPM has kinks, which a large step crosses.
    report = check_derivatives(
        ADDED[scheme], x, decades=2.0, ladder=tuple(10.0**-k for k in range(4, 8))
    )
    assert report.passed, str(report)
    flat = x | {"d": jnp.zeros_like(x["d"])}
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(ADDED[scheme](x) ** 2 + ADDED[scheme](x))))(flat)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize("scheme", sorted(kinds_of("tracer_advection")))
def test_derivatives_in_single_precision(scheme):
    """Finite where a tracer is uniform and where there is next to nothing of it: no square falls
    below the least number."""
    sea = Sea(SerialCommunicator(), np.float32)
    total = lambda c: jnp.sum(sea.advance(c, scheme)[0].interior ** 2)
    gradient = jax.jit(jax.grad(lambda data, like: total(like.with_data(data))))
    values = sea.random(3)
    for c in (values * 0.0 + sea.grid.mask_c * 35.0, values * 1e-12, values * 1e-18, values * 0.0):
        assert bool(jnp.isfinite(gradient(c.data, c)).all())


@pytest.mark.parametrize("scheme", ["ppm", "dst3_split"])
def test_derivatives_of_a_step(sea, scheme):
    """Forward mode through dimensions and exchanges, with respect to tracer and flow, against
    differences."""
    d, c = sea.random(4), sea.random(3)
    step = lambda e: (
        sea.advance(c + d * e, scheme, 0, sea.flow._replace(u=sea.flow.u * (1.0 + e)))[0].data
    )
    value, slope = jax.jit(lambda e: jax.jvp(step, (e,), (1.0,)))(0.0)
    h = 1e-6
    central = (jax.jit(step)(h) - jax.jit(step)(-h)) / (2 * h)
    np.testing.assert_allclose(central, slope, atol=1e-5 * float(jnp.abs(slope).max()))


def test_float32_stays_and_small_tracers_scale():
    """A tracer of 1e-12 behaves as one of 1: nothing under- or overflows, no unit is built in."""
    sea = Sea(SerialCommunicator(), np.float32)
    for scheme in WIDE:
        step = jax.jit(lambda c, s=scheme: sea.advance(c, s)[0])
        c = sea.random(3)
        one, small = step(c), step(c * 2.0**-40)
        assert one.dtype == small.dtype == np.float32
        np.testing.assert_allclose(small.data * 2.0**40, one.data, atol=2e-5)


def test_stored_derivatives_of_the_split_scheme_are_those_of_its_formula():
    """On every branch of the limiter, for flow in both directions."""
    r = np.random.default_rng(5)
    part = r.uniform(0.05, 0.6, 400)
    room = (1.0 - part - r.uniform(0.0, 0.3, 400)) / part
    x = (r.normal(size=400), part, room, *r.normal(size=(5, 400)))
    x, d = ([jnp.asarray(a) for a in v] for v in (x, r.normal(size=(8, 400))))
    plain = tracer_advection._bounded_value.__wrapped__
    stored = jax.jvp(tracer_advection._bounded_value, x, d)
    by_jax = jax.jvp(plain, x, d)
    for a, b in zip(stored, by_jax):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    weights = tracer_advection._bounded_weights(x[1], x[2], x[6], jnp.where(x[0] > 0, x[5], x[7]))
    branches = {tuple(np.sign(np.abs(w)).astype(int)) for w in np.asarray(weights).T}
    assert len(branches) == 4, "not every branch is taken"


# ---- order
def errors(scheme: str, cells: int) -> float:
    """Mean error after a quarter turn of a sine around a channel, in short steps; between
    extremes where a limiter flattens them."""
    sea = Sea(
        SerialCommunicator(),
        shape=(8, cells),
        layers=np.array([50.0, 50.0]),
        islands=False,
        speed=0.0,
    )
    courant = 3.2 / cells
    steps = round(cells / 4 / courant)
    dt = courant * 2e4
    flow = sea.flow._replace(u=sea.field(np.full((2, 8, cells), 50.0), "u"), dt=dt)
    edges = 2 * np.pi * np.arange(cells + 1) / cells
    sine = lambda turn: -np.diff(np.cos(edges - turn)) * cells / (2 * np.pi)
    start = np.broadcast_to(sine(0.0), (2, 8, cells))

    def one(n, c):
        (deep,) = exchange(sea.halos, (Field(c, "c"), DEPTH))
        return sea.advance(deep, scheme, n, flow)[0].data

    new = jax.jit(lambda c: jax.lax.fori_loop(0, steps, one, c))(jnp.asarray(start))
    inside = np.abs(np.cos(0.5 * (edges[1:] + edges[:-1]) - np.pi / 2)) > (
        0.5 if scheme in ("ppm", "dst3_split") else 0.0
    )
    return float(np.abs(np.asarray(new)[0, 4] - sine(np.pi / 2))[inside].mean())


@pytest.mark.parametrize(
    "scheme, order", [("weno5", 4.7), ("weno7", 6.0), ("ppm", 2.0), ("dst3_split", 2.3)]
)
def test_order_of_convergence(scheme, order):
    coarse, fine = errors(scheme, 16), errors(scheme, 32)
    assert np.log2(coarse / fine) > order


# ---- layouts, settings
@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_the_same_bits_on_tiles():
    comm = world()
    tiled, alone = Sea(comm), Sea(SerialCommunicator())
    t = tiled.decomposition.tile
    for scheme in WIDE:
        # Grid and flow as arguments: of constants the compiler would compute parts itself, rounding
        # by tile size.
        one = lambda c, flow, grid, s: s.advance(c, scheme, 1, flow._replace(dt=s.dt), grid)[0].data  # noqa: B023
        here, all_of_it = (
            jax.jit(lambda c, flow, grid, s=s: one(c, flow, grid, s))(s.random(3), s.flow, s.grid)  # noqa: B023
            for s in (tiled, alone)
        )
        np.testing.assert_array_equal(here, all_of_it[..., t.j0 : t.j1, t.i0 : t.i1])


def test_halos_are_as_deep_as_the_scheme_needs():
    small = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 4}
    depth = {
        s: Model("two_basin", {**small, "physics.tracer_advection": s}).physics
        for s in ("dst3_limited", "weno7")
    }
    assert (depth["dst3_limited"].halo, depth["dst3_limited"].tracer_halo) == (2, 2)
    assert (depth["weno7"].halo, depth["weno7"].tracer_halo, depth["weno7"].momentum_halo) == (
        4,
        4,
        2,
    )
    assert set(WIDE) < set(kinds_of("tracer_advection"))


def test_a_grid_smaller_than_the_halo_is_for_one_rank(monkeypatch):
    """One tile is its own neighbour; tiles of several ranks could not fill their halos."""
    tiny = {"grid.nx": 18, "grid.ny": 3, "grid.nz": 4, "physics.tracer_advection": "weno7"}
    model = Model("two_basin", tiny, comm=SerialCommunicator())
    cells = np.ones((4, 3, 18))
    assert model._choose_layout(cells, "auto").describe().startswith("1 x 1")
    monkeypatch.setattr(model, "comm", SimpleNamespace(size=2))
    with pytest.raises(LayoutError, match="halo of 4 .*use one rank"):
        model._choose_layout(cells, "auto")
