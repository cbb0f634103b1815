"""Output files: what they hold, that other tools read them, and that no run is lost to another
one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.diagnostics.variables import VARIABLES, find_variables
from dogcm.field import Field
from dogcm.io.description import calendar_of, date_of
from dogcm.io.restart import (
    RestartError,
    latest_restart,
    read_restart,
    restart_days,
    restarts_in,
)
from dogcm.io.root import OutputError
from dogcm.setups.registry import load_config
from dogcm.simulation.lock import FolderLock
from dogcm.simulation.wishes import Callback

HOUR = 1 / 24
# Terms of budgets describe a step: they have no snapshots (see test_diagnostics_run.py).
OF_STATE = [n for n, v in VARIABLES.items() if not v.of_step]
OUTPUT = {
    "mean": {"variables": OF_STATE, "every": 0.25},
    "snapshots": {"kind": "snapshot", "variables": OF_STATE, "every": HOUR},
}
BRIEF = {"brief": {"variables": ["eta", "u"], "every": 0.25}}
SMALL = {
    "grid.nx": 24,
    "grid.ny": 16,
    "grid.nz": 4,
    "time.step": 3600,
    "run.monitor_every": 0.25,
    "run.output": OUTPUT,
}


def restore(model):
    """The model at its beginning, with its first configuration."""
    model.state = jax.tree.map(jnp.copy, model.first)
    model.config = load_config("channel", SMALL)
    return model


@pytest.fixture(scope="module")
def shared():
    m = dogcm.Model("channel", SMALL, comm=SerialCommunicator())
    m.first = jax.tree.map(jnp.copy, m.state)
    return m


@pytest.fixture(scope="module")
def written(shared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "deep" / "folder"
    restore(shared).run(0.5, folder, progress=False)
    return folder


@pytest.fixture
def model(shared):
    restore(shared)
    shared.config = load_config(shared.config, {"run.output": BRIEF})
    return shared


def test_means_are_the_means_of_snapshots(written):
    with (
        xr.open_dataset(written / "mean.nc") as mean,
        xr.open_dataset(written / "snapshots.nc") as snapshots,
    ):
        assert (mean.sizes["time"], snapshots.sizes["time"]) == (2, 12)
        for name in OF_STATE:
            expected = snapshots[name].values.reshape(2, 6, *snapshots[name].shape[1:]).mean(1)
            scale = np.nanmax(np.abs(expected))
            tolerance = {"rtol": 1e-12, "atol": 1e-13 * scale}
            np.testing.assert_allclose(mean[name].values, expected, **tolerance, err_msg=name)
            assert (
                "time: mean" in mean[name].cell_methods
                and "time: point" in snapshots[name].cell_methods
            )
    moving = {"temperature", "u", "v", "w", "eta", "U", "V", "kinetic_energy", "heat_flux", "taux"}
    with netCDF4.Dataset(written / "mean.nc") as data:
        assert all(np.abs(data[n][:]).max() > 0 for n in moving)


def test_time_has_calendar_and_bounds(written):
    with xr.open_dataset(written / "mean.nc", decode_times=False) as raw:
        assert raw.time.attrs["calendar"] == "noleap" and raw.time.attrs["bounds"] == "time_bnds"
        np.testing.assert_allclose(raw.time_bnds, [[0, 0.25], [0.25, 0.5]], atol=1e-12)
        np.testing.assert_allclose(raw.time, [0.125, 0.375], atol=1e-12)
    with xr.open_dataset(written / "mean.nc") as data:
        assert str(data.time.values[1]) == "0001-01-01 09:00:00"


def test_axes_as_xgcm_reads_them(written):
    """xgcm finds an axis by the attribute axis, and the place on it by c_grid_axis_shift."""
    with xr.open_dataset(written / "mean.nc") as data:
        for axis, centre, shifted in (("X", "x", "x_u"), ("Y", "y", "y_v"), ("Z", "z", "zw")):
            found = {n for n in data.coords if data[n].attrs.get("axis") == axis}
            assert found == {centre, shifted}
            assert "c_grid_axis_shift" not in data[centre].attrs
            assert data[shifted].attrs["c_grid_axis_shift"] == -0.5
            assert (data[shifted].values[: data.sizes[centre]] < data[centre].values).all()
        assert data.u.dims == ("time", "z", "y", "x_u") and data.v.dims == ("time", "z", "y_v", "x")
        assert data.w.dims == ("time", "zw", "y", "x") and data.area_q.dims == ("y_v", "x_u")
        assert data.sizes["zw"] == data.sizes["z"] + 1
        assert data.x.units == "km" and data.z.positive == "down"


def test_geographic_axes_and_land(tmp_path):
    overrides = {
        "grid.nx": 24,
        "grid.ny": 12,
        "grid.nz": 3,
        "time.step": 3600,
        "run.output": {"a": {"variables": ["temperature", "w", "u"], "every": HOUR}},
        "run.monitor_every": HOUR,
        "forcing.year": 360,
    }
    m = dogcm.Model("two_basin", overrides, comm=SerialCommunicator())
    m.run(HOUR, tmp_path / "o", progress=False)
    wet = m.gather(m.grid.mask_c) > 0
    with xr.open_dataset(tmp_path / "o" / "a.nc") as data:
        assert data.lon.units == "degrees_east" and data.lat_v.units == "degrees_north"
        assert data.time.dt.calendar == "360_day"
        np.testing.assert_array_equal(np.isnan(data.temperature[0]), ~wet)
        np.testing.assert_array_equal(np.isnan(data.w[0, 1:]), ~wet)
        np.testing.assert_array_equal(data.mask_c.values > 0, wet)
        np.testing.assert_allclose(
            float((data.area_c * data.h_c).sum()), m.read().volume, rtol=1e-6
        )
        assert 0 < (~wet).sum() < wet.size


def test_provenance_and_units(written):
    with netCDF4.Dataset(written / "mean.nc") as data:
        config = load_config(json.loads(data.configuration))
        assert config == load_config("channel", SMALL)
        assert (
            data.Conventions.startswith("CF-1.")
            and dogcm.__version__ in data.source
            and data.history
        )
        assert all(data[n].units and data[n].long_name for n in OF_STATE)
    assert load_config(written / "config.yaml") == config
    info = json.loads((written / "run.json").read_text())
    assert (info["status"], info["precision"], info["ranks"]) == ("finished", "float64", 1)


def test_monitor_file_has_full_digits(written, shared):
    header, *rows = [line.split(",") for line in (written / "monitor.csv").read_text().splitlines()]
    assert header[:3] == ["step", "time", "volume"] and [r[0] for r in rows] == ["6", "12"]
    shared.state = read_restart(latest_restart(written), shared)
    reading = shared.read()
    values = [getattr(reading, n) for n in header[1:]]
    assert [v if isinstance(v, str) else repr(v) for v in values] == rows[-1][1:]


def test_vertical_flow_closes_the_volume_budget(written):
    """w from the file against the divergence of the file's own velocities, over a flat bottom."""
    with xr.open_dataset(written / "snapshots.nc") as data:
        d = data.isel(time=-1)
        u, v, w, eta, h = (np.nan_to_num(d[n].values) for n in ("u", "v", "w", "eta", "h_c"))
        dx, depth = float(d.dx_c[0, 0]), float(d.depth_c[0, 0])
        U = u * h * (1 + 0.5 * (eta + np.roll(eta, 1, -1)) / depth)
        south = np.concatenate([eta[:1], eta[:-1]])
        V = v * h * (1 + 0.5 * (eta + south) / depth)
        V = np.concatenate([V, 0 * V[:, :1]], axis=1)  # the northern wall
        div = (np.roll(U, -1, -1) - U + V[:, 1:] - V[:, :-1]) / dx
        change = div - h / depth * div.sum(0)
        np.testing.assert_allclose(w[:-1] - w[1:], -change, atol=1e-9 * np.abs(w).max() + 1e-18)
        assert np.abs(w).max() > 1e-9


def test_mixed_layer_depth_of_a_known_profile():
    z = np.array([5.0, 15.0, 25.0, 50.0])
    sigma = np.array(
        [[25.0, 25.0, 25.06, 26.0], [25.0, 25.0, 25.0, 25.0], [25.0, 25.02, 25.05, 26.0]]
    ).T
    column = lambda a: jnp.asarray(a)[:, None, :]
    grid = SimpleNamespace(
        z_c=jnp.asarray(z)[:, None, None],
        mask_c=Field(column(np.ones((4, 3))), "c"),
        depth_c=Field(jnp.full((1, 3), 60.0), "c"),
    )
    scene = SimpleNamespace(potential_density=Field(column(sigma), "c"), grid=grid)
    depth = np.asarray(VARIABLES["mixed_layer_depth"].compute(scene).data)[0]
    # 25.03 half way from 15 to 25 m; never; 25.01 at 10 m, so 25.04 two thirds down from 15 to 25
    # m.
    np.testing.assert_allclose(depth, [20.0, 60.0, 15 + 20 / 3])


def test_calendars_and_dates():
    assert [calendar_of(y) for y in (360, 365, 365.25, 400)] == [
        "360_day",
        "noleap",
        "julian",
        "noleap",
    ]
    assert (
        date_of(30 * 86400.0, 360) == "0001-02-01" and date_of(365 * 86400.0, 365) == "0002-01-01"
    )


def test_unknown_variables_and_intervals_are_refused(shared, tmp_path):
    with pytest.raises(ValueError, match="did you mean temperature"):
        find_variables(["temprature"])
    with pytest.raises(ValueError, match="named twice"):
        find_variables(["eta", "eta"])
    restore(shared)
    wrong = {"a": {"variables": ["speed"]}}
    for change, says in (
        ({"run.output": wrong}, "run.output.a.variables.*speed_surface"),
        ({"run.monitor_every": 0.03}, "run.monitor_every.*whole number"),
    ):
        shared.config = load_config("channel", SMALL | change)
        with pytest.raises(ConfigError, match=says):
            shared.run(1, tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_continued_run_has_the_files_of_one_run(model, tmp_path):
    model.run(1.0, tmp_path / "one", progress=False)
    restore(model)
    model.config = load_config(model.config, {"run.output": BRIEF, "run.restart_every": 0.5})
    two = tmp_path / "two"
    model.run(0.75, two, progress=False)
    # From the middle: what lies beyond it is dropped and made again.
    model.run(0.5, two, restart_from=two / "restart_000000012.nc", progress=False)
    assert (two / "monitor.csv").read_text() == (tmp_path / "one" / "monitor.csv").read_text()
    with (
        xr.open_dataset(two / "brief.nc") as a,
        xr.open_dataset(tmp_path / "one" / "brief.nc") as b,
    ):
        assert a.sizes["time"] == 4
        xr.testing.assert_equal(a, b)
        assert a.eta.attrs == b.eta.attrs


KINDS = ("snapshot", "mean", "minimum", "maximum", "root_mean_square")
CUT = {
    "run.output": {k: {"variables": ["eta", "u"], "every": 0.25, "kind": k} for k in KINDS},
    "run.diagnostics": {"every": 0.5},
    "run.restart_every": 5 / 24,
}


class Killed(BaseException):
    """Ends a run as SIGKILL does: nothing more is written."""


def same_records(one: Path, two: Path) -> None:
    """All output files, record by record, with times and bounds."""
    names = sorted(p.name for p in one.glob("*.nc") if not p.name.startswith("restart"))
    assert len(names) == 6
    for name in names:
        with xr.open_dataset(one / name) as a, xr.open_dataset(two / name) as b:
            xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())


def cut_run(model, folder: Path, hours: int, format: str) -> None:
    """A run of a day that is killed after so many hours, and goes on from its newest restart, which
    is in the format."""

    def kill(m):
        if float(m.state.time) >= hours * 3600:
            raise Killed

    restore(model)
    model.config = load_config(model.config, CUT | {"run.restart_format": format})
    with pytest.raises(Killed):
        model.run(1.0, folder, progress=False, callbacks=[dogcm.Callback(kill, "1 h")])
    restart = latest_restart(folder)
    done = restart_days(restart)
    assert round(done * 24) == 5 * ((hours - 1) // 5)
    restore(model)
    model.config = load_config(model.config, CUT)
    model.run(1.0 - done, folder, restart_from=restart, progress=False)


def test_a_run_that_was_killed_has_the_records_of_one_that_was_not(model, tmp_path):
    """Restarts come after 5, 10, 15 hours, means after 6, 12, 18: sums go on at a restart."""
    model.config = load_config(model.config, CUT)
    model.run(1.0, tmp_path / "whole", progress=False)
    with xr.open_dataset(tmp_path / "whole" / "mean.nc", decode_times=False) as data:
        assert (np.diff(data.time_bnds[:, 0].values) == 0.25).all()
    for hours, format in ((8, "netcdf"), (11, "zarr"), (21, "netcdf")):
        cut_run(model, tmp_path / f"cut_{hours}", hours, format)
        same_records(tmp_path / "whole", tmp_path / f"cut_{hours}")


def test_a_record_that_a_run_ends_in_is_completed_by_the_next(model, tmp_path):
    model.config = load_config(model.config, CUT)
    model.run(1.0, tmp_path / "whole", progress=False)
    restore(model)
    model.config = load_config(model.config, CUT)
    model.run(10 / 24, tmp_path / "two", progress=False)
    with xr.open_dataset(tmp_path / "two" / "mean.nc", decode_times=False) as data:
        assert data.time_bnds[-1].values == pytest.approx([0.25, 10 / 24])
    last = latest_restart(tmp_path / "two")
    model.run(14 / 24, tmp_path / "two", restart_from=last, progress=False)
    same_records(tmp_path / "whole", tmp_path / "two")


def test_damaged_sums_are_refused(model, tmp_path):
    model.config = load_config(model.config, CUT)
    model.run(10 / 24, tmp_path, progress=False)
    last = latest_restart(tmp_path)
    for harm, says in (
        (lambda d: d["sum_0_0"].__setitem__((3, 3), 1e-9), "checksum of sum_0_0"),
        (lambda d: d.setncattr("open_intervals", "[]" * 2), "open output intervals"),
    ):
        with netCDF4.Dataset(last, "a") as data:
            harm(data)
        before = {p: p.read_bytes() for p in tmp_path.iterdir()}
        with pytest.raises(RestartError, match=says):
            model.run(2 / 24, tmp_path, restart_from=last, progress=False)
        assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_sums_of_another_interval_are_left_alone(model, tmp_path):
    model.config = load_config(model.config, CUT)
    model.run(10 / 24, tmp_path, progress=False)
    outputs = {"mean": CUT["run.output"]["mean"] | {"every": 0.125}}
    model.config = load_config(model.config, {"run.output": outputs, "run.diagnostics.every": 0})
    model.run(2 / 24, tmp_path, restart_from=latest_restart(tmp_path), progress=False)
    with xr.open_dataset(tmp_path / "mean.nc", decode_times=False) as data:
        assert data.time_bnds[:, 1].values * 24 == pytest.approx([6, 10, 12])


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_sums_go_on_on_tiles(tmp_path):
    comm = world()
    folder = Path(comm.broadcast(str(tmp_path)))
    outputs = {"run.output": {"mean": {"variables": ["eta", "u"], "every": 0.25}}}
    model = dogcm.Model("channel", SMALL | outputs, comm=comm)
    first = jax.tree.map(jnp.copy, model.state)
    model.run(0.5, folder / "whole", progress=False)
    model.state = jax.tree.map(jnp.copy, first)
    model.run(5 / 24, folder / "two", progress=False)
    last = comm.broadcast(latest_restart(folder / "two") if comm.rank == 0 else None)
    model.run(7 / 24, folder / "two", restart_from=last, progress=False)
    model.state = jax.tree.map(jnp.copy, first)
    model.config = load_config(model.config, {"run.restart_format": "zarr"})
    model.run(5 / 24, folder / "zarr", progress=False)
    last = folder / "zarr" / "restart_000000005.zarr"
    model.run(7 / 24, folder / "zarr", restart_from=last, progress=False)
    if comm.rank == 0:
        for name in ("two", "zarr"):
            paths = [folder / n / "mean.nc" for n in ("whole", name)]
            with xr.open_dataset(paths[0]) as a, xr.open_dataset(paths[1]) as b:
                assert a.sizes["time"] == 2
                xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())


@pytest.mark.parametrize(
    "change, says",
    [
        ({"kind": "snapshot"}, "brief.nc holds 'time: mean', not 'time: point'"),
        ({"kind": "maximum"}, "brief.nc holds 'time: mean', not 'time: maximum'"),
        ({"variables": ["eta"]}, "brief.nc holds eta, u, not eta:"),
        ({"variables": ["eta", "v"]}, "brief.nc holds eta, u, not eta, v"),
    ],
)
def test_records_of_two_kinds_are_not_mixed(model, tmp_path, change, says):
    model.config = load_config(model.config, {"run.output": BRIEF})
    model.run(0.25, tmp_path, progress=False)
    before = (tmp_path / "brief.nc").read_bytes()
    changed = {"brief": BRIEF["brief"] | change}
    model.config = load_config(model.config, {"run.output": changed})
    with pytest.raises(OutputError, match=says):
        model.run(0.25, tmp_path, restart_from=latest_restart(tmp_path), progress=False)
    assert (tmp_path / "brief.nc").read_bytes() == before


READER = """
import sys, netCDF4
data = netCDF4.Dataset(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
print(data["eta"].shape[0], len(data.dimensions["time"]), float(data["time"][0]))
"""


def test_a_reader_does_not_end_the_run(model, tmp_path):
    model.config = load_config(model.config, {"run.output": BRIEF})
    words = [sys.executable, "-c", READER, str(tmp_path / "brief.nc")]
    readers = []

    def read(inner):
        if not readers:
            one = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert one.stdout.readline() == "open\n"
            readers.append(one)

    with pytest.warns(UserWarning, match="brief.nc is open in another program"):
        model.run(1.0, tmp_path, progress=False, callbacks=[Callback(read, every=0.25)])
    with xr.open_dataset(tmp_path / "brief.nc") as data:
        assert data.sizes["time"] == 4
        assert np.isfinite(data.eta.max("x").max("y")).all()
    assert readers[0].communicate("", timeout=60)[0].split()[:2] == ["1", "1"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("format, suffix", [("netcdf", ".nc"), ("zarr", ".zarr")])
def test_few_restarts_are_kept(model, tmp_path, format, suffix):
    settings = {"run.restart_every": 0.125, "run.keep_restarts": 2, "run.restart_format": format}
    model.config = load_config(model.config, settings)
    model.run(0.625, tmp_path, progress=False)
    assert sorted(p.name for p in tmp_path.glob("restart*")) == [
        f"restart_{n:09d}{suffix}" for n in (9, 12, 15)
    ]
    assert not list(tmp_path.glob(".*"))


def test_restarts_beyond_the_start_go_with_the_records(model, tmp_path):
    model.config = load_config(model.config, {"run.restart_every": 0.25, "run.keep_restarts": 9})
    model.run(1.0, tmp_path, progress=False)
    backup = tmp_path / "restart_000000018_backup.nc"
    shutil.copy(tmp_path / "restart_000000018.nc", backup)
    settings = {"run.restart_every": 0, "run.restart_format": "zarr"}
    model.config = load_config(model.config, settings)
    model.run(0.125, tmp_path, restart_from=tmp_path / "restart_000000012.nc", progress=False)
    names = ["restart_000000006.nc", "restart_000000012.nc", "restart_000000015.zarr"]
    assert [p.name for p in restarts_in(tmp_path)] == names
    model.run(0.125, tmp_path, restart_from=tmp_path / "restart_000000012.nc", progress=False)
    assert [p.name for p in restarts_in(tmp_path)] == names
    assert backup.exists()


def test_a_folder_belongs_to_one_run_at_a_time(model, tmp_path):
    (tmp_path / ".run.json.partial").write_text("left by a run that was killed")
    seen = []

    def intrude(inner):
        with pytest.raises(OutputError, match="another run is writing into .*process"):
            FolderLock(tmp_path).take()
        seen.append(sorted(p.name for p in tmp_path.glob(".*")))

    model.run(0.25, tmp_path, progress=False, callbacks=[Callback(intrude, every=0.25)])
    assert seen == [[".lock"]]
    assert not list(tmp_path.glob(".*"))
    lock = FolderLock(tmp_path)
    lock.take()
    lock.give_back()
    assert not list(tmp_path.glob(".*"))


def test_an_empty_folder_name_is_refused(model):
    with pytest.raises(OutputError, match="empty name"):
        model.run(0.25, "", progress=False)


def test_an_earlier_run_is_not_lost(model, tmp_path):
    model.run(0.25, tmp_path, progress=False)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="run of this experiment .finished.*--overwrite"):
        model.run(0.25, tmp_path, progress=False)
    model.config = load_config(model.config, {"name": "other"})
    with pytest.raises(OutputError, match="run of channel.*choose another output folder"):
        model.run(0.25, tmp_path, progress=False)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    model.run(0.25, tmp_path, overwrite=True, progress=False)
    assert json.loads((tmp_path / "run.json").read_text())["experiment"] == "other"
    assert len((tmp_path / "monitor.csv").read_text().splitlines()) == 2


def test_a_folder_that_cannot_be_written_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write into the output folder"):
        model.run(0.25, tmp_path / "file" / "run", progress=False)
    assert int(model.state.steps) == 0


def test_a_run_that_does_not_fit_the_disk_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr("dogcm.simulation.folder.free_bytes", lambda path: 1 << 16)
    with pytest.raises(OutputError, match="would write up to .* are free"):
        model.run(0.25, tmp_path / "o", progress=False)
    assert int(model.state.steps) == 0 and not list((tmp_path / "o").iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("only root may mount a small disk")
    yield folder
    # Lazily: the netCDF library does not let go of a file that it could not close.
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize(
    "format, foreseen", [("netcdf", True), ("netcdf", False), ("zarr", True), ("zarr", False)]
)
def test_a_disk_that_fills_up_stops_the_run(model, small_disk, monkeypatch, format, foreseen):
    """The files written so far can be read, and the last restart in any case."""
    folder = small_disk / "run"
    if not foreseen:  # another program was faster
        for module in ("output", "restart_netcdf", "zarr_store"):
            monkeypatch.setattr(f"dogcm.io.{module}.require_space", lambda path, need: None)
    settings = {"run.restart_every": 0.25, "run.output.brief.format": format}
    model.config = load_config(model.config, settings)
    hog = small_disk / "hog"

    def line(self, reading):
        if reading.time > 80000 and not hog.exists():
            hog.write_bytes(bytes(shutil.disk_usage(small_disk).free - (1 << 14)))
        return ""

    monkeypatch.setattr("dogcm.simulation.progress.Progress.line", line)
    with pytest.raises(OutputError, match="full"):
        model.run(3.0, folder)
    assert float(model.state.time) > 80000
    if foreseen or format == "zarr":
        brief = {"netcdf": "brief.nc", "zarr": "brief.zarr"}[format]
        with xr.open_dataset(folder / brief) as data:
            assert data.sizes["time"] == 3 and np.isfinite(data.eta).all()
    with netCDF4.Dataset(folder / "restart_000000018.nc") as data:
        assert np.isfinite(data["temperature"][:]).all()
    assert not list(folder.glob(".*"))
