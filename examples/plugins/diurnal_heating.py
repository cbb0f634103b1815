"""A surface flux of one's own: the sun of a day.

Heat enters by day and leaves by night, ``amplitude * cos(2 pi t / day)``, with evaporation that
follows it. Use it with::

    forcing:
      fluxes:
        sun: {kind: diurnal_heating:DiurnalHeating, diurnal_amplitude: 300}
"""

import jax.numpy as jnp

import dogcm

DAY = 86400.0
VAPORISATION = 2.5e6 * 1000.0  # J m-3 of water


class DiurnalHeating(dogcm.SurfaceFlux):
    """Heating by day and cooling by night."""

    evaporating: float = dogcm.option(
        0.1, "1", "part of the heating by day that evaporates water", ge=0, le=1
    )
    diurnal_amplitude: float = dogcm.parameter(200.0, "W m-2", "largest heating", ge=0)

    def fluxes(self, temperature, salinity, now, params, grid, time):
        sun = params["diurnal_amplitude"] * jnp.cos(2.0 * jnp.pi * (time % DAY) / DAY)
        water = (-self.evaporating / VAPORISATION) * jnp.maximum(sun, 0.0)
        everywhere = grid.wet_c.crop(0)
        return {"heat": everywhere * sun, "freshwater": everywhere * water}
