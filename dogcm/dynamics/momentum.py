"""Momentum in vector-invariant form: Coriolis and vorticity fluxes, kinetic energy, vertical
advection.

The flux of relative vorticity is one of :data:`VORTICITY_SCHEMES`, see
:mod:`dogcm.dynamics.vorticity`; the planetary part is always the one that conserves energy.
"""

from __future__ import annotations

from typing import ClassVar

from dogcm.dynamics import vorticity as fluxes
from dogcm.dynamics.interfaces import MomentumAdvection
from dogcm.field import Field, fence, hold
from dogcm.operators import (
    diff_x_c2u,
    diff_x_v2q,
    diff_y_c2v,
    diff_y_u2q,
    diff_z_c2w,
    mean_x_c2u,
    mean_x_q2v,
    mean_x_u2c,
    mean_x_v2q,
    mean_y_c2v,
    mean_y_q2u,
    mean_y_u2q,
    mean_y_v2c,
    mean_z_w2c,
)

VORTICITY_SCHEMES = ("energy", *fluxes.SCHEMES)


def vorticity(u: Field, v: Field, grid) -> Field:
    """Relative vorticity (s-1) at corners; zero at coasts."""
    u, v = fence(u, v)
    circulation = diff_x_v2q(v * grid.dy_v) - diff_y_u2q(u * grid.dx_u)
    return circulation / grid.area_q * grid.mask_q


def vorticity_flux_u(v: Field, q: Field, grid) -> Field:
    """Zonal acceleration (m s-2) by the flux of vorticity over thickness ``q`` (s-1 m-1).

    Together with :func:`vorticity_flux_v` it conserves kinetic energy exactly for any ``q``
    (Sadourny 1975, doi:10.1175/1520-0469(1975)032<0680:TDOFDM>2.0.CO;2).
    """
    v, q = fence(v, q)
    return mean_y_q2u(q * mean_x_v2q(v * (grid.h_v * grid.dx_v))) / grid.dx_u * grid.mask_u


def vorticity_flux_v(u: Field, q: Field, grid) -> Field:
    """Meridional acceleration (m s-2); see :func:`vorticity_flux_u`."""
    u, q = fence(u, q)
    return mean_x_q2v(q * mean_y_u2q(u * (grid.h_u * grid.dy_u))) / grid.dy_v * (-1.0) * grid.mask_v


def kinetic_energy(u: Field, v: Field, grid) -> Field:
    """Kinetic energy per mass (m2 s-2) at cell centres."""
    u, v = fence(u, v)
    return (mean_x_u2c(u * u * grid.area_u) + mean_y_v2c(v * v * grid.area_v)) * (0.5 / grid.area_c)


def advection(u: Field, v: Field, w: Field, grid, scheme: str = "energy") -> tuple[Field, Field]:
    """Nonlinear accelerations (m s-2): vorticity flux, kinetic energy gradient, vertical advection.

    Args:
        w: volume flux through the interfaces of cell centres per area (m s-1, positive up).
        scheme: of the vorticity flux, one of :data:`VORTICITY_SCHEMES`.
    """
    q, energy, flux = hold(
        vorticity(u, v, grid) * grid.inv_h_q, kinetic_energy(u, v, grid), w * grid.area_c
    )
    up_u = mean_x_c2u(flux) / grid.area_u * diff_z_c2w(fence(u)) * grid.mask_uw
    up_v = mean_y_c2v(flux) / grid.area_v * diff_z_c2w(fence(v)) * grid.mask_vw
    if scheme == "energy":
        turn_u, turn_v = vorticity_flux_u(v, q, grid), vorticity_flux_v(u, q, grid)
    else:
        turn_u, turn_v = fluxes.SCHEMES[scheme](u, v, q, grid)
    gu = turn_u - diff_x_c2u(energy) / grid.dx_u - mean_z_w2c(up_u) * grid.inv_h_u
    gv = turn_v - diff_y_c2v(energy) / grid.dy_v - mean_z_w2c(up_v) * grid.inv_h_v
    return gu * grid.mask_u, gv * grid.mask_v


class _VectorInvariant(MomentumAdvection):
    """Vorticity flux by the scheme of this name, kinetic energy gradient, vertical advection."""

    def momentum_halo(self) -> int:
        return fluxes.HALO[self.kind]

    def accelerations(self, u: Field, v: Field, w: Field, grid) -> tuple[Field, Field]:
        return advection(u, v, w, grid, self.kind)


class EnergyConserving(_VectorInvariant):
    """Vector-invariant, with a vorticity flux that conserves energy (Sadourny 1975)."""

    kind: ClassVar[str] = "energy"
    source: ClassVar[str] = "doi:10.1175/1520-0469(1975)032<0680:TDOFDM>2.0.CO;2"


class EnstrophyConserving(_VectorInvariant):
    """Vector-invariant, with a vorticity flux that conserves potential enstrophy (Sadourny
    1975)."""

    kind: ClassVar[str] = "enstrophy"
    source: ClassVar[str] = "doi:10.1175/1520-0469(1975)032<0680:TDOFDM>2.0.CO;2"


class EnergyEnstrophyConserving(_VectorInvariant):
    """Vector-invariant, with a vorticity flux that conserves energy, and potential enstrophy where
    the flow has no divergence (Arakawa and Lamb 1981)."""

    kind: ClassVar[str] = "energy_enstrophy"
    source: ClassVar[str] = "doi:10.1175/1520-0493(1981)109<0018:APEAEC>2.0.CO;2"


class WENOVorticity(_VectorInvariant):
    """Vector-invariant, with vorticity from upstream by WENO of fifth order: needs no viscosity."""

    kind: ClassVar[str] = "weno5"
    source: ClassVar[str] = "Silvestri et al. (2024), doi:10.1029/2023MS004130"
