"""What a verification case is: an experiment, and measured figures beside published ones."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from dogcm.components import Component
from dogcm.field import Field
from dogcm.simulation.model import Model


@dataclass(frozen=True)
class Measure:
    """A measured figure.

    Attributes:
        name: what it is. value, unit. low, high: it passes between these; both infinite: for
            information alone. beside: the theory or the values of other models, with the source.
        own: whether the threshold is set around this model's own value, so that a change shows,
            for want of a published one.
    """

    name: str
    value: float
    unit: str
    low: float = -math.inf
    high: float = math.inf
    beside: str = ""
    own: bool = False

    @property
    def judged(self) -> bool:
        return math.isfinite(self.low) or math.isfinite(self.high)

    @property
    def passed(self) -> bool:
        """Also what is for information alone has to be a number."""
        return bool(self.low <= self.value <= self.high) and math.isfinite(self.value)

    @property
    def threshold(self) -> str:
        """In words."""
        if not self.judged:
            return "none"
        low, high = f"{self.low:.4g}", f"{self.high:.4g}"
        words = f"{low} to {high}"
        if math.isinf(self.low):
            words = f"at most {high}"
        elif math.isinf(self.high):
            words = f"at least {low}"
        return f"{words} (own)" if self.own else words


@dataclass(frozen=True)
class Panel:
    """One part of a case's picture.

    Attributes:
        title, x_label, y_label. lines: (x, y) by label. image: values (y, x) on the edges
            ``image_x``, ``image_y``, or None. logarithmic: both axes.
    """

    title: str
    x_label: str
    y_label: str
    lines: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    image: Any = None
    image_x: Any = None
    image_y: Any = None
    logarithmic: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a case came to: its figures, and its picture's parts."""

    measures: tuple[Measure, ...]
    panels: tuple[Panel, ...] = ()

    @property
    def passed(self) -> bool:
        return all(m.passed for m in self.measures)

    def __getitem__(self, name: str) -> Measure:
        return next(m for m in self.measures if m.name == name)


@dataclass(frozen=True)
class Bench:
    """Where cases run.

    Attributes:
        settings: changes to the configuration of every model that is built; theory does not see
            them. layout: as for :class:`dogcm.Model`. comm: host communicator, or None. say: gets
            progress.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    layout: str = "auto"
    comm: Any = None
    say: Callable[[str], None] = lambda text: None

    def model(self, config: dict, **keywords) -> Model:
        """The ocean of a configuration, with the settings of this bench."""
        return Model(config, self.settings, layout=self.layout, comm=self.comm, **keywords)

    def without(self, key: str) -> Bench:
        """This bench without settings of a key: what a case compares is its own choice."""
        kept = {k: v for k, v in self.settings.items() if k != key and not k.startswith(f"{key}.")}
        return replace(self, settings=kept)


class Case(Component):
    """A verification case. One of your own is named ``package.module:Class``.

    Attributes:
        title: what it is, in a few words. dear: whether it takes so long that it is run when it is
            named, or with ``--dear``, alone.
    """

    slot: ClassVar[str] = "verification_case"
    title: ClassVar[str] = ""
    dear: ClassVar[bool] = False

    @abstractmethod
    def run(self, bench: Bench) -> Outcome:
        """Measure; the same on every rank.

        Raises:
            ConfigError: settings that this case's model cannot have.
        """


# Nothing mixes, rubs or drags but what a case asks for and what its schemes do by themselves.
QUIET = {
    "lateral_viscosity": 0.0,
    "lateral_diffusivity": 0.0,
    "vertical_viscosity": 0.0,
    "vertical_diffusivity": 0.0,
    "mixing_richardson": 0.0,
    "convection_diffusivity": 0.0,
    "convection_viscosity": 0.0,
    "bottom_drag_linear": 0.0,
    "bottom_drag_quadratic": 0.0,
}
# What is said beside growth of reference potential energy.
CURVES = "published as curves (Ilicak et al. 2012, Petersen et al. 2015), no table at hand"
GRAVITY, RHO0, EXPANSION = 9.81, 1000.0, 2e-4  # m s-2, kg m-3, K-1


def ocean(name: str, grid: dict, step: float, physics=(), parameters=(), **sections) -> dict:
    """Configuration of an ocean on a plane without forcing, with the linear equation of state of
    Ilicak et al. (2012): 0.2 kg m-3 a kelvin.

    Args:
        grid: of kind cartesian. step: s. physics, parameters: changes. sections: others, such as
            ``bathymetry``.
    """
    depth = sum(grid["layers"])
    return {
        "name": name,
        "grid": {"kind": "cartesian", "f0": 0.0, "periodic": False, **grid},
        "bathymetry": {"source": "flat", "depth": depth, "min_depth": 0.0},
        "initial": {"source": "profile"},
        "forcing": {"source": "none"},
        "physics": {
            "equation_of_state": {"kind": "linear", "thermal_expansion": EXPANSION},
            "rho0": RHO0,
            "gravity": GRAVITY,
            "friction": {"no_slip": False, "viscosity_power": 0.0},
            "freezing": None,
            **dict(physics),
        },
        "parameters": {**QUIET, **dict(parameters)},
        "time": {"step": float(step)},
        **sections,
    }


def everywhere(model: Model, name: str) -> np.ndarray:
    """The global array of a state variable on every rank."""
    found = model.gather(name)  # on rank 0
    return model.comm.broadcast(None if found is None else np.array(found))


def put(model: Model, **values: np.ndarray) -> None:
    """Give state variables these global arrays; 0 on land."""
    changed = {n: _field(model, n, v) for n, v in values.items()}
    tracers = {n: f for n, f in changed.items() if n in model.state.tracers}
    rest = {n: f for n, f in changed.items() if n not in tracers}
    model.state = model.state.replace(tracers={**model.state.tracers, **tracers}, **rest)


def _field(model: Model, name: str, values: np.ndarray) -> Field:
    like = model.state.variables()[name]
    shape = (*like.shape[:-2], *model.horizontal.shape)
    values = np.broadcast_to(np.asarray(values, float), shape)
    root = model.comm.rank == 0
    own = model.decomposition.scatter(values.copy() if root else None, at=like.at)
    mask = getattr(model.grid, f"mask_{like.at}" if len(shape) == 3 else f"wet_{like.at}")
    return Field(jnp.asarray(own, model.dtype), like.at).named(name) * mask.crop(0)


def order(sizes: Any, errors: Any) -> float:
    """Order of convergence: slope of log error over log cell width, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def slope(x: Any, y: Any) -> float:
    """Of the straight line through (x, y), by least squares."""
    return float(np.polyfit(x, y, 1)[0])


__all__ = [
    "Bench",
    "CURVES",
    "Case",
    "EXPANSION",
    "GRAVITY",
    "Measure",
    "Outcome",
    "Panel",
    "QUIET",
    "RHO0",
    "everywhere",
    "ocean",
    "order",
    "put",
    "slope",
]
