"""Circulations and equilibria of ideal age to learn from and to test on.

    python training/learned_jump/ensemble.py        # goes on where it was stopped

From one common state of the 4-degree ocean, circulations with other winds, restoring, mixing and
eddies; then, for each member, the first 20 years of age from 0 and its equilibrium.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dogcm
from dogcm import spinup

FOLDER = Path("output/learned_jump")
STEP, MOMENTUM_STEP = 86400.0, 5400.0  # s: tracers run ahead of momentum
COMMON, OWN = 5, 2  # years together, and each for itself before the one that is recorded
PERIODS, LARGEST_STEP = 5, 4.3
FIRST_YEARS, TOLERANCE = 20, 3e-6
TRAIN, VALIDATION, TEST = range(7), range(7, 9), range(9, 11)
WARMER = {11: 2.0, 12: 4.0}  # K, out of distribution
SOLVER = spinup.Anderson(window=20, lumped=1)
# Middle and half range; the last four of the logarithm.
DESIGN = {
    "wind": (1.0, 0.25),
    "southern_wind": (0.0, 0.3),
    "sst_north": (0.0, 2.0),
    "sst_south": (0.0, 1.0),
    "sss_north": (0.0, 0.4),
    "sss_south": (0.0, 0.2),
    "gm_diffusivity": (800.0, np.log(2.0)),
    "isoneutral_diffusivity": (1000.0, np.log(1.5)),
    "vertical_diffusivity": (3e-5, np.log(2.0)),
    "sst_restoring_time": (60 * 86400.0, np.log(1.5)),
}
_IN_LOGARITHM = list(DESIGN)[6:]
# So that a part of them is of use: train, validation, test, and so on.
ORDER = (0, 1, 7, 9, 2, 3, 10, 4, 8, 12, 5, 11, 6)
# Of the tracer alone: ends of their ranges, in the logarithm.
TRACER_RANGE = {"vertical_diffusivity": (1e-5, 1e-4), "isoneutral_diffusivity": (500.0, 2000.0)}
BEYOND = ((2e-4, 1000.0), (5e-6, 1000.0), (3e-5, 4000.0))


@dataclass(frozen=True)
class Member:
    """One equilibrium.

    Attributes:
        name: of its file. split: train, validation, test, beyond (parameters) or warmer.
        parts: circulations and their shares; more than one: their mixture.
        vertical, isoneutral: diffusivities of the tracer (m2 s-1).
    """

    name: str
    split: str
    parts: tuple[tuple[int, float], ...]
    vertical: float
    isoneutral: float


def circulations() -> dict[int, dict[str, float]]:
    """What is changed in each circulation: a Latin hypercube, and two warmer ones."""
    rng = np.random.default_rng(2026)
    count = len(TRAIN) + len(VALIDATION) + len(TEST)
    rows = [(rng.permutation(count) + rng.random(count)) / count * 2 - 1 for _ in DESIGN]
    out = {}
    for n in range(count):
        out[n] = {
            name: float(
                middle * np.exp(half * row[n]) if name in _IN_LOGARITHM else middle + half * row[n]
            )
            for (name, (middle, half)), row in zip(DESIGN.items(), rows)
        }
    middle = {name: m for name, (m, _) in DESIGN.items()}
    return out | {n: middle | {"warming": w} for n, w in WARMER.items()}


def members() -> list[Member]:
    """All members."""
    rng = np.random.default_rng(2027)

    def drawn() -> tuple[float, float]:
        ends = [np.log(TRACER_RANGE[n]) for n in TRACER_RANGE]
        return tuple(float(np.exp(rng.uniform(*e))) for e in ends)

    out: list[Member] = []

    def add(split: str, parts, pair) -> None:
        out.append(Member(f"{split}_{len(out):02d}", split, tuple(parts), *pair))

    for c in TRAIN:
        for _ in range(2):
            add("train", [(c, 1.0)], drawn())
        for _ in range(2 if c else 0):
            other, share = int(rng.integers(c)), float(rng.uniform(0.25, 0.75))
            add("train", [(c, share), (other, 1.0 - share)], drawn())
    for split, those, each in (("validation", VALIDATION, 2), ("test", TEST, 3)):
        for c in those:
            for _ in range(each):
                add(split, [(c, 1.0)], drawn())
    for pair in BEYOND:
        add("beyond", [(TEST[0], 1.0)], pair)
    for c in WARMER:
        add("warmer", [(c, 1.0)], (3e-5, 1000.0))
    return out


def in_order() -> list[Member]:
    """All members, in the order in which they are made."""
    return sorted(members(), key=lambda m: max(ORDER.index(n) for n, _ in m.parts))


def ocean(tracers: dict | None = None) -> dogcm.Model:
    """global_4deg with isoneutral diffusion and Gent-McWilliams eddies, in asynchronous steps."""
    return dogcm.Model(
        "global_4deg",
        {
            "physics.eddies": "isoneutral",
            "physics.tracer_advection": "dst3_limited",
            "time.step": STEP,
            "time.momentum_step": MOMENTUM_STEP,
            "tracers": tracers or {},
        },
    )


def changed(model: dogcm.Model, change: dict[str, float]):
    """Forcing and parameters of one circulation."""
    records = dict(model.forcing.records)
    lat = lambda f: model.grid.lat_c.crop(f.halo).data
    south = lambda at, f: 0.5 * (1.0 - jnp.tanh((lat(f) - at) / 8.0))
    for name in ("taux", "tauy"):
        f = records[name]
        factor = change["wind"] * (1.0 + change["southern_wind"] * south(-35.0, f))
        records[name] = f.with_data(f.data * factor)
    for name, key in (("sst", "sst"), ("sss", "sss")):
        f = records[name]
        more = change[f"{key}_north"] * (1.0 - south(45.0, f))
        more = more + change[f"{key}_south"] * south(-50.0, f)
        records[name] = f.with_data(f.data + more)
    sst = records["sst"]
    warmer = sst.data + change.get("warming", 0.0)
    records["sst"] = sst.with_data(jnp.maximum(warmer, -1.9))
    given = {n: jnp.asarray(change[n], jnp.result_type(model.params[n])) for n in _IN_LOGARITHM}
    return dataclasses.replace(model.forcing, records=records), model.params | given


class Circulations:
    """Makes and reads recorded years."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.changes = circulations()
        self._ocean: dogcm.Model | None = None
        self._common = None

    def path(self, n: int) -> Path:
        """The file of one."""
        return self.folder / f"circulation_{n:02d}.npz"

    def make(self, n: int) -> None:
        """Make one, unless it is there."""
        if self.path(n).exists():
            return
        model = self._spun_up()
        start = time.perf_counter()
        plain = model.forcing, model.params
        model.state = jax.tree.map(jnp.copy, self._common)
        model.forcing, model.params = changed(model, self.changes[n])
        for _ in range(OWN):
            model.advance(round(365 * 86400.0 / STEP))
        year = spinup.record(model, PERIODS)
        speed = float(np.abs(np.asarray(model.state.u.interior)).max())
        spinup.write_circulation(self.path(n), year, model)
        model.forcing, model.params = plain
        print(f"circulation {n}: {speed:.2f} m/s, {time.perf_counter() - start:.0f} s", flush=True)

    def _spun_up(self) -> dogcm.Model:
        if self._ocean is None:
            self._ocean = model = ocean()
            for _ in range(COMMON):
                model.advance(round(365 * 86400.0 / STEP))
            self._common = jax.tree.map(jnp.copy, model.state)
        return self._ocean

    def read(self, member: Member, model: dogcm.Model) -> spinup.Circulation:
        """The circulation of a member: one, or the mixture of two (transports of a mixture
        converge to what its sea level rises by, as those of each part do)."""
        years = []
        for n, _ in member.parts:
            self.make(n)
            years.append(spinup.read_circulation(self.path(n), model))
        shares = [share for _, share in member.parts]
        mean = lambda *x: sum(s * a for s, a in zip(shares, x))
        return jax.tree.map(mean, *years) if len(years) > 1 else years[0]

    def gm(self, member: Member) -> float:
        """Gent-McWilliams diffusivity of its circulation (m2 s-1)."""
        return sum(share * self.changes[n]["gm_diffusivity"] for n, share in member.parts)


def with_age() -> dogcm.Model:
    """The ocean with the tracer."""
    return ocean({"age": {"kind": "ideal_age"}})


def set_up(problem: spinup.Problem, member: Member, year, gm: float) -> None:
    """Turn a problem into that of a member; what is compiled stays."""
    values = {
        "vertical_diffusivity": member.vertical,
        "isoneutral_diffusivity": member.isoneutral,
        "gm_diffusivity": gm,
    }
    problem.carry_by(year, values)


def solved(problem: spinup.Problem, model: dogcm.Model, start) -> dict[str, np.ndarray]:
    """The first years from age 0, and the equilibrium."""
    x = jnp.zeros_like(start)
    states = [x]
    for _ in range(FIRST_YEARS):
        x = problem.year(x)
        states.append(x)
    found = dogcm.equilibrium(model, "age", SOLVER, TOLERANCE, circulation=problem)
    wide = lambda f: np.asarray(f, np.float32)
    return {
        "years": np.stack([wide(s[0]) for s in states]),
        "equilibrium": wide(found.tracers["age"].interior),
        "residual": np.asarray(found.residual),
        "spent": np.asarray(found.years),
        "seconds": np.asarray(found.history[-1].seconds),
        "second_of_a_year": np.asarray(problem.costs.year),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model, these = with_age(), Circulations(folder)
    problem = None
    for member in in_order():
        path = folder / f"{member.name}.npz"
        if path.exists():
            continue
        year = these.read(member, model)
        if problem is None:
            settings = spinup.Settings(largest_step=LARGEST_STEP)
            problem = spinup.problem_of(model, "age", year, settings)
        set_up(problem, member, year, these.gm(member))
        out = solved(problem, model, problem.space.stacked(model.state.tracers))
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **out)
        partial.rename(path)
        print(
            f"{member.name}: mean {out['equilibrium'].mean():.1f}, residual {out['residual']:.1e}, "
            f"{out['spent']:.0f} model-year equivalents, {out['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
