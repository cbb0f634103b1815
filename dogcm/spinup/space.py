"""The vectors of a solve: all tracers of one tile in one array, with norms and sums over the ocean.

Tracers are weighed by the water in their cells, and scaled by the size of the tracers of their
*group* (those of one kind, which may turn into each other). Sums over the ocean do not depend on
the order of additions, so every layout takes the same way to the equilibrium.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.dynamics.continuity import stretch_c
from dogcm.field import Field
from dogcm.halo import exact_row_sums, once
from dogcm.spinup.circulation import Circulation


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors ``(tracer, z, y, x)`` of one tile.

    Attributes:
        names: the tracers. groups: number of the group of each. halos: for sums.
        volume: water of the cells when the year begins (m3), 0 on land, (z, y, x); also 0 where a
            fold stores a cell twice. mask: 1 in water. place: a Field that tells the place on the
            grid.
    """

    names: tuple[str, ...]
    groups: tuple[int, ...]
    halos: Any
    volume: jax.Array
    mask: jax.Array
    place: Field

    def stacked(self, tracers: dict[str, Field]) -> jax.Array:
        """The vector of tracers by name."""
        rows = [jnp.asarray(tracers[n].interior, jnp.float64) for n in self.names]
        return jnp.stack(rows) * self.mask

    def fields(self, x) -> dict[str, Field]:
        """Tracers by name."""
        return {n: self.place.with_data(x[i]).named(n) for i, n in enumerate(self.names)}

    @cached_property
    def _sums(self):
        def sums(terms):
            count = terms.shape[0]
            rows = exact_row_sums(self.halos, terms.reshape(-1, *terms.shape[-2:]))
            return rows.reshape(count, -1)

        return sums

    @cached_property
    def _products(self):
        def of(weights, vectors, x):
            return self._sums(vectors * (x * weights)[None])

        return self.halos.jit(of)

    @cached_property
    def _sum(self):
        return self.halos.jit(lambda weights, x: self._sums((x * weights)[:, None]))

    def dots(self, vectors, x, weights) -> np.ndarray:
        """Products of each of ``vectors`` (m, tracer, z, y, x) with ``x``; the same on every rank.

        Args:
            weights: (tracer, z, y, x), see :meth:`weights`.
        """
        return np.asarray(self._products(weights, vectors, x)).sum(axis=1)

    def dot(self, x, y, weights) -> float:
        """Product of two vectors."""
        return float(self.dots(x[None], y, weights)[0])

    def contents(self, x) -> np.ndarray:
        """Content of each group (unit times m3), and so many numbers."""
        per_tracer = np.asarray(self._sum(self.volume, x)).sum(axis=1)
        return self.by_group(per_tracer)

    def by_group(self, per_tracer) -> np.ndarray:
        """Sums over the tracers of each group."""
        out = np.zeros(max(self.groups) + 1)
        np.add.at(out, list(self.groups), np.asarray(per_tracer))
        return out

    def sizes(self, x) -> np.ndarray:
        """Root mean square of each group (unit of the tracer): that of its tracers together."""
        squares = np.asarray(self._sum(self.volume, x * x)).sum(axis=1)
        whole = float(np.asarray(self._sum(self.volume, self.mask[None])).sum())
        return np.sqrt(self.by_group(squares) / whole)

    def residual(self, change, x) -> float:
        """Largest over the groups of the size of ``change`` over the size of ``x``."""
        size, moved = self.sizes(x), self.sizes(change)
        return float(np.max(moved / np.where(size > 0, size, np.where(moved > 0, moved, 1.0))))

    def per_tracer(self, by_group) -> jax.Array:
        """One number of each group for its tracers, (tracer, 1, 1, 1)."""
        values = np.asarray(by_group, float)[list(self.groups)]
        return jnp.asarray(values)[:, None, None, None]

    def weights(self, scales) -> jax.Array:
        """Weights of a product in which tracers are measured in ``scales`` (one of each group)."""
        safe = np.where(np.asarray(scales) > 0, scales, 1.0)
        total = float(np.asarray(self._sum(self.volume, self.mask[None])).sum())
        return self.volume[None] / self.per_tracer(safe) ** 2 / total


def space_of(model, names: tuple[str, ...], circulation: Circulation, grid) -> Space:
    """The vectors of a model's tracers."""
    groups: dict[str, int] = {}
    number = []
    for name in names:
        owner = next(k.label for k in model.passive.kinds if _declares(k, name))
        number.append(groups.setdefault(owner, len(groups)))
    mask = grid.mask_c.crop(0)
    return Space(
        names,
        tuple(number),
        model.halos,
        volume_of(model.halos, circulation, grid),
        mask.data,
        mask,
    )


def volume_of(halos, circulation: Circulation, grid) -> jax.Array:
    """Water of the cells when the year begins, see :class:`Space`."""
    eta = circulation.eta.with_data(circulation.eta.data[0])
    volume = (grid.h_c * grid.area_c).crop(0) * stretch_c(eta, grid).crop(0)
    return once(halos, (volume * grid.mask_c.crop(0)).data)


def _declares(kind, name: str) -> bool:
    return any(v.name == name for v in kind.variables())
