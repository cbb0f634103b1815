"""Closed budgets of every cell: what changed its heat, salt, volume, velocity and kinetic energy
during a step.

The terms come from the step itself (:meth:`dogcm.timestepping.Dynamics.tracer_terms`), the tendency
from the states before and after it, so a budget that closes says that nothing was left out. With
thickness h and tracer C of a cell

    d(h C)/dt = advection + lateral mixing + surface + correction + vertical mixing

in units of C times m s-1. *Advection* is by the resolved flow; *lateral mixing* is all else that is
explicit (diffusion along layers, isoneutral and Gent-McWilliams fluxes with their vertical parts);
*surface* is what enters with heat, light, salt, fresh water and ice, the first layer mostly;
*correction* what a network or another closure adds; *vertical mixing* is the implicit solve,
convection and transport that does not follow gradients included, vertical advection that is
implicit (``physics.vertical_advection``) not: it is *advection*.

Velocity is budgeted as acceleration on its faces, kinetic energy at centres:

    (u_new - u_old) / dt = sum of accelerations a_i,     (u_new**2 - u_old**2) / (2 dt) = sum of
    (u_new + u_old) / 2 a_i

the second an identity and no approximation.
"""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.dynamics import vertical_advection
from dogcm.dynamics.continuity import convergence, divergence, stretch_c
from dogcm.field import Field, exchange
from dogcm.operators import diff_z_w2c, mean_x_u2c, mean_y_v2c, mean_z_c2w, mean_z_w2c
from dogcm.timestepping.state import State

TERMS = ("tendency", "advection", "lateral_mixing", "vertical_mixing", "surface", "correction")
MOMENTUM_TERMS = (
    "tendency",
    "advection",
    "coriolis",
    "pressure_gradient",
    "lateral_friction",
    "vertical_friction",
    "surface_stress",
    "bottom_drag",
    "barotropic_correction",
    "correction",
)
VOLUME_TERMS = ("tendency", "horizontal_convergence", "vertical_convergence", "surface")


def tracer_budget(
    name: str, before: State, after: State, terms: dict, grid, dt: float
) -> dict[str, Field]:
    """The budget of a tracer over one step, by name of :data:`TERMS`; Fields (nz, ny, nx), unit of
    it times m s-1.

    Args:
        name: of the tracer. before, after: states at the ends of the step.
        terms: from ``dynamics.tracer_terms``. dt: the step (s).

    Raises:
        KeyError: no such tracer.
    """
    made, wet = terms[name], grid.mask_c.crop(0)
    content = lambda s: s.tracers[name].crop(0) * (grid.h_c * stretch_c(s.eta, grid))
    advection = convergence(*made.advective, grid)
    explicit = convergence(*made.fluxes, grid)
    mixing = (made.mixed - made.unmixed) * (1.0 / dt)
    lateral = explicit - advection
    if made.fast is not None:
        implicit = diff_z_w2c(vertical_advection.carried(made.solved, made.fast)) * (-1.0)
        advection, mixing = advection + implicit, mixing - implicit
    out = {
        "tendency": (content(after) - content(before)) * (1.0 / dt),
        "advection": advection,
        "lateral_mixing": lateral,
        "vertical_mixing": mixing,
        "surface": _on_top(made.surface, wet),
        "correction": (made.unmixed - made.uncorrected) * (1.0 / dt),
    }
    return {k: (f * wet).crop(0) for k, f in out.items()}


def volume_budget(
    before: State, after: State, terms: dict, freshwater: Field, grid, dt: float
) -> dict[str, Field]:
    """The budget of thickness over one step (m s-1), by name of :data:`VOLUME_TERMS`.

    Args:
        freshwater: what entered at the surface (m s-1); the rest as for :func:`tracer_budget`.
    """
    flow_u, flow_v, w = terms["flow"]
    wet = grid.mask_c.crop(0)
    thickness = lambda s: grid.h_c * stretch_c(s.eta, grid)
    out = {
        "tendency": (thickness(after) - thickness(before)) * (1.0 / dt),
        "horizontal_convergence": divergence(flow_u, flow_v, grid) * (-1.0),
        "vertical_convergence": diff_z_w2c(w) * (-1.0),
        "surface": _on_top(freshwater, wet),
    }
    return {k: (f * wet).crop(0) for k, f in out.items()}


def momentum_budget(
    before: State, after: State, terms: dict, grid, dt: float
) -> dict[str, tuple[Field, Field]]:
    """The budgets of u and v over one step, pairs of Fields (nz, ny, nx) by name of
    :data:`MOMENTUM_TERMS`; m s-2.

    Args:
        terms: from ``dynamics.momentum_terms``. dt: the step of velocity (s). The rest as for
            :func:`tracer_budget`.
    """
    change = lambda now, then, mask: ((now.crop(0) - then.crop(0)) * (1.0 / dt) * mask).crop(0)
    tendency = change(after.u, before.u, grid.mask_u), change(after.v, before.v, grid.mask_v)
    return {"tendency": tendency, **{n: terms[n] for n in MOMENTUM_TERMS[1:]}}


def kinetic_energy_budget(
    before: State, after: State, momentum: dict, halos, grid
) -> dict[str, Field]:
    """The budget of kinetic energy per mass over one step, Fields (nz, ny, nx) by name of
    :data:`MOMENTUM_TERMS`; m2 s-3.

    A cell has the mean of the squares on its faces, as the output variable ``kinetic_energy``.

    Args:
        momentum: of :func:`momentum_budget`. The rest as there.
    """
    middle = [(a.crop(0) + b.crop(0)) * 0.5 for a, b in ((after.u, before.u), (after.v, before.v))]
    work = [f * m for pair in momentum.values() for f, m in zip(pair, middle)]
    # Land beyond a wall holds what an exchange brings from elsewhere.
    masks = [grid.mask_u, grid.mask_v] * len(momentum)
    work = [f * m for f, m in zip(exchange(halos, *((f, 1, False) for f in work)), masks)]
    pairs = zip(momentum, work[::2], work[1::2])
    return {n: ((mean_x_u2c(x) + mean_y_v2c(y)) * grid.mask_c).crop(0) for n, x, y in pairs}


def buoyancy_work(density: Field, w: Field, grid, gravity: float, rho0: float) -> Field:
    """What potential energy turns into kinetic energy, ``-g rho w / rho0`` (m2 s-3), at centres;
    positive where it does.

    Args:
        density: anomaly (kg m-3) on layers. w: upward velocity at interfaces (m s-1).
    """
    return (mean_z_w2c(mean_z_c2w(density) * w) * (-gravity / rho0) * grid.mask_c).crop(0)


def _on_top(flux: Field | None, like: Field) -> Field:
    """A flux per area in the first layer, 0 below; one that knows its layers (light) stays as it
    is."""
    empty = like * 0.0
    if flux is None:
        return empty
    if flux.ndim == 3:
        return flux.crop(0).astype(like.dtype)
    top = flux.crop(0).data[None].astype(like.dtype)
    return empty.with_data(jnp.concatenate([top, empty.data[1:]]))


__all__ = [
    "MOMENTUM_TERMS",
    "TERMS",
    "VOLUME_TERMS",
    "buoyancy_work",
    "kinetic_energy_budget",
    "momentum_budget",
    "tracer_budget",
    "volume_budget",
]
