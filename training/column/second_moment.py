"""The truth of the study: a second-moment closure with two equations, on layers of a metre.

Nothing here is shared with the closures that learn. Turbulent energy k and its dissipation eps
obey (Burchard and Bolding 2001, doi:10.1175/1520-0485(2001)031<1943:CAOFSM>2.0.CO;2)::

    dk/dt = d/dz (nu dk/dz) + P + G - eps
    deps/dt = d/dz (nu / s_e deps/dz) + eps / k (c1 P + c3 G - c2 eps)
    nu = c_m k**2 / eps,   kappa = c_h k**2 / eps,   P = nu S2,   G = -kappa N2

with the stability functions c_m and c_h of model A of Canuto et al. (2001,
doi:10.1175/1520-0485(2001)031<1413:OTPIOT>2.0.CO;2) of the numbers (k S / eps)**2 and (k N /
eps)**2. c3 follows from the Richardson number 0.25 at which homogeneous turbulence neither grows
nor dies (Umlauf and Burchard 2005, doi:10.1016/j.csr.2004.08.004); it is 1 where the column is
unstable. In stable water the length is at most that of Galperin et al. (1988,
doi:10.1175/1520-0469(1988)045<0055:AQETEM>2.0.CO;2). The surface is a wall with the law of the
wall, no flux of k, and the flux of eps that belongs to it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from columns import (
    BUOYANCY,
    HEAT_CAPACITY,
    QUIET,
    RHO0,
    SURFACE,
    diffuse,
    light,
    passing,
    turned,
)
from scipy.optimize import brentq

C1, C2, C3_UNSTABLE = 1.44, 1.92, 1.0
STEADY_RICHARDSON = 0.25
NEUTRAL = 0.5268  # c_m0: eps = c_m0**3 k**1.5 / l
KAPPA, ROUGHNESS = 0.4, 0.02  # von Karman; m
SIGMA = KAPPA**2 / (NEUTRAL**2 * (C2 - C1))  # of eps, by the law of the wall
GALPERIN = 0.53
LEAST_K, LEAST_EPS = 1e-9, 1e-14  # m2 s-2, m2 s-3
_D = (1.0, 0.2555, 0.02872, 0.005222, 0.008677, -0.0000337)


def stability(shear, buoyancy):
    """c_m and c_h of the squared numbers of shear and buoyancy, within the range where they
    hold (Deleersnijder and Luyten 1994, doi:10.1016/0307-904X(94)90317-4)."""
    n = jnp.clip(buoyancy, -2.8, 1e3)
    most = (_D[0] + _D[1] * n + _D[4] * n * n) / (_D[2] + _D[3] * n)
    m = jnp.minimum(shear, most)
    below = _D[0] + _D[1] * n + _D[2] * m + _D[3] * m * n + _D[4] * n * n + _D[5] * m * m
    momentum = (0.1070 + 0.01741 * n - 0.00012 * m) / below
    return momentum, (0.1120 + 0.004519 * n + 0.00088 * m) / below


@functools.cache
def c3_stable() -> float:
    """So that P + G = eps, with both tendencies zero, at the steady Richardson number."""
    ri = STEADY_RICHARDSON

    def excess(m):
        c_m, c_h = (float(c) for c in stability(m, ri * m))
        return c_m * m - c_h * ri * m - 1.0

    m = brentq(excess, 1.0, 30.0)
    c_m, c_h = (float(c) for c in stability(m, ri * m))
    return C2 - (C2 - C1) * c_m / c_h / ri


class Truth:
    """Columns of layers of one thickness, stepped by the second-moment closure."""

    def __init__(self, count: int, layer: float = 1.0, depth: float = 160.0, dt: float = 60.0):
        self.count, self.layer, self.dt = count, layer, dt
        self.edges = layer * np.arange(round(depth / layer) + 1)
        self.c3 = c3_stable()

    def start(self, cases) -> dict:
        middle = (0.5 * (self.edges[1:] + self.edges[:-1]))[:, None]
        T = SURFACE - cases.n2 / BUOYANCY * jnp.maximum(middle - cases.mixed, 0.0)
        zero, inner = jnp.zeros_like(T), jnp.ones_like(T[1:])
        return {"u": zero, "v": zero, "T": T, "k": LEAST_K * inner, "eps": LEAST_EPS * inner}

    def step(self, s: dict, cases, time) -> dict:
        """Coefficients from the start of the step; then flow, heat, k and eps with them."""
        dt, dz = self.dt, self.layer
        h = np.full((len(self.edges) - 1, 1), dz)
        n2 = BUOYANCY * (s["T"][:-1] - s["T"][1:]) / dz
        k, eps = s["k"], s["eps"]
        time_scale = k / eps
        s2 = (jnp.diff(s["u"], axis=0) ** 2 + jnp.diff(s["v"], axis=0) ** 2) / dz**2
        c_m, c_h = stability(time_scale**2 * s2, time_scale**2 * n2)
        nu = jnp.maximum(c_m * k * time_scale, QUIET["vertical_viscosity"])
        kappa = jnp.maximum(c_h * k * time_scale, QUIET["vertical_diffusivity"])

        angle = 0.5 * dt * cases.f
        turn = lambda u, v: turned(u, v, angle)
        u, v = turn(s["u"], s["v"])
        u = u.at[0].add(dt / RHO0 / dz * cases.stress)
        u, v = turn(*diffuse(h, dt / dz * nu, jnp.stack([u, v]) * dz))
        unit = 1.0 / (RHO0 * HEAT_CAPACITY)
        entering = light(cases.sun, time, dt) * unit
        down = jnp.concatenate(
            [
                (entering - cases.loss * unit)[None],
                passing(self.edges[1:-1])[:, None] * entering,
                jnp.zeros((1, self.count)),
            ]
        )
        (T,) = diffuse(h, dt / dz * kappa, (s["T"] * dz + dt * (down[:-1] - down[1:]))[None])
        return {"u": u, "v": v, "T": T, **self._turbulence(k, eps, nu, kappa, n2, s2)}

    def _turbulence(self, k, eps, nu, kappa, n2, s2) -> dict:
        """k and eps after a step: sources explicit, sinks in proportion to the new values."""
        dt, dz = self.dt, self.layer
        made, lost = nu * s2 + jnp.maximum(-kappa * n2, 0.0), jnp.maximum(kappa * n2, 0.0)
        between = 0.5 * (nu[1:] + nu[:-1]) * (dt / dz)
        sink = dt * (eps + lost) / k
        new_k = _advance(between, dz * (1 + sink), dz * (k + dt * made))
        new_k = jnp.maximum(new_k, LEAST_K)

        unstable = jnp.maximum(-kappa * n2, 0.0)
        by_buoyancy = C3_UNSTABLE * unstable - self.c3 * lost
        source = C1 * nu * s2 + jnp.maximum(by_buoyancy, 0.0)
        drain = C2 * eps + jnp.maximum(-by_buoyancy, 0.0)
        rate = eps / k
        # The flux of eps half a layer below the wall, where its length is kappa (z + z0).
        at = 0.5 * dz + ROUGHNESS
        wall = nu[0] / SIGMA * NEUTRAL**3 * k[0] ** 1.5 / (KAPPA * at**2)
        content = dz * (eps + dt * rate * source)
        content = content.at[0].add(dt * wall)
        new = _advance(between / SIGMA, dz * (1 + dt * drain / k), content)
        stable = jnp.sqrt(jnp.maximum(n2, 0.0))
        least = NEUTRAL**3 / (np.sqrt(2.0) * GALPERIN) * new_k * stable
        return {"k": new_k, "eps": jnp.maximum(jnp.maximum(new, least), LEAST_EPS)}

    def run(self, cases, days: float, every: float) -> dict:
        """Records as :meth:`columns.Columns.run` has them."""
        steps = round(every / self.dt)

        def one(n, carry):
            state, time = carry
            return self.step(state, cases, time), time + self.dt

        def record(carry, _):
            carry = jax.lax.fori_loop(0, steps, one, carry)
            return carry, {n: carry[0][n] for n in ("T", "u", "v")}

        begin = self.start(cases), jnp.zeros(())
        return jax.lax.scan(record, begin, None, length=round(days * 86400 / every))[1]


def _advance(between, diagonal, content):
    (new,) = diffuse(diagonal, between, content[None])
    return new
