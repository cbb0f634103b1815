"""What a rollout keeps for its backward pass: a menu by name, with predicted and measured memory.

* ``none``: everything that each step needs to be transposed; computes and sends nothing twice
* ``step``: the state before each step; repeats each step once, with its messages
* ``halo``: the state before each step and what messages brought; repeats each step's arithmetic,
  but no message
* ``nested``: ``3 n^(1/3)`` states of n steps, or fewer; repeats each step three times, in long
  rollouts four

What a step notes down (:mod:`dogcm.lowering.replay`: the sea level of the short steps of the free
surface, a quarter of a state) is kept with ``step`` and ``nested`` as long as the innermost states
are, and neither it nor its messages are repeated.

``step`` and ``nested`` repeat other messages on purpose. :func:`jax.checkpoint` never repeats a
primitive with an effect, and therefore keeps what every message of every step brought, however it
is nested: in a rollout of a thousand steps that is more than all states together.
:func:`recompute` keeps its inputs alone.

Griewank and Walther (2000), doi:10.1145/347837.347846, on nested checkpoints.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dogcm.halo.exchange import RECEIVED
from dogcm.lowering import replay

MENU = ("none", "step", "halo", "nested")
# From so many steps on, a fourth level saves more memory than its repetition costs time.
_LONG = 500


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["leaves", "notes"],
    meta_fields=["structure", "perturbed"],
)
@dataclass(frozen=True)
class _Saved:
    """Inputs of a recomputed function, which of them are differentiated, and what was noted down on
    the way."""

    leaves: list
    notes: list
    structure: Any
    perturbed: tuple[bool, ...]


def recompute(function: Callable) -> Callable:
    """``function`` of pytrees, of which the backward pass keeps nothing but the arguments.

    First derivatives in reverse mode only. Everything that is to be differentiated has to be an
    argument; inputs without a tangent (grid, forcing) cost nothing.
    """

    @jax.custom_vjp
    def call(*args):
        with replay.off():
            return function(*args)

    def forward(*args):
        # Each leaf comes with whether it is differentiated.
        marked, structure = jax.tree.flatten(args, is_leaf=replay.is_marked)
        values = [m.value for m in marked]
        floating = [jnp.issubdtype(jnp.result_type(v), jnp.inexact) for v in values]
        perturbed = tuple(m.perturbed and f for m, f in zip(marked, floating))
        with replay.note_down() as notes:
            out = function(*structure.unflatten(values))
        return out, _Saved(values, notes, structure, perturbed)

    def backward(saved, cotangent):
        # Taken out of the store once: a loop that looks values up in it for each neighbour is two
        # to three times slower.
        chosen, notes = lax.optimization_barrier(
            ([v for v, p in zip(saved.leaves, saved.perturbed) if p], saved.notes)
        )

        def partial(chosen):
            given = iter(chosen)
            leaves = [next(given) if p else v for v, p in zip(saved.leaves, saved.perturbed)]
            with replay.read_back(notes):
                return function(*saved.structure.unflatten(leaves))

        out, transpose = jax.vjp(partial, chosen)
        cotangent = jax.tree.map(_dense, cotangent, out, is_leaf=replay.is_zero)
        found = iter(transpose(cotangent)[0])
        return saved.structure.unflatten([next(found) if p else None for p in saved.perturbed])

    call.defvjp(forward, backward, symbolic_zeros=True)
    return call


def _dense(cotangent, like):
    """Whole numbers have no cotangent, and what nobody used has a symbolic zero."""
    if not jnp.issubdtype(jnp.result_type(like), jnp.inexact):
        return jax.numpy.zeros(jnp.shape(like), jax.dtypes.float0)
    return jnp.zeros_like(like) if replay.is_zero(cotangent) else cotangent


def keep_messages(function: Callable) -> Callable:
    """``function``, of which the backward pass keeps the arguments and what messages brought."""
    policy = jax.checkpoint_policies.save_only_these_names(RECEIVED)
    return jax.checkpoint(function, prevent_cse=False, policy=policy)


_OF_ONE_STEP = {"none": lambda f: f, "step": recompute, "halo": keep_messages, "nested": recompute}


def check_menu(name: str) -> str:
    """``name`` if it is on the menu.

    Raises:
        ValueError: otherwise.
    """
    if name not in MENU:
        raise ValueError(f"no checkpointing called {name!r}; choose {', '.join(MENU)}")
    return name


def levels_of(count: int) -> int:
    """How deep a rollout of ``count`` steps is nested."""
    return 4 if count >= _LONG else 3


def repeat(body: Callable, carry, count: int, fixed, menu: str, levels: int | None = None):
    """``carry, out = body(carry, fixed)`` ``count`` times, checkpointed by ``menu``.

    Returns:
        the last carry, and the outs stacked along a new first axis.
    """
    levels, remember = (levels or levels_of(count)) if menu == "nested" else 1, _OF_ONE_STEP[menu]
    even = _well_factored(count, levels)
    carry, out = _nested(body, carry, fixed, factors(even, levels), remember)
    if even < count:
        carry, rest = repeat(body, carry, count - even, fixed, menu, levels)
        out = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)
    return carry, out


def _nested(body, carry, fixed, counts: tuple[int, ...], remember: Callable):
    """One scan per factor, each remembering the carries between the pieces it is made of."""
    count, *inner = counts
    piece = body
    if inner:
        piece = lambda carry, fixed: _nested(body, carry, fixed, tuple(inner), remember)
    piece = remember(piece)
    carry, out = lax.scan(lambda c, _: piece(c, fixed), carry, None, length=count)
    if inner:
        out = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)
    return carry, out


def factors(count: int, levels: int) -> tuple[int, ...]:
    """``levels`` whole factors of ``count`` with the smallest sum (ones are dropped)."""
    best = _best_factors(count, levels)
    return tuple(f for f in best if f > 1) or (1,)


@functools.cache
def _well_factored(count: int, levels: int) -> int:
    """The largest number up to ``count`` whose factors are nearly equal: a prime number cannot be
    nested."""
    near = lambda n: sum(factors(n, levels)) <= 1.5 * levels * n ** (1 / levels) + 2
    return next(n for n in range(count, 0, -1) if near(n))


@functools.cache
def _best_factors(count: int, levels: int) -> tuple[int, ...]:
    if levels == 1:
        return (count,)
    found = [
        (f, *_best_factors(count // f, levels - 1)) for f in range(1, count + 1) if count % f == 0
    ]
    return min(found, key=sum)


# ---- memory
def predict_memory(
    menu: str, steps: int, state_bytes: float, residual_bytes: float, message_bytes: float = 0.0
) -> float:
    """Bytes that the backward pass of a rollout keeps at its worst moment.

    Args:
        state_bytes: of one state, with what its step notes down (see the module).
        residual_bytes: what the transpose of one step needs besides (see
            :func:`measure_memory` of a rollout of one step). message_bytes: what the messages of
            one step bring.
    """
    check_menu(menu)
    if menu == "none":
        return steps * (state_bytes + residual_bytes)
    if menu == "nested":
        levels = levels_of(steps)
        return sum(factors(_well_factored(steps, levels), levels)) * state_bytes + residual_bytes
    return steps * (state_bytes + (message_bytes if menu == "halo" else 0.0)) + residual_bytes


def measure_memory(function: Callable, *args) -> int | None:
    """Bytes of temporary memory of the compiled ``function(*args)``, without running it.

    None where the backend does not tell.
    """
    analysis = jax.jit(function).lower(*args).compile().memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def tree_bytes(tree) -> int:
    """Bytes of all arrays of a pytree."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
