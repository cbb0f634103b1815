"""Gridded sea surface temperature as the truth of a recipe, and the climatology that it gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from dogcm.decomp import SerialCommunicator
from dogcm.experiments import twin
from dogcm.experiments.evaluation import Judge, depth_bands
from dogcm.experiments.model import Model
from dogcm.experiments.recipe import load_recipe
from dogcm.experiments.registry import ConfigError
from dogcm.experiments.training import _last, _targets
from dogcm.io.restart import write_restart
from dogcm.learning.groups import Ranks
from dogcm.learning.targets import TargetError

DAY = 86400.0
OVERRIDES = {"grid.nx": 24, "grid.ny": 17, "grid.nz": 3}
LAT, LON = np.arange(-86.0, 87.0, 4.0), np.arange(2.0, 360.0, 4.0)
MONTHS = 36


def cycle(days):
    """A year in the temperature of the whole ocean."""
    return 12 + 3 * np.cos(2 * np.pi * np.asarray(days) / 365)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """A recipe on three years of monthly means, and its model and targets; south of 60S there is ice."""
    folder = tmp_path_factory.mktemp("sst")
    # Twelfths of a year of 365 days: noleap, at the middle of the months of the model.
    days = 365 * (np.arange(MONTHS) + 0.5) / 12
    values = np.broadcast_to(cycle(days)[:, None, None], (MONTHS, LAT.size, LON.size)).copy()
    values[:, LAT < -60] = -1.8
    data = xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"units": "degC"})},
        {"time": ("time", days, {"units": "days since 2001-01-01", "calendar": "noleap"}),
         "lat": ("lat", LAT, {"units": "degrees_north"}), "lon": ("lon", LON, {"units": "degrees_east"})},
    )  # fmt: skip
    data.to_netcdf(folder / "sst.nc")
    recipe = load_recipe({
        "experiment": "two_basin", "overrides": OVERRIDES, "learnable": ["sst_restoring_time"],
        "loss": {"factors": {"sst": 1}},
        "targets": {"kind": "sst", "path": str(folder / "sst.nc"), "monthly": False, "every": 5, "spinup": 0,
                    "seasons": 1, "test": 0.4},
    })  # fmt: skip
    model = Model(recipe.config(), comm=SerialCommunicator())
    assert twin.make_truth(recipe, folder, Ranks(model.comm, 1), model)
    return recipe, folder, model, *_targets(recipe, folder, model, model.steps_in(5))


def test_windows_start_from_the_model_and_follow_the_observations(setup):
    recipe, _, model, train, test = setup
    every = model.steps_in(5)
    assert (train.records, test.records) == (22, 15), "the record between them belongs to both"
    window = train.window(3, 2 * every)
    start = 365 * 3.5 / 12
    assert float(window.state.time) == pytest.approx(start * DAY)
    np.testing.assert_array_equal(window.state.temperature.data, model.state.temperature.data)
    wet, valid = np.asarray(model.grid.wet_c.interior), np.asarray(window.valid["sst"].data)
    assert wet[0].any() and (valid[:, 0] == 0).all(), "no target where there is ice"
    assert (valid[:, 1:] == wet[1:]).all()
    there = valid[1] > 0
    between = np.interp(start + 10, [start, 365 * 4.5 / 12], cycle([start, 365 * 4.5 / 12]))
    np.testing.assert_allclose(np.asarray(window.values["sst"].data)[1][there], between, rtol=1e-12)
    # What has no target must not pass for an error when scales are made.
    first = window.state.temperature.level(0).crop(0)
    last = _last("sst", window, first)
    np.testing.assert_array_equal(np.asarray(last.data)[~there], np.asarray(first.data)[~there])
    values = np.asarray(window.values["sst"].data)
    np.testing.assert_array_equal(np.asarray(last.data)[there], values[1][there])


def test_windows_start_in_their_season(setup):
    recipe, folder, model, *_ = setup
    kept = model.state
    model.state = kept.replace(
        time=kept.time + 182.5 * DAY,
        tracers={n: f.with_data(f.data + 1) for n, f in kept.tracers.items()},
    )
    write_restart(twin.record_path(folder, 1), model)
    model.state = kept
    two = recipe.model_copy(update={"targets": recipe.targets.model_copy(update={"seasons": 2})})
    train, _ = _targets(two, folder, model, model.steps_in(5))
    from_summer = []
    for month in range(12, 20):  # of the second year
        state = train.window(month, model.steps_in(5)).state
        from_summer.append(float((state.temperature.data - kept.temperature.data).max()) > 0.5)
        assert float(state.time) == pytest.approx(365 * (month + 0.5) / 12 * DAY)
    assert from_summer == [False] * 3 + [True] * 5, "the middle of April is nearer to July than to January"


def test_climatology_of_the_training_years_is_a_contender(setup):
    recipe, _, model, train, test = setup
    every = model.steps_in(5)
    judge = Judge(SimpleNamespace(recipe=recipe, every=every, model=model, train=train), ["sst"])
    assert judge.seasonal and "two harmonics" in judge.note
    for index in (0, 5):
        window = test.window(index, 3 * every)
        judge.start(window)
        for lead in range(3):
            judge.add("right", lead, {n: f.with_data(f.data[lead]) for n, f in window.values.items()})
            judge.add("warm", lead, {n: f.with_data(f.data[lead] + 2) for n, f in window.values.items()})
        judge.add_baselines()
    rows = {(r["contender"], r["lead_days"]): r for r in judge.book.rows()}
    assert {c for c, _ in rows} == {"right", "warm", "persistence", "climatology"} and len(rows) == 12
    for lead in (5, 10, 15):
        assert rows["right", lead]["rmse"] < 1e-12
        assert rows["warm", lead]["rmse"] == pytest.approx(2), "ice and land do not count"
        # Linear between months, so the cosine is not met exactly.
        assert rows["climatology", lead]["rmse"] < 0.12 < 2 < rows["persistence", lead]["rmse"]


def test_what_cannot_be_used(setup):
    recipe, folder, model, *_ = setup
    gyre = Model("gyre", {"grid.nx": 8, "grid.ny": 8, "grid.nz": 2})
    with pytest.raises(TargetError, match="latitude-longitude grid"):
        _targets(recipe, folder, gyre, 10)
    tree = recipe.model_dump(mode="json")
    with pytest.raises(ConfigError, match="kind sst needs a file"):
        load_recipe(tree, {"targets.path": ""})
    with pytest.raises(ConfigError, match="hold sst alone"):
        load_recipe(tree, {"loss.factors": {"sst": 1, "eta": 1}})


def test_depth_bands():
    bands = depth_bands(np.array([5.0, 50, 150, 700, 4000]))
    assert {n: list(layers) for n, layers in bands.items()} == {
        "0-100 m": [0, 1], "100-500 m": [2], "500-1500 m": [3], "below 1500 m": [4],
    }  # fmt: skip
    assert depth_bands(np.array([10.0, 30])) == {}
