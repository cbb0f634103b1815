"""Finer runs: the truth resolves more, and is brought to the grid that is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from dogcm.components import option
from dogcm.setups.config import Config
from dogcm.setups.inputs import vertical_grid
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.targets.finer import VALID_FILE, CoarseGrainer
from dogcm.targets.records import UNFINISHED, RecordedTruth, record_path, write_records

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe


class Finer(RecordedTruth):
    """A run on a finer grid, brought to the recipe's; kept as restarts of the coarser model."""

    kind: ClassVar[str] = "finer"
    experiment: str = option(
        "", "1", "name of the finer experiment; empty: that of the recipe, with changes"
    )
    layers: Literal["recipe", "own"] = option(
        "recipe", "1", "its layers are those of the recipe's grid, or its own, which are remapped"
    )

    def config(self, recipe: Recipe) -> Config:
        layers = {}
        if self.layers == "recipe":
            layers = {"grid.layers": [float(h) for h in vertical_grid(recipe.config()).dz]}
        # Overrides are meant for the grid of the recipe's experiment, not for that of another.
        source, overrides = (
            (self.experiment, {}) if self.experiment else (recipe.experiment, recipe.overrides)
        )
        return load_config(source, overrides | layers | self.changes)

    def description(self, recipe: Recipe) -> dict:
        coarse = recipe.config().model_dump(mode="json")
        # What the records take from the model that is trained.
        own = {k: coarse[k] for k in ("grid", "bathymetry", "time", "run")}
        return super().description(recipe) | {"grid": own}

    def make(self, folder: Path, truth: Model, model: Model) -> None:
        self.make_for(truth, [(folder, model)])

    def make_for(self, truth: Model, wanted: list[tuple[Path, Model]]) -> None:
        """One finer run for several grids: the folder of each, and the model that is trained.

        The run itself is kept in the first folder, to go on from after an interruption.
        """
        # Before the run: grids that do not nest are found out at once.
        grains = [(folder, CoarseGrainer(truth, model)) for folder, model in wanted]

        def write(record: int) -> None:
            for folder, grain in grains:
                grain.write(record_path(folder, record))

        every, kept = truth.steps_in(self.every), wanted[0][0] / UNFINISHED
        write_records(truth, self.spinup, self.intervals, every, write, kept)
        for folder, grain in grains:
            grain.write_valid(folder / VALID_FILE)


__all__ = ["Finer"]
