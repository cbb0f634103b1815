"""Convection: strong mixing of columns that are statically unstable.

Where the column is unstable, viscosity and diffusivity grow by ``convection`` times
``clip(-N2 / N2_c, 0, 1)``: a ramp over a small range of N2 and no jump, so that there is a
derivative.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.field import Field, fmap
from dogcm.physics.interfaces import Convection

_AT_INTERFACES = {"shapes": ("scalar", "profile", "map"), "levels": "interfaces"}


def unstable_share(n2, convection_n2):
    """0 in a stable column to 1 at N2 = ``-convection_n2``."""
    return jnp.clip(-n2 * (1.0 / convection_n2), 0.0, 1.0)


class EnhancedMixing(Convection):
    """Enhanced viscosity and diffusivity where the column is unstable."""

    kind: ClassVar[str] = "enhanced"
    convection_diffusivity: float = parameter(
        1.0, "m2 s-1", "diffusivity where the column is unstable", ge=0, **_AT_INTERFACES
    )
    convection_viscosity: float = parameter(
        0.1, "m2 s-1", "viscosity where the column is unstable", ge=0, **_AT_INTERFACES
    )
    convection_n2: float = parameter(
        1e-7, "s-2", "instability (-N2) at which it is fully reached", gt=0, **_AT_INTERFACES
    )

    def add(self, coefficient: Field, n2: Field, name: str, params: dict) -> Field:
        add = lambda k, n2, most, scale: k + most * unstable_share(n2, scale)
        most, scale = params[f"convection_{name}"], params["convection_n2"]
        return fmap(add, coefficient, n2, most, scale, name="convection")


__all__ = ["EnhancedMixing", "unstable_share"]
