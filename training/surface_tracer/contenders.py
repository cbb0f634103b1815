"""The contenders: the same transport in the first layer with another closure, or with none."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from releases import DAY, Truth

from dogcm.learning.parameters import LearnableSet
from dogcm.planar import Layers, PlaneModel, PlaneTransport

LEARNED = LearnableSet(["plane_diffusivity: orthotropic", "source_strength"])
SHORTEST, LONGEST = 0.25 * DAY, 4.0 * DAY


@dataclass(frozen=True)
class Contender:
    """A model and what of it is learned.

    Attributes:
        about: in the tables. closure: options of :class:`dogcm.planar.Layers`, None for none.
        vertical: without a closure, see :class:`dogcm.planar.PlaneTransport`.
        learns: whether anything is learned.
    """

    about: str
    closure: dict | None = None
    vertical: str = "follows"
    learns: bool = True

    def model(self, truth: Truth, dtype=np.float32, **where) -> PlaneModel:
        """On the tile that ``where`` tells, by default alone."""
        plane, d, halos = truth.plane(dtype, **where)
        closure = None
        if self.closure is not None:
            scales = {"shortest": SHORTEST, "longest": LONGEST}
            closure = Layers(maps=False, coupled=True, closed=True, **scales, **self.closure)
        transport = PlaneTransport(vertical=self.vertical, scheme="limited")
        return PlaneModel(plane, halos, d, truth.every, closure, transport)

    def start(self, model: PlaneModel, seed: int) -> dict:
        """What is learned, before training."""
        return model.start(LEARNED, jax.random.key(seed)) if self.learns else {}

    def params(self, model: PlaneModel, learned: dict) -> dict:
        """Parameters of the model from what is learned."""
        return model.learned(LEARNED, learned) if self.learns else model.params(None)


COUNT = 3
CONTENDERS = {
    "memory": Contender("with memory", {"count": COUNT}),
    "markov": Contender("without memory, equal parameters", {"count": COUNT, "remembers": False}),
    "diluted": Contender("no closure, learned D and dilution"),
    "alone": Contender("the first layer alone", learns=False),
    "leaves": Contender("what is mixed down is gone", vertical="leaves", learns=False),
}
