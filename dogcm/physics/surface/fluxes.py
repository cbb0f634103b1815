"""What enters the ocean in one step: given fluxes, restoring, fresh water, freezing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.components.bijectors import Interval
from dogcm.field import Field, fmap
from dogcm.halo import differentiable_sums, once
from dogcm.physics.interfaces import Bulk, SeaIce, Shortwave, Surface, SurfaceFlux


class Records(Surface):
    """Fluxes that records give, and restoring to records of temperature and salinity."""

    kind: ClassVar[str] = "records"
    sst_restoring_time: float = parameter(
        60.0 * 86400, "s", "time scale of temperature restoring, for the first layer", gt=0
    )
    sss_restoring_time: float = parameter(
        180.0 * 86400, "s", "time scale of salinity restoring, for the first layer", gt=0
    )
    ocean_albedo: float = parameter(
        0.066, "1", "albedo of open water", bijector=Interval(0.0, 1.0), ge=0, lt=1
    )


@dataclass(frozen=True)
class SurfaceScheme:
    """Choices of surface physics beyond records of fluxes, fixed when the model is compiled.

    Attributes:
        bulk: fluxes from the state of the air, or None. ice: sea ice, or None.
        shortwave: where light is absorbed; None: in the first layer.
        extra: fluxes of one's own, by name.
        balance_freshwater: take the global mean off what evaporation, precipitation and rivers
            bring.
        balance_salt: take the global mean off what restoring of salinity brings.
        freezing_point: ``teos10`` or ``millero``, see
            :func:`dogcm.physics.surface.ice.freezing_point`.
    """

    bulk: Bulk | None = None
    ice: SeaIce | None = None
    shortwave: Shortwave | None = None
    extra: tuple[tuple[str, SurfaceFlux], ...] = ()
    balance_freshwater: bool = False
    balance_salt: bool = False
    freezing_point: str = "teos10"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SurfaceFluxes:
    """What enters the ocean during one step, per area.

    Attributes:
        heat: temperature flux (K m s-1), all heat divided by rho0 cp. salt: salinity flux (g kg-1 m
            s-1).
        freshwater: volume flux (m s-1).
        penetrating: the part of ``heat`` that passes each interface as light (K m s-1, positive
            down), or None.
        closures: sea ice after the step, before what freezes at its end.
    """

    heat: Field
    salt: Field
    freshwater: Field
    penetrating: Field | None = None
    closures: dict[str, Field] = field(default_factory=dict)


def surface_fluxes(
    now: dict[str, Field],
    temperature: Field,
    salinity: Field,
    thickness: Field,
    params: dict,
    grid,
    physics,
    light: Field | None = None,
) -> SurfaceFluxes:
    """Fluxes from this moment's records and the surface layer's temperature and salinity.

    Restoring acts as a flux, ``dz[0] / timescale`` times the difference. Fresh water enters with
    the temperature of the sea and without salt. Cooling stops where the sea is about to freeze,
    unless there is a sea-ice model to take care of that.

    Args:
        thickness: of the surface layer (m).
        physics: constants (rho0, heat_capacity, freezing, dt).
        light: see :attr:`SurfaceFluxes.penetrating`.
    """
    zero = temperature * 0.0
    heat, salt, fresh = zero, zero, zero
    if "heat_flux" in now:
        heat = heat + now["heat_flux"] * (1.0 / (physics.rho0 * physics.heat_capacity))
    dz = grid.dz[0, 0, 0]
    if "sst" in now:
        heat = heat + (now["sst"] - temperature) * (dz / params["sst_restoring_time"])
    if "sss" in now:
        salt = salt + (now["sss"] - salinity) * (dz / params["sss_restoring_time"])
    for name in ("freshwater_flux", "runoff"):
        if name in now:
            fresh = fresh + now[name]
    scheme = getattr(physics, "surface", None)
    if physics.freezing is not None and not (scheme and scheme.ice):
        # At most what takes the layer to the freezing point within this step.
        room = (temperature - physics.freezing) * thickness * (1.0 / physics.dt)
        if light is not None and light.shape[0]:
            lost = light.level(0)
            cooling = lambda q, r, i: jnp.maximum(q, i - jnp.maximum(r, 0.0))
            heat = fmap(cooling, heat, room, lost.with_data(lost.data, "c"), name="heat")
        else:
            heat = fmap(lambda q, r: jnp.maximum(q, -jnp.maximum(r, 0.0)), heat, room, name="heat")
    wet = grid.wet_c
    return SurfaceFluxes(heat * wet, salt * wet, fresh * wet, light)


def imbalance(fluxes: SurfaceFluxes, halos, grid, physics) -> tuple:
    """Means over the ocean of heat (W m-2) and fresh water (m s-1) entering, the same on every
    layout.

    In equilibrium both vanish. Heat that fresh water carries at the temperature of the sea is not
    counted.
    """
    heat = global_mean(fluxes.heat.crop(0), halos, grid) * (physics.rho0 * physics.heat_capacity)
    return heat, global_mean(fluxes.freshwater.crop(0), halos, grid)


def global_mean(f: Field, halos, grid):
    """Area mean over wet cells of a Field without halo, by sums whose order does not matter."""
    area = (grid.area_c * grid.wet_c).crop(0)
    area = area.with_data(once(halos, area.data))
    total, whole = differentiable_sums(halos, (f * area).data, area.data)
    return total / whole
