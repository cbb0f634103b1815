"""A page (HTML, one file) about trainings: tables, curves of learning, scores by lead."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from pathlib import Path

from dogcm.evaluation.comparison import Comparison, cells_of
from dogcm.io.whole import whole_file
from dogcm.plots.scores import ScorePlotError, draw_by_lead

_STYLE = """
body { font-family: sans-serif; margin: 2em auto; max-width: 70em; color: #222; }
table { border-collapse: collapse; font-size: 0.85em; margin: 1em 0; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.8em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
"""
_SCORES = ("rmse", "acc", "variance_ratio")


def write_report(found: Comparison, path: str | Path) -> Path:
    """Write the page; pictures are inside it.

    Raises:
        OSError: the file cannot be written.
    """
    parts = [f"<h1>{html.escape(', '.join(run.name for run in found.runs))}</h1>"]
    parts += [f"<p><b>{html.escape(note)}</b></p>" for note in found.notes()]
    parts += ["<h2>Trainings</h2>", _table(found.summaries())]
    if rows := found.differences():
        parts += ["<h2>What the recipes differ in</h2>", _table(rows)]
    parts += ["<h2>Learning</h2>", _image(_curves(found))]
    for score in _SCORES:
        if picture := _by_lead(found, score):
            parts += [f"<h2>{score}</h2>", picture, _table(found.scores(score))]
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>dogcm</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )
    path = Path(path)
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _table(rows: list[dict]) -> str:
    if not rows:
        return ""
    columns, lines = cells_of(rows)
    line = lambda tag, cells: "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells)
    body = "".join(f"<tr>{line('td', cells)}</tr>" for cells in lines)
    return f"<table><tr>{line('th', columns)}</tr>{body}</table>"


def _image(content: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def _curves(found: Comparison) -> bytes:
    """Loss by update, smoothed over a fiftieth of the updates, and the error on validation."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot

    validated = any(run.validation for run in found.runs)
    figure, axes = pyplot.subplots(
        1, 1 + validated, figsize=(6 + 5 * validated, 3.6), layout="constrained", squeeze=False
    )
    for run in found.runs:
        loss = np.array([float(r["loss"]) for r in run.log])
        width = max(len(loss) // 50, 1)
        smooth = np.convolve(loss, np.ones(width) / width, "valid") if len(loss) else loss
        axes[0, 0].semilogy(np.arange(len(smooth)) + width, smooth, label=run.name, lw=1.2)
        if validated:
            points = [(int(r["update"]), float(r["loss"])) for r in run.validation]
            axes[0, 1].semilogy(*(zip(*points) if points else ([], [])), label=run.name, marker=".")
    for ax, label in zip(axes[0], ("loss (1)", "error on validation (1)")):
        ax.set(xlabel="updates", ylabel=label)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    pyplot.close(figure)
    return content.getvalue()


def _by_lead(found: Comparison, score: str) -> str:
    """The picture of a score by lead; empty where no run has it."""
    rows = []
    for run in found.runs:
        rows += [r | {"contender": run.name} for r in run.scores if r["contender"] == "trained"]
    first = next((run for run in found.runs if run.scores), None)
    if first is not None:
        names = {run.name for run in found.runs} | {"trained"}
        rows += [r for r in first.scores if r["contender"] not in names]
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _image(draw_by_lead(rows, score, Path(folder) / "scores.png").read_bytes())
        except ScorePlotError:
            return ""


__all__ = ["write_report"]
