"""An ocean under bulk formulae, with ice, light and rivers: budgets, limits, restart, precision,
slopes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_air import SMALL, write_air

from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.diagnostics.variables import Scene, find_variables
from dogcm.dynamics.continuity import stretch_c
from dogcm.halo import exact_sum
from dogcm.io.restart import read_restart, write_restart
from dogcm.physics.surface import ice, imbalance
from dogcm.simulation.model import Model

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
STEPS = 60
# Compiling takes longer than all steps here.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    """After five days from rest; ``budget``: of ocean and ice together over these days, (water,
    heat, salt)."""
    model = Model(
        "two_basin",
        {**SMALL, **write_air(tmp_path_factory.mktemp("air"))},
        comm=SerialCommunicator(),
    )
    before = content(model, model.state)
    compiled = quick_jit(lambda s, count, f, g: with_external(model, s, count, f, g))
    model.go = lambda state, count, forcing=model.forcing: compiled(
        state, count, forcing, model.grid
    )
    model.state, entered = model.go(model.state, STEPS)
    model.budget = before, content(model, model.state), np.asarray(exact_sum(model.halos, *entered))
    return model


def content(model, state) -> np.ndarray:
    """Water (m3), heat (K m3) and salt of ocean and ice, as :mod:`dogcm.physics.surface.ice`
    defines them."""
    p, area = model.physics, model.grid.area_c.interior
    volume = (model.grid.h_c * stretch_c(state.eta, model.grid)).interior * area
    crystals = state.closures["ice_frazil"].interior
    water = state.closures["ice_thickness"].interior * (ice.DENSITY / p.rho0)
    all_ice = water + crystals * (ice.DENSITY / p.rho0)
    t, s = state.temperature.interior, state.salinity.interior
    sea = volume, volume * t, volume * s
    frozen = water * area, -all_ice * area * (ice.FUSION / p.heat_capacity), 4.0 * water * area
    sums = np.asarray(exact_sum(model.halos, *sea, *frozen))
    return sums[:3] + sums[3:]


def with_external(model, state, count, forcing, grid):
    """Steps, and what came from outside: air, rivers and restoring."""
    d, p, area = model.dynamics, model.physics, grid.area_c.interior * model.physics.dt

    def one(_, carry):
        state, water, heat, salt = carry
        s, now = d.with_halos(state, grid), forcing.at(state.time + 0.5 * p.dt)
        driven = d.surface(s, now, stretch_c(s.eta, grid), model.params, grid)
        parts, fluxes = driven.parts, driven.fluxes
        melt = (state.closures["ice_thickness"] - fluxes.closures["ice_thickness"]) * (
            ice.DENSITY / p.rho0 / p.dt
        )
        external = fluxes.freshwater.crop(0) - melt
        snow = now["snowfall"].crop(0) * (-p.rho0 * ice.FUSION)
        q = sum((parts[n] for n in ("sensible", "latent", "longwave", "shortwave")), snow)
        q = q * (1.0 / (p.rho0 * p.heat_capacity)) * grid.wet_c + external * s.temperature.level(0)
        restoring = fluxes.salt.crop(0) - melt * 4.0
        add = lambda total, f: total + f.interior * area
        return (
            d.step(state, model.params, forcing, grid),
            add(water, external),
            add(heat, q),
            add(salt, restoring),
        )

    zero = jnp.zeros(area.shape)
    state, *entered = jax.lax.fori_loop(0, count, one, (state, zero, zero, zero))
    return state, entered


@one_rank
def test_ocean_and_ice_together_keep_heat_water_and_salt(sea):
    before, after, entered = sea.budget
    residual = np.abs(after - before - entered) / np.abs(before)
    assert (residual < 2e-14).all(), residual
    assert (np.abs(entered) > 1e-9 * np.abs(before))[1:].all() and sea.gather(
        "ice_thickness"
    ).max() > 0.05


@one_rank
def test_balanced_fresh_water_adds_up_to_nothing(sea):
    """Rain, rivers and evaporation cancel; what ice takes from the sea is not counted."""
    before, _, entered = sea.budget
    assert abs(entered[0]) < 1e-18 * before[0]
    seen = np.abs(np.asarray(sea.forcing.records["runoff"].data)).max()
    assert seen > 0


@one_rank
def test_balanced_restoring_makes_no_salt():
    """Without other water or salt, all that restoring does is move it; without balance it brings
    some."""
    made = {}
    for balanced in (True, False):
        model = Model(
            "two_basin",
            {"grid.nx": 18, "grid.ny": 12, "forcing.balance_salt": balanced},
            comm=SerialCommunicator(),
        )
        before, first = model.monitor(model.state, model.grid).salt, model.gather("salinity")
        model.advance(10)
        made[balanced] = abs(model.monitor(model.state, model.grid).salt / before - 1.0)
        moved = np.abs(model.gather("salinity")[0] - first[0]).max()
        assert moved > 1e-4
    assert made[True] < 1e-14 < 1e-10 < made[False]


@one_rank
def test_water_is_nowhere_colder_than_freezing_and_ice_only_where_it_is_cold(sea):
    t, s = sea.gather("temperature")[0], sea.gather("salinity")[0]
    wet = np.asarray(sea.grid.wet_c.interior) > 0
    room = (t - np.asarray(ice.freezing_point(jnp.asarray(s))))[wet]
    assert room.min() > -1e-14 and (room < 1e-3).any()
    thick, lat = sea.gather("ice_thickness"), np.asarray(sea.grid.lat_c.interior)
    assert (thick >= 0).all() and thick[np.abs(lat) < 40].max() == 0
    assert all(np.isfinite(sea.gather(n)).all() for n in sea.state.variables())


@one_rank
def test_ice_that_grows_in_place_moves_no_water(sea):
    """Its weight stands in for the water it took: sea level and ice together are level where
    nothing else acts."""
    blank = jax.tree.map(lambda f: f * 0.0, sea.state.u)
    lat = sea.grid.lat_c.crop(0)
    h = lat.with_data(0.5 + 0.5 * jnp.sin(lat.data) ** 2) * sea.grid.wet_c.crop(0)
    eta = h * (-ice.DENSITY / sea.physics.rho0)
    flat = {
        n: f.with_data(jnp.ones_like(f.data) * v) * sea.grid.mask_c.crop(0)
        for (n, f), v in zip(sea.state.tracers.items(), (2.0, 34.0))
    }
    state = sea.state.replace(
        u=blank,
        v=sea.state.v * 0.0,
        tracers=flat,
        history_u=tuple(f * 0.0 for f in sea.state.history_u),
        history_v=tuple(f * 0.0 for f in sea.state.history_v),
    )
    calm = jax.tree.map(lambda x: x * 0.0, sea.forcing)
    speed = {}
    for name, level in (("floating", eta), ("hung up", eta * 0.0)):
        after, _ = sea.go(
            state.replace(eta=level, closures={**state.closures, "ice_thickness": h}), 1, calm
        )
        speed[name] = max(float(jnp.abs(f.data).max()) for f in (after.u, after.v))
    # The rest: where the sea is denser than rho0, it is not the mass that is replaced by its equal.
    assert speed["floating"] < 0.1 * speed["hung up"] and speed["hung up"] > 1e-4, speed


@one_rank
def test_output_variables(sea):
    names = [
        "sensible_heat_flux",
        "latent_heat_flux",
        "longwave_flux",
        "shortwave_flux",
        "evaporation",
        "heat_flux",
        "ice_thickness",
        "ice_concentration",
        "taux",
    ]

    def values(state, forcing, grid):
        scene = Scene(state, None, sea.dynamics, sea.params, forcing, grid)
        scene.fluxes = scene.driven.fluxes
        means = imbalance(scene.fluxes, sea.halos, grid, sea.physics)
        return {v.name: v.compute(scene).interior for v in find_variables(names)}, means

    found, (heat, water) = quick_jit(values)(sea.state, sea.forcing, sea.grid)
    open_sea = (np.asarray(found["ice_concentration"]) == 0) & (
        np.asarray(sea.grid.wet_c.interior) > 0
    )
    parts = sum(found[n] for n in names[:4])
    warm = open_sea & (np.abs(np.asarray(sea.grid.lat_c.interior)) < 30)  # no snow
    np.testing.assert_allclose(found["heat_flux"][warm], parts[warm], atol=1e-9)
    assert np.abs(parts[warm]).max() > 50 and 0 < np.asarray(found["ice_concentration"]).max() < 1
    assert float(np.abs(found["taux"]).max()) > 0.02
    area = np.asarray((sea.grid.area_c * sea.grid.wet_c).interior)
    mean = float((np.asarray(found["heat_flux"]) * area).sum() / area.sum())
    assert float(heat) == pytest.approx(mean, rel=1e-9)
    assert abs(float(water)) < 1e-7


@one_rank
def test_restart_goes_on_to_the_bit(sea, tmp_path):
    path = write_restart(tmp_path / "restart.nc", sea)
    expected, _ = sea.go(sea.state, 3)
    found, _ = sea.go(read_restart(path, sea), 3)
    for name, field in expected.variables().items():
        np.testing.assert_array_equal(
            found.variables()[name].interior, field.interior, err_msg=name
        )
    assert "ice_thickness" in expected.variables()


@one_rank
def test_gradient_is_finite_from_a_cold_start(sea):
    """No ice, no motion, land: every leaf of tracers, ice and parameters."""
    d, g = sea.dynamics, sea.grid
    chosen = {
        n: v for n, v in sea.params.items() if n.startswith(("bulk", "ice", "ocean", "shortwave"))
    }
    now = sea.forcing.at(sea.state.time)

    def loss(tracers, ice_state, params):
        state = sea.state.replace(
            tracers=tracers, closures=ice_state, u=sea.state.u * 0.0, v=sea.state.v * 0.0
        )
        s = d.with_halos(state, g)
        out = d.surface(s, now, stretch_c(s.eta, g), {**sea.params, **params}, g)
        warm, frozen = d._freeze(tracers, out.fluxes, state.eta, g)
        leaves = jax.tree.leaves((out.fluxes, out.now["taux"], out.now["ice_load"], warm, frozen))
        return sum(jnp.sum(x**2) for x in leaves)

    cold = {n: f * 0.0 for n, f in sea.state.closures.items()}
    slopes = quick_jit(jax.grad(loss, (0, 1, 2)))(sea.state.tracers, cold, chosen)
    assert all(bool(jnp.isfinite(s).all()) for s in jax.tree.leaves(slopes))
    assert all(
        float(slopes[2][n]) != 0
        for n in ("bulk_heat_factor", "ocean_albedo", "shortwave_red_depth")
    )


@one_rank
def test_single_precision_stays_single(sea):
    """By types alone: nothing widens."""
    narrow = lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x
    single = lambda tree: jax.tree.map(narrow, tree)
    d, g = sea.dynamics, single(sea.grid)

    def surface(state, params, forcing):
        s = d.with_halos(state, g)
        out = d.surface(s, forcing.at(state.time), stretch_c(s.eta, g), params, g)
        return out, d._freeze(state.tracers, out.fluxes, state.eta, g)

    state = single(sea.state).replace(time=sea.state.time)
    found = jax.tree.leaves(jax.eval_shape(surface, state, single(sea.params), single(sea.forcing)))
    assert len(found) > 15 and {x.dtype for x in found} == {jnp.dtype("float32")}
