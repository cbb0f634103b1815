"""Output tables of a run: what is summed up during its steps, and what becomes of it at the end of
an interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.diagnostics import circulation_series as circulation
from dogcm.diagnostics.files import CIRCULATION_FILE
from dogcm.diagnostics.variables import Scene, Variable, find_variables, variables_of
from dogcm.io.description import HEADER_BYTES, metric_bytes, record_bytes
from dogcm.io.output import OutputFile
from dogcm.io.root import OutputError, on_root
from dogcm.io.series import SeriesFile, series_bytes
from dogcm.io.stream import OutputStream
from dogcm.io.zarr_shards import require_zarr
from dogcm.io.zarr_store import ZarrStore
from dogcm.physics.surface import SurfaceFluxes
from dogcm.timestepping import many_steps_with

# How a value is added to what the interval has seen so far, and where it starts from.
_COMBINE = {
    "mean": lambda s, x: s + x,
    "root_mean_square": lambda s, x: s + x * x,
    "minimum": jnp.minimum,
    "maximum": jnp.maximum,
}
_START = {"minimum": np.inf, "maximum": -np.inf}
FORMATS: dict[str, type[OutputStream]] = {"netcdf": OutputFile, "zarr": ZarrStore}


class Every:
    """An event that comes each ``steps`` steps, counted from model time zero."""

    def __init__(self, steps: int):
        self.steps = steps

    def next(self, tick: int) -> int:
        """The first occurrence after ``tick``."""
        return (tick // self.steps + 1) * self.steps

    def due(self, tick: int) -> bool:
        return tick % self.steps == 0


class Table:
    """One entry of ``run.output``: its variables, its interval, and its file if there is one.

    Args:
        more: variables besides the usual ones, by name.

    Raises:
        ValueError: unknown variables, or snapshots of what describes a step.
    """

    def __init__(self, name: str, config, every: Every, more: dict[str, Variable]):
        self.name, self.kind, self.every = name, config.kind, every
        self.format = FORMATS[config.format]
        self.variables: list[Variable] = find_variables(config.variables, more)
        of_step = [v.name for v in self.variables if v.of_step]
        if of_step and self.kind == "snapshot":
            raise ValueError(
                f"{', '.join(of_step)} describe a step, not a moment: write them with kind: mean"
            )
        self._begin()

    def _begin(self) -> None:
        self.file: OutputStream | None = None
        self.start = 0.0  # of the present interval, s
        self.count = 0  # steps seen so far

    @property
    def file_name(self) -> str:
        """Of its file, or of the folder that it is."""
        return self.name + self.format.suffix

    @property
    def summed(self) -> bool:
        """Whether every step counts, rather than the last one of an interval."""
        return self.kind != "snapshot"

    def what(self, model) -> dict[str, Any]:
        """What is summed up, and how, as plain values: sums go on at a restart where it is the
        same."""
        dt = float(model.physics.dt)
        names = [v.name for v in self.variables]
        return {"kind": self.kind, "every": self.every.steps, "step": dt, "variables": names}

    def sum_bytes(self, model) -> int:
        """Upper limit of the size of its sums."""
        return record_bytes(self.variables, model) * 8 // model.dtype.itemsize

    def open(self, folder: Path, model, attributes: dict, resume: float | None) -> None:
        """Make the file, or continue it after the records that end by ``resume`` (s)."""
        if resume is not None:
            on_root(model.comm, self._require_one_format, folder)
        path = folder / self.file_name
        self.file = self.format(path, self.variables, self.kind, model, attributes, resume)

    def _require_one_format(self, folder: Path) -> None:
        """A run goes on in the format in which it has begun."""
        for other in FORMATS.values():
            path = folder / (self.name + other.suffix)
            if other is not self.format and path.exists():
                raise OutputError(
                    f"{path} holds this output in another format than run.output.{self.name} asks "
                    f"for ({self.file_name}): give this output another name, or move it away"
                )

    def bytes(self, model, records: int) -> int:
        """Upper limit of the file's size."""
        return metric_bytes(model) + records * record_bytes(self.variables, model)

    def result(self, sums: dict, dtype) -> dict[str, np.ndarray]:
        """What the file gets, from the sums of an interval."""
        values = {
            n: np.asarray(s) / (self.count if self.kind not in _START else 1)
            for n, s in sums.items()
        }
        if self.kind == "root_mean_square":
            values = {n: np.sqrt(v) for n, v in values.items()}
        return {n: v.astype(dtype) for n, v in values.items()}


class CirculationTable(Table):
    """``diagnostics.nc``; see :mod:`dogcm.diagnostics.circulation_series`."""

    def __init__(self, model, every: Every):
        self.name, self.kind, self.every = CIRCULATION_FILE.removesuffix(".nc"), "mean", every
        self.format = SeriesFile
        self._circulation = _circulation_of(model)
        self.variables = self._circulation.samples
        self._begin()

    def what(self, model):
        wanted = model.config.run.diagnostics.model_dump(mode="json")
        return super().what(model) | {"diagnostics": json.loads(json.dumps(wanted))}

    def sum_bytes(self, model):
        ny, nx = model.horizontal.shape
        classes = max(len(axis.values) for axis in self._circulation.axes.values())
        return super().sum_bytes(model) + classes * ny * nx * 8

    def open(self, folder, model, attributes, resume):
        c = self._circulation
        self.file = SeriesFile(
            folder / CIRCULATION_FILE, c.variables, c.axes, c.constants, model, attributes, resume
        )

    def bytes(self, model, records):
        ny, nx = model.horizontal.shape
        c = self._circulation
        once = sum(8 if n != "basin_mask" else len(c.names) for n in c.constants) * ny * nx
        return HEADER_BYTES + once + records * series_bytes(c.variables, c.axes)

    def result(self, sums, dtype):
        return self._circulation.numbers({n: np.asarray(s) / self.count for n, s in sums.items()})


def _circulation_of(model) -> circulation.Circulation:
    """The model's circulation; that of its last run, ready compiled, if it was asked for the
    same."""
    wanted = model.config.run.diagnostics.model_dump()
    kept = getattr(model, "circulation", None)
    if kept is None or kept[0] != wanted:
        model.circulation = kept = (wanted, circulation.Circulation(model))
    return kept[1]


def tables_of(model, every) -> list[Table]:
    """The tables of a model's configuration.

    Args:
        every: ``(key, days) -> Every``, which may refuse an interval.

    Raises:
        ConfigError: a variable, basin or section that cannot be written, or a library is missing.
    """
    run, tables = model.config.run, []
    if any(config.format == "zarr" for config in run.output.values()):
        require_zarr(model.comm, "run.output with format: zarr")
    own = variables_of(model.passive, model.config.physics.equation_of_state.kind)
    own |= {n: v.named(n) for n, v in run.variables.items()}
    for name, config in run.output.items():
        interval = every(f"run.output.{name}.every", config.every)
        try:
            tables.append(Table(name, config, interval, own))
        except ValueError as error:
            raise ConfigError(f"run.output.{name}.variables: {error}") from None
    if run.diagnostics.every:
        if "diagnostics" in run.output:
            raise ConfigError(
                f"run.output.diagnostics: {CIRCULATION_FILE} is run.diagnostics' own; choose "
                f"another name"
            )
        tables.append(
            CirculationTable(model, every("run.diagnostics.every", run.diagnostics.every))
        )
    return tables


class Compiled:
    """The compiled parts of a run, kept with the model so that its next run need not compile again.

    Args:
        dynamics: of the model. tables: ``{name: (kind, variables)}``.
    """

    def __init__(self, dynamics, tables: dict[str, tuple[str, tuple[Variable, ...]]]):
        self.dynamics, self.tables = dynamics, tables
        self._of_step = any(v.of_step for _, variables in tables.values() for v in variables)
        self.advance = dynamics.halos.jit(self._many_steps, donate_argnums=(0, 1, 2))
        self.diagnose = dynamics.halos.jit(self._values, static_argnums=0)

    def _many_steps(self, state, sums, fluxes, count, params, forcing, grid):
        """``count`` steps; adds each new state to the sums of the means."""

        def one(before, sums, _):
            state, f, parts = self.dynamics.step_with_parts(before, params, forcing, grid)
            # Not to be merged into the step, whose bits may not depend on the output asked for.
            fluxes = tuple(x.crop(0) for x in (f.heat, f.salt, f.freshwater))
            state, fluxes = jax.lax.optimization_barrier((state, fluxes))
            of_step = (before, parts) if self._of_step else ()
            new = self.addends(state, fluxes, params, forcing, grid, *of_step)
            for name, values in new.items():
                combine = _COMBINE[self.tables[name][0]]
                new[name] = jax.tree.map(
                    lambda s, x, combine=combine: combine(s, x.astype(s.dtype)), sums[name], values
                )
            return state, new, fluxes

        return many_steps_with(one, (state, sums, fluxes), count)

    def start(self, *parts) -> dict:
        """Sums before the first step, for what :meth:`addends` gets."""
        before, shapes_of = parts[0], self.dynamics.halos.shapes
        of_step = ()
        if self._of_step:
            of_step = (before, shapes_of(self.dynamics.step_with_parts, before, *parts[2:])[2])
        shapes = shapes_of(self.addends, *parts, *of_step)
        return {
            name: jax.tree.map(lambda s, name=name: self.zero(name, s.shape), tree)
            for name, tree in shapes.items()
        }

    def zero(self, table: str, shape) -> jax.Array:
        """What an interval of this table starts from."""
        return jnp.full(shape, _START.get(self.tables[table][0], 0.0), jnp.float64)

    def addends(self, *parts) -> dict:
        """One addend of every sum, by table and variable."""
        summed = [name for name, (kind, _) in self.tables.items() if kind != "snapshot"]
        # One scene for all: what several tables need is computed once.
        scene = self._scene(*parts)
        return {
            name: {v.name: v.compute(scene).interior for v in self.tables[name][1]}
            for name in summed
        }

    def _values(self, table: str, *parts) -> dict:
        """The table's variables as arrays without halo."""
        scene = self._scene(*parts)
        return {v.name: v.compute(scene).interior for v in self.tables[table][1]}

    def _scene(self, state, fluxes, params, forcing, grid, before=None, parts=None) -> Scene:
        return Scene(
            state, SurfaceFluxes(*fluxes), self.dynamics, params, forcing, grid, before, parts
        )


def compiled_for(model, tables: list[Table]) -> Compiled:
    """The compiled parts for these tables; those of the last run if they fit."""
    wanted = {t.name: (t.kind, tuple(t.variables)) for t in tables}
    last = getattr(model, "compiled_run", None)
    if last is None or last.dynamics is not model.dynamics or last.tables != wanted:
        model.compiled_run = last = Compiled(model.dynamics, wanted)
    return last


__all__ = ["CirculationTable", "Compiled", "Every", "Table", "compiled_for", "tables_of"]
