"""What it costs to reach the equilibrium of tracers in the 4-degree ocean, by several methods.

    python training/equilibrium/study.py circulation     # spin the ocean up and record a year
    python training/equilibrium/study.py solve age anderson   # one problem, one method
    python training/equilibrium/study.py brute phosphorus     # years one by one, beside a solver
    python training/equilibrium/study.py draw            # table.csv and residuals.png from all

All methods start from the same state, take the same map of a year and are judged by the same norm.
Each solve writes its residuals against model-year equivalents to ``residuals/``.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path

import matplotlib
import numpy as np

import dogcm
from dogcm import spinup
from dogcm.spinup import Costs
from dogcm.tracers import region

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
FILES = HERE / "residuals"
YEARS = 15  # of the ocean before the year that is recorded
# Steps of tracers that are longer than those of momentum (s): 14 years, then one and the record.
ASYNCHRONOUS = ((14, 86400.0), (1, 21600.0))
TRACERS = {
    "age": {"kind": "ideal_age"},
    "cycle": {"kind": "phosphorus"},
    "c14": {"kind": "radiocarbon"},
}
PROBLEMS = {"age": ["age"], "phosphorus": ["phosphate", "dop"], "radiocarbon": ["c14"]}
METHODS = {
    "direct": spinup.DirectIntegration(),
    "anderson": spinup.Anderson(window=30),
    "anderson_preconditioned": spinup.Anderson(window=20, lumped=1),
    "newton_differences": spinup.NewtonKrylov(derivative="differences"),
    "newton_exact": spinup.NewtonKrylov(),
}
TOLERANCES = (1e-4, 1e-6, 1e-8)
FREE_YEARS = 100
STEADY = 1e-3  # per mille a year, OCMIP-2
# Longitudes, latitudes and depths (m).
DEEP = {
    "North Pacific": ((150.0, 240.0), (20.0, 60.0), (1500.0, 4000.0)),
    "North Atlantic": ((280.0, 350.0), (20.0, 60.0), (1500.0, 4000.0)),
}
_ENOUGH = 500  # rows of a curve, besides its first hundred
_FEWEST = 1000.0  # years of direct integration before they are extrapolated


def ocean(tracers: dict | None = None, step: float = 0.0) -> dogcm.Model:
    """global_4deg with isoneutral diffusion and Gent-McWilliams eddies; ``step``: of tracers (s),
    where it is longer than that of momentum."""
    steps = {"time.step": step, "time.momentum_step": 5400.0} if step else {}
    physics = {"physics.eddies": "isoneutral", "physics.tracer_advection": "dst3_limited"}
    return dogcm.Model("global_4deg", physics | {"tracers": tracers or {}} | steps)


def circulation(folder: Path, asynchronous: bool) -> None:
    """Spin the ocean up, without tracers, and record its next year."""
    folder.mkdir(parents=True, exist_ok=True)
    state = None
    for years, step in ASYNCHRONOUS if asynchronous else ((YEARS, 0.0),):
        model = ocean(step=step)
        model.state = model.state if state is None else state
        for year in range(years):
            model.advance(round(365 * 86400.0 / model.physics.dt))
            speed = float(np.abs(np.asarray(model.state.u.interior)).max())
            print(f"year {year + 1} of {years}, at most {speed:.2f} m/s", flush=True)
        state = model.state
    spinup.write_circulation(folder / "circulation.npz", spinup.record(model), model)


def solve(folder: Path, problem: str, method: str, most_years: float, free: int) -> None:
    """One row of the table: residuals to a file, and ``free`` years after the solve."""
    model = ocean(TRACERS)
    year = spinup.read_circulation(folder / "circulation.npz", model)
    rows: list[spinup.Iteration] = []

    def report(row: spinup.Iteration) -> None:
        rows.append(row)
        if len(rows) % 10 == 1 or method != "direct":
            print(row, flush=True)
        if len(rows) % 50 == 0:
            _write(problem, method, rows)

    options = dict(circulation=year, most_years=most_years, report=report)
    try:
        found = dogcm.equilibrium(
            model, PROBLEMS[problem], METHODS[method], min(TOLERANCES), **options
        )
    except spinup.EquilibriumError as error:
        print(error)
        _write(problem, method, rows)
        return
    _write(problem, method, rows)
    if not free:
        return
    after = spinup.free_years(found, free)
    costs = found.problem.costs
    lines = {
        f"largest residual of {free} free years": max(after),
        "residual of the last of them": after[-1],
        "seconds of a year": costs.year,
        "seconds of a derivative": float(np.median(costs.seconds.get("tangent", [np.nan]))),
        "seconds of the preconditioner's set-up": costs.setup,
        "steps of a year": found.problem.cycle.steps * year.periods,
    }
    for name, field in found.tracers.items():
        wet = np.asarray(model.grid.mask_c.interior) > 0
        volume = np.asarray(found.problem.space.volume)[wet]
        values = np.asarray(field.interior)[wet]
        lines[f"mean {name}"] = float((values * volume).sum() / volume.sum())
        lines[f"least {name}"], lines[f"largest {name}"] = float(values.min()), float(values.max())
    if problem == "radiocarbon":
        lines |= radiocarbon(model, found)
    with open(FILES / f"{problem}_{method}_state.csv", "w", newline="") as file:
        csv.writer(file).writerows([("what", "value"), *lines.items()])


def brute(folder: Path, problem: str, most_years: float, tolerance: float = 1e-6) -> None:
    """Years one by one until none changes the state by more than ``tolerance``, or so many; beside
    what a solver finds from the same start. Goes on after an interruption."""
    rows: list[spinup.Iteration] = []

    def report(row: spinup.Iteration) -> None:
        rows.append(row)
        if len(rows) % 100 == 1:
            print(row, flush=True)
            _write(problem, "direct", rows)

    def found(method: str, tolerance: float, **options) -> dict:
        model = ocean(TRACERS)
        year = spinup.read_circulation(folder / "circulation.npz", model)
        options |= dict(circulation=year, most_years=most_years)
        try:
            dogcm.equilibrium(model, PROBLEMS[problem], METHODS[method], tolerance, **options)
        except spinup.EquilibriumError as error:
            print(error)
        volume = np.asarray((model.grid.h_c * model.grid.area_c).interior)
        tracers = {n: np.asarray(model.state.tracers[n].interior) for n in PROBLEMS[problem]}
        return {"volume": volume} | tracers

    stepped = found("direct", tolerance, report=report, folder=folder / f"brute_{problem}")
    _write(problem, "direct", rows)
    solved = found("anderson_preconditioned", min(TOLERANCES))
    volume = solved.pop("volume")
    lines: dict[str, float] = {"years": rows[-1].years, "residual": rows[-1].residual}
    for name, wanted in solved.items():
        rms = lambda x: math.sqrt(float((volume * x**2).sum() / volume.sum()))
        lines[f"{name}: difference, over its size"] = rms(stepped[name] - wanted) / rms(wanted)
        away = stepped[name] - wanted
        lines[f"{name}: largest difference"] = float(np.abs(away).max())
        share = (volume * away**2).sum((1, 2)) / (volume * away**2).sum()
        lines |= {f"{name}: part of it in layer {k + 1}": x for k, x in enumerate(share)}
    with open(FILES / f"{problem}_brute.csv", "w", newline="") as file:
        csv.writer(file).writerows([("what", "value"), *lines.items()])


def radiocarbon(model: dogcm.Model, found: spinup.Equilibrium) -> dict[str, float]:
    """OCMIP-2's criterion, and means over parts of the deep ocean (per mille)."""
    space = found.problem.space
    x, volume = space.stacked(found.tracers), np.asarray(space.volume)
    drift = np.abs(np.asarray(found.problem.year(x) - x)[0])
    lines = {
        f"part of the volume that drifts by less than {STEADY} per mille a year": float(
            volume[drift < STEADY].sum() / volume.sum()
        ),
        "largest drift": float(drift.max()),
        "mean of the first layer": float(np.average(np.asarray(x)[0, 0], weights=volume[0])),
    }
    for name, (lon, lat, depth) in DEEP.items():
        here = volume * np.asarray(region(model.grid, lat, lon, depth).interior)
        lines[f"mean of the deep {name}"] = float(np.average(np.asarray(x)[0], weights=here))
    return lines


def _write(problem: str, method: str, rows: list) -> None:
    """Residuals to a file; of a solve that went on after an interruption below those before it."""
    FILES.mkdir(exist_ok=True)
    path, before = FILES / f"{problem}_{method}.csv", []
    if path.exists() and rows[0].number:
        with open(path, newline="") as file:
            before = [r for r in list(csv.reader(file))[1:] if int(r[0]) < rows[0].number]
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("iteration", "years", "residual", "maps", "derivatives"))
        out.writerows(before)
        every = max(len(rows) // _ENOUGH, 1)
        for n, r in enumerate(rows):
            if n < 100 or n % every == 0 or r is rows[-1]:
                out.writerow(
                    (r.number, f"{r.years:.2f}", f"{r.residual:.4e}", r.states, r.tangents)
                )


def read(path: Path) -> np.ndarray:
    """Years and residuals of one solve."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([(float(r["years"]), float(r["residual"])) for r in rows])


def years_to(curve: np.ndarray, tolerance: float, direct: bool) -> tuple[float, bool]:
    """Model-year equivalents to a tolerance, and whether it was reached.

    What direct integration did not reach is extrapolated by the decay over its last quarter.
    """
    below = np.flatnonzero(curve[:, 1] <= tolerance)
    if len(below):
        return float(curve[below[0], 0]), True
    if not direct or len(curve) < 40 or curve[-1, 0] < _FEWEST:
        return math.inf, False
    late = curve[3 * len(curve) // 4 :]
    slope = np.polyfit(late[:, 0], np.log(late[:, 1]), 1)[0]
    if slope >= 0:
        return math.inf, False
    return float(curve[-1, 0] + math.log(tolerance / curve[-1, 1]) / slope), False


def draw() -> None:
    """The table and the figure."""
    figure, axes = plt.subplots(1, len(PROBLEMS), figsize=(15, 4.5), squeeze=False)
    with open(HERE / "table.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("problem", "method", *(f"years to {t:g}" for t in TOLERANCES), "least"))
        for problem, axis in zip(PROBLEMS, axes[0]):
            for method in METHODS:
                path = FILES / f"{problem}_{method}.csv"
                if not path.exists():
                    continue
                curve = read(path)
                cells = []
                for tolerance in TOLERANCES:
                    years, reached = years_to(curve, tolerance, method == "direct")
                    plain = f"{years:.0f}" if math.isfinite(years) else "not reached"
                    cells.append(plain if reached or plain[0] == "n" else f"{plain} (extrapolated)")
                out.writerow((problem, method, *cells, f"{curve[:, 1].min():.2e}"))
                axis.loglog(curve[:, 0], curve[:, 1], ".-", ms=3, label=method.replace("_", " "))
            axis.set(title=problem, xlabel="model-year equivalents", ylabel="residual")
            axis.grid(alpha=0.3)
            axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(HERE / "residuals.png", dpi=110)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("circulation", "solve", "brute", "draw"))
    parser.add_argument("problem", nargs="?", choices=sorted(PROBLEMS))
    parser.add_argument("method", nargs="?", choices=sorted(METHODS))
    parser.add_argument("--folder", type=Path, default=Path("output/equilibrium"))
    parser.add_argument(
        "--asynchronous", action="store_true", help="circulation: longer steps of tracers"
    )
    parser.add_argument("--most-years", type=float, default=600.0)
    parser.add_argument("--free-years", type=int, default=FREE_YEARS, help="after the solve")
    parser.add_argument("--cpu", action="store_true", help="count time of the CPU, not of the wall")
    options = parser.parse_args()
    if options.cpu:
        Costs.clock = time.process_time
    if options.what == "circulation":
        circulation(options.folder, options.asynchronous)
    elif options.what == "solve":
        solve(
            options.folder, options.problem, options.method, options.most_years, options.free_years
        )
    elif options.what == "brute":
        brute(options.folder, options.problem, options.most_years)
    else:
        draw()


if __name__ == "__main__":
    main()
