"""A network and a reader of targets from outside the package, in one recipe."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.cli import main
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.learning.training import trainer_of

PLUGINS = Path(__file__).resolve().parents[2] / "examples" / "plugins"
sys.path.insert(0, str(PLUGINS))
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
NX, NY = 12, 10


def recipe_in(folder: Path, **more) -> dogcm.Recipe:
    """Sea level that differs from the model's, and a network that may move the water."""
    if world().rank == 0:
        x, y = np.meshgrid(np.arange(NX) / NX, np.arange(NY) / NY)
        eta = 0.1 * np.sin(2 * np.pi * x) * np.cos(np.pi * y) * np.arange(5)[:, None, None]
        days = ("time", 0.25 * np.arange(5))
        xr.Dataset({"eta": (("time", "y", "x"), 0.5 + eta)}, {"time": days}).to_netcdf(
            folder / "eta.nc"
        )
    world().barrier()
    tree = {
        "experiment": "gyre",
        "overrides": {
            "grid.nx": NX,
            "grid.ny": NY,
            "grid.nz": 2,
            "physics.tracer_advection": "upwind",
            "physics.momentum_advection": "none",
        },
        "corrector": {
            "network": {"kind": "own_network:Gated", "width": 4},
            "outputs": {"velocity": "tendency"},
            "inputs": ["velocity", "sea_level"],
            "every": 4,
        },
        "targets": {
            "kind": "own_target:SeaLevel",
            "path": str(folder / "eta.nc"),
            "bias": 0.5,
            "spinup": 0.25,
            "every": 0.25,
        },
        "loss": {"factors": {"eta": 1}},
        "curriculum": [{"updates": 2, "days": 0.25}],
        "save_every": 1,
    }
    return dogcm.load_recipe(tree | more)


@one_rank
def test_trained_in_the_model_and_resumed(tmp_path):
    recipe = recipe_in(tmp_path)
    straight = dogcm.train(recipe, tmp_path / "run", quiet=True)
    weights = jax.tree.leaves(straight.weights.trainable["corrector"])
    assert max(float(jnp.abs(w).max()) for w in weights[-2:]) > 0
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    (tmp_path / "again" / "checkpoint_00000002.npz").unlink()
    resumed = dogcm.train(recipe, tmp_path / "again", resume=True, quiet=True)
    assert resumed.progress.update == 2
    for a, b in zip(weights, jax.tree.leaves(resumed.weights.trainable["corrector"]), strict=True):
        np.testing.assert_array_equal(a, b)


@one_rank
def test_targets_and_gradient(tmp_path):
    setup = dogcm.build_training(recipe_in(tmp_path), tmp_path, comm=SerialCommunicator())
    window = setup.train.window(1, setup.every)
    t, wet = 0.1 * 2, np.asarray(setup.model.grid.wet_c.interior) > 0
    x, y = np.meshgrid(np.arange(NX) / NX, np.arange(NY) / NY)
    expected = t * np.sin(2 * np.pi * x) * np.cos(np.pi * y)
    found = np.asarray(window.values["eta"].data)[0]
    np.testing.assert_allclose(found[wet], expected[wet], atol=1e-12)
    trainable = setup.trainable["corrector"]
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(trainable)))
    away = jax.tree.unflatten(
        jax.tree.structure(trainable),
        [jax.random.normal(k, w.shape, w.dtype) for k, w in zip(keys, jax.tree.leaves(trainable))],
    )

    def loss(size):
        moved = jax.tree.map(lambda w, d: w + size * d, trainable, away)
        return setup.problem.share({"corrector": moved}, window, setup.fixed, setup.every)

    value, h = jax.jit(jax.value_and_grad(loss)), 1e-4
    slope = (value(0.1 + h)[0] - value(0.1 - h)[0]) / (2 * h)
    assert float(value(0.1)[1]) == pytest.approx(float(slope), rel=1e-5) and abs(slope) > 1e-4


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, 4)
def test_the_same_on_several_ranks(tmp_path):
    comm = world()
    folder = Path(comm.broadcast(str(tmp_path)))
    recipe = recipe_in(folder)

    def first(comm):
        report = trainer_of(dogcm.build_training(recipe, folder, comm=comm)).step()
        return report.loss, report.norm

    tiled = first(comm)
    alone = comm.broadcast(first(SerialCommunicator()) if comm.rank == 0 else None)
    assert tiled == pytest.approx(alone, rel=1e-9) and alone[1] > 0


@one_rank
def test_shown(tmp_path, capsys):
    from dogcm.learning.recipe import write_recipe

    write_recipe(tmp_path / "mine.yaml", recipe_in(tmp_path))
    assert main(["show", str(tmp_path / "mine.yaml")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "own_network:Gated",
        "corrector.network.depth",
        "gated convolutions",
        "own_target:SeaLevel",
        "targets.bias",
        "taken off every value",
    ):
        assert words in out


@one_rank
@pytest.mark.parametrize(
    "change, says",
    [
        ({"loss": {"factors": {"sst": 1}}}, "kind own_target:SeaLevel hold eta, not sst"),
        ({"targets": "own_target:SeaLvl"}, "cannot import 'own_target:SeaLvl'"),
        ({"targets": "own_network:Gated"}, "is no dogcm.targets.interfaces.Truth"),
        ({"targets": "dogcm.targets.recorded:GriddedTruth"}, "is incomplete"),
        (
            {"targets": {"kind": "own_target:SeaLevel", "pth": ""}},
            "targets.pth: .*; did you mean path",
        ),
    ],
)
def test_refused(tmp_path, change, says):
    with pytest.raises(dogcm.ConfigError, match=says):
        recipe_in(tmp_path, **change)
