"""Parameters that can be learned: bijectors, shapes, priors, and what the physics makes of them."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.bijectors import Exp, Identity, Interval, LogInterval, Softplus
from dogcm.components.registry import kinds_of, known_parameters, slots
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.learning.parameters import (
    PARAMETERS,
    LearnableError,
    LearnableSet,
    parse_learnable,
    replicated,
)
from dogcm.physics import lateral, surface, vertical_mixing
from dogcm.physics.background_mixing import background
from dogcm.physics.interfaces import Column
from dogcm.simulation.model import Model

SMALL = {
    "grid.nx": 18,
    "grid.ny": 12,
    "grid.nz": 5,
    "parameters.biharmonic_viscosity": 1e16,
    "parameters.biharmonic_diffusivity": 1e15,
}
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


# ---- bijectors
BIJECTORS = [
    Identity(),
    Exp(),
    Softplus(),
    Softplus(1e-3),
    Interval(-2.0, 5.0),
    LogInterval(1e-5, 1e3),
]


@pytest.mark.parametrize("b", BIJECTORS, ids=repr)
def test_bijector_goes_there_and_back(b):
    raw = jnp.linspace(-12.0, 12.0, 49)
    value = b.forward(raw)
    assert ((value > b.low) & (value < b.high)).all() and (jnp.diff(value) > 0).all()
    np.testing.assert_allclose(b.inverse(value), raw, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("b", BIJECTORS[2:], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bijector_and_its_slope_are_finite_far_out(b, dtype):
    raw = jnp.asarray([-200.0, -40.0, 0.0, 40.0, 200.0], dtype)
    slope = jax.vmap(jax.grad(b.forward))(raw)
    assert jnp.isfinite(b.forward(raw)).all() and jnp.isfinite(slope).all() and (slope >= 0).all()
    assert b.forward(raw).dtype == dtype


def test_doubling_is_a_step_of_log_two():
    assert float(Exp().forward(Exp().inverse(3.0) + np.log(2.0))) == pytest.approx(6.0)
    b = LogInterval(1.0, 100.0)
    assert float(b.forward(0.0)) == pytest.approx(10.0)  # the geometric middle


# ---- names and shapes
def test_the_list_is_that_of_the_components():
    owned = {
        name: info
        for slot in slots()
        for component in kinds_of(slot).values()
        if not component.labelled
        for name, info in component.parameter_infos().items()
    }
    assert owned.items() <= known_parameters().items()
    assert PARAMETERS.items() <= known_parameters().items()
    assert len(owned) > 50


@pytest.mark.parametrize(
    "text, shape, bounds",
    [
        ("lateral_viscosity", "scalar", None),
        ("lateral_diffusivity: orthotropic", "orthotropic", None),
        ({"bottom_drag_linear": "map"}, "map", None),
        ({"lateral_diffusivity": {"shape": "map", "bounds": [10, 1e4]}}, "map", (10.0, 1e4)),
        ({"vertical_diffusivity": {"shape": "profile", "prior_sd": 0.3}}, "profile", None),
    ],
)
def test_words_in_a_configuration(text, shape, bounds):
    item = parse_learnable(text)
    assert (item.shape, item.bounds) == (shape, bounds)


@pytest.mark.parametrize(
    "items, says",
    [
        (["lateral_viscosty"], "did you mean lateral_viscosity"),
        (["bottom_drag_linear: profile"], "choose scalar or map"),
        (["lateral_viscosity: orthotropic"], "cannot be a 'orthotropic'"),
        (["lateral_viscosity", "lateral_viscosity: map"], "twice"),
        ([{"lateral_viscosity": {"bounds": [10.0, 1.0]}}], "bounds"),
        ([{"lateral_viscosity": {"prior": 1.0}}], "unknown option 'prior'"),
        ([{"lateral_viscosity": {"prior_sd": 0.0}}], "must be positive"),
        ([{"lateral_viscosity": {"smoothness": 1e6}}], "for maps only"),
        ([["lateral_viscosity"]], "names no parameter"),
    ],
)
def test_what_cannot_be_learned_is_refused(items, says):
    with pytest.raises(LearnableError, match=says):
        LearnableSet(items)


# ---- on a model
@pytest.fixture(scope="module")
def model() -> Model:
    return Model("two_basin", SMALL, comm=SerialCommunicator())


def test_start_outside_the_bounds_is_refused(model):
    with pytest.raises(LearnableError, match="set parameters.bottom_drag_linear"):
        LearnableSet(["bottom_drag_linear"]).initial(
            {"bottom_drag_linear": jnp.asarray(0.0)}, model.grid
        )
    with pytest.raises(LearnableError, match="between 1 and 2"):
        LearnableSet([{"lateral_viscosity": {"bounds": [1, 2]}}]).initial(model.params, model.grid)


EVERY = [
    "lateral_viscosity: map",
    "lateral_diffusivity: orthotropic",
    "vertical_viscosity: profile",
    {"vertical_diffusivity": {"shape": "map", "bounds": [1e-7, 1e-2]}},
    "bottom_drag_linear",
]


def test_values_come_back_in_their_shape(model):
    learn, grid = LearnableSet(EVERY), model.grid
    raw = learn.initial(model.params, grid)
    params = jax.jit(lambda r: learn.apply(r, model.params, model.halos, grid))(raw)
    assert set(params) == set(model.params)
    assert params["mixing_richardson"] == model.params["mixing_richardson"]
    west, south = params["lateral_diffusivity"]
    assert (west.at, south.at, params["lateral_viscosity"].at) == ("u", "v", "c")
    assert west.halo == params["vertical_diffusivity"].halo == grid.h_c.halo
    assert params["vertical_viscosity"].shape == (grid.nz - 1, 1, 1)
    for name in learn.names:
        for leaf in jax.tree.leaves(params[name]):
            np.testing.assert_allclose(leaf, model.params[name], rtol=1e-12)
    # A start that is a map already is taken as it is, and its halo falls off.
    again = learn.initial(params, grid)
    assert all(
        np.allclose(a, b, rtol=1e-12) for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(raw))
    )
    marks = replicated(raw)
    assert marks["vertical_viscosity"] is True and marks["lateral_viscosity"].data is False
    assert jax.tree.structure(marks) == jax.tree.structure(raw)
    text = learn.table(model.params, raw)
    assert "m2 s-1" in text and "orthotropic" in text and len(text.splitlines()) == 1 + len(EVERY)


def example(model, seed=0):
    """Random flow and tracers with deep halos, zero on land, small as in an ocean."""
    rng, g = np.random.default_rng(seed), model.grid
    make = lambda mask, size: mask.with_data(jnp.asarray(rng.normal(size=mask.shape) * size)) * mask
    return make(g.mask_u, 0.1), make(g.mask_v, 0.1), make(g.mask_c, 3.0)


def spread(model, name, shape):
    """One parameter's scalar value in another shape, with halo."""
    learn = LearnableSet([f"{name}: {shape}"])
    return learn.apply(
        learn.initial(model.params, model.grid), model.params, model.halos, model.grid
    )


def terms(model) -> dict:
    """Every place that uses parameters: name of the term to (parameters, function of params to
    Fields)."""
    u, v, c = example(model)
    g, p, d = model.grid, model.physics, model.dynamics
    n2 = g.mask_cw.with_data(
        jnp.asarray(np.random.default_rng(1).normal(size=g.mask_cw.shape)) * 1e-7
    )
    shear2 = vertical_mixing.shear_squared(u, v, g, g.wet_c * 0.0 + 1.0)
    now = {"sst": c.level(0) + 1.0, "sss": c.level(0) - 1.0}
    fluxes = lambda q: surface.surface_fluxes(now, c.level(0), c.level(0), g.h_c.level(0), q, g, p)
    drag = lambda at, like, b: (
        lambda q: [d.momentum.drag(like, SimpleNamespace(bottom=b, at=at), q, g)]
    )
    from dogcm.physics.coefficients import at_u, at_v

    return {
        "friction": (
            ("lateral_viscosity", "biharmonic_viscosity"),
            lambda q: d.momentum.friction(u, v, q, g),
        ),
        "diffusion": (
            ("lateral_diffusivity",),
            lambda q: lateral.diffusive_fluxes(c, q["lateral_diffusivity"], g),
        ),
        "biharmonic diffusion": (
            ("biharmonic_diffusivity",),
            lambda q: lateral.biharmonic_diffusive_fluxes(c, q["biharmonic_diffusivity"], g),
        ),
        "mixing": (
            _MIXING,
            lambda q: _mixing(d, n2, shear2, q, g),
        ),
        "drag u": (("bottom_drag_linear", "bottom_drag_quadratic"), drag(at_u, u, g.bottom_u)),
        "drag v": (("bottom_drag_linear", "bottom_drag_quadratic"), drag(at_v, v, g.bottom_v)),
        "restoring": (
            ("sst_restoring_time", "sss_restoring_time"),
            lambda q: [fluxes(q).heat, fluxes(q).salt],
        ),
    }


_MIXING = (
    "mixing_richardson",
    "convection_n2",
    "convection_diffusivity",
    "vertical_viscosity",
    "vertical_diffusivity",
    "convection_viscosity",
)


def _mixing(dynamics, n2, shear2, params, grid):
    p = dynamics.physics
    floor = background(n2, params, grid, p)
    column = Column(n2, shear2, floor, {}, None, {}, None, None, None)
    found = p.vertical_mixing.mix(column, params, grid, p)
    return found.viscosity, found.diffusivity


TERMS = ["friction", "diffusion", "biharmonic diffusion", "mixing", "drag u", "drag v", "restoring"]


@one_rank
@pytest.mark.parametrize("term", TERMS)
def test_uniform_maps_and_profiles_act_like_the_scalar(model, term):
    names, function = terms(model)[term]
    run = jax.jit(function)
    expected = run(model.params)
    assert all(float(jnp.abs(f.interior).max()) > 0 for f in expected)
    for name in names:
        for shape in PARAMETERS[name].shapes[1:]:
            params = spread(model, name, shape)
            for got, want in zip(run(params), expected):
                scale = float(jnp.abs(want.interior).max())
                np.testing.assert_allclose(
                    got.interior,
                    want.interior,
                    rtol=1e-12,
                    atol=1e-14 * scale,
                    err_msg=f"{name} {shape}",
                )


@one_rank
@pytest.mark.parametrize("term", TERMS)
def test_slopes_of_a_uniform_map_add_up_to_that_of_the_scalar(model, term):
    """And land does not count: its slope is exactly zero."""
    names, function = terms(model)[term]
    weight = np.random.default_rng(2)
    weights = [
        jnp.asarray(weight.normal(size=f.interior.shape))
        for f in jax.eval_shape(function, model.params)
        for f in [Field(jnp.zeros(f.shape), f.at, f.halo)]
    ]
    loss = lambda q: sum(jnp.vdot(w, f.interior) for w, f in zip(weights, function(q)))
    one = jax.jit(jax.grad(loss))(model.params)
    dry = np.asarray(model.grid.wet_c.interior) == 0
    for name in names:
        for shape in PARAMETERS[name].shapes[1:]:
            learn = LearnableSet([f"{name}: {shape}"])
            raw = learn.initial(model.params, model.grid)
            of_raw = lambda r: loss(learn.apply(r, model.params, model.halos, model.grid))  # noqa: B023
            slope = jax.jit(jax.grad(of_raw))(raw)
            total = sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(slope))
            # The raw number is the logarithm: slope times value.
            expected = float(one[name] * model.params[name])
            assert total == pytest.approx(expected, rel=1e-9) and expected != 0, (name, shape)
            if shape == "map":
                assert (np.asarray(slope[name].data)[dry] == 0).all()


@one_rank
def test_orthotropic_diffusivity_has_two_directions(model):
    g = model.grid
    west, south = spread(model, "lateral_diffusivity", "orthotropic")["lateral_diffusivity"]
    _, _, c = example(model)
    fx, fy = lateral.diffusive_fluxes(c, (west, south * 0.0), g)
    one, _ = lateral.diffusive_fluxes(c, model.params["lateral_diffusivity"], g)
    assert (fy.interior == 0).all() and jnp.allclose(fx.interior, one.interior, rtol=1e-12)


@one_rank
def test_viscosity_at_a_coastal_corner_is_that_of_the_water(model):
    from dogcm.physics.coefficients import at_q

    g = model.grid
    value = g.wet_c * 3.0 + (1.0 - g.wet_c) * 1e6
    corners = np.asarray(at_q(value, g).interior)
    assert set(np.unique(np.round(corners, 12))) == {0.0, 3.0}


# ---- priors
@one_rank
def test_prior_of_scalars_and_profiles(model):
    learn = LearnableSet(
        [{"lateral_viscosity": {"prior_sd": 0.5}}, "vertical_diffusivity: profile"]
    )
    raw = learn.initial(model.params, model.grid)
    prior = lambda r: float(learn.prior(r, model.params, model.halos, model.grid))
    assert prior(raw) == 0
    away = raw | {"lateral_viscosity": raw["lateral_viscosity"] + 1.0}
    assert prior(away) == pytest.approx(0.5 * 4)
    away = raw | {"vertical_diffusivity": raw["vertical_diffusivity"] + np.log(2.0)}
    assert prior(away) == pytest.approx(0.5 * (model.grid.nz - 1))


@one_rank
@pytest.mark.parametrize("shape", ["map", "orthotropic"])
def test_prior_of_maps(model, shape):
    """Independent cells count one by one; with a length, area over length squared, and slopes on
    top."""
    g, length = model.grid, 5e5
    for smoothness in (0.0, length):
        learn = LearnableSet(
            [{"lateral_diffusivity": {"shape": shape, "smoothness": smoothness, "prior_sd": 1.0}}]
        )
        raw = learn.initial(model.params, g)
        prior = lambda r: float(learn.prior(r, model.params, model.halos, g))  # noqa: B023
        assert prior(raw) == 0
        maps = (
            [(g.wet_c, g.area_c)] if shape == "map" else [(g.wet_u, g.area_u), (g.wet_v, g.area_v)]
        )
        weight = lambda a: a.interior / length**2 if smoothness else 1.0  # noqa: B023
        level = sum(0.5 * float(jnp.sum(m.interior * weight(a))) for m, a in maps)
        assert prior(jax.tree.map(lambda r: r + 1.0, raw)) == pytest.approx(level, rel=1e-12)
        rough = jax.tree.map(lambda r: r + (-1.0) ** jnp.arange(r.shape[-1]), raw)
        if smoothness:
            # Neighbours differ by two over dx.
            assert prior(rough) > level * (
                1 + 0.5 * (2 * length / float(g.dx_c.interior.max())) ** 2
            )
        else:
            assert prior(rough) == pytest.approx(level)


# ---- ranks
@pytest.mark.mpi(min_size=2)
def test_maps_and_priors_across_ranks():
    """A bumpy map, its halo, and the prior with its slope are those of one rank."""
    items = [
        {"lateral_viscosity": {"shape": "map", "smoothness": 3e5}},
        "lateral_diffusivity: orthotropic",
        "vertical_diffusivity: profile",
        "bottom_drag_linear",
    ]
    learn, comm = LearnableSet(items), world()

    def measure(m: Model):
        raw = learn.initial(m.params, m.grid)
        g, halos = m.grid, m.halos
        bump = jnp.sin(g.lon_c.interior / 7.0) * jnp.cos(g.lat_c.interior / 9.0)
        raw = jax.tree.map(lambda r: r + bump if r.ndim == 2 else r + 0.3, raw)
        wave = jnp.sin(g.lat_c.data / 9.0 + g.lon_c.data / 7.0)
        u, v = (mask * g.lat_c.with_data(wave, mask.at) for mask in (g.mask_u, g.mask_v))

        @jax.jit
        def run(raw):
            value, slope = jax.value_and_grad(lambda r: learn.prior(r, m.params, halos, g))(raw)
            fu, _ = m.dynamics.momentum.friction(u, v, learn.apply(raw, m.params, halos, g), g)
            plain = [halos.psum(slope[n]) for n in ("vertical_diffusivity", "bottom_drag_linear")]
            return halos.psum(value), plain, slope, fu

        value, plain, slope, fu = run(raw)
        maps = [slope["lateral_viscosity"], *slope["lateral_diffusivity"], fu.crop(0)]
        return float(value), plain, [m.gather(f) for f in maps]

    value, plain, maps = measure(Model("two_basin", SMALL, comm=comm))
    reference = (
        measure(Model("two_basin", SMALL, comm=SerialCommunicator())) if comm.rank == 0 else None
    )
    expected, expected_plain, expected_maps = comm.broadcast(reference)
    assert value == pytest.approx(expected, rel=1e-13)
    for a, b in zip(plain, expected_plain):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    if comm.rank == 0:
        for a, b in zip(maps, expected_maps):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13 * np.abs(b).max())
        assert np.abs(expected_maps[-1]).max() > 0
