"""What all pictures share: land, coasts, axes, dates, and how a figure is saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


class PlotError(ValueError):
    """Nothing to draw; the message says what is there."""


LAND = "0.72"


@dataclass(frozen=True)
class Look:
    """How a variable is drawn.

    Attributes:
        title: words above the map. unit: on the colour bar. colours: name of a cmocean colour map.
        symmetric: whether 0 sits in the middle. low, high: percentiles that the colours span.
    """

    title: str
    unit: str
    colours: str
    symmetric: bool = False
    low: float = 1.0
    high: float = 99.0


def open_dataset(path: Path):
    """An open xarray dataset of a netCDF file or a zarr store.

    Raises:
        PlotError: it cannot be read.
    """
    import xarray as xr

    engine = "zarr" if path.suffix == ".zarr" else None
    try:
        return xr.open_dataset(path, engine=engine, decode_timedelta=False)
    except (OSError, ValueError) as error:
        raise PlotError(f"{path} cannot be read ({error})") from error


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Cell edges around ``centres``, half way between neighbours."""
    if centres.size == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def draw_coast(ax, x: np.ndarray, y: np.ndarray, values: np.ndarray) -> None:
    """A thin line along the cell faces between land and ocean."""
    land = ~np.isfinite(values)
    xe, ye = cell_edges(x), cell_edges(y)
    segments = []
    for j, i in zip(*np.nonzero(land[:, 1:] != land[:, :-1])):
        segments.append([(xe[i + 1], ye[j]), (xe[i + 1], ye[j + 1])])
    for j, i in zip(*np.nonzero(land[1:] != land[:-1])):
        segments.append([(xe[i], ye[j + 1]), (xe[i + 1], ye[j + 1])])
    from matplotlib.collections import LineCollection

    ax.add_collection(LineCollection(segments, colors="0.25", linewidths=0.5))


def label_axes(ax, x_unit: str, y_unit: str) -> None:
    """Degrees as 60°E and 30°N, anything else as a name with its unit."""
    if x_unit.startswith("degree"):
        from matplotlib.ticker import MultipleLocator

        ax.xaxis.set_major_locator(MultipleLocator(60 if np.ptp(ax.get_xlim()) > 200 else 20))
        ax.yaxis.set_major_locator(MultipleLocator(30 if np.ptp(ax.get_ylim()) > 100 else 10))
        ax.xaxis.set_major_formatter(longitude_label)
        ax.yaxis.set_major_formatter(latitude_label)
        return
    ax.set_xlabel(_axis_label("x", x_unit))
    ax.set_ylabel(_axis_label("y", y_unit))


def _axis_label(axis: str, unit: str) -> str:
    """Grids from files count rows and columns."""
    if unit == "1":
        return {"x": "column", "y": "row"}[axis]
    return f"{axis} ({unit})"


def longitude_label(value: float, _=None) -> str:
    """A longitude (degrees) as ``60°W``; Matplotlib's second argument is not needed."""
    value = (value + 180.0) % 360.0 - 180.0
    if abs(value) < 1e-9 or abs(abs(value) - 180.0) < 1e-9:
        return f"{abs(value):g}°"
    return f"{abs(value):g}°{'E' if value > 0 else 'W'}"


def latitude_label(value: float, _=None) -> str:
    """A latitude (degrees) as ``30°S``."""
    return f"{abs(value):g}°{'N' if value > 0 else 'S' if value < 0 else ''}"


def colourbar_ends(values: np.ndarray, low: float, high: float) -> str:
    """Matplotlib's word for the ends of a colour bar that values lie beyond."""
    good = values[np.isfinite(values)]
    below, above = bool((good < low).any()), bool((good > high).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (below, above), "neither"
    )


def extremes(values: np.ndarray) -> str:
    """The least and the largest value, in words."""
    good = values[np.isfinite(values)]
    return f"min {good.min():.3g}, max {good.max():.3g}" if good.size else "no value"


def date_label(value) -> str:
    """Year, month and day of a decoded or raw time."""
    if hasattr(value, "year"):  # cftime
        return f"{value.year:04d}-{value.month:02d}-{value.day:02d}"
    if np.issubdtype(np.asarray(value).dtype, np.datetime64):
        return str(np.datetime_as_string(np.asarray(value), unit="D"))
    return f"day {float(value):g}"


def experiment_of(data) -> str:
    """Name of the experiment that a dataset's attributes give."""
    for key in ("experiment", "title", "name"):
        if data.attrs.get(key):
            return str(data.attrs[key])[:60]
    return "dogcm"


def save(figure, path: Path) -> Path:
    """Write a figure to ``path`` and close it; returns the path."""
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.15)
    plt.close(figure)
    return path


def label_latitudes(ax, unit: str) -> None:
    """The x axis of a meridional section: latitudes, or y with its unit."""
    if unit.startswith("degree"):
        from matplotlib.ticker import MultipleLocator

        ax.xaxis.set_major_locator(MultipleLocator(20 if np.ptp(ax.get_xlim()) > 60 else 10))
        ax.xaxis.set_major_formatter(latitude_label)
    else:
        ax.set_xlabel(_axis_label("y", unit))
