"""dogcm under srun and sbatch, in a Slurm of one node that lives as long as one test.

Skipped unless Slurm and munge are installed and the user is root; run_single_node_slurm.sh says
what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dogcm.decomp.binding import looks_like_mpi_launch

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
SLURM = HERE / "run_single_node_slurm.sh"
SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _why_not() -> str | None:
    missing = [
        name
        for name in ("srun", "sinfo", "slurmctld", "slurmd", "munged")
        if shutil.which(name, path=SEARCH_PATH) is None
    ]
    if missing:
        return (
            f"no Slurm here: {', '.join(missing)} not found (apt-get install slurm-wlm munge "
            f"libpmix-dev)"
        )
    if os.geteuid() != 0:
        return "only root can start munged and slurmd"
    if looks_like_mpi_launch():
        return "starts jobs of its own"
    if not (Path(sys.prefix) / ".dogcm-mpi").exists():
        return "this environment was not made by tools/setup_env.sh with MPI"
    return None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_why_not() is not None, reason=_why_not() or ""),
    pytest.mark.timeout(240),
]


def slurm(env, *words, seconds=180) -> tuple[int, str]:
    job = subprocess.run(
        [str(SLURM), *map(str, words)],
        env=env,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return job.returncode, job.stdout + job.stderr


@pytest.fixture
def env(alone):
    # One stray SLURM_ variable of an outer job would steer the inner one.
    return {
        name: value for name, value in alone.items() if not name.startswith(("SLURM_", "SBATCH_"))
    }


def test_srun_makes_one_world(env):
    status, output = slurm(env, "-n", 2, "--mpi", "pmix", sys.executable, HERE / "two_ranks.py")
    assert status == 0, output
    for rank in (0, 1):
        assert f"rank {rank} of 2 (launched: 2)" in output


def test_srun_with_a_plugin_that_does_not_fit_is_refused(env):
    """Without the check each task would take itself for the whole model."""
    status, output = slurm(env, "-n", 2, "--mpi", "none", sys.executable, HERE / "two_ranks.py")
    assert status != 0, output
    assert "srun started 2 ranks, but MPI sees 1" in output
    assert "ring ok" not in output


def test_a_failing_rank_ends_the_step(env):
    status, output = slurm(env, "-n", 2, sys.executable, HERE / "two_ranks.py", "fail", seconds=90)
    assert status != 0, output
    assert "temperature is not finite" in output
    assert "ring ok" not in output


@pytest.mark.skipif(
    not (REPOSITORY / "dogcm" / "cli" / "__init__.py").exists()
    or not (Path(sys.prefix) / "bin" / "dogcm").exists(),
    reason="the command dogcm is not installed here",
)
def test_dogcm_check(env):
    status, output = slurm(env, "-n", 2, Path(sys.prefix) / "bin" / "dogcm", "check")
    assert status == 0, output
