"""Gridded sea surface temperature as targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from dogcm.components import option
from dogcm.setups.config import FileKeys
from dogcm.simulation.model import Model
from dogcm.targets.background import make_background
from dogcm.targets.interfaces import Parts, Truth
from dogcm.targets.observed import observed
from dogcm.targets.records import record_path
from dogcm.targets.seasons import write_seasons

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe


class SeaSurfaceTemperature(Truth):
    """Observed sea surface temperature; windows start from the model's own states."""

    kind: ClassVar[str] = "sst"
    path: str = option("", "1", "CF netCDF file, (time, lat, lon)")
    variable: str = option("sst", "1", "variable in the file")
    file: Annotated[
        FileKeys, Field(default_factory=FileKeys, description="what the file does not say itself")
    ]
    period: tuple[str, str] | None = option(
        None, "1", "first and last day, YYYY-MM-DD; null: all records"
    )
    monthly: bool = option(
        True, "1", "records are monthly means, whatever day they are stamped with"
    )
    seasons: int = option(
        12, "1", "states that windows start from, spread over the year after the spin-up", ge=1
    )
    mean: bool = option(
        False, "1", "records are means over every; compare with such means of the model"
    )
    hold: float = option(
        0.0,
        "days",
        "restoring time of a spin-up to the observed climatology, whose heat flux then holds the "
        "model there; 0: none",
        ge=0,
    )
    anomaly: float = option(
        0.0,
        "K",
        "a start takes over the observed anomaly, down to where the temperature differs from that "
        "of the surface by so much; 0: it does not",
        ge=0,
    )

    @model_validator(mode="after")
    def _has_a_file(self):
        if not self.path:
            raise ValueError("targets.path: kind sst needs a file")
        return self

    @property
    def means(self) -> bool:
        return self.mean

    def check(self, recipe: Recipe) -> None:
        if set(recipe.loss.factors) != {"sst"}:
            raise ValueError(
                "loss.factors: targets of kind sst hold sst alone; write factors: {sst: 1}"
            )

    def description(self, recipe: Recipe) -> dict:
        out = super().description(recipe) | {"seasons": self.seasons}
        if not self.hold:
            return out
        kept = {"hold", "variable", "period", "monthly", "mean", "test"}
        if self.file != FileKeys():
            kept.add("file")
        # A file may move.
        return out | self.model_dump(mode="json", include=kept) | {"file": Path(self.path).name}

    def make(self, folder: Path, truth: Model, model: Model) -> None:
        if self.hold:
            make_background(self, folder, truth, record_path)
        else:
            write_seasons(truth, folder, self.spinup, self.seasons)

    def parts(self, folder: Path, model: Model, names: list[str], every: int) -> Parts:
        return observed(self, folder, model, every)


__all__ = ["SeaSurfaceTemperature"]
