"""What a gradient of the global ocean costs, in units of the run that it differentiates.

    python -m benchmarks.gradient                                  # one rank
    launch/mpirun.sh -n 2 python -m benchmarks.gradient            # two

The forward run and its value-and-gradient take turns in one process, so that a change of clock hits
both. The gradient is with respect to all physical parameters and the initial temperature, with
per-step checkpoints. ``--cpu-time`` counts processor time instead of the clock's: on a machine that
others use too, on one rank. ``--memory`` instead asks the compiler what a gradient of 1000 steps
needs, in units of the state.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import jax.numpy as jnp

import dogcm
from dogcm.learning.checkpointing import measure_memory, predict_memory, tree_bytes
from dogcm.learning.rollout import rollout


class Case:
    """A loss of a rollout of the model, as a function of temperature and parameters."""

    def __init__(self, precision: str, experiment: str):
        self.model = dogcm.Model(experiment, {"run.precision": precision})
        self.model.advance(160)
        self.start = self.model.state.temperature.data

    def loss(self, start, params, forcing, grid, steps: int, checkpoint: str):
        """This rank's share of the mean of sea level squared and of the surface temperature."""
        m = self.model
        state = m.state.replace(
            tracers=m.state.tracers | {"temperature": m.state.temperature.with_data(start)}
        )
        last, _ = rollout(m.step, state, params, forcing, grid, steps, checkpoint=checkpoint)
        weight = grid.area_c.interior * grid.wet_c.interior * 1e-14
        return jnp.sum(weight * (last.eta.interior**2 + last.temperature.interior[0]))

    def functions(self, steps: int, checkpoint: str):
        loss = lambda s, p, f, g: self.loss(s, p, f, g, steps, checkpoint)
        return loss, jax.value_and_grad(loss, argnums=(0, 1))

    @property
    def arguments(self):
        return self.start, self.model.params, self.model.forcing, self.model.grid


def cost(case: Case, steps: int, rounds: int, clock=time.perf_counter) -> dict[str, float]:
    """Medians of seconds per step, and of the ratio."""
    comm = case.model.comm
    forward, gradient = (jax.jit(f) for f in case.functions(steps, "step"))

    def seconds(function) -> float:
        comm.barrier()
        start = clock()
        jax.block_until_ready(function(*case.arguments))
        comm.barrier()
        return (clock() - start) / steps

    compile_s = seconds(gradient) * steps
    seconds(forward)
    pairs = [(seconds(forward), seconds(gradient)) for _ in range(rounds)]
    return {
        "forward": statistics.median(f for f, _ in pairs),
        "gradient": statistics.median(g for _, g in pairs),
        "ratio": statistics.median(g / f for f, g in pairs),
        "compile": compile_s,
    }


def memory(case: Case, steps: int) -> str:
    """Temporary memory of a gradient, measured by the compiler and predicted."""
    state = tree_bytes(case.model.state)
    of = {
        n: measure_memory(case.functions(n, "nested")[1], *case.arguments) / state
        for n in (1, steps)
    }
    predicted = predict_memory("nested", steps, 1.0, of[1])
    return (
        f"one state: {state / 1e6:.2f} MB; one step's gradient: {of[1]:.1f} states; {steps} steps, "
        f"nested checkpoints: "
        f"{of[steps]:.1f} states (predicted {predicted:.1f})"
    )


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m benchmarks.gradient", description=__doc__)
    p.add_argument("--experiment", default="global_4deg")
    p.add_argument("--precisions", nargs="+", default=["float64", "float32"])
    p.add_argument("--steps", type=int, default=16)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--cpu-time", action="store_true", help="count processor time")
    p.add_argument(
        "--memory",
        action="store_true",
        help="memory of a gradient of 1000 steps instead of its time",
    )
    options = p.parse_args()
    for precision in options.precisions:
        case = Case(precision, options.experiment)
        name = f"{options.experiment}, {precision}, {case.model.comm.size} rank(s)"
        if options.memory:
            text = memory(case, 1000)
        else:
            c = cost(
                case,
                options.steps,
                options.rounds,
                time.process_time if options.cpu_time else time.perf_counter,
            )
            text = (
                f"forward {1e3 * c['forward']:.2f} ms/step, value and gradient "
                f"{1e3 * c['gradient']:.2f} ms/step: "
                f"{c['ratio']:.2f} times the forward run (first call with compilation "
                f"{c['compile']:.0f} s)"
            )
        if case.model.comm.rank == 0:
            print(f"{name}: {text}", flush=True)


if __name__ == "__main__":
    main()
