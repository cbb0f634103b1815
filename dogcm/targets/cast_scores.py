"""Scores of forecasts at profiles: what :class:`dogcm.evaluation.evaluation.Judge` is on a grid."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from dogcm.evaluation.score_table import ScoreBook, depth_bands
from dogcm.learning.losses import observe
from dogcm.targets.casts import CASTS, Casts


class CastJudge:
    """Gathers forecasts and profiles on rank 0 and scores them there; every rank calls its methods.

    The observations of a profile within a layer are averaged first, and so is what the model has
    there; every layer of every profile counts by the layer's thickness.

    Attributes:
        book: of scores, on rank 0. note: what anomalies are relative to.
    """

    def __init__(self, setup, names: list[str]):
        self.setup, self.names, self.model = setup, names, setup.model
        self.interval = setup.every * setup.model.physics.dt
        self.book: ScoreBook | None = None
        self.note = (
            "at profiles; no climatology among the contenders; anomalies are those from the mean "
            "of the profiles of the training part by layer"
        )
        halos = self.model.halos
        self._read = self.model.jit(lambda casts, seen: casts.read(halos, seen))
        self._usual = setup.train.means(names)

    def start(self, window, initial=None) -> None:
        """A new case."""
        casts: Casts = window.values[CASTS]
        self._casts, nz = casts, self.model.vertical.nz
        self._still = observe(window.state, self.names)
        self._truth = self._layered(casts.values)
        parts = self.model.comm.gather(np.asarray(casts.record))
        self._record = None if parts is None else np.concatenate(parts)
        if self._record is not None and self.book is None:
            bands = {"all": slice(None)} | depth_bands(self.model.vertical.centres)
            self.book = ScoreBook({}, bands)
        if self.book is not None:
            thickness = np.asarray(self.model.vertical.dz, float).reshape(nz, 1, 1)
            shape = (nz, 1, self._record.size)
            self.book.weights = {n: np.broadcast_to(thickness, shape) for n in self.names}

    def add(self, name: str, lead: int, seen: dict[str, Any], seed: int = 0) -> None:
        """The forecast of a contender at the ``lead``-th record after the start."""
        found = self._read(self._casts.at_once(), jax.tree.map(lambda x: x[None], seen))
        self._score(name, lead, found, seed)

    def add_baselines(self) -> None:
        """Persistence of the state that forecasts start from."""
        leads = 0 if self._record is None else int(self._record.max(initial=-1)) + 1
        for lead in range(self.model.comm.broadcast(leads)):
            self.add("persistence", lead, self._still)

    def _layered(self, values: dict[str, Any]) -> dict[str, np.ndarray]:
        """Means by layer ``(nz, 1, p)`` of all ranks' profiles on rank 0, NaN where none."""
        out, nz = {}, self.model.vertical.nz
        for n in self.names:
            there, layer = np.asarray(self._casts.weights[n]) > 0, np.asarray(self._casts.layer)
            total, count = (np.zeros((nz, layer.shape[0])) for _ in range(2))
            column = np.broadcast_to(np.arange(layer.shape[0])[:, None], layer.shape)
            np.add.at(total, (layer[there], column[there]), np.asarray(values[n], float)[there])
            np.add.at(count, (layer[there], column[there]), 1.0)
            parts = self.model.comm.gather(
                np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)
            )
            if parts is not None:
                out[n] = np.concatenate(parts, axis=1)[:, None]
        return out

    def _score(self, name: str, lead: int, found: dict[str, Any], seed: int = 0) -> None:
        arrays = self._layered(found)
        for n, values in arrays.items():
            now = (self._record == lead)[None, None]
            truth = np.where(now, self._truth[n], np.nan)
            if not np.isfinite(truth).any():
                continue  # nobody was there on that day
            usual = np.broadcast_to(self._usual[n][:, None, None], truth.shape)
            self.book.add(name, n, self.interval * (lead + 1), values, truth, usual, seed)


__all__ = ["CastJudge"]
