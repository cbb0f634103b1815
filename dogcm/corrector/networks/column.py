"""A perceptron on every column."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn

from dogcm.components import option
from dogcm.corrector.layers import HaloConv, Level
from dogcm.corrector.networks.base import HaloNetwork, Network
from dogcm.field import Field


class ColumnNet(HaloNetwork):
    """A perceptron with ``depth`` hidden layers on every column; it sees neighbours by differences
    only."""

    @nn.compact
    def __call__(self, x: Field, level: Level, place: Field) -> Field:
        for n in range(self.depth):
            x = HaloConv(self.width, 1)(self.act(x) if n else x, level)
        return self.last(x, level)


class Column(Network):
    """A perceptron on every column; it sees neighbours by differences only."""

    kind: ClassVar[str] = "column"
    depth: int = option(2, "1", "hidden layers", ge=1)

    def module(self, outputs: int) -> ColumnNet:
        return ColumnNet(outputs, self.width, self.depth, self.activation)


__all__ = ["ColumnNet", "Column"]
