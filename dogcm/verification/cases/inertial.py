"""Water that was pushed once turns with the inertial period."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.verification.cases.base import (
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

F0, SPEED = 1e-4, 0.1  # s-1, m s-1


class InertialPeriod(Case):
    """Inertial oscillation: its period, and how much of its speed is left after ten days."""

    kind: ClassVar[str] = "inertial_period"
    title: ClassVar[str] = "inertial period"
    source: ClassVar[str] = "Gill (1982), section 8.3; E3SM's polaris, single_column/inertial"
    step: float = option(1200.0, "s", "time step", gt=0)
    days: float = option(10.0, "d", "length", gt=1)
    rows: int = option(200, "cells", "cells between the walls", ge=8)

    def run(self, bench: Bench) -> Outcome:
        grid = {"nx": 4, "ny": self.rows, "dx": 1e5, "dy": 1e5, "f0": F0, "periodic": True}
        config = ocean(
            "inertial_period",
            {**grid, "layers": [100.0, 100.0]},
            self.step,
            {"momentum_advection": "none"},
        )
        model = bench.model(config)
        # Two layers against each other: walls and sea level do not feel them.
        put(model, u=SPEED * np.array([1.0, -1.0])[:, None, None])
        time, turned = [], []
        for k in range(round(self.days * 86400 / self.step)):
            model.advance(1)
            u, v = (everywhere(model, n)[0, self.rows // 2, 1] for n in ("u", "v"))
            time.append((k + 1) * self.step)
            turned.append(complex(u, v))
        phase = np.unwrap(np.angle(turned))
        period, exact = -2 * np.pi / slope(time, phase), 2 * np.pi / F0
        # The stepped flow goes round an ellipse, whose size is its invariant.
        u, v = turned[-1].real, turned[-1].imag
        left = np.sqrt(u * u + v * v + F0 * self.step * u * v) / SPEED
        beside = "2 pi / f = 17.45 h; polaris allows 5 %"
        measures = (
            Measure("period over 2 pi / f", float(period / exact), "1", 0.95, 1.05, beside),
            Measure("speed left", float(left), "1", 0.99, 1.01, "1: nothing rubs", own=True),
        )
        days = np.array(time) / 86400
        lines = {"u": (days, np.real(turned)), "v": (days, np.imag(turned))}
        return Outcome(measures, (Panel("velocity (m s-1)", "time (days)", "", lines),))


__all__ = ["InertialPeriod"]
