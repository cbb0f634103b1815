"""Convolutions, with attention at the coarsest level."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from dogcm.components import option
from dogcm.corrector.layers import ACTIVATIONS, HaloConv, Level, Residual, stack
from dogcm.corrector.networks.base import MARGIN, HaloNetwork, Network
from dogcm.corrector.pooling import coarsen, pool, unpool
from dogcm.field import Field


def gather_tokens(x: Field, level: Level):
    """All ranks' cells in global order, ``(ny * nx, channels)``, from each rank's ``(channels, y,
    x)``.

    Each rank adds its own to a sum over ranks, whose transpose gives every rank the cotangents of
    its cells.
    """
    (ny, nx), (row, column) = level.halos.layout.shape, level.halos.origin
    data = x.crop(0).data
    whole = jnp.zeros((data.shape[0], ny, nx), data.dtype)
    whole = jax.lax.dynamic_update_slice(whole, data, (0, row, column))
    return level.halos.psum(whole).reshape(data.shape[0], -1).T


def waves(place):
    """Smooth functions of position: unit vectors ``(3, ...)`` and sines and cosines of their
    multiples.

    Functions of latitude and longitude instead of a learned table: they serve every resolution.
    """
    angles = [np.pi * m * place for m in (1.0, 2.0, 4.0)]
    return jnp.concatenate([place, *(f(a) for a in angles for f in (jnp.sin, jnp.cos))])


class AttentionBlock(nn.Module):
    """Position embedding, LayerNorm over channels, attention of this tile's tokens to all, and a
    perceptron.

    The evolution block of NeuralOGCM (arXiv:2512.11525), without dropout: a time step has to be
    repeatable.
    """

    heads: int
    activation: str = "silu"

    @nn.compact
    def __call__(self, x: Field, level: Level, place: Field) -> Field:
        channels, ny, nx = x.shape
        options = dict(dtype=x.dtype, param_dtype=x.dtype)
        tokens = x.data.reshape(channels, -1).T
        position = waves(place.data).reshape(-1, ny * nx).T.astype(x.dtype)
        seen = nn.LayerNorm(**options)(
            tokens + nn.Dense(channels, name="position", **options)(position)
        )
        wet = level.wet.crop(0).data.astype(x.dtype)[None]
        both = stack(Field(seen.T.reshape(channels, ny, nx) * wet, "c"), Field(wet, "c"))
        whole = gather_tokens(both, level)
        # Tokens of land are seen by nobody.
        mask = (whole[:, -1] > 0.5)[None, None, :]
        attend = nn.MultiHeadDotProductAttention(self.heads, **options)
        tokens = tokens + attend(seen, whole[:, :-1], whole[:, :-1], mask=mask)
        hidden = nn.Dense(2 * channels, **options)(nn.LayerNorm(**options)(tokens))
        tokens = tokens + nn.Dense(channels, **options)(ACTIVATIONS[self.activation](hidden))
        return x.with_data(tokens.T.reshape(channels, ny, nx) * wet)


class AttentionBottleneck(HaloNetwork):
    """Convolutional encoder, ``depth`` attention blocks on the pooled grid, decoder with a skip.

    The corrector of NeuralOGCM (arXiv:2512.11525). Attention costs the square of the number of
    coarse cells.

    Attributes:
        heads: of attention. poolings: how often the grid is halved before cells become tokens.
    """

    heads: int = 4
    poolings: int = 2

    @property
    def reach(self) -> int:
        return Residual.reach + MARGIN

    @nn.compact
    def __call__(self, x: Field, level: Level, place: Field) -> Field:
        x = level.ahead(HaloConv(self.width, 1, name="first")(x, level), Residual.reach)
        x = skip = Residual(self.width, self.activation, name="encoder")(x, level)
        levels = [level]
        for n in range(self.poolings):
            levels.append(coarsen(levels[n], 1))
            x, place = (pool(f, levels[n], levels[n + 1]) for f in (x, place))
            x = HaloConv(self.width, 3)(self.act(x), levels[n + 1])
        for _ in range(self.depth):
            x = AttentionBlock(self.heads, self.activation)(x, levels[-1], place)
        for n in reversed(range(self.poolings)):
            x = unpool(x, levels[n], levels[n + 1])
        x = HaloConv(self.width, 1, name="join")(stack(skip, x), level)
        x = Residual(self.width, self.activation, name="decoder")(level.ahead(x, self.reach), level)
        return self.last(x, level)


class Attention(Network):
    """Convolutions with attention on the pooled grid, as in NeuralOGCM."""

    kind: ClassVar[str] = "attention"
    source: ClassVar[str] = "arXiv:2512.11525"
    depth: int = option(2, "1", "attention blocks", ge=1)
    poolings: int = option(
        2, "1", "how often the grid is halved before its cells become tokens", ge=1
    )
    heads: int = option(4, "1", "heads, which must divide width", ge=1)

    @model_validator(mode="after")
    def _heads_divide(self):
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide width ({self.width})")
        return self

    def module(self, outputs: int) -> AttentionBottleneck:
        own = (self.heads, self.poolings)
        return AttentionBottleneck(outputs, self.width, self.depth, self.activation, *own)

    def halvings(self) -> int:
        return self.poolings


__all__ = ["gather_tokens", "waves", "AttentionBlock", "AttentionBottleneck", "Attention"]
