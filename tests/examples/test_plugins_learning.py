"""A network with its input and output, a reader of targets and a loss from outside the package, in
one recipe."""

from __future__ import annotations

import sys
from dataclasses import replace
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
from dogcm.learning.saving import save_checkpoint
from dogcm.learning.training import read_into, trainer_of

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
            "physics.equation_of_state": "linear",
            "physics.convection": "none",
        },
        "corrector": {
            "network": {"kind": "own_network:Gated", "width": 4},
            "outputs": {"velocity": "own_output:AlongTheFlow"},
            "inputs": ["sea_level", {"kind": "own_feature:KineticEnergy", "speed": 0.01}],
            "rates": {"velocity": 5.0},
            "every": 4,
        },
        "targets": {
            "kind": "own_target:SeaLevel",
            "path": str(folder / "eta.nc"),
            "bias": 0.5,
            "spinup": 0,
            "every": 0.25,
        },
        "loss": {
            "factors": {"eta": 1},
            "penalty": "own_penalty:LogCosh",
            "measure": {"kind": "own_loss:Drift", "weight": 10},
        },
        "curriculum": [{"updates": 2, "days": 0.25}],
        "checkpoint": "none",
    }
    return dogcm.load_recipe(tree | more)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """The training of the recipe, and its setup; compiled once."""
    folder = tmp_path_factory.mktemp("training")
    setup = dogcm.build_training(recipe_in(folder), folder, comm=SerialCommunicator())
    return trainer_of(setup), setup


def learned(trainer) -> list:
    return jax.tree.leaves(trainer.weights.trainable["corrector"])


@pytest.mark.slow
@one_rank
def test_trained_in_the_model_and_resumed(trainer, tmp_path):
    trainer, setup = trainer
    trainer.step()
    last = trainer.weights.trainable["corrector"]["last"]["kernel"]
    assert float(jnp.abs(last).max()) > 0, "the last layer starts from zero"
    path = tmp_path / "checkpoint_00000001.npz"
    header = {"identity": setup.recipe.identity()}
    tree, own = trainer.content()
    save_checkpoint(path, tree, own | header, setup.model.decomposition, setup.ranks.comm)
    trainer.step()
    straight = learned(trainer)
    trainer.restore(*read_into(trainer, path, setup))
    assert trainer.progress.update == 1
    trainer.step()
    for a, b in zip(straight, learned(trainer), strict=True):
        np.testing.assert_array_equal(a, b)


@one_rank
def test_targets_are_what_the_reader_gives(trainer):
    _, setup = trainer
    window = setup.train.window(1, setup.every)
    t, wet = 0.1 * 2, np.asarray(setup.model.grid.wet_c.interior) > 0
    x, y = np.meshgrid(np.arange(NX) / NX, np.arange(NY) / NY)
    expected = t * np.sin(2 * np.pi * x) * np.cos(np.pi * y)
    found = np.asarray(window.values["eta"].data)[0]
    np.testing.assert_allclose(found[wet], expected[wet], atol=1e-12)


@pytest.mark.slow
@one_rank
def test_gradient_of_the_network(trainer):
    trainer, setup = trainer
    trainable = trainer.weights.trainable["corrector"]
    flat, shape = jax.tree.flatten(trainable)
    keys = jax.random.split(jax.random.key(1), len(flat))
    away = [jax.random.normal(k, w.shape, w.dtype) for k, w in zip(keys, flat)]
    at = lambda size: {"corrector": shape.unflatten([w + size * d for w, d in zip(flat, away)])}
    window = setup.train.window(1, setup.every)
    share = jax.jit(lambda t: setup.problem.share(t, window, setup.fixed, setup.every))
    trainer.weights = replace(trainer.weights, trainable=at(0.1))
    _, gradient = trainer._all_shares([1], setup.every)
    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), away))
    difference = (share(at(0.1 + 1e-4)) - share(at(0.1 - 1e-4))) / 2e-4
    assert float(slope) == pytest.approx(float(difference), rel=1e-5) and abs(slope) > 1e-6


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, 4, slow=(2, 4))
def test_the_same_on_several_ranks(tmp_path):
    comm = world()
    folder = Path(comm.broadcast(str(tmp_path)))
    recipe = recipe_in(folder)

    def loss(comm):
        """With weights that move the water."""
        setup = dogcm.build_training(recipe, folder, comm=comm)
        weights = jax.tree.map(lambda w: w + 0.1, setup.trainable["corrector"])
        window, steps = setup.train.window(0, setup.every), setup.every
        share = lambda w: setup.problem.share({"corrector": w}, window, setup.fixed, steps)
        total = jax.jit(lambda w: setup.model.halos.psum(share(w)))
        return float(total(weights)), float(total(setup.trainable["corrector"]))

    tiled = loss(comm)
    alone = comm.broadcast(loss(SerialCommunicator()) if comm.rank == 0 else None)
    assert tiled == pytest.approx(alone, rel=1e-11)
    assert abs(alone[0] / alone[1] - 1) > 1e-3, "the network matters"


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
        "own_feature:KineticEnergy",
        "own_output:AlongTheFlow",
        "own_penalty:LogCosh",
        "own_loss:Drift",
    ):
        assert words in out


@one_rank
@pytest.mark.parametrize(
    "change, says",
    [
        ({"loss": {"factors": {"sst": 1}}}, "kind own_target:SeaLevel hold eta, not sst"),
        ({"targets": "own_target:SeaLvl"}, "cannot import 'own_target:SeaLvl'"),
        ({"targets": "own_network:Gated"}, "is no dogcm.targets.interfaces.Truth"),
        ({"corrector": {"inputs": ["own_feature"]}}, "corrector.inputs: unknown kind"),
        ({"corrector": {"outputs": {"velocity": "own_penalty:LogCosh"}}}, "CorrectorOutput"),
        ({"loss": {"penalty": {"kind": "huber", "threshold": 0}}}, "loss.penalty.threshold"),
        ({"loss": {"measure": {"kind": "own_loss:Drift", "weight": -1}}}, "loss.measure.weight"),
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
