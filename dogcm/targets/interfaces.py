"""What a recipe's targets have to offer: the base class of the slot ``targets``.

A kind of targets owns its options, says which experiment makes the states that windows start from,
keeps these in a folder once, and hands out windows for training and for evaluation.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dogcm.components import Component, option
from dogcm.learning.problem import Window
from dogcm.setups.config import Config
from dogcm.simulation.model import Model

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe


class Part(Protocol):
    """Targets of training or of evaluation; all ranks call its methods together.

    It may also have ``initial(index) -> (fields, valid)``, what was observed at the start of a
    window where that is not the window's state, and ``usual``, on rank 0 the climatology of
    variables by name. Without Fields of the grid it needs no ``record``, but then
    :meth:`Truth.loss` and :meth:`Truth.judge` have to know what its windows hold.
    """

    @property
    def records(self) -> int:
        """Number of records."""

    def record(self, number: int) -> tuple[float, dict, dict | None]:
        """Time (s) of a record, its Fields by name, and where they hold values (None:
        everywhere)."""

    def count(self, steps: int) -> int:
        """Number of windows for rollouts of ``steps``."""

    def window(self, index: int, steps: int) -> Window:
        """Window ``index``, of this rank's tile."""


@dataclass(frozen=True)
class Parts:
    """What targets hold.

    Attributes:
        train, test: share no more than the record between them.
        forcing: that windows are to be run with, in place of the model's; None: the model's.
        validation: lies between both and chooses among the weights of a training; None: nothing
            does.
    """

    train: Any
    test: Any
    forcing: Any = None
    validation: Any = None


class Truth(Component):
    """What a recipe trains on and is judged by."""

    slot: ClassVar[str] = "targets"
    spinup: float = option(30.0, "days", "run before the first state that is kept", ge=0)
    every: float = option(1.0, "days", "interval between records that are compared", gt=0)
    folder: str = option("", "1", "where states are kept; empty: truth/ in the output folder")
    test: float = option(0.2, "1", "last part of the records, kept for evaluation", ge=0, lt=1)
    validation: float = option(
        0.0,
        "1",
        "part of the records before it, which chooses among the weights of a training and takes no "
        "part in it; 0: the last weights count",
        ge=0,
        lt=1,
    )
    #: Whether this kind keeps such a part.
    validates: ClassVar[bool] = False

    @property
    def means(self) -> bool:
        """Whether targets are means over ``every`` about their times."""
        return False

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that cannot be trained on these targets.

        Raises:
            ValueError: which key, why, and what to do.
        """

    def config(self, recipe: Recipe) -> Config:
        """The experiment that makes the states that are kept."""
        return recipe.config()

    def description(self, recipe: Recipe) -> dict:
        """All that makes the states that are kept what they are, as plain values."""
        return {
            "kind": self.name(),
            "config": self.config(recipe).model_dump(mode="json"),
            "spinup": self.spinup,
        }

    def identity(self) -> dict:
        """What a training that goes on must agree in. Without defaults, so that options younger
        than a checkpoint do not count."""
        return {"kind": self.name()} | self.model_dump(
            mode="json", exclude={"folder"}, exclude_defaults=True
        )

    @abstractmethod
    def make(self, folder: Path, truth: Model, model: Model) -> None:
        """Keep in ``folder`` what windows start from; every rank of one group calls it.

        Args:
            truth: of :meth:`config`, to be run. model: that is trained.

        Raises:
            TargetError: data or grids that cannot be used.
        """

    @abstractmethod
    def parts(self, folder: Path, model: Model, names: list[str], every: int) -> Parts:
        """Targets for training and for evaluation; every rank calls it.

        Args:
            folder: that :meth:`make` has filled. names: variables that are compared.
            every: steps between records.

        Raises:
            TargetError: data that cannot be used. ConfigError: options that do not fit them.
        """

    def loss(self, model: Model, loss, part: Any, steps: int) -> Any:
        """A loss of its own, for targets that are no Fields of the grid; None: the usual one.

        Args:
            loss: section ``loss`` of the recipe. part: for training. steps: of the longest rollout.
        """
        return None

    def judge(self, setup, names: list[str]) -> Any:
        """Scores of its own, as :class:`dogcm.evaluation.evaluation.Judge`; None: the usual ones.

        Args:
            setup: a :class:`dogcm.learning.training.Setup`. names: variables that are compared.
        """
        return None


__all__ = ["Part", "Parts", "Truth"]
