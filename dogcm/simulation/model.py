"""Model: an experiment built on this launch's ranks, ready to be stepped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import Component, ConfigError
from dogcm.decomp import Decomposition, Halo, LayoutError, layout_for, world
from dogcm.diagnostics.monitor import Monitor, Reading
from dogcm.dynamics.interfaces import SurfaceSetting
from dogcm.field import Field
from dogcm.grid.closed import Closed
from dogcm.grid.geometry import build_grid
from dogcm.halo import connect
from dogcm.lowering.compiler import configure
from dogcm.lowering.programs import keep_programs
from dogcm.physics.surface import RECORDS, Forcing
from dogcm.setups import atmosphere, inputs
from dogcm.setups.config import Config
from dogcm.setups.given import places
from dogcm.setups.paths import with_inputs
from dogcm.setups.python import from_keywords
from dogcm.setups.registry import as_settings, load_config
from dogcm.simulation.agreement import require_agreement
from dogcm.simulation.dataset import dataset
from dogcm.simulation.given_parameters import parameter_on_tiles
from dogcm.simulation.wishes import Output
from dogcm.timestepping import Dynamics, State, many_steps
from dogcm.timestepping.physics import Physics
from dogcm.timestepping.state import at_rest
from dogcm.tracers import PassiveTracers

_FORCING_HALO = 2
# Courant number of the short steps: forward-backward on a C grid is stable up to 1.
_GRAVITY_WAVE_COURANT = 0.9


class Model:
    """An ocean ready to run.

    An ocean is built from a configuration, from its parts, or from both::

        Model("global_4deg", {"time.step": 1800})
        Model(
            grid=dogcm.CartesianGrid(nx=60, ny=60, dx=20e3, dy=20e3, beta=2e-11, nz=10, depth=2e3),
            bathymetry=depth,  # an array, a DataArray, a function of (x, y), or a number
            initial={"temperature": lambda x, y, depth: ..., "salinity": 35.0},
            forcing={"wind_stress_x": lambda x, y, t: ...},
            vertical_mixing=dogcm.TKE(),
            time_step=900.0,
        )

    Args:
        config: name of an experiment, path of a YAML file, a dict, or a :class:`Config`.
        overrides: ``{"time.step": 1800}`` and the like; they win.
        layout: ``auto`` or ``PXxPY``.
        comm: host communicator; default: that of this launch.
        corrector: a function ``(state, params, now, grid)`` of tendencies, see
            :attr:`dogcm.timestepping.Dynamics.extra_tendency`.
        keywords: ``grid``, ``bathymetry``, ``initial``, ``forcing`` (see
            :mod:`dogcm.setups.given`), ``tracers``, ``parameters``, ``time_step``, ``name``, and
            every scheme and constant of the section ``physics`` by its name; ``inputs``: the folder
            of the experiment's own input files, as ``--inputs``.

    Attributes:
        state: the ocean now (:class:`dogcm.timestepping.State`).
        params: physical parameters, the leaves that training may learn: scalars; profiles or maps
            where learned or given (:meth:`set_parameter`). Network weights are
            ``params["corrector"]``.
        closed: water that became land or is cut off from the ocean; on rank 0.
        grid, forcing, dynamics: see their classes. step: ``(state, params, forcing, grid) ->
            state``, pure.

    Raises:
        ConfigError, InputError, LayoutError: see their classes. WeightsError: see
            :func:`dogcm.simulation.corrected.install_corrector`.
    """

    def __init__(
        self,
        config=None,
        overrides=(),
        layout: str = "auto",
        comm=None,
        corrector: Callable | None = None,
        **keywords,
    ):
        configure()
        folder = keywords.pop("inputs", None)
        settings, self.given = from_keywords(keywords)
        if config is None and "grid" not in keywords:
            raise ConfigError("Model: give the name of an experiment, a configuration, or a grid")
        settings |= as_settings(overrides)
        self.config: Config = (
            load_config(config or {}, settings)
            if folder is None
            else with_inputs(config or {}, settings, Path(folder).absolute())
        )
        self.comm = comm or world()
        require_agreement(self.comm, self.config)
        if self.comm.mpi is None:
            keep_programs()
        self.dtype = np.dtype(self.config.run.precision)
        self.horizontal = inputs.horizontal_grid(self.config)
        self.vertical = inputs.vertical_grid(self.config)
        self.closed: list[Closed] = []
        cells = self._on_root(
            inputs.cell_thickness,
            self.config,
            self.horizontal,
            self.vertical,
            self.given,
            self.closed,
        )
        self.layout = self.comm.broadcast(self._on_root(self._choose_layout, cells, layout))
        self.decomposition = Decomposition(self.layout, self.comm)
        self.halos = connect(self.layout, self.comm)
        self.physics = self._physics()
        self.split = self._free_surface(cells)
        self.grid = build_grid(
            self.horizontal,
            self.vertical,
            self.decomposition,
            cells,
            self.physics.halo,
            self.split.wide,
            self.dtype,
        )
        eos = self.config.physics.equation_of_state
        self.scheme = self.config.time.scheme
        self.passive = PassiveTracers.declared(
            self.config.tracers, self.config.forcing.year * 86400.0
        )
        self.dynamics = Dynamics(
            self.halos,
            eos.prepare(self.vertical.centres, self.dtype, self.physics.rho0, self.physics.gravity),
            self.physics,
            self.scheme,
            self.split,
            extra_tendency=corrector,
            passive=self.passive,
        )
        self.params = self._params()
        self.forcing = self._forcing(cells)
        self.state = self._initial(cells)
        del cells
        self.monitor = Monitor(self.halos, self.physics)
        if self.config.corrector.weights:
            # Networks need flax, which takes long to load; most oceans have none.
            from dogcm.simulation.corrected import install_corrector

            install_corrector(self)

    # ---- the step
    @property
    def dynamics(self) -> Dynamics:
        """The step and all that is static about it. Another one acts on every way to step the
        model from then on: ``model.dynamics = dataclasses.replace(model.dynamics, ...)``."""
        return self._dynamics

    @dynamics.setter
    def dynamics(self, new: Dynamics) -> None:
        self._dynamics = new
        self.physics, self.split = new.physics, new.split
        self._advance = self.jit(self._many_steps, donate_argnums=0)

    @property
    def step(self) -> Callable:
        """``(state, params, forcing, grid) -> state``, pure: that of :attr:`dynamics`."""
        return self._dynamics.step

    @step.setter
    def step(self, new: Callable) -> None:
        if new != self._dynamics.step:
            raise AttributeError(
                "the step is that of model.dynamics: assign model.dynamics (with "
                "extra_tendency=... to add a term), which acts on every way to step the model"
            )

    # ---- building
    def _on_root(self, function, *args):
        """``function`` on rank 0, None elsewhere; an error there reaches every rank as the same
        error."""
        result, error = None, None
        if self.comm.rank == 0:
            try:
                result = function(*args)
            except Exception as e:  # noqa: BLE001 passed on below
                error = e
        error = self.comm.broadcast(error)
        if error is not None:
            raise error
        return result

    def _choose_layout(self, cells: np.ndarray, request: str):
        depth = self._physics().halo
        ny, nx = self.horizontal.shape
        # One tile is its own neighbour, however few its cells; a fold has to meet a whole halo.
        if min(ny, nx) < depth and (self.comm.size > 1 or self.horizontal.north_fold):
            raise LayoutError(
                f"a grid of {nx} x {ny} cells is smaller than the halo of {depth} that these "
                f"schemes need; use one rank, a larger "
                "grid, or schemes of lower order (physics.tracer_advection, vorticity_scheme, "
                "viscosity_form)"
            )
        return layout_for(
            self.horizontal.shape,
            self.comm.size,
            request,
            periodic_x=self.horizontal.periodic_x,
            wet=cells[0] > 0,
            min_cells=max(4, depth),
            north_fold=self.horizontal.north_fold,
            alike=self.comm.one_program,
        )

    def _physics(self) -> Physics:
        c, t, dz = self.config.physics, self.config.time, self.vertical.dz
        names = [f.name for f in dataclasses.fields(Physics) if hasattr(c, f.name)]
        chosen = {n: getattr(c, n) for n in names if n != "surface"}
        ready = {n: v.prepared(dz) if isinstance(v, Component) else v for n, v in chosen.items()}
        return Physics(
            dt=t.step,
            momentum_step=t.momentum_step,
            records=c.surface,
            surface=atmosphere.surface_scheme(self.config),
            **ready,
        )

    def _free_surface(self, cells: np.ndarray | None):
        rows, columns = self.layout.smallest_tile
        p = self.physics
        setting = SurfaceSetting(
            dt=p.dt,
            momentum_dt=p.momentum_dt,
            gravity=p.gravity,
            turns=p.cd_time is None,
            rows=rows,
            columns=columns,
            # Beyond a fold the short steps are computed in mirrored order, which rounds otherwise:
            # always equally many.
            alone=self.comm.size == 1 or self.horizontal.north_fold,
            longest_step=lambda: self.comm.broadcast(
                self._longest_short_step(cells) if self.comm.rank == 0 else None
            ),
        )
        return self.config.time.free_surface.made_for(setting)

    def _longest_short_step(self, cells: np.ndarray) -> float:
        """Largest stable step (s) of surface gravity waves over all wet cells."""
        ny, nx = self.horizontal.shape
        m = self.horizontal.metrics(np.arange(ny), np.arange(nx))
        depth = cells.sum(0)
        speed = np.sqrt(self.config.physics.gravity * np.maximum(depth, 1e-3))
        limit = 1.0 / (speed * np.sqrt(m.dx_c**-2 + m.dy_c**-2))
        return float(_GRAVITY_WAVE_COURANT * limit[depth > 0].min())

    def _params(self) -> dict:
        values = self.config.parameters | self.passive.parameters()
        return {k: jnp.asarray(v, self.dtype) for k, v in values.items()}

    def set_parameter(self, name: str, values) -> None:
        """Give a parameter values that differ from place to place: ``params[name]`` from then on.

        Every rank calls it; a restart does not hold them.

        Args:
            values: on rank 0: a number, or an array over the whole grid: ``(level,)``, ``(y, x)``
                or ``(level, y, x)``, in the parameter's unit; NaN on land.

        Raises:
            ConfigError: see :func:`dogcm.simulation.given_parameters.parameter_on_tiles`.
        """
        self.params = self.params | {name: parameter_on_tiles(self, name, values)}

    def _scatter(self, function, *args, halo=0, at="c", vector=None) -> np.ndarray:
        return self.decomposition.scatter(
            self._on_root(function, *args), halo, at=at, vector=vector
        )

    def _forcing(self, cells) -> Forcing:
        names = self.comm.broadcast(self._on_root(inputs.records, self.config, self.given))
        functions = self.given.functions
        self._on_root(self.given.try_functions, self.horizontal)
        wet = cells[0] > 0 if self.comm.rank == 0 else None
        fields = {}
        for name in (n for n in names if n not in functions):
            at = RECORDS[name][0]
            place = dict(halo=_FORCING_HALO, at=at, vector=name in inputs.VECTORS)
            values = self._scatter(
                inputs.record, self.config, name, self.horizontal, wet, self.given, **place
            )
            fields[name] = Field(jnp.asarray(values, self.dtype), at, Halo.of(_FORCING_HALO)).named(
                name
            )
        where = {name: self._places(RECORDS[name][0]) for name in functions}
        period = self.config.forcing.year * 86400.0
        return Forcing(fields, period, tuple(functions.items()), where)

    def _places(self, at: str) -> tuple[Field, Field]:
        """x and y of a place of the C grid, on this tile with halo: see
        :mod:`dogcm.setups.given`."""
        found = []
        for n in (0, 1):
            values = self._scatter(
                lambda n=n: places(self.horizontal, at)[n], halo=_FORCING_HALO, at=at
            )
            found.append(Field(jnp.asarray(values, self.dtype), at, Halo.of(_FORCING_HALO)))
        return found[0], found[1]

    def _initial(self, cells) -> State:
        tracers = {}
        for name in ("temperature", "salinity"):
            values = self._scatter(
                inputs.initial_tracer,
                self.config,
                name,
                self.horizontal,
                self.vertical,
                cells,
                self.given,
            )
            tracers[name] = Field(jnp.asarray(values, self.dtype), "c").named(name)
        tracers.update(self.passive.initial(self.grid))
        start = at_rest(tracers, self.scheme.memory, d_grid=self.physics.coriolis.keeps())
        carried = {}
        for one in self.physics.components():
            carried |= one.at_rest(start.temperature, self.params, self.grid)
        solver = (jnp.int32(0),) if self.config.time.free_surface.counts_iterations else ()
        return start.replace(closures={**start.closures, **carried}, solver=solver)

    # ---- running
    def jit(self, function: Callable, **options) -> Any:
        """``jax.jit`` for functions that step the model: on several devices all of them run the
        result together (``donate_argnums`` and ``static_argnums`` as there)."""
        return self.halos.jit(function, **options)

    def _many_steps(self, state, count, params, forcing, grid):
        return many_steps(self.step, state, count, params, forcing, grid)

    def advance(self, steps: int) -> State:
        """Advance the model's own state by ``steps``, compiled once for any number."""
        self.state = self._advance(self.state, steps, self.params, self.forcing, self.grid)
        return self.state

    def steps_in(self, days: float) -> int:
        """Number of steps in ``days``.

        Raises:
            ValueError: if ``days`` is not a whole number of steps.
        """
        count = days * 86400.0 / self.physics.dt
        if abs(count - round(count)) > 1e-6 or round(count) < 1:
            raise ValueError(
                f"{days:g} days is not a whole number of steps of {self.physics.dt:g} s (it is "
                f"{count:.4g}); "
                "change the interval or time.step"
            )
        return round(count)

    def read(self) -> Reading:
        """The monitor's numbers of the present state."""
        return self.monitor(self.state, self.grid)

    def gather(self, field: Field | str, fill: float = 0.0) -> np.ndarray | None:
        """The global array of a Field (or of a state variable by name) on rank 0."""
        field = self.state.variables()[field] if isinstance(field, str) else field
        return self.decomposition.gather(np.asarray(field.interior), fill)

    @classmethod
    def from_config(cls, config, overrides=(), **options) -> Model:
        """The ocean of a configuration; arguments as for the class itself."""
        return cls(config, overrides, **options)

    def run(self, days: float, output: str | Path | Sequence[Output] | None = None, **options):
        """Run with progress, checks, output files and a restart at the end.

        Args:
            days: length of the run.
            output: folder of the files; or the tables that are wanted, which then go into
                ``folder`` (an option; default ``output/NAME``).
            options: ``callbacks``, and those of :func:`dogcm.simulation.run.run`.
        """
        from dogcm.simulation.run import run

        if isinstance(output, list | tuple):
            tables = {o.name: o.entry() for o in output}
            self.config = load_config(self.config, {"run.output": tables})
            output = options.pop("folder", Path("output") / self.config.name)
        return run(self, days, output, **options)

    def dataset(self, names: Sequence[str] | None = None):
        """The state as an :class:`xarray.Dataset` on rank 0; see
        :func:`dogcm.simulation.dataset.dataset`."""
        return dataset(self, names)

    def summary(self) -> str:
        """A few lines on the present state."""
        r = self.read()
        return (
            f"{self.config.name} after {r.time / 86400:.1f} days: mean temperature "
            f"{r.temperature:.4f} degC, "
            f"salinity {r.salinity:.4f} g/kg, largest speed {r.speed:.3f} m/s, sea level "
            f"{r.eta_min:.2f} to "
            f"{r.eta_max:.2f} m"
        )


def time_steps(model: Model, steps: int, repeats: int = 5) -> list[float]:
    """Seconds per step of ``repeats`` runs of ``steps`` steps, after one to compile."""
    jax.block_until_ready(model.advance(1))
    out = []
    for _ in range(repeats):
        model.comm.barrier()
        start = time.perf_counter()
        jax.block_until_ready(model.advance(steps))
        out.append((time.perf_counter() - start) / steps)
    return out


__all__ = ["Model", "time_steps"]
