"""What a kind of passive tracer is: its names, options, learnable parameters, and sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
from pydantic import PrivateAttr

from dogcm.components import Component
from dogcm.field import Field


@dataclass(frozen=True)
class TracerVariable:
    """One tracer of a kind, as files name it.

    Attributes:
        name: in the state, in files and in restarts. unit: as UDUNITS reads it. long_name: for
            people.
        standard_name: of the CF table, or empty.
        rain: what fresh water brings along: ``local`` (the concentration it falls on: rain does not
            dilute) or ``none`` (nothing: the content stays what it is).
        lowest: less than this there cannot be.
    """

    name: str
    unit: str
    long_name: str
    standard_name: str = ""
    rain: Literal["local", "none"] = "none"
    lowest: float = 0.0


@dataclass(frozen=True)
class Water:
    """What a kind sees of one step, without halo.

    Attributes:
        tracers: name to Field (nz, ny, nx) at the start of the step: passive ones, ``temperature``,
            ``salinity``.
        thickness: of layers (m), (nz, ny, nx); 0 on land.
        parameters: the kind's own leaves by option name: scalars, or Fields where learned as maps.
        grid: :class:`dogcm.grid.geometry.Grid`. time: middle of the step (s). dt: s. year: length
            of the year (s).
    """

    tracers: dict[str, Field]
    thickness: Field
    parameters: dict[str, Any]
    grid: Any
    time: jax.Array
    dt: float
    year: float


@dataclass(frozen=True)
class Sources:
    """What a kind adds to its tracers, by name. All three add up; land is masked by the model.

    Attributes:
        rates: change of concentration (unit s-1), (nz, ny, nx).
        contents: change of thickness times concentration (unit m s-1), (nz, ny, nx): what leaves
            one layer or one tracer enters another to the last bit if it is the same number.
        surface: flux into the ocean (unit m s-1), (ny, nx).
    """

    rates: dict[str, Field] = field(default_factory=dict)
    contents: dict[str, Field] = field(default_factory=dict)
    surface: dict[str, Field] = field(default_factory=dict)


class TracerKind(Component):
    """Base of all kinds of passive tracers.

    Everything is evaluated on the tile without halo: sources are local, or reach up and down the
    column.
    """

    slot: ClassVar[str] = "passive_tracer"
    labelled: ClassVar[bool] = True
    needs_sphere: ClassVar[bool] = False  # whether it makes no sense on a plane
    _label: str = PrivateAttr("")

    @property
    def label(self) -> str:
        """The name under which the configuration declares it."""
        return self._label

    def variables(self) -> tuple[TracerVariable, ...]:
        """The tracers that it declares."""
        raise NotImplementedError

    def initial(self, grid) -> dict[str, Field]:
        """Values at the start (nz, ny, nx) without halo; a tracer left out starts from 0."""
        return {}

    def sources(self, water: Water) -> Sources:
        """Sources and surface fluxes of one step."""
        return Sources()

    def held(self, tracers: dict[str, Field], water: Water) -> dict[str, Field]:
        """Values at the end of the step, of the tracers that are prescribed somewhere (all else is
        left alone)."""
        return {}
