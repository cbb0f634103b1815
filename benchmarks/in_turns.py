"""``python -m benchmarks.in_turns OLD NEW``: two checkouts of dogcm timed in turns.

For each round a process of each checkout builds ``global_4deg``, compiles, and takes a gradient.
Then both wait on the same core, and step and differentiate in turns, a block of each at a time, so
that a machine that is slow for a while is slow for both. Times are those of the processor. What is
printed are medians, the median of the ratios of the rounds, and their spread, which says what
the machine can resolve; a round's ratio is the median of those of its blocks.
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
BLOCKS = 15
WORKER = """
import json, sys, time
start = time.process_time()
import jax, jax.numpy as jnp
import dogcm
model = dogcm.Model("global_4deg", json.loads(sys.argv[1]))
jax.block_until_ready(model.advance(1))
steps, length = int(sys.argv[2]), 8
def answer(value):
    print("FOUND" + json.dumps(value), flush=True)
answer(time.process_time() - start)
from dogcm.learning.rollout import rollout
def loss(params):
    last, _ = rollout(model.step, model.state, params, model.forcing, model.grid, length,
                      checkpoint="step")
    return jnp.sum(last.temperature.interior ** 2)
start = time.process_time()
go = jax.jit(jax.value_and_grad(loss))
jax.block_until_ready(go(model.params))
answer(time.process_time() - start)
for word in sys.stdin:
    start = time.process_time()
    if word.strip() == "forward":
        jax.block_until_ready(model.advance(steps))
        answer((time.process_time() - start) / steps)
    else:
        jax.block_until_ready(go(model.params))
        answer((time.process_time() - start) / length)
"""


class Worker:
    """A process of one checkout.

    Attributes:
        first: seconds of set-up with the first step, and of the first gradient.
    """

    def __init__(self, checkout: Path, settings: str, steps: int):
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        environment["DOGCM_CACHE"] = "off"
        command = [sys.executable, "-c", WORKER, settings, str(steps)]
        self._process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.first = self._found(), self._found()

    def _found(self) -> float:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            _, mark, value = line.partition("FOUND")
            if mark:
                return json.loads(value)
        raise SystemExit(f"{self._process.args!r} ended with status {self._process.wait()}")

    def time(self, what: str) -> float:
        """Seconds of a ``forward`` or a ``gradient`` step."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._found()

    def end(self) -> None:
        self._process.communicate()


def one_round(pair: list[tuple[Path, str]], steps: int, turned: bool) -> dict[str, list[tuple]]:
    """Seconds of both, pair by pair, for each figure."""
    places = (1, 0) if turned else (0, 1)
    workers: dict[int, Worker] = {m: Worker(*pair[m], steps) for m in places}
    found: dict[str, list[tuple]] = {
        "set-up and first step": [(workers[0].first[0], workers[1].first[0])],
        "first gradient": [(workers[0].first[1], workers[1].first[1])],
    }
    for what in ("forward", "gradient"):
        blocks = []
        for _ in range(BLOCKS):
            seconds = {m: workers[m].time(what) for m in places}
            blocks.append((seconds[0], seconds[1]))
        found[f"{what} step"] = blocks
    for w in workers.values():
        w.end()
    return found


def table(rounds: list[dict[str, list[tuple]]]) -> str:
    """Medians and ratios, as rows of Markdown."""
    lines = [
        "| figure | old | new | new / old | lowest and highest ratio |",
        "|---|---|---|---|---|",
    ]
    median = statistics.median
    for figure in FIGURES:
        old, new = (median(p[m] for r in rounds for p in r[figure]) for m in (0, 1))
        ratios = sorted(median(p[1] / p[0] for p in r[figure]) for r in rounds)
        unit, scale = ("ms", 1e3) if "step" in figure and "first" not in figure else ("s", 1.0)
        lines.append(
            f"| {figure} | {scale * old:.2f} {unit} | {scale * new:.2f} {unit} "
            f"| {median(ratios):.3f} | {ratios[0]:.3f}, {ratios[-1]:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="forward steps a block")
    parser.add_argument("--old-settings", default="{}", help="overrides as JSON")
    parser.add_argument("--new-settings", default="{}", help="overrides as JSON")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pair = [
        (chosen.old.resolve(), chosen.old_settings),
        (chosen.new.resolve(), chosen.new_settings),
    ]
    rounds = []
    for number in range(chosen.rounds):
        rounds.append(one_round(pair, chosen.steps, turned=number % 2 == 1))
        print(f"round {number + 1} of {chosen.rounds}", file=sys.stderr)
    print(table(rounds))


if __name__ == "__main__":
    main()
