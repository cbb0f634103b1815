"""The contenders: the same transport with another closure, or with none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np
from planes import Truth
from published import PublishedModel

from dogcm.learning.parameters import LearnableSet
from dogcm.planar import Layers, PlaneModel, PlaneTransport

DT = 2.0  # s, of cells of 0.5 m
SPACING = 0.5  # m
LEARNED = LearnableSet(["plane_diffusivity: orthotropic", "source_strength"])


@dataclass(frozen=True)
class Contender:
    """A model and what of it is learned.

    Attributes:
        closure: options of :class:`dogcm.planar.Layers`, None for none.
        vertical: without a closure, see :class:`dogcm.planar.PlaneTransport`.
        learns: whether anything is learned. about: in the tables.
        published: options of the published closure instead, None for none.
        scheme: of the transport. projected: gates that fall below zero are set to zero after each
            update, where they have a slope.
        prior: weight of the squares of maps, and of how far diffusivities (their logarithms) are
            from the eddies' own: 26 sources do not tell 34 000 numbers.
    """

    about: str
    closure: dict | None = None
    vertical: str = "leaves"
    learns: bool = True
    prior: tuple[float, float] = (0.1, 0.02)
    published: dict | None = None
    scheme: str = "exponential"
    projected: bool = False

    def model(self, truth: Truth, flow: int = 0, dtype=np.float32) -> PlaneModel:
        plane, d, halos = truth.plane(flow, dtype)
        closure = None if self.closure is None else Layers(**self.closure)
        kind = PlaneModel if self.published is None else PublishedModel
        transport = PlaneTransport(vertical=self.vertical, scheme=self.scheme)
        # A flow passes half a cell in half the time.
        dt = DT * min(truth.cell[0] / SPACING, 1.0)
        return kind(plane, halos, d, dt, closure, transport, **(self.published or {}))

    def start(self, model: PlaneModel, seed: int) -> dict:
        """What is learned, before training."""
        if not self.learns:
            return {}
        return model.start(LEARNED, jax.random.key(seed))

    def own_diffusivity(self, model: PlaneModel):
        """Raw numbers of the eddies' own diffusivity."""
        alone = replace(model, closure=None)
        return LEARNED.initial(alone.params(None), model.plane)["plane_diffusivity"]

    def params(self, model: PlaneModel, learned: dict) -> dict:
        """Parameters of the model from what is learned."""
        return model.learned(LEARNED, learned) if self.learns else model.params(None)


COUNT = 3
CONTENDERS = {
    "memory": Contender("with memory", {"count": COUNT, "longest": 200.0}),
    "markov": Contender(
        "without memory, equal parameters",
        {"count": COUNT, "longest": 200.0, "remembers": False},
    ),
    "memory_held": Contender(
        "with memory, maps held", {"count": COUNT, "longest": 200.0}, prior=(2.0, 0.1)
    ),
    "markov_held": Contender(
        "without memory, maps held",
        {"count": COUNT, "longest": 200.0, "remembers": False},
        prior=(2.0, 0.1),
    ),
    "still": Contender(
        "with memory, layers at rest", {"count": COUNT, "longest": 200.0, "advected": False}
    ),
    "local": Contender("with memory, no maps", {"count": COUNT, "longest": 200.0, "maps": False}),
    "local_markov": Contender(
        "without memory, no maps",
        {"count": COUNT, "longest": 200.0, "maps": False, "remembers": False},
    ),
    "local_projected": Contender(
        "with memory, no maps, gates kept alive",
        {"count": COUNT, "longest": 200.0, "maps": False},
        projected=True,
    ),
    "sharp": Contender(
        "with memory, no maps, limited transport",
        {"count": COUNT, "longest": 200.0, "maps": False},
        scheme="limited",
    ),
    "sharp_markov": Contender(
        "without memory, no maps, limited transport",
        {"count": COUNT, "longest": 200.0, "maps": False, "remembers": False},
        scheme="limited",
    ),
    "sharp_d": Contender("physics, learned D and strength, limited transport", scheme="limited"),
    "published": Contender("the published closure", published={}),
    "published_markov": Contender(
        "the published closure, forgetting at every step", published={"remembers": False}
    ),
    "published_data": Contender(
        "the published network without physics", published={"physics": False}
    ),
    "learned_d": Contender("physics, learned D and strength"),
    "learned_d_follows": Contender("physics, learned D, air follows", vertical="follows"),
    "physics": Contender("physics alone", learns=False),
    "physics_follows": Contender("physics alone, air follows", vertical="follows", learns=False),
}
