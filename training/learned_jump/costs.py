"""What it costs to reach the equilibrium with and without the jump.

    python training/learned_jump/costs.py all test_33     # every method, one member
    python training/learned_jump/costs.py short           # preconditioned Anderson, all members

writes residuals against model-year equivalents to ``residuals/MEMBER_METHOD.csv``; of the years as
they are, from age 0 and from the jump, also the error.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from pathlib import Path

import jax.numpy as jnp
from ensemble import FOLDER, with_age
from train import examples_of, problem_with, together

import dogcm
from dogcm import spinup

HERE = Path(__file__).resolve().parent
FILES = HERE / "residuals"
TOLERANCE = 1e-6
# Years of direct integration, from age 0 and from the jump.
DIRECT = {"direct": 400, "jump_direct": 150}
# After which a method is given up: years of the map, a derivative counted as two.
MOST = {"anderson": 250.0, "newton_differences": 150.0, "newton_exact": 150.0}
METHODS = {
    "anderson": spinup.Anderson(window=30),
    "preconditioned": spinup.Anderson(window=20, lumped=1),
    "newton_differences": spinup.NewtonKrylov(derivative="differences"),
    "newton_exact": spinup.NewtonKrylov(),
}


def the_jump(folder: Path, name: str) -> spinup.JumpWeights:
    """The networks of all seeds."""
    return together(sorted((folder / "weights").glob(f"{name}_?.npz")))


def solve(problem, model, member: str, name: str, method: spinup.Method) -> None:
    """One solve from age 0, unless it has been done."""
    path = FILES / f"{member}_{name}.csv"
    if path.exists():
        return
    age = model.state.tracers["age"]
    none = {"age": age.with_data(jnp.zeros_like(age.data))}
    model.state = dataclasses.replace(model.state, tracers={**model.state.tracers, **none})
    rows: list[spinup.Iteration] = []
    most = MOST.get(name.removeprefix("jump_"), 200.0)
    options = dict(circulation=problem, most_years=most, report=rows.append)
    try:
        dogcm.equilibrium(model, "age", method, TOLERANCE, **options)
    except spinup.EquilibriumError as error:
        print(f"  {error}")
    FILES.mkdir(exist_ok=True)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("iteration", "years", "residual", "maps", "derivatives"))
        for r in rows:
            out.writerow((r.number, f"{r.years:.2f}", f"{r.residual:.4e}", r.states, r.tangents))
    costs = problem.costs
    print(f"{member} {name}: {rows[-1]}; a year {costs.year:.2f} s", flush=True)


def integrate(problem, example, member: str, weights: spinup.JumpWeights) -> None:
    """The years as they are, from age 0 and from the jump after 20 of them."""
    space, truth = problem.space, jnp.asarray(example.equilibrium, jnp.float64)
    states = [jnp.asarray(s, jnp.float64) for s in example.states]
    starts = {"direct": (states[0], 0), "jump_direct": (None, weights.config.years)}
    for name, (x, before) in starts.items():
        path = FILES / f"{member}_{name}.csv"
        if path.exists():
            continue
        if x is None:
            x = spinup.predict(problem, states, weights).state
        FILES.mkdir(exist_ok=True)
        with open(path, "w", newline="") as file:
            out = csv.writer(file)
            out.writerow(("years", "residual", "error"))
            for n in range(DIRECT[name] + 1):
                new = problem.year(x)
                if n % 5 == 0 or n < 20:
                    residual, error = space.residual(new - x, new), space.sizes(x - truth)[0]
                    out.writerow((before + n, f"{residual:.4e}", f"{error:.4g}"))
                x = new
        print(f"{member} {name}: residual {residual:.2e}, error {error:.1f} years", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("all", "short"))
    parser.add_argument("members", nargs="*")
    parser.add_argument("--jump", default="jump", help="name of the weights")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    # Years and derivatives are counted, the rest is time of the CPU: the machine may be shared.
    spinup.Costs.clock = time.process_time
    model = with_age()
    told = examples_of(options.folder, ("test", "beyond", "warmer"), model)
    problem = problem_with(told, model)
    weights = the_jump(options.folder, options.jump)
    names = list(METHODS) if options.what == "all" else ["preconditioned"]
    for member in options.members or list(told):
        example = told[member]
        problem.carry_by(example.circulation, example.params)
        if options.what == "all":
            integrate(problem, example, member, weights)
        for name in names:
            jump = spinup.LearnedJump(weights, then=METHODS[name])
            solve(problem, model, member, f"jump_{name}", jump)
            solve(problem, model, member, name, METHODS[name])


if __name__ == "__main__":
    main()
