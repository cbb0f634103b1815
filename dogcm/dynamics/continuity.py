"""Volume: layer thicknesses under z*, transports, and the flow through layer interfaces."""

from __future__ import annotations

from dogcm.field import Field
from dogcm.operators import (
    diff_x_u2c,
    diff_y_v2c,
    diff_z_w2c,
    lower_z_c2w,
    mean_x_c2u,
    mean_y_c2v,
    running_sum_up,
)


def stretch_c(eta: Field, grid) -> Field:
    """``1 + eta / H``: thickness over thickness at rest, at cell centres."""
    return 1.0 + eta * grid.wet_c / (grid.depth_c + (1.0 - grid.wet_c))


def stretch_u(eta: Field, grid) -> Field:
    """``1 + eta / H`` at west faces."""
    eta_u = mean_x_c2u(eta * grid.area_c) / grid.area_u
    return 1.0 + eta_u * grid.wet_u / (grid.depth_u + (1.0 - grid.wet_u))


def stretch_v(eta: Field, grid) -> Field:
    """``1 + eta / H`` at south faces."""
    eta_v = mean_y_c2v(eta * grid.area_c) / grid.area_v
    return 1.0 + eta_v * grid.wet_v / (grid.depth_v + (1.0 - grid.wet_v))


def divergence(flux_u: Field, flux_v: Field, grid) -> Field:
    """Divergence of transports per width (m2 s-1) through faces: m s-1 for each layer or column."""
    return (diff_x_u2c(flux_u * grid.dy_u) + diff_y_v2c(flux_v * grid.dx_v)) / grid.area_c


def convergence(fx: Field, fy: Field, fz: Field, grid) -> Field:
    """Rate of a tracer's content per area (its unit times m s-1) in each layer.

    Args:
        fx, fy: its fluxes through west and south faces (times m3 s-1). fz: through interfaces
            (times m s-1, positive up).
    """
    return (diff_x_u2c(fx) + diff_y_v2c(fy)) / grid.area_c * (-1.0) - diff_z_w2c(fz)


def interface_flow(flux_u: Field, flux_v: Field, eta_rate: Field, grid) -> Field:
    """Volume flux per area through layer interfaces (m s-1, positive up).

    Layers thicken by ``h_c / H * d eta/dt`` each; what converges beyond that must leave upwards.
    Summed from the bottom; what remains at the sea surface is the fresh-water flux.
    """
    share = grid.h_c / (grid.depth_c + (1.0 - grid.wet_c))
    # In the ground there is neither thickness nor, for that reason, flow.
    residual = (divergence(flux_u, flux_v, grid) + share * eta_rate) * (-1.0)
    return lower_z_c2w(running_sum_up(residual))
