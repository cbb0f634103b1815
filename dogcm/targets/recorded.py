"""Base of targets that are records on the model's grid, read from files."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from dogcm.components import option
from dogcm.simulation.model import Model
from dogcm.targets.container import Targets
from dogcm.targets.errors import TargetError
from dogcm.targets.gridded import TargetGrid
from dogcm.targets.interfaces import Parts, Truth
from dogcm.targets.observed import ObservedTargets, last_for_training
from dogcm.targets.seasons import Seasons, write_seasons
from dogcm.targets.windows import STARTS, TargetWindows

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe


class GriddedTruth(Truth):
    """Records of variables on the model's grid; a class for one's own files writes :meth:`read`.

    A window starts from a record: the variables of ``start`` are those of the record, all others,
    and places that it does not cover, those of a state of the model.

    Attributes:
        holds: variables that its files may have, of :data:`dogcm.targets.container.VARIABLES`.
    """

    holds: ClassVar[tuple[str, ...]] = ()
    start: list[str] = option(list, "1", "what the start of a window takes from the records")
    seasons: int = option(
        1, "1", "states of the model for all else, spread over the year after the spin-up", ge=1
    )

    @abstractmethod
    def read(self, grid: TargetGrid, names: tuple[str, ...], year: float) -> Targets:
        """Records of these variables; on rank 0 alone.

        Args:
            grid: of the model. year: s, of its forcing.

        Raises:
            TargetError: files that cannot be used.
        """

    @model_validator(mode="after")
    def _starts_are_there(self):
        known = [n for n in self.holds if n in STARTS]
        for name in self.start:
            if name not in known:
                raise ValueError(f"targets.start: {name!r} is none of {', '.join(known)}")
        return self

    def check(self, recipe: Recipe) -> None:
        odd = sorted(set(recipe.loss.factors) - set(self.holds))
        if odd:
            raise ValueError(
                f"loss.factors: targets of kind {self.name()} hold {', '.join(self.holds)}, not "
                f"{odd[0]}"
            )

    def description(self, recipe: Recipe) -> dict:
        return super().description(recipe) | {"seasons": self.seasons}

    def make(self, folder: Path, truth: Model, model: Model) -> None:
        write_seasons(truth, folder, self.spinup, self.seasons)

    def parts(self, folder: Path, model: Model, names: list[str], every: int) -> Parts:
        grid, year = TargetGrid.gather(model), model.config.forcing.year * 86400.0
        wanted = tuple(n for n in self.holds if n in names or n in self.start)
        whole = Targets.on_ranks(model.decomposition, lambda: self.read(grid, wanted, year))
        if whole.times.size < 2:
            raise TargetError("targets: one record in the period; training needs two at least")
        seasons, parts = Seasons.read(folder, model, self.seasons), []
        cut = last_for_training(whole.times.size, self.test)
        for first, last in ((0, cut), (cut, whole.times.size - 1)):
            begin, end = float(whole.times[first]), float(whole.times[last])
            part = whole.window(begin, end - begin)
            windows = TargetWindows(
                part, seasons.states[0], model.physics.dt, every, tuple(names), tuple(self.start)
            )
            parts.append(ObservedTargets(windows, seasons))
        return Parts(*parts)


__all__ = ["GriddedTruth"]
