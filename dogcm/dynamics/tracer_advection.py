"""Tracer advection in flux form: values at faces, reconstructed from the upwind side.

``dst3`` is third order in space and time for constant flow (direct space-time, after Hundsdorfer
and Trompert 1994, doi:10.1016/0168-9274(94)90052-3); ``dst3_limited`` adds the limiter of Sweby
(1984), written without a division, so that it is safe to differentiate; it acts along each
direction by itself, and what the three carry together may pass the bounds a little. ``dst3_split``
carries along one dimension after the other (:mod:`dogcm.dynamics.split`), and keeps them; for any
scheme of one stage ``bounded: true`` does (:mod:`dogcm.dynamics.flux_correction`). ``upwind`` and
``centered`` are for tests and comparison. ``ppm`` is in :mod:`dogcm.dynamics.ppm`, ``weno5`` and
``weno7``, which take several stages a step, in :mod:`dogcm.dynamics.tracer_transport`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import option
from dogcm.decomp.depth import Halo
from dogcm.dynamics import flux_correction
from dogcm.dynamics.interfaces import Flow, Fluxes, TracerAdvection
from dogcm.dynamics.split import Split
from dogcm.field import Field, fence, fmap
from dogcm.operators import (
    around_layers,
    diff_x_c2u,
    diff_y_c2v,
    diff_z_c2w,
    lower_x_c2u,
    lower_y_c2v,
    lower_z_c2w,
    mean_x_c2u,
    mean_y_c2v,
    mean_z_c2w,
    next_x,
    next_y,
    previous_x,
    previous_y,
    upper_x_c2u,
    upper_y_c2v,
    upper_z_c2w,
)


def _third_order(courant):
    """Weights of the difference across a face and of the one upstream."""
    d0 = (2.0 - courant) * (1.0 - courant) * (1.0 / 6.0)
    return d0, (1.0 - courant * courant) * (1.0 / 6.0)


def _correction(scheme: str, step, upstream, courant):
    """What third order adds to the upwind value: ``step`` is the difference across the face, taken
    downwind, ``upstream`` the one before it."""
    d0, d1 = _third_order(courant)
    if scheme == "dst3":
        return d0 * step + d1 * upstream
    # Of the arrays' own type: a float64 sign would make the whole loop one of float64.
    one = step.dtype.type(1)
    sign = jnp.where(step < 0, -one, one)
    size, before = step * sign, upstream * sign
    room = (1.0 - courant) / jnp.maximum(courant, 1e-6)
    bounded = jnp.minimum(jnp.minimum(size, d0 * size + d1 * before), room * before)
    return sign * jnp.maximum(bounded, 0.0)


def _weights(scheme: str, step, upstream, courant):
    """The correction is ``a step + b upstream``: a and b, on the branch that the limiter takes."""
    d0, d1 = _third_order(courant)
    if scheme == "dst3":
        return d0, d1
    one, zero = jnp.ones_like(step), jnp.zeros_like(step)
    sign = jnp.where(step < 0, -one, one)
    size, before = step * sign, upstream * sign
    room = (1.0 - courant) / jnp.where(courant > 1e-6, courant, 1e-6 * one)
    third, limit = d0 * size + d1 * before, room * before
    lower = jnp.minimum(size, limit)
    on_third, on_size, any_at_all = third <= lower, size < limit, jnp.minimum(lower, third) > 0
    of_step = jnp.where(any_at_all, jnp.where(on_third, d0, jnp.where(on_size, one, zero)), zero)
    of_upstream = jnp.where(
        any_at_all, jnp.where(on_third, d1, jnp.where(on_size, zero, room)), zero
    )
    return of_step, of_upstream


def _slope(scheme: str, a, b, step, upstream, courant):
    """How ``a step + b upstream`` changes with the Courant number; the weights tell which branch
    they are of."""
    third = (2.0 * courant - 3.0) * (1.0 / 6.0) * step - courant * (1.0 / 3.0) * upstream
    if scheme == "dst3":
        return third
    # On the branch of the third bound b = 1 / courant - 1.
    bound = jnp.where(courant > 1e-6, -((1.0 + b) ** 2), -1e6) * upstream
    return jnp.where(b == 0, 0.0, jnp.where(a == 0, bound, third))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _upwind_value(scheme: str, velocity, courant, low, high, below, here, above):
    """Value at a face between ``low`` and ``high`` for flow towards ``high`` where velocity > 0."""
    forward = velocity > 0
    value = jnp.where(forward, low, high)
    if scheme == "upwind":
        return value
    correction = _correction(scheme, here, jnp.where(forward, below, above), courant)
    return jnp.where(forward, value + correction, value - correction)


@_upwind_value.defjvp
def _(scheme, primals, tangents):
    """On the branch that the limiter takes, the correction is linear in the two differences: its
    weights are stored
    for the backward pass."""
    velocity, courant, low, high, below, here, above = primals
    _, d_courant, d_low, d_high, d_below, d_here, d_above = tangents
    # Stored as well: the flow's cotangent needs it, in a loop that would compute the limiter again.
    value, forward = jax.lax.optimization_barrier(_upwind_value(scheme, *primals)), velocity > 0
    choose = lambda a, b: jnp.where(forward, a, b)
    if scheme == "upwind":
        return value, choose(d_low, d_high)
    upstream = choose(below, above)
    a, b = jax.lax.optimization_barrier(_weights(scheme, here, upstream, courant))
    slope = _slope(scheme, a, b, here, upstream, courant)
    a, b, slope = (choose(x, -x) for x in (a, b, slope))
    around = d_low, d_high, d_below, d_here, d_above
    return value, _along_branch(choose, a, b, around) + slope * d_courant


def _along_branch(choose, a, b, around):
    """Tangent of the upstream cell's value with ``a`` times the difference across the face and
    ``b`` times the one upstream, from those of the cells and differences around it."""
    low, high, below, here, above = around
    zero = jnp.zeros_like(b)
    return choose(low, high) + a * here + choose(b, zero) * below + choose(zero, b) * above


def _around_x(c: Field, grid) -> tuple[Field, ...]:
    """The cells of a west face, and the differences before, across and after it."""
    here = diff_x_c2u(c) * grid.mask_u
    return lower_x_c2u(c), upper_x_c2u(c), previous_x(here), here, next_x(here)


def _around_y(c: Field, grid) -> tuple[Field, ...]:
    here = diff_y_c2v(c) * grid.mask_v
    return lower_y_c2v(c), upper_y_c2v(c), previous_y(here), here, next_y(here)


def _around_z(c: Field, grid) -> tuple[Field, ...]:
    """Downwards: the layer above is the first."""
    rise = diff_z_c2w(c) * (-1.0) * grid.mask_cw  # lower minus upper
    above, below = around_layers(rise)
    over, rise, under = upper_z_c2w(above), lower_z_c2w(above), lower_z_c2w(below)
    return upper_z_c2w(c), lower_z_c2w(c), over, rise, under


_AROUND = (_around_x, _around_y, _around_z)


def reconstruct_x(c: Field, velocity: Field, courant: Field, scheme: str, grid) -> Field:
    """Value of ``c`` carried through west faces."""
    if scheme == "centered":
        return mean_x_c2u(c)
    value = lambda *a: _upwind_value(scheme, *a)
    return fmap(value, velocity, courant, *_around_x(fence(c), grid), name="reconstruct_x")


def reconstruct_y(c: Field, velocity: Field, courant: Field, scheme: str, grid) -> Field:
    """Value of ``c`` carried through south faces."""
    if scheme == "centered":
        return mean_y_c2v(c)
    value = lambda *a: _upwind_value(scheme, *a)
    return fmap(value, velocity, courant, *_around_y(fence(c), grid), name="reconstruct_y")


def reconstruct_z(c: Field, w: Field, courant: Field, scheme: str, grid) -> Field:
    """Value of ``c`` carried through layer interfaces (``w`` positive up)."""
    if scheme == "centered":
        return mean_z_c2w(c)
    # "low" is the layer above, "high" the one below, so flow towards "high" is downwards.
    value = lambda w, *a: _upwind_value(scheme, -w, *a)
    return fmap(value, w, courant, *_around_z(fence(c), grid), name="reconstruct_z")


class OneStage(TracerAdvection):
    """A scheme that takes one step forward, with values at faces reconstructed from the tracer.

    A scheme of one's own gives the three reconstructions; Courant numbers are those of the flow
    through the face.
    """

    bounded: bool = option(
        False,
        "1",
        "reduce fluxes where they would make new extremes in three dimensions (flux-corrected "
        "transport, Zalesak 1979)",
    )

    def tracer_halo(self) -> int:
        return flux_correction.HALO if self.bounded else super().tracer_halo()

    @abstractmethod
    def reconstruct_x(self, c: Field, velocity: Field, courant: Field, grid) -> Field:
        """Value of ``c`` carried through west faces."""

    @abstractmethod
    def reconstruct_y(self, c: Field, velocity: Field, courant: Field, grid) -> Field:
        """Value of ``c`` carried through south faces."""

    @abstractmethod
    def reconstruct_z(self, c: Field, w: Field, courant: Field, grid) -> Field:
        """Value of ``c`` carried through interfaces; ``w`` is positive up."""

    def prepare(self, tracers, flow: Flow, halos, steps, grid) -> Callable[[str], Fluxes]:
        if not self.bounded:
            return lambda name: self._fluxes(tracers[name], flow, grid)
        deep = flux_correction.with_halo(flow, halos, grid)

        def of(name: str) -> Fluxes:
            fluxes = self._fluxes(tracers[name], deep, grid)
            fx, fy, fz = flux_correction.bounded(tracers[name], deep, fluxes, grid)
            return fx.crop(Halo(e=1)), fy.crop(Halo(n=1)), fz.crop(0)

        return of

    def _fluxes(self, c: Field, flow: Flow, grid) -> Fluxes:
        dt = flow.dt
        courant = lambda f, i, d: jnp.abs(f) * i * (dt / d)
        cu = fmap(courant, flow.u, grid.inv_h_u, grid.dx_u, name="courant_u")
        cv = fmap(courant, flow.v, grid.inv_h_v, grid.dy_v, name="courant_v")
        cw = fmap(lambda f: jnp.abs(f) * (dt / grid.dz_w), flow.w, name="courant_w")
        fx = flow.u * grid.dy_u * self.reconstruct_x(c, flow.u, cu, grid)
        fy = flow.v * grid.dx_v * self.reconstruct_y(c, flow.v, cv, grid)
        return fx, fy, flow.w * self.reconstruct_z(c, flow.w, cw, grid)


class _Upwinded(OneStage):
    """A scheme of this file."""

    def reconstruct_x(self, c, velocity, courant, grid):
        return reconstruct_x(c, velocity, courant, self.kind, grid)

    def reconstruct_y(self, c, velocity, courant, grid):
        return reconstruct_y(c, velocity, courant, self.kind, grid)

    def reconstruct_z(self, c, w, courant, grid):
        return reconstruct_z(c, w, courant, self.kind, grid)


class LimitedDST3(_Upwinded):
    """Direct space-time of third order with the limiter of Sweby (1984)."""

    kind: ClassVar[str] = "dst3_limited"
    source: ClassVar[str] = "Hundsdorfer and Trompert (1994), doi:10.1016/0168-9274(94)90052-3"


class SplitDST3(Split):
    """The same limited scheme for one dimension after the other: no new extremes in three
    dimensions, and second order in time for oblique flow.

    The limiter counts what leaves the upstream cell through both of its faces, so that bounds are
    kept where the flow diverges, too.
    """

    kind: ClassVar[str] = "dst3_split"
    source: ClassVar[str] = "Hundsdorfer and Trompert (1994), doi:10.1016/0168-9274(94)90052-3"

    def carried(self, c, sweep, grid):
        around = _AROUND[sweep.dimension](fence(c), grid)
        # Downwards, from the first of the two layers, is where the flow is negative.
        forward = sweep.amount * (-1.0) if sweep.dimension == 2 else sweep.amount
        of_flow = forward, fence(sweep.part), fence(sweep.room)
        return fmap(_bounded_value, *of_flow, *around, name="carried")


@jax.custom_jvp
def _bounded_value(forward, part, room, low, high, below, here, above):
    """As :func:`_upwind_value`, ``room`` times the difference upstream being the third bound."""
    d0, d1 = _third_order(part)
    ahead = forward > 0
    one = here.dtype.type(1)
    sign = jnp.where(here < 0, -one, one)
    size, before = here * sign, jnp.where(ahead, below, above) * sign
    bounded = jnp.minimum(jnp.minimum(size, d0 * size + d1 * before), room * before)
    correction = sign * jnp.maximum(bounded, 0.0)
    return jnp.where(ahead, low + correction, high - correction)


@_bounded_value.defjvp
def _(primals, tangents):
    """The weights of the branch that the limiter takes are stored for the backward pass."""
    forward, part, room, low, high, below, here, above = primals
    _, d_part, d_room, d_low, d_high, d_below, d_here, d_above = tangents
    value = jax.lax.optimization_barrier(_bounded_value(*primals))
    choose = lambda a, b: jnp.where(forward > 0, a, b)
    weights = _bounded_weights(part, room, here, choose(below, above))
    a, b, by_part, by_room = jax.lax.optimization_barrier(tuple(choose(w, -w) for w in weights))
    around = d_low, d_high, d_below, d_here, d_above
    return value, _along_branch(choose, a, b, around) + by_part * d_part + by_room * d_room


def _bounded_weights(part, room, step, upstream):
    """Derivatives of the correction with respect to the two differences, ``part`` and ``room``."""
    d0, d1 = _third_order(part)
    one, zero = jnp.ones_like(step), jnp.zeros_like(step)
    sign = jnp.where(step < 0, -one, one)
    size, before = step * sign, upstream * sign
    third, limit = d0 * size + d1 * before, room * before
    lower = jnp.minimum(size, limit)
    some, on_third = jnp.minimum(lower, third) > 0, third <= lower
    on_limit = ~on_third & (limit <= size)
    pick = lambda x, y, z: jnp.where(some, jnp.where(on_third, x, jnp.where(on_limit, y, z)), zero)
    slope = (2.0 * part - 3.0) * (1.0 / 6.0) * step - part * (1.0 / 3.0) * upstream
    return (
        pick(d0, zero, one),
        pick(d1, room, zero),
        pick(slope, zero, zero),
        pick(zero, upstream, zero),
    )


class DST3(_Upwinded):
    """Direct space-time of third order."""

    kind: ClassVar[str] = "dst3"
    source: ClassVar[str] = "Hundsdorfer and Trompert (1994), doi:10.1016/0168-9274(94)90052-3"


class Centered(_Upwinded):
    """Mean of the two cells of a face."""

    kind: ClassVar[str] = "centered"


class Upwind(_Upwinded):
    """The cell upstream: first order."""

    kind: ClassVar[str] = "upwind"
