"""The equilibrium of a model's tracers: the one entry, which drives a method to its tolerance."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from dogcm.components import ConfigError
from dogcm.components.names import did_you_mean
from dogcm.dynamics.interfaces import TracerAdvection
from dogcm.field import Field
from dogcm.learning.saving import CheckpointError, load_checkpoint, save_checkpoint
from dogcm.spinup.circulation import Circulation, in_double, record, water_of
from dogcm.spinup.cycle import cycle_of, outflow
from dogcm.spinup.errors import EquilibriumError
from dogcm.spinup.methods import Method, method_of
from dogcm.spinup.problem import Problem
from dogcm.spinup.space import space_of

STATE_FILE = "equilibrium.npz"
# Share of a cell's water that may leave it within a step.
_OUTFLOW = 0.7
_DAY = 86400.0


@dataclass(frozen=True)
class Settings:
    """How the map of a year is made, and how long a solve may take.

    Attributes:
        largest_step: longest step of tracers (days); shorter where the flow asks for it.
        advection: a :class:`dogcm.TracerAdvection` instead of the model's own.
        periods: of the year, see :func:`dogcm.spinup.record`.
        most_years: years of the map, a derivative counted as two, after which it is given up.
        folder: where the state is kept after every iteration, to go on after an interruption.
        bounded: no tracer falls below the least that it can be (0, most of them).
        report: called with each :class:`Iteration`.
    """

    largest_step: float = 5.0
    advection: TracerAdvection | None = None
    periods: int = 12
    most_years: float = 2000.0
    folder: str | Path | None = None
    bounded: bool = True
    report: Callable[[Iteration], None] | None = None

    def __post_init__(self):
        for name in ("largest_step", "most_years"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"equilibrium: {name} has to be above 0")
        if self.periods < 1:
            raise ConfigError(f"equilibrium: periods: {self.periods} is no number of periods")


@dataclass(frozen=True)
class Iteration:
    """One line of progress.

    Attributes:
        number: of the iteration. years: model-year equivalents spent. residual: what a year changes
            the state by, over its size; of the group of tracers where it is largest. seconds: since
            the start. states, tangents: years of the map and derivatives so far.
    """

    number: int
    years: float
    residual: float
    seconds: float
    states: int
    tangents: int

    def __str__(self) -> str:
        return (
            f"{self.number:4d}  residual {self.residual:.3e}  {self.years:8.1f} model-year "
            f"equivalents ({self.states} years, {self.tangents} derivatives)  {self.seconds:.0f} s"
        )


@dataclass
class Equilibrium:
    """What :func:`equilibrium` found.

    Attributes:
        tracers: by name, (nz, y, x) on this tile. residual: see :class:`Iteration`. years:
            model-year equivalents. history: all iterations. problem: with its map, for
            :func:`dogcm.spinup.sensitivity` and :func:`free_years`.
    """

    tracers: dict[str, Field]
    residual: float
    years: float
    history: list[Iteration] = field(default_factory=list)
    problem: Problem | None = None

    def years_to(self, tolerance: float) -> float:
        """Model-year equivalents at which the residual was below ``tolerance``; inf: never."""
        return next((i.years for i in self.history if i.residual <= tolerance), math.inf)


def equilibrium(
    model,
    variables: str | Sequence[str],
    method: str | Method = "newton",
    tolerance: float = 1e-6,
    circulation: Circulation | Problem | None = None,
    **settings: Any,
) -> Equilibrium:
    """The state of passive tracers that a year brings back, which millennia of steps would reach.

    The solve starts from the model's state and ends in it: the model then holds the equilibrium, on
    any number of ranks (every rank calls this).

    Args:
        model: :class:`dogcm.Model`. variables: passive tracers; those of the same kind come along.
        method: ``newton``, ``anderson``, ``direct``, or an object of :mod:`dogcm.spinup`.
        tolerance: what a year may still change, over the size of the tracer (volume-weighted root
            mean squares; tracers of one kind together).
        circulation: what carries them (:func:`dogcm.spinup.record`, :func:`dogcm.spinup.frozen`);
            None: the model's next year is recorded. Or a :class:`Problem` of an earlier solve
            (``found.problem``), which is compiled then; its settings of the map are kept.
        settings: see :class:`Settings`.

    Raises:
        ConfigError: unknown variable, method or setting. EquilibriumError: there is none (forcing
            that is not periodic, a tracer without sink, a singular Jacobian), or it was not
            reached; the model then holds the best state so far.
    """
    chosen = _settings(settings)
    if not 0 < tolerance < 1:
        raise ConfigError(f"equilibrium: a tolerance of {tolerance}: between 0 and 1")
    way = method_of(method)
    problem = _again(model, variables, circulation, chosen)
    drive = _Drive(model, problem, chosen, tolerance)
    try:
        drive.run(way)
    finally:
        drive.hand_over()
    spent = drive.history[-1].years
    return Equilibrium(drive.tracers, drive.residual, spent, drive.history, problem)


def problem_of(
    model,
    variables: str | Sequence[str],
    circulation: Circulation | None = None,
    settings: Settings | None = None,
) -> Problem:
    """The map of a year of a model's tracers, ready for solvers; arguments as for
    :func:`equilibrium`."""
    settings = settings or Settings()
    names = _names(model, variables)
    circulation = circulation or record(model, settings.periods)
    grid, params = in_double(model.grid), in_double(model.params)
    circulation = in_double(circulation)
    steps = _steps(model, names, circulation, params, grid, settings)
    cycle = cycle_of(model, names, steps, circulation.periods, settings.advection)
    space = space_of(model, names, circulation, grid)
    problem = Problem(cycle, space, circulation, params, grid, model.decomposition)
    problem.bounded = settings.bounded
    _require_same_every_year(model, problem)
    return problem


def _again(model, variables, circulation, settings: Settings) -> Problem:
    """The problem of an earlier solve, as if new, or a new one."""
    if not isinstance(circulation, Problem):
        return problem_of(model, variables, circulation, settings)
    names = _names(model, variables)
    if circulation.space.names != names:
        raise ConfigError(
            f"equilibrium: a problem of {', '.join(circulation.space.names)} was given to solve "
            f"for {', '.join(names)}"
        )
    circulation.start_again()
    circulation.bounded = settings.bounded
    return circulation


def _settings(given: dict) -> Settings:
    known = list(Settings.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise ConfigError(f"equilibrium: no setting {name!r}{did_you_mean(name, known)}")
    return Settings(**given)


def _names(model, variables) -> tuple[str, ...]:
    """The tracers of all kinds that ``variables`` belong to, in the model's order."""
    wanted = [variables] if isinstance(variables, str) else list(variables)
    known = [v.name for v in model.passive.variables]
    for name in wanted:
        if name in ("temperature", "salinity"):
            raise ConfigError(
                f"equilibrium: {name} moves the water that carries it, which is taken as given "
                "here; passive tracers alone can be solved for"
            )
        if name not in known:
            there = f"; there are {', '.join(known)}" if known else "; declare some under tracers"
            raise ConfigError(
                f"equilibrium: no passive tracer {name!r}{did_you_mean(name, known) or there}"
            )
    if not wanted:
        raise ConfigError("equilibrium: name at least one passive tracer")
    kinds = [[v.name for v in k.variables()] for k in model.passive.kinds]
    return tuple(n for names in kinds if set(names) & set(wanted) for n in names)


def _steps(model, names, circulation, params, grid, settings: Settings) -> int:
    """Steps in each period, so many that no cell loses too much of its water in one."""
    cycle = cycle_of(model, names, 1, circulation.periods)
    rate = jnp.max(model.jit(lambda *a: outflow(cycle, *a))(params, circulation, grid))
    fastest = float(model.jit(model.halos.pmax)(rate))
    if not math.isfinite(fastest):
        raise EquilibriumError("the recorded circulation is not finite")
    length = circulation.year / circulation.periods
    longest = min(settings.largest_step * _DAY, _OUTFLOW / max(fastest, 1e-300))
    return max(1, math.ceil(length / longest))


def _require_same_every_year(model, problem: Problem) -> None:
    """Refuse sources that follow the calendar: a year later they have to be the same."""
    cycle, grid, c = problem.cycle, problem.grid, problem.circulation
    tracers = {n: model.state.tracers[n].astype(jnp.float64) for n in problem.space.names}
    tracers |= water_of(c, 0)
    owners: list[str] = []

    def sources(time):
        dt = cycle.physics.dt
        found = cycle.passive.sources(tracers, grid.h_c, problem.params, grid, time, dt)
        parts = found.rates, found.contents, found.surface
        listed = [(name, f.data) for part in parts for name, f in part.items()]
        owners[:] = [name for name, _ in listed]
        return [array for _, array in listed]

    at = model.jit(sources)
    wrong = set()
    for share in (0.1, 0.35, 0.6, 0.85):
        pair = [at(c.start + (n + share) * c.year) for n in (0, 1)]
        for name, a, b in zip(owners, *pair):
            size = float(jnp.max(jnp.abs(a), initial=0.0))
            if float(jnp.max(jnp.abs(a - b), initial=0.0)) > 1e-9 * (size + 1e-300):
                wrong.add(name)
    found = sorted(n for n in problem.space.names if model.comm.any(n in wrong))
    if found:
        raise EquilibriumError(
            f"the sources of {', '.join(found)} are not the same a year later, so the map is not "
            "periodic and there is no equilibrium"
        )


class _Drive:
    """Drives a method until it is good enough, reports, and keeps what it has."""

    def __init__(self, model, problem: Problem, settings: Settings, tolerance: float):
        self.model, self.problem, self.settings = model, problem, settings
        self.tolerance, self.history = tolerance, []
        self.residual, self._best = math.inf, None
        self._clock, self._before, self._worth = time.perf_counter(), 0.0, 0
        self._identity = {"variables": ",".join(problem.space.names), "grid": model.config.name}

    @property
    def years(self) -> float:
        """Model-year equivalents so far."""
        return self._before + self.model.comm.broadcast(self.problem.costs.years)

    @property
    def tracers(self) -> dict[str, Field]:
        """The best state so far."""
        return self.problem.space.fields(self._best)

    def run(self, method: Method) -> None:
        """Iterate.

        Raises:
            EquilibriumError: see :func:`equilibrium`.
        """
        problem = self.problem
        self._best = start = self._start()
        problem.find_invariants(start)
        for x, change in method.iterates(problem, start, self.tolerance):
            residual = problem.space.residual(change, x + change)
            if not math.isfinite(residual):
                raise EquilibriumError("the iteration is no longer finite")
            self._note(residual, x + change)
            if residual <= self.tolerance:
                return
            if problem.costs.maps >= self.settings.most_years:
                raise EquilibriumError(
                    f"after {self.history[-1].years:.0f} model-year equivalents the residual is "
                    f"{self.residual:.3g}, above {self.tolerance:g}; allow more (most_years), or "
                    "try another method; the best state is kept"
                )

    def _start(self):
        space, folder = self.problem.space, self.settings.folder
        x = space.stacked({n: self.model.state.tracers[n] for n in space.names})
        if folder is None:
            return x
        path, comm = Path(folder) / STATE_FILE, self.model.comm
        if comm.rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not comm.broadcast(path.is_file()):
            return x
        try:
            like = space.fields(x)
            tracers, header = load_checkpoint(path, like, self._identity, self.model.decomposition)
        except CheckpointError as error:
            raise ConfigError(
                f"cannot go on from {path}: {error}; remove it, or give another folder"
            ) from None
        self.history = [Iteration(**row) for row in header["history"]]
        self._before = self.history[-1].years if self.history else 0.0
        return space.stacked(tracers)

    def _note(self, residual: float, state) -> None:
        costs = self.problem.costs
        # What a year takes is measured better and better; what was spent does not become less.
        spent = max(self.years, self.history[-1].years if self.history else 0.0)
        row = Iteration(
            len(self.history),
            spent,
            residual,
            self.model.comm.broadcast(time.perf_counter() - self._clock),
            costs.count("year"),
            costs.count("tangent"),
        )
        self.history.append(row)
        if residual <= self.residual:
            self.residual, self._best = residual, state
            self._keep()
        if self.settings.report is not None:
            self.settings.report(row)

    def _keep(self) -> None:
        if self.settings.folder is None:
            return
        header = {"identity": self._identity, "history": [asdict(r) for r in self.history]}
        path = Path(self.settings.folder) / STATE_FILE
        save_checkpoint(path, self.tracers, header, self.model.decomposition)

    def hand_over(self) -> None:
        """Put the best state into the model."""
        if self._best is None:
            return
        dtype = self.model.dtype
        found = {n: f.astype(dtype) for n, f in self.tracers.items()}
        state = self.model.state
        self.model.state = state.replace(tracers={**state.tracers, **found})


def free_years(solution: Equilibrium, years: int) -> list[float]:
    """What a year changes the state by, after each of so many years of the map without a solver;
    residuals as in :class:`Iteration`."""
    problem = solution.problem
    assert problem is not None
    x, out = problem.space.stacked(solution.tracers), []
    for _ in range(years):
        new = problem.year(x)
        out.append(problem.space.residual(new - x, new))
        x = new
    return out


__all__ = [
    "STATE_FILE",
    "Equilibrium",
    "Iteration",
    "Settings",
    "equilibrium",
    "free_years",
    "problem_of",
]
