"""Closures of planes: what leaves a plane, is kept beside it, and may come back.

A closure owns *layers* beside the plane (what they hold is in units of the plane's concentration:
mass of the layer over volume of the plane's cell), hidden states, and weights. Whatever it does,
plane and layers and what is gone add up to the same sum, and nothing becomes negative.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from dogcm.components import Component, option
from dogcm.components.registry import component
from dogcm.corrector import memory  # noqa: F401 defines the memories that ship
from dogcm.corrector.features import squash
from dogcm.corrector.layers import HaloConv, Level, constant_level, stack
from dogcm.corrector.memory import require_ordered
from dogcm.decomp import make_layout
from dogcm.field import Field, exchange, fmap, hold
from dogcm.halo import HaloExchange, SerialBackend
from dogcm.operators import (
    diff_x_c2u,
    diff_y_c2v,
    mean_x_c2u,
    mean_x_u2c,
    mean_y_c2v,
    mean_y_v2c,
)
from dogcm.planar.plane import DEPTH, Plane
from dogcm.planar.transport import Flow, converged, limited, lost

MAPS = "maps"


class Held(NamedTuple):
    """What a step moves: Fields without halo, any leading axes.

    Attributes:
        layers: ``(..., 1 + layers, y, x)``, the plane first (kg m-3). gone: ``(..., 1, y, x)``,
            what left for good, at the place where it did. hidden: ``(..., states, y, x)``.
    """

    layers: Field
    gone: Field
    hidden: Field


class Scene(NamedTuple):
    """Where a closure works, and on which tile."""

    plane: Plane
    halos: Any
    dt: float

    def level(self) -> Level:
        wet = self.plane.wet_c
        return Level(self.halos, wet, wet.crop(0))


def speed(plane: Plane) -> Field:
    """Local scale of velocity (m s-1) at centres: of the flow, and of diffusion over a cell."""
    u, v = mean_x_u2c(fmap(jnp.abs, plane.u)), mean_y_v2c(fmap(jnp.abs, plane.v))
    d = _eddies(plane)
    # A millimetre a second where nothing moves.
    return fmap(lambda a, b, c: jnp.sqrt(a * a + b * b + c * c + 1e-6), u, v, d, name="speed")


def _eddies(plane: Plane) -> Field:
    """Velocity (m s-1) with which eddies carry over a cell, through its open faces alone: what is
    beyond walls is not known."""
    x = mean_x_u2c(plane.diffusivity_u * plane.wet_u) * (1.0 / plane.dx)
    return x + mean_y_v2c(plane.diffusivity_v * plane.wet_v) * (1.0 / plane.dy)


def surroundings(plane: Plane) -> Field:
    """What is known of every cell without its concentration, dimensionless: eight numbers and the
    plane's signals, ``(known, y, x)``."""
    s, dx, div = speed(plane), plane.dx, plane.divergence()
    parts = [
        mean_x_u2c(plane.u) / s,
        mean_y_v2c(plane.v) / s,
        div * dx / s,
        fmap(jnp.abs, div) * dx / s,
        _eddies(plane) / s,
        fmap(lambda x: jnp.log(x / 0.1), s, name="log"),
        1.0 - mean_x_u2c(plane.wet_u),
        1.0 - mean_y_v2c(plane.wet_v),
    ]
    if plane.signals is not None:
        parts.append(plane.signals)
    return hold(stack(*(fmap(squash, f) * plane.wet_c for f in parts)).crop(0))


def known(plane: Plane) -> int:
    """How many numbers :func:`surroundings` gives."""
    return 8 + (0 if plane.signals is None else plane.signals.shape[-3])


class PlaneClosure(Component):
    """What is unresolved between a plane and the rest."""

    slot: ClassVar[str] = "plane_closure"

    @property
    def kept(self) -> int:
        """Layers beside the plane."""
        return 1

    @property
    def states(self) -> int:
        """Hidden states per cell."""
        return 0

    @abstractmethod
    def weights(self, key, plane: Plane) -> dict:
        """Weights before training, the same on all ranks (maps: zero): the closure then does
        nothing but keep what the flow takes out of the plane."""

    def rates(self, weights: dict, scene: Scene) -> Any:
        """What it needs once per rollout where the flow is steady, else once per step."""
        return weights

    def feasible(self, weights: dict) -> dict:
        """The nearest weights that training can go on from; call it after each update."""
        return weights

    def flow(self, ready: Any, plane: Plane) -> Flow:
        """Flow of plane and layers, ``(1 + kept, y, x)``; by default layers stand still."""
        still = lambda f: jnp.concatenate([f.data[None], *[0 * f.data[None]] * self.kept])
        parts = plane.u, plane.v, plane.diffusivity_u, plane.diffusivity_v
        return Flow(*(f.with_data(still(f)) for f in parts))

    @abstractmethod
    def exchanged(self, ready: Any, held: Held, scene: Scene) -> Held:
        """One step of what goes to and fro."""


class _Rates(nn.Module):
    """Surroundings to ``outputs`` numbers per cell, zero before training."""

    outputs: int
    width: int

    @nn.compact
    def __call__(self, x: Field, level: Level) -> Field:
        act = lambda f: f.with_data(nn.silu(f.data))
        x = HaloConv(self.width, 1, name="first")(x, level)
        x = HaloConv(self.width, 3, name="second")(act(x), level)
        return HaloConv(self.outputs, 1, zero=True, name="last")(act(x), level)


def _initialised(module: nn.Module, key, channels: tuple[int, ...], dtype, *more) -> dict:
    """Weights of a module on a small plane of no walls, the same on all ranks."""
    halos = HaloExchange(make_layout((8, 8), 1, 1), SerialBackend())
    like = [Field(jnp.zeros((n, 8, 8), dtype), "c") for n in channels]
    start = lambda k, fields: module.init(k, *fields, constant_level(halos, fields[0]), *more)
    # Run once, so not worth optimising.
    quick = {"xla_backend_optimization_level": 0}
    return dict(jax.jit(start, compiler_options=quick)(key, like)["params"])


class Rates(NamedTuple):
    """What the layers do, Fields ``(kept, y, x)`` in s-1: from the plane into each layer, from it
    to the plane, out of the room, and to the next layer; the flow of all; one over time scales.
    Then what that comes to in a step, as parts or as a matrix (:func:`transition`)."""

    leaves: Field
    back: Field
    gone: Field
    onward: Field
    flow: Flow
    pace: Field
    parts: Parts | None = None
    passes: Field | None = None


class Parts(NamedTuple):
    """What goes where in one step, parts of what is there: Fields ``(kept, y, x)``, but ``kept``
    of the plane is ``(y, x)``."""

    leaves: Field
    kept: Field
    back: Field
    gone: Field
    onward: Field
    stays: Field


class Layers(PlaneClosure):
    """A linear state space of layers that hold what left the plane.

    Layer k takes a share of what the flow and the eddies carry out of the plane, is moved by a
    flow of its own, and empties on its own time scale into the plane, into the next layer and out
    of the domain: dh_k/dt = a_k c - h_k / tau_k - div(U_k h_k - K_k grad h_k). All rates depend on
    the surroundings of a cell by a small network, with ``maps`` also on the place. It is linear
    in the concentration, so amplitudes do not matter, and stepped exactly between transports, so
    the step does not matter. Rates towards the plane and of eddies begin at zero; where the mixing
    of the plane with what is beside it is known, it goes both ways from the start, at a part of
    the known rate that each layer learns.

    Without ``remembers`` time scales are zero: the same weights, whose layers return at once what
    they return.
    """

    kind: ClassVar[str] = "layers"
    source: ClassVar[str] = "Markovian embedding of Mori-Zwanzig memory"
    count: int = option(4, "1", "layers beside the plane", ge=1, le=16)
    width: int = option(24, "channels", "of the network", ge=1)
    maps: bool = option(True, "1", "learned maps of all rates, which belong to one room")
    advected: bool = option(True, "1", "whether the layers have a flow of their own")
    remembers: bool = option(True, "1", "false: the Markovian twin of equal parameters")
    closed: bool = option(False, "1", "nothing leaves for good: what layers hold may come back")
    coupled: bool = option(
        False, "1", "one exponential for all rates: where a step is longer than the exchange takes"
    )
    shortest: float = option(5.0, "s", "shortest time scale at the start", gt=0)
    longest: float = option(300.0, "s", "longest time scale at the start", gt=0)

    @model_validator(mode="after")
    def _ordered(self):
        require_ordered(self.shortest, self.longest)
        return self

    @property
    def kept(self) -> int:
        return self.count

    def weights(self, key, plane: Plane) -> dict:
        n, dtype = self.count, plane.dtype
        module = _Rates(len(_NUMBERS) * n, self.width)
        start = np.linspace(np.log(self.shortest), np.log(self.longest), n)
        made = {
            "network": _initialised(module, key, (known(plane),), dtype),
            "log_tau": jnp.asarray(start, dtype),
            "gates": jnp.zeros((4, n), dtype),
            "own": jnp.tile(jnp.asarray([[0.5], [0.0], [-1.2]], dtype), (1, n)),
        }
        if plane.mixing is not None:
            # A layer that keeps things for longer is thicker, and farther from the plane.
            away = jnp.asarray(start[0] - start, dtype)
            made["mixed"] = jnp.stack([away, away])
        if self.maps:
            tile = plane.wet_c.tile_shape
            made[MAPS] = Field(jnp.zeros((len(_NUMBERS) * n, *tile), dtype), "c").named(MAPS)
        return made

    def rates(self, weights: dict, scene: Scene) -> Rates:
        numbers = self._numbers(weights, scene)
        p = scene.plane
        wide = {k: numbers.level(slice(i * self.count, (i + 1) * self.count))
                for i, k in enumerate(_NUMBERS)}  # fmt: skip
        flow = self._flow(wide, weights["own"], p)
        rates = self._rates({k: f.crop(0) for k, f in wide.items()}, weights, p, flow)
        if self.coupled and self.remembers:
            return rates._replace(passes=hold(transition(rates, scene.dt)))
        rates = rates._replace(parts=Parts(*hold(*self._parts(rates, scene.dt))))
        if self.remembers:
            return rates
        # Time scales of zero: what a layer would carry goes with the plane's own concentration.
        gate = jnp.maximum(weights["gates"][1], 0.0)[:, None, None]
        share = fmap(lambda a, t: a / (a + t), rates.leaves, rates.pace) * (gate / (1.0 + gate))
        (share,) = exchange(scene.halos, (share, DEPTH + 1))
        return rates._replace(flow=_at_once(flow, share, p))

    def _numbers(self, weights: dict, scene: Scene) -> Field:
        module = _Rates(len(_NUMBERS) * self.count, self.width)
        x = surroundings(scene.plane)
        found = hold(module.apply({"params": weights["network"]}, x, scene.level()).crop(0))
        if self.maps:
            found = found + weights[MAPS].astype(found.dtype)
        return exchange(scene.halos, (found, DEPTH + 1))[0]

    def _flow(self, raw: dict[str, Field], own, p: Plane) -> Flow:
        column = lambda x: x[:, None, None]
        share, _, spread = (column(x) for x in own)
        scale = _face_speeds(p)
        moved = float(self.advected)
        vel = lambda f, base, wet, s: (
            (f.with_data(jnp.tanh(f.data)) * s + base * share) * wet * moved
        )
        u = vel(mean_x_c2u(raw["east"]), p.u, p.wet_u, scale[0])
        v = vel(mean_y_c2v(raw["north"]), p.v, p.wet_v, scale[1])
        mixed = lambda f, base, s: (
            f.with_data(nn.softplus(f.data + spread)) * s * (moved * 2.0) * base
        )
        kx = mixed(mean_x_c2u(raw["spread"]), p.dx, scale[0])
        ky = mixed(mean_y_c2v(raw["spread"]), p.dy, scale[1])
        pairs = ((p.u, u), (p.v, v), (p.diffusivity_u, kx), (p.diffusivity_v, ky))
        return Flow(*hold(*(_on_top(a, b) for a, b in pairs)))

    def _rates(self, raw: dict[str, Field], weights: dict, p: Plane, flow: Flow) -> Rates:
        column = lambda x: x[:, None, None]
        gates = [column(g) for g in jnp.maximum(weights["gates"], 0.0)]
        turn = (speed(p) * (1.0 / p.dx)).crop(0)
        div = p.divergence().crop(0)
        conv, rise = (fmap(lambda d, s=s: jnp.maximum(s * d, 0.0), div) for s in (-1.0, 1.0))
        soft = lambda f: f.with_data(nn.softplus(f.data))
        # Modulation of the time scale of a cell by at most a factor of twenty.
        slow = raw["slow"].with_data(jnp.exp(-3.0 * jnp.tanh(raw["slow"].data / 3.0)))
        pace = slow * column(jnp.exp(-weights["log_tau"]))
        share = raw["leaves"].with_data(jax.nn.softmax(raw["leaves"].data, axis=0))
        leaves = share * conv + soft(raw["mixes"]) * turn * gates[0]
        ratio = column(jnp.exp(weights["own"][1]))
        back = soft(raw["back"]) * pace * gates[1] + soft(raw["back"]) * rise * (ratio * gates[1])
        gone = soft(raw["gone"]) * pace * (gates[2] * (not self.closed))
        onward = soft(raw["onward"]) * pace * gates[3]
        if p.mixing is not None:
            down, up = self._mixed(raw, weights["mixed"], p)
            leaves, back = leaves + down, back + up
        return Rates(*hold(leaves, back, gone, onward), flow, pace)

    def _mixed(self, raw: dict[str, Field], mixed, p: Plane) -> tuple[Field, Field]:
        """Rates into layers and back that known mixing has a part in, as it is before training."""
        into, thinner = (jnp.exp(x)[:, None, None] for x in mixed)
        about_one = lambda f: f.with_data(nn.softplus(f.data) * _ONE)
        down = about_one(raw["mixes"]) * p.mixing.crop(0) * into
        return down, down * about_one(raw["back"]) * thinner

    def feasible(self, weights: dict) -> dict:
        """Gates that are not negative: below zero they would have no slope, and stay there."""
        return weights | {"gates": jnp.maximum(weights["gates"], 0.0)}

    def flow(self, ready: Rates, plane: Plane) -> Flow:
        return ready.flow

    def exchanged(self, ready: Rates, held: Held, scene: Scene) -> Held:
        if ready.passes is not None:
            return _passed_on(held, ready.passes)
        p, layers = ready.parts, held.layers
        c, h = layers.data[..., 0, :, :], layers.data[..., 1:, :, :]
        sum_of = lambda x: jnp.sum(x, axis=-3)
        left = c[..., None, :, :] * p.leaves.data
        if self.remembers:
            to_plane, to_room = sum_of(h * p.back.data), sum_of(h * p.gone.data)
            h = h * p.stays.data + left + jnp.roll(h * p.onward.data, 1, axis=-3)
        else:
            to_plane, to_room = sum_of(left * p.back.data), sum_of(left * p.gone.data)
        c = c * p.kept.data + to_plane
        gone = held.gone.with_data(held.gone.data + to_room[..., None, :, :])
        data = jnp.concatenate([c[..., None, :, :], h], axis=-3)
        return held._replace(layers=layers.with_data(data), gone=gone)

    def _parts(self, rates: Rates, dt: float) -> Parts:
        """What goes where in one step, exactly."""
        total = rates.leaves.with_data(jnp.sum(rates.leaves.data, axis=0))
        left = fmap(lambda t: lost(t, dt), total, name="lost") * rates.leaves
        kept = total.with_data(1.0 - jnp.sum(left.data, axis=0))
        if not self.remembers:
            whole = rates.back + rates.gone + rates.onward + rates.pace
            back = rates.back / whole
            return Parts(left, kept, back, back * (-1.0) + 1.0, back * 0.0, back * 0.0)
        rate = rates.back + rates.gone + rates.onward
        out = fmap(lambda r: lost(r, dt), rate, name="lost")
        back, gone, onward = (out * f for f in rates[1:4])
        return Parts(left, kept, back, gone, onward, (back + gone + onward) * (-1.0) + 1.0)


def _passed_on(held: Held, passes: Field) -> Held:
    """Plane and layers, and what is gone, after a step of a matrix."""
    into = [
        jnp.sum(held.layers.data * passes.data[n, :-1], axis=-3) for n in range(passes.shape[0])
    ]
    gone = held.gone.with_data(held.gone.data + into.pop()[..., None, :, :])
    return held._replace(layers=held.layers.with_data(jnp.stack(into, axis=-3)), gone=gone)


@jax.custom_vjp
def _product(a, b):
    """Of small matrices ``(to, from, y, x)`` in every cell."""
    return sum(a[:, k, None] * b[None, k] for k in range(a.shape[1]))


def _product_backward(saved, g):
    """Sums over whole planes, as in the product; JAX would make sums within cells of it."""
    a, b = saved
    numbers = range(a.shape[1])
    of_a = sum(g[:, k, None] * b[None, :, k] for k in numbers)
    return of_a, sum(a[k, :, None] * g[None, k] for k in numbers)


_product.defvjp(lambda a, b: (_product(a, b), (a, b)), _product_backward)
_HALVINGS, _TERMS = 6, 6


def transition(rates: Rates, dt: float) -> Field:
    """Parts of what is in the plane, in each layer and gone that are there after ``dt`` (s).

    The exponential of the matrix of rates, by uniformisation (Jensen 1953, Skand. Aktuarietidskr.
    36, 87), so that no part is negative and those of one origin add up to one whatever the step:
    the series of a matrix without negative numbers, over the sum of what it loses by being cut off,
    squared six times.

    Returns:
        Field ``(2 + kept, 2 + kept, y, x)``: to, from.
    """
    leaves, back, gone, onward = (f.data for f in rates[:4])
    n, blank = leaves.shape[0], jnp.zeros_like(leaves[0])
    g = [[blank] * (n + 2) for _ in range(n + 2)]
    for k in range(n):
        g[1 + k][0], g[0][1 + k], g[1 + n][1 + k] = leaves[k], back[k], gone[k]
        if n > 1:
            g[1 + (k + 1) % n][1 + k] = onward[k]
    out = [sum(row[k] for row in g) for k in range(n + 2)]
    most = functools.reduce(jnp.maximum, out)
    for k in range(n + 2):
        g[k][k] = most - out[k]
    short = dt / 2**_HALVINGS
    step = jnp.stack([jnp.stack(row) for row in g]) * short
    one = jnp.eye(n + 2, dtype=step.dtype)[:, :, None, None] + 0.0 * step

    def term(sums, k):
        total, whole = sums
        return (one + _product(step, total) / k, 1.0 + whole * most * (short / k)), None

    orders = jnp.arange(_TERMS, 0, -1, dtype=step.dtype)
    (total, whole), _ = jax.lax.scan(term, (one, jnp.ones_like(most)), orders)
    squared = lambda a, _: (_product(a, a), None)
    total, _ = jax.lax.scan(squared, total / whole, None, length=_HALVINGS)
    return rates.leaves.with_data(total / jnp.sum(total, axis=0))


# A network that says nothing changes nothing: softplus(0) times this is one.
_ONE = 1.0 / math.log(2.0)
# Numbers that each layer has in every cell.
_NUMBERS = ("leaves", "mixes", "back", "gone", "onward", "slow", "east", "north", "spread")


def _face_speeds(p: Plane) -> tuple[Field, Field]:
    """Local scale of velocity on west and south faces, of what is known there."""
    s = speed(p)
    return mean_x_c2u(s), mean_y_c2v(s)


def _on_top(plane: Field, layers: Field) -> Field:
    """The plane's values above those of the layers, on their common halo."""
    plane, layers = (f.crop(plane.halo.meet(layers.halo)) for f in (plane, layers))
    return layers.with_data(jnp.concatenate([plane.data[None], layers.data]))


class Recurrent(PlaneClosure):
    """Memory cells that see concentrations, and answer with fluxes on faces and an exchange.

    Inputs are the plane's and the layer's concentration and their differences, over a local scale
    of concentration, and the surroundings. Outputs, zero before training, are a flux in units of
    local speed times local concentration, and rates of exchange with one layer beside the plane in
    units of local speed over spacing. Fluxes vanish at walls and all are limited.
    """

    kind: ClassVar[str] = "recurrent"
    memory: component("memory", "relaxing", "the memory", "closure.memory", True)
    width: int = option(16, "channels", "of the network before and after the memory", ge=1)

    @model_validator(mode="after")
    def _has_memory(self):
        if self.memory is None:
            raise ValueError("memory: none; choose a memory, or closure layers")
        return self

    @property
    def states(self) -> int:
        return self.memory.states

    def weights(self, key, plane: Plane) -> dict:
        cell, head = self._modules()
        seen = known(plane) + len(_SEEN)
        first, second = jax.random.split(key)
        states, shown = self.memory.states, self.memory.channels
        return {
            "memory": _initialised(cell, first, (states, seen), plane.dtype, 1.0),
            "head": _initialised(head, second, (seen + shown,), plane.dtype),
        }

    def _modules(self):
        return self.memory.module(), _Rates(4, self.width)

    def rates(self, weights: dict, scene: Scene):
        p = scene.plane
        return weights, surroundings(p), speed(p)

    def exchanged(self, ready, held: Held, scene: Scene) -> Held:
        if held.layers.ndim == 3:
            return self._one(ready, held, scene)
        every_case = jax.vmap(lambda h: self._one(ready, h, scene))
        return every_case(held)

    def _one(self, ready, held: Held, scene: Scene) -> Held:
        weights, around, pace = ready
        p, dt, level = scene.plane, scene.dt, scene.level()
        near = exchange(scene.halos, (held.layers, DEPTH))[0]
        scale, seen = _seen(near, p)
        x = stack(seen, around)
        cell, head = self._modules()
        hidden = cell.apply({"params": weights["memory"]}, held.hidden, x, level, dt)
        hidden = hidden * p.wet_c.crop(0)
        out = head.apply({"params": weights["head"]}, stack(x, cell.look(hidden)), level).crop(0)
        out = exchange(scene.halos, (out, 2))[0]
        unit = scale * pace
        fx = fmap(jnp.tanh, mean_x_c2u(out.level(0))) * mean_x_c2u(unit) * p.wet_u
        fy = fmap(jnp.tanh, mean_y_c2v(out.level(1))) * mean_y_c2v(unit) * p.wet_v
        c = near.level(0)
        c = converged(c, *limited(c, fx, fy, p, dt), p, dt).crop(0)
        return self._traded(held, hidden, c, out.crop(0), pace.crop(0), p, dt)

    def _traded(self, held, hidden, c, out, pace, p: Plane, dt) -> Held:
        """What the flow carries out of the plane and what the cells say, no more than is there."""
        store = held.layers.level(1)
        rate = pace * (1.0 / p.dx)
        leave = p.leaving().crop(0)
        leave = leave + fmap(lambda o, r: jnp.maximum(o, 0.0) * r, out.level(2), rate)
        back = fmap(lambda o, r: jnp.maximum(o, 0.0) * r, out.level(3), rate)
        left = fmap(lambda c, a: c * a * lost(a, dt), c, leave)
        returned = fmap(lambda s, b: s * b * lost(b, dt), store, back)
        layers = [c - left + returned, store + left - returned]
        data = jnp.stack([f.data for f in layers])
        return held._replace(layers=held.layers.with_data(data), hidden=hidden)


_SEEN = ("plane", "layer", "plane_x", "plane_y")


def _seen(near: Field, p: Plane) -> tuple[Field, Field]:
    """Local scale of concentration (halo 2), and what the cells see of it, in its units."""
    c, store = near.level(0), near.level(1)
    dx, dy = diff_x_c2u(c) * p.wet_u, diff_y_c2v(c) * p.wet_v
    squares = c * c + store * store
    around = mean_x_u2c(dx * dx) + mean_y_v2c(dy * dy)
    # A floor far below anything that matters: nothing divides by zero where there is nothing.
    floor = float(jnp.finfo(c.dtype).tiny) ** 0.8
    scale = fmap(lambda a, b: jnp.sqrt(a + b + floor), squares, around, name="scale")
    parts = [c, store, mean_x_u2c(dx), mean_y_v2c(dy)]
    return scale, stack(*(f / scale for f in parts)).crop(0)


def _at_once(flow: Flow, share: Field, plane: Plane) -> Flow:
    """What layers would carry that hold, at every moment, ``share`` of the plane's concentration:
    it moves the plane, and the layers stand still.

    Args:
        share: ``(kept, y, x)`` with a halo.
    """
    on_u, on_v = mean_x_c2u(share), mean_y_c2v(share)
    parts = []
    for f, on in zip(flow, (on_u, on_v, on_u, on_v)):
        f, on = f.crop(on.halo.meet(f.halo)), on.crop(on.halo.meet(f.halo))
        moves = f.data[0] + jnp.sum(f.data[1:] * on.data, axis=0)
        parts.append(f.with_data(jnp.concatenate([moves[None], 0.0 * f.data[1:]])))
    return Flow(*parts)
