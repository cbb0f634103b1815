"""Water compared at the same depth where the bottom cuts cells: the seamount at rest."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_bits import after, assert_same_bits

from dogcm.components import make
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics.pressure import _slopes, cell_depths, density_slope
from dogcm.field import Field
from dogcm.learning.derivatives import check_derivatives
from dogcm.setups import inputs
from dogcm.simulation.model import Model

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
N, NZ, DX, DEPTH = 32, 20, 8e3, 4500.0
DECAY, TOP, DEEP = 1000.0, 15.0, 5.0


def seamount_cells(config, horizontal, vertical, *_) -> np.ndarray:
    """Thickness of cells over the seamount of Beckmann and Haidvogel (1993): nine tenths of the
    depth high, 40 km wide."""
    j, i = np.mgrid[:N, :N]
    distance = np.hypot(i - N / 2 + 0.5, j - N / 2 + 0.5) * DX
    bottom = DEPTH * (1 - 0.9 * np.exp(-((distance / 40e3) ** 2)))
    dz = np.asarray(vertical.dz)[:, None, None]
    cells = np.clip(bottom - np.asarray(vertical.edges)[:-1, None, None], 0.0, dz)
    return np.where(cells < 0.1 * dz, 0.0, cells)


@pytest.fixture
def seamount(monkeypatch):
    """A function from a kind of pressure to an ocean at rest, stratified alike at true depths."""
    monkeypatch.setattr(inputs, "cell_thickness", seamount_cells)

    def build(pressure: str, comm=None, **physics) -> Model:
        return Model(
            {
                "name": "seamount",
                "grid": {
                    "kind": "cartesian",
                    "nx": N,
                    "ny": N,
                    "dx": DX,
                    "dy": DX,
                    "f0": 1e-4,
                    "periodic": False,
                    "nz": NZ,
                    "depth": DEPTH,
                    "top": DEPTH / NZ,
                },
                "bathymetry": {"source": "flat", "depth": DEPTH},
                "initial": {
                    "source": "profile",
                    "surface_temperature": TOP,
                    "deep_temperature": DEEP,
                    "thermocline": DECAY,
                },
                "physics": {
                    "equation_of_state": "linear",
                    "freezing": None,
                    "pressure": pressure,
                    "bottom_drag": "none",
                    "friction": {"viscosity_power": 0},
                    **physics,
                },
                "parameters": {
                    "lateral_viscosity": 50.0,
                    "lateral_diffusivity": 0.0,
                    "vertical_diffusivity": 0.0,
                    "convection_diffusivity": 0.0,
                    "mixing_richardson": 0.0,
                },
                "time": {"step": 300.0},
                "run": {"output": {}},
            },
            comm=comm or SerialCommunicator(),
        )

    return build


def with_temperature(model: Model, profile) -> None:
    """Temperature (degC) as a function of the true depth of cells (m)."""
    depth = cell_depths(model.grid).interior
    t = Field(profile(depth) * model.grid.mask_c.interior, "c").named("temperature")
    model.state = model.state.replace(tracers={**model.state.tracers, "temperature": t})


def acceleration(model: Model) -> float:
    """The largest rate of velocity at rest (m s-2)."""
    go = jax.jit(model.dynamics.accelerations)
    pair = go(model.state, model.params, model.forcing, model.grid)
    return max(float(jnp.abs(f.interior).max()) for f in pair)


def speed(model: Model, steps: int) -> float:
    state = model.advance(steps)
    return max(float(jnp.abs(f.interior).max()) for f in (state.u, state.v))


@one_rank
def test_initial_states_hold_at_true_depths(seamount):
    model = seamount("true_depths")
    depth, wet = cell_depths(model.grid).interior, model.grid.mask_c.interior > 0
    expected = DEEP + (TOP - DEEP) * np.exp(-np.asarray(depth) / DECAY)
    found = np.asarray(model.state.temperature.interior)
    np.testing.assert_allclose(found[wet], expected[wet], rtol=1e-13)
    usual = np.asarray(seamount("layers").state.temperature.interior)
    assert np.abs(usual - found)[wet].max() > 0.3


@one_rank
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_parabolic_profile_stays_at_rest(seamount, order):
    """Slopes of a parabola are exact, and so is its integral. (There are columns of three cells,
    where those of a cubic are not.)"""
    model = seamount("true_depths")
    with_temperature(model, lambda z: 20.0 - 3e-3 * z * (order > 0) + 2e-7 * z * z * (order > 1))
    # Rounding of 20 K times alpha g H over a cell.
    assert acceleration(model) < 1e-13


@one_rank
def test_the_default_does_not(seamount):
    model = seamount("layers")
    with_temperature(model, lambda z: 20.0 - 3e-3 * z)
    assert acceleration(model) > 1e-6


@one_rank
@pytest.mark.parametrize("eos", ["linear", pytest.param("teos10", marks=pytest.mark.slow)])
def test_seamount_at_rest(seamount, eos):
    """An exponential thermocline: currents below 1 mm/s after a day, where the default's reach
    more than 5 cm/s."""
    assert speed(seamount("true_depths", equation_of_state=eos), 288) < 1e-3
    usual = seamount("layers", equation_of_state=eos)
    with_temperature(usual, lambda z: DEEP + (TOP - DEEP) * jnp.exp(-z / DECAY))
    assert speed(usual, 288) > 5e-2


@one_rank
def test_heat_and_salt_are_conserved(seamount):
    model = seamount("true_depths")
    before = model.read()
    model.advance(48)
    after = model.read()
    assert after.temperature == pytest.approx(before.temperature, rel=1e-13)
    assert after.salinity == pytest.approx(before.salinity, rel=1e-13)


@one_rank
def test_the_same_as_linear_density_over_a_flat_bottom():
    flat = {"grid.nx": 12, "grid.ny": 10, "grid.nz": 6, "bathymetry.min_thickness": 0.0}
    found = []
    for pressure in ("linear", "true_depths"):
        model = Model("gyre", {**flat, "physics.pressure": pressure}, comm=SerialCommunicator())
        model.advance(24)
        found.append(model.gather("u"))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.2 * np.abs(found[0]).max()


@one_rank
def test_slopes_and_derivatives(seamount):
    model = seamount("true_depths")
    g, scheme = model.grid, make("pressure", "true_depths")
    depth = cell_depths(g)
    slope = density_slope(depth**3 * 1e-10 + depth * depth * 1e-6 + depth * 2e-3, g)
    wet = np.asarray(g.mask_c.data) > 0
    wet &= wet.sum(0) > 3
    expected = np.asarray((depth * depth * 3e-10 + depth * 2e-6 + 2e-3).data)
    np.testing.assert_allclose(np.asarray(slope.data)[wet], expected[wet], rtol=1e-9)

    def gradient(x):
        density = depth.with_data(x) * g.mask_c
        one = g.wet_c
        pressure = scheme.hydrostatic(density, one, g, model.physics)
        fu, fv = scheme.gradient(pressure, density, one * 0.1, g, model.physics)
        return fu.data, fv.data

    rng = np.random.default_rng(1)
    start = jnp.asarray(rng.normal(size=depth.shape))
    report = check_derivatives(gradient, start, jnp.asarray(rng.normal(size=depth.shape)))
    assert report.passed, str(report)


@one_rank
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5, 7])
def test_slopes_in_columns_of_few_cells(layers):
    """The polynomial through as many cells as are wet, at most four, is exact; below the sea floor
    nothing is read."""
    rng = np.random.default_rng(layers)
    z = np.cumsum(rng.uniform(50, 200, 7))
    p = np.polynomial.Polynomial((1.0, 3e-3, 5e-6, 7e-9)[: min(4, layers)])
    density = np.where(np.arange(7) < layers, p(z), 1e3)
    wet = (np.arange(6) < layers - 1).astype(float)
    column = lambda x: jnp.asarray(x)[:, None, None]
    found = _slopes(column(np.diff(density) / np.diff(z) * wet), column(np.diff(z)), column(wet))
    np.testing.assert_allclose(found[:layers, 0, 0], p.deriv()(z)[:layers], rtol=1e-9)


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2)
def test_tiles_give_the_same_bits(seamount):
    assert_same_bits(lambda comm: seamount("true_depths", comm), after(10))
