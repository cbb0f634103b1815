"""Wind over stratified water deepens a mixed layer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.verification.cases.base import (
    EXPANSION,
    GRAVITY,
    RHO0,
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    everywhere,
    ocean,
)

FRICTION, N, HOURS = 0.01, 0.01, 30  # m s-1, s-1, h


class KatoPhillips(Case):
    """Kato and Phillips' tank: depth of the mixed layer after 30 hours of wind, without rotation.

    The depth is that of the strongest stratification. Price (1979) fitted
    ``h = 1.05 u* (t / N)^(1/2)``, 34.5 m for these numbers.
    """

    kind: ClassVar[str] = "kato_phillips"
    title: ClassVar[str] = "Kato and Phillips' tank"
    source: ClassVar[str] = "Kato and Phillips (1969), doi:10.1017/S0022112069000784; Price (1979)"
    schemes: list[str] = option(lambda: ["tke", "kpp"], "1", "kinds of vertical mixing")
    layers: int = option(60, "1", "number of layers of a metre", ge=40)
    step: float = option(300.0, "s", "time step", gt=0)

    def run(self, bench: Bench) -> Outcome:
        hours = np.arange(1, HOURS + 1)
        law = 1.05 * FRICTION * np.sqrt(hours * 3600.0 / N)
        measures, lines = [], {"Price (1979)": (hours, law)}
        for scheme in self.schemes:
            bench.say(f"Kato and Phillips: {scheme}")
            depth = self._depths(bench, scheme, hours)
            lines[scheme] = (hours, depth)
            beside = "34.4 m at 30 h, within 5 %"
            name = f"depth of the mixed layer, {scheme}"
            measures.append(Measure(name, depth[-1], "m", 0.95 * 34.4, 1.05 * 34.4, beside))
        return Outcome(
            tuple(measures), (Panel("depth of the mixed layer (m)", "time (h)", "", lines),)
        )

    def _depths(self, bench: Bench, scheme: str, hours: np.ndarray) -> np.ndarray:
        grid = {"nx": 4, "ny": 4, "dx": 1e5, "dy": 1e5, "layers": [1.0] * self.layers}
        physics = {"vertical_mixing": scheme, "convection": "none", "momentum_advection": "none"}
        config = ocean("kato_phillips", {**grid, "periodic": True}, self.step, physics)
        # Next to nothing mixes but the scheme.
        config["parameters"] = {
            n: v
            for n, v in config["parameters"].items()
            if n not in ("mixing_richardson", "convection_diffusivity", "convection_viscosity")
        } | {"vertical_viscosity": 1e-6, "vertical_diffusivity": 1e-7}
        warm = lambda x, y, z: 20.0 - N**2 / (GRAVITY * EXPANSION) * z + 0 * x
        stress = np.full((4, 4), RHO0 * FRICTION**2)
        model = bench.model(
            config,
            initial={"temperature": warm, "salinity": 35.0},
            forcing={"wind_stress_x": stress},
        )
        each, depths = round(3600.0 / self.step), []
        for _ in hours:
            model.advance(each)
            temperature = everywhere(model, "temperature")[:, 1, 1]
            depths.append(_strongest(temperature[:-1] - temperature[1:]))
        return np.array(depths)


def _strongest(step: np.ndarray) -> float:
    """Depth (m) of the largest step of temperature between layers of a metre, between layers by a
    parabola."""
    k = int(np.clip(step.argmax(), 1, step.size - 2))
    low, mid, high = step[k - 1 : k + 2]
    return float(k + 1 + 0.5 * (low - high) / (low - 2 * mid + high))


__all__ = ["KatoPhillips"]
