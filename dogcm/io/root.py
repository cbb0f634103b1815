"""Work that rank 0 does on files while all ranks take part in the gathering."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ADVICE = "earlier files are kept. Free some space and continue from the last restart"


class OutputError(RuntimeError):
    """A file could not be written; the message says which, why, and what to do."""


class RootTask:
    """Steps of rank 0 between collective calls.

    After a step has failed the others are skipped, but gathering goes on, so that no rank is left
    waiting; then :meth:`finish` raises the same error on every rank.

    Args:
        comm: host communicator.
        path: file that is worked on, for messages.
        error: class of the error raised in the end.
    """

    def __init__(self, comm, path: str | Path, error: type[Exception] = OutputError):
        self._comm, self._path, self._kind = comm, Path(path), error
        self.error: Exception | None = None

    def do(self, function: Callable, *args) -> Any:
        """``function(*args)`` on rank 0; its result there, None elsewhere and after a failure."""
        return None if self._comm.rank else self._try(function, *args)

    def _try(self, function: Callable, *args) -> Any:
        if self.error is not None:
            return None
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 raised by finish on every rank
            self.error = error
            return None

    def finish(self) -> None:
        """Raise what went wrong, on all ranks.

        Raises:
            OutputError: or the class given to the constructor.
        """
        message = None if self.error is None else explain(self.error, self._path)
        message = self._comm.broadcast(message)
        if message:
            raise self._kind(message)


class SharedTask(RootTask):
    """Steps of every rank, besides those of rank 0, between collective calls; see
    :class:`RootTask`."""

    def each(self, function: Callable, *args) -> Any:
        """``function(*args)`` on every rank; its result, None after a failure on this rank."""
        return self._try(function, *args)

    def finish(self) -> None:
        """Raise what went wrong on any rank, on all ranks; nobody leaves before all have come.

        Raises:
            OutputError: or the class given to the constructor.
        """
        message = None if self.error is None else explain(self.error, self._path)
        told = self._comm.broadcast(self._comm.gather(message))
        if first := next(filter(None, told), None):
            raise self._kind(first)


def on_root(comm, function: Callable, *args) -> Any:
    """``function(*args)`` on rank 0, its result on every rank; an error there is raised on every
    rank."""
    result, error = None, None
    if comm.rank == 0:
        try:
            result = function(*args)
        except Exception as e:  # noqa: BLE001 passed on below
            error = e
    result, error = comm.broadcast((result, error))
    if error is not None:
        raise error
    return result


def explain(error: Exception, path: Path) -> str:
    """One sentence on a failed write."""
    if isinstance(error, OutputError):
        return str(error)
    if getattr(error, "errno", None) == errno.ENOSPC or free_bytes(path) < 1 << 20:
        return f"the disk of {path} is full; {_ADVICE}"
    if isinstance(error, PermissionError):
        return f"no permission to write {path}; choose another output folder"
    return f"cannot write {path}: {type(error).__name__}: {error}"


def free_bytes(path: str | Path) -> int:
    """Free bytes on the disk of ``path``, which need not exist yet."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: str | Path, need: int) -> None:
    """Refuse to start a write that would not fit: a netCDF file that runs out of space may be lost.

    Raises:
        OutputError: if less than ``need`` bytes are free.
    """
    free = free_bytes(path)
    if free < need:
        raise OutputError(
            f"the disk of {path} is full: {megabytes(need)} needed, {megabytes(free)} free; "
            f"{_ADVICE}"
        )


def megabytes(count: float) -> str:
    """Bytes as text."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
