"""Implicit free surface: sea level from one linear system a step, as an alternative to short steps.

With ``d = eta[n+1] - eta[n]``, ``U*`` the depth-integrated flow predicted with the slope of
``eta[n]``, and ``theta`` the weight of the new time:

    U[n+1] = U* - theta dt_u g H grad d
    d / dt = fresh water - div(theta U[n+1] + (1 - theta) U[n])

The first put into the second is a Helmholtz equation for ``d``, symmetric and positive definite.
theta = 1 is backward Euler, which damps gravity waves that cross more than a cell a step (Dukowicz
and Smith 1994, doi:10.1029/93JC03455). The step of the flow, ``dt_u``, may be shorter than that of
sea level.

Written for the change of sea level, steady flows are those of the equations, whatever the step. Sea
level
is then moved by the transports themselves, which also carry the tracers: volume and tracers are
conserved to rounding however well the system was solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from dogcm.components import option
from dogcm.decomp.depth import Halo
from dogcm.dynamics import conjugate_gradients
from dogcm.dynamics.barotropic import LEFT, Barotropic, DepthFlow
from dogcm.dynamics.continuity import divergence, stretch_u, stretch_v
from dogcm.dynamics.interfaces import FreeSurface, SurfaceSetting
from dogcm.field import Field, exchange, hold
from dogcm.operators import diff_x_c2u, diff_y_c2v

# Largest stable f dt of forward-backward Coriolis beside gravity waves that cross any number of
# cells a step, by the weight of the new time: from the eigenvalues of plane waves.
_WEIGHTS, _LARGEST = (
    (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.9, 1.0),
    (0.0, 0.18, 0.32, 0.44, 0.54, 0.62, 0.80, 0.88),
)


def largest_f_dt(implicitness: float) -> float:
    """Largest Coriolis parameter times step of the flow that is stable, without the C-D scheme."""
    return float(np.interp(implicitness, _WEIGHTS, _LARGEST))


class Implicit(FreeSurface):
    """One linear system a step, which damps gravity waves."""

    kind: ClassVar[str] = "implicit"
    source: ClassVar[str] = "Dukowicz and Smith (1994), doi:10.1029/93JC03455"
    counts_iterations: ClassVar[bool] = True
    implicitness: float = option(
        1.0, "1", "weight of the new time; 1 damps gravity waves most", ge=0.5, le=1
    )
    solver_tolerance: float = option(
        1e-11,
        "1",
        "residual of the linear system, relative to its right-hand side",
        gt=0,
        le=1e-3,
    )
    solver_iterations: int = option(500, "1", "largest number of iterations", ge=1)

    def made_for(self, setting: SurfaceSetting) -> ImplicitSurface:
        s = setting
        # More products than the preconditioner has need no halo, and none may be deeper than a
        # tile.
        most, wanted = conjugate_gradients.DEGREE, self.short_steps_per_exchange
        per = max(1, min(wanted or most, most, min(s.rows, s.columns) - 1))
        solver = self.solver_tolerance, self.solver_iterations
        return ImplicitSurface(s.dt, s.momentum_dt, s.gravity, self.implicitness, *solver, per)

    def check(self, config) -> None:
        time = config.time
        if config.grid.folds():
            raise ValueError(
                "time.free_surface implicit: its solver does not know the fold of a tripolar grid "
                "yet; use time.free_surface: split"
            )
        if config.physics.coriolis.kind == "cd":
            return
        if time.scheme.coriolis == "extrapolated":
            raise ValueError(
                f"time.scheme {time.scheme.name()} leaves turning the depth-mean flow to short "
                "steps, which time.free_surface: implicit does not take: use a forward_backward "
                "scheme, or physics.coriolis: cd"
            )
        turn = config.grid.largest_f() * (time.momentum_step or time.step)
        limit = largest_f_dt(self.implicitness)
        if turn > limit:
            raise ValueError(
                "time.free_surface implicit with time.free_surface.implicitness "
                f"{self.implicitness:g} is stable up to f dt = {limit:.2g}, and here it reaches "
                f"{turn:.2g}: shorten time.step (or time.momentum_step), bring implicitness nearer "
                "to 1, or use physics.coriolis: cd"
            )


@dataclass(frozen=True)
class ImplicitSurface:
    """The implicit free surface of one step.

    Attributes:
        dt: step of sea level, s. momentum_dt: step of the flow, s. gravity: m s-2.
        implicitness: weight of the new time, 1/2 to 1.
        tolerance, iterations: of the solver, see :func:`dogcm.dynamics.conjugate_gradients.solve`.
        per_exchange: products with the matrix per halo exchange.
    """

    dt: float
    momentum_dt: float
    gravity: float
    implicitness: float = 1.0
    tolerance: float = 1e-11
    iterations: int = 500
    per_exchange: int = conjugate_gradients.DEGREE

    @property
    def wide(self) -> Halo:
        """The halo of what the matrix is made of: its diagonal takes one cell more than a
        product."""
        return Halo.of(max(2, self.per_exchange + 1))

    def describe(self) -> str:
        """For the start table."""
        return (
            f"implicit free surface, residual below {self.tolerance:g} within {self.iterations} "
            f"iterations"
        )

    def own_forcing(self, eta, flow, slope, thickness, grid) -> None:
        """Nothing: it is forced by all that changed the depth-integrated flow."""
        return None

    def advance(self, halos, start: DepthFlow, grid) -> Barotropic:
        """Sea level and depth-integrated flow one step on; the forcing includes the slope of sea
        level."""
        theta, dt_u = self.implicitness, self.momentum_dt
        eta, *rest = start
        eta, U, V, Fu, Fv, fw = exchange(halos, (eta, self.wide), *((f, LEFT) for f in rest))
        # Beyond a wall an exchange brings values from elsewhere.
        U, V, eta = U * grid.wet_u, V * grid.wet_v, eta * grid.wet_c
        fw = fw * grid.wet_c
        U1, V1 = hold((U + Fu * dt_u) * grid.wet_u, (V + Fv * dt_u) * grid.wet_v)
        pull_u, pull_v = hold(*self._pull(eta, grid))
        late = fw - divergence(self._mean(U, U1), self._mean(V, V1), grid)
        right = hold((late * grid.area_c * grid.wet_c * self.dt).crop(0))
        scale = theta * self.dt
        # As matrix entries: what a difference of one metre moves through a face.
        k_u, k_v = hold(pull_u * grid.dy_u * scale, pull_v * grid.dx_v * scale)
        matrix = conjugate_gradients.Helmholtz(
            halos, grid.area_c, k_u, k_v, grid.wet_c, max(1, self.per_exchange)
        )
        change, count = conjugate_gradients.solve(matrix, right, self.tolerance, self.iterations)
        (change,) = exchange(halos, (change, 2))
        U1 = hold((U1 - pull_u * diff_x_c2u(change)).crop(LEFT))
        V1 = hold((V1 - pull_v * diff_y_c2v(change)).crop(LEFT))
        Um, Vm = hold(self._mean(U.crop(LEFT), U1), self._mean(V.crop(LEFT), V1))
        new_eta = (eta + (fw - divergence(Um, Vm, grid)) * self.dt) * grid.wet_c
        return Barotropic(U1, V1, Um, Vm, new_eta, jax.lax.stop_gradient(count))

    def _mean(self, old: Field, new: Field) -> Field:
        """What carries volume."""
        theta = self.implicitness
        return new if theta == 1.0 else new * theta + old * (1.0 - theta)

    def _pull(self, eta: Field, grid) -> tuple[Field, Field]:
        """Change of the transports (m2 s-1) by a difference of sea level of one metre across a
        face."""
        scale = self.gravity * self.implicitness * self.momentum_dt
        depth_u, depth_v = grid.depth_u * stretch_u(eta, grid), grid.depth_v * stretch_v(eta, grid)
        return depth_u * grid.wet_u / grid.dx_u * scale, depth_v * grid.wet_v / grid.dy_v * scale
