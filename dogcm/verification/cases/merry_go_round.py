"""An overturning cell whose tracer lies along its streamlines, and has to stay as it is."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.decomp.depth import Halo
from dogcm.field import Field
from dogcm.verification.cases.base import Bench, Case, Measure, Outcome, Panel, ocean, order
from dogcm.verification.cases.carried import Carrier, relative_error, scattered

LENGTH, DEPTH, HOURS = 500.0, 500.0, 6.0


def across(x: np.ndarray) -> np.ndarray:
    """The streamfunction's factor in x (m)."""
    return 1 - ((x - LENGTH / 2) / (LENGTH / 2)) ** 4


def down(depth: np.ndarray) -> np.ndarray:
    """The streamfunction's factor in depth (m)."""
    return 1 - ((depth - DEPTH / 2) / (DEPTH / 2)) ** 2


class MerryGoRound(Case):
    """Merry-go-round: order of convergence of advection along x and z together."""

    kind: ClassVar[str] = "merry_go_round"
    title: ClassVar[str] = "merry-go-round"
    source: ClassVar[str] = "E3SM's polaris, merry_go_round"
    widths: list[float] = option(lambda: [10.0, 5.0, 2.5], "m", "widths of cells", min_length=2)
    schemes: list[str] = option(
        lambda: ["dst3", "dst3_limited", "dst3_split", "ppm", "weno5"],
        "1",
        "kinds of tracer advection",
    )
    step: float = option(90.0, "s", "time step with cells of 5 m", gt=0)

    def run(self, bench: Bench) -> Outcome:
        errors: dict[str, list[float]] = {s: [] for s in self.schemes}
        for width in self.widths:
            for scheme in self.schemes:
                bench.say(f"merry-go-round: {scheme}, {width:g} m")
                found, exact = self._carried(bench, width, scheme)
                errors[scheme].append(relative_error(found, exact, np.ones_like(exact)))
        sizes, measures, lines = np.array(self.widths), [], {}
        for scheme, error in errors.items():
            beside = "polaris: 1.97, asks for 1.96, without limiter"
            name = f"order, {scheme}"
            measures.append(Measure(name, order(sizes, error), "1", 1.96, beside=beside))
            others = "polaris: 7e-4 at 2.5 m, 2.7e-3 at 5 m"
            measures.append(
                Measure(f"error on the finest grid, {scheme}", error[-1], "1", 0.0, beside=others)
            )
            lines[scheme] = (sizes, np.array(error))
        lines["order 2"] = (sizes, errors[self.schemes[0]][0] * (sizes / sizes[0]) ** 2)
        panel = Panel("error after 6 h", "cell width (m)", "", lines, logarithmic=True)
        return Outcome(tuple(measures), (panel,))

    def _carried(self, bench: Bench, width: float, scheme: str):
        nx, nz = round(LENGTH / width), round(50 * 5.0 / width)
        grid = {"nx": nx, "ny": 1, "dx": width, "dy": width, "layers": [DEPTH / nz] * nz}
        model = bench.without("physics.tracer_advection").model(
            ocean("merry_go_round", grid, 60.0, {"tracer_advection": scheme})
        )
        edges = np.linspace(0.0, DEPTH, nz + 1)
        # What flows through a face is the difference of the streamfunction: exact.
        west = np.arange(nx) * width
        transport = np.diff(down(edges))[:, None, None] * -across(west)[None, None, :]
        u = scattered(model, transport, "u") * model.grid.mask_u
        v = u.with_data(u.data * 0)
        flow = u, Field(v.data, "v", Halo.of(model.physics.halo)) * model.grid.mask_v
        steps = round(HOURS * 3600.0 / (self.step * width / 5.0))
        carrier = Carrier(model, scheme, HOURS * 3600.0 / steps, flow)
        psi = down(0.5 * (edges[1:] + edges[:-1]))[:, None, None] * across(west + width / 2)
        tracer = 0.5 * (1 + np.tanh(2 * psi - 1))
        return carrier.carry(tracer, steps), tracer


__all__ = ["MerryGoRound"]
