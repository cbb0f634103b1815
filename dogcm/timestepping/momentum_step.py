"""The velocity's part of a step: a predictor, then the depth mean of the free surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp

from dogcm.dynamics import coriolis_cd, momentum
from dogcm.dynamics import free_surface as fs
from dogcm.dynamics.continuity import divergence, interface_flow, stretch_u, stretch_v
from dogcm.dynamics.implicit_surface import ImplicitSurface
from dogcm.field import Field, exchange, fence, fmap, hold
from dogcm.operators import (
    add_top,
    diff_x_c2u,
    diff_y_c2v,
    diff_z_c2w,
    diff_z_w2c,
    mean_x_c2u,
    mean_x_u2c,
    mean_y_c2v,
    mean_y_v2c,
    sum_z,
)
from dogcm.physics import vertical_mixing
from dogcm.physics.coefficients import at_u, at_v
from dogcm.timestepping.physics import Physics
from dogcm.timestepping.schemes import TimeScheme
from dogcm.timestepping.state import D_GRID, HISTORY_U, HISTORY_V, State


@dataclass(frozen=True)
class Predicted:
    """Velocity before the free surface has its say."""

    u: Field
    v: Field
    U: Field  # transports per width at n (m2 s-1)
    V: Field
    new_U: Field  # depth integral of u and v here (m2 s-1)
    new_V: Field
    forcing_u: Field  # depth-integrated forcing of the free surface (m2 s-2)
    forcing_v: Field
    history_u: Field
    history_v: Field
    d_grid: tuple[Field, ...] = ()


class MomentumInputs(NamedTuple):
    """What velocity is stepped with.

    Attributes:
        state: with halos. density: anomaly (kg m-3). stretch: of the layers at centres. viscosity:
            vertical (m2 s-1).
        now: the forcing of this moment. extra: see
            :attr:`dogcm.timestepping.Dynamics.extra_tendency`.
    """

    state: State
    density: Field
    stretch: Field
    viscosity: Field
    now: dict
    params: dict
    grid: Any
    extra: dict[str, Field]


@dataclass(frozen=True)
class MomentumStep:
    """See :class:`dogcm.timestepping.Dynamics` for the attributes."""

    halos: Any
    physics: Physics
    scheme: TimeScheme
    split: fs.SplitExplicit | ImplicitSurface

    def friction(self, u: Field, v: Field, params: dict, grid) -> tuple[Field, Field]:
        """Accelerations (m s-2) by lateral friction."""
        p = self.physics
        fu, fv = p.friction.accelerations(u, v, params, grid)
        if p.eddy_viscosity is not None:
            eu, ev = p.eddy_viscosity.accelerations(u, v, params, grid, p)
            fu, fv = fu + eu, fv + ev
        return fu, fv

    def predict(self, inputs: MomentumInputs, noted: dict | None = None) -> Predicted:
        """Velocity before the free surface. Into ``noted`` go pairs of accelerations (m s-2) of u
        and v, by name."""
        s, density, stretch, viscosity, now, params, grid, extra = inputs
        p, dt = self.physics, self.physics.momentum_dt
        u, v, eta = s.u, s.v, s.eta
        pressure = hold(p.pressure.hydrostatic(density, stretch, grid, p))
        gu, gv = hold(*p.pressure.gradient(pressure, density, eta, grid, p))
        fu, fv = hold(*self.friction(u, v, params, grid))
        h_u, h_v = hold(grid.h_u * stretch_u(eta, grid), grid.h_v * stretch_v(eta, grid))
        U, V = hold(sum_z(u * h_u), sum_z(v * h_v))
        # Cut to size once: each cut on its own is padded again in the backward pass.
        near_u, near_v = fence(h_u.crop(HISTORY_U), h_v.crop(HISTORY_V))
        planetary = grid.f_q * grid.inv_h_q

        au, av = u * 0.0, v * 0.0
        if p.momentum_advection is not None:
            w = interface_flow(u * h_u, v * h_v, -divergence(U, V, grid), grid)
            au, av = p.momentum_advection.accelerations(u, v, w, grid)
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
        # Held together with what is kept for the next step: what this one kept has been read by
        # then, and lends its place.
        guess_u, au = hold(u + rate_u * dt, au)
        new_u = self.implicit_u(
            u, v, guess_u, near_u, viscosity, stretch, now, params, grid, vertical_u
        )
        if not cd:
            turn_v = momentum.vorticity_flux_v(
                new_u if forward_backward else mean_u, planetary, grid
            )
            rate_v = rate_v + turn_v
        guess_v, av = hold(v + rate_v * dt, av)
        new_v = self.implicit_v(
            u, v, guess_v, near_v, viscosity, stretch, now, params, grid, vertical_v
        )
        new_u, new_v = hold(new_u, new_v)
        d_grid = ()
        if cd:
            straight = new_u, new_v
            new_u, new_v, d_grid = self._turn(s, new_u, new_v, grid)
            turn_u, turn_v = ((f - g) * (1 / dt) for f, g in zip((new_u, new_v), straight))
        if noted is not None:
            noted |= {
                "advection": (eu, ev),
                "coriolis": (turn_u, turn_v),
                "lateral_friction": (fu, fv),
                "pressure_gradient": (pressed_u - eu - fu, pressed_v - ev - fv),
                "correction": (extra.get("u", u * 0.0), extra.get("v", v * 0.0)),
                **{n: (vertical_u[n], vertical_v[n]) for n in vertical_u},
            }
        # Turned by the C-D scheme, velocity has halos beyond those of the solve.
        new_U, new_V = (
            sum_z(new_u * (h_u if cd else near_u)),
            sum_z(new_v * (h_v if cd else near_v)),
        )
        Fu, Fv = self._slow_forcing(
            eta, U, V, new_U, new_V, surface_u, surface_v, near_u, near_v, grid
        )
        return Predicted(new_u, new_v, U, V, new_U, new_V, Fu, Fv, au, av, d_grid)

    def _turn(self, s: State, new_u: Field, new_v: Field, grid):
        """Coriolis force by the C-D scheme, after all else; returns u, v and the velocity on the D
        grid."""
        dt = self.physics.momentum_dt
        rate_u, rate_v, *d_grid = exchange(
            self.halos,
            ((new_u - s.u) * (1 / dt), 1),
            ((new_v - s.v) * (1 / dt), 1),
            *((f, 1) for f in s.d_grid),
        )
        # Beyond a wall an exchange brings values from elsewhere; in the ground below the sea they
        # are zero.
        rate_u, rate_v = hold(rate_u * grid.wet_u, rate_v * grid.wet_v)
        d_grid = hold(
            *coriolis_cd.advance(*d_grid, s.u, s.v, rate_u, rate_v, dt, self.physics.cd_time, grid)
        )
        v_at_u, u_at_v = d_grid
        u = s.u + (rate_u + coriolis_cd.f_at_u(grid) * v_at_u) * dt
        v = s.v + (rate_v - coriolis_cd.f_at_v(grid) * u_at_v) * dt
        u, v = hold(u, v)
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

    def drag(self, speed: Field, bottom: Field, params: dict, at, grid) -> Field:
        """Implicit bottom drag (m): the step times the drag velocity, in the deepest wet layer;
        ``at``: at_u or at_v."""
        scheme, dt = self.physics.bottom_drag, self.physics.momentum_dt
        if scheme is None:
            return bottom * 0.0
        linear, quadratic = scheme.coefficients(params, at, grid)
        drag = lambda s, b, cl, cq: (cl + cq * s) * b * dt
        return fmap(drag, speed, bottom, linear, quadratic, name="drag")

    def implicit_u(
        self, u, v, guess, h_u, viscosity, stretch, now, params, grid, noted=None
    ) -> Field:
        """``guess`` after wind stress, vertical friction and bottom drag; into ``noted`` go what
        each did (m s-2)."""
        u, v = fence(u, v)
        across = mean_x_c2u(mean_y_v2c(v))
        k = vertical_mixing.to_u(viscosity, grid) / mean_x_c2u(stretch)
        stress = now["taux"] if "taux" in now else None
        sides = grid.bottom_u, grid.wet_u, grid.mask_u, at_u
        return self._implicit(u, across, guess, h_u, k, stress, sides, params, grid, noted)

    def implicit_v(
        self, u, v, guess, h_v, viscosity, stretch, now, params, grid, noted=None
    ) -> Field:
        """As :meth:`implicit_u`."""
        u, v = fence(u, v)
        across = mean_y_c2v(mean_x_u2c(u))
        k = vertical_mixing.to_v(viscosity, grid) / mean_y_c2v(stretch)
        stress = now["tauy"] if "tauy" in now else None
        sides = grid.bottom_v, grid.wet_v, grid.mask_v, at_v
        return self._implicit(v, across, guess, h_v, k, stress, sides, params, grid, noted)

    def _implicit(
        self, along, across, guess, h, viscosity, stress, sides, params, grid, noted
    ) -> Field:
        dt, (bottom, wet, mask, at) = self.physics.momentum_dt, sides
        speed = fmap(lambda a, b: jnp.sqrt(a * a + b * b + 1e-8), along, across, name="speed")
        content = still = guess * h
        if stress is not None:
            content = add_top(content, stress * (dt / self.physics.rho0) * wet)
        k = viscosity * (dt / grid.dz_w)
        drag = self.drag(speed, bottom, params, at, grid)
        (out,) = vertical_mixing.implicit_solve([content], h, k, drag)
        if noted is not None:
            noted |= _vertical_terms(out, content - still, k, drag, h, dt)
        return out * mask

    def correct(self, eta, predicted: Predicted, baro: fs.Barotropic, grid):
        """Put the free surface's depth mean into the velocity, and into the tracers' transports."""

        def one(velocity, integral, h, depth, stretch_of, new, mean, mask, wet):
            dry = 1.0 - wet
            column = depth * stretch_of(eta, grid)
            h_now = h * stretch_of(eta, grid)
            shear = velocity - integral / (column + dry)
            after = (shear + new / (depth * stretch_of(baro.eta, grid) + dry)) * mask
            carried = shear + mean / (column + dry)
            return after.crop(0), carried * h_now  # without thickness in the ground

        p = predicted
        u, flow_u = one(
            p.u,
            p.new_U,
            grid.h_u,
            grid.depth_u,
            stretch_u,
            baro.U,
            baro.U_mean,
            grid.mask_u,
            grid.wet_u,
        )
        v, flow_v = one(
            p.v,
            p.new_V,
            grid.h_v,
            grid.depth_v,
            stretch_v,
            baro.V,
            baro.V_mean,
            grid.mask_v,
            grid.wet_v,
        )
        return hold(u, v, flow_u, flow_v)


def _vertical_terms(
    new: Field, stress: Field, exchange: Field, drag: Field, h: Field, dt: float
) -> dict[str, Field]:
    """What the implicit solve did to velocity (m s-2): from its solution, in the form of fluxes.

    Args:
        stress: what the wind added to thickness times velocity. exchange, drag: as the solver takes
            them.
    """
    safe = fmap(lambda h: jnp.where(h > 0, h, 1.0), h, name="thickness")
    down = diff_z_c2w(new) * exchange
    per = lambda f: f / safe * (1.0 / dt)
    dragged = per(drag * new) * (-1.0)
    return {
        "vertical_friction": per(diff_z_w2c(down)),
        "surface_stress": per(stress),
        "bottom_drag": dragged,
    }
