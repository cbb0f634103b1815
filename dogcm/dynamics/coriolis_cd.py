"""Coriolis force by the C-D scheme.

Adcroft, Hill and Marshall (1999), doi:10.1175/1520-0493(1999)127<1928:ANTOTC>2.0.CO;2.

On a C grid the Coriolis force averages the other component over four points, and does not see a
flow that alternates from row to row. Where the grid does not resolve the deformation radius, such
noise is nearly geostrophic and stays. Here a second velocity on the D grid (v on west faces, u on
south faces) feels the mean of the forces on the C grid, and a Coriolis force without any averaging;
it turns the flow on the C grid, again without averaging. It is drawn to the mean of the C grid's
velocity within days.

What the second velocity feels of the flow and of sea level may be extrapolated by half a step and
more (quasi-second-order Adams-Bashforth), as MITgcm does: with long steps, and with
steps of tracers and sea level that are longer than those of velocity, noise grows without.

The force is constant over a step, also for the short steps of the free surface. Gravity waves of
twice the step's period
are driven by that and not damped enough: near a pole, over shelves, ``global_4deg`` is unstable at
steps of 3600 s and stable at 2700 s. An implicit free surface damps them: with it and with
extrapolation steps of 5400 s are stable, without extrapolation they are not.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import option
from dogcm.dynamics.interfaces import Coriolis
from dogcm.field import Field, exchange
from dogcm.operators import mean_x_c2u, mean_x_q2v, mean_x_u2c, mean_y_c2v, mean_y_q2u, mean_y_v2c

# Its second velocity in the state, and what it extrapolates from, where it does.
D_GRID, BEFORE = ("v_at_u", "u_at_v"), ("u_before", "v_before", "eta_before")
KEPT = (*D_GRID, *BEFORE)


def around_u(v: Field) -> Field:
    """Mean of the four south faces around a west face; walls count as zero."""
    return mean_x_c2u(mean_y_v2c(v))


def around_v(u: Field) -> Field:
    """Mean of the four west faces around a south face; walls count as zero."""
    return mean_y_c2v(mean_x_u2c(u))


def from_c_grid(halos, u: Field, v: Field, grid) -> tuple[Field, Field]:
    """What the velocities of the D grid start from in an ocean that flows: the means of those of
    the C grid around them, v on west and u on south faces (m s-1), without halo."""
    u, v = exchange(halos, (u * grid.mask_u, 1), (v * grid.mask_v, 1))
    at_u, at_v = around_u(v * grid.mask_v), around_v(u * grid.mask_u)
    return at_u.crop(0) * grid.mask_u.crop(0), at_v.crop(0) * grid.mask_v.crop(0)


def before(u: Field, v: Field, eta: Field) -> tuple[Field, ...]:
    """What is extrapolated from where an ocean starts (m s-1, m): it has been as it is.

    Copies, as a step gives the memory of its state to the next.
    """
    return tuple(f.with_data(jnp.array(f.data)) for f in (u, v, eta))


def advance(
    d_grid: tuple[Field, Field],
    velocity: tuple[Field, Field],
    rates: tuple[Field, Field],
    dt: float,
    time: float,
    grid,
) -> tuple[Field, Field]:
    """The velocity on the D grid, one step on.

    Args:
        d_grid: v at west faces and u at south faces (m s-1). velocity: u, v on the C grid, as they
            are or extrapolated.
        rates: accelerations of u and v (m s-2) by all but the Coriolis force, zero at walls.
        time: in which it is drawn to the C grid's (s).
    """
    (v_at_u, u_at_v), (u, v), (rate_u, rate_v) = d_grid, velocity, rates
    keep = 1.0 - dt / time
    new_v = (v_at_u + (around_u(rate_v) - f_at_u(grid) * u) * dt) * keep + around_u(v) * (
        1.0 - keep
    )
    new_u = (u_at_v + (around_v(rate_u) + f_at_v(grid) * v) * dt) * keep + around_v(u) * (
        1.0 - keep
    )
    return new_v * grid.mask_u, new_u * grid.mask_v


def f_at_u(grid) -> Field:
    """Coriolis parameter (s-1) on west faces."""
    return mean_y_q2u(grid.f_q)


def f_at_v(grid) -> Field:
    """Coriolis parameter (s-1) on south faces."""
    return mean_x_q2v(grid.f_q)


class CGrid(Coriolis):
    """Averaged on the C grid, as the time scheme has it."""

    kind: ClassVar[str] = "c_grid"


class CDScheme(Coriolis):
    """By the C-D scheme, which suppresses noise on coarse grids."""

    kind: ClassVar[str] = "cd"
    time: float = option(321428.0, "s", "coupling time of its two velocities", gt=0)
    extrapolation: float = option(
        0.0,
        "1",
        "steps by which flow and sea level are extrapolated for the second velocity; MITgcm: 0.6",
        ge=0,
        le=1,
    )

    def keeps(self) -> tuple[str, ...]:
        return KEPT if self.extrapolation else D_GRID

    def check(self, config) -> None:
        momentum = config.time.momentum_step or config.time.step
        if self.time < momentum:
            raise ValueError(
                f"physics.coriolis.time {self.time:g} s is shorter than the step of velocity, "
                f"{momentum:g} s: the C-D scheme couples its two velocities once a step"
            )
