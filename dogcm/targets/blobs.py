"""Smooth changes of a state, for twins with a wrong start."""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.field import Field
from dogcm.timestepping.state import State


def with_blobs(state: State, blobs, model) -> State:
    """``state`` with Gaussian anomalies of tracers.

    Args:
        blobs: sections as in :class:`dogcm.targets.kinds.twin.BlobRecipe`.
        model: :class:`dogcm.simulation.model.Model` of the state.
    """
    tracers = dict(state.tracers)
    for a in blobs:
        tracers[a.variable] = tracers[a.variable] + blob_field(a, model)
    return state.replace(tracers=tracers)


def blob_field(a, model) -> Field:
    """One anomaly ``(nz, y, x)`` in the unit of its variable, 0 on land."""
    grid = model.grid
    lon, lat = grid.lon_c.interior, grid.lat_c.interior
    if model.horizontal.spherical:
        lon, lat, lon0, lat0 = (
            jnp.deg2rad(x) for x in (lon, lat, jnp.asarray(a.lon), jnp.asarray(a.lat))
        )
        # Haversine formula: accurate for small distances.
        half = (
            jnp.sin(0.5 * (lat - lat0)) ** 2
            + jnp.cos(lat) * jnp.cos(lat0) * jnp.sin(0.5 * (lon - lon0)) ** 2
        )
        distance = 2.0 * model.horizontal.radius * jnp.arcsin(jnp.sqrt(jnp.clip(half, 0.0, 1.0)))
    else:
        distance = 1e3 * jnp.hypot(lon - a.lon, lat - a.lat)
    shape = jnp.exp(
        -0.5 * (distance / a.width) ** 2 - 0.5 * ((grid.z_c - a.depth) / a.thickness) ** 2
    )
    mask = grid.mask_c.crop(0)
    return mask.with_data((a.amplitude * shape).astype(mask.dtype)) * mask


__all__ = ["blob_field", "with_blobs"]
