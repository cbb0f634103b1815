"""A grid of one's own: latitude-longitude with rows that are narrower near the equator.

The height of rows grows from ``finest`` at the equator with the latitude, as waves there want it.
Use it with::

    grid: {kind: stretched_grid:EquatorialGrid, nx: 90, ny: 40, finest: 0.25}
"""

import numpy as np

import dogcm
from dogcm import horizontal


class EquatorialGrid(dogcm.Grid):
    """Latitude-longitude grid, refined at the equator."""

    finest: float = dogcm.option(0.5, "1", "row height at the equator over the mean", gt=0, le=1)
    limit: float = dogcm.option(60.0, "degrees_north", "northern and southern edge", gt=0, le=85)

    def horizontal(self):
        # An odd function whose slope is `finest` at the equator and whose ends are the limits.
        s = np.linspace(-1.0, 1.0, self.ny + 1)
        lat = self.limit * (self.finest * s + (1.0 - self.finest) * s**3)
        return horizontal.LatLonGrid(np.linspace(0.0, 360.0, self.nx + 1), lat)
