"""A first guess of the equilibrium from the mean of those that were learned from, and how they
differ from it.

Kept on the grid of these, and looked up by latitude, longitude and depth: another grid, or another
tile, takes what lies nearest in water.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dogcm.io.regrid import nearest, unit_vectors

_NEIGHBOURS = 4


@dataclass(frozen=True)
class Reference:
    """Values in water.

    Attributes:
        lon, lat: degrees, (column,). depth: m, (z,). values: the mean and the modes, tracer by
            tracer, (tracer, z, column), NaN on land.
    """

    lon: np.ndarray
    lat: np.ndarray
    depth: np.ndarray
    values: np.ndarray

    @staticmethod
    def of(grid, mask: np.ndarray, values: np.ndarray) -> Reference:
        """From values (tracer, z, y, x) and the water (z, y, x) of the whole ocean on one tile."""
        wet = mask.any(axis=0)
        at = lambda f: np.asarray(f.interior)[wet].astype(np.float32)
        found = np.where(mask > 0, values, np.nan)[:, :, wet].astype(np.float32)
        depth = np.asarray(grid.z_c)[:, 0, 0].astype(np.float32)
        return Reference(at(grid.lon_c), at(grid.lat_c), depth, found)

    def on(self, grid, mask: np.ndarray) -> np.ndarray:
        """On a tile, (tracer, z, y, x), 0 on land: means of the nearest water, by the inverse of
        the distance, between two depths."""
        wet = mask.any(axis=0)
        there = unit_vectors(*(np.asarray(f.interior)[wet] for f in (grid.lat_c, grid.lon_c)))
        levels = np.stack([self._level(k, there) for k in range(len(self.depth))], axis=1)
        depth = np.asarray(grid.z_c)[:, 0, 0]
        place = np.interp(depth, self.depth, np.arange(len(self.depth)))
        low = np.minimum(place.astype(int), max(len(self.depth) - 2, 0))
        high = np.minimum(low + 1, len(self.depth) - 1)
        share = (place - low)[None, :, None]
        mixed = (1.0 - share) * levels[:, low] + share * levels[:, high]
        out = np.zeros((len(self.values), *mask.shape))
        out[:, :, wet] = mixed
        return out * mask

    def _level(self, k: int, there: np.ndarray) -> np.ndarray:
        """(tracer, place) of one depth; below the deepest water that of the depth above."""
        while k > 0 and not np.isfinite(self.values[0, k]).any():
            k -= 1
        water = np.isfinite(self.values[0, k])
        tree = nearest(unit_vectors(self.lat[water], self.lon[water]))
        count = min(_NEIGHBOURS, int(water.sum()))
        distance, number = tree.query(there, k=list(range(1, count + 1)))
        weight = 1.0 / (distance + 1e-6) ** 2
        weight = weight / weight.sum(axis=1, keepdims=True)
        known = self.values[:, k, water].astype(float)
        return np.einsum("tpn,pn->tp", known[:, number], weight)


__all__ = ["Reference"]
