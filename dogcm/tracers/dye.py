"""Dye: marks water from a region."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import model_validator

from dogcm.components import option, parameter
from dogcm.field import Field, where
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water
from dogcm.tracers.region import check_limits, region


class Dye(TracerKind):
    """Dye released in a region: once, steadily, or held at its value there."""

    kind: ClassVar[str] = "dye"

    release: Literal["once", "held", "steady"] = option(
        "once",
        "1",
        "once: value at the start; held: value at all times; steady: rate in the region",
    )
    lat: tuple[float, float] | None = option(
        None, "degrees_north", "limits of the region; null: all latitudes"
    )
    lon: tuple[float, float] | None = option(
        None,
        "degrees_east",
        "western and eastern limit, the eastern may be smaller; null: all longitudes",
    )
    depth: tuple[float, float] | None = option(
        None, "m", "limits of the depth of layer centres; null: all depths"
    )
    value: float = option(1.0, "1", "concentration in the region (once, held)")
    rate: float = parameter(1.0, "year-1", "release in the region (steady)", ge=0)
    half_life: float = option(0.0, "year", "of radioactive decay; 0: none", ge=0)
    unit: str = option("1", "1", "unit of the concentration, for files")

    @model_validator(mode="after")
    def _limits(self):
        check_limits("lat", self.lat)
        check_limits("depth", self.depth)
        return self

    def variables(self) -> tuple[TracerVariable, ...]:
        return (
            TracerVariable(self.label, self.unit, f"dye {self.label}, released {self.release}"),
        )

    def _region(self, grid) -> Field:
        return region(grid, self.lat, self.lon, self.depth)

    def initial(self, grid) -> dict[str, Field]:
        return {} if self.release == "steady" else {self.label: self._region(grid) * self.value}

    def sources(self, water: Water) -> Sources:
        rate = None
        if self.release == "steady":
            rate = self._region(water.grid) * (water.parameters["rate"] * (1.0 / water.year))
        if self.half_life:
            decay = water.tracers[self.label] * (-math.log(2.0) / (self.half_life * water.year))
            rate = decay if rate is None else rate + decay
        return Sources(rates={} if rate is None else {self.label: rate})

    def held(self, tracers: dict[str, Field], water: Water) -> dict[str, Field]:
        if self.release != "held":
            return {}
        dye = tracers[self.label]
        return {self.label: where(self._region(water.grid) > 0, dye * 0.0 + self.value, dye)}
