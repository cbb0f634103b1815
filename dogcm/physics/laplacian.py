"""Lateral friction as the Laplacian of each velocity component, with walls of any height."""

from __future__ import annotations

from typing import ClassVar

from dogcm.field import Field, fence, hold
from dogcm.operators import (
    diff_x_c2u,
    diff_x_q2v,
    diff_x_u2c,
    diff_x_v2q,
    diff_y_c2v,
    diff_y_q2u,
    diff_y_u2q,
    diff_y_v2c,
    mean_x_q2v,
    mean_y_q2u,
)
from dogcm.physics.lateral import FrictionOfForm


def friction(u: Field, v: Field, viscosity, grid, no_slip: bool | float) -> tuple[Field, Field]:
    """Divergence of ``viscosity grad u`` and ``viscosity grad v``: accelerations (m s-2) at west
    and south faces.

    As MITgcm has it by default. Compared with :func:`dogcm.physics.lateral.friction` it is simpler
    at partial cells: where the bottom closes part of the side of a velocity's column, that part is
    a wall, and exerts drag with ``no_slip``. But solid-body rotation feels it, and on the sphere it
    conserves no angular momentum.

    Args:
        viscosity: m2 s-1; a scalar, or a pair for c and q of scalars, profiles over layers or
            Fields.
        no_slip: whether walls exert stress (velocity zero at the wall) or not, or a part of it
            between 0 and 1.
    """
    A_c, A_q = viscosity if isinstance(viscosity, tuple) else (viscosity, viscosity)
    u, v = fence(u, v)
    open_q = grid.h_visc_q * grid.mask_q
    # What a difference across the corner is multiplied by, per thickness; and with the open
    # thickness there.
    side_u, side_v = grid.dx_q / grid.dy_q * A_q, grid.dy_q / grid.dx_q * A_q
    through_u, through_v = open_q * side_u, open_q * side_v
    along_u = diff_x_u2c(u) * (grid.h_c * (grid.dy_c / grid.dx_c)) * A_c
    along_v = diff_y_v2c(v) * (grid.h_c * (grid.dx_c / grid.dy_c)) * A_c
    across_u, across_v = diff_y_u2q(u) * through_u, diff_x_v2q(v) * through_v
    along_u, along_v, across_u, across_v = hold(along_u, along_v, across_u, across_v)
    fu, fv = diff_x_c2u(along_u) + diff_y_q2u(across_u), diff_y_c2v(along_v) + diff_x_q2v(across_v)
    if no_slip:
        # Velocity falls to zero over half a cell, on both sides.
        closed_u = grid.h_u * mean_y_q2u(side_u) - mean_y_q2u(through_u)
        closed_v = grid.h_v * mean_x_q2v(side_v) - mean_x_q2v(through_v)
        fu, fv = fu - closed_u * u * (4.0 * no_slip), fv - closed_v * v * (4.0 * no_slip)
    return (
        fu * grid.inv_h_u / grid.area_u * grid.mask_u,
        fv * grid.inv_h_v / grid.area_v * grid.mask_v,
    )


__all__ = ["friction"]


class LaplacianFriction(FrictionOfForm):
    """Laplacian of each velocity component, as MITgcm has it by default."""

    kind: ClassVar[str] = "laplacian"

    def form(self, u, v, viscosity, grid, wall) -> tuple[Field, Field]:
        return friction(u, v, viscosity, grid, wall)

    def check(self, config) -> None:
        closure = config.physics.eddy_viscosity
        if closure is not None:
            raise ValueError(
                f"physics.eddy_viscosity {closure.name()} acts on the stress tensor: it needs "
                "physics.friction: stress"
            )
