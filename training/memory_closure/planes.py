"""Files of the three-dimensional truth as planes for the coarse model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import netCDF4
import numpy as np

from dogcm.decomp import SerialCommunicator, make_layout
from dogcm.field import Field
from dogcm.planar import PlaneError, make_plane, place_source

VERSION = 1
FLOW = ("mask", "u", "v", "eddy_diffusivity", "open_x", "open_y")


class TruthError(ValueError):
    """A file of the truth that cannot be used; says what and why."""


@dataclass(frozen=True)
class Truth:
    """One family of cases.

    Attributes:
        name: of the family. concentration: (case, time, y, x), kg m-3. time: (time,), s.
        train: (case,) whether a case is for training.
        flow: (case,) which of ``flows`` (arrays of :func:`dogcm.planar.make_plane`) it has.
        cell: dx, dy, height (m). sources: start and end (case, source, 2), strength (case, source)
            in kg s-1 and seconds of travel (case,).
    """

    name: str
    concentration: np.ndarray
    time: np.ndarray
    train: np.ndarray
    flow: np.ndarray
    flows: tuple
    cell: tuple
    start: np.ndarray
    end: np.ndarray
    strength: np.ndarray
    travel: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.concentration.shape[-2:]

    def plane(self, flow: int = 0, dtype=np.float32):
        """What :func:`dogcm.planar.make_plane` gives, on one rank."""
        layout = make_layout(self.shape, 1, 1, periodic_x=False)
        return make_plane(SerialCommunicator(), layout, self.flows[flow], self.cell, dtype)

    def moves(self) -> bool:
        return bool(np.abs(self.end - self.start).max() > 1e-6)

    def sources(self, cases, seconds: float, dt: float) -> np.ndarray:
        """kg m-3 s-1 in the middle of each step: (step, case, y, x), one step if nothing moves."""
        steps = round(seconds / dt) if self.moves() else 1
        out = np.zeros((steps, len(cases), *self.shape))
        for n in range(steps):
            for k, case in enumerate(cases):
                part = min((n + 0.5) * dt / max(self.travel[case], 1e-9), 1.0)
                at = self.start[case] + part * (self.end[case] - self.start[case])
                for place, strength in zip(at, self.strength[case]):
                    if strength > 0:
                        mask = self.flows[self.flow[case]]["mask"]
                        out[n, k] += place_source(self.shape, self.cell, place, strength, mask)
        return out


def read_truth(path: Path, like: Truth | None = None) -> Truth:
    """Read a family.

    Args:
        like: a truth whose grid it has to have.

    Raises:
        TruthError: no such file, another version, another grid, a source outside the room.
    """
    if not Path(path).exists():
        raise TruthError(
            f"no {path}: python training/memory_closure/truth.py make {Path(path).stem}"
        )
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        if getattr(file, "version", None) != VERSION:
            raise TruthError(f"{path} has version {getattr(file, 'version', None)}, not {VERSION}")
        truth = _truth(file)
    if like is not None and (truth.shape, truth.cell) != (like.shape, like.cell):
        raise TruthError(
            f"{path} is of another grid: {truth.shape} cells of {truth.cell} m, wanted "
            f"{like.shape} of {like.cell}"
        )
    try:
        truth.sources(range(len(truth.flow)), 1.0, 1.0)
    except PlaneError as error:
        raise TruthError(f"{path}: {error}") from None
    return truth


def _truth(file) -> Truth:
    get = lambda name: np.asarray(file[name][:])
    several = "flow_number" in file.dimensions
    flows = []
    for n in range(file.dimensions["flow_number"].size if several else 1):
        flows.append({k: get(k)[n] if several else get(k) for k in FLOW})
    at = lambda name: np.stack([get(f"source_{name}{axis}") for axis in "xy"], axis=-1)
    spacing, height = float(file.plane_spacing), float(file.plane_thickness)
    concentration = get("concentration")
    return Truth(
        str(file.family), concentration, get("time"), np.array(file["split"][:]) == "train",
        get("flow").astype(int), tuple(flows), (spacing, spacing, height), at(""), at("end_"),
        get("source_strength"), get("source_travel"),
    )  # fmt: skip


def field(values, dtype=np.float32) -> Field:
    """Values at cell centres without halo."""
    return Field(jnp.asarray(values, dtype), "c")
