"""Arrays by name and a JSON text in one open ``.npz`` file: whole or not there, and read without
pickle.

The zip format keeps a checksum (CRC-32) of every array, which is compared when it is read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from dogcm.io.whole import whole_file

_HEADER = "header"


class DamagedFileError(ValueError):
    """Not a file that :func:`write_arrays` wrote, or no longer."""


def write_arrays(path: Path, arrays: dict[str, np.ndarray], header: dict) -> None:
    """Write beside the final name, and rename when the bytes are safe on disk.

    Args:
        header: what JSON can hold.

    Raises:
        OSError: it cannot be written; an older file of this name is still there.
    """
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, **{_HEADER: text}, **arrays)
        file.flush()
        os.fsync(file.fileno())


def read_arrays(path: Path, form: int) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and arrays of a file.

    Args:
        form: the number that the header's ``format`` has to be.

    Raises:
        FileNotFoundError: no such file. DamagedFileError: why it cannot be used.
    """
    if not path.is_file():
        raise FileNotFoundError(str(path))
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {n: data[n] for n in data.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
        if header["format"] != form:
            raise ValueError(f"format {header['format']}")
    except Exception as error:  # noqa: BLE001 a damaged zip file fails in a dozen ways
        raise DamagedFileError(f"{type(error).__name__}: {error}") from None
    return header, arrays


__all__ = ["DamagedFileError", "read_arrays", "write_arrays"]
