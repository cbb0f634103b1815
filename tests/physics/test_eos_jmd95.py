"""Equation of state of Jackett and McDougall (1995): published value, exactness of the prepared
form, derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.field import Field
from dogcm.learning.derivatives import check_derivatives
from dogcm.physics.eos import S_REF, T_REF
from dogcm.physics.eos_jmd95 import JMD95, jmd95_density

DEPTH = np.array([5.0, 50.0, 500.0, 2000.0, 5500.0])


def sea(seed: int = 0, shape=(5, 6, 8)) -> tuple[Field, Field]:
    rng = np.random.default_rng(seed)
    T, S = rng.uniform(-2, 31, shape), rng.uniform(3, 41, shape)
    return Field(jnp.asarray(T), "c"), Field(jnp.asarray(S), "c")


def published(T: Field, S: Field, rho0=1035.0, gravity=9.81):
    """Anomaly by the formula as published, with pressure rho0 g z."""
    dbar = (rho0 * gravity * DEPTH * 1e-4)[:, None, None]
    return jmd95_density(T.data, S.data, dbar) - jmd95_density(T_REF, S_REF, dbar)


def test_published_check_value():
    """Jackett and McDougall (1995), also quoted by MITgcm: S = 35.5, 3 degC, 3000 dbar."""
    assert abs(jmd95_density(3.0, 35.5, 3000.0) - 1041.83267) < 5e-6


def test_surface_density_check_values():
    """UNESCO (1981): fresh and salt water at 5 degC, sea level."""
    np.testing.assert_allclose(jmd95_density(5.0, 0.0, 0.0), 999.96675, atol=5e-6)
    np.testing.assert_allclose(jmd95_density(5.0, 35.0, 0.0), 1027.67547, atol=5e-6)


def test_against_teos10():
    """Two descriptions of one sea: in-situ density from gsw, with potential temperature and
    practical salinity."""
    gsw = pytest.importorskip("gsw")
    T, S, p = (
        x.ravel() for x in np.meshgrid([0.0, 10.0, 20.0], [33.0, 35.0, 37.0], [0.0, 2000.0, 5000.0])
    )
    SA = gsw.SA_from_SP(S, p, 200.0, -20.0)
    other = gsw.rho(SA, gsw.CT_from_pt(SA, T), p)
    assert np.abs(jmd95_density(T, S, p) - other).max() < 0.12


def test_prepared_form_is_the_published_formula():
    T, S = sea()
    ours = JMD95().prepare(DEPTH, np.float64).anomaly(T, S).data
    assert np.abs(ours - published(T, S)).max() < 2e-12 * 1000


def test_float32_keeps_small_anomalies():
    T, S = (f.with_data(r + 0.02 * f.data / 40) for f, r in zip(sea(), (T_REF, S_REF)))
    ours = (
        JMD95().prepare(DEPTH, np.float32).anomaly(T.astype(np.float32), S.astype(np.float32)).data
    )
    assert ours.dtype == np.float32
    rounded = published(
        T.astype(np.float32).astype(np.float64), S.astype(np.float32).astype(np.float64)
    )
    # A float32 density of 1040 kg m-3 is known to 6e-5 only; the root of S costs 4e-6.
    assert np.abs(ours - rounded).max() < 8e-6


def test_pressure_is_rho0_g_z_and_some_levels_can_be_asked_for():
    T, S = sea(1)
    eos = JMD95().prepare(DEPTH, np.float64, rho0=1026.0, gravity=9.8)
    np.testing.assert_allclose(eos.anomaly(T, S).data, published(T, S, 1026.0, 9.8), atol=1e-9)
    below = eos.anomaly(T.level(slice(1, None)), S.level(slice(1, None)), slice(1, None)).data
    np.testing.assert_array_equal(below, eos.anomaly(T, S).data[1:])


def test_derivatives():
    T, S = sea(2)
    eos = JMD95().prepare(DEPTH, np.float64)
    report = check_derivatives(lambda x: eos.anomaly(x["T"], x["S"]), {"T": T, "S": S})
    assert report.passed, str(report)


def test_derivatives_are_finite_without_salt():
    """Land holds zeros."""
    zero = Field(jnp.zeros((5, 2, 2)), "c")
    eos = JMD95().prepare(DEPTH, np.float64)
    value, slope = jax.value_and_grad(lambda s: jnp.sum(eos.anomaly(zero, s).data))(zero)
    assert np.isfinite(value) and np.isfinite(slope.data).all()
