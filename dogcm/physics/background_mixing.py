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

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.field import Field, fmap, hold
from dogcm.physics.interfaces import BackgroundMixing, TidalMixing

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


_AT_INTERFACES = {"shapes": ("scalar", "profile", "map"), "levels": "interfaces"}


class ConstantBackground(BackgroundMixing):
    """Background viscosity and diffusivity as they are: numbers, profiles or maps."""

    kind: ClassVar[str] = "constant"
    vertical_viscosity: float = parameter(
        1e-3, "m2 s-1", "background vertical viscosity", ge=0, **_AT_INTERFACES
    )
    vertical_diffusivity: float = parameter(
        3e-5, "m2 s-1", "background vertical diffusivity", ge=0, **_AT_INTERFACES
    )

    def coefficients(self, params: dict, grid) -> tuple:
        return params["vertical_viscosity"], params["vertical_diffusivity"]


class BryanLewis(BackgroundMixing):
    """A diffusivity that grows with depth (Bryan and Lewis 1979)."""

    kind: ClassVar[str] = "bryan_lewis"
    source: ClassVar[str] = "doi:10.1029/JC084iC05p02503"
    vertical_viscosity: float = parameter(
        1e-3, "m2 s-1", "background vertical viscosity", ge=0, **_AT_INTERFACES
    )
    bryan_lewis_mean: float = parameter(
        0.8e-4, "m2 s-1", "diffusivity at bryan_lewis_depth", shapes=("scalar",), ge=0
    )
    bryan_lewis_range: float = parameter(
        1.05e-4,
        "m2 s-1",
        "increase from far above to far below that depth",
        shapes=("scalar",),
        ge=0,
    )
    bryan_lewis_rate: float = parameter(
        4.5e-3, "m-1", "one over the length over which it changes", shapes=("scalar",), gt=0
    )
    bryan_lewis_depth: float = parameter(
        2500.0, "m", "depth of the change", shapes=("scalar",), gt=0
    )

    def coefficients(self, params: dict, grid) -> tuple:
        return params["vertical_viscosity"], bryan_lewis(interface_depths(grid), params)


class StLaurent(TidalMixing):
    """Dissipation of tides that decays upwards from the bottom (St Laurent et al. 2002)."""

    kind: ClassVar[str] = "st_laurent"
    source: ClassVar[str] = "doi:10.1029/2002GL015633"
    tidal_dissipation: float = parameter(
        1e-3, "W m-2", "energy dissipated near the bottom, per area", ge=0
    )
    tidal_decay: float = parameter(500.0, "m", "height over which it decays", gt=0)

    def diffusivity(self, n2: Field, params: dict, grid, rho0: float) -> Field:
        return tidal(n2, params, grid, rho0)


def background(n2: Field, params: dict, grid, physics) -> tuple:
    """Background viscosity and diffusivity (m2 s-1): scalars, profiles over interfaces, maps, or
    Fields of both.

    Args:
        n2: squared buoyancy frequency (s-2) at interfaces.
        physics: its schemes (``background_mixing``, ``tidal_mixing``) and ``rho0``.
    """
    viscosity, diffusivity = physics.background_mixing.coefficients(params, grid)
    if physics.tidal_mixing is not None:
        tides = physics.tidal_mixing.diffusivity(n2, params, grid, physics.rho0)
        diffusivity = hold(tides + diffusivity)
    return viscosity, diffusivity


__all__ = [
    "BryanLewis",
    "ConstantBackground",
    "StLaurent",
    "background",
    "bryan_lewis",
    "interface_depths",
    "tidal",
]
