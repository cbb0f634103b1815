"""Radiocarbon: against theory, what decays and what is kept, ice, derivatives, and bad options."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_basins import DIFFUSIVITY, YEAR, basin, column, turning

from dogcm.components import ConfigError
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.spinup import Anderson, Settings, equilibrium, problem_of
from dogcm.tracers import Water, make_kind

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
# Fast enough for a kilometre of water to show it.
HALF_LIFE = 30.0
FAST = {"c14": {"kind": "radiocarbon", "half_life": HALF_LIFE, "air": 20.0}}
LAYERS, DEPTH = 40, 1000.0


@pytest.fixture(scope="module")
def still():
    """A column in equilibrium with the air."""
    model, circulation = column(FAST, LAYERS, DEPTH)
    return model, equilibrium(model, "c14", "newton", 1e-12, circulation, largest_step=10.0)


def test_a_column_is_that_of_theory(still):
    """``K R'' = lambda R`` with ``K R' = k (R - R_air)`` at the surface and no flux through the
    bottom: a hyperbolic cosine, which differences have to round-off with their own wave number."""
    _, found = still
    h, decay = DEPTH / LAYERS, np.log(2) / (HALF_LIFE * YEAR)
    k = 15.0 / 2.0 / YEAR
    d = np.asarray(found.tracers["c14"].interior)

    wave = np.arccosh(1 + decay * h**2 / (2 * DIFFUSIVITY))
    shape = np.cosh(wave * (LAYERS - 0.5 - np.arange(LAYERS)))
    top = k / (1 + k * found.problem.cycle.physics.dt / h)
    lost = top * shape[0] + DIFFUSIVITY / h * (shape[0] - shape[1]) + decay * h * shape[0]
    differences = 1020.0 * top / lost * shape - 1000.0
    np.testing.assert_allclose(
        d, np.broadcast_to(differences[:, None, None], d.shape), rtol=0, atol=1e-7
    )

    length = np.sqrt(DIFFUSIVITY / decay)
    down = np.cosh((DEPTH - h * (np.arange(LAYERS) + 0.5)) / length)
    at_top = k * np.cosh(DEPTH / length) + DIFFUSIVITY / length * np.sinh(DEPTH / length)
    theory = 1020.0 * k / at_top * down - 1000.0
    assert -800 < theory[-1] < theory[0] - 75
    # What is left is the length of the step in the exchange with the air.
    assert np.abs(d[:, 0, 0] - theory).max() < 2.5


def test_anderson_is_not_held_at_zero(still):
    model, wanted = still
    model.state = model.state.replace(
        tracers={n: f * 0.0 if n == "c14" else f for n, f in model.state.tracers.items()}
    )
    found = equilibrium(model, "c14", Anderson(window=8), 1e-9, copy.copy(wanted.problem))
    space = wanted.problem.space
    a, b = (space.stacked(e.tracers) for e in (found, wanted))
    assert space.residual(a - b, b) < 1e-7


def test_what_is_there_decays_and_nothing_else_is_lost():
    """Without exchange with the air; of two tracers one decays, the other keeps its content."""
    closed = {"kind": "radiocarbon", "invasion": 0.0}
    model = basin({"c14": {**closed, "half_life": 20.0}, "kept": {**closed, "half_life": 0.0}})
    names = ["c14", "kept"]
    problem = problem_of(model, names, turning(model, periods=1), Settings(largest_step=20.0))
    x = (-300.0 + 200.0 * problem.probe()) * problem.space.mask
    left = lambda d: problem.space.contents((d + 1000.0) * problem.space.mask)
    part = (1 - np.log(2) / (20.0 * YEAR) * problem.cycle.physics.dt) ** problem.cycle.steps
    assert part == pytest.approx(0.5 ** (1 / 20), rel=1e-3)
    new = problem.year(x)
    np.testing.assert_allclose(left(new), left(x) * np.array([part, 1.0]), rtol=1e-12)
    assert float(jnp.abs(new[1] - x[1]).max()) > 1.0, "it is carried as well"


def surface_flux(kind, own: dict, dt: float = 0.0) -> jnp.ndarray:
    """Into layers of 10 m at -50 per mille: ice, half of it, and none, twice."""
    shape = (2, 1, 4)
    field = lambda values: Field(jnp.broadcast_to(jnp.asarray(values), shape), "c")
    tracers = {"c14": field(-50.0), "temperature": field([-1.9, -0.9, 0.1, 25.0])}
    water = Water(tracers, field(10.0), own, SimpleNamespace(), jnp.zeros(()), dt, YEAR)
    return kind.sources(water).surface["c14"].data[0]


@pytest.mark.parametrize("left", [0.0, 0.2])
def test_ice_keeps_gas_from_the_sea(left):
    """By the temperature of the first layer, from none to all."""
    kind = make_kind("c14", {"kind": "radiocarbon", "under_ice": left})
    own = {n: jnp.asarray(v) for n, v in kind.leaves().items()}
    part = np.array([left, left + (1 - left) / 2, 1.0, 1.0])
    speed = 7.5 / YEAR * part
    np.testing.assert_allclose(surface_flux(kind, own), 50.0 * speed, rtol=1e-12)
    # However long the step is: no more than what is missing in the layer.
    slow = surface_flux(kind, own, 10 * YEAR)
    np.testing.assert_allclose(slow, 50.0 * speed / (1 + speed * YEAR), rtol=1e-12)


def test_derivatives_with_respect_to_the_air_and_the_invasion():
    kind = make_kind("c14", {"kind": "radiocarbon"})
    assert set(kind.leaves()) == {"air", "invasion"}
    own = {n: jnp.asarray(v) for n, v in kind.leaves().items()}
    found = jax.grad(lambda p: jnp.sum(surface_flux(kind, p)))(own)
    open_cells, k = 2.5, 7.5 / YEAR
    assert float(found["air"]) == pytest.approx(open_cells * k, rel=1e-12)
    assert float(found["invasion"]) == pytest.approx(open_cells * k * 50.0 / 15.0, rel=1e-12)


@pytest.mark.parametrize(
    "option, words",
    [
        ({"open_above": -3.0}, "covered_below.*less than open_above"),
        ({"carbon": 0.0}, "carbon.*greater than 0"),
        ({"air": -2000.0}, "air.*-1000"),
        ({"under_ice": 2.0}, "under_ice.*less than or equal to 1"),
    ],
)
def test_bad_options_are_refused(option, words):
    with pytest.raises(ConfigError, match=words):
        make_kind("c14", {"kind": "radiocarbon", **option})
