"""Vertical advection that is implicit where the flow crosses a layer in less than a step."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dogcm import AdaptiveImplicit, ConfigError, Model
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics.vertical_advection import columns_solved
from dogcm.field import Field
from dogcm.learning.derivatives import check_derivatives

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
NZ, NY, NX = 6, 2, 3


def divided(courant, **options) -> np.ndarray:
    """What part of a flow of 1 m/s is implicit."""
    field = lambda a: Field(jnp.asarray(np.reshape(a, (-1, 1, 1)), float), "cw")
    found = AdaptiveImplicit(**options).implicit(field(np.ones_like(courant)), field(courant))
    return np.asarray(found.data).ravel()


def test_what_is_left_to_explicit_schemes():
    courant = np.linspace(0.0, 5.0, 5001)
    part = divided(courant, courant_min=0.2, courant_max=0.4)
    explicit = courant * (1.0 - part)
    assert (part[courant <= 0.2] == 0).all() and (np.diff(part) >= 0).all()
    assert explicit.max() <= 0.4 + 1e-12
    np.testing.assert_allclose(explicit[courant > 0.7], 0.4, rtol=1e-12)
    # Neither the part nor its slope jumps.
    assert np.abs(np.diff(part)).max() < 3e-3 and np.abs(np.diff(part, 2)).max() < 2e-5


def test_limits_in_the_wrong_order_are_refused():
    scheme = {"kind": "adaptive", "courant_min": 0.5, "courant_max": 0.4}
    with pytest.raises(ConfigError, match="courant_min: must be less"):
        Model("gyre", {"physics.vertical_advection": scheme}, comm=SerialCommunicator())


def columns(land: bool = True):
    """Thickness with land at the bottom, couplings, a sink, and two right-hand sides."""
    rng = np.random.default_rng(0)
    h = rng.uniform(0.5, 2.0, (NZ, NY, NX))
    if land:
        h[4:, 0, 1] = 0.0
        h[:, 1, 2] = 0.0
    open_ = (h[1:] > 0) & (h[:-1] > 0)
    below, above = (rng.uniform(0, 9.0, open_.shape) * open_ for _ in range(2))
    sink = rng.uniform(0, 0.5, h.shape) * (h > 0)
    rhs = rng.normal(size=(NZ, 2, NY, NX)) * (h > 0)[:, None]
    return tuple(map(jnp.asarray, (h, below, above, sink, rhs)))


def test_columns_are_solved():
    h, below, above, sink, rhs = columns()
    found = columns_solved(h, below, above, sink, rhs)
    for j, i in np.ndindex(NY, NX):
        matrix = np.diag(np.where(h[:, j, i] > 0, h[:, j, i] + sink[:, j, i], 1.0))
        for k in range(NZ - 1):
            matrix[k, k] += below[k, j, i]
            matrix[k, k + 1] -= below[k, j, i]
            matrix[k + 1, k + 1] += above[k, j, i]
            matrix[k + 1, k] -= above[k, j, i]
        exact = np.linalg.solve(matrix, rhs[:, :, j, i])
        np.testing.assert_allclose(found[:, :, j, i], exact, rtol=1e-10, atol=1e-12)


def test_columns_have_the_right_derivatives():
    report = check_derivatives(lambda x: columns_solved(*x), columns(land=False))
    assert report.passed, report


# ---- in the model
# Dense water on a shelf above a slope of 1 in 40, layers of 25 m, steps of ten minutes.
SLOPE = {
    "name": "slope",
    "grid": {
        "kind": "cartesian",
        "nx": 24,
        "ny": 4,
        "dx": 4e3,
        "dy": 4e3,
        "f0": 0.0,
        "periodic": False,
        "layers": [25.0] * 40,
    },
    "bathymetry": {"source": "flat", "min_depth": 0.0, "min_fraction": 0.2, "min_thickness": 0.0},
    "forcing": {"source": "none"},
    "physics": {
        "equation_of_state": {"kind": "linear", "thermal_expansion": 2e-4},
        "friction": {"no_slip": False, "viscosity_power": 0.0},
        "tracer_advection": {"kind": "dst3_limited", "bounded": True},
        "freezing": None,
    },
    "parameters": {"lateral_viscosity": 300.0, "lateral_diffusivity": 0.0},
    "time": {"step": 600.0},
}
STEPS = 150


def sliding(scheme) -> Model:
    return Model(
        SLOPE,
        {"physics.vertical_advection": scheme},
        bathymetry=lambda x, y: np.clip(300.0 + (x - 30e3) / 40.0, 300.0, 1000.0) + 0 * y,
        initial={
            "temperature": lambda x, y, z: np.where(x < 24e3, 5.0, 15.0) + 0 * (y + z),
            "salinity": 35.0,
        },
        comm=SerialCommunicator(),
    )


@pytest.fixture(scope="module")
def slides() -> dict[str, Model]:
    """The model without and with the scheme, after two steps, in which the flow is slow."""
    models = {s: sliding(s) for s in ("none", "adaptive")}
    for model in models.values():
        model.advance(2)
    return models


def heat(model: Model) -> float:
    """Heat content (K m, summed over cells of one size)."""
    depth = jnp.maximum(model.grid.depth_c.interior, 1.0)
    h = model.grid.h_c.interior * (1 + model.state.eta.interior / depth)
    return float((h * model.state.temperature.interior).sum())


def test_slow_flow_and_then_fast_flow(slides):
    explicit, model = slides["none"], slides["adaptive"]
    u = [np.asarray(m.state.u.interior) for m in (explicit, model)]
    assert np.abs(u[0]).max() > 1e-2
    np.testing.assert_allclose(*u, atol=1e-13)

    before = heat(model)
    for m in (explicit, model):
        m.advance(STEPS)
    assert not explicit.read().finite or explicit.read().speed > 20
    reading, wet = model.read(), np.asarray(model.grid.mask_c.interior) > 0
    assert reading.finite and 0.5 < reading.speed < 4
    assert heat(model) == pytest.approx(before, rel=1e-12)
    # A uniform tracer stays uniform; cold water has come down, and nothing is colder than it was.
    temperature, salinity = (
        np.asarray(getattr(model.state, n).interior) for n in ("temperature", "salinity")
    )
    assert np.abs(salinity[wet] - 35.0).max() < 1e-10
    assert temperature[30:][wet[30:]].min() < 13.0
    assert 5.0 - 1e-3 < temperature[wet].min() and temperature[wet].max() < 15.0 + 1e-3
