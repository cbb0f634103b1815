"""Light in the sea: two bands that decay with depth, and heat what absorbs them.

Paulson and Simpson (1977), doi:10.1175/1520-0485(1977)007<0952:IMITUO>2.0.CO;2: of the light that
enters, the part ``R exp(-z / red) + (1 - R) exp(-z / blue)`` reaches depth z.
"""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.field import Field, fmap

# Jerlov's optical water types, from clearest to murkiest (table 2 of the paper): R, red depth (m),
# blue depth (m).
JERLOV = {
    "I": (0.58, 0.35, 23.0),
    "IA": (0.62, 0.60, 20.0),
    "IB": (0.67, 1.00, 17.0),
    "II": (0.77, 1.50, 14.0),
    "III": (0.78, 1.40, 7.9),
}
PARAMETERS = ("shortwave_red_fraction", "shortwave_red_depth", "shortwave_blue_depth")


def penetrating(entering: Field, params: dict, grid) -> Field:
    """What passes each interface (unit of ``entering``, positive down), (nz - 1, y, x) at "cw".

    Depths are those at rest. Nothing passes the bottom: what reaches the deepest cell, which may be
    partly filled, heats it, so that all light turns into heat.
    """
    depth = jnp.cumsum(grid.dz, axis=0)[:-1]  # of the interfaces

    def passing(light, fraction, red, blue):
        return light * (
            fraction * jnp.exp(-depth / red) + (1.0 - fraction) * jnp.exp(-depth / blue)
        )

    share = fmap(passing, entering, *(params[n] for n in PARAMETERS), name="light")
    return share.with_data(share.data, "cw") * grid.mask_cw
