"""The tracers' part of a step: advection, diffusion, sources and implicit vertical mixing, in that
order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from dogcm.dynamics import vertical_advection
from dogcm.dynamics.continuity import convergence, interface_flow, stretch_c
from dogcm.dynamics.interfaces import Flow, Fluxes
from dogcm.field import Field, fence, hold
from dogcm.operators import add_top, diff_z_w2c
from dogcm.physics import kpp, vertical_mixing
from dogcm.physics.surface import SurfaceFluxes
from dogcm.timestepping.physics import Physics
from dogcm.timestepping.state import State
from dogcm.tracers import PassiveTracers, Sources


class TracerInputs(NamedTuple):
    """What tracers are stepped with.

    Attributes:
        state: with halos. eta: sea level at the end (m). flow_u, flow_v: transports per width (m2
            s-1).
        diffusivity: vertical (m2 s-1). fluxes: :class:`dogcm.physics.surface.SurfaceFluxes`.
        extra: see :attr:`dogcm.timestepping.Dynamics.extra_tendency`. eddies: prepared by
            :func:`dogcm.physics.isoneutral.prepare`, or None. layer: KPP's boundary layer, or None.
    """

    state: State
    eta: Field
    flow_u: Field
    flow_v: Field
    diffusivity: Field
    fluxes: SurfaceFluxes
    params: dict
    grid: Any
    extra: dict[str, Field]
    eddies: Any = None
    layer: Any = None


class Entering(NamedTuple):
    """What enters from outside.

    Attributes:
        carried_by: by tracer, its value in rain; None: none; not there: that of the first layer.
        surface: fluxes through the surface (unit m s-1) besides those of rain. rates: as
            :attr:`dogcm.timestepping.Dynamics.extra_tendency` returns them.
    """

    carried_by: dict[str, Field | None]
    surface: dict[str, Field | None]
    rates: dict[str, Field]

    def through_surface(self, name: str, c: Field, fluxes: SurfaceFluxes) -> Field | None:
        """What enters of tracer ``c`` through the surface (unit m s-1), in rain too."""
        local = self.carried_by.get(name, c.level(0))
        source = self.surface.get(name)
        if local is None:
            return source
        water = fluxes.freshwater * local
        return water if source is None else source + water


class TracerTerms(NamedTuple):
    """The terms of one tracer in a step.

    Attributes:
        advective, fluxes: through west and south faces (unit times m3 s-1) and interfaces (times
            m s-1), by advection and by all that is explicit. surface: what entered with heat,
            salt, rain and light (unit m s-1); of the first layer, or of all.
        uncorrected, unmixed, content: thickness times tracer (unit m) before extra tendencies,
            after them, and as the implicit solve takes it. mixed: after the solve. solved: the
            tracer then. fast: flow through interfaces that the solve carried (m s-1), or None.
    """

    advective: Fluxes
    fluxes: Fluxes
    surface: Field | None
    uncorrected: Field
    unmixed: Field
    content: Field
    mixed: Field | None = None
    solved: Field | None = None
    fast: Field | None = None


@dataclass(frozen=True)
class TracerStep:
    """See :class:`dogcm.timestepping.Dynamics` for the attributes."""

    halos: Any
    physics: Physics
    passive: PassiveTracers

    def advance(
        self, inputs: TracerInputs, names: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Field], dict[str, Any]]:
        """The tracers at the end of a step, and what made them: :class:`TracerTerms` by tracer,
        and ``flow``: transports per width and the flow through interfaces.

        Args:
            names: the tracers that are stepped; None: all.
        """
        s, params, grid, dt = inputs.state, inputs.params, inputs.grid, self.physics.dt
        rate = (inputs.eta - s.eta) * (1.0 / dt)
        w = fence(interface_flow(inputs.flow_u, inputs.flow_v, rate, grid))
        h_old = grid.h_c * stretch_c(s.eta, grid)
        new_stretch = stretch_c(inputs.eta, grid)
        h_new = grid.h_c * new_stretch
        k = self.diffusive(inputs, new_stretch)
        sources = self.sources(inputs, h_old)
        slow, fast = self.divided(w, h_old, grid)
        flow = Flow(inputs.flow_u, inputs.flow_v, slow, h_old, dt)
        scheme = self.physics.tracer_advection
        stepped = {n: s.tracers[n] for n in names or s.tracers}
        advective = scheme.prepare(stepped, flow, self.halos, s.steps, grid)
        terms = {}
        for name in stepped:
            terms[name] = self.explicit(name, advective(name), sources, (h_old, h_new), inputs)
        contents = [one.content for one in terms.values()]
        if fast is None:
            solved = vertical_mixing.implicit_solve(contents, h_new, k)
        else:
            solved = vertical_advection.solve_tracers(contents, h_new, k, fast, dt)
        mixed = {
            n: terms[n]._replace(mixed=c * h_new, fast=fast, solved=c)
            for n, c in zip(terms, solved)
        }
        out = {n: (c * grid.mask_c).crop(0).named(n) for n, c in zip(terms, solved)}
        if self.passive.kinds:
            out = self.passive.held(out, h_new, params, grid, s.time + 0.5 * dt, dt)
        return out, {"flow": (inputs.flow_u, inputs.flow_v, w), **mixed}

    def divided(self, w: Field, h: Field, grid) -> tuple[Field, Field | None]:
        """The flow through interfaces (m s-1) that is carried explicitly, and implicitly."""
        scheme = self.physics.vertical_advection
        if scheme is None:
            return w, None
        courant = vertical_advection.tracer_courant(w, h, grid, self.physics.dt)
        fast = scheme.implicit(w, courant) * grid.mask_cw
        return hold(w - fast, fast)

    def diffusive(self, inputs: TracerInputs, stretch: Field) -> Field:
        """Vertical diffusivity times step over thickness at rest, as the implicit solve takes it
        (m)."""
        k = inputs.diffusivity / stretch
        if inputs.eddies is not None:
            # Its explicit part is written for thicknesses at rest, and the two have to cancel for
            # density.
            k = k + inputs.eddies.vertical_diffusivity
        return k * (self.physics.dt / inputs.grid.dz_w)

    def sources(self, inputs: TracerInputs, h: Field) -> Entering:
        """What enters, of all tracers; ``h``: thickness at the start (m)."""
        s, fluxes, dt = inputs.state, inputs.fluxes, self.physics.dt
        carried_by = {"temperature": s.temperature.level(0), "salinity": None}
        surface, rates = {"temperature": fluxes.heat, "salinity": fluxes.salt}, inputs.extra
        if self.passive.kinds:
            with jax.named_scope("passive_tracers"):
                middle = s.time + 0.5 * dt
                own = self.passive.sources(s.tracers, h, inputs.params, inputs.grid, middle, dt)
            carried_by, surface = carried_by | self.passive.not_in_rain(), surface | own.surface
            rates = with_sources(rates, own)
        return Entering(carried_by, surface, rates)

    def explicit(
        self, name: str, advective: Fluxes, sources: Entering, h: tuple, inputs: TracerInputs
    ) -> TracerTerms:
        """The terms of one tracer, up to its content before the implicit solve; ``h``: thickness
        before and after (m)."""
        c, dt, (h_old, h_new) = inputs.state.tracers[name], self.physics.dt, h
        fluxes = self.fluxes(c, advective, inputs.params, inputs.grid, inputs.eddies)
        content = c * h_old + convergence(*fluxes, inputs.grid) * dt
        top = sources.through_surface(name, c, inputs.fluxes)
        content = add_top(content, top * dt) if top is not None else content
        entered, light = top, inputs.fluxes.penetrating
        if name == "temperature" and light is not None:
            absorbed = diff_z_w2c(light)
            content = content + absorbed * dt
            entered = add_top(absorbed, top)
        uncorrected = content
        if name in sources.rates:
            content = content + sources.rates[name] * h_new * dt
        if f"{name}_content" in sources.rates:
            content = content + sources.rates[f"{name}_content"] * dt
        content = unmixed = hold(content.crop(0))
        if inputs.layer is not None:
            carried = kpp.nonlocal_flux(name, c, top, inputs.fluxes, inputs.layer)
            content = hold(content + diff_z_w2c(carried) * dt)
        return TracerTerms(advective, fluxes, entered, uncorrected, unmixed, content)

    def fluxes(self, c: Field, advective: Fluxes, params: dict, grid, eddies=None) -> Fluxes:
        """Fluxes through west and south faces and interfaces by advection, lateral diffusion and
        eddies.

        Args:
            advective: by advection. eddies: prepared, or None.
        """
        p = self.physics
        fx, fy, fz = advective
        own = p.eddies is not None and eddies is not None
        if own:
            dx, dy, up = p.eddies.fluxes(c, eddies, grid)
            fx, fy, fz = fx + dx, fy + dy, fz + up
        if p.lateral_diffusion is not None:
            harmonic = not (own and p.eddies.along_layers)
            for dx, dy in p.lateral_diffusion.fluxes(c, params, grid, harmonic):
                fx, fy = fx + dx, fy + dy
        return hold(fx, fy, fz)


def with_sources(extra: dict[str, Field], own: Sources) -> dict[str, Field]:
    """``extra`` (as of the hook) with the rates and contents of passive tracers added."""
    out = dict(extra)
    for key, f in {**own.rates, **{f"{n}_content": f for n, f in own.contents.items()}}.items():
        out[key] = hold(extra[key] + f if key in extra else f)
    return out
