"""Split-explicit free surface: depth-mean flow and sea level, many short steps inside each long
one.

The averages over the short steps follow Shchepetkin and McWilliams (2005),
doi:10.1016/j.ocemod.2004.08.002: a shape that damps what the long step cannot resolve, and for the
transports the weights that make sea level and tracer transports agree to round-off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import option
from dogcm.decomp.depth import Halo
from dogcm.dynamics.barotropic import (
    LEFT,
    Barotropic,
    DepthFlow,
    coriolis_u,
    coriolis_v,
    new_sea_level,
    short_step_coefficients,
)
from dogcm.dynamics.continuity import divergence
from dogcm.dynamics.free_surface_adjoint import Note, adjoint, adjoint_reach
from dogcm.dynamics.interfaces import FreeSurface, SurfaceSetting
from dogcm.field import Field, exchange, fence, hold
from dogcm.lowering import replay
from dogcm.operators import diff_x_c2u, diff_y_c2v, sum_z


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


class ShortSteps(FreeSurface):
    """Short steps that resolve gravity waves."""

    kind: ClassVar[str] = "split"
    source: ClassVar[str] = "Shchepetkin and McWilliams (2005), doi:10.1016/j.ocemod.2004.08.002"
    barotropic_steps: int = option(
        0, "1", "short steps per step; 0: as many as stability needs", ge=0
    )

    def made_for(self, setting: SurfaceSetting) -> SplitExplicit:
        s, steps = setting, self.barotropic_steps
        if not steps:
            # A wave takes sea level by one step and velocity by the other in turn: their geometric
            # mean counts.
            steps = max(2, math.ceil(math.sqrt(s.dt * s.momentum_dt) / s.longest_step()))
        per = self.short_steps_per_exchange or (1 if s.alone else 3)
        # The halo of one exchange has to fit into the smallest tile.
        while per > 1 and (2 * per + 2 > s.columns or per + 2 > s.rows):
            per -= 1
        return SplitExplicit(s.dt, s.momentum_dt, steps, per, s.gravity, coriolis=s.turns)


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

    def own_forcing(
        self, eta: Field, flow: tuple, slope: tuple, thickness: tuple, grid
    ) -> tuple[Field, Field] | None:
        """What the short steps compute themselves of the forcing of transports (m2 s-2).

        Args:
            flow: transports per width, the newest of U (m2 s-1). slope: accelerations by sea level
                (m s-2). thickness: of layers at faces (m).
        """
        (U, V), (slope_u, slope_v), (h_u, h_v) = flow, slope, thickness
        _, _, cu, cv, q = short_step_coefficients(self, eta, grid)
        fast_u, fast_v = sum_z(h_u) * slope_u, sum_z(h_v) * slope_v
        if self.coriolis:
            fast_u = fast_u + coriolis_u(V, cu, q, grid)
            fast_v = fast_v + coriolis_v(U, cv, q, grid)
        return fast_u, fast_v

    def advance(self, halos, start: DepthFlow, grid) -> Barotropic:
        """Advance sea level and depth-integrated flow over one long step."""
        inputs = [f.crop(0) for f in start]
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
