"""Scores of several contenders side by side: by variable, depth and lead time, with spread over
seeds."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dogcm.evaluation import scores
from dogcm.evaluation.scores import ScoreError
from dogcm.io.whole import whole_file

DAY = 86400.0
_SCORES = ("rmse", "bias", "acc", "variance_ratio")
#: Interfaces (m) between depth bands; a layer belongs to the band of its middle.
BAND_EDGES = (0.0, 100.0, 500.0, 1500.0, np.inf)
_KEYS = ("variable", "depth", "lead_days", "contender")


@dataclass
class ScoreBook:
    """Collects scores case by case, so that no more than one case is in memory.

    Attributes:
        weights: variable to its weights, ``([nz,] ny, nx)``: volumes of tracers, areas of
            two-dimensional fields, open volumes at velocity points; 0 on land.
        bands: name to layers (a slice or index array) that are scored together; two-dimensional
            fields have the band ``all`` alone.
        references: contenders that skill is measured against.
    """

    weights: dict[str, np.ndarray]
    bands: dict[str, object] = field(default_factory=lambda: {"all": slice(None)})
    references: tuple[str, ...] = ("persistence", "climatology")
    _cases: dict = field(default_factory=dict, repr=False)

    def add(
        self,
        contender: str,
        variable: str,
        lead: float,
        forecast,
        truth,
        climatology,
        seed: int = 0,
    ) -> None:
        """Score one case: one field of one forecast.

        Args:
            lead: s. forecast, truth, climatology: ``([nz,] ny, nx)``. seed: of the training run.

        Raises:
            ScoreError: no weights for the variable, or shapes that do not fit.
        """
        if variable not in self.weights:
            raise ScoreError(
                f"no weights for {variable}; there are weights for {', '.join(self.weights)}"
            )
        w = np.asarray(self.weights[variable], float)
        arrays = [np.asarray(a, float) for a in (forecast, truth, climatology)]
        if any(a.shape != w.shape for a in arrays):
            raise ScoreError(
                f"{contender}, {variable}: forecast {arrays[0].shape}, truth {arrays[1].shape} and "
                f"climatology {arrays[2].shape} must all have the shape {w.shape} of the weights"
            )
        bands: dict[str, Any] = dict(self.bands) if w.ndim == 3 else {"all": None}
        for band, layers in bands.items():
            f, o, c, part = (a if layers is None else a[layers] for a in (*arrays, w))
            if not (np.isfinite(o) & (part > 0)).any():
                continue
            key = (variable, band, round(lead / DAY, 6), contender)
            case = (
                scores.mse(f, o, part),
                scores.bias(f, o, part),
                scores.acc(f, o, c, part),
                scores.variance_ratio(f, o, c, part),
            )
            self._cases.setdefault(key, {}).setdefault(seed, []).append([float(x) for x in case])

    def rows(self) -> list[dict]:
        """One row per variable, depth, lead and contender: mean and standard deviation over seeds.

        Mean square errors are averaged over cases before the root is taken; ``skill_vs_X`` is
        ``1 - mse / mse of X``.

        Raises:
            ScoreError: a contender has not been scored on the same number of cases as a reference.
        """
        return [self._row(key) for key in sorted(self._cases, key=lambda k: k[:3])]

    def _row(self, key: tuple) -> dict:
        seeds = self._cases[key]
        per_seed = np.array([np.mean(np.array(cases), 0) for cases in seeds.values()])
        mse = per_seed[:, 0].copy()
        per_seed[:, 0] = np.sqrt(mse)
        row = dict(zip(_KEYS, key), seeds=len(seeds), cases=len(next(iter(seeds.values()))))
        for name, column in zip(_SCORES, per_seed.T):
            row[name], row[f"{name}_std"] = mean_and_spread(column)
        for reference in self.references:
            there = self._cases.get((*key[:3], reference))
            if there is None:
                continue
            counts = {len(c) for c in (*seeds.values(), *there.values())}
            if len(counts) > 1:
                raise ScoreError(
                    f"{key[3]} and {reference} were scored on different numbers of cases "
                    f"{sorted(counts)} "
                    f"({key[0]}, day {key[2]:g}): give every contender the same cases"
                )
            base = np.mean([np.mean([c[0] for c in cases]) for cases in there.values()])
            name = f"skill_vs_{reference}"
            row[name], row[f"{name}_std"] = mean_and_spread(scores.skill(mse, base))
        return row


def depth_bands(centres: np.ndarray) -> dict[str, np.ndarray]:
    """Layers by depth: name to their indices; empty where all layers are in one band."""
    found = {}
    for top, bottom in zip(BAND_EDGES[:-1], BAND_EDGES[1:]):
        layers = np.flatnonzero((centres >= top) & (centres < bottom))
        if layers.size:
            found[f"{top:g}-{bottom:g} m" if np.isfinite(bottom) else f"below {top:g} m"] = layers
    return found if len(found) > 1 else {}


def mean_and_spread(values) -> tuple[float, float]:
    """Mean and standard deviation (of a sample, n - 1) over seeds; the spread of one seed is 0."""
    v = np.asarray(values, float)
    return float(v.mean()), float(v.std(ddof=1)) if v.size > 1 else 0.0


def score_table(
    forecasts: dict, truth: dict, climatology: dict, weights: dict, leads, **options
) -> list[dict]:
    """Rows of a :class:`ScoreBook` from whole arrays.

    Args:
        forecasts: ``{contender: {seed: {variable: (cases, leads, [nz,] ny, nx)}}}``, baselines
            included.
        truth, climatology: ``{variable: (cases, leads, [nz,] ny, nx)}``.
        weights: ``{variable: ([nz,] ny, nx)}``. leads: ``(leads,)`` s. options: of
            :class:`ScoreBook`.

    Raises:
        ScoreError: a variable without truth, or shapes that do not fit.
    """
    book = ScoreBook(weights, **options)
    for contender, seeds in forecasts.items():
        for seed, variables in seeds.items():
            for name, values in variables.items():
                if name not in truth or name not in climatology:
                    raise ScoreError(
                        f"{contender} forecasts {name}, for which there is no truth or climatology"
                    )
                if np.shape(values) != np.shape(truth[name]) or np.shape(values)[1] != len(leads):
                    raise ScoreError(
                        f"{contender}, {name}: forecasts {np.shape(values)}, truth "
                        f"{np.shape(truth[name])} "
                        f"and {len(leads)} leads do not fit; needed is (cases, leads, [nz,] ny, nx)"
                    )
                for case in range(np.shape(values)[0]):
                    for n, lead in enumerate(leads):
                        o, c = truth[name][case][n], climatology[name][case][n]
                        book.add(contender, name, lead, values[case][n], o, c, seed)
    return book.rows()


def _columns(rows: list[dict]) -> list[str]:
    if not rows:
        raise ScoreError("no scores to write")
    return list(dict.fromkeys(name for row in rows for name in row))


def write_csv(rows: list[dict], path) -> Path:
    """All columns, full precision. The file appears whole or not at all."""
    path, columns = Path(path), _columns(rows)
    with whole_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_csv(path) -> list[dict]:
    """Rows as :func:`write_csv` wrote them; empty cells are left out."""
    text = {"variable", "depth", "contender"}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: v if k in text else float(v) for k, v in row.items() if v != ""} for row in rows]


def write_markdown(rows: list[dict], path, scores_shown=None) -> Path:
    """A table to read: mean ± standard deviation over seeds.

    Args:
        scores_shown: columns after variable, depth, lead and contender; default: all that have a
            spread.
    """
    columns = _columns(rows)
    shown = list(scores_shown or [c for c in columns if f"{c}_std" in columns])
    unknown = [c for c in shown if c not in columns]
    if unknown:
        raise ScoreError(f"no score {', '.join(unknown)}; there are {', '.join(columns)}")
    lines = ["| " + " | ".join([*_KEYS, *shown]) + " |", "|" + "---|" * (len(_KEYS) + len(shown))]
    for row in rows:
        keys = [row["variable"], row["depth"], f"{row['lead_days']:g}", row["contender"]]
        lines.append("| " + " | ".join([*keys, *(_cell(row, c) for c in shown)]) + " |")
    path = Path(path)
    with whole_file(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _cell(row: dict, column: str) -> str:
    if column not in row or not np.isfinite(row[column]):
        return ""
    spread = row.get(f"{column}_std", 0.0)
    return f"{row[column]:.4g}" + (f" ± {spread:.2g}" if row["seeds"] > 1 and spread else "")
