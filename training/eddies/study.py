"""Train the contenders of the eddying channel and judge them on days that chose nothing.

    python training/eddies/study.py train OUTPUT [CONTENDER ...]
    python training/eddies/study.py errors OUTPUT
    python training/eddies/study.py forecasts OUTPUT
    python training/eddies/study.py climate OUTPUT [YEARS [CONTENDER ...]]
    python training/eddies/study.py end_to_end OUTPUT [YEARS]
    python training/eddies/study.py generalise OUTPUT

OUTPUT holds the truths (see truth.py) and a folder for each contender; trainings that are there are
left alone, and unfinished ones go on. Tables and figures are kept beside this script.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from channel import VARIABLES, Climate, arrays, differences
from runs import CONTENDERS, END_TO_END, GRIDS, HERE, contender, recipe

import dogcm

DAY = 86400.0
LEADS = (2, 4, 10, 20, 30)


def write(name: str, rows: list[dict]) -> None:
    """A small table beside this script."""
    with open(HERE / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        short = lambda v: f"{v:.4g}" if isinstance(v, float) else v
        writer.writerows({k: short(v) for k, v in r.items()} for r in rows)


def train(folder: Path, names: list[str]) -> None:
    """Trainings one after the other."""
    for name in names or main_contenders():
        own, chosen = folder / name, contender(folder, name)
        begun = any(own.glob("checkpoint_*.npz"))
        print(name, "goes on" if begun else "begins", flush=True)
        dogcm.train(chosen, own, resume=begun, overwrite=not begun)


def main_contenders() -> list[str]:
    """Those of the study but for the comparison of ways to train."""
    return [n for n in CONTENDERS if not n.startswith(END_TO_END)]


def trained(folder: Path) -> list[Path]:
    """Folders of the contenders that are trained, first those of :func:`main_contenders`."""
    last = {n: sum(s.updates for s in contender(folder, n).curriculum) for n in CONTENDERS}
    there = lambda n: (folder / n / f"checkpoint_{last[n]:08d}.npz").exists()
    return [folder / n for n in CONTENDERS if there(n)]


# ---- how much of the error a map could take
def errors(folder: Path) -> None:
    """Shares of the squared error of uncorrected forecasts: what the mean error of the training
    part takes away in the test part, as one number by latitude and as a map."""
    rows = []
    for km in GRIDS:
        setup = dogcm.build_training(recipe(folder, km), folder / f"errors_{km}")
        for lead in (2, 4, 10):
            fitted = forecast_errors(setup, setup.train, lead)
            tested = forecast_errors(setup, setup.test, lead)
            rows += shares(km, lead, fitted, tested, np.asarray(setup.model.vertical.dz))
    write("errors", rows)


def forecast_errors(setup, part, days: int, cases: int = 60) -> dict[str, np.ndarray]:
    """Errors (case, ...) of the uncorrected model, and of persistence as ``NAME_persistence``."""
    model, out = setup.model, {}
    steps = model.steps_in(days)
    chosen = np.linspace(0, part.count(steps) - 1, cases).round().astype(int)
    for index in np.unique(chosen):
        window = part.window(int(index), steps)
        start = arrays(window.state)
        model.state = window.state
        found = arrays(model.advance(steps))
        for name in VARIABLES:
            truth = np.asarray(window.values[name].interior)[-1]
            out.setdefault(name, []).append(found[name] - truth)
            out.setdefault(f"{name}_persistence", []).append(start[name] - truth)
    return {n: np.stack(v) for n, v in out.items()}


def shares(km: str, lead: int, fitted: dict, tested: dict, dz: np.ndarray) -> list[dict]:
    """A row for each variable: error and persistence, and what maps take away of the square."""
    rows = []
    for name in VARIABLES:
        e, fit = tested[name], fitted[name]
        whole = square(e, dz)
        fitted_map = fit.mean(0)
        by_latitude = fitted_map.mean(-1, keepdims=True)
        rows.append(
            {
                "grid": km,
                "lead_days": lead,
                "variable": name,
                "rmse": whole**0.5,
                "persistence": square(tested[f"{name}_persistence"], dz) ** 0.5,
                "share_latitude": 1 - square(e - by_latitude, dz) / whole,
                "share_map": 1 - square(e - fitted_map, dz) / whole,
                "by_chance": 1.0 / len(fit),
            }
        )
    return rows


def square(x: np.ndarray, dz: np.ndarray) -> float:
    """Mean square over cases and the ocean, layers by their thickness."""
    return float((x**2).mean() if x.ndim == 3 else (dz / dz.sum()) @ (x**2).mean((0, 2, 3)))


# ---- forecasts
def forecasts(folder: Path) -> None:
    """Scores of all contenders on the test part, with the spread of seeds."""
    first, *others = [p for p in trained(folder) if p.parent == folder]
    rows = dogcm.evaluate(first, days=max(LEADS), windows=24, against=others)
    name = contender(folder, first.name).name
    kept = [
        r | {"contender": name if r["contender"] == "trained" else r["contender"]}
        for r in rows
        if r["depth"] == "all" and r["lead_days"] in LEADS
    ]
    columns = ("variable", "lead_days", "contender", "cases", "rmse", "acc", "variance_ratio")
    write("forecasts", [{c: r[c] for c in columns} for r in kept])


# ---- climate
def climate(folder: Path, years: int, names: list[str]) -> None:
    """Free runs from the first day of the test part; each is kept in its contender's folder."""
    main = [p.name for p in trained(folder) if p.parent == folder]
    run_all_free(folder, years, names or ["uncorrected", *main])
    tabulate(folder, "climate", sorted(folder.glob("*/climate.npz")))


def run_all_free(folder: Path, years: int, names: list[str]) -> None:
    """The free runs that are not there yet."""
    for name in names:
        own = folder / name / "climate.npz"
        if own.exists():
            continue
        setup, chosen = contender_in(folder, name)
        own.parent.mkdir(exist_ok=True)
        np.savez(own, **run_free(chosen, setup, years))
        print(f"{name}: {years} years", flush=True)


def contender_in(folder: Path, name: str):
    """The setup and the model of a training; ``uncorrected`` is that of the first one trained."""
    plain = name == "uncorrected"
    setup, found = dogcm.contenders_in(trained(folder)[0] if plain else folder / name)
    (chosen,) = [c for c in found if c.name == ("uncorrected" if plain else "trained")]
    return setup, chosen


def run_free(c, setup, years: int) -> dict[str, np.ndarray]:
    """Means of every year of a free run, by name with a leading axis, and the last day's surface
    temperature; shorter where the run blows up."""
    dz, every = np.asarray(setup.model.vertical.dz), setup.every
    state, kept = setup.test.window(0, every).state, []
    for _ in range(years):
        one = Climate(dz)
        for _ in range(round(365 * DAY / (every * setup.model.physics.dt))):
            state = c.run(state, every)
            now = arrays(state)
            if not np.isfinite(now["eta"]).all():
                print(f"{c.name} blew up in year {len(kept) + 1}", flush=True)
                return together(kept, state)
            one.add(now)
        kept.append(one)
    return together(kept, state)


def together(kept: list[Climate], state) -> dict[str, np.ndarray]:
    """What a run leaves for tables and figures."""
    means = [one.means() for one in kept]
    found = {n: np.stack([m[n] for m in means]) for n in (means[0] if means else {})}
    series = np.concatenate([one.kinetic for one in kept]) if kept else np.zeros(0)
    return found | {"series": series, "surface": arrays(state)["temperature"][0]}


def truths(folder: Path) -> dict[str, Climate]:
    """The climate of the truth's test part, and of its training part."""
    setup = dogcm.build_training(recipe(folder), folder / "truth_50km")
    found = {}
    for name, part in (("truth", setup.test), ("truth, training part", setup.train)):
        found[name] = Climate(np.asarray(setup.model.vertical.dz))
        for number in range(part.records):
            _, seen, _ = part.record(number)
            found[name].add({n: np.asarray(seen[n].interior, float) for n in VARIABLES})
    return found


def tabulate(folder: Path, table: str, paths: list[Path]) -> None:
    """The table of free runs in these files: years 2 to 6, and 16 to 20 of longer ones."""
    found = truths(folder)
    truth = found["truth"].means()
    dz = found["truth"].dz
    part = found["truth, training part"]
    rows = [row("truth, training part", "1 to 2", part.means(), truth, dz)]
    kept = {"truth/series": found["truth"].kinetic, "truth/surface": found["truth"].last}
    kept |= {f"truth/{n}": v for n, v in truth.items()}
    for path in paths:
        with np.load(path) as data:
            run = {n: data[n] for n in data.files}
        for first, last in ((2, 6), (16, 20)):
            if len(run["eke"]) >= last:
                years = slice(first - 1, last)
                means = {n: run[n][years].mean(0) for n in truth}
                rows.append(row(path.parent.name, f"{first} to {last}", means, truth, dz))
                kept |= {f"{path.parent.name}/{n}": v for n, v in means.items() if first == 2}
        kept |= {f"{path.parent.name}/{n}": run[n] for n in ("series", "surface")}
    write(table, rows)
    np.savez(folder / f"{table}.npz", **kept)


def row(name: str, years: str, means: dict, truth: dict, dz) -> dict:
    """One line of the table: errors of the climate, and eddy kinetic energy over the truth's."""
    weight = dz / dz.sum()
    ratio = float(weight @ means["eke"] / (weight @ truth["eke"]))
    return {"contender": name, "years": years, "eke_ratio": ratio} | differences(means, truth, dz)


# ---- ways to train
def end_to_end(folder: Path, years: int) -> None:
    """Forecasts and free runs of what :data:`runs.END_TO_END` compares, as far as it is trained."""
    names = [f"{END_TO_END}/{p.name}" for p in trained(folder) if p.parent != folder]
    missing = [n for n in ("uncorrected", *names) if not (folder / n / "starts.npz").exists()]
    for name in missing:
        setup, chosen = contender_in(folder, name)
        found = errors_by_start(setup, chosen)
        (folder / name).mkdir(exist_ok=True)
        np.savez(folder / name / "starts.npz", **found)
        print(f"{name}: forecasts", flush=True)
    write(END_TO_END, compared(folder, ["uncorrected", *names]))
    if years:
        run_all_free(folder, years, ["uncorrected", *names])
        paths = [folder / n / "climate.npz" for n in ("uncorrected", *names)]
        tabulate(folder, f"{END_TO_END}_climate", [p for p in paths if p.exists()])


def errors_by_start(setup, chosen, cases: int = 24) -> dict[str, np.ndarray]:
    """Mean squared errors (start, lead) by variable of forecasts over the test part, and kinetic
    energy of eddies over the truth's as ``eke``."""
    every, dz, leads = setup.every, np.asarray(setup.model.vertical.dz), []
    last = setup.model.steps_in(max(LEADS))
    starts = np.linspace(0, setup.test.count(last) - 1, cases).round().astype(int)
    ends = [setup.model.steps_in(days) for days in LEADS]
    for index in starts:
        window = setup.test.window(int(index), last)
        truth = {n: np.asarray(window.values[n].interior, float) for n in VARIABLES}
        state, rows = window.state, []
        for record in range(last // every):
            state = chosen.run(state, every)
            if (record + 1) * every in ends:
                seen = arrays(state)
                true = {n: t[record] for n, t in truth.items()}
                row = {n: square((seen[n] - true[n])[None], dz) for n in VARIABLES}
                energies = [float(dz @ Climate(dz).of(a)["eke"]) for a in (seen, true)]
                rows.append(row | {"eke": energies[0] / energies[1]})
        leads.append(rows)
    return {n: np.array([[r[n] for r in rows] for rows in leads]) for n in leads[0][0]}


def compared(folder: Path, names: list[str], draws: int = 2000) -> list[dict]:
    """A row for each variable, lead and contender: its error, that of each seed, and its excess
    over the network's trained through the model, with a bootstrap interval over starts."""
    seeds: dict[str, list[dict]] = {}
    for name in names:
        with np.load(folder / name / "starts.npz") as data:
            own = Path(name).name.rstrip("_0123456789")
            seeds.setdefault(own, []).append({n: data[n] for n in data.files})
    drawn = np.random.default_rng(0).integers(0, 24, (draws, 24))
    root = lambda own, name, k: np.sqrt(
        np.mean([s[name][:, k] for s in seeds[own]], axis=0)[drawn].mean(1)
    )
    rows = []
    for name in VARIABLES:
        for k, days in enumerate(LEADS):
            for own, members in seeds.items():
                each = [float(np.sqrt(m[name][:, k].mean())) for m in members]
                excess = root(own, name, k) / root("network", name, k) - 1
                rows.append(
                    {
                        "variable": name,
                        "lead_days": days,
                        "contender": own,
                        "rmse": float(np.sqrt(np.mean([e**2 for e in each]))),
                        "by_seed": " ".join(f"{e:.4g}" for e in each),
                        "excess": float(excess.mean()),
                        "excess_low": float(np.quantile(excess, 0.025)),
                        "excess_high": float(np.quantile(excess, 0.975)),
                        "eke_ratio": float(np.mean([m["eke"][:, k].mean() for m in members])),
                    }
                )
    return rows


# ---- other grids
def generalise(folder: Path) -> None:
    """The network of 50 km on the other grids: its weights as they are, at its full strength and
    at that which errors of second order want."""
    rows = []
    for km in ("37km", "25km", "75km"):
        spacing = GRIDS[km]["grid.dx"] / 50e3
        own = {n: folder / f"{n}_{km}" for n in ("full_strength", "scaled")}
        for name, strength in (("full_strength", 1.0), ("scaled", spacing**2)):
            if not any(own[name].glob("checkpoint_*.npz")):
                changes = {"name": name, "corrector.strength": strength}
                start = {"weights": str(folder / "network_0"), "targets.validation": 0}
                chosen = recipe(folder, km, **changes, **start)
                dogcm.train(chosen, own[name], updates=0, overwrite=True)
        found = dogcm.evaluate(own["scaled"], days=30, windows=12, against=[own["full_strength"]])
        columns = ("variable", "lead_days", "contender", "rmse", "acc", "variance_ratio")
        for r in found:
            if r["depth"] == "all" and r["lead_days"] in LEADS:
                who = "scaled" if r["contender"] == "trained" else r["contender"]
                rows.append({"grid": km} | {c: r[c] for c in columns} | {"contender": who})
        write("generalise", rows)


def main(argv: list[str]) -> None:
    """See the module."""
    jobs = {"errors": errors, "forecasts": forecasts, "generalise": generalise}
    if len(argv) >= 2 and argv[0] == "train":
        train(Path(argv[1]), argv[2:])
    elif len(argv) >= 2 and argv[0] == "climate":
        climate(Path(argv[1]), int(argv[2]) if len(argv) > 2 else 6, argv[3:])
    elif len(argv) in (2, 3) and argv[0] == END_TO_END:
        end_to_end(Path(argv[1]), int(argv[2]) if len(argv) > 2 else 0)
    elif len(argv) == 2 and argv[0] in jobs:
        jobs[argv[0]](Path(argv[1]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
