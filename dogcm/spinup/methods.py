"""How to reach an equilibrium: direct integration, Anderson acceleration, Newton-Krylov.

A method is a small object with options; :meth:`Method.iterates` yields states and what a year
changes them by, and whoever drives it decides when to stop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np

from dogcm.components import ConfigError
from dogcm.spinup.errors import EquilibriumError
from dogcm.spinup.krylov import combined, gmres
from dogcm.spinup.preconditioner import Preconditioner
from dogcm.spinup.problem import Problem

# Weights of a least-squares problem worse conditioned than this are noise.
_CONDITION = 1e10
_SHORTEST = 1.0 / 64


class Method(ABC):
    """Base of all methods."""

    @property
    def name(self) -> str:
        """For people."""
        return type(self).__name__

    @abstractmethod
    def iterates(self, problem: Problem, x, tolerance: float) -> Iterator[tuple]:
        """Pairs of a state and the change that a year makes to it, better and better ones.

        Args:
            x: start. tolerance: what will do, see :func:`dogcm.equilibrium`.
        """


@dataclass(frozen=True)
class DirectIntegration(Method):
    """Year after year, as the model itself would."""

    def iterates(self, problem: Problem, x, tolerance: float) -> Iterator[tuple]:
        while True:
            new = problem.year(x)
            yield x, new - x
            x = new


@dataclass(frozen=True)
class Anderson(Method):
    """Anderson acceleration: the best combination of the last years.

    Walker and Ni (2011), doi:10.1137/10078356X: ``x' = sum_j a_j (x_j + damping r_j)`` with weights
    of sum 1 that make ``|sum_j a_j r_j|`` least; by a QR factorisation that is updated. Weights of
    sum 1 conserve what the map conserves. For ocean tracers: Khatiwala (2023),
    doi:10.1029/2022MS003447.

    Attributes:
        window: years that are combined. damping: how much of a year's change is taken.
        growth: the memory is dropped when the change of a year has grown so many times.
        lumped: with the preconditioner of :class:`NewtonKrylov` (0: without), squares of so many
            cells to a side: what is iterated is then ``x - (J - I)^-1 r``.
    """

    window: int = 30
    damping: float = 1.0
    growth: float = 10.0
    lumped: int = 0

    def __post_init__(self):
        _require(self.window >= 1, f"window of {self.window} years: at least 1")
        _require(0 < self.damping <= 1, f"damping of {self.damping}: above 0, at most 1")
        _require(self.growth > 1, f"growth of {self.growth}: above 1")
        _require(self.lumped >= 0, f"lumped: {self.lumped} cells; at least 0")

    def iterates(self, problem: Problem, x, tolerance: float) -> Iterator[tuple]:
        space = problem.space
        inverse = Preconditioner(problem, x, self.lumped) if self.lumped else None
        new = problem.year(x)
        change = new - x
        weights = space.weights(space.sizes(new))
        memory = _Memory(space, weights, self.window, x)
        least = np.inf
        step = self._step(inverse, change)
        while True:
            yield x, change
            size = space.residual(change, new)
            if size > self.growth * least:
                memory.forget()
            least = min(least, size)
            following = problem.admissible(memory.accelerated(x, step, self.damping), new)
            new = problem.year(following)
            change = new - following
            newer = self._step(inverse, change)
            memory.add(following - x, newer - step)
            x, step = following, newer

    @staticmethod
    def _step(inverse, change):
        return change if inverse is None else -inverse(change)


class _Memory:
    """Differences of the last iterates, and the QR factorisation of those of their steps."""

    def __init__(self, space, weights, window: int, like):
        self.space, self.weights, self.window = space, weights, window
        empty = jnp.zeros((window, *like.shape))
        self.states, self.steps, self.q = empty, empty, empty
        self.r = np.zeros((0, 0))

    def forget(self) -> None:
        """Start again."""
        self.r = np.zeros((0, 0))
        self.q = jnp.zeros_like(self.q)

    def add(self, state, step) -> None:
        """One more difference of states and of steps."""
        while len(self.r) >= self.window:
            self._drop()
        n = len(self.r)
        left, column = step, np.zeros(self.window)
        for _ in range(2):
            h = self.space.dots(self.q, left, self.weights)
            left = left - combined(jnp.asarray(h), self.q)
            column += h
        size = float(np.sqrt(max(self.space.dot(left, left, self.weights), 0.0)))
        if size <= 1e-14 * max(float(np.linalg.norm(column)), 1e-300):
            return
        self.r = np.block([[self.r, column[:n, None]], [np.zeros((1, n)), np.array([[size]])]])
        self.q = self.q.at[n].set(left / size)
        self.states, self.steps = self.states.at[n].set(state), self.steps.at[n].set(step)
        while len(self.r) > 1 and np.linalg.cond(self.r) > _CONDITION:
            self._drop()

    def _drop(self) -> None:
        """Drop the oldest column: what is left of R is turned into a triangle again."""
        turn, self.r = np.linalg.qr(self.r[:, 1:])
        n = len(self.r)
        rows = [combined(jnp.asarray(turn[:, m]), self.q) for m in range(n)]
        empty = jnp.zeros_like(self.q[0])
        self.q = jnp.stack(rows + [empty] * (self.window - n))
        shift = lambda a: jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])
        self.states, self.steps = shift(self.states), shift(self.steps)

    def accelerated(self, x, step, damping: float):
        """The next state."""
        n = len(self.r)
        if n == 0:
            return x + damping * step
        rhs = self.space.dots(self.q, step, self.weights)[:n]
        y = np.zeros(self.window)
        y[:n] = np.linalg.solve(self.r, rhs)
        factors = jnp.asarray(y)
        best = step - combined(factors, self.steps)
        return x - combined(factors, self.states) + damping * best


@dataclass(frozen=True)
class NewtonKrylov(Method):
    """Newton's method, its linear systems by GMRES.

    Derivatives of the year are exact (forward mode through the year and through ranks) or by finite
    differences. Lindsay (2017), doi:10.1016/j.ocemod.2016.10.001, whose choices these mostly are.

    Attributes:
        derivative: ``exact`` or ``differences``. inner: what GMRES leaves of the residual.
        products: most derivatives a step. lumped: the preconditioner's squares have so many cells
            to a side; 0: no preconditioner. refresh: factor it again in every step, or only once.
        years_between: fixed-point years after each step.
    """

    derivative: Literal["exact", "differences"] = "exact"
    inner: float = 0.02
    products: int = 30
    lumped: int = 1
    refresh: bool = False
    years_between: int = 1

    def __post_init__(self):
        known = ("exact", "differences")
        _require(self.derivative in known, f"derivative {self.derivative!r}: one of {known}")
        _require(0 < self.inner < 1, f"inner of {self.inner}: between 0 and 1")
        _require(self.products >= 1, f"products: {self.products}; at least 1")
        _require(self.lumped >= 0, f"lumped: {self.lumped} cells; at least 0")
        _require(self.years_between >= 0, f"years_between: {self.years_between}; at least 0")

    @property
    def name(self) -> str:
        return f"NewtonKrylov ({self.derivative})"

    def iterates(self, problem: Problem, x, tolerance: float) -> Iterator[tuple]:
        space, inverse = problem.space, None
        new = problem.year(x)
        yield x, new - x
        for _ in range(self.years_between):
            x, new = new, problem.year(new)
        yield x, new - x
        while True:
            if self.lumped and (inverse is None or self.refresh):
                first = inverse is None
                inverse = Preconditioner(problem, new, self.lumped)
                if first:
                    x, new = self._first(problem, x, new, inverse)
                    yield x, new - x
            change = new - x
            weights = space.weights(space.sizes(new))
            step = self._step(problem, x, change, weights, inverse, tolerance)
            x, new = self._line_search(problem, x, change, step, weights)
            yield x, new - x
            for _ in range(self.years_between):
                x, new = new, problem.year(new)
            if self.years_between:
                yield x, new - x

    @staticmethod
    def _first(problem: Problem, x, new, inverse):
        """A first step by the preconditioner alone: limiters then see a state that is smooth."""
        there = problem.admissible(x - inverse(new - x), new)
        after = problem.year(there)
        sizes = problem.space.residual(after - there, after), problem.space.residual(new - x, new)
        return (there, after) if sizes[0] < sizes[1] else (x, new)

    def _step(self, problem: Problem, x, change, weights, inverse, tolerance: float):
        derivative = self._derivative(problem, x, change, weights)
        matrix = lambda v: derivative(v) - v - problem.along_invariants(problem.products(v))
        # Not further than what will do in the end.
        size = problem.space.residual(change, x)
        inner = min(max(self.inner, 0.1 * tolerance / max(size, 1e-300)), 0.5)
        solved = gmres(problem.space, matrix, -change, weights, inner, self.products, inverse)
        return solved.x

    def _derivative(self, problem: Problem, x, change, weights):
        if self.derivative == "exact":
            return lambda v: problem.tangent(x, v)
        new, space = x + change, problem.space
        length = np.sqrt(space.dot(x, x, weights)) + 1e-300

        def differences(v):
            size = np.sqrt(space.dot(v, v, weights))
            if size == 0:
                return jnp.zeros_like(v)
            h = float(np.sqrt(np.finfo(float).eps) * length / size)
            return (problem.year(x + h * v) - new) / h

        return differences

    def _line_search(self, problem: Problem, x, change, step, weights):
        """Armijo: a shorter step until the change of a year has become smaller."""
        space = problem.space
        before = np.sqrt(space.dot(change, change, weights))
        share = 1.0
        while share >= _SHORTEST:
            there = problem.admissible(x + share * step, x + change)
            new = problem.year(there)
            after = np.sqrt(space.dot(new - there, new - there, weights))
            if after <= (1.0 - 1e-4 * share) * before:
                return there, new
            share *= 0.5
        raise EquilibriumError(
            f"Newton's method is stuck: no step lowers the residual, which is {before:.3g}; try "
            "method='anderson', or more products"
        )


METHODS = {
    "direct": DirectIntegration,
    "anderson": Anderson,
    "newton": NewtonKrylov,
}


def method_of(method) -> Method:
    """A method from its name or itself.

    Raises:
        ConfigError: unknown.
    """
    if isinstance(method, Method):
        return method
    if method in METHODS:
        return METHODS[method]()
    raise ConfigError(
        f"method {method!r}: one of {', '.join(METHODS)}, or an object of dogcm.spinup"
    )


def _require(good: bool, text: str) -> None:
    if not good:
        raise ConfigError(text)


__all__ = ["METHODS", "Anderson", "DirectIntegration", "Method", "NewtonKrylov", "method_of"]
