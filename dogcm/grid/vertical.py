"""Vertical coordinate: z* with partial bottom cells.

Layer k is ``dz[k]`` thick at rest; the lowest wet cell of a column may be thinner (Adcroft et al.
1997, doi:10.1175/1520-0493(1997)125<2293:ROTBSC>2.0.CO;2). With the free surface at height eta
every layer of a column stretches by ``1 + eta / H`` (Adcroft and Campin 2004,
doi:10.1016/j.ocemod.2003.09.003), so surfaces move together, volume follows the free surface, and a
uniform tracer stays uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VerticalGrid:
    """Layer thicknesses at rest, m, from the surface down."""

    dz: np.ndarray

    def __post_init__(self):
        dz = np.asarray(self.dz, dtype=float)
        if dz.ndim != 1 or dz.size < 1 or not (dz > 0).all():
            raise ValueError(f"layer thicknesses must be positive, got {self.dz}")
        object.__setattr__(self, "dz", dz)

    @property
    def nz(self) -> int:
        return self.dz.size

    @property
    def edges(self) -> np.ndarray:
        """Depths of the layer interfaces, m, positive down: nz + 1 values from 0."""
        return np.concatenate([[0.0], np.cumsum(self.dz)])

    @property
    def centres(self) -> np.ndarray:
        """Depths of the layer centres, m, positive down."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def spacing(self) -> np.ndarray:
        """Distances between neighbouring centres, m: nz - 1 values."""
        return np.diff(self.centres)


def stretched_layers(nz: int, depth: float, top: float) -> np.ndarray:
    """``nz`` layers that grow smoothly from ``top`` metres to fill ``depth`` metres."""
    if nz * top >= depth:
        return np.full(nz, depth / nz)
    # Layer k is top * (1 + a * s(k)) with a smooth ramp s from 0 to 1; a follows from the sum.
    s = 0.5 * (1 - np.cos(np.pi * (np.arange(nz) + 0.5) / nz))
    a = (depth / top - nz) / s.sum()
    return top * (1 + a * s)
