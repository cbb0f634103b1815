"""Validation: records that no gradient has seen choose among the weights of a training.

The records for training, for validation and for evaluation follow each other in time and share no
more than the record between them. The weights that are kept are those with the least error on the
second part; the third has no say in anything.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.io.root import on_root
from dogcm.io.whole import whole_file

VALIDATION_FILE = "validation.csv"
_COLUMNS = ("update", "loss", "steps", "windows")


class Validation:
    """Errors on the records for validation by update, of the averaged weights.

    Every rank builds it and calls its methods.

    Args:
        part: the records. steps: of the rollouts. windows: at most so many, evenly spread.
        every: updates between checks. patience: checks in a row without a smaller error after which
            training ends; 0: never. done: updates of an interrupted training that are kept.

    Raises:
        ConfigError: no rollout fits into the records.
    """

    def __init__(self, part, steps: int, recipe, folder: Path, comm, done: int = 0):
        count = part.count(steps)
        if count < 1:
            raise ConfigError(
                f"targets.validation: no rollout of {steps} steps fits into the records for "
                "validation; give them a larger part, or make a longer truth"
            )
        wanted = min(count, recipe.windows)
        chosen = np.unique(np.linspace(0, count - 1, wanted).round().astype(int))
        self.windows, self.steps, self.part = [int(i) for i in chosen], steps, part
        self.every, self.patience = recipe.every, recipe.patience
        self.path, self.comm = folder / VALIDATION_FILE, comm
        self.kind = (steps, len(self.windows))
        self.rows: list[tuple[int, float]] = on_root(comm, _kept, self.path, done, self.kind)

    def due(self, report, last: int) -> bool:
        """Whether the error is wanted after an update (a roll-back is none) of ``last``."""
        return not report.trouble and (report.update % self.every == 0 or report.update == last)

    def best(self) -> tuple[int, float] | None:
        """Update and error of the best weights so far."""
        return min(self.rows, key=lambda row: row[1], default=None)

    def note(self, update: int, loss: float) -> bool:
        """Keep an error; returns whether it is the smallest."""
        before = self.best()
        loss = loss if np.isfinite(loss) else float("inf")
        self.rows.append((update, loss))
        on_root(self.comm, _write, self.path, self.rows, self.kind)
        return before is None or loss < before[1]

    @property
    def tired(self) -> bool:
        """Whether so many checks in a row brought nothing that training should end."""
        if not self.patience or not self.rows:
            return False
        losses = [loss for _, loss in self.rows]
        return len(losses) - 1 - int(np.argmin(losses)) >= self.patience


def _kept(path: Path, done: int, kind: tuple[int, int]) -> list[tuple[int, float]]:
    """Errors up to an update; those of other rollouts or windows compare with nothing."""
    if not done or not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    alike = [r for r in rows if (int(r["steps"]), int(r["windows"])) == kind]
    return [(int(r["update"]), float(r["loss"])) for r in alike if int(r["update"]) <= done]


def _write(path: Path, rows, kind: tuple[int, int]) -> None:
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_COLUMNS, *((u, repr(v), *kind) for u, v in rows)])


__all__ = ["VALIDATION_FILE", "Validation"]
