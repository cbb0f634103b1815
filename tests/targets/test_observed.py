"""Gridded sea surface temperature as the truth of a recipe, and the climatology that it gives."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.evaluation.evaluation import Contender, Judge, _advance, _mean
from dogcm.evaluation.score_table import depth_bands
from dogcm.field import Field
from dogcm.io.restart import write_restart
from dogcm.learning.groups import Ranks
from dogcm.learning.recipe import load_recipe
from dogcm.learning.training import _last, build
from dogcm.setups import inputs
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.targets import TargetError, TargetGrid
from dogcm.targets.background import climatology, make_background, read_observed, through_means
from dogcm.targets.observed import observed, reach, with_anomaly
from dogcm.targets.records import record_path
from dogcm.targets.truth import make_truth

DAY = 86400.0
OVERRIDES = {"grid.nx": 24, "grid.ny": 17, "grid.nz": 3}
LAT, LON = np.arange(-86.0, 87.0, 4.0), np.arange(2.0, 360.0, 4.0)
MONTHS = 36


def cycle(days):
    """A year in the temperature of the whole ocean."""
    return 12 + 3 * np.cos(2 * np.pi * np.asarray(days) / 365)


def parts(recipe, folder, model, every):
    """Targets for training and for evaluation."""
    found = recipe.targets.parts(folder, model, list(recipe.loss.factors), every)
    return found.train, found.test


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """A recipe on three years of monthly means, and its model and targets; south of 60S there is
    ice."""
    folder = tmp_path_factory.mktemp("sst")
    # Twelfths of a year of 365 days: noleap, at the middle of the months of the model.
    days = 365 * (np.arange(MONTHS) + 0.5) / 12
    values = np.broadcast_to(cycle(days)[:, None, None], (MONTHS, LAT.size, LON.size)).copy()
    values[:, LAT < -60] = -1.8
    data = xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"units": "degC"})},
        {
            "time": ("time", days, {"units": "days since 2001-01-01", "calendar": "noleap"}),
            "lat": ("lat", LAT, {"units": "degrees_north"}),
            "lon": ("lon", LON, {"units": "degrees_east"}),
        },
    )
    data.to_netcdf(folder / "sst.nc")
    recipe = load_recipe(
        {
            "experiment": "two_basin",
            "overrides": OVERRIDES,
            "learnable": ["sst_restoring_time"],
            "loss": {"factors": {"sst": 1}},
            "targets": {
                "kind": "sst",
                "path": str(folder / "sst.nc"),
                "monthly": False,
                "every": 5,
                "spinup": 0,
                "seasons": 1,
                "test": 0.4,
            },
        }
    )
    model = Model(recipe.config(), comm=SerialCommunicator())
    assert make_truth(recipe, folder, Ranks(model.comm, 1), model)
    return recipe, folder, model, *parts(recipe, folder, model, model.steps_in(5))


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
    write_restart(record_path(folder, 1), model)
    model.state = kept
    two = recipe.model_copy(update={"targets": recipe.targets.model_copy(update={"seasons": 2})})
    train, _ = parts(two, folder, model, model.steps_in(5))
    from_summer = []
    for month in range(12, 20):  # of the second year
        state = train.window(month, model.steps_in(5)).state
        from_summer.append(float((state.temperature.data - kept.temperature.data).max()) > 0.5)
        assert float(state.time) == pytest.approx(365 * (month + 0.5) / 12 * DAY)
    assert from_summer == [False] * 3 + [True] * 5, (
        "the middle of April is nearer to July than to January"
    )


def test_climatology_of_the_training_years_is_a_contender(setup):
    recipe, _, model, train, test = setup
    every = model.steps_in(5)
    judge = Judge(SimpleNamespace(recipe=recipe, every=every, model=model, train=train), ["sst"])
    assert judge.seasonal and "three harmonics" in judge.note
    for index in (0, 5):
        window = test.window(index, 3 * every)
        judge.start(window, test.initial(index))
        for lead in range(3):
            judge.add(
                "right", lead, {n: f.with_data(f.data[lead]) for n, f in window.values.items()}
            )
            judge.add(
                "warm", lead, {n: f.with_data(f.data[lead] + 2) for n, f in window.values.items()}
            )
        judge.add_baselines()
    rows = {(r["contender"], r["lead_days"]): r for r in judge.book.rows()}
    baselines = {
        "persistence",
        "climatology",
        "anomaly_persistence",
        "damped_persistence",
        "uniformly_damped",
    }
    assert {c for c, _ in rows} == {"right", "warm"} | baselines and len(rows) == 21
    for lead in (5, 10, 15):
        assert rows["right", lead]["rmse"] < 1e-12
        assert rows["warm", lead]["rmse"] == pytest.approx(2), "ice and land do not count"
        # Linear between months, so the cosine is not met exactly.
        assert rows["climatology", lead]["rmse"] < 0.12
        assert rows["anomaly_persistence", lead]["rmse"] < 0.2, "there are no anomalies"
    # From the observation at the start, not from the state of the model, which knows nothing of it.
    assert (
        rows["persistence", 5]["rmse"]
        < 0.5
        < 2
        < float(np.abs(model.state.temperature.data[0]).max())
    )
    assert 2 * rows["persistence", 5]["rmse"] < rows["persistence", 15]["rmse"]


def test_what_cannot_be_used(setup):
    recipe, folder, model, *_ = setup
    gyre = Model("gyre", {"grid.nx": 8, "grid.ny": 8, "grid.nz": 2})
    with pytest.raises(TargetError, match="latitude-longitude grid"):
        parts(recipe, folder, gyre, 10)
    tree = recipe.model_dump(mode="json")
    with pytest.raises(ConfigError, match="kind sst needs a file"):
        load_recipe(tree, {"targets.path": ""})
    with pytest.raises(ConfigError, match="hold sst alone"):
        load_recipe(tree, {"loss.factors": {"sst": 1, "eta": 1}})


def test_depth_bands():
    bands = depth_bands(np.array([5.0, 50, 150, 700, 4000]))
    assert {n: list(layers) for n, layers in bands.items()} == {
        "0-100 m": [0, 1],
        "100-500 m": [2],
        "500-1500 m": [3],
        "below 1500 m": [4],
    }
    assert depth_bands(np.array([10.0, 30])) == {}


def test_records_whose_interpolation_has_given_means():
    """Means of the interpolation, by fine sampling of it, are the wanted ones; those of raw means
    are flatter."""
    means = np.random.default_rng(0).normal(size=(12, 3))
    records = through_means(means)
    position = (np.arange(12 * 200) + 0.5) / 200 - 0.5
    first = np.floor(position).astype(int)
    weight = (position - first)[:, None]
    line = (1 - weight) * records[first % 12] + weight * records[(first + 1) % 12]
    np.testing.assert_allclose(line.reshape(12, 200, 3).mean(1), means, atol=2e-5)
    assert np.abs(records - means).max() > 0.1


def test_an_anomaly_fills_the_mixed_layer():
    column = np.array([20.0, 19.8, 19.0, 15.0, 19.9])
    temperature = Field(jnp.asarray(np.broadcast_to(column[:, None, None], (5, 1, 2))), "c")
    mask = Field(jnp.broadcast_to(jnp.asarray([1.0, 1, 0, 0, 0])[:, None, None], (5, 1, 2)), "c")
    np.testing.assert_allclose(reach(temperature, 2.0)[:, 0, 0], [1, 0.9, 0.5, 0, 0])
    warmer = (
        with_anomaly(temperature, Field(jnp.asarray([[3.0, -1.0]]), "c"), 2.0, mask).data
        - temperature.data
    )
    np.testing.assert_allclose(warmer[:, 0, 0], [3, 2.7, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(warmer[:, 0, 1], [-1, -0.9, 0, 0, 0], atol=1e-12)


@pytest.fixture(scope="module")
def held(setup, tmp_path_factory):
    """The recipe with a year of 12 days, held at the observed climatology, and compared with means
    over a day."""
    recipe, folder, *_ = setup
    year = 12.0
    again = load_recipe(
        recipe.model_dump(mode="json"),
        {
            "targets.monthly": True,
            "targets.mean": True,
            "targets.every": 1,
            "targets.hold": 0.1,
            "targets.anomaly": 1,
            "targets.spinup": year,
            "targets.seasons": 12,
            "overrides.forcing.year": year,
            "curriculum": [{"updates": 1, "days": 2}],
            "loss.scale": {"sst": 1.0},
            "loss.scales": "typical",
        },
    )
    return build(again, tmp_path_factory.mktemp("held"), comm=SerialCommunicator())


@pytest.fixture(scope="module")
def contender(held):
    """Compiled once for all tests."""
    return Contender(
        held.trainable, _advance(held.problem), held.fixed, "x", mean=_mean(held.problem)
    )


def test_a_held_model_stays_at_the_observed_climatology(held, contender):
    """States follow the observed cycle, and the heat that this took carries it on when restoring is
    weak."""
    model, train = held.model, held.train
    ice = np.asarray(train.record(0)[2]["sst"].data) == 0
    assert set(model.forcing.records) >= {"sst", "heat_flux"}
    heat = np.asarray(model.forcing.records["heat_flux"].interior)
    # 3 K of amplitude and a period of 12 days of the surface layer: what is needed is its heat
    # content's rate.
    capacity = float(model.grid.dz[0, 0, 0]) * model.physics.rho0 * model.physics.heat_capacity
    needed = 3 * 2 * np.pi / (12 * DAY) * capacity
    amplitude = 0.5 * np.ptp(heat[:, ~ice], axis=0)
    assert 0.7 * needed < np.median(amplitude) < 2 * needed
    window = train.window(13, 2 * held.every)
    assert float(window.state.time) == pytest.approx(13.5 * DAY)
    usual = cycle(365 * 1.5 / 12)
    top = np.asarray(window.state.temperature.data[0])[~ice]
    assert np.sqrt(np.mean((top - usual) ** 2)) < 0.5 < np.abs(usual - 12)
    forecast = contender.forecast(window.state, held.every, 2, ["sst"])
    for month, seen in zip((14, 15), forecast):
        error = np.asarray(seen["sst"].data)[~ice] - cycle(365 * (month % 12 + 0.5) / 12)
        assert np.sqrt(np.mean(error**2)) < 0.7, (
            "without that heat the surface would stay 2 K behind"
        )


def test_training_and_evaluation_compare_the_same_means(held, contender):
    window = held.train.window(5, 2 * held.every)
    seen = contender.forecast(window.state, held.every, 2, ["sst"])
    rolled = jax.jit(held.problem.forecast, static_argnums=(3, 4))(
        held.trainable, window.state, held.fixed, 2 * held.every, ("sst",)
    )
    for n, here in enumerate(seen):
        np.testing.assert_allclose(rolled["sst"].data[n], here["sst"].data, rtol=1e-12, atol=1e-12)


def test_a_start_takes_over_what_was_observed(held):
    """The record of a window's start less the climatology, in the mixed layer of the season's
    state."""
    train = held.train
    one = replace(
        train, anomalies=replace(train.anomalies, values={"sst": train.anomalies.values["sst"] + 2})
    )
    kinds = replace(train, anomalies=None), train, one
    without, plain, warm = (
        np.asarray(t.window(4, held.every).state.temperature.data) for t in kinds
    )
    wet = np.asarray(held.model.grid.mask_c.interior) > 0
    np.testing.assert_allclose((warm - plain)[0][wet[0]], 2)
    assert (np.abs(warm - plain)[~wet] == 0).all() and np.abs(plain - without).max() < 0.05
    fields, valid = train.initial(4)
    np.testing.assert_array_equal(fields["sst"].data, train.record(4)[1]["sst"].data)


def test_intervals_of_means_are_those_of_the_records(setup, held):
    recipe, folder, *_ = setup
    tree = held.recipe.model_dump(mode="json")
    with pytest.raises(TargetError, match="2 days, but the records are 1 days apart"):
        observed(
            load_recipe(tree, {"targets.every": 2}).targets, folder, held.model, 2 * held.every
        )
    with pytest.raises(TargetError, match="records"):
        climatology(
            held.recipe.targets,
            SimpleNamespace(times=np.arange(4.0), values={"sst": np.zeros((4, 1))}),
            12.0,
        )
    with pytest.raises(ValueError, match="multiple of the year"):
        make_background(
            load_recipe(tree, {"targets.spinup": 5}).targets, folder, held.model, record_path
        )


def test_what_the_file_does_not_say(tmp_path):
    """Keys of the recipe: unit, axes, missing values."""
    grid = _grid_of_two_basin()
    lat, lon = np.arange(-88.0, 89.0, 4.0), np.arange(2.0, 360.0, 4.0)
    values = np.broadcast_to(
        290.0 + 5.0 * np.cos(np.deg2rad(lat))[:, None], (3, lat.size, lon.size)
    ).copy()
    values[:, :, :3] = -9999.0
    days = ("time", [15.0, 45.0, 75.0], {"units": "days since 2001-01-01"})
    data = xr.Dataset(
        {"t": (("time", "yy", "xx"), values)},
        {"time": days, "yy": ("yy", lat), "xx": ("xx", lon)},
    )
    data.to_netcdf(tmp_path / "bare.nc")
    targets = {"kind": "sst", "path": str(tmp_path / "bare.nc"), "variable": "t"}
    keys = {
        "unit": "K",
        "axes": {"lat": "yy", "lon": "xx"},
        "units": {"lat": "degrees_north", "lon": "degrees_east"},
        "missing": [-9999],
    }
    tree = {"experiment": "two_basin", "loss": {"factors": {"sst": 1}}}
    tree["learnable"] = ["sst_restoring_time"]
    read = lambda own: read_observed(
        load_recipe({**tree, "targets": own}).targets, grid, 365 * 86400.0
    )
    with pytest.raises(TargetError, match="targets.file.axes: {lat: NAME, lon: NAME}"):
        read(targets)
    found = read({**targets, "file": keys}).values["sst"]
    inside = np.isfinite(found)
    assert inside.any() and 16.0 < found[inside].min() < found[inside].max() < 22.0


def _grid_of_two_basin():
    c = load_config("two_basin")
    horizontal, vertical = inputs.horizontal_grid(c), inputs.vertical_grid(c)
    return TargetGrid(horizontal, vertical, inputs.cell_thickness(c, horizontal, vertical))
