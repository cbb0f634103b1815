"""Turbulent and radiative fluxes between air and sea: the NCAR bulk formulae.

Large and Yeager (2004), NCAR Tech. Note TN-460+STR, doi:10.5065/D6KK98Q6, and (2009),
doi:10.1007/s00382-008-0441-3. Transfer coefficients in neutral air depend on the wind alone;
stability (Monin-Obukhov) changes them, by a fixed number of iterations. The jump of the Stanton
number between stable and unstable air is smoothed over a narrow range, so that fluxes have
derivatives; nothing else departs from the papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import option, parameter
from dogcm.field import Field, align
from dogcm.physics.interfaces import Bulk

AIR_DENSITY = 1.22  # kg m-3, where no pressure is given
AIR_HEAT_CAPACITY = 1000.5  # J kg-1 K-1
GAS_CONSTANT = 287.04  # J kg-1 K-1, dry air
VAPORISATION = 2.5e6  # J kg-1
STEFAN_BOLTZMANN = 5.67e-8  # W m-2 K-4
FRESH_WATER_DENSITY = 1000.0  # kg m-3
KELVIN = 273.15
REFERENCE_HEIGHT = 10.0  # m, of the wind
_VON_KARMAN, _GRAVITY, _VIRTUAL = 0.4, 9.80665, 0.608
_LAPSE = 0.0098  # K m-1, dry-adiabatic
_LEAST_WIND = 0.5  # m s-1: coefficients grow without limit below
_STRONGEST = 33.0  # m s-1: the drag coefficient saturates (2009)
_NEUTRAL = 1e-3  # |z/L| over which the Stanton number changes
_LARGEST_ZETA = 10.0
_LEAST_PRESSURE = 5e4  # Pa: land holds zeros
FACTORS = ("bulk_momentum_factor", "bulk_heat_factor", "bulk_moisture_factor")


class NCAR(Bulk):
    """Heat, evaporation and stress from the air by the NCAR bulk formulae (Large and Yeager
    2009)."""

    kind: ClassVar[str] = "ncar"
    source: ClassVar[str] = "Large and Yeager (2009), doi:10.1007/s00382-008-0441-3"
    iterations: int = option(2, "1", "iterations for the stability of the air", ge=2, le=5)
    air_height: float = option(
        10.0, "m", "height of air temperature and humidity (winds: 10 m)", ge=1, le=100
    )
    relative_wind: bool = option(True, "1", "stress from the wind relative to the current")
    bulk_momentum_factor: float = parameter(1.0, "1", "factor of the drag coefficient", ge=0)
    bulk_heat_factor: float = parameter(1.0, "1", "factor of the Stanton number", ge=0)
    bulk_moisture_factor: float = parameter(1.0, "1", "factor of the Dalton number", ge=0)


@dataclass(frozen=True)
class AirSea:
    """Fluxes of open water; downward is positive, but for evaporation.

    Attributes:
        drag: stress over wind (kg m-2 s-1). wind_u, wind_v: relative to the current (m s-1), or
            None.
        sensible, latent, longwave, shortwave: W m-2, the last two net. evaporation: kg m-2 s-1.
    """

    drag: Field
    wind_u: Field | None
    wind_v: Field | None
    sensible: Field
    latent: Field
    longwave: Field
    shortwave: Field
    evaporation: Field


def neutral_drag(wind):
    """Drag coefficient of neutral air by wind at 10 m (m s-1): ``1000 C = 2.70/U + 0.142 + U/13.09
    - 3.14807e-10 U^6``,
    constant above 33 m/s (2009, equation 11)."""
    u = jnp.clip(wind, _LEAST_WIND, _STRONGEST)
    cube = u * u * u
    return (2.70 / u + 0.142 + u / 13.09 - 3.14807e-10 * cube * cube) * 1e-3


def neutral_stanton(root_drag, stable):
    """Of sensible heat: 0.0180 in stable, 0.0327 in unstable air, times the root of the drag
    coefficient."""
    return (32.7 + (18.0 - 32.7) * stable) * 1e-3 * root_drag


def neutral_dalton(root_drag):
    """Of evaporation."""
    return 34.6e-3 * root_drag


def saturation_humidity(celsius, density, factor=640380.0, exponent=5107.4):
    """Specific humidity (kg kg-1) of air saturated over pure water (2004, equation 5)."""
    return factor / density * jnp.exp(-exponent / (celsius + KELVIN))


def sea_humidity(celsius, density):
    """Salt lowers it by 2 %."""
    return 0.98 * saturation_humidity(celsius, density)


def _stable_part(x, width):
    """1 for x far above 0, 0 far below, smooth between."""
    return 0.5 + 0.5 * x / jnp.sqrt(x * x + width * width)


def _psi(zeta):
    """Integrated stability functions of momentum and of heat (2004, appendix)."""
    x2 = jnp.sqrt(1.0 - 16.0 * jnp.minimum(zeta, 0.0))
    x = jnp.sqrt(x2)
    stable = -5.0 * jnp.maximum(zeta, 0.0)
    # arctan(x) - pi/4 in one, which has no rounding error where x is 1.
    momentum = jnp.log((1.0 + x) * (1.0 + x) * (1.0 + x2) * 0.125) - 2.0 * jnp.arctan(
        (x - 1.0) / (x + 1.0)
    )
    return momentum + stable, 2.0 * jnp.log(0.5 + 0.5 * x2) + stable


def transfer_coefficients(
    wind, air, humidity, sea, saturated, iterations: int, height: float = REFERENCE_HEIGHT
):
    """Drag, Stanton and Dalton numbers at 10 m, and air temperature and humidity brought to 10 m.

    Args:
        wind: at 10 m (m s-1). air: potential temperature at ``height`` (degC). humidity: there (kg
            kg-1).
        sea: temperature (degC). saturated: specific humidity at it (kg kg-1). iterations: 2 to 5.
    """
    u = jnp.maximum(wind, _LEAST_WIND)
    virtual = (air + KELVIN) * (1.0 + _VIRTUAL * humidity)
    warmer, moister = air - sea, humidity - saturated
    neutral = neutral_drag(u)
    root = jnp.sqrt(neutral)
    drag, dalton = neutral, neutral_dalton(root)
    # What counts for stability is buoyancy: temperature and moisture together.
    stanton = neutral_stanton(root, _stable_part(warmer + _VIRTUAL * moister * (air + KELVIN), 0.1))
    shifted_t, shifted_q = air, humidity
    for _ in range(iterations):
        # (u*, T*, q*) make the Obukhov length; here their combinations without the roots.
        buoyancy = _GRAVITY * (
            stanton * warmer / virtual + dalton * moister / (humidity + 1.0 / _VIRTUAL)
        )
        zeta = _VON_KARMAN * REFERENCE_HEIGHT * buoyancy / (drag * jnp.sqrt(drag) * u * u)
        zeta = jnp.clip(zeta, -_LARGEST_ZETA, _LARGEST_ZETA)
        psi_m, psi_h = stored(*_psi(zeta))
        if height != REFERENCE_HEIGHT:
            _, psi_there = _psi(zeta * (height / REFERENCE_HEIGHT))
            profile = (jnp.log(REFERENCE_HEIGHT / height) - psi_h + psi_there) / (
                _VON_KARMAN * jnp.sqrt(drag)
            )
            shifted_t, shifted_q = (
                air + stanton * warmer * profile,
                humidity + dalton * moister * profile,
            )
            warmer, moister = shifted_t - sea, shifted_q - saturated
        neutral = neutral_drag(u / (1.0 - root * psi_m * (1.0 / _VON_KARMAN)))
        root = jnp.sqrt(neutral)
        slower = 1.0 / (1.0 - root * psi_m * (1.0 / _VON_KARMAN))
        drag = neutral * slower * slower
        stanton = neutral_stanton(root, _stable_part(zeta, _NEUTRAL))
        dalton = neutral_dalton(root)
        stanton = stanton * slower / (1.0 - stanton * psi_h / (_VON_KARMAN * root))
        dalton = dalton * slower / (1.0 - dalton * psi_h / (_VON_KARMAN * root))
        # Stored: the compiler would compute all iterations anew for each flux that uses them.
        drag, stanton, dalton, root = stored(drag, stanton, dalton, root)
    return drag, stanton, dalton, shifted_t, shifted_q


def stored(*arrays) -> tuple:
    """The same values, computed once, here."""
    return jax.lax.optimization_barrier(arrays)


def air_density(now_pressure, celsius, humidity):
    """kg m-3; constant without pressure, as in the papers."""
    if now_pressure is None:
        return AIR_DENSITY
    virtual = (celsius + KELVIN) * (1.0 + _VIRTUAL * humidity)
    return jnp.maximum(now_pressure, _LEAST_PRESSURE) / (GAS_CONSTANT * virtual)


def ncar(
    now: dict, temperature: Field, current: tuple | None, params: dict, scheme: NCAR
) -> AirSea:
    """Fluxes over open water.

    Args:
        now: this moment's records. temperature: of the sea surface (degC).
        current: eastward and northward, at cell centres (m s-1), or None.
        params: factors of the transfer coefficients, ``ocean_albedo``.
    """
    vector = (now["wind_u"], now["wind_v"]) if "wind_u" in now and "wind_v" in now else None
    if vector is not None and current is not None:
        vector = tuple(w - c for w, c in zip(vector, current))
    operands = {
        "sst": temperature,
        "air": now["air_temperature"],
        "q": now["specific_humidity"],
        "sw": now["shortwave_down"],
        "lw": now["longwave_down"],
        "speed": now.get("wind_speed"),
        "u": vector and vector[0],
        "v": vector and vector[1],
        "slp": now.get("sea_level_pressure"),
        "cm": params[FACTORS[0]],
        "ch": params[FACTORS[1]],
        "ce": params[FACTORS[2]],
        "albedo": params["ocean_albedo"],
    }
    given = {n: f for n, f in operands.items() if f is not None}
    arrays, at, halo = align(*given.values(), what="compute bulk fluxes of")
    x = SimpleNamespace(**{**dict.fromkeys(operands), **dict(zip(given, arrays))})
    out = _fluxes(scheme, x)
    fields = {n: Field(a, at, halo).named(n) for n, a in out.items()}
    return AirSea(wind_u=vector and vector[0], wind_v=vector and vector[1], **fields)


def _fluxes(scheme, x) -> dict:
    """Of arrays; ``x``: the operands by name."""
    speed = jnp.sqrt(x.u * x.u + x.v * x.v + 1e-8) if x.speed is None else x.speed
    potential = x.air + _LAPSE * scheme.air_height
    density = air_density(x.slp, x.air, x.q)
    saturated = sea_humidity(x.sst, density)
    drag, stanton, dalton, theta, humidity = transfer_coefficients(
        speed, potential, x.q, x.sst, saturated, scheme.iterations, scheme.air_height
    )
    mass = density * jnp.maximum(speed, _LEAST_WIND)
    evaporation = mass * dalton * x.ce * (saturated - humidity)
    kelvin2 = (x.sst + KELVIN) * (x.sst + KELVIN)
    return {
        "drag": mass * drag * x.cm,
        "sensible": mass * stanton * x.ch * AIR_HEAT_CAPACITY * (theta - x.sst),
        "latent": -VAPORISATION * evaporation,
        "longwave": x.lw - STEFAN_BOLTZMANN * kelvin2 * kelvin2,
        "shortwave": (1.0 - x.albedo) * x.sw,
        "evaporation": evaporation,
    }
