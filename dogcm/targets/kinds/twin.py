"""Twins: the truth is the same model with other parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from dogcm.components import option
from dogcm.io.restart import write_restart
from dogcm.setups.config import Config, Section, par
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.targets.blobs import with_blobs
from dogcm.targets.records import RecordedTruth, record_path, write_records

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe


class BlobRecipe(Section):
    """A Gaussian anomaly of a tracer."""

    variable: Literal["temperature", "salinity"] = par("temperature", "1", "the tracer")
    amplitude: float = par(1.0, "unit of the tracer", "at the centre")
    lon: float = par(0.0, "degrees", "centre; on a plane x in km")
    lat: float = par(0.0, "degrees", "centre; on a plane y in km")
    depth: float = par(0.0, "m", "centre", ge=0)
    width: float = par(5e5, "m", "standard deviation in the horizontal", gt=0)
    thickness: float = par(200.0, "m", "standard deviation in the vertical", gt=0)


class Twin(RecordedTruth):
    """The same model with other parameters; its states are kept as restarts."""

    kind: ClassVar[str] = "twin"
    blobs: list[BlobRecipe] = option(
        list,
        "1",
        "anomalies, added to the truth after its first record, which rollouts start from, was "
        "written",
    )

    def config(self, recipe: Recipe) -> Config:
        return load_config(recipe.experiment, recipe.overrides | self.changes)

    def description(self, recipe: Recipe) -> dict:
        blobs = [b.model_dump(mode="json") for b in self.blobs]
        return super().description(recipe) | ({"blobs": blobs} if blobs else {})

    def identity(self) -> dict:
        found = super().identity()
        del found["kind"]  # checkpoints have always taken a twin for granted
        return found

    def make(self, folder: Path, truth: Model, model: Model) -> None:
        def write(record: int) -> None:
            write_restart(record_path(folder, record), truth)
            if not record:
                # Rollouts start from the first record and do not know of these.
                truth.state = with_blobs(truth.state, self.blobs, truth)

        write_records(truth, self.spinup, self.intervals, truth.steps_in(self.every), write)


__all__ = ["BlobRecipe", "Twin"]
