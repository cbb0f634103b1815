"""Split-explicit free surface: depth-mean flow and sea level, many short steps inside each long
one.

The averages over the short steps follow Shchepetkin and McWilliams (2005),
doi:10.1016/j.ocemod.2004.08.002: a shape that damps what the long step cannot resolve, and for the
transports the weights that make sea level and tracer transports agree to round-off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import divergence, stretch_u, stretch_v
from dogcm.field import Field, exchange, fence, hold, send_back
from dogcm.lowering import replay
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

# What must still be valid when the short steps are over: the new sea level is needed one cell to
# the west and south, and one to the east and north, of every transport of the tracer step.
LEFT = Halo(s=1, n=2, w=1, e=2)


def averaging_weights(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the short steps for sea level and velocity (``a``), and for transports (``b``).

    ``steps`` short steps make one long one. ``a[m]`` belongs to the state after short step m + 1;
    its mean time is exactly one long step. ``b[m]`` belongs to the transport used by short step m +
    1.
    """
    p, q, r = 2.0, 4.0, 0.2846158

    def shape(scale: float) -> np.ndarray:
        tau = np.arange(1, 3 * steps + 2) / (steps * scale)
        a = tau**p * (1 - tau**q) - r * tau
        # Leading negative values are part of the shape; it ends where it falls below zero again.
        end = np.nonzero((tau > 0.5) & (a <= 0))[0][0]
        a = a[:end]
        return a / a.sum()

    def mean_time(a: np.ndarray) -> float:
        return float((a * np.arange(1, a.size + 1)).sum() / steps)

    low, high = 0.3, 2.5
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if mean_time(shape(middle)) < 1.0 else (low, middle)
    a = shape(0.5 * (low + high))
    # The number of terms jumps with the scale: close the last gap by a small linear tilt.
    m = np.arange(1, a.size + 1)
    spread = (a * (m - (a * m).sum()) ** 2).sum()
    a = a * (1 + (steps - (a * m).sum()) * (m - (a * m).sum()) / spread)
    a = a / a.sum()
    b = np.cumsum(a[::-1])[::-1] / steps
    return a, b


@dataclass(frozen=True)
class SplitExplicit:
    """The short steps of one long step.

    Attributes:
        dt: long step of sea level, s. momentum_dt: long step of the flow, s. Where it is shorter,
            gravity waves travel ``sqrt(dt / momentum_dt)`` times as slowly, and volume is conserved
            over ``dt`` as ever.
        steps: short steps in ``dt``. per_exchange: short steps per halo exchange. gravity: m s-2.
        coriolis: whether the short steps turn the flow themselves.
    """

    dt: float
    momentum_dt: float
    steps: int
    per_exchange: int
    gravity: float
    coriolis: bool = True

    @property
    def wide(self) -> Halo:
        """The halo that ``per_exchange`` short steps use up."""
        m = self.per_exchange
        return Halo(s=m + LEFT.s, n=m + LEFT.n, w=m + LEFT.w, e=2 * m + LEFT.e)

    def describe(self) -> str:
        """For the start table."""
        return f"short steps: {self.steps}, {self.per_exchange} per exchange"

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Averaging weights, padded with zeros to whole groups of ``per_exchange``."""
        a, b = averaging_weights(self.steps)
        groups = -(-a.size // self.per_exchange)
        pad = (0, groups * self.per_exchange - a.size)
        return tuple(np.pad(w, pad).reshape(groups, self.per_exchange) for w in (a, b))

    def advance(
        self,
        halos,
        eta: Field,
        U: Field,
        V: Field,
        forcing_u: Field,
        forcing_v: Field,
        freshwater: Field,
        grid,
    ) -> Barotropic:
        """Advance sea level and depth-integrated flow over one long step.

        Args:
            eta: sea level (m). U, V: transports per width (m2 s-1).
            forcing_u, forcing_v: all that the short steps do not compute themselves (m2 s-2),
                constant.
            freshwater: volume flux into the ocean (m s-1).
        """
        inputs = [f.crop(0) for f in (eta, U, V, forcing_u, forcing_v, freshwater)]
        run = lambda inputs, grid, note: self._run(halos, inputs, grid, note)
        if halos.north_fold:  # values that are there twice would count twice in the adjoint
            return run(inputs, grid, False)[0]
        return replay.noted(run, lambda *a: adjoint(self, halos, *a), inputs, grid)

    def _run(self, halos, inputs: list[Field], grid, note: bool) -> tuple[Barotropic, Note | None]:
        deep = self.wide
        reach = Halo(*map(max, deep, adjoint_reach(self))) if note else deep
        eta, U, V, Fu, Fv, fw = exchange(
            halos, (inputs[0], reach), *((f, deep) for f in inputs[1:])
        )
        coefficients = hold(*short_step_coefficients(self, eta, grid), Fu, Fv, fw * grid.wet_c)
        a, b = (jnp.asarray(w, eta.dtype) for w in self.weights())
        kept = [f.crop(LEFT) for f in (U, V, U, V)]
        sums = [f.with_data(jnp.zeros_like(f.data)) for f in kept]

        def group(carry, weights):
            fields, sums = carry
            e, x, y = exchange(halos, *((f, deep) for f in fields))
            # Beyond a wall, and where a tile of land has no rank, an exchange brings values from
            # elsewhere.
            x, y = x * grid.wet_u, y * grid.wet_v
            sums, levels = list(sums), []
            for m in range(self.per_exchange):
                sums[2] = sums[2] + fence(x.crop(LEFT)) * weights[1][m]
                sums[3] = sums[3] + fence(y.crop(LEFT)) * weights[1][m]
                e, x, y = hold(*_short_step(self, e, x, y, coefficients, grid))
                sums[0] = sums[0] + fence(x.crop(LEFT)) * weights[0][m]
                sums[1] = sums[1] + fence(y.crop(LEFT)) * weights[0][m]
                levels.append(e.crop(Halo(s=1, w=1)))
            return ([f.crop(0) for f in (e, x, y)], sums), levels if note else None

        start = ([f.crop(0) for f in (eta, U, V)], sums)
        (_, (U1, V1, Um, Vm)), levels = jax.lax.scan(group, start, (a, b))
        done = Barotropic(U1, V1, Um, Vm, new_sea_level(self, eta, fw, Um, Vm, grid))
        return done, Note(eta, levels) if note else None


class Note(NamedTuple):
    """What the adjoint of the short steps needs of them."""

    eta: Field  # sea level before, with the halo of adjoint_reach or more
    levels: list[
        Field
    ]  # sea level after each short step of a group, along a new first axis for groups


class Barotropic(NamedTuple):
    """Result of a free surface: transports per width (m2 s-1) and sea level (m)."""

    U: Field  # at the new time
    V: Field
    U_mean: Field  # the mean over the long step that carried volume
    V_mean: Field
    eta: Field  # new sea level
    iterations: jax.Array | None = None  # of a solver, negative where they did not suffice


def new_sea_level(
    scheme: SplitExplicit, eta: Field, freshwater: Field, U: Field, V: Field, grid
) -> Field:
    """Sea level (m) after a long step with these mean transports per width (m2 s-1)."""
    rate = freshwater - divergence(U, V, grid)
    return (eta + rate * scheme.dt) * grid.wet_c


def short_step_coefficients(scheme: SplitExplicit, eta: Field, grid) -> tuple[Field, ...]:
    """What stays fixed during the short steps: g H / dx at faces, f / H at corners."""
    depth_u, depth_v = grid.depth_u * stretch_u(eta, grid), grid.depth_v * stretch_v(eta, grid)
    return (
        depth_u * grid.wet_u / grid.dx_u * scheme.gravity,
        depth_v * grid.wet_v / grid.dy_v * scheme.gravity,
        grid.depth_u * grid.wet_u / grid.dx_u,
        grid.depth_v * grid.wet_v / grid.dy_v,
        grid.f_q * grid.inv_depth_q,
    )


def coriolis_u(V: Field, over_dx: Field, q: Field, grid) -> Field:
    """Coriolis force on the depth-integrated zonal flow (m2 s-2)."""
    return mean_y_q2u(q * mean_x_v2q(V * grid.dx_v)) * over_dx


def coriolis_v(U: Field, over_dy: Field, q: Field, grid) -> Field:
    """Coriolis force on the depth-integrated meridional flow (m2 s-2)."""
    return mean_x_q2v(q * mean_y_u2q(U * grid.dy_u)) * over_dy * (-1.0)


def _short_step(scheme, eta, U, V, coefficients, grid):
    """Forward-backward: sea level first, then the flow it drives, each component using the
    newest."""
    gu, gv, cu, cv, q, Fu, Fv, fw = coefficients
    dt = scheme.momentum_dt / scheme.steps
    eta = hold(eta + (fw - divergence(U, V, grid)) * grid.wet_c * (scheme.dt / scheme.steps))
    if not scheme.coriolis:
        U = hold(U + (Fu - gu * diff_x_c2u(eta)) * grid.wet_u * dt)
        return eta, U, V + (Fv - gv * diff_y_c2v(eta)) * grid.wet_v * dt
    U = hold(U + (coriolis_u(V, cu, q, grid) + Fu - gu * diff_x_c2u(eta)) * grid.wet_u * dt)
    V = V + (coriolis_v(U, cv, q, grid) + Fv - gv * diff_y_c2v(eta)) * grid.wet_v * dt
    return eta, U, V


# ---- the adjoint
def adjoint_reach(scheme: SplitExplicit) -> Halo:
    """The halo that the adjoint of ``per_exchange`` short steps uses up."""
    m = scheme.per_exchange
    return Halo(s=m, n=m, w=2 * m, e=m)


def adjoint(scheme: SplitExplicit, halos, note: Note, grid, owed: Barotropic) -> list[Field]:
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
