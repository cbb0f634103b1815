"""``python -m benchmarks``: how fast the global ocean runs here, what it needs, and where its time
goes."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import machine

SECONDS_PER_YEAR = 365.25 * 86400.0


@dataclass
class Runner:
    """A measuring process (one core, or several ranks) and what it has told so far.

    Attributes:
        label: for tables. precision: float64 or float32. reproducible: the answer independent of
            the layout.
        ranks: 1: pinned to one core; more: under launch/mpirun.sh.
    """

    label: str
    precision: str
    reproducible: bool
    ranks: int = 1
    facts: dict = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    def __enter__(self) -> Runner:
        arguments = [
            "-m",
            "benchmarks.worker",
            "--precision",
            self.precision,
            "--born",
            repr(time.time()),
        ]
        env = machine.environment(self.reproducible)
        if self.ranks == 1:
            on_cpu = machine.accelerator() == "none" or env.get("JAX_PLATFORMS", "").startswith(
                "cpu"
            )
            core = sorted(os.sched_getaffinity(0))[-1] if on_cpu else None
            self._process = machine.pinned(arguments, env, core)
        else:
            self._process = machine.launched(self.ranks, arguments, env)
        self.facts |= self._hear()
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.stdin.write("quit\n")
            self._process.stdin.close()
            self._process.wait(60)

    def ask(self, words: str) -> dict:
        """Send one order and return the answer."""
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict:
        for line in self._process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        status = self._process.wait()
        raise SystemExit(
            f"benchmark {self.label}: the measuring process ended with status {status}"
        )

    def run(self, steps: int) -> None:
        """Time some steps."""
        got = self.ask(f"run {steps}")
        self.times.append(got["seconds"] / got["steps"])

    def result(self) -> dict:
        """All figures of this set-up."""
        facts = self.facts | self.ask("report")
        step, cells = statistics.median(self.times), facts["cells"]
        beyond = max(facts["peak_bytes"] - facts["imported_bytes"], 0)
        return facts | {
            "label": self.label,
            "precision": self.precision,
            "reproducible": self.reproducible,
            "ms_per_step": 1e3 * step,
            "ms_per_step_all": [1e3 * t for t in self.times],
            "cell_steps_per_s_per_core": cells / step / self.ranks,
            "years_per_day": facts["dt_s"] / step * 86400.0 / SECONDS_PER_YEAR,
            "peak_bytes_per_cell": facts["peak_bytes"] * self.ranks / cells,
            "model_bytes_per_cell": beyond * self.ranks / cells,
            "temp_bytes_per_cell": facts["temp_bytes"] * self.ranks / cells,
        }


def measure(precision: str, reproducible: bool, ranks: int, rounds: int, steps: int) -> list[dict]:
    """One core beside ``ranks`` ranks, in alternation; the speed-up is the median of the rounds'
    ratios."""
    name = f"{precision}, {'reproducible' if reproducible else 'fused multiply-add'}"
    with Runner(f"{name}, 1 core", precision, reproducible) as one:
        if ranks == 1:
            for _ in range(rounds):
                one.run(steps)
            return [one.result() | {"parts": one.ask("parts")}]
        with Runner(f"{name}, {ranks} ranks", precision, reproducible, ranks) as many:
            for _ in range(rounds):
                one.run(steps)
                many.run(steps)
            ratio = statistics.median(a / b for a, b in zip(one.times, many.times))
            return [one.result() | {"parts": one.ask("parts")}, many.result() | {"speed_up": ratio}]


def speed_table(results: list[dict]) -> Table:
    table = Table(title="global_4deg", title_justify="left")
    for head in (
        "set-up",
        "ms/step",
        "million cell-steps/s per core",
        "years/day",
        "first step (s)",
        "kB/cell at peak",
        "kB/cell temporary",
        "speed-up",
    ):
        table.add_column(head, justify="left" if head == "set-up" else "right")
    for r in results:
        table.add_row(
            r["label"],
            f"{r['ms_per_step']:.2f}",
            f"{r['cell_steps_per_s_per_core'] / 1e6:.2f}",
            f"{r['years_per_day']:.1f}",
            f"{r['first_step_s']:.1f}",
            f"{r['model_bytes_per_cell'] / 1e3:.2f}",
            f"{r['temp_bytes_per_cell'] / 1e3:.2f}",
            f"{r['speed_up']:.2f}" if "speed_up" in r else "",
        )
    return table


def parts_table(results: list[dict]) -> Table:
    names = ("eos", "mixing", "momentum", "free_surface", "tracers")
    table = Table(title="share of the step (each part compiled alone)", title_justify="left")
    for head in ("set-up", *names, "copy bandwidth (GB/s)", "bandwidth used"):
        table.add_column(head, justify="left" if head == "set-up" else "right")
    for r in results:
        if "parts" in r:
            p = r["parts"]
            traffic = (r["argument_bytes"] + r["output_bytes"]) / (r["ms_per_step"] * 1e-3)
            used = traffic / p["copy_bytes_per_s"]
            table.add_row(
                r["label"],
                *(f"{p[f'{n}_s'] / p['step_s']:.0%}" for n in names),
                f"{p['copy_bytes_per_s'] / 1e9:.1f}",
                f"{used:.0%}",
            )
    return table


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    p.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    p.add_argument("--ranks", type=int, default=2, help="ranks to compare with one core (1: none)")
    p.add_argument("--quick", action="store_true", help="few steps, float64 and reproducible alone")
    options = p.parse_args()
    # A fixed width: the table is read in log files, too.
    console, facts = Console(width=150), machine.describe()
    console.print(", ".join(f"{k}: {v}" for k, v in facts.items()))
    if facts["cores"] < options.ranks and facts["accelerator"] == "none":
        console.print(
            f"{options.ranks} ranks share {facts['cores']} core(s): their speed-up says nothing"
        )
    cases = [(precision, bits) for precision in ("float64", "float32") for bits in (True, False)]
    cases = cases[:1] if options.quick else cases
    rounds, steps = (3, 20) if options.quick else (9, 100)
    results = []
    for precision, reproducible in cases:
        results += measure(precision, reproducible, options.ranks, rounds, steps)
    console.print(speed_table(results))
    console.print(parts_table(results))
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
