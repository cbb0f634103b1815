"""Windows of profiles: a state of the model to start from, and what was measured where afterwards.

The model is read where the profiles were taken (:class:`dogcm.targets.profiles.ProfileOperator`),
at the record of a rollout nearest to their time, so nothing is gridded and the derivative is exact.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.field import Field, exchange
from dogcm.learning.losses import COMPARED, SQUARED, observe
from dogcm.learning.penalties import Penalty
from dogcm.learning.problem import Window
from dogcm.simulation.model import Model
from dogcm.targets.errors import TargetError
from dogcm.targets.gridded import TargetGrid
from dogcm.targets.profiles import ProfileOperator, Profiles, gather_profiles, locate
from dogcm.targets.seasons import Seasons

#: Key of the casts in :attr:`dogcm.learning.problem.Window.values`.
CASTS = "profiles"
_CLOSE = 1e-3  # s
# A quiet layer gets at least so much of the largest scale, or its noise would count the most.
_FLOOR = 0.05


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["operator", "record", "layer", "values", "weights"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Casts:
    """The profiles of one window on this tile, ``p`` of them with ``m`` levels each.

    Attributes:
        operator: reads the model there. record: which target time of the rollout, ``(p,)``.
        layer: of the model that holds each observation, ``(p, m)``.
        values: name to ``(p, m)``, 0 where there is none.
        weights: name to ``(p, m)``, 0 where there is no value; over all ranks they add up to 1.
    """

    operator: ProfileOperator
    record: jax.Array
    layer: jax.Array
    values: dict[str, jax.Array]
    weights: dict[str, jax.Array]

    def at_once(self) -> Casts:
        """The same as if all had been measured at the first record."""
        return replace(self, record=jnp.zeros_like(self.record))

    def read(self, halos, seen: dict[str, Field]) -> dict[str, jax.Array]:
        """The model at each observation, ``(p, m)`` by name.

        Args:
            seen: Fields ``(records, nz, y, x)`` at cell centres, any halo.
        """
        deep = exchange(halos, *((seen[n], 1) for n in self.values))
        return {n: self.operator.at_records(f, self.record) for n, f in zip(self.values, deep)}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["scales"],
    meta_fields=["factors", "halos", "penalty"],
)
@dataclass(frozen=True)
class CastError:
    """Weighted mean of squared errors at profiles, each in units of the scale of its layer.

    Attributes:
        factors: variables, and how much each counts. scales: name to ``(nz,)``.
        penalty: how an error counts, in place of its square.
    """

    factors: tuple[tuple[str, float], ...]
    scales: dict[str, Any]
    halos: Any = field(repr=False)
    penalty: Penalty = SQUARED

    @classmethod
    def of(cls, model: Model, loss, scales: dict[str, Any]) -> CastError:
        """The loss on a model's tiles.

        Args:
            loss: section ``loss`` of a recipe. scales: name to a number or ``(nz,)``;
                default: a typical error.

        Raises:
            ValueError: a scale that is not above 0.
        """
        found = {}
        for n in loss.factors:
            scale = np.broadcast_to(scales.get(n, COMPARED[n][3]), model.vertical.nz)
            if not (np.isfinite(scale).all() and (scale > 0).all()):
                raise ValueError(f"the scale of {n} must be a number above 0")
            found[n] = jnp.asarray(scale, model.dtype)
        return cls(tuple(loss.factors.items()), found, model.halos, loss.penalty)

    @property
    def names(self) -> list[str]:
        return [n for n, _ in self.factors]

    def __call__(self, predicted: dict[str, Field], target: dict[str, Casts], valid=None):
        """This rank's share of the loss; for ``valid`` see :attr:`Casts.weights`."""
        casts = target[CASTS]
        found = casts.read(self.halos, predicted)
        share = jnp.zeros((), next(iter(found.values())).dtype)
        for name, factor in self.factors:
            error = (found[name] - casts.values[name]) / self.scales[name][casts.layer]
            share = share + factor * jnp.sum(casts.weights[name] * self.penalty(error))
        return share


class CastWindows:
    """Windows of profiles in a part of their period; see :class:`dogcm.targets.interfaces.Part`.

    All ranks build it together.

    Args:
        profiles: all of them, the same on every rank. model: on whose tiles they are wanted.
        seasons: states of the model that windows start from. names: variables compared.
        span: begin and end of the part (s). every: steps between the records of a rollout.
    """

    def __init__(self, profiles: Profiles, model: Model, seasons: Seasons, names, span, every: int):
        self.model, self.seasons, self.names = model, seasons, list(names)
        self.span, self.every, self.interval = span, every, every * model.physics.dt
        grid = TargetGrid.gather(model)
        cells = None if grid is None else grid.cells
        index, mine, operator = locate(
            profiles, model.horizontal, model.vertical, model.decomposition, cells
        )
        self._index, self._operator = index, operator
        self._times, self._layer = profiles.times, _layers(profiles.depth, model.vertical.edges)
        there = gather_profiles(model.decomposition, operator.valid, index, len(profiles))
        wet = np.nan_to_num(model.comm.broadcast(there)) > 0
        self._values = {n: profiles.values[n] for n in self.names}
        self._valid = {n: wet & np.isfinite(v) for n, v in self._values.items()}
        self._room: dict[int, int] = {}

    @property
    def records(self) -> int:
        """Number of moments at which a window may start or be compared."""
        return int((self.span[1] - self.span[0] + _CLOSE) // self.interval) + 1

    def count(self, steps: int) -> int:
        """Number of windows for rollouts of ``steps``."""
        return max(0, self.records - steps // self.every)

    def window(self, index: int, steps: int) -> Window:
        """The window that starts ``index`` records after the begin of the part."""
        start = self.span[0] + index * self.interval
        state = self.seasons.nearest(start).replace(time=jnp.asarray(start, jnp.float64))
        return Window(state, {CASTS: self._casts(self._records(start, steps), steps)})

    def _records(self, start: float, steps: int) -> np.ndarray:
        """Of each profile the record of a rollout from ``start`` that it belongs to, or -1."""
        record = np.rint((self._times - start) / self.interval).astype(int) - 1
        return np.where((record >= 0) & (record < steps // self.every), record, -1)

    def _casts(self, record: np.ndarray, steps: int) -> Casts:
        mine = np.flatnonzero(record[self._index] >= 0)
        where, spare = self._index[mine], self._most(steps) - mine.size
        padded = lambda a: jnp.asarray(np.pad(a, [(0, spare)] + [(0, 0)] * (a.ndim - 1)))
        dtype, o = self.model.dtype, self._operator
        operator = ProfileOperator(
            *(padded(np.asarray(a)[mine]) for a in (o.rows, o.columns, o.levels, o.weights)),
            *(padded(np.asarray(a)[mine]) for a in (o.valid, o.times)),
            o.tile_shape,
        )
        inside = record >= 0
        values, weights = {}, {}
        for n in self.names:
            there = self._valid[n] & inside[:, None]
            weight = self._weights(there)
            values[n] = padded(np.where(there, self._values[n], 0.0)[where].astype(dtype))
            weights[n] = padded(weight[where].astype(dtype))
        return Casts(operator, padded(record[where]), padded(self._layer[where]), values, weights)

    def _weights(self, there: np.ndarray) -> np.ndarray:
        """Every layer that was observed counts alike, and so do the observations within it."""
        count = np.bincount(self._layer[there], minlength=self.model.vertical.nz)
        each = 1.0 / (np.maximum(count, 1) * max(1, np.count_nonzero(count)))
        return np.where(there, each[self._layer], 0.0)

    def _most(self, steps: int) -> int:
        """The most profiles that a window has on this tile: windows of one shape are compiled
        once."""
        if steps not in self._room:
            starts = self.span[0] + self.interval * np.arange(self.count(steps))
            mine = lambda s: self._records(s, steps)[self._index] >= 0
            counts = [int(mine(s).sum()) for s in starts]
            self._room[steps] = max(1, max(counts, default=0))
        return self._room[steps]

    def require(self, steps: int) -> None:
        """Refuse a part without anything to compare.

        Raises:
            TargetError: no profile in the ocean in any window of ``steps``.
        """
        starts = self.span[0] + self.interval * np.arange(self.count(steps))
        for name, valid in self._valid.items():
            if not any(valid[self._records(s, steps) >= 0].any() for s in starts):
                raise TargetError(
                    f"targets: no profile of {name} in the model's ocean between day "
                    f"{self.span[0] / 86400:g} and {self.span[1] / 86400:g} of the model: choose "
                    "another period, files or grid"
                )

    def means(self, names) -> dict[str, np.ndarray]:
        """Mean of what was measured in this part by layer ``(nz,)``; that of all layers where
        there is none."""
        inside = (self._times >= self.span[0]) & (self._times <= self.span[1])
        out = {}
        for n in names:
            there = self._valid[n] & inside[:, None]
            layer, values, nz = self._layer[there], self._values[n][there], self.model.vertical.nz
            count = np.bincount(layer, minlength=nz)
            mean = np.bincount(layer, values, nz) / np.maximum(count, 1)
            out[n] = np.where(count > 0, mean, values.mean() if values.size else 0.0)
        return out

    def spread(self, steps: int, most: int = 8) -> dict[str, np.ndarray]:
        """Root mean square difference of profiles from the states that windows start from, by
        layer ``(nz,)``: with it as scale a loss of 1 is that of persistence. Every rank calls
        it."""
        nz, comm = self.model.vertical.nz, self.model.comm
        sums = {n: np.zeros((2, nz)) for n in self.names}
        read = self.model.jit(lambda casts, seen: casts.read(self.model.halos, seen))
        last = self.count(steps) - 1
        for index in np.unique(np.linspace(0, last, min(last + 1, most)).round().astype(int)):
            window = self.window(int(index), steps)
            casts = window.values[CASTS]
            same = jax.tree.map(lambda x: x[None], observe(window.state, self.names))
            found = read(casts.at_once(), same)
            for n in self.names:
                there = np.asarray(casts.weights[n]) > 0
                square = np.square(np.asarray(found[n], float) - np.asarray(casts.values[n]))
                layer = np.asarray(casts.layer)[there]
                sums[n][0] += np.bincount(layer, square[there], nz)
                sums[n][1] += np.bincount(layer, minlength=nz)
        parts = comm.gather(sums)
        total = None if parts is None else {n: sum(p[n] for p in parts) for n in self.names}
        return {n: _scale(*comm.broadcast(total)[n], n) for n in self.names}


def _scale(squares: np.ndarray, counts: np.ndarray, name: str) -> np.ndarray:
    """Root mean squares, the mean of all where a layer has not been seen."""
    if not counts.any():
        return np.full(counts.shape, COMPARED[name][3])
    rms = np.sqrt(squares / np.maximum(counts, 1))
    rms = np.where(counts > 0, rms, np.sqrt(squares.sum() / counts.sum()))
    return np.maximum(rms, max(_FLOOR * rms.max(), 1e-12))


def _layers(depth: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Layer of the model that holds each depth (m)."""
    found = np.searchsorted(edges, np.nan_to_num(depth), side="right") - 1
    return np.clip(found, 0, edges.size - 2)


__all__ = ["CASTS", "CastError", "CastWindows", "Casts"]
