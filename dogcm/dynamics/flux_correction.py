"""Flux-corrected transport: fluxes of any scheme, reduced where they would make new extremes
(Zalesak 1979, doi:10.1016/0021-9991(79)90051-2).

First the tracer is carried by upwind fluxes, which make none as long as no cell loses more than it
has. What a scheme of higher order adds to them goes through a face only as far as both of its cells
stay between the least and the largest of the values that they and their six neighbours had. So a
tracer stays within its bounds in three dimensions, whatever the flow does, and the sum of a
tracer's content is that of the fluxes through faces alone.
"""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import convergence
from dogcm.dynamics.interfaces import Flow, Fluxes
from dogcm.field import Field, exchange, fmap, hold, where
from dogcm.operators import (
    around_layers,
    lower_x_c2u,
    lower_x_u2c,
    lower_y_c2v,
    lower_y_v2c,
    lower_z_c2w,
    next_x,
    next_y,
    previous_x,
    previous_y,
    upper_x_c2u,
    upper_x_u2c,
    upper_y_c2v,
    upper_y_v2c,
    upper_z_c2w,
)

HALO = 3  # of tracers whose fluxes need two cells on either side


def with_halo(flow: Flow, halos, grid) -> Flow:
    """The flow through all faces of the cells around a tile, too."""
    u, v, w = exchange(
        halos, (flow.u, Halo(1, 1, 1, 2)), (flow.v, Halo(1, 2, 1, 1)), (flow.w, Halo.of(1))
    )
    # Beyond a wall an exchange brings values from elsewhere.
    u, v, w = hold(u * grid.mask_u, v * grid.mask_v, w * grid.mask_cw)
    return Flow(u, v, w, flow.h.crop(1), flow.dt)


def upwind(c: Field, flow: Flow, grid) -> Fluxes:
    """Fluxes (units as of :class:`dogcm.dynamics.interfaces.TracerAdvection`) of first order."""
    at_u = where(flow.u > 0, lower_x_c2u(c), upper_x_c2u(c))
    at_v = where(flow.v > 0, lower_y_c2v(c), upper_y_c2v(c))
    at_w = where(flow.w > 0, lower_z_c2w(c), upper_z_c2w(c))
    return flow.u * grid.dy_u * at_u, flow.v * grid.dx_v * at_v, flow.w * at_w


def bounded(c: Field, flow: Flow, fluxes: Fluxes, grid) -> Fluxes:
    """``fluxes`` of the whole step, reduced where they would make new extremes.

    Args:
        c: with a halo of 2 or more. flow: :func:`with_halo`. fluxes: of ``c`` by ``flow``.
    """
    dt = flow.dt
    low, fluxes = hold(*upwind(c, flow, grid)), hold(*fluxes)
    more = hold(*(f - g for f, g in zip(fluxes, low)))
    volume = convergence(flow.u * grid.dy_u, flow.v * grid.dx_v, flow.w, grid)
    h, content = hold(flow.h + volume * dt, c * flow.h + convergence(*low, grid) * dt)
    least, most = hold(*_bounds(c, grid))
    enters, leaves = hold(*_gains(more, grid))
    takes = fmap(_part, most * h - content, enters * dt, name="room")
    spares = fmap(_part, content - least * h, leaves * dt, name="room")
    shares = _shares(more, *hold(takes, spares))
    return hold(*(f + a * s for f, a, s in zip(low, more, shares)))


def _part(spare, moved):
    """The part of what would be moved that there is room for."""
    spare = jnp.maximum(spare, 0.0)
    # The square of less is no number, and derivatives divide by it.
    short = (spare < moved) & (moved > jnp.finfo(moved.dtype).tiny ** 0.5)
    return jnp.where(short, spare / jnp.where(short, moved, 1.0), 1.0)


def _bounds(c: Field, grid) -> tuple[Field, Field]:
    """Least and largest value of each cell and its wet neighbours."""
    largest = float(jnp.finfo(c.dtype).max) ** 0.5
    return tuple(
        _extreme(c, grid.mask_c, choose, dry)
        for choose, dry in ((jnp.minimum, largest), (jnp.maximum, -largest))
    )


def _extreme(c: Field, wet: Field, choose, dry: float) -> Field:
    pick = lambda *fields: fmap(choose, *fields, name="bounds")
    water = hold(fmap(lambda c, m: jnp.where(m > 0, c, dry), c, wet, name="water"))
    along_x, along_y = (
        pick(previous_x(water), next_x(water)),
        pick(previous_y(water), next_y(water)),
    )
    around = pick(pick(along_x, along_y), water)
    if c.shape[0] == 1:
        return around
    over, under = around_layers(pick(upper_z_c2w(water), lower_z_c2w(water)), outside=dry)
    return pick(around, pick(over, under))


def _gains(more: Fluxes, grid) -> tuple[Field, Field]:
    """What the fluxes bring into each cell, and what they take from it (unit m s-1, positive)."""
    up = lambda f: fmap(lambda x: jnp.maximum(x, 0.0), f, name="gain")
    down = lambda f: fmap(lambda x: jnp.maximum(-x, 0.0), f, name="loss")
    fx, fy, fz = more
    (above_up, below_up), (above_down, below_down) = (around_layers(s(fz)) for s in (up, down))
    east, west, north, south = up(fx), down(fx), up(fy), down(fy)
    enters = lower_x_u2c(east) + upper_x_u2c(west) + lower_y_v2c(north) + upper_y_v2c(south)
    leaves = upper_x_u2c(east) + lower_x_u2c(west) + upper_y_v2c(north) + lower_y_v2c(south)
    gain = enters / grid.area_c + (below_up + above_down)
    loss = leaves / grid.area_c + (above_up + below_down)
    return gain, loss


def _shares(more: Fluxes, takes: Field, spares: Field) -> Fluxes:
    """The part of each flux that both of its cells allow."""

    def share(f, take_low, spare_low, take_high, spare_high):
        forwards = jnp.minimum(spare_low, take_high)  # from the lower to the higher index
        return jnp.where(f > 0, forwards, jnp.minimum(take_low, spare_high))

    fx, fy, fz = more
    x = [p(r) for p in (lower_x_c2u, upper_x_c2u) for r in (takes, spares)]
    y = [p(r) for p in (lower_y_c2v, upper_y_c2v) for r in (takes, spares)]
    # Upwards is from the layer below.
    z = [p(r) for p in (lower_z_c2w, upper_z_c2w) for r in (takes, spares)]
    return tuple(fmap(share, f, *r, name="share") for f, r in ((fx, x), (fy, y), (fz, z)))


__all__ = ["HALO", "bounded", "upwind", "with_halo"]
