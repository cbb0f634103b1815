"""Constants and schemes that are fixed when the model is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from dogcm.components import Component
from dogcm.dynamics import interfaces as dynamics
from dogcm.dynamics.coriolis_cd import CDScheme, CGrid
from dogcm.dynamics.momentum import EnergyConserving
from dogcm.dynamics.pressure import LayeredDensity
from dogcm.dynamics.tracer_advection import SplitDST3
from dogcm.physics import interfaces as schemes
from dogcm.physics.background_mixing import ConstantBackground
from dogcm.physics.convection import EnhancedMixing
from dogcm.physics.lateral import AlongLayers, Drag, StressFriction
from dogcm.physics.richardson import RichardsonMixing
from dogcm.physics.surface.fluxes import Records, SurfaceScheme


@dataclass(frozen=True)
class Physics:
    """Constants and schemes that are fixed when the model is compiled.

    Attributes:
        dt: step of tracers, sea level and the clock (s). momentum_step: that of velocity where it
            is shorter (s; 0: the same), see :attr:`momentum_dt`. gravity: m s-2. rho0: kg m-3.
            heat_capacity: J kg-1 K-1. freezing: degC or None.
        tracer_advection and all that follow: components, see :mod:`dogcm.dynamics.interfaces` and
            :mod:`dogcm.physics.interfaces`; None where a slot is empty.
        records: restoring and albedo. surface: bulk formulae, ice, light and fluxes of one's own;
            None: records of fluxes alone.
    """

    dt: float
    momentum_step: float = 0.0
    gravity: float = 9.81
    rho0: float = 1026.0
    heat_capacity: float = 3991.868
    freezing: float | None = -1.9
    tracer_advection: dynamics.TracerAdvection = field(default_factory=SplitDST3)
    momentum_advection: dynamics.MomentumAdvection | None = field(default_factory=EnergyConserving)
    vertical_advection: dynamics.VerticalAdvection | None = None
    pressure: dynamics.Pressure = field(default_factory=LayeredDensity)
    coriolis: dynamics.Coriolis = field(default_factory=CGrid)
    friction: dynamics.Friction = field(default_factory=StressFriction)
    eddy_viscosity: dynamics.EddyViscosity | None = None
    backscatter: dynamics.Backscatter | None = None
    lateral_diffusion: dynamics.LateralDiffusion = field(default_factory=AlongLayers)
    bottom_drag: dynamics.BottomDrag | None = field(default_factory=Drag)
    vertical_mixing: schemes.VerticalMixing = field(default_factory=RichardsonMixing)
    convection: schemes.Convection | None = field(default_factory=EnhancedMixing)
    background_mixing: schemes.BackgroundMixing = field(default_factory=ConstantBackground)
    tidal_mixing: schemes.TidalMixing | None = None
    eddies: schemes.Eddies | None = None
    records: schemes.Surface = field(default_factory=Records)
    surface: SurfaceScheme | None = None

    @property
    def momentum_dt(self) -> float:
        """Step (s) of velocity, and of whatever obeys its time (shear-driven turbulence).

        Shorter than ``dt`` in asynchronous stepping (Bryan 1984,
        doi:10.1175/1520-0485(1984)014<0666:ATSOAO>2.0.CO;2): velocity then accelerates ``dt /
        momentum_dt`` times as slowly as it should, and reaches the same steady state.
        """
        return self.momentum_step or self.dt

    @property
    def cd_time(self) -> float | None:
        """Coupling time (s) of the C-D scheme; None where the Coriolis force is the C grid's."""
        return self.coriolis.time if isinstance(self.coriolis, CDScheme) else None

    def components(self) -> Iterator[Component]:
        """All components in use, in a fixed order."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Component):
                yield value
        if self.surface is not None:
            own = (self.surface.bulk, self.surface.ice, self.surface.shortwave)
            yield from (c for c in own if c is not None)
            yield from (c for _, c in self.surface.extra)

    def carriers(self) -> dict[str, Component]:
        """The components that carry Fields from step to step, by their key in a configuration."""
        labels = {id(c): f"fluxes.{n}" for n, c in self.surface.extra} if self.surface else {}
        return {labels.get(id(c), c.slot): c for c in self.components() if c.carries()}

    @property
    def carried(self) -> dict[str, int]:
        """Names of the Fields that components carry, and the halo that a step needs of each."""
        return {n: c.carried_halo() for c in self.components() for n in c.carries()}

    @property
    def tracer_halo(self) -> int:
        """Halo of tracers that one step uses up."""
        return max(2, *(c.tracer_halo() for c in self.components()))

    @property
    def momentum_halo(self) -> int:
        """Halo of velocity that one step uses up."""
        return max(2, *(c.momentum_halo() for c in self.components()))

    @property
    def halo(self) -> int:
        """The deeper of the two: that of the grid and of sea level."""
        return max(self.momentum_halo, self.tracer_halo)
