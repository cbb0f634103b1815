"""What a program sends: messages to neighbours and sums over all ranks, counted in its jaxpr."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jax._src import core


@dataclass(frozen=True)
class Traffic:
    """What one rank sends in one call of a program.

    Attributes:
        messages, message_bytes: to neighbours, by point-to-point messages; each is answered by one
            of the same size. reductions, reduction_bytes: sums and maxima over all ranks.
        open_ended: whether some are in a loop whose length is known at run time only (an iterative
            solver): they count once.
    """

    messages: int = 0
    message_bytes: int = 0
    reductions: int = 0
    reduction_bytes: int = 0
    open_ended: bool = False

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.messages + other.messages,
            self.message_bytes + other.message_bytes,
            self.reductions + other.reductions,
            self.reduction_bytes + other.reduction_bytes,
            self.open_ended or other.open_ended,
        )

    def times(self, count: int) -> Traffic:
        """That of ``count`` calls."""
        return Traffic(
            count * self.messages,
            count * self.message_bytes,
            count * self.reductions,
            count * self.reduction_bytes,
            self.open_ended,
        )

    @property
    def any(self) -> bool:
        """Whether anything is sent."""
        return bool(self.messages or self.reductions)


def traffic(jaxpr: core.ClosedJaxpr) -> Traffic:
    """What a program sends on this rank: loops count as often as they run, of branches the one
    that sends most."""
    return _of(jaxpr.jaxpr)


def _of(jaxpr: core.Jaxpr) -> Traffic:
    total = Traffic()
    for equation in jaxpr.eqns:
        total += _of_equation(equation)
    return total


def _of_equation(equation) -> Traffic:
    name = equation.primitive.name
    if name == "sendrecv_mpi":
        return Traffic(messages=1, message_bytes=_size(equation.invars[0]))
    if name == "allreduce_mpi":
        return Traffic(reductions=1, reduction_bytes=_size(equation.invars[0]))
    inner = [_of(j) for j in core.jaxprs_in_params(equation.params)]
    if name == "cond":
        return max(inner, key=lambda t: (t.message_bytes, t.reductions), default=Traffic())
    found = sum(inner, Traffic())
    if name == "while" and found.any:
        return found + Traffic(open_ended=True)
    return found.times(equation.params.get("length", 1)) if name == "scan" else found


def _size(operand) -> int:
    return math.prod(operand.aval.shape) * operand.aval.dtype.itemsize


__all__ = ["Traffic", "traffic"]
