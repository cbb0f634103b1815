"""A coupling loop: the surface fluxes are computed outside, and the ocean is stepped by them.

This is how an atmosphere in JAX would drive dogcm. Here the air is a slab that warms towards an
equilibrium and exchanges heat with the sea; both are stepped inside one jitted function, so that a
gradient would run through both.
"""

from functools import partial

import jax
import jax.numpy as jnp

import dogcm

HOUR, EXCHANGE, AIR = 3600.0, 40.0, 1e7  # s, W m-2 K-1, J m-2 K-1
ocean = dogcm.Model(
    "gyre",
    {"grid.nx": 30, "grid.ny": 30, "run.output": {}},
    forcing={"wind_stress_x": 0.05, "heat_flux": 0.0},
    time_step=HOUR,
)
records = ocean.forcing.records


def air_step(air, sea_surface):
    """Heat into the sea (W m-2) and the air an hour later (degC)."""
    heat = EXCHANGE * (air - sea_surface)
    warming = (15.0 - air) / (10 * 86400.0) - heat / AIR
    return heat, air + HOUR * warming


@partial(jax.jit, static_argnums=2)
def coupled(state, air, hours):
    """Ocean and air after some hours."""

    def hour(_, both):
        state, air = both
        (surface,) = dogcm.exchange(ocean.halos, (state.temperature.level(0), 2))
        heat, air = air_step(air, surface.data)
        flux = records["heat_flux"].with_data(heat[None])
        forcing = dogcm.Forcing({**records, "heat_flux": flux}, ocean.forcing.period)
        return ocean.step(state, ocean.params, forcing, ocean.grid), air

    return jax.lax.fori_loop(0, hours, hour, (state, air))


air = jnp.full(records["heat_flux"].data.shape[1:], 10.0)
before = ocean.read().temperature
ocean.state, air = coupled(ocean.state, air, 240)
after = ocean.read().temperature
print(f"ocean {before:.3f} -> {after:.3f} degC, air now {float(air.mean()):.2f} degC")
