"""Surface fluxes: periodic records interpolated in time, restoring, fresh water, freezing."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dogcm.field import Field, fmap, hold

# name: (place, unit, meaning)
RECORDS = {
    "taux": ("u", "N m-2", "eastward wind stress on the ocean"),
    "tauy": ("v", "N m-2", "northward wind stress on the ocean"),
    "heat_flux": ("c", "W m-2", "net heat flux into the ocean"),
    "freshwater_flux": ("c", "m s-1", "volume of fresh water entering the ocean"),
    "sst": ("c", "degC", "temperature that the surface is restored to"),
    "sss": ("c", "g kg-1", "salinity that the surface is restored to"),
}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["records"], meta_fields=["period"])
@dataclass(frozen=True)
class Forcing:
    """Surface forcing of one tile.

    Attributes:
        records: name (see :data:`RECORDS`) to a Field of shape (n, y, x): n records, each centred on its
            n-th part of ``period``. One record means steady forcing.
        period: s, usually one year.
    """

    records: dict[str, Field]
    period: float

    def at(self, time) -> dict[str, Field]:
        """Linear interpolation between the centres of the records, periodic in time."""
        # Stored: a loop that looks records up for each cell is slow.
        return {name: hold(_interpolate(f, time, self.period)) for name, f in self.records.items()}


def _interpolate(records: Field, time, period: float) -> Field:
    count = records.shape[0]
    if count == 1:
        return records.with_data(records.data[0])
    position = jnp.mod(time, period) * (count / period) - 0.5
    first = jnp.floor(position)
    weight = (position - first).astype(records.dtype)
    i = jnp.mod(first.astype(jnp.int32), count)
    low = jax.lax.dynamic_index_in_dim(records.data, i, 0, keepdims=False)
    high = jax.lax.dynamic_index_in_dim(records.data, jnp.mod(i + 1, count), 0, keepdims=False)
    return records.with_data(low * (1 - weight) + high * weight)


@dataclass(frozen=True)
class SurfaceFluxes:
    """What enters the ocean during one step, per area.

    Attributes:
        heat: temperature flux (K m s-1), all heat divided by rho0 cp. salt: salinity flux (g kg-1 m s-1).
        freshwater: volume flux (m s-1).
    """

    heat: Field
    salt: Field
    freshwater: Field


def surface_fluxes(now: dict[str, Field], temperature: Field, salinity: Field, thickness: Field, params: dict,
                   grid, physics) -> SurfaceFluxes:  # fmt: skip
    """Fluxes from this moment's records and the surface layer's temperature and salinity.

    Restoring acts as a flux, ``dz[0] / timescale`` times the difference. Fresh water enters with the
    temperature of the sea and without salt. Cooling stops where the sea is about to freeze.

    Args:
        thickness: of the surface layer (m).
        physics: constants (rho0, heat_capacity, freezing, dt).
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
    if "freshwater_flux" in now:
        fresh = fresh + now["freshwater_flux"]
    if physics.freezing is not None:
        # At most what takes the layer to the freezing point within this step.
        room = (temperature - physics.freezing) * thickness * (1.0 / physics.dt)
        heat = fmap(lambda q, r: jnp.maximum(q, -jnp.maximum(r, 0.0)), heat, room, name="heat")
    wet = grid.wet_c
    return SurfaceFluxes(heat * wet, salt * wet, fresh * wet)
