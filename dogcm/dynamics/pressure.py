"""Hydrostatic pressure and its gradient on z* surfaces."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.dynamics.interfaces import Pressure
from dogcm.field import Field
from dogcm.operators import (
    diff_x_c2u,
    diff_y_c2v,
    mean_x_c2u,
    mean_y_c2v,
    mean_z_c2w,
    running_sum_down,
)


def hydrostatic_pressure(
    density: Field, stretch: Field, grid, gravity: float, rho0: float, profile: str = "layers"
) -> Field:
    """Pressure anomaly over rho0 at layer centres (m2 s-2), from the density anomaly (kg m-3).

    Every layer counts with its full thickness at rest, also where the bottom cuts it: a
    horizontally uniform ocean then has exactly uniform pressure on each layer, and stays at rest
    over any bathymetry.

    Args:
        profile: density between the centres: ``layers``: uniform in each layer; ``linear``: from
            centre to centre, which is more accurate where neighbouring layers differ in thickness.
    """
    if profile == "linear":
        first = density.level(slice(0, 1)) * grid.dz[:1] * 0.5
        steps = mean_z_c2w(density) * grid.dz_w
        both = first.with_data(jnp.concatenate([first.data, steps.data]))
        return running_sum_down(both) * (stretch * (gravity / rho0))
    weight = density * grid.dz
    upto = running_sum_down(weight)  # down to the bottom of each layer
    return (upto - 0.5 * weight) * (stretch * (gravity / rho0))


def pressure_gradient(
    pressure: Field, density: Field, eta: Field, grid, gravity: float, rho0: float
) -> tuple[Field, Field]:
    """Accelerations (m s-2) by the baroclinic pressure gradient, at west and south faces.

    The second term accounts for the slope of z* surfaces, which rise with eta and fade towards the
    bottom: ``z = eta - z_c (1 + eta / H)`` for the depth at rest ``z_c`` (Adcroft and Campin 2004,
    doi:10.1016/j.ocemod.2003.09.003).
    """
    safe_depth = grid.depth_c + (1.0 - grid.wet_c)
    rise = eta - (eta / safe_depth) * grid.z_c
    slope = gravity / rho0
    fx = diff_x_c2u(pressure) + mean_x_c2u(density) * diff_x_c2u(rise) * slope
    fy = diff_y_c2v(pressure) + mean_y_c2v(density) * diff_y_c2v(rise) * slope
    return -(fx / grid.dx_u) * grid.mask_u, -(fy / grid.dy_v) * grid.mask_v


class LayeredDensity(Pressure):
    """Density uniform in each layer."""

    kind: ClassVar[str] = "layers"

    def hydrostatic(self, density: Field, stretch: Field, grid, physics) -> Field:
        return hydrostatic_pressure(
            density, stretch, grid, physics.gravity, physics.rho0, self.kind
        )


class LinearDensity(LayeredDensity):
    """Density linear from centre to centre: more accurate where layers differ in thickness."""

    kind: ClassVar[str] = "linear"
