"""``python -m benchmarks.in_turns OLD NEW``: two checkouts of dogcm timed in turns.

For each round a process of each checkout builds ``global_4deg``, compiles, steps it forward and
takes a gradient. What is printed are the medians of both, the median of the ratios of the rounds,
and the spread of these ratios, which says what the machine can resolve.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

FIGURES = ("set-up and first step", "forward step", "first gradient", "gradient step")
WORKER = """
import json, sys, time
import jax, jax.numpy as jnp
import dogcm
start = time.perf_counter()
model = dogcm.Model("global_4deg", json.loads(sys.argv[1]))
jax.block_until_ready(model.advance(1))
found = {"set-up and first step": time.perf_counter() - start}
steps = int(sys.argv[2])
best = []
for _ in range(7):
    start = time.perf_counter()
    jax.block_until_ready(model.advance(steps))
    best.append((time.perf_counter() - start) / steps)
found["forward step"] = sorted(best)[3]
from dogcm.learning.rollout import rollout
def loss(params):
    last, _ = rollout(model.step, model.state, params, model.forcing, model.grid, 8,
                      checkpoint="step")
    return jnp.sum(last.temperature.interior ** 2)
go = jax.jit(jax.value_and_grad(loss))
start = time.perf_counter()
jax.block_until_ready(go(model.params))
found["first gradient"] = time.perf_counter() - start
best = []
for _ in range(7):
    start = time.perf_counter()
    jax.block_until_ready(go(model.params))
    best.append((time.perf_counter() - start) / 8)
found["gradient step"] = sorted(best)[3]
print("FOUND" + json.dumps(found))
"""


def measure(checkout: Path, settings: str, steps: int) -> dict[str, float]:
    """Seconds of each figure, by one process on one core."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment["DOGCM_CACHE"] = "off"
    command = [sys.executable, "-c", WORKER, settings, str(steps)]
    ran = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout.rpartition("FOUND")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="forward steps a call")
    parser.add_argument("--old-settings", default="{}", help="overrides as JSON")
    parser.add_argument("--new-settings", default="{}", help="overrides as JSON")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rounds = []
    for number in range(chosen.rounds):
        pair = [
            (chosen.old.resolve(), chosen.old_settings),
            (chosen.new.resolve(), chosen.new_settings),
        ]
        order = pair if number % 2 == 0 else pair[::-1]
        found = {place: measure(place, settings, chosen.steps) for place, settings in order}
        rounds.append([found[place] for place, _ in pair])
        print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr)
    print("| figure | old | new | new / old | lowest and highest ratio |\n|---|---|---|---|---|")
    for figure in FIGURES:
        old, new = ([r[k][figure] for r in rounds] for k in (0, 1))
        ratios = sorted(b / a for a, b in zip(old, new))
        unit, scale = ("ms", 1e3) if "step" in figure and "first" not in figure else ("s", 1.0)
        print(
            f"| {figure} | {scale * statistics.median(old):.2f} {unit} "
            f"| {scale * statistics.median(new):.2f} {unit} "
            f"| {statistics.median(ratios):.3f} | {ratios[0]:.3f}, {ratios[-1]:.3f} |"
        )


if __name__ == "__main__":
    main()
