"""A front in a channel that breaks up into eddies."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.diagnostics.potential_energy import potential_energies
from dogcm.verification.cases.base import (
    CURVES,
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    everywhere,
    ocean,
    slope,
)

LENGTH, WIDTH, DEPTH = 160e3, 500e3, 1000.0  # m
TOP, BOTTOM, CONTRAST = 13.1, 10.1, 1.2  # degC, degC, K
FRONT = 0.08 * WIDTH  # m


def temperature(x, y, z):
    """The front, which winds three times, and a bulge on its third crest (degC)."""
    below = BOTTOM + (TOP - BOTTOM) * (1 - z / DEPTH)
    winding = y - WIDTH / 2 + FRONT * np.sin(6 * np.pi * x / LENGTH)
    cold = np.clip(1 - winding / FRONT, 0.0, 1.0)
    west, east = 4 * LENGTH / 6, 5 * LENGTH / 6
    arch = y - WIDTH / 2 + 0.5 * FRONT * np.sin(np.pi * (x - west) / (east - west))
    bulge = (np.abs(arch) <= FRONT / 2) & (x >= west) & (x <= east)
    return below - CONTRAST * cold + np.where(bulge, 0.3 * (1 - arch / (FRONT / 2)), 0.0)


class BaroclinicChannel(Case):
    """Baroclinic eddies of Ilicak and Petersen: a re-entrant channel of 160 x 500 km, cells of
    10 km; growth of the reference potential energy, and energy of the eddies, in 20 days."""

    kind: ClassVar[str] = "baroclinic_channel"
    title: ClassVar[str] = "baroclinic channel, 10 km"
    source: ClassVar[str] = "Ilicak et al. (2012); Petersen et al. (2015), section 3.5"
    width: float = option(10e3, "m", "width of cells", gt=0)
    layers: int = option(20, "1", "number of layers", ge=2)
    days: float = option(20.0, "d", "length", ge=2)
    viscosity: float = option(10.0, "m2 s-1", "lateral viscosity", ge=0)

    def run(self, bench: Bench) -> Outcome:
        model = self._model(bench)
        each = round(86400.0 / model.physics.dt)
        days = np.arange(round(self.days) + 1)
        energy, eddies = [], []
        for day in days:
            if day:
                model.advance(each)
            energy.append(potential_energies(model).reference)
            eddies.append(self._eddies(model))
        growth = np.array(energy) / energy[0] - 1
        # Of the second half, when eddies are there.
        late = days >= self.days / 2
        rate = slope(days[late] * 86400.0, np.array(energy)[late]) / (LENGTH * WIDTH)
        measures = (
            Measure("growth of RPE", float(growth[-1]), "1", beside=CURVES),
            Measure("rate of RPE, second half", float(rate), "W m-2", beside=CURVES),
            Measure("energy of eddies", float(eddies[-1]), "m2 s-2", beside="none"),
        )
        surface = everywhere(model, "temperature")[0]
        x, y = (np.arange(n + 1) * self.width / 1e3 for n in surface.shape[::-1])
        title = f"surface temperature (degC) after {days[-1]} days"
        panels = (
            Panel(title, "x (km)", "y (km)", image=surface, image_x=x, image_y=y),
            Panel("RPE / RPE(0) - 1", "time (days)", "", {"": (days, growth)}),
            Panel("energy of eddies (m2 s-2)", "time (days)", "", {"": (days, np.array(eddies))}),
        )
        return Outcome(measures, panels)

    def _model(self, bench: Bench):
        nx, ny = round(LENGTH / self.width), round(WIDTH / self.width)
        grid = {"nx": nx, "ny": ny, "dx": self.width, "dy": self.width, "f0": -1.2e-4}
        parameters = {
            "lateral_viscosity": self.viscosity,
            "vertical_viscosity": 1e-4,
            "bottom_drag_quadratic": 0.01,
        }
        layers = [DEPTH / self.layers] * self.layers
        # 600 s at 10 km; a whole number of steps a day.
        step = 86400.0 / np.ceil(144 * 10e3 / self.width)
        config = ocean(
            "baroclinic_channel",
            {**grid, "periodic": True, "layers": layers},
            step,
            parameters=parameters,
        )
        return bench.model(config, initial={"temperature": temperature, "salinity": 35.0})

    def _eddies(self, model) -> float:
        """Kinetic energy (m2 s-2) of what differs from the mean along the channel."""
        away = [everywhere(model, n) for n in ("u", "v")]
        return float(sum(0.5 * ((a - a.mean(-1, keepdims=True)) ** 2).mean() for a in away))


class BaroclinicChannel4km(BaroclinicChannel):
    """The baroclinic channel with cells of 4 km, which takes some 16 times as long."""

    kind: ClassVar[str] = "baroclinic_channel_4km"
    title: ClassVar[str] = "baroclinic channel, 4 km"
    dear: ClassVar[bool] = True
    width: float = option(4e3, "m", "width of cells", gt=0)


__all__ = ["BaroclinicChannel", "BaroclinicChannel4km"]
