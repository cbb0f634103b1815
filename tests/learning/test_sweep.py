"""Sweeps: which trainings they are, and that they are trained once, in one command."""

import functools
import re

import pytest
import yaml

from dogcm.cli import main
from dogcm.cli.errors import OK, UNUSABLE
from dogcm.components.errors import ConfigError
from dogcm.learning.recipe import load_recipe
from dogcm.learning.sweep import members_of
from dogcm.learning.training import train
from dogcm.simulation import progress

SMALL = {
    "name": "small",
    "experiment": "gyre",
    "overrides": {
        "grid.nx": 8,
        "grid.ny": 6,
        "grid.nz": 2,
        "physics.tracer_advection": "upwind",
        "physics.momentum_advection": "none",
    },
    "start": {"lateral_viscosity": 2e4},
    "learnable": ["lateral_viscosity"],
    "targets": {"spinup": 1, "days": 2, "every": 0.25},
    "loss": {"factors": {"u": 1}},
    "curriculum": [{"updates": 2, "days": 0.25}],
    "sweep": {"seed": [0, 1], "loss.factors.u": [1, 2.5]},
}


def test_members_and_their_names():
    found = members_of(SMALL)
    assert [m.folder for m in found] == ["seed=0,u=1", "seed=0,u=2.5", "seed=1,u=1", "seed=1,u=2.5"]
    assert found[1].recipe.loss.factors == {"u": 2.5} and found[2].recipe.seed == 1
    assert not any(m.recipe.sweep for m in found)
    # What is set beside it holds for all; the truth is shared as long as it is the same.
    found = members_of(SMALL, ["batch=2"], truth="there")
    assert {m.recipe.batch for m in found} == {2}
    assert {m.recipe.targets.folder for m in found} == {"there"}
    own = members_of(SMALL | {"sweep": {"targets.days": [2, 3]}}, truth="there")
    assert {m.recipe.targets.folder for m in own} == {""}


@pytest.mark.parametrize(
    "sweep, says",
    [
        ({"sead": [0, 1]}, "unknown parameter sead; did you mean seed"),
        ({"corrector.widht": [8]}, "widht"),
        ({"seed": []}, "sweep.seed"),
        ({"seed": 3}, "sweep.seed"),
        ({"seed": [-1]}, "seed"),
        ({"seed": [0, 0]}, "two of its trainings would be called seed=0"),
        ({}, "name at least one key"),
    ],
)
def test_useless_sweeps_are_refused(sweep, says):
    with pytest.raises(ConfigError, match=says):
        members_of(SMALL | {"sweep": sweep})


def test_a_sweep_is_no_single_training(tmp_path):
    with pytest.raises(ConfigError, match="train_sweep"):
        train(load_recipe(SMALL), tmp_path)


@pytest.mark.slow
def test_command(tmp_path, capsys, monkeypatch):
    at_once = functools.partial(progress.compiling, after=1e-6)
    monkeypatch.setattr("dogcm.learning.training.compiling", at_once)
    file, out = tmp_path / "recipe.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(SMALL | {"sweep": {"seed": [0, 1]}}))
    # One was interrupted after an update.
    second = members_of(file, truth=out / "truth")[1]
    train(second.recipe, out / "seed=1", updates=1)
    said = capsys.readouterr().out
    assert re.search(r"compiling the gradient of \d+ steps \.\.\.\ncompiled in", said)
    words = ["train", str(file), "-o", str(out), "--quiet"]
    assert main(words) == OK
    said = capsys.readouterr().out
    assert "seed=0 (new)" in said and "sweep 2 of 2: seed=1 (interrupted)" in said
    assert "| seed=1 | 2 " in said and "truth made" not in said
    assert {p.name for p in out.iterdir()} == {"seed=0", "seed=1", "truth"}
    assert main(words) == OK
    assert capsys.readouterr().out.count("(finished)") == 2
    assert main([*words, "--updates", "1"]) == UNUSABLE
