"""Opening a netCDF file to add to it, also while another program reads it."""

from __future__ import annotations

import fcntl
import shutil
import warnings
from pathlib import Path

import netCDF4

from dogcm.io.root import require_space
from dogcm.io.whole import whole_file


def open_to_append(path: Path) -> netCDF4.Dataset:
    """The file, open for more records.

    HDF5 lets nobody write to a file that somebody has open for reading. What is open elsewhere is
    therefore put aside: its reader goes on with what it has, and a copy takes the name.

    Raises:
        OSError: it cannot be opened. OutputError: no space for a copy.
    """
    try:
        return netCDF4.Dataset(path, "a")
    except OSError:
        if not _is_held(path):
            raise
    require_space(path, path.stat().st_size)
    with whole_file(path) as copy:
        shutil.copyfile(path, copy)
    warnings.warn(
        f"{path} is open in another program, which keeps the records up to now: open the file "
        "again there to see more",
        stacklevel=2,
    )
    return netCDF4.Dataset(path, "a")


def _is_held(path: Path) -> bool:
    """Whether another program holds a lock on the file, as HDF5 does on all that it has open."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


__all__ = ["open_to_append"]
