"""An output variable of one's own: the speed of the current at cell centres.

Use it with::

    run:
      variables: {speed: {kind: speed:Speed}}
      output: {daily: {variables: [speed], every: 1}}
"""

import jax.numpy as jnp

import dogcm
from dogcm import operators as op


class Speed(dogcm.OutputVariable):
    """Speed of the current."""

    unit = "m s-1"
    standard_name = "sea_water_speed"
    floor: float = dogcm.option(0.0, "m s-1", "slower currents count as none", ge=0)

    def compute(self, scene):
        u, v, _ = scene.flow
        east, north = op.mean_x_u2c(u).crop(0), op.mean_y_v2c(v).crop(0)
        size = lambda a, b: jnp.sqrt(a * a + b * b)
        speed = dogcm.fmap(size, east, north, name="speed")
        return speed.with_data(jnp.where(speed.data < self.floor, 0.0, speed.data))
