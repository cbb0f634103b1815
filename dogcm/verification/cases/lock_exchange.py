"""Two waters side by side, and the dam between them is taken away."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.diagnostics.potential_energy import potential_energies
from dogcm.verification.cases.base import (
    CURVES,
    EXPANSION,
    GRAVITY,
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    everywhere,
    ocean,
    slope,
)

COLD, WARM, DEPTH, LENGTH = 5.0, 30.0, 20.0, 64e3  # degC, degC, m, m
MIDDLE = 0.5 * (COLD + WARM)


class LockExchange(Case):
    """Lock exchange: cold water under warm, front speed and spurious mixing in 17 hours."""

    kind: ClassVar[str] = "lock_exchange"
    title: ClassVar[str] = "lock exchange"
    source: ClassVar[str] = "Ilicak et al. (2012), doi:10.1016/j.ocemod.2011.10.003"
    width: float = option(500.0, "m", "width of cells", gt=0)
    layers: int = option(20, "1", "number of layers", ge=2)
    hours: float = option(17.0, "h", "length", gt=2)
    viscosity: float = option(0.01, "m2 s-1", "lateral viscosity", ge=0)

    def run(self, bench: Bench) -> Outcome:
        # 36 s at 500 m: a third of the Courant number of long internal waves.
        steps_an_hour = int(np.ceil(100 * 500.0 / self.width))
        nx, step = round(LENGTH / self.width), 3600.0 / steps_an_hour
        grid = {
            "nx": nx,
            "ny": 1,
            "dx": self.width,
            "dy": self.width,
            "layers": [DEPTH / self.layers] * self.layers,
        }
        config = ocean(
            "lock_exchange",
            grid,
            step,
            parameters={"lateral_viscosity": self.viscosity, "vertical_viscosity": 1e-4},
        )
        initial = {"temperature": lambda x, y, z: np.where(x < LENGTH / 2, COLD, WARM) + 0 * z}
        model = bench.model(config, initial={**initial, "salinity": 35.0})
        hours, fronts, energies, fields = [], [], [], []
        for hour in range(int(self.hours) + 1):
            if hour:
                model.advance(steps_an_hour)
            temperature = everywhere(model, "temperature")[:, 0]
            hours.append(hour)
            fronts.append(self._fronts(temperature))
            energies.append(potential_energies(model).reference)
            fields.append(temperature)
        return self._outcome(np.array(hours), np.array(fronts), np.array(energies), fields)

    def _fronts(self, temperature: np.ndarray) -> tuple[float, float]:
        """Where the middle temperature meets the sea floor and the surface (m)."""
        x = (np.arange(temperature.shape[1]) + 0.5) * self.width
        cold, warm = temperature[-1] < MIDDLE, temperature[0] > MIDDLE
        east, west = np.flatnonzero(cold)[-1], np.flatnonzero(warm)[0]
        # Between the front's last cell and the next, by interpolation.
        beyond = np.interp(MIDDLE, temperature[-1, east : east + 2], x[east : east + 2])
        before = np.interp(MIDDLE, temperature[0, west - 1 : west + 1], x[west - 1 : west + 1])
        return float(beyond), float(before)

    def _outcome(self, hours, fronts, energies, fields) -> Outcome:
        theory = 0.5 * np.sqrt(GRAVITY * EXPANSION * (WARM - COLD) * DEPTH)
        away = hours >= 2  # the first two hours are those of the dam's breaking
        seconds = hours[away] * 3600.0
        cold = slope(seconds, fronts[away, 0]) / theory
        warm = -slope(seconds, fronts[away, 1]) / theory
        growth, last = energies / energies[0] - 1, fields[-1]
        beyond = max(COLD - last.min(), last.max() - WARM)
        half = "half of sqrt(g'H), 0.495 m/s (Benjamin 1968, doi:10.1017/S0022112068000133)"
        measures = (
            Measure("front of cold water, over theory", cold, "1", 0.88, 1.02, half, own=True),
            Measure("front of warm water, over theory", warm, "1", 0.88, 1.02, half, own=True),
            Measure("growth of RPE", float(growth[-1]), "1", 0.0, 8e-5, CURVES, own=True),
            Measure(
                "temperature beyond 5 to 30 degC", float(beyond), "K", 0.0, 1e-9, "0", own=True
            ),
        )
        edges = np.arange(last.shape[1] + 1) * self.width / 1e3
        z = -np.linspace(0.0, DEPTH, self.layers + 1)
        title = f"temperature (degC) after {hours[-1]} h"
        lines = {"model": (hours, growth)}
        panels = (
            Panel(title, "x (km)", "z (m)", image=last, image_x=edges, image_y=z),
            Panel("RPE / RPE(0) - 1", "time (h)", "", lines),
        )
        return Outcome(measures, panels)


__all__ = ["LockExchange"]
