"""The lock of an output folder: two jobs that write into one folder would spoil each other's
files."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from dogcm.io.root import OutputError

_LOCK_FILE = ".lock"


class FolderLock:
    """Held by rank 0 while a run writes into a folder.

    The system gives the lock back when the process ends, however it ends. On file systems without
    locks the folder goes unguarded.
    """

    def __init__(self, folder: Path):
        self._path = folder / _LOCK_FILE
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            OutputError: another job holds it.
        """
        while self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(file, 200).decode(errors="replace").strip()
                os.close(file)
                raise OutputError(
                    f"another run is writing into {self._path.parent}"
                    f"{f' ({holder})' if holder else ''}: wait for its end, stop it, or choose "
                    "another output folder"
                ) from None
            except OSError:
                os.close(file)
                self._path.unlink(missing_ok=True)
                return
            if self._is_current(file):
                os.truncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                self._file = file
            else:
                os.close(file)

    def _is_current(self, file: int) -> bool:
        """Whether the file that is locked is still the one of that name: its holder may have
        removed it meanwhile."""
        try:
            return os.fstat(file).st_ino == os.stat(self._path).st_ino
        except FileNotFoundError:
            return False

    def give_back(self) -> None:
        """Release it, and leave no file."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
