"""Eddy diffusivity by the growth rate of eddies: a uniform front, bounds, derivatives, layouts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vertical_columns as columns

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.learning.derivatives import check_derivatives
from dogcm.physics import visbeck
from dogcm.simulation.model import Model

G, RHO0, STEEPEST = 9.81, 1026.0, 1e-2
NAMES = ("visbeck_alpha", "visbeck_length", "visbeck_least", "visbeck_most")
SMALL = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.nz": 6,
    "physics.eddies": "visbeck",
    "physics.tracer_advection": "centered",
    "time.step": 3600,
}
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


@pytest.fixture(scope="module")
def box():
    """A flat sea with walls to the north and south."""
    return columns.column(
        [40.0, 60.0, 100.0, 200.0, 300.0], 3600.0, "richardson", physics={"eddies": "visbeck"}
    )


def front(box, n2: float, m2: float) -> tuple[Field, Field]:
    """Density (kg m-3) and N2 (s-2) of uniform stratification and slope, northwards."""
    g = box.grid
    y = g.h_c.with_data(jnp.broadcast_to(jnp.arange(g.h_c.shape[1])[:, None] * 1e5, g.h_c.shape))
    return (g.z_c * n2 + y * m2) * (RHO0 / G), g.mask_cw * n2


@one_rank
@pytest.mark.parametrize(
    "n2, m2", [(1e-5, 1e-8), (1e-5, 1e-7), (4e-6, -3e-9), (1e-7, 1e-8), (0.0, 1e-8), (1e-5, 0.0)]
)
def test_a_uniform_front(box, n2, m2):
    """sigma = N S / sqrt(1 + (S / S_max)**2), the same at every depth."""
    rate = visbeck.growth_rate(*front(box, n2, m2), box.grid, STEEPEST, G, RHO0).interior
    slope = abs(m2) / n2 if n2 else 0.0
    expected = np.sqrt(n2) * slope / np.hypot(1.0, slope / STEEPEST)
    np.testing.assert_allclose(rate, np.hypot(expected, 1e-10), rtol=1e-6)


@one_rank
def test_bounds(box):
    """alpha l**2 sigma far from both bounds; never beyond either; between them without a jump."""
    q = {n: box.params[n] for n in NAMES}
    kappa = jax.jit(
        lambda m2, q: (
            visbeck.diffusivity(*front(box, 1e-5, m2), q, box.grid, STEEPEST, G, RHO0).interior
        )
    )
    m2 = 1e-9 * 2.0 ** np.arange(0, 10)
    found = np.array([float(kappa(m, q)[1, 1]) for m in m2])
    plain = 0.015 * 4e10 * m2 / np.sqrt(1e-5) / np.hypot(1.0, m2 / 1e-5 / STEEPEST)
    x = plain / 2400.0
    np.testing.assert_allclose(found, 100.0 + plain / (1.0 + x**4) ** 0.25, rtol=1e-6)
    assert (np.diff(found) > 0).all() and 100.0 < found[0] < 400.0 and 2400.0 < found[-1] < 2500.0
    small = {**q, "visbeck_least": jnp.asarray(0.0)}
    assert float(kappa(1e-9, small)[1, 1]) == pytest.approx(plain[0], rel=0.01)


@pytest.fixture(scope="module")
def sea():
    return Model("two_basin", SMALL, comm=SerialCommunicator())


@jax.jit
def coefficient(T, n2, q, grid):
    return visbeck.diffusivity((T - 8.0) * -0.2, n2, q, grid, STEEPEST, G, RHO0)


@one_rank
def test_derivatives(sea):
    """In density, stratification and all four numbers, on an ocean with land."""
    g, rng = sea.grid, np.random.default_rng(1)
    T = g.h_c.with_data(jnp.asarray(rng.normal(size=g.h_c.shape))) * 3.0 * g.mask_c
    n2 = g.mask_cw.with_data(jnp.asarray(rng.uniform(1e-6, 2e-5, g.mask_cw.shape))) * g.mask_cw
    base = {"T": T, "n2": n2, **{n: sea.params[n] for n in NAMES}}

    def scaled(x):
        at = {n: f * (1.0 + 0.1 * x[n]) for n, f in base.items()}
        return coefficient(at["T"], at["n2"], at, g)

    direction = jax.tree.map(lambda v: jnp.asarray(rng.normal(size=jnp.shape(v))), base)
    report = check_derivatives(
        scaled, jax.tree.map(jnp.zeros_like, direction), direction, decades=3.0
    )
    assert report.passed, str(report)
    flat = {**base, "T": T * 0.0, "n2": n2 * 0.0}
    found = jax.jit(jax.grad(lambda x: jnp.sum(coefficient(x["T"], x["n2"], x, g).data)))(flat)
    assert all(bool(jnp.isfinite(v).all()) for v in jax.tree.leaves(found))


@one_rank
@pytest.mark.parametrize(
    "change, words",
    [
        ({"physics.eddies": "isoneutral", "parameters.visbeck_length": 1e5}, "eddies: visbeck"),
        ({"physics.eddies": "eady"}, "physics.eddies"),
        ({"physics.eddy_coefficient": "eady"}, "is now physics.eddies"),
        ({"parameters.visbeck_length": 0.0}, "visbeck_length"),
        ({"parameters.visbeck_least": 3000.0}, "visbeck_least"),
    ],
)
def test_bad_settings_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Model("two_basin", SMALL | change, comm=SerialCommunicator())
