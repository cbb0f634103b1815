"""Dense water on a shelf flows down a slope."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import option
from dogcm.diagnostics.potential_energy import potential_energies
from dogcm.simulation.model import Model
from dogcm.verification.cases.base import (
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    everywhere,
    ocean,
)

LENGTH, SHELF, DEPTH, BREAK, SLOPE, DENSE = 200e3, 500.0, 2000.0, 40e3, 7e3, 20e3  # m
COLD, WARM = 10.0, 20.0  # degC
DAY, HOUR = 86400.0, 3600.0  # s
# Growth of RPE from day 1 to day 5 by lateral viscosity (m2 s-1), read off polaris' figure.
POLARIS = {1.0: 1.00e-5, 5.0: 9.1e-6, 10.0: 8.3e-6, 100.0: 5.2e-6, 1000.0: 1.9e-6}


class Descent(NamedTuple):
    """What one run came to.

    Attributes:
        hours: of the first day. front: where the foremost cold water on the sea floor is then (m).
        days, energy: reference potential energy (J) by day. least, most: temperature (degC) met.
        last: temperature at the end (z, x), NaN in the ground.
    """

    hours: np.ndarray
    front: np.ndarray
    days: np.ndarray
    energy: np.ndarray
    least: float
    most: float
    last: np.ndarray

    @property
    def growth(self) -> np.ndarray:
        """Of the reference potential energy since day 1, in which most of the water has come
        down."""
        return self.energy / self.energy[min(1, self.energy.size - 1)] - 1.0


class Overflow(Case):
    """Overflow of Ilicak and Petersen: dense water runs down a slope of a shelf, and what advection
    mixes on the way.

    As polaris has it: vertical viscosity 1e-4 and diffusivity 1e-5 m2/s, convection 1 m2/s,
    quadratic drag 1e-3, partial cells down to a tenth of a layer, reference energy of a box; but
    with steps four times as long, which the vertical flow down the slope allows with advection that
    is partly implicit.
    """

    kind: ClassVar[str] = "overflow"
    title: ClassVar[str] = "overflow"
    source: ClassVar[str] = (
        "Ilicak et al. (2012), doi:10.1016/j.ocemod.2011.10.003; Petersen et al. (2015), "
        "doi:10.1016/j.ocemod.2014.12.004; E3SM's polaris"
    )
    width: float = option(2e3, "m", "width of cells", gt=0)
    layers: int = option(60, "1", "number of layers", ge=10)
    days: int = option(5, "d", "length", ge=1)
    step: float = option(60.0, "s", "time step", gt=0)
    viscosities: list[float] = option(
        lambda: [100.0, 1000.0], "m2 s-1", "lateral viscosities", min_length=1
    )

    def run(self, bench: Bench) -> Outcome:
        model = self._model(bench)
        start, runs = jax.tree.map(jnp.copy, model.state), {}
        for viscosity in self.viscosities:
            bench.say(f"overflow: lateral viscosity {viscosity:g} m2/s")
            model.state = jax.tree.map(jnp.copy, start)
            model.params["lateral_viscosity"] = jnp.full_like(
                model.params["lateral_viscosity"], viscosity
            )
            runs[viscosity] = self._descend(model)
        measures = [m for v, found in runs.items() for m in self._measures(v, found)]
        return Outcome(tuple(measures), self._panels(runs))

    def _measures(self, viscosity: float, found: Descent) -> list[Measure]:
        at, growth = f"{viscosity:g} m2/s", float(found.growth[-1])
        others = POLARIS.get(viscosity) if self.days == 5 else None
        beside = f"E3SM's polaris (MPAS-Ocean): {others:.2g}" if others else "none"
        high = others or np.inf
        front = float(found.front[-1]) / 1e3
        beyond = max(COLD - found.least, found.most - WARM)
        return [
            Measure(f"front after a day, {at}", front, "km", 100.0, 200.0, "none", own=True),
            Measure(f"growth of RPE after day 1, {at}", growth, "1", high=high, beside=beside),
            Measure(f"temperature beyond 10 to 20 degC, {at}", beyond, "K", 0.0, 1e-9, "0", True),
        ]

    def _panels(self, runs: dict[float, Descent]) -> tuple[Panel, ...]:
        name = lambda v: f"{v:g} m2/s"
        found = next(iter(runs.values()))
        x = np.arange(found.last.shape[1] + 1) * self.width / 1e3
        z = -np.linspace(0, DEPTH, self.layers + 1)
        title = f"temperature (degC) after {self.days} days, {name(next(iter(runs)))}"
        fronts = {name(v): (f.hours, f.front / 1e3) for v, f in runs.items()}
        growths = {name(v): (f.days[1:], f.growth[1:]) for v, f in runs.items()}
        return (
            Panel(title, "x (km)", "z (m)", image=found.last, image_x=x, image_y=z),
            Panel("front (km)", "time (h)", "", fronts),
            Panel("RPE / RPE(day 1) - 1", "time (days)", "", growths),
        )

    def _model(self, bench: Bench) -> Model:
        nx = round(LENGTH / self.width)
        grid = {"nx": nx, "ny": 1, "dx": self.width, "dy": self.width}
        parameters = {
            "lateral_viscosity": 1.0,
            "vertical_viscosity": 1e-4,
            "vertical_diffusivity": 1e-5,
            "convection_diffusivity": 1.0,
            "convection_viscosity": 1.0,
            "bottom_drag_quadratic": 1e-3,
        }
        layers = [DEPTH / self.layers] * self.layers
        physics = {"vertical_advection": "adaptive"}
        whole = {**grid, "layers": layers}
        config = ocean("overflow", whole, self.step, physics, parameters)
        config["bathymetry"] |= {"min_fraction": 0.1, "min_thickness": 0.0, "fill_holes": False}

        def floor(x, y):
            return SHELF + 0.5 * (DEPTH - SHELF) * (1 + np.tanh((x - BREAK) / SLOPE))

        start = lambda x, y, z: np.where(x < DENSE, COLD, WARM) + 0 * z
        return bench.model(
            config, bathymetry=floor, initial={"temperature": start, "salinity": 35.0}
        )

    def _descend(self, model: Model) -> Descent:
        wet = model.decomposition.gather(np.asarray(model.grid.mask_c.interior))
        wet = model.comm.broadcast(None if wet is None else np.array(wet))[:, 0] > 0
        hourly, steps = round(HOUR / self.step), round(DAY / self.step)
        if hourly * 24 != steps:
            raise ValueError(f"overflow: steps of {self.step:g} s do not divide an hour")
        fronts, extremes = [], []
        energy = [potential_energies(model, box=True).reference]

        def look() -> np.ndarray:
            temperature = everywhere(model, "temperature")[:, 0]
            extremes.extend([temperature[wet].min(), temperature[wet].max()])
            return temperature

        for _ in range(24):
            model.advance(hourly)
            fronts.append(self._front(look(), wet))
        energy.append(potential_energies(model, box=True).reference)
        for _ in range(1, self.days):
            model.advance(steps)
            look()
            energy.append(potential_energies(model, box=True).reference)
        last = np.where(wet, look(), np.nan)
        days = np.arange(len(energy), dtype=float)
        hours = np.arange(1.0, 25.0)
        found = np.array(fronts), days, np.array(energy)
        return Descent(hours, *found, float(min(extremes)), float(max(extremes)), last)

    def _front(self, temperature: np.ndarray, wet: np.ndarray) -> float:
        """Farthest place (m) where water on the sea floor is a tenth of the contrast colder than
        what surrounds it."""
        bottom = temperature[wet.sum(0) - 1, np.arange(wet.shape[1])]
        cold = np.flatnonzero(bottom < WARM - 0.1 * (WARM - COLD))
        return float((cold[-1] + 1) * self.width) if cold.size else 0.0


__all__ = ["Overflow"]
