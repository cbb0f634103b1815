"""What all tests share: a CPU with few threads, the data beside the repository, and no silent hang
under mpirun."""

from __future__ import annotations

import gc
import os
import re
import sys
import time
from pathlib import Path

# Before anything imports JAX. setdefault: a GPU machine can run the suite with JAX_PLATFORMS=cuda.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Ranks and their threads share few cores in tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# pytest itself may be started without launch/mpirun.sh, and tests start mpirun as root in
# containers.
for _family in ("OMPI", "PRTE"):
    os.environ.setdefault(f"{_family}_ALLOW_RUN_AS_ROOT", "1")
    os.environ.setdefault(f"{_family}_ALLOW_RUN_AS_ROOT_CONFIRM", "1")

import pytest  # noqa: E402

import dogcm  # noqa: E402

dogcm.configure()

from dogcm.decomp.binding import (  # noqa: E402
    abort_all_ranks,
    environment_without_launch,
    launch_rank,
    launch_size,
)

_FAST = "JAX_DISABLE_MOST_OPTIMIZATIONS"
REPOSITORY = Path(__file__).resolve().parent.parent
RANKS = launch_size()
RANK = launch_rank()


class _OnlyTimeouts:
    """The terminal of ranks above 0, which would print what rank 0 prints: mute, until a test runs
    out of time."""

    encoding = "utf-8"

    def __init__(self, file):
        self._file, self._mute = file, True

    def write(self, text):
        self._mute = self._mute and " Timeout " not in text
        return len(text) if self._mute else self._file.write(text)

    def flush(self):
        self._file.flush()

    def isatty(self):
        return False


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if RANKS == 1:
        return
    # A rank that hangs does so inside an MPI call, where Python sees no signal: only a watching
    # thread can end it. mpirun then ends the other ranks.
    if hasattr(config.option, "timeout_method"):
        config.option.timeout_method = "thread"


def pytest_ignore_collect(collection_path, config):
    """Ranks import only files with a test for several of them; each of them imports for itself."""
    if RANKS == 1 or not collection_path.name.startswith("test_"):
        return None
    chosen = re.findall(r"(?<!not )\b(?:mpi|layouts|as_users)\b", config.option.markexpr)
    text = collection_path.read_text("utf-8")
    return True if any(f"mark.{name}" not in text for name in chosen) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Costly tests of several ranks run on the numbers of ranks that they name, and are slow on
    those of them that ``slow`` names: every rank compiles for itself. On 2 ranks so is what runs on
    4 and has no mark that says otherwise."""
    for item in items:
        if _is_slow_here(item):
            item.add_marker("slow")
    wanted = lambda item: (
        RANKS == 1 or all(RANKS in mark.args for mark in item.iter_markers("ranks"))
    )
    left_out = [item for item in items if not wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if wanted(item)]


def _is_slow_here(item) -> bool:
    marks = list(item.iter_markers("ranks"))
    slow_on = {number for mark in marks for number in mark.kwargs.get("slow", ())}
    on_four = all(4 in mark.args for mark in marks) and 4 not in slow_on
    # What is right on 4 ranks can be wrong on 2 only where tiles meet.
    kept = any(item.get_closest_marker(name) for name in ("layouts", "as_users"))
    return RANKS in slow_on or (RANKS == 2 and on_four and not kept)


def pytest_collection_finish(session):
    """What is imported by now stays: searching it for garbage again and again takes a twentieth of
    the time. Tracing makes many small objects that stay, too."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if RANK > 0 and terminal is not None:
        terminal._tw._file = _OnlyTimeouts(terminal._tw._file)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    """One rank failing takes the job down: the others may wait for its messages for ever."""
    if RANKS > 1 and report.failed:
        _abort(report.nodeid, report.longreprtext)


@pytest.hookimpl(trylast=True)
def pytest_collectreport(report):
    if RANKS > 1 and report.failed:
        _abort(report.nodeid, report.longreprtext)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """A rank that ends with an error of pytest itself would wait for the others in MPI_Finalize."""
    if RANKS > 1 and exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        _abort("session", f"pytest ended with status {int(exitstatus)}", int(exitstatus))


def _abort(where: str, text: str, code: int = 1) -> None:
    print(
        f"\n===== rank {RANK} of {RANKS} failed in {where} =====\n{text}",
        file=sys.__stderr__,
        flush=True,
    )
    # A failure common to all ranks should be shown by all of them; the slowest gets a moment for
    # that.
    time.sleep(1.0)
    abort_all_ranks(code)
    os._exit(code)  # MPI is not up on this rank; mpirun ends the others


# Bytes of one process: a quarter of the memory for all of them. Small programs, which all files
# share, are compiled anew after a clearing.
_PROCESSES = max(RANKS, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_ENOUGH = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (4 * _PROCESSES)


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_dropped():
    """After a file, once they fill much memory: kept until the end they would fill gigabytes, times
    the number of ranks."""
    yield
    if _resident() > _ENOUGH:
        import jax

        jax.clear_caches()
        gc.collect()


def _resident() -> int:
    """Bytes of memory that this process uses; unlimited where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return sys.maxsize
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Where the suite is compiled as fast as can be (tools/run_tests.sh), tests with this mark are
    not: their programs run for longer than they take to compile, or they look at what the compiler
    makes of them."""
    if os.environ.get(_FAST):
        import jax

        jax.config.update(_FAST.lower(), item.get_closest_marker("optimised") is None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The observed and reference data kept beside the repository; tests that want it are skipped
    where it is not."""
    for base in (os.environ.get("DOGCM_TEST_DATA"), REPOSITORY.parent / "shared" / "data"):
        if base and Path(base).is_dir():
            return Path(base)
    pytest.skip("no data beside the repository (../shared/data, or DOGCM_TEST_DATA)")


@pytest.fixture
def alone() -> dict[str, str]:
    """Environment for a process that a test starts and that must not take itself for one of the
    test's own ranks."""
    return environment_without_launch()
