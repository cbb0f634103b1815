"""Carry a square and a Gaussian once around a channel by every tracer advection scheme, and draw
what is left.

python docs/make_advection_figure.py            # docs/figures/advection.png
python docs/make_advection_figure.py --cost     # and processor time per cell of each scheme,
interleaved
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import dogcm
from dogcm.components import make
from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout
from dogcm.dynamics.interfaces import Flow
from dogcm.field import Field, exchange
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import CartesianGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect
from dogcm.operators import diff_x_u2c, diff_y_v2c, diff_z_w2c
from dogcm.timestepping import shipped  # noqa: F401 defines the schemes

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FIGURE = Path(__file__).with_name("figures") / "advection.png"
SHOWN = ("upwind", "dst3", "dst3_limited", "ppm", "weno5", "weno7")
TIMED = (*SHOWN, "dst3_split", "dst3_limited, bounded")
DEPTH, DX, DT = 4, 1e4, 1000.0


class Channel:
    """A channel of equal cells with steady flow along x (m s-1)."""

    def __init__(self, shape, speed: float):
        nz, ny, nx = self.shape = shape
        layout, comm = make_layout((ny, nx), 1, 1), SerialCommunicator()
        self.halos, layers = connect(layout, comm), np.full(nz, 100.0)
        cells = np.full(shape, 100.0)
        cells[:, [0, -1]] = 0.0
        self.grid = build_grid(
            CartesianGrid(nx, ny, DX, DX),
            VerticalGrid(layers),
            Decomposition(layout, comm),
            cells,
            DEPTH,
            Halo.of(DEPTH),
        )
        u = self.deep(np.full(shape, 100.0 * speed), "u") * self.grid.mask_u
        self.flow = Flow(
            u,
            self.deep(np.zeros(shape), "v"),
            self.deep(np.zeros((nz - 1, ny, nx)), "cw"),
            self.grid.h_c,
            DT,
        )

    def deep(self, values, at: str) -> Field:
        return exchange(self.halos, (Field(jnp.asarray(values), at), DEPTH))[0]

    def step(self, scheme: str, n, values):
        """One step of the tracer."""
        g, flow = self.grid, self.flow
        kind, _, bounded = scheme.partition(", ")
        one = make("tracer_advection", {"kind": kind} | ({"bounded": True} if bounded else {}))
        c = self.deep(values, "c").crop(one.tracer_halo())
        fluxes = one.prepare({"c": c}, flow, self.halos, n, g)("c")
        fx, fy, fz = fluxes
        change = (diff_x_u2c(fx) + diff_y_v2c(fy)) / g.area_c + diff_z_w2c(fz)
        return values - change.crop(0).data * (DT / 100.0)

    def many(self, scheme: str):
        """``steps`` steps, compiled: function of a start and a number of steps."""
        return jax.jit(
            lambda c, n: jax.lax.fori_loop(0, n, lambda m, c: self.step(scheme, m, c), c)
        )


def draw(courant: float = 0.25, cells: int = 80) -> None:
    x = (np.arange(cells) + 0.5) / cells
    shape = ((x > 0.1) & (x < 0.35)) * 1.0 + np.exp(-(((x - 0.7) / 0.05) ** 2))
    channel = Channel((2, 6, cells), courant * DX / DT)
    start = jnp.asarray(np.broadcast_to(shape, channel.shape))
    figure, axes = plt.subplots(2, 3, figsize=(12, 5.5), sharex=True, sharey=True)
    for ax, scheme in zip(axes.flat, SHOWN):
        end = np.asarray(channel.many(scheme)(start, round(cells / courant)))[0, 3]
        ax.plot(x, shape, color="0.6", lw=1)
        ax.plot(x, end, ".-", ms=4, lw=1)
        ax.set_title(
            f"{scheme}: mean error {np.abs(end - shape).mean():.3f}, {end.min():.3f} to "
            f"{end.max():.3f}",
            fontsize=9,
        )
        print(scheme, np.abs(end - shape).mean(), end.min(), end.max(), flush=True)
    figure.supxlabel(f"once around {cells} cells, {courant:g} of a cell per step")
    figure.tight_layout()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=80)


def cost(schemes=TIMED, shape=(15, 40, 90), steps: int = 5, repeats: int = 5) -> None:
    channel, times = Channel(shape, 1.0), {s: [] for s in schemes}
    start, runs = jnp.zeros(shape), {s: channel.many(s) for s in schemes}
    for s in schemes:
        runs[s](start, 1).block_until_ready()
    for _ in range(repeats):
        for s in schemes:
            before = time.process_time()
            runs[s](start, steps).block_until_ready()
            times[s].append((time.process_time() - before) / steps / np.prod(shape) * 1e9)
    for s in schemes:
        print(f"{s:24s} {np.median(times[s]):8.1f} ns per cell and step")


if __name__ == "__main__":
    dogcm.configure()
    draw()
    if "--cost" in sys.argv:
        cost()
