"""Several hosts: runs, derivatives and restarts over TCP, and a host that is gone."""

from __future__ import annotations

import csv
import subprocess
import sys
import time

import pytest
from two_hosts import NoHosts, TwoHosts

from dogcm.decomp.binding import looks_like_mpi_launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(looks_like_mpi_launch(), reason="starts mpirun itself"),
]
SMALL = ("--set", "grid.nx=12", "--set", "grid.ny=12", "--set", "grid.layers=[100,900]")
MESSAGES = {"mpi": (), "xla": ("--devices", "2")}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, repository):
    pytest.importorskip("mpi4jax", reason="several hosts need MPI")
    try:
        with TwoHosts(tmp_path_factory.mktemp("hosts"), repository) as found:
            yield found
    except NoHosts as reason:
        pytest.skip(str(reason))


def ran(job):
    out, err = job.communicate(timeout=600)
    assert job.returncode == 0, out[-3000:] + err[-3000:]
    return out


def dogcm_on(hosts, env, *words):
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return hosts.launch(sys.executable, "-m", "dogcm", *words, env=env, **pipes)


def last_of(folder):
    with open(folder / "monitor.csv", newline="") as file:
        return list(csv.DictReader(file))[-1]


def test_a_run_goes_on_over_the_other_messages(hosts, alone, tmp_path):
    """Half a day over MPI, half a day over XLA, on two hosts: the bits of one rank."""
    both, one = tmp_path / "both", tmp_path / "one"
    told = ran(dogcm_on(hosts, alone, "run", "gyre", *SMALL, "--days", "0.5", "-o", str(both)))
    assert "ocean-1" in told and "ocean-2" in told
    ran(dogcm_on(hosts, alone, "restart", str(both), "--days", "0.5", *MESSAGES["xla"]))
    command = [sys.executable, "-m", "dogcm", "run", "gyre", *SMALL, "--days", "1", "-o", str(one)]
    subprocess.run(command, env=alone, check=True, capture_output=True)
    assert last_of(both) == last_of(one)


def test_derivatives_over_mpi(hosts, alone, repository):
    tests = str(repository / "tests/learning/test_gradients.py")
    words = ("--with-mpi", "-m", "mpi", "-k", "reverse_mode", "-q", "-p", "no:cacheprovider", tests)
    job = hosts.launch(
        sys.executable,
        "-m",
        "pytest",
        *words,
        env=alone,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert "2 passed" in ran(job)


@pytest.mark.parametrize("messages", MESSAGES)
@pytest.mark.parametrize("how", ["vanish", "silence"])
def test_a_host_that_is_gone_ends_all(hosts, alone, tmp_path, how, messages):
    """Within seconds, with a status that says so, and the last restart whole."""
    folder = tmp_path / "run"
    often = ("--set", "run.restart_every=2", "--set", "run.monitor_every=2")
    words = ("run", "gyre", *SMALL, *often, "--days", "9000", "-o", str(folder))
    job = dogcm_on(hosts, alone, *words, *MESSAGES[messages])
    begin = time.monotonic()
    while len(list(folder.glob("restart_*.nc"))) < 2:
        assert job.poll() is None and time.monotonic() - begin < 300
        time.sleep(0.2)
    getattr(hosts, how)(1)
    gone = time.monotonic()
    job.communicate(timeout=60)
    assert job.returncode != 0
    while any(len(hosts.processes(host)) > 1 for host in range(2)):
        assert time.monotonic() - gone < 60, "processes are left"
        time.sleep(0.2)
    assert time.monotonic() - gone < 40
    if (how, messages) == ("silence", "mpi"):
        on = [sys.executable, "-m", "dogcm", "restart", str(folder), "--days", "1"]
        subprocess.run(on, env=alone, check=True, capture_output=True)
