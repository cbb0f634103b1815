"""Verifications that a user can repeat on any machine and any number of ranks: ``dogcm verify``.

* :func:`verify_layout`: this launch's tiles give bit for bit what one tile gives.
* :func:`verify_restart`: stopping, writing a restart and going on changes no bit.
* :func:`verify_conservation`: volume, heat and salt change by the surface fluxes alone; a constant
tracer
  stays constant; a stratified ocean at rest stays at rest over the bathymetry.
* :func:`dogcm.verification.gradients.verify_gradients`: derivatives of a rollout.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import SerialCommunicator
from dogcm.dynamics.continuity import stretch_c
from dogcm.halo import exact_sum, once
from dogcm.physics.surface import ice
from dogcm.setups.config import Config
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.timestepping import many_steps_with

# Relative residual of a budget, in units of the arithmetic's epsilon. A step rounds each cell a few
# times; errors of cells and steps are independent, so the sum over the ocean stays near one
# epsilon.
BUDGET_LIMIT = 64.0
# A constant tracer gathers rounding in each cell: some epsilons a step, growing like a random walk
# at worst.
TRACER_LIMIT_PER_STEP = 8.0
# Speed (m s-1) in units of epsilon: rounding of temperature makes pressure differences of about
# eps * 20 K * alpha * g * H, and these a geostrophic flow of some hundred epsilons.
LAKE_LIMIT = 1e4


@dataclass(frozen=True)
class Comparison:
    """One variable of two runs. ``difference`` is the largest absolute one, in the variable's
    unit."""

    name: str
    identical: bool
    difference: float


@dataclass(frozen=True)
class Comparisons:
    """What two runs have in common.

    Attributes:
        title: what was compared with what. steps: length of the runs. rows: one per variable.
        note: why there was nothing to compare, or empty.
    """

    title: str
    steps: int
    rows: tuple[Comparison, ...]
    note: str = ""

    @property
    def passed(self) -> bool:
        return all(r.identical for r in self.rows)


@dataclass(frozen=True)
class Figure:
    """One measured figure and the largest value that passes."""

    name: str
    value: float
    limit: float
    unit: str
    meaning: str

    @property
    def passed(self) -> bool:
        return bool(self.value <= self.limit)  # False for NaN


@dataclass(frozen=True)
class Conservation:
    """Figures of :func:`verify_conservation`."""

    steps: int
    figures: tuple[Figure, ...]

    @property
    def passed(self) -> bool:
        return all(f.passed for f in self.figures)

    def __getitem__(self, name: str) -> Figure:
        return next(f for f in self.figures if f.name == name)


def compare(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> tuple[Comparison, ...]:
    """Compare global arrays by name: identical means the same value in every cell.

    NaN equals nothing, so runs that blew up do not pass. 0 and -0 are equal (land may hold either).
    """
    rows = []
    for name, a in ours.items():
        b = theirs[name]
        same = bool(np.array_equal(a, b))
        gap = 0.0 if same else float(np.max(np.abs(a.astype(float) - b.astype(float))))
        rows.append(Comparison(name, same, gap))
    return tuple(rows)


def _gathered(model: Model) -> dict[str, np.ndarray]:
    """All state variables as global arrays on rank 0, {} elsewhere; zero on land."""
    found = {name: model.gather(field) for name, field in model.state.variables().items()}
    return found if model.comm.rank == 0 else {}


# ---- layout
def verify_layout(config: Config | str, steps: int = 200, layout: str = "auto") -> Comparisons:
    """Compare this launch's ranks with one tile that rank 0 runs alone, after ``steps`` steps.

    On one rank it compares runs that use the halo of the free surface in different ways instead.
    Every rank gets the same result.
    """
    config = load_config(config)
    model = Model(config, layout=layout)
    model.advance(steps)
    ours = _gathered(model)
    if model.comm.size == 1:
        return _one_rank(config, ours, steps)
    result = None
    if model.comm.rank == 0:
        alone = Model(config, comm=SerialCommunicator())
        alone.advance(steps)
        title = f"{model.layout.describe()} against one tile"
        result = Comparisons(title, steps, compare(ours, _gathered(alone)))
    return model.comm.broadcast(result)


def _one_rank(config: Config, ours: dict[str, np.ndarray], steps: int) -> Comparisons:
    other = Model(load_config(config, {"time.free_surface.short_steps_per_exchange": 3}))
    other.advance(steps)
    note = (
        "one rank has one layout: compared were two depths of the free surface's halo; "
        "start it with several ranks (mpirun -n 2 dogcm verify layout) to compare layouts"
    )
    return Comparisons(halo_uses(config), steps, compare(ours, _gathered(other)), note)


def halo_uses(config: Config) -> str:
    """What one rank compares for want of layouts."""
    what = (
        "4 against 3 matrix products"
        if config.time.free_surface.kind == "implicit"
        else "1 against 3 short steps"
    )
    return f"{what} to a halo exchange"


# ---- restart
def verify_restart(config: Config | str, steps: int = 200, layout: str = "auto") -> Comparisons:
    """Compare ``steps`` steps in one go with half of them, a restart file, and the other half."""
    from dogcm.io.restart import read_restart, write_restart

    model = Model(load_config(config), layout=layout)
    # Copies: advance() gives the state's memory away.
    first = jax.tree.map(jnp.copy, model.state)
    model.advance(steps)
    straight = _gathered(model)
    half = steps // 2
    with tempfile.TemporaryDirectory() as folder:
        path = model.comm.broadcast(str(Path(folder) / "restart.nc"))
        model.state = first
        model.advance(half)
        write_restart(path, model)
        # Whatever the model held is replaced, or the comparison would prove nothing.
        model.state = jax.tree.map(lambda x: jnp.full_like(x, -1), model.state)
        model.state = read_restart(path, model)
        model.comm.barrier()
    model.advance(steps - half)
    title = f"{half} + {steps - half} steps through a restart file against {steps}"
    return model.comm.broadcast(Comparisons(title, steps, compare(_gathered(model), straight)))


# ---- conservation
class Budget:
    """Content of volume, heat and salt, and what entered through the surface, as order-independent
    sums."""

    names = ("volume", "heat", "salt")

    def __init__(self, model: Model):
        self._model = model
        self._content = model.jit(self._measure)
        self._run = model.jit(self._steps)

    def content(self, state) -> np.ndarray:
        """Volume (m3), volume integral of temperature (K m3) and of salinity (g kg-1 m3)."""
        return np.asarray(self._content(state, self._model.grid))

    def run(self, state, steps: int):
        """State after ``steps`` and what entered meanwhile, in the units of :meth:`content`."""
        m = self._model
        state, entered = self._run(state, steps, m.params, m.forcing, m.grid)
        return state, np.asarray(entered)

    def _measure(self, state, grid):
        volume = (grid.h_c * grid.area_c * stretch_c(state.eta, grid)).interior.astype(jnp.float64)
        volume = once(self._model.halos, volume)
        t, s = (state.tracers[n].interior.astype(jnp.float64) for n in ("temperature", "salinity"))
        return exact_sum(self._model.halos, volume, volume * t, volume * s)

    def _steps(self, state, count, params, forcing, grid):
        dt, area = self._model.physics.dt, grid.area_c.interior.astype(jnp.float64)

        def one(state, heat, salt, water):
            surface = state.temperature.level(0).interior.astype(jnp.float64)
            state, fluxes = self._model.dynamics.step_with_fluxes(state, params, forcing, grid)
            q, s, w = (
                f.interior.astype(jnp.float64) * (area * dt)
                for f in (fluxes.heat, fluxes.salt, fluxes.freshwater)
            )
            # Fresh water brings the heat of the surface it falls on (see TracerStep), and no salt.
            q = (
                q
                + ice.heat_of_frazil(state.closures, self._model.physics).astype(jnp.float64) * area
            )
            return state, heat + q + w * surface, salt + s, water + w

        zero = jnp.zeros(area.shape, jnp.float64)
        state, heat, salt, water = many_steps_with(one, (state, zero, zero, zero), count)
        return state, exact_sum(
            self._model.halos, *(once(self._model.halos, f) for f in (water, heat, salt))
        )


def verify_conservation(
    config: Config | str, steps: int = 200, layout: str = "auto"
) -> Conservation:
    """Budgets, a constant tracer and a lake at rest; every rank gets the same result."""
    config = load_config(config)
    model = Model(config, layout=layout)
    figures = [*budget_figures(model, steps), lake_figure(config, steps, layout)]
    return Conservation(steps, tuple(figures))


_DYE = "constant tracer"  # a name that no declared tracer can have


def with_dye(model: Model):
    """The model's state with one more tracer that is 1 in all water."""
    mask = model.grid.mask_c.crop(0)
    return model.state.replace(
        tracers={**model.state.tracers, _DYE: mask.with_data(mask.data + 0.0).named(_DYE)}
    )


def budget_figures(model: Model, steps: int) -> list[Figure]:
    """Residuals of volume, heat and salt relative to their content, and the change of a constant
    tracer."""
    budget, eps = Budget(model), float(np.finfo(model.dtype).eps)
    state = with_dye(model)
    before = budget.content(state)
    state, entered = budget.run(state, steps)
    residual = budget.content(state) - before - entered
    scale = np.maximum(np.abs(before), np.abs(entered))
    figures = []
    for name, r, s, e in zip(Budget.names, residual, scale, entered):
        meaning = (
            f"change of {name} less what entered ({e / s:+.2e} of the content), relative to the "
            f"content"
        )
        figures.append(Figure(name, float(abs(r) / s), BUDGET_LIMIT * eps, "", meaning))
    off = jnp.where(
        model.grid.mask_c.interior > 0, jnp.abs(state.tracers[_DYE].interior - 1.0), 0.0
    )
    largest = float(
        np.asarray(model.jit(model.halos.pmax)(jnp.max(off).astype(jnp.float64)[None]))[0]
    )
    meaning = "largest |c - 1| of a tracer that was 1 everywhere"
    return [
        *figures,
        Figure("constant tracer", largest, TRACER_LIMIT_PER_STEP * eps * steps, "", meaning),
    ]


def lake(config: Config, layout: str = "auto") -> Model:
    """The same bathymetry; temperature and salinity depend on the layer alone, and nothing
    drives."""
    quiet = load_config(
        config,
        {
            "initial": {"source": "profile", "surface_temperature": 20.0, "deep_temperature": 2.0},
            "forcing": {"source": "none", "year": config.forcing.year},
            "physics.freezing": None,
            "physics.sea_ice": "none",
            "physics.shortwave": "none",
            # Over a slope diffusion bends isotherms and sets the ocean in motion, rightly (Phillips
            # 1970, doi:10.1016/0011-7471(70)90058-6): not what is asked here.
            "parameters.vertical_diffusivity": 0.0,
            "parameters.mixing_richardson": 0.0,
            "physics.vertical_mixing": "richardson",
            "physics.background_mixing": "constant",
            "physics.tidal_mixing": False,
        },
    )
    return Model(quiet, layout=layout)


def lake_figure(config: Config, steps: int, layout: str = "auto") -> Figure:
    """Largest speed that appears in a stratified ocean at rest."""
    model = lake(config, layout)
    model.advance(steps)
    meaning = "largest speed in a stratified ocean at rest over this bathymetry, without forcing"
    limit = LAKE_LIMIT * float(np.finfo(model.dtype).eps)
    return Figure("lake at rest", model.read().speed, limit, "m s-1", meaning)
