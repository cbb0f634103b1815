"""Truth from a finer run: coarse-grained, stored, trained on, and scored."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.evaluation.evaluation import Judge
from dogcm.learning.groups import Ranks
from dogcm.learning.problem import Window, stacked
from dogcm.learning.recipe import load_recipe
from dogcm.simulation.model import Model
from dogcm.targets import TargetError, TargetGrid, records
from dogcm.targets import truth as made
from dogcm.targets.finer import CoarseGrainer, read_valid
from dogcm.targets.records import TwinTargets
from dogcm.targets.twin import Coarsening

GRID = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 4, "grid.dx": 80e3, "grid.dy": 80e3}
FINE = {"grid.nx": 36, "grid.ny": 24, "grid.dx": 40e3, "grid.dy": 40e3}
RECIPE = {
    "experiment": "gyre",
    "overrides": GRID,
    "learnable": ["lateral_viscosity"],
    "targets": {
        "kind": "finer",
        "changes": FINE,
        "spinup": 2,
        "days": 0.5,
        "every": 0.125,
        "test": 0.5,
    },
    "loss": {"factors": {"u": 1, "temperature": 1, "eta": 1, "sst": 1}},
}


class Kept(Model):
    """A model that can be looked at after the truth was made."""

    made: list[Model] = []

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.made.append(self)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Recipe, folder, the model that is trained, and the finer one in the state of the last
    record."""
    folder, recipe = tmp_path_factory.mktemp("truth"), load_recipe(RECIPE)
    ranks = Ranks(SerialCommunicator(), 1)
    coarse = Model(recipe.config(), comm=ranks.tiles)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "Model", Kept)
        assert made.make_truth(recipe, folder, ranks, coarse)
        assert not made.make_truth(recipe, folder, ranks, coarse), "it is made once"
    assert len(Kept.made) == 1
    return recipe, folder, coarse, Kept.made[0]


@pytest.mark.slow
def test_one_run_for_two_grids_goes_on_after_an_interruption(truth, tmp_path, monkeypatch):
    """The records are those of a run of its own that nobody interrupted."""
    recipe, whole, coarse, _ = truth
    wide = {"grid.nx": 9, "grid.ny": 6, "grid.dx": 160e3, "grid.dy": 160e3}
    other = load_recipe(RECIPE, {f"overrides.{k}": v for k, v in wide.items()})
    folders = {tmp_path / "own": recipe, tmp_path / "wide": other}
    finished, written = {}, CoarseGrainer.write

    def write(self, path):
        if path.name == "record_00002.nc" and not finished:
            raise KeyboardInterrupt
        written(self, path)

    monkeypatch.setattr(records, "KEPT_EVERY", 0.0)
    monkeypatch.setattr(CoarseGrainer, "write", write)
    with pytest.raises(KeyboardInterrupt):
        made.make_truths(folders)
    assert (tmp_path / "own" / "unfinished.nc").is_file()
    assert not (tmp_path / "own" / "truth.json").exists()
    finished["now"] = True
    first = (tmp_path / "own" / "record_00000.nc").stat().st_mtime_ns
    assert made.make_truths(folders) == list(folders)
    assert made.make_truths(folders) == []
    assert (tmp_path / "own" / "record_00000.nc").stat().st_mtime_ns == first, "it went on"
    assert not list(tmp_path.glob("*/unfinished.*"))
    for number in (0, 2, 4):
        own, expected = (TwinTargets(coarse, f, ["u"], 0, 4, 6) for f in (tmp_path / "own", whole))
        for a, b in zip(
            own.state(number).variables().values(), expected.state(number).variables().values()
        ):
            np.testing.assert_array_equal(a.data, b.data)
    assert len(list((tmp_path / "wide").glob("record_*.nc"))) == 5
    # Of an unfinished run another set of truths has no early records.
    for folder in folders:
        (folder / "truth.json").unlink()
    finished.clear()
    with pytest.raises(KeyboardInterrupt):
        made.make_truths(folders)
    finished["now"] = True
    made.make_truths({tmp_path / "own": recipe})
    first = (tmp_path / "own" / "record_00000.nc").stat().st_mtime_ns
    assert first > (tmp_path / "wide" / "record_00001.nc").stat().st_mtime_ns, "it began anew"
    apart = load_recipe(RECIPE, {"targets.spinup": 3})
    with pytest.raises(ConfigError, match="wants another finer run"):
        made.make_truths({tmp_path / "a": recipe, tmp_path / "b": apart})


def test_the_last_record_holds_what_the_finer_ocean_holds(truth):
    recipe, folder, coarse, fine = truth
    last = TwinTargets(coarse, folder, ["u"], 0, 4, 6).state(4)
    found, expected = coarse.monitor(last, coarse.grid), fine.read()
    assert float(last.time) == pytest.approx(2.5 * 86400) and found.time == expected.time
    for name in ("volume", "heat", "salt"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-13)
    # The flow is there; a mean has less energy than what it is of.
    assert 0.7 * expected.kinetic_energy < found.kinetic_energy < expected.kinetic_energy
    assert float(np.abs(np.asarray(last.u.data)).max()) > 1e-3
    assert int(last.steps) == 0
    assert all(not np.asarray(f.data).any() for f in (*last.history_u, *last.history_v))


def test_coarse_faces_carry_the_fine_transport(truth):
    recipe, folder, coarse, fine = truth
    last = TwinTargets(coarse, folder, ["u"], 0, 4, 6).state(4)
    expected = Coarsening(TargetGrid.gather(fine), TargetGrid.gather(coarse))(
        {"u": np.asarray(fine.state.u.interior), "eta": np.asarray(fine.state.eta.interior)}
    )
    np.testing.assert_array_equal(last.u.interior, np.nan_to_num(expected.values["u"]))


def test_windows_of_training_and_test(truth):
    recipe, folder, coarse, _ = truth
    every = coarse.steps_in(recipe.targets.every)
    found = recipe.targets.parts(folder, coarse, list(recipe.loss.factors), every)
    train, test = found.train, found.test
    assert (
        [train.count(n * every) for n in (1, 2, 3)]
        == [test.count(n * every) for n in (1, 2, 3)]
        == [2, 1, 0]
    )
    window = test.window(0, 2 * every)
    assert float(window.state.time) == pytest.approx(2.25 * 86400)
    wet = np.asarray(coarse.grid.mask_c.interior)
    for name, values in window.values.items():
        assert values.shape == window.valid[name].shape and values.shape[0] == 2
    np.testing.assert_array_equal(window.valid["temperature"].data[1], wet)
    np.testing.assert_array_equal(window.valid["sst"].data[0], wet[0])
    # The next start is the target of the window before.
    target = train.window(0, every).values["u"].data[0]
    np.testing.assert_array_equal(train.window(1, every).state.u.interior, target)


def test_cells_without_fine_water_are_left_out(tmp_path, capsys):
    coarse = Model("gyre", GRID)
    shallow = Model(
        "gyre", GRID | FINE | {"bathymetry.depth": 1000, "initial.surface_temperature": 15}
    )
    grain = CoarseGrainer(shallow, coarse)
    assert "hold no water of the finer run" in capsys.readouterr().out
    state = grain.state()
    grain.write_valid(tmp_path / "valid.npz")
    valid = read_valid(tmp_path / "valid.npz", coarse, ["temperature", "sst", "eta", "u"])
    bottom = np.concatenate([[0.0], coarse.vertical.edges[1:-1]]) >= 1000
    assert bottom.any() and not bottom.all()
    for k, dry in enumerate(bottom):
        assert (np.asarray(valid["temperature"].data[k]) == (0 if dry else 1)).all()
        open_faces = np.asarray(coarse.grid.mask_u.interior[k])
        np.testing.assert_array_equal(valid["u"].data[k], 0 if dry else open_faces)
        source = coarse if dry else shallow
        expected = source.state.temperature.interior[k, 0, 0]
        np.testing.assert_allclose(state.temperature.interior[k], expected, rtol=0 if dry else 0.05)
    assert np.asarray(valid["sst"].data).all() and np.asarray(valid["eta"].data).all()


@pytest.mark.parametrize(
    "change, says",
    [
        ({"grid.nx": 30}, "24 x 30 fine cells are no multiple of 12 x 18 coarse ones"),
        ({"grid.dx": 50e3}, "longitudes of the coarse faces are not fine ones"),
    ],
)
def test_grids_that_do_not_nest(tmp_path, change, says):
    recipe = load_recipe(RECIPE | {"targets": RECIPE["targets"] | {"changes": FINE | change}})
    ranks = Ranks(SerialCommunicator(), 1)
    with pytest.raises(TargetError, match=f"does not nest.*{says}.*whole multiples"):
        made.make_truth(recipe, tmp_path, ranks, Model(recipe.config(), comm=ranks.tiles))
    assert not list(tmp_path.glob("*.nc"))


def test_the_finer_experiment_of_a_recipe():
    targets = {"kind": "finer", "experiment": "global_2deg"}
    base = RECIPE | {"experiment": "global_4deg", "overrides": {"time.step": 1800}}
    recipe = load_recipe(base | {"targets": targets})
    truth, own = recipe.truth_config(), recipe.config()
    assert truth.name == "global_2deg" and truth.time.step == 3600, (
        "overrides are for the coarse experiment"
    )
    assert truth.grid.layers == own.grid.layers
    apart = load_recipe(base | {"targets": targets | {"layers": "own"}})
    assert len(apart.truth_config().grid.layers) == 20
    assert recipe.identity()["targets"] != apart.identity()["targets"]
    with pytest.raises(
        ConfigError, match="targets.experiment: twin has no such option; it belongs to kind finer"
    ):
        load_recipe(RECIPE | {"targets": {"kind": "twin", "experiment": "global_2deg"}})
    with pytest.raises(ConfigError, match="unknown experiment"):
        load_recipe(RECIPE | {"targets": {"kind": "finer", "experiment": "global_2"}})


def scored(model, targets, seen, valid):
    """Errors of half the truth on rank 0, None elsewhere."""
    judge = Judge(SimpleNamespace(every=1, model=model, train=targets), list(seen))
    judge.start(Window(targets.state(0), stacked([seen]), stacked([valid])))
    judge.add("half", 0, {n: f.with_data(f.data / 2) for n, f in seen.items()})
    judge.add_baselines()
    if judge.book is None:
        return None
    rows = judge.book.rows()
    assert np.isfinite([r["rmse"] for r in rows]).all()
    assert "below 1500 m" in judge.book.bands, "the model is deep"
    assert "below 1500 m" not in {r["depth"] for r in rows}, "no truth there"
    return {(r["variable"], r["depth"], r["contender"]): r["rmse"] for r in rows}


@pytest.mark.mpi(min_size=2)
@pytest.mark.timeout(300)
def test_the_same_truth_on_several_ranks(tmp_path):
    """A flow made by hand, so that nothing has to be compiled."""
    comm = world()
    folder = type(tmp_path)(comm.broadcast(str(tmp_path)))

    def made(comm, path):
        fine, coarse = (
            Model("gyre", g, comm=comm) for g in (GRID | FINE | {"bathymetry.depth": 1000}, GRID)
        )
        t = fine.decomposition.tile
        y, x = np.meshgrid(np.arange(t.j0, t.j1), np.arange(t.i0, t.i1), indexing="ij")
        wave = np.sin(0.3 * x + 0.01 * x * y)
        s = fine.state
        u = s.u.with_data(s.u.data + 0.1 * wave * np.asarray(fine.grid.mask_u.interior))
        tracers = {n: f.with_data(f.data + wave) for n, f in s.tracers.items()}
        fine.state = s.replace(u=u, eta=s.eta.with_data(s.eta.data + 0.2 * wave), tracers=tracers)
        grain = CoarseGrainer(fine, coarse)
        grain.write(path / "record_00000.nc")
        grain.write_valid(path / "valid.npz")
        targets = TwinTargets(coarse, path, ["u", "temperature"], 0, 0, 1)
        _, seen, valid = targets.record(0)
        return coarse.decomposition, scored(coarse, targets, seen, valid), seen, valid

    alone = rows = None
    if comm.rank == 0:
        (folder / "alone").mkdir()
        _, rows, seen, valid = made(SerialCommunicator(), folder / "alone")
        alone = [{n: np.asarray(f.data) for n, f in fields.items()} for fields in (seen, valid)]
        (folder / "tiled").mkdir()
    comm.barrier()
    decomposition, *tiled = made(comm, folder / "tiled")
    t = decomposition.tile
    assert tiled.pop(0) == rows and (comm.rank or rows["temperature", "all", "half"] > 1)
    for found, expected in zip(tiled, comm.broadcast(alone)):
        for name, values in expected.items():
            assert np.abs(values).max() > 0.05
            np.testing.assert_array_equal(found[name].data, values[:, t.j0 : t.j1, t.i0 : t.i1])


def test_velocities_of_the_cd_scheme_are_averaged_over_faces_too():
    both = RECIPE | {"overrides": GRID | {"physics.coriolis": "cd"}}
    with pytest.raises(TargetError, match="coriolis: cd in targets.changes"):
        recipe = load_recipe(both, {"targets.changes.physics.coriolis": "c_grid"})
        CoarseGrainer(Model(recipe.truth_config()), Model(recipe.config()))
    recipe = load_recipe(both, {"overrides.physics.coriolis.extrapolation": 0.6})
    fine, coarse = Model(recipe.truth_config()), Model(recipe.config())
    rng, (v_at_u, u_at_v, *before) = np.random.default_rng(0), fine.state.d_grid
    a, b = rng.normal(size=v_at_u.data.shape), rng.normal(size=u_at_v.data.shape)
    fine.state = fine.state.replace(d_grid=(v_at_u.with_data(a), u_at_v.with_data(b), *before))
    averaged = CoarseGrainer(fine, coarse).state()
    one, other, *before = (np.asarray(f.data) for f in averaged.d_grid)
    for found, now in zip(before, (averaged.u, averaged.v, averaged.eta), strict=True):
        np.testing.assert_array_equal(found, now.data)
    # The bottom is flat and the sea level at rest, so every open face counts alike. Walls lie along
    # the rim.
    np.testing.assert_allclose(
        one[:, 2:-2, 2:-2], a.reshape(4, 12, 2, 18, 2).mean(2)[..., 0][:, 2:-2, 2:-2], atol=1e-14
    )
    np.testing.assert_allclose(
        other[:, 2:-2, 2:-2],
        b.reshape(4, 12, 2, 18, 2).mean(-1)[:, :, 0][:, 2:-2, 2:-2],
        atol=1e-14,
    )
