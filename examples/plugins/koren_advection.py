"""Tracer advection of one's own: Koren's limiter.

The value at a face is the upstream one plus half of ``max(0, min(2 u, (d + 2 u) / 3, 2 d))``, with
the differences d across the face and u upstream of it, both in the direction of d: third order
where the tracer is smooth, no new extremes in one dimension (Koren 1993, in Numerical Methods for
Advection-Diffusion Problems, pages 117 to 138).

Use it with::

    physics:
      tracer_advection: {kind: koren_advection:Koren, sharpness: 2.0}
"""

import jax.numpy as jnp

import dogcm
from dogcm import operators as op


class Koren(dogcm.OneStageAdvection):
    """Third order with Koren's limiter."""

    source = "Koren (1993)"
    sharpness: float = dogcm.option(
        2.0, "1", "how many times the smaller difference a correction may be", gt=0, le=2
    )

    def reconstruct_x(self, c, velocity, courant, grid):
        step = op.diff_x_c2u(c) * grid.mask_u
        around = op.previous_x(step), step, op.next_x(step)
        return self._limited(velocity, op.lower_x_c2u(c), op.upper_x_c2u(c), *around)

    def reconstruct_y(self, c, velocity, courant, grid):
        step = op.diff_y_c2v(c) * grid.mask_v
        around = op.previous_y(step), step, op.next_y(step)
        return self._limited(velocity, op.lower_y_c2v(c), op.upper_y_c2v(c), *around)

    def reconstruct_z(self, c, w, courant, grid):
        step = op.diff_z_c2w(c) * grid.mask_cw
        above, below = (step.with_data(jnp.roll(step.data, n, 0)) for n in (1, -1))
        # Beyond the surface and the bottom there is no difference.
        above = above.with_data(above.data.at[0].set(0.0))
        below = below.with_data(below.data.at[-1].set(0.0))
        around = above, step, below
        return self._limited(-w, op.upper_z_c2w(c), op.lower_z_c2w(c), *around)

    def _limited(self, velocity, low, high, before, here, after):
        """The value carried from ``low`` to ``high`` where the velocity is positive."""

        def value(v, low, high, before, here, after):
            forward = v > 0
            upstream = jnp.where(forward, before, after)
            sign = jnp.where(here < 0, -1.0, 1.0).astype(here.dtype)
            d, u = here * sign, upstream * sign
            most = self.sharpness * jnp.minimum(d, u)
            half = 0.5 * sign * jnp.maximum(jnp.minimum(most, (d + 2.0 * u) / 3.0), 0.0)
            return jnp.where(forward, low + half, high - half)

        return dogcm.fmap(value, velocity, low, high, before, here, after, name="koren")
