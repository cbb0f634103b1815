"""A restart on disk, in whatever format: what is common to :mod:`dogcm.io.restart_netcdf` and
:mod:`dogcm.io.restart_zarr`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dogcm.io.description import Entry


@dataclass(frozen=True)
class Part:
    """A variable of a restart that is being written.

    Attributes:
        entry: what the file says of it. values: ``([levels,] ny, nx)`` on this rank's tile.
    """

    entry: Entry
    values: np.ndarray


class RestartFile:
    """One restart. Methods are to be called on every rank where they do not say otherwise.

    Args:
        path: final name. model: gives grid and decomposition.

    Attributes:
        attributes: global ones. shapes: of all variables on the globe. fields: names of those that
            are of the state. All three are known after :meth:`look`.
    """

    suffix = ""

    def __init__(self, path: Path, model):
        self.path, self._model = path, model
        self._comm, self._decomposition = model.comm, model.decomposition
        self.attributes: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.fields: set[str] = set()

    @classmethod
    def time(cls, path: Path) -> float:
        """Model time (s) of a restart; any rank may call it alone."""
        raise NotImplementedError

    def write(self, attributes: dict, parts: Sequence[Part], need: int) -> None:
        """Write beside the final name, and rename when all is safe on disk.

        Args:
            need: upper limit of the size in bytes.

        Raises:
            OutputError: it cannot be written; what was there before is still there.
        """
        raise NotImplementedError

    def look(self) -> None:
        """Learn what the restart holds; the same error on every rank where it cannot be read."""
        raise NotImplementedError

    def damaged(self, names: Sequence[str]) -> list[str]:
        """Those of ``names`` whose checksum does not fit."""
        raise NotImplementedError

    def tile(self, name: str, dtype: np.dtype) -> np.ndarray:
        """This rank's part of a variable, without halo; 0 where no rank had a tile."""
        raise NotImplementedError

    def whole(self, name: str) -> np.ndarray:
        """A variable on the globe; rank 0 calls it, for fields of one level."""
        raise NotImplementedError


__all__ = ["Part", "RestartFile"]
