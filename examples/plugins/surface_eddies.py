"""An eddy closure of one's own: mixing along layers that is strongest near the surface.

Eddies stir most where they are strongest, near the surface: the diffusivity is
``surface_eddies * exp(-depth / eddy_depth)`` (Ferreira, Marshall and Heimbach 2005,
doi:10.1175/JPO2785.1, find such a decay). Use it with::

    physics:
      eddies: {kind: surface_eddies:SurfaceEddies, eddy_depth: 800}
"""

from typing import NamedTuple

import jax.numpy as jnp

import dogcm
from dogcm import operators as op


class Prepared(NamedTuple):
    """Diffusivity by layer (m2 s-1), and what goes into the implicit solver: nothing."""

    diffusivity: object
    vertical_diffusivity: dogcm.Field


class SurfaceEddies(dogcm.Eddies):
    """Diffusion along layers that decays with depth."""

    source = "Ferreira et al. (2005), doi:10.1175/JPO2785.1"
    eddy_depth: float = dogcm.option(1000.0, "m", "depth over which it decays", gt=0)
    surface_eddies: float = dogcm.parameter(2e3, "m2 s-1", "diffusivity at the surface", ge=0)

    def prepare(self, density, n2, stretch, params, grid, physics):
        decay = jnp.exp(-grid.z_c / self.eddy_depth)
        return Prepared(params["surface_eddies"] * decay, n2 * 0.0)

    def fluxes(self, c, prepared, grid):
        slope_x, slope_y = op.diff_x_c2u(c), op.diff_y_c2v(c)
        fx = slope_x * (grid.h_u * grid.dy_u / grid.dx_u) * (-prepared.diffusivity)
        fy = slope_y * (grid.h_v * grid.dx_v / grid.dy_v) * (-prepared.diffusivity)
        return fx, fy, op.diff_z_c2w(c) * 0.0
