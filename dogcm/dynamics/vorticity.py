"""Fluxes of vorticity beside the one that conserves energy: what else a scheme keeps, or takes
away.

All take velocity (m s-1) and vorticity over thickness at corners, ``q`` (s-1 m-1), and return the
accelerations of u and v (m s-2).
"""

from __future__ import annotations

from dogcm.dynamics import weno
from dogcm.dynamics.stencils import around_u_from_corners, around_v_from_corners
from dogcm.field import Field, fence
from dogcm.operators import (
    lower_x_c2u,
    lower_x_q2v,
    lower_x_u2c,
    lower_y_c2v,
    lower_y_v2c,
    mean_x_q2v,
    mean_x_v2q,
    mean_y_q2u,
    mean_y_u2q,
    upper_x_c2u,
    upper_x_q2v,
    upper_x_u2c,
    upper_y_c2v,
    upper_y_v2c,
)

_WENO = "weno5"


def _transports(u: Field, v: Field, grid) -> tuple[Field, Field]:
    """Volume fluxes (m3 s-1) through west and south faces."""
    u, v = fence(u, v)
    return u * (grid.h_u * grid.dy_u), v * (grid.h_v * grid.dx_v)


def _across(U: Field, V: Field) -> tuple[Field, Field]:
    """Mean meridional transport at west faces, and zonal at south faces."""
    return mean_y_q2u(mean_x_v2q(V)), mean_x_q2v(mean_y_u2q(U))


def _accelerations(turn_u: Field, turn_v: Field, grid) -> tuple[Field, Field]:
    return turn_u / grid.dx_u * grid.mask_u, turn_v / grid.dy_v * (-1.0) * grid.mask_v


def enstrophy(u: Field, v: Field, q: Field, grid) -> tuple[Field, Field]:
    """Conserves potential enstrophy, but not energy (Sadourny 1975,
    doi:10.1175/1520-0469(1975)032<0680:TDOFDM>2.0.CO;2)."""
    across_u, across_v = _across(*_transports(u, v, grid))
    q = fence(q)
    return _accelerations(mean_y_q2u(q) * across_u, mean_x_q2v(q) * across_v, grid)


def energy_enstrophy(u: Field, v: Field, q: Field, grid) -> tuple[Field, Field]:
    """Conserves energy, and potential enstrophy where the flow has no divergence.

    Each pair of neighbouring transports turns with the mean vorticity of the three corners nearest
    to it (Arakawa and Lamb 1981, doi:10.1175/1520-0493(1981)109<0018:APEAEC>2.0.CO;2, without its
    terms for divergent flow, as in Le Sommer et al. 2009, Ocean Modelling 29, 1 to 14).
    """
    U, V = _transports(u, v, grid)
    q = fence(q)
    south, north = lower_y_v2c, upper_y_v2c
    sw, se = south(lower_x_q2v(q)), south(upper_x_q2v(q))
    nw, ne = north(lower_x_q2v(q)), north(upper_x_q2v(q))
    near_sw, near_se = (nw + sw) + se, (sw + se) + ne
    near_nw, near_ne = (sw + nw) + ne, (nw + ne) + se
    W, E, S, N = lower_x_u2c(U), upper_x_u2c(U), lower_y_v2c(V), upper_y_v2c(V)
    turn_u = lower_x_c2u(near_ne * N + near_se * S) + upper_x_c2u(near_nw * N + near_sw * S)
    turn_v = lower_y_c2v(near_nw * W + near_ne * E) + upper_y_c2v(near_sw * W + near_se * E)
    return _accelerations(turn_u * (1 / 12), turn_v * (1 / 12), grid)


def weno5(u: Field, v: Field, q: Field, grid) -> tuple[Field, Field]:
    """Vorticity from upstream by WENO of fifth order: takes enstrophy away at the grid scale, and
    little energy, so that
    turbulence needs no viscosity (the rotational part of Silvestri et al. 2024,
    doi:10.1029/2023MS004130)."""
    across_u, across_v = _across(*_transports(u, v, grid))
    reach = weno.reach(_WENO)
    q_u = weno.along(around_u_from_corners(q, reach, grid), across_u, "weno_q_u")
    q_v = weno.along(around_v_from_corners(q, reach, grid), across_v, "weno_q_v")
    return _accelerations(q_u * across_u, q_v * across_v, grid)


# By the name that a configuration gives them.
SCHEMES = {"enstrophy": enstrophy, "energy_enstrophy": energy_enstrophy, "weno5": weno5}
# Halo of velocity from which they leave what a step needs.
HALO = {"energy": 2, "enstrophy": 2, "energy_enstrophy": 2, "weno5": 4}

__all__ = ["HALO", "SCHEMES", "energy_enstrophy", "enstrophy", "weno5"]
