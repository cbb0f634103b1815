"""A stream of records of fields, to which a run adds: what its formats have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dogcm.field import Field
from dogcm.io.description import (
    FILL,
    SECONDS_PER_DAY,
    Description,
    cell_methods,
    record_bytes,
)
from dogcm.io.root import OutputError


class OutputStream:
    """Records of fields under one name; the base of :class:`dogcm.io.output.OutputFile` and
    :class:`dogcm.io.zarr_store.ZarrStore`.

    Args:
        path: of the file, or folder. variables: what it holds. kind: ``snapshot``, or what is made
            of an interval (:data:`dogcm.io.description.METHODS`).
        model: gives grid, decomposition, precision and length of the year.
        attributes: global attributes (provenance).
        resume: add to what is there, dropping records later than the model's present time.

    Raises:
        OutputError: it cannot be written. All methods are to be called on every rank.
    """

    suffix = ""

    def __init__(
        self,
        path,
        variables: list,
        kind: str,
        model,
        attributes: dict,
        resume: float | None = None,
    ):
        self.path, self.kind, self.variables = Path(path), kind, {v.name: v for v in variables}
        self.description = Description(model, kind, variables)
        self._model, self._decomposition, self._comm = model, model.decomposition, model.comm
        self._masks = _masks(model.grid)
        self._index = 0
        found = self._comm.broadcast(self.path.exists() if self._comm.rank == 0 else None)
        if resume is not None and found:
            self._resume(resume)
        else:
            self._create(attributes)

    def record_bytes(self) -> int:
        """Upper limit of the size of one record."""
        return record_bytes(self.variables.values(), self._model)

    def append(self, fields: dict[str, Field | np.ndarray], start: float, end: float) -> None:
        """Add a record.

        Args:
            fields: by name: Fields, or arrays without halo at the variable's place.
            start, end: the interval (s) that a mean covers; a snapshot is taken at ``end``.
        """
        raise NotImplementedError

    def hand_over(self, fields: dict[str, Field | np.ndarray], start: float, end: float) -> None:
        """:meth:`append`, or, in formats that can, begin to: the record is written while the ocean
        steps on, and counts after :meth:`complete`."""
        self.append(fields, start, end)

    def complete(self, wait: bool = True) -> None:
        """See that a record that was handed over counts.

        Args:
            wait: until it is written; otherwise leave it if it is not yet.

        Raises:
            OutputError: it could not be written.
        """

    def close(self) -> None:
        """Let go of the file when the run ends, however it ends; ranks need not do so together."""

    def _create(self, attributes: dict) -> None:
        raise NotImplementedError

    def _resume(self, now: float) -> None:
        raise NotImplementedError

    # ---- what is written
    def _levels(self, name: str, value: Field | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """This rank's values of a variable and where they are of water, ``([levels,] ny, nx)``."""
        variable = self.variables[name]
        values, mask = interior(value), self._masks[variable.at]
        if not variable.layers:
            return values, mask[0]
        if variable.at.endswith("w"):  # nothing crosses the sea surface and the bottom
            values = np.pad(values, [(1, 1), (0, 0), (0, 0)])
        return values, mask

    def _times(self, start: float, end: float) -> tuple[float, list[float] | None]:
        """Time and bounds (days) of a record; no bounds for a snapshot."""
        if self.kind == "snapshot":
            return end / SECONDS_PER_DAY, None
        return 0.5 * (start + end) / SECONDS_PER_DAY, [n / SECONDS_PER_DAY for n in (start, end)]

    # ---- what is there already
    def _require_same(self, held: set[str], methods: set[str]) -> None:
        """Records of one stream are all of one kind and of the same variables."""
        wanted = cell_methods(self.kind)
        if set(self.variables) != held:
            found = f"holds {', '.join(sorted(held))}, not {', '.join(sorted(self.variables))}"
        elif methods != {wanted}:
            found = f"holds '{methods.pop()}', not '{wanted}'"
        else:
            return
        raise OutputError(
            f"{self.path} {found}: give this output another name, move the file away, or choose "
            "another output folder"
        )


def kept(ends: np.ndarray, now: float) -> int:
    """How many records end (days) by ``now`` (s)."""
    return int(np.sum(np.asarray(ends) * SECONDS_PER_DAY <= now + 1e-3))


def interior(value: Field | np.ndarray) -> np.ndarray:
    """This rank's values without halo."""
    return np.asarray(value.interior if isinstance(value, Field) else value)


def on_water(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The values, with the missing value on land."""
    return np.where(mask, values, np.asarray(FILL, values.dtype))


def _masks(grid) -> dict[str, np.ndarray]:
    """Where this rank's tile has water, by place; interfaces have water if the layer above has."""
    wet = {at: np.asarray(getattr(grid, f"mask_{at}").interior) > 0 for at in "cuv"}
    return wet | {"cw": np.concatenate([wet["c"][:1], wet["c"]])}


__all__ = ["OutputStream", "interior", "kept", "on_water"]
