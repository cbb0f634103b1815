"""Laplacian friction with walls of any height, no-slip bottom, and pressure by density linear
between centres."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator
from dogcm.dynamics.pressure import hydrostatic_pressure
from dogcm.field import Field, exchange
from dogcm.learning.derivatives import check_derivatives
from dogcm.operators import mean_x_q2v, mean_y_q2u
from dogcm.physics import laplacian
from dogcm.physics.coefficients import at_u
from dogcm.setups import inputs
from dogcm.simulation.model import Model

NX, NY, LAYERS = 10, 12, [50.0, 80.0, 120.0]
DX, DY, A = 2e4, 3e4, 500.0


@pytest.fixture(scope="module")
def rough() -> Model:
    """A plane with partial cells everywhere at the bottom."""
    rng = np.random.default_rng(1)
    model = Model(
        {
            "name": "plane",
            "grid": {"kind": "cartesian", "nx": NX, "ny": NY, "dx": DX, "dy": DY, "layers": LAYERS},
            "bathymetry": {"source": "flat", "depth": 250.0},
        },
        {"physics.equation_of_state": "linear"},
        comm=SerialCommunicator(),
    )
    depth = rng.uniform(60.0, 250.0, (NY, NX)) * (rng.uniform(size=(NY, NX)) > 0.1)
    edges = inputs.vertical_grid(model.config).edges
    cells = np.clip(depth - edges[:-1, None, None], 0.0, np.asarray(LAYERS)[:, None, None])
    from dogcm.decomp import Halo
    from dogcm.grid.geometry import build_grid

    model.rough = build_grid(
        model.horizontal, model.vertical, model.decomposition, cells, 2, Halo.of(3)
    )
    return model


def filled(model, values, at, grid):
    mask = grid.mask_u if at == "u" else grid.mask_v
    return (
        exchange(model.halos, (Field(jnp.broadcast_to(values, (3, NY, NX)) * 1.0, at), 2))[0] * mask
    )


def test_polynomials_away_from_walls(rough):
    """Flat bottom: none for uniform shear, 2 A for a parabola, to round-off."""
    g = rough.grid
    y = (np.arange(NY) + 0.5)[:, None] * DY * np.ones((1, NX))
    still = filled(rough, 0.0, "v", g)
    inside = np.s_[:, 2:-2]
    for values, expected in ((1e-6 * y, 0.0), (1e-12 * y**2, 2e-12 * A)):
        fu, fv = laplacian.friction(filled(rough, values, "u", g), still, A, g, no_slip=True)
        np.testing.assert_allclose(fu.interior[inside], expected, atol=1e-21)
        assert float(jnp.abs(fv.data).max()) == 0


def test_closed_part_of_a_side_is_a_wall(rough):
    """Uniform flow over a rough bottom: 2 A / d**2 for the closed share of each side; free slip
    feels none of it."""
    g = rough.rough
    u, v = filled(rough, 1.0, "u", g), filled(rough, 1.0, "v", g)
    open_q = g.h_visc_q * g.mask_q
    fu, fv = laplacian.friction(u, v, A, g, no_slip=True)
    free_u, free_v = laplacian.friction(u, v, A, g, no_slip=False)
    closed_u = (g.h_u - mean_y_q2u(open_q)) * g.inv_h_u * g.mask_u
    closed_v = (g.h_v - mean_x_q2v(open_q)) * g.inv_h_v * g.mask_v
    np.testing.assert_allclose(
        (fu - free_u).interior, closed_u.interior * (-4 * A / DY**2), rtol=1e-12, atol=1e-22
    )
    np.testing.assert_allclose(
        (fv - free_v).interior, closed_v.interior * (-4 * A / DX**2), rtol=1e-12, atol=1e-22
    )


def test_friction_only_takes_energy(rough):
    rng, g = np.random.default_rng(2), rough.rough
    u, v = (filled(rough, rng.normal(size=(3, NY, NX)), at, g) for at in "uv")
    for no_slip in (True, False):
        fu, fv = laplacian.friction(u, v, A, g, no_slip)
        power = (fu * u * g.h_u * g.area_u).interior.sum() + (
            fv * v * g.h_v * g.area_v
        ).interior.sum()
        assert float(power) < 0


def test_derivatives(rough):
    rng, g = np.random.default_rng(4), rough.rough
    x = {at: filled(rough, rng.normal(size=(3, NY, NX)), at, g) for at in "uv"} | {
        "A": jnp.asarray(A)
    }
    report = check_derivatives(lambda x: laplacian.friction(x["u"], x["v"], x["A"], g, True), x)
    assert report.passed, str(report)


def test_no_slip_bottom_is_drag_over_half_a_layer(rough):
    g, d = rough.rough, rough.dynamics
    wanted = dataclasses.replace(
        d,
        physics=dataclasses.replace(
            d.physics, bottom_drag=d.physics.bottom_drag.model_copy(update={"no_slip": True})
        ),
    )
    params = {**rough.params, "bottom_drag_linear": 0.0, "bottom_drag_quadratic": 0.0}
    speed = filled(rough, 1.0, "u", g)
    for nu in (jnp.asarray(2e-3), jnp.full((2, 1, 1), 2e-3)):
        drag = wanted.momentum.drag(
            speed,
            SimpleNamespace(bottom=g.bottom_u, at=at_u),
            {**params, "vertical_viscosity": nu},
            g,
        )
        expected = g.bottom_u * (2 * 2e-3 * d.physics.dt) / g.dz
        np.testing.assert_allclose(drag.interior, expected.interior, rtol=1e-14)


def test_linear_profile_of_density_integrates_exactly(rough):
    """Density linear in depth, layers of unequal thickness: exact from the first centre down."""
    g, slope = rough.grid, 0.01  # kg m-4
    whole = exchange(rough.halos, (Field(jnp.broadcast_to(g.z_c * slope, (3, NY, NX)), "c"), 2))[0]
    one = exchange(rough.halos, (Field(jnp.ones((NY, NX)), "c"), 2))[0]
    exact = (9.81 / 1026.0 * slope * 0.5 * g.z_c**2)[:, 0, 0]
    got = {
        p: hydrostatic_pressure(whole, one, g, 9.81, 1026.0, p).interior[:, 3, 3]
        for p in ("linear", "layers")
    }
    np.testing.assert_allclose(got["linear"] - got["linear"][0], exact - exact[0], rtol=1e-12)
    assert abs(got["layers"][-1] - got["layers"][0] - exact[-1] + exact[0]) > 1e-3 * exact[-1]
