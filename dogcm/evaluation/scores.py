"""How good a forecast is: area- and volume-weighted scores, spectra, conservation. Numpy, on rank
0.

Arrays are global, ``([...,] [nz,] ny, nx)``; weights are those of one field (cell areas ``(ny,
nx)`` or volumes ``(nz, ny, nx)``, 0 on land) and are summed over, leading axes (cases, leads) are
kept. Cells where the truth is NaN do not count. With weights w that add up to 1, forecast f, truth
o and climatology c::

    bias = sum(w (f - o))            rmse = sqrt(sum(w (f - o)^2))
    ACC  = sum(w f' o') / sqrt(sum(w f'^2) sum(w o'^2)),   f' = f - c, o' = o - c
    variance ratio = var(f') / var(o')       (both about their means)
    skill against a reference r = 1 - mse(f) / mse(r)

(Wilks 2019, doi:10.1016/C2017-0-03921-6, chapter 9; Murphy 1988 for the skill,
doi:10.1175/1520-0493(1988)116<2417:SSBOTM>2.0.CO;2).
"""

from __future__ import annotations

import numpy as np


class ScoreError(ValueError):
    """Arrays, weights or leads that do not fit together."""


def _prepared(weights, *fields) -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...]]:
    """Weights that are 0 where a field is NaN and add up to 1 over a field, fields without NaN, and
    its axes."""
    weights = np.asarray(weights, float)
    if (weights < 0).any() or not np.isfinite(weights).all() or not weights.any():
        raise ScoreError("weights must be finite, at least 0, and not all 0")
    fields = [np.asarray(f, float) for f in fields]
    for f in fields:
        if f.shape[-weights.ndim :] != weights.shape:
            raise ScoreError(
                f"a field of shape {f.shape} and weights of {weights.shape} do not fit together"
            )
    # The last field is the truth: gaps are allowed there alone, a forecast that is NaN in the ocean
    # has failed.
    w = np.where(np.isfinite(fields[-1]), weights, 0.0)
    axes = tuple(range(-weights.ndim, 0))
    total = w.sum(axes, keepdims=True)
    w = w / np.where(total > 0, total, np.nan)
    return w, [np.where(w > 0, f, 0.0) for f in fields], axes


def weighted_mean(field, weights) -> np.ndarray:
    """Mean over the weights' axes; NaN cells do not count."""
    w, (f,), axes = _prepared(weights, field)
    return (w * f).sum(axes)


def mse(forecast, truth, weights) -> np.ndarray:
    """Weighted mean square error."""
    w, (f, o), axes = _prepared(weights, forecast, truth)
    return (w * (f - o) ** 2).sum(axes)


def rmse(forecast, truth, weights) -> np.ndarray:
    """Weighted root mean square error."""
    return np.sqrt(mse(forecast, truth, weights))


def bias(forecast, truth, weights) -> np.ndarray:
    """Weighted mean of forecast minus truth."""
    w, (f, o), axes = _prepared(weights, forecast, truth)
    return (w * (f - o)).sum(axes)


def acc(forecast, truth, climatology, weights, centred: bool = False) -> np.ndarray:
    """Anomaly correlation coefficient; NaN where an anomaly vanishes everywhere.

    Args:
        climatology: broadcast to the forecast.
        centred: take the mean out of both anomalies first, so that a uniform bias does not matter.
    """
    w, (f, o), axes = _anomalies(forecast, truth, climatology, weights)
    if centred:
        f, o = (x - (w * x).sum(axes, keepdims=True) for x in (f, o))
    both, ff, oo = ((w * x).sum(axes) for x in (f * o, f * f, o * o))
    norm = np.sqrt(ff * oo)
    return np.where(norm > 0, both / np.where(norm > 0, norm, 1.0), np.nan)


def variance_ratio(forecast, truth, climatology, weights) -> np.ndarray:
    """Variance of the forecast's anomalies over that of the true ones: below 1 a forecast is too
    smooth."""
    w, (f, o), axes = _anomalies(forecast, truth, climatology, weights)
    vf, vo = ((w * (x - (w * x).sum(axes, keepdims=True)) ** 2).sum(axes) for x in (f, o))
    return np.where(vo > 0, vf / np.where(vo > 0, vo, 1.0), np.nan)


def _anomalies(forecast, truth, climatology, weights):
    c = np.asarray(climatology, float)
    return _prepared(weights, np.asarray(forecast, float) - c, np.asarray(truth, float) - c)


def skill(error, reference) -> np.ndarray:
    """``1 - mse / mse of a reference``: 1 is perfect, 0 no better than the reference. Takes mean
    square errors."""
    e, r = np.asarray(error, float), np.asarray(reference, float)
    return np.where(r > 0, 1.0 - e / np.where(r > 0, r, 1.0), np.nan)


def bias_map(forecast, truth) -> np.ndarray:
    """Mean of forecast minus truth over the leading axis, ``([nz,] ny, nx)``; NaN where there is no
    truth."""
    difference = np.asarray(forecast, float) - np.asarray(truth, float)
    count = np.isfinite(difference).sum(0)
    return np.where(count > 0, np.nansum(difference, 0) / np.where(count > 0, count, 1), np.nan)


def by_depth(score, *fields, weights) -> np.ndarray:
    """A score (such as :func:`rmse`) of each layer for itself, ``(..., nz)``; NaN in layers without
    water.

    Args:
        fields: what the score takes, ``(..., nz, ny, nx)``. weights: volumes ``(nz, ny, nx)``.
    """
    weights = np.asarray(weights, float)
    fields = np.broadcast_arrays(*(np.asarray(f, float) for f in fields))
    empty = np.full(fields[0].shape[:-3], np.nan)
    layers = [
        score(*(f[..., k, :, :] for f in fields), weights[k]) if weights[k].any() else empty
        for k in range(weights.shape[0])
    ]
    return np.stack(layers, -1)


def zonal_spectrum(field, area, rows=slice(None)) -> np.ndarray:
    """Mean variance of the zonal waves 1, 2, ... of the rows, ``(..., nx // 2)``.

    Each row's mean over water is taken out and land set to 0; the waves of a row are scaled by its
    share of water, so that they add up to the variance over its water (Parseval). Rows count by
    their wet area. Coasts
    leak into all waves: compare spectra of one grid with each other only.

    Args:
        field: ``(..., ny, nx)``. area: cell areas ``(ny, nx)``, 0 on land. rows: a slice of rows.
    """
    f, a = np.asarray(field, float)[..., rows, :], np.asarray(area, float)[rows]
    wet = (a > 0) & np.isfinite(f)
    a = np.where(wet, a, 0.0)
    total = a.sum(-1, keepdims=True)
    mean = (np.where(wet, f, 0.0) * a).sum(-1, keepdims=True) / np.where(total > 0, total, 1.0)
    nx = f.shape[-1]
    waves = np.abs(np.fft.rfft(np.where(wet, f - mean, 0.0), axis=-1) / nx) ** 2
    # Both signs of a wave number, but the shortest wave of an even row has one only.
    waves[..., 1:] *= 2.0
    if nx % 2 == 0:
        waves[..., -1] /= 2.0
    share = wet.mean(-1, keepdims=True)
    per_row = waves[..., 1:] / np.where(share > 0, share, 1.0)
    rows_total = total.sum(-2)
    return (per_row * total).sum(-2) / np.where(rows_total > 0, rows_total, np.nan)


def inventory(
    temperature, salinity, eta, volume, area, rho0: float = 1026.0, heat_capacity: float = 3991.868
) -> dict[str, np.ndarray]:
    """Volume (m3), heat (J, above 0 degC) and salt (kg) of the ocean.

    Args:
        temperature, salinity: ``(..., nz, ny, nx)`` degC, g kg-1. eta: ``(..., ny, nx)`` m.
        volume: of the cells at rest (m3). area: of the cells (m2). The layers stretch with the free
            surface (z*).
    """
    volume, area = np.asarray(volume, float), np.asarray(area, float)
    depth = volume.sum(0) / np.where(area > 0, area, 1.0)
    eta = np.where(depth > 0, np.nan_to_num(np.asarray(eta, float)), 0.0)
    cells = volume * (1.0 + eta / np.where(depth > 0, depth, 1.0))[..., None, :, :]
    axes = (-3, -2, -1)
    held = lambda tracer: (np.where(volume > 0, tracer, 0.0) * cells).sum(axes)
    return {
        "volume": cells.sum(axes),
        "heat": rho0 * heat_capacity * held(np.asarray(temperature, float)),
        "salt": 1e-3 * rho0 * held(np.asarray(salinity, float)),
    }


def conservation_residual(start: dict, end: dict, entered: dict | None = None) -> dict[str, float]:
    """``(end - start - entered) / start`` of each inventory: 0 to round-off for a model that
    conserves.

    Args:
        start, end: from :func:`inventory`. entered: what came in through the surface in the same
            units; default nothing, the result is then the relative drift.
    """
    entered = entered or {}
    return {n: float((end[n] - start[n] - entered.get(n, 0.0)) / abs(start[n])) for n in start}
