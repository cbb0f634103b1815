"""An approximate inverse of ``J - I``, J the derivative of the map of a year.

With the mean operator Q of the year (:mod:`dogcm.spinup.operator`) a backward Euler step of a year
T has ``J = (I - T Q)^-1``, and ``(J - I)^-1 = (T Q)^-1 - I`` (Li and Primeau 2008,
doi:10.1016/j.ocemod.2008.05.002). Q is factored on rank 0; lumped over squares of cells it is
smaller and cheaper (Bardin, Primeau and Lindsay 2014, doi:10.1016/j.ocemod.2014.05.002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from dogcm.io.root import on_root
from dogcm.spinup.errors import SINGULAR, EquilibriumError
from dogcm.spinup.operator import transport_operator
from dogcm.spinup.problem import Invariants, Problem

# What is conserved makes Q singular: by so much per year all contents decay in its stead.
_SHIFT = 1e-7
# Years, far beyond 1 / _SHIFT.
_LONGEST = 1e11


class Preconditioner:
    """Solves with the factored operator; ``lumped``: cells to a side of a square."""

    def __init__(self, problem: Problem, x, lumped: int = 1):
        self.problem = problem
        operator, spent = transport_operator(problem, x)
        clock = problem.costs.clock
        start = clock()
        comm = problem.decomposition.comm
        volume = problem.decomposition.gather(np.asarray(problem.space.volume))
        self.factors: _Factored | None = None

        def factor():
            self.factors = _Factored.of(operator, problem, volume, lumped)

        on_root(comm, factor)
        self._find_null()
        problem.costs.setup += comm.broadcast(spent + clock() - start)

    def _find_null(self) -> None:
        """States that Q leaves alone, one of each conserved content, instead of uniform ones."""
        problem, found = self.problem, self.problem.invariants
        if not found.count:
            return
        directions = []
        for n in range(found.count):
            state = self._solve(found.directions[n], False)
            state = jnp.where(found.weights[n] > 0, state, 0.0)
            content = problem.space.dot(jnp.ones_like(state), state, found.weights[n])
            directions.append(state / content)
        problem.invariants = Invariants(found.weights, jnp.stack(directions))

    def __call__(self, b):
        """``(J - I - R W)^-1 b``, R and W directions and weights of what is conserved."""
        problem = self.problem
        amounts = problem.products(b)
        b = b - problem.along_invariants(amounts)
        y = self._solve(b, False) - b
        y = y - problem.along_invariants(problem.products(y))
        return y - problem.along_invariants(amounts)

    def transposed(self, b):
        """The transpose of :meth:`__call__`."""
        found = self.problem.invariants
        space = self.problem.space
        ones = jnp.ones(b.shape)
        if found.count:
            amounts = space.dots(found.directions, b, ones)
            b = b - _along(found.weights, amounts)
        y = self._solve(b, True) - b
        if found.count:
            again = space.dots(found.directions, y, ones)
            y = y - _along(found.weights, again) - _along(found.weights, amounts)
        return y

    def _solve(self, b, transposed: bool):
        """``(T Q)^-1 b`` or with its transpose, by rank 0."""
        clock = self.problem.costs.clock
        start = clock()
        decomposition = self.problem.decomposition
        whole = decomposition.gather(np.asarray(b))
        solved = self.factors.solve(whole, transposed) if self.factors else None
        out = jnp.asarray(decomposition.scatter(solved))
        self.problem.costs.add("preconditioner", clock() - start)
        return out


def _along(states, amounts):
    out = jnp.zeros(states.shape[1:])
    for amount, state in zip(amounts, states):
        out = out + float(amount) * state
    return out


@dataclass(frozen=True)
class _Factored:
    """``T Q`` factored, on lumped cells."""

    factors: Any
    wet: np.ndarray
    lump: sparse.csr_matrix  # means over the squares, (squares, cells)
    spread: sparse.csr_matrix  # back to cells

    @classmethod
    def of(cls, operator, problem: Problem, volume: np.ndarray, lumped: int) -> _Factored:
        lump, spread = _lumping(operator.wet, volume, lumped, len(problem.space.names))
        coarse = (lump @ operator.matrix @ spread) * problem.circulation.year
        size = coarse.shape[0]
        shift = _SHIFT if problem.invariants.count else 0.0
        matrix = (coarse - shift * sparse.identity(size)).tocsc()
        try:
            factors = splu(
                matrix,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.01,
                options={"SymmetricMode": True},
            )
        except RuntimeError:  # of SuperLU
            raise EquilibriumError(SINGULAR) from None
        # To round-off it is no less singular than exactly: then a rate of 1 a year takes for ever.
        answer = factors.solve(1.0 + 0.9 * np.sin(2.399963 * np.arange(size)))
        if not np.abs(answer).max() < _LONGEST:
            raise EquilibriumError(SINGULAR)
        return cls(factors, operator.wet, lump, spread)

    def solve(self, b: np.ndarray, transposed: bool) -> np.ndarray:
        """Solve for a global state (tracer, z, y, x)."""
        rhs = b[:, self.wet].ravel()
        if transposed:
            y = self.lump.T @ self.factors.solve(self.spread.T @ rhs, trans="T")
        else:
            y = self.spread @ self.factors.solve(self.lump @ rhs)
        out = np.zeros_like(b)
        out[:, self.wet] = y.reshape(b.shape[0], -1)
        return out


def _lumping(wet, volume, side: int, tracers: int):
    nz, ny, nx = wet.shape
    k, j, i = np.nonzero(wet)
    square = np.ravel_multi_index((k, j // side, i // side), (nz, ny, nx))
    _, number = np.unique(square, return_inverse=True)
    cells = np.arange(len(number))
    size = (int(number.max()) + 1, len(number))
    inside = sparse.csr_matrix((np.ones(len(number)), (number, cells)), shape=size)
    weights = sparse.diags(volume[wet])
    total = inside @ volume[wet]
    mean = sparse.diags(1.0 / total) @ inside @ weights
    return (
        sparse.block_diag([mean] * tracers, format="csr"),
        sparse.block_diag([inside.T] * tracers, format="csr"),
    )


__all__ = ["Preconditioner"]
