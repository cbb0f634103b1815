"""Reanalyses as targets: windows start from their states and are compared with what followed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from dogcm.components import option
from dogcm.targets.container import Targets
from dogcm.targets.glorys import FILE_NAMES, read_glorys
from dogcm.targets.gridded import TargetGrid
from dogcm.targets.recorded import GriddedTruth


class Reanalysis(GriddedTruth):
    """GLORYS12 and its relatives (thetao, so, uo, vo, zos), averaged onto the model's grid."""

    kind: ClassVar[str] = "reanalysis"
    source: ClassVar[str] = "doi:10.48670/moi-00021"
    holds: ClassVar[tuple[str, ...]] = tuple(FILE_NAMES)
    files: str | list[str] = option("", "1", "path, or glob pattern, or a list of them")
    period: tuple[str, str] | None = option(
        None, "1", "first and last day, YYYY-MM-DD; null: all records"
    )
    start: list[str] = option(
        lambda: list(FILE_NAMES), "1", "what the start of a window takes from the reanalysis"
    )
    convert: bool = option(
        True, "1", "to Conservative Temperature and Absolute Salinity (TEOS-10); false: as it is"
    )
    max_uncovered: float = option(
        0.05, "1", "largest share of wet cells without a value", ge=0, lt=1
    )

    @model_validator(mode="after")
    def _has_files(self):
        if not self.files:
            raise ValueError("targets.files: kind reanalysis needs a path or pattern")
        return self

    def read(self, grid: TargetGrid, names: tuple[str, ...], year: float) -> Targets:
        return read_glorys(
            self.files,
            grid,
            variables=names,
            period=self.period,
            convert=self.convert,
            max_uncovered=self.max_uncovered,
            year=year,
        )


__all__ = ["Reanalysis"]
