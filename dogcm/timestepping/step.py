"""One step of the ocean: ``step(state, params, forcing, grid) -> state``.

Order of one step (n to n + 1):

1. exchange halos, all three-dimensional Fields in one message per neighbour;
2. density, pressure, and accelerations at n; vertical mixing coefficients at n;
3. velocity with implicit vertical friction and bottom drag (predictor);
4. short steps of the free surface, which replace the depth mean;
5. tracers, carried by transports that add up to those of the free surface, with implicit mixing.

Momentum goes first and tracers use its result, so internal waves are stepped forward-backward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics.barotropic import DepthFlow
from dogcm.dynamics.continuity import stretch_c
from dogcm.dynamics.pressure import at_true_depths
from dogcm.field import Field, as_one_row, exchange, hold
from dogcm.operators import add_top
from dogcm.physics import vertical_mixing
from dogcm.physics.background_mixing import background
from dogcm.physics.interfaces import Column, Mixing
from dogcm.physics.surface import Forcing, SurfaceFluxes, ice
from dogcm.physics.surface.air_sea import Exchange, surface_exchange
from dogcm.timestepping.momentum_step import MomentumInputs, MomentumStep
from dogcm.timestepping.physics import Physics
from dogcm.timestepping.schemes import TimeScheme
from dogcm.timestepping.state import HISTORY_U, HISTORY_V, State
from dogcm.timestepping.tracer_step import TracerInputs, TracerStep
from dogcm.tracers import PassiveTracers


class StepParts(NamedTuple):
    """What a step was made of, for :meth:`Dynamics.tracer_terms` and
    :meth:`Dynamics.momentum_terms`.

    Attributes:
        tracers, momentum: what the two were stepped with. barotropic: result of the free surface.
    """

    tracers: TracerInputs
    momentum: MomentumInputs
    barotropic: Any


class Situation(NamedTuple):
    """What is known of a step before anything has moved.

    Attributes:
        state: with halos. now: the forcing of this moment. fluxes: through the surface. density:
            anomaly (kg m-3). stretch: of the layers at centres. mixing: vertical. extra: see
            :attr:`Dynamics.extra_tendency`.
    """

    state: State
    now: dict
    fluxes: SurfaceFluxes
    density: Field
    stretch: Field
    mixing: Mixing
    extra: dict[str, Field]
    params: dict
    grid: Any


@dataclass(frozen=True)
class Dynamics:
    """The step and all that is static about it.

    Attributes:
        halos: :class:`dogcm.halo.HaloExchange`. eos: prepared equation of state. scheme: time
            scheme.
        split: the free surface: short steps, or implicit.
        extra_tendency: hook for correctors, a function ``(state, params, now, grid) -> dict`` of
            additional tendencies by variable name, or None. Its state has halos; ``now`` is the
            forcing of this moment. ``u`` and ``v`` are accelerations (m s-2), a tracer's name its
            rate (unit s-1), and ``NAME_content`` the rate of thickness times tracer (unit m s-1),
            which conserves the tracer when it is a divergence of fluxes per area.
        extra_every: the hook acts at every n-th step, n times as strongly.
        passive: sources of passive tracers.
    """

    halos: Any
    eos: Any
    physics: Physics
    scheme: TimeScheme
    split: Any
    extra_tendency: Any = field(default=None)
    extra_every: int = 1
    passive: PassiveTracers = PassiveTracers()

    def step(self, state: State, params: dict, forcing: Forcing, grid) -> State:
        """Advance by ``physics.dt``; velocity by ``physics.momentum_dt`` (see
        docs/time_stepping.md)."""
        return self.step_with_fluxes(state, params, forcing, grid)[0]

    def step_with_fluxes(
        self, state: State, params: dict, forcing: Forcing, grid
    ) -> tuple[State, SurfaceFluxes]:
        """Advance by ``physics.dt``; also returns what entered through the surface."""
        return self.step_with_parts(state, params, forcing, grid)[:2]

    def step_with_parts(
        self, state: State, params: dict, forcing: Forcing, grid
    ) -> tuple[State, SurfaceFluxes, StepParts]:
        """:meth:`step_with_fluxes`; also returns what state was advanced with, for
        :meth:`tracer_terms` and the like."""
        at = self.situation(state, params, forcing, grid)
        with jax.named_scope("momentum"):
            moved = self._momentum_inputs(at)
            predicted = self.momentum.predict(moved)
        with jax.named_scope("free_surface"):
            q, s = predicted, at.state
            start = (s.eta, q.U, q.V, q.forcing_u, q.forcing_v, at.fluxes.freshwater)
            baro = self.split.advance(self.halos, DepthFlow(*(f.crop(0) for f in start)), grid)
        u, v, *flows = self.momentum.correct(s.eta, predicted, baro, grid)
        with jax.named_scope("tracers"):
            parts = self._tracer_inputs(at, baro.eta, flows)
            tracers, _ = self.tracer_step.advance(parts)
            tracers, frozen = self._freeze(tracers, at.fluxes, baro.eta, grid)
        keep = self.scheme.memory
        new = State(
            u=u,
            v=v,
            eta=baro.eta.crop(0),
            tracers=tracers,
            history_u=((predicted.history_u, *state.history_u)[:keep]),
            history_v=((predicted.history_v, *state.history_v)[:keep]),
            time=state.time + self.physics.dt,
            steps=state.steps + 1,
            d_grid=tuple(f.crop(0) for f in predicted.d_grid),
            closures={**s.closures, **at.mixing.closures, **frozen},
            solver=tuple(jnp.where(old < 0, old, baro.iterations) for old in state.solver),
        )
        new = self._refilled(new, grid) if self.halos.north_fold else new
        return new, at.fluxes, StepParts(parts, moved, baro)

    def situation(self, state: State, params: dict, forcing: Forcing, grid) -> Situation:
        """All that is known of a step before anything has moved."""
        s = self.with_halos(state, grid)
        now = forcing.at(s.time + 0.5 * self.physics.dt)
        extra = self._extra(s, params, now, grid)
        stretch = stretch_c(s.eta, grid)
        density = as_one_row(self.eos.anomaly, s.temperature, s.salinity)
        with jax.named_scope("surface"):
            driven = self.surface(s, now, stretch, params, grid)
            now, fluxes = driven.now, driven.fluxes
        with jax.named_scope("mixing"):
            mixing = self._mixing(s, density, stretch, now, params, grid, fluxes)
        return Situation(s, now, fluxes, density, stretch, mixing, extra, params, grid)

    def _momentum_inputs(self, at: Situation) -> MomentumInputs:
        weighed = self._weighed(at.state, at.density, at.grid)
        rest = at.now, at.params, at.grid, at.extra
        return MomentumInputs(at.state, weighed, at.stretch, at.mixing.viscosity, *rest)

    def _tracer_inputs(self, at: Situation, eta: Field, flows) -> TracerInputs:
        p, mixing, eddies = self.physics, at.mixing, None
        if p.eddies is not None:
            eddies = p.eddies.prepare(at.density, mixing.n2, at.stretch, at.params, at.grid, p)
        rest = at.params, at.grid, at.extra, eddies, mixing.boundary_layer
        return TracerInputs(at.state, eta, *flows, mixing.diffusivity, at.fluxes, *rest)

    def _refilled(self, s: State, grid) -> State:
        """The state with what a north fold stores twice made the same, and old accelerations beyond
        it as a restart
        would find them: both have been computed in mirrored order, which rounds otherwise."""
        names, carried, d_grid = list(s.tracers), list(s.closures), list(s.d_grid)
        u, eta, *rest = exchange(
            self.halos,
            (s.u, 0),
            (s.eta, 0),
            *((s.tracers[n], 0) for n in names),
            *((s.closures[n], 0) for n in carried),
            *((f, 0) for f in d_grid),
            *((f, HISTORY_U) for f in s.history_u),
            *((f, HISTORY_V) for f in s.history_v),
        )
        take = iter(rest)
        return s.replace(
            u=u,
            eta=eta,
            tracers={n: next(take) for n in names},
            closures={n: next(take) for n in carried},
            d_grid=tuple(next(take) for _ in d_grid),
            history_u=tuple(next(take) * grid.mask_u for _ in s.history_u),
            history_v=tuple(next(take) * grid.mask_v for _ in s.history_v),
        )

    def tracer_terms(self, parts: StepParts) -> dict:
        """The terms of the tracer step, computed once more from ``parts`` of
        :meth:`step_with_parts`: by tracer
        its :class:`~dogcm.timestepping.tracer_step.TracerTerms` (see
        :mod:`dogcm.diagnostics.budgets`); and ``flow``: transports per width and the flow through
        interfaces."""
        # Not to be merged into the step, whose bits may not depend on what is diagnosed.
        inputs = jax.lax.optimization_barrier(parts.tracers)
        tracers, terms = self.tracer_step.advance(inputs)
        frozen, made = self._freeze(tracers, inputs.fluxes, inputs.eta, inputs.grid)
        if made:
            heat = self._latent_heat(tracers, frozen, inputs.eta, inputs.grid)
            own = terms["temperature"]
            source = own.surface
            source = add_top(source, heat) if source.ndim == 3 else source + heat
            terms["temperature"] = own._replace(surface=source)
        return terms

    def momentum_terms(self, parts: StepParts) -> dict[str, tuple[Field, Field]]:
        """Accelerations (m s-2) of u and v by what they are due to, computed once more from
        ``parts`` of
        :meth:`step_with_parts`, without halo (see :mod:`dogcm.diagnostics.budgets`)."""
        # Not to be merged into the step, as in tracer_terms.
        moved, baro = jax.lax.optimization_barrier((parts.momentum, parts.barotropic))
        predicted, grid = self.momentum.predict(moved), moved.grid
        u, v, _, _ = self.momentum.correct(moved.state.eta, predicted, baro, grid)
        rate = 1.0 / self.physics.momentum_dt
        terms = self.momentum.budget(predicted)
        terms["barotropic_correction"] = (u - predicted.u) * rate, (v - predicted.v) * rate
        masks = grid.mask_u, grid.mask_v
        return {n: tuple((f * m).crop(0) for f, m in zip(pair, masks)) for n, pair in terms.items()}

    def accelerations(
        self, state: State, params: dict, forcing: Forcing, grid
    ) -> tuple[Field, Field]:
        """What the state calls for: rates of u and v (m s-2) before the free surface has answered,
        without halo.

        They include the slope of the sea surface, and vanish for a flow in balance.
        """
        dt = self.physics.momentum_dt
        at = self.situation(state, params, forcing, grid)
        new, s = self.momentum.predict(self._momentum_inputs(at)), at.state
        return (new.u.crop(0) - s.u.crop(0)) * (1 / dt), (new.v.crop(0) - s.v.crop(0)) * (1 / dt)

    @property
    def momentum(self) -> MomentumStep:
        """Steps velocity."""
        return MomentumStep(self.halos, self.physics, self.scheme, self.split)

    @property
    def tracer_step(self) -> TracerStep:
        """Steps tracers."""
        return TracerStep(self.halos, self.physics, self.passive)

    # ---- parts
    def surface(self, s: State, now: dict, stretch: Field, params: dict, grid) -> Exchange:
        """What drives this step at the surface; the state with halos, ``now``: the records of this
        moment."""
        thickness = grid.h_c.level(0) * stretch
        return surface_exchange(now, s, thickness, params, grid, self.physics, self.halos)

    def _freeze(
        self, tracers: dict, fluxes: SurfaceFluxes, eta: Field, grid
    ) -> tuple[dict, dict[str, Field]]:
        """Tracers nowhere below freezing at the surface, and the ice after the step."""
        p = self.physics
        if p.surface is None or not p.surface.ice:
            return tracers, {}
        t, thickness = tracers["temperature"], grid.h_c.level(0) * stretch_c(eta, grid)
        top, frazil = ice.freeze(t.level(0), tracers["salinity"].level(0), thickness, grid.wet_c, p)
        warmed = t.with_data(jnp.concatenate([top.data[None], t.data[1:]]))
        return {**tracers, "temperature": warmed}, {**fluxes.closures, "ice_frazil": frazil}

    def _latent_heat(self, before: dict, after: dict, eta: Field, grid) -> Field:
        """By how much freezing has warmed the first layer (K m s-1)."""
        thickness = grid.h_c.level(0) * stretch_c(eta, grid)
        warmed = after["temperature"].level(0) - before["temperature"].level(0)
        return warmed * thickness * (1.0 / self.physics.dt)

    def _extra(self, state: State, params: dict, now: dict, grid) -> dict[str, Field]:
        """The hook's tendencies; those of velocity also on the faces next door that this tile
        computes."""
        if self.extra_tendency is None:
            return {}

        def tendencies():
            extra = {
                n: f.crop(0).named(n)
                for n, f in self.extra_tendency(state, params, now, grid).items()
            }
            moving = [n for n in ("u", "v") if n in extra]
            if moving:
                extra.update(zip(moving, exchange(self.halos, *((extra[n], 1) for n in moving))))
            return extra

        every = self.extra_every
        if every == 1:
            return tendencies()
        # All ranks count the same steps, so all take the same branch and its messages match.
        silent = lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(tendencies))
        strong = lambda: jax.tree.map(lambda x: x * every, tendencies())
        return jax.lax.cond(state.steps % every == 0, strong, silent)

    def with_halos(self, state: State, grid) -> State:
        """The state with as much halo as a step uses up: what the hook gets."""
        p = self.physics
        depth, shallow, deepest = Halo.of(p.momentum_halo), Halo.of(p.tracer_halo), Halo.of(p.halo)
        names, mixed = list(state.tracers), {n: h for n, h in p.carried.items() if h}
        u, v, eta, *rest = exchange(
            self.halos,
            (state.u, depth),
            (state.v, depth),
            (state.eta, deepest),
            *((state.tracers[n], shallow) for n in names),
            *((state.closures[n], h) for n, h in mixed.items()),
        )
        tracers, carried = rest[: len(names)], rest[len(names) :]
        # Beyond a wall an exchange brings values from elsewhere. Stored: two dozen loops would each
        # read the masks again.
        u, v, eta = hold(u * grid.mask_u, v * grid.mask_v, eta * grid.wet_c)
        return state.replace(
            u=u.named("u"),
            v=v.named("v"),
            eta=eta.named("eta"),
            tracers={n: t.named(n) for n, t in zip(names, tracers)},
            closures={**state.closures, **dict(zip(mixed, carried))},
        )

    def _weighed(self, s: State, density: Field, grid) -> Field:
        """Density (kg m-3) as the pressure gradient takes it: of partial cells at their own
        depth, where it asks for that."""
        if not self.physics.pressure.true_depths:
            return density
        return at_true_depths(self.eos, s.temperature, s.salinity, density, grid)

    def _mixing(self, s: State, density, stretch, now, params, grid, fluxes=None) -> Mixing:
        """From the state with halos; ``fluxes``: through the surface, which kpp asks for."""
        p = self.physics
        n2 = vertical_mixing.buoyancy_frequency_squared(
            self.eos, s.temperature, s.salinity, density, grid, stretch, p.gravity, p.rho0
        )
        shear2 = vertical_mixing.shear_squared(s.u, s.v, grid, stretch)
        n2, shear2 = hold(n2, shear2)
        floor = background(n2, params, grid, p)
        column = Column(n2, shear2, floor, s.closures, s, now, fluxes, self.eos, self.halos)
        return p.vertical_mixing.mix(column, params, grid, p)
