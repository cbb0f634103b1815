"""Rollouts: many steps of the model as one differentiable function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dogcm.learning.checkpointing import check_menu, repeat


def rollout(
    step: Callable,
    state,
    params,
    forcing,
    grid,
    steps: int,
    *,
    checkpoint: str = "step",
    observe: Callable | None = None,
    observe_every: int | None = None,
    mean: bool = False,
    truncate: int | None = None,
    offline: Callable | None = None,
) -> tuple[Any, Any]:
    """Advance ``state`` by ``steps`` steps.

    Args:
        step: pure function ``(state, params, forcing, grid) -> state``.
        checkpoint: what the backward pass keeps, see :mod:`dogcm.learning.checkpointing`. Forward
            mode and second derivatives need ``none`` or ``halo``.
        observe: function ``state -> pytree``, called after every ``observe_every`` steps (default:
            at the end). Values are kept at these times only. Parameters that it needs belong into
            the loss.
        mean: instead of values at these times, their means over ``observe_every`` steps about each
            of them, as in monthly means. The rollout goes on for ``observe_every // 2`` steps after
            the last; the mean of an even number of states lies half a step later than the middle.
        truncate: cut the gradient's way back through the state every so many steps (truncated
            back-propagation through time): each piece of the rollout starts from a state that
            counts as given.
        offline: the step without what is learned. The rollout follows it; what ``step`` does
            otherwise at each of its states is summed up and added to what is observed. No gradient
            passes through the model from step to step.

    Returns:
        the final state, and the observations stacked along a new first axis (None without
        ``observe``).

    Raises:
        ValueError: unknown checkpointing, or ``steps`` is not a whole number of observation
            intervals.
    """
    check_menu(checkpoint)
    every = observe_every or steps
    if steps < 1 or every < 1 or steps % every:
        raise ValueError(
            f"a rollout of {steps} steps cannot be observed every {every} steps: make it a multiple"
        )
    if truncate is not None and truncate < 1:
        raise ValueError(f"truncate must be at least 1 step, not {truncate}")
    if mean and observe is None:
        raise ValueError("a mean of what? Give observe")
    if offline is not None:
        both, look = _summed(step, offline, observe)
        pair, seen = rollout(
            both,
            (state, jax.tree.map(jnp.zeros_like, state)),
            params,
            forcing,
            grid,
            steps,
            checkpoint=checkpoint,
            observe=look,
            observe_every=observe_every,
            mean=mean,
        )
        return _whole(pair), seen
    fixed = (params, forcing, grid)

    def one(carry, fixed):
        state, count = carry
        if truncate is not None:
            state = _cut(state, (count > 0) & (count % truncate == 0))
        return (step(state, *fixed), count + 1), None

    def one_more(carry, fixed):
        """A step that also adds to the sum of what is observed."""
        carry, total = carry
        carry, _ = one(carry, fixed)
        return (carry, jax.tree.map(jnp.add, total, observe(carry[0]))), None

    segments = steps // every
    start = (state, jnp.asarray(0, jnp.int32))
    if observe is None:
        (state, _), _ = repeat(one, start, steps, fixed, checkpoint)
        return state, None

    # Two levels of each keep hardly more than three or four levels of an uninterrupted rollout.
    # What is one piece anyhow is not remembered twice.
    levels = None if segments == 1 or every == 1 else 2
    outer = "nested" if checkpoint == "nested" and segments > 1 else "none"
    inner = "none" if outer == "nested" and every == 1 else checkpoint

    def segment(carry, fixed):
        if not mean:
            carry, _ = repeat(one, carry, every, fixed, inner, levels)
            return carry, observe(carry[0])
        nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(observe, carry[0]))
        (carry, total), _ = repeat(one_more, (carry, nothing), every, fixed, inner, levels)
        return carry, jax.tree.map(lambda x: x / every, total)

    if mean and every // 2:
        start, _ = repeat(one, start, every // 2, fixed, checkpoint)
    (state, _), seen = repeat(segment, start, segments, fixed, outer, levels)
    return state, seen


def _whole(pair):
    """A state with what has been added to it."""
    return jax.tree.map(jnp.add, *pair)


def _summed(step: Callable, plain: Callable, observe: Callable | None):
    """Step and observation of pairs: a state that ``plain`` steps, and the sum of what ``step``
    would have done otherwise."""

    def both(pair, params, forcing, grid):
        given, added = jax.lax.stop_gradient(pair[0]), pair[1]
        old = jax.lax.stop_gradient(plain(given, params, forcing, grid))
        new = step(given, params, forcing, grid)
        return old, jax.tree.map(lambda a, n, o: a + (n - o), added, new, old)

    return both, observe and (lambda pair: observe(_whole(pair)))


def _cut(state, here):
    """``state`` without its history where ``here`` holds."""

    def cut(x):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return x
        # A choice, not a product with zero: an infinite gradient ends here as well.
        return jnp.where(here, jax.lax.stop_gradient(x), x)

    return jax.tree.map(cut, state)
