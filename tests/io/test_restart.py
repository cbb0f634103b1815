"""Restarts: bit-identical continuation on any layout, and refusal of what is not a sound
restart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.components import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.io.restart import (
    RestartError,
    latest_restart,
    read_restart,
    restart_days,
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


@pytest.fixture
def store(model, tmp_path) -> Path:
    pytest.importorskip("zarr")
    model.state = copy(model.after_10)
    return write_restart(tmp_path / "restart.zarr", model)


@pytest.fixture(params=["restart", "store"])
def either(request) -> Path:
    """A restart in each format."""
    return request.getfixturevalue(request.param)


def test_two_halves_are_the_whole(model, either):
    model.state = read_restart(either, model)
    model.advance(10)
    same_bits(gathered(model), model.after_20)
    assert (float(model.state.time), int(model.state.steps)) == (20 * 3600.0, 20)


def test_the_state_comes_back(model, either):
    state = read_restart(either, model)
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


def test_a_store_can_be_read_by_other_tools(model, store):
    """By xarray, and its checksums by sha256sum."""
    words = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(words, cwd=store, check=False).returncode == 0
    with xr.open_zarr(store, consolidated=True) as data:
        assert set(data.variables) == set(model.state.variables()) and data.time == 36000.0
        np.testing.assert_array_equal(data["temperature"], model.gather("temperature"))
        assert data["temperature"].dims == ("z", "y", "x") and data["u"].place == "u"
    listed = {line.split()[1] for line in (store / "SHA256SUMS").read_text().splitlines()}
    files = {str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()}
    assert files == listed | {"SHA256SUMS", "zarr.json"}


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
    assert_refused(model, restart, harm, says)


def assert_refused(model, path, harm, says):
    """A damaged restart, by name, with the model as it was."""
    before = gathered(model)
    harm(path)
    with pytest.raises(RestartError, match=says) as refusal:
        read_restart(path, model)
    assert str(path) in str(refusal.value)
    same_bits(gathered(model), before)


# ---- damage of zarr stores
def shard_of(path, name="temperature"):
    return next((path / name).glob("c.*"))


def damage_shard(path):
    content = bytearray(shard_of(path).read_bytes())
    content[len(content) // 2] ^= 1
    shard_of(path).write_bytes(content)


def damage_by_zarr(path):
    import zarr

    zarr.open_array(path / "temperature", mode="r+")[2, 3, 4] = 1.0


def truncate_shard(path):
    shard_of(path).write_bytes(shard_of(path).read_bytes()[:-20])


def change_header(path):
    text = (path / "zarr.json").read_text()
    assert text.count('"time": 36000.0') == 1
    (path / "zarr.json").write_text(text.replace('"time": 36000.0', '"time": 39600.0'))


def truncate_metadata(path):
    (path / "zarr.json").write_text((path / "zarr.json").read_text()[:-30])


def change_array(path):
    file = path / "temperature" / "zarr.json"
    file.write_text(file.read_text().replace('"fill_value": 0.0', '"fill_value": 1.0'))


def forget_a_line(path):
    lines = (path / "SHA256SUMS").read_text().splitlines(keepends=True)
    (path / "SHA256SUMS").write_text("".join(lines[:3] + lines[4:]))


def empty_folder(path):
    shutil.rmtree(path)
    path.mkdir()


def end_in_the_middle(path):
    path.rename(path.with_name(f".{path.name}.partial"))


@pytest.mark.parametrize(
    "harm, says",
    [
        (damage_shard, "checksum of temperature does not fit; take an earlier one"),
        (damage_by_zarr, "checksum of temperature"),
        (truncate_shard, "checksum of temperature"),
        (lambda path: shard_of(path).unlink(), "checksum of temperature"),
        (change_header, "checksum of the header"),
        (truncate_metadata, "damaged or not a restart"),
        (lambda path: (path / "zarr.json").unlink(), "damaged or not a restart"),
        (change_array, "damaged .*checksum of temperature/zarr.json"),
        (lambda path: shutil.rmtree(path / "u"), "damaged or not a restart .*u/zarr.json"),
        (forget_a_line, "damaged .*checksum of SHA256SUMS"),
        (lambda path: (path / "SHA256SUMS").unlink(), "damaged or not a restart"),
        (empty_folder, "damaged or not a restart"),
        (end_in_the_middle, "no such restart"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_damage_of_a_store_is_refused(model, store, harm, says):
    assert_refused(model, store, harm, says)


def test_a_store_needs_its_library(model, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert restart_days(store) == 10 / 24
    for work in (lambda: read_restart(store, model), lambda: write_restart(store, model)):
        with pytest.raises(ConfigError, match=r'restart.zarr needs zarr.*pip install "dogcm'):
            work()


@pytest.mark.parametrize(
    "change",
    [{"grid.nx": 25}, {"grid.depth": 3100.0}, {"grid.dy": 51e3}, {"bathymetry.depth": 2500.0}],
    ids=str,
)
def test_another_grid_is_refused(model, restart, change):
    other = dogcm.Model("channel", {**SMALL, **change}, comm=SerialCommunicator())
    store = write_restart(restart.with_suffix(".zarr"), model)
    for path in (restart, store):
        with pytest.raises(RestartError, match="another grid"):
            read_restart(path, other)


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


def test_precision_is_converted(restart, store, model):
    other = dogcm.Model("channel", {**SMALL, "run.precision": "float32"}, comm=SerialCommunicator())
    for path in (restart, store):
        with pytest.warns(UserWarning, match="float64, converted to float32"):
            other.state = read_restart(path, other)
        assert all(f.dtype == np.float32 for f in other.state.variables().values())
        kept, sent = (m.gather("temperature") for m in (other, model))
        np.testing.assert_allclose(kept, sent, rtol=1e-6)


def full(*args):
    raise OSError(28, "No space left on device")


def content(path: Path) -> dict[str, bytes]:
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files if p.is_file()}


def test_a_failed_write_keeps_the_old_one(model, either, monkeypatch):
    old = content(either)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="full"):
        write_restart(either, model)
    assert content(either) == old
    assert [p.name for p in either.parent.iterdir()] == [either.name]


def test_a_store_can_be_replaced(model, store):
    old = content(store)
    model.state = copy(model.after_10).replace(time=jnp.asarray(0.0))
    write_restart(store, model)
    assert restart_days(store) == 0.0 and content(store).keys() == old.keys()
    assert [p.name for p in store.parent.iterdir()] == [store.name]


def test_no_room_is_seen_before_writing(model, either, monkeypatch):
    monkeypatch.setattr("dogcm.io.root.free_bytes", lambda path: 1000)
    with pytest.raises(OutputError, match="full: .* needed"):
        write_restart(either.with_stem("next"), model)
    assert [p.name for p in either.parent.iterdir()] == [either.name]


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
    newest = tmp_path / "restart_000000060.zarr"
    newest.mkdir()
    with pytest.raises(RestartError, match="restart_000000060.zarr is damaged"):
        latest_restart(tmp_path)
    (newest / "zarr.json").write_text(json.dumps({"attributes": {"time": 30 * 86400.0}}))
    assert restarts_in(tmp_path) == [older, newer, newest]
    assert latest_restart(tmp_path) == newest


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
    store = write_restart(path.with_suffix(".zarr"), many)
    write_restart(path, many)
    half = gathered(many)
    many.advance(10)
    whole = gathered(many)
    strips = dogcm.Model("channel", SMALL, layout=f"{comm.size}x1", comm=comm)
    for other, first, second in ((many, store, path), (strips, path, store)):
        other.state = read_restart(first, other)
        same_bits(gathered(other), half)
        other.state = read_restart(second, other)
        other.advance(10)
        same_bits(gathered(other), whole)
    backs = [path.with_name("one.nc"), path.with_name("one.zarr")]
    if comm.rank == 0:
        one = dogcm.Model("channel", SMALL, comm=SerialCommunicator())
        # Written in the other format than it is read.
        for end, back in zip((path, store), reversed(backs)):
            one.state = read_restart(end, one)
            write_restart(back, one)
            same_bits(gathered(one), half)
        one.advance(10)
        same_bits(gathered(one), whole)
    comm.barrier()
    for back in backs:
        many.state = read_restart(back, many)
        same_bits(gathered(many), half)
    many.advance(10)
    same_bits(gathered(many), whole)


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_what_is_damaged_for_one_rank_is_refused_on_all(tmp_path, monkeypatch):
    comm = world()
    path = Path(comm.broadcast(str(tmp_path))) / "many.zarr"
    many = dogcm.Model("channel", SMALL, comm=comm)
    write_restart(path, many)
    if comm.rank == 0:
        sorted((path / "temperature").glob("c.*"))[-1].unlink()
    comm.barrier()
    with pytest.raises(RestartError, match="checksum of temperature does not fit"):
        read_restart(path, many)
    if comm.rank == comm.size - 1:
        monkeypatch.setattr("dogcm.io.restart_zarr.to_disk", full)
    with pytest.raises(OutputError, match="the disk of .* is full"):
        write_restart(path.with_name("next.zarr"), many)
    comm.barrier()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
