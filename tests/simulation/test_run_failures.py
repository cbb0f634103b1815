"""A run that goes wrong, or is asked to stop, ends in order on every rank."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest

import dogcm
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io.restart import latest_restart, read_restart
from dogcm.simulation import folder as files
from dogcm.simulation import progress
from dogcm.simulation.run import ModelBlewUp

SMALL = {
    "grid.nx": 24,
    "grid.ny": 16,
    "grid.nz": 4,
    "time.step": 3600,
    "run.monitor_every": 0.25,
    "run.restart_every": 0.25,
    "run.output": {"eta": {"variables": ["eta"], "every": 0.25}},
}


def poison(model, name: str, cell: tuple[int, int, int], hours: float, value=jnp.nan) -> None:
    """From ``hours`` on, let the tendency of ``name`` be ``value`` in one cell of the global
    grid."""
    k, j, i = cell
    tile = model.decomposition.tile
    spot = np.zeros((model.vertical.nz, *tile.shape))
    if tile.j0 <= j < tile.j1 and tile.i0 <= i < tile.i1:
        spot[k, j - tile.j0, i - tile.i0] = 1.0

    def tendency(state, params, now, grid):
        field = state.variables()[name].crop(0)
        late = state.time >= hours * 3600
        return {name: field.with_data(jnp.where((jnp.asarray(spot) > 0) & late, value, 0.0))}

    model.dynamics = replace(model.dynamics, extra_tendency=tendency)


@pytest.fixture(scope="module")
def shared():
    m = dogcm.Model("channel", SMALL, comm=SerialCommunicator())
    m.first, m.sound = jax.tree.map(jnp.copy, m.state), m.dynamics
    return m


@pytest.fixture
def model(shared):
    shared.state, shared.dynamics = jax.tree.map(jnp.copy, shared.first), shared.sound
    return shared


def test_a_disk_that_is_full_for_a_moment_is_no_end(model, tmp_path, monkeypatch, capsys):
    """Rank 0 alone notes how long compilation took; an error there would leave the others."""
    write = files.RunRecord.write

    def full(self, **changes):
        if "compile_seconds" in changes:
            raise OSError(28, "No space left on device")
        write(self, **changes)

    monkeypatch.setattr(files.RunRecord, "write", full)
    model.run(0.25, tmp_path)
    assert "warning: run.json could not be completed" in capsys.readouterr().out
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"


def test_a_nan_stops_the_run_and_keeps_the_last_good_restart(model, tmp_path):
    # The last step before the check: the hole has spread over its column (implicit mixing), not
    # further.
    poison(model, "salinity", (2, 5, 7), hours=17)
    with pytest.raises(ModelBlewUp) as stop:
        model.run(3, tmp_path, progress=False)
    text = str(stop.value)
    z = model.vertical.centres[0]
    place = f"y 275.00 km, x 375.00 km, depth {z:.0f} m (4 such"
    for part in ("salinity is nan on rank 0", place, "step 18"):
        assert part in text, (part, text)
    good = latest_restart(tmp_path)
    assert str(good) in text and good.name == "restart_000000012.nc"
    assert np.isfinite(np.asarray(read_restart(good, model).salinity.data)).all()
    with netCDF4.Dataset(tmp_path / "eta.nc") as data:
        assert data["eta"].shape[0] == 2 and np.isfinite(data["eta"][:]).all()
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "blew up"
    assert "nan" not in (tmp_path / "monitor.csv").read_text()


@pytest.mark.parametrize("name, value", [("v", -11.0), ("eta", 51.0)])
def test_values_no_ocean_has_stop_the_run(model, name, value):
    field = getattr(model.state, name)
    bad = field.with_data(field.data.at[..., 8, 3].set(value))
    model.state = model.state.replace(**{name: bad})
    where = "y 400.00 km, x 175.00 km" if name == "v" else "y 425.00 km, x 175.00 km"
    with pytest.raises(
        ModelBlewUp, match=f"{name} is {value:g} on rank 0 at {where}.* no good restart yet"
    ):
        model.run(1, progress=False)


def test_a_bad_state_is_refused_at_once(model, tmp_path):
    t = model.state.temperature
    model.state = model.state.replace(
        tracers=model.state.tracers | {"temperature": t.with_data(t.data.at[0, 1, 2].set(jnp.inf))}
    )
    with pytest.raises(ModelBlewUp, match="by step 0 .*temperature is inf"):
        model.run(1, tmp_path, progress=False)
    assert not list(tmp_path.glob("restart*"))


def test_usr1_ends_the_run_early(model, tmp_path, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGUSR1)
    read = model.read

    def read_and_ask():
        reading = read()
        if reading.time > 80000:
            os.kill(os.getpid(), signal.SIGUSR1)
        return reading

    monkeypatch.setattr(model, "read", read_and_ask)
    reading = model.run(300, tmp_path, progress=False)
    assert 80000 < reading.time < 40 * 86400
    assert signal.getsignal(signal.SIGUSR1) == before
    good = latest_restart(tmp_path)
    assert "stopped by SIGUSR1" in (said := capsys.readouterr().out) and str(good) in said
    assert float(read_restart(good, model).time) == reading.time
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted by SIGUSR1"
    with netCDF4.Dataset(tmp_path / "eta.nc") as data:
        assert data["time_bnds"][-1, 1] * 86400 == pytest.approx(reading.time)


def test_compiling_is_told_and_how_long_it_took_last_time(model, tmp_path, monkeypatch, capsys):
    at_once = functools.partial(progress.compiling, after=1e-6)
    monkeypatch.setattr("dogcm.simulation.run.compiling", at_once)
    model.run(0.25, tmp_path, progress=False)
    assert "compil" not in capsys.readouterr().out
    model.run(0.25, tmp_path, overwrite=True)
    said = capsys.readouterr().out
    assert "compiling the step ...\n" in said and "compiled in " in said
    assert json.loads((tmp_path / "run.json").read_text())["compile_seconds"] >= 0
    told = json.loads((tmp_path / "run.json").read_text()) | {"compile_seconds": 82.4}
    (tmp_path / "run.json").write_text(json.dumps(told))
    model.run(0.25, tmp_path, overwrite=True)
    assert "compiling the step (last time 82 s) ...\n" in capsys.readouterr().out


@pytest.mark.parametrize("rank", [0, 1])
def test_quick_compiling_and_other_ranks_are_silent(rank, capsys):
    comm = types.SimpleNamespace(rank=rank)
    with progress.compiling(comm, after=60.0 if rank == 0 else 1e-6) as took:
        time.sleep(0.02)
    assert capsys.readouterr().out == "" and took["seconds"] >= 0.02


def test_a_run_without_a_folder_writes_nothing_when_asked_to_stop(model, tmp_path, monkeypatch):
    """A run inside another program leaves no files that nobody asked for."""
    monkeypatch.chdir(tmp_path)
    ask = dogcm.Callback(lambda m: os.kill(os.getpid(), signal.SIGTERM), "6 h")
    before = signal.getsignal(signal.SIGTERM)
    reading = model.run(300, progress=False, callbacks=[ask])
    assert 6 * 3600 <= reading.time < 40 * 86400
    assert list(tmp_path.iterdir()) == [] and signal.getsignal(signal.SIGTERM) == before


PROGRAM = """
import sys, json, dogcm
model = dogcm.Model("channel", json.loads(sys.argv[1]))
model.run(100000, sys.argv[2])
print("returned")
"""


@pytest.mark.skipif(looks_like_mpi_launch(), reason="starts a process of its own")
def test_sigterm_ends_the_process_in_order(alone, tmp_path):
    settings = json.dumps(SMALL | {"run.keep_restarts": 1})
    command = [sys.executable, "-c", PROGRAM, settings, str(tmp_path / "o")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=alone, **pipes) as job:
        try:
            for line in job.stdout:
                if "SYPD" in line:
                    break
            asked = time.monotonic()
            job.send_signal(signal.SIGTERM)
            output, _ = job.communicate(timeout=60)
        finally:
            job.kill()
    assert job.returncode == 0, output
    assert time.monotonic() - asked < 30
    assert "stopped by SIGTERM" in output and "returned" in output
    assert latest_restart(tmp_path / "o").is_file()
    assert (
        json.loads((tmp_path / "o" / "run.json").read_text())["status"] == "interrupted by SIGTERM"
    )


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_all_ranks_stop_together(tmp_path, capsys):
    """A signal to the last rank alone, then a NaN on it alone."""
    comm = world()
    folder = Path(comm.broadcast(str(tmp_path)))
    model = dogcm.Model("channel", SMALL, comm=comm)
    last = comm.size - 1
    os_kill = model.read

    def read():
        reading = os_kill()
        if comm.rank == last and reading.time > 80000:
            os.kill(os.getpid(), signal.SIGUSR1)
        return reading

    model.read = read
    reading = model.run(300, folder / "signal", progress=False)
    assert 80000 < reading.time < 40 * 86400
    assert comm.broadcast(reading.time) == reading.time
    model.read = os_kill
    t = model.layout.tile(last)
    # In the last step before a check. A signal ends a run when it comes, which need not be at a
    # check, and from one check to the next small tiles are overrun; the message names four ranks at
    # most.
    checks = int(reading.time / 3600) // 6
    poison(model, "temperature", (1, t.j1 - 1, t.i1 - 1), hours=6 * checks + 5)
    with pytest.raises(ModelBlewUp, match=r"nan on rank \d") as stop:
        model.run(1, folder / "nan", progress=False)
    assert comm.broadcast(str(stop.value)) == str(stop.value)
