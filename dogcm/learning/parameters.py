"""Physical parameters that may be learned: a scalar, a profile, a map or a value per cell, by name.

An optimiser sees *raw* numbers without bounds or units; the model sees values with both.
``LearnableSet`` leads from one to the other::

    learn = LearnableSet(["lateral_viscosity", "lateral_diffusivity: orthotropic"])
    raw = learn.initial(model.params, model.grid)
    params = learn.apply(raw, model.params, model.halos, model.grid)      # inside the loss, once
    per rollout

Scalars and profiles are *replicated*: every rank holds the same bits, and their gradients are
summed over ranks. Maps are *tiled* Fields without halo, and so are their gradients.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components.base import ParameterInfo
from dogcm.components.bijectors import Bijector, LogInterval
from dogcm.components.registry import known_parameters, labelled_parameter
from dogcm.field import Field, exchange, zeros_like
from dogcm.learning.priors import prior_of
from dogcm.physics.coefficients import at_faces
from dogcm.timestepping import shipped  # noqa: F401 defines the components that ship

# A logistic variable of this standard deviation is spread almost evenly over its interval.
_WIDE = 1.5


class LearnableError(ValueError):
    """A parameter that cannot be learned as asked; the message says which, why, and what to do."""


PARAMETERS: dict[str, ParameterInfo] = known_parameters()


def info_of(name: str) -> ParameterInfo | None:
    """What is known about a parameter, also about ``LABEL.OPTION`` of a passive tracer; None if
    there is none."""
    return known_parameters().get(name) or labelled_parameter(name)


@dataclass(frozen=True)
class Learnable:
    """One parameter to be learned.

    Attributes:
        name: one of :data:`PARAMETERS`. shape: one of its shapes.
        prior_sd: standard deviation of the raw number about its start; default: a factor of two, or
            most of ``bounds``.
        bounds: lowest and highest value, both positive; default: any positive value.
        smoothness: correlation length (m) of a map's deviation from its start, of a value per cell
            along layers; 0: cells are independent.
        held: no gradient reaches it; it stays as something else than gradients has found it.

    Raises:
        LearnableError: unknown name, a shape that the physics does not take, or impossible bounds.
    """

    name: str
    shape: str = "scalar"
    prior_sd: float | None = None
    bounds: tuple[float, float] | None = None
    smoothness: float = 0.0
    held: bool = False

    def __post_init__(self):
        if info_of(self.name) is None:
            known = known_parameters()
            near = difflib.get_close_matches(self.name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
            raise LearnableError(f"unknown parameter {self.name!r}; {hint}")
        if self.shape not in self.info.shapes:
            raise LearnableError(
                f"{self.name} cannot be a {self.shape!r}; choose {' or '.join(self.info.shapes)}"
            )
        if self.bounds is not None and not 0 < self.bounds[0] < self.bounds[1] < np.inf:
            raise LearnableError(
                f"bounds {self.bounds} of {self.name}: give a low and a higher value, both positive"
            )
        if self.prior_sd is not None and not 0 < self.prior_sd < np.inf:
            raise LearnableError(f"prior_sd {self.prior_sd} of {self.name}: must be positive")
        if self.smoothness < 0 or (self.smoothness > 0 and not self.tiled):
            raise LearnableError(
                f"smoothness {self.smoothness} of {self.name}: a length (m), for maps only"
            )

    @property
    def info(self) -> ParameterInfo:
        return info_of(self.name)

    @property
    def tiled(self) -> bool:
        """Whether it is a map, of columns or of cells: each rank holds its own part."""
        return self.shape in ("map", "orthotropic", "volume")

    @property
    def bijector(self) -> Bijector:
        return self.info.bijector if self.bounds is None else LogInterval(*self.bounds)

    @property
    def sd(self) -> float:
        """Standard deviation of the raw number."""
        return self.prior_sd or (self.info.prior_sd if self.bounds is None else _WIDE)


_KEYS = ("shape", "prior_sd", "bounds", "smoothness", "held")


def parse_learnable(item: str | dict | Learnable) -> Learnable:
    """A parameter from a configuration.

    Args:
        item: ``"lateral_viscosity"``, ``"lateral_diffusivity: orthotropic"``,
            ``{"lateral_diffusivity": "orthotropic"}``, or ``{"lateral_diffusivity": {"shape":
            "map", "bounds": [100, 1e4], "smoothness": 1e6}}``.
    """
    if isinstance(item, Learnable):
        return item
    if isinstance(item, str):
        name, _, shape = (part.strip() for part in item.partition(":"))
        return Learnable(name, shape or "scalar")
    if not isinstance(item, dict) or len(item) != 1:
        raise LearnableError(
            f"{item!r} names no parameter: write NAME, 'NAME: SHAPE', or {{NAME: {{shape: ...}}}}"
        )
    ((name, options),) = item.items()
    if isinstance(options, str):
        return Learnable(name, options)
    unknown = set(options or {}) - set(_KEYS)
    if unknown:
        raise LearnableError(
            f"{name}: unknown option {sorted(unknown)[0]!r}; choose {', '.join(_KEYS)}"
        )
    options = dict(options or {})
    if options.get("bounds") is not None:
        options["bounds"] = tuple(float(b) for b in options["bounds"])
    return Learnable(name, **options)


class LearnableSet:
    """The parameters that one training learns.

    Args:
        items: see :func:`parse_learnable`.
    """

    def __init__(self, items):
        self.items = tuple(parse_learnable(item) for item in items)
        names = [item.name for item in self.items]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise LearnableError(f"{twice[0]} is to be learned twice; name it once")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.items)

    def initial(self, params: dict, grid) -> dict:
        """Raw numbers that give the values in ``params``: name to array, Field, or pair of Fields
        (interior).

        Raises:
            LearnableError: a value outside the bounds (a zero, mostly), or one that does not fit
                the shape.
        """
        for item in self.items:
            if item.name not in params:
                raise LearnableError(f"{item.name} is not among the model's parameters")
            for value in jax.tree.leaves(_shaped(item, params[item.name], grid)):
                low, high = item.bijector.low, item.bijector.high
                if not bool(jnp.all((value > low) & (value < high))):
                    raise LearnableError(
                        f"{item.name} cannot be learned from a start of {float(jnp.min(value)):g} "
                        f"{item.info.unit}: it "
                        f"has to lie between {low:g} and {high:g}; set parameters.{item.name}"
                    )
        return self._start(params, grid)

    def _start(self, params: dict, grid) -> dict:
        return {
            i.name: jax.tree.map(i.bijector.inverse, _shaped(i, params[i.name], grid))
            for i in self.items
        }

    def values(self, raw: dict) -> dict:
        """Values of the learned parameters, maps without halo."""
        stopped = {
            i.name: jax.lax.stop_gradient(raw[i.name]) if i.held else raw[i.name]
            for i in self.items
        }
        return {i.name: jax.tree.map(i.bijector.forward, stopped[i.name]) for i in self.items}

    def apply(self, raw: dict, params: dict, halos, grid) -> dict:
        """``params`` with the learned values in place, maps with the halo that the physics needs.

        All maps travel in one exchange: call it once per rollout, not in every step.
        """
        found = self.values(raw)
        leaves, structure = jax.tree.flatten(found, is_leaf=_is_field)
        maps = [leaf for leaf in leaves if _is_field(leaf)]
        if maps:
            deep = iter(exchange(halos, *((m, grid.h_c.halo) for m in maps)))
            leaves = [next(deep) if _is_field(leaf) else leaf for leaf in leaves]
        return {**params, **jax.tree.unflatten(structure, leaves)}

    def prior(self, raw: dict, params: dict, halos, grid):
        """This rank's share of ``0.5 sum(((raw - start) / sd)**2)``, see
        :mod:`dogcm.learning.priors`.

        Args:
            params: the parameters from which learning started.
        """
        start = self._start(params, grid)
        away = {n: jax.tree.map(jnp.subtract, raw[n], start[n]) for n in self.names}
        return sum((prior_of(i, away[i.name], halos, grid) for i in self.items), jnp.zeros(()))

    def table(self, params: dict, raw: dict | None = None) -> str:
        """Name, shape, unit, start and present value (mean over this tile), prior range of the
        start, as text."""
        rows = [("parameter", "shape", "start", "now", "unit", "prior (one sd)")]
        for item in self.items:
            start = _mean(params[item.name])
            now = (
                start if raw is None else _mean(jax.tree.map(item.bijector.forward, raw[item.name]))
            )
            middle = item.bijector.inverse(jnp.asarray(start, jnp.float64))
            low, high = (float(item.bijector.forward(middle + s * item.sd)) for s in (-1, 1))
            text = f"{low:.3g} to {high:.3g}"
            rows.append((item.name, item.shape, f"{start:.4g}", f"{now:.4g}", item.info.unit, text))
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows
        )


def replicated(tree: Any) -> Any:
    """A tree like ``tree`` of booleans: True where every rank holds the same leaf, False in Fields,
    which are tiled."""
    mark = lambda x: x.with_data(False) if _is_field(x) else True
    return jax.tree.map(mark, tree, is_leaf=_is_field)


def _is_field(x) -> bool:
    return isinstance(x, Field)


def _mean(value) -> float:
    return float(np.mean([np.mean(np.asarray(x, np.float64)) for x in jax.tree.leaves(value)]))


def _shaped(item: Learnable, value, grid):
    """The start value in the shape that is to be learned."""
    fields = [f for f in jax.tree.leaves(value, is_leaf=_is_field) if _is_field(f)]
    if not item.tiled:
        if fields or (item.shape == "scalar" and jnp.ndim(value)):
            raise LearnableError(
                f"{item.name} is not a scalar in this model, and cannot be learned as a "
                f"{item.shape}"
            )
        levels = grid.nz - (item.info.levels == "interfaces")
        return value if item.shape == "scalar" else jnp.broadcast_to(value, (levels, 1, 1))
    if not fields and jnp.ndim(value) and item.shape != "volume":
        raise LearnableError(
            f"{item.name} is a profile in this model, and cannot be learned as a {item.shape}"
        )
    if item.shape == "volume":
        return _map(item, value, grid.mask_c)
    if item.shape == "map":
        return _map(item, value, grid.wet_c)
    west, south = at_faces(value)
    return _map(item, west, grid.wet_u), _map(item, south, grid.wet_v)


def _map(item: Learnable, value, like: Field) -> Field:
    if isinstance(value, tuple) or (_is_field(value) and value.at != like.at):
        raise LearnableError(f"{item.name} is orthotropic in this model: learn it as such")
    if _is_field(value):
        found = value.crop(0).named(item.name)
        if found.ndim > like.ndim:
            raise LearnableError(
                f"{item.name} has a value for every cell in this model: learn it as a volume"
            )
        return found.with_data(jnp.broadcast_to(found.data, like.crop(0).shape))
    blank = zeros_like(like.crop(0))
    return blank.with_data(jnp.broadcast_to(value, blank.shape)).named(item.name)
