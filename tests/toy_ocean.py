"""A small world with everything training has to deal with: halos, tiles, a scalar and a map, and a
long memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import Decomposition, make_layout
from dogcm.field import Field, exchange
from dogcm.halo import connect

SHAPE = (8, 12)
TRUTH = {"k": 0.12, "pull": 0.03}
STEPS = 6


class Toy:
    """Nonlinear diffusion of one Field, with a diffusivity (scalar), a source (map) and a global
    mean."""

    def __init__(self, comm, px: int | None = None, shape=SHAPE):
        self.comm, self.shape, px = comm, shape, px or comm.size
        self.decomposition = Decomposition(
            make_layout(shape, px, comm.size // px, min_cells=2), comm
        )
        self.halos = connect(self.decomposition.layout, comm)

    def tile(self, values) -> jax.Array:
        t = self.decomposition.tile
        return jnp.asarray(np.asarray(values)[..., t.j0 : t.j1, t.i0 : t.i1])

    def step(self, state: dict, params: dict, forcing, grid) -> dict:
        f = state["c"]
        (g,) = exchange(self.halos, (f, 1))
        x = g.data
        lap = x[1:-1, :-2] + x[1:-1, 2:] + x[:-2, 1:-1] + x[2:, 1:-1] - 4 * x[1:-1, 1:-1]
        mean = self.halos.psum(jnp.sum(f.data)) / np.prod(self.shape)
        change = params["k"] * lap + params["pull"] * jnp.tanh(mean - f.data) + forcing
        if "source" in params:
            change = change + params["source"].data
        return {"c": f.with_data(f.data + change), "steps": state["steps"] + 1}

    def start(self, seed: int) -> dict:
        values = np.random.default_rng(seed).normal(size=self.shape)
        return {"c": Field(self.tile(values), "c"), "steps": jnp.asarray(0, jnp.int32)}

    @property
    def forcing(self):
        return self.tile(0.01 * np.sin(np.arange(np.prod(self.shape))).reshape(self.shape))
