"""The file of the truth as a plane that changes with the weather, and releases as its sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import netCDF4
import numpy as np
from truth import VERSION

from dogcm.decomp import SerialCommunicator, make_layout
from dogcm.field import Field
from dogcm.planar import make_plane

DAY = 86400.0
EDDIES = 20.0  # m2 s-1, a first guess of what stirs below 12.5 km
DEEP = 16.0  # m, scale of the boundary layer's depth
MIXED = 1e-3  # m2 s-1, scale of vertical diffusivity


class TruthError(ValueError):
    """A file of the truth that cannot be used; says what and why."""


@dataclass(frozen=True)
class Truth:
    """Releases into one sea.

    Attributes:
        concentration: (case, time, y, x), kg m-3, of the first layer. every: s between records.
        inventory: (case, time), kg, of the whole sea. train: (case,).
        arrays: of :func:`dogcm.planar.make_plane`, (interval, ...). cell: dx, dy, height (m).
        begin, end: (case, 2), m. strength: (case,), kg s-1. stops: (case,), s. width: m.
    """

    concentration: np.ndarray
    inventory: np.ndarray
    every: float
    train: np.ndarray
    arrays: dict
    cell: tuple
    begin: np.ndarray
    end: np.ndarray
    strength: np.ndarray
    stops: np.ndarray
    width: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.concentration.shape[-2:]

    @property
    def seconds(self) -> float:
        return self.every * (self.concentration.shape[1] - 1)

    def plane(self, dtype=np.float32, comm=None, layout=None):
        """What :func:`dogcm.planar.make_plane` gives, by default on one rank."""
        layout = layout or make_layout(self.shape, 1, 1, periodic_x=False)
        comm = comm or SerialCommunicator()
        return make_plane(comm, layout, self.arrays, self.cell, dtype, self.every)

    def source(self, cases, dt: float):
        """Function of time (s) that gives kg m-3 s-1 in the middle of the step that follows, a
        Field (case, y, x)."""
        dx, dy, height = self.cell
        x, y = ((np.arange(n) + 0.5) * d for n, d in zip(self.shape[::-1], (dx, dy)))
        begin, end = (jnp.asarray(a, jnp.float32)[cases] for a in (self.begin, self.end))
        stops = jnp.asarray(self.stops, jnp.float32)[cases]
        size = jnp.asarray(self.strength, jnp.float32)[cases] / (2 * np.pi * self.width**2 * height)

        def at(time):
            part = ((time + 0.5 * dt) / self.seconds).astype(jnp.float32)
            place = begin + (end - begin) * jnp.clip(part, 0.0, 1.0)
            away = lambda axis, n: (axis - place[:, n, None]) ** 2 / (2 * self.width**2)
            far = away(y, 1)[:, :, None] + away(x, 0)[:, None, :]
            now = size * (time + 0.5 * dt < stops)
            rate = now[:, None, None] * jnp.exp(-far)
            return Field(rate.astype(jnp.float32), "c")

        return at


def read_truth(path: Path) -> Truth:
    """Read the file that ``truth.py make`` writes.

    Raises:
        TruthError: no such file, or of another version.
    """
    if not Path(path).exists():
        raise TruthError(f"no {path}: python training/surface_tracer/truth.py make {path}")
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        if getattr(file, "version", None) != VERSION:
            raise TruthError(f"{path} has version {getattr(file, 'version', None)}, not {VERSION}")
        get = lambda name: np.asarray(file[name][:], float)
        height = float(get("thickness").mean())
        x, y, time = get("x"), get("y"), get("time")
        ends = [np.stack([get(f"source_{w}{a}") for a in "xy"], -1) for w in ("", "end_")]
        return Truth(
            get("concentration"), get("inventory"), float(time[1] - time[0]),
            np.array(file["split"][:]) == "train", _arrays(get, height),
            (x[1] - x[0], y[1] - y[0], height), *ends, get("source_strength"),
            get("source_stops"), float(file.source_width),
        )  # fmt: skip


def _arrays(get, height: float) -> dict:
    """What is known of the first layer: its currents, and how it is mixed with the next."""
    mixing, depth, mask = get("vertical_diffusivity"), get("boundary_layer_depth"), get("mask")
    signals = [np.log10(np.maximum(mixing, 1e-5) / MIXED) / 2, depth / DEEP - 1.0]
    return {
        "mask": mask,
        "u": get("u"),
        "v": get("v"),
        "eddy_diffusivity": EDDIES * mask,
        # Centres of the first two layers are as far apart as the first is thick.
        "mixing": mixing / height**2,
        "signals": np.stack(signals, 1),
    }
