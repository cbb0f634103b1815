"""Recipes: a training run as a typed YAML file."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from dogcm.components.errors import ConfigError
from dogcm.components.registry import component
from dogcm.corrector import CorrectorConfig
from dogcm.learning import measures  # noqa: F401 defines the losses that ship
from dogcm.learning.checkpointing import MENU
from dogcm.learning.initial import CHANGEABLE, InitialChange, InitialSet
from dogcm.learning.losses import COMPARED
from dogcm.learning.parameters import LearnableSet
from dogcm.setups.config import Config, Section, par
from dogcm.setups.registry import load_config, read_yaml, set_key, split_setting, violation
from dogcm.targets import kinds  # noqa: F401 defines the kinds that ship
from dogcm.targets.records import RecordedTruth

_VARIABLE = Literal[tuple(COMPARED)]
_AT_CENTRES = Literal[tuple(n for n, (at, *_) in COMPARED.items() if at == "c")]
#: The output of a network that moves a variable of another name.
_MOVED_BY = {"u": "velocity", "v": "velocity", "sst": "temperature", "sss": "salinity"}


class LossRecipe(Section):
    """What counts as an error."""

    factors: dict[_VARIABLE, float] = par(
        lambda: {"temperature": 1.0, "salinity": 1.0, "eta": 1.0},
        "1",
        "variables that are compared, and how much each counts",
    )
    measure: component("loss", "mean_error", "what the loss makes of errors", "loss.measure")
    penalty: component("penalty", "squared", "how an error counts", "loss.penalty")
    scales: Literal["persistence", "typical"] = par(
        "persistence",
        "1",
        "unit of an error: that of persistence at the longest lead, by level, or a typical error",
    )
    scale: dict[_VARIABLE, float] = par(dict, "unit of the variable", "unit of an error, by hand")
    vertical: Literal["volume", "level"] = par(
        "level", "1", "every cell counts by its volume, or every level alike"
    )
    prior: float = par(0.0, "1", "weight of the prior of physical parameters", ge=0)
    background: float = par(
        0.0, "1", "weight of the background term of changes of the initial state", ge=0
    )
    columns: dict[_AT_CENTRES, int] = par(
        dict,
        "1",
        "variables that are known at so many columns only, drawn by area: 'temperature: 60' for 60 "
        "profiles",
    )


class InitialRecipe(Section):
    """What may change about one variable at the start, see :mod:`dogcm.learning.initial`."""

    scale: float | None = par(
        None, "unit of the variable", "standard deviation of its error; null: a typical one", gt=0
    )
    length: float = par(
        1e6, "m", "horizontal correlation length of the error, at most 4 cells", ge=0
    )
    depth: float = par(
        300.0, "m", "vertical correlation length of the error, at most 4 layers", ge=0
    )


class ColumnsRecipe(Section):
    """Maps of physical parameters by trial, see :mod:`dogcm.learning.column_search`."""

    factors: dict[str, list[Annotated[float, Field(gt=0)]]] = par(
        dict,
        "1",
        "by parameter, which is learned as a map: what each column may multiply it by, one at a "
        "time",
    )
    after: int = par(3, "1", "after how many passes", ge=0)
    days: float = par(10.0, "days", "length of the forecasts", gt=0)
    windows: int = par(24, "1", "forecasts with each factor, spread over the training part", ge=2)
    least_gain: float = par(
        0.1, "1", "part of its squared errors that a column must lose to change", ge=0, lt=1
    )


class FirstGuessRecipe(Section):
    """Maps of the corrector before the first update, see :mod:`dogcm.learning.first_guess`."""

    passes: int = par(
        0, "1", "corrections by the mean errors of short forecasts; 0: maps start from zero", ge=0
    )
    days: float = par(5.0, "days", "length of these forecasts", gt=0)
    windows: int = par(70, "1", "forecasts of each pass, spread over the training part", ge=4)
    columns: Annotated[ColumnsRecipe, Field(default_factory=ColumnsRecipe)]


class StageRecipe(Section):
    """One part of the curriculum."""

    updates: int = par(100, "1", "number of updates", ge=1)
    days: float = par(1.0, "days", "length of the rollouts", gt=0)


class RatesRecipe(Section):
    """Full learning rates by part of what is learned."""

    physics: float = par(0.03, "1", "of physical parameters, in units of their raw numbers", gt=0)
    corrector: float = par(1e-3, "1", "of network weights", gt=0)
    initial: float = par(
        1.0, "1", "of changes of the initial state: length of a step in all controls together", gt=0
    )


class OptimiserRecipe(Section):
    """AdamW with warm-up and cosine decay."""

    learning_rate: Annotated[RatesRecipe, Field(default_factory=RatesRecipe)]
    warmup: int = par(0, "updates", "from 0 to the full rate", ge=0)
    final: float = par(0.1, "1", "rate at the end, as a part of the full one", ge=0, le=1)
    clip: float = par(1.0, "1", "largest global norm of the gradient", gt=0)
    weight_decay: float = par(0.0, "1", "of network weights", ge=0)
    average: float = par(
        0.0, "1", "decay of the moving average that is evaluated; 0: the last weights", ge=0, lt=1
    )


class ValidationRecipe(Section):
    """How the records for validation (``targets.validation``) choose among the weights."""

    every: int = par(50, "updates", "interval of checks", ge=1)
    days: float = par(
        0.0, "days", "length of its rollouts; 0: that of the longest of the curriculum", ge=0
    )
    windows: int = par(8, "1", "rollouts of a check, spread over the records", ge=1)
    patience: int = par(
        0, "1", "checks in a row without a smaller error after which training ends; 0: never", ge=0
    )


class Recipe(Section):
    """A training run."""

    name: str = par("training", "1", "name of the run; results go to output/NAME")
    description: str = par("", "1", "one line")
    experiment: str = par("gyre", "1", "name of an experiment or path of a YAML file")
    overrides: dict[str, Any] = par(
        dict, "1", "changes of the experiment's configuration, e.g. grid.nx: 18"
    )
    start: dict[str, float] = par(
        dict, "1", "physical parameters that training starts from, where they differ"
    )
    learnable: list[Any] = par(
        list, "1", "physical parameters that are learned: NAME, NAME: SHAPE, or with options"
    )
    initial: dict[Literal[tuple(CHANGEABLE)], InitialRecipe] = par(
        dict,
        "1",
        "variables whose initial state is learned, in one window: [NAME], or NAME: {scale, length, "
        "depth}",
    )
    corrector: Annotated[CorrectorConfig, Field(default_factory=CorrectorConfig)]
    weights: str = par(
        "",
        "1",
        "folder of a training whose corrector is where this one begins, from any grid; empty: none",
    )
    first_guess: Annotated[FirstGuessRecipe, Field(default_factory=FirstGuessRecipe)]
    physics: bool = par(True, "1", "false: the network alone moves the ocean, to be compared with")
    targets: component("targets", "twin", "the truth")
    loss: Annotated[LossRecipe, Field(default_factory=LossRecipe)]
    curriculum: list[StageRecipe] = par(
        lambda: [StageRecipe()], "1", "stages of rollout length", min_length=1
    )
    optimiser: Annotated[OptimiserRecipe, Field(default_factory=OptimiserRecipe)]
    validation: Annotated[ValidationRecipe, Field(default_factory=ValidationRecipe)]
    batch: int = par(1, "windows", "windows of each group in an update", ge=1)
    at_once: bool = par(
        False, "1", "take the windows of an update together: faster, batch times the memory"
    )
    groups: int = par(1, "1", "groups of ranks that work on different windows", ge=1)
    checkpoint: Literal[MENU] = par("step", "1", "what the backward pass keeps")
    truncate: float = par(
        0.0, "days", "length over which the gradient is followed back; 0: all of the rollout", ge=0
    )
    offline: bool = par(
        False,
        "1",
        "rollouts are those of the model without its corrector; what this would add along them is "
        "summed up, without a gradient through the model",
    )
    seed: int = par(0, "1", "of weights and of the choice of windows", ge=0)
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = par(
        dict, "1", "lists of values by key: a training for each combination of them"
    )
    patience: int = par(5, "1", "failures in a row before training is given up", ge=1)
    check_every: int = par(
        50, "updates", "interval of the check that ranks hold the same bits; 0: never", ge=0
    )
    save_every: int = par(100, "updates", "interval of checkpoints", ge=1)
    keep: int = par(2, "1", "how many checkpoints are kept", ge=1)
    tensorboard: bool = par(False, "1", "also log for TensorBoard (needs the package tensorboardX)")

    @field_validator("initial", mode="before")
    @classmethod
    def _names_alone(cls, value):
        return {str(name): {} for name in value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _consistent(self):
        LearnableSet(self.learnable)
        if not self.learnable and self.corrector.kind == "none" and not self.initial:
            raise ValueError(
                "nothing to learn: name physical parameters under learnable or variables under "
                "initial, or give a "
                "corrector a kind"
            )
        self._check_initial()
        if not self.physics:
            self._check_alone()
        if self.offline and (
            self.corrector.kind == "none" or self.learnable or self.initial or not self.physics
        ):
            raise ValueError(
                "offline: is for a corrector beside physics that stay as they are: give the "
                "corrector a kind, learnable: [], no initial, and physics: true"
            )
        if self.weights and self.corrector.kind == "none":
            raise ValueError("weights: needs a corrector to put them into")
        if self.first_guess.passes and not (
            self.corrector.maps and self.physics and isinstance(self.targets, RecordedTruth)
        ):
            raise ValueError(
                "first_guess.passes: a first guess is of the corrector's maps beside the physics, "
                "from a truth of whole "
                "states: set corrector.maps to 1 or 3, physics: true, and targets.kind to twin or "
                "finer"
            )
        self._check_columns()
        if self.targets.validation and not self.targets.validates:
            raise ValueError(
                f"targets.validation: targets of kind {self.targets.name()} keep no records for it"
            )
        if self.targets.validation + self.targets.test >= 1:
            raise ValueError(
                "targets: validation and test together leave nothing to train on; their sum must "
                "be below 1"
            )
        if not self.loss.factors:
            raise ValueError("loss.factors: name at least one variable")
        self.targets.check(self)
        return self

    def _check_columns(self) -> None:
        searched = self.first_guess.columns.factors
        items = LearnableSet(self.learnable).items
        maps = [item.name for item in items if item.shape == "map"]
        for item in items:
            if item.held and item.name not in searched:
                raise ValueError(
                    f"learnable: {item.name} is held, and first_guess.columns.factors does not "
                    f"find it either"
                )
        for name in searched:
            if name not in maps:
                raise ValueError(
                    f"first_guess.columns.factors: {name} is not learned as a map; write "
                    f"learnable: [{name}: map]"
                )
        if searched and not self.first_guess.passes:
            raise ValueError(
                "first_guess.columns: needs first_guess.passes, between which columns are searched"
            )

    def _check_initial(self) -> None:
        """What is said of a start that is not learned would be ignored in silence."""
        self.initial_set()
        if self.loss.background and not self.initial:
            raise ValueError(
                "loss.background weighs changes of the initial state, and initial names no variable"
            )
        if self.initial and self.batch * self.groups > 1:
            raise ValueError(
                "initial: a change of the initial state belongs to one window: batch and groups "
                "must be 1"
            )
        odd = sorted(set(self.loss.columns) - set(self.loss.factors))
        if odd:
            raise ValueError(f"loss.columns: {odd[0]} is not compared; name it under loss.factors")
        if min(self.loss.columns.values(), default=1) < 1:
            raise ValueError("loss.columns: at least 1 column of each variable")

    def initial_set(self) -> InitialSet | None:
        """What may change about the start; None: nothing."""
        items = [
            InitialChange(n, i.scale or CHANGEABLE[n], i.length, i.depth)
            for n, i in self.initial.items()
        ]
        return InitialSet(items) if items else None

    def _check_alone(self) -> None:
        """What is not moved by the network would be persistence."""
        if self.corrector.kind == "none" or self.learnable:
            raise ValueError(
                "physics: false leaves a network alone: give the corrector a kind, and learnable: "
                "[]"
            )
        still = sorted(
            n for n in self.loss.factors if _MOVED_BY.get(n, n) not in self.corrector.outputs
        )
        if still:
            raise ValueError(
                f"corrector.outputs: without physics nothing moves {', '.join(still)}, which "
                f"loss.factors compares"
            )

    def config(self) -> Config:
        """The experiment that is trained, at the start of training."""
        return load_config(
            self.experiment, self.overrides | {f"parameters.{n}": v for n, v in self.start.items()}
        )

    def truth_config(self) -> Config:
        """The experiment that makes the states that are kept of the truth."""
        return self.targets.config(self)

    def identity(self) -> dict[str, str]:
        """What a checkpoint of this recipe must agree in; lengths, intervals and rates may be
        changed on resume."""
        parts = {
            "experiment": [self.experiment, self.overrides, self.start],
            "learnable": self.learnable,
            "corrector": self.corrector.model_dump(
                mode="json", exclude={"halo"}, exclude_defaults=True
            ),
            "targets": self.targets.identity(),
            "seed": self.seed,
            "physics": self.physics,
            "loss": self.loss.model_dump(mode="json", exclude_defaults=True),
        }
        if self.first_guess.passes:
            parts["first_guess"] = self.first_guess.model_dump(mode="json")
        if self.weights:
            parts["weights"] = self.weights
        if self.initial:
            parts["initial"] = self.model_dump(mode="json", include={"initial"})
        return {k: _short(v) for k, v in parts.items()}


def _short(value) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return (
        text
        if len(text) <= 60
        else f"{text[:40]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"
    )


def load_recipe(source: str | Path | dict, sets=()) -> Recipe:
    """A checked recipe.

    Args:
        source: path of a YAML file, or a dict. sets: ``key=value`` texts, or a dict.

    Raises:
        ConfigError: no such file, unknown key (with the nearest), wrong value.
    """
    if isinstance(source, dict):
        tree = json.loads(json.dumps(source))
    else:
        tree = read_yaml(Path(source), "recipe", "experiment, learnable, targets")
    for key, value in sets.items() if isinstance(sets, dict) else map(split_setting, sets):
        if key.startswith("overrides."):
            tree.setdefault("overrides", {})[key.removeprefix("overrides.")] = value
        elif key.startswith("targets.changes."):
            tree.setdefault("targets", {}).setdefault("changes", {})[
                key.removeprefix("targets.changes.")
            ] = value
        else:
            set_key(tree, key, value, Recipe)
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_message, error.errors()))) from None
    if recipe.config().corrector.weights and recipe.corrector.kind != "none":
        raise ConfigError(
            "overrides: corrector.weights puts a trained corrector into the ocean that is trained; "
            "to go on from it, name its training folder under weights"
        )
    recipe.truth_config()
    return recipe


def is_recipe(source: str | Path | None) -> bool:
    """Whether a path leads to a YAML file of a recipe, and not of an experiment."""
    path = Path(source or "")
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    keys = set(read_yaml(path, "recipe or experiment", "experiment, grid"))
    return bool(keys & (set(Recipe.model_fields) - set(Config.model_fields) - {"base"}))


def _message(error: dict) -> str:
    if error["type"] != "extra_forbidden":
        return violation(error)
    section: Any = Recipe
    for part in error["loc"][:-1]:
        inside = get_args(section)
        # Into a section by its key; into a dict or list of sections by any.
        info = getattr(section, "model_fields", {}).get(part)
        section = info.annotation if info else inside[-1] if inside else None
    close = difflib.get_close_matches(
        str(error["loc"][-1]), getattr(section, "model_fields", {}), n=1
    )
    return f"unknown parameter {'.'.join(map(str, error['loc']))}" + (
        f"; did you mean {close[0]}?" if close else ""
    )


def write_recipe(path: Path, recipe: Recipe) -> None:
    """The full recipe, ready to be run again."""
    path.write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        encoding="utf-8",
    )
