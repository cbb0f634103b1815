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
from dogcm.dynamics import free_surface as fs
from dogcm.dynamics import coriolis_cd, momentum, tracer_advection, tracer_transport
from dogcm.dynamics.continuity import (
    divergence, interface_flow, stretch_c, stretch_u, stretch_v,
)  # fmt: skip
from dogcm.dynamics.implicit_surface import ImplicitSurface
from dogcm.dynamics.pressure import hydrostatic_pressure, pressure_gradient
from dogcm.field import Field, exchange, fence, fmap, hold
from dogcm.operators import (
    diff_x_c2u, diff_x_u2c, diff_y_c2v, diff_y_v2c, diff_z_c2w, diff_z_w2c, mean_x_c2u, mean_x_u2c, mean_y_c2v, mean_y_v2c,
    sum_z,
)  # fmt: skip
from dogcm.physics import eddy_viscosity, isoneutral, kpp, laplacian, lateral, vertical_mixing, visbeck
from dogcm.physics.coefficients import at_u, at_v
from dogcm.physics.mixing_schemes import CARRIED, Mixing, mix
from dogcm.physics.surface import Forcing, SurfaceFluxes, ice
from dogcm.physics.surface.air_sea import Exchange, surface_exchange
from dogcm.timestepping.physics import Physics
from dogcm.timestepping.schemes import TimeScheme
from dogcm.timestepping.state import D_GRID, HISTORY_U, HISTORY_V, State
from dogcm.tracers import PassiveTracers, Sources


@dataclass(frozen=True)
class Predictor:
    """Velocity before the free surface has its say."""

    u: Field
    v: Field
    U: Field  # transports per width at n (m2 s-1)
    V: Field
    forcing_u: Field  # depth-integrated forcing of the short steps (m2 s-2)
    forcing_v: Field
    history_u: Field
    history_v: Field
    d_grid: tuple[Field, ...] = ()


class StepParts(NamedTuple):
    """What a step was made of, for :meth:`Dynamics.tracer_terms` and :meth:`Dynamics.momentum_terms`.

    Attributes:
        tracers: arguments of the tracer step; the first is the state with halos. momentum: those of the predictor.
        barotropic: result of the short steps.
    """

    tracers: tuple
    momentum: tuple
    barotropic: Any


@dataclass(frozen=True)
class Dynamics:
    """The step and all that is static about it.

    Attributes:
        halos: :class:`dogcm.halo.HaloExchange`. eos: prepared equation of state. scheme: time scheme.
        split: the free surface: short steps, or implicit.
        extra_tendency: hook for correctors, a function ``(state, params, now, grid) -> dict`` of additional
            tendencies by variable name, or None. Its state has halos; ``now`` is the forcing of this moment.
            ``u`` and ``v`` are accelerations (m s-2), a tracer's name its rate (unit s-1), and
            ``NAME_content`` the rate of thickness times tracer (unit m s-1), which conserves the tracer when
            it is a divergence of fluxes per area.
        extra_every: the hook acts at every n-th step, n times as strongly.
        passive: sources of passive tracers.
    """

    halos: Any
    eos: Any
    physics: Physics
    scheme: TimeScheme
    split: fs.SplitExplicit | ImplicitSurface
    extra_tendency: Any = field(default=None)
    extra_every: int = 1
    passive: PassiveTracers = PassiveTracers()

    def step(self, state: State, params: dict, forcing: Forcing, grid) -> State:
        """Advance by ``physics.dt``; velocity by ``physics.momentum_dt`` (see docs/time_stepping.md)."""
        return self.step_with_fluxes(state, params, forcing, grid)[0]

    def step_with_fluxes(
        self, state: State, params: dict, forcing: Forcing, grid
    ) -> tuple[State, SurfaceFluxes]:
        """Advance by ``physics.dt``; also returns what entered through the surface."""
        return self.step_with_parts(state, params, forcing, grid)[:2]

    def step_with_parts(
        self, state: State, params: dict, forcing: Forcing, grid
    ) -> tuple[State, SurfaceFluxes, StepParts]:
        """:meth:`step_with_fluxes`; also returns what state was advanced with, for :meth:`tracer_terms` and the like."""
        p = self.physics
        s = self.with_halos(state, grid)
        now = forcing.at(s.time + 0.5 * p.dt)
        extra = self._extra(s, params, now, grid)
        stretch = stretch_c(s.eta, grid)
        density = hold(self.eos.anomaly(s.temperature, s.salinity))
        with jax.named_scope("surface"):
            driven = self.surface(s, now, stretch, params, grid)
            now, fluxes = driven.now, driven.fluxes
        with jax.named_scope("mixing"):
            mixing = self._mixing(s, density, stretch, now, params, grid, fluxes)
            n2, viscosity, diffusivity = mixing.n2, mixing.viscosity, mixing.diffusivity
        with jax.named_scope("momentum"):
            moved = (s, density, stretch, viscosity, now, params, grid, extra)
            predicted = self._momentum(*moved)
        with jax.named_scope("free_surface"):
            baro = self.split.advance(
                self.halos, s.eta.crop(0), predicted.U.crop(0), predicted.V.crop(0),
                predicted.forcing_u.crop(0), predicted.forcing_v.crop(0), fluxes.freshwater.crop(0), grid,
            )  # fmt: skip
        u, v, flow_u, flow_v = self._correct(s.eta, predicted, baro, grid)
        with jax.named_scope("tracers"):
            eddies = None
            if p.eddies is not None:
                q = self.eddy_parameters(density, n2, params, grid)
                eddies = isoneutral.prepare(density, n2, stretch, q, grid, p.eddies, p.gravity, p.rho0)
            parts = (s, baro.eta, flow_u, flow_v, diffusivity, fluxes, params, grid, extra, eddies, mixing.boundary_layer)
            tracers = self._tracers(*parts)
            tracers, frozen = self._freeze(tracers, fluxes, baro.eta, grid)
        keep = self.scheme.memory
        older_u, older_v = state.history_u, state.history_v
        new = State(
            u=u.crop(0), v=v.crop(0), eta=baro.eta.crop(0), tracers=tracers,
            history_u=((predicted.history_u, *older_u)[:keep]),
            history_v=((predicted.history_v, *older_v)[:keep]),
            time=state.time + p.dt, steps=state.steps + 1,
            d_grid=tuple(f.crop(0) for f in predicted.d_grid), closures={**s.closures, **mixing.closures, **frozen},
            solver=tuple(jnp.where(old < 0, old, baro.iterations) for old in state.solver),
        )  # fmt: skip
        new = self._refilled(new, grid) if self.halos.north_fold else new
        return new, fluxes, StepParts(parts, moved, baro)

    def _refilled(self, s: State, grid) -> State:
        """The state with what a north fold stores twice made the same, and old accelerations beyond it as a restart
        would find them: both have been computed in mirrored order, which rounds otherwise."""
        names, carried, d_grid = list(s.tracers), list(s.closures), list(s.d_grid)
        u, eta, *rest = exchange(
            self.halos, (s.u, 0), (s.eta, 0), *((s.tracers[n], 0) for n in names), *((s.closures[n], 0) for n in carried),
            *((f, 0) for f in d_grid), *((f, HISTORY_U) for f in s.history_u), *((f, HISTORY_V) for f in s.history_v),
        )  # fmt: skip
        take = iter(rest)
        return s.replace(
            u=u, eta=eta, tracers={n: next(take) for n in names}, closures={n: next(take) for n in carried},
            d_grid=tuple(next(take) for _ in d_grid), history_u=tuple(next(take) * grid.mask_u for _ in s.history_u),
            history_v=tuple(next(take) * grid.mask_v for _ in s.history_v),
        )  # fmt: skip

    def tracer_terms(self, parts: StepParts) -> dict:
        """The terms of the tracer step, computed once more from ``parts`` of :meth:`step_with_parts`: by tracer its
        fluxes, what entered through the surface, and content before and after vertical mixing (see
        :mod:`dogcm.diagnostics.budgets`); and ``flow``: transports per width and the flow through interfaces."""
        terms: dict = {}
        # Not to be merged into the step, whose bits may not depend on what is diagnosed.
        parts = jax.lax.optimization_barrier(parts.tracers)
        tracers = self._tracers(*parts, terms=terms)
        _, new_eta, _, _, _, fluxes, _, grid = parts[:8]
        self._freeze(tracers, fluxes, new_eta, grid, terms["temperature"])
        return terms

    def momentum_terms(self, parts: StepParts) -> dict[str, tuple[Field, Field]]:
        """Accelerations (m s-2) of u and v by what they are due to, computed once more from ``parts`` of
        :meth:`step_with_parts`, without halo (see :mod:`dogcm.diagnostics.budgets`)."""
        noted: dict = {}
        # Not to be merged into the step, as in tracer_terms.
        moved, baro = jax.lax.optimization_barrier((parts.momentum, parts.barotropic))
        predicted = self._momentum(*moved, noted=noted)
        eta, grid = moved[0].eta, moved[6]
        u, v, _, _ = self._correct(eta, predicted, baro, grid)
        rate = 1.0 / self.physics.momentum_dt
        noted["barotropic_correction"] = (u - predicted.u) * rate, (v - predicted.v) * rate
        masks = grid.mask_u, grid.mask_v
        return {n: tuple((f * m).crop(0) for f, m in zip(pair, masks)) for n, pair in noted.items()}

    def accelerations(self, state: State, params: dict, forcing: Forcing, grid) -> tuple[Field, Field]:
        """What the state calls for: rates of u and v (m s-2) before the free surface has answered, without halo.

        They include the slope of the sea surface, and vanish for a flow in balance.
        """
        dt = self.physics.momentum_dt
        s = self.with_halos(state, grid)
        now = forcing.at(s.time + 0.5 * self.physics.dt)
        stretch = stretch_c(s.eta, grid)
        density = self.eos.anomaly(s.temperature, s.salinity)
        extra = self._extra(s, params, now, grid)
        driven = self.surface(s, now, stretch, params, grid)
        now, fluxes = driven.now, driven.fluxes
        viscosity = self._mixing(s, density, stretch, now, params, grid, fluxes).viscosity
        new = self._momentum(s, density, stretch, viscosity, now, params, grid, extra)
        return (new.u.crop(0) - s.u.crop(0)) * (1 / dt), (new.v.crop(0) - s.v.crop(0)) * (1 / dt)

    # ---- parts --------------------------------------------------------------------------------
    def surface(self, s: State, now: dict, stretch: Field, params: dict, grid) -> Exchange:
        """What drives this step at the surface; the state with halos, ``now``: the records of this moment."""
        thickness = grid.h_c.level(0) * stretch
        return surface_exchange(now, s, thickness, params, grid, self.physics, self.halos)

    def _freeze(
        self, tracers: dict, fluxes: SurfaceFluxes, eta: Field, grid, noted: dict | None = None
    ) -> tuple[dict, dict[str, Field]]:
        """Tracers nowhere below freezing at the surface, and the ice after the step. What it warms goes to ``noted``."""
        p = self.physics
        if p.surface is None or not p.surface.ice:
            return tracers, {}
        t, thickness = tracers["temperature"], grid.h_c.level(0) * stretch_c(eta, grid)
        top, frazil = ice.freeze(t.level(0), tracers["salinity"].level(0), thickness, grid.wet_c, p)
        warmed = t.with_data(jnp.concatenate([top.data[None], t.data[1:]]))
        if noted is not None:
            source, heated = noted["surface"], (top - t.level(0)) * thickness * (1.0 / p.dt)
            noted["surface"] = add_top(source, heated) if source.ndim == 3 else source + heated
        return {**tracers, "temperature": warmed}, {**fluxes.closures, "ice_frazil": frazil}

    def _extra(self, state: State, params: dict, now: dict, grid) -> dict[str, Field]:
        """The hook's tendencies; those of velocity also on the faces next door that this tile computes."""
        if self.extra_tendency is None:
            return {}

        def tendencies():
            extra = {n: f.crop(0).named(n) for n, f in self.extra_tendency(state, params, now, grid).items()}
            moving = [n for n in ("u", "v") if n in extra]
            if moving:
                extra.update(zip(moving, exchange(self.halos, *((extra[n], 1) for n in moving))))
            return extra

        every = self.extra_every
        if every == 1:
            return tendencies()
        # All ranks count the same steps, so all take the same branch and its messages match.
        silent = lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(tendencies))  # noqa: E731
        strong = lambda: jax.tree.map(lambda x: x * every, tendencies())  # noqa: E731
        return jax.lax.cond(state.steps % every == 0, strong, silent)

    def with_halos(self, state: State, grid) -> State:
        """The state with as much halo as a step uses up: what the hook gets."""
        p = self.physics
        depth, shallow, deepest = Halo.of(p.momentum_halo), Halo.of(p.tracer_halo), Halo.of(p.halo)
        names, mixed = list(state.tracers), CARRIED[self.physics.vertical_mixing]
        u, v, eta, *rest = exchange(
            self.halos, (state.u, depth), (state.v, depth), (state.eta, deepest),
            *((state.tracers[n], shallow) for n in names), *((state.closures[n], 1) for n in mixed),
        )  # fmt: skip
        tracers, carried = rest[: len(names)], rest[len(names) :]
        # Beyond a wall an exchange brings values from elsewhere.
        return state.replace(
            u=(u * grid.mask_u).named("u"), v=(v * grid.mask_v).named("v"),
            eta=(eta * grid.wet_c).named("eta"),
            tracers={n: t.named(n) for n, t in zip(names, tracers)},
            closures={**state.closures, **dict(zip(mixed, carried))},
        )  # fmt: skip

    def _mixing(self, s: State, density, stretch, now, params, grid, fluxes=None) -> Mixing:
        """From the state with halos; ``fluxes``: through the surface, which kpp asks for."""
        p = self.physics
        n2 = vertical_mixing.buoyancy_frequency_squared(
            self.eos, s.temperature, s.salinity, density, grid, stretch, p.gravity, p.rho0
        )
        shear2 = vertical_mixing.shear_squared(s.u, s.v, grid, stretch)
        n2, shear2 = hold(n2, shear2)
        drive = kpp.driving(s, now, fluxes, self.eos, self.halos, grid, p) if p.vertical_mixing == "kpp" else None
        return mix(s.closures, n2, shear2, now, params, grid, p, drive)

    def eddy_parameters(self, density: Field, n2: Field, params: dict, grid) -> dict:
        """``params``, with the Gent-McWilliams diffusivity of this state where it follows the flow."""
        p = self.physics
        if p.eddy_coefficient == "constant":
            return params
        found = visbeck.diffusivity(density, n2, params, grid, p.eddies.max_slope, p.gravity, p.rho0)
        return {**params, "gm_diffusivity": found}

    def _friction(self, u: Field, v: Field, params: dict, grid) -> tuple[Field, Field]:
        p = self.physics
        scale = lateral.spacing_scale(grid, p.reference_spacing, p.viscosity_power)
        viscosity = lateral.viscosities(params["lateral_viscosity"], scale, grid)
        form = laplacian.friction if p.friction == "laplacian" else lateral.friction
        wall = p.wall_stress
        fu, fv = form(u, v, viscosity, grid, wall)
        if p.biharmonic_momentum:
            root = lateral.spacing_scale(grid, p.reference_spacing, 0.5 * p.viscosity_power)
            bu, bv = lateral.biharmonic_friction(u, v, params["biharmonic_viscosity"], grid, wall, root)
            fu, fv = fu + bu, fv + bv
        if p.viscosity_scheme != "constant":
            closure = eddy_viscosity.Closure(p.viscosity_scheme, p.viscosity_form, p.momentum_dt)
            eu, ev = eddy_viscosity.eddy_friction(u, v, params[p.viscosity_scheme], closure, grid, wall)
            fu, fv = fu + eu, fv + ev
        return fu, fv

    def _momentum(self, s, density, stretch, viscosity, now, params, grid, extra, noted=None) -> Predictor:
        """Velocity before the short steps. Into ``noted`` go pairs of accelerations (m s-2) of u and v, by name."""
        p, dt = self.physics, self.physics.momentum_dt
        u, v, eta = s.u, s.v, s.eta
        pressure = hold(hydrostatic_pressure(density, stretch, grid, p.gravity, p.rho0, p.pressure))
        gu, gv = hold(*pressure_gradient(pressure, density, eta, grid, p.gravity, p.rho0))
        fu, fv = hold(*self._friction(u, v, params, grid))
        h_u, h_v = hold(grid.h_u * stretch_u(eta, grid), grid.h_v * stretch_v(eta, grid))
        U, V = hold(sum_z(u * h_u), sum_z(v * h_v))
        # Cut to size once: each cut on its own is padded again in the backward pass.
        near_u, near_v = fence(h_u.crop(HISTORY_U), h_v.crop(HISTORY_V))
        planetary = grid.f_q * grid.inv_h_q

        au, av = u * 0.0, v * 0.0
        if p.momentum_advection:
            w = hold(interface_flow(u * h_u, v * h_v, -divergence(U, V, grid), grid))
            au, av = momentum.advection(u, v, w, grid, p.vorticity_scheme)
        cd = p.cd_time is not None
        forward_backward = self.scheme.coriolis == "forward_backward"
        if not (forward_backward or cd):
            # Only the flow's deviation from its depth mean: the short steps turn the mean.
            mean_u = U / (sum_z(h_u) + (1.0 - grid.wet_u)) * grid.mask_u
            mean_v = V / (sum_z(h_v) + (1.0 - grid.wet_v)) * grid.mask_v
            au = au + momentum.vorticity_flux_u(v - mean_v, planetary, grid)
            av = av + momentum.vorticity_flux_v(u - mean_u, planetary, grid)
        au, av = hold(au.crop(HISTORY_U), av.crop(HISTORY_V))
        eu = self.scheme.extrapolate(au, s.history_u, s.steps)
        ev = self.scheme.extrapolate(av, s.history_v, s.steps)

        surface_u = (diff_x_c2u(eta) / grid.dx_u * grid.wet_u) * (-p.gravity)
        surface_v = (diff_y_c2v(eta) / grid.dy_v * grid.wet_v) * (-p.gravity)
        rate_u, rate_v = eu + fu + gu + surface_u, ev + fv + gv + surface_v
        if "ice_load" in now:
            rate_u = rate_u - diff_x_c2u(now["ice_load"]) / grid.dx_u * grid.wet_u * p.gravity
            rate_v = rate_v - diff_y_c2v(now["ice_load"]) / grid.dy_v * grid.wet_v * p.gravity
        pressed_u, pressed_v = rate_u, rate_v
        if "u" in extra:
            rate_u = rate_u + extra["u"]
        if "v" in extra:
            rate_v = rate_v + extra["v"]
        vertical_u, vertical_v = (None, None) if noted is None else ({}, {})
        if not cd:
            turn_u = momentum.vorticity_flux_u(v if forward_backward else mean_v, planetary, grid)
            rate_u = rate_u + turn_u
        guess_u = hold(u + rate_u * dt)
        new_u = self._implicit_u(u, v, guess_u, near_u, viscosity, stretch, now, params, grid, vertical_u)
        if not cd:
            turn_v = momentum.vorticity_flux_v(new_u if forward_backward else mean_u, planetary, grid)
            rate_v = rate_v + turn_v
        guess_v = hold(v + rate_v * dt)
        new_v = self._implicit_v(u, v, guess_v, near_v, viscosity, stretch, now, params, grid, vertical_v)
        new_u, new_v = hold(new_u, new_v)
        d_grid = ()
        if cd:
            straight = new_u, new_v
            new_u, new_v, d_grid = self._turn(s, new_u, new_v, grid)
            turn_u, turn_v = ((f - g) * (1 / dt) for f, g in zip((new_u, new_v), straight))
        if noted is not None:
            noted |= {
                "advection": (eu, ev), "coriolis": (turn_u, turn_v), "lateral_friction": (fu, fv),
                "pressure_gradient": (pressed_u - eu - fu, pressed_v - ev - fv),
                "correction": (extra.get("u", u * 0.0), extra.get("v", v * 0.0)),
                **{n: (vertical_u[n], vertical_v[n]) for n in vertical_u},
            }  # fmt: skip
        Fu, Fv = self._slow_forcing(eta, U, V, sum_z(new_u * near_u), sum_z(new_v * near_v), surface_u,
                                    surface_v, near_u, near_v, grid)  # fmt: skip
        return Predictor(new_u, new_v, U, V, Fu, Fv, au, av, d_grid)

    def _turn(self, s: State, new_u: Field, new_v: Field, grid):
        """Coriolis force by the C-D scheme, after all else; returns u, v and the velocity on the D grid."""
        dt = self.physics.momentum_dt
        rate_u, rate_v, *d_grid = exchange(
            self.halos, ((new_u - s.u) * (1 / dt), 1), ((new_v - s.v) * (1 / dt), 1), *((f, 1) for f in s.d_grid)
        )
        # Beyond a wall an exchange brings values from elsewhere.
        rate_u, rate_v = hold(rate_u * grid.mask_u, rate_v * grid.mask_v)
        d_grid = hold(*coriolis_cd.advance(*d_grid, s.u, s.v, rate_u, rate_v, dt, self.physics.cd_time, grid))
        v_at_u, u_at_v = d_grid
        u = s.u + (rate_u + coriolis_cd.f_at_u(grid) * v_at_u) * dt
        v = s.v + (rate_v - coriolis_cd.f_at_v(grid) * u_at_v) * dt
        u, v = hold(u * grid.mask_u, v * grid.mask_v)
        return u, v, tuple(f.named(n) for f, n in zip(d_grid, D_GRID))

    def _slow_forcing(self, eta, U, V, new_U, new_V, surface_u, surface_v, h_u, h_v, grid):
        """What changed the depth-integrated flow, less what the short steps compute themselves."""
        dt = self.physics.momentum_dt
        if isinstance(self.split, ImplicitSurface):
            return (new_U - U) * (1 / dt), (new_V - V) * (1 / dt)
        _, _, cu, cv, q = fs.short_step_coefficients(self.split, eta, grid)
        newest_U = new_U if self.scheme.coriolis == "forward_backward" else U
        fast_u, fast_v = sum_z(h_u) * surface_u, sum_z(h_v) * surface_v
        if self.split.coriolis:
            fast_u = fast_u + fs.coriolis_u(V, cu, q, grid)
            fast_v = fast_v + fs.coriolis_v(newest_U, cv, q, grid)
        return (new_U - U) * (1 / dt) - fast_u, (new_V - V) * (1 / dt) - fast_v

    def _drag(self, speed: Field, bottom: Field, params: dict, at, grid=None) -> Field:
        """Implicit bottom drag (m): the step times the drag velocity, in the deepest wet layer; ``at``: at_u or at_v."""
        linear, quadratic = at(params["bottom_drag_linear"]), at(params["bottom_drag_quadratic"])
        if self.physics.no_slip_bottom:
            # Velocity falls to zero over half a layer.
            linear = linear + at(vertical_mixing.on_layers(params["vertical_viscosity"])) * (2.0 / grid.dz)
        drag = lambda s, b, cl, cq: (cl + cq * s) * b * self.physics.momentum_dt  # noqa: E731
        return fmap(drag, speed, bottom, linear, quadratic, name="drag")

    def _implicit_u(self, u, v, guess, h_u, viscosity, stretch, now, params, grid, noted=None) -> Field:
        dt, p = self.physics.momentum_dt, self.physics
        u, v = fence(u, v)
        across = mean_x_c2u(mean_y_v2c(v))
        speed = fmap(lambda a, b: jnp.sqrt(a * a + b * b + 1e-8), u, across, name="speed")
        content = still = guess * h_u
        if "taux" in now:
            content = add_top(content, now["taux"] * (dt / p.rho0) * grid.wet_u)
        k = vertical_mixing.to_u(viscosity, grid) / mean_x_c2u(stretch) * (dt / grid.dz_w)
        drag = self._drag(speed, grid.bottom_u, params, at_u, grid)
        (out,) = vertical_mixing.implicit_solve([content], h_u, k, drag)
        if noted is not None:
            noted |= _vertical_terms(out, content - still, k, drag, h_u, dt)
        return out * grid.mask_u

    def _implicit_v(self, u, v, guess, h_v, viscosity, stretch, now, params, grid, noted=None) -> Field:
        dt, p = self.physics.momentum_dt, self.physics
        u, v = fence(u, v)
        across = mean_y_c2v(mean_x_u2c(u))
        speed = fmap(lambda a, b: jnp.sqrt(a * a + b * b + 1e-8), v, across, name="speed")
        content = still = guess * h_v
        if "tauy" in now:
            content = add_top(content, now["tauy"] * (dt / p.rho0) * grid.wet_v)
        k = vertical_mixing.to_v(viscosity, grid) / mean_y_c2v(stretch) * (dt / grid.dz_w)
        drag = self._drag(speed, grid.bottom_v, params, at_v, grid)
        (out,) = vertical_mixing.implicit_solve([content], h_v, k, drag)
        if noted is not None:
            noted |= _vertical_terms(out, content - still, k, drag, h_v, dt)
        return out * grid.mask_v

    def _correct(self, eta, predicted: Predictor, baro: fs.Barotropic, grid):
        """Put the free surface's depth mean into the velocity, and into the tracers' transports."""

        def one(velocity, h, depth, stretch_of, new, mean, mask, wet):
            dry = 1.0 - wet
            column = depth * stretch_of(eta, grid)
            h_now = h * stretch_of(eta, grid)
            shear = velocity - sum_z(velocity * h_now) / (column + dry)
            after = (shear + new / (depth * stretch_of(baro.eta, grid) + dry)) * mask
            carried = (shear + mean / (column + dry)) * mask
            return after, carried * h_now

        u, flow_u = one(predicted.u, grid.h_u, grid.depth_u, stretch_u, baro.U, baro.U_mean, grid.mask_u, grid.wet_u)
        v, flow_v = one(predicted.v, grid.h_v, grid.depth_v, stretch_v, baro.V, baro.V_mean, grid.mask_v, grid.wet_v)
        return hold(u, v, flow_u, flow_v)

    def _tracers(self, s, new_eta, flow_u, flow_v, diffusivity, fluxes, params, grid, extra, eddies=None, layer=None,
                 terms=None):  # fmt: skip
        p, dt = self.physics, self.physics.dt
        terms = {} if terms is None else terms
        rate = (new_eta - s.eta) * (1.0 / dt)
        w = hold(interface_flow(flow_u, flow_v, rate, grid))
        h_old = grid.h_c * stretch_c(s.eta, grid)
        new_stretch = stretch_c(new_eta, grid)
        h_new = grid.h_c * new_stretch
        k = diffusivity / new_stretch
        if eddies is not None:
            # Its explicit part is written for thicknesses at rest, and the two have to cancel for density.
            k = k + eddies.vertical_diffusivity
        k = k * (dt / grid.dz_w)
        carried_by = {"temperature": s.temperature.level(0), "salinity": None}
        entering = {"temperature": fluxes.heat, "salinity": fluxes.salt}
        if self.passive.kinds:
            with jax.named_scope("passive_tracers"):
                own = self.passive.sources(s.tracers, h_old, params, grid, s.time + 0.5 * dt, dt)
            carried_by, entering = carried_by | self.passive.rain(), entering | own.surface
            extra = with_sources(extra, own)
        contents = []
        terms["flow"] = flow_u, flow_v, w
        staged = {}
        if p.tracer_advection in tracer_transport.STAGED:
            flow = tracer_transport.Flow(flow_u, flow_v, w, h_old, dt)
            staged = tracer_transport.fluxes(s.tracers, flow, p.tracer_advection, self.halos, s.steps, grid)
        for name, c in s.tracers.items():
            noted = terms[name] = {}
            content = c * h_old + self._explicit_tracer(
                c, flow_u, flow_v, w, params, grid, eddies, noted, staged.get(name)
            ) * dt
            local = carried_by.get(name, c.level(0))
            source = entering.get(name)
            if local is not None:
                water = fluxes.freshwater * local
                source = water if source is None else source + water
            content = add_top(content, source * dt) if source is not None else content
            source_at_top = source
            if name == "temperature" and fluxes.penetrating is not None:
                absorbed = diff_z_w2c(fluxes.penetrating)
                content = content + absorbed * dt
                source = add_top(absorbed, source)
            noted["surface"], noted["uncorrected"] = source, content
            if name in extra:
                content = content + extra[name] * h_new * dt
            if f"{name}_content" in extra:
                content = content + extra[f"{name}_content"] * dt
            contents.append(hold(content.crop(0)))
            noted["unmixed"] = contents[-1]
            if layer is not None:
                carried = kpp.nonlocal_flux(name, c, source_at_top, fluxes, layer)
                contents[-1] = hold(contents[-1] + diff_z_w2c(carried) * dt)
        solved = vertical_mixing.implicit_solve(contents, h_new, k)
        for name, c in zip(s.tracers, solved):
            terms[name]["mixed"] = c * h_new
        out = {n: (c * grid.mask_c).crop(0).named(n) for n, c in zip(s.tracers, solved)}
        if self.passive.kinds:
            out = self.passive.held(out, h_new, params, grid, s.time + 0.5 * dt, dt)
        return out

    def _one_stage(self, c, flow_u, flow_v, w, grid) -> tuple[Field, Field, Field]:
        """Fluxes by the tracer advection schemes that take one step forward."""
        dt, scheme = self.physics.dt, self.physics.tracer_advection
        cu = fmap(lambda f, i, d: jnp.abs(f) * i * (dt / d), flow_u, grid.inv_h_u, grid.dx_u, name="courant_u")
        cv = fmap(lambda f, i, d: jnp.abs(f) * i * (dt / d), flow_v, grid.inv_h_v, grid.dy_v, name="courant_v")
        cw = fmap(lambda f: jnp.abs(f) * (dt / grid.dz_w), w, name="courant_w")
        fx = flow_u * grid.dy_u * tracer_advection.reconstruct_x(c, flow_u, cu, scheme, grid)
        fy = flow_v * grid.dx_v * tracer_advection.reconstruct_y(c, flow_v, cv, scheme, grid)
        fz = w * tracer_advection.reconstruct_z(c, w, cw, scheme, grid)
        return fx, fy, fz

    def _explicit_tracer(self, c, flow_u, flow_v, w, params, grid, eddies=None, noted=None, carried=None) -> Field:
        """Rate of thickness times tracer (unit m s-1) by advection, lateral diffusion and eddies.

        Into ``noted`` go the fluxes through west and south faces and interfaces by advection, and by all together.
        ``carried``: those by advection, where the scheme takes several stages.
        """
        p = self.physics
        fx, fy, fz = advective = carried or self._one_stage(c, flow_u, flow_v, w, grid)
        if eddies is None:
            dx, dy = lateral.diffusive_fluxes(c, params["lateral_diffusivity"], grid)
        else:
            dx, dy, up = isoneutral.fluxes(c, eddies, grid)
            fz = fz + up
        fx, fy = fx + dx, fy + dy
        if p.biharmonic_tracers:
            dx, dy = lateral.biharmonic_diffusive_fluxes(c, params["biharmonic_diffusivity"], grid)
            fx, fy = fx + dx, fy + dy
        fx, fy, fz = hold(fx, fy, fz)
        if noted is not None:
            noted["advective"], noted["fluxes"] = advective, (fx, fy, fz)
        return (diff_x_u2c(fx) + diff_y_v2c(fy)) / grid.area_c * (-1.0) - diff_z_w2c(fz)


def _vertical_terms(new: Field, stress: Field, exchange: Field, drag: Field, h: Field, dt: float) -> dict[str, Field]:
    """What the implicit solve did to velocity (m s-2): from its solution, in the form of fluxes.

    Args:
        stress: what the wind added to thickness times velocity. exchange, drag: as the solver takes them.
    """
    safe = fmap(lambda h: jnp.where(h > 0, h, 1.0), h, name="thickness")
    down = diff_z_c2w(new) * exchange
    per = lambda f: f / safe * (1.0 / dt)  # noqa: E731
    dragged = per(drag * new) * (-1.0)
    return {"vertical_friction": per(diff_z_w2c(down)), "surface_stress": per(stress), "bottom_drag": dragged}


def with_sources(extra: dict[str, Field], own: Sources) -> dict[str, Field]:
    """``extra`` (as of the hook) with the rates and contents of passive tracers added."""
    out = dict(extra)
    for key, f in {**own.rates, **{f"{n}_content": f for n, f in own.contents.items()}}.items():
        out[key] = hold(extra[key] + f if key in extra else f)
    return out


def add_top(f: Field, flux: Field) -> Field:
    """Add a two-dimensional Field to the surface layer."""
    first = f.level(0) + flux
    rest = f.crop(first.halo)
    return rest.with_data(jnp.concatenate([first.data[None], rest.data[1:]]))
