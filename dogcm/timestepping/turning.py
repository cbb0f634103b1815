"""How a time step turns the flow: the Coriolis force of the schemes, one class each.

``forward_backward`` turns u with the old v and then v with the new u; ``extrapolated`` puts what
deviates from the depth mean into the Adams-Bashforth sum; the C-D scheme turns the flow last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from dogcm.dynamics import coriolis_cd, momentum
from dogcm.field import Field, exchange, hold
from dogcm.operators import diff_x_c2u, diff_y_c2v, sum_z
from dogcm.timestepping.state import State

Pair = tuple[Field, Field]


class Turned(NamedTuple):
    """Velocity after the Coriolis force (m s-1), the force (m s-2), and velocity on the D grid if
    any."""

    u: Field
    v: Field
    force: Pair
    d_grid: tuple[Field, ...] = ()


@dataclass(frozen=True)
class ForwardBackward:
    """u with the old v, then v with the new u.

    Attributes:
        u, v: velocity at the start (m s-1). planetary: f / h at corners. grid: see the model.
    """

    u: Field
    v: Field
    planetary: Field
    grid: Any

    def extrapolated(self) -> list[Pair]:
        """Its terms in the Adams-Bashforth sum (m s-2)."""
        return []

    def of_u(self) -> Field | None:
        """The force on u (m s-2), before u is stepped."""
        return momentum.vorticity_flux_u(self.v, self.planetary, self.grid)

    def of_v(self, new_u: Field) -> Field | None:
        """The force on v (m s-2), when u has been stepped."""
        return momentum.vorticity_flux_v(new_u, self.planetary, self.grid)

    def finish(self, u: Field, v: Field, force: Pair) -> Turned:
        """After all else; ``force``: what :meth:`of_u` and :meth:`of_v` have given."""
        return Turned(u, v, force)

    def thickness(self, wide: Pair, near: Pair) -> Pair:
        """Which of the two thicknesses at faces has the halo of what :meth:`finish` returns."""
        return near


@dataclass(frozen=True)
class Extrapolated(ForwardBackward):
    """Only the flow's deviation from its depth mean is extrapolated: the short steps turn the
    mean.

    Attributes:
        mean_u, mean_v: depth means (m s-1).
    """

    mean_u: Field
    mean_v: Field

    @classmethod
    def of(cls, s: State, planetary: Field, transports: Pair, thickness: Pair, grid):
        """From the transports per width (m2 s-1) and the thickness of layers at faces (m)."""
        (U, V), (h_u, h_v) = transports, thickness
        mean_u = U / (sum_z(h_u) + (1.0 - grid.wet_u)) * grid.mask_u
        mean_v = V / (sum_z(h_v) + (1.0 - grid.wet_v)) * grid.mask_v
        return cls(s.u, s.v, planetary, grid, mean_u, mean_v)

    def extrapolated(self) -> list[Pair]:
        turned = momentum.vorticity_flux_u(self.v - self.mean_v, self.planetary, self.grid)
        across = momentum.vorticity_flux_v(self.u - self.mean_u, self.planetary, self.grid)
        return [(turned, across)]

    def of_u(self) -> Field | None:
        return momentum.vorticity_flux_u(self.mean_v, self.planetary, self.grid)

    def of_v(self, new_u: Field) -> Field | None:
        return momentum.vorticity_flux_v(self.mean_u, self.planetary, self.grid)


@dataclass(frozen=True)
class CDLast:
    """By the C-D scheme, after all else.

    Attributes:
        start: the state before. halos, grid: see the model. dt: step of velocity (s). scheme: its
            options. gravity: m s-2.
    """

    start: State
    halos: Any
    grid: Any
    dt: float
    scheme: coriolis_cd.CDScheme
    gravity: float

    def extrapolated(self) -> list[Pair]:
        return []

    def of_u(self) -> Field | None:
        return None

    def of_v(self, new_u: Field) -> Field | None:
        return None

    def thickness(self, wide: Pair, near: Pair) -> Pair:
        return wide

    def finish(self, u: Field, v: Field, force) -> Turned:
        """See :meth:`ForwardBackward.finish`."""
        s, grid, dt = self.start, self.grid, self.dt
        v_at_u, u_at_v, *before = s.d_grid
        rate_u, rate_v, v_at_u, u_at_v, *before = exchange(
            self.halos,
            ((u - s.u) * (1 / dt), 1),
            ((v - s.v) * (1 / dt), 1),
            (v_at_u, 1),
            (u_at_v, 1),
            *zip(before, (1, 1, 2)),
        )
        # Beyond a wall an exchange brings values from elsewhere; in the ground below the sea they
        # are zero.
        rate_u, rate_v = hold(rate_u * grid.wet_u, rate_v * grid.wet_v)
        flow, rates = (s.u, s.v), (rate_u, rate_v)
        if before:
            flow, rates = self._ahead(rates, before)
        d_grid = hold(
            *coriolis_cd.advance((v_at_u, u_at_v), flow, rates, dt, self.scheme.time, grid)
        )
        v_at_u, u_at_v = d_grid
        new_u = s.u + (rate_u + coriolis_cd.f_at_u(grid) * v_at_u) * dt
        new_v = s.v + (rate_v - coriolis_cd.f_at_v(grid) * u_at_v) * dt
        new_u, new_v = hold(new_u, new_v)
        force = (new_u - u) * (1 / dt), (new_v - v) * (1 / dt)
        kept = (*d_grid, *((s.u, s.v, s.eta) if before else ()))
        named = tuple(f.named(n) for n, f in zip(self.scheme.keeps(), kept, strict=True))
        return Turned(new_u, new_v, force, named)

    def _ahead(self, rates: Pair, before) -> tuple[Pair, Pair]:
        """Velocity, and accelerations with the slope of sea level, extrapolated from the step
        ``before``."""
        s, grid, w = self.start, self.grid, self.scheme.extrapolation
        u, v, eta = before
        rise = (s.eta - eta * grid.wet_c) * (w * self.gravity)
        slope_u = diff_x_c2u(rise) / grid.dx_u * grid.mask_u
        slope_v = diff_y_c2v(rise) / grid.dy_v * grid.mask_v
        ahead = lambda now, old, mask: now + (now - old * mask) * w
        flow = ahead(s.u, u, grid.mask_u), ahead(s.v, v, grid.mask_v)
        return hold(*flow), hold(rates[0] - slope_u, rates[1] - slope_v)
