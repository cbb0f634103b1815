"""The tracers' part of a step: advection, diffusion, sources and implicit vertical mixing, in that
order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from dogcm.dynamics.continuity import convergence, interface_flow, stretch_c
from dogcm.dynamics.interfaces import Flow
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


@dataclass(frozen=True)
class TracerStep:
    """See :class:`dogcm.timestepping.Dynamics` for the attributes."""

    halos: Any
    physics: Physics
    passive: PassiveTracers

    def advance(self, inputs: TracerInputs, terms: dict | None = None) -> dict[str, Field]:
        """The tracers at the end of a step; what made them is put into ``terms``."""
        s, new_eta, flow_u, flow_v, diffusivity, fluxes, params, grid, extra, eddies, layer = inputs
        p, dt = self.physics, self.physics.dt
        terms = {} if terms is None else terms
        rate = (new_eta - s.eta) * (1.0 / dt)
        w = fence(interface_flow(flow_u, flow_v, rate, grid))
        h_old = grid.h_c * stretch_c(s.eta, grid)
        new_stretch = stretch_c(new_eta, grid)
        h_new = grid.h_c * new_stretch
        k = diffusivity / new_stretch
        if eddies is not None:
            # Its explicit part is written for thicknesses at rest, and the two have to cancel for
            # density.
            k = k + eddies.vertical_diffusivity
        k = k * (dt / grid.dz_w)
        carried_by = {"temperature": s.temperature.level(0), "salinity": None}
        entering = {"temperature": fluxes.heat, "salinity": fluxes.salt}
        if self.passive.kinds:
            with jax.named_scope("passive_tracers"):
                own = self.passive.sources(s.tracers, h_old, params, grid, s.time + 0.5 * dt, dt)
            carried_by, entering = carried_by | self.passive.not_in_rain(), entering | own.surface
            extra = with_sources(extra, own)
        contents = []
        terms["flow"] = flow_u, flow_v, w
        flow = Flow(flow_u, flow_v, w, h_old, dt)
        advective = p.tracer_advection.prepare(s.tracers, flow, self.halos, s.steps, grid)
        for name, c in s.tracers.items():
            noted = terms[name] = {}
            content = (
                c * h_old + self.explicit(c, advective(name), params, grid, eddies, noted) * dt
            )
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

    def explicit(self, c, advective, params, grid, eddies=None, noted=None) -> Field:
        """Rate of thickness times tracer (unit m s-1) by advection, lateral diffusion and eddies.

        Into ``noted`` go the fluxes through west and south faces and interfaces by advection, and
        by all together.

        Args:
            advective: fluxes by advection. eddies: prepared, or None.
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
        fx, fy, fz = hold(fx, fy, fz)
        if noted is not None:
            noted["advective"], noted["fluxes"] = advective, (fx, fy, fz)
        return convergence(fx, fy, fz, grid)


def with_sources(extra: dict[str, Field], own: Sources) -> dict[str, Field]:
    """``extra`` (as of the hook) with the rates and contents of passive tracers added."""
    out = dict(extra)
    for key, f in {**own.rates, **{f"{n}_content": f for n, f in own.contents.items()}}.items():
        out[key] = hold(extra[key] + f if key in extra else f)
    return out
