"""A U-Net with water-weighted means for poolings."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn

from dogcm.components import option
from dogcm.corrector.layers import HaloConv, Level, Residual, stack
from dogcm.corrector.networks.base import MARGIN, HaloNetwork, Network
from dogcm.corrector.pooling import coarsen, pool, unpool
from dogcm.field import Field


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


__all__ = ["UNet", "PooledUNet"]
