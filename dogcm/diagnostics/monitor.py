"""Monitor: the few numbers that tell whether a run is well.

Sums are order-independent (:mod:`dogcm.halo.sums`), so the monitor's file is the same on every
layout.
With its checksum of the state it tells whether two runs are the same to the bit: ``dogcm
    compare-stats A B``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import jax.numpy as jnp
import numpy as np

from dogcm.diagnostics.checksum import state_checksum
from dogcm.dynamics.continuity import stretch_c
from dogcm.dynamics.momentum import vorticity
from dogcm.field import exchange
from dogcm.halo import exact_sum, once
from dogcm.timestepping.state import State


@dataclass(frozen=True)
class Reading:
    """One line of the monitor.

    Attributes:
        time: s. volume: m3. heat: J above 0 degC. salt: kg. kinetic_energy: J m-3, volume mean.
        temperature, salinity: volume means (degC, g kg-1). speed: largest (m s-1). eta_min,
            eta_max: m.
        cfl: largest Courant number of the horizontal flow. enstrophy: half the mean squared
            vorticity (s-2).
        sst: area mean of the first layer's temperature (degC). finite: whether every value is a
            number.
        checksum: of all bits of the state, hexadecimal (:mod:`dogcm.diagnostics.checksum`).
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
    enstrophy: float
    sst: float
    finite: bool
    checksum: str

    @classmethod
    def names(cls) -> list[str]:
        return [f.name for f in fields(cls)]


class Monitor:
    """Computes :class:`Reading` for the states of one model; every rank gets the same numbers."""

    def __init__(self, halos, physics):
        self._halos, self._physics = halos, physics
        self._read = self._halos.jit(self._measure)

    def __call__(self, state: State, grid) -> Reading:
        values = {k: np.asarray(v) for k, v in self._read(state, grid).items()}
        p = self._physics
        volume = float(values["volume"])
        heat, salt = float(values["heat"]), float(values["salt"])
        return Reading(
            time=float(values["time"]),
            volume=volume,
            heat=heat * p.rho0 * p.heat_capacity,
            salt=salt * p.rho0 * 1e-3,
            kinetic_energy=float(values["energy"]) / volume * p.rho0,
            temperature=heat / volume,
            salinity=salt / volume,
            speed=float(values["speed"]),
            eta_min=float(-values["eta_low"]),
            eta_max=float(values["eta_high"]),
            cfl=float(values["cfl"]),
            enstrophy=float(values["enstrophy"]) / volume,
            sst=float(values["warmth"]) / float(values["area"]),
            finite=bool(values["finite"]),
            checksum=f"{int(values['checksum']):016x}",
        )

    def _measure(self, state: State, grid) -> dict:
        cell = (grid.h_c * grid.area_c * stretch_c(state.eta, grid)).interior.astype(jnp.float64)
        cell = once(self._halos, cell)
        u, v = state.u.interior, state.v.interior
        h_u, h_v = (grid.h_u * grid.area_u).interior, (grid.h_v * grid.area_v).interior
        sums = exact_sum(
            self._halos,
            cell,
            cell * state.temperature.interior,
            cell * state.salinity.interior,
            once(self._halos, 0.5 * h_u * u * u, "u"),
            0.5 * h_v * v * v,
            *self._surface(state, grid),
            self._enstrophy(state, grid),
        )
        dt = self._physics.dt
        courant = jnp.maximum(
            jnp.abs(u) * dt / grid.dx_u.interior, jnp.abs(v) * dt / grid.dy_v.interior
        )
        wet = grid.wet_c.interior > 0
        eta = state.eta.interior
        low = jnp.where(wet, -eta, -jnp.inf)
        high = jnp.where(wet, eta, -jnp.inf)
        speed = jnp.maximum(jnp.abs(u).max(), jnp.abs(v).max())
        extremes = self._halos.pmax(
            jnp.stack(
                [x.astype(jnp.float64) for x in (speed, courant.max(), low.max(), high.max())]
            )
        )
        return dict(
            time=state.time,
            volume=sums[0],
            heat=sums[1],
            salt=sums[2],
            energy=sums[3] + sums[4],
            area=sums[5],
            warmth=sums[6],
            enstrophy=sums[7],
            checksum=state_checksum(state, grid, self._halos),
            speed=extremes[0],
            cfl=extremes[1],
            eta_low=extremes[2],
            eta_high=extremes[3],
            finite=jnp.isfinite(sums).all() & jnp.isfinite(extremes).all(),
        )

    def _surface(self, state: State, grid) -> tuple:
        """Area, and area times temperature, of the first layer."""
        area = once(self._halos, (grid.area_c * grid.wet_c).interior.astype(jnp.float64))
        return area, area * state.temperature.interior[0]

    def _enstrophy(self, state: State, grid):
        """Half the squared vorticity times volume, at corners (m3 s-2)."""
        u, v = exchange(self._halos, (state.u, 1), (state.v, 1))
        zeta = vorticity(u * grid.mask_u, v * grid.mask_v, grid).interior.astype(jnp.float64)
        per_thickness = grid.inv_h_q.interior
        thickness = jnp.where(
            per_thickness > 0, 1.0 / jnp.where(per_thickness > 0, per_thickness, 1.0), 0.0
        )
        return 0.5 * zeta * zeta * thickness * grid.area_q.interior
