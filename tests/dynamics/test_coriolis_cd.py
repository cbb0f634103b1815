"""The C-D scheme: inertial oscillations, noise on the C grid, restarts, layouts, derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics import coriolis_cd, momentum
from dogcm.field import Field, exchange
from dogcm.io.restart import RestartError, read_restart, write_restart
from dogcm.learning.derivatives import check_derivatives
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.verification import verify

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
F, DT, TAU = 1e-4, 1800.0, 300e3
NX, NY, NZ = 8, 12, 2


@pytest.fixture(scope="module")
def plane() -> Model:
    """An f plane that closes on itself in x."""
    grid = {
        "kind": "cartesian",
        "nx": NX,
        "ny": NY,
        "dx": 3e5,
        "dy": 4e5,
        "f0": F,
        "layers": [100.0] * NZ,
    }
    return Model(
        {"name": "plane", "grid": grid, "bathymetry": {"source": "flat", "depth": 200.0}},
        {"time.step": DT, "physics.equation_of_state": "linear"},
        comm=SerialCommunicator(),
    )


def filled(model, values, at):
    mask = model.grid.mask_u if at == "u" else model.grid.mask_v
    full = jnp.broadcast_to(jnp.asarray(values, float), (NZ, NY, NX))
    return exchange(model.halos, (Field(full, at), 2))[0] * mask


def turned(model, u, v, v_at_u, u_at_v, steps, tau):
    """Coriolis force alone, without walls to push against (forces of all else are zero)."""
    g, mask = model.grid, {"u": model.grid.mask_u, "v": model.grid.mask_v}
    deep = lambda f: exchange(model.halos, (f, 2))[0] * mask[f.at]

    def one(state, _):
        u, v, *d_grid = (deep(f) for f in state)
        d_grid = coriolis_cd.advance(d_grid, (u, v), (u * 0.0, v * 0.0), DT, tau, g)
        u = u + coriolis_cd.f_at_u(g) * d_grid[0] * DT
        v = v - coriolis_cd.f_at_v(g) * d_grid[1] * DT
        return tuple(f.crop(0) for f in (u, v, *d_grid)), None

    start = tuple(f.crop(0) for f in (u, v, v_at_u, u_at_v))
    return jax.jit(lambda s: jax.lax.scan(one, s, None, length=steps)[0])(start)


@one_rank
def test_inertial_oscillation(plane):
    """Far from walls, loosely coupled: the flow turns by f dt a step, as forward-backward steps
    do."""
    speed, steps = 0.2, 60
    u, v = filled(plane, speed, "u"), filled(plane, 0.0, "v")
    du, dv = filled(plane, speed, "v"), filled(plane, 0.0, "u")
    u, v, *_ = turned(plane, u, v, dv, du, steps, 1e15)
    angle = steps * 2 * np.arcsin(0.5 * F * DT)
    inside = np.s_[:, 2:-2]
    # Staggered in time by half a step: u leads.
    np.testing.assert_allclose(
        u.interior[inside] ** 2 + v.interior[inside] ** 2, speed**2, rtol=F * DT * 1.01
    )
    phase = np.arctan2(-np.asarray(v.interior[inside]), np.asarray(u.interior[inside]))
    np.testing.assert_allclose(
        np.unwrap(phase.ravel())[0], (angle + np.pi) % (2 * np.pi) - np.pi, atol=F * DT
    )


@one_rank
def test_alternating_rows_are_noise_on_the_c_grid_alone(plane):
    """u alternating from row to row: no Coriolis force on the C grid; by the C-D scheme it turns
    and fades."""
    g = plane.grid
    pattern = 0.1 * (-1.0) ** np.arange(NY)[:, None] * np.ones((1, NX))
    u, still = filled(plane, pattern, "u"), filled(plane, 0.0, "v")
    felt = momentum.vorticity_flux_v(u, g.f_q * g.inv_h_q, g)
    assert float(jnp.abs(felt.interior[:, 2:-2]).max()) < 1e-18
    days = 30
    u, *_ = turned(
        plane, u, still, filled(plane, 0.0, "u"), filled(plane, 0.0, "v"), days * 48, TAU
    )
    left = float(jnp.abs(u.interior[:, 3:-3]).max())
    assert left < 0.1 * np.exp(-days * 86400 / TAU / 4), left


@one_rank
def test_mean_forces_count_walls_as_zero(plane):
    v = filled(plane, 1.0, "v")
    np.testing.assert_allclose(coriolis_cd.around_u(v).interior[:, 1:-1], 1.0)
    np.testing.assert_allclose(coriolis_cd.around_u(v).interior[:, 0], 0.5)


@one_rank
def test_derivatives(plane):
    rng, g = np.random.default_rng(3), plane.grid
    make = lambda at: filled(plane, rng.normal(size=(NZ, NY, NX)), at)
    x = {
        n: make(at)
        for n, at in (("dv", "u"), ("du", "v"), ("u", "u"), ("v", "v"), ("ru", "u"), ("rv", "v"))
    }
    x |= {"ru": x["ru"] * 1e-6, "rv": x["rv"] * 1e-6}
    function = lambda x: coriolis_cd.advance(
        (x["dv"], x["du"]), (x["u"], x["v"]), (x["ru"], x["rv"]), DT, TAU, g
    )
    report = check_derivatives(function, x)
    assert report.passed, str(report)


@one_rank
@pytest.mark.parametrize("ahead", [0.0, 0.6])
def test_the_second_velocity_feels_the_flow_ahead(plane, ahead):
    """Far from walls a uniform flow turns as numbers do that are stepped by hand."""
    config = plane.config.model_dump(exclude_unset=True)
    still = {
        "physics.bottom_drag": "none",
        "physics.coriolis": "cd",
        "time.free_surface": "implicit",
    }
    options = {"physics.coriolis.time": TAU, "physics.coriolis.extrapolation": ahead}
    model = Model(config, still | options, comm=SerialCommunicator())
    u, v, du, dv, old_u, old_v = 0.2, 0.1, 0.15, -0.05, 0.3, -0.2
    full = lambda x, at: filled(model, x, at).crop(0)
    kept = (full(dv, "u"), full(du, "v"), full(old_u, "u"), full(old_v, "v"), model.state.eta * 1.0)
    names = model.physics.coriolis.keeps()
    model.state = model.state.replace(u=full(u, "u"), v=full(v, "v"), d_grid=kept[: len(names)])
    model.advance(4)
    keep = 1 - DT / TAU
    for _ in range(4):
        ahead_u, ahead_v = u + ahead * (u - old_u), v + ahead * (v - old_v)
        dv = keep * (dv - F * DT * ahead_u) + (1 - keep) * ahead_v
        du = keep * (du + F * DT * ahead_v) + (1 - keep) * ahead_u
        old_u, old_v, u, v = u, v, u + F * DT * dv, v - F * DT * du
    middle = np.s_[:, NY // 2, NX // 2]
    np.testing.assert_allclose(model.gather("u")[middle], u, rtol=2e-3)
    np.testing.assert_allclose(model.gather("v")[middle], v, rtol=2e-3)


@one_rank
def test_the_second_velocity_feels_the_slope_ahead(plane):
    """What a sea that has tilted within a step adds, from its slope: g, 0.6 steps, dt."""
    config = plane.config.model_dump(exclude_unset=True)
    cd = {"physics.coriolis": {"kind": "cd", "time": 1e15, "extrapolation": 0.6}}
    model = Model(config, cd, comm=SerialCommunicator())
    start, found = model.state, []
    for tilt in (0.0, 1e-3):  # m from row to row, one step before
        before = start.eta.with_data(start.eta.data + tilt * jnp.arange(NY)[:, None])
        copy = jax.tree.map(jnp.array, start)
        model.state = copy.replace(d_grid=(*copy.d_grid[:4], before))
        model.advance(1)
        found.append(model.gather("v_at_u")[:, NY // 2, NX // 2])
    expected = 0.6 * 9.81 * 1e-3 / 4e5 * DT
    np.testing.assert_allclose(found[1] - found[0], expected, rtol=1e-6)


SMALL = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.nz": 3,
    "physics.coriolis": "cd",
    "physics.bottom_drag.no_slip": True,
    "physics.friction": "laplacian",
    "physics.pressure": "linear",
    "time.step": 7200,
}


@one_rank
@pytest.mark.parametrize("ahead", [0.0, 0.6])
def test_restart_gives_identical_bits(ahead):
    """What the scheme keeps is part of the state."""
    config = load_config("two_basin", SMALL | {"physics.coriolis.extrapolation": ahead})
    result = verify.verify_restart(config, 6)
    assert result.passed and set(config.physics.coriolis.keeps()) <= {r.name for r in result.rows}


@one_rank
@pytest.mark.parametrize("ahead", [0.0, 0.6])
def test_long_steps_with_an_implicit_surface_want_the_flow_ahead(ahead):
    """Noise of twice the step's period grows between coasts without."""
    options = {"time.free_surface": "implicit", "physics.coriolis.extrapolation": ahead}
    model = Model("two_basin", SMALL | options, comm=SerialCommunicator())
    model.advance(100)
    calm = np.abs(model.gather("eta")).max() < 2.0
    assert calm == (ahead > 0)


@one_rank
def test_a_restart_without_the_step_before_is_asked_about(tmp_path):
    """One that was written without extrapolation goes on with it, if told so."""
    plain = Model("two_basin", SMALL, comm=SerialCommunicator())
    plain.advance(3)
    path = write_restart(tmp_path / "plain.nc", plain)
    ahead = Model(
        "two_basin", SMALL | {"physics.coriolis.extrapolation": 0.6}, comm=SerialCommunicator()
    )
    with pytest.raises(RestartError, match="u_before, v_before.*--cold coriolis"):
        read_restart(path, ahead)
    with pytest.warns(UserWarning, match="start anew"):
        ahead.state = read_restart(path, ahead, ["coriolis"])
    for found, now in zip(ahead.state.d_grid[2:], (plain.state.u, plain.state.v, plain.state.eta)):
        np.testing.assert_array_equal(found.interior, now.interior)
    ahead.advance(2)
    assert np.isfinite(ahead.gather("u")).all()


@one_rank
def test_coupling_faster_than_a_step_is_refused():
    with pytest.raises(ConfigError, match="coriolis.time"):
        load_config("two_basin", {**SMALL, "physics.coriolis.time": 3600.0})
