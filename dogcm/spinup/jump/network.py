"""The network of a learned jump: an encoder for each kind of data, fused by a small transformer.

Series go through a gated recurrent unit, maps through convolutions that know their halo, scalars
through a perceptron, columns through convolutions along depth. Each makes a token of every water
column; attention among a column's tokens, and a head for each tracer that reads the columns again.
What is said of the whole ocean (how much of each mode of the reference) comes from scalars and the
series of all latitudes. Nothing has the size of the grid, neither in the horizontal nor in the
vertical. After Gao et al. (arXiv:2509.23453), whose kinds of data these are.
"""

from __future__ import annotations

import flax.linen as nn
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
        globe = [f.scalars] if "scalars" in config.encoders else []
        if "series" in config.encoders:
            told = self._series(f, own)
            tokens.append(told[0] + flat(f.bands) @ told[1:])
            # Few circulations are learned from: parameters count for more.
            globe.append(0.1 * told[0])
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
        said = self._heads(cells, whole, water, own)
        if config.maps_of_modes and globe:
            amounts = self._amounts(jnp.concatenate(globe), own)
            modes = flat(f.modes.reshape(-1, *f.modes.shape[2:]))
            modes = modes.reshape(modes.shape[0], *f.modes.shape[:2], -1)
            said = 0.3 * said + jnp.einsum("k,ckvz->czv", amounts, modes)
        return said

    def _amounts(self, globe, own):
        """How much of each mode."""
        hidden = nn.tanh(nn.Dense(self.config.width, **own)(globe))
        both = jnp.concatenate([globe, hidden])
        zero = nn.initializers.zeros
        # Steps of training are of one size for all weights, and these have further to go.
        return 8.0 * nn.Dense(self.config.maps_of_modes, kernel_init=zero, **own)(both)

    def _cells(self, columns, water, own):
        if "columns" not in self.config.encoders:
            # A cell still knows where it is in its column.
            place = columns[..., : COLUMNS.index("water") + 1]
            return nn.Dense(self.config.width, **own)(place) * water
        cells = nn.Dense(self.config.width, **own)(columns) * water
        for _ in range(2):
            cells = cells + ColumnConv(self.config.width)(nn.silu(cells)) * water
        return cells

    def _series(self, f: Features, own):
        """(1 + bands, channel)."""
        cell = nn.GRUCell(self.config.width, **own)
        last = nn.RNN(cell, return_carry=True)(f.series)[0]
        return nn.Dense(self.config.width, **own)(last)

    def _maps(self, f: Features, level: Level):
        # Convolutions over maps are most of the work: fewer channels.
        x = HaloConv(2 * self.config.width // 3)(f.maps, level)
        x = Residual(2 * self.config.width // 3)(x, level)
        return HaloConv(self.config.width, 1)(x, level).crop(0).data

    def _fused(self, tokens: list, own):
        given = jnp.stack(tokens, axis=1)
        kinds = nn.initializers.normal(0.1)
        x = given + self.param("kinds", kinds, given.shape[1:], given.dtype)
        for _ in range(self.config.layers):
            x = Fusion(self.config.heads)(x)
        # Past the attention, too: sizes that its norms take out.
        return jnp.mean(nn.LayerNorm(**own)(x) + given, axis=1)

    def _heads(self, here, whole, water, own):
        spread = nn.Dense(self.config.width, **own)(whole)[:, None]
        out = []
        for _ in self.config.variables:
            hidden = nn.silu(here + spread + nn.Dense(self.config.width, **own)(here * spread))
            hidden = hidden + ColumnConv(self.config.width)(hidden) * water
            zero = nn.initializers.zeros
            out.append(nn.Dense(1, kernel_init=zero, **own)(nn.silu(hidden)))
        return jnp.concatenate(out, axis=-1) * water


__all__ = ["JumpNetwork"]
