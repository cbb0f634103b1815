"""Daylight at the sea surface."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_OBLIQUITY = 23.44  # degrees
_SOLSTICE = 10.0 / 365.0  # years from the northern winter solstice to the start of the year


def daily_insolation(latitude, time, year: float, solar_constant: float = 1361.0):
    """Daily mean insolation (W m-2) on a flat surface above the atmosphere, for a circular orbit.

    ``S / pi (h sin(lat) sin(d) + cos(lat) cos(d) sin(h))`` with the declination d and the hour
    angle of sunset h (Liou 2002, An Introduction to Atmospheric Radiation, equation 2.2.21).

    Args:
        latitude: degrees. time: s since the start of a year of ``year`` seconds.
    """
    # Seasons are given: no derivative with respect to the clock.
    phase = (jax.lax.stop_gradient(time) / year + _SOLSTICE) * (2 * jnp.pi)
    declination = (-jnp.deg2rad(_OBLIQUITY) * jnp.cos(phase)).astype(latitude.dtype)
    lat = jnp.deg2rad(latitude)
    sunset = jnp.arccos(jnp.clip(-jnp.tan(lat) * jnp.tan(declination), -1.0, 1.0))
    path = sunset * jnp.sin(lat) * jnp.sin(declination) + jnp.cos(lat) * jnp.cos(
        declination
    ) * jnp.sin(sunset)
    return jnp.maximum(path, 0.0) * (solar_constant / jnp.pi)
