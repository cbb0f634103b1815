"""Residual blocks of convolutions."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn

from dogcm.components import option
from dogcm.corrector.layers import HaloConv, Level, Residual
from dogcm.corrector.networks.base import MARGIN, HaloNetwork, Network
from dogcm.field import Field


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


class Convolutional(Network):
    """Residual blocks of convolutions, each of which sees one cell further."""

    kind: ClassVar[str] = "conv"
    depth: int = option(2, "1", "residual blocks", ge=1)

    def module(self, outputs: int) -> ConvNet:
        return ConvNet(outputs, self.width, self.depth, self.activation)


__all__ = ["ConvNet", "Convolutional"]
