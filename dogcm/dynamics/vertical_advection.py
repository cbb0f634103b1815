"""Vertical advection, part of it implicit: for flow that crosses a layer in less than a step.

Down steep slopes, in overturning fronts and in thin layers the vertical Courant number passes what
explicit schemes bear long before the horizontal one does. The flow through an interface is split in
two (Shchepetkin 2015): as much as keeps below a given Courant number is left to the explicit
schemes, and only the rest is carried implicitly, from upstream, in the same tridiagonal solve as
vertical mixing. Where the flow is slower nothing changes.

Tracers are carried in flux form, so that their content stays what it was and a uniform tracer stays
uniform; velocity in the advective form of the momentum equation.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from pydantic import model_validator

from dogcm.components import option
from dogcm.dynamics.interfaces import VerticalAdvection
from dogcm.field import Field, fmap, hold, maximum, where
from dogcm.operators import (
    around_layers,
    common,
    diff_z_c2w,
    diff_z_w2c,
    lower_x_u2c,
    lower_y_v2c,
    lower_z_c2w,
    upper_x_u2c,
    upper_y_v2c,
    upper_z_c2w,
)


class AdaptiveImplicit(VerticalAdvection):
    """Implicit as far as the vertical Courant number asks for it (Shchepetkin 2015)."""

    kind: ClassVar[str] = "adaptive"
    source: ClassVar[str] = "Shchepetkin (2015), doi:10.1016/j.ocemod.2015.03.006"
    courant_min: float = option(
        0.2, "1", "vertical Courant number up to which all is explicit", gt=0, le=1
    )
    courant_max: float = option(
        0.4, "1", "largest vertical Courant number that is explicit", gt=0, le=1
    )

    @model_validator(mode="after")
    def _ordered(self):
        if self.courant_min >= self.courant_max:
            raise ValueError("courant_min: must be less than courant_max")
        return self

    def implicit(self, w: Field, courant: Field) -> Field:
        low, high = self.courant_min, self.courant_max
        # Rises from 0 with a slope of 0, and leaves ``high`` to explicit schemes beyond ``bend``.
        bend, width = 2.0 * high - low, 4.0 * high * (high - low)

        def part(w, c):
            squared = jnp.maximum(c - low, 0.0) ** 2
            beyond = 1.0 - high / jnp.maximum(c, bend)
            return w * jnp.where(c < bend, squared / (width + squared), beyond)

        return fmap(part, w, courant, name="implicit flow")


def _inverse(h: Field) -> Field:
    return fmap(lambda h: jnp.where(h > 0, 1.0 / jnp.where(h > 0, h, 1.0), 0.0), h, name="1/h")


def _of_thinner(h: Field, mask: Field) -> Field:
    """One over the thickness of the thinner layer of an interface (m-1)."""
    inverse = _inverse(h)
    return maximum(upper_z_c2w(inverse), lower_z_c2w(inverse)) * mask


def tracer_courant(w: Field, h: Field, grid, dt: float) -> Field:
    """Courant number at interfaces of flow ``w`` (m s-1) through layers ``h`` (m) at centres."""
    return fmap(lambda w, i: jnp.abs(w) * i * dt, w, _of_thinner(h, grid.mask_cw), name="courant")


def momentum_courant(w: Field, h: tuple[Field, Field], grid, dt: float) -> Field:
    """The same with the thinnest layers ``h`` (m) of the west and south faces around each centre,
    whose velocities share the flow there."""
    west, south = _of_thinner(h[0], grid.mask_uw), _of_thinner(h[1], grid.mask_vw)
    around = maximum(lower_x_u2c(west), upper_x_u2c(west))
    around = maximum(around, maximum(lower_y_v2c(south), upper_y_v2c(south)))
    return fmap(lambda w, i: jnp.abs(w) * i * dt, w, hold(around), name="courant")


def carried(c: Field, w: Field) -> Field:
    """Flux from upstream through interfaces (unit of ``c`` times m s-1, positive up)."""
    return w * where(w > 0, lower_z_c2w(c), upper_z_c2w(c))


def acceleration(u: Field, w: Field, h: Field) -> Field:
    """Of velocity ``u`` by upstream advection with ``w`` in advective form (m s-2); ``h``:
    thickness (m)."""
    from_below, from_above = _parts(w, 1.0)
    shear = diff_z_c2w(u)  # upper minus lower
    # What comes from above acts on the layer below an interface, and the other way round.
    above, _ = around_layers(hold(from_above * shear))
    _, below = around_layers(hold(from_below * shear))
    return (above - below) * _inverse(h)


def _parts(w: Field, dt: float) -> tuple[Field, Field]:
    """What crosses interfaces upwards and downwards in a step (m)."""
    return (
        fmap(lambda w: jnp.maximum(w, 0.0) * dt, w, name="upwards"),
        fmap(lambda w: jnp.maximum(-w, 0.0) * dt, w, name="downwards"),
    )


def solve_tracers(
    contents: list[Field], thickness: Field, exchange: Field, w: Field, dt: float
) -> list[Field]:
    """Values after implicit mixing and advection by ``w`` (m s-1, 0 where either side is dry).

    Solves ``h C + dt (F_above - F_below) = content`` with the fluxes of mixing and of upstream
    advection; arguments as of :func:`dogcm.physics.vertical_mixing.implicit_solve`.
    """
    up, down = _parts(w, dt)
    return _solve(contents, thickness, exchange + up, exchange + down, diff_z_w2c(w) * dt)


def solve_velocity(
    content: Field, thickness: Field, exchange: Field, sink: Field, w: Field, dt: float
) -> Field:
    """Velocity after vertical friction and advection by ``w`` (m s-1, 0 where either side is dry)
    in advective form; arguments as of :func:`dogcm.physics.vertical_mixing.implicit_solve`."""
    up, down = _parts(w, dt)
    return _solve([content], thickness, exchange + up, exchange + down, sink)[0]


def _solve(contents: list[Field], h: Field, below: Field, above: Field, sink: Field) -> list[Field]:
    """Solve ``(h + sink) C + below (C - C_below) + above (C - C_above) = content``.

    Args:
        below: what ties the layer above an interface to the one below it (m). above: the other way
            round.
    """
    fields = common(*contents, *hold(h, below, above, sink))
    rhs, (h, below, above, sink) = fields[: len(contents)], fields[len(contents) :]
    columns = jnp.stack([f.data for f in rhs], axis=1)
    found = columns_solved(h.data, below.data, above.data, sink.data, columns)
    return [f.with_data(found[:, n]) for n, f in enumerate(rhs)]


def columns_solved(h, below, above, sink, rhs):
    """The solution of :func:`_solve` of arrays, the vertical axis first; ``rhs`` (nz, n, y, x).

    Derivatives come from the solution and not from the elimination.
    """
    level = [(0, 0)] * (h.ndim - 1)
    of_lower = jnp.pad(above, [(1, 0), *level])[:, None]  # what ties each layer to the one above
    of_upper = jnp.pad(below, [(0, 1), *level])[:, None]
    # Land solves C = 0.
    own = jnp.where(h > 0, h + sink, 1.0)[:, None] + of_lower + of_upper
    ends = [(0, 0)] * rhs[0].ndim
    shifted_up = lambda x: jnp.pad(x[1:], [(0, 1), *ends])
    shifted_down = lambda x: jnp.pad(x[:-1], [(1, 0), *ends])

    def product(x):
        return own * x - of_lower * shifted_down(x) - of_upper * shifted_up(x)

    def transposed(_, r):
        return _eliminate(-shifted_down(of_upper), own, -shifted_up(of_lower), r)

    solve = lambda _, r: _eliminate(-of_lower, own, -of_upper, r)
    return jax.lax.custom_linear_solve(product, rhs, solve, transposed)


def _eliminate(lower, diagonal, upper, rhs):
    """Thomas algorithm for ``lower x[k - 1] + diagonal x[k] + upper x[k + 1] = rhs``."""

    def down(carry, now):
        ratio, value = carry
        low, own, up, r = now
        pivot = 1.0 / (own - low * ratio)
        ratio, value = jax.lax.optimization_barrier((up * pivot, (r - low * value) * pivot))
        return (ratio, value), (ratio, value)

    def up(below, now):
        ratio, value = now
        here = jax.lax.optimization_barrier(value - ratio * below)
        return here, here

    start = jnp.zeros_like(diagonal[0]), jnp.zeros_like(rhs[0])
    _, (ratios, values) = jax.lax.scan(down, start, (lower, diagonal, upper, rhs))
    return jax.lax.scan(up, jnp.zeros_like(rhs[0]), (ratios, values), reverse=True)[1]


__all__ = [
    "AdaptiveImplicit",
    "acceleration",
    "carried",
    "columns_solved",
    "momentum_courant",
    "solve_tracers",
    "solve_velocity",
    "tracer_courant",
]
