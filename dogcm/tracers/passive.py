"""All passive tracers of one model: their sources in the tracer step."""

from __future__ import annotations

import re
from dataclasses import dataclass

import jax.numpy as jnp

from dogcm.components import ConfigError, make
from dogcm.field import Field
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water

# What else the state, its files and the budgets hold.
NAMES_OF_STATE = (
    "temperature",
    "salinity",
    "u",
    "v",
    "w",
    "eta",
    "time",
    "steps",
    "v_at_u",
    "u_at_v",
    "u_before",
    "v_before",
    "eta_before",
    "ice_frazil",
    "flow",
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def make_kind(label: str, entry) -> TracerKind:
    """The kind that an entry of the section ``tracers`` declares under ``label``; see
    :func:`dogcm.components.make`."""
    made = make("passive_tracer", entry, f"tracers.{label}")
    if not isinstance(made, TracerKind):
        raise ConfigError(f"tracers.{label}: none is no tracer; leave the entry out")
    made = made.model_copy()  # a component given in Python may be declared twice
    made._label = label
    return made


@dataclass(frozen=True)
class PassiveTracers:
    """The kinds that a configuration declares, in its order.

    Attributes:
        kinds: see :class:`dogcm.tracers.TracerKind`. year: length of the model's year (s).
    """

    kinds: tuple[TracerKind, ...] = ()
    year: float = 365.0 * 86400.0

    @classmethod
    def declared(
        cls, entries: dict, year: float = 365.0 * 86400.0, taken=NAMES_OF_STATE
    ) -> PassiveTracers:
        """From the section ``tracers`` of a configuration.

        Args:
            taken: names that mean something else.

        Raises:
            ConfigError: unknown kind or option, a name that is taken or declared twice.
        """
        kinds = tuple(make_kind(str(label), entry) for label, entry in entries.items())
        owner: dict[str, str] = {}
        for kind in kinds:
            for v in kind.variables():
                if v.name in taken or v.name.startswith("history_"):
                    raise ConfigError(
                        f"{kind.label}: {v.name!r} is already a variable of the model; choose "
                        f"another name"
                    )
                if not _NAME.match(v.name):
                    raise ConfigError(
                        f"{kind.label}: {v.name!r} is no name for a variable: use letters, digits "
                        f"and _"
                    )
                if v.name in owner:
                    raise ConfigError(
                        f"the tracer {v.name!r} is declared twice, by {owner[v.name]} and by "
                        f"{kind.label}: keep one"
                    )
                owner[v.name] = kind.label
        return cls(kinds, year)

    @property
    def variables(self) -> tuple[TracerVariable, ...]:
        return tuple(v for kind in self.kinds for v in kind.variables())

    def parameters(self) -> dict[str, float]:
        """Learnable parameters, ``LABEL.OPTION`` to value."""
        return {f"{k.label}.{n}": v for k in self.kinds for n, v in k.leaves().items()}

    def initial(self, grid) -> dict[str, Field]:
        """Values at the start, without halo, 0 on land."""
        mask, out = grid.mask_c.crop(0), {}
        for kind in self.kinds:
            given = kind.initial(grid)
            for v in kind.variables():
                start = given[v.name] * mask if v.name in given else mask * 0.0
                out[v.name] = start.with_data(start.data.astype(mask.dtype)).named(v.name)
        return out

    def not_in_rain(self) -> dict[str, None]:
        """The tracers that fresh water does not bring along."""
        return {v.name: None for v in self.variables if v.rain == "none"}

    def sources(
        self, tracers: dict[str, Field], thickness: Field, params: dict, grid, time, dt: float
    ) -> Sources:
        """Sources of all kinds by tracer, 0 on land.

        Args:
            tracers: all of the state, at the start of the step. thickness: of layers (m). time:
                middle of the step (s).
        """
        rates: dict[str, Field] = {}
        contents: dict[str, Field] = {}
        surface: dict[str, Field] = {}
        mask, wet = grid.mask_c.crop(0), grid.wet_c.crop(0)
        for kind, water in self._waters(tracers, thickness, params, grid, time, dt):
            found = kind.sources(water)
            self._check(kind, found)
            for name, rate in found.rates.items():
                _add(rates, name, rate * mask)
            for name, content in found.contents.items():
                _add(contents, name, content * mask)
            for name, flux in found.surface.items():
                _add(surface, name, flux * wet)
        return Sources(rates, contents, surface)

    def held(
        self, tracers: dict[str, Field], thickness: Field, params: dict, grid, time, dt: float
    ) -> dict[str, Field]:
        """``tracers`` with what is prescribed put in."""
        out = dict(tracers)
        for kind, water in self._waters(tracers, thickness, params, grid, time, dt):
            for name, c in kind.held(water.tracers, water).items():
                out[name] = (c.crop(0) * grid.mask_c.crop(0)).named(name)
        return out

    def _waters(self, tracers, thickness, params, grid, time, dt):
        inner = {n: c.crop(0) for n, c in tracers.items()}
        h = thickness.crop(0)
        for kind in self.kinds:
            own = {n: _inner(params[f"{kind.label}.{n}"]) for n in kind.leaves()}
            yield kind, Water(inner, h, own, grid, time, dt, self.year)

    @staticmethod
    def _check(kind: TracerKind, found: Sources) -> None:
        known = {v.name for v in kind.variables()}
        for name in (*found.rates, *found.contents, *found.surface):
            if name not in known:
                raise ConfigError(
                    f"{kind.label} gives a source of {name!r}, which it does not declare"
                )


def _inner(value):
    return value.crop(0) if isinstance(value, Field) else jnp.asarray(value)


def _add(sums: dict[str, Field], name: str, f: Field) -> None:
    sums[name] = sums[name] + f if name in sums else f
