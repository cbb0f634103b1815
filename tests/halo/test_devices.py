"""Tiles on devices: the tests of on_devices.py in a process with four of them, and the program of
on_processes.py in two processes that have two each."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import pytest
from two_hosts import NoHosts, TwoHosts

from dogcm.components.errors import ConfigError
from dogcm.decomp import LayoutError, SerialCommunicator, devices, on_devices
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.decomp.meeting import address
from dogcm.setups.registry import load_config
from dogcm.simulation.agreement import require_agreement

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="one process is enough")
PIPES = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None, reason="processes talk through mpi4py"
)


@one_rank
def test_four_devices_in_one_process(repository, alone):
    flags = alone.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(Path(__file__).with_name("on_devices.py"))],
        cwd=repository,
        env=alone | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout


def on_two_processes(repository, alone, *words):
    """Command and environment for the program of on_processes.py, with two devices each."""
    folder = repository / "tests"
    path = f"{repository}:{folder}:{folder / 'halo'}"
    return [sys.executable, str(folder / "halo/on_processes.py"), *words], alone | {
        "PYTHONPATH": path
    }


def ended(job):
    """Exit status and output of a job, which must not hang."""
    out, err = job.communicate(timeout=600)
    return job.returncode, out, err


def started_twice(repository, alone, *words):
    command, env = on_two_processes(repository, alone, *words)
    launch = [str(repository / "launch/mpirun.sh"), "-n", "2"]
    return ended(subprocess.Popen([*launch, *command], env=env, cwd=repository, **PIPES))


@one_rank
@needs_mpi
def test_two_devices_in_each_of_two_processes(repository, alone, tmp_path):
    """On two hosts where the system lets us have them, else on this one."""
    command, env = on_two_processes(repository, alone)
    try:
        with TwoHosts(tmp_path, repository) as hosts:
            status, out, err = ended(hosts.launch(*command, env=env, **PIPES))
    except NoHosts:
        status, out, err = started_twice(repository, alone)
    assert status == 0, out[-3000:] + err[-6000:]
    assert out.count("everything is as on one tile") == 2


@one_rank
@needs_mpi
def test_a_tile_that_fails_ends_all_processes(repository, alone):
    status, out, err = started_twice(repository, alone, "fails")
    assert status != 0 and "KeyError: 'the last tile'" in err
    assert "everything is as on one tile" not in out


@pytest.mark.parametrize(
    "told, says",
    [
        ("nonsense", "give HOST:PORT"),
        ("localhost:99999", "the port from 1 to 65535"),
        ("no-such-host.invalid:1234", "host no-such-host.invalid is not known"),
    ],
)
def test_a_place_where_nobody_meets_is_refused(monkeypatch, told, says):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", told)
    with pytest.raises(LayoutError, match=f"JAX_COORDINATOR_ADDRESS={told}: .*{says}"):
        address(SerialCommunicator())


def test_devices_on_some_ranks_only_are_refused():
    """Whichever of the two is rank 0 and hears what the other asks."""
    others = lambda *told: SimpleNamespace(
        size=2, rank=0, gather=lambda own: [own, *told], broadcast=lambda value: value
    )
    with pytest.raises(LayoutError, match="some processes ask for devices, and others do not"):
        devices._require_same(others({"grid.nx": 12}), 2)
    with pytest.raises(ConfigError, match="rank 1 asks for devices"):
        require_agreement(others(2), load_config("gyre", {}))


@pytest.mark.mpi(min_size=2)
def test_devices_of_several_processes_are_asked_for_first():
    jnp.zeros(1)
    with pytest.raises(LayoutError, match="JAX has computed something before"):
        on_devices(lambda: None, 1)
