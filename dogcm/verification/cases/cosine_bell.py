"""A bell that solid-body rotation carries once around the sphere, obliquely to the grid."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dogcm.components import option
from dogcm.setups.regridding import points
from dogcm.verification.cases.base import Bench, Case, Measure, Outcome, Panel, order
from dogcm.verification.cases.carried import Carrier, from_streamfunction, relative_error

TILT, REACH, RADIUS = np.deg2rad(30.0), np.deg2rad(27.0), 1.0 / 3.0  # radians
DAYS, EARTH = 24.0, 6.371e6  # d, m


def turned(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude (radians) about the axis of the flow, which is tilted."""
    x, y, z = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    across, along = np.cos(TILT) * x + np.sin(TILT) * z, np.cos(TILT) * z - np.sin(TILT) * x
    return np.arcsin(np.clip(along, -1, 1)), np.arctan2(y, across)


class CosineBell(Case):
    """Cosine bell: order of convergence after one turn of 24 days around the sphere.

    The axis is tilted by 30 degrees against that of the grid, so that no line of the grid follows
    the flow. Beyond 27 degrees from its equator, where the bell never is, the flow stops, which
    keeps it off the grid's poles.
    """

    kind: ClassVar[str] = "cosine_bell"
    title: ClassVar[str] = "cosine bell on the sphere"
    source: ClassVar[str] = (
        "Williamson et al. (1992), doi:10.1016/S0021-9991(05)80016-6; E3SM's polaris, cosine_bell"
    )
    cells: list[int] = option(lambda: [90, 180], "1", "cells around the sphere", min_length=2)
    schemes: list[str] = option(
        lambda: ["dst3", "dst3_limited", "dst3_split", "ppm", "weno5"],
        "1",
        "kinds of tracer advection",
    )
    courant: float = option(0.25, "1", "Courant number at the equator", gt=0, le=0.5)

    def run(self, bench: Bench) -> Outcome:
        errors: dict[str, list[float]] = {s: [] for s in self.schemes}
        for n in self.cells:
            for scheme in self.schemes:
                bench.say(f"cosine bell: {scheme}, {n} cells")
                found, exact, volume = self._carried(bench, n, scheme)
                errors[scheme].append(relative_error(found, exact, volume))
        sizes = 360.0 / np.array(self.cells)
        measures, lines = [], {}
        for scheme, error in errors.items():
            name = f"order, {scheme}"
            beside = "E3SM's polaris asks for 1.8"
            measures.append(Measure(name, order(sizes, error), "1", 1.8, beside=beside))
            about = f"error on the finest grid, {scheme}"
            measures.append(Measure(about, error[-1], "1", 0.0, beside="no published value used"))
            lines[scheme] = (sizes, np.array(error))
        lines["order 2"] = (sizes, errors[self.schemes[0]][0] * (sizes / sizes[0]) ** 2)
        panel = Panel("error after one turn", "cell width (degrees)", "", lines, logarithmic=True)
        return Outcome(tuple(measures), (panel,))

    def _carried(self, bench: Bench, n: int, scheme: str):
        config = {
            "name": "cosine_bell",
            "grid": {"nx": n, "ny": n * 4 // 9, "lat": (-80, 80), "layers": [100.0]},
            "bathymetry": {"source": "flat", "depth": 100.0},
            "initial": {"source": "profile"},
            "forcing": {"source": "none"},
            "physics": {"tracer_advection": scheme},  # for its halo
        }
        model = bench.without("physics.tracer_advection").model(config)
        lat, lon = (np.deg2rad(a) for a in points(model.horizontal, "q"))
        around = turned(lat, lon)[0]
        speed = 2 * np.pi * EARTH / (DAYS * 86400.0)
        psi = -speed * EARTH * np.sin(np.clip(around, -REACH, REACH))
        steps = round(n / self.courant)
        carrier = Carrier(model, scheme, DAYS * 86400.0 / steps, from_streamfunction(model, psi))
        lat, lon = (np.deg2rad(a) for a in points(model.horizontal, "c"))
        north, east = turned(lat, lon)
        away = np.arccos(np.clip(np.cos(north) * np.cos(east), -1, 1))
        bell = np.where(away < RADIUS, 0.5 * (1 + np.cos(np.pi * away / RADIUS)), 0.0)[None]
        return carrier.carry(bell, steps), bell, np.cos(lat)[None]


__all__ = ["CosineBell"]
