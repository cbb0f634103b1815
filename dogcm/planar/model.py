"""A model of a plane: transport, sources, and a closure, stepped by one scan on tiles."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import Component, option, parameter
from dogcm.field import Field, exchange, fmap, hold
from dogcm.planar.closures import Held, PlaneClosure, Scene
from dogcm.planar.plane import DEPTH, Plane, PlaneError, with_diffusivity
from dogcm.planar.transport import (
    Flow,
    Passage,
    Scheme,
    bounded,
    exponential_less_one,
    passage,
    passed,
    transported,
)


class Planar(Component):
    """What moves a plane."""

    slot: ClassVar[str] = "plane_transport"


class PlaneTransport(Planar):
    """Advection and diffusion in a plane, and what becomes of air that moves up or down when there
    is no closure."""

    kind: ClassVar[str] = "plane"
    source: ClassVar[str] = "doi:10.1016/0021-9991(74)90019-9"
    scheme: Scheme = option(
        "exponential", "1", "exponential: cheap; limited: second order; upwind: first order"
    )
    vertical: str = option(
        "leaves",
        "1",
        "without a closure: leaves (what flow and mixing take out of the plane is gone, what they "
        "bring is clean), follows (they bring the plane's own concentration) or closed (nothing "
        "passes)",
        pattern="^(leaves|follows|closed)$",
    )
    plane_diffusivity: float = parameter(
        0.01, "m2 s-1", "eddy diffusivity of a plane", shapes=("scalar", "map", "orthotropic"), gt=0
    )
    source_strength: float = parameter(
        1.0, "1", "factor of all sources of a plane", shapes=("scalar",), gt=0
    )


@functools.partial(jax.tree_util.register_dataclass, data_fields=["held", "time"], meta_fields=[])
@dataclass(frozen=True)
class PlaneState:
    """What is carried from step to step: :class:`Held`, without halo, and the time (s)."""

    held: Held
    time: Any

    @property
    def concentration(self) -> Field:
        """Of the plane, ``(..., y, x)`` (kg m-3)."""
        return self.held.layers.level(0)

    def inventory(self) -> Field:
        """Of plane, layers and what is gone, ``(..., y, x)`` (kg m-3 of the plane)."""
        both = jnp.concatenate([self.held.layers.data, self.held.gone.data], axis=-3)
        return self.held.gone.with_data(jnp.sum(both, axis=-3))


class Ready(NamedTuple):
    """What is the same as long as the flow is: the plane with its diffusivity, all flows, the rate
    (s-1) at which a plane without a closure gains, the closure's rates."""

    plane: Plane
    flow: Flow | Passage
    gains: Field
    closure: Any
    strength: Any


def _check_steps(steps: int, every: int, block: int) -> None:
    if min(steps, every, block) < 1 or steps % every or every % block:
        raise PlaneError(
            f"{steps} steps, a record every {every}, blocks of {block}: each has to be positive "
            "and a multiple of the next"
        )


@dataclass(frozen=True)
class PlaneModel:
    """Transport, sources and a closure on one tile of a plane.

    Attributes:
        plane, halos, decomposition: of :func:`dogcm.planar.make_plane`.
        dt: step (s). closure: None for the physics alone.
    """

    plane: Plane
    halos: Any
    decomposition: Any
    dt: float
    closure: PlaneClosure | None = None
    transport: PlaneTransport = field(default_factory=PlaneTransport)

    def __post_init__(self):
        if not 0 < self.dt < math.inf:
            raise PlaneError(f"dt = {self.dt}: the step has to be positive and finite (s)")

    def params(self, key, diffusivity: Any = None) -> dict:
        """Parameters before training: the plane's own diffusivity, the transport's numbers, and
        the closure's weights, the same on all ranks.

        Args:
            key: ``jax.random.key``. diffusivity: instead of the plane's (m2 s-1), see
                :func:`dogcm.planar.plane.with_diffusivity`.
        """
        p = self.plane
        given = (p.diffusivity_u, p.diffusivity_v) if diffusivity is None else diffusivity
        made = {
            "plane_diffusivity": given,
            "source_strength": jnp.asarray(self.transport.source_strength, p.dtype),
        }
        return made | ({"closure": self.closure.weights(key, p)} if self.closure else {})

    def start(self, learnable: Any, key) -> dict:
        """What is learned, before training: ``physics``, raw numbers of what a
        :class:`dogcm.learning.parameters.LearnableSet` names, and the ``closure``'s weights."""
        made = self.params(key)
        closure = {"closure": made["closure"]} if self.closure else {}
        return {"physics": learnable.initial(made, self.plane)} | closure

    def learned(self, learnable: Any, raw: dict) -> dict:
        """Parameters from what is learned, in the form of :meth:`start`."""
        own = replace(self, closure=None).params(None)
        params = learnable.apply(raw["physics"], own, self.halos, self.plane)
        return params | {k: raw[k] for k in ("closure",) if k in raw}

    def at_rest(self, *cases: int) -> PlaneState:
        """No concentration anywhere, in a batch of so many cases."""
        kept, states = (self.closure.kept, self.closure.states) if self.closure else (0, 0)
        blank = self.plane.wet_c.crop(0)
        empty = lambda n: blank.with_data(jnp.zeros((*cases, n, *blank.shape), blank.dtype))
        held = Held(empty(1 + kept), empty(1), empty(states))
        return PlaneState(held, jnp.zeros((), jnp.float64))

    def prepared(self, params: dict, time: Any = 0.0) -> Ready:
        """What is the same at all steps, or in the interval of ``time`` (s) if the flow changes."""
        plane = with_diffusivity(self.plane.at(time), params["plane_diffusivity"])
        if self.closure is None:
            one = [f.with_data(f.data[None]) for f in _flow_of(plane)]
            ready, flow = None, Flow(*one)
        else:
            ready = self.closure.rates(params["closure"], self._scene(plane))
            flow = self.closure.flow(ready, plane)
        if self.transport.scheme == "exponential":
            flow = Passage(*hold(*passage(flow, plane, self.dt)))
        else:
            flow = bounded(flow, plane, self.dt, self.halos)
        # Stored, so that all layouts find the same bits.
        gains = hold(self._gains(plane).crop(0))
        return Ready(plane, flow, gains, ready, params["source_strength"])

    def step(self, state: PlaneState, ready: Ready, source: Field) -> PlaneState:
        """One step: transport, what goes to and fro, and the source.

        Args:
            source: ``(..., y, x)`` without halo, kg m-3 s-1, of the plane.
        """
        held = state.held
        held = held._replace(layers=self._moved(held.layers, ready))
        if self.closure is None:
            held = self._without_closure(held, ready.gains)
        else:
            held = self.closure.exchanged(ready.closure, held, self._scene(ready.plane))
        added = source.data * ready.plane.wet_c.crop(0).data * (ready.strength * self.dt)
        layers = held.layers.data.at[..., 0, :, :].add(added.astype(held.layers.dtype))
        held = held._replace(layers=held.layers.with_data(layers))
        return PlaneState(held, state.time + self.dt)

    def rollout(
        self, state: PlaneState, params: dict, source, steps: int, every: int = 1, block: int = 0
    ):
        """So many steps in one scan, differentiable in state, parameters and source.

        Args:
            source: Field ``(..., y, x)`` at cell centres of the tile, or an array of the whole
                plane; or a function of time (s) that gives one.
            every: steps between records. block: so many steps are computed again by the backward
                pass, which then keeps less (a divisor of ``every``; 0: none).

        Returns:
            the last state, and the plane's concentration after every so many steps
            ``(steps / every, ..., y, x)``.

        Raises:
            PlaneError: steps that are no multiple of ``every``, a source of another shape or place.
        """
        again, block = bool(block), block or every
        _check_steps(steps, every, block)
        told = source if callable(source) else self._on_tile(source)
        at = (lambda time: self._on_tile(source(time))) if callable(source) else lambda time: told
        changes = self.plane.every > 0
        ready = None if changes else self.prepared(params)

        def one(s, _):
            now = self.prepared(params, s.time) if changes else ready
            return self.step(s, now, at(s.time)), None

        blocks = lambda s: jax.lax.scan(one, s, None, length=block)[0]
        blocks = jax.checkpoint(blocks) if again else blocks

        def record(s, _):
            s, _ = jax.lax.scan(lambda s, _: (blocks(s), None), s, None, length=every // block)
            return s, s.concentration

        last, records = jax.lax.scan(record, state, None, length=steps // every)
        return last, records

    def _on_tile(self, source) -> Field:
        """A source on this tile, from a Field of it or an array of the whole plane."""
        tile, whole = self.decomposition.tile, self.decomposition.layout.shape
        if not isinstance(source, Field):
            if np.shape(source)[-2:] != whole:
                raise PlaneError(f"the source is {np.shape(source)}, wanted: (..., *{whole})")
            rows, columns = slice(tile.j0, tile.j1), slice(tile.i0, tile.i1)
            return Field(jnp.asarray(source, self.plane.dtype)[..., rows, columns], "c")
        if source.at != "c" or source.crop(0).data.shape[-2:] != tile.shape:
            raise PlaneError(
                f"the source is {source.data.shape} at {source.at}, wanted: (..., *{tile.shape}) "
                "at c, on this tile"
            )
        return source

    def _moved(self, layers: Field, ready: Ready) -> Field:
        scheme = self.transport.scheme
        if scheme == "exponential":
            return passed(layers, ready.flow, ready.plane, self.halos)
        (near,) = exchange(self.halos, (layers, DEPTH))
        return transported(near, ready.flow, ready.plane, self.dt, scheme).crop(0)

    def _scene(self, plane: Plane) -> Scene:
        return Scene(plane, self.halos, self.dt)

    def _gains(self, plane: Plane) -> Field:
        """Rate (s-1) at which a plane that is not closed, without a closure, gains from above and
        below."""
        if self.transport.vertical == "follows":
            return plane.divergence()
        return plane.leaving() * (-1.0)

    def _without_closure(self, held: Held, gains: Field) -> Held:
        """What becomes of air that leaves the plane or comes into it."""
        if self.transport.vertical == "closed":
            return held
        gain = fmap(lambda c, d: c * exponential_less_one(d * self.dt), held.layers, gains)
        return held._replace(layers=held.layers + gain, gone=held.gone - gain)


def _flow_of(plane: Plane) -> tuple[Field, ...]:
    return plane.u, plane.v, plane.diffusivity_u, plane.diffusivity_v
