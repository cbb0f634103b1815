"""Sea ice in single columns: growth, melt, budgets, limits, derivatives."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.learning.derivatives import check_derivatives
from dogcm.physics.surface import SurfaceScheme, ice
from dogcm.physics.surface.bulk import NCAR, AirSea

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
DT, RHO0, CP = 7200.0, 1026.0, 3991.868
PHYSICS = SimpleNamespace(
    dt=DT, rho0=RHO0, heat_capacity=CP, surface=SurfaceScheme(bulk=NCAR(), ice=ice.SemtnerIce())
)
PARAMS = {n: jnp.asarray(getattr(ice.SemtnerIce(), n)) for n in ice.PARAMETERS}
FLOWS = ("sensible", "latent", "longwave", "shortwave", "evaporation")


def columns(n=64, seed=4, **given) -> dict[str, Field]:
    """Ice, water and air of n columns; random, but for what is given."""
    rng = np.random.default_rng(seed)
    thickness = rng.uniform(0, 3, n) * (rng.uniform(size=n) > 0.3)
    values = {
        "h": thickness,
        "frazil": rng.uniform(0, 0.02, n) * (rng.uniform(size=n) > 0.5),
        "sst": rng.uniform(-1.7, 3, n),
        "sss": rng.uniform(28, 35, n),
        "layer": rng.uniform(8, 50, n),
        "air": rng.uniform(-40, 5, n),
        "q": rng.uniform(2e-4, 5e-3, n),
        "sw": rng.uniform(0, 250, n),
        "lw": rng.uniform(150, 310, n),
        "speed": rng.uniform(0, 15, n),
        "snow": rng.uniform(0, 3e-8, n),
        "sensible": rng.normal(size=n) * 30,
        "evaporation": rng.uniform(0, 3e-5, n),
        "longwave": rng.uniform(-90, 0, n),
    }
    values |= given
    values["latent"] = values["evaporation"] * -ice.bulk.VAPORISATION
    values["shortwave"] = values["sw"] * 0.934
    return {
        k: Field(jnp.asarray(np.broadcast_to(v, (n,))[None], float), "c") for k, v in values.items()
    }


@jax.jit
def advance(c: dict, params: dict) -> dict[str, Field]:
    out = step(c, params)
    return {
        n: getattr(out, n) for n in ("thickness", "concentration", "heat", "water", "salt", *FLOWS)
    }


def step(c: dict, params: dict, physics=PHYSICS) -> ice.IceStep:
    air = AirSea(c["speed"], None, None, *(c[n] for n in FLOWS))
    now = {
        "air_temperature": c["air"],
        "specific_humidity": c["q"],
        "shortwave_down": c["sw"],
        "snowfall": c["snow"],
        "longwave_down": c["lw"],
        "wind_speed": c["speed"],
    }
    state = {"ice_thickness": c["h"], "ice_frazil": c["frazil"]}
    return ice.step(state, air, now, c["sst"], c["sss"], c["layer"], params, physics)


get = lambda f: np.asarray(f.data)[0]


def test_heat_water_and_salt_go_nowhere_else():
    """Ocean and ice together gain what air and snow bring, to round-off, cell by cell."""
    c = columns()
    out = {n: get(f) for n, f in advance(c, PARAMS).items()}
    h, frazil = get(c["h"]), get(c["frazil"])
    energy = lambda thickness: -ice.DENSITY * ice.FUSION * thickness
    # What meltwater brings at the temperature of the sea, as the tracer step has it.
    into_sea = (out["heat"] + RHO0 * CP * out["water"] * get(c["sst"])) * DT
    into_ice = energy(out["thickness"]) - energy(h + frazil)
    snow = -RHO0 * ice.FUSION * get(c["snow"])
    from_air = (out["sensible"] + out["latent"] + out["longwave"] + out["shortwave"] + snow) * DT
    np.testing.assert_allclose(into_sea + into_ice, from_air, atol=1e-14 * np.abs(energy(h)).max())
    ratio = ice.DENSITY / RHO0
    np.testing.assert_allclose(out["water"] * DT, -(out["thickness"] - h) * ratio, atol=1e-16)
    np.testing.assert_allclose(out["salt"], out["water"] * 4.0, rtol=1e-14)
    assert (
        (out["thickness"] >= 0).all()
        and (out["thickness"] == 0).any()
        and (out["thickness"] > h).any()
    )


def test_stefans_law():
    """Thick ice under cold still air grows as Stefan (1891) has it: dh/dt = k (T_f - T_s) / (rho L
    h)."""
    cold = -30.0
    radiation = 5.67e-8 * (cold + 273.15) ** 4  # keeps the surface at the temperature of the air
    c = columns(
        3,
        h=np.array([1.0, 2.0, 4.0]),
        frazil=0.0,
        sst=-1.8,
        sss=33.0,
        air=cold,
        sw=0.0,
        speed=1e-6,
        snow=0.0,
        lw=radiation,
        evaporation=0.0,
        longwave=0.0,
        sensible=0.0,
    )
    still = {
        **PARAMS,
        "ice_ocean_exchange": jnp.asarray(0.0),
        "ice_lead_thickness": jnp.asarray(1e-6),
    }
    out = advance(c, still)
    growth = (get(out["thickness"]) - get(c["h"])) / DT
    # The surface is warm enough to radiate away what is conducted to it.
    freezing = float(ice.freezing_point(33.0))
    balance = lambda t, h: 5.67e-8 * (t + 273.15) ** 4 - radiation - 2.03 / h * (freezing - t)
    surface = np.array([brentq(balance, cold, 0.0, args=(h,)) for h in get(c["h"])])
    expected = 2.03 / get(c["h"]) * (freezing - surface) / (ice.DENSITY * ice.FUSION)
    np.testing.assert_allclose(growth, expected, rtol=1e-3)
    assert growth[0] > growth[1] > growth[2] > 0


def test_ice_insulates_and_brine_stays_behind():
    """The same air takes less heat through thicker ice; what freezes leaves most of its salt in the
    sea."""
    thick = np.array([0.05, 0.3, 1.0, 3.0])
    c = columns(
        4,
        h=thick,
        frazil=0.0,
        sst=-1.8,
        sss=33.0,
        air=-25.0,
        q=4e-4,
        sw=0.0,
        speed=7.0,
        snow=0.0,
        lw=180.0,
        evaporation=1e-5,
        longwave=-120.0,
        sensible=-250.0,
    )
    out = advance(c, PARAMS)
    lost = -sum(get(out[n]) for n in ("sensible", "latent", "longwave", "shortwave"))
    assert (np.diff(lost) < 0).all() and lost[0] > 250 and lost[-1] < 60
    assert (get(out["water"])[1:] < 0).all()
    # Salinity that a layer of 20 m gains from 1 m of water lost with 4 g/kg of salt.
    water, salt = get(out["water"])[-1] * DT, get(out["salt"])[-1] * DT
    after = (33.0 * 20.0 + salt) / (20.0 + water)
    assert after > 33.0


def test_summer_melts_ice_and_warms_open_water():
    c = columns(
        3,
        h=np.array([0.0, 1e-4, 2.0]),
        frazil=0.0,
        sst=4.0,
        sss=33.0,
        air=8.0,
        q=6e-3,
        sw=300.0,
        lw=320.0,
        speed=5.0,
        snow=0.0,
        sensible=10.0,
        evaporation=0.0,
        longwave=-40.0,
    )
    out = advance(c, PARAMS)
    left = get(out["thickness"])
    assert left[0] == 0 and 0 <= left[1] < 0.95e-4 and 1.95 < left[2] < 2.0
    assert get(out["heat"])[0] == pytest.approx(10.0 - 40.0 + 0.934 * 300, rel=1e-12)
    assert get(out["water"])[2] > 0


def test_freezing_ends_at_the_freezing_point():
    """Heat that lifts the layer to its freezing point is found in the crystals."""
    rows = [-3.0, -1.0, -2.5, 0.0], [34.0, 34.0, 30.0, 0.0], [20.0] * 4, [1.0, 1.0, 1.0, 0.0]
    t, s, h, wet = (jnp.asarray([v]) for v in rows)
    warm, frazil = jax.jit(lambda *a: ice.freeze(*(Field(x, "c") for x in a), PHYSICS))(
        t, s, h, wet
    )
    point = np.asarray(ice.freezing_point(s))[0]
    np.testing.assert_allclose(get(warm), [point[0], -1.0, point[2], 0.0], rtol=1e-14)
    gained = (get(warm) - np.asarray(t)[0]) * 20.0 * RHO0 * CP
    np.testing.assert_allclose(get(frazil) * ice.DENSITY * ice.FUSION, gained, rtol=1e-14)
    assert get(frazil)[0] > 0 and get(frazil)[1] == 0


def test_cover_is_smooth_from_no_ice_on():
    a, there = ice.cover(jnp.asarray([0.0, 0.5, 3.0]), 0.5)
    np.testing.assert_allclose(a, [0.0, np.sqrt(0.5), 3 / np.sqrt(9.25)])
    np.testing.assert_allclose(there, [0.5, 0.5 * np.sqrt(2), np.sqrt(9.25)])
    assert float(jax.grad(lambda h: ice.cover(h, 0.5)[0])(0.0)) == pytest.approx(2.0)


def test_derivatives():
    """Away from the points where all ice goes; the others are looked at below."""
    c = columns(16, h=np.linspace(0.2, 2.5, 16), frazil=0.01, air=np.linspace(-35, -3, 16), sw=20.0)
    free = {n: c[n] for n in ("h", "frazil", "sst", "sss")}
    report = check_derivatives(
        lambda x: advance({**c, **x["c"]}, x["p"]), {"c": free, "p": PARAMS}, decades=2.0
    )
    assert report.passed, str(report)


def test_derivatives_are_finite_on_land_without_ice_and_when_it_goes():
    zero = dict.fromkeys(
        (
            "frazil",
            "sst",
            "sss",
            "air",
            "q",
            "sw",
            "lw",
            "speed",
            "snow",
            "sensible",
            "evaporation",
            "longwave",
        ),
        0.0,
    )
    c = columns(3, **zero, h=np.array([0.0, 1e-7, 1.0]), layer=np.array([0.0, 10.0, 10.0]))
    c = jax.tree.map(lambda x: x.astype(jnp.float32), c)
    p = jax.tree.map(lambda x: x.astype(jnp.float32), PARAMS)
    loss = lambda c, p: sum(jnp.sum(f.data) for f in advance(c, p).values())
    found = jax.jit(jax.value_and_grad(loss, (0, 1)))(c, p)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(found))
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found))
