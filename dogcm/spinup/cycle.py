"""The map of a year: tracers at its beginning to tracers at its end, for a recorded circulation.

The tracers' part of the model's own step (:class:`dogcm.timestepping.tracer_step.TracerStep`) with
a longer step: the same advection, eddy fluxes, sources and implicit vertical mixing, with
isoneutral mixing across interfaces in the implicit part. All in float64.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import divergence, interface_flow, stretch_c
from dogcm.field import Field, exchange
from dogcm.operators import sum_z
from dogcm.physics.surface import SurfaceFluxes
from dogcm.physics.vertical_mixing import buoyancy_frequency_squared
from dogcm.spinup.circulation import Circulation
from dogcm.timestepping.physics import Physics
from dogcm.timestepping.state import State
from dogcm.timestepping.tracer_step import TracerInputs, TracerStep
from dogcm.tracers import PassiveTracers


@dataclass(frozen=True)
class Passing:
    """What a tracer step asks of a state."""

    tracers: dict[str, Field]
    eta: Field
    time: jax.Array
    steps: jax.Array

    @property
    def temperature(self) -> Field:
        """degC."""
        return self.tracers["temperature"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Period:
    """One period of the year, with the halo that steps need.

    Attributes:
        flow_u, flow_v, diffusivity, temperature, salinity: see :class:`Circulation`.
        first, last: sea level (m) at its beginning and end. freshwater: what enters (m s-1).
        eddies: prepared for this period, or None. start: model time of its beginning (s).
    """

    flow_u: Field
    flow_v: Field
    diffusivity: Field
    temperature: Field
    salinity: Field
    first: Field
    last: Field
    freshwater: Field
    eddies: Any
    start: jax.Array


@dataclass(frozen=True)
class Cycle:
    """The map of a year.

    Attributes:
        halos, eos: of the model. physics: that of the model, with the step of this map.
        passive: the kinds that are solved for. names: their tracers. steps: in each period.
    """

    halos: Any
    eos: Any
    physics: Physics
    passive: PassiveTracers
    names: tuple[str, ...]
    steps: int

    @property
    def tracer_step(self) -> TracerStep:
        """One step of the model's tracers."""
        return TracerStep(self.halos, self.physics, self.passive)

    def year(
        self,
        tracers: dict[str, Field],
        params: dict,
        circulation: Circulation,
        grid,
        remember: bool = True,
    ) -> dict[str, Field]:
        """The tracers a year later; pure, in forward and reverse mode, on any tiles.

        Args:
            tracers: by name, (nz, y, x) without halo, float64.
            params: the model's; those of tracers and eddies act, and ``vertical_diffusivity`` by
                what it differs from that of the record.
            remember: False: the backward pass computes periods and steps again, to save memory.
        """
        again = (lambda f: f) if remember else jax.checkpoint
        one_step = again(lambda carry, p: self.step(carry, p, params, grid))

        def one_period(carry, n):
            period = self.period(n, params, circulation, grid)
            step = lambda carry, _: (one_step(carry, period), None)
            (tracers, _), _ = jax.lax.scan(step, (carry, jnp.int32(0)), None, length=self.steps)
            return tracers, None

        numbers = jnp.arange(circulation.periods)
        return jax.lax.scan(again(one_period), tracers, numbers)[0]

    def period(self, n, params: dict, circulation: Circulation, grid) -> Period:
        """The ``n``-th period of the year."""
        of = lambda f: f.with_data(jax.lax.dynamic_index_in_dim(f.data, n, keepdims=False))
        c, p, later = circulation, self.physics, jnp.asarray(n) + 1
        last = c.eta.with_data(jax.lax.dynamic_index_in_dim(c.eta.data, later, keepdims=False))
        u, v, t, s, first, last, k = exchange(
            self.halos,
            (of(c.flow_u), 1),
            (of(c.flow_v), 1),
            (of(c.temperature), p.tracer_halo),
            (of(c.salinity), p.tracer_halo),
            (of(c.eta), p.halo),
            (last, p.halo),
            (of(c.diffusivity), 1),
        )
        # Beyond a wall an exchange brings values from elsewhere.
        u, v = u * grid.mask_u, v * grid.mask_v
        first, last, k = first * grid.wet_c, last * grid.wet_c, k * grid.mask_cw
        if c.background is not None and "vertical_diffusivity" in params:
            change = params["vertical_diffusivity"] - c.background
            k = k + grid.mask_cw.crop(k.halo) * change
        length = c.year / c.periods
        rate = (last - first) * (1.0 / length)
        fresh = (rate + divergence(sum_z(u), sum_z(v), grid)) * grid.wet_c
        start = c.start + jnp.asarray(n, jnp.float64) * length
        eddies = self.eddies(t, s, (first + last) * 0.5, params, grid)
        return Period(u, v, k, t, s, first, last, fresh, eddies, start)

    def eddies(self, t: Field, s: Field, eta: Field, params: dict, grid):
        """Eddy fluxes prepared from mean temperature and salinity; None without eddies."""
        p = self.physics
        if p.eddies is None:
            return None
        stretch = stretch_c(eta, grid)
        density = self.eos.anomaly(t, s)
        n2 = buoyancy_frequency_squared(self.eos, t, s, density, grid, stretch, p.gravity, p.rho0)
        return p.eddies.prepare(density, n2, stretch, params, grid, p)

    def step(self, carry, period: Period, params: dict, grid):
        """One step within a period; ``carry``: the tracers, and how many steps have been done."""
        tracers, done = carry
        level = lambda m: period.first + (period.last - period.first) * (m / self.steps)
        time = period.start + done * self.physics.dt
        deep = self.deep(tracers)
        now = {**deep, "temperature": period.temperature, "salinity": period.salinity}
        state = Passing(now, level(done), time, done)
        nothing = period.freshwater * 0.0
        inputs = TracerInputs(
            cast(State, state),
            level(done + 1),
            period.flow_u,
            period.flow_v,
            period.diffusivity,
            SurfaceFluxes(nothing, nothing, period.freshwater),
            params,
            grid,
            {},
            period.eddies,
        )
        new, _ = self.tracer_step.advance(inputs, self.names)
        return {n: new[n] for n in self.names}, done + 1

    def deep(self, tracers: dict[str, Field]) -> dict[str, Field]:
        """The tracers with the halo of a step."""
        found = self.deep_fields([tracers[n] for n in self.names])
        return {n: f.named(n) for n, f in zip(self.names, found)}

    def deep_fields(self, fields: list[Field]) -> list[Field]:
        """Fields with the halo of a step."""
        want = Halo.of(self.physics.tracer_halo)
        return exchange(self.halos, *((f, want) for f in fields))

    def vertical_flow(self, period: Period, grid) -> Field:
        """Flow through interfaces (m s-1, positive up)."""
        length = self.steps * self.physics.dt
        rate = (period.last - period.first) * (1.0 / length)
        return interface_flow(period.flow_u, period.flow_v, rate, grid)


def cycle_of(model, names: tuple[str, ...], steps: int, periods: int, advection=None) -> Cycle:
    """The map of a year of ``model``'s tracers ``names``, with ``steps`` in each period.

    Args:
        advection: a :class:`dogcm.TracerAdvection` instead of the model's own, or None.
    """
    kinds = [k for k in model.passive.kinds if any(v.name in names for v in k.variables())]
    dt = model.passive.year / (periods * steps)
    scheme = advection or model.physics.tracer_advection
    physics = dataclasses.replace(model.physics, dt=dt, momentum_step=0.0, tracer_advection=scheme)
    passive = dataclasses.replace(model.passive, kinds=tuple(kinds))
    return Cycle(model.halos, model.dynamics.eos, physics, passive, names, steps)


def outflow(cycle: Cycle, params: dict, circulation: Circulation, grid) -> jax.Array:
    """Largest share of a cell's water that leaves it per second (s-1), in each period, here."""

    def of(n):
        p = cycle.period(n, params, circulation, grid)
        w = cycle.vertical_flow(p, grid)
        u, v = (p.flow_u * grid.dy_u), (p.flow_v * grid.dx_v)
        h = (grid.h_c * grid.area_c).crop(0).data
        east, west = u.data[..., 1:-1, 2:], u.data[..., 1:-1, 1:-1]
        north, south = v.data[..., 2:, 1:-1], v.data[..., 1:-1, 1:-1]
        up = (w * grid.area_c).crop(0).data
        level = [(0, 0)] * 2
        top, bottom = jnp.pad(up, [(1, 0), *level]), jnp.pad(up, [(0, 1), *level])
        gone = sum(jnp.maximum(f, 0.0) for f in (east, -west, north, -south, top, -bottom))
        return jnp.max(jnp.where(h > 0, gone / jnp.where(h > 0, h, 1.0), 0.0), initial=0.0)

    return jax.lax.map(of, jnp.arange(circulation.periods))


__all__ = ["Cycle", "Period", "cycle_of", "outflow"]
