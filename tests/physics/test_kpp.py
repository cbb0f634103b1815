"""K-profiles: laws of deepening, conservation of what does not follow gradients, limits,
derivatives, layouts."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vertical_columns as columns

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field, exchange
from dogcm.learning.derivatives import check_derivatives
from dogcm.operators import diff_z_w2c
from dogcm.physics import kpp
from dogcm.physics.interfaces import Column
from dogcm.simulation.model import Model
from dogcm.verification import verify

HOUR, DT = 3600.0, 600.0
SMALL = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.nz": 6,
    "physics.vertical_mixing": "kpp",
    "time.step": 3600,
}
LEARNED = (
    "kpp_critical_richardson",
    "kpp_unresolved_shear",
    "kpp_nonlocal",
    "kpp_shear_mixing",
    "kpp_shear_richardson",
)
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


# ---- one column, through the real step
@pytest.fixture(scope="module")
def column():
    """40 layers of a metre, compiled once; each test starts it anew. Limits act where the sea gains
    buoyancy only."""
    return columns.column([1.0] * 40, DT, {"kind": "kpp", "limits": True})


def advance(model, hours: float) -> None:
    model.advance(round(hours * HOUR / DT))


@one_rank
def test_wind_deepens_as_in_the_tank(column):
    """Kato and Phillips (1969): h = 1.05 u* sqrt(t / N), as fitted by Price (1979); KPP is some 10
    % deeper."""
    n2, friction = 1e-4, 0.01
    columns.start(column, n2, stress=columns.RHO0 * friction**2)
    before = column.gather("temperature")[:, 1, 1]
    for hours in (8, 16):
        advance(column, hours - float(column.state.time) / HOUR)
        law = 1.05 * friction * np.sqrt(hours * HOUR / np.sqrt(n2))
        assert columns.entrainment_depth(column) == pytest.approx(1.08 * law, rel=0.12)
    assert column.gather("u")[:, 1, 1].sum() == pytest.approx(friction**2 * 16 * HOUR, rel=1e-9)
    assert column.gather("temperature")[:, 1, 1].sum() == pytest.approx(before.sum(), rel=1e-13)


def convection(model, loss: float) -> tuple[float, float, float]:
    """Heat gained (K m) in 36 hours of cooling; then of the last 18 hours, in threes: entrainment,
    and how much colder
    water is above than below within the mixed layer (K)."""
    columns.start(model, 1e-4, heat=-loss)
    first = model.gather("temperature")[:, 1, 1]
    advance(model, 18)
    entering = -loss / (columns.RHO0 * columns.HEAT_CAPACITY) * 6 * HOUR
    ratios, colder = [], []
    for _ in range(3):
        before = model.gather("temperature")[:, 1, 1]
        advance(model, 6)
        after = model.gather("temperature")[:, 1, 1]
        # What passed each level upwards over what left through the surface; A of the linear
        # profile, from 1 to -A at the foot, that does the same work: of layers a metre thick, one
        # or two hold all of the negative flux.
        flux = 1.0 - np.cumsum(after - before) / entering
        ratios.append(1.0 - 2.0 * (0.5 + flux.sum()) / columns.entrainment_depth(model))
        colder.append(after[12] - after[4])
        assert flux.min() < -0.03
    return (after - first).sum(), float(np.mean(ratios)), float(np.mean(colder))


@one_rank
def test_convection_entrains_a_fifth_of_what_is_lost(column):
    """Large et al. built V_t for an entrainment flux of -0.2 of that through the surface."""
    gained, entrainment, colder = convection(column, 200.0)
    assert gained == pytest.approx(
        -200.0 / (columns.RHO0 * columns.HEAT_CAPACITY) * 36 * HOUR, rel=1e-9
    )
    assert 0.1 < entrainment < 0.25
    square = columns.entrainment_depth(column) ** 2 / (
        2 * columns.buoyancy_flux(200.0) * 36 * HOUR / 1e-4
    )
    assert 1.1 < square < 1.4
    # Without transport that knows no gradient, the flux needs water that is colder above.
    column.params, kept = {**column.params, "kpp_nonlocal": jnp.asarray(0.0)}, column.params
    alone = convection(column, 200.0)
    column.params = kept
    assert (
        alone[0] == pytest.approx(gained, rel=1e-9)
        and alone[2] > 5e-3
        and abs(colder) < 0.4 * alone[2]
    )


@one_rank
def test_warming_holds_the_wind_s_layer_shallow(column):
    """All heat stays above the Monin-Obukhov length; wind alone takes it twice as deep (above)."""
    friction, heat, kept = 0.01, 400.0, column.params
    length = friction**3 / (0.4 * columns.buoyancy_flux(heat))
    column.params = {**kept, "kpp_shear_mixing": jnp.asarray(0.0)}  # nothing mixes below
    columns.start(column, 1e-4, stress=columns.RHO0 * friction**2, heat=heat)
    before = column.gather("temperature")[:, 1, 1]
    advance(column, 16)
    column.params = kept
    gained = column.gather("temperature")[:, 1, 1] - before
    entered = heat / (columns.RHO0 * columns.HEAT_CAPACITY) * 16 * HOUR
    assert gained.sum() == pytest.approx(entered, rel=1e-9)
    assert np.abs(gained[int(length) + 1 :]).sum() < 1e-2 * entered
    # Mixed well above it, and not by warming from above alone.
    assert gained[: int(0.6 * length)].min() > 0.5 * entered / length


# ---- the scheme alone, on an ocean with land
@pytest.fixture(scope="module")
def sea():
    """Two basins with random stratification of either sign, flow, wind, and fluxes of either
    sign."""
    model = Model("two_basin", SMALL, comm=SerialCommunicator())
    g, rng = model.grid, np.random.default_rng(3)

    def field(values, at, mask):
        return exchange(model.halos, (Field(jnp.asarray(values), at), 2))[0] * mask

    deep, flat = g.h_c.interior.shape, g.wet_c.interior.shape
    z = np.asarray(model.vertical.edges)[1:-1, None, None]
    model.random = {
        "n2": field(
            3e-5 * np.exp(-z / 300.0) * (0.6 + rng.normal(size=g.mask_cw.interior.shape)),
            "cw",
            g.mask_cw,
        ),
        "s2": field(10.0 ** rng.uniform(-8, -4, g.mask_cw.interior.shape), "cw", g.mask_cw),
        "u": field(0.2 * rng.normal(size=deep), "u", g.mask_u),
        "v": field(0.2 * rng.normal(size=deep), "v", g.mask_v),
        "friction": field(10.0 ** rng.uniform(-3, -1.7, flat), "c", 1.0),
        "buoyancy": field(1e-7 * rng.normal(size=flat), "c", g.wet_c),
        "light": field(np.exp(-z / 30.0) * rng.uniform(0, 2e-5, flat), "cw", g.mask_cw),
    }
    return model


def mix(x, q, g, physics, light: bool = True) -> kpp.Profiles:
    expansion = x["buoyancy"] * 0.0 + 2e-3
    drive = kpp.Driving(
        x["u"],
        x["v"],
        x["friction"].crop(1),
        x["buoyancy"].crop(1),
        expansion.crop(1),
        x["light"].crop(1) if light else None,
    )
    floor = q["vertical_viscosity"], q["vertical_diffusivity"]
    column = Column(x["n2"], x["s2"], floor, {}, None, {}, None, None, None)
    return kpp.profiles(column, drive, q, g, physics)


@one_rank
def test_depth_where_it_is_known(sea):
    """Calm, cooled, N uniform: Ri_b = N2 d / (C d N w_s) with w_s as the cube root of depth, so h
    is known."""
    g, n2, buoyancy = sea.grid, 1e-5, -1e-7
    x = {n: f * 0.0 for n, f in sea.random.items()}
    x |= {"n2": g.mask_cw * n2, "friction": x["friction"] + 1e-5, "buoyancy": g.wet_c * buoyancy}
    ri = jax.jit(
        lambda x: kpp.bulk_richardson(
            x["n2"].crop(1),
            kpp.Driving(x["u"], x["v"], None, None, None, None),
            x["friction"].crop(1),
            x["buoyancy"].crop(1),
            sea.params,
            g,
            1,
        )
    )(x)
    z = np.asarray(g.z_c)[:, 0, 0]
    scale = 0.4 * np.cbrt(98.96 * 0.4 * 0.1 * z * -buoyancy)
    hidden = 1.8 / 0.3 * np.sqrt(0.2 / 9.896) / 0.16 * z * np.sqrt(n2) * scale
    wet = np.asarray(g.mask_c.interior)[1:-1] > 0
    expected = np.broadcast_to((n2 * (z - z[0]) * z / (hidden + 1e-6))[1:-1, None, None], wet.shape)
    # Partial cells and the last interface apart, where N is another.
    full = wet & (np.asarray(g.mask_cw.interior)[1:] > 0)
    np.testing.assert_allclose(np.asarray(ri.interior)[1:-1][full], expected[full], rtol=1e-4)
    # Linear between centres; a layer that nothing stops reaches the bottom, and none is thinner
    # than half a layer.
    ramp = g.mask_c * 0.0 + g.z_c * 1e-3
    for critical, found in ((0.5, 500.0), (1e-9, z[0])):
        depth = np.asarray(kpp.boundary_layer_depth(ramp, critical, g).interior)
        deep = np.asarray(g.depth_c.interior) > 1000.0
        np.testing.assert_allclose(depth[deep], found, rtol=1e-12)
    bottom = kpp.boundary_layer_depth(
        ramp * 0.0, 0.3, g
    )  # also where a partial cell ends above its layer's centre
    water = np.asarray(g.wet_c.interior) > 0
    np.testing.assert_allclose(
        np.asarray(bottom.interior)[water], np.asarray(g.depth_c.interior)[water]
    )


@one_rank
def test_limits(sea):
    """Monin-Obukhov and Ekman, where the sea gains buoyancy; nothing where it loses it."""
    g = sea.grid
    flat = lambda v: g.wet_c.crop(1) * 0.0 + v
    shallow = lambda h, u, b: np.asarray(kpp.limited(flat(h), flat(u), flat(b), g).interior)
    np.testing.assert_allclose(shallow(300.0, 0.01, -1e-7), 300.0)
    f = np.abs(np.asarray(0.5 * (g.f_q.crop(1).data[1:-1, 1:-1] + g.f_q.crop(1).data[2:, 1:-1])))
    expected = np.minimum(0.02**3 / (0.4 * 1e-7), 0.7 * 0.02 / np.maximum(f, 1e-9))
    np.testing.assert_allclose(
        shallow(1e4, 0.02, 1e-7), np.maximum(expected, 0.5 * float(g.dz[0, 0, 0])), rtol=1e-9
    )
    assert (np.abs(shallow(60.0, 0.01, 1e-12) - 60.0) < 1.0).all()  # it comes in without a jump


@one_rank
def test_velocity_scales_are_continuous():
    """The published forms, to the rounding of their constants; kappa u* where neutral; free
    convection in a calm."""
    for which, limit in ((kpp._MOMENTUM, 0.2), (kpp._TRACER, 1.0)):
        at = lambda zeta, u=0.01, which=which: float(
            kpp.velocity_scale(jnp.asarray(u), jnp.asarray(zeta * u**3), which)
        )
        assert at(0.0) == pytest.approx(0.004) and at(-1e-9) == pytest.approx(at(1e-9), rel=1e-6)
        assert at(-limit * 0.99999) == pytest.approx(at(-limit * 1.00001), rel=5e-3)
        assert at(1.0) == pytest.approx(0.004 / 6)
        calm = float(kpp.velocity_scale(jnp.asarray(1e-5), jnp.asarray(-1e-7), which))
        assert calm == pytest.approx(0.4 * np.cbrt(which[1] * 1e-7), rel=1e-4)


@one_rank
def test_profiles_match_the_interior(sea):
    """Below the foot the interior's coefficients to the bit; nothing is carried where the sea gains
    buoyancy."""
    g, q, p = sea.grid, sea.params, sea.physics

    @jax.jit
    def run(x, g):
        inner = kpp.interior(
            x["n2"],
            x["s2"],
            (q["vertical_viscosity"], q["vertical_diffusivity"]),
            q,
            p.convection,
        )
        return mix(x, q, g, p), inner

    found, inner = run(sea.random, g)
    d = np.asarray(g.z_c[:-1] + 0.5 * g.dz[:-1])
    h, mask = np.asarray(found.depth.interior), np.asarray(g.mask_cw.interior)
    below = (d >= h) & (mask > 0)
    assert below.any() and ((d < h) & (mask > 0)).any()
    for k, k_inner in ((found.viscosity, inner[0]), (found.diffusivity, inner[1])):
        np.testing.assert_array_equal(
            np.asarray(k.interior)[below], np.asarray(k_inner.interior)[below]
        )
        assert np.isfinite(k.data).all() and (np.asarray(k.data) >= 0).all()
    share, gains = (
        np.asarray(found.share.interior),
        np.asarray(sea.random["buoyancy"].interior) > 1e-7,
    )
    assert (
        (share[:, gains] == 0).all() and 0.3 < share.max() < 1.0 and (share[mask == 0] == 0).all()
    )
    moved = np.asarray(diff_z_w2c(found.share).data).sum(0)
    np.testing.assert_allclose(moved, 0.0, atol=1e-15)


@one_rank
def test_derivatives(sea):
    """Away from kinks the tangent is right, and the adjoint is its transpose."""
    learned, base = {n: sea.params[n] for n in LEARNED}, sea.random

    def scaled(x):
        state = {n: base[n] * (1.0 + 1e-2 * x[n]) for n in base}
        q = {**sea.params, **{n: learned[n] * (1.0 + 1e-2 * x[n]) for n in learned}}
        found = mix(state, q, sea.grid, sea.physics)
        return [found.depth * 1e-3, found.viscosity, found.diffusivity, found.share]

    rng = np.random.default_rng(0)
    direction = {n: f.with_data(jnp.asarray(rng.normal(size=f.shape))) for n, f in base.items()}
    direction |= {n: jnp.asarray(rng.normal()) for n in learned}
    report = check_derivatives(
        scaled,
        jax.tree.map(jnp.zeros_like, direction),
        direction,
        decades=2.0,
        ladder=tuple(10.0**-k for k in range(2, 9)),
    )
    assert report["finite"].passed and report["dot product"].passed, str(report)
    assert report["finite differences"].passed and report["Taylor decades"].passed, str(report)


@one_rank
def test_gradient_from_a_cold_start(sea):
    """Rest, no flux, the same water everywhere: every leaf of the gradient is finite, on land
    too."""
    g, physics = sea.grid, replace(sea.physics, vertical_mixing=kpp.KPP(layers=1, limits=True))
    x = {n: f * 0.0 for n, f in sea.random.items()} | {
        "friction": sea.random["friction"] * 0.0 + 1e-5
    }

    def loss(x, q):
        m = mix(x, {**sea.params, **q}, g, physics)
        return sum(jnp.sum(f.data**2) for f in (m.viscosity, m.diffusivity, m.share)) + jnp.sum(
            m.depth.data
        )

    found = jax.jit(jax.grad(loss, (0, 1)))(x, {n: sea.params[n] for n in LEARNED})
    assert all(bool(jnp.isfinite(v).all()) for v in jax.tree.leaves(found))


@one_rank
def test_maps_and_profiles_of_coefficients(sea):
    """The same value everywhere is the scalar."""
    g, q = sea.grid, dict(sea.params)
    blank = g.wet_c.crop(2) * 0.0
    maps = {n: blank + q[n] for n in LEARNED[:3]}
    profiles = {n: jnp.ones((g.nz - 1, 1, 1)) * q[n] for n in LEARNED[3:]}
    run = jax.jit(lambda q, g: mix(sea.random, q, g, sea.physics))
    for one, other in zip(
        jax.tree.leaves(run(q, g)), jax.tree.leaves(run({**q, **maps, **profiles}, g))
    ):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-18)


# ---- whole ocean
@one_rank
def test_ten_days_of_an_ocean_conserve_heat_and_salt():
    model = Model("two_basin", {**SMALL, "grid.nx": 18, "grid.ny": 12}, comm=SerialCommunicator())
    like = model.forcing.records["sst"]
    rain = like.with_data(
        like.data * 0.0 + 1e-7 * jnp.cos(model.grid.lat_c.crop(like.halo).data / 9.0) + 3e-8
    )
    model.forcing = replace(
        model.forcing, records={**model.forcing.records, "freshwater_flux": rain}
    )
    figures = verify.budget_figures(model, 240)
    assert all(f.passed for f in figures), figures


@one_rank
def test_float32_stays_float32():
    model = Model("two_basin", {**SMALL, "run.precision": "float32"}, comm=SerialCommunicator())
    new = jax.eval_shape(model.step, model.state, model.params, model.forcing, model.grid)
    assert not [n for n, f in new.variables().items() if f.dtype != jnp.float32]
    assert jax.tree.structure(new) == jax.tree.structure(model.state)


@one_rank
@pytest.mark.parametrize(
    "key, value",
    [
        ("parameters.kpp_critical_richardson", 0.0),
        ("parameters.kpp_unresolved_shear", -1.0),
        ("parameters.kpp_nonlocal", 20.0),
        ("parameters.kpp_shear_richardson", 0.0),
        ("grid.nz", 2),
    ],
)
def test_bad_settings_are_refused(key, value):
    with pytest.raises(ConfigError, match=key.split(".")[1]):
        Model("two_basin", {**SMALL, key: value}, comm=SerialCommunicator())
