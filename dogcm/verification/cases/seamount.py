"""A stratified ocean at rest over a steep seamount, which has to stay at rest."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import option
from dogcm.dynamics.pressure import cell_depths
from dogcm.field import Field
from dogcm.simulation.model import Model
from dogcm.verification.cases.base import (
    EXPANSION,
    RHO0,
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    ocean,
)

SIZE, DEPTH, HEIGHT, RADIUS = 320e3, 5000.0, 4500.0, 40e3  # m
STEP = 300.0  # s
CONTRAST, DECAY, DEEP = 3.0, 500.0, 5.0  # kg m-3, m, degC


def profile(z):
    """Temperature (degC) at a depth (m): density 1028 - 3 exp(-z / 500 m) kg m-3."""
    return DEEP + CONTRAST / (EXPANSION * RHO0) * jnp.exp(-z / DECAY)


class Seamount(Case):
    """Seamount of Beckmann and Haidvogel: the error of the pressure gradient, as currents in an
    ocean at rest, with partial cells.

    Three runs: temperature that is the same all along a layer, with ``pressure: layers``;
    temperature of the true depths of cells, with ``pressure: true_depths``; and with ``layers``.
    """

    kind: ClassVar[str] = "seamount"
    title: ClassVar[str] = "seamount at rest"
    source: ClassVar[str] = (
        "Beckmann and Haidvogel (1993), doi:10.1175/1520-0485(1993)023<1736:NSOFAA>2.0.CO;2"
    )
    width: float = option(6400.0, "m", "width of cells", gt=0)
    layers: int = option(20, "1", "number of layers", ge=2)
    days: float = option(6.0, "d", "length; of the other two runs a sixth", gt=0)

    def run(self, bench: Bench) -> Outcome:
        usual, true = (self._model(bench, kind) for kind in ("layers", "true_depths"))
        start = jax.tree.map(jnp.copy, usual.state)
        short = self.days / 6
        bench.say("seamount: temperature by layer")
        found = {"by layer": self._speeds(usual, short)}
        usual.state = start
        for name, model, days in (
            ("layers, true depths", usual, short),
            ("true depths", true, self.days),
        ):
            bench.say(f"seamount: {name}")
            _at_true_depths(model)
            found[name] = self._speeds(model, days)
        largest = {n: float(max(speed)) for n, (_, speed) in found.items()}
        others = (
            "0; polaris (MPAS-Ocean), terrain-following layers: 0.10 at most in 6 days, 0.02 to "
            "0.04 on the sixth"
        )
        measures = (
            Measure(
                "largest speed, temperature by layer",
                largest["by layer"],
                "m s-1",
                0.0,
                1e-10,
                "0",
            ),
            Measure(
                "largest speed, at true depths, true_depths",
                largest["true depths"],
                "m s-1",
                0.0,
                0.10,
                others,
            ),
            Measure(
                "largest speed, at true depths, layers",
                largest["layers, true depths"],
                "m s-1",
                0.0,
                0.10,
                others,
            ),
        )
        lines = {n: found[n] for n in ("true depths", "layers, true depths")}
        panel = Panel("largest speed (m s-1)", "time (days)", "", lines)
        return Outcome(measures, (panel,))

    def _model(self, bench: Bench, pressure: str) -> Model:
        n = round(SIZE / self.width)
        grid = {
            "nx": n,
            "ny": n,
            "dx": self.width,
            "dy": self.width,
            "f0": -1e-4,
            "layers": [DEPTH / self.layers] * self.layers,
        }
        config = ocean("seamount", grid, STEP, {"pressure": pressure}, {"lateral_viscosity": 50.0})
        config["bathymetry"] |= {"min_fraction": 0.1, "min_thickness": 0.0, "fill_holes": False}

        def floor(x, y):
            r = np.hypot(x - SIZE / 2, y - SIZE / 2)
            return DEPTH - HEIGHT * np.exp(-((r / RADIUS) ** 2))

        initial = {"temperature": lambda x, y, z: np.asarray(profile(z)) + 0 * x, "salinity": 35.0}
        return bench.model(config, bathymetry=floor, initial=initial)

    def _speeds(self, model: Model, days: float) -> tuple[np.ndarray, np.ndarray]:
        """Days, and the largest speed (m s-1) at each."""
        steps = round(days * 86400 / STEP)
        each = max(1, min(12, steps // 4))
        time, speed = [], []
        for k in range(each, steps + 1, each):
            model.advance(each)
            time.append(k * STEP / 86400)
            speed.append(model.read().speed)
        return np.array(time), np.array(speed)


def _at_true_depths(model: Model) -> None:
    """Temperature of each cell's own depth, at rest."""
    values = profile(cell_depths(model.grid).interior) * model.grid.mask_c.interior
    temperature = Field(values.astype(model.dtype), "c").named("temperature")
    model.state = model.state.replace(tracers={**model.state.tracers, "temperature": temperature})


__all__ = ["Seamount"]
