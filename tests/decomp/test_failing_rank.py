"""A rank that fails takes the job down at once: nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dogcm.decomp.binding import looks_like_mpi_launch

LAUNCHER = Path(__file__).resolve().parents[2] / "launch" / "mpirun.sh"
HAS_MPI = (Path(sys.prefix) / ".dogcm-mpi").exists()
pytestmark = [
    pytest.mark.skipif(
        not HAS_MPI, reason="this environment was not made by tools/setup_env.sh with MPI"
    ),
    pytest.mark.skipif(looks_like_mpi_launch(), reason="starts jobs of its own"),
]

# Rank 1 fails while rank 0 waits for it inside MPI.
PROGRAM = """
import sys, os, time
from mpi4py import MPI
from dogcm.decomp.binding import abort_all_ranks_on_error
def fail():
    if sys.argv[1] == "raise": raise ValueError("salinity -3 at 20 W 45 N")
    if sys.argv[1] == "exit": sys.exit(7)
    if sys.argv[1] == "killed": os.kill(os.getpid(), 9)
with abort_all_ranks_on_error():
    if MPI.COMM_WORLD.rank == 1: fail()
    MPI.COMM_WORLD.Barrier()
    print("finished")
"""

TEST_FILE = """
import time, pytest
from mpi4py import MPI
@pytest.mark.mpi
{mark}
def test_uneven():
    if MPI.COMM_WORLD.rank == 1:
        {act}
    MPI.COMM_WORLD.Barrier()
"""


def launch(env, *command, cwd=None):
    start = time.monotonic()
    job = subprocess.run(
        [str(LAUNCHER), "-n", "2", "-t", "60", *map(str, command)],
        env=env | {"VENV": sys.prefix},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return job.returncode, job.stdout + job.stderr, time.monotonic() - start


@pytest.mark.parametrize(
    "how, says", [("raise", "salinity -3 at 20 W 45 N"), ("exit", "rank"), ("killed", "signal")]
)
def test_job_ends_when_one_rank_does(how, says, alone):
    status, output, seconds = launch(alone, sys.executable, "-c", PROGRAM, how)
    assert status not in (0, 124), output
    assert seconds < 30
    assert says in output
    assert "finished" not in output


@pytest.mark.parametrize(
    "mark, act, says",
    [
        ("", "assert 1 == 2", "rank 1 of 2 failed in"),
        ("@pytest.mark.timeout(3)", "time.sleep(50)", "Timeout"),
    ],
    ids=["failing test", "hanging test"],
)
def test_suite_ends_when_one_rank_fails(mark, act, says, alone, tmp_path):
    """The hooks of conftest.py: here with a suite of one test that is uneven on purpose."""
    (tmp_path / "conftest.py").write_text((Path(__file__).parents[1] / "conftest.py").read_text())
    (tmp_path / "test_uneven.py").write_text(TEST_FILE.format(mark=mark, act=act))
    status, output, seconds = launch(
        alone,
        sys.executable,
        "-m",
        "pytest",
        "--with-mpi",
        "-p",
        "no:cacheprovider",
        "test_uneven.py",
        cwd=tmp_path,
    )
    assert status not in (0, 124), output
    assert seconds < 40
    assert says in output


def test_launcher_passes_status_and_environment(alone):
    status, output, _ = launch(
        alone | {"DOGCM_TEST_WORD": "halo"},
        sys.executable,
        "-c",
        "import os; print(os.environ['DOGCM_TEST_WORD'])",
    )
    assert status == 0, output
    assert output.count("halo") == 2


def test_launcher_refuses_nonsense(alone):
    for words in (["-n", "zero", "true"], ["--oversubscribe", "true"], []):
        job = subprocess.run(
            [str(LAUNCHER), *words], env=alone, capture_output=True, text=True, check=False
        )
        assert job.returncode == 2, (words, job.stderr)
    assert os.access(LAUNCHER, os.X_OK)
