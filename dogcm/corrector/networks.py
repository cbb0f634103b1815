"""Networks on Fields: per column, convolutional, U-Net, and with attention at the coarsest level.

All map ``(channels, y, x)`` without halo to ``(outputs, y, x)``. The last layer starts from zero,
so that an untrained corrector is no corrector. Nothing is normalised over the domain: a cell's
result depends on its surroundings alone (and, with attention, on the tokens of all ranks), never on
the tile.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from dogcm.components import Component, option
from dogcm.corrector.layers import ACTIVATIONS, HaloConv, Level, Residual, stack
from dogcm.corrector.pooling import coarsen, pool, unpool
from dogcm.field import Field

# Cells around the tile on which outputs are wanted: fluxes are means over a face's two cells.
MARGIN = 1


class HaloNetwork(nn.Module):
    """What all networks have in common.

    Attributes:
        outputs: output channels. width: hidden channels at the finest level. depth: see each
            network.
        activation: one of :data:`dogcm.corrector.layers.ACTIVATIONS`.
    """

    outputs: int
    width: int
    depth: int
    activation: str = "silu"

    @property
    def reach(self) -> int:
        """Halo that the deepest of the deep exchanges brings."""
        return 0

    def mask_depth(self, strategy: str) -> int:
        """How deep the mask has to be known at every level."""
        return max(1, self.reach) if strategy == "deep" else 1

    def act(self, x: Field) -> Field:
        return x.with_data(ACTIVATIONS[self.activation](x.data))

    def last(self, x: Field, level: Level) -> Field:
        return HaloConv(self.outputs, 1, zero=True, name="last")(self.act(x), level)


class ColumnNet(HaloNetwork):
    """A perceptron with ``depth`` hidden layers on every column; it sees neighbours by differences
    only."""

    @nn.compact
    def __call__(self, x: Field, level: Level, place: Field) -> Field:
        for n in range(self.depth):
            x = HaloConv(self.width, 1)(self.act(x) if n else x, level)
        return self.last(x, level)


class ConvNet(HaloNetwork):
    """``depth`` residual blocks, each of which sees one cell further."""

    @property
    def reach(self) -> int:
        return Residual.reach * self.depth + MARGIN

    @nn.compact
    def __call__(self, x: Field, level: Level, place: Field) -> Field:
        x = level.ahead(HaloConv(self.width, 1, name="first")(x, level), self.reach)
        for _ in range(self.depth):
            x = Residual(self.width, self.activation)(x, level)
        return self.last(x, level)


class UNet(HaloNetwork):
    """``depth`` poolings, each with twice the channels, and back with skips; one residual block per
    stage.

    After Ronneberger et al. (2015, doi:10.1007/978-3-319-24574-4_28), with water-weighted means for
    poolings.
    """

    @property
    def reach(self) -> int:
        return Residual.reach + MARGIN

    def block(self, x: Field, level: Level, width: int, margin: int = 0) -> Field:
        x = HaloConv(width, 1)(x, level)
        return Residual(width, self.activation)(level.ahead(x, Residual.reach + margin), level)

    @nn.compact
    def __call__(self, x: Field, level: Level, place: Field) -> Field:
        levels, skips = [level], []
        for n in range(self.depth):
            x = self.block(x, levels[n], self.width * 2**n)
            skips.append(x)
            levels.append(coarsen(levels[n], self.mask_depth(level.strategy)))
            x = pool(x, levels[n], levels[n + 1])
        x = self.block(x, levels[-1], self.width * 2**self.depth)
        for n in reversed(range(self.depth)):
            x = stack(skips[n], unpool(x, levels[n], levels[n + 1]))
            x = self.block(x, levels[n], self.width * 2**n, 0 if n else MARGIN)
        return self.last(x, level)


def gather_tokens(x: Field, level: Level):
    """All ranks' cells in global order, ``(ny * nx, channels)``, from each rank's ``(channels, y,
    x)``.

    Each rank adds its own to a sum over ranks, whose transpose gives every rank the cotangents of
    its cells.
    """
    tile, (ny, nx) = level.halos.layout.tile(level.halos.rank), level.halos.layout.shape
    data = x.crop(0).data
    whole = jnp.zeros((data.shape[0], ny, nx), data.dtype)
    whole = whole.at[:, tile.j0 : tile.j1, tile.i0 : tile.i1].set(data)
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


class Network(Component):
    """A network of a corrector: its options, and the flax module that they make."""

    slot: ClassVar[str] = "network"
    width: int = option(32, "channels", "hidden channels at the finest level", ge=1)
    activation: Literal[tuple(ACTIVATIONS)] = option("silu", "1", "of hidden layers")

    @abstractmethod
    def module(self, outputs: int) -> HaloNetwork:
        """The module with this many output channels."""

    def halvings(self) -> int:
        """How often it halves the grid, which the tiles have to allow."""
        return 0

    def deepest_on_coarsest(self) -> bool:
        """Whether its deepest halos are on the coarsest grid, and not on the finest."""
        return False


class Column(Network):
    """A perceptron on every column; it sees neighbours by differences only."""

    kind: ClassVar[str] = "column"
    depth: int = option(2, "1", "hidden layers", ge=1)

    def module(self, outputs: int) -> ColumnNet:
        return ColumnNet(outputs, self.width, self.depth, self.activation)


class Convolutional(Network):
    """Residual blocks of convolutions, each of which sees one cell further."""

    kind: ClassVar[str] = "conv"
    depth: int = option(2, "1", "residual blocks", ge=1)

    def module(self, outputs: int) -> ConvNet:
        return ConvNet(outputs, self.width, self.depth, self.activation)


class PooledUNet(Network):
    """Poolings, each with twice the channels, and back with skips (Ronneberger et al. 2015)."""

    kind: ClassVar[str] = "unet"
    source: ClassVar[str] = "doi:10.1007/978-3-319-24574-4_28"
    depth: int = option(2, "1", "poolings", ge=1)

    def module(self, outputs: int) -> UNet:
        return UNet(outputs, self.width, self.depth, self.activation)

    def halvings(self) -> int:
        return self.depth

    def deepest_on_coarsest(self) -> bool:
        return True


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
