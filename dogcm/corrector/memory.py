"""Memory: hidden states of a closure, on Fields, carried from step to step.

A coarse model does not see everything, and what it does not see depends on what it saw before
(Mori and Zwanzig; Chorin, Hald and Kupferman 2000, doi:10.1073/pnas.97.7.2968). A memory holds
``states`` numbers per cell; it is told ``inputs`` at every step, and a closure looks at what it
holds. It is a Field ``(states, y, x)`` without halo like any other: exchanged, restarted, masked
and differentiated with the rest.

Nothing here is normalised over the domain, so that no result depends on tiles.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from dogcm.components import Component, option
from dogcm.corrector.layers import HaloConv, Level, stack
from dogcm.field import Field


class MemoryCell(nn.Module):
    """One step of a memory.

    Attributes:
        channels: hidden channels. size: of its convolutions; 1 sees the cell alone.
    """

    channels: int
    size: int = 1

    def look(self, h: Field) -> Field:
        """What a closure sees of the states: ``(channels, y, x)``."""
        return h


class RelaxingCell(MemoryCell):
    """dh/dt = (g(inputs) - h) / tau with g linear, stepped exactly: any step is stable, and two
    half steps under the same inputs make a whole one.

    Attributes:
        shortest, longest: time scales (s) at the start, spaced evenly in their logarithm.
    """

    shortest: float = 10.0
    longest: float = 1000.0

    @nn.compact
    def __call__(self, h: Field, x: Field, level: Level, dt: float) -> Field:
        start = np.linspace(np.log(self.shortest), np.log(self.longest), self.channels)
        log_tau = self.param("log_tau", lambda _: jnp.asarray(start, x.dtype))
        wanted = HaloConv(self.channels, self.size, name="target")(x, level).crop(0)
        kept = jnp.exp(-dt * jnp.exp(-log_tau))[:, None, None]
        return h * kept + wanted * (1.0 - kept)


class GRUCell(MemoryCell):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) on every cell."""

    @nn.compact
    def __call__(self, h: Field, x: Field, level: Level, dt: float) -> Field:
        n, both = self.channels, stack(x, h)
        gates = HaloConv(2 * n, self.size, name="gates")(both, level).crop(0)
        update, reset = (nn.sigmoid(gates.data[k * n : (k + 1) * n]) for k in (0, 1))
        seen = stack(x, h.with_data(h.data * reset))
        new = HaloConv(n, self.size, name="candidate")(seen, level).crop(0)
        return h.with_data((1.0 - update) * h.data + update * jnp.tanh(new.data))


class LSTMCell(MemoryCell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735)
    with a forget gate that starts open, on every cell; states are the outputs, then the cells."""

    def look(self, h: Field) -> Field:
        return h.level(slice(0, self.channels))

    @nn.compact
    def __call__(self, h: Field, x: Field, level: Level, dt: float) -> Field:
        n = self.channels
        both = stack(x, self.look(h))
        gates = HaloConv(4 * n, self.size, name="gates")(both, level).crop(0).data
        write, forget, show, value = (gates[k * n : (k + 1) * n] for k in range(4))
        cell = nn.sigmoid(forget + 1.0) * h.data[n:] + nn.sigmoid(write) * jnp.tanh(value)
        return h.with_data(jnp.concatenate([nn.sigmoid(show) * jnp.tanh(cell), cell]))


class Memory(Component):
    """A memory of a closure: its options, and the flax module that steps it."""

    slot: ClassVar[str] = "memory"
    channels: int = option(8, "channels", "hidden channels per cell", ge=1, le=256)
    size: Literal[1, 3] = option(1, "cells", "of its convolutions: 1 sees the cell alone")

    @property
    def states(self) -> int:
        """Numbers per cell that are carried."""
        return self.channels

    @abstractmethod
    def module(self) -> MemoryCell:
        """The module that steps it."""

    def blank(self, like: Field) -> Field:
        """No memory of anything: ``(states, y, x)`` of zeros on the tile of ``like``."""
        blank = like.crop(0)
        return blank.with_data(jnp.zeros((self.states, *blank.shape[-2:]), blank.dtype))


def require_ordered(shortest: float, longest: float) -> None:
    """Refuse time scales (s) that do not rise.

    Raises:
        ValueError: both of them.
    """
    if longest < shortest:
        raise ValueError(f"longest: {longest:g} s is shorter than shortest ({shortest:g} s)")


class Relaxing(Memory):
    """A linear state space: each channel relaxes to what the inputs say, on a time scale of its
    own."""

    kind: ClassVar[str] = "relaxing"
    shortest: float = option(10.0, "s", "shortest time scale at the start", gt=0)
    longest: float = option(1000.0, "s", "longest time scale at the start", gt=0)

    @model_validator(mode="after")
    def _ordered(self):
        require_ordered(self.shortest, self.longest)
        return self

    def module(self) -> RelaxingCell:
        return RelaxingCell(self.channels, self.size, self.shortest, self.longest)


class GRU(Memory):
    """Gated recurrent units."""

    kind: ClassVar[str] = "gru"
    source: ClassVar[str] = "arXiv:1406.1078"

    def module(self) -> GRUCell:
        return GRUCell(self.channels, self.size)


class LSTM(Memory):
    """Long short-term memory."""

    kind: ClassVar[str] = "lstm"
    source: ClassVar[str] = "doi:10.1162/neco.1997.9.8.1735"

    @property
    def states(self) -> int:
        return 2 * self.channels

    def module(self) -> LSTMCell:
        return LSTMCell(self.channels, self.size)
