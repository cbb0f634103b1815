"""Monitor: the few numbers that tell whether a run is well.

Sums are order-independent (:mod:`dogcm.halo.sums`), so the monitor's file is the same on every layout.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.dynamics.continuity import stretch_c
from dogcm.halo import exact_sum
from dogcm.timestepping.state import State


@dataclass(frozen=True)
class Reading:
    """One line of the monitor.

    Attributes:
        time: s. volume: m3. heat: J above 0 degC. salt: kg. kinetic_energy: J m-3, volume mean.
        temperature, salinity: volume means (degC, g kg-1). speed: largest (m s-1). eta_min, eta_max: m.
        cfl: largest Courant number of the horizontal flow. finite: whether every value is a number.
    """

    time: float
    volume: float
    heat: float
    salt: float
    kinetic_energy: float
    temperature: float
    salinity: float
    speed: float
    eta_min: float
    eta_max: float
    cfl: float
    finite: bool

    @classmethod
    def names(cls) -> list[str]:
        return [f.name for f in fields(cls)]


class Monitor:
    """Computes :class:`Reading` for the states of one model; every rank gets the same numbers."""

    def __init__(self, halos, physics):
        self._halos, self._physics = halos, physics
        self._read = jax.jit(self._measure)

    def __call__(self, state: State, grid) -> Reading:
        values = {k: np.asarray(v) for k, v in self._read(state, grid).items()}
        p = self._physics
        volume = float(values["volume"])
        heat, salt = float(values["heat"]), float(values["salt"])
        return Reading(
            time=float(values["time"]), volume=volume,
            heat=heat * p.rho0 * p.heat_capacity, salt=salt * p.rho0 * 1e-3,
            kinetic_energy=float(values["energy"]) / volume * p.rho0,
            temperature=heat / volume, salinity=salt / volume, speed=float(values["speed"]),
            eta_min=float(-values["eta_low"]), eta_max=float(values["eta_high"]), cfl=float(values["cfl"]),
            finite=bool(values["finite"]),
        )  # fmt: skip

    def _measure(self, state: State, grid) -> dict:
        cell = (grid.h_c * grid.area_c * stretch_c(state.eta, grid)).interior.astype(jnp.float64)
        u, v = state.u.interior, state.v.interior
        h_u, h_v = (grid.h_u * grid.area_u).interior, (grid.h_v * grid.area_v).interior
        sums = exact_sum(
            self._halos, cell, cell * state.temperature.interior, cell * state.salinity.interior,
            0.5 * h_u * u * u, 0.5 * h_v * v * v,
        )  # fmt: skip
        dt = self._physics.dt
        courant = jnp.maximum(jnp.abs(u) * dt / grid.dx_u.interior, jnp.abs(v) * dt / grid.dy_v.interior)
        wet = grid.wet_c.interior > 0
        eta = state.eta.interior
        low = jnp.where(wet, -eta, -jnp.inf)
        high = jnp.where(wet, eta, -jnp.inf)
        speed = jnp.maximum(jnp.abs(u).max(), jnp.abs(v).max())
        extremes = self._halos.pmax(jnp.stack([x.astype(jnp.float64) for x in (
            speed, courant.max(), low.max(), high.max())]))  # fmt: skip
        return dict(
            time=state.time, volume=sums[0], heat=sums[1], salt=sums[2], energy=sums[3] + sums[4],
            speed=extremes[0], cfl=extremes[1], eta_low=extremes[2], eta_high=extremes[3],
            finite=jnp.isfinite(sums).all() & jnp.isfinite(extremes).all(),
        )  # fmt: skip
