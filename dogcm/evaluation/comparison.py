"""Trainings side by side: what their recipes differ in, how they went, how they scored."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dogcm.components.errors import ConfigError
from dogcm.evaluation.evaluation import EVALUATION_FILE
from dogcm.evaluation.score_table import read_csv
from dogcm.learning.training_log import LOG_FILE, read_log
from dogcm.learning.validation import VALIDATION_FILE

# Of a recipe: what every training has of its own.
_OWN = {"name", "description"}
_TRAINED = "trained"


@dataclass(frozen=True)
class Finished:
    """What a training has left in its folder.

    Attributes:
        name: of the folder. recipe: by dotted key. log, validation: rows of ``training.csv`` (those
            without trouble) and ``validation.csv``. scores: rows of ``evaluation.csv``; none where
            it was not evaluated.
    """

    name: str
    recipe: dict[str, Any]
    log: list[dict[str, str]]
    validation: list[dict[str, str]]
    scores: list[dict]

    def summary(self) -> dict[str, Any]:
        """One row: updates, time, loss of the last tenth, and the least validation error."""
        losses = [float(r["loss"]) for r in self.log]
        tail = losses[-max(len(losses) // 10, 1) :]
        least = min(self.validation, key=lambda r: float(r["loss"]), default=None)
        return {
            "run": self.name,
            "updates": int(self.log[-1]["update"]) if self.log else 0,
            "hours": sum(float(r["seconds"]) for r in self.log) / 3600,
            "loss": float(np.mean(tail)) if tail else None,
            "validation": float(least["loss"]) if least else None,
            "of update": int(least["update"]) if least else None,
            "seed": self.recipe.get("seed"),
        }


@dataclass(frozen=True)
class Comparison:
    """Several trainings, in the order they were named; see :func:`compare_trainings`."""

    runs: list[Finished]

    def differences(self) -> list[dict[str, Any]]:
        """A row for each key that the recipes do not agree on."""
        keys = dict.fromkeys(k for run in self.runs for k in run.recipe)
        rows = [{"key": k} | {r.name: r.recipe.get(k, "-") for r in self.runs} for k in keys]
        return [row for row in rows if len({repr(row[r.name]) for r in self.runs}) > 1]

    def summaries(self) -> list[dict[str, Any]]:
        """See :meth:`Finished.summary`."""
        return [run.summary() for run in self.runs]

    def scores(self, score: str = "rmse", depth: str = "all") -> list[dict[str, Any]]:
        """A row for each variable and lead that all evaluated runs have: the score of what each
        has learned, and of what was not trained where the first one has it."""
        evaluated = [run for run in self.runs if run.scores]
        found = [_by_lead(run.scores, _TRAINED, score, depth) for run in evaluated]
        if not found:
            return []
        references = {
            name: _by_lead(evaluated[0].scores, name, score, depth)
            for name in dict.fromkeys(r["contender"] for r in evaluated[0].scores)
            if name != _TRAINED and name not in {run.name for run in evaluated}
        }
        shared = [key for key in found[0] if all(key in f for f in found)]
        rows = []
        for variable, lead in shared:
            row: dict[str, Any] = {"variable": variable, "days": lead}
            row |= {run.name: f[variable, lead] for run, f in zip(evaluated, found)}
            row |= {name: f.get((variable, lead)) for name, f in references.items()}
            rows.append(row)
        return rows

    def notes(self) -> list[str]:
        """What to bear in mind when reading the tables."""
        told = []
        if missing := [run.name for run in self.runs if not run.scores]:
            told.append(f"not evaluated yet (dogcm evaluate): {', '.join(missing)}")
        if len({repr(_truth(run.recipe)) for run in self.runs}) > 1:
            told.append("the runs do not learn from the same truth: their scores do not compare")
        return told


def compare_trainings(folders: list[str | Path]) -> Comparison:
    """Read what trainings have left in their folders.

    Raises:
        ConfigError: no folder, one named twice, or one without a recipe or a log.
    """
    paths = [Path(f) for f in folders]
    if not paths:
        raise ConfigError("compare: name the output folders of trainings")
    names = _names(paths)
    return Comparison([_read(path, name) for path, name in zip(paths, names)])


def _names(paths: list[Path]) -> list[str]:
    """The folders' own names, with as much of the way to them as tells them apart."""
    whole = [p.resolve() for p in paths]
    if len(set(whole)) < len(whole):
        raise ConfigError("compare: a folder is named twice")
    for parts in range(1, max(len(w.parts) for w in whole) + 1):
        names = ["/".join(w.parts[-parts:]) for w in whole]
        if len(set(names)) == len(names):
            break
    return names


def _read(folder: Path, name: str) -> Finished:
    if not (folder / "recipe.yaml").is_file() or not (folder / LOG_FILE).is_file():
        raise ConfigError(
            f"compare: {folder} is no output folder of a training (recipe.yaml, {LOG_FILE})"
        )
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return Finished(
        name,
        {k: v for k, v in _dotted(recipe).items() if k.split(".")[0] not in _OWN},
        [r for r in read_log(folder) if not r["trouble"]],
        _rows(folder / VALIDATION_FILE),
        read_csv(folder / EVALUATION_FILE) if (folder / EVALUATION_FILE).is_file() else [],
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _dotted(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries by dotted key; lists are leaves."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _dotted(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _truth(recipe: dict[str, Any]) -> dict[str, Any]:
    parts = {"targets.validation"}
    return {k: v for k, v in recipe.items() if k.startswith("targets.") and k not in parts}


def _by_lead(rows: list[dict], contender: str, score: str, depth: str) -> dict:
    return {
        (r["variable"], r["lead_days"]): r[score]
        for r in rows
        if r["contender"] == contender and r["depth"] == depth and score in r
    }


def cells_of(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns of a table, in the order in which they appear, and its lines as text."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[_cell(row.get(c)) for c in columns] for row in rows]


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table to read; empty without rows."""
    if not rows:
        return ""
    columns, cells = cells_of(rows)
    widths = [max(len(line[k]) for line in [columns, *cells]) for k in range(len(columns))]
    lines = [columns, ["-" * w for w in widths], *cells]
    return "\n".join(
        "| " + " | ".join(text.ljust(w) for text, w in zip(line, widths)) + " |" for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


__all__ = ["Comparison", "Finished", "cells_of", "compare_trainings", "markdown"]
