"""A model that is held at the observed climatology: its states over a year, and the heat flux that
holds it there.

A model with restoring alone has a climate of its own, and forecasts from observed states first fall
back to it. Here a spin-up is restored strongly to the observed climatology; the flux that this
takes, averaged by season, then drives the forecasts, whose own restoring is left with anomalies
(flux adjustment: Sausen et al. 1988, doi:10.1007/BF01053472; restoring as damping of anomalies:
Haney 1971, doi:10.1175/1520-0485(1971)001<0241:STBCFO>2.0.CO;2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dogcm.evaluation.baselines import Climatology
from dogcm.evaluation.scores import ScoreError
from dogcm.field import Field
from dogcm.io.restart import write_restart
from dogcm.io.root import RootTask
from dogcm.physics.surface import RECORDS, Forcing
from dogcm.setups.atmosphere import request
from dogcm.simulation.model import Model
from dogcm.targets import Clock, TargetError, TargetGrid, Targets, read_sst
from dogcm.targets.finer import on_root_only
from dogcm.targets.gridded import UNDER_ICE
from dogcm.timestepping import many_steps_with

FORCING_FILE = "forcing.npz"
#: Harmonics of the year in the climatology of monthly observations.
HARMONICS = 3


def read_observed(targets, grid: TargetGrid, year: float, mask_ice: bool = True) -> Targets:
    """The file of a recipe's section ``targets``, on rank 0.

    Args:
        mask_ice: leave out what lies under ice; otherwise it has the value of the file.

    Raises:
        TargetError: the file cannot be used.
    """
    found = read_sst(
        targets.path,
        grid,
        variable=targets.variable,
        period=targets.period,
        monthly=targets.monthly,
        mask_ice=mask_ice,
        year=year,
        clock=None if targets.period is None else Clock(int(targets.period[0][:4]), year),
        request=request(targets.file, "targets.file"),
    )
    if found.times.size < 2:
        raise TargetError(
            f"{targets.path} has one record in the period: training needs two at least"
        )
    if targets.mean and targets.monthly:
        # Months of one length, as rollouts have them: a record is not to be mixed with the next for
        # half a day.
        month = year / 12
        found = replace(found, times=(np.floor(found.times / month) + 0.5) * month)
    return found


def last_for_training(records: int, test: float) -> int:
    """Number of the record that ends the part for training and begins that for evaluation."""
    return records - 1 - round((records - 1) * test)


def climatology(targets, observed: Targets, year: float) -> Climatology:
    """Of the part for training, on rank 0.

    Raises:
        TargetError: it does not span the year.
    """
    end = last_for_training(observed.times.size, targets.test) + 1
    try:
        return Climatology.fit(observed.times[:end], observed.values["sst"][:end], HARMONICS, year)
    except ScoreError as error:
        raise TargetError(f"targets.hold, targets.anomaly: {error}") from None


def through_means(means: np.ndarray) -> np.ndarray:
    """Records ``(n, ...)`` whose periodic linear interpolation has these means over each n-th part
    of the year.

    Killworth (1996), doi:10.1175/1520-0485(1996)026<0136:TIOFFI>2.0.CO;2: the mean of the
    interpolation is an eighth of both neighbours and three quarters of the record itself.
    """
    n = means.shape[0]
    kept = 0.75 + 0.25 * np.cos(2 * np.pi * np.arange(n // 2 + 1) / n)
    return np.fft.irfft(
        np.fft.rfft(means, axis=0) / kept.reshape(-1, *[1] * (means.ndim - 1)), n, axis=0
    )


def make_background(
    targets, folder: Path, model: Model, path_of: Callable[[Path, int], Path]
) -> None:
    """Spin ``model`` up to the observed climatology; write a state for each season, and the forcing
    that holds it.

    Every rank calls it.

    Args:
        path_of: ``(folder, season)`` to the file of a state. Season n of N is that of the middle of
            the n-th part.

    Raises:
        TargetError: the file cannot be used, or the experiment does not restore temperature.
        ValueError: a season, or half of one, is no whole number of steps; the spin-up is not made
            of whole years.
    """
    if "sst" not in model.forcing.records:
        raise TargetError(
            "targets.hold: the experiment does not restore temperature (its forcing has no sst)"
        )
    year = model.config.forcing.year
    if targets.spinup % year:
        raise ValueError(
            f"targets.spinup: with targets.hold it has to be a multiple of the year ({year:g} days)"
        )
    half = model.steps_in(year / targets.seasons / 2)
    grid = TargetGrid.gather(model)
    usual = on_root_only(model.comm, _means, targets, grid, year * 86400.0)
    model.forcing = replaced(model, {"sst": None if usual is None else through_means(usual)})
    model.params = model.params | {
        "sst_restoring_time": jnp.asarray(targets.hold * 86400.0, model.dtype)
    }
    advance = model.jit(_with_heat(model.dynamics), donate_argnums=0)
    if targets.spinup:
        model.state, _ = advance(
            model.state, model.steps_in(targets.spinup), model.params, model.forcing, model.grid
        )
    heat = []
    for part in range(2 * targets.seasons):
        model.state, mean = advance(model.state, half, model.params, model.forcing, model.grid)
        heat.append(model.decomposition.gather(np.asarray(mean)))
        if part % 2 == 0:
            write_restart(path_of(folder, part // 2), model)
    task = RootTask(model.comm, folder / FORCING_FILE)
    task.do(lambda: _write(folder / FORCING_FILE, usual, np.stack(heat), model.physics))
    task.finish()


def _means(targets, grid: TargetGrid, year: float) -> np.ndarray:
    """Climatology ``(seasons, y, x)`` (degC), NaN where there is none."""
    usual = climatology(targets, read_observed(targets, grid, year, mask_ice=False), year)
    return usual.at((np.arange(targets.seasons) + 0.5) / targets.seasons * year)


def _write(path: Path, usual: np.ndarray, heat: np.ndarray, physics) -> None:
    mean = heat.reshape(-1, 2, *heat.shape[1:]).mean(1) * physics.rho0 * physics.heat_capacity
    np.savez_compressed(path, sst=through_means(usual), heat_flux=through_means(mean))


def _with_heat(dynamics) -> Callable:
    """``(state, count, params, forcing, grid)`` to the state, and the mean heat that entered (K m
    s-1)."""

    def run(state, count, params, forcing, grid):
        def one(state, total):
            state, fluxes = dynamics.step_with_fluxes(state, params, forcing, grid)
            return state, total + fluxes.heat.interior

        state, total = many_steps_with(one, (state, jnp.zeros_like(state.eta.interior)), count)
        return state, total / count

    return run


def replaced(model: Model, arrays: dict[str, np.ndarray | None]) -> Forcing:
    """The forcing of a model with other records.

    Args:
        arrays: on rank 0 name to ``(n, y, x)``; None elsewhere. Where they are NaN, sst keeps the
            record of the same time, other records are 0. A temperature is at least that of what
            lies under ice.
    """
    records = dict(model.forcing.records)
    for name, values in arrays.items():
        old = records.get(name, records["sst"])
        tiles = model.decomposition.scatter(values, old.halo.s)
        moments = (np.arange(tiles.shape[0]) + 0.5) / tiles.shape[0] * model.forcing.period
        kept = 0.0
        if name == "sst":
            kept = np.stack([np.asarray(model.forcing.at(t)[name].data) for t in moments])
            tiles = np.maximum(tiles, UNDER_ICE)
        data = np.where(np.isfinite(tiles), tiles, kept)
        records[name] = Field(jnp.asarray(data, model.dtype), RECORDS[name][0], old.halo).named(
            name
        )
    return Forcing(records, model.forcing.period)


def held_forcing(folder: Path, model: Model) -> Forcing:
    """The forcing that :func:`make_background` found; every rank calls it."""
    arrays = on_root_only(model.comm, _load, folder / FORCING_FILE) or {
        "sst": None,
        "heat_flux": None,
    }
    return replaced(model, {n: arrays[n] for n in ("sst", "heat_flux")})


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {n: data[n] for n in data.files}


__all__ = [
    "climatology",
    "held_forcing",
    "last_for_training",
    "make_background",
    "read_observed",
    "through_means",
]
