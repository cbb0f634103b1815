"""Restarts: bit-identical continuation on any layout, and refusal of what is not a sound
restart."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest

import dogcm
from dogcm.decomp import SerialCommunicator, world
from dogcm.io.restart import (
    RestartError,
    latest_restart,
    read_restart,
    restarts_in,
    write_restart,
)
from dogcm.io.root import OutputError

SMALL = {"grid.nx": 24, "grid.ny": 16, "grid.nz": 4, "time.step": 3600}


def gathered(model) -> dict[str, np.ndarray] | None:
    """All variables of the state as global arrays, on every rank."""
    return {n: model.comm.broadcast(model.gather(n)) for n in model.state.variables()}


def same_bits(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def copy(state):
    return jax.tree.map(jnp.copy, state)


@pytest.fixture(scope="module")
def model():
    m = dogcm.Model("channel", SMALL, comm=SerialCommunicator())
    m.advance(10)
    m.after_10 = copy(m.state)
    m.advance(10)
    m.after_20 = gathered(m)
    return m


@pytest.fixture
def restart(model, tmp_path) -> Path:
    model.state = copy(model.after_10)
    return write_restart(tmp_path / "restart.nc", model)


def test_two_halves_are_the_whole(model, restart):
    model.state = read_restart(restart, model)
    model.advance(10)
    same_bits(gathered(model), model.after_20)
    assert (float(model.state.time), int(model.state.steps)) == (20 * 3600.0, 20)


def test_the_state_comes_back(model, restart):
    state = read_restart(restart, model)
    for name, field in model.after_10.variables().items():
        back = state.variables()[name]
        assert (back.at, back.halo, back.dtype) == (field.at, field.halo, field.dtype)
        wet = np.asarray(getattr(model.grid, f"mask_{field.at}").crop(field.halo).data) > 0
        wet = wet if field.ndim == 3 else wet[0]
        np.testing.assert_array_equal(
            np.asarray(back.data)[wet], np.asarray(field.data)[wet], err_msg=name
        )
    assert np.asarray(state.history_u[0].interior).any()


def test_equal_states_have_equal_checksums(model, restart):
    again = write_restart(restart.with_name("again.nc"), model)
    with netCDF4.Dataset(restart) as a, netCDF4.Dataset(again) as b:
        for name in model.state.variables():
            assert a[name].sha256 == b[name].sha256
    assert not list(restart.parent.glob(".*"))


def damage_data(path):
    with netCDF4.Dataset(path, "a") as data:
        values = data["temperature"][2]
        values[3, 4] = np.nextafter(values[3, 4], np.inf)
        data["temperature"][2] = values


def damage_header(path):
    with netCDF4.Dataset(path, "a") as data:
        data.time = float(data.time) + 3600.0


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20000])


def empty(path):
    path.write_bytes(b"")


def lose_variable(path):
    with netCDF4.Dataset(path, "a") as data:
        data.renameVariable("salinity", "salt")


@pytest.mark.parametrize(
    "harm, says",
    [
        (damage_data, "checksum of temperature"),
        (damage_header, "checksum of the header"),
        (truncate, "damaged"),
        (empty, "damaged"),
        (lose_variable, "no salinity"),
        (Path.unlink, "no such restart"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_damage_is_refused(model, restart, harm, says):
    before = gathered(model)
    harm(restart)
    with pytest.raises(RestartError, match=says) as refusal:
        read_restart(restart, model)
    assert str(restart) in str(refusal.value)
    same_bits(gathered(model), before)


@pytest.mark.parametrize(
    "change",
    [{"grid.nx": 25}, {"grid.depth": 3100.0}, {"grid.dy": 51e3}, {"bathymetry.depth": 2500.0}],
    ids=str,
)
def test_another_grid_is_refused(restart, change):
    other = dogcm.Model("channel", {**SMALL, **change}, comm=SerialCommunicator())
    with pytest.raises(RestartError, match="another grid"):
        read_restart(restart, other)


@pytest.mark.parametrize("change", [{"time.step": 1800}, {"time.scheme": "ab3"}], ids=str)
def test_another_time_step_starts_the_scheme_anew(restart, model, change):
    other = dogcm.Model("channel", {**SMALL, **change}, comm=SerialCommunicator())
    with pytest.warns(UserWarning, match="old accelerations are dropped"):
        state = read_restart(restart, other)
    assert (int(state.steps), float(state.time)) == (0, 10 * 3600.0)
    assert len(state.history_u) == other.scheme.memory
    assert not any(np.asarray(f.data).any() for f in state.history_u + state.history_v)
    kept, sent = state.temperature.data, model.after_10.temperature.data
    np.testing.assert_array_equal(np.asarray(kept), np.asarray(sent))


def test_precision_is_converted(restart, model):
    other = dogcm.Model("channel", {**SMALL, "run.precision": "float32"}, comm=SerialCommunicator())
    with pytest.warns(UserWarning, match="float64, converted to float32"):
        other.state = read_restart(restart, other)
    assert all(f.dtype == np.float32 for f in other.state.variables().values())
    np.testing.assert_allclose(other.gather("temperature"), model.gather("temperature"), rtol=1e-6)


def test_a_failed_write_keeps_the_old_file(model, restart, monkeypatch):
    old = restart.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dogcm.io.restart.os.fsync", full)
    with pytest.raises(OutputError, match="full"):
        write_restart(restart, model)
    assert restart.read_bytes() == old
    assert [p.name for p in restart.parent.iterdir()] == [restart.name]


def test_no_room_is_seen_before_writing(model, restart, monkeypatch):
    monkeypatch.setattr("dogcm.io.root.free_bytes", lambda path: 1000)
    with pytest.raises(OutputError, match="full: .* needed"):
        write_restart(restart.with_name("next.nc"), model)
    assert [p.name for p in restart.parent.iterdir()] == [restart.name]


def test_the_newest_is_found(tmp_path):
    with pytest.raises(RestartError, match="no restart"):
        latest_restart(tmp_path)


def stamped(path: Path, days: float) -> Path:
    with netCDF4.Dataset(path, "w") as data:
        data.time = days * 86400.0
    return path


def test_the_newest_is_that_of_the_latest_model_time(tmp_path):
    """A longer time step counts anew from a smaller number."""
    older = stamped(tmp_path / "restart_000000240.nc", 10.0)
    newer = stamped(tmp_path / "restart_000000120.nc", 20.0)
    assert restarts_in(tmp_path) == [older, newer]
    assert latest_restart(tmp_path) == newer


def test_only_names_that_a_run_writes_are_restarts(tmp_path):
    mine = stamped(tmp_path / "restart_000000002.nc", 1.0)
    for name in (
        "restart_000000009_backup.nc",
        "restart_x.nc",
        "restart_9.nc",
        "my_restart_000000009.nc",
        "restart_000000009.nc.old",
    ):
        stamped(tmp_path / name, 2.0)
    assert restarts_in(tmp_path) == [mine]


def test_an_unreadable_restart_is_not_passed_over(tmp_path):
    """Going on from an older one would drop what came after it without a word."""
    stamped(tmp_path / "restart_000000001.nc", 1.0)
    (tmp_path / "restart_000000002.nc").write_bytes(b"")
    with pytest.raises(RestartError, match="restart_000000002.nc is damaged"):
        latest_restart(tmp_path)


def test_steps_are_counted_in_64_bits(model, restart):
    model.state = read_restart(restart, model).replace(steps=jnp.asarray(2**31 - 1, jnp.int64))
    model.advance(2)
    assert int(model.state.steps) == 2**31 + 1
    far = write_restart(restart.with_name("far.nc"), model)
    assert int(read_restart(far, model).steps) == 2**31 + 1


def test_a_time_between_steps_is_told(model, restart, tmp_path):
    longer = dogcm.Model("channel", {**SMALL, "time.step": 7200 * 2}, comm=SerialCommunicator())
    with pytest.warns(UserWarning, match="no whole number of steps of 14400 s.*.7200 s off"):
        longer.run(14400 * 2 / 86400, restart_from=restart, progress=False)


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_a_restart_moves_to_another_layout(tmp_path):
    """Written by N ranks; continued by them, by N ranks cut into strips, and by one rank: the same
    bits."""
    comm = world()
    path = Path(comm.broadcast(str(tmp_path))) / "many.nc"
    many = dogcm.Model("channel", SMALL, comm=comm)
    many.advance(10)
    write_restart(path, many)
    many.advance(10)
    whole = gathered(many)
    strips = dogcm.Model("channel", SMALL, layout=f"{comm.size}x1", comm=comm)
    for other in (many, strips):
        other.state = read_restart(path, other)
        other.advance(10)
        same_bits(gathered(other), whole)
    back = path.with_name("one.nc")
    if comm.rank == 0:
        one = dogcm.Model("channel", SMALL, comm=SerialCommunicator())
        one.state = read_restart(path, one)
        write_restart(back, one)
        one.advance(10)
        same_bits(gathered(one), whole)
    comm.barrier()
    many.state = read_restart(back, many)
    many.advance(10)
    same_bits(gathered(many), whole)
