"""Constants and choices of schemes that are fixed when the model is compiled."""

from __future__ import annotations

from dataclasses import dataclass

from dogcm.dynamics import tracer_transport, vorticity
from dogcm.physics import eddy_viscosity, visbeck
from dogcm.physics.isoneutral import SlopeTaper
from dogcm.physics.kpp import KPP
from dogcm.physics.surface.fluxes import SurfaceScheme


@dataclass(frozen=True)
class Physics:
    """Constants and choices that are fixed when the model is compiled.

    Attributes:
        dt: step of tracers, sea level and the clock (s). momentum_step: that of velocity where it
            is shorter (s; 0: the same), see :attr:`momentum_dt`. gravity: m s-2. rho0: kg m-3.
            heat_capacity: J kg-1 K-1.
            freezing: degC or None.
        tracer_advection: see :mod:`dogcm.dynamics.tracer_advection`. no_slip: at lateral walls.
            slip: the part of the stress of a no-slip wall that is missing, 0 to 1; None: as
                ``no_slip`` says.
        vorticity_scheme: see :mod:`dogcm.dynamics.momentum`. viscosity_scheme, viscosity_form:
            lateral friction besides that with given viscosities, see
            :mod:`dogcm.physics.eddy_viscosity`.
        biharmonic_momentum, biharmonic_tracers: whether these terms are computed at all.
        viscosity_power, reference_spacing: lateral viscosities hold where the smaller side of a
            cell is ``reference_spacing`` (m), and vary with its power elsewhere.
        cd_time: coupling time (s) of the C-D scheme for the Coriolis force; None: the time scheme's
            own.
        friction: ``stress`` (:mod:`dogcm.physics.lateral`) or ``laplacian``
            (:mod:`dogcm.physics.laplacian`).
        no_slip_bottom: whether the bottom exerts viscous stress, besides drag.
        pressure: density between layer centres, see
            :func:`dogcm.dynamics.pressure.hydrostatic_pressure`.
        vertical_mixing: one of :data:`dogcm.physics.vertical_mixing.SCHEMES`. background_mixing,
            tidal_mixing: see :mod:`dogcm.physics.background_mixing`. enhanced_convection: whether
            tke and kpp also mix unstable columns by the diffusivity that richardson mixes them by.
            kpp: choices of that scheme.
        eddies: isoneutral and Gent-McWilliams mixing with this tapering of slopes; None: neither.
        eddy_coefficient: one of :data:`dogcm.physics.visbeck.KINDS`.
        surface: bulk formulae, sea ice and light; None: records of fluxes alone.
    """

    dt: float
    gravity: float = 9.81
    rho0: float = 1026.0
    heat_capacity: float = 3991.868
    freezing: float | None = -1.9
    tracer_advection: str = "dst3_limited"
    no_slip: bool = True
    momentum_advection: bool = True
    biharmonic_momentum: bool = False
    biharmonic_tracers: bool = False
    viscosity_power: float = 0.0
    reference_spacing: float = 1.0
    eddies: SlopeTaper | None = None
    cd_time: float | None = None
    pressure: str = "layers"
    friction: str = "stress"
    no_slip_bottom: bool = False
    vertical_mixing: str = "richardson"
    background_mixing: str = "constant"
    tidal_mixing: bool = False
    enhanced_convection: bool = True
    kpp: KPP = KPP()
    eddy_coefficient: str = "constant"
    momentum_step: float = 0.0
    slip: float | None = None
    vorticity_scheme: str = "energy"
    viscosity_scheme: str = "constant"
    viscosity_form: str = "harmonic"
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
    def tracer_halo(self) -> int:
        """Halo of tracers that one step uses up."""
        depth = tracer_transport.halo_of(self.tracer_advection)
        return depth if self.eddy_coefficient == "constant" else max(depth, visbeck.HALO)

    @property
    def momentum_halo(self) -> int:
        """Halo of velocity that one step uses up."""
        depth = max(4 if self.biharmonic_momentum else 2, vorticity.HALO[self.vorticity_scheme])
        return (
            depth
            if self.viscosity_scheme == "constant"
            else max(depth, eddy_viscosity.HALO[self.viscosity_form])
        )

    @property
    def wall_stress(self) -> bool | float:
        """Stress of lateral walls, as a part of that which brings the flow to rest there."""
        return self.no_slip if self.slip is None else 1.0 - self.slip

    @property
    def halo(self) -> int:
        """The deeper of the two: that of the grid and of sea level."""
        return max(self.momentum_halo, self.tracer_halo)
