"""Targets in memory: global arrays on rank 0, tiles when asked."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import Decomposition
from dogcm.field import Field
from dogcm.targets.errors import TargetError

#: Model variable: (place on the grid, whether it has layers).
VARIABLES = {
    "temperature": ("c", True),
    "salinity": ("c", True),
    "u": ("u", True),
    "v": ("v", True),
    "eta": ("c", False),
    "sst": ("c", False),
    "sss": ("c", False),
}
# Clocks that count in days and steps that count in seconds agree to round-off.
_TOLERANCE = 1e-3  # s


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["times", "fields", "valid"], meta_fields=[]
)
@dataclass(frozen=True)
class Sample:
    """Targets of one tile.

    Attributes:
        times: s since the start of model year 1; a scalar, or ``(n,)`` for a window.
        fields: name to Field, ``([n,] [nz,] y, x)``, halo 0, 0 where there is no target.
        valid: same shape, 1 where there is a target and 0 elsewhere.
    """

    times: Any
    fields: dict[str, Field]
    valid: dict[str, Field]


@dataclass(frozen=True)
class Targets:
    """Records of target variables.

    Attributes:
        times: ``(n,)`` s since the start of model year 1, increasing; on every rank.
        values: on rank 0 name to array ``(n, [nz,] ny, nx)`` on the model grid (degC, g kg-1, m
            s-1, m), NaN where there is none; empty on other ranks.
        layered: name to whether the variable has layers; on every rank. Default: as in the model.
        decomposition: who owns which tile; None until :meth:`on_ranks` has set it.

    Raises:
        TargetError: an unknown variable, wrong shapes, times out of order.
    """

    times: np.ndarray
    values: dict[str, np.ndarray]
    layered: dict[str, bool] = field(default_factory=dict)
    decomposition: Decomposition | None = None

    def __post_init__(self):
        times = np.atleast_1d(np.asarray(self.times, float))
        object.__setattr__(self, "times", times)
        if times.size == 0 or (np.diff(times) <= 0).any() or not np.isfinite(times).all():
            raise TargetError("target times must be at least one, finite and strictly increasing")
        unknown = sorted(set(self.values) - set(VARIABLES))
        if unknown:
            raise TargetError(f"unknown target variables {unknown}; known: {', '.join(VARIABLES)}")
        for name, array in self.values.items():
            wanted = 4 if VARIABLES[name][1] else 3
            if array.ndim != wanted or array.shape[0] != times.size:
                raise TargetError(
                    f"target {name} has shape {array.shape}; needed is ({times.size} times, "
                    f"{'layers, ' if wanted == 4 else ''}ny, nx)"
                )
        if not self.layered:
            object.__setattr__(self, "layered", {n: VARIABLES[n][1] for n in self.values})

    @property
    def names(self) -> list[str]:
        return list(self.layered)

    @classmethod
    def on_ranks(cls, decomposition: Decomposition, make: Callable[[], Targets]) -> Targets:
        """Targets that ``make()`` reads on rank 0, known to every rank. All ranks call this.

        An error of ``make``, or an array that does not fit the grid, is raised on every rank.
        """
        made, facts, error = None, None, None
        if decomposition.is_root:
            try:
                made = make()
                made._fit(decomposition.layout.shape)
                facts = (made.times, made.layered)
            except Exception as e:  # noqa: BLE001 raised on all ranks below
                error = e
        facts, error = decomposition.comm.broadcast((facts, error))
        if error is not None:
            raise error
        values = made.values if made is not None else {}
        return cls(facts[0], values, dict(facts[1]), decomposition)

    def _fit(self, shape: tuple[int, int]) -> None:
        for name, array in self.values.items():
            if tuple(array.shape[-2:]) != tuple(shape):
                raise TargetError(
                    f"target {name} is on a grid of {array.shape[-2:]} cells, the model has "
                    f"{tuple(shape)}: "
                    "regrid or coarsen it first"
                )

    def require(
        self, names, start: float | None = None, length: float = 0.0, nz: int | None = None
    ) -> None:
        """Check, before any work, that everything a training run wants is there.

        Args:
            names: variables wanted. start, length: the period wanted (s). nz: layers of the model.

        Raises:
            TargetError: a variable, a level or a part of the period is missing.
        """
        missing = [n for n in names if n not in self.layered]
        if missing:
            raise TargetError(
                f"no target for {', '.join(missing)}; there are targets for {', '.join(self.names)}"
            )
        for name in names:
            layers = (
                self.values[name].shape[1] if name in self.values and self.layered[name] else None
            )
            if nz is not None and layers not in (None, nz):
                raise TargetError(f"target {name} has {layers} layers, the model has {nz}")
        if start is not None:
            self._within(start, start + length)

    def _within(self, first: float, last: float) -> None:
        if first < self.times[0] - _TOLERANCE or last > self.times[-1] + _TOLERANCE:
            raise TargetError(
                f"targets run from model day {self.times[0] / 86400:.2f} to "
                f"{self.times[-1] / 86400:.2f}, "
                "wanted is "
                f"day {first / 86400:.2f} to {last / 86400:.2f}: choose another period or read "
                f"more records"
            )

    def window(self, start: float, length: float) -> Targets:
        """The records with ``start <= time <= start + length`` (s).

        Raises:
            TargetError: no record there.
        """
        inside = (self.times >= start - _TOLERANCE) & (self.times <= start + length + _TOLERANCE)
        if not inside.any():
            raise TargetError(
                f"no target between model day {start / 86400:.2f} and "
                f"{(start + length) / 86400:.2f}; "
                f"records run from day {self.times[0] / 86400:.2f} to {self.times[-1] / 86400:.2f}"
            )
        values = {n: v[inside] for n, v in self.values.items()}
        return replace(self, times=self.times[inside], values=values)

    def at(self, time: float, names=None, dtype=np.float64) -> Sample:
        """Linear interpolation in time, as tiles. All ranks call this.

        A cell counts as valid where each record that takes part has a value.

        Raises:
            TargetError: a time outside the records, or an unknown name.
        """
        names = self.names if names is None else list(names)
        self.require(names, time)
        n = int(
            np.clip(
                np.searchsorted(self.times, time, side="right") - 1, 0, max(self.times.size - 2, 0)
            )
        )
        m = min(n + 1, self.times.size - 1)
        between = self.times[m] - self.times[n]
        w = float(np.clip((time - self.times[n]) / between, 0.0, 1.0)) if m > n else 0.0

        def pick(v):
            return v[n] if w == 0.0 else v[m] if w == 1.0 else (1 - w) * v[n] + w * v[m]

        return self._tiles(pick, jnp.asarray(time, jnp.float64), names, dtype)

    def sample(self, names=None, dtype=np.float64) -> Sample:
        """All records as tiles with a leading time axis. All ranks call this."""
        names = self.names if names is None else list(names)
        self.require(names)
        return self._tiles(lambda v: v, jnp.asarray(self.times), names, dtype)

    def _tiles(self, pick, times, names, dtype) -> Sample:
        fields, valid = {}, {}
        for name in names:
            values = pick(self.values[name]) if name in self.values else None
            if self.decomposition is not None:
                values = self.decomposition.scatter(values)
            there = np.isfinite(values)
            at = VARIABLES[name][0]
            fields[name] = Field(jnp.asarray(np.where(there, values, 0.0), dtype), at).named(name)
            valid[name] = Field(jnp.asarray(there, dtype), at).named(f"valid {name}")
        return Sample(times, fields, valid)
