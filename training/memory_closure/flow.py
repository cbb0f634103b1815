"""Steady, divergence-free air flow in a room, and the eddy diffusivity that goes with it.

Incompressible momentum with the zero-equation turbulence model of rooms of Chen and Xu (1998,
doi 10.1016/S0378-7788(98)00020-6): nu_t = 0.03874 V l, with V the speed and l the distance to
the nearest wall. Velocities are normal to the faces of cells (Harlow and Welch 1965, doi
10.1063/1.1761178); momentum is advected with limited upwind fluxes; pressure keeps volume
(Chorin 1968, doi 10.1090/S0025-5718-1968-0242392-2). The flow is run up from rest on a coarse
grid, its mean over the last part is carried to finer ones, run on briefly and projected to
round-off. Arrays are ordered (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from room import Cells, Room, rasterise, wall_distance

MIXING = 0.03874  # Chen and Xu's constant
MOLECULAR = 1.5e-5  # kinematic viscosity of air, m2/s
SCHMIDT = 0.9  # turbulent Schmidt number: nu_t / D
COURANT = 0.3
STEADY = 1e-11  # largest divergence that is left, relative to speed over spacing


@dataclass(frozen=True)
class Flow:
    """A steady flow on the faces of ``cells``.

    Attributes:
        cells: the grid and what is solid.
        velocity: along x, y and z on the faces (m/s), zero on walls.
        diffusivity: eddy diffusivity of a tracer in cells (m2/s), zero where solid.
    """

    cells: Cells
    velocity: tuple
    diffusivity: np.ndarray


def divergence(velocity: tuple, spacing: tuple) -> np.ndarray:
    """Divergence of a velocity on faces (1/s), (nz, ny, nx)."""
    return sum(
        (jnp if isinstance(q, jax.Array) else np).diff(q, axis=2 - axis) / d
        for axis, (q, d) in enumerate(zip(velocity, spacing))
    )


def speed_in_cells(velocity: tuple) -> np.ndarray:
    """Speed in cells from the velocities on their faces (m/s)."""
    return sum(_mean(q, 2 - axis) ** 2 for axis, q in enumerate(velocity)) ** 0.5


def eddy_viscosity(velocity: tuple, distance: np.ndarray) -> np.ndarray:
    """Zero-equation model: 0.03874 V l, in m2/s, on cells."""
    return MIXING * speed_in_cells(velocity) * distance


def _part(q, dim: int, low, high):
    return q[(slice(None),) * dim + (slice(low, high),)]


def _mean(q, dim: int):
    return 0.5 * (_part(q, dim, None, -1) + _part(q, dim, 1, None))


def _pad(q, dim: int, mode: str = "constant"):
    xp = jnp if isinstance(q, jax.Array) else np
    return xp.pad(q, [(1, 1) if d == dim else (0, 0) for d in range(q.ndim)], mode=mode)


@dataclass(frozen=True)
class Poisson:
    """Pressure of a room: conjugate gradients, preconditioned by the exact inverse of the empty
    box, which cosines diagonalise. Made by `of`; arrays of numpy or of JAX."""

    spacing: tuple
    open: tuple
    air: np.ndarray
    cosines: tuple
    inverse: np.ndarray

    @classmethod
    def of(cls, cells: Cells, xp=jnp, dtype=jnp.float32) -> Poisson:
        """The solver for ``cells``."""
        eigenvalues, cosines = [], []
        for axis, d in enumerate(cells.spacing):
            n = cells.air.shape[2 - axis]
            k, j = np.arange(n)[:, None], np.arange(n)[None]
            c = np.sqrt(2 / n) * np.cos(np.pi * k * (j + 0.5) / n)
            c[0] = np.sqrt(1 / n)
            cosines.append(xp.asarray(c, dtype))
            eigenvalues.append((2 - 2 * np.cos(np.pi * np.arange(n) / n)) / d**2)
        x, y, z = eigenvalues
        total = z[:, None, None] + y[:, None] + x
        total[0, 0, 0] = np.inf
        passes = tuple(xp.asarray(o, dtype) for o in cells.open)
        air, inverse = xp.asarray(cells.air, dtype), xp.asarray(1 / total, dtype)
        return cls(tuple(cells.spacing), passes, air, tuple(cosines), inverse)

    @property
    def xp(self):
        """The library of the arrays."""
        return np if isinstance(self.air, np.ndarray) else jnp

    def gradient(self, p) -> tuple:
        """Pressure gradient on open faces."""
        return tuple(
            _pad(self.xp.diff(p, axis=2 - a), 2 - a) * o / d
            for a, (o, d) in enumerate(zip(self.open, self.spacing))
        )

    def _operator(self, p):
        return -divergence(self.gradient(p), self.spacing)

    def _empty_box(self, r):
        cx, cy, cz = self.cosines
        e = partial(self.xp.einsum, optimize=True)
        h = e("cz,zyx->cyx", cz, e("by,zyx->zbx", cy, r @ cx.T)) * self.inverse
        return e("cz,cyx->zyx", cz, e("by,zbx->zyx", cy, h @ cx)) * self.air

    def start(self, right):
        """State of the iteration for ``-div(grad p) = right``."""
        z = self._empty_box(right)
        return 0 * right, right, z, (right * z).sum()

    def iterate(self, state):
        """One step of conjugate gradients."""
        p, r, s, rho = state
        q = self._operator(s)
        tiny = np.finfo(np.dtype(r.dtype)).tiny
        alpha = rho / self.xp.maximum((s * q).sum(), tiny)
        p, r = p + alpha * s, r - alpha * q
        z = self._empty_box(r)
        new = (r * z).sum()
        return p, r, z + new / self.xp.maximum(rho, tiny) * s, new

    def project(self, velocity: tuple, iterations: int) -> tuple:
        """``velocity`` less the pressure gradient that takes out most of its divergence."""
        state = self.start(-divergence(velocity, self.spacing) * self.air)
        state = jax.lax.fori_loop(0, iterations, lambda _, s: self.iterate(s), state)
        return tuple(q - g for q, g in zip(velocity, self.gradient(state[0])))


jax.tree_util.register_dataclass(
    Poisson, data_fields=["open", "air", "cosines", "inverse"], meta_fields=["spacing"]
)


def project_exactly(cells: Cells, velocity: tuple, iterations: int = 400) -> tuple:
    """The velocity without divergence that is nearest to ``velocity`` (double precision).

    Errors: RuntimeError if the divergence does not become small, as when a part of the room has
    an opening and no way out.
    """
    poisson = Poisson.of(cells, np, np.float64)
    velocity = tuple(
        np.where(o, np.asarray(q, np.float64), s)
        for q, o, s in zip(velocity, cells.open, cells.speed)
    )
    aim = STEADY * max(np.abs(q).max() for q in velocity) / min(cells.spacing)
    state = poisson.start(-divergence(velocity, cells.spacing) * cells.air)
    for _ in range(iterations):
        if np.abs(state[1]).max() < aim:
            break
        state = poisson.iterate(state)
    velocity = tuple(q - g for q, g in zip(velocity, poisson.gradient(state[0])))
    left = np.abs(divergence(velocity, cells.spacing)).max()
    if not left < 10 * aim:
        raise RuntimeError(
            f"the flow keeps a divergence of {left:.1e} 1/s after {iterations} iterations: does "
            "every part of the room that air enters have a way out?"
        )
    return velocity


def _limited(q, courant, dim: int):
    """Values of ``q`` carried through the faces between its cells, with van Leer's limiter."""
    g = jnp.diff(q, axis=dim)
    a, b = (_part(_pad(g, dim), dim, *s) for s in ((None, -1), (1, None)))
    product = a * b
    slope = jnp.where(product > 0, 2 * product / jnp.where(product > 0, a + b, 1), 0)
    reach = 0.5 * (1 - jnp.abs(courant))
    left = _part(q, dim, None, -1) + reach * _part(slope, dim, None, -1)
    right = _part(q, dim, 1, None) - reach * _part(slope, dim, 1, None)
    return jnp.where(courant > 0, left, right)


def _flux(velocity: tuple, viscosity, of: int, along: int, dt: float, d: float):
    """Flux of momentum component ``of`` in direction ``along``: advection and diffusion."""
    q, dim = velocity[of], 2 - along
    if of == along:
        carrier, nu = _mean(q, dim), viscosity
    else:
        carrier = _mean(_pad(velocity[along], 2 - of), 2 - of)
        nu = _mean(_mean(_pad(_pad(viscosity, dim, "edge"), 2 - of, "edge"), dim), 2 - of)
        q = _pad(q, dim)
    return carrier * _limited(q, carrier * dt / d, dim) - nu * jnp.diff(q, axis=dim) / d


def _momentum(velocity: tuple, poisson: Poisson, speed: tuple, distance, dt) -> tuple:
    """Velocities after advection and friction over ``dt``; openings keep theirs."""
    viscosity = eddy_viscosity(velocity, distance) + MOLECULAR
    new = []
    for of, q in enumerate(velocity):
        for along, d in enumerate(poisson.spacing):
            change = (
                -dt / d * jnp.diff(_flux(velocity, viscosity, of, along, dt, d), axis=2 - along)
            )
            q = q + (_pad(change, 2 - along) if of == along else change)
        new.append(jnp.where(poisson.open[of] > 0, q, speed[of]))
    return tuple(new)


@jax.jit
def _run(velocity: tuple, poisson: Poisson, speed: tuple, distance, dt, steps, last):
    """The mean of the last of ``steps``. Compiled once for all rooms on one grid."""

    def step(i, carried):
        velocity, mean = carried
        velocity = poisson.project(_momentum(velocity, poisson, speed, distance, dt), 5)
        weight = jnp.where(i >= steps - last, 1.0 / last, 0.0)
        return velocity, tuple(m + weight * q for m, q in zip(mean, velocity))

    return jax.lax.fori_loop(0, steps, step, (velocity, tuple(0 * q for q in velocity)))[1]


def run_on(cells: Cells, distance, velocity: tuple, seconds: float, averaged: float = 0.0):
    """Run ``velocity`` on for ``seconds``; the mean over the last ``averaged`` of them."""
    fastest = max(max(np.abs(s).max() for s in cells.speed), 0.05)
    dt = COURANT * min(cells.spacing[:2]) / fastest
    steps, last = int(np.ceil(seconds / dt)), max(int(averaged / dt), 1)
    single = lambda arrays: tuple(jnp.asarray(a, jnp.float32) for a in arrays)
    (far,) = single([distance])
    numbers = jnp.float32(dt), jnp.int32(steps), jnp.float32(last)
    return _run(single(velocity), Poisson.of(cells), single(cells.speed), far, *numbers)


def refine(velocity: tuple, cells: Cells) -> tuple:
    """Velocities on the faces of finer ``cells``: linear along their own axis, constant across."""
    fine = []
    for axis, (q, like) in enumerate(zip(velocity, cells.open)):
        q, dim = np.asarray(q), 2 - axis
        for other in {0, 1, 2} - {dim}:
            q = q.repeat(like.shape[other] // q.shape[other], other)
        n, m = q.shape[dim], like.shape[dim]
        at = np.linspace(0, n - 1, m)
        low = np.minimum(at.astype(int), n - 2)
        weight = (at - low).reshape([-1 if d == dim else 1 for d in range(3)])
        fine.append((1 - weight) * q.take(low, dim) + weight * q.take(low + 1, dim))
    return tuple(fine)


def steady_flow(
    room: Room, spacings: list, seconds: tuple = (400.0, 15.0), tell=lambda text: None
) -> Flow:
    """The flow of ``room`` on the last of ``spacings`` ((x, y, z) metres each, coarse to fine).

    ``seconds`` are run on the first grid and on each of the others. ``tell`` is given lines of
    progress. Errors: ValueError and RuntimeError as `rasterise` and `project_exactly`.
    """
    velocity = None
    for spacing in spacings:
        cells = rasterise(room, spacing)
        distance = wall_distance(room, cells)
        first = velocity is None
        velocity = cells.speed if first else refine(velocity, cells)
        velocity = project_exactly(cells, velocity)
        duration = seconds[0] if first else seconds[1]
        tell(f"flow on {cells.air.shape[::-1]} cells for {duration:g} s")
        if duration:
            velocity = run_on(cells, distance, velocity, duration, duration / 3)
    velocity = project_exactly(cells, velocity)
    diffusivity = (eddy_viscosity(velocity, distance) + MOLECULAR) / SCHMIDT * cells.air
    return Flow(cells, velocity, diffusivity)
