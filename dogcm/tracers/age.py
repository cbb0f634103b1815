"""Ideal age: the time since water was last at the surface."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.field import Field
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water


class IdealAge(TracerKind):
    """Time since water was in the surface layer, in years: grows by a year a year, 0 in the first
    layer.

    England (1995), doi:10.1175/1520-0485(1995)025<2756:TAOWAV>2.0.CO;2.
    """

    kind: ClassVar[str] = "ideal_age"

    def variables(self) -> tuple[TracerVariable, ...]:
        text = "ideal age: time since water was in the surface layer"
        return (
            TracerVariable(
                self.label, "year", text, "sea_water_age_since_surface_contact", rain="local"
            ),
        )

    def sources(self, water: Water) -> Sources:
        return Sources(rates={self.label: water.grid.mask_c.crop(0) * (1.0 / water.year)})

    def held(self, tracers: dict[str, Field], water: Water) -> dict[str, Field]:
        age = tracers[self.label]
        return {
            self.label: age.with_data(jnp.concatenate([jnp.zeros_like(age.data[:1]), age.data[1:]]))
        }
