"""How far back a gradient through the global ocean can be trusted.

For rollouts of growing length: the derivative of a loss along one direction, by reverse mode and by
central differences on a ladder of steps, and the norm of the gradient. Writes ``table.csv`` and
``horizon.png`` here.

    python training/gradient_horizon/study.py
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

import dogcm

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
LENGTHS = (1, 10, 48, 240, 960)
LADDER = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
SPIN_UP_DAYS = 30
PARAMETERS = (
    "lateral_viscosity",
    "lateral_diffusivity",
    "vertical_diffusivity",
    "bottom_drag_quadratic",
)


class Study:
    """The 4-degree ocean after a month, and a loss that every part of it has a share in."""

    def __init__(self):
        self.model = m = dogcm.Model("global_4deg", {"physics.tracer_advection": "dst3_limited"})
        m.advance(m.steps_in(SPIN_UP_DAYS))
        wet = m.grid.wet_c.interior
        self.area = m.grid.area_c.interior * wet / jnp.sum(m.grid.area_c.interior * wet)
        self.start = m.state.temperature.data
        # A smooth pattern of one kelvin that fades over the upper kilometre.
        lon, lat = (jnp.deg2rad(x.interior) for x in (m.grid.lon_c, m.grid.lat_c))
        self.pattern = (
            jnp.cos(2 * lon) * jnp.cos(lat) * jnp.exp(-m.grid.z_c / 500.0) * m.grid.mask_c.interior
        )

    def loss(self, temperature, log_parameters, steps: int):
        """Area mean of the squared change of sea surface temperature (K2) and of sea level
        (dm2)."""
        m = self.model
        state = m.state.replace(
            tracers=m.state.tracers | {"temperature": m.state.temperature.with_data(temperature)}
        )
        params = m.params | {n: m.params[n] * jnp.exp(v) for n, v in log_parameters.items()}
        last, _ = dogcm.rollout(
            m.step, state, params, m.forcing, m.grid, steps, checkpoint="nested"
        )
        warmer = last.temperature.interior[0] - self.start[0]
        higher = 10 * (last.eta.interior - m.state.eta.interior)
        return jnp.sum(self.area * (warmer**2 + higher**2))

    def row(self, steps: int) -> dict:
        none = {n: jnp.zeros(()) for n in PARAMETERS}
        value_and_gradient = jax.jit(
            jax.value_and_grad(lambda t, p: self.loss(t, p, steps), argnums=(0, 1))
        )
        value, (of_start, of_parameters) = jax.block_until_ready(
            value_and_gradient(self.start, none)
        )
        began = time.perf_counter()
        jax.block_until_ready(value_and_gradient(self.start, none))
        seconds = time.perf_counter() - began
        forward = jax.jit(lambda t, p: self.loss(t, p, steps))
        along_state = lambda h: forward(self.start + h * self.pattern, none)
        along_parameters = lambda h: forward(self.start, {n: h * jnp.ones(()) for n in PARAMETERS})
        slope_state = float(jnp.vdot(of_start, self.pattern))
        slope_parameters = float(sum(of_parameters.values()))
        return {
            "steps": steps,
            "days": steps * self.model.physics.dt / 86400,
            "loss": float(value),
            "norm_of_state_gradient": float(jnp.linalg.norm(of_start)),
            "state_slope": slope_state,
            "state_difference": self.best(along_state, slope_state),
            "parameter_slope": slope_parameters,
            "parameter_difference": self.best(along_parameters, slope_parameters),
            "seconds": round(seconds, 2),
        }

    @staticmethod
    def best(function, slope: float) -> float:
        """Smallest relative disagreement of a central difference on the ladder with ``slope``."""
        differences = [float(function(h) - function(-h)) / (2 * h) for h in LADDER]
        return min(abs(d - slope) for d in differences) / abs(slope)


def draw(rows: list[dict], path: Path) -> None:
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    days = [r["days"] for r in rows]
    left.loglog(days, [r["norm_of_state_gradient"] for r in rows], "o-")
    left.set(
        xlabel="length of the rollout (days)",
        ylabel="norm of the gradient with respect to temperature",
    )
    right.loglog(days, [r["state_difference"] for r in rows], "o-", label="initial temperature")
    right.loglog(days, [r["parameter_difference"] for r in rows], "s-", label="physical parameters")
    right.set(
        xlabel="length of the rollout (days)", ylabel="relative disagreement with differences"
    )
    right.legend()
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="STEPS")
    parser.add_argument("--output", type=Path, default=HERE)
    options = parser.parse_args()
    study, rows = Study(), []
    for steps in options.lengths:
        rows.append(study.row(steps))
        print("  ".join(f"{k}={v:.4g}" for k, v in rows[-1].items()), flush=True)
        with open(options.output / "table.csv", "w", newline="") as f:
            writer = csv.DictWriter(f, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    draw(rows, options.output / "horizon.png")


if __name__ == "__main__":
    main()
