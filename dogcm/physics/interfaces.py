"""How the model calls its physics: the base class of each kind of scheme.

A scheme of one's own is a subclass of one of these, named in a configuration as
``package.module:Class``; see CONTRIBUTING.md. Everything a scheme is handed lives on one tile:
Fields with as much halo as it asks for, ``params`` with its learnable parameters by name, the
``grid``, and ``physics`` with constants (``gravity``, ``rho0``, ``heat_capacity``, ``dt``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dogcm.components import Component
from dogcm.field import Field


class EquationOfState(Component):
    """Density from temperature, salinity and depth."""

    slot: ClassVar[str] = "equation_of_state"

    @abstractmethod
    def prepare(self, depth: np.ndarray, dtype, rho0: float, gravity: float) -> Any:
        """What computes density at layers whose centres lie at ``depth`` (m, positive down).

        Args:
            rho0: reference density (kg m-3). gravity: m s-2.

        Returns:
            An object with ``anomaly(T, S, levels=slice(None))``: density (kg m-3) less a profile of
            depth alone, of water brought to the depths of ``levels``.
        """


@dataclass(frozen=True)
class Mixing:
    """Vertical mixing of one step.

    Attributes:
        n2: squared buoyancy frequency (s-2). viscosity, diffusivity: m2 s-1; all three at
            interfaces of centres.
        closures: what the scheme carries, at the end of the step, without halo.
        boundary_layer: of kpp, with what it carries without regard to gradients; else None.
    """

    n2: Field
    viscosity: Field
    diffusivity: Field
    closures: dict[str, Field] = field(default_factory=dict)
    boundary_layer: Any = None


@dataclass(frozen=True)
class Column:
    """What vertical mixing depends on, at the start of a step.

    Attributes:
        n2, shear2: squares of buoyancy frequency and shear (s-2) at interfaces.
        background: least viscosity and diffusivity (m2 s-1): numbers, profiles, maps or Fields.
        carried: ``State.closures``, with the halo that the scheme asks for.
        state: with halos. now: forcing of this moment by name.
        fluxes: through the surface, or None.
        eos: prepared equation of state. halos: of this tile.
    """

    n2: Field
    shear2: Field
    background: tuple
    carried: Mapping[str, Field]
    state: Any
    now: dict[str, Field]
    fluxes: Any
    eos: Any
    halos: Any


class VerticalMixing(Component):
    """Viscosity and diffusivity of unresolved vertical motion."""

    slot: ClassVar[str] = "vertical_mixing"

    @abstractmethod
    def mix(self, column: Column, params: dict, grid, physics) -> Mixing:
        """Coefficients of one step, and what is carried to the next; with one halo cell."""


def needs_layers(config, name: str, least: int) -> None:
    """Refuse a grid with fewer than ``least`` layers."""
    if (len(config.grid.layers) or config.grid.nz) < least:
        raise ValueError(f"physics.vertical_mixing {name}: needs at least {least} layers (grid.nz)")


class Convection(Component):
    """What happens to columns that are statically unstable."""

    slot: ClassVar[str] = "convection"

    @abstractmethod
    def add(self, coefficient: Field, n2: Field, name: str, params: dict) -> Field:
        """``coefficient`` (m2 s-1) with what convection adds; ``name``: viscosity or
        diffusivity."""


class BackgroundMixing(Component):
    """Mixing where no scheme resolves what breaks: internal waves."""

    slot: ClassVar[str] = "background_mixing"

    @abstractmethod
    def coefficients(self, params: dict, grid) -> tuple:
        """Viscosity and diffusivity (m2 s-1): numbers, profiles over interfaces, or maps."""


class TidalMixing(Component):
    """Mixing by tides over topography, on top of background mixing."""

    slot: ClassVar[str] = "tidal_mixing"

    @abstractmethod
    def diffusivity(self, n2: Field, params: dict, grid, rho0: float) -> Field:
        """m2 s-1 at interfaces."""


class Eddies(Component):
    """Fluxes of tracers by mesoscale eddies.

    Attributes:
        along_layers: whether its fluxes hold the harmonic diffusion along layers.
    """

    slot: ClassVar[str] = "eddies"
    along_layers: ClassVar[bool] = False

    @abstractmethod
    def prepare(
        self, density: Field, n2: Field, stretch: Field, params: dict, grid, physics
    ) -> Any:
        """Everything that does not depend on the tracer.

        Args:
            density: anomaly (kg m-3) on layers. n2: squared buoyancy frequency (s-2) at interfaces.
            stretch: thickness of layers over that at rest.

        Returns:
            A pytree with an attribute ``vertical_diffusivity``: m2 s-1 at interfaces, for the
            implicit solver.
        """

    @abstractmethod
    def fluxes(self, c: Field, prepared: Any, grid) -> tuple[Field, Field, Field]:
        """Explicit fluxes of a tracer: through west and south faces (unit of c times m3 s-1), and
        up through interfaces per area (unit of c times m s-1)."""


class SurfaceFlux(Component):
    """A flux through the surface besides those of records and bulk formulae."""

    slot: ClassVar[str] = "surface_flux"

    @abstractmethod
    def fluxes(
        self, temperature: Field, salinity: Field, now: dict, params: dict, grid, time
    ) -> dict[str, Field]:
        """What enters the sea: any of ``heat`` (W m-2), ``freshwater`` (m s-1) and ``salt`` (g kg-1
        m s-1), at centres without halo.

        Args:
            temperature, salinity: of the first layer. now: surface records of this moment by name.
            time: middle of the step (s).
        """


class Bulk(Component):
    """Fluxes from the state of the air."""

    slot: ClassVar[str] = "bulk"


class SeaIce(Component):
    """Ice on the sea."""

    slot: ClassVar[str] = "sea_ice"


class Shortwave(Component):
    """Where in the sea light is absorbed; none: in the first layer."""

    slot: ClassVar[str] = "shortwave"

    @abstractmethod
    def penetrating(self, entering: Field, params: dict, grid) -> Field:
        """What passes each interface (unit of ``entering``, positive down), (nz - 1, y, x)."""


class Surface(Component):
    """The sea surface under records: restoring, and what light it reflects."""

    slot: ClassVar[str] = "surface"


__all__ = [
    "BackgroundMixing",
    "Bulk",
    "Column",
    "Convection",
    "Eddies",
    "EquationOfState",
    "Mixing",
    "SeaIce",
    "Shortwave",
    "Surface",
    "SurfaceFlux",
    "TidalMixing",
    "VerticalMixing",
    "needs_layers",
]
