"""How the model calls its dynamics: the base class of each kind of scheme."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from dogcm.components import Component, option, parameter
from dogcm.field import Field


class Flow(NamedTuple):
    """What carries tracers through one step.

    Attributes:
        u, v: transports per width through west and south faces (m2 s-1). w: volume flux per area
            through interfaces (m s-1, positive up). h: thickness at the start (m). dt: s.
    """

    u: Field
    v: Field
    w: Field
    h: Field
    dt: float


Fluxes = tuple[Field, Field, Field]


class TracerAdvection(Component):
    """How tracers are carried through faces."""

    slot: ClassVar[str] = "tracer_advection"

    def tracer_halo(self) -> int:
        return 2

    @abstractmethod
    def prepare(
        self, tracers: dict[str, Field], flow: Flow, halos, steps, grid
    ) -> Callable[[str], Fluxes]:
        """What gives the fluxes of a tracer by its name.

        Args:
            tracers: all of them, with the halo of :meth:`tracer_halo`. steps: steps done before
                this one.

        Returns:
            A function from a name to fluxes through west and south faces (unit of the tracer times
            m3 s-1) and interfaces (times m s-1, positive up), means over the step.
        """


class MomentumAdvection(Component):
    """Nonlinear terms of the momentum equation; none: a linear ocean."""

    slot: ClassVar[str] = "momentum_advection"

    def momentum_halo(self) -> int:
        return 2

    @abstractmethod
    def accelerations(self, u: Field, v: Field, w: Field, grid) -> tuple[Field, Field]:
        """Of u and v (m s-2).

        Args:
            w: volume flux through the interfaces of cell centres per area (m s-1, positive up).
        """


class VerticalAdvection(Component):
    """How the vertical flow is divided between explicit and implicit advection, of tracers and of
    velocity; none: all is explicit."""

    slot: ClassVar[str] = "vertical_advection"

    @abstractmethod
    def implicit(self, w: Field, courant: Field) -> Field:
        """The part of ``w`` (m s-1, positive up) that is carried implicitly, from upstream.

        Args:
            courant: what of the thinner of the two layers ``w`` crosses in a step.
        """


class Pressure(Component):
    """Hydrostatic pressure and its gradient along layers.

    Attributes:
        true_depths: whether the value of a partial cell is that at its own centre, and not at its
            layer's.
    """

    slot: ClassVar[str] = "pressure"
    true_depths: ClassVar[bool] = False

    @abstractmethod
    def hydrostatic(self, density: Field, stretch: Field, grid, physics) -> Field:
        """Pressure anomaly over rho0 at layer centres (m2 s-2), from the density anomaly
        (kg m-3)."""

    @abstractmethod
    def gradient(
        self, pressure: Field, density: Field, eta: Field, grid, physics
    ) -> tuple[Field, Field]:
        """Accelerations (m s-2) by the baroclinic pressure gradient, at west and south faces."""


class Coriolis(Component):
    """How the Coriolis force is averaged to where velocity sits."""

    slot: ClassVar[str] = "coriolis"

    def keeps(self) -> tuple[str, ...]:
        """Names of what it needs of the step before, as the state keeps it."""
        return ()


class Friction(Component):
    """Lateral friction with given viscosities."""

    slot: ClassVar[str] = "friction"
    no_slip: bool = option(True, "1", "whether coasts exert viscous stress")
    slip: float | None = option(
        None,
        "1",
        "partial slip: part of the stress of a no-slip coast that is missing; null: see no_slip",
        ge=0,
        le=1,
    )
    viscosity_power: float = option(
        1.0, "1", "viscosity varies as (cell width / reference_spacing) to this power", ge=0
    )
    reference_spacing: float = option(444e3, "m", "cell width at which the viscosities hold", gt=0)
    lateral_viscosity: float = parameter(
        5e5,
        "m2 s-1",
        "harmonic viscosity where cells are reference_spacing wide",
        shapes=("scalar", "profile", "map"),
        ge=0,
    )
    biharmonic_viscosity: float = parameter(
        0.0,
        "m4 s-1",
        "biharmonic viscosity, scaled likewise (0: off)",
        shapes=("scalar", "profile", "map"),
        ge=0,
    )

    @property
    def biharmonic(self) -> bool:
        """Whether the biharmonic term is computed at all."""
        return self.biharmonic_viscosity > 0

    @property
    def wall_stress(self) -> bool | float:
        """Stress of walls, as a part of that which brings the flow to rest there."""
        return self.no_slip if self.slip is None else 1.0 - self.slip

    def momentum_halo(self) -> int:
        return 4 if self.biharmonic else 2

    @abstractmethod
    def accelerations(self, u: Field, v: Field, params: dict, grid) -> tuple[Field, Field]:
        """Of u and v (m s-2)."""


class EddyViscosity(Component):
    """Lateral viscosity that follows the flow, besides that of the parameters."""

    slot: ClassVar[str] = "eddy_viscosity"

    @abstractmethod
    def accelerations(self, u: Field, v: Field, params: dict, grid, physics) -> tuple[Field, Field]:
        """Of u and v (m s-2)."""


class Backscatter(Component):
    """Momentum fluxes of eddies that are not resolved, by which energy returns to the flow."""

    slot: ClassVar[str] = "backscatter"

    @abstractmethod
    def accelerations(self, u: Field, v: Field, params: dict, grid) -> tuple[Field, Field]:
        """Of u and v (m s-2)."""


class LateralDiffusion(Component):
    """Diffusion of tracers along layers."""

    slot: ClassVar[str] = "lateral_diffusion"

    @abstractmethod
    def fluxes(self, c: Field, params: dict, grid, harmonic: bool) -> list[tuple[Field, Field]]:
        """Fluxes through west and south faces (unit of c times m3 s-1), term by term.

        Args:
            harmonic: whether the harmonic term is wanted; false where eddies bring it along.
        """


class BottomDrag(Component):
    """Stress of the sea floor."""

    slot: ClassVar[str] = "bottom_drag"

    @abstractmethod
    def coefficients(self, params: dict, at, grid) -> tuple:
        """Linear (m s-1) and quadratic (1) coefficients on faces; ``at`` brings a parameter
        there."""


class SurfaceSetting(NamedTuple):
    """What a free surface is made ready for.

    Attributes:
        dt, momentum_dt: steps of sea level and of the flow (s). gravity: m s-2.
        turns: whether it turns the depth-mean flow, where the Coriolis force is not the C-D
            scheme's. rows, columns: of the smallest tile. alone: whether deeper halos save no
            messages, or may not be used.
        longest_step: largest stable step of surface gravity waves (s); every rank has to ask, or
            none.
    """

    dt: float
    momentum_dt: float
    gravity: float
    turns: bool
    rows: int
    columns: int
    alone: bool
    longest_step: Callable[[], float]


class FreeSurface(Component):
    """How sea level and the depth-integrated flow are stepped.

    Attributes:
        counts_iterations: whether ``State.solver`` keeps the largest number of its iterations.
    """

    slot: ClassVar[str] = "free_surface"
    counts_iterations: ClassVar[bool] = False
    short_steps_per_exchange: int = option(
        0,
        "1",
        "short steps (implicit: products with the matrix) per halo exchange; 0: chosen from the "
        "tile size",
        ge=0,
    )

    @abstractmethod
    def made_for(self, setting: SurfaceSetting) -> Any:
        """The free surface of one step.

        Returns:
            an object like :class:`dogcm.dynamics.free_surface.SplitExplicit`, with ``wide`` (the
            halo of what it needs of the grid), ``own_forcing``, ``advance`` and ``describe``.
        """


__all__ = [
    "Backscatter",
    "BottomDrag",
    "Coriolis",
    "EddyViscosity",
    "Flow",
    "Fluxes",
    "FreeSurface",
    "Friction",
    "LateralDiffusion",
    "MomentumAdvection",
    "Pressure",
    "SurfaceSetting",
    "TracerAdvection",
    "VerticalAdvection",
]
