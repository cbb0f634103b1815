"""Runs in which a trained corrector takes part, from its file of weights."""

from __future__ import annotations

from pathlib import Path

import jax
import netCDF4
import numpy as np
import pytest

from dogcm.cli import main
from dogcm.cli.errors import FILE, OK
from dogcm.corrector import CorrectorConfig, WeightsError, build_corrector, save_weights
from dogcm.corrector.weights import read_card
from dogcm.decomp import SerialCommunicator, world
from dogcm.simulation.corrected import SHIPPED, first_weights
from dogcm.simulation.model import Model

SMALL = {
    "grid.nx": 10,
    "grid.ny": 8,
    "grid.nz": 2,
    "physics.tracer_advection": "upwind",
    "physics.momentum_advection": "none",
    "physics.equation_of_state": "linear",
    "physics.convection": "none",
}
CONFIG = CorrectorConfig(
    network={"kind": "conv", "width": 4, "depth": 1},
    inputs=("velocity", "sea_level"),
    outputs={"velocity": "stress", "temperature": "flux"},
    rates={"velocity": 0.5, "temperature": 0.5},
    every=2,
)


def weights_in(path: Path) -> Path:
    """A file of weights that move the water."""
    model = Model("gyre", SMALL, comm=SerialCommunicator())
    corrector = build_corrector(CONFIG, model.halos, 2)
    weights = jax.tree.map(lambda w: w + 0.1, first_weights(corrector, model))
    save_weights(path, CONFIG, weights, {"name": "by hand"})
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return weights_in(tmp_path_factory.mktemp("weights") / "corrector.npz")


def after(steps: int, *, comm=None, **more):
    """Velocity and temperature after some steps from a start that flows."""
    model = Model("gyre", SMALL | {f"corrector.{k}": v for k, v in more.items()}, comm=comm)
    model.advance(steps)
    return {n: model.gather(n) for n in ("u", "temperature")}, model


def test_a_run_takes_a_corrector_from_its_file(file):
    plain, _ = after(8)
    found, model = after(8, weights=str(file))
    none, _ = after(8, weights=str(file), strength=0.0)
    by_hand = Model("gyre", SMALL)
    by_hand.dynamics = build_corrector(CONFIG, by_hand.halos, 2).install(by_hand.dynamics)
    by_hand.params = by_hand.params | {"corrector": model.params["corrector"]}
    by_hand.advance(8)
    for name in ("u", "temperature"):
        np.testing.assert_array_equal(found[name], by_hand.gather(name))
        np.testing.assert_array_equal(none[name], plain[name])
        assert np.abs(found[name] - plain[name]).max() > 1e-5
    assert read_card(file) == {"name": "by hand"}


def test_the_command_goes_on_with_it_from_anywhere(file, tmp_path, monkeypatch, capsys):
    sets = [s for k, v in SMALL.items() for s in ("--set", f"{k}={v}")]
    monkeypatch.chdir(file.parent)
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    options = [*sets, "--corrector", file.name]
    assert main(["run", "gyre", *options, "--days", "2", "-o", whole]) == OK
    assert f"corrector: {file.name}, 1 times as strong as trained" in capsys.readouterr().out
    options.append("--quiet")
    assert main(["run", "gyre", *options, "--days", "1", "-o", parts]) == OK
    monkeypatch.chdir(tmp_path)
    assert main(["restart", parts, "--days", "1", "--quiet"]) == OK
    ends = [sorted(Path(f).glob("restart_*.nc"))[-1] for f in (whole, parts)]
    assert ends[0].name == ends[1].name
    a, b = (_variables(p) for p in ends)
    assert a.keys() == b.keys()
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name])


def _variables(path: Path) -> dict[str, np.ndarray]:
    with netCDF4.Dataset(path) as data:
        return {n: np.asarray(v[:]) for n, v in data.variables.items()}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"weights": "none.npz"}, "no such file of weights: none.npz"),
        ({"weights": "shipped"}, "no corrector ships for gyre, but for channel_50km"),
    ],
)
def test_files_that_are_not_there(change, says):
    with pytest.raises(WeightsError, match=says):
        after(0, **change)


def test_a_corrector_of_other_layers(file, tmp_path, capsys):
    sets = [s for k, v in (SMALL | {"grid.nz": 3}).items() for s in ("--set", f"{k}={v}")]
    folder = tmp_path / "out"
    command = ["run", "gyre", *sets, "--corrector", str(file), "--days", "1", "-o", str(folder)]
    assert main(command) == FILE
    said = capsys.readouterr().err
    assert "holds the weights of another network" in said and said.count("\n") <= 2
    assert not folder.exists()


def test_what_ships_is_small_and_says_where_it_comes_from():
    assert (SHIPPED / "channel_50km.npz").is_file()
    for path in SHIPPED.glob("*.npz"):
        card = read_card(path)
        assert card["recipe"]["experiment"] == path.stem and card["validation_error"] > 0
        assert path.stat().st_size < 2e6
        model = Model(path.stem, {"corrector.weights": "shipped"}, comm=SerialCommunicator())
        assert all(np.isfinite(w).all() for w in jax.tree.leaves(model.params["corrector"]))


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2)
def test_the_same_on_several_ranks(tmp_path):
    comm = world()
    path = Path(comm.broadcast(str(tmp_path))) / "corrector.npz"
    if comm.rank == 0:
        weights_in(path)
    comm.barrier()
    found, _ = after(8, weights=str(path))
    if comm.rank == 0:
        alone, _ = after(8, comm=SerialCommunicator(), weights=str(path))
        for name, values in alone.items():
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-13)
