"""The network of a learned jump: an encoder for each kind of data, fused by a small transformer.

Series go through a gated recurrent unit, maps through convolutions that know their halo, scalars
through a perceptron, columns through convolutions along depth. Each makes a token of every water
column; attention among a column's tokens, and a head for each tracer that reads the columns again.
Nothing has the size of the grid, neither in the horizontal nor in the vertical. After Gao et al.
(arXiv:2509.23453), whose kinds of data these are.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dogcm.corrector.layers import HaloConv, Level, Residual
from dogcm.spinup.jump.config import JumpConfig
from dogcm.spinup.jump.features import COLUMNS, Features


class ColumnConv(nn.Module):
    """Convolution of size 3 along depth, on ``(column, z, channel)``."""

    features: int

    @nn.compact
    def __call__(self, x):
        deep = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        patches = jnp.concatenate([deep[:, :-2], deep[:, 1:-1], deep[:, 2:]], axis=-1)
        return nn.Dense(self.features, dtype=x.dtype, param_dtype=x.dtype)(patches)


class Fusion(nn.Module):
    """One layer of a transformer over the tokens of each column, ``(column, token, channel)``."""

    heads: int

    @nn.compact
    def __call__(self, x):
        own = dict(dtype=x.dtype, param_dtype=x.dtype)
        seen = nn.LayerNorm(**own)(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads, **own)(seen, seen)
        hidden = nn.silu(nn.Dense(2 * x.shape[-1], **own)(nn.LayerNorm(**own)(x)))
        return x + nn.Dense(x.shape[-1], **own)(hidden)


class JumpNetwork(nn.Module):
    """From features to what the reference is to be changed by, (column, z, tracer).

    The last layers start from zero: untrained, it leaves the reference as it is.

    Attributes:
        config: see :class:`JumpConfig`.
    """

    config: JumpConfig

    @nn.compact
    def __call__(self, features: Features, level: Level, chosen=None):
        """``chosen``: numbers of the tile's columns (row by row) that are wanted; None: all."""
        config, f = self.config, features
        own = dict(dtype=f.columns.dtype, param_dtype=f.columns.dtype)
        pick = (lambda x: x) if chosen is None else (lambda x: x[chosen])
        flat = lambda x: pick(jnp.moveaxis(x.reshape(*x.shape[:-2], -1), -1, 0))
        columns = jnp.swapaxes(flat(f.columns), 1, 2)
        water = flat(f.columns[COLUMNS.index("water")])[..., None]
        cells, tokens = self._cells(columns, water, own), []
        if "series" in config.encoders:
            tokens.append(self._series(f, flat(f.bands), own))
        if "maps" in config.encoders:
            tokens.append(flat(self._maps(f, level)))
        if "scalars" in config.encoders:
            told = nn.silu(nn.Dense(config.width, **own)(f.scalars))
            told = nn.Dense(config.width, **own)(told)
            tokens.append(jnp.broadcast_to(told, (columns.shape[0], config.width)))
        if "columns" in config.encoders:
            count = jnp.maximum(jnp.sum(water, axis=1), 1.0)
            tokens.append(nn.Dense(config.width, **own)(jnp.sum(cells, axis=1) / count))
        whole = self._fused(tokens, own)
        return self._heads(cells, whole, water, own)

    def _cells(self, columns, water, own):
        if "columns" not in self.config.encoders:
            # A cell still knows where it is in its column.
            place = columns[..., : COLUMNS.index("water") + 1]
            return nn.Dense(self.config.width, **own)(place) * water
        cells = nn.Dense(self.config.width, **own)(columns) * water
        for _ in range(2):
            cells = cells + ColumnConv(self.config.width)(nn.silu(cells)) * water
        return cells

    def _series(self, f: Features, bands, own):
        """A column's token: of all latitudes, and of its bands by their shares."""
        cell = nn.GRUCell(self.config.width, **own)
        last = nn.RNN(cell, return_carry=True)(f.series)[0]
        told = nn.Dense(self.config.width, **own)(last)
        return told[0] + bands @ told[1:]

    def _maps(self, f: Features, level: Level):
        x = HaloConv(self.config.width)(f.maps, level)
        for _ in range(2):
            x = Residual(self.config.width)(x, level)
        return x.crop(0).data

    def _fused(self, tokens: list, own):
        x = jnp.stack(tokens, axis=1)
        kinds = nn.initializers.normal(0.1)
        x = x + self.param("kinds", kinds, x.shape[1:], x.dtype)
        for _ in range(self.config.layers):
            x = Fusion(self.config.heads)(x)
        return jnp.mean(nn.LayerNorm(**own)(x), axis=1)

    def _heads(self, here, whole, water, own):
        spread = nn.Dense(self.config.width, **own)(whole)[:, None]
        out = []
        for _ in self.config.variables:
            hidden = nn.silu(here + spread + nn.Dense(self.config.width, **own)(here * spread))
            hidden = hidden + ColumnConv(self.config.width)(hidden) * water
            zero = nn.initializers.zeros
            out.append(nn.Dense(1, kernel_init=zero, **own)(nn.silu(hidden)))
        return jnp.concatenate(out, axis=-1) * water


def size_of(params) -> int:
    """How many numbers there are in a network."""
    return sum(x.size for x in jax.tree.leaves(params))


__all__ = ["JumpNetwork", "size_of"]
