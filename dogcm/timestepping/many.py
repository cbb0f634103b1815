"""Many steps as one compiled loop, for whoever runs the ocean without differentiating it.

Derivatives of many steps are taken of :func:`dogcm.learning.rollout.rollout`, which remembers what
the way back needs.
"""

from __future__ import annotations

from collections.abc import Callable

import jax


def many_steps(step: Callable, state, count, *fixed):
    """``state`` after ``count`` steps; one program for any ``count``.

    Args:
        step: ``(state, *fixed) -> state``.
    """
    return jax.lax.fori_loop(0, count, lambda _, s: step(s, *fixed), state)


def many_steps_with(step: Callable, carry: tuple, count) -> tuple:
    """The same for steps that also gather something.

    Args:
        step: ``(state, gathered, ...) -> (state, gathered, ...)``. carry: these at the start.
    """
    return jax.lax.fori_loop(0, count, lambda _, c: step(*c), carry)


__all__ = ["many_steps", "many_steps_with"]
