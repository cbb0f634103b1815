"""Pictures of verification cases: lines and sections side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dogcm.plots.style import save


def draw_panels(panels: Sequence[Any], path: Path) -> Path:
    """Draw the panels of a case (:class:`dogcm.verification.cases.Panel`) in a row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    size = (5.0 * len(panels), 3.2)
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    for ax, panel in zip(axes[0], panels):
        if panel.image is not None:
            _section(figure, ax, panel)
        for label, (x, y) in panel.lines.items():
            mark = "o-" if np.size(x) < 12 else "-"
            ax.plot(x, y, mark, label=label, linewidth=1.5, markersize=3)
        if len(panel.lines) > 1:
            ax.legend(frameon=False, fontsize=8)
        if panel.logarithmic:
            ax.set(xscale="log", yscale="log")
        ax.set(xlabel=panel.x_label, ylabel=panel.y_label)
        ax.set_title(panel.title, loc="left", fontsize=11)
    return save(figure, path)


def _section(figure, ax, panel: Any) -> None:
    import cmocean  # noqa: F401 registers its colour maps

    mesh = ax.pcolormesh(panel.image_x, panel.image_y, panel.image, cmap="cmo.thermal")
    figure.colorbar(mesh, ax=ax)


__all__ = ["draw_panels"]
