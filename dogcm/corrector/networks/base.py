"""What all networks of correctors have in common.

All map ``(channels, y, x)`` without halo to ``(outputs, y, x)``. The last layer starts from zero,
so that an untrained corrector is no corrector. Nothing is normalised over the domain: a cell's
result depends on its surroundings alone (and, with attention, on the tokens of all ranks), never on
the tile.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import flax.linen as nn

from dogcm.components import Component, option
from dogcm.corrector.layers import ACTIVATIONS, HaloConv, Level
from dogcm.field import Field

# Cells around the tile on which outputs are wanted: fluxes are means over a face's two cells.
MARGIN = 1


class HaloNetwork(nn.Module):
    """What all networks have in common.

    Attributes:
        outputs: output channels. width: hidden channels at the finest level. depth: see each
            network.
        activation: one of :data:`dogcm.corrector.layers.ACTIVATIONS`.
        margin: cells around the tile on which outputs are wanted.
    """

    outputs: int
    width: int
    depth: int
    activation: str = "silu"
    margin = MARGIN

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


__all__ = ["MARGIN", "HaloNetwork", "Network"]
