"""Parts of a step that are not computed again when the step is repeated for its gradient.

A checkpointed step runs twice: once for its value, and once more, from the state it began with, to
find what its transpose needs. A part that costs much and leaves little can be noted down the first
time (:func:`noted`): the repetition reads its results, and its transpose is a function of its own.

Without a tape, and inside a loop or a branch of what is taped, a part is computed and
differentiated like any other code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

_active = threading.local()


class _Tape:
    """What was noted, or what is read back, in the order of execution."""

    def __init__(self, notes: list, read: bool):
        self.notes, self.read, self._next = notes, read, iter(notes)
        self._level = get_opaque_trace_state()

    def reaches_here(self) -> bool:
        """Whether values made here may leave with the function that is taped: not out of its loops
        and branches."""
        return get_opaque_trace_state() == self._level

    def next(self):
        return next(self._next)


@contextmanager
def _taping(tape: _Tape | None) -> Iterator[None]:
    before = getattr(_active, "tape", None)
    _active.tape = tape
    try:
        yield
    finally:
        _active.tape = before


@contextmanager
def note_down() -> Iterator[list]:
    """A list that collects what is noted inside; give it to :func:`read_back` when the same is done
    once more."""
    notes: list = []
    with _taping(_Tape(notes, read=False)):
        yield notes


def read_back(notes: list):
    """Context in which what was noted is read and not computed; for derivatives in reverse mode, of
    first order."""
    return _taping(_Tape(notes, read=True))


def off():
    """Context in which nothing is noted or read."""
    return _taping(None)


def noted(run: Callable, transpose: Callable, inputs, constants):
    """``run(inputs, constants, note=False)[0]``, or what it was.

    Args:
        run: ``(inputs, constants, note) -> (outputs, note)``; the second is what ``transpose``
            needs, or None.
        transpose: ``(note, constants, cotangents of outputs) -> cotangents of inputs``.
        inputs: pytree of floating-point arrays. constants: pytree without a derivative.

    Raises:
        NotImplementedError: where a derivative with respect to ``constants`` is asked for and the
            part is read back.
    """
    tape = getattr(_active, "tape", None)
    if tape is None or not tape.reaches_here():
        return run(inputs, constants, False)[0]
    if not tape.read:
        tape.notes.append(run(inputs, constants, True))
        return tape.notes[-1][0]
    return _as_noted(transpose)(inputs, constants, *tape.next())


def _as_noted(transpose: Callable) -> Callable:
    @jax.custom_vjp
    def outputs_of(inputs, constants, outputs, note):
        return outputs

    def forward(inputs, constants, outputs, note):
        if any(c.perturbed for c in jax.tree.leaves(constants, is_leaf=is_marked)):
            raise NotImplementedError(
                "the derivative with respect to the grid, of a step that is repeated: checkpoint "
                "with 'none' or 'halo'"
            )
        value = lambda tree: jax.tree.map(lambda x: x.value, tree, is_leaf=is_marked)
        return value(outputs), (value(note), value(constants))

    def backward(saved, cotangents):
        dense = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype) if is_zero(x) else x, cotangents, is_leaf=is_zero
        )
        return transpose(*saved, dense), None, None, None

    outputs_of.defvjp(forward, backward, symbolic_zeros=True)
    return outputs_of


def is_marked(x) -> bool:
    """Whether a leaf of the arguments of a rule with symbolic zeros: it says whether it is
    differentiated."""
    return hasattr(x, "perturbed")


def is_zero(x) -> bool:
    """Whether a cotangent that nobody contributed to."""
    return isinstance(x, jax.custom_derivatives.SymbolicZero)
