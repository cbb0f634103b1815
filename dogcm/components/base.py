"""What a component is: one frozen object that owns a scheme.

A component declares its options and its learnable parameters with unit, default, limits and
meaning; it says which Fields it carries from step to step, how much halo it needs and what must be
true for it to work; and it does its work when the model calls it. Everything else that the model,
its files, its documentation and the command line know about a scheme is collected from there.

Components of one *slot* (``vertical_mixing``, ``tracer_advection``, ...) share a base class, which
says how the model calls them. A class with a ``kind`` is known by that name in a configuration::

    class Pacanowski(VerticalMixing):
        kind: ClassVar[str] = "pacanowski"
        critical: float = option(0.2, "1", "Richardson number ...", gt=0)
        strength: float = parameter(5e-3, "m2 s-1", "viscosity ...", ge=0)

and a class of one's own is named ``package.module:Class`` wherever a kind is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from pydantic import Field as PydanticField

from dogcm.components.bijectors import Bijector, Exp
from dogcm.components.errors import ConfigError
from dogcm.components.known import remember

SHAPES = ("scalar", "profile", "map", "orthotropic", "volume")
FACTOR_OF_TWO = float(np.log(2.0))


@dataclass(frozen=True)
class ParameterInfo:
    """What is known about a learnable parameter before anything is learned.

    Attributes:
        name: of the leaf of the model's ``params``. unit: of the value.
        shapes: those of :data:`SHAPES` that the physics takes.
        levels: where a profile sits: ``layers`` (nz, 1, 1) or ``interfaces`` (nz - 1, 1, 1).
        bijector: raw number to value. prior_sd: standard deviation of the raw number.
    """

    name: str
    unit: str
    shapes: tuple[str, ...] = ("scalar", "profile", "map")
    levels: str = "layers"
    bijector: Bijector = Exp()
    prior_sd: float = FACTOR_OF_TWO


@dataclass(frozen=True)
class _Learnable:
    """The part of a :class:`ParameterInfo` that a field's declaration holds."""

    shapes: tuple[str, ...]
    levels: str
    bijector: Bijector
    prior_sd: float


def option(default: Any, unit: str, text: str, **limits) -> Any:
    """A documented option, fixed when the model is compiled.

    Args:
        default: its value, or a function that makes it. unit: as UDUNITS reads it. text: its
            meaning. limits: ``gt``, ``ge``, ``lt``, ``le``, ``min_length``.
    """
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return PydanticField(description=text, json_schema_extra={"unit": unit}, **factory, **limits)


def parameter(
    default: float,
    unit: str,
    text: str,
    *,
    shapes: tuple[str, ...] = ("scalar", "map"),
    levels: str = "layers",
    bijector: Bijector = Exp(),  # noqa: B008 frozen
    prior_sd: float = FACTOR_OF_TWO,
    **limits,
) -> Any:
    """A learnable parameter: a leaf of the model's ``params`` with derivatives.

    Args:
        default, unit, text, limits: as for :func:`option`.
        shapes, levels, bijector, prior_sd: see :class:`ParameterInfo`.
    """
    learnable = _Learnable(shapes, levels, bijector, prior_sd)
    extra = {"unit": unit, "learnable": learnable}
    return PydanticField(default=default, description=text, json_schema_extra=extra, **limits)


def internal(default: Any) -> Any:
    """A field that no configuration sets: the component finds it when it is prepared."""
    return PydanticField(default=default, exclude=True)


class Component(BaseModel):
    """Base of all components; its subclasses are the slots' base classes.

    Attributes:
        slot: the place in the model that it fills. kind: its name in a configuration; empty for
            base classes and for classes that are named by module. source: equation and DOI.
        labelled: whether any number of them may be declared, each under a label of its own; the
            leaves of ``params`` are then named ``LABEL.OPTION``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    slot: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    source: ClassVar[str] = ""
    labelled: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        remember(cls)

    @classmethod
    def name(cls) -> str:
        """How a configuration names it: its kind, or ``package.module:Class``."""
        return vars(cls).get("kind") or f"{cls.__module__}:{cls.__qualname__}"

    @classmethod
    def parameter_infos(cls) -> dict[str, ParameterInfo]:
        """Its learnable parameters by name."""
        found = {}
        for name, info in cls.model_fields.items():
            extra = info.json_schema_extra or {}
            learnable = extra.get("learnable") if isinstance(extra, dict) else None
            if isinstance(learnable, _Learnable):
                found[name] = ParameterInfo(name, extra["unit"], **vars(learnable))
        return found

    def leaves(self) -> dict[str, float]:
        """Values of its learnable parameters: its part of the model's ``params`` at the start."""
        return {name: getattr(self, name) for name in self.parameter_infos()}

    def entry(self) -> dict[str, Any]:
        """What a configuration says of it: its name and all its options."""
        return {"kind": self.name(), **self.model_dump(mode="json")}

    # ---- what the model collects
    def momentum_halo(self) -> int:
        """Halo cells of velocity that one step uses up for it."""
        return 0

    def tracer_halo(self) -> int:
        """Halo cells of tracers that one step uses up for it."""
        return 0

    def carries(self) -> tuple[str, ...]:
        """Names of the Fields that it carries from step to step (``State.closures``)."""
        return ()

    def carried_halo(self) -> int:
        """Halo cells that it wants of the Fields it carries."""
        return 0

    def holds(self) -> dict[str, dict[str, float]]:
        """What the Fields it carries hold of the ocean's ``heat`` (J) and ``water`` (kg), per unit
        of the Field and m2; by Field. A run that goes on without the scheme would lose it."""
        return {}

    def prepared(self, dz) -> Component:
        """The component made ready for a grid of these layer thicknesses (m)."""
        return self

    def at_rest(self, like, params: dict, grid) -> dict[str, Any]:
        """The Fields of :meth:`carries` at the start of a run, without halo.

        Args:
            like: a Field (nz, ny, nx) of the run's dtype, without halo.
        """
        return {}

    def records(self) -> tuple[str, ...]:
        """Names of the surface records (forcing) without which it cannot work."""
        return ()

    def check(self, config) -> None:
        """Refuse a configuration in which it cannot work.

        Raises:
            ValueError: which key, why, and what to do.
        """


@dataclass(frozen=True)
class OptionRow:
    """One option or parameter, as tables and reference pages show it."""

    name: str
    unit: str
    default: Any
    text: str
    learnable: bool

    @property
    def row(self) -> tuple[str, Any, str]:
        """Unit, default and meaning."""
        return self.unit, self.default, self.text


def options_of(component: type[Component]) -> Iterator[OptionRow]:
    """The options and parameters of a class, in the order of its declaration."""
    infos = component.parameter_infos()
    for name, info in component.model_fields.items():
        if info.exclude:
            continue
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        yield OptionRow(
            name,
            str(extra.get("unit", "1")),
            info.get_default(call_default_factory=True),
            info.description or "",
            name in infos,
        )


def summary(component: type) -> str:
    """The first paragraph of a class's docstring, in one line."""
    text = inspect.getdoc(component) or ""
    return " ".join(text.split("\n\n")[0].split())


__all__ = [
    "FACTOR_OF_TWO",
    "SHAPES",
    "Component",
    "ConfigError",
    "OptionRow",
    "ParameterInfo",
    "internal",
    "option",
    "options_of",
    "parameter",
    "summary",
]
