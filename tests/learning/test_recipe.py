"""Recipes and the commands ``dogcm train`` and ``dogcm evaluate`` on a small gyre."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import yaml

from dogcm.cli import main
from dogcm.cli.errors import FILE, OK, UNUSABLE
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.evaluation.evaluation import evaluate, in_double, trained_in
from dogcm.evaluation.score_table import read_csv
from dogcm.learning.recipe import load_recipe, write_recipe
from dogcm.learning.saving import CheckpointError, read_header
from dogcm.learning.training import build, train
from dogcm.learning.training_log import read_log
from dogcm.learning.validation import Validation

TRUE_VISCOSITY = 5e3  # of the experiment gyre
GRID = {"grid.nx": 12, "grid.ny": 10, "grid.nz": 2}
# The gradient of simpler physics compiles faster.
SIMPLE = {"physics.tracer_advection": "upwind", "physics.momentum_advection": "none"}
ALONE = ("velocity", "eta")
RECIPE = {
    "name": "small",
    "experiment": "gyre",
    "overrides": GRID | SIMPLE,
    "start": {"lateral_viscosity": 2e4},
    "learnable": ["lateral_viscosity"],
    "targets": {"spinup": 20, "days": 4, "every": 0.25, "validation": 0.25},
    "validation": {"every": 10, "windows": 2},
    "loss": {"factors": {"u": 1, "eta": 1}},
    "curriculum": [{"updates": 30, "days": 0.5}],
    "optimiser": {"learning_rate": {"physics": 0.2}},
    "save_every": 10,
    "checkpoint": "none",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished training by the command, in its folder."""
    folder = tmp_path_factory.mktemp("training")
    recipe = folder / "recipe_file.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    assert main(["train", str(recipe), "-o", str(folder / "run"), "--quiet"]) == OK
    return recipe, folder / "run"


def test_viscosity_of_a_gyre_is_recovered(run):
    rows = read_log(run[1])
    assert [int(r["update"]) for r in rows] == list(range(1, 31))
    assert float(rows[-1]["lateral_viscosity"]) == pytest.approx(TRUE_VISCOSITY, rel=0.1)
    assert float(rows[-1]["loss"]) < 0.01 * float(rows[0]["loss"])
    names = {p.name for p in run[1].iterdir()}
    assert {"recipe.yaml", "training.csv", "loss.png", "checkpoint_00000030.npz", "truth"} <= names
    assert len([n for n in names if n.startswith("checkpoint")]) == 2, (
        "older checkpoints are removed"
    )


def test_validation_chooses_the_weights_that_are_evaluated(run, tmp_path):
    """Records between those of training and those of evaluation, which no gradient has seen."""
    with open(run[1] / "validation.csv", newline="") as file:
        found = {int(r["update"]): float(r["loss"]) for r in csv.DictReader(file)}
    assert list(found) == [0, 10, 20, 30]
    best = min(found, key=lambda u: found[u])
    assert best > 0 and found[best] < 0.1 * found[0]
    assert read_header(run[1] / "best.npz")["progress"]["update"] == best
    setup, chosen = trained_in(run[1])
    assert [p.records for p in (setup.train, setup.validation, setup.test)] == [10, 5, 4]
    # The last of one part is the first of the next.
    ends = [
        (p.record(0)[0], p.record(p.records - 1)[0])
        for p in (setup.train, setup.validation, setup.test)
    ]
    assert ends[0][1] == ends[1][0] and ends[1][1] == ends[2][0]
    other = shutil.copytree(run[1], tmp_path / "other")
    unlike = 20 if best == 30 else 30
    shutil.copy(other / f"checkpoint_{unlike:08d}.npz", other / "best.npz")
    _, replaced = trained_in(other)
    value = lambda t: float(t["physics"]["lateral_viscosity"])
    assert value(replaced) != value(chosen)
    (other / "best.npz").unlink()
    assert value(trained_in(other)[1]) == value(chosen if best == 30 else replaced)


def test_training_ends_when_validation_is_tired(tmp_path):
    part = SimpleNamespace(count=lambda steps: 6)
    options = SimpleNamespace(every=5, windows=3, patience=2)
    comm = SerialCommunicator()
    v = Validation(part, 4, options, tmp_path, comm)
    assert v.windows == [0, 2, 5] and v.best() is None and not v.tired
    report = lambda update, trouble="": SimpleNamespace(update=update, trouble=trouble)
    assert v.due(report(5), 100) and v.due(report(7), 7)
    assert not v.due(report(6), 100) and not v.due(report(5, "not finite"), 100)
    assert [v.note(u, x) for u, x in ((0, 3.0), (5, 2.0), (10, 2.5))] == [True, True, False]
    assert not v.tired
    v.note(15, 2.1)
    assert v.tired and v.best() == (5, 2.0)
    again = Validation(part, 4, options, tmp_path, comm, done=10)
    assert again.rows == v.rows[:3] and not again.tired, "rows after the checkpoint are dropped"
    other = Validation(part, 3, options, tmp_path, comm, done=10)
    assert other.rows == [], "errors of other rollouts compare with nothing"
    assert other.note(10, float("nan")) and other.note(15, 5.0) and not other.note(20, np.nan)
    assert other.best() == (15, 5.0) and not other.tired
    with pytest.raises(ConfigError, match="targets.validation: no rollout of 4 steps fits"):
        Validation(SimpleNamespace(count=lambda steps: 0), 4, options, tmp_path, comm)


def test_evaluation_beside_baselines(run, capsys):
    assert main(["evaluate", str(run[1]), "--windows", "1", "--free", "1"]) == OK
    said = capsys.readouterr().out
    assert "persistence" in said and "no climatology among the contenders" in said
    rows = read_csv(run[1] / "evaluation.csv")
    assert {r["contender"] for r in rows} == {"trained", "uncorrected", "persistence"}
    found = {(r["variable"], r["lead_days"]) for r in rows}
    assert found == {(v, d) for v in ("eta", "u") for d in (0.25, 0.5)}
    assert {r["depth"] for r in rows if r["variable"] == "u"} == {
        "all",
        "100-500 m",
        "below 1500 m",
    }
    rmse = {(r["variable"], r["depth"], r["lead_days"], r["contender"]): r["rmse"] for r in rows}
    for *key, _contender in rmse:
        assert rmse[*key, "trained"] < 0.1 * rmse[*key, "uncorrected"]
    trained, before = ([r for r in rows if r["contender"] == c] for c in ("trained", "uncorrected"))
    for new, old in zip(trained, before, strict=True):
        assert new["acc"] > 0.99 and new["acc"] > old["acc"]
        assert abs(new["variance_ratio"] - 1) < 0.5 * abs(old["variance_ratio"] - 1)
    assert "| u | below 1500 m | 0.5 | trained |" in (run[1] / "evaluation.md").read_text()
    for name in ("evaluation_rmse.png", "evaluation_acc.png", "free_run.png"):
        assert (run[1] / name).stat().st_size > 1000


def test_free_run_beside_the_evaluation(run):
    """The same programs over the same day, on their own."""
    with open(run[1] / "free_run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["contender"], float(r["days"])) for r in rows] == [
        (c, 0.25 * n) for c in ("trained", "uncorrected") for n in range(5)
    ]
    end = {r["contender"]: r for r in rows}
    assert all(r["finite"] == "True" for r in rows)
    # Insulated: no drift, and four times the viscosity takes energy.
    assert all(abs(float(r["temperature_drift"])) < 1e-11 for r in rows)
    assert float(end["uncorrected"]["kinetic_energy"]) < float(end["trained"]["kinetic_energy"])


def test_free_runs_of_single_precision_are_in_double(tmp_path):
    """The model and what it learned; the truth stays as it was made."""
    setup = build(load_recipe(RECIPE, {"overrides.run.precision": "float32"}), tmp_path)
    trained = setup.trainable
    assert trained["physics"]["lateral_viscosity"].dtype == setup.model.dtype == np.float32
    record = (tmp_path / "truth" / "record_00000.nc").read_bytes()
    with pytest.warns(UserWarning, match="float32, converted to float64"):
        double, trained = in_double(setup, trained, tmp_path)
        state = double.test.window(0, double.every).state
    assert trained["physics"]["lateral_viscosity"].dtype == state.u.dtype == np.float64
    assert (tmp_path / "truth" / "record_00000.nc").read_bytes() == record


def test_nothing_is_overwritten(run, capsys):
    recipe, folder = run
    before = {p: p.read_bytes() for p in folder.glob("*.*")}
    assert main(["train", str(recipe), "-o", str(folder)]) == FILE
    assert "holds a training already" in capsys.readouterr().err
    other = ["--set", "seed=3", "--resume"]
    assert main(["train", str(recipe), "-o", str(folder), *other]) == FILE
    assert "belongs to another recipe (seed: 0 there, 3 here)" in capsys.readouterr().err
    assert (
        main(["train", str(recipe), "-o", str(folder), "--resume", "--set", "targets.days=3"])
        == FILE
    )
    assert "truth of another recipe" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in folder.glob("*.*")}
    assert main(["evaluate", str(folder.parent)]) == FILE
    assert main(["train", str(folder.parent / "none.yaml")]) == UNUSABLE


def scored(folder, other) -> dict[tuple[str, str], float]:
    """Root mean square errors after half a day by contender and variable."""
    assert main(["evaluate", str(folder), "--windows", "1", "--against", str(other)]) == OK
    rows = [
        r
        for r in read_csv(folder / "evaluation.csv")
        if r["depth"] == "all" and r["lead_days"] == 0.5
    ]
    return {(r["contender"], r["variable"]): r["rmse"] for r in rows}


@pytest.mark.slow
def test_a_network_alone_beside_the_physics(run, tmp_path):
    network = {
        "network": {"kind": "column", "width": 4, "depth": 1},
        "every": 6,
        "outputs": {n: "tendency" for n in ALONE},
        "inputs": ["velocity", "sea_level"],
    }
    recipe = load_recipe(
        RECIPE,
        {
            "name": "network",
            "physics": False,
            "learnable": [],
            "start": {},
            "corrector": network,
            "targets.folder": str(run[1] / "truth"),
            "targets.validation": 0,  # which would choose the network as it was at first
            "curriculum": [{"updates": 2, "days": 0.5}],
        },
    )
    train(recipe, tmp_path / "network", quiet=True)
    first, second = read_log(tmp_path / "network")
    assert float(first["gradient_norm"]) > 0 and float(first["loss"]) != float(second["loss"])
    rows = scored(run[1], tmp_path / "network")
    # The network starts as persistence, and two updates do not make it physics.
    assert (
        rows["network", "u"] != rows["persistence", "u"]
        and rows["trained", "u"] < rows["network", "u"]
    )
    (tmp_path / "other").mkdir()
    write_recipe(
        tmp_path / "other" / "recipe.yaml",
        load_recipe(recipe.model_dump(mode="json"), {"targets.days": 5}),
    )
    with pytest.raises(ConfigError, match="another truth or grid than small"):
        evaluate(run[1], against=[tmp_path / "other"])


@pytest.mark.slow
def test_offline_training_is_judged_by_forecasts(run, tmp_path):
    """Of the length that the recipe says, with the network in them."""
    network = {
        "network": {"kind": "column", "width": 4, "depth": 1},
        "every": 2,
        "outputs": {"velocity": "tendency"},
        "inputs": ["velocity", "sea_level"],
    }
    changes = {
        "learnable": [],
        "corrector": network,
        "offline": True,
        "targets.folder": str(run[1] / "truth"),
        "curriculum": [{"updates": 2, "days": 0.25}],
        "optimiser": {"learning_rate": {"corrector": 1e-4}},
        "validation": {"every": 1, "windows": 2, "days": 0.5},
    }
    train(load_recipe(RECIPE, changes), tmp_path / "offline", quiet=True)
    with open(tmp_path / "offline" / "validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    best = min(rows, key=lambda r: float(r["loss"]))
    setup, chosen = trained_in(tmp_path / "offline")
    steps, part = setup.model.steps_in(0.5), setup.validation
    assert int(best["update"]) > 0 and {int(r["steps"]) for r in rows} == {steps}
    windows = [part.window(n, steps) for n in (0, part.count(steps) - 1)]
    shares = (
        jax.jit(lambda w, p=p: p.share(chosen, w, setup.fixed, steps))
        for p in (replace(setup.problem, offline=None), setup.problem)
    )
    forecasts, along = (np.mean([float(share(w)) for w in windows]) for share in shares)
    assert forecasts == pytest.approx(float(best["loss"]), rel=1e-9)
    assert abs(along - forecasts) > 1e-6 * forecasts


@pytest.mark.parametrize(
    "change, says",
    [
        ({"physics": False}, "leaves a network alone"),
        (
            {"physics": False, "learnable": [], "corrector.network": "column"},
            "without physics nothing moves eta, u",
        ),
        ({"learnabel": []}, "unknown parameter learnabel; did you mean learnable"),
        ({"loss.factor": {}}, "unknown parameter loss.factor; did you mean factors"),
        ({"learnable": ["lateral_viscsity"]}, "did you mean lateral_viscosity"),
        ({"learnable": []}, "nothing to learn"),
        ({"batch": 0}, "batch: .*greater than or equal to 1"),
        ({"loss.factors": {"heat": 1}}, "loss.factors.heat"),
        ({"overrides.grid.nxx": 4}, "grid.nxx"),
        ({"curriculum": []}, "curriculum"),
        (
            {"targets.path": "sst.nc"},
            "targets.path: twin has no such option; it belongs to kind sst",
        ),
        ({"targets": {"kind": "sst", "path": "sst.nc"}}, "targets of kind sst hold sst alone"),
        (
            {"corrector.network": "column", "overrides.corrector.weights": "shipped"},
            "overrides: corrector.weights puts a trained corrector",
        ),
        ({"offline": True}, "offline: is for a corrector beside physics"),
        ({"targets.validation": 0.6, "targets.test": 0.5}, "leave nothing to train on"),
        (
            {"targets": {"kind": "profiles", "files": ["a.nc"], "validation": 0.2}},
            "targets of kind profiles keep no records for it",
        ),
        ({"checkpoint": "some"}, "'none', 'step', 'halo' or 'nested'"),
    ],
)
def test_bad_recipes(change, says):
    with pytest.raises(ConfigError, match=says):
        load_recipe(RECIPE, change)


def test_recipe_survives_its_file(tmp_path):
    recipe = load_recipe(RECIPE, ["batch=3", "overrides.time.step=900"])
    write_recipe(tmp_path / "recipe.yaml", recipe)
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again == recipe and again.config().time.step == 900 and again.batch == 3
    assert again.identity() == recipe.identity()


@pytest.mark.slow  # compiles the gradient of the ocean with a network twice
@pytest.mark.timeout(900)
@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_the_ocean_learns_the_same_on_several_ranks(tmp_path):
    """A map and a column network, ten updates, and a checkpoint of one rank that goes on with
    tiles."""
    comm = world()
    folder = type(tmp_path)(comm.broadcast(str(tmp_path)))
    recipe = load_recipe(
        RECIPE
        | {
            "learnable": ["lateral_viscosity: map"],
            "corrector": {"network": {"kind": "column", "width": 4, "depth": 1}, "every": 2},
            "targets": RECIPE["targets"] | {"folder": str(folder / "truth")},
            "loss": {"factors": {"u": 1, "temperature": 1}},
            "curriculum": [{"updates": 10, "days": 0.25}],
            "check_every": 1,
        }
    )
    start = None
    if comm.rank == 0:  # the others wait, and leave it the cores
        alone = train(recipe, folder / "alone", quiet=True, comm=SerialCommunicator())
        tree = alone.weights.trainable
        network = [np.asarray(x) for x in jax.tree.leaves(tree["corrector"])]
        start = np.asarray(tree["physics"]["lateral_viscosity"].data), network
    whole, network = comm.broadcast(start)
    tiled = train(recipe, folder / "tiled", quiet=True, comm=comm)
    tree = tiled.weights.trainable
    for found, expected in zip(jax.tree.leaves(tree["corrector"]), network):
        np.testing.assert_allclose(found, expected, atol=1e-8)
    assert any(np.abs(x).max() > 1e-4 for x in network)
    # Adam turns a gradient of round-off into a whole step: compare where the map matters.
    t = tiled.targets.model.decomposition.tile
    here = whole[t.j0 : t.j1, t.i0 : t.i1]
    np.testing.assert_allclose(tree["physics"]["lateral_viscosity"].data, here, atol=1e-8)
    with pytest.raises(CheckpointError, match="another recipe"):
        train(
            recipe.model_copy(update={"seed": 5}),
            folder / "alone",
            resume=True,
            quiet=True,
            comm=comm,
        )
