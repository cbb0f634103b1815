"""``python -m benchmarks.closures``: what each closure adds to a step, all set-ups taking turns on one core."""

from __future__ import annotations

import argparse
import statistics
import time

EDDIES = {"physics.isoneutral": True, "parameters.lateral_diffusivity": 0.0}
# Name to settings; each ratio is to the first.
SETUPS = {
    "as it comes": {},
    "GM-Redi": EDDIES,
    "TKE": {"physics.vertical_mixing": "tke"},
    "GM-Redi and TKE": EDDIES | {"physics.vertical_mixing": "tke"},
    "KPP": {"physics.vertical_mixing": "kpp"},
    "GM-Redi, Visbeck": EDDIES | {"physics.eddy_coefficient": "visbeck"},
    "Smagorinsky": {"physics.viscosity_scheme": "smagorinsky"},
    "biharmonic Leith": {"physics.viscosity_scheme": "leith", "physics.viscosity_form": "biharmonic"},
    "vorticity weno5": {"physics.vorticity_scheme": "weno5"},
    "tracers weno5": {"physics.tracer_advection": "weno5"},
    "tracers ppm": {"physics.tracer_advection": "ppm"},
    "C-D scheme": {"physics.coriolis": "cd"},
    "implicit free surface": {"physics.coriolis": "cd", "time.free_surface": "implicit"},
}  # fmt: skip


def measure(experiment: str, precision: str, names, steps: int, rounds: int) -> dict[str, list[float]]:
    """Processor seconds of a step, by set-up, one number a round."""
    import jax

    from dogcm.decomp import SerialCommunicator
    from dogcm.experiments.model import Model

    models = {}
    for name in names:
        models[name] = Model(experiment, {"run.precision": precision, **SETUPS[name]}, comm=SerialCommunicator())
        jax.block_until_ready(models[name].advance(steps))
    times = {name: [] for name in names}
    for _ in range(rounds):
        for name, model in models.items():
            start = time.process_time()
            model.advance(steps)
            jax.block_until_ready(model.state)
            times[name].append((time.process_time() - start) / steps)
    cells = model.vertical.nz * model.horizontal.shape[0] * model.horizontal.shape[1]
    return {"cells": cells, **times}


def table(found: dict) -> str:
    """Median milliseconds, cell-steps per second and the median of the ratios to the first set-up."""
    cells, base = found.pop("cells"), next(iter(found.values()))
    rows = ["| set-up | ms/step | million cell-steps/s | times the first |", "|---|---|---|---|"]
    for name, times in found.items():
        seconds = statistics.median(times)
        ratio = statistics.median(a / b for a, b in zip(times, base))
        rows.append(f"| {name} | {seconds * 1e3:.2f} | {cells / seconds / 1e6:.2f} | {ratio:.2f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closures", description=__doc__)
    parser.add_argument("--experiment", default="global_4deg")
    parser.add_argument("--precision", default="float64", choices=["float32", "float64"])
    parser.add_argument("--only", nargs="*", choices=list(SETUPS), help="these set-ups; the first is what others are compared with")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    print(table(measure(a.experiment, a.precision, a.only or list(SETUPS), a.steps, a.rounds)))


if __name__ == "__main__":
    main()
