"""Training: recovery of known parameters, the same on any layout, resumable to the bit, and honest
about failures."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_ocean import SHAPE, STEPS, TRUTH
from toy_training import SOURCE, trainer_on, values

from dogcm.decomp import SerialCommunicator, world
from dogcm.field import Field
from dogcm.learning.groups import Ranks
from dogcm.learning.optimiser import Optimiser, Settings
from dogcm.learning.saving import (
    CheckpointError,
    checkpoint_path,
    latest_checkpoint,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from dogcm.learning.trainer import Stage, TrainingError


def same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def learned():
    """A whole training on one rank, with its reports."""
    reports = []
    toy, trainer = trainer_on(SerialCommunicator())
    trainer.train(each=reports.append)
    return toy, trainer, reports


def test_known_parameters_are_recovered(learned):
    toy, trainer, reports = learned
    found = values(toy, trainer.weights)
    assert np.exp(found["log_k"]) == pytest.approx(TRUTH["k"], rel=0.1)
    assert np.abs(found["source"] - SOURCE).max() < 0.1 * np.abs(SOURCE).max()
    assert reports[-1].loss < 1e-3 * reports[0].loss
    assert [r.update for r in reports] == list(range(1, 201))
    assert [r.steps for r in reports] == [3] * 20 + [STEPS] * 180, "the curriculum"
    assert reports[0].rate == 0.05 and reports[-1].rate < 0.01, "the schedule"
    w = trainer.weights
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.05), w.average, w.trainable)


def test_windows_at_once_give_the_same(learned):
    one, together = (trainer_on(SerialCommunicator(), at_once=a)[1] for a in (False, True))
    for t in (one, together):
        t.train(3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13),
        one.weights,
        together.weights,
    )


def test_update_is_adam_with_clipping_and_decay():
    """Against the formula (Kingma and Ba 2015; Loshchilov and Hutter 2019), first update."""
    tree = {"physics": {"a": jnp.asarray(2.0)}, "corrector": {"w": jnp.asarray([3.0, -4.0])}}
    settings = Settings({"physics": 0.1, "corrector": 0.01}, 10, clip=1.0, weight_decay=0.5)
    optimiser = Optimiser(settings, tree)
    new = optimiser.update(optimiser.start(tree), tree, jnp.asarray(np.sqrt(29.0)), 0.5).trainable
    assert float(new["physics"]["a"]) == pytest.approx(2.0 - 0.5 * 0.1, rel=1e-6)
    expected = [3 - 0.5 * 0.01 * (1 + 1.5), -4 + 0.5 * 0.01 * (1 + 2)]
    np.testing.assert_allclose(new["corrector"]["w"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="no learning rate for initial"):
        Optimiser(settings, {"initial": tree})


def test_norm_is_that_of_all_leaves():
    ranks = Ranks(SerialCommunicator())
    tree = {"a": jnp.asarray(3.0), "b": Field(jnp.full((2, 2), 2.0), "c")}
    assert float(ranks.norm(tree)) == pytest.approx(5.0)


# ---- failures
def test_roll_back_from_a_bad_window():
    """A NaN in the targets: named, nothing learned from it, the learning rate halved, and training
    goes on."""
    _, trainer = trainer_on(SerialCommunicator(), poison=2, batch=1)
    reports = []
    trainer.train(12, reports.append)
    bad = [r for r in reports if r.trouble]
    assert bad and all(bool(r.trouble) == (r.windows == (2,)) for r in reports)
    assert "rank 0: loss of window 2" in bad[0].trouble
    assert trainer.progress.multiplier == 0.5 ** len(bad) and trainer.progress.update == 12
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(trainer.weights))


def test_roll_back_from_a_bad_update():
    """Weights that give NaN are left for the last good ones, and the next step is half as long."""
    _, trainer = trainer_on(
        SerialCommunicator(), explode=True, settings=Settings({"physics": 3.0}, 60), patience=9
    )
    before = trainer.weights
    first, second = trainer.step(), trainer.step()
    assert not first.trouble and "loss of window" in second.trouble
    same_bits(trainer.weights, before)
    assert trainer.progress.update == 0
    trainer.step()
    moved = float(
        trainer.weights.trainable["physics"]["log_k"] - before.trainable["physics"]["log_k"]
    )
    assert 0 < moved < 1.6


def test_giving_up():
    _, trainer = trainer_on(
        SerialCommunicator(), explode=True, curriculum=[Stage(5, 3)], patience=3
    )
    broken = jax.tree.map(lambda x: x + 5.0, trainer.weights)
    trainer.weights, trainer.good = broken, (broken, 0)
    with pytest.raises(
        TrainingError, match="gave up at update 1 after 3 failures.*window .*smaller learning rate"
    ):
        trainer.train()


def test_too_short_targets():
    with pytest.raises(TrainingError, match="no window is long enough for rollouts of 50 steps"):
        trainer_on(SerialCommunicator(), curriculum=[Stage(5, 50)])


# ---- checkpoints
def saved(trainer, toy, folder):
    tree, header = trainer.content()
    path = checkpoint_path(folder, trainer.progress.update)
    return save_checkpoint(path, tree, header | {"identity": {"recipe": "toy"}}, toy.decomposition)


def test_resume_is_bit_identical(learned, tmp_path):
    toy, whole, reports = learned
    _, first = trainer_on(SerialCommunicator())
    first.train(25)
    path = saved(first, toy, tmp_path)
    _, second = trainer_on(SerialCommunicator(), seed=99)
    assert latest_checkpoint(tmp_path) == path
    second.restore(
        *load_checkpoint(path, second.content()[0], {"recipe": "toy"}, toy.decomposition)
    )
    again = []
    second.train(each=again.append)
    same_bits(second.weights, whole.weights)
    assert [(r.update, r.loss, r.windows) for r in again] == [
        (r.update, r.loss, r.windows) for r in reports[25:]
    ]
    assert not list(tmp_path.glob(".*")), "no unfinished file is left"


def test_bad_checkpoints(learned, tmp_path):
    toy, trainer, _ = learned
    path = saved(trainer, toy, tmp_path)
    like = trainer.content()[0]
    load = lambda p, t, **i: load_checkpoint(p, t, i or {"recipe": "toy"}, toy.decomposition)
    assert read_header(path)["identity"] == {"recipe": "toy"}
    with pytest.raises(CheckpointError, match="another recipe .*recipe: toy there, other here"):
        load(path, like, recipe="other")
    with pytest.raises(CheckpointError, match="no such training checkpoint"):
        load(tmp_path / "nothing.npz", like)
    with pytest.raises(CheckpointError, match=r"another network: it has no \['more'\]"):
        load(path, like | {"more": jnp.zeros(2)})
    with pytest.raises(CheckpointError, match=r"another network: this one has no \['good'\]"):
        load(path, {"now": like["now"]})
    wrong = jax.tree.map(lambda x: jnp.zeros((2, *x.shape), x.dtype), like)
    with pytest.raises(CheckpointError, match="another network or grid: .* there, .* here"):
        load(path, wrong)
    damaged = bytearray(path.read_bytes())
    for place in range(200, len(damaged), 97):
        damaged[place] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, like)
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        latest_checkpoint(tmp_path / "elsewhere")


def test_checkpoints_hold_no_pickle(learned, tmp_path):
    toy, trainer, _ = learned
    with np.load(saved(trainer, toy, tmp_path), allow_pickle=False) as data:
        assert all(data[n].dtype != object for n in data.files)
        assert json.loads(data["header"].tobytes())["progress"]["update"] == 200


# ---- across ranks
def compare(found, expected, comm, tolerance):
    for name in ("log_k", "pull"):
        assert abs(found[name] - expected[name]) < tolerance
    if comm.rank == 0:
        assert np.abs(found["source"] - expected["source"]).max() < tolerance


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_same_training_on_any_layout():
    """Scalars and a map learned by tiles: as on one rank, and with the same bits on all ranks."""
    comm = world()
    alone_toy, alone = trainer_on(SerialCommunicator())
    expected = values(alone_toy, alone.train(20))
    toy, trainer = trainer_on(comm, check_every=1)
    compare(values(toy, trainer.train(20)), expected, comm, 1e-8)
    assert trainer.ranks.fingerprints(trainer.weights) == []


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_groups_are_a_larger_batch():
    """G groups with one window each learn what one rank learns with G windows."""
    comm = world()
    alone_toy, alone = trainer_on(SerialCommunicator(), batch=comm.size)
    expected = values(alone_toy, alone.train(10))
    groups = 2 if comm.size % 2 == 0 else comm.size
    tiles = comm.size // groups
    toy, trainer = trainer_on(comm, groups=groups, batch=tiles, check_every=1)
    assert toy.comm.size == tiles and trainer.ranks.group == comm.rank // tiles
    found = values(toy, trainer.train(10))
    if trainer.ranks.group == 0:
        compare(found, expected, toy.comm, 1e-8)
    assert trainer.ranks.fingerprints(trainer.weights) == []


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_checkpoint_moves_to_another_layout(tmp_path):
    comm = world()
    folder = type(tmp_path)(comm.broadcast(str(tmp_path)))
    # Bands of rows as far as the toy has rows for them, then bands of columns.
    rows = SHAPE[0] // 2
    fits = (n for n in range(1, comm.size + 1) if comm.size % n == 0 and comm.size // n <= rows)
    toy, trainer = trainer_on(comm, px=next(fits))
    trainer.train(2)
    path = saved(trainer, toy, folder)
    other_toy, other = trainer_on(comm, px=comm.size)
    other.restore(
        *load_checkpoint(path, other.content()[0], {"recipe": "toy"}, other_toy.decomposition)
    )
    assert other.progress.update == 2
    compare(values(other_toy, other.weights), values(toy, trainer.weights), comm, 1e-300)
    with pytest.raises(CheckpointError, match="another recipe"):
        load_checkpoint(path, other.content()[0], {"recipe": "x"}, other_toy.decomposition)


@pytest.mark.mpi(min_size=2)
def test_trouble_on_the_last_rank_is_reported_on_all():
    comm = world()
    _, trainer = trainer_on(comm, poison=2, batch=1, curriculum=[Stage(12, 3)])
    reports = []
    trainer.train(each=reports.append)
    bad = [r for r in reports if r.trouble]
    assert bad and all(f"rank {comm.size - 1}: loss of window 2" in r.trouble for r in bad)


@pytest.mark.mpi(min_size=2)
def test_ranks_that_differ_are_caught():
    comm = world()
    _, trainer = trainer_on(comm, check_every=1)
    physics = trainer.weights.trainable["physics"]
    nudged = physics | {"pull": physics["pull"] + (1e-15 if comm.rank == comm.size - 1 else 0.0)}
    trainer.weights = replace(trainer.weights, trainable={"physics": nudged})
    with pytest.raises(TrainingError, match=f"pull.* on rank {comm.size - 1} differs"):
        trainer.step()


def test_groups_need_enough_ranks():
    with pytest.raises(ValueError, match="1 rank cannot be split into 3 groups"):
        Ranks(SerialCommunicator(), 3)
