"""An output of one's own for correctors: the network says where the flow is slowed or driven.

A recipe names it ``corrector: {outputs: {velocity: own_output:AlongTheFlow}}``.
"""

import jax.numpy as jnp

import dogcm
from dogcm import operators as op


class AlongTheFlow(dogcm.CorrectorOutput):
    """A bounded acceleration along the flow or against it; where nothing moves there is none."""

    corrects = ("velocity",)
    speed: float = dogcm.option(0.1, "m s-1", "from which on it is the full one", gt=0)

    def __call__(self, raw, p):
        along = lambda f: dogcm.fmap(lambda x: jnp.tanh(x / self.speed), f)
        x, y = p.bounded(op.mean_x_c2u(raw[0])), p.bounded(op.mean_y_c2v(raw[1]))
        u, v, g = p.state.u, p.state.v, p.grid
        return {"u": x * along(u) * g.mask_u, "v": y * along(v) * g.mask_v}
