"""A series of one's own: how much warm water each basin holds.

Use it with::

    run:
      diagnostics:
        every: 30
        series: {warm_water: {kind: own_series:WarmWater, warmer_than: 15}}
"""

import jax.numpy as jnp

import dogcm
from dogcm import operators as op


class WarmWater(dogcm.DiagnosticSeries):
    """Volume of water above a temperature, in each basin."""

    axes = ("basin",)
    unit = "m3"
    warmer_than: float = dogcm.option(20.0, "degree_C", "temperature that counts as warm")

    def sample(self, scene):
        """Thickness (m) of the warm layers of a column, as thick as at rest."""
        thick = scene.grid.h_c.crop(0)
        warm = scene.state.temperature.crop(0).data > self.warmer_than
        return op.sum_z(thick.with_data(jnp.where(warm, thick.data, 0.0)))

    def number(self, mean, ocean):
        return ocean.sum(ocean.basins * mean.interior * ocean.area)
