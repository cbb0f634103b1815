"""Waves that grow on a sheared current."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.verification.cases.base import (
    EXPANSION,
    GRAVITY,
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    everywhere,
    ocean,
    put,
    slope,
)

F0, N, DEPTH, SHEAR = 1e-4, 5e-3, 1000.0, 4e-4  # s-1, s-1, m, s-1
LENGTH, WIDTH = 240e3, 480e3  # m: of the wave, and between the walls


def growth_rate(k: float, m: float) -> float:
    """Of the Eady wave with wavenumbers k along and m across the channel (s-1)."""
    kappa = N * DEPTH / F0 * np.hypot(k, m)
    half = kappa / 2
    square = (1 / np.tanh(half) - half) * (half - np.tanh(half))
    return k * SHEAR * DEPTH / kappa * np.sqrt(max(square, 0.0))


class Eady(Case):
    """Eady's problem: the growth rate of a wave on a uniform shear between two walls.

    The wave fills the channel's length once and its width half. With a Richardson number of 156
    the flow is as good as quasi-geostrophic.
    """

    kind: ClassVar[str] = "eady"
    title: ClassVar[str] = "Eady growth rate"
    source: ClassVar[str] = (
        "Eady (1949), doi:10.1111/j.2153-3490.1949.tb01265.x; Vallis (2017), 9.5"
    )
    width: float = option(12e3, "m", "width of cells", gt=0)
    layers: int = option(20, "1", "number of layers", ge=4)
    days: float = option(24.0, "d", "length", ge=10)
    step: float = option(900.0, "s", "time step", gt=0)

    def run(self, bench: Bench) -> Outcome:
        model = self._model(bench)
        each = round(86400.0 / 2 / self.step)
        days, size = [], []
        for n in range(round(self.days * 2)):
            model.advance(each)
            v = everywhere(model, "v")
            days.append((n + 1) / 2)
            # The part along the channel that has the length of the wave.
            size.append(np.abs(np.fft.rfft(v, axis=-1)[..., 1]).std())
        days, size = np.array(days), np.array(size)
        # The first days are those in which decaying waves fade.
        late = days > 0.5 * self.days
        rate = slope(days[late] * 86400.0, np.log(size[late]))
        theory = growth_rate(2 * np.pi / LENGTH, np.pi / WIDTH)
        beside = f"theory, {theory * 86400:.3f} a day"
        line = size[-1] * np.exp(theory * 86400 * (days - days[-1]))
        panel = Panel(
            "log10 of the wave's northward flow",
            "time (days)",
            "",
            {"model": (days, np.log10(size)), "theory": (days, np.log10(line))},
        )
        value = float(rate / theory)
        return Outcome(
            (Measure("growth rate over theory", value, "1", 0.93, 1.07, beside, own=True),),
            (panel,),
        )

    def _model(self, bench: Bench):
        nx, ny = round(LENGTH / self.width), round(WIDTH / self.width)
        layers = [DEPTH / self.layers] * self.layers
        grid = {"nx": nx, "ny": ny, "dx": self.width, "dy": self.width, "f0": F0}
        config = ocean("eady", {**grid, "periodic": True, "layers": layers}, self.step)
        warmer = -F0 * SHEAR / (GRAVITY * EXPANSION)  # K m-1, northward

        def temperature(x, y, z):
            wave = 1e-3 * np.cos(2 * np.pi * x / LENGTH) * np.sin(np.pi * y / WIDTH)
            return 15.0 + warmer * (y - WIDTH / 2) - N**2 / (GRAVITY * EXPANSION) * z + wave

        model = bench.model(config, initial={"temperature": temperature, "salinity": 35.0})
        z = -(np.arange(self.layers) + 0.5) * DEPTH / self.layers
        y = (np.arange(ny) + 0.5) * self.width - WIDTH / 2
        # The slope of the sea surface turns the current round at mid-depth.
        put(
            model,
            u=(SHEAR * (z + DEPTH / 2))[:, None, None],
            eta=(-F0 * SHEAR * DEPTH / 2 / GRAVITY * y)[:, None],
        )
        return model


__all__ = ["Eady", "growth_rate"]
