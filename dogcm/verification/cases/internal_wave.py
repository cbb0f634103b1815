"""Internal waves in a closed basin: their speed, and what advection mixes while they run."""

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

LENGTH, DEPTH = 250e3, 500.0  # m
TOP, BOTTOM, DAY = 20.1, 10.1, 86400.0  # degC, degC, s


class InternalWave(Case):
    """Internal wave of Ilicak and Petersen: a hump of cold water in uniform stratification falls
    apart into waves.

    Their speed is that of the mode of one hump across the basin; growth of the reference potential
    energy is spurious mixing.
    """

    kind: ClassVar[str] = "internal_wave"
    title: ClassVar[str] = "internal wave"
    source: ClassVar[str] = "Ilicak et al. (2012); Petersen et al. (2015), section 3.3"
    width: float = option(5e3, "m", "width of cells", gt=0)
    layers: int = option(20, "1", "number of layers", ge=5)
    days: float = option(20.0, "d", "length", ge=3)
    amplitude: float = option(2.0, "K", "of the hump", gt=0)
    viscosity: float = option(1.0, "m2 s-1", "lateral viscosity", ge=0)

    def run(self, bench: Bench) -> Outcome:
        nx, step = round(LENGTH / self.width), 60.0 * self.width / 1e3
        grid = {"nx": nx, "ny": 1, "dx": self.width, "dy": self.width}
        config = ocean(
            "internal_wave",
            {**grid, "layers": [DEPTH / self.layers] * self.layers},
            step,
            parameters={"lateral_viscosity": self.viscosity, "vertical_viscosity": 1e-4},
        )

        def temperature(x, y, z):
            hump = np.cos(0.5 * np.pi * (x - LENGTH / 2) / (0.33 * LENGTH))
            hump = np.where(np.abs(x - LENGTH / 2) < 0.33 * LENGTH, hump, 0.0)
            return (
                BOTTOM
                + (TOP - BOTTOM) * (1 - z / DEPTH)
                - self.amplitude * hump * np.sin(np.pi * z / DEPTH)
            )

        model = bench.model(config, initial={"temperature": temperature, "salinity": 35.0})
        each = round(7200.0 / step)
        count = round(self.days * DAY / step) // each
        time, wave, energy = [0.0], [self._wave(model)], [potential_energies(model).reference]
        for k in range(count):
            model.advance(each)
            time.append((k + 1) * each * step)
            wave.append(self._wave(model))
            if (k + 1) % 12 == 0:
                energy.append(potential_energies(model).reference)
        last = everywhere(model, "temperature")[:, 0]
        return self._outcome(np.array(time), np.array(wave), np.array(energy), last)

    def _wave(self, model) -> float:
        """Amplitude (K) of the mode that has one hump across the basin and one down."""
        temperature = everywhere(model, "temperature")[:, 0]
        nz, nx = temperature.shape
        x, z = (np.arange(nx) + 0.5) / nx, (np.arange(nz) + 0.5) / nz
        shape = np.sin(np.pi * z)[:, None] * np.cos(2 * np.pi * x)
        return float((temperature * shape).sum() / (shape**2).sum())

    def _outcome(self, time, wave, energy, last) -> Outcome:
        n2 = GRAVITY * EXPANSION * (TOP - BOTTOM) / DEPTH
        theory = 2 * np.pi / LENGTH / np.sqrt((np.pi / DEPTH) ** 2 + (2 * np.pi / LENGTH) ** 2)
        theory *= np.sqrt(n2)
        early = time <= 3 * DAY  # one turn; later, waves of finite size have changed each other
        frequency = fitted(time[early], wave[early], theory)
        growth, days = energy / energy[0] - 1, np.arange(energy.size, dtype=float)
        area = LENGTH * self.width
        # Of the days after the first, in which the hump falls apart.
        rate = slope(days[1:] * DAY, energy[1:]) / area
        measures = (
            Measure(
                "frequency of the first hump over theory",
                frequency / theory,
                "1",
                0.98,
                1.02,
                f"2 pi / {2 * np.pi / theory / 3600:.1f} h, small waves without rotation",
                own=True,
            ),
            Measure("growth of RPE", float(growth[-1]), "1", beside=CURVES),
            Measure("rate of RPE", float(rate), "W m-2", beside=CURVES),
        )
        x, z = (
            np.arange(last.shape[1] + 1) * self.width / 1e3,
            -np.linspace(0, DEPTH, self.layers + 1),
        )
        panels = (
            Panel(
                f"temperature (degC) after {time[-1] / DAY:.0f} days",
                "x (km)",
                "z (m)",
                image=last,
                image_x=x,
                image_y=z,
            ),
            Panel("amplitude of the first hump (K)", "time (days)", "", {"": (time / DAY, wave)}),
            Panel("RPE / RPE(0) - 1", "time (days)", "", {"": (days, growth)}),
        )
        return Outcome(measures, panels)


def fitted(time: np.ndarray, wave: np.ndarray, guess: float) -> float:
    """Frequency (s-1) of the cosine and sine that fit best."""
    tried = guess * np.linspace(0.8, 1.2, 2001)
    left = []
    for omega in tried:
        basis = np.stack([np.cos(omega * time), np.sin(omega * time)], 1)
        found, *_ = np.linalg.lstsq(basis, wave, rcond=None)
        left.append(((wave - basis @ found) ** 2).sum())
    return float(tried[int(np.argmin(left))])


__all__ = ["InternalWave", "fitted"]
