"""Background mixing: what breaking internal waves do where no scheme resolves them. For every
scheme.

``constant``: the parameters ``vertical_viscosity`` and ``vertical_diffusivity`` as they are
(scalar, profile or map).

``bryan_lewis``: a diffusivity that grows with depth (Bryan and Lewis 1979,
doi:10.1029/JC084iC05p02503),

    K(z) = mean + range / pi * arctan(rate (z - depth))

Tidal mixing adds to either, strongest at the bottom (St Laurent, Simmons and Jayne 2002,
doi:10.1029/2002GL015633):

    K = Gamma E F / (rho0 N2),     F = exp(-height / decay) / (decay (1 - exp(-H / decay)))

with the dissipation E per area that is left where tides meet the bottom, and the mixing efficiency
Gamma = 0.2.
"""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.field import Field, fmap, hold

KINDS = ("constant", "bryan_lewis")
_EFFICIENCY = 0.2  # Osborn (1980)
# Weaker stratification (s-2) counts as this much, and more diffusivity (m2 s-1) than that is not
# believed.
_WEAKEST, _STRONGEST = 1e-8, 1e-2


def interface_depths(grid):
    """Depths (m, positive down) at rest of the interfaces between layers, (nz - 1, 1, 1)."""
    return grid.z_c[:-1] + 0.5 * grid.dz[:-1]


def bryan_lewis(depth, params: dict):
    """Diffusivity (m2 s-1) at ``depth`` (m); never negative."""
    mean, span = params["bryan_lewis_mean"], params["bryan_lewis_range"]
    angle = jnp.arctan(params["bryan_lewis_rate"] * (depth - params["bryan_lewis_depth"]))
    return jnp.maximum(mean + span * (angle * (1.0 / jnp.pi)), 0.0)


def tidal(n2: Field, params: dict, grid, rho0: float) -> Field:
    """Diffusivity (m2 s-1) at interfaces by tides over topography; dissipation: a scalar or a map
    (W m-2)."""

    def diffusivity(n2, total, mask, depth, dissipation, decay):
        total = jnp.maximum(total, 1.0)  # land
        # Partial bottom cells end above the last full layer, and may end above an interface of the
        # profile.
        height = jnp.maximum(total - depth, 0.0)
        form = jnp.exp(-height / decay) / (decay * -jnp.expm1(-total / decay))
        mixed = dissipation * form * (_EFFICIENCY / rho0) / jnp.maximum(n2, _WEAKEST)
        return jnp.minimum(mixed, _STRONGEST) * mask

    depth = interface_depths(grid)
    operands = (
        n2,
        grid.depth_c,
        grid.mask_cw,
        depth,
        params["tidal_dissipation"],
        params["tidal_decay"],
    )
    return fmap(diffusivity, *operands, name="tidal diffusivity")


def background(n2: Field, params: dict, grid, physics) -> tuple:
    """Background viscosity and diffusivity (m2 s-1): scalars, profiles over interfaces, maps, or
    Fields of both.

    Args:
        n2: squared buoyancy frequency (s-2) at interfaces.
        physics: choices (``background_mixing``, ``tidal_mixing``) and ``rho0``.
    """
    viscosity, diffusivity = params["vertical_viscosity"], params["vertical_diffusivity"]
    if physics.background_mixing == "bryan_lewis":
        diffusivity = bryan_lewis(interface_depths(grid), params)
    if physics.tidal_mixing:
        diffusivity = hold(tidal(n2, params, grid, physics.rho0) + diffusivity)
    return viscosity, diffusivity


__all__ = ["KINDS", "background", "bryan_lewis", "interface_depths", "tidal"]
