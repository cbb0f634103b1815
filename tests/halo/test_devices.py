"""Tiles on devices: the tests of on_devices.py in a process with four of them, and the program of
on_processes.py in two processes that have two each."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from dogcm.decomp import LayoutError, on_devices
from dogcm.decomp.binding import looks_like_mpi_launch

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="one process is enough")
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


def started_twice(repository, alone, *words):
    """The program of on_processes.py in two processes with two devices each."""
    folder = repository / "tests"
    path = f"{repository}:{folder}:{folder / 'halo'}"
    command = [str(repository / "launch/mpirun.sh"), "-n", "2", sys.executable]
    return subprocess.run(
        [*command, str(folder / "halo/on_processes.py"), *words],
        cwd=repository,
        env=alone | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )


@one_rank
@needs_mpi
def test_two_devices_in_each_of_two_processes(repository, alone):
    done = started_twice(repository, alone)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert done.stdout.count("everything is as on one tile") == 2


@one_rank
@needs_mpi
def test_a_tile_that_fails_ends_all_processes(repository, alone):
    done = started_twice(repository, alone, "fails")
    assert done.returncode != 0 and "KeyError: 'the last tile'" in done.stderr
    assert "everything is as on one tile" not in done.stdout


@pytest.mark.mpi(min_size=2)
def test_devices_of_several_processes_are_asked_for_first():
    jnp.zeros(1)
    with pytest.raises(LayoutError, match="JAX has computed something before"):
        on_devices(lambda: None, 1)
