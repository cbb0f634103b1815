"""Vertical mixing of one's own, with a prognostic Field and two learnable parameters.

Turbulence takes time to grow and to die: the mixing coefficient m at the interfaces follows what
the Richardson number calls for within a time scale::

    dm/dt = (strength / (1 + 5 Ri)**2 - m) / time

which is stepped exactly, so that it is stable for any step. m is part of the state: it is in
restarts, on tiles and in gradients. Use it with::

    physics:
      vertical_mixing: {kind: sluggish_mixing:SluggishMixing, sluggish_time: 43200}
"""

import jax.numpy as jnp

import dogcm


class SluggishMixing(dogcm.VerticalMixing):
    """Mixing that follows the Richardson number with a delay."""

    sluggish_strength: float = dogcm.parameter(
        5e-3, "m2 s-1", "mixing without stratification", ge=0
    )
    sluggish_time: float = dogcm.parameter(86400.0, "s", "time scale of turbulence", gt=0)

    def carries(self):
        return ("sluggish",)

    def carried_halo(self):
        return 1

    def at_rest(self, like, params, grid):
        return {"sluggish": (grid.mask_cw * 0.0).crop(0).astype(like.dtype).named("sluggish")}

    def mix(self, column, params, grid, physics):
        dt = physics.momentum_dt

        def follow(m, n2, s2, mask, strength, time):
            ri = jnp.maximum(n2, 0.0) / (s2 + 1e-10)
            wanted = strength / (1.0 + 5.0 * ri) ** 2
            return (wanted + (m - wanted) * jnp.exp(-dt / time)) * mask

        strength, time = params["sluggish_strength"], params["sluggish_time"]
        before = column.carried["sluggish"]
        now = dogcm.fmap(
            follow, before, column.n2, column.shear2, grid.mask_cw, strength, time, name="sluggish"
        )
        pair = [now + floor for floor in column.background]
        if physics.convection is not None:
            names = ("viscosity", "diffusivity")
            pair = [physics.convection.add(k, column.n2, n, params) for k, n in zip(pair, names)]
        viscosity, diffusivity = (k * grid.mask_cw for k in pair)
        carried = {"sluggish": now.crop(0).named("sluggish")}
        return dogcm.Mixing(column.n2, viscosity, diffusivity, carried)
