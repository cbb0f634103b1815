"""A network of one's own for correctors: convolutions, each behind a gate.

A recipe names it ``corrector: {network: {kind: own_network:Gated, width: 8}}``.
"""

import flax.linen as nn

from dogcm import HaloConv, HaloNetwork, Network, option


class GatedNet(HaloNetwork):
    """Each block adds a 3 by 3 convolution times the sigmoid of another one."""

    @property
    def reach(self) -> int:
        return self.depth + self.margin

    @nn.compact
    def __call__(self, x, level, place):
        x = level.ahead(HaloConv(self.width, 1)(x, level), self.reach)
        for _ in range(self.depth):
            gate, change = HaloConv(self.width)(x, level), HaloConv(self.width)(x, level)
            x = x.crop(change.halo) + change * gate.with_data(nn.sigmoid(gate.data))
        return self.last(x, level)


class Gated(Network):
    """Gated convolutions (Dauphin et al. 2017), each of which sees one cell further."""

    source = "arXiv:1612.08083"
    depth: int = option(1, "1", "gated convolutions", ge=1)

    def module(self, outputs: int) -> GatedNet:
        return GatedNet(outputs, self.width, self.depth, self.activation)
