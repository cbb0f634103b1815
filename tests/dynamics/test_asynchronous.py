"""Asynchronous stepping: velocity takes shorter steps than tracers, and what must not depend on
that does not."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics.barotropic import DepthFlow
from dogcm.grid.vertical import VerticalGrid
from dogcm.io.restart import read_restart, write_restart
from dogcm.setups.config import LARGEST_ACCELERATION
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.timestepping.momentum_step import MomentumInputs
from dogcm.verification import mitgcm_asynchronous, verify

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
STEP, MOMENTUM = 43200.0, 1800.0
SMALL = {
    "grid.nx": 18,
    "grid.ny": 12,
    "grid.nz": 4,
    "time.step": STEP,
    "time.momentum_step": MOMENTUM,
    "physics.coriolis": "cd",
}
STEPS = 40


@pytest.fixture(scope="module")
def model() -> Model:
    m = Model("two_basin", SMALL, comm=SerialCommunicator())
    like = m.forcing.records["sst"]
    rain = like.with_data(
        like.data * 0.0 + 1e-7 * jnp.cos(m.grid.lat_c.crop(like.halo).data / 9.0) + 3e-8
    )
    m.forcing = replace(
        m.forcing, records={**m.forcing.records, "freshwater_flux": rain.named("freshwater_flux")}
    )
    return m


# ---- conservation
@pytest.fixture(scope="module")
def figures(model):
    return {f.name: f for f in verify.budget_figures(model, STEPS)}


@one_rank
@pytest.mark.parametrize("name", ["volume", "heat", "salt", "constant tracer"])
def test_budgets_close_to_rounding(figures, name):
    """Sea level and tracers share a step, so that thickness, transports and contents agree as
    ever."""
    assert figures[name].passed, figures[name]


# ---- distorted physics
@pytest.fixture(scope="module")
def basin() -> Model:
    flat = {
        "grid.nx": 24,
        "grid.ny": 12,
        "grid.nz": 2,
        "grid.dx": 1e5,
        "grid.dy": 1e5,
        "grid.periodic": False,
        "grid.f0": 0.0,
        "grid.beta": 0.0,
        "grid.depth": 1000.0,
        "bathymetry.depth": 1000.0,
        "bathymetry.min_depth": 0.0,
        "forcing.source": "none",
    }
    return Model("channel", flat, comm=SerialCommunicator())


@one_rank
@pytest.mark.parametrize("ratio", [1, 4, 36])
def test_gravity_waves_are_slower_by_the_root_of_the_ratio(basin, ratio):
    """A seiche of a closed basin: frequency ``pi / L sqrt(g H / ratio)``, at the step of sea
    level."""
    g, length = basin.grid, 24 * 1e5
    omega = np.pi / length * np.sqrt(9.81 * 1000.0 / ratio)
    dt = 0.3 / omega
    split = replace(basin.split, dt=dt, momentum_dt=dt / ratio, steps=60)
    x = (jnp.arange(24) + 0.5) * (np.pi / 24)
    like = basin.state.eta
    eta = like.with_data(jnp.broadcast_to(jnp.cos(x), like.shape) * 0.01) * g.wet_c.crop(0)
    rest = [f.level(0) * 0.0 for f in (basin.state.u, basin.state.v)]

    @jax.jit
    def step(eta, U, V):
        b = split.advance(basin.halos, DepthFlow(eta, U, V, *rest, eta * 0.0), g)
        return b.eta.crop(0), b.U.crop(0), b.V.crop(0)

    fields, found = (eta, *rest), []
    shape = np.cos(np.asarray(x))
    for _ in range(40):
        fields = step(*fields)
        found.append(float((np.asarray(fields[0].data) * shape).sum() / (shape**2).sum() / 12))
    time = dt * np.arange(1, 41)
    crossings = time[:-1][np.diff(np.sign(found)) != 0]
    assert len(crossings) >= 3
    assert np.diff(crossings).mean() == pytest.approx(np.pi / omega, rel=0.05)


@one_rank
def test_velocity_advances_by_its_own_step(basin):
    """From rest, a stress accelerates by ``tau / (rho0 h) * momentum_step`` a step, whatever the
    tracers' step."""
    g = basin.grid
    s = basin.dynamics.with_halos(basin.state, g)
    zero, still = s.u * 0.0, g.mask_cw * 0.0
    for momentum in (600.0, 1800.0):
        d = replace(
            basin.dynamics, physics=replace(basin.physics, dt=86400.0, momentum_step=momentum)
        )
        inputs = MomentumInputs(
            s, s.temperature, g.wet_c * 0.0 + 1.0, still, {"taux": g.wet_u}, basin.params, g, {}
        )
        after, _ = d.momentum.implicit(zero, d.momentum.u_faces(inputs, g.h_u), inputs)
        inside = np.asarray(g.mask_u.interior)[0] > 0
        expected = momentum / (basin.physics.rho0 * float(g.dz[0, 0, 0]))
        np.testing.assert_allclose(np.asarray(after.interior)[0][inside], expected, rtol=1e-12)
        assert inside.any() and float(jnp.abs(after.interior[1]).max()) == 0


# ---- configuration and restarts
def test_equal_steps_are_the_default():
    physics = Model.__new__(Model)
    physics.vertical = VerticalGrid(np.full(4, 1000.0))
    physics.config = load_config("two_basin")
    assert physics._physics().momentum_dt == physics.config.time.step


@pytest.mark.parametrize(
    "change, words",
    [
        ({"time.momentum_step": 7200.0}, ["time.momentum_step 7200", "longer than time.step 3600"]),
        (
            {"time.momentum_step": 3600.0 / (LARGEST_ACCELERATION + 1)},
            ["101 times", "shorten time.step"],
        ),
        ({"time.momentum_step": -1.0}, ["momentum_step", "greater than or equal to 0"]),
        (
            {"time.step": 86400.0, "physics.coriolis": "cd", "physics.coriolis.time": 50000.0},
            ["coriolis.time", "86400"],
        ),
    ],
)
def test_steps_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ConfigError) as error:
        load_config("two_basin", change)
    assert all(w in str(error.value) for w in words), error.value


def test_coupling_time_counts_in_steps_of_velocity():
    load_config(
        "two_basin",
        {
            "time.step": 86400.0,
            "time.momentum_step": 1800.0,
            "physics.coriolis": "cd",
            "physics.coriolis.time": 50000.0,
        },
    )


@one_rank
def test_a_restart_leaves_asynchronous_stepping(model, tmp_path):
    """With the same steps its old accelerations are used; with one step for all they are dropped,
    with a warning."""
    rest = model.state
    model.state = jax.tree.map(lambda x: x + jnp.ones_like(x), rest)
    path = write_restart(tmp_path / "a.nc", model)
    same = read_restart(path, model)
    assert float(same.history_u[0].interior.max()) == 1 and int(same.steps) == int(rest.steps) + 1
    other = Model("two_basin", {**SMALL, "time.momentum_step": 0.0}, comm=SerialCommunicator())
    with pytest.warns(UserWarning, match="1800 s for velocity.*old accelerations are dropped"):
        state = read_restart(path, other)
    assert float(jnp.abs(state.history_u[0].data).max()) == 0 and int(state.steps) == 0
    np.testing.assert_array_equal(
        np.asarray(state.temperature.data), np.asarray(same.temperature.data)
    )


# ---- beside MITgcm
def test_statistics_are_weighted_over_water():
    found = mitgcm_asynchronous.statistics(np.array([1.0, 3.0, 99.0]), np.array([3.0, 1.0, 0.0]))
    assert (found.low, found.high, found.mean) == (1.0, 3.0, 1.5) and found.sd == pytest.approx(
        np.sqrt(0.75)
    )


def test_bar():
    row = lambda day, mean, sd: mitgcm_asynchronous.StatisticsRow(
        day,
        "theta",
        mitgcm_asynchronous.Statistics(0, 1, mean, sd),
        mitgcm_asynchronous.Statistics(0, 1, 1.0, 2.0),
    )
    assert (
        row(10, 1.03, 2.01).passed
        and not row(10, 1.05, 2.0).passed
        and not row(10, 1.0, 2.05).passed
    )
    assert row(1, 1.0, 2.05).passed and not row(1, np.nan, 2.0).passed


@pytest.mark.slow
def test_twenty_days_beside_mitgcm(data_dir):
    """The tutorial as published: statistics like MITgcm's own, and temperature within hundredths of
    a kelvin."""
    inputs = data_dir / "mitgcm_4deg"
    paths = {f"{section}.path": str(inputs) for section in ("bathymetry", "initial", "forcing")}
    model = Model("mitgcm_4deg", paths | mitgcm_asynchronous.SETTINGS, comm=SerialCommunicator())
    rows = mitgcm_asynchronous.compare(model, data_dir / "mitgcm_reference", progress=None)
    assert all(row.passed for row in rows)
    rms = {(r.day, r.field): r.rms for r in rows}
    assert rms[1, "eta"] < 1e-3 and rms[20, "eta"] < 2e-3
    assert rms[20, "theta"] < 0.01 and rms[20, "salt"] < 1e-3 and rms[20, "u"] < 2e-4
