"""Tiles on the devices of one process: the tests of on_devices.py, in a process with four."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dogcm.decomp import LayoutError, on_devices
from dogcm.decomp.binding import looks_like_mpi_launch

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="one process is enough")


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


@pytest.mark.mpi(min_size=2)
def test_devices_and_ranks_at_once_are_refused():
    with pytest.raises(LayoutError, match="messages go over MPI or between the devices"):
        on_devices(lambda: None, 2)
