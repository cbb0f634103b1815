"""The command ``dogcm``: what it prints, writes, and returns."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dogcm.cli import errors, main, running
from dogcm.cli.configuration import configuration
from dogcm.components.errors import ConfigError
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.plots import run as plots
from dogcm.plots import style

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="commands of one rank")

HAS_MPI = importlib.util.find_spec("mpi4jax") is not None and (
    shutil.which("mpirun") is not None or (Path(sys.prefix) / "bin" / "mpirun").exists()
)
# A gyre that compiles and runs in seconds.
SMALL = [
    "--set",
    "grid.nx=12",
    "--set",
    "grid.ny=10",
    "--set",
    "grid.nz=3",
    "--set",
    "time.free_surface.barotropic_steps=20",
    "--set",
    "run.output={daily: {variables: [temperature, u, v, eta], every: 1}}",
]


def said(capsys) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return " ".join(out.split()), " ".join(err.split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The output folder of a run of two days."""
    folder = tmp_path_factory.mktemp("cli") / "out"
    assert main(["run", "gyre", "--days", "2", "--output", str(folder), *SMALL]) == 0
    return folder


# ---- light commands
def test_help_is_quick_and_loads_no_jax():
    code = (
        "import sys; from dogcm.cli import main; status = main(['run', '--help']); "
        "assert not {'jax', 'mpi4py', 'xarray', 'matplotlib'} & set(sys.modules), 'heavy import'; "
        "sys.exit(status)"
    )
    job = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert job.returncode == 0, job.stderr
    for option in (
        "--days",
        "--years",
        "--set",
        "--output",
        "--layout",
        "--precision",
        "--dry-run",
        "--inputs",
    ):
        assert option in job.stdout


def test_version(capsys):
    import dogcm

    assert main(["--version"]) == 0
    assert said(capsys)[0] == f"dogcm {dogcm.__version__}"


def test_list_names_every_experiment(capsys):
    from dogcm.setups.registry import experiments

    assert main(["list"]) == 0
    out = said(capsys)[0]
    assert all(name in out for name in experiments())


def test_show_prints_every_parameter_and_marks_changes(capsys):
    from dogcm.setups.config import parameter_table
    from dogcm.setups.registry import load_config

    assert main(["show", "gyre", "--set", "time.step=1234"]) == 0
    out = capsys.readouterr().out
    for key, *_ in parameter_table(chosen=load_config("gyre")):
        assert key in out or key in ("name", "description")
    marked = {
        line.split()[1]
        for line in out.splitlines()
        if line.startswith("*") and len(line.split()) > 2
    }
    assert "time.step" in marked and "run.precision" not in marked
    row = next(line for line in out.splitlines() if "time.step " in line).split()
    assert row[2:5] == ["1234", "s", "3600"]


def test_show_works_without_the_inputs_of_an_experiment(capsys):
    assert main(["show", "mitgcm_4deg"]) == 0
    assert "--inputs" in said(capsys)[0]


def test_show_variables(capsys):
    assert main(["show", "--variables"]) == 0
    out = said(capsys)[0]
    assert "temperature" in out and "degree_C" in out


def test_check_finds_nothing_wrong_here(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out and "halo exchange" in out and "all well" in out


def test_check_says_which_part_is_wrong(capsys, monkeypatch):
    from dogcm.cli import check

    def broken():
        raise RuntimeError("the plug is out: put it in")

    monkeypatch.setattr(check, "CHECKS", (("versions", check._versions), ("plug", broken)))
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  plug" in out and "put it in" in out and "ok    versions" in out


def test_check_notices_a_wrong_halo(monkeypatch):
    from dogcm.cli import check
    from dogcm.halo import HaloExchange

    right = HaloExchange.exchange
    monkeypatch.setattr(
        HaloExchange,
        "exchange",
        lambda self, a, w: [x.at[..., 0, 0].add(1) for x in right(self, a, w)],
    )
    with pytest.raises(RuntimeError, match="halo cells hold a wrong value"):
        check._halo()


# ---- run, restart, plot
def test_run_writes_everything(finished):
    names = {p.name for p in finished.iterdir()}
    assert {"config.yaml", "daily.nc", "monitor.csv", "run.json"} <= names
    assert any(n.startswith("restart_") for n in names)
    assert json.loads((finished / "run.json").read_text())["status"] == "finished"
    with xr.open_dataset(finished / "daily.nc") as data:
        assert data.sizes["time"] == 2


def test_restart_goes_on_in_the_same_folder(finished, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    assert main(["restart", str(folder), "--days", "1"]) == 0
    with xr.open_dataset(folder / "daily.nc") as data:
        assert data.sizes["time"] == 3
    times = plots.read_monitor(folder / "monitor.csv")["time"]
    assert times[-1] == 3 * 86400 and (np.diff(times) > 0).all()


def test_plot_draws_maps_section_and_monitor(finished, capsys):
    assert main(["plot", str(finished)]) == 0
    names = {p.name for p in (finished / "pictures").glob("*.png")}
    assert {
        "temperature.png",
        "eta.png",
        "speed.png",
        "temperature_section.png",
        "monitor.png",
    } <= names
    assert all((finished / "pictures" / n).stat().st_size > 5000 for n in names)


def test_plot_of_one_variable(finished, capsys):
    assert main(["plot", str(finished), "--variable", "u"]) == 0
    assert said(capsys)[0].endswith("u.png")


def test_plot_refuses_unknown_names(finished, capsys):
    assert main(["plot", str(finished), "--variable", "chlorophyll"]) == 3
    assert "temperature" in said(capsys)[1]
    assert main(["plot", str(finished), "--file", "hourly"]) == 3
    assert "daily" in said(capsys)[1]


def test_dry_run_measures_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "gyre", "--days", "10", "--dry-run", *SMALL]) == 0
    out = said(capsys)[0]
    for word in (
        "rank",
        "MiB",
        "cell-steps/s",
        "simulated years per day",
        "480 steps",
        "nothing was written",
    ):
        assert word in out
    assert not list(tmp_path.iterdir())


# ---- options
def test_years_are_the_forcing_s():
    config = configuration("gyre", ["forcing.year=360"])
    assert running.duration(config, None, 2) == 720
    assert running.duration(config, None, None) == running.DEFAULT_DAYS
    for wrong in ((1, 1), (-1, None), (None, 0)):
        with pytest.raises(ConfigError):
            running.duration(config, *wrong)


def test_inputs_fill_in_the_paths(tmp_path):
    config = configuration("mitgcm_4deg", [], None, str(tmp_path))
    assert {config.bathymetry.path, config.initial.path, config.forcing.path} == {str(tmp_path)}


def test_inputs_leave_other_sources_alone(tmp_path):
    sets = ["grid.kind=latlon", "bathymetry.source=file", "bathymetry.path=topo.nc"]
    config = configuration("two_basin", sets, "float32", str(tmp_path))
    assert config.bathymetry.path == "topo.nc"  # what --set gives is meant as it stands
    assert config.initial.path == "" and config.forcing.path == ""
    assert config.run.precision == "float32"


# ---- errors
@pytest.mark.parametrize(
    "words, status, says",
    [
        (["rn"], 2, "Did you mean 'run'"),
        (["run"], 2, "Missing argument"),
        (["run", "gyre", "--dayz", "3"], 2, "--day"),
        (["run", "gyre", "--days", "three"], 2, "--days"),
        (["run", "gyree"], 2, "did you mean gyre"),
        (["run", "gyre", "--set", "time.stp=1"], 2, "did you mean time.step"),
        (["run", "gyre", "--days", "1", "--years", "1"], 2, "not both"),
        (["run", "gyre", "--days", "0.0123"], 2, "whole number of steps"),
        (["run", "gyre", "--precision", "float8"], 2, "run.precision"),
        (["run", "gyre", "--layout", "four"], 2, "PXxPY"),
        (["run", "gyre", "--layout", "2x1"], 2, "start 2 ranks"),
        (["run", "mitgcm_4deg"], 2, "--inputs FOLDER"),
        (["run", "mitgcm_4deg", "--inputs", "/nowhere"], 3, "no such folder"),
        (["restart", "/nowhere"], 3, "/nowhere"),
        (["plot", "/nowhere"], 3, "/nowhere"),
        (["verify", "everything"], 2, "layout, restart, conservation, gradients or all"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, list) else "",
)
def test_errors_are_one_message_with_a_status(words, status, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == status
    out, err = said(capsys)
    assert says in err
    assert "Traceback" not in err and err.count("error") + err.count("Error") <= 2
    assert not list(tmp_path.iterdir()), "a refused command wrote something"


@pytest.mark.parametrize("words", [["--debug", "run", "gyree"], ["run", "gyree", "--debug"]])
def test_debug_shows_the_traceback(words, capsys, monkeypatch):
    monkeypatch.setenv("DOGCM_DEBUG", "0")  # restored afterwards
    assert main(words) == 2
    assert "Traceback" in capsys.readouterr().err


def test_status_goes_by_the_nearest_class():
    class ModelBlewUp(RuntimeError):
        pass

    assert errors.status_of(ModelBlewUp()) == 4
    assert errors.status_of(PermissionError()) == 3
    assert errors.status_of(ConfigError("x")) == 2
    assert errors.status_of(KeyError("x")) == 70
    assert errors.status_of(KeyboardInterrupt()) == 130


def test_an_unexpected_error_says_that_it_is_one(capsys, monkeypatch):
    from dogcm.cli import show

    monkeypatch.setattr(show, "experiment_list", lambda: {}["nothing"])
    assert main(["list"]) == 70
    assert "inside dogcm" in said(capsys)[1]


@pytest.mark.skipif(not HAS_MPI, reason="needs mpi4jax and mpirun")
def test_under_mpirun_one_rank_speaks_and_all_end(alone, repository):
    command = [
        str(repository / "launch" / "mpirun.sh"),
        "-n",
        "2",
        "-t",
        "60",
        "dogcm",
        "run",
        "gyre",
    ]
    for words, status, says in (
        (["--set", "time.stp=1"], 2, "did you mean time.step"),
        (["--layout", "7x9"], 2, "layout 7x9"),
    ):
        job = subprocess.run(
            command + words,
            env=alone | {"VENV": sys.prefix},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert job.returncode == status, job.stderr
        assert job.stderr.count(says) == 1
        assert "Traceback" not in job.stderr


@pytest.mark.skipif(not HAS_MPI, reason="needs mpi4jax and mpirun")
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_mpirun_asks_before_it_kills(alone, repository, tmp_path, asked):
    """Ranks have the time to write a restart."""
    rank = tmp_path / "rank.py"
    rank.write_text(
        "import os, signal, sys, time\n"
        "def stop(*_):\n    time.sleep(2); print('written', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGUSR1, stop)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    script = str(repository / "launch" / "mpirun.sh")
    job = subprocess.Popen(
        [script, "-n", "2", sys.executable, str(rank)],
        env=alone | {"VENV": sys.prefix},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert [job.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    os.killpg(job.pid, asked) if asked == signal.SIGINT else job.send_signal(asked)
    assert job.communicate(timeout=60)[0].count("written") == 2
    assert job.returncode == 0


# ---- pictures
def test_zonal_mean_counts_water_only():
    field = np.array([[[1.0, 3.0, np.nan]], [[np.nan] * 3]])
    weights = np.array([[[1.0, 3.0, 7.0]], [[0.0] * 3]])
    assert plots.zonal_mean(field)[0, 0] == 2.0
    assert plots.zonal_mean(field, weights)[0, 0] == 2.5
    assert np.isnan(plots.zonal_mean(field)[1, 0])


def test_speed_is_at_centres_and_nan_on_land(finished):
    with xr.open_dataset(finished / "daily.nc") as data:
        speed = plots.surface(data, "speed").values
        wet = data["mask_c"][0].values > 0
        assert np.isfinite(speed[wet]).all() and np.isnan(speed[~wet]).all()
        u = np.nan_to_num(data["u"].isel(time=-1, z=0).values)
        assert (
            0
            < speed[wet].max()
            <= 1.5 * np.abs(u).max() + np.nanmax(np.abs(data["v"].isel(time=-1, z=0).values))
        )


@pytest.mark.parametrize(
    "value, text", [(0, "0°"), (90, "90°E"), (180, "180°"), (240, "120°W"), (360, "0°")]
)
def test_longitudes_are_labelled_east_and_west(value, text):
    assert style.longitude_label(value) == text


def test_colours_never_span_nothing():
    look = plots.LOOKS["eta"]
    assert plots.colour_range(np.array([np.nan]), look) == (0.0, 1.0)
    low, high = plots.colour_range(np.zeros(4), look)
    assert low < high
    low, high = plots.colour_range(np.array([-1.0, 0.5]), look)
    assert low == -high
