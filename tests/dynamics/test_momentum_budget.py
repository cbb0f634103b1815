"""Budgets of velocity and kinetic energy per cell: they close to round-off, and the terms are what
they are called."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.diagnostics.budgets import MOMENTUM_TERMS, kinetic_energy_budget, momentum_budget
from dogcm.diagnostics.variables import Scene, find_variables
from dogcm.field import Field, exchange
from dogcm.operators import mean_x_u2c, mean_y_v2c
from dogcm.simulation.model import Model

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
SMALL = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 4, "time.step": 3600}
SCHEMES = {
    "forward_backward": {
        "physics.vertical_mixing": "kpp",
        "physics.eddies": "visbeck",
        "physics.vertical_advection": {
            "kind": "adaptive",
            "courant_min": 1e-4,
            "courant_max": 2e-4,
        },
    },
    "cd": {
        "physics.coriolis": "cd",
        "time.step": 14400,
        "time.momentum_step": 1800,
        "time.scheme": "ab3",
    },
}
NAMES = [f"{n}_{t}" for n in ("u", "v", "ke") for t in MOMENTUM_TERMS]
MIXING = [
    "vertical_viscosity",
    "vertical_diffusivity",
    "tke",
    "boundary_layer_depth",
    "eddy_diffusivity",
    "buoyancy_work",
]


@pytest.fixture(scope="module", params=SCHEMES)
def step(request):
    """One step of an ocean in motion: the model, kinetic energy before and after, and all variables
    of the step."""
    model = Model("two_basin", SMALL | SCHEMES[request.param], comm=SerialCommunicator())
    rng, g = np.random.default_rng(0), model.grid
    noise = lambda f, m, size: f.with_data(
        (f.data + size * rng.normal(size=f.shape)) * np.asarray(m.interior)
    )
    s = model.state
    state = s.replace(
        u=noise(s.u, g.mask_u, 0.05), v=noise(s.v, g.mask_v, 0.05), eta=noise(s.eta, g.wet_c, 0.05)
    )
    push = noise(s.u, g.mask_u, 1e-6), noise(s.v, g.mask_v, 1e-6)
    object.__setattr__(model.dynamics, "extra_tendency", lambda *_: dict(zip("uv", push)))

    def energy(s, g):
        u, v = exchange(model.halos, (s.u, 1), (s.v, 1))
        u, v = u * g.mask_u, v * g.mask_v
        return (mean_x_u2c(u * u) + mean_y_v2c(v * v)) * 0.5 * g.mask_c

    @jax.jit
    def run(state, params, forcing, grid):
        d = model.dynamics
        state = d.step(state, params, forcing, grid)
        new, fluxes, parts = d.step_with_parts(state, params, forcing, grid)
        scene = Scene(new, fluxes, d, params, forcing, grid, state, parts)
        found = {v.name: v.compute(scene).interior for v in find_variables(NAMES + MIXING)}
        rate = (energy(new, grid) - energy(state, grid)) * (1.0 / d.physics.momentum_dt)
        return found, rate.interior, new.u.interior

    found, rate, u = jax.tree.map(np.asarray, run(state, model.params, model.forcing, model.grid))
    return model, found, rate, u


@pytest.mark.parametrize("quantity", ["u", "v", "ke"])
def test_budgets_close_in_every_cell(step, quantity):
    model, found, rate, _ = step
    own = {t: found[f"{quantity}_{t}"] for t in MOMENTUM_TERMS}
    largest = max(np.abs(f).max() for f in own.values())
    rest = sum(f for t, f in own.items() if t != "tendency")
    np.testing.assert_allclose(rest, own["tendency"], atol=1e-12 * largest, rtol=0)
    silent = {"surface_stress"} if quantity == "v" else set()  # the wind is zonal
    assert all(np.abs(f).max() > 1e-6 * largest for t, f in own.items() if t not in silent), (
        quantity
    )
    if quantity == "ke":
        np.testing.assert_allclose(own["tendency"], rate, atol=1e-12 * np.abs(rate).max())


def test_terms_are_what_they_are_called(step):
    """The wind's stress, and friction that only redistributes momentum within a column."""
    model, found, _, _ = step
    g, q = model.grid, found
    h = np.asarray(g.h_u.interior)
    stress = np.asarray(model.forcing.at(jnp.asarray(5400.0))["taux"].interior) * np.asarray(
        g.wet_u.interior
    )
    applied = (q["u_surface_stress"] * h).sum(0)
    np.testing.assert_allclose(applied, stress / model.physics.rho0, rtol=2e-2, atol=1e-12)
    assert (q["u_surface_stress"][1:] == 0).all()
    friction = q["u_vertical_friction"]
    assert np.abs((friction * h).sum(0)).max() < 1e-3 * np.abs(friction * h).max()
    for name in ("u", "v"):
        assert not q[f"{name}_bottom_drag"][
            np.asarray(getattr(g, f"bottom_{name}").interior) == 0
        ].any()


def test_mixing_variables(step):
    """They are there for every scheme, finite, and in their bounds."""
    model, found, _, _ = step
    water = np.asarray(model.grid.mask_cw.interior) > 0
    wet = np.asarray(model.grid.wet_c.interior) > 0
    assert all(np.isfinite(found[n]).all() for n in MIXING)
    assert (found["vertical_viscosity"][water] > 0).all() and (
        found["vertical_diffusivity"][water] > 0
    ).all()
    depth, total = found["boundary_layer_depth"], np.asarray(model.grid.depth_c.interior)
    assert (depth[wet] >= 20.0).all() and (depth <= total + 1e-9).all() and (depth[~wet] == 0).all()
    eddies = found["eddy_diffusivity"]
    if model.physics.eddies is None:
        assert not eddies.any()
    else:
        assert (
            (eddies[wet] >= 100.0).all() and (eddies <= 2500.0).all() and (eddies[~wet] == 0).all()
        )
    assert not found["tke"].any() and np.abs(found["buoyancy_work"]).max() > 0


def test_energy_of_one_face_needs_no_approximation(step):
    """Work by the mean of old and new velocity is the change of the square."""
    model = step[0]
    s = model.state
    one = lambda v: s.replace(u=s.u.with_data(jnp.full(s.u.shape, v) * model.grid.mask_u.interior))
    terms = {t: (s.u * 0.0, s.v * 0.0) for t in MOMENTUM_TERMS[1:]}
    budget = momentum_budget(one(0.1), one(0.4), terms, model.grid, 10.0)
    energy = kinetic_energy_budget(one(0.1), one(0.4), budget, model.halos, model.grid)["tendency"]
    inner = np.asarray(
        mean_x_u2c(Field(model.grid.mask_u.data, "u", model.grid.mask_u.halo)).interior
    )
    wet = np.asarray(model.grid.mask_c.interior)
    np.testing.assert_allclose(
        energy.interior, 0.5 * (0.4**2 - 0.1**2) / 10.0 * inner * wet, atol=1e-12
    )
