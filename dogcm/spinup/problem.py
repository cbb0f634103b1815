"""What solvers see: the map of a year, its derivatives, what it conserves, and what it costs.

An equilibrium is a state ``x`` with ``year(x) = x``. Costs are counted in model-year equivalents:
what was spent, over what one year of the map takes, measured while solving.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.grid.bathymetry import label_basins
from dogcm.spinup.circulation import Circulation
from dogcm.spinup.cycle import Cycle
from dogcm.spinup.errors import EquilibriumError
from dogcm.spinup.space import Space, volume_of

# A content that changes by less than this part of what moves is conserved.
_CONSERVED = 1e-9


@dataclass
class Costs:
    """What a solve has spent.

    Attributes:
        seconds: by what they were spent on (``year``, ``tangent``, ``transpose``,
            ``preconditioner``), each call. setup: seconds to assemble and factor preconditioners.
        clock: what tells seconds, the same for all: of the wall, unless the machine is shared.
    """

    clock: ClassVar[Callable[[], float]] = time.perf_counter

    seconds: dict[str, list[float]] = field(default_factory=dict)
    setup: float = 0.0

    def add(self, what: str, seconds: float) -> None:
        """Count one call."""
        self.seconds.setdefault(what, []).append(seconds)

    def count(self, what: str) -> int:
        """Calls so far."""
        return len(self.seconds.get(what, ()))

    @property
    def year(self) -> float:
        """Seconds that one year of the map takes."""
        return float(np.median(self.seconds["year"])) if self.count("year") else np.inf

    @property
    def maps(self) -> int:
        """Years of the map, a derivative counted as two: the same on every machine."""
        return self.count("year") + 2 * (self.count("tangent") + self.count("transpose"))

    @property
    def years(self) -> float:
        """Model-year equivalents: years of the map, and all else by the time it took."""
        rest = self.setup
        for what, spent in self.seconds.items():
            # Medians: a disturbed machine does not count.
            rest += 0.0 if what == "year" else len(spent) * float(np.median(spent))
        return self.count("year") + rest / self.year


@dataclass(frozen=True, eq=False)
class Invariants:
    """Contents that the map conserves: of groups that have no sink, in each part of the ocean.

    Attributes:
        weights: (k, tracer, z, y, x): a state's contents are the sums of the products.
        directions: states (k, tracer, z, y, x) of content 1 in the one, 0 in the others.
    """

    weights: jax.Array
    directions: jax.Array

    @property
    def count(self) -> int:
        """How many there are."""
        return self.weights.shape[0]


class Problem:
    """The map of a year as solvers see it: vectors in, vectors out (see :mod:`space`).

    Attributes:
        cycle, space, circulation, params, grid, decomposition: see their classes. costs: what was
            spent so far. bounded: no tracer falls below the least that it can be. invariants:
            what is conserved; filled by :meth:`find_invariants`. contents: their values.
    """

    def __init__(
        self,
        cycle: Cycle,
        space: Space,
        circulation: Circulation,
        params: dict,
        grid,
        decomposition,
    ):
        self.decomposition = decomposition
        self.cycle, self.space, self.circulation = cycle, space, circulation
        self.params, self.grid = params, grid
        self.bounded = True
        self._compiled: dict[str, Callable] = {}
        self.start_again()

    def start_again(self) -> None:
        """Forget costs and what is conserved; what is compiled stays."""
        self.costs = Costs()
        nothing = jnp.zeros((0, len(self.space.names), *self.space.mask.shape))
        self.invariants = Invariants(nothing, nothing)
        self.contents = np.zeros(0)

    def carry_by(self, circulation: Circulation, params: dict) -> None:
        """Turn to another year of the same ocean and other parameters, and start again.

        What is compiled stays, and with it the number of steps: those of the year the problem was
        made for.

        Args:
            circulation: with as many periods, float64. params: those that are not the same.

        Raises:
            EquilibriumError: another number of periods.
        """
        if circulation.periods != self.circulation.periods:
            raise EquilibriumError(
                f"a circulation of {circulation.periods} periods for a problem of "
                f"{self.circulation.periods}: make a new problem"
            )
        given = {name: jnp.asarray(value, jnp.float64) for name, value in params.items()}
        self.circulation, self.params = circulation, self.params | given
        volume = volume_of(self.space.halos, circulation, self.grid)
        self.space = dataclasses.replace(self.space, volume=volume)
        self.start_again()

    # ---- the map and its derivatives
    def map(self, x, params=None, remember: bool = True):
        """The state a year later; pure, not counted. ``params``: others than the model's."""
        tracers = self.space.fields(x)
        params = self.params if params is None else params
        new = self.cycle.year(tracers, params, self.circulation, self.grid, remember)
        return jnp.stack([new[n].data for n in self.space.names])

    def year(self, x):
        """The state a year later.

        Raises:
            EquilibriumError: it is not finite.
        """
        new = self._call("year", lambda x, p: _year(self, x, p), x, self.params)
        if not np.isfinite(self.space.sizes(new - x)).all():
            raise EquilibriumError(
                "a year of the tracers is not finite: the step is too long for this circulation; "
                "give a smaller largest_step"
            )
        return new

    def tangent(self, x, v):
        """The derivative of the map at ``x`` along ``v``: forward mode, exact."""
        return self._call("tangent", lambda x, v, p: _tangent(self, x, v, p), x, v, self.params)

    def transpose(self, x, v):
        """The transposed derivative of the map at ``x`` times ``v``: reverse mode, exact."""
        return self._call("transpose", lambda x, v, p: _transpose(self, x, v, p), x, v, self.params)

    def _call(self, what: str, function: Callable, *args):
        arguments = (self.circulation, self.grid, *args)
        if what not in self._compiled:
            # Once before it counts: what the compiler takes is no cost of a year.
            self._compiled[what] = warmed(self.space.halos, _pure(self, function), *arguments)
        start = self.costs.clock()
        out = jax.block_until_ready(self._compiled[what](*arguments))
        self.costs.add(what, self.costs.clock() - start)
        return out

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once for this problem."""
        if name not in self._compiled:
            self._compiled[name] = make()
        return self._compiled[name]

    # ---- what is conserved
    def find_invariants(self, x) -> None:
        """Find the contents that the map conserves at ``x``.

        Raises:
            EquilibriumError: one of them is conserved but for a source: it grows for ever.
        """
        parts = self._parts()
        direction = self.probe()
        after = self.tangent(x, direction)
        moved = self.year(x) - x
        found = []
        for group in range(max(self.space.groups) + 1):
            member = np.asarray(self.space.groups) == group
            of_group = jnp.asarray(member, jnp.float64)[:, None, None, None]
            weights = [part * of_group for part in parts]
            for number, w in enumerate(weights):
                size = self._total(w, jnp.abs(direction))
                if size == 0 or abs(self._total(w, after - direction)) > _CONSERVED * size:
                    continue
                self._require_steady(w, x, moved, group, number, len(parts))
                found.append(w)
        if found:
            w = jnp.stack(found)
            uniform = (w > 0) / jnp.asarray([self._total(f, f > 0) for f in found]).reshape(
                -1, 1, 1, 1, 1
            )
            self.invariants = Invariants(w, uniform)
            self.contents = self.products(x)

    def _require_steady(self, w, x, moved, group: int, part: int, parts: int) -> None:
        grown, there = self._total(w, moved), self._total(w, jnp.abs(x) + jnp.abs(moved))
        if abs(grown) > _CONSERVED * there:
            names = [n for n, g in zip(self.space.names, self.space.groups) if g == group]
            place = f" in part {part + 1} of the ocean" if parts > 1 else ""
            mean = grown / self._total(w, w > 0)
            raise EquilibriumError(
                f"{' + '.join(names)} has a source and no sink{place}: its mean changes by "
                f"{mean:.3g} a year for ever, so there is no equilibrium"
            )

    def _parts(self) -> list:
        """Volumes of the parts of the ocean that are not connected, (z, y, x) each."""
        layout = self.space.halos.layout
        decomposition = self.decomposition
        wet = decomposition.gather(np.asarray(self.grid.mask_c.interior))
        labels = (
            None if wet is None else label_basins(wet > 0, layout.periodic_x, layout.north_fold)[0]
        )
        count = decomposition.comm.broadcast(None if labels is None else int(labels.max()))
        mine = decomposition.scatter(labels)
        return [self.space.volume * jnp.asarray(mine == n + 1, jnp.float64) for n in range(count)]

    def probe(self):
        """A direction without symmetries, the same on every layout."""
        tile, space = self.decomposition.tile, self.space
        shape = space.mask.shape
        k, j, i = np.meshgrid(
            np.arange(shape[0]),
            np.arange(tile.j0, tile.j1),
            np.arange(tile.i0, tile.i1),
            indexing="ij",
        )
        phase = k * 2.399963 + j * 0.754878 + i * 0.569840
        rows = [1.0 + 0.9 * np.sin(phase * (m + 1)) for m in range(len(space.names))]
        return jnp.asarray(np.stack(rows)) * space.mask

    def _total(self, weights, x) -> float:
        return self.space.dot(jnp.ones_like(weights), x * jnp.ones_like(weights), weights)

    def products(self, x) -> np.ndarray:
        """The conserved contents of a state."""
        if not self.invariants.count:
            return np.zeros(0)
        ones = jnp.ones(x.shape)
        return self.space.dots(self.invariants.weights, x, ones)

    def along_invariants(self, amounts):
        """The state with these contents: a sum of the directions."""
        out = jnp.zeros(self.invariants.weights.shape[1:])
        for amount, direction in zip(amounts, self.invariants.directions):
            out = out + float(amount) * direction
        return out

    def admissible(self, x, like):
        """``x`` without values below the least there can be, with the contents that are conserved.

        What is missing is put in by a factor, so that nothing becomes negative.

        Args:
            like: a state that the map has made: where that lies below the least, so may ``x``.
        """
        x = x * self.space.mask
        if self.bounded:
            least = {v.name: v.lowest for v in self.cycle.passive.variables}
            rows = jnp.asarray([least[n] for n in self.space.names])[:, None, None, None]
            x = jnp.maximum(x, jnp.minimum(rows, self.lowest(like))) * self.space.mask
        if not self.invariants.count:
            return x
        factor = jnp.ones(x.shape)
        missing = np.zeros(self.invariants.count)
        for n, (now, wanted) in enumerate(zip(self.products(x), self.contents)):
            if now > 0 and wanted > 0:
                inside = self.invariants.weights[n] > 0
                factor = jnp.where(inside, float(wanted / now), factor)
            else:
                missing[n] = wanted - now
        return x * factor + self.along_invariants(missing)

    def lowest(self, x):
        """The smallest value of each tracer over all ranks, and at most 0 (tracer, 1, 1, 1)."""
        pmax = self.space.halos.pmax
        least = lambda y: -pmax(jnp.max(-y, axis=(1, 2, 3)))[:, None, None, None]
        return self.once("lowest", lambda: self.space.halos.jit(least))(x)


def _year(problem: Problem, x, params):
    return problem.map(x, params)


def _tangent(problem: Problem, x, v, params):
    return jax.jvp(lambda y: problem.map(y, params), (x,), (v,))[1]


def _transpose(problem: Problem, x, v, params):
    _, back = jax.vjp(lambda y: problem.map(y, params, remember=False), x)
    return back(v)[0]


def warmed(halos, function: Callable, *arguments) -> Callable:
    """``function``, which may exchange ``halos``, compiled for such arguments, and run once."""
    compiled = halos.jit(function)
    jax.block_until_ready(compiled(*arguments))
    return compiled


def _pure(problem: Problem, function: Callable) -> Callable:
    """``function`` of a problem with its circulation and grid as arguments, not as constants."""

    def pure(circulation, grid, *args):
        kept = problem.circulation, problem.grid
        problem.circulation, problem.grid = circulation, grid
        try:
            return function(*args)
        finally:
            problem.circulation, problem.grid = kept

    return pure
