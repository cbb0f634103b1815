"""Errors as one clear message on one rank, an exit status, and the end of all ranks."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dogcm.decomp.binding import abort_all_ranks, launch_rank, launch_size

OK, FELL_SHORT, UNUSABLE, FILE, BLEW_UP, LAUNCH, INTERNAL, UNFINISHED, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    70,
    75,
    130,
)

# By name of the class, nearest first: looking the classes up would load the whole model for `dogcm
# --help`.
_STATUS = {
    "ConfigError": UNUSABLE,
    "LayoutError": UNUSABLE,
    "FieldError": INTERNAL,
    "InputError": FILE,
    "RestartError": FILE,
    "CheckpointError": FILE,
    "WeightsError": FILE,
    "TrainingError": BLEW_UP,
    "EquilibriumError": BLEW_UP,
    "OutputError": FILE,
    "PlotError": FILE,
    "StatsError": FILE,
    "ModelBlewUp": BLEW_UP,
    "LaunchError": LAUNCH,
    "XlaRuntimeError": INTERNAL,
    "JaxRuntimeError": INTERNAL,
    "NotImplementedError": INTERNAL,
    "RecursionError": INTERNAL,
    "KeyboardInterrupt": INTERRUPTED,
    "Abort": INTERRUPTED,
    "MemoryError": UNUSABLE,
    "OSError": FILE,
    "ValueError": UNUSABLE,
    "RuntimeError": LAUNCH,
}
# Ranks above 0 give rank 0 this long (s) to report an error that all of them have. What cannot be
# used is mostly the same on all of them, but on a busy machine some still import while others have
# read it.
_PATIENCE, _PATIENCE_BEFORE_STEP_0 = 1.0, 10.0


class LaunchError(RuntimeError):
    """Ranks, MPI and launcher do not fit together."""


@dataclass
class Outcome:
    """What a command came to."""

    status: int = OK


def status_of(error: BaseException) -> int:
    """Exit status for an error; see :mod:`dogcm.cli`."""
    for kind in type(error).__mro__:
        if kind.__name__ in _STATUS:
            return _STATUS[kind.__name__]
    return INTERNAL


def describe(error: BaseException) -> str:
    """One message without a traceback."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    text = str(error).strip() or type(error).__name__
    if isinstance(error, MemoryError):
        return f"not enough memory ({text}): take a smaller grid, or more ranks on more machines"
    if status_of(error) == INTERNAL:
        return (
            f"{type(error).__name__}: {text}\nthis looks like an error inside dogcm; --debug shows "
            f"where"
        )
    return text


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get("DOGCM_DEBUG", "0") not in ("", "0")


@contextmanager
def one_message(words: list[str]) -> Iterator[Outcome]:
    """Turn an exception into a message and ``outcome.status``; under MPI end every rank at once.

    Takes ``--debug`` out of ``words``, wherever it stands.
    """
    if "--debug" in words:
        words.remove("--debug")
        os.environ["DOGCM_DEBUG"] = "1"
    outcome = Outcome()
    try:
        yield outcome
    except BaseException as error:  # noqa: BLE001 the outermost frame
        outcome.status = _exit_status(error)
        if outcome.status:
            _report(error)
    if outcome.status > FELL_SHORT or (outcome.status and sys.exc_info()[0]):
        _end_all(outcome.status)


def _exit_status(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return (
            error.code if isinstance(error.code, int) else (OK if error.code is None else UNUSABLE)
        )
    if hasattr(error, "show"):  # a wrong word on the command line
        return UNUSABLE
    return status_of(error)


def _report(error: BaseException) -> None:
    """Print on this rank, unless rank 0 has the same error and ends the job first."""
    if launch_rank() > 0:
        time.sleep(_PATIENCE_BEFORE_STEP_0 if _exit_status(error) == UNUSABLE else _PATIENCE)
    if debugging():
        traceback.print_exception(error, file=sys.stderr)
    where = f" (rank {launch_rank()} of {launch_size()})" if launch_size() > 1 else ""
    if hasattr(error, "show"):
        error.show(file=sys.stderr)
    elif not isinstance(error, SystemExit) or isinstance(error.code, str):
        text = error.code if isinstance(error, SystemExit) else describe(error)
        print(f"dogcm: error{where}: {text}", file=sys.stderr)
    sys.stderr.flush()


def _end_all(status: int) -> None:
    """Under MPI end all ranks here: a rank that merely returned would wait for the others for
    ever."""
    abort_all_ranks(status)
