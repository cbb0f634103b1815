"""A gas or tracer whose surface value is known over time, such as CFCs, SF6 or bomb radiocarbon."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from pydantic import model_validator

from dogcm.components import option, parameter
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water


class SurfaceHistory(TracerKind):
    """Taken up from the surface, whose value follows a time series, with a piston velocity k.

    The flux into the first layer of thickness h is ``k (C_s(t) - C) / (1 + k dt / h)``: implicit in
    C, and stable for any step. ``C_s`` is linear between the given times, and constant before and
    after.
    """

    kind: ClassVar[str] = "surface_history"

    times: tuple[float, ...] = option(
        (0.0,), "year", "of the values, since the start of model year 1"
    )
    values: tuple[float, ...] = option(
        (1.0,), "1", "equilibrium concentration at the surface at these times"
    )
    piston_velocity: float = parameter(
        5.0e-5, "m s-1", "speed of the exchange through the surface", ge=0
    )
    half_life: float = option(0.0, "year", "of radioactive decay; 0: none", ge=0)
    unit: str = option("1", "1", "unit of the concentration, for files")

    @model_validator(mode="after")
    def _series(self):
        if len(self.times) != len(self.values) or not self.times:
            raise ValueError(
                f"{len(self.times)} times and {len(self.values)} values: give one value for each "
                f"time"
            )
        if any(b <= a for a, b in zip(self.times, self.times[1:])):
            raise ValueError("times must increase")
        return self

    def variables(self) -> tuple[TracerVariable, ...]:
        text = f"{self.label}, with prescribed surface history"
        return (TracerVariable(self.label, self.unit, text, rain="local"),)

    def surface_value(self, time, year: float):
        """Equilibrium concentration at ``time`` (s)."""
        years = jnp.asarray(time, jnp.float64) / year
        return jnp.interp(
            years, jnp.asarray(self.times, jnp.float64), jnp.asarray(self.values, jnp.float64)
        )

    def sources(self, water: Water) -> Sources:
        c = water.tracers[self.label]
        top, h, k = c.level(0), water.thickness.level(0), water.parameters["piston_velocity"]
        wanted = self.surface_value(water.time, water.year).astype(c.dtype)
        wet = water.grid.wet_c.crop(0)
        flux = (wanted - top) * (k * wet) * h / (h + k * water.dt + (1.0 - wet))
        rates = {}
        if self.half_life:
            rates[self.label] = c * (-jnp.log(2.0).astype(c.dtype) / (self.half_life * water.year))
        return Sources(rates=rates, surface={self.label: flux})
