"""Parts of the ocean by limits of latitude, longitude and depth."""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.field import Field

Limits = tuple[float, float] | None


def region(grid, lat: Limits, lon: Limits, depth: Limits) -> Field:
    """1 in wet cells whose centre lies within the limits, 0 elsewhere; (nz, ny, nx) without halo.

    Args:
        lat, lon: degrees (on a plane: km), None: all. Longitudes may be given in any turn; the
            second lies east of the first, so (350, 10) crosses Greenwich. depth: m at rest,
            positive down.
    """
    mask = grid.mask_c.crop(0)
    inside = mask.data > 0
    if lat is not None:
        y = grid.lat_c.crop(0).data
        inside = inside & (y >= lat[0]) & (y <= lat[1])
    if lon is not None:
        x = grid.lon_c.crop(0).data
        if not grid.spherical:
            inside = inside & (x >= lon[0]) & (x <= lon[1])
        elif lon[1] - lon[0] < 360:
            inside = inside & (jnp.mod(x - lon[0], 360.0) <= (lon[1] - lon[0]) % 360.0)
    if depth is not None:
        inside = inside & (grid.z_c >= depth[0]) & (grid.z_c <= depth[1])
    return mask.with_data(inside.astype(mask.dtype)).named("region")


def check_limits(name: str, value: Limits) -> Limits:
    """Refuse limits that hold nothing."""
    if value is not None and not value[0] < value[1]:
        raise ValueError(f"{name} {value}: the second limit has to be larger than the first")
    return value
