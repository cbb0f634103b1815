"""The depth-integrated flow: what all kinds of free surface share.

Equations of sea level and transports per width, as used by the short steps, by their adjoint and by
the implicit surface.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import divergence, stretch_u, stretch_v
from dogcm.field import Field
from dogcm.operators import mean_x_q2v, mean_x_v2q, mean_y_q2u, mean_y_u2q

# What must still be valid when the short steps are over: the new sea level is needed one cell to
# the west and south, and one to the east and north, of every transport of the tracer step.
LEFT = Halo(s=1, n=2, w=1, e=2)


class DepthFlow(NamedTuple):
    """What a free surface is advanced with, without halo.

    Attributes:
        eta: sea level (m). U, V: transports per width (m2 s-1). forcing_u, forcing_v: all that
            the free surface does not compute itself (m2 s-2), constant over the step. freshwater:
            volume flux into the ocean (m s-1).
    """

    eta: Field
    U: Field
    V: Field
    forcing_u: Field
    forcing_v: Field
    freshwater: Field


class Barotropic(NamedTuple):
    """Result of a free surface: transports per width (m2 s-1) and sea level (m)."""

    U: Field  # at the new time
    V: Field
    U_mean: Field  # the mean over the long step that carried volume
    V_mean: Field
    eta: Field  # new sea level
    iterations: jax.Array | None = None  # of a solver, negative where they did not suffice


def new_sea_level(scheme: Any, eta: Field, freshwater: Field, U: Field, V: Field, grid) -> Field:
    """Sea level (m) after a long step with these mean transports per width (m2 s-1)."""
    rate = freshwater - divergence(U, V, grid)
    return (eta + rate * scheme.dt) * grid.wet_c


def short_step_coefficients(scheme: Any, eta: Field, grid) -> tuple[Field, ...]:
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
