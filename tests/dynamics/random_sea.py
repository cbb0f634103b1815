"""A sea with islands under a random flow, for tests of advection."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from dogcm.components import make
from dogcm.decomp import Decomposition, Halo, make_layout
from dogcm.dynamics.continuity import divergence, interface_flow
from dogcm.dynamics.interfaces import Flow
from dogcm.field import Field, exchange, hold
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import CartesianGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect
from dogcm.operators import diff_x_u2c, diff_y_v2c, diff_z_w2c, sum_z

DEPTH = 4
NX, NY, LAYERS = 18, 12, np.array([40.0, 50.0, 75.0, 110.0, 150.0, 160.0])


class Sea:
    """A channel with islands, uneven layers and partial cells, and a random flow of 0.2 cells a
    step."""

    def __init__(
        self, comm, dtype=np.float64, shape=(NY, NX), layers=LAYERS, islands=True, speed=0.2
    ):
        self.shape, self.layers, self.dtype, ny, nx = shape, layers, dtype, *shape
        self.layout = make_layout(shape, *cut(comm.size), min_cells=DEPTH)
        self.decomposition, self.halos = (
            Decomposition(self.layout, comm),
            connect(self.layout, comm),
        )
        cells = np.broadcast_to(layers[:, None, None], (layers.size, ny, nx)).copy()
        if islands:
            cells[:, 3:5, 4:7], cells[:, 8, 11:13], cells[3:, 6, 2] = 0.0, 0.0, 0.0
            cells[-1] *= np.random.default_rng(7).uniform(0.3, 1, shape)
        plane = CartesianGrid(nx, ny, 2e4, 3e4)
        self.grid = build_grid(
            plane,
            VerticalGrid(layers),
            self.decomposition,
            cells if comm.rank == 0 else None,
            DEPTH,
            Halo.of(DEPTH),
            dtype,
        )
        self.dt = 1000.0
        self.flow = self._flow(speed)

    def field(self, values, at: str, depth=DEPTH) -> Field:
        """A global array as a Field with halo, zero on land."""
        t = self.decomposition.tile
        mine = jnp.asarray(values[..., t.j0 : t.j1, t.i0 : t.i1], self.dtype)
        mask = getattr(self.grid, f"mask_{at}")
        return exchange(self.halos, (Field(mine, at), depth))[0] * mask

    def random(self, seed: int, at: str = "c") -> Field:
        return self.field(
            np.random.default_rng(seed).normal(size=(self.layers.size, *self.shape)), at
        )

    def _flow(self, speed: float) -> Flow:
        g, size = self.grid, speed * 2e4 / self.dt
        u, v = (self.random(s, at) * size for s, at in ((1, "u"), (2, "v")))
        u, v = u * 0.3 * g.h_u, v * 0.3 * g.h_v
        rate = divergence(sum_z(u), sum_z(v), g) * (-1.0)
        return Flow(u, v, interface_flow(u, v, rate, g), g.h_c, self.dt)

    def advance(self, c: Field, scheme: str, steps=0, flow=None, grid=None) -> tuple[Field, Field]:
        """Value and thickness after one step by a kind of tracer advection."""
        flow, g = flow or self.flow, grid or self.grid
        chosen = make("tracer_advection", scheme).prepared(self.layers)
        deep = {"c": c.crop(chosen.tracer_halo())}
        fluxes = chosen.prepare(deep, flow, self.halos, steps, g)("c")
        return self.after(c, fluxes, flow, g)

    def after(self, c: Field, fluxes, flow, g) -> tuple[Field, Field]:
        """Value and thickness after a step with these fluxes."""
        rate = lambda x, y, z: (diff_x_u2c(x) + diff_y_v2c(y)) / g.area_c * (-1.0) - diff_z_w2c(z)
        h = flow.h.crop(0) + rate(flow.u * g.dy_u, flow.v * g.dx_v, flow.w) * flow.dt
        content = c.crop(0) * flow.h + rate(*fluxes) * flow.dt
        content, h = hold(content.crop(0), h.crop(0))
        return content / (h + (1.0 - g.mask_c)) * g.mask_c, h


def cut(size: int) -> tuple[int, int]:
    return {1: (1, 1), 2: (2, 1), 4: (2, 2), 6: (3, 2)}[size]
