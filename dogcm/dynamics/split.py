"""Advection of tracers one dimension after the other (directional splitting).

Each sweep carries the tracer, and the thickness of the layer, by the flow of one dimension alone
(Easter 1993, Monthly Weather Review 121, 297 to 304): a uniform tracer stays uniform, and a scheme
that makes no new extremes in one dimension makes none in three. The fluxes of the sweeps are those
of the whole step, so that a tracer's content changes by what crosses faces alone. A sweep sees what
the ones before have carried. Fluxes that are all taken from the old tracer do not, and make oblique
flow first order in the time step.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics.interfaces import Flow, Fluxes, TracerAdvection
from dogcm.field import Field, exchange, fence, fmap, hold, where
from dogcm.operators import (
    around_layers,
    diff_x_u2c,
    diff_y_v2c,
    diff_z_w2c,
    lower_x_c2u,
    lower_x_u2c,
    lower_y_c2v,
    lower_y_v2c,
    lower_z_c2w,
    upper_x_c2u,
    upper_x_u2c,
    upper_y_c2v,
    upper_y_v2c,
    upper_z_c2w,
)

_FORWARDS, _BACKWARDS = (0, 1, 2), (2, 1, 0)


class Sweep(NamedTuple):
    """The flow of one dimension.

    Attributes:
        dimension: 0, 1 or 2: x, y or z. amount: volume that crosses a face (m3 s-1; vertically
            m s-1, positive up). part: of the upstream cell that leaves through the face in the
            step. room: the part of that cell that leaves through neither of its faces, over
            ``part``. before, after: thickness (m). rate: from what crosses faces to the rate of a
            cell's content per area.
    """

    dimension: int
    amount: Field
    part: Field
    room: Field
    before: Field
    after: Field
    rate: Callable[[Field], Field]


class Split(TracerAdvection):
    """A scheme of one dimension, for one dimension after the other.

    Attributes:
        reach: halo that a value at a face needs. turns: whether the order of the dimensions turns
            around every other step.
    """

    reach: ClassVar[int] = 2
    turns: ClassVar[bool] = False

    def tracer_halo(self) -> int:
        return self.reach

    @abstractmethod
    def carried(self, c: Field, sweep: Sweep, grid) -> Field:
        """Mean value of ``c`` carried through the faces of a sweep in one step."""

    def prepare(self, tracers, flow: Flow, halos, steps, grid) -> Callable[[str], Fluxes]:
        deep = self._with_halo(flow, halos, grid)
        first = {n: c.crop(self.reach) for n, c in tracers.items()}
        through = lambda order: lambda: self._through(order, first, deep, grid)
        if not self.turns:
            return through(_FORWARDS)().__getitem__
        found = jax.lax.cond(steps % 2 == 0, through(_FORWARDS), through(_BACKWARDS))
        return found.__getitem__

    def _with_halo(self, flow: Flow, halos, grid) -> Flow:
        """The flow also in the halo, where the sweeps that go first are computed again, and through
        all faces of the cells that water comes from."""
        d = self.reach
        u, v, w = exchange(
            halos, (flow.u, Halo(d, d, 1, 2)), (flow.v, Halo(1, 2, d, d)), (flow.w, d)
        )
        # Beyond a wall an exchange brings values from elsewhere.
        u, v, w = hold(u * grid.mask_u, v * grid.mask_v, w * grid.mask_cw)
        return Flow(u, v, w, flow.h.crop(d), flow.dt)

    def _through(self, order, tracers, flow: Flow, grid) -> dict[str, Fluxes]:
        h, values = flow.h, dict(tracers)
        found: dict[str, list] = {n: [None] * 3 for n in tracers}
        for m in order:
            sweep = _sweep(m, h, flow, grid)
            for n, c in values.items():
                found[n][m] = hold(fence(sweep.amount) * self.carried(c, sweep, grid))
                if m != order[-1]:
                    values[n] = _swept(c, found[n][m], sweep, flow.dt, grid)
            h = sweep.after
        return {
            n: (fx.crop(Halo(e=1)), fy.crop(Halo(n=1)), fz.crop(0))
            for n, (fx, fy, fz) in found.items()
        }


def _swept(c: Field, flux: Field, sweep: Sweep, dt: float, grid) -> Field:
    """The tracer after a sweep."""
    content = c * fence(sweep.before) + sweep.rate(flux) * dt
    return hold(content / (fence(sweep.after) + (1.0 - grid.mask_c)) * grid.mask_c)


class _Dimension(NamedTuple):
    """``amount``: see :class:`Sweep`. ``size``: of cells, in its unit times s. ``upstream``: from
    cells to the face's two; from the first water comes where ``amount`` is positive. ``faces``:
    from faces to the cell's two; through the second water leaves where ``amount`` is positive."""

    amount: Field
    size: Field
    upstream: tuple[Callable, Callable]
    faces: Callable[[Field], tuple[Field, Field]]
    rate: Callable[[Field], Field]


def _along_x(h: Field, flow: Flow, grid) -> _Dimension:
    faces = lambda f: (lower_x_u2c(f), upper_x_u2c(f))
    rate = lambda f: diff_x_u2c(f) / grid.area_c * (-1.0)
    upstream = (lower_x_c2u, upper_x_c2u)
    return _Dimension(flow.u * grid.dy_u, h * grid.area_c, upstream, faces, rate)


def _along_y(h: Field, flow: Flow, grid) -> _Dimension:
    faces = lambda f: (lower_y_v2c(f), upper_y_v2c(f))
    rate = lambda f: diff_y_v2c(f) / grid.area_c * (-1.0)
    upstream = (lower_y_c2v, upper_y_c2v)
    return _Dimension(flow.v * grid.dx_v, h * grid.area_c, upstream, faces, rate)


def _along_z(h: Field, flow: Flow, grid) -> _Dimension:
    faces = lambda f: tuple(reversed(around_layers(f)))
    rate = lambda f: diff_z_w2c(f) * (-1.0)
    return _Dimension(flow.w, h, (lower_z_c2w, upper_z_c2w), faces, rate)


_DIMENSIONS = (_along_x, _along_y, _along_z)


def _sweep(dimension: int, h: Field, flow: Flow, grid) -> Sweep:
    amount, size, sides, faces, rate = _DIMENSIONS[dimension](fence(h), flow, grid)
    inverse = hold(flow.dt / (size + (1.0 - grid.mask_c)))
    rest = lambda a, b, i: jnp.maximum(1.0 - (jnp.maximum(b, 0.0) + jnp.maximum(-a, 0.0)) * i, 0.0)
    stays = hold(fmap(rest, *faces(fence(amount)), fence(inverse), name="stays"))
    upstream = lambda x: where(amount > 0, *(pick(fence(x)) for pick in sides))
    # More than all of the upstream cell cannot leave.
    part = lambda f, i: jnp.minimum(jnp.abs(f) * i, 1.0)
    part = hold(fmap(part, fence(amount), upstream(inverse), name="part"))
    over = lambda s, p: s / jnp.maximum(p, 1e-6)
    # Stored by itself: not every scheme asks for it.
    room = hold(fmap(over, upstream(stays), fence(part), name="room"))
    after = hold(h + rate(fence(amount)) * flow.dt)
    return Sweep(dimension, amount, part, room, h, after, rate)


__all__ = ["Split", "Sweep"]
