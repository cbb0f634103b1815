"""Closed budgets of every cell: what changed its heat, salt and volume during a step, term by term.

The terms come from the step itself (:meth:`dogcm.timestepping.Dynamics.tracer_terms`), the tendency from the states
before and after it, so a budget that closes says that nothing was left out. With thickness h and tracer C of a cell

    d(h C)/dt = advection + lateral mixing + surface + correction + vertical mixing

in units of C times m s-1. *Advection* is by the resolved flow; *lateral mixing* is all else that is explicit
(diffusion along layers, isoneutral and Gent-McWilliams fluxes with their vertical parts); *surface* is what enters
with heat, light, salt, fresh water and ice, the first layer mostly; *correction* what a network or another closure
adds; *vertical mixing* is the implicit solve, convection included.
"""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.dynamics.continuity import divergence, stretch_c
from dogcm.field import Field
from dogcm.operators import diff_x_u2c, diff_y_v2c, diff_z_w2c
from dogcm.timestepping.state import State

TERMS = ("tendency", "advection", "lateral_mixing", "vertical_mixing", "surface", "correction")
VOLUME_TERMS = ("tendency", "horizontal_convergence", "vertical_convergence", "surface")


def tracer_budget(name: str, before: State, after: State, terms: dict, grid, dt: float) -> dict[str, Field]:
    """The budget of a tracer over one step, by name of :data:`TERMS`; Fields (nz, ny, nx), unit of it times m s-1.

    Args:
        name: of the tracer. before, after: states at the ends of the step.
        terms: from ``dynamics.tracer_terms``. dt: the step (s).

    Raises:
        KeyError: no such tracer.
    """
    noted, wet = terms[name], grid.mask_c.crop(0)
    content = lambda s: s.tracers[name].crop(0) * (grid.h_c * stretch_c(s.eta, grid))  # noqa: E731
    advection = _convergence(*noted["advective"], grid)
    explicit = _convergence(*noted["fluxes"], grid)
    out = {
        "tendency": (content(after) - content(before)) * (1.0 / dt),
        "advection": advection, "lateral_mixing": explicit - advection,
        "vertical_mixing": (noted["mixed"] - noted["unmixed"]) * (1.0 / dt),
        "surface": _on_top(noted["surface"], wet),
        "correction": (noted["unmixed"] - noted["uncorrected"]) * (1.0 / dt),
    }  # fmt: skip
    return {k: (f * wet).crop(0) for k, f in out.items()}


def volume_budget(before: State, after: State, terms: dict, freshwater: Field, grid, dt: float) -> dict[str, Field]:
    """The budget of thickness over one step (m s-1), by name of :data:`VOLUME_TERMS`.

    Args:
        freshwater: what entered at the surface (m s-1); the rest as for :func:`tracer_budget`.
    """
    flow_u, flow_v, w = terms["flow"]
    wet = grid.mask_c.crop(0)
    thickness = lambda s: grid.h_c * stretch_c(s.eta, grid)  # noqa: E731
    out = {
        "tendency": (thickness(after) - thickness(before)) * (1.0 / dt),
        "horizontal_convergence": divergence(flow_u, flow_v, grid) * (-1.0),
        "vertical_convergence": diff_z_w2c(w) * (-1.0), "surface": _on_top(freshwater, wet),
    }  # fmt: skip
    return {k: (f * wet).crop(0) for k, f in out.items()}


def _convergence(fx: Field, fy: Field, fz: Field, grid) -> Field:
    return (diff_x_u2c(fx) + diff_y_v2c(fy)) / grid.area_c * (-1.0) - diff_z_w2c(fz)


def _on_top(flux: Field | None, like: Field) -> Field:
    """A flux per area in the first layer, 0 below; one that knows its layers (light) stays as it is."""
    empty = like * 0.0
    if flux is None:
        return empty
    if flux.ndim == 3:
        return flux.crop(0).astype(like.dtype)
    top = flux.crop(0).data[None].astype(like.dtype)
    return empty.with_data(jnp.concatenate([top, empty.data[1:]]))


__all__ = ["TERMS", "VOLUME_TERMS", "tracer_budget", "volume_budget"]
