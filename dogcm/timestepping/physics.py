"""Constants and choices of schemes that are fixed when the model is compiled."""

from __future__ import annotations

from dataclasses import dataclass

from dogcm.physics.isoneutral import SlopeTaper


@dataclass(frozen=True)
class Physics:
    """Constants and choices that are fixed when the model is compiled.

    Attributes:
        dt: s. gravity: m s-2. rho0: kg m-3. heat_capacity: J kg-1 K-1. freezing: degC or None.
        tracer_advection: see :mod:`dogcm.dynamics.tracer_advection`. no_slip: at lateral walls.
        biharmonic_momentum, biharmonic_tracers: whether these terms are computed at all.
        viscosity_power, reference_spacing: lateral viscosities hold where the smaller side of a cell is
            ``reference_spacing`` (m), and vary with its power elsewhere.
        cd_time: coupling time (s) of the C-D scheme for the Coriolis force; None: the time scheme's own.
        friction: ``stress`` (:mod:`dogcm.physics.lateral`) or ``laplacian`` (:mod:`dogcm.physics.laplacian`).
        no_slip_bottom: whether the bottom exerts viscous stress, besides drag.
        pressure: density between layer centres, see :func:`dogcm.dynamics.pressure.hydrostatic_pressure`.
        eddies: isoneutral and Gent-McWilliams mixing with this tapering of slopes; None: neither.
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

    @property
    def halo(self) -> int:
        """Halo of the three-dimensional Fields that one step uses up."""
        return 4 if self.biharmonic_momentum else 2
