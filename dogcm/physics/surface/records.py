"""Surface forcing: periodic records, interpolated in time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from dogcm.field import Field, hold

# name: (place, unit, meaning)
RECORDS = {
    "taux": ("u", "N m-2", "eastward wind stress on the ocean"),
    "tauy": ("v", "N m-2", "northward wind stress on the ocean"),
    "heat_flux": ("c", "W m-2", "net heat flux into the ocean"),
    "freshwater_flux": ("c", "m s-1", "volume of fresh water entering the ocean"),
    "sst": ("c", "degC", "temperature that the surface is restored to"),
    "sss": ("c", "g kg-1", "salinity that the surface is restored to"),
    "wind_u": ("c", "m s-1", "eastward wind at 10 m"),
    "wind_v": ("c", "m s-1", "northward wind at 10 m"),
    "wind_speed": ("c", "m s-1", "mean wind speed at 10 m"),
    "air_temperature": ("c", "degC", "air temperature"),
    "specific_humidity": ("c", "kg kg-1", "specific humidity of the air"),
    "shortwave_down": ("c", "W m-2", "downward short-wave radiation"),
    "longwave_down": ("c", "W m-2", "downward long-wave radiation"),
    "precipitation": ("c", "m s-1", "rain and snow"),
    "snowfall": ("c", "m s-1", "that part of the precipitation which is snow (water equivalent)"),
    "runoff": ("c", "m s-1", "fresh water from rivers and ice sheets"),
    "sea_level_pressure": ("c", "Pa", "air pressure at sea level"),
}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["records", "places"],
    meta_fields=["period", "functions"],
)
@dataclass(frozen=True)
class Forcing:
    """Surface forcing of one tile.

    Attributes:
        records: name (see :data:`RECORDS`) to a Field of shape (n, y, x): n records, each centred
            on its n-th part of ``period``. One record means steady forcing.
        period: s, usually one year.
        functions: name and function of ``(x, y, t)`` of fields that are computed at each step.
        places: by the same names x and y (Fields) where they are wanted.
    """

    records: dict[str, Field]
    period: float
    functions: tuple[tuple[str, Callable], ...] = ()
    places: dict[str, tuple[Field, Field]] = field(default_factory=dict)

    def at(self, time) -> dict[str, Field]:
        """Linear interpolation between the centres of the records, periodic in time."""
        # Stored: a loop that looks records up for each cell is slow.
        now = {name: hold(_interpolate(f, time, self.period)) for name, f in self.records.items()}
        for name, function in self.functions:
            x, y = self.places[name]
            values = jnp.broadcast_to(jnp.asarray(function(x.data, y.data, time)), x.data.shape)
            now[name] = hold(x.with_data(values.astype(x.dtype)).named(name))
        return now


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
