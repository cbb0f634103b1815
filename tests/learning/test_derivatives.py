"""The checks of derivatives: they find what is wrong, and every scheme of the model passes them."""

from __future__ import annotations

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import Decomposition, SerialCommunicator, make_layout, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics import momentum, tracer_advection
from dogcm.dynamics.continuity import stretch_c
from dogcm.dynamics.pressure import hydrostatic_pressure, pressure_gradient
from dogcm.field import Field, exchange
from dogcm.halo import SerialBackend, connect, differentiable_sum
from dogcm.learning.checkpointing import recompute
from dogcm.learning.derivatives import (
    DOT_PRODUCT_LIMIT,
    check_derivatives,
    hessian_symmetry,
    order_deviation,
    random_direction,
    second_order_decades,
)
from dogcm.physics import lateral, surface, vertical_mixing
from dogcm.physics.background_mixing import background
from dogcm.physics.interfaces import Column
from dogcm.simulation.model import Model

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
X = {"a": jnp.linspace(0.5, 2.0, 12).reshape(3, 4), "b": jnp.asarray(0.7)}


# ---- the check itself
def smooth(x):
    return {"y": jnp.sin(x["a"]) * x["b"] ** 2, "z": jnp.sum(x["a"] ** 3)}


@one_rank
def test_a_right_derivative_passes():
    report = check_derivatives(smooth, X)
    assert report.passed, report
    assert report["Taylor decades"].value >= 4 and report["dot product"].value < 1e-15 * 100
    assert "order" in str(report) and " 2.0" in str(report)


@one_rank
def test_a_linear_function_passes_to_rounding():
    report = check_derivatives(lambda x: 3.0 * x["a"] - x["b"], X)
    assert report.passed, report


@one_rank
def test_a_wrong_tangent_is_found():
    @jax.custom_jvp
    def f(x):
        return x**3

    f.defjvp(lambda x, t: (f(x[0]), 3.001 * x[0] ** 2 * t[0]))
    report = check_derivatives(lambda x: f(x["a"]), X)
    assert report["dot product"].passed and not report["finite differences"].passed
    assert not report["Taylor decades"].passed


@one_rank
def test_a_wrong_transpose_is_found():
    def double(x):
        call = jax.custom_derivatives.linear_call
        return call(lambda _, x: 2.0 * x, lambda _, y: 2.0 * y * (1 + 1e-9), (), x)

    report = check_derivatives(lambda x: double(x["a"]) ** 2, X)
    assert report["finite differences"].passed and report["dot product"].value == pytest.approx(
        1e-9, rel=1e-3
    )
    assert not report.passed


@one_rank
def test_a_gradient_that_is_not_finite_is_found_and_named():
    at = {"a": jnp.asarray([0.0, 1.0]), "b": jnp.asarray(1.0)}
    report = check_derivatives(lambda x: x["b"] * jnp.sqrt(x["a"] ** 2), at)
    assert not report.passed and not report["finite"].passed
    assert any("'a'" in path for path in report.not_finite) and "FELL SHORT" in str(report)


@one_rank
def test_a_kink_shows_in_the_order():
    report = check_derivatives(lambda x: jnp.abs(x["a"] - 1.0 + 1e-4), X | {"a": jnp.ones(50)})
    assert not report["Taylor decades"].passed


@one_rank
@pytest.mark.parametrize("wrong", [1.0, 1.001])
def test_a_kink_along_one_direction_does_not_hide_what_the_others_show(wrong):
    x = jnp.asarray([1.0, 2.0])
    towards = jnp.asarray([1.0, 0.0])  # both ways cross a kink at a step of 1e-6
    directions = lambda n: jnp.asarray([0.0, 1.0]) if n else towards

    def kinked(x):
        return jnp.sum(x**3) + sum(jnp.maximum(s * (x[0] - 1) - 1e-6, 0.0) for s in (1, -1.1))

    tangent = lambda x, t: (kinked(x[0]), wrong * jax.jvp(kinked, x, t)[1])
    f = jax.custom_jvp(kinked)
    f.defjvp(tangent)
    assert not check_derivatives(f, x, towards).passed
    assert check_derivatives(f, x, directions).passed == (wrong == 1.0)


def test_decades_of_second_order():
    h = 10.0 ** -np.arange(1, 9)
    assert second_order_decades(h, h**2, 1e-30) == pytest.approx(7)
    assert second_order_decades(h, h, 1e-30) == 0
    assert second_order_decades(h, np.where(h > 1e-4, h**2, 1e-10), 1e-9) == pytest.approx(3 - 1)
    assert second_order_decades(h, 0 * h, 1e-15) == pytest.approx(7)
    assert second_order_decades(h, h * np.nan, 1e-15) == 0
    assert order_deviation(h, h**2, 4) < 1e-12 and order_deviation(h, h, 4) == pytest.approx(1)
    early, late = np.where(h > 1e-4, h**2, 1e-8), np.where(h > 1e-6, h**2, 1e-12)
    assert order_deviation(h, late, 4) < 1e-12 < order_deviation(h, early, 4)
    assert order_deviation(h, 0 * h, 4) == np.inf


@one_rank
def test_hessian_symmetry_and_its_failure():
    loss = lambda x: sum(jnp.sum(v**2) for v in smooth(x).values())
    assert hessian_symmetry(loss, X).passed

    @jax.custom_vjp
    def skew(x):  # says its gradient is (y, -x), which is nobody's
        return x[0] * x[1]

    skew.defvjp(lambda x: (skew(x), x), lambda x, g: (g * jnp.stack([x[1], -x[0]]),))
    assert not hessian_symmetry(skew, jnp.asarray([1.0, 2.0])).passed


@one_rank
@pytest.mark.parametrize(
    "wrap", [lambda f: f, jax.checkpoint, recompute], ids=["stored", "checkpoint", "recompute"]
)
def test_second_derivatives_of_an_exact_sum_in_a_loop(wrap):
    """JAX forgets rules of derivatives when it takes a loop apart."""
    x = jnp.linspace(0.1, 1.0, 7)
    v = jnp.cos(3 * x)

    def product(total):
        one = wrap(lambda x: x * (1 + 0.1 * jnp.sin(total(x) / 7)))
        loss = lambda x: jnp.sum(
            jax.lax.scan(lambda x, _: (one(x), None), x, None, length=3)[0] ** 3
        )
        return jax.jvp(jax.grad(loss), (x,), (v,))[1]

    exact = product(lambda x: differentiable_sum(SerialBackend(), x))
    np.testing.assert_allclose(exact, product(jnp.sum), rtol=1e-13)


def test_directions_are_alike_on_all_ranks_but_for_fields():
    tree = {"s": jnp.asarray(3.0), "f": Field(jnp.ones((2, 3)), "c"), "zero": jnp.zeros(2)}
    one, two = random_direction(tree, rank=0), random_direction(tree, rank=1)
    assert one["s"] == two["s"] and (one["f"].data != two["f"].data).all()
    assert (one["zero"] == two["zero"]).all() and (one["zero"] != 0).all()


# ---- schemes
SMALL = {"grid.nx": 12, "grid.ny": 10, "grid.nz": 4}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model("two_basin", SMALL, comm=SerialCommunicator())


def ocean(model, moving: bool, seed=0):
    """Tracers and flow with halo, zero on land: stratified and moving, or at rest and the same
    everywhere."""
    rng, g = np.random.default_rng(seed), model.grid
    noise = lambda mask, size: (
        mask * mask.with_data(jnp.asarray(size * rng.normal(size=mask.shape)))
    )
    size = 1.0 if moving else 0.0
    depth = g.z_c / 5000.0
    return {
        "u": noise(g.mask_u, 0.1 * size),
        "v": noise(g.mask_v, 0.1 * size),
        "T": (noise(g.mask_c, 0.3 * size) + g.mask_c * (10.0 - 8.0 * size * depth)) * g.mask_c,
        "S": (noise(g.mask_c, 0.05 * size) + 35.0) * g.mask_c,
        "eta": noise(g.wet_c.crop(2), 0.2 * size),
    }


# Tracer advection in one stage; others are differentiated with the whole step.
UPWINDED = ("dst3_limited", "dst3", "centered", "upwind")


def schemes(model) -> dict:
    """Name to a function of (ocean, params) that returns Fields."""
    d, g, p = model.dynamics, model.grid, model.physics
    stretch = lambda s: stretch_c(s["eta"], g)
    density = lambda s: d.eos.anomaly(s["T"], s["S"])
    n2 = lambda s: vertical_mixing.buoyancy_frequency_squared(
        d.eos, s["T"], s["S"], density(s), g, stretch(s), p.gravity, p.rho0
    )

    def advection(name):
        def rate(s, q):
            flow_u, flow_v = s["u"] * g.h_u, s["v"] * g.h_v
            c = s["T"]
            out = []
            for velocity, side, reconstruct in (
                (flow_u, g.dx_u, tracer_advection.reconstruct_x),
                (flow_v, g.dy_v, tracer_advection.reconstruct_y),
            ):
                h = g.h_u if velocity.at == "u" else g.h_v
                courant = velocity.with_data(jnp.abs(velocity.data)) * (p.dt / side) / (h + 1.0)
                out.append(velocity * reconstruct(c, velocity, courant, name, g))
            return out

        return rate

    def mixing(s, q):
        shear2 = vertical_mixing.shear_squared(s["u"], s["v"], g, stretch(s))
        floor = background(n2(s), q, g, p)
        column = Column(n2(s), shear2, floor, {}, None, {}, None, None, None)
        found = p.vertical_mixing.mix(column, q, g, p)
        return found.viscosity, found.diffusivity

    def pressure(s, q):
        total = hydrostatic_pressure(density(s), stretch(s), g, p.gravity, p.rho0)
        return pressure_gradient(total, density(s), s["eta"], g, p.gravity, p.rho0)

    def fluxes(s, q):
        top = lambda f: f.level(0)
        now = {
            "sst": top(s["T"]) * 0.0 - 3.0,
            "sss": top(s["S"]) + 1.0,
            "heat_flux": g.wet_c * -100.0,
        }
        f = surface.surface_fluxes(now, top(s["T"]), top(s["S"]), top(g.h_c) * stretch(s), q, g, p)
        return [f.heat, f.salt, f.freshwater]

    def implicit(s, q):
        k = mixing(s, q)[1] * (p.dt / g.dz_w)
        h = g.h_c * stretch(s)
        return vertical_mixing.implicit_solve([s["T"] * h], h, k)

    def drag(s, q):
        speed = s["u"].with_data(jnp.sqrt(s["u"].data ** 2 + 1e-8))
        return [d.momentum.drag(speed, SimpleNamespace(bottom=g.bottom_u, at=lambda x: x), q, g)]

    return {
        "equation of state": lambda s, q: [density(s)],
        "mixing": mixing,
        "pressure": pressure,
        "surface fluxes": fluxes,
        "implicit solve": implicit,
        "drag": drag,
        "friction": lambda s, q: d.momentum.friction(s["u"], s["v"], q, g),
        "diffusion": lambda s, q: lateral.diffusive_fluxes(s["T"], q["lateral_diffusivity"], g),
        "vorticity flux": lambda s, q: [
            momentum.vorticity_flux_u(s["v"], g.f_q * g.inv_h_q, g),
            momentum.vorticity_flux_v(s["u"], g.f_q * g.inv_h_q, g),
        ],
        **{f"advection {n}": advection(n) for n in UPWINDED},
    }


SCHEMES = [
    "equation of state",
    "mixing",
    "pressure",
    "surface fluxes",
    "implicit solve",
    "drag",
    "friction",
    "diffusion",
    "vorticity flux",
    *(f"advection {n}" for n in UPWINDED),
]
# Where a function has kinks, some cell is near one: no more than a share of the decades is of
# second order.
KINKED = {
    "mixing",
    "implicit solve",
    "advection dst3_limited",
    "surface fluxes",
    "advection dst3",
    "advection upwind",
}


def small_direction(s, params):
    """Noise small enough that hardly any cell meets a kink."""
    d = random_direction((s, params))
    small = {"u": 1e-3, "v": 1e-3, "T": 1e-3, "S": 1e-4, "eta": 1e-3}
    return {n: f.with_data(f.data * 0.0 + small[n] * jnp.sign(f.data)) for n, f in d[0].items()}, d[
        1
    ]


@one_rank
@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_has_the_right_derivative(model, name):
    function = schemes(model)[name]
    s = ocean(model, moving=True)
    report = check_derivatives(
        lambda x: [f.interior for f in function(*x)],
        (s, model.params),
        small_direction(s, model.params),
        ladder=tuple(10.0**-k for k in range(1, 7)),
        decades=0.0 if name in KINKED else 1.0,
        limits=(1e-6, DOT_PRODUCT_LIMIT),
    )
    assert report.passed, f"{name}\n{report}"


@pytest.fixture(scope="module")
def everything(model):
    """All schemes together, on water, and the gradient of their sum with respect to ocean and
    parameters."""
    g = model.grid

    def outputs(s, q):
        fields = [f for function in schemes(model).values() for f in function(s, q)]
        return [(f * (g.mask_c if f.at == "c" and f.ndim == 3 else 1.0)).interior for f in fields]

    @jax.jit
    def run(s, q):
        out, back = jax.vjp(outputs, s, q)
        of_ocean, of_params = back(jax.tree.map(jnp.ones_like, out))
        return out, of_ocean | of_params

    return run


SINGULAR = {
    "cold start: at rest, the same everywhere, neutral": {},
    "at the freezing point": {"T": -1.9},
    "without salt": {"S": 0.0},
}


@one_rank
@pytest.mark.parametrize("case", SINGULAR)
def test_gradients_are_finite_where_nothing_moves(model, everything, case):
    """Rest, land, neutral stratification and the freezing point: kinks lie there, but nothing
    infinite."""
    s = ocean(model, moving=False)
    for name, value in SINGULAR[case].items():
        s[name] = s[name].with_data(jnp.full_like(s[name].data, value)) * model.grid.mask_c

    out, gradient = everything(s, model.params)
    bad = [
        jax.tree_util.keystr(p)
        for p, g in jax.tree_util.tree_leaves_with_path(gradient)
        if not bool(jnp.isfinite(g).all())
    ]
    assert not bad and all(bool(jnp.isfinite(o).all()) for o in out)
    dry = np.asarray(model.grid.mask_c.interior) == 0
    for tracer in "TS":
        assert (np.asarray(gradient[tracer].interior)[dry] == 0).all(), f"{tracer} on land counts"


# ---- ranks
@pytest.mark.mpi(min_size=2)
def test_the_check_works_across_ranks():
    comm = world()
    d = Decomposition(make_layout((12, 18), 1, comm.size, min_cells=2), comm)
    halos = connect(d.layout, comm)
    rng = np.random.default_rng(comm.rank)
    x = {"f": Field(jnp.asarray(rng.normal(size=d.tile.shape)), "c"), "k": jnp.asarray(0.3)}

    def share(x):
        deep = exchange(halos, (x["f"], 1))[0].data
        mean = halos.psum(jnp.sum(x["f"].data)) / 216.0
        return jnp.sum(
            jnp.sin(deep[2:, 1:-1] * deep[:-2, 1:-1]) * x["k"] + (mean * x["f"].data + 1.0) ** 2
        )

    report = check_derivatives(share, x, psum=halos.psum, rank=comm.rank)
    assert report.passed, report
    assert hessian_symmetry(share, x, halos.psum, rank=comm.rank).passed
    # A sum that counts as its own transpose on this rank alone is what the check is there to find.
    wrong = lambda v: v + jax.lax.stop_gradient(halos.psum(v) - v)
    bad = lambda x: jnp.sum((wrong(jnp.sum(x["f"].data)) / 216.0 * x["f"].data + 1.0) ** 2)
    report = check_derivatives(bad, x, psum=halos.psum, rank=comm.rank)
    assert not report["finite differences"].passed


@pytest.mark.mpi(min_size=2)
def test_the_wrong_allreduce_of_the_documentation_is_wrong(repository):
    """The example of the docs page runs, and the gradient it warns of is far off."""
    page = (repository / "docs" / "gradients_across_ranks.md").read_text()
    (code,) = [
        b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "identity_transpose" in b
    ]
    found: dict = {}
    exec(compile(code, "gradients_across_ranks.md", "exec"), found)
    assert found["error"]["transpose is psum"] < 1e-14
    assert found["error"]["transpose is identity"] > 0.2
