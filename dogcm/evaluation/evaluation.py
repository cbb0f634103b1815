"""Evaluation of a training run on records that it has not seen, beside what it has to beat."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.evaluation.baselines import Climatology, DampedPersistence, Persistence
from dogcm.evaluation.free_run import free_run
from dogcm.evaluation.score_table import ScoreBook, depth_bands, write_csv, write_markdown
from dogcm.io.root import on_root
from dogcm.learning.losses import observe
from dogcm.learning.recipe import Recipe, load_recipe
from dogcm.learning.saving import chosen_checkpoint
from dogcm.learning.training import RECIPE_FILE, Setup, build, read_into, trainer_of
from dogcm.learning.training_log import loss_figure
from dogcm.plots.scores import ScorePlotError, draw_by_lead
from dogcm.simulation.progress import say
from dogcm.targets import TargetGrid
from dogcm.targets.truth import truth_of
from dogcm.timestepping import many_steps, many_steps_with

EVALUATION_FILE, TABLE_FILE = "evaluation.csv", "evaluation.md"
SCORES = ("rmse", "acc", "variance_ratio")
# A climatology with two harmonics is fitted to so many records at most: more would only take
# memory.
_RECORDS = 120


@dataclass(frozen=True)
class Contender:
    """A model that forecasts.

    Attributes:
        trainable: what is learned, or was. advance: ``(trainable, state, fixed, steps) -> state``,
            compiled.
        fixed: see :meth:`dogcm.learning.problem.Problem.share`. name: in tables. seed: of its
        training; models of one name and several seeds are one line of the table, with a spread.
        mean: where targets are means, ``(trainable, state, fixed, steps, names) -> state, means``
            of what is observed, compiled.
    """

    trainable: dict
    advance: Callable
    fixed: dict = field(repr=False)
    name: str
    seed: int = 0
    mean: Callable | None = None

    def run(self, state, steps: int):
        """The state after so many steps."""
        return self.advance(self.trainable, state, self.fixed, steps)

    def forecast(self, state, every: int, count: int, names):
        """What is compared with each of ``count`` records: the state, or its mean over the interval
        about it."""
        if self.mean is not None and every // 2:
            state = self.run(state, every // 2)
        for _ in range(count):
            if self.mean is None:
                state = self.run(state, every)
                yield observe(state, names)
            else:
                state, seen = self.mean(self.trainable, state, self.fixed, every, tuple(names))
                yield seen


def evaluate(
    folder: str | Path,
    *,
    days: float | None = None,
    windows: int = 8,
    free: float | None = None,
    against=(),
    layout: str = "auto",
    comm=None,
) -> list[dict]:
    """Scores by lead and depth of the trained and the untrained model, of persistence and
    climatology.

    Every rank calls it. Results go to ``evaluation.csv``, ``evaluation.md`` and figures in
    ``folder``.

    Args:
        folder: of a training run. days: longest lead; default: the longest rollout of its
            curriculum.
        windows: at most so many test windows, evenly spread.
        free: also run all models freely for so many days, in float64; see
            :func:`dogcm.evaluation.free_run.free_run`.
        against: folders of other trainings on the same truth, which take part under the names of
            their recipes. Those of the same name as this one are further seeds of it.

    Returns:
        on rank 0 the rows of the table, see :class:`dogcm.evaluation.score_table.ScoreBook`;
        elsewhere none.

    Raises:
        FileNotFoundError, CheckpointError: no training there.
        ConfigError: a training to compare with has another truth or grid.
        ValueError: no test window is long enough.
    """
    folder = Path(folder)
    setup, trained = trained_in(folder, layout, comm)
    recipe, comm = setup.recipe, setup.ranks.comm
    steps = setup.steps(days or max(s.days for s in recipe.curriculum), "days")
    contenders = [*contenders_of(setup, trained), *_others(against, setup, layout, comm)]
    rows, notes = scores_of(setup, contenders, steps, windows)
    on_root(comm, _write, folder, rows, notes)
    say(comm, "\n".join([*notes, table(rows)]) if rows else "")
    if free:
        setup, trained = in_double(setup, trained, folder, layout)
        contenders = [*contenders_of(setup, trained), *_others(against, setup, layout, comm)]
        state = setup.test.window(0, setup.every).state
        free_run(setup.model, state, contenders, setup.steps(free, "free"), setup.every, folder)
    return rows


def contenders_in(
    folder: str | Path, *, against=(), layout: str = "auto", comm=None
) -> tuple[Setup, list[Contender]]:
    """Models that can be run, for studies of one's own; every rank calls it.

    Args:
        folder, against: see :func:`evaluate`.

    Returns:
        the setup of the training in ``folder``, and the contenders: as trained, as it was before
        (``uncorrected``), and those of the other folders.

    Raises:
        FileNotFoundError, CheckpointError: no training there.
        ConfigError: a training to compare with has another truth or grid.
    """
    setup, trained = trained_in(Path(folder), layout, comm)
    others = _others(against, setup, layout, setup.ranks.comm)
    return setup, [*contenders_of(setup, trained), *others]


def _others(against, setup: Setup, layout: str, comm) -> list[Contender]:
    return [_other(other, setup, layout, comm) for other in map(Path, against)]


def in_double(
    setup: Setup, trained: dict, folder: Path, layout: str = "auto"
) -> tuple[Setup, dict]:
    """A training in float64, whatever its precision was: over years, roundings of float32 are a
    drift of their own."""
    if setup.model.dtype == jnp.float64:
        return setup, trained
    double = build(setup.recipe, folder, layout, setup.ranks.comm, precision="float64")
    wide = lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x
    return double, jax.tree.map(wide, trained)


def trained_in(folder: Path, layout: str = "auto", comm=None) -> tuple[Setup, dict]:
    """What a training folder holds: its setup, and what was learned (the moving average, if there
    is one; after validation, the best).

    Raises:
        FileNotFoundError, CheckpointError: no training there.
    """
    setup = build(recipe_in(folder), folder, layout, comm)
    path = on_root(setup.ranks.comm, chosen_checkpoint, folder)
    tree, _ = read_into(trainer_of(setup), path, setup)
    return setup, tree["now"].average


def recipe_in(folder: Path) -> Recipe:
    """Of a training folder; all ranks are tiles, however many groups there were in training."""
    if not (folder / RECIPE_FILE).is_file():
        raise FileNotFoundError(0, "no training run (recipe.yaml is missing)", str(folder))
    return load_recipe(folder / RECIPE_FILE, {"groups": 1})


def contenders_of(setup: Setup, trained: dict) -> list[Contender]:
    """The model as trained, and as it was before: its first parameters and no corrector."""
    advance, fixed, seed = _advance(setup.problem), setup.fixed, setup.recipe.seed
    mean = _mean(setup.problem)
    first = Contender(trained, advance, fixed, "trained", seed, mean)
    if setup.recipe.corrector.kind == "none":
        # The same program with other numbers; nothing has to be compiled twice.
        return [first, Contender(setup.trainable, advance, fixed, "uncorrected", mean=mean)]
    plain = replace(setup.problem, step=setup.model.step, learn=None)
    return [first, Contender({}, _advance(plain), fixed, "uncorrected", mean=_mean(plain))]


def _other(folder: Path, setup: Setup, layout: str, comm) -> Contender:
    """The trained model of another folder, which must have learned from the same truth on the same
    grid."""
    if truth_of(recipe_in(folder)) != truth_of(setup.recipe):
        raise ConfigError(
            f"{folder} was trained on another truth or grid than {setup.recipe.name}: compare runs "
            f"whose recipes have "
            "the same targets and the same grid"
        )
    other, trained = trained_in(folder, layout, comm)
    if setup.model.dtype == jnp.float64:
        other, trained = in_double(other, trained, folder, layout)
    name = "trained" if other.recipe.name == setup.recipe.name else other.recipe.name
    return Contender(
        trained, _advance(other.problem), other.fixed, name, other.recipe.seed, _mean(other.problem)
    )


def _advance(problem) -> Callable:
    def advance(trainable, state, fixed, steps):
        params = problem.params(trainable, fixed)
        return many_steps(problem.step, state, steps, params, fixed["forcing"], fixed["grid"])

    return problem.halos.jit(advance)


def _mean(problem) -> Callable | None:
    """See :attr:`Contender.mean`."""
    if not problem.mean:
        return None

    def advance(trainable, state, fixed, steps, names):
        params = problem.params(trainable, fixed)

        def one(state, total):
            state = problem.step(state, params, fixed["forcing"], fixed["grid"])
            return state, jax.tree.map(jax.numpy.add, total, observe(state, names))

        nothing = jax.tree.map(jax.numpy.zeros_like, observe(state, names))
        state, total = many_steps_with(one, (state, nothing), steps)
        return state, jax.tree.map(lambda x: x / steps, total)

    return problem.halos.jit(advance, static_argnums=4)


def scores_of(
    setup: Setup, contenders: list[Contender], steps: int, windows: int
) -> tuple[list[dict], list[str]]:
    """Rows of scores over the test windows (on rank 0), and sentences that belong to them."""
    model, names, every = setup.model, list(setup.recipe.loss.factors), setup.every
    count = setup.test.count(steps)
    if count < 1:
        raise ValueError(
            f"no test window is long enough for leads of {steps} steps: give shorter --days, or "
            f"raise "
            "targets.days or targets.test in the recipe"
        )
    chosen = np.unique(np.linspace(0, count - 1, min(count, windows)).round().astype(int))
    judge = setup.recipe.targets.judge(setup, names) or Judge(setup, names)
    for index in chosen:
        window = setup.test.window(int(index), steps)
        initial = getattr(setup.test, "initial", None)
        judge.start(window, None if initial is None else initial(int(index)))
        for contender in contenders:
            for lead, seen in enumerate(
                contender.forecast(window.state, every, steps // every, names)
            ):
                judge.add(contender.name, lead, seen, contender.seed)
        judge.add_baselines()
    longest = steps * model.physics.dt / 86400.0
    notes = [f"test windows: {len(chosen)}, leads up to {longest:g} days", judge.note]
    return (judge.book.rows() if judge.book is not None else []), notes


class Judge:
    """Gathers forecasts and truth on rank 0 and scores them there; every rank calls its methods.

    Attributes:
        book: of scores, on rank 0. note: what anomalies are relative to.
    """

    def __init__(self, setup: Setup, names: list[str]):
        self.setup, self.names, self.model = setup, names, setup.model
        self.interval = setup.every * setup.model.physics.dt
        grid = TargetGrid.gather(setup.model)
        self.book, self.damped = None, {}
        if grid is not None:
            bands = {"all": slice(None)} | depth_bands(grid.vertical.centres)
            self.book = ScoreBook({n: grid.weights(n) for n in names}, bands)
        self.climatology, self.seasonal, self.note = self._climatology()

    def _climatology(self) -> tuple[dict[str, Climatology], bool, str]:
        """Fit to the training records: of the year, or where they are too short, their mean."""
        train, year = self.setup.train, self.model.config.forcing.year * 86400.0
        chosen = np.linspace(0, train.records - 1, min(train.records, _RECORDS)).round().astype(int)
        times, fields = [], {n: [] for n in self.names}
        for number in chosen:
            time, seen, valid = train.record(int(number))
            times.append(time)
            for n, values in self._gathered(seen, valid).items():
                fields[n].append(values)
        # Twelve monthly means span eleven months.
        seasonal = times[-1] - times[0] >= 11.0 / 12.0 * year - 1.0 and len(times) >= 10
        observed = getattr(train, "usual", None)
        number = "three" if observed else "two"
        note = (
            f"anomalies are those from the climatology (mean, {number} harmonics of the year) of "
            f"the training part"
        )
        if not seasonal:
            note = (
                "no climatology among the contenders: the training records span "
                f"{(times[-1] - times[0]) / 86400:g} days, less than a year; anomalies are those "
                f"from their mean"
            )
        if self.book is None:
            return {}, seasonal, note
        harmonics = 2 if seasonal else 0
        fits = {n: Climatology.fit(times, np.stack(f), harmonics, year) for n, f in fields.items()}
        fits |= observed or {}
        if seasonal and hasattr(train, "initial"):
            self.damped = {
                n: _damped(fits[n], times, np.stack(f), self.book.weights[n])
                for n, f in fields.items()
            }
        return fits, seasonal, note

    def _gathered(
        self, seen: dict[str, Any], valid: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Global arrays on rank 0, NaN where not valid; an empty dict elsewhere."""
        gather = self.model.decomposition.gather
        there = lambda n: True if valid is None else np.asarray(valid[n].interior) > 0
        arrays = {
            n: gather(np.where(there(n), np.asarray(f.interior), np.nan)) for n, f in seen.items()
        }
        return {n: a for n, a in arrays.items() if a is not None}

    def start(self, window, initial=None) -> None:
        """A new case.

        Args:
            initial: what was observed at the start, and where; default: the window's state.
        """
        self._time = float(window.state.time)
        self._initial = self._gathered(*(initial or [observe(window.state, self.names)]))
        self._truth = self._gathered(window.values, window.valid)
        for n, start in self._initial.items() if initial else ():
            # What nobody could start from is judged for nobody.
            self._truth[n] = np.where(np.isfinite(start), self._truth[n], np.nan)

    def add(self, name: str, lead: int, seen: dict[str, Any], seed: int = 0) -> None:
        """The forecast of a contender at the ``lead``-th record after the start."""
        self._score(name, lead, self._gathered(seen), seed)

    def add_baselines(self) -> None:
        """Persistence, and climatology where there is one."""
        leads = self.interval * np.arange(
            1, 1 + max((v.shape[0] for v in self._truth.values()), default=0)
        )
        for n, initial in self._initial.items():
            for lead, values in enumerate(Persistence().forecast(initial, self._time, leads)):
                self._score("persistence", lead, {n: values})
            for lead in range(leads.size if self.seasonal else 0):
                self._score(
                    "climatology", lead, {n: self.climatology[n].at(self._time + leads[lead])}
                )
            for name, method in self.damped.get(n, {}).items():
                for lead, values in enumerate(method.forecast(initial, self._time, leads)):
                    self._score(name, lead, {n: values})

    def _score(self, name: str, lead: int, arrays: dict[str, np.ndarray], seed: int = 0) -> None:
        length = self.interval * (lead + 1)
        for n, values in arrays.items():
            usual = self.climatology[n].at(self._time + length)
            # What was never seen in training has no anomaly and is judged for nobody.
            truth = np.where(np.isfinite(usual), self._truth[n][lead], np.nan)
            self.book.add(name, n, length, values, truth, usual, seed)


def _damped(usual, times, fields, weights) -> dict[str, DampedPersistence]:
    """Persistence of anomalies: as they are, damped at each cell by its own time scale, and by one
    for the ocean."""
    interval = float(np.mean(np.diff(times)))
    fit = functools.partial(DampedPersistence.fit, usual, times, fields, interval)
    return {
        "anomaly_persistence": DampedPersistence(usual, np.inf),
        "damped_persistence": fit(),
        "uniformly_damped": fit(weights=weights),
    }


def table(rows: list[dict]) -> str:
    """Root mean square errors over all depths at the first, a middle and the last lead."""
    rows = [r for r in rows if r["depth"] == "all"]
    leads = sorted({r["lead_days"] for r in rows})
    chosen = sorted({leads[0], leads[len(leads) // 2], leads[-1]})
    error = {(r["variable"], r["contender"], r["lead_days"]): r["rmse"] for r in rows}
    lines = ["root mean square error on test windows"]
    lines.append("variable     forecast     " + "".join(f"{d:>9g} d" for d in chosen))
    for variable, contender in dict.fromkeys((r["variable"], r["contender"]) for r in rows):
        numbers = "".join(f"{error[variable, contender, d]:11.4g}" for d in chosen)
        lines.append(f"{variable:<12} {contender:<12} {numbers}")
    return "\n".join(lines)


def _write(folder: Path, rows: list[dict], notes: list[str]) -> None:
    write_csv(rows, folder / EVALUATION_FILE)
    path = write_markdown(rows, folder / TABLE_FILE, [*SCORES, "skill_vs_persistence"])
    head = "".join(f"{n[0].upper()}{n[1:]}.\n\n" for n in notes)
    path.write_text(head + path.read_text(encoding="utf-8"), encoding="utf-8")
    for score in SCORES:
        try:
            draw_by_lead(rows, score, folder / f"evaluation_{score}.png")
        except ScorePlotError:
            continue  # anomalies that vanish have no correlation
    loss_figure(folder)


__all__ = [
    "Contender",
    "contenders_in",
    "contenders_of",
    "evaluate",
    "scores_of",
    "table",
    "trained_in",
]
