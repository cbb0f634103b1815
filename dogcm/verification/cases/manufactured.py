"""A flow that is prescribed, and driven by exactly the forces that it needs."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import option
from dogcm.field import Field
from dogcm.verification.cases.base import (
    GRAVITY,
    Bench,
    Case,
    Measure,
    Outcome,
    Panel,
    everywhere,
    ocean,
    order,
    put,
)

SIZE, DEPTH, F0 = 1e7, 1000.0, 1e-4  # m, m, s-1
K, L = 4 * np.pi / SIZE, 4 * np.pi / SIZE  # m-1
OMEGA = np.sqrt(GRAVITY * DEPTH * (K * K + L * L))  # s-1
ETA, PSI, HOURS = 1.0, 1e8, 10.0  # m, m2 s-1, h


def sea_level(x, y, t):
    """m"""
    return ETA * jnp.sin(K * x - OMEGA * t) * jnp.cos(L * y)


def velocity(x, y, t):
    """u and v (m s-1): the transport that sea level needs, and one without divergence."""
    phase, eta = K * x - OMEGA * t, sea_level(x, y, t)
    along = OMEGA / K * eta - PSI * L * jnp.sin(phase) * jnp.cos(L * y)
    return along / (DEPTH + eta), PSI * K * jnp.cos(phase) * jnp.sin(L * y) / (DEPTH + eta)


def force(x, y, t):
    """Accelerations (m s-2) that make the flow a solution of the shallow-water equations."""
    u, v = velocity(x, y, t)
    ones, zero = jnp.ones_like(x), jnp.zeros_like(x)
    at = (x, y, jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape))
    d_x, d_y, d_t = (
        jax.jvp(velocity, at, d)[1]
        for d in ((ones, zero, zero), (zero, ones, zero), (zero, zero, ones))
    )
    eta_x, eta_y = (jax.jvp(sea_level, at, d)[1] for d in ((ones, zero, zero), (zero, ones, zero)))
    return (
        d_t[0] + u * d_x[0] + v * d_y[0] - F0 * v + GRAVITY * eta_x,
        d_t[1] + u * d_x[1] + v * d_y[1] + F0 * u + GRAVITY * eta_y,
    )


class ManufacturedSolution(Case):
    """Manufactured solution of the nonlinear shallow-water equations: order of convergence in
    space and time together.

    That of Bishnu et al. lies in a doubly periodic sea. This model has walls to the north and
    south, so the wave has nodes there, and its transport is such that sea level needs no source.
    """

    kind: ClassVar[str] = "manufactured_solution"
    title: ClassVar[str] = "manufactured solution"
    source: ClassVar[str] = (
        "after Bishnu et al. (2024), doi:10.1029/2022MS003545; E3SM's polaris, "
        "manufactured_solution"
    )
    cells: list[int] = option(lambda: [50, 100, 200], "1", "cells along each side", min_length=2)
    step: float = option(600.0, "s", "time step with 50 cells", gt=0)

    def run(self, bench: Bench) -> Outcome:
        errors = {"sea level": [], "flow": []}
        for n in self.cells:
            bench.say(f"manufactured solution: {n} cells")
            for name, error in zip(errors, self._errors(bench, n)):
                errors[name].append(error)
        sizes = SIZE / 1e3 / np.array(self.cells)
        beside = "E3SM's polaris asks for 1.8"
        measures = [
            Measure(f"order, {name}", order(sizes, error), "1", 1.8, beside=beside)
            for name, error in errors.items()
        ]
        lines = {name: (sizes, np.array(error)) for name, error in errors.items()}
        lines["order 2"] = (sizes, errors["flow"][0] * (sizes / sizes[0]) ** 2)
        panel = Panel("relative error after 10 h", "cell width (km)", "", lines, logarithmic=True)
        return Outcome(tuple(measures), (panel,))

    def _errors(self, bench: Bench, n: int) -> tuple[float, float]:
        """Relative errors of sea level and of velocity at the end."""
        width = SIZE / n
        count = round(HOURS * 3600.0 / (self.step * 50 / n))
        step = HOURS * 3600.0 / count
        grid = {"nx": n, "ny": n, "dx": width, "dy": width, "f0": F0, "periodic": True}

        def driven(state, params, now, grid):
            x, y = (f.crop(0).data * 1e3 for f in (grid.lon_c, grid.lat_c))
            middle = state.time + 0.5 * step
            along = force(x - width / 2, y, middle)[0]
            across = force(x, y - width / 2, middle)[1]
            own = lambda a, at: Field(a[None].astype(state.u.dtype), at)
            return {"u": own(along, "u"), "v": own(across, "v")}

        config = ocean("manufactured_solution", {**grid, "layers": [DEPTH]}, step)
        model = bench.model(config, corrector=driven)
        x, y = np.meshgrid((np.arange(n) + 0.5) * width, (np.arange(n) + 0.5) * width)

        def exact(t):
            return {
                "eta": np.asarray(sea_level(x, y, t)),
                "u": np.asarray(velocity(x - width / 2, y, t)[0])[None],
                "v": np.asarray(velocity(x, y - width / 2, t)[1])[None],
            }

        put(model, **exact(0.0))
        model.advance(count)
        found, wanted = {n: everywhere(model, n) for n in ("eta", "u", "v")}, exact(HOURS * 3600.0)
        off = {n: ((found[n] - wanted[n]) ** 2).sum() for n in found}
        size = {n: (wanted[n] ** 2).sum() for n in found}
        flow = (off["u"] + off["v"]) / (size["u"] + size["v"])
        return float(np.sqrt(off["eta"] / size["eta"])), float(np.sqrt(flow))


__all__ = ["ManufacturedSolution"]
