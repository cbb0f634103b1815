"""Vertical mixing by turbulent kinetic energy, and backgrounds: laws of deepening, budgets,
derivatives, layouts."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vertical_columns as columns
from default_parameters import defaults

from dogcm.components import make
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.field import Field, exchange
from dogcm.io.restart import read_restart, write_restart
from dogcm.learning.derivatives import check_derivatives
from dogcm.operators import lower_z_c2w, upper_z_c2w
from dogcm.physics import background_mixing, tke, vertical_mixing
from dogcm.physics.interfaces import Column
from dogcm.simulation.model import Model

HOUR = 3600.0
DT = 300.0
SMALL = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.nz": 6,
    "physics.vertical_mixing": "tke",
    "time.step": 3600,
    "physics.tidal_mixing": "st_laurent",
    "physics.background_mixing": "bryan_lewis",
}


# ---- one column, through the real step
@pytest.fixture(scope="module")
def column():
    """60 layers of a metre, compiled once; each test starts it anew."""
    return columns.column([1.0] * 60, DT, "tke")


def advance(model, hours: float) -> None:
    model.advance(round(hours * HOUR / DT))


def test_wind_deepens_as_in_the_tank(column):
    """Kato and Phillips (1969): h = 1.05 u* sqrt(t / N), as fitted by Price (1979)."""
    n2, friction = 1e-4, 0.01
    columns.start(column, n2, stress=columns.RHO0 * friction**2)
    for hours in (12, 24, 30):
        advance(column, hours - float(column.state.time) / HOUR)
        law = 1.05 * friction * np.sqrt(hours * HOUR / np.sqrt(n2))
        assert columns.entrainment_depth(column) == pytest.approx(law, rel=0.1)
    # All momentum that went in is in the column.
    momentum = column.gather("u")[:, 1, 1].sum()
    assert momentum == pytest.approx(friction**2 * 30 * HOUR, rel=1e-9)


def test_convection_deepens_by_the_heat_lost(column):
    """h**2 = 2 (1 + 2 A) B t / N2 with the entrainment ratio A between 0 and 0.2."""
    n2, loss = 1e-4, 200.0
    columns.start(column, n2, heat=-loss)
    before = column.gather("temperature")[:, 1, 1]
    advance(column, 48)
    square = columns.entrainment_depth(column) ** 2 / (
        2 * columns.buoyancy_flux(loss) * 48 * HOUR / n2
    )
    assert 1.0 < square < 1.4
    after = column.gather("temperature")[:, 1, 1]
    lost = (before - after).sum() * columns.RHO0 * columns.HEAT_CAPACITY
    assert lost == pytest.approx(loss * 48 * HOUR, rel=1e-9)
    # Well mixed, and untouched below but for the background.
    assert np.ptp(after[3:14]) < 0.1
    np.testing.assert_allclose(after[30:50], before[30:50], atol=1e-6)


def test_restart_is_the_same_run(column, tmp_path):
    columns.start(column, 1e-4, stress=0.1)
    column.advance(6)
    write_restart(tmp_path / "middle.nc", column)
    column.advance(5)
    whole = {n: np.array(column.gather(n)) for n in column.state.variables()}
    assert whole["tke"].max() > 1e-5
    column.state = read_restart(tmp_path / "middle.nc", column)
    column.advance(5)
    for name, values in whole.items():
        np.testing.assert_array_equal(column.gather(name), values, err_msg=name)


# ---- the scheme alone, on an ocean with land
@pytest.fixture(scope="module")
def sea():
    """Two basins with random energy, stratification of either sign, and shear."""
    model = Model("two_basin", SMALL, comm=SerialCommunicator())
    model.params = defaults() | model.params
    rng = np.random.default_rng(3)
    shape = model.grid.mask_cw.interior.shape
    field = lambda v: (
        exchange(model.halos, (Field(jnp.asarray(v), "cw"), 1))[0] * model.grid.mask_cw
    )
    model.random = {
        "e": field(10.0 ** rng.uniform(-5.5, -3, shape)),
        "n2": field(rng.normal(size=shape) * 1e-5 + 1e-5),
        "s2": field(10.0 ** rng.uniform(-8, -4, shape)),
    }
    return model


@jax.jit
def mix(x, q, wind, dt, grid):
    """One step of the energy, and its coefficients."""
    floor = q["vertical_viscosity"], q["vertical_diffusivity"]
    t = tke.turbulence(x["e"], x["n2"], x["s2"], floor, q, grid)
    return t, tke.advance(t, x["n2"], x["s2"], wind, q, grid, dt)


def test_energy_budget(sea):
    """What the energy gains is work of shear and buoyancy, dissipation and the wind's flux, to
    round-off."""
    g, x, dt = sea.grid, sea.random, 900.0
    wind = g.wet_c * 1e-5
    t, new = mix(x, sea.params, wind, dt, g)
    e0, e1, n2, s2, nu, kappa, decay, mask = (
        np.asarray(f.interior)
        for f in (x["e"], new, x["n2"], x["s2"], t.viscosity, t.diffusivity, t.decay, g.mask_cw)
    )
    water = mask > 0
    assert (e1[water] > 1e-6).all() and (e1[~water] == 0).all()
    work = kappa * n2
    rate = (
        nu * s2
        - np.where(work > 0, work * e1 / np.where(water, e0, 1.0), work)
        - decay * (1.5 * e1 - 0.5 * e0)
    )
    h = np.asarray(g.dz_w)
    gained = (h * (e1 - e0) * mask).sum(0) / dt
    entered = (h * rate * mask).sum(0) + mask[0] * float(sea.params["tke_surface_flux"]) * 1e-5
    np.testing.assert_allclose(gained, entered, rtol=1e-10, atol=1e-13 * np.abs(h * e1).max() / dt)


def test_energy_stays_positive_for_any_step(sea):
    for dt in (1e2, 1e5, 1e8):
        _, new = mix(sea.random, sea.params, sea.grid.wet_c * 1e-5, dt, sea.grid)
        wet = np.asarray(sea.grid.mask_cw.interior) > 0
        assert np.isfinite(new.interior).all() and (np.asarray(new.interior)[wet] >= 1e-6).all()


def test_nothing_but_the_background_in_strong_stratification(sea):
    g = sea.grid
    still = {"e": g.mask_cw * 1e-6, "n2": g.mask_cw * 1e-3, "s2": g.mask_cw * 0.0}
    t, new = mix(still, sea.params, g.wet_c * 0.0, HOUR, g)
    for found, name in ((t.viscosity, "viscosity"), (t.diffusivity, "diffusivity")):
        expected = g.mask_cw.crop(found.halo) * sea.params[f"vertical_{name}"]
        np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(new.interior, still["e"].interior)


def test_lengths_are_bounded_by_surface_bottom_and_their_neighbours(sea):
    g = sea.grid
    up, down = jax.jit(tke.lengths)(sea.random["e"] + 1e-6, sea.random["n2"], g)
    up, down, h, mask = (np.asarray(f.interior) for f in (up, down, g.h_c, g.mask_cw))
    edges, slack = np.asarray(sea.vertical.edges)[1:-1, None, None], 1e-5
    height = np.cumsum(h[::-1], 0)[::-1][1:]
    assert ((up <= edges + slack) & (down <= height + slack))[mask > 0].all()
    both = mask[1:] > 0
    assert ((up[1:] - up[:-1] <= h[1:-1] + slack) & (down[:-1] - down[1:] <= h[1:-1] + slack))[
        both
    ].all()
    # They are as long as that allows: without stratification the distances themselves.
    up, down = jax.jit(tke.lengths)(g.mask_cw * 1.0 + 1e-6, g.mask_cw * 0.0, g)
    np.testing.assert_allclose(
        np.asarray(up.interior)[mask > 0], np.broadcast_to(edges, mask.shape)[mask > 0]
    )
    np.testing.assert_allclose(np.asarray(down.interior)[mask > 0], height[mask > 0], rtol=1e-6)


def test_derivatives(sea):
    """Away from kinks the tangent is right, and the adjoint is its transpose."""
    learned = {n: sea.params[n] for n in ("tke_c_k", "tke_c_eps", "tke_alpha", "tke_surface_flux")}
    mask, base = sea.grid.mask_cw, sea.random

    def scaled(x):
        # Directions as large as the values: the logarithm is what varies.
        state = {n: base[n] * (1.0 + 0.1 * x[n]) * mask for n in base}
        q = {**sea.params, **{n: learned[n] * (1.0 + 0.1 * x[n]) for n in learned}}
        t, new = mix(state, q, sea.grid.wet_c * 1e-5, 900.0, sea.grid)
        return [new * 1e5, t.viscosity, t.diffusivity]

    rng = np.random.default_rng(0)
    direction = {n: f.with_data(jnp.asarray(rng.normal(size=f.shape))) for n, f in base.items()}
    direction |= {n: jnp.asarray(rng.normal()) for n in learned}
    report = check_derivatives(
        scaled, jax.tree.map(jnp.zeros_like, direction), direction, decades=3.0
    )
    assert report["finite"].passed and report["dot product"].passed, str(report)
    assert report["finite differences"].passed and report["Taylor decades"].passed, str(report)


def mixed(physics, carried, n2, shear2, now, params, grid):
    """Vertical mixing by the scheme of ``physics``, for one that needs no fluxes."""
    floor = background_mixing.background(n2, params, grid, physics)
    column = Column(n2, shear2, floor, carried, None, now, None, None, None)
    return physics.vertical_mixing.mix(column, params, grid, physics)


def test_gradient_from_a_cold_start(sea):
    """Rest, uniform energy, no wind, the same water everywhere: every leaf of the gradient is
    finite, on land too."""
    names = (
        "tke_c_k",
        "tke_c_eps",
        "tke_alpha",
        "tke_surface_flux",
        "tke_background",
        "vertical_diffusivity",
    )
    g = sea.grid
    flat, one = g.wet_c.crop(2) * 0.0 + 1.0, g.mask_c * 0.0

    def loss(u, v, T, e, taux, q):
        shear2 = vertical_mixing.shear_squared(u, v, g, flat)
        n2 = (upper_z_c2w(T) - lower_z_c2w(T)) * 2e-6
        m = mixed(sea.physics, {"tke": e}, n2, shear2, {"taux": taux}, {**sea.params, **q}, g)
        return sum(jnp.sum(f.data**2) for f in (m.viscosity, m.diffusivity, m.closures["tke"]))

    at_rest = (g.mask_u * 0.0, g.mask_v * 0.0, one, g.mask_cw * 1e-6, g.wet_u.crop(2) * 0.0)
    found = jax.jit(jax.grad(loss, tuple(range(6))))(*at_rest, {n: sea.params[n] for n in names})
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found))
    assert abs(float(found[-1]["tke_c_k"])) > 0


def test_maps_and_profiles_of_coefficients(sea):
    """The same value everywhere is the scalar."""
    g, q = sea.grid, dict(sea.params)
    blank, column = g.wet_c.crop(2) * 0.0, jnp.ones((g.nz - 1, 1, 1))
    maps = {n: blank + q[n] for n in ("tke_alpha", "tke_surface_flux", "vertical_viscosity")}
    profiles = {
        n: column * q[n] for n in ("tke_c_k", "tke_c_eps", "tke_background", "vertical_diffusivity")
    }
    wind = g.wet_c * 1e-5
    _, plain = mix(sea.random, q, wind, 900.0, g)
    _, other = mix(sea.random, {**q, **maps, **profiles}, wind, 900.0, g)
    np.testing.assert_allclose(other.interior, plain.interior, rtol=1e-12)


def test_the_wind_s_flux(sea):
    """Over wet faces, without a direction; it has a derivative in a calm."""
    g = sea.grid
    stress = lambda x, y: {"taux": g.wet_u * x, "tauy": g.wet_v * y}
    cubed = jax.jit(lambda x, y: tke.friction_velocity_cubed(stress(x, y), g, 1000.0).interior)
    found = np.asarray(cubed(0.06, 0.08))
    near = [np.asarray(f.crop(1).data)[1:, 1:] > 0 for f in (g.wet_u, g.wet_v)]
    touched = near[0][:-1, :-1] & near[1][:-1, :-1]
    np.testing.assert_allclose(found[touched], 1e-6, rtol=1e-6)
    assert (found[np.asarray(g.wet_c.interior) == 0] == 0).all()
    calm = jax.jit(jax.grad(lambda x: jnp.sum(cubed(x, 0.0))))(0.0)
    assert np.isfinite(calm) and calm == 0
    assert tke.friction_velocity_cubed({}, g, 1000.0) is None


# ---- background
def test_bryan_lewis(sea):
    """Their numbers: 0.3 cm2 s-1 near the surface, 1.3 in the deep ocean, 0.8 in between."""
    found = np.asarray(
        background_mixing.bryan_lewis(jnp.asarray([0.0, 2500.0, 6000.0]), sea.params)
    )
    above, below = (1.05 / np.pi * np.arctan(4.5e-3 * d) for d in (2500.0, 3500.0))
    np.testing.assert_allclose(found * 1e4, [0.8 - above, 0.8, 0.8 + below])
    assert found[0] == pytest.approx(0.3e-4, abs=0.05e-4) and found[2] == pytest.approx(
        1.3e-4, abs=0.05e-4
    )


def test_tides_do_the_work_that_they_are_given(sea):
    """rho0 K N2 over the column adds up to Gamma E, but for what the layers do not resolve."""
    plain = lambda v, at: Field(jnp.asarray(v), at)
    dz, count = np.full((150, 1, 1), 20.0), 150
    flat = SimpleNamespace(
        z_c=jnp.asarray(np.cumsum(dz, 0) - 10.0),
        dz=jnp.asarray(dz),
        depth_c=plain(np.full((2, 2), 3000.0), "c"),
        mask_cw=plain(np.ones((count - 1, 2, 2)), "cw"),
    )
    tidal = jax.jit(
        lambda n2: background_mixing.tidal(n2, sea.params, flat, columns.RHO0).data[:, 1, 1]
    )
    kappa = tidal(flat.mask_cw * 1e-6)
    work = float(columns.RHO0 * (kappa * 1e-6 * 20.0).sum())
    assert work == pytest.approx(0.2 * 1e-3, rel=0.025)
    assert float(kappa[100] / kappa[125]) == pytest.approx(np.exp(-1.0), rel=1e-6)
    dry = background_mixing.tidal(sea.grid.mask_cw * 0.0, sea.params, sea.grid, 1026.0)
    assert np.isfinite(dry.data).all() and float(dry.data.max()) <= 1e-2


@pytest.mark.parametrize("scheme", ["richardson", "tke"])
def test_background_reaches_every_scheme(sea, scheme):
    """At rest in strong stratification the diffusivity is the profile and the tides' part."""
    g, physics = sea.grid, replace(sea.physics, vertical_mixing=make("vertical_mixing", scheme))
    n2, s2 = g.mask_cw * 1e-3, g.mask_cw * 0.0
    q = {**sea.params, "mixing_richardson": jnp.asarray(0.0)}
    energy = {"tke": g.mask_cw * 1e-6}
    diffusivity = jax.jit(lambda q, g, *a: mixed(physics, energy, *a, {}, q, g).diffusivity)
    expected = background_mixing.bryan_lewis(background_mixing.interface_depths(g), sea.params)
    expected = (background_mixing.tidal(n2, sea.params, g, physics.rho0) + expected) * g.mask_cw
    np.testing.assert_allclose(diffusivity(q, g, n2, s2).interior, expected.interior, rtol=1e-12)


# ---- precision, refusals, layouts
def test_float32_stays_float32():
    model = Model("two_basin", {**SMALL, "run.precision": "float32"}, comm=SerialCommunicator())
    new = jax.eval_shape(model.step, model.state, model.params, model.forcing, model.grid)
    wide = [n for n, f in new.variables().items() if f.dtype != jnp.float32]
    assert not wide and "tke" in new.closures
    assert jax.tree.structure(new) == jax.tree.structure(model.state)


@pytest.mark.parametrize(
    "key, value",
    [
        ("physics.vertical_mixing", "gls"),
        ("physics.background_mixing", "henyey"),
        ("parameters.tke_c_k", 0.0),
        ("parameters.tke_background", 0.0),
        ("parameters.tke_alpha", -1.0),
        ("parameters.bryan_lewis_rate", 0.0),
        ("parameters.tidal_decay", 0.0),
        ("grid.nz", 1),
    ],
)
def test_bad_settings_are_refused(key, value):
    with pytest.raises(ConfigError, match=key.split(".")[1]):
        Model("two_basin", {**SMALL, key: value}, comm=SerialCommunicator())
