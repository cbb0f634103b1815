"""Potential energy, and the part of it that no motion can release.

The reference potential energy is that of the same water brought to rest without mixing: all cells
are sorted by density, and the basin is filled from its deepest point with the densest water first
(Winters et al. 1995, doi:10.1017/S002211209500125X). It grows by mixing alone, so its growth in an
ocean without physical mixing measures what the advection scheme mixes (Ilicak et al. 2012,
doi:10.1016/j.ocemod.2011.10.003; Petersen et al. 2015, doi:10.1016/j.ocemod.2014.12.004).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.diagnostics.circulation import reference_density
from dogcm.dynamics.continuity import stretch_c
from dogcm.dynamics.pressure import cell_depths
from dogcm.halo import once
from dogcm.io.root import on_root


class PotentialEnergies(NamedTuple):
    """Energies (J) of potential density, heights counted from the deepest point of the sea floor.

    Attributes:
        potential: of the water as it lies. reference: of the water at rest. available: their
            difference.
    """

    potential: float
    reference: float

    @property
    def available(self) -> float:
        return self.potential - self.reference


def potential_energies(model: Any, box: bool = False) -> PotentialEnergies:
    """Potential energies of a model's present state, the same on every rank.

    Cells are gathered on rank 0 and sorted there, in the order of the globe: the numbers have the
    same bits on every layout. Density is that of water brought to the surface, so that one order
    holds at all depths. Memory on rank 0: some ten global arrays.

    Args:
        model: a :class:`dogcm.Model`.
        box: fill a box as wide as the sea surface, from its top down, in place of the basin: what
            Petersen et al. (2015) and E3SM's polaris compute.
    """
    names = ("density", "volume", "height", "area", "depth")
    gathered = [model.decomposition.gather(np.asarray(a)) for a in _cells(model)]
    return on_root(
        model.comm,
        lambda: _energies(dict(zip(names, gathered)), model.physics.gravity, box),
    )


def _cells(model: Any) -> tuple[jax.Array, ...]:
    """Of this tile's cells: potential density (kg m-3), volume (m3) and height of the centre above
    the level at rest (m); of its columns: area (m2, 0 on land) and depth (m)."""
    grid, state, eos = model.grid, model.state, model.dynamics.eos
    exact = lambda field: field.interior.astype(jnp.float64)
    anomaly = exact(eos.anomaly(state.temperature, state.salinity, slice(0, 1)))
    stretch, eta = exact(stretch_c(state.eta, grid)), exact(state.eta)
    area = once(model.halos, exact(grid.area_c * grid.wet_c))
    volume = exact(grid.h_c) * stretch * area
    height = eta - exact(cell_depths(grid)) * stretch
    return anomaly + reference_density(eos, 0.0), volume, height, area, exact(grid.depth_c)


def _energies(cells: dict[str, np.ndarray], gravity: float, box: bool) -> PotentialEnergies:
    wet = cells["volume"] > 0
    density, volume, height = (cells[n][wet] for n in ("density", "volume", "height"))
    sea = cells["area"] > 0
    area, depth = cells["area"][sea], cells["depth"][sea]
    deepest = float(depth.max())
    if box:
        depth = np.full_like(depth, volume.sum() / area.sum())
    weight = gravity * density * volume
    reference = gravity * reference_height(density, volume, area, deepest - depth)
    return PotentialEnergies(float((weight * (height + deepest)).sum()), reference)


def reference_height(
    density: np.ndarray, volume: np.ndarray, area: np.ndarray, floor: np.ndarray
) -> float:
    """Integral of density times height (kg m) after the water was sorted.

    The volume below a height is piecewise linear in it, with a bend at the floor of every column,
    so the integral is exact for the columns as they are.

    Args:
        density (kg m-3), volume (m3): of the cells, in any order. area (m2), floor (m, height
            above some level): of the columns.
    """
    rising = np.argsort(floor, kind="stable")
    z, wide = floor[rising], np.cumsum(area[rising])
    below = np.concatenate([[0.0], np.cumsum(wide[:-1] * np.diff(z))])
    moment = np.concatenate([[0.0], np.cumsum(0.5 * wide[:-1] * np.diff(z**2))])

    def integral(amount: np.ndarray) -> np.ndarray:
        """Of height over the lowest ``amount`` of volume."""
        k = np.searchsorted(below, amount, side="right") - 1
        top = z[k] + (amount - below[k]) / wide[k]
        return moment[k] + 0.5 * wide[k] * (top**2 - z[k] ** 2)

    heavy = np.argsort(-density, kind="stable")
    edges = integral(np.concatenate([[0.0], np.cumsum(volume[heavy])]))
    return float((density[heavy] * np.diff(edges)).sum())


__all__ = ["PotentialEnergies", "potential_energies", "reference_height"]
