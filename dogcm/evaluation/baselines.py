"""Forecasts that any model has to beat: persistence, climatology, damped persistence. Numpy, on
rank 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dogcm.evaluation.scores import ScoreError

YEAR = 365.0 * 86400.0


@dataclass(frozen=True)
class Climatology:
    """Mean seasonal cycle: a mean and a few harmonics of the year at every cell.

    Attributes:
        coefficients: ``(1 + 2 harmonics, ...)``: mean, then cosine and sine of each harmonic.
        year: s.
    """

    coefficients: np.ndarray
    year: float = YEAR

    @classmethod
    def fit(cls, times, fields, harmonics: int = 2, year: float = YEAR) -> Climatology:
        """Least squares over the training records.

        Args:
            times: ``(n,)`` s since the start of a model year. fields: ``(n, ...)``; NaN (land, ice)
                stays NaN at cells that are never seen, and counts as missing where there are enough
                other records.
            harmonics: of the year; 2 follows the seasons of most of the ocean, 0 is the plain mean.

        Raises:
            ScoreError: fewer records than coefficients.
        """
        times, fields = np.asarray(times, float), np.asarray(fields, float)
        basis = _basis(times, harmonics, year)
        if times.size < basis.shape[1] or np.linalg.matrix_rank(basis) < basis.shape[1]:
            raise ScoreError(
                f"a climatology of {harmonics} harmonics needs at least {basis.shape[1]} records "
                f"spread over "
                f"the year, got {times.size}"
            )
        flat = fields.reshape(times.size, -1)
        there = np.isfinite(flat)
        whole = there.all(0)
        out = np.full((basis.shape[1], flat.shape[1]), np.nan)
        out[:, whole] = np.linalg.lstsq(basis, flat[:, whole], rcond=None)[0]
        for cell in np.flatnonzero(~whole & (there.sum(0) > basis.shape[1])):
            seen = there[:, cell]
            if np.linalg.matrix_rank(basis[seen]) == basis.shape[1]:
                out[:, cell] = np.linalg.lstsq(basis[seen], flat[seen, cell], rcond=None)[0]
        return cls(out.reshape(basis.shape[1], *fields.shape[1:]), year)

    def at(self, times) -> np.ndarray:
        """Values ``(n, ...)`` at times ``(n,)`` (s), or ``(...)`` at one time."""
        harmonics = (self.coefficients.shape[0] - 1) // 2
        basis = _basis(np.atleast_1d(np.asarray(times, float)), harmonics, self.year)
        out = np.tensordot(basis, self.coefficients, axes=(1, 0))
        return out if np.ndim(times) else out[0]

    def forecast(self, initial, start: float, leads) -> np.ndarray:
        """``(leads, ...)``, whatever the initial state."""
        return self.at(start + np.asarray(leads, float))


@dataclass(frozen=True)
class MonthlyClimatology:
    """Mean of each twelfth of the year, linear between their middles.

    Attributes:
        means: ``(12, ...)``. year: s.
    """

    means: np.ndarray
    year: float = YEAR

    @classmethod
    def fit(cls, times, fields, year: float = YEAR) -> MonthlyClimatology:
        """Means of the records ``(n, ...)`` of each month; NaN does not count.

        Raises:
            ScoreError: a month without a record.
        """
        month = (
            np.floor(np.mod(np.asarray(times, float) / year, 1.0) * 12.0 + 1e-9).astype(int) % 12
        )
        empty = sorted(set(range(12)) - set(month.tolist()))
        if empty:
            raise ScoreError(
                f"no record in month {empty[0] + 1}: a monthly climatology needs all twelve"
            )
        fields = np.asarray(fields, float)
        means = []
        for m in range(12):
            here = fields[month == m]
            count = np.isfinite(here).sum(0)
            means.append(
                np.where(count > 0, np.nansum(here, 0) / np.where(count > 0, count, 1), np.nan)
            )
        return cls(np.stack(means), year)

    def at(self, times) -> np.ndarray:
        """Values ``(n, ...)`` at times ``(n,)`` (s), or ``(...)`` at one time."""
        position = np.mod(np.asarray(times, float) / self.year, 1.0) * 12.0 - 0.5
        first = np.floor(position).astype(int)
        w = (position - first).reshape(*np.shape(times), *[1] * (self.means.ndim - 1))
        return (1 - w) * self.means[first % 12] + w * self.means[(first + 1) % 12]

    def forecast(self, initial, start: float, leads) -> np.ndarray:
        """``(leads, ...)``, whatever the initial state."""
        return self.at(start + np.asarray(leads, float))


@dataclass(frozen=True)
class Persistence:
    """Nothing changes."""

    def forecast(self, initial, start: float, leads) -> np.ndarray:
        """``(leads, ...)``: the initial field at every lead (s)."""
        initial = np.asarray(initial, float)
        return np.broadcast_to(initial, (len(leads), *initial.shape)).copy()


@dataclass(frozen=True)
class DampedPersistence:
    """The initial anomaly decays towards climatology, ``exp(-lead / tau)``.

    Attributes:
        climatology: a fitted climatology. tau: e-folding time (s) of each cell, or one for all.
    """

    climatology: Climatology | MonthlyClimatology
    tau: np.ndarray | float

    @classmethod
    def fit(cls, climatology, times, fields, interval: float, weights=None) -> DampedPersistence:
        """Decay from the autocorrelation of anomalies one ``interval`` (s) apart, in evenly spaced
        records.

        Args:
            weights: of the cells, for one ``tau`` of all of them; default: each has its own, which
                few records cannot tell well.

        Raises:
            ScoreError: records that are not ``interval`` apart.
        """
        times = np.asarray(times, float)
        if times.size < 3 or not np.allclose(np.diff(times), interval, rtol=0.15):
            raise ScoreError(f"damped persistence needs at least 3 records {interval:g} s apart")
        anomaly = np.asarray(fields, float) - climatology.at(times)
        now, later = anomaly[:-1], anomaly[1:]
        there = np.isfinite(now) & np.isfinite(later)
        cross, square = (np.where(there, x, 0.0).sum(0) for x in (now * later, now * now))
        if weights is not None:
            cross, square = np.sum(cross * weights), np.sum(square * weights)
        rho = np.clip(cross / np.where(square > 0, square, 1.0), 1e-6, 1.0 - 1e-9)
        return cls(climatology, np.where(square > 0, -interval / np.log(rho), interval))

    def forecast(self, initial, start: float, leads) -> np.ndarray:
        """``(leads, ...)``."""
        leads = np.asarray(leads, float)
        anomaly = np.asarray(initial, float) - self.climatology.at(start)
        decay = np.exp(-leads.reshape(-1, *[1] * anomaly.ndim) / self.tau)
        return self.climatology.at(start + leads) + decay * anomaly


def _basis(times: np.ndarray, harmonics: int, year: float) -> np.ndarray:
    phase = 2.0 * np.pi * times[:, None] / year
    waves = [f(m * phase) for m in range(1, harmonics + 1) for f in (np.cos, np.sin)]
    return np.concatenate([np.ones_like(phase), *waves], 1)
