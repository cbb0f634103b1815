"""Sea ice without motion: the zero-layer model of Semtner (1976),
doi:10.1175/1520-0485(1976)006<0379:AMFTTG>2.0.CO;2.

The state is one number per cell, the mean thickness h. Ice covers the part ``A = h / H`` of the
cell, ``H = sqrt(h^2 + h0^2)`` thick, so that growth first closes the water and then thickens the
ice: smooth everywhere, also at h = 0. Ice conducts heat and stores none. What it exchanges with the
sea follows from budgets, which therefore close to round-off::

    heat         rho0 cp sum(T dV) - rho_ice L sum(h dA)          ice of 0 degC is L below water of
    0 degC fresh water  sum(dV) + rho_ice / rho0 sum(h dA)
    salt         sum(S dV) + S_ice rho_ice / rho0 sum(h dA)

Freezing takes its water out of the sea, and the ice's weight presses on it: sea level falls by what
the weight makes up for, so that ice growing in place moves no water. At the end of a step, water
below its freezing point is warmed by what then is ``ice_frazil``, crystals that count in the budget
of heat at once; their water and salt leave the sea, and they join h, in the next step.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.components.bijectors import Interval
from dogcm.field import Field, align
from dogcm.physics.interfaces import SeaIce
from dogcm.physics.surface import bulk

DENSITY = 905.0  # kg m-3
FUSION = 3.34e5  # J kg-1
SUBLIMATION = bulk.VAPORISATION + FUSION
TRANSFER = 1.63e-3  # drag coefficient, Stanton and Dalton number of ice (Large and Yeager 2004)
STATE = ("ice_thickness", "ice_frazil")
PARAMETERS = (
    "ice_albedo",
    "ice_melting_albedo",
    "ice_conductivity",
    "ice_salinity",
    "ice_lead_thickness",
    "ice_ocean_exchange",
)
_SATURATION = dict(factor=11637800.0, exponent=5897.8)  # over ice
_NEWTON = 3
# Air temperatures (degC) between which the surface goes from cold to melting.
_COLD, _MELTING = -2.0, 0.0
_LEAST_SALINITY, _THINNEST = 1e-6, 1e-3  # g kg-1, m: land holds zeros


def freezing_point(salinity, formula: str = "teos10"):
    """Of air-saturated sea water at the surface (degC).

    ``teos10``: conservative temperature of absolute salinity (g kg-1), the polynomial of McDougall
    et al. (2014), doi:10.1175/JTECH-D-13-00129.1. ``millero``: temperature of practical salinity,
    UNESCO (1983).
    """
    s = jnp.maximum(salinity, _LEAST_SALINITY)
    if formula == "millero":
        return s * (-0.0575 + 1.710523e-3 * jnp.sqrt(s) - 2.154996e-4 * s)
    r = s * 0.01
    x = jnp.sqrt(r)
    inner = -11.88081601230542 + x * (
        13.34658511480257 + x * (-8.722761043208607 + x * 2.082038908808201)
    )
    pure = 0.017947064327968736 + r * (-6.076099099929818 + x * (4.883198653547851 + x * inner))
    air = (
        1e-3
        * (2.4 - 0.014289763856964 * s)
        * (1.0 + 0.057000649899720 * (1.0 - s * (1.0 / 35.16504)))
    )
    return pure - air


def cover(thickness, lead):
    """Part of the cell under ice, and the thickness there (m). lead: h0, where ice is thin."""
    there = jnp.sqrt(thickness * thickness + lead * lead)
    return thickness / there, there


class SemtnerIce(SeaIce):
    """Thermodynamic sea ice without motion (Semtner 1976)."""

    kind: ClassVar[str] = "semtner"
    source: ClassVar[str] = "doi:10.1175/1520-0485(1976)006<0379:AMFTTG>2.0.CO;2"
    ice_albedo: float = parameter(
        0.75,
        "1",
        "albedo where the air is colder than -2 degC",
        bijector=Interval(0.0, 1.0),
        gt=0,
        lt=1,
    )
    ice_melting_albedo: float = parameter(
        0.60,
        "1",
        "albedo where it is warmer than 0 degC",
        bijector=Interval(0.0, 1.0),
        gt=0,
        lt=1,
    )
    ice_conductivity: float = parameter(2.03, "W m-1 K-1", "thermal conductivity", gt=0)
    ice_salinity: float = parameter(4.0, "g kg-1", "salinity", ge=0)
    ice_lead_thickness: float = parameter(
        0.3, "m", "thickness below which open water remains", gt=0
    )
    ice_ocean_exchange: float = parameter(
        6e-5, "m s-1", "velocity of heat exchange with the sea below", ge=0
    )

    def carries(self) -> tuple[str, ...]:
        return STATE

    def holds(self) -> dict[str, dict[str, float]]:
        """Ice is water without the heat of fusion; the water of crystals is still in the sea."""
        heat = -DENSITY * FUSION
        return {"ice_thickness": {"heat": heat, "water": DENSITY}, "ice_frazil": {"heat": heat}}

    def at_rest(self, like: Field, params: dict, grid) -> dict[str, Field]:
        """A sea without ice."""
        blank = like.level(0)
        return {n: blank.with_data(jnp.zeros_like(blank.data)).named(n) for n in STATE}

    def check(self, config) -> None:
        if config.forcing.bulk is None:
            raise ValueError(
                "physics.sea_ice needs the air above the ice: set forcing.bulk: ncar, with its "
                "files"
            )


@dataclass(frozen=True)
class IceStep:
    """What a step does to ice and sea, per area of the cell; downward is positive.

    Attributes:
        thickness: after the step (m). concentration: at its start (1).
        heat: into the sea, without what water carries (W m-2). water: freshening (m s-1). salt: g
            kg-1 m s-1.
        sensible, latent, longwave, shortwave: of air and surface (W m-2), over water and ice.
        evaporation: kg m-2 s-1, positive up, likewise.
    """

    thickness: Field
    concentration: Field
    heat: Field
    water: Field
    salt: Field
    sensible: Field
    latent: Field
    longwave: Field
    shortwave: Field
    evaporation: Field


def step(
    closures: dict,
    air: bulk.AirSea,
    now: dict,
    temperature: Field,
    salinity: Field,
    thickness: Field,
    params: dict,
    physics,
) -> IceStep:
    """Growth and melt by heat from the air through the ice and from the sea below.

    Args:
        closures: ``ice_thickness`` and ``ice_frazil`` (m). air: fluxes over open water.
        temperature, salinity, thickness: of the surface layer.
    """
    flows = ("sensible", "latent", "longwave", "shortwave", "evaporation")
    speed = now.get("wind_speed")
    operands = {
        "h": closures["ice_thickness"],
        "frazil": closures["ice_frazil"],
        "sst": temperature,
        "sss": salinity,
        "layer": thickness,
        "air": now["air_temperature"],
        "q": now["specific_humidity"],
        "sw": now["shortwave_down"],
        "lw": now["longwave_down"],
        "speed": speed,
        "u": air.wind_u if speed is None else None,
        "v": air.wind_v if speed is None else None,
        "slp": now.get("sea_level_pressure"),
        "snow": now.get("snowfall"),
        **{n: getattr(air, n) for n in flows},
        **{n: params[n] for n in PARAMETERS},
    }
    given = {n: f for n, f in operands.items() if f is not None}
    arrays, at, halo = align(*given.values(), what="step the ice with")
    out = _step(physics, SimpleNamespace(**{**dict.fromkeys(operands), **dict(zip(given, arrays))}))
    return IceStep(**{n: Field(a, at, halo).named(n) for n, a in out.items()})


def _step(physics, x) -> dict:
    """:func:`step` of arrays; ``x``: its operands by name."""
    dt, rho0, cp = physics.dt, physics.rho0, physics.heat_capacity
    a, there = cover(x.h, x.ice_lead_thickness)
    freezing = freezing_point(x.sss, physics.surface.freezing_point)
    over = _over_ice(x, there, freezing)
    out = _mixed(x, a, over)
    # Vapour leaves with the heat of vaporisation; that of fusion is in the ice which is gone with
    # it.
    out["latent"] = out["evaporation"] * (-bulk.VAPORISATION)
    snow_heat = 0.0 if x.snow is None else x.snow * (-rho0 * FUSION)
    on_ice = (
        sum(over[n] for n in ("sensible", "longwave", "shortwave"))
        - over["evaporation"] * bulk.VAPORISATION
    )
    entering = out["sensible"] + out["latent"] + out["longwave"] + out["shortwave"] + snow_heat

    # Backward Euler in the layer's temperature: a thin layer cannot overshoot.
    velocity = x.ice_ocean_exchange
    rate = velocity / (1.0 + velocity * dt / jnp.maximum(x.layer, _THINNEST))
    from_sea = (x.sst - freezing) * rate * (rho0 * cp)
    per_metre = DENSITY * FUSION
    old = x.h + x.frazil
    new = jnp.maximum(old - a * (on_ice + snow_heat + from_sea) * (dt / per_metre), 0.0)
    new, entering = bulk.stored(new, entering)
    water = (x.h - new) * (DENSITY / rho0 / dt)
    # Water from ice comes at 0 degC; the tracer step lets all water come at the temperature of the
    # sea.
    heat = entering + (new - old) * (per_metre / dt) - water * x.sst * (rho0 * cp)
    own = {"thickness": new, "concentration": a, "heat": heat, "water": water}
    return {**own, "salt": water * x.ice_salinity, **out}


def _over_ice(x, thickness, freezing) -> dict:
    """Fluxes at the top of ice of this thickness (m)."""
    speed = jnp.sqrt(x.u * x.u + x.v * x.v + 1e-8) if x.speed is None else x.speed
    cold = jnp.clip((_MELTING - x.air) * (1.0 / (_MELTING - _COLD)), 0.0, 1.0)
    albedo = x.ice_melting_albedo + (x.ice_albedo - x.ice_melting_albedo) * cold
    density = bulk.air_density(x.slp, x.air, x.q)
    absorbed, conductance = (1.0 - albedo) * x.sw, x.ice_conductivity / thickness
    return _surface(x.air, x.q, density, speed, absorbed, x.lw, conductance, freezing)


def _mixed(x, part, over: dict) -> dict:
    """Fluxes over water and ice, ice on this part."""
    names = ("sensible", "longwave", "shortwave", "evaporation")
    return {n: getattr(x, n) + part * (over[n] - getattr(x, n)) for n in names}


def _surface(air, q, density, speed, absorbed, lw, conductance, freezing) -> dict:
    """Fluxes at the top of the ice, whose temperature balances them with what is conducted, or is
    that of melting.

    Newton's method from the temperature of the air; the balance is a concave function of
    temperature.
    """
    exchange = density * TRANSFER * speed
    wall = exchange * bulk.AIR_HEAT_CAPACITY

    def saturated(t):
        return bulk.saturation_humidity(t, density, **_SATURATION)

    t = jnp.minimum(air, 0.0)
    for _ in range(_NEWTON):
        kelvin = t + bulk.KELVIN
        cube = kelvin * kelvin * kelvin * bulk.STEFAN_BOLTZMANN
        humidity = saturated(t)
        steeper = _SATURATION["exponent"] / (kelvin * kelvin)
        net = (
            absorbed
            + lw
            - cube * kelvin
            + wall * (air - t)
            - exchange * SUBLIMATION * (humidity - q)
        )
        slope = 4.0 * cube + wall + exchange * SUBLIMATION * humidity * steeper + conductance
        t = t + (net + conductance * (freezing - t)) / slope
        (t,) = bulk.stored(t)
    t = jnp.minimum(t, 0.0)
    kelvin2 = (t + bulk.KELVIN) * (t + bulk.KELVIN)
    return {
        "sensible": wall * (air - t),
        "longwave": lw - bulk.STEFAN_BOLTZMANN * kelvin2 * kelvin2,
        "shortwave": absorbed,
        "evaporation": exchange * (saturated(t) - q),
    }


def freeze(
    temperature: Field, salinity: Field, thickness: Field, wet: Field, physics
) -> tuple[Field, Field]:
    """Warm a layer to its freezing point by turning as much of its water into crystals.

    Args:
        temperature, salinity, thickness: of the surface layer at the end of the step.

    Returns:
        its temperature, nowhere below freezing, and ``ice_frazil`` (m).
    """
    (t, s, h, w), at, halo = align(temperature, salinity, thickness, wet, what="freeze")
    missing = jnp.maximum(freezing_point(s, physics.surface.freezing_point) - t, 0.0) * w
    metres = physics.rho0 * physics.heat_capacity / (DENSITY * FUSION)
    return Field(t + missing, at, halo), Field(missing * h * metres, at, halo).named("ice_frazil")


def heat_of_frazil(closures: dict, physics):
    """What freezing at the end of a step has put into the sea (K m), an array; 0 without ice."""
    if "ice_frazil" not in closures:
        return jnp.zeros(())
    return closures["ice_frazil"].interior * (
        DENSITY * FUSION / (physics.rho0 * physics.heat_capacity)
    )


def load(thickness: Field, physics) -> Field:
    """The ice's weight as metres of sea water."""
    return thickness * (DENSITY / physics.rho0)
