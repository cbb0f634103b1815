"""Transport on planes: fluxes through faces, limited so that no cell gives what it has not.

Several layers are stepped at once, ``(..., layers, y, x)``: the plane itself and what a closure
keeps beside it, each with a flow and a diffusivity of its own. Two schemes, both in flux form:

* ``exponential``: what passes a face each way is a rate times what its donor holds, the exact rates
  of steady transport between two points (Scharfetter and Gummel 1969, doi:10.1109/T-ED.1969.16566;
  central where diffusion rules, upwind where the flow does). It is linear in the concentration with
  coefficients that a rollout computes once: the cheapest there is, forward and backward.
* ``limited``: second order with van Leer's limiter (1974, doi:10.1016/0021-9991(74)90019-9).

A cell that would lose more than it holds loses what it holds (Smolarkiewicz 1989,
doi:10.1175/1520-0493(1989)117<2626:COAPDA>2.0.CO;2). Nothing is clipped, so the inventory is kept
to round-off.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from dogcm.decomp import Halo
from dogcm.field import Field, exchange, fmap, hold
from dogcm.operators import (
    diff_x_c2u,
    diff_x_u2c,
    diff_y_c2v,
    diff_y_v2c,
    lower_x_c2u,
    lower_x_u2c,
    lower_y_c2v,
    lower_y_v2c,
    upper_x_c2u,
    upper_x_u2c,
    upper_y_c2v,
    upper_y_v2c,
)
from dogcm.planar.plane import DEPTH

Scheme = Literal["exponential", "limited", "upwind"]
_MOST = 0.9  # of what a cell holds may leave it in a step


class Flow(NamedTuple):
    """What moves the layers: Fields ``(layers, y, x)`` on faces, zero on closed ones."""

    u: Field
    v: Field
    diffusivity_u: Field
    diffusivity_v: Field


@jax.custom_jvp
def _van_leer(a, b):
    """Harmonic mean of two differences of one sign, else zero."""
    agree = a * b > 0
    return jnp.where(agree, 2.0 * a * b / jnp.where(agree, a + b, 1.0), 0.0)


@_van_leer.defjvp
def _van_leer_jvp(values, changes):
    """By ratios alone: far from a source the square of a sum is below the least number."""
    a, b = values
    agree = a * b > 0
    part = jnp.where(agree, a / jnp.where(agree, a + b, 1.0), 0.0)
    other = jnp.where(agree, 1.0 - part, 0.0)
    return _van_leer(a, b), 2.0 * (other * other * changes[0] + part * part * changes[1])


class _Axis(NamedTuple):
    """The operators of one direction."""

    diff: Any
    lower: Any
    upper: Any
    lower_face: Any
    upper_face: Any
    divergence: Any


_X = _Axis(diff_x_c2u, lower_x_c2u, upper_x_c2u, lower_x_u2c, upper_x_u2c, diff_x_u2c)
_Y = _Axis(diff_y_c2v, lower_y_c2v, upper_y_c2v, lower_y_v2c, upper_y_v2c, diff_y_v2c)


def _flux(c: Field, vel: Field, k: Field, wet: Field, axis: _Axis, d: float, dt: float, scheme):
    """Flux (unit m s-1) through the faces of one direction, positive towards higher indices."""
    change = axis.diff(c) * wet
    upwind = fmap(lambda w, a, b: jnp.where(w > 0, a, b), vel, axis.lower(c), axis.upper(c))
    flux = vel * upwind - k * change * (1.0 / d)
    if scheme == "upwind":
        return flux
    slope = fmap(_van_leer, axis.lower_face(change), axis.upper_face(change), name="slope")
    share = fmap(lambda w: 0.5 * jnp.abs(w) * jnp.maximum(1.0 - jnp.abs(w) * (dt / d), 0.0), vel)
    behind = fmap(lambda w, a, b: jnp.where(w > 0, a, b), vel, axis.lower(slope), axis.upper(slope))
    return flux + share * behind


class Passage(NamedTuple):
    """Part of its donor's content (m) that passes a face in one step: towards higher and towards
    lower indices, on west and on south faces."""

    up_x: Field
    down_x: Field
    up_y: Field
    down_y: Field


def exponential_less_one(x):
    """exp(x) - 1 by products and exp, whose bits do not depend on how long a loop is; to 1e-14."""
    small = jnp.abs(x) < 0.03
    y = jnp.where(small, x, 0.0)
    series = y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6 * (1 + y / 7))))))
    return jnp.where(small, series, jnp.exp(jnp.where(small, 1.0, x)) - 1.0)


def lost(rate, dt):
    """The part that is lost in ``dt`` (s) at this rate (s-1), over the rate: ``dt`` where it is
    zero."""
    small = rate * dt < 1e-4
    safe = jnp.where(small, 1.0, rate)
    series = dt * (1.0 - 0.5 * rate * dt * (1.0 - rate * dt / 3.0))
    return jnp.where(small, series, -exponential_less_one(-safe * dt) / safe)


def _bernoulli(x):
    """x / (exp(x) - 1), smooth at zero."""
    small = jnp.abs(x) < 1e-3
    safe = jnp.clip(jnp.where(small, 1.0, x), -60.0, 60.0)
    return jnp.where(small, 1.0 - 0.5 * x + x * x / 12.0, safe / exponential_less_one(safe))


def _passing(vel: Field, k: Field, wet: Field, d: float, dt: float) -> tuple[Field, Field]:
    """Parts (m) that pass the faces of one direction in ``dt``, not yet limited."""
    least = 1e-4  # m2 s-1, where nothing diffuses: upwind
    rate = fmap(lambda k: jnp.maximum(k, least) * (dt / d), k, name="k")
    number = fmap(lambda w, k: jnp.clip(w * d / jnp.maximum(k, least), -60.0, 60.0), vel, k)
    up = fmap(lambda r, n: r * _bernoulli(-n), rate, number) * wet
    down = fmap(lambda r, n: r * _bernoulli(n), rate, number) * wet
    return up, down


def passage(flow: Flow, plane, dt: float) -> Passage:
    """The rates of the exponential scheme, reduced where a cell would lose more than it holds: they
    do not depend on concentrations."""
    ways = [
        _passing(flow.u, flow.diffusivity_u, plane.wet_u, plane.dx, dt),
        _passing(flow.v, flow.diffusivity_v, plane.wet_v, plane.dy, dt),
    ]
    lost = []
    for (up, down), axis, d in zip(ways, (_X, _Y), (plane.dx, plane.dy)):
        lost.append((axis.upper_face(up) + axis.lower_face(down)) * (1.0 / d))
    total = (lost[0] + lost[1]) / plane.part
    share = fmap(lambda x: (1.0 - 1e-7) / jnp.maximum(x, 1.0), total, name="share")
    (ux, dx), (uy, dy) = ways
    way = (
        ux * lower_x_c2u(share),
        dx * upper_x_c2u(share),
        uy * lower_y_c2v(share),
        dy * upper_y_c2v(share),
    )
    return Passage(*(f.crop(1) for f in way))


def passed(c: Field, way: Passage, plane, halos) -> Field:
    """The layers, without halo, after one step of the exponential scheme.

    Its transpose is a stencil as well, and is told here: it costs what a step costs. Derivatives
    are in reverse mode only.

    Args:
        c: ``(..., layers, y, x)`` without halo. way: ``(layers, y, x)`` with a halo of one cell.
    """
    one = Halo.of(1)
    steps = 1.0 / plane.dx, 1.0 / plane.dy

    def convergence(f: Field, way: Passage) -> Field:
        (near,) = exchange(halos, (f, one))
        x = way.up_x * lower_x_c2u(near) - way.down_x * upper_x_c2u(near)
        y = way.up_y * lower_y_c2v(near) - way.down_y * upper_y_c2v(near)
        return diff_x_u2c(x) * steps[0] + diff_y_v2c(y) * steps[1]

    @jax.custom_vjp
    def step(f: Field, way: Passage, part: Field) -> Field:
        return f - (convergence(f, way) / part).crop(0)

    def forward(f, way, part):
        return step(f, way, part), (f, way, part)

    def backward(saved, cotangent):
        f, way, part = saved
        near, g = exchange(halos, (f, one), (cotangent / part, one))
        on_x, on_y = diff_x_c2u(g) * steps[0], diff_y_c2v(g) * steps[1]
        back = upper_x_u2c(way.up_x * on_x) - lower_x_u2c(way.down_x * on_x)
        back = back + upper_y_v2c(way.up_y * on_y) - lower_y_v2c(way.down_y * on_y)
        # Each face is told on the tile that owns it; its copy on a neighbour's halo is the same.
        of_way = (
            on_x * lower_x_c2u(near),
            on_x * upper_x_c2u(near) * (-1.0),
            on_y * lower_y_c2v(near),
            on_y * upper_y_c2v(near) * (-1.0),
        )
        return cotangent + back.crop(0), Passage(*map(_like, of_way, way)), part * 0.0

    step.defvjp(forward, backward)
    return step(c, way, plane.part.crop(0))


def _like(f: Field, like: Field) -> Field:
    """Summed over cases, without halo, in the shape of ``like``: zero on its halo."""
    data = f.crop(0).data
    data = jnp.sum(data, axis=tuple(range(data.ndim - like.ndim)))
    h = like.halo
    padded = jnp.pad(data, [(0, 0)] * (data.ndim - 2) + [(h.s, h.n), (h.w, h.e)])
    return like.with_data(padded.astype(like.dtype))


def bounded(flow: Flow, plane, dt: float, halos) -> Flow:
    """The flow, slowed down where a cell would lose nearly all it holds, or more, in a step of
    ``dt`` (s).

    Limits of fluxes keep concentrations bounded then as well, but not their derivatives, which
    would grow from step to step.
    """
    total, parts = 0.0, ((flow.u, flow.diffusivity_u), (flow.v, flow.diffusivity_v))
    for (vel, k), axis, d in zip(parts, (_X, _Y), (plane.dx, plane.dy)):
        out = lambda sign, vel=vel, k=k, d=d: fmap(
            lambda w, k: jnp.maximum(sign * w, 0.0) + k / d, vel, k
        )
        up, down = out(1.0), out(-1.0)
        total = total + (axis.upper_face(up) + axis.lower_face(down)) * (dt / d)
    share = fmap(lambda x: _MOST / jnp.maximum(x, _MOST), total / plane.part, name="share")
    (share,) = exchange(halos, (hold(share.crop(0)), DEPTH + 1))
    least = lambda axis: fmap(jnp.minimum, axis.lower(share), axis.upper(share))
    x, y = least(_X), least(_Y)
    return Flow(*hold(flow.u * x, flow.v * y, flow.diffusivity_u * x, flow.diffusivity_v * y))


def fluxes(c: Field, flow: Flow, plane, dt: float, scheme: Scheme = "limited"):
    """Fluxes (unit m s-1) through west and south faces, not yet limited."""
    x = _flux(c, flow.u, flow.diffusivity_u, plane.wet_u, _X, plane.dx, dt, scheme)
    y = _flux(c, flow.v, flow.diffusivity_v, plane.wet_v, _Y, plane.dy, dt, scheme)
    return x, y


def limited(c: Field, flux_x: Field, flux_y: Field, plane, dt: float) -> tuple[Field, Field]:
    """The fluxes, reduced where a cell would lose more in ``dt`` than it holds."""
    parts = []
    for f, axis, d in ((flux_x, _X, plane.dx), (flux_y, _Y, plane.dy)):
        out = lambda low, high: jnp.maximum(high, 0.0) - jnp.minimum(low, 0.0)
        parts.append(fmap(out, axis.lower_face(f), axis.upper_face(f), name="out") * (dt / d))
    share = hold(fmap(_affordable, c, (parts[0] + parts[1]) / plane.part))
    cut = lambda f, axis: (
        f * fmap(lambda w, a, b: jnp.where(w > 0, a, b), f, axis.lower(share), axis.upper(share))
    )
    return cut(flux_x, _X), cut(flux_y, _Y)


@jax.custom_jvp
def _affordable(content, loss):
    """The part of ``loss`` that ``content`` pays for, a little less than all of it."""
    short = _short(content, loss)
    return jnp.where(short, content * (1.0 - 1e-7) / jnp.where(short, loss, 1.0), 1.0)


def _short(content, loss):
    """Whether a cell would lose more than it holds, where that is more than nothing."""
    return loss > jnp.maximum(content, 1e3 * jnp.finfo(loss.dtype).tiny)


@_affordable.defjvp
def _affordable_jvp(values, changes):
    """Without the square of a loss, which may be below the least number."""
    content, loss = values
    short = _short(content, loss)
    part, over = _affordable(content, loss), 1.0 / jnp.where(short, loss, 1.0)
    change = ((1.0 - 1e-7) * changes[0] - part * changes[1]) * over
    return part, jnp.where(short, change, 0.0)


def converged(c: Field, flux_x: Field, flux_y: Field, plane, dt: float) -> Field:
    """The layers after ``dt`` of these fluxes."""
    change = diff_x_u2c(flux_x) * (dt / plane.dx) + diff_y_v2c(flux_y) * (dt / plane.dy)
    return c - change / plane.part


def transported(
    c: Field, flow: Flow, plane, dt: float, scheme: Scheme = "limited", extra=None
) -> Field:
    """The layers ``(..., layers, y, x)`` after one step; uses up three cells of halo (upwind: two).

    Args:
        extra: fluxes (unit m s-1) of a closure through west and south faces, limited with the rest.
    """
    x, y = hold(*fluxes(c, flow, plane, dt, scheme))
    if extra is not None:
        x, y = x + extra[0], y + extra[1]
    x, y = limited(c, x, y, plane, dt)
    return converged(c, x, y, plane, dt)


__all__ = [
    "Flow",
    "Passage",
    "bounded",
    "converged",
    "exponential_less_one",
    "limited",
    "lost",
    "passage",
    "passed",
    "transported",
]
