"""The velocity's part of a step: a predictor, then the depth mean of the free surface.

The predictor is a sum of terms. :class:`Predicted` holds them by name, and a budget is these terms
looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp

from dogcm.dynamics import vertical_advection
from dogcm.dynamics.barotropic import Barotropic
from dogcm.dynamics.continuity import divergence, interface_flow, stretch_u, stretch_v
from dogcm.dynamics.coriolis_cd import CDScheme
from dogcm.field import Field, fence, fmap, hold
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
from dogcm.timestepping.state import HISTORY_U, HISTORY_V, State
from dogcm.timestepping.turning import CDLast, Extrapolated, ForwardBackward, Pair

# Accelerations (m s-2) of u and v; None: the term says nothing about this component.
Term = tuple[Field | None, Field | None]
# Terms of the predictor that a budget shows as one.
PRESSURE = ("baroclinic_pressure", "surface_slope", "ice_load")


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


class Columns(NamedTuple):
    """Columns of water at faces at the start of a step.

    Attributes:
        h: thickness of layers (m). near: the same, with the halo of the solves. U, V: transports
            per width (m2 s-1).
    """

    h: Pair
    near: Pair
    U: Field
    V: Field


class Faces(NamedTuple):
    """One component of velocity and what vertical friction needs to know of its faces.

    Attributes:
        along: the component (m s-1). across: the other, brought there. h: thickness (m).
            viscosity: vertical, over the stretch of layers (m2 s-1). stress: of the wind (N m-2),
            or None. bottom: 1 in the deepest wet layer. wet, mask: of the faces. at: brings a
            parameter there. rising: flow through interfaces that the solve carries (m s-1), or
            None.
    """

    along: Field
    across: Field
    h: Field
    viscosity: Field
    stress: Field | None
    bottom: Field
    wet: Field
    mask: Field
    at: Callable
    rising: Field | None = None


class Solve(NamedTuple):
    """The implicit vertical solve of one component.

    Attributes:
        before: thickness times velocity (m2 s-1) before the stress of the wind. content: after it.
            exchange, drag: as the solver takes them (m). h: thickness (m). new: the solution
            (m s-1), not masked. rising: as of :class:`Faces`.
    """

    before: Field
    content: Field
    exchange: Field
    drag: Field
    h: Field
    new: Field
    rising: Field | None = None


@dataclass(frozen=True)
class Predicted:
    """Velocity before the free surface has its say.

    Attributes:
        u, v: m s-1. U, V: transports per width at the start (m2 s-1). new_U, new_V: depth
            integrals of u and v here. forcing_u, forcing_v: depth-integrated forcing of the free
            surface (m2 s-2). history_u, history_v: accelerations that the next step extrapolates.
        terms: the explicit accelerations by name. solves: the implicit vertical solves of u and v.
    """

    u: Field
    v: Field
    U: Field
    V: Field
    new_U: Field
    new_V: Field
    forcing_u: Field
    forcing_v: Field
    history_u: Field
    history_v: Field
    terms: dict[str, Term]
    solves: tuple[Solve, Solve]
    d_grid: tuple[Field, ...] = ()


def total(terms: Iterable[Field | None]) -> Field:
    """The sum of what is there, from the first to the last."""
    first, *others = (t for t in terms if t is not None)
    for other in others:
        first = first + other
    return first


@dataclass(frozen=True)
class MomentumStep:
    """See :class:`dogcm.timestepping.Dynamics` for the attributes."""

    halos: Any
    physics: Physics
    scheme: TimeScheme
    split: Any

    def predict(self, inputs: MomentumInputs) -> Predicted:
        """Velocity before the free surface, u first and then v: the sum of all terms, and the
        implicit solve of vertical friction."""
        s, now, grid, dt = inputs.state, inputs.now, inputs.grid, self.physics.momentum_dt
        baroclinic = self.baroclinic_pressure(inputs)
        friction = hold(*self.friction(s.u, s.v, inputs.params, grid))
        columns = self.columns(s, grid)
        turning = self.turning(s, columns, grid)
        slow, fast = self.vertical_flow(s, columns, grid)
        newest = self.advection(s, slow, turning, grid)
        terms: dict[str, Term] = {
            "advection": (
                self.scheme.extrapolate(newest[0], s.history_u, s.steps),
                self.scheme.extrapolate(newest[1], s.history_v, s.steps),
            ),
            "lateral_friction": friction,
            "baroclinic_pressure": baroclinic,
            "surface_slope": self.slope(s.eta, grid),
        }
        if "ice_load" in now:
            terms["ice_load"] = self.slope(now["ice_load"], grid)
        terms["correction"] = inputs.extra.get("u"), inputs.extra.get("v")
        rate_u, rate_v = (total(term[i] for term in terms.values()) for i in (0, 1))
        turn_u = turning.of_u()
        # Held together with what is kept for the next step: what this one kept has been read by
        # then, and lends its place.
        guess_u, history_u = hold(s.u + total((rate_u, turn_u)) * dt, newest[0])
        new_u, solve_u = self.implicit(guess_u, self.u_faces(inputs, columns.near[0], fast), inputs)
        turn_v = turning.of_v(new_u)
        guess_v, history_v = hold(s.v + total((rate_v, turn_v)) * dt, newest[1])
        new_v, solve_v = self.implicit(guess_v, self.v_faces(inputs, columns.near[1], fast), inputs)
        turned = turning.finish(*hold(new_u, new_v), (turn_u, turn_v))
        h_u, h_v = turning.thickness(columns.h, columns.near)
        new_U, new_V = sum_z(turned.u * h_u), sum_z(turned.v * h_v)
        forcing = self.slow_forcing(s.eta, columns, (new_U, new_V), terms["surface_slope"], grid)
        return Predicted(
            *(turned.u, turned.v, columns.U, columns.V, new_U, new_V),
            *(*forcing, history_u, history_v),
            terms={**terms, "coriolis": turned.force},
            solves=(solve_u, solve_v),
            d_grid=turned.d_grid,
        )

    # ---- terms, as accelerations (m s-2) of u and v
    def friction(self, u: Field, v: Field, params: dict, grid) -> Pair:
        """By lateral friction, and by what counters it."""
        p = self.physics
        fu, fv = p.friction.accelerations(u, v, params, grid)
        if p.eddy_viscosity is not None:
            eu, ev = p.eddy_viscosity.accelerations(u, v, params, grid, p)
            fu, fv = fu + eu, fv + ev
        if p.backscatter is not None:
            eu, ev = p.backscatter.accelerations(u, v, params, grid)
            fu, fv = fu + eu, fv + ev
        return fu, fv

    def baroclinic_pressure(self, inputs: MomentumInputs) -> Pair:
        """By the pressure of what lies above."""
        p, density, grid = self.physics, inputs.density, inputs.grid
        pressure = hold(p.pressure.hydrostatic(density, inputs.stretch, grid, p))
        return hold(*p.pressure.gradient(pressure, density, inputs.state.eta, grid, p))

    def slope(self, height: Field, grid) -> Pair:
        """By the slope of sea level, or of a load as a height of water (m)."""
        g = self.physics.gravity
        return (
            (diff_x_c2u(height) / grid.dx_u * grid.wet_u) * (-g),
            (diff_y_c2v(height) / grid.dy_v * grid.wet_v) * (-g),
        )

    def vertical_flow(self, s: State, columns: Columns, grid) -> tuple[Field | None, Field | None]:
        """The flow through interfaces of centres (m s-1) that carries velocity explicitly, and
        implicitly."""
        if self.physics.momentum_advection is None:
            return None, None
        (h_u, h_v), scheme = columns.h, self.physics.vertical_advection
        rising = -divergence(columns.U, columns.V, grid)
        w = interface_flow(s.u * h_u, s.v * h_v, rising, grid)
        if scheme is None:
            return w, None
        w = hold(w)
        dt = self.physics.momentum_dt
        courant = vertical_advection.momentum_courant(w, columns.h, grid, dt)
        fast = scheme.implicit(w, courant) * grid.mask_cw
        return hold(w - fast, fast)

    def advection(self, s: State, w: Field | None, turning, grid) -> Pair:
        """By advection, and what of the Coriolis force is extrapolated with it."""
        scheme = self.physics.momentum_advection
        terms = []
        if scheme is not None:
            terms.append(scheme.accelerations(s.u, s.v, w, grid))
        terms += turning.extrapolated() or ([] if terms else [(s.u * 0.0, s.v * 0.0)])
        au, av = (total(term[i] for term in terms) for i in (0, 1))
        return hold(au.crop(HISTORY_U), av.crop(HISTORY_V))

    # ---- what the terms are made of
    def columns(self, s: State, grid) -> Columns:
        """Thickness and transports at faces."""
        h_u, h_v = hold(grid.h_u * stretch_u(s.eta, grid), grid.h_v * stretch_v(s.eta, grid))
        U, V = hold(sum_z(s.u * h_u), sum_z(s.v * h_v))
        # Cut to size once: each cut on its own is padded again in the backward pass.
        near = fence(h_u.crop(HISTORY_U), h_v.crop(HISTORY_V))
        return Columns((h_u, h_v), near, U, V)

    def turning(self, s: State, columns: Columns, grid) -> ForwardBackward | CDLast:
        """How this step turns the flow."""
        p = self.physics
        if isinstance(p.coriolis, CDScheme):
            return CDLast(s, self.halos, grid, p.momentum_dt, p.coriolis, p.gravity)
        planetary = grid.f_q * grid.inv_h_q
        if self.scheme.coriolis == "forward_backward":
            return ForwardBackward(s.u, s.v, planetary, grid)
        return Extrapolated.of(s, planetary, (columns.U, columns.V), columns.h, grid)

    def slow_forcing(
        self, eta: Field, columns: Columns, new: Pair, slope: Pair, grid
    ) -> tuple[Field, Field]:
        """What changed the depth-integrated flow (m2 s-2), less what the free surface computes
        itself; ``new``: transports per width after the solves."""
        U, V, dt = columns.U, columns.V, self.physics.momentum_dt
        newest_U = new[0] if self.scheme.coriolis == "forward_backward" else U
        fast = self.split.own_forcing(eta, (newest_U, V), slope, columns.near, grid)
        rates = (new[0] - U) * (1 / dt), (new[1] - V) * (1 / dt)
        return rates if fast is None else (rates[0] - fast[0], rates[1] - fast[1])

    # ---- the implicit solve
    def u_faces(self, inputs: MomentumInputs, h: Field, fast: Field | None = None) -> Faces:
        """West faces, with thickness ``h`` (m); ``fast``: of centres, see
        :meth:`vertical_flow`."""
        grid, (u, v) = inputs.grid, fence(inputs.state.u, inputs.state.v)
        across = mean_x_c2u(mean_y_v2c(v))
        k = vertical_mixing.to_u(inputs.viscosity, grid) / mean_x_c2u(inputs.stretch)
        stress = inputs.now.get("taux")
        if fast is not None:
            fast = mean_x_c2u(fast * grid.area_c) / grid.area_u * grid.mask_uw
        where = grid.bottom_u, grid.wet_u, grid.mask_u, at_u
        return Faces(u, across, h, k, stress, *where, fast)

    def v_faces(self, inputs: MomentumInputs, h: Field, fast: Field | None = None) -> Faces:
        """South faces, likewise."""
        grid, (u, v) = inputs.grid, fence(inputs.state.u, inputs.state.v)
        across = mean_y_c2v(mean_x_u2c(u))
        k = vertical_mixing.to_v(inputs.viscosity, grid) / mean_y_c2v(inputs.stretch)
        stress = inputs.now.get("tauy")
        if fast is not None:
            fast = mean_y_c2v(fast * grid.area_c) / grid.area_v * grid.mask_vw
        where = grid.bottom_v, grid.wet_v, grid.mask_v, at_v
        return Faces(v, across, h, k, stress, *where, fast)

    def implicit(self, guess: Field, faces: Faces, inputs: MomentumInputs) -> tuple[Field, Solve]:
        """``guess`` (m s-1) after wind stress, vertical friction and bottom drag."""
        dt, grid = self.physics.momentum_dt, inputs.grid
        speed = fmap(
            lambda a, b: jnp.sqrt(a * a + b * b + 1e-8), faces.along, faces.across, name="speed"
        )
        content = before = guess * faces.h
        if faces.stress is not None:
            content = add_top(content, faces.stress * (dt / self.physics.rho0) * faces.wet)
        k = faces.viscosity * (dt / grid.dz_w)
        drag = self.drag(speed, faces, inputs.params, grid)
        if faces.rising is None:
            (new,) = vertical_mixing.implicit_solve([content], faces.h, k, drag)
        else:
            new = vertical_advection.solve_velocity(content, faces.h, k, drag, faces.rising, dt)
        solve = Solve(before, content, k, drag, faces.h, new, faces.rising)
        return new * faces.mask, solve

    def drag(self, speed: Field, faces: Faces, params: dict, grid) -> Field:
        """Implicit bottom drag (m): the step times the drag velocity, in the deepest wet layer."""
        scheme, dt = self.physics.bottom_drag, self.physics.momentum_dt
        if scheme is None:
            return faces.bottom * 0.0
        linear, quadratic = scheme.coefficients(params, faces.at, grid)
        drag = lambda s, b, cl, cq: (cl + cq * s) * b * dt
        return fmap(drag, speed, faces.bottom, linear, quadratic, name="drag")

    # ---- after the free surface
    def correct(self, eta: Field, predicted: Predicted, baro: Barotropic, grid):
        """Put the free surface's depth mean into the velocity, and into the tracers' transports."""
        p = predicted

        def one(velocity, transports, faces, stretch_of):
            (integral, new, mean), (h, depth, mask, wet) = transports, faces
            dry = 1.0 - wet
            column = depth * stretch_of(eta, grid)
            h_now = h * stretch_of(eta, grid)
            shear = velocity - integral / (column + dry)
            after = (shear + new / (depth * stretch_of(baro.eta, grid) + dry)) * mask
            carried = shear + mean / (column + dry)
            return after.crop(0), carried * h_now  # without thickness in the ground

        west = grid.h_u, grid.depth_u, grid.mask_u, grid.wet_u
        south = grid.h_v, grid.depth_v, grid.mask_v, grid.wet_v
        u, flow_u = one(p.u, (p.new_U, baro.U, baro.U_mean), west, stretch_u)
        v, flow_v = one(p.v, (p.new_V, baro.V, baro.V_mean), south, stretch_v)
        return hold(u, v, flow_u, flow_v)

    # ---- the terms, looked at
    def budget(self, predicted: Predicted) -> dict[str, Pair]:
        """All terms of the predictor, explicit and implicit (m s-2), by name; a term that is not
        there is zero."""
        p = predicted
        zero = p.u * 0.0, p.v * 0.0
        there = lambda term: tuple(z if f is None else f for f, z in zip(term, zero))
        full = {n: there(term) for n, term in p.terms.items()}
        pressed = [full.pop(n) for n in PRESSURE if n in full]
        full["pressure_gradient"] = tuple(total(term[i] for term in pressed) for i in (0, 1))
        u, v = (_implicit_terms(solve, self.physics.momentum_dt) for solve in p.solves)
        carried = [_carried(solve) for solve in p.solves]
        full["advection"] = tuple(
            f if c is None else f + c for f, c in zip(full["advection"], carried)
        )
        return full | {name: (u[name], v[name]) for name in u}


def _carried(solve: Solve) -> Field | None:
    """What an implicit solve did to velocity by advection (m s-2)."""
    if solve.rising is None:
        return None
    return vertical_advection.acceleration(solve.new, solve.rising, solve.h)


def _implicit_terms(solve: Solve, dt: float) -> dict[str, Field]:
    """What an implicit solve did to velocity (m s-2): from its solution, in the form of fluxes."""
    safe = fmap(lambda h: jnp.where(h > 0, h, 1.0), solve.h, name="thickness")
    down = diff_z_c2w(solve.new) * solve.exchange
    per = lambda f: f / safe * (1.0 / dt)
    return {
        "vertical_friction": per(diff_z_w2c(down)),
        "surface_stress": per(solve.content - solve.before),
        "bottom_drag": per(solve.drag * solve.new) * (-1.0),
    }
