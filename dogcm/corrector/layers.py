"""Layers that see Fields: convolutions that consume halo like any operator, on masked tiles.

Data are channels first, ``(channels, y, x)`` in a Field at c. What lies beyond a wall or on a
dropped tile is whatever an exchange brought from elsewhere, so every layer multiplies its input by
the mask of water, which is known on the halo, and takes that mask as one more channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp.depth import Halo
from dogcm.decomp.layout import Layout, LayoutError
from dogcm.field import Field, exchange

ACTIVATIONS: dict[str, Callable] = {"silu": nn.silu, "gelu": nn.gelu}


def owned(layout: Layout, rank: int, halo: Halo) -> np.ndarray:
    """1 where a cell of the tile or of its halo belongs to some rank, 0 beyond walls and on dropped
    tiles."""
    tile = layout.tile(rank)
    rows = np.arange(tile.j0 - halo.s, tile.j1 + halo.n)
    columns = np.arange(tile.i0 - halo.w, tile.i1 + halo.e)
    ny, nx = layout.shape
    inside = ((rows >= 0) & (rows < ny))[:, None] & (
        layout.periodic_x | (columns >= 0) & (columns < nx)
    )
    q = np.searchsorted(layout.cuts_y, np.clip(rows, 0, ny - 1), "right") - 1
    p = np.searchsorted(layout.cuts_x, columns % nx, "right") - 1
    return (inside & (np.asarray(layout.ranks)[np.ix_(q, p)] >= 0)).astype(float)


def check_corners(layout: Layout) -> None:
    """Refuse layouts where a tile touches another only across a corner between two dropped tiles.

    Raises:
        LayoutError: a convolution reads that corner, and no message can bring it.
    """
    table = np.asarray(layout.ranks) >= 0
    east = np.roll(table, -1, axis=1)
    pairs = [table[:-1], east[:-1], table[1:], east[1:]]
    if not layout.periodic_x or layout.px == 1:
        pairs = [t[:, :-1] for t in pairs]
    sw, se, nw, ne = pairs
    if ((sw & ne & ~se & ~nw) | (se & nw & ~sw & ~ne)).any():
        raise LayoutError(
            f"{layout.describe()}: two tiles meet only at a corner between tiles of land, which a "
            "convolution reads and an exchange cannot fill; choose another layout (for example "
            "PXx1)"
        )


@dataclass(frozen=True)
class Level:
    """One resolution at which a network works.

    Attributes:
        halos: :class:`dogcm.halo.HaloExchange` of this resolution.
        wet: 1 on water, 0 on land and beyond walls, two-dimensional, at least as deep as any Field
            here.
        weight: water area of each cell in any unit, no halo.
        shares: of a coarse level: what part of its coarse cell's water each fine cell holds, in
            pairs.
        strategy: ``layer`` (each convolution exchanges what it needs) or ``deep`` (one exchange for
            several, with redundant work on the halo).
    """

    halos: Any
    wet: Field
    weight: Field
    strategy: str = "layer"
    shares: Any = None

    @staticmethod
    def of(
        halos, wet: Field, weight: Field, depth: int, strategy: str = "layer", shares=None
    ) -> Level:
        """A level whose mask is known ``depth`` cells deep; ``wet`` is exchanged if it is not that
        deep."""
        halo = Halo.of(depth)
        if halo.meet(wet.halo) != halo:
            (wet,) = exchange(halos, (wet, halo))
            there = halos.here(lambda rank: owned(halos.layout, rank, halo))
            wet = wet * wet.with_data(jnp.asarray(there, wet.dtype))
        return Level(halos, wet.crop(halo), weight.crop(0), strategy, shares)

    def fill(self, x: Field, depth: int | Halo) -> Field:
        """``x`` with at least this halo: unchanged if it has it, exchanged otherwise."""
        want = Halo.of(depth)
        if want.meet(x.halo) == want:
            return x
        return exchange(self.halos, (x, want))[0]

    def ahead(self, x: Field, depth: int) -> Field:
        """The one deep exchange before layers that together use up ``depth`` cells (strategy
        ``deep``)."""
        return self.fill(x, depth) if self.strategy == "deep" else x


class HaloConv(nn.Module):
    """Convolution of odd ``size`` that uses up ``size // 2`` cells of halo; size 1 mixes channels.

    The patches are gathered by slices and multiplied at once: gradients of convolutions proper are
    slow on CPUs in float64.

    Attributes:
        features: output channels. zero: start from zero kernel and bias, for last layers.
    """

    features: int
    size: int = 3
    zero: bool = False

    @nn.compact
    def __call__(self, x: Field, level: Level) -> Field:
        """``(channels, y, x)`` to ``(features, y, x)`` with the halo that is left."""
        reach = self.size // 2
        x = level.fill(x, reach)
        wet = level.wet.crop(x.halo).data.astype(x.dtype)
        data = jnp.concatenate([x.data * wet, wet[None]])
        channels, ny, nx = data.shape
        start = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        kernel = self.param(
            "kernel", start, (self.size, self.size, channels, self.features), x.dtype
        )
        bias = self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)
        rows, columns = ny - 2 * reach, nx - 2 * reach
        steps = range(self.size)
        patches = [data[:, j : j + rows, i : i + columns] for j in steps for i in steps]
        out = kernel.reshape(-1, self.features).T @ jnp.concatenate(patches).reshape(
            -1, rows * columns
        )
        out = (out + bias[:, None]).reshape(self.features, rows, columns)
        return Field(out, "c", x.halo.less(reach, reach, reach, reach))


class Residual(nn.Module):
    """``x + mix(act(conv(act(x))))``: a 3 by 3 convolution, then one of size 1, which costs
    little."""

    features: int
    activation: str = "silu"
    reach = 1

    @nn.compact
    def __call__(self, x: Field, level: Level) -> Field:
        act = ACTIVATIONS[self.activation]
        y = HaloConv(self.features)(x.with_data(act(x.data)), level)
        y = HaloConv(self.features, 1)(y.with_data(act(y.data)), level)
        return x.crop(y.halo) + y


def stack(*parts: Field) -> Field:
    """The channels of several Fields at c on their common halo; two-dimensional ones are one
    channel."""
    halo = Halo(*(min(sides) for sides in zip(*(p.halo for p in parts))))
    data = [p.crop(halo).data for p in parts]
    data = [d[None] if d.ndim == 2 else d for d in data]
    return Field(jnp.concatenate(data), "c", halo)


def constant_level(halos, like: Field, depth: int = 1, strategy: str = "layer") -> Level:
    """A level of water everywhere, for tests and for initialising weights."""
    ones = jax.tree.map(lambda a: jnp.ones(a.shape[-2:], a.dtype), like.crop(0))
    return Level.of(halos, ones, ones, depth, strategy)
