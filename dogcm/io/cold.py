"""What a restart and a model do not share: schemes that start from rest, and what stays behind.

A scheme that is switched on at a restart has nothing to go on from; one that is switched off
leaves what it carried behind, which may be heat and water.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dogcm.components import Component, ConfigError
from dogcm.components.known import KINDS
from dogcm.timestepping.state import D_GRID

_SECTIONS = ("physics.", "forcing.")


def carried_by_key(model) -> dict[str, tuple[str, ...]]:
    """Names of the Fields that a model's schemes carry, by the scheme's key: ``vertical_mixing``,
    ``sea_ice``, ..."""
    found = {key: one.carries() for key, one in model.physics.carriers().items()}
    return found | ({"coriolis": D_GRID} if model.state.d_grid else {})


def left_by_key(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that no scheme of the model carries, by the key of a scheme that would; those of nobody
    (passive tracers, schemes of one's own) under ``""``."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        owner = _owner(name)
        key = "coriolis" if name in D_GRID else owner.slot if owner else ""
        found[key] = (*found.get(key, ()), name)
    return found


def chosen(keys: Sequence[str], carried: dict, left: dict) -> set[str]:
    """The keys that ``--cold`` names, without their sections.

    Raises:
        ConfigError: no scheme of that key carries anything, in the model or in the restart.
    """
    known = sorted(k for k in {*carried, *left} if k)
    words = {k: k for k in keys}
    for section in _SECTIONS:
        words = {k: w.removeprefix(section) for k, w in words.items()}
    for key, word in words.items():
        if word not in known:
            choice = f"known here: {', '.join(known)}" if known else "nor does any other here"
            raise ConfigError(
                f"--cold {key}: no scheme of that key carries anything from step to step; {choice}"
            )
    return set(words.values())


def amounts(data, names: Iterable[str], horizontal) -> str:
    """What Fields of a restart hold, in words; empty where they hold no heat and no water."""
    ny, nx = horizontal.shape
    area = horizontal.metrics(np.arange(ny), np.arange(nx)).area_c
    total = {"heat": 0.0, "water": 0.0}
    for name in names:
        owner = _owner(name)
        held = owner.holds().get(name, {}) if owner else {}
        for what, per_area in held.items():
            total[what] += per_area * float(np.sum(np.asarray(data[name][:], float) * area))
    units = {"heat": "J", "water": "kg"}
    return " and ".join(f"{v:.4g} {units[n]} of {n}" for n, v in total.items() if v != 0.0)


def _owner(name: str) -> Component | None:
    """A scheme that carries a Field of this name."""
    for kinds in KINDS.values():
        for kind in kinds.values():
            if kind.carries is not Component.carries and name in (one := kind()).carries():
                return one
    return None


__all__ = ["amounts", "carried_by_key", "chosen", "left_by_key"]
