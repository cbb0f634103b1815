"""Values of the learnable parameters of all components that ship."""

from __future__ import annotations

import jax.numpy as jnp

from dogcm.components.base import options_of
from dogcm.components.registry import kinds_of, slots


def defaults(dtype=jnp.float64) -> dict:
    """By name; a parameter that several components have is that of the first."""
    found = {}
    for slot in slots():
        for component in kinds_of(slot).values():
            for row in options_of(component):
                if row.learnable:
                    found.setdefault(row.name, jnp.asarray(row.default, dtype))
    return found
