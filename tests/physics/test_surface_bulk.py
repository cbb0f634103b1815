"""Bulk formulae against published numbers and another implementation; light in the sea; the
freezing point."""

from __future__ import annotations

from types import SimpleNamespace

import gsw
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.learning.derivatives import check_derivatives
from dogcm.physics.surface import bulk, ice, shortwave

coefficients = jax.jit(bulk.transfer_coefficients, static_argnames=("iterations", "height"))


def of_arrays(scheme, **operands) -> dict:
    """Bulk fluxes of arrays by name; what is not given is not there."""
    absent = dict.fromkeys(("speed", "u", "v", "slp"))
    return bulk._fluxes(scheme, SimpleNamespace(**{**absent, **operands}))


fluxes = jax.jit(of_arrays, static_argnums=0)
pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


# ---- Large and Yeager
def test_drag_coefficient_of_neutral_air():
    """The curve of 2004 (1000 C = 2.70/U + 0.142 + 0.0764 U) where the wind is moderate, 2009's in
    storms."""
    u = np.array([1.0, 3.0, 6.0, 10.0, 15.0])
    drag_of = jax.jit(bulk.neutral_drag)
    np.testing.assert_allclose(drag_of(u), (2.70 / u + 0.142 + 0.0764 * u) * 1e-3, rtol=4e-3)
    storms = np.asarray(drag_of(np.array([33.0, 40.0, 60.0])))
    np.testing.assert_allclose(storms, 2.34e-3, rtol=2e-3)
    # Large and Yeager (2009), after their equation 11: a minimum of 1.04e-3 near 6 m/s.
    fine = np.linspace(2.0, 20.0, 500)
    drag = np.asarray(drag_of(fine))
    assert 1.03e-3 < drag.min() < 1.06e-3 and 5.0 < fine[drag.argmin()] < 7.0


def test_stanton_and_dalton_numbers_of_neutral_air():
    root = np.sqrt(1.3e-3)
    assert float(bulk.neutral_stanton(root, 0.0)) == pytest.approx(32.7e-3 * root)
    assert float(bulk.neutral_stanton(root, 1.0)) == pytest.approx(18.0e-3 * root)
    assert float(bulk.neutral_dalton(root)) == pytest.approx(34.6e-3 * root)


# Wind, sea and air temperature, humidity of air and at the sea (g/kg); drag, Stanton and Dalton
# number by AirSeaFluxCode 1.3.4 (method NCAR, 10 m, converged), whose code is not related to this
# one.
OTHER = np.array(
    [
        [2.0, 28.0, 26.5, 17.0, 23.153333, 1.989e-3, 1.797e-3, 1.928e-3],
        [5.0, 20.0, 19.0, 10.0, 14.240558, 1.163e-3, 1.217e-3, 1.295e-3],
        [8.0, 15.0, 13.0, 8.0, 10.36, 1.172e-3, 1.187e-3, 1.261e-3],
        [8.0, 15.0, 17.0, 11.0, 10.36, 1.010e-3, 0.561e-3, 1.060e-3],
        [12.0, 10.0, 8.0, 5.0, 7.446694, 1.338e-3, 1.231e-3, 1.305e-3],
        [8.0, 15.0, 15.0, 9.0, 10.36, 1.098e-3, 1.090e-3, 1.154e-3],
    ]
)


@pytest.mark.parametrize("iterations", [2, 5])
def test_another_implementation_agrees(iterations):
    wind, sea, air, q, saturated, *expected = OTHER.T
    found = coefficients(wind, air + 0.098, q * 1e-3, sea, saturated * 1e-3, iterations)[:3]
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_fluxes_of_a_trade_wind_sea():
    """By hand: rho C U times the difference; long wave from Stefan's law; what is not reflected."""
    one = lambda x: jnp.asarray([[x]])
    scheme = bulk.NCAR(iterations=5)
    out = fluxes(
        scheme,
        sst=one(27.0),
        air=one(26.0),
        q=one(0.016),
        sw=one(250.0),
        lw=one(400.0),
        cm=1.0,
        ch=1.0,
        ce=1.0,
        albedo=0.066,
        u=one(-7.0),
        v=one(0.0),
    )
    saturated = 0.98 * 640380 / 1.22 * np.exp(-5107.4 / 300.15)
    assert saturated == pytest.approx(0.0210, abs=2e-4)
    cd, ch, ce = (float(c) for c in coefficients(7.0, 26.098, 0.016, 27.0, saturated, 5)[:3])
    assert float(out["drag"][0, 0]) == pytest.approx(1.22 * cd * 7.0, rel=1e-3)
    assert float(out["sensible"][0, 0]) == pytest.approx(
        1.22 * 1000.5 * ch * 7.0 * (26.098 - 27.0), rel=1e-3
    )
    assert float(out["latent"][0, 0]) == pytest.approx(
        -1.22 * 2.5e6 * ce * 7.0 * (saturated - 0.016), rel=1e-3
    )
    assert -140 < float(out["latent"][0, 0]) < -100
    assert float(out["longwave"][0, 0]) == pytest.approx(400 - 5.67e-8 * 300.15**4)
    assert float(out["shortwave"][0, 0]) == pytest.approx(250 * 0.934)


def test_height_of_the_thermometer():
    """What a thermometer at 2 m reads leads to the fluxes that one at 10 m gives, by the profile
    between them."""
    wind, sea, saturated = np.array([6.0, 9.0]), np.array([20.0, 12.0]), np.array([0.0142, 0.0085])
    low = coefficients(wind, sea - 1.5, saturated * 0.8, sea, saturated, 5, height=2.0)
    high = coefficients(wind, low[3], low[4], sea, saturated, 5)
    np.testing.assert_allclose(low[:3], high[:3], rtol=1e-3)
    assert (np.asarray(low[3]) < sea - 1.5).all()  # colder above: the sea warms the air


def random_air(n=200, seed=3):
    rng = np.random.default_rng(seed)
    cold = rng.uniform(-2, 30, n)
    return {
        "sst": cold,
        "air": cold + rng.normal(size=n) * 3,
        "q": rng.uniform(1e-3, 0.02, n),
        "u": rng.normal(size=n) * 9,
        "v": rng.normal(size=n) * 5,
        "sw": rng.uniform(0, 300, n),
        "lw": rng.uniform(200, 420, n),
    }


def test_derivatives_of_bulk_fluxes():
    x = jax.tree.map(jnp.asarray, {**random_air(), "cm": 1.1, "ch": 0.9, "ce": 1.2, "albedo": 0.07})
    scheme = bulk.NCAR()
    report = check_derivatives(lambda x: of_arrays(scheme, **x), x, decades=2.0)
    assert report.passed, str(report)


def test_derivatives_are_finite_in_calm_neutral_and_extreme_air():
    """No wind, no difference of temperature, land's zeros, and the limits of stability."""
    values = jnp.asarray
    x = {
        "sst": values([15.0, 15.0, 0.0, 28.0, 5.0, 15.0]),
        "air": values([15.0 - 0.098, 14.0, 0.0, -40.0, 40.0, 15.0]),
        "q": values([0.0, 0.01, 0.0, 1e-4, 0.03, 0.01]),
        "u": values([0.0, 0.0, 0.0, 0.1, 0.1, 70.0]),
        "v": values([0.0] * 6),
        "sw": values([0.0] * 6),
        "lw": values([0.0] * 6),
        "cm": values(1.0),
        "ch": values(1.0),
        "ce": values(1.0),
        "albedo": values(0.066),
        "slp": values([1e5, 1e5, 0.0, 1e5, 1e5, 1e5]),
    }
    x = jax.tree.map(lambda a: a.astype(jnp.float32), x)  # where limits are met first
    low = bulk.NCAR(air_height=2.0)
    loss = lambda x: sum(jnp.sum(f) for f in of_arrays(low, **x).values())
    value, slope = jax.jit(
        jax.value_and_grad(loss), compiler_options={"xla_backend_optimization_level": 0}
    )(x)
    assert all(bool(jnp.isfinite(s).all()) for s in jax.tree.leaves((value, slope)))
    assert all(s.dtype == jnp.float32 for s in jax.tree.leaves((value, slope)))


def test_factors_scale_the_coefficients():
    x = jax.tree.map(jnp.asarray, random_air(20))
    scheme = bulk.NCAR()
    one, other = (
        fluxes(scheme, **x, cm=m, ch=h, ce=e, albedo=0.0) for m, h, e in ((1, 1, 1), (2, 3, 4))
    )
    for name, factor in (("drag", 2), ("sensible", 3), ("latent", 4), ("evaporation", 4)):
        np.testing.assert_allclose(other[name], one[name] * factor, rtol=1e-12)


# ---- light
def column(layers, bottom):
    """A grid of three columns: deep, with a partial bottom cell, and one layer; all that light
    needs of a grid."""
    dz = np.array(layers)
    depth = np.array([dz.sum(), bottom, layers[0]])
    top = np.cumsum(dz) - dz
    h = np.clip(depth - top[:, None], 0.0, dz[:, None])[:, None, :]
    below = (h[1:] > 0).astype(float)
    return SimpleNamespace(
        dz=jnp.asarray(dz[:, None, None]), mask_cw=Field(jnp.asarray(below), "cw"), h=h
    )


@pytest.mark.parametrize("kind", ["I", "III"])
def test_all_light_turns_into_heat(kind):
    """Paulson and Simpson's formula at the interfaces; the bottom cell, however thin, keeps what
    reaches it."""
    from dogcm.operators import diff_z_w2c

    layers = [5.0, 7.0, 10.0, 20.0, 40.0]
    g = column(layers, 25.0)
    params = dict(zip(shortwave.PARAMETERS, jnp.asarray(shortwave.JERLOV[kind])))
    entering = Field(jnp.asarray([[200.0, 150.0, 80.0]]), "c")
    light = jax.jit(lambda e, p: shortwave.penetrating(e, p, g))(entering, params)
    R, red, blue = shortwave.JERLOV[kind]
    share = lambda z: R * np.exp(-z / red) + (1 - R) * np.exp(-z / blue)
    np.testing.assert_allclose(
        light.data[:, 0, 0], 200.0 * share(np.cumsum(layers)[:-1]), rtol=1e-12
    )
    np.testing.assert_allclose(
        light.data[:, 0, 1], 150.0 * share(np.array([5.0, 12.0, 22.0, np.inf])), rtol=1e-12
    )
    assert (np.asarray(light.data[:, 0, 2]) == 0).all()
    heating = np.array(diff_z_w2c(light).data)
    heating[0] += np.asarray(entering.data)
    np.testing.assert_allclose(heating.sum(0), entering.data, rtol=1e-15)
    assert (heating[g.h == 0] == 0).all() and (heating >= 0).all()


def test_published_depth_of_light():
    """27 % of the light reaches 10 m in clear, 6 % in murky water."""
    share = {
        k: R * np.exp(-10 / a) + (1 - R) * np.exp(-10 / b)
        for k, (R, a, b) in shortwave.JERLOV.items()
    }
    assert share["I"] == pytest.approx(0.272, abs=2e-3) and share["III"] == pytest.approx(
        0.0627, abs=2e-3
    )
    assert list(share.values()) == sorted(share.values(), reverse=True)


# ---- freezing
def test_freezing_point():
    s = np.array([0.0, 2.0, 10.0, 34.0, 40.0])
    np.testing.assert_allclose(ice.freezing_point(s), gsw.CT_freezing_poly(s, 0, 1), atol=1e-6)
    np.testing.assert_allclose(ice.freezing_point(s), gsw.CT_freezing(s, 0, 1), atol=1e-4)
    # UNESCO (1983), algorithm 7: its check value at 500 dbar, less 7.53e-4 K dbar-1.
    assert float(ice.freezing_point(40.0, "millero")) == pytest.approx(
        -2.588567 + 500 * 7.53e-4, abs=1e-6
    )
    slope = jax.jit(jax.grad(ice.freezing_point))
    assert all(np.isfinite(float(slope(x))) for x in (0.0, 1e-9, 35.0))
