"""Advection of tracers over one step in several stages, for schemes that a single forward step does
not suit.

* WENO knows nothing of the time step: three stages of the strong-stability-preserving Runge-Kutta
    method of third
  order (Shu and Osher 1988, doi:10.1016/0021-9991(88)90177-5), an exchange of halos between them.
* PPM carries exactly what the flow takes along in one dimension, and keeps bounds there. So it goes
one dimension
  after the other, with a layer thickness that follows the flow of that dimension alone (Easter
  1993, Monthly Weather Review 121, 297 to 304): no new extremes in three dimensions either. The
  order turns around every other step, which makes it of second order in time.

Both return fluxes: those of the whole step, so that a tracer's content changes by what crosses
    faces alone. In both
the thickness goes along stage by stage: a uniform tracer stays uniform.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics import ppm, weno
from dogcm.dynamics.continuity import convergence
from dogcm.dynamics.interfaces import Flow, Fluxes, TracerAdvection
from dogcm.field import Field, exchange, fmap, hold, where
from dogcm.operators import (
    diff_x_u2c,
    diff_y_v2c,
    diff_z_w2c,
    lower_x_c2u,
    lower_y_c2v,
    lower_z_c2w,
    upper_x_c2u,
    upper_y_c2v,
    upper_z_c2w,
)

STAGED = (*weno.ORDERS, "ppm")
_PPM_HALO = 3


def halo_of(scheme: str) -> int:
    """Halo that a tracer needs for one step with this scheme."""
    if scheme in weno.ORDERS:
        return weno.reach(scheme) + 1
    return _PPM_HALO if scheme == "ppm" else 2


def fluxes(
    tracers: dict[str, Field], flow: Flow, scheme: str, halos, steps, grid
) -> dict[str, Fluxes]:
    """What each tracer's content gains through faces over one step, by name.

    Args:
        tracers: with the halo of :func:`halo_of`; for ``ppm`` so is ``flow.h``. steps: steps done,
            for the order of dimensions.

    Returns:
        fluxes through west and south faces (unit of the tracer times m3 s-1) and interfaces (times
        m s-1, positive up), means over the step.
    """
    if scheme == "ppm":
        flow = _everywhere(flow, halos, grid)
        return {name: _split(c, flow, steps, grid) for name, c in tracers.items()}
    return _runge_kutta(tracers, flow, scheme, halos, grid)


class _Staged(TracerAdvection):
    """A scheme that takes several stages, of all tracers together."""

    def tracer_halo(self) -> int:
        return halo_of(self.kind)

    def prepare(self, tracers, flow: Flow, halos, steps, grid) -> Callable[[str], Fluxes]:
        return fluxes(tracers, flow, self.kind, halos, steps, grid).__getitem__


class WENO5(_Staged):
    """Weighted essentially non-oscillatory reconstruction of fifth order."""

    kind: ClassVar[str] = "weno5"


class WENO7(_Staged):
    """Weighted essentially non-oscillatory reconstruction of seventh order."""

    kind: ClassVar[str] = "weno7"


def WENO(order: int = 5) -> _Staged:
    """WENO advection of this order (5 or 7)."""
    kinds = {5: WENO5, 7: WENO7}
    if order not in kinds:
        raise ValueError(f"WENO of order {order}: choose 5 or 7")
    return kinds[order]()


class PPM(_Staged):
    """Piecewise parabolic method, one dimension after the other: bounded in three dimensions."""

    kind: ClassVar[str] = "ppm"


# ---- WENO
# Stage by stage: what remains of the mean of the fluxes so far, the part of the newest, and for
# which share of the step their mean acts before the next stage.
_STAGES = ((0.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1 / 3, 2 / 3, 1.0))


def _runge_kutta(
    tracers: dict[str, Field], flow: Flow, scheme: str, halos, grid
) -> dict[str, Fluxes]:
    dt, depth, dry = flow.dt, halo_of(scheme), 1.0 - grid.mask_c
    h = flow.h.crop(0)
    thickening = convergence(flow.u * grid.dy_u, flow.v * grid.dx_v, flow.w, grid)
    contents = {n: c.crop(0) * h for n, c in tracers.items()}

    def stage(carry, weights):
        values, means = carry
        weights, last = weights
        keep, new, share = (weights[m] for m in range(3))
        found = {n: hold(*_weno(c, flow, scheme, grid)) for n, c in values.items()}
        means = {n: tuple(m * keep + f * new for m, f in zip(means[n], found[n])) for n in tracers}

        def advanced(means):
            now = h + thickening * (share * dt) + dry
            after = {
                n: (contents[n] + convergence(*means[n], grid) * (share * dt)) / now * grid.mask_c
                for n in tracers
            }
            deep = exchange(halos, *((hold(after[n]), depth) for n in tracers))
            return {n: d.named(n) for n, d in zip(tracers, deep)}

        # After the last stage nobody needs them, and all ranks know that.
        values = jax.lax.cond(last, lambda _: values, advanced, means)
        return (values, means), None

    first = {n: c.crop(depth).named(n) for n, c in tracers.items()}
    nothing = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda c: {n: _weno(f, flow, scheme, grid) for n, f in c.items()}, first),
    )
    # A loop, so that the stages are compiled once.
    weights = jnp.asarray(_STAGES, h.dtype)
    last = jnp.arange(len(_STAGES)) == len(_STAGES) - 1
    (_, means), _ = jax.lax.scan(stage, (first, nothing), (weights, last))
    return means


def _weno(c: Field, flow: Flow, scheme: str, grid) -> Fluxes:
    return (
        flow.u * grid.dy_u * weno.reconstruct_x(c, flow.u, scheme, grid),
        flow.v * grid.dx_v * weno.reconstruct_y(c, flow.v, scheme, grid),
        flow.w * weno.reconstruct_z(c, flow.w, grid),
    )


# ---- PPM
def _everywhere(flow: Flow, halos, grid) -> Flow:
    """The flow also in the halo, where the dimensions that go first have to be computed again."""
    d = _PPM_HALO
    u, v, w = exchange(halos, (flow.u, Halo(d, d, 0, 1)), (flow.v, Halo(0, 1, d, d)), (flow.w, d))
    # Beyond a wall an exchange brings values from elsewhere.
    u, v, w = hold(u * grid.mask_u, v * grid.mask_v, w * grid.mask_cw)
    return Flow(u, v, w, flow.h.crop(d), flow.dt)


def _split(c: Field, flow: Flow, steps, grid) -> Fluxes:
    sweeps = [_along_x, _along_y, _along_z]

    def through(order, c, h):
        found = [None] * 3
        for m in order:
            found[m], c, h = sweeps[m](c, h, flow, grid)
        fx, fy, fz = found
        return fx.crop(Halo(e=1)), fy.crop(Halo(n=1)), fz.crop(0)

    forwards, backwards = (lambda c, h, o=o: through(o, c, h) for o in ((0, 1, 2), (2, 1, 0)))
    return jax.lax.cond(steps % 2 == 0, forwards, backwards, c.crop(_PPM_HALO), flow.h)


def _part(amount: Field, low: Field, high: Field, dt: float) -> Field:
    """The part of the upstream cell that leaves through a face; more than all of it cannot."""
    upstream = where(amount > 0, low, high)
    part = lambda f, s: jnp.minimum(jnp.abs(f) * dt / jnp.where(s > 0, s, 1.0), 1.0)
    return fmap(part, amount, upstream, name="courant")


def _swept(c: Field, h: Field, gain: Callable, flux: Field, amount: Field, dt: float, grid):
    """Value and thickness after one dimension; ``gain``: from fluxes to rates of content per
    area."""
    after = h + gain(amount) * dt
    value = (c * h + gain(flux) * dt) / (after + (1.0 - grid.mask_c)) * grid.mask_c
    return flux, *hold(value, after)


def _along_x(c: Field, h: Field, flow: Flow, grid):
    amount, volume = flow.u * grid.dy_u, h * grid.area_c
    part = _part(amount, lower_x_c2u(volume), upper_x_c2u(volume), flow.dt)
    flux = hold(amount * ppm.reconstruct_x(c, flow.u, part, grid))
    return _swept(c, h, lambda f: diff_x_u2c(f) / grid.area_c * (-1.0), flux, amount, flow.dt, grid)


def _along_y(c: Field, h: Field, flow: Flow, grid):
    amount, volume = flow.v * grid.dx_v, h * grid.area_c
    part = _part(amount, lower_y_c2v(volume), upper_y_c2v(volume), flow.dt)
    flux = hold(amount * ppm.reconstruct_y(c, flow.v, part, grid))
    return _swept(c, h, lambda f: diff_y_v2c(f) / grid.area_c * (-1.0), flux, amount, flow.dt, grid)


def _along_z(c: Field, h: Field, flow: Flow, grid):
    # Towards the upper layer where w > 0: "low" is what the water then comes from.
    part = _part(flow.w, lower_z_c2w(h), upper_z_c2w(h), flow.dt)
    flux = hold(flow.w * ppm.reconstruct_z(c, flow.w, part, grid))
    return _swept(c, h, lambda f: diff_z_w2c(f) * (-1.0), flux, flow.w, flow.dt, grid)
