"""An input of one's own for correctors: kinetic energy.

A recipe names it ``corrector: {inputs: [velocity, own_feature:KineticEnergy]}``.
"""

import dogcm
from dogcm import operators as op


class KineticEnergy(dogcm.Feature):
    """Kinetic energy at the centres, in units of that of a typical speed."""

    speed: float = dogcm.option(0.1, "m s-1", "typical speed", gt=0)

    def __call__(self, scene):
        u, v = scene.state.u * scene.grid.mask_u, scene.state.v * scene.grid.mask_v
        return [(op.mean_x_u2c(u * u) + op.mean_y_v2c(v * v)) * (1.0 / self.speed**2)]
