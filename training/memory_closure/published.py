"""The published closure rebuilt: one hidden vector for the whole plane (arXiv:2511.21369).

An encoder looks at the plane, four LSTM cells of 128 remember, a decoder adds to every cell what
it thinks best. Numbers of channels are the paper's; transport, step and training are those of all
contenders here. As there the network acts once in several steps of transport (here of 2 s each, so
every 4 s; there 0.4 s). Nothing is conserved, and nothing keeps concentrations above zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp

from dogcm import operators
from dogcm.field import Field
from dogcm.planar import Plane, PlaneModel, PlaneState

CELLS, UNITS = 4, 128
CHANNELS = (16, 32, 64, 128)
SMALL = 1e-9  # kg m-3
EVERY = 2  # steps
SCALE = 1e-9  # kg m-3 in 4 s: theirs is 1e-10 in 0.4 s


class Conv(nn.Module):
    """A convolution as a product of matrices, whose derivatives are many times cheaper on a CPU."""

    channels: int
    width: int = 3
    zero: bool = False

    @nn.compact
    def __call__(self, x):
        n, (ny, nx) = self.width, x.shape[1:3]
        near = jnp.pad(x, ((0, 0), *[((n - 1) // 2, n // 2)] * 2, (0, 0)))
        seen = [near[:, j : j + ny, i : i + nx] for j in range(n) for i in range(n)]
        start = nn.initializers.zeros if self.zero else nn.linear.default_kernel_init
        return nn.Dense(self.channels, kernel_init=start)(jnp.concatenate(seen, axis=-1))


def _double(x, channels: int):
    for _ in range(2):
        x = nn.leaky_relu(Conv(channels)(x))
    return x


class Network(nn.Module):
    """Concentration and hidden vectors to a change and new ones."""

    remembers: bool = True

    @nn.compact
    def __call__(self, c, hidden, local):
        """``c``: (case, y, x) in kg m-3. ``hidden``: (case, cell, 2, unit). ``local``: (y, x,
        channel), what is known of every cell."""
        seen, wet = self._seen(c, local[..., :1])
        x, shapes = seen, []
        for channels in CHANNELS:
            shapes.append(x.shape[1:3])
            half = tuple(min(2, n) for n in x.shape[1:3])
            x = nn.max_pool(_double(x, channels), half, half)
        x = jnp.mean(x, axis=(1, 2))
        hidden = hidden if self.remembers else jnp.zeros_like(hidden)
        kept, told = [], []
        for n in range(CELLS):
            (state, x) = nn.OptimizedLSTMCell(UNITS)((hidden[:, n, 0], hidden[:, n, 1]), x)[0]
            kept.append(jnp.stack([state, x], axis=1))
            told.append(x)
        x = jnp.concatenate(told, axis=-1)[:, None, None, :]
        for n, (shape, channels) in enumerate(zip(shapes[::-1], CHANNELS[::-1])):
            x = jax.image.resize(x, (len(c), *shape, x.shape[-1]), "nearest")
            x = nn.leaky_relu(Conv(channels, 2 if n == 0 else 3)(x))
            x = x + nn.leaky_relu(Conv(channels)(x))
        wide = jnp.broadcast_to(local, (len(c), *local.shape))
        x = jnp.concatenate([x, seen, wide], axis=-1)
        y = nn.leaky_relu(Conv(16)(x))
        y = y + nn.leaky_relu(Conv(16)(y))
        scale = self.param("log_scale", nn.initializers.zeros, (), c.dtype)
        change = Conv(1, zero=True)(y)[..., 0] * SCALE * jnp.exp(10.0 * scale)
        return change * wet[..., 0], jnp.stack(kept, axis=1)

    @staticmethod
    def _seen(c, wet):
        """Standardised concentration, its mean and its spread, zero on walls."""
        c = c[..., None]
        over = lambda x: jnp.sum(x * wet, axis=(1, 2), keepdims=True) / jnp.sum(wet)
        mean = over(c)
        spread = jnp.sqrt(over((c - mean) ** 2) + SMALL**2)
        size = lambda x: jnp.broadcast_to(jnp.arcsinh(x / SMALL) / 10.0, c.shape)
        return jnp.concatenate([(c - mean) / spread, size(mean), size(spread)], -1) * wet, wet


def surroundings(plane: Plane):
    """(y, x, channel): mask, velocity, what rises, diffusivity, in units of order one."""
    inner = lambda f: f.crop(0).data
    parts = [
        inner(plane.wet_c),
        inner(operators.mean_x_u2c(plane.u)) / 0.1,
        inner(operators.mean_y_v2c(plane.v)) / 0.1,
        inner(plane.divergence()) * plane.dx / 0.1,
        inner(operators.mean_x_u2c(plane.diffusivity_u)) / 0.01,
        inner(operators.mean_y_v2c(plane.diffusivity_v)) / 0.01,
    ]
    return jnp.stack(parts, axis=-1)


@dataclass(frozen=True)
class PublishedModel(PlaneModel):
    """A plane whose closure is the network; ``Held.hidden`` is the whole plane's.

    Attributes:
        remembers: false: hidden vectors are forgotten at every step, weights are as many.
        physics: false: neither flow nor diffusion, the network does all.
    """

    remembers: bool = True
    physics: bool = True

    def start(self, learnable, key) -> dict:
        local, hidden = surroundings(self.plane), jnp.zeros((1, CELLS, 2, UNITS))
        c = jnp.zeros((1, *local.shape[:2]), self.plane.dtype)
        weights = Network(self.remembers).init(key, c, hidden, local)["params"]
        return super().start(learnable, key) | {"closure": {"published": weights}}

    def at_rest(self, *cases: int) -> PlaneState:
        state = super().at_rest(*cases)
        hidden = jnp.zeros((*cases, CELLS, 2, UNITS), self.plane.dtype)
        return replace(state, held=state.held._replace(hidden=hidden))

    def prepared(self, params: dict, time=0.0):
        ready = super().prepared(params, time)
        local = surroundings(self.plane).astype(self.plane.dtype)
        return ready._replace(closure=(params["closure"]["published"], local))

    def step(self, state: PlaneState, ready, source: Field) -> PlaneState:
        weights, local = ready.closure
        before = state.concentration.data
        turn = jnp.round(state.time / self.dt).astype(int) % EVERY == 0
        # Computed again by the backward pass: 60 steps of all layers would fill the memory.
        network = jax.checkpoint(Network(self.remembers).apply)
        act = lambda c, h: jax.tree.map(
            lambda x: x.astype(c.dtype), network({"params": weights}, c, h, local)
        )
        rest = lambda c, h: (0 * c, h)
        change, hidden = jax.lax.cond(turn, act, rest, before, state.held.hidden)
        if self.physics:
            state = super().step(state, ready, source)
        else:
            added = source.data * ready.plane.wet_c.crop(0).data * (ready.strength * self.dt)
            layers = state.held.layers.data.at[..., 0, :, :].add(added)
            held = state.held._replace(layers=state.held.layers.with_data(layers))
            state = PlaneState(held, state.time + self.dt)
        layers = state.held.layers.data.at[..., 0, :, :].add(change.astype(before.dtype))
        held = state.held._replace(
            layers=state.held.layers.with_data(layers), hidden=hidden.astype(before.dtype)
        )
        return replace(state, held=held)
