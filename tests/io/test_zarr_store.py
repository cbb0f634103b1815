"""Zarr stores: they hold what netCDF files hold, on every layout, and can be read at any moment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.diagnostics.variables import find_variables
from dogcm.field import Field
from dogcm.io import zarr_shards
from dogcm.io.output import OutputFile
from dogcm.io.restart import (
    latest_restart,
    read_restart,
    restart_days,
    restart_name,
    restarts_in,
    write_restart,
)
from dogcm.io.root import OutputError
from dogcm.io.whole import discard
from dogcm.io.zarr_store import ZarrStore
from dogcm.plots.run import pictures
from dogcm.setups.registry import load_config
from dogcm.simulation.run import ModelBlewUp
from dogcm.simulation.wishes import Output

zarr = pytest.importorskip("zarr")
DAY = 86400.0
# A variable at every place of the C grid that output has, with and without layers.
NAMES = ["temperature", "u", "v", "w", "eta", "U", "V"]
NY, NX, NZ = 19, 26, 3


def ocean(comm, layout: str = "auto"):
    """An ocean whose western third is land; nothing of it divides evenly."""
    depth = np.full((NY, NX), 1000.0)
    depth[:, :9] = 0.0
    grid = dogcm.CartesianGrid(nx=NX, ny=NY, dx=5e4, dy=5e4, nz=NZ, depth=1e3, periodic=())
    return dogcm.Model(grid=grid, bathymetry=depth, layout=layout, comm=comm)


def layout_of(size: int) -> str:
    """Uneven tiles; on several ranks some of land alone, which have no rank."""
    return {1: "1x1", 2: "3x1", 4: "3x2"}.get(size, "auto")


def values_of(model, record: int) -> dict[str, np.ndarray]:
    """Other values in every cell of every variable, without halo."""
    t, found = model.decomposition.tile, {}
    for n, variable in enumerate(find_variables(NAMES, {})):
        levels = ((NZ - 1 if variable.at == "cw" else NZ),) if variable.layers else ()
        shape = (*levels, NY, NX)
        whole = np.sin(np.arange(np.prod(shape)) + 100 * n + 1000 * record).reshape(shape)
        found[variable.name] = whole[..., t.j0 : t.j1, t.i0 : t.i1].astype(model.dtype)
    return found


def append(stream, model, records) -> None:
    for record in records:
        stream.append(values_of(model, record), record * DAY, (record + 1) * DAY)


def begun(kind, model, path: Path, records: int, of: str = "mean", about=None):
    stream = kind(path, find_variables(NAMES, {}), of, model, about or {"title": "a test"})
    append(stream, model, range(records))
    return stream


def resumed(model, path: Path, days: float, of: str = "mean"):
    return ZarrStore(path, find_variables(NAMES, {}), of, model, {}, resume=days * DAY)


def same(store: Path, file: Path) -> None:
    with xr.open_zarr(store, chunks=None) as a, xr.open_dataset(file) as b:
        xr.testing.assert_identical(a.load(), b.load())
        assert {n: v.dtype for n, v in a.variables.items()} == {
            n: v.dtype for n, v in b.variables.items()
        }


@pytest.fixture(scope="module")
def whole():
    """On this rank alone."""
    return ocean(SerialCommunicator())


@pytest.fixture(scope="module")
def tiled(whole):
    comm = world()
    return whole if comm.size == 1 else ocean(comm, layout_of(comm.size))


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(world().broadcast(str(tmp_path)))


@pytest.mark.mpi
@pytest.mark.parametrize("of", ["mean", "snapshot"])
def test_a_store_holds_what_a_netcdf_file_holds(tiled, folder, of):
    begun(ZarrStore, tiled, folder / "a.zarr", 3, of)
    begun(OutputFile, tiled, folder / "a.nc", 3, of)
    if tiled.comm.rank == 0:
        same(folder / "a.zarr", folder / "a.nc")
        with xr.open_dataset(folder / "a.nc") as data:
            assert np.isnan(data.w[:, 1:]).any() and np.isfinite(data.V).any()
        assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


@pytest.mark.mpi(min_size=2)
def test_a_store_is_that_of_one_rank(whole, tiled, folder):
    begun(ZarrStore, tiled, folder / "tiles.zarr", 2)
    if tiled.comm.rank == 0:
        begun(ZarrStore, whole, folder / "one.zarr", 2)
        with (
            xr.open_zarr(folder / "one.zarr", chunks=None) as a,
            xr.open_zarr(folder / "tiles.zarr", chunks=None) as b,
        ):
            # Metrics of tiles that no rank has are 0 in every format.
            for name in a.data_vars:
                np.testing.assert_array_equal(b[name].values[..., 9:], a[name].values[..., 9:])
            assert set(a.variables) == set(b.variables) and a.attrs == b.attrs


@pytest.mark.mpi(min_size=2)
def test_a_store_goes_on_on_another_layout(whole, tiled, folder):
    if tiled.comm.rank == 0:
        begun(ZarrStore, whole, folder / "a.zarr", 3)
        begun(OutputFile, whole, folder / "a.nc", 4)
    tiled.comm.barrier()
    append(resumed(tiled, folder / "a.zarr", 2), tiled, (2, 3))
    if tiled.comm.rank == 0:
        same(folder / "a.zarr", folder / "a.nc")
    begun(ZarrStore, tiled, folder / "b.zarr", 2)
    if tiled.comm.rank == 0:
        append(resumed(whole, folder / "b.zarr", 2), whole, (2, 3))
        with xr.open_zarr(folder / "b.zarr") as a, xr.open_dataset(folder / "a.nc") as b:
            xr.testing.assert_identical(a[NAMES].load(), b[NAMES].load())


@pytest.mark.mpi(min_size=2)
def test_a_restart_goes_to_another_layout(whole, tiled, folder):
    """Uneven tiles, and some of land that have no rank, to one tile and back."""
    moved = tiled.state.replace(
        **{n: other_values(tiled, getattr(tiled.state, n)) for n in ("u", "v", "eta")}
    )
    sent, tiled.state = tiled.state, moved
    write_restart(folder / "tiles.zarr", tiled)
    write_restart(folder / "tiles.nc", tiled)
    found = {n: tiled.gather(n) for n in moved.variables()}
    tiled.state = sent
    if tiled.comm.rank == 0:
        first = whole.state
        for name in ("tiles.nc", "tiles.zarr"):
            whole.state = read_restart(folder / name, whole)
            write_restart((folder / "one").with_suffix(Path(name).suffix), whole)
            for n in found:
                np.testing.assert_array_equal(whole.gather(n), found[n], err_msg=f"{name} {n}")
        whole.state = first
    tiled.comm.barrier()
    for name in ("one.nc", "one.zarr"):
        tiled.state = read_restart(folder / name, tiled)
        for n in moved.variables():
            back = tiled.gather(n)
            if tiled.comm.rank == 0:
                np.testing.assert_array_equal(back, found[n], err_msg=f"{name} {n}")
    tiled.state = sent


def other_values(model, field):
    """Other values in every cell of this rank, also on land."""
    t = model.decomposition.tile
    shape = (*field.shape[:-2], NY, NX)
    values = np.sin(np.arange(np.prod(shape))).reshape(shape)[..., t.j0 : t.j1, t.i0 : t.i1]
    return Field(jnp.asarray(values), field.at).named(field.name)


@pytest.mark.mpi(min_size=2)
def test_what_fails_on_one_rank_is_told_on_all(tiled, folder, monkeypatch):
    """The last rank has no space; the records up to then are kept."""
    stream = begun(ZarrStore, tiled, folder / "a.zarr", 1)
    last = tiled.comm.rank == tiled.comm.size - 1

    with monkeypatch.context() as patch:
        if last:
            patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(OutputError, match="the disk of .*a.zarr is full; earlier files"):
            append(stream, tiled, [1])
    if tiled.comm.rank == 0:
        with xr.open_zarr(folder / "a.zarr") as data:
            assert data.sizes["time"] == 1
    append(resumed(tiled, folder / "a.zarr", 1), tiled, [1])
    if tiled.comm.rank == 0:
        begun(OutputFile, whole_of(tiled), folder / "a.nc", 2)
        with xr.open_zarr(folder / "a.zarr") as a, xr.open_dataset(folder / "a.nc") as b:
            xr.testing.assert_identical(a[NAMES].load(), b[NAMES].load())


def whole_of(model):
    return model if model.comm.size == 1 else ocean(SerialCommunicator())


@pytest.mark.parametrize(
    "limit, chunks, shards",
    [
        (2 * NY * NX * 8, (1, 1, NY, NX), (1, 2, NY, NX)),
        (NY * NX * 8 - 1, (1, 1, 10, NX), None),
    ],
)
def test_shards_have_a_sensible_size(whole, tmp_path, monkeypatch, limit, chunks, shards):
    """Levels, or rows where one level is too much."""
    monkeypatch.setattr(zarr_shards, "SHARD_BYTES", limit)
    begun(ZarrStore, whole, tmp_path / "a.zarr", 2)
    begun(OutputFile, whole, tmp_path / "a.nc", 2)
    same(tmp_path / "a.zarr", tmp_path / "a.nc")
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["temperature"]
    assert (array.chunks, array.shards) == (chunks, shards)


@pytest.mark.mpi
@pytest.mark.ranks(1, 2)
def test_places_where_the_grid_is_turned_and_single_precision(folder):
    model = dogcm.Model(
        grid=dogcm.RotatedGrid(nx=24, ny=12, nz=2, pole=(200.0, 35.0), lat=(-60, 60)),
        bathymetry=3000.0,
        initial={"temperature": 10.0, "salinity": 35.0},
        time_step=600.0,
        overrides={"run.precision": "float32"},
    )
    variables = find_variables(["eta", "u"], {})
    fields = {"eta": model.state.eta, "u": model.state.u}
    for kind in (ZarrStore, OutputFile):
        path = folder / f"a{kind.suffix}"
        kind(path, variables, "snapshot", model, {"title": "a test"}).append(fields, 0.0, DAY)
    if model.comm.rank == 0:
        same(folder / "a.zarr", folder / "a.nc")
        with xr.open_zarr(folder / "a.zarr") as data:
            assert data.u.dtype == np.float32 and {"lat_u", "lon_u"} <= set(data.u.coords)
            assert data.lat.attrs["bounds"] == "lat_bnds" and "corner" in data.lat_bnds.dims


# ---- at any moment
def test_a_write_that_ends_anywhere_leaves_the_records_before(whole, tmp_path, monkeypatch):
    """After each file that a record consists of the disk is full; then the run goes on."""
    begun(OutputFile, whole, tmp_path / "a.nc", 2)
    stream = begun(ZarrStore, whole, tmp_path / "a.zarr", 1)
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "before")
    replace, written, limit = os.replace, [], 0

    def until(path, target):
        if len(written) == limit:
            raise OSError(28, "No space left on device")
        written.append(path)
        return replace(path, target)

    monkeypatch.setattr("os.replace", until)
    ended = 0
    while True:
        written.clear()
        try:
            append(stream, whole, [1])
        except OutputError as error:
            assert "full" in str(error)
        else:
            break
        ended += 1
        with xr.open_zarr(tmp_path / "a.zarr", chunks=None) as data:
            assert data.sizes["time"] == 1 and np.isfinite(data.temperature[..., 9:]).all()
        limit = 10**6
        stream = resumed(whole, tmp_path / "a.zarr", 1)
        limit = ended
    # A file for each variable, time, its bounds, the metadata of all of them, and of the store.
    assert ended == 2 * (len(NAMES) + 2) + 1
    same(tmp_path / "a.zarr", tmp_path / "a.nc")


PROGRAM = """
import sys, test_zarr_store as t
from pathlib import Path
from dogcm.decomp import SerialCommunicator
model = t.ocean(SerialCommunicator())
stream = t.begun(t.ZarrStore, model, Path(sys.argv[1]), 1)
print("begun", flush=True)
for n in range(1, 100000):
    t.append(stream, model, [n])
    t.keep_restart(model, Path(sys.argv[1]).parent, n)
"""


def keep_restart(model, folder: Path, number: int) -> None:
    """Write a restart, and remove the one before the last."""
    model.state = model.state.replace(time=jnp.asarray(number * DAY))
    write_restart(folder / restart_name(number, "zarr"), model)
    discard(folder / restart_name(number - 2, "zarr"))


@pytest.mark.skipif(looks_like_mpi_launch(), reason="starts a process of its own")
def test_a_store_is_read_during_a_run_and_after_its_end_by_force(whole, alone, tmp_path):
    path = tmp_path / "a.zarr"
    here = {"PYTHONPATH": f"{Path(__file__).parent}:{alone.get('PYTHONPATH', '')}"}
    words = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(words, env=alone | here, stdout=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout.readline() == "begun\n"
            lengths = [checked_length(path) for _ in range(20)]
        finally:
            job.kill()
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]
    count = checked_length(path)
    assert count >= lengths[-1]
    append(resumed(whole, path, count - 1), whole, range(count - 1, count + 1))
    assert checked_length(path) == count + 1
    left = restarts_in(tmp_path)
    assert len(left) in (1, 2, 3) and restart_days(left[-1]) in (count - 2, count - 1)
    for restart in left:
        assert float(read_restart(restart, whole).time) == restart_days(restart) * DAY


def checked_length(path: Path) -> int:
    """Number of records of a store of :func:`ocean`, whose first and last are looked at."""
    with xr.open_zarr(path, chunks=None, decode_times=False) as data:
        count = data.sizes["time"]
        np.testing.assert_allclose(data.time, np.arange(count) + 0.5)
        for record in (0, count - 1):
            for name, shape in (("temperature", (NZ, NY, NX)), ("eta", (NY, NX))):
                n = NAMES.index(name)
                told = np.sin(np.arange(np.prod(shape)) + 100 * n + 1000 * record).reshape(shape)
                found = data[name][record].values
                np.testing.assert_array_equal(found[..., 9:], told[..., 9:])
                assert np.isnan(found[..., :9]).all()
        return count


# ---- in the background
@pytest.fixture
def gate(monkeypatch):
    """Lets nothing be written to arrays before it is opened."""
    opened, put = threading.Event(), zarr.Array.__setitem__

    def wait(self, place, values):
        assert opened.wait(60)
        put(self, place, values)

    monkeypatch.setattr(zarr.Array, "__setitem__", wait)
    yield opened
    opened.set()


def hand_over(stream, model, record: int) -> dict[str, np.ndarray]:
    values = values_of(model, record)
    stream.hand_over(values, record * DAY, (record + 1) * DAY)
    return values


def test_a_record_is_written_while_the_ocean_steps_on(whole, tmp_path, request):
    stream = begun(ZarrStore, whole, tmp_path / "a.zarr", 1)
    gate = request.getfixturevalue("gate")
    for values in hand_over(stream, whole, 1).values():
        values[:] = -1.0  # the steps to come use this memory
    stream.complete(wait=False)
    assert checked_length(tmp_path / "a.zarr") == 1
    gate.set()
    hand_over(stream, whole, 2)  # after the one before
    assert checked_length(tmp_path / "a.zarr") == 2
    stream.complete()
    assert checked_length(tmp_path / "a.zarr") == 3
    begun(OutputFile, whole, tmp_path / "a.nc", 3)
    same(tmp_path / "a.zarr", tmp_path / "a.nc")


@pytest.mark.mpi
@pytest.mark.ranks(1, 2)
def test_what_fails_in_the_background_is_told_at_the_next_record(tiled, folder, monkeypatch):
    stream = begun(ZarrStore, tiled, folder / "a.zarr", 1)
    with monkeypatch.context() as patch:
        if tiled.comm.rank == tiled.comm.size - 1:
            patch.setattr(zarr.Array, "__setitem__", full)
        hand_over(stream, tiled, 1)
        with pytest.raises(OutputError, match="the disk of .*a.zarr is full; earlier files"):
            hand_over(stream, tiled, 2)
    stream.close()
    if tiled.comm.rank == 0:
        assert checked_length(folder / "a.zarr") == 1


def full(*args, **keywords):
    raise OSError(28, "No space left on device")


# ---- refused
def harm_metadata(path):
    (path / "zarr.json").write_text((path / "zarr.json").read_text()[:-40])


def lose_consolidated(path):
    root = json.loads((path / "zarr.json").read_text())
    del root["consolidated_metadata"]
    (path / "zarr.json").write_text(json.dumps(root))


def change_length(path):
    root = json.loads((path / "zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["eta"]["shape"][0] += 1
    (path / "zarr.json").write_text(json.dumps(root))


def become_a_file(path):
    shutil.rmtree(path)
    path.write_text("no store")


@pytest.mark.parametrize(
    "harm, says",
    [
        (harm_metadata, "a.zarr is damaged or no zarr store"),
        (lose_consolidated, "a.zarr is damaged or no zarr store"),
        (lambda path: (path / "zarr.json").unlink(), "a.zarr is damaged or no zarr store"),
        (become_a_file, "a.zarr is damaged or no zarr store"),
        (change_length, "do not agree on the records"),
        (lambda path: (path / "time" / "c" / "0").unlink(), "do not agree on the records"),
        (lambda path: shutil.rmtree(path / "time_bnds" / "c"), "its times do not rise"),
    ],
)
def test_a_damaged_store_is_refused(whole, tmp_path, harm, says):
    begun(ZarrStore, whole, tmp_path / "a.zarr", 2)
    harm(tmp_path / "a.zarr")
    with pytest.raises(OutputError, match=says):
        resumed(whole, tmp_path / "a.zarr", 2)


def test_a_store_of_something_else_is_refused(whole, tmp_path):
    path = tmp_path / "a.zarr"
    begun(ZarrStore, whole, path, 2)
    with pytest.raises(OutputError, match="a.zarr holds 'time: mean', not 'time: point'"):
        resumed(whole, path, 2, "snapshot")
    with pytest.raises(OutputError, match="a.zarr holds U, V, .*, not eta:"):
        ZarrStore(path, find_variables(["eta"], {}), "mean", whole, {}, resume=2 * DAY)
    other = dogcm.Model("channel", {"grid.nx": 12, "grid.ny": 8, "grid.nz": 2})
    with pytest.raises(OutputError, match="of another grid: temperature has the shape"):
        resumed(other, path, 2)


# ---- runs
SMALL = {"grid.nx": 24, "grid.ny": 16, "grid.nz": 4, "time.step": 3600, "run.monitor_every": 0.25}
BOTH = {
    f: Output(f, ["eta", "u", "w"], "6 h", "mean", format=f).entry() for f in ("netcdf", "zarr")
}
SETTINGS = SMALL | {"run.output": BOTH, "run.restart_every": 5 / 24}


@pytest.fixture(scope="module")
def shared():
    m = dogcm.Model("channel", SETTINGS, comm=SerialCommunicator())
    m.first = jax.tree.map(jnp.copy, m.state)
    return m


@pytest.fixture
def model(shared):
    shared.state, shared.config = (
        jax.tree.map(jnp.copy, shared.first),
        load_config("channel", SETTINGS),
    )
    return shared


class Killed(BaseException):
    """Ends a run as SIGKILL does: nothing more is written."""


def test_a_run_that_was_killed_goes_on_with_its_store(model, tmp_path):
    def kill(m):
        if float(m.state.time) >= 13 * 3600:
            raise Killed

    with pytest.raises(Killed):
        model.run(1.0, tmp_path, progress=False, callbacks=[dogcm.Callback(kill, "1 h")])
    last = latest_restart(tmp_path)
    model.state = jax.tree.map(jnp.copy, model.first)
    model.run(14 / 24, tmp_path, restart_from=last, progress=False)
    same(tmp_path / "zarr.zarr", tmp_path / "netcdf.nc")
    with xr.open_zarr(tmp_path / "zarr.zarr") as data:
        assert data.sizes["time"] == 4 and json.loads(data.configuration)["name"] == "channel"
    drawn = pictures(tmp_path, ["eta"], "zarr")
    assert [p.suffix for p in drawn] == [".png"]


def test_what_a_restart_comes_after_counts(model, tmp_path):
    def kill(m):
        raise Killed

    model.config = load_config("channel", SETTINGS | {"run.restart_every": 0.25})
    with pytest.raises(Killed):
        model.run(1.0, tmp_path, progress=False, callbacks=[dogcm.Callback(kill, "6 h")])
    assert restart_days(latest_restart(tmp_path)) == 0.25
    same(tmp_path / "zarr.zarr", tmp_path / "netcdf.nc")


def test_records_before_a_bad_state_count(model, tmp_path, monkeypatch):
    """Also where the disk is slow."""
    complete = ZarrStore.complete
    slow = lambda self, wait=True: complete(self) if wait else None
    monkeypatch.setattr(ZarrStore, "complete", slow)

    def spoil(m):
        monkeypatch.setattr("dogcm.simulation.run.SPEED_LIMIT", -1.0)

    model.config = load_config("channel", SETTINGS | {"run.restart_every": 0})
    with pytest.raises(ModelBlewUp):
        model.run(1.0, tmp_path, progress=False, callbacks=[dogcm.Callback(spoil, "6 h")])
    same(tmp_path / "zarr.zarr", tmp_path / "netcdf.nc")
    with xr.open_zarr(tmp_path / "zarr.zarr") as data:
        assert data.sizes["time"] == 1


def test_an_earlier_store_is_not_lost_and_can_be_replaced(model, tmp_path):
    model.run(0.25, tmp_path, progress=False)
    with pytest.raises(OutputError, match="holds a run of this experiment"):
        model.run(0.25, tmp_path, progress=False)
    (tmp_path / ".zarr.zarr.partial").mkdir()
    model.run(0.25, tmp_path, progress=False, overwrite=True)
    with xr.open_zarr(tmp_path / "zarr.zarr", decode_times=False) as data:
        assert data.time_bnds.values.tolist() == [[0.25, 0.5]]
    assert not list(tmp_path.glob(".*"))


def test_a_stream_goes_on_in_its_format(model, tmp_path):
    model.run(0.25, tmp_path, progress=False)
    changed = {"netcdf": BOTH["netcdf"] | {"format": "zarr"}}
    model.config = load_config("channel", SMALL | {"run.output": changed})
    with pytest.raises(OutputError, match=r"netcdf.nc holds this output in another format"):
        model.run(0.25, tmp_path, restart_from=latest_restart(tmp_path), progress=False)


def test_a_missing_library_is_told_before_anything_is_done(model, tmp_path, monkeypatch):
    (tmp_path / "zarr.zarr").mkdir()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zarr", None)
        with pytest.raises(ConfigError, match=r'cannot be imported.*pip install "dogcm\[zarr\]"'):
            model.run(0.25, tmp_path, overwrite=True, progress=False)
    monkeypatch.setattr(zarr, "__version__", "3.0.8")
    with pytest.raises(ConfigError, match="needs zarr 3.1.3, not 3.0.8"):
        model.run(0.25, tmp_path, overwrite=True, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["zarr.zarr"] and int(model.state.steps) == 0


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError, match="run.output.a.format"):
        load_config("channel", {"run.output": {"a": {"format": "hdf4"}}})
