"""What a restart and a model do not share: schemes that start from rest, and what stays behind.

A scheme that is switched on at a restart has nothing to go on from; one that is switched off
leaves what it carried behind, which may be heat and water.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dogcm.components import Component, ConfigError
from dogcm.components.known import KINDS
from dogcm.decomp import fold
from dogcm.dynamics.coriolis_cd import KEPT

_SECTIONS = ("physics.", "forcing.")
_KEYS = {"surface_flux": "fluxes"}  # where the key is not the slot


def carried_by_key(model) -> dict[str, tuple[str, ...]]:
    """Names of the Fields that a model's schemes carry, by the scheme's key: ``vertical_mixing``,
    ``sea_ice``, ..."""
    found = {key: one.carries() for key, one in model.physics.carriers().items()}
    kept = model.physics.coriolis.keeps()
    return found | ({"coriolis": kept} if kept else {})


def left_by_key(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that no scheme of the model carries, by the key of a scheme that would; those of nobody
    (passive tracers, schemes of one's own) under ``""``, and those of fluxes of one's own, whose
    names a restart does not keep, all under ``fluxes``."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        owner = _owner(name)
        key = _KEYS.get(owner.slot, owner.slot) if owner else ""
        key = "coriolis" if name in KEPT else key
        found[key] = (*found.get(key, ()), name)
    return found


def chosen(keys: Sequence[str], carried: dict, left: dict) -> set[str]:
    """The keys of ``carried`` and ``left`` that ``--cold`` names, with or without their sections;
    ``fluxes`` names all ``fluxes.NAME``, and either those that are left behind.

    Raises:
        ConfigError: no scheme of that key carries anything, in the model or in the restart.
    """
    known, found = sorted(k for k in {*carried, *left} if k), set()
    for key in keys:
        if not (meant := _meant(key, known)):
            choice = f"known here: {', '.join(known)}" if known else "nor does any other here"
            raise ConfigError(
                f"--cold {key}: no scheme of that key carries anything from step to step; {choice}"
            )
        found |= meant
    return found


def lacking(keys: Sequence[str], carried: dict, stored: set[str]) -> list[str]:
    """Those of ``keys`` that a restart with the Fields ``stored`` still needs: it lacks some of the
    scheme's, or has those of a scheme that the model has not. Words that no scheme could have as
    its key are kept, to be refused."""
    left = left_by_key(stored - {n for names in carried.values() for n in names})

    def needed(key: str) -> bool:
        if here := _meant(key, carried):
            return any(set(carried[k]) - stored for k in here)
        return bool(_meant(key, left)) or not _could_carry(key)

    return [k for k in keys if needed(k)]


def contents(
    read: Callable[[str], np.ndarray], names: Iterable[str], horizontal
) -> dict[str, dict[str, float]]:
    """The ``heat`` (J) and ``water`` (kg) in Fields of a restart; of those that hold any.

    Args:
        read: gives a Field of the restart on the globe.
    """
    per_area = {n: owner.holds().get(n) for n in names if (owner := _owner(n))}
    if not any(per_area.values()):
        return {}
    ny, nx = horizontal.shape
    area = np.array(horizontal.metrics(np.arange(ny), np.arange(nx)).area_c)
    if horizontal.north_fold:  # of the two copies of a cell one counts
        area[-1, fold.copies("c", np.arange(nx), nx)] = 0.0
    sums = {n: float(np.sum(read(n).astype(float) * area)) for n, h in per_area.items() if h}
    return {n: {w: a * s for w, a in per_area[n].items()} for n, s in sums.items() if s}


def in_words(held: dict[str, dict[str, float]]) -> str:
    """The sums of :func:`contents`; empty where there is nothing."""
    total = {w: sum(h.get(w, 0.0) for h in held.values()) for w in ("heat", "water")}
    units = {"heat": "J", "water": "kg"}
    return " and ".join(f"{v:.4g} {units[n]} of {n}" for n, v in total.items() if v != 0.0)


def _meant(key: str, known: Iterable[str]) -> set[str]:
    """Those of ``known`` that a key names: itself, or else those below it, or what it is below."""
    for section in _SECTIONS:
        key = key.removeprefix(section)
    if key in known:
        return {key}
    return {k for k in known if k and (k.startswith(f"{key}.") or key.startswith(f"{k}."))}


def _could_carry(key: str) -> bool:
    slots = {s for s, kinds in KINDS.items() if any(map(_carries, kinds.values()))}
    return bool(_meant(key, slots | {"coriolis", *_KEYS.values()}))


def _carries(kind: type[Component]) -> bool:
    return kind.carries is not Component.carries


def _owner(name: str) -> Component | None:
    """A scheme that carries a Field of this name."""
    for kinds in KINDS.values():
        for kind in kinds.values():
            if _carries(kind) and name in (one := kind()).carries():
                return one
    return None


__all__ = ["carried_by_key", "chosen", "contents", "in_words", "lacking", "left_by_key"]
