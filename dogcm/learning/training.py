"""Training runs: from a recipe to weights, with logs, checkpoints and an orderly end."""

from __future__ import annotations

import collections
import contextlib
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.corrector import build_corrector, network_alone, save_weights
from dogcm.decomp import world
from dogcm.io.root import OutputError, on_root
from dogcm.learning.columns import at_columns
from dogcm.learning.first_guess import first_guess
from dogcm.learning.groups import Ranks
from dogcm.learning.losses import level_spread, observe, squared_error
from dogcm.learning.measures import MeanError, Measured
from dogcm.learning.optimiser import Settings
from dogcm.learning.parameters import LearnableSet
from dogcm.learning.problem import Problem, stacked
from dogcm.learning.recipe import Recipe, write_recipe
from dogcm.learning.saving import (
    BEST_FILE,
    checkpoint_path,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from dogcm.learning.trainer import Conduct, Stage, Trainer
from dogcm.learning.training_log import TrainingLog
from dogcm.learning.transfer import carried_over
from dogcm.learning.validation import VALIDATION_FILE, Validation
from dogcm.setups.registry import load_config
from dogcm.simulation.corrected import first_weights
from dogcm.simulation.model import Model
from dogcm.simulation.progress import compiling, say
from dogcm.simulation.run import Signals
from dogcm.targets.truth import make_truth

RECIPE_FILE, CORRECTOR_FILE = "recipe.yaml", "corrector.npz"


@dataclass
class Setup:
    """Everything a recipe asks for, built on this launch's ranks.

    Attributes:
        trainable: at the start. fixed: see :meth:`dogcm.learning.problem.Problem.share`.
        train, test: targets of training and of evaluation. corrector: None where there is none.
        truth: folder of its records. validation: targets that choose among weights, or None.
    """

    recipe: Recipe
    ranks: Ranks
    model: Model
    problem: Problem
    trainable: dict
    fixed: dict
    train: Any
    test: Any
    corrector: Any = None
    truth: Path = Path()
    validation: Any = None

    @property
    def every(self) -> int:
        """Steps between records."""
        return self.problem.every

    @property
    def longest(self) -> int:
        """Steps of the longest rollout of training and validation."""
        checked = [self.steps(d, "validation.days") for d in (self.recipe.validation.days,) if d]
        return max([*checked, *(self.steps(s.days, "curriculum") for s in self.recipe.curriculum)])

    def steps(self, days: float, what: str) -> int:
        """``days`` in steps.

        Raises:
            ConfigError: not a whole number of intervals between records.
        """
        count = self.model.steps_in(days)
        if count % self.every:
            every = self.recipe.targets.every
            raise ConfigError(
                f"{what}: {days:g} days is not a whole number of targets.every ({every:g})"
            )
        return count


def build(
    recipe: Recipe,
    folder: str | Path,
    layout: str = "auto",
    comm=None,
    precision: str | None = None,
) -> Setup:
    """Model, corrector, truth and loss of a recipe; every rank calls it.

    Args:
        folder: of the run; the truth is made there if it is missing.
        precision: of the model, in place of the recipe's.

    Raises:
        TargetError: the truth cannot be used: grids that do not nest, a file without what is
            wanted.
    """
    ranks = Ranks(comm or world(), recipe.groups)
    truth = Path(recipe.targets.folder or Path(folder) / "truth")
    config = load_config(recipe.config(), {"run.precision": precision} if precision else {})
    model = Model(config, layout=layout, comm=ranks.tiles)
    every = model.steps_in(recipe.targets.every)
    start = time.perf_counter()
    if make_truth(recipe, truth, ranks, model, layout):
        say(
            ranks.comm,
            f"{recipe.targets.name()}: truth made in {time.perf_counter() - start:.0f} s: {truth}",
        )
    parts = recipe.targets.parts(truth, model, list(recipe.loss.factors), every)
    if parts.forcing is not None:
        model.forcing = parts.forcing
    learn = LearnableSet(recipe.learnable) if recipe.learnable else None
    step, trainable, corrector = _corrected(recipe, model)
    if learn is not None:
        trainable["physics"] = learn.initial(model.params, model.grid)
    truncate = model.steps_in(recipe.truncate) if recipe.truncate else None
    initial = recipe.initial_set()
    if initial is not None:
        trainable["initial"] = initial.start(model.state)
    problem = Problem(
        step,
        model.halos,
        every,
        learn,
        recipe.checkpoint,
        truncate,
        recipe.loss.prior,
        recipe.targets.means,
        initial,
        recipe.loss.background,
        None if corrector is None else corrector.prepared,
        model.step if recipe.offline else None,
    )
    fixed = {"params": model.params, "forcing": model.forcing, "grid": model.grid}
    setup = Setup(
        recipe,
        ranks,
        model,
        problem,
        trainable,
        fixed,
        parts.train,
        parts.test,
        corrector,
        truth,
        parts.validation,
    )
    if initial is not None:
        _check_one_window(setup)
    fixed["loss"] = _loss(setup)
    return setup


def _check_one_window(setup: Setup) -> None:
    """Raises:
    ConfigError: rollouts could start from several records, but only one start is learned.
    """
    for stage in setup.recipe.curriculum:
        count = setup.train.count(setup.steps(stage.days, "curriculum"))
        if count > 1:
            raise ConfigError(
                f"initial: a change of the initial state belongs to one window, but {count} "
                f"windows of {stage.days:g} "
                "days fit into the records for training; make the rollouts of every stage as long "
                "as these, for "
                "instance with targets.days the same and targets.test: 0"
            )


def _corrected(recipe: Recipe, model: Model):
    """The step with the corrector in it, and the corrector's part of the trainable tree."""
    if recipe.corrector.kind == "none":
        return model.step, {}, None
    corrector = build_corrector(recipe.corrector, model.halos, model.vertical.nz)
    weights = first_weights(corrector, model, recipe.seed)
    try:
        step = (
            corrector.install(model.dynamics).step
            if recipe.physics
            else network_alone(model.dynamics, corrector)
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return step, {"corrector": weights}, corrector


def _loss(setup: Setup):
    loss, model = setup.recipe.loss, setup.model
    steps = setup.longest
    own = setup.recipe.targets.loss(model, loss, setup.train, steps)
    if own is not None:
        if not isinstance(loss.measure, MeanError):
            kind = setup.recipe.targets.name()
            raise ConfigError(
                f"loss.measure: targets of kind {kind} bring a loss of their own; leave it out"
            )
        return own
    scales: dict[str, Any] = {}
    if loss.scales == "persistence":
        count = setup.train.count(steps)
        if count < 1:
            raise ConfigError(
                f"targets.days: no rollout of {steps // setup.every} records fits into the part "
                f"for training; make a "
                "longer truth or shorter rollouts"
            )
        first, last = [], []
        for index in np.unique(np.linspace(0, count - 1, min(count, 8)).round().astype(int)):
            window = setup.train.window(int(index), steps)
            first.append(observe(window.state, loss.factors))
            last.append({n: _last(n, window, first[-1][n]) for n in loss.factors})
        scales = level_spread(model.halos, model.grid, stacked(last), stacked(first))
    found = squared_error(
        model.halos,
        model.grid,
        dict(loss.factors),
        scales | dict(loss.scale),
        loss.vertical,
        loss.penalty,
    )
    if loss.columns:
        tiles = model.decomposition, model.halos, model.grid
        found = at_columns(found, dict(loss.columns), *tiles, setup.recipe.seed)
    if isinstance(loss.measure, MeanError):
        return found
    return Measured(found, loss.measure, model.halos)


def _last(name: str, window, start):
    """The last target of a window; where there is none, no difference from the start."""
    values, valid = window.values[name], (window.valid or {}).get(name)
    if valid is None:
        return values.with_data(values.data[-1])
    return values.with_data(jnp.where(valid.data[-1] > 0, values.data[-1], start.data))


def trainer_of(setup: Setup) -> Trainer:
    """The training loop of a recipe."""
    r = setup.recipe
    stages = [Stage(s.updates, setup.steps(s.days, "curriculum")) for s in r.curriculum]
    o = r.optimiser
    settings = Settings(
        o.learning_rate.model_dump(),
        sum(s.updates for s in stages),
        o.warmup,
        o.final,
        o.clip,
        o.weight_decay,
        o.average,
    )
    return Trainer(
        setup.problem.share,
        setup.fixed,
        setup.trainable,
        setup.train,
        setup.ranks,
        stages,
        settings,
        Conduct(r.batch, r.at_once, r.seed, r.patience, r.check_every),
    )


class _Run:
    """One training run in its folder."""

    def __init__(self, setup: Setup, folder: Path):
        self.setup, self.folder, self.comm = setup, folder, setup.ranks.comm
        self.trainer = trainer_of(setup)
        # Forecasts choose the weights, also of a training without any.
        self.judged = setup.ranks.jit(replace(setup.problem, offline=None).share, static_argnums=3)

    def _write(self, path: Path) -> None:
        tree, header = self.trainer.content()
        header["identity"] = self.setup.recipe.identity()
        save_checkpoint(path, tree, header, self.setup.model.decomposition, self.comm)

    def save(self) -> None:
        self._write(checkpoint_path(self.folder, self.trainer.progress.update))
        if self.setup.validation is None:
            self._keep_corrector(None)
        if self.comm.rank == 0:
            for old in sorted(self.folder.glob("checkpoint_*.npz"))[: -self.setup.recipe.keep]:
                old.unlink()

    def _keep_corrector(self, error: float | None) -> None:
        """The averaged weights as a file that runs take."""
        recipe, corrector = self.setup.recipe, self.setup.corrector
        if corrector is None or not recipe.physics or corrector.config.maps:
            return
        card = {
            "name": recipe.name,
            "description": recipe.description,
            "updates": self.trainer.progress.update,
            "validation_error": error,
            "dogcm": dogcm.__version__,
            "recipe": recipe.model_dump(mode="json"),
        }
        weights = self.trainer.weights.average["corrector"]
        path = self.folder / CORRECTOR_FILE
        on_root(self.comm, save_weights, path, corrector.config, weights, card)

    def load(self) -> None:
        path = on_root(self.comm, latest_checkpoint, self.folder)
        self.trainer.restore(*read_into(self.trainer, path, self.setup))

    def _validation(self) -> Validation | None:
        setup, recipe = self.setup, self.setup.recipe
        if setup.validation is None:
            return None
        days = recipe.validation.days
        steps = setup.steps(days, "validation.days") if days else setup.longest
        done = self.trainer.progress.update
        found = Validation(setup.validation, steps, recipe.validation, self.folder, self.comm, done)
        if not found.rows:
            self._validate(found, quiet=True)
        return found

    def _validate(self, validation: Validation, quiet: bool) -> None:
        """The error on the records for validation; the weights are kept where it is the least."""
        update = self.trainer.progress.update
        part, windows = validation.part, validation.windows
        loss = self.trainer.loss(part, windows, validation.steps, self.judged)
        best = validation.note(update, loss)
        if best:
            if update:
                self.save()  # what is chosen must not be of an update that a resumed run lacks
            self._write(self.folder / BEST_FILE)
            self._keep_corrector(loss)
        if not quiet:
            say(self.comm, f"validation after {update}: {loss:.5g}{', the least' * best}")

    def go(self, until: int | None, quiet: bool) -> None:
        until = self.trainer.updates if until is None else until
        validation = self._validation()
        if validation is not None and validation.tired:
            say(self.comm, "training has ended: validation found no smaller error for long")
            return
        log = (
            TrainingLog(self.folder, self.trainer.progress.update, self.setup.recipe.tensorboard)
            if self.comm.rank == 0
            else None
        )
        clock = Clock(self.trainer)
        saved, save_every = self.trainer.progress.update, self.setup.recipe.save_every
        compiled = 0
        try:
            with Signals() as signals:
                while self.trainer.progress.update < until:
                    with self._told(self.trainer.steps_now() != compiled and not quiet):
                        report = self.trainer.step()
                    compiled = report.steps
                    if log is not None:
                        log.write(report, self._learned())
                    if not quiet:
                        say(self.comm, line(report, until, clock.left(report, until)))
                    stop = self.comm.any(signals.caught is not None)
                    done = self.trainer.progress.update
                    if validation is not None and validation.due(report, until):
                        self._validate(validation, quiet)
                        until = done if validation.tired else until  # saved below as the last
                    if done != saved and (stop or done == until or done % save_every == 0):
                        self.save()
                        saved = done
                    if stop:
                        say(self.comm, f"asked to stop after {done} updates; go on with --resume")
                        self.trainer.stopped = True
                        return
            if validation is not None and not quiet:
                update, loss = validation.best()
                say(self.comm, f"the best weights are those after {update} updates: {loss:.5g}")
        finally:
            if log is not None:
                log.close()

    def _told(self, new: bool):
        """What says that a gradient is compiled, where it is that of a new length."""
        steps = self.trainer.steps_now()
        what = f"the gradient of {steps} steps"
        return compiling(self.comm, what=what) if new else contextlib.nullcontext()

    def _learned(self) -> dict[str, float]:
        """Learned scalars in their units."""
        learn, physics = self.setup.problem.learn, self.trainer.weights.trainable.get("physics")
        if learn is None:
            return {}
        values = {
            i.name: i.bijector.forward(physics[i.name]) for i in learn.items if i.shape == "scalar"
        }
        return {n: float(v) for n, v in values.items()}


def read_into(trainer: Trainer, path: Path, setup: Setup) -> tuple[dict, dict]:
    """Tree and header of a checkpoint of this recipe."""
    like, _ = trainer.content()
    return load_checkpoint(
        path, like, setup.recipe.identity(), setup.model.decomposition, setup.ranks.comm
    )


class Clock:
    """Time left, from the time per step of recent updates: the first ones contain compilation."""

    def __init__(self, trainer: Trainer):
        self._curriculum, self._recent = trainer.curriculum, collections.deque(maxlen=15)

    def left(self, report, until: int) -> int:
        """Seconds until ``until`` updates are done."""
        self._recent.append(report.seconds / report.steps)
        lengths = [s.steps for s in self._curriculum for _ in range(s.updates)]
        ahead = sum(lengths[report.update : until]) + lengths[-1] * max(
            0, until - max(len(lengths), report.update)
        )
        return int(statistics.median(self._recent) * ahead)


def line(report, until: int, left: int) -> str:
    """One line on an update; ``left`` in seconds."""
    if report.trouble:
        return (
            f"update {report.update}/{until}  rolled back, learning rate halved: {report.trouble}"
        )
    return (
        f"update {report.update}/{until}  loss {report.loss:.5g}  gradient {report.norm:.3g}  "
        f"rate {report.rate:.2g}  rollout {report.steps} steps  {report.seconds:.2f} s  "
        f"left {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
    )


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    updates: int | None = None,
    layout: str = "auto",
    quiet: bool = False,
    comm=None,
) -> Trainer:
    """Train as a recipe says; every rank calls it.

    Args:
        folder: for the truth, checkpoints, log and figures. updates: stop after so many in all.
        resume: go on from the newest checkpoint in ``folder``. overwrite: replace an earlier
            training there.

    Raises:
        ConfigError: the recipe is a sweep (:func:`dogcm.learning.sweep.train_sweep`).
        OutputError: the folder holds a training already. CheckpointError: its checkpoint is of
            another recipe.
        TrainingError: see :class:`dogcm.learning.trainer.Trainer`.
    """
    if recipe.sweep:
        raise ConfigError("sweep: the recipe is of several trainings; give it to train_sweep")
    folder, comm = Path(folder), comm or world()
    on_root(comm, _check_folder, folder, resume, overwrite)
    setup = build(recipe, folder, layout, comm)
    if recipe.weights and not resume:
        setup.trainable["corrector"] = carried_over(
            recipe.weights, setup.trainable["corrector"], setup.model
        )
    if recipe.first_guess.passes and not resume:
        setup.trainable |= first_guess(setup)
    run = _Run(setup, folder)
    if resume:
        run.load()
    elif overwrite:
        on_root(comm, _clear, folder)
    on_root(comm, write_recipe, folder / RECIPE_FILE, recipe)
    say(comm, start_text(setup, run.trainer))
    if recipe.weights and not resume:
        run.save()  # what was carried over can be evaluated as it is
    run.go(updates, quiet)
    return run.trainer


def start_text(setup: Setup, trainer: Trainer) -> str:
    """What is about to be trained."""
    r, numbers = setup.ranks, sum(x.size for x in jax.tree.leaves(setup.trainable))
    text = (
        f"training {setup.recipe.name}: {numbers} "
        f"numbers{' on this tile' if r.tiles.size > 1 else ''}, "
        f"{trainer.updates} updates, {r.groups} group{'s' * (r.groups > 1)} of "
        f"{setup.model.layout.describe()}"
    )
    done = trainer.progress.update
    return text + (f", from update {done}" if done else "")


def _check_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if resume:
        latest_checkpoint(folder)
    elif not overwrite and (
        any(folder.glob("checkpoint_*.npz")) or (folder / RECIPE_FILE).exists()
    ):
        raise OutputError(
            f"{folder} holds a training already: go on with it (--resume), replace it "
            f"(--overwrite), or choose "
            "another output folder (--output)"
        )


def _clear(folder: Path) -> None:
    logs = (VALIDATION_FILE, "training.csv", "evaluation*.*", "free_run.*")
    for pattern in ("checkpoint_*.npz", BEST_FILE, CORRECTOR_FILE, *logs):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
