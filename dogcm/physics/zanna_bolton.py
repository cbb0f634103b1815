"""Momentum fluxes of eddies from products of vorticity and deformation (Zanna and Bolton 2020,
doi:10.1029/2020GL088376): they give energy back to the larger scales of the flow.

With vorticity zeta, shearing strain D, tension D' (s-1) and the area A of a cell, the stress over
density is

    T = -gamma A | (zeta**2 + D**2 + D'**2) / 2 - zeta D                     zeta D' |
                 |         zeta D'           (zeta**2 + D**2 + D'**2) / 2 + zeta D   |

and the acceleration its divergence. It is the first term of the series for what a filter leaves
out, with gamma = 1/24 for a box of one cell, and more for wider filters. Without its trace the
stress does no work in a flow without divergence, and on the grid none in all, with walls, whatever
the flow: products are taken at corners and averaged to centres just as tension is averaged to
corners. Smoothed by passes of weights 1 2 1 in both directions (Perezhogin et al. 2024,
doi:10.1029/2023MS004104) it acts on the larger scales by what the smaller ones are, and gives them
energy. What piles up at the grid scale is left to friction, which has to be there.
"""

from __future__ import annotations

from typing import ClassVar

from dogcm.components import option, parameter
from dogcm.dynamics.interfaces import Backscatter
from dogcm.dynamics.momentum import vorticity
from dogcm.field import Field, hold
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
    mean_x_v2q,
    mean_y_c2v,
    mean_y_v2c,
)
from dogcm.physics.coefficients import at_q
from dogcm.physics.lateral import strain, stress_divergence

HALO = 3  # of velocity, without smoothing


def stresses(u: Field, v: Field, coefficient, grid) -> tuple[Field, Field, Field]:
    """The stress times thickness (m3 s-2): half the difference of its diagonal, and half its trace,
    at centres, and what is beside the diagonal, at corners.

    Args:
        u, v: m s-1. coefficient: gamma, a scalar or a map at centres.
    """
    zeta = vorticity(u, v, grid)
    tension, shear = hold(*strain(u, v, grid, no_slip=False))
    strength = grid.area_q * grid.h_visc_q * at_q(coefficient, grid)
    product, squares = hold(
        zeta * shear * strength * grid.area_q, (zeta * zeta + shear * shear) * strength
    )
    difference = _to_c(product) / grid.area_c
    own = tension * tension * grid.area_c * grid.h_visc_c * coefficient
    trace = (_to_c(squares) + own) * (-0.5) * grid.mask_c
    beside = zeta * _to_q(tension * grid.mask_c) * strength * (-1.0)
    return difference * grid.mask_c, trace, beside


def smoothed_c(f: Field, grid) -> Field:
    """``f`` at centres after weights 1 2 1 in x, then y; nothing passes a coast."""
    f = f + diff_x_u2c(diff_x_c2u(f) * grid.mask_u) * 0.25
    return f + diff_y_v2c(diff_y_c2v(f) * grid.mask_v) * 0.25


def smoothed_q(f: Field, grid) -> Field:
    """The same at corners; those of coasts stay without stress."""
    f = f + diff_x_v2q(diff_x_q2v(f) * grid.mask_v) * 0.25 * grid.mask_q
    return f + diff_y_u2q(diff_y_q2u(f) * grid.mask_u) * 0.25 * grid.mask_q


def divergence(difference: Field, trace: Field | None, beside: Field, grid) -> tuple[Field, Field]:
    """Accelerations (m s-2) at west and south faces; arguments as :func:`stresses` returns them."""
    fu, fv = stress_divergence(difference, beside, grid)
    if trace is None:
        return fu, fv
    pressed_u = diff_x_c2u(trace) / grid.dx_u * grid.inv_h_u
    pressed_v = diff_y_c2v(trace) / grid.dy_v * grid.inv_h_v
    return fu + pressed_u, fv + pressed_v


def _to_c(f: Field) -> Field:
    return mean_y_v2c(mean_x_q2v(f))


def _to_q(f: Field) -> Field:
    return mean_x_v2q(mean_y_c2v(f))


class ZannaBolton(Backscatter):
    """Divergence of a stress made of products of vorticity and deformation (Zanna and Bolton
    2020)."""

    kind: ClassVar[str] = "zanna_bolton"
    source: ClassVar[str] = "doi:10.1029/2020GL088376; its filters doi:10.1029/2023MS004104"
    smoothings: int = option(
        2,
        "1",
        "passes of a filter of the stress; each takes one halo cell more. 0: no backscatter, but a "
        "stress that does no work",
        ge=0,
        le=8,
    )
    trace: bool = option(
        True, "1", "whether the trace of the stress, which acts as a pressure, acts"
    )
    zanna_bolton: float = parameter(
        0.5, "1", "coefficient gamma: stress per area of a cell and squared rate", ge=0, le=10
    )

    def momentum_halo(self) -> int:
        return HALO + self.smoothings

    def accelerations(self, u: Field, v: Field, params: dict, grid) -> tuple[Field, Field]:
        difference, trace, beside = stresses(u, v, params["zanna_bolton"], grid)
        for _ in range(self.smoothings):
            difference, trace = hold(smoothed_c(difference, grid), smoothed_c(trace, grid))
            beside = hold(smoothed_q(beside, grid))
        return divergence(difference, trace if self.trace else None, beside, grid)


__all__ = ["HALO", "ZannaBolton", "divergence", "smoothed_c", "smoothed_q", "stresses"]
