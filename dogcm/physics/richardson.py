"""Vertical mixing that is local in the Richardson number.

Pacanowski and Philander (1981), doi:10.1175/1520-0485(1981)011<1443:POVMIN>2.0.CO;2, with exponent
2::

    nu = nu_0 / (1 + 5 Ri)**2 + nu_b,     kappa = nu_0 / (1 + 5 Ri)**3 + kappa_b,     Ri = N2 / S2
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.field import Field, fmap, hold
from dogcm.operators import common
from dogcm.physics.interfaces import Column, Mixing, VerticalMixing


def richardson_mixing(n2: Field, shear2: Field, strength, background: tuple) -> tuple[Field, Field]:
    """Viscosity and diffusivity (m2 s-1) at interfaces.

    Args:
        n2, shear2: s-2. strength: viscosity without stratification (m2 s-1): a scalar, a profile
            over interfaces (nz - 1, 1, 1), or a map at cell centres.
        background: viscosity and diffusivity without shear (m2 s-1).
    """

    def damping(n2, s2):
        return 1.0 / (1.0 + 5.0 * (jnp.maximum(n2, 0.0) / (s2 + 1e-10)))

    def viscosity(n2, s2, strength, floor):
        d = damping(n2, s2)
        return strength * d * d + floor

    def diffusivity(n2, s2, strength, floor):
        d = damping(n2, s2)
        return strength * d * d * d + floor

    n2, shear2 = common(n2, shear2)
    return (
        fmap(viscosity, n2, shear2, strength, background[0], name="viscosity"),
        fmap(diffusivity, n2, shear2, strength, background[1], name="diffusivity"),
    )


class RichardsonMixing(VerticalMixing):
    """Local in the Richardson number (Pacanowski and Philander 1981)."""

    kind: ClassVar[str] = "richardson"
    source: ClassVar[str] = "doi:10.1175/1520-0485(1981)011<1443:POVMIN>2.0.CO;2"
    mixing_richardson: float = parameter(
        5e-3,
        "m2 s-1",
        "viscosity without stratification",
        shapes=("scalar", "profile", "map"),
        levels="interfaces",
        ge=0,
    )

    def mix(self, column: Column, params: dict, grid, physics) -> Mixing:
        n2 = column.n2
        pair = richardson_mixing(n2, column.shear2, params["mixing_richardson"], column.background)
        if physics.convection is not None:
            names = ("viscosity", "diffusivity")
            pair = [physics.convection.add(k, n2, n, params) for k, n in zip(pair, names)]
        return Mixing(n2, *hold(*(k * grid.mask_cw for k in pair)))


__all__ = ["RichardsonMixing", "richardson_mixing"]
