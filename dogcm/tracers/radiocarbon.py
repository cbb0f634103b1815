"""Natural radiocarbon as one tracer: the ratio of C-14 to C-12 in per mille, beside the standard.

The single-tracer form of Toggweiler, Dixon and Bryan (1989), doi:10.1029/JC094iC06p08217: the ratio
itself is carried, as if dissolved carbon were the same everywhere. Against two tracers with the
chemistry of carbon (abiotic OCMIP-2) it leaves out gradients of dissolved carbon and what organisms
carry down, and needs neither chemistry nor wind.
"""

from __future__ import annotations

import math
from typing import ClassVar

import jax.numpy as jnp
from pydantic import model_validator

from dogcm.components import option, parameter
from dogcm.components.bijectors import Identity
from dogcm.field import Field, fmap
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water

# Per mille at which none is left.
_NONE = -1000.0


class Radiocarbon(TracerKind):
    """Delta-14C of dissolved carbon (per mille): exchanged with the air, and decaying.

    With ``k = invasion / carbon`` and the part ``open`` of the surface that exchanges gas the flux
    into the first layer, of thickness h, is ``k open (air - D) / (1 + k open dt / h)``: implicit in
    D. Everywhere ``dD/dt = -ln(2) / half_life (D + 1000)``.

    Ice is told by the temperature of the first layer, linearly between ``covered_below`` and
    ``open_above``: so it is the same in the model, with or without a sea-ice scheme, and in the map
    of a year. Closed ice lets ``under_ice`` of the gas through.

    The invasion's default is a piston velocity of 16.5 cm/h, the global mean of Wanninkhof (2014),
    doi:10.4319/lom.2014.12.351, times 10.4 mmol m-3 of carbon dioxide in equilibrium with 280 ppm.
    What cold water dissolves more, it exchanges more slowly: both nearly cancel.
    """

    kind: ClassVar[str] = "radiocarbon"

    start: float = option(0.0, "1e-3", "Delta-14C everywhere at the start", ge=_NONE)
    half_life: float = option(5730.0, "year", "of the decay; 0: none", ge=0)
    carbon: float = option(2.0, "mol m-3", "dissolved carbon of surface water", gt=0)
    covered_below: float = option(
        -1.8, "degC", "surface temperature at and below which ice covers all"
    )
    open_above: float = option(0.0, "degC", "surface temperature from which there is no ice")
    under_ice: float = option(0.0, "1", "part of the exchange that closed ice leaves", ge=0, le=1)
    air: float = parameter(
        0.0, "1e-3", "Delta-14C of the air", bijector=Identity(), prior_sd=50.0, ge=_NONE
    )
    invasion: float = parameter(
        15.0, "mol m-2 year-1", "carbon dioxide that enters open water, one way", ge=0
    )

    @model_validator(mode="after")
    def _ice(self):
        if not self.covered_below < self.open_above:
            raise ValueError(
                f"covered_below ({self.covered_below}) has to be less than open_above "
                f"({self.open_above})"
            )
        return self

    def variables(self) -> tuple[TracerVariable, ...]:
        text = "Delta-14C of dissolved inorganic carbon, per mille"
        return (TracerVariable(self.label, "1e-3", text, rain="local", lowest=_NONE),)

    def initial(self, grid) -> dict[str, Field]:
        return {self.label: grid.mask_c.crop(0) * self.start}

    def sources(self, water: Water) -> Sources:
        d, p = water.tracers[self.label], water.parameters
        flux = fmap(
            self._flux(water.dt),
            d.level(0),
            water.tracers["temperature"].level(0),
            water.thickness.level(0),
            p["invasion"] * (1.0 / (self.carbon * water.year)),
            p["air"],
            name="gas_exchange",
        )
        rates = {}
        if self.half_life:
            per_second = math.log(2.0) / (self.half_life * water.year)
            rates[self.label] = (d - _NONE) * -per_second
        return Sources(rates=rates, surface={self.label: flux})

    def _flux(self, dt: float):
        """Flux into the ocean (per mille m s-1) of values of one cell."""
        cold, span = self.covered_below, self.open_above - self.covered_below
        left = self.under_ice

        def flux(d, temperature, h, speed, air):
            free = jnp.clip((temperature - cold) / span, 0.0, 1.0)
            k = speed * (left + (1.0 - left) * free)
            # There is no thickness on land.
            return (air - d) * k * h / (h + k * dt + (h == 0))

        return flux


__all__ = ["Radiocarbon"]
