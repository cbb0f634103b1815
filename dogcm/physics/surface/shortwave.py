"""Light in the sea: two bands that decay with depth, and heat what absorbs them.

Paulson and Simpson (1977), doi:10.1175/1520-0485(1977)007<0952:IMITUO>2.0.CO;2: of the light that
enters, the part ``R exp(-z / red) + (1 - R) exp(-z / blue)`` reaches depth z.
"""

from __future__ import annotations

from copy import copy
from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.components.bijectors import Interval
from dogcm.field import Field, fmap
from dogcm.physics.interfaces import Shortwave

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


class TwoBand(Shortwave):
    """Two bands of light that decay with depth."""

    kind: ClassVar[str] = "two_band"
    source: ClassVar[str] = (
        "Paulson and Simpson (1977), doi:10.1175/1520-0485(1977)007<0952:IMITUO>2.0.CO;2"
    )
    shortwave_red_fraction: float = parameter(
        0.58, "1", "part of the light that decays fast", bijector=Interval(0.0, 1.0), gt=0, lt=1
    )
    shortwave_red_depth: float = parameter(0.35, "m", "depth over which it decays", gt=0)
    shortwave_blue_depth: float = parameter(23.0, "m", "depth over which the rest decays", gt=0)

    def penetrating(self, entering: Field, params: dict, grid) -> Field:
        return penetrating(entering, params, grid)


def _water_type(name: str, values: tuple[float, float, float]) -> type[TwoBand]:
    fields = {}
    for parent, value in zip(PARAMETERS, values):
        info = copy(TwoBand.model_fields[parent])
        info.default = value
        fields[parent] = info
    space = {
        "__doc__": f"Light in sea water of Jerlov's optical type {name}.",
        "__module__": __name__,
        "__qualname__": f"Jerlov{name}",
        "__annotations__": {"kind": ClassVar[str], **dict.fromkeys(fields, float)},
        "kind": name,
        **fields,
    }
    return type(TwoBand)(f"Jerlov{name}", (TwoBand,), space)


JerlovI, JerlovIA, JerlovIB, JerlovII, JerlovIII = (
    _water_type(name, values) for name, values in JERLOV.items()
)


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
