"""Put the pictures of a ten-year run beside each other for the docs.

dogcm run global_4deg --years 10 --output ten --set run.monitor_every=5 --set
run.output.monthly.every=365 dogcm plot ten
python docs/make_figures.py ten/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FIGURES = Path(__file__).with_name("figures")


def join(folder: Path, names: list[str], target: str, columns: int, width: float) -> None:
    """One picture from several, in rows of ``columns``."""
    images = [plt.imread(folder / f"{n}.png") for n in names]
    rows = -(-len(images) // columns)
    ratio = images[0].shape[0] / images[0].shape[1]
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, width / columns * ratio * rows), squeeze=False
    )
    for ax, image in zip(axes.flat, images):
        ax.imshow(image)
    for ax in axes.flat:
        ax.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    figure.savefig(FIGURES / target, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    pictures = Path(sys.argv[1])
    join(pictures, ["temperature", "eta", "speed"], "global_4deg.png", 3, 16)
    join(pictures, ["temperature_section", "monitor"], "global_4deg_ten_years.png", 2, 14)
