"""One tracer carried by a steady flow, through the model's own transport code and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import make
from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import convergence, interface_flow
from dogcm.dynamics.interfaces import Flow
from dogcm.field import Field, exchange
from dogcm.operators import diff_x_q2v, diff_y_q2u
from dogcm.simulation.model import Model


class Carrier:
    """A steady flow that carries a tracer; sea level rests.

    Args:
        model: of the grid. scheme: kind of tracer advection. step: s. flow: transports per width
            (m2 s-1) through west and south faces, with halo.
    """

    def __init__(self, model: Model, scheme: Any, step: float, flow: tuple[Field, Field]):
        self.model = model
        chosen = make("tracer_advection", scheme).prepared(model.vertical.dz)
        physics = replace(model.physics, tracer_advection=chosen, dt=step)
        self.step, self.physics = step, physics
        self.halo = physics.tracer_halo
        self._many = model.jit(self._steps)
        still = model.grid.wet_c * 0.0
        self.flow = (*flow, interface_flow(*flow, still, model.grid))

    def _steps(self, c, count, flow, grid):
        def one(n, c):
            (deep,) = exchange(self.model.halos, (Field(c, "c"), Halo.of(self.halo)))
            through = Flow(*flow, grid.h_c, self.step)
            scheme = self.physics.tracer_advection
            fluxes = scheme.prepare({"c": deep}, through, self.model.halos, n, grid)("c")
            gained = convergence(*fluxes, grid).interior
            thickness = jnp.where(grid.mask_c.interior > 0, grid.h_c.interior, 1.0)
            return c + self.step * gained / thickness

        return jax.lax.fori_loop(0, count, one, c)

    def carry(self, values: np.ndarray, count: int) -> np.ndarray:
        """The global field (nz, ny, nx) after ``count`` steps, on every rank."""
        m = self.model
        own = m.decomposition.scatter(values if m.comm.rank == 0 else None)
        found = self._many(jnp.asarray(own), count, self.flow, m.grid)
        return m.comm.broadcast(m.decomposition.gather(np.asarray(found)))


def scattered(model: Model, values: np.ndarray, at: str) -> Field:
    """A Field with a deep halo from a global array (nz, ny, nx)."""
    deep = Halo.of(model.physics.halo)
    root = model.comm.rank == 0
    return Field(
        jnp.asarray(model.decomposition.scatter(values if root else None, deep, at=at)), at, deep
    )


def from_streamfunction(model: Model, psi: np.ndarray) -> tuple[Field, Field]:
    """Transports per width (m2 s-1) from a streamfunction (m2 s-1, (ny, nx)) at south-west
    corners, the same in all layers."""
    g = model.grid
    q = scattered(model, np.broadcast_to(psi, (model.vertical.nz, *psi.shape)).copy(), "q")
    flow_u = diff_y_q2u(q) / g.dy_u * g.h_u * g.mask_u * -1.0
    return flow_u, diff_x_q2v(q) / g.dx_v * g.h_v * g.mask_v


def relative_error(found: np.ndarray, exact: np.ndarray, volume: np.ndarray) -> float:
    """Root of the mean square of the difference over that of the exact field, by volume."""
    return float(np.sqrt((volume * (found - exact) ** 2).sum() / (volume * exact**2).sum()))


__all__ = ["Carrier", "from_streamfunction", "relative_error", "scattered"]
