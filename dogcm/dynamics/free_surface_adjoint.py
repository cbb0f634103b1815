"""The adjoint of the short steps of :mod:`dogcm.dynamics.free_surface`, written by hand.

``scheme`` is a :class:`dogcm.dynamics.free_surface.SplitExplicit` everywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics.barotropic import Barotropic, new_sea_level, short_step_coefficients
from dogcm.field import Field, exchange, hold, send_back
from dogcm.operators import (
    diff_x_c2u,
    diff_x_u2c,
    diff_y_c2v,
    diff_y_v2c,
    mean_x_q2v,
    mean_x_v2q,
    mean_y_q2u,
    mean_y_u2q,
)


class Note(NamedTuple):
    """What the adjoint of the short steps needs of them."""

    eta: Field  # sea level before, with the halo of adjoint_reach or more
    levels: list[
        Field
    ]  # sea level after each short step of a group, along a new first axis for groups


def adjoint_reach(scheme: Any) -> Halo:
    """The halo that the adjoint of ``per_exchange`` short steps uses up."""
    m = scheme.per_exchange
    return Halo(s=m, n=m, w=2 * m, e=m)


def adjoint(scheme: Any, halos, note: Note, grid, owed: Barotropic) -> list[Field]:
    """Cotangents of the inputs of :meth:`SplitExplicit.advance` from those of what it returns.

    The short steps backwards, with stencils that gather from neighbours as the forward ones do,
    where the transposes
    of single operations would scatter: on the whole ocean, gradient and divergence are each other's
    adjoint, and so are, but for the sign, the Coriolis forces on the two components. They are
    linear but for the depth in ``g H``, for which ``note`` holds the sea level of every short step.

    Args:
        owed: cotangents, in units of the loss per unit of what they belong to.

    Returns:
        those of sea level, both transports, both forcings and fresh water, without halo.
    """
    reach = adjoint_reach(scheme)
    a, b = (jnp.asarray(w, note.eta.dtype) for w in scheme.weights())
    (gu, gv, *fixed), to_eta = jax.vjp(
        lambda eta: short_step_coefficients(scheme, eta, grid), note.eta
    )
    zeros = lambda at: Field(jnp.zeros_like(note.eta.crop(0).data), at)
    finish = lambda *f: new_sea_level(scheme, *f, grid)
    anywhere = note.eta, note.eta, owed.U_mean, owed.V_mean  # the end is linear: any values serve
    end_eta, end_fw, end_U, end_V = jax.vjp(finish, *anywhere)[1](owed.eta)
    # On land, and beyond a wall, transports are zero whatever the inputs.
    ends = owed.U, owed.V, owed.U_mean + end_U, owed.V_mean + end_V
    ends = send_back(halos, *(f * (grid.wet_u if f.at == "u" else grid.wet_v) for f in ends))
    U1, V1, Um, Vm = exchange(halos, *((f, reach) for f in ends))

    def group(carry, item):
        fields, sums = carry
        levels, a, b = item
        e, x, y = exchange(halos, *((f, reach) for f in fields))
        for m in reversed(range(scheme.per_exchange)):
            x, y = x + U1 * a[m], y + V1 * a[m]
            (e, x, y), shares = _short_step_adjoint(
                scheme, e, x, y, levels[m], (gu, gv, *fixed), grid
            )
            sums = [s + f.crop(0) for s, f in zip(sums, shares)]
            x, y = x + Um * b[m], y + Vm * b[m]
        return ([e.crop(0), (x * grid.wet_u).crop(0), (y * grid.wet_v).crop(0)], sums), None

    start = ([zeros("c"), zeros("u"), zeros("v")], [zeros(at) for at in ("u", "v", "c", "u", "v")])
    (state, (Fu, Fv, fw, d_gu, d_gv)), _ = jax.lax.scan(
        group, start, (note.levels, a, b), reverse=True
    )
    depths = [_within(f, like) for f, like in ((d_gu, gu), (d_gv, gv))]
    (of_depth,) = to_eta((*depths, *jax.tree.map(jnp.zeros_like, fixed)))
    of_eta, of_fw = send_back(halos, of_depth + end_eta, end_fw)
    return [state[0] + of_eta, state[1], state[2], Fu, Fv, fw + of_fw]


def _within(f: Field, like: Field) -> Field:
    """``f``, without halo, amid zeros of the size of ``like``."""
    h = like.halo
    return Field(jnp.pad(f.data, ((h.s, h.n), (h.w, h.e))), like.at, h, like.name)


def _short_step_adjoint(scheme, e, x, y, eta, coefficients, grid):
    """The transpose of :func:`_short_step`, last line first, and what forces, fresh water and ``g
    H`` owe to it."""
    gu, gv, cu, cv, q = coefficients
    dt = scheme.momentum_dt / scheme.steps
    dv = hold(y * grid.wet_v * dt)
    if scheme.coriolis:
        x = x - mean_y_q2u(q * mean_x_v2q(dv * cv)) * grid.dy_u
    du = hold(x * grid.wet_u * dt)
    if scheme.coriolis:
        y = y + mean_x_q2v(q * mean_y_u2q(du * cu)) * grid.dx_v
    e = hold(e + diff_x_u2c(gu * du) + diff_y_v2c(gv * dv))
    de = e * grid.wet_c * (scheme.dt / scheme.steps)
    per_area = de / grid.area_c
    x, y = hold(x + diff_x_c2u(per_area) * grid.dy_u, y + diff_y_c2v(per_area) * grid.dx_v)
    shares = du, dv, de, du * diff_x_c2u(eta) * (-1.0), dv * diff_y_c2v(eta) * (-1.0)
    return (e, x, y), shares
