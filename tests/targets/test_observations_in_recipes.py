"""Reanalyses and profiles as the truth of a recipe, from their files to what was learned."""

from __future__ import annotations

import gsw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.evaluation.evaluation import evaluate
from dogcm.evaluation.score_table import read_csv
from dogcm.learning.parameters import LearnableSet
from dogcm.learning.recipe import load_recipe
from dogcm.learning.training import build, train
from dogcm.learning.training_log import read_log
from dogcm.simulation.model import Model
from dogcm.targets import TargetError

DAY = 86400.0
# The gradient of simpler physics compiles faster.
SIMPLE = {
    "physics.tracer_advection": "upwind",
    "physics.momentum_advection": "none",
    "physics.equation_of_state": "linear",
    "physics.convection": "none",
}
OVERRIDES = {"grid.nx": 24, "grid.ny": 17, "grid.nz": 3, "time.step": 7200} | SIMPLE
#: Restoring of the truth; recipes start from four times as long.
TRUE = 10 * DAY
RECIPE = {
    "name": "observed",
    "experiment": "two_basin",
    "overrides": OVERRIDES,
    "start": {"sst_restoring_time": 4 * TRUE},
    "learnable": ["sst_restoring_time"],
    "loss": {"factors": {"temperature": 1}},
    "curriculum": [{"updates": 12, "days": 1}],
    "optimiser": {"learning_rate": {"physics": 0.3}},
    "checkpoint": "none",
}


def states(days: int):
    """Temperature and salinity of the true ocean each day, on the cells of its grid."""
    model = Model(
        "two_basin",
        OVERRIDES | {"parameters.sst_restoring_time": TRUE},
        comm=SerialCommunicator(),
    )
    found = []
    for day in range(days + 1):
        if day:
            model.advance(model.steps_in(1))
        found.append(
            [np.asarray(model.state.tracers[n].interior) for n in ("temperature", "salinity")]
        )
    return model, np.array(found)


@pytest.fixture(scope="module")
def truth():
    return states(6)


# ---- profiles
def floats(path, model, found, days=(1, 2, 3, 4, 5, 6), seed=0) -> None:
    """A file of profiles of the true ocean at the middle of some cells, on whole days."""
    rng = np.random.default_rng(seed)
    wet = np.argwhere(np.asarray(model.grid.mask_c.interior).all(0))
    place = [wet[n] for n in rng.choice(len(wet), 60)]
    when = rng.choice(days, 60)
    z = model.vertical.centres
    lat, lon = (model.horizontal.coordinates()[n][0] for n in ("lat", "lon"))
    lat, lon = (np.array([a[p[n]] for p in place]) for n, a in ((0, lat), (1, lon)))
    both = np.array([found[d, :, :, j, i] for d, (j, i) in zip(when, place)])  # (n, 2, nz)
    p = gsw.p_from_z(-z, lat[:, None])
    practical = gsw.SP_from_SA(both[:, 1], p, lon[:, None], lat[:, None])
    potential = gsw.pt_from_CT(both[:, 1], both[:, 0])
    xr.Dataset(
        {
            "theta": (("n", "z"), potential, {"units": "degC"}),
            "psal": (("n", "z"), practical, {"units": "1e-3"}),
            "depth": (("n", "z"), np.broadcast_to(z, both[:, 0].shape), {"units": "m"}),
            "lat": ("n", lat),
            "lon": ("n", lon),
            "juld": ("n", when.astype(float), {"units": "days since 2003-01-01"}),
        }
    ).to_netcdf(path)


def of_profiles(files, **more) -> dict:
    targets = {
        "kind": "profiles",
        "files": f"{files}/floats_*.nc",
        "period": ["2003-01-01", "2003-01-06"],
        "spinup": 0,
        "seasons": 1,
        "test": 0.34,
    }
    return RECIPE | {"targets": targets | more}


@pytest.fixture(scope="module")
def profiles(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    model, found = truth
    for n in range(2):
        floats(folder / f"floats_{n}.nc", model, found, seed=n)
    return folder


@pytest.fixture(scope="module")
def trained(profiles, tmp_path_factory):
    """A training on four days of profiles, in its folder."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = load_recipe(of_profiles(profiles) | {"curriculum": [{"updates": 40, "days": 4}]})
    return train(recipe, folder, quiet=True), folder


@pytest.mark.slow
def test_a_parameter_is_learned_from_profiles(trained):
    rows = read_log(trained[1])
    assert float(rows[0]["loss"]) > 0.05
    assert float(rows[-1]["loss"]) < 0.02 * float(rows[0]["loss"])
    assert float(rows[-1]["sst_restoring_time"]) == pytest.approx(TRUE, rel=0.1)


@pytest.mark.slow
def test_the_loss_is_zero_for_the_truth_and_has_its_derivative(trained):
    trainer, folder = trained
    steps = trainer.curriculum[0].steps
    assert trainer.targets.count(steps) == 1
    window = trainer.targets.window(0, steps)
    weights = window.values["profiles"].weights["temperature"]
    assert float(jnp.sum(weights)) == pytest.approx(1, rel=1e-12)
    physics = lambda raw: {"physics": {"sst_restoring_time": raw}}
    share = jax.jit(lambda raw: trainer.share(physics(raw), window, trainer.fixed, steps))
    (item,) = LearnableSet(["sst_restoring_time"]).items
    right, start = (item.bijector.inverse(x) for x in (TRUE, 4 * TRUE))
    # Profiles are converted to potential temperature and practical salinity, and back.
    assert float(share(right)) < 1e-10
    first, h = read_log(folder)[0], 1e-4
    assert float(share(start)) == pytest.approx(float(first["loss"]), rel=1e-4)
    slope = float(share(start + h) - share(start - h)) / (2 * h)
    assert abs(slope) == pytest.approx(float(first["gradient_norm"]), rel=1e-4)


@pytest.mark.slow
def test_forecasts_are_scored_at_profiles(trained):
    folder = trained[1]
    evaluate(folder, days=2)
    rows = [r for r in read_csv(folder / "evaluation.csv") if r["depth"] == "all"]
    rmse = {(r["contender"], r["lead_days"]): r["rmse"] for r in rows}
    assert set(rmse) == {(c, d) for c in ("trained", "uncorrected", "persistence") for d in (1, 2)}
    assert rmse["trained", 2] < rmse["uncorrected", 2] < rmse["persistence", 2]
    assert "At profiles" in (folder / "evaluation.md").read_text()


# ---- reanalysis
def reanalysis(path, days=8) -> None:
    """A global file with the names of GLORYS, every day warmer."""
    lat, lon = np.arange(-88.0, 89.0, 4.0), np.arange(-178.0, 180.0, 4.0)
    depth = np.array([5.0, 100.0, 600.0, 1800.0, 3200.0, 4800.0])
    shape = (days, depth.size, lat.size, lon.size)
    day = np.arange(days, dtype=float)
    dims = ("time", "depth", "latitude", "longitude")
    warm = 10 * np.cos(np.deg2rad(lat))[:, None] * np.exp(-depth / 800)[:, None, None]
    values = {
        "thetao": (warm + 0.1 * day[:, None, None, None] * np.ones(shape), "degrees_C"),
        "so": (np.full(shape, 35.0), "1e-3"),
        "uo": (np.full(shape, 0.01), "m s-1"),
        "vo": (np.zeros(shape), "m s-1"),
    }
    data = {n: (dims, v, {"units": unit}) for n, (v, unit) in values.items()}
    data["zos"] = (("time", *dims[2:]), np.zeros((days, *shape[2:])), {"units": "m"})
    xr.Dataset(
        data,
        {
            "time": ("time", day, {"units": "days since 1993-01-01", "calendar": "gregorian"}),
            "depth": ("depth", depth, {"units": "m"}),
            "latitude": ("latitude", lat, {"units": "degrees_north"}),
            "longitude": ("longitude", lon, {"units": "degrees_east"}),
        },
    ).to_netcdf(path)


def of_reanalysis(path, **more) -> dict:
    targets = {"kind": "reanalysis", "files": str(path), "spinup": 0, "test": 0.4}
    return RECIPE | {"targets": targets | more}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("reanalysis") / "daily.nc"
    reanalysis(path)
    return path


@pytest.mark.slow
def test_training_on_a_reanalysis(archive, tmp_path):
    recipe = load_recipe(of_reanalysis(archive, start=["temperature", "salinity"]))
    trained = train(recipe, tmp_path, quiet=True, updates=3)
    rows = read_log(tmp_path)
    assert len(rows) == 3 and all(float(r["gradient_norm"]) > 0 for r in rows)
    # The reanalysis warms everywhere, which restoring to a fixed climate cannot follow.
    part = trained.targets
    assert part.count(2 * part.windows.every) == 3
    window = part.window(1, 2 * part.windows.every)
    wet = np.asarray(part.windows.targets.at(DAY, ["temperature"]).valid["temperature"].data) > 0
    start = np.asarray(window.state.temperature.data)
    after = np.asarray(window.values["temperature"].data)
    assert wet.mean() > 0.3 and float(window.state.time) == DAY
    np.testing.assert_allclose(after[1][wet] - start[wet], 0.2, atol=2e-3)
    assert (np.asarray(window.state.u.data) == 0).all(), (
        "velocities are those of the model, at rest"
    )


@pytest.mark.parametrize(
    "make, change, says",
    [
        (of_reanalysis, {"targets.files": ""}, "kind reanalysis needs a path"),
        (of_reanalysis, {"loss.factors": {"sst": 1}}, "kind reanalysis hold .*, not sst"),
        (of_reanalysis, {"targets.start": ["heat"]}, "targets.start"),
        (of_profiles, {"loss.factors": {"u": 1}}, "kind profiles hold temperature and salinity"),
        (of_profiles, {"loss.columns": {"temperature": 4}}, "profiles are where they are"),
        (of_profiles, {"targets.convert": False}, "it belongs to kind reanalysis"),
    ],
)
def test_bad_recipes(make, change, says):
    with pytest.raises(ConfigError, match=says):
        load_recipe(make("x.nc"), change)


def test_files_that_cannot_be_used(profiles, archive, tmp_path):
    kept = {"targets.folder": str(tmp_path / "truth")}
    with pytest.raises(TargetError, match="no such reanalysis file"):
        build(load_recipe(of_reanalysis(tmp_path / "none.nc"), kept), tmp_path)
    with pytest.raises(TargetError, match="one record in the period"):
        one = {"targets.period": ["1993-01-02", "1993-01-02"]}
        build(load_recipe(of_reanalysis(archive), kept | one), tmp_path)
    kept = {"targets.folder": str(tmp_path / "seasons")}
    with pytest.raises(TargetError, match="no such profile file"):
        build(load_recipe(of_profiles(tmp_path), kept), tmp_path)
    with pytest.raises(ConfigError, match="no rollout of"):
        long = {"curriculum": [{"updates": 1, "days": 5}]}
        build(load_recipe(of_profiles(profiles), kept | long), tmp_path)


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, slow=(2,))
def test_profiles_give_the_same_loss_on_several_ranks(tmp_path):
    comm = world()
    folder = type(tmp_path)(comm.broadcast(str(tmp_path)))
    if comm.rank == 0:
        model, start = states(0)
        floats(folder / "floats_0.nc", model, np.concatenate([start] * 3) + 0.5, days=(1, 2))
    comm.barrier()
    recipe = load_recipe(
        of_profiles(
            folder, period=["2003-01-01", "2003-01-02"], test=0, folder=str(folder / "truth")
        )
    )

    def loss(comm):
        setup = build(recipe, folder, comm=comm)
        window, steps = setup.train.window(0, setup.every), setup.every
        share = lambda t: setup.problem.share(t, window, setup.fixed, steps)
        return float(jax.jit(lambda t: setup.model.halos.psum(share(t)))(setup.trainable))

    tiled = loss(comm)
    alone = comm.broadcast(loss(SerialCommunicator()) if comm.rank == 0 else None)
    assert tiled == pytest.approx(alone, rel=1e-11) and alone > 0.05
