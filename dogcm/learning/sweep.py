"""Sweeps: one recipe with lists of values, and a training for each combination of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dogcm.components.errors import ConfigError
from dogcm.decomp import world
from dogcm.io.root import on_root
from dogcm.learning.recipe import Recipe, load_recipe
from dogcm.learning.saving import checkpoint_path
from dogcm.learning.training import train
from dogcm.setups.registry import split_setting
from dogcm.simulation.progress import say


@dataclass(frozen=True)
class Member:
    """One training of a sweep: its values by key, the name of its folder, its recipe."""

    values: dict[str, Any]
    folder: str
    recipe: Recipe


def members_of(source: str | Path | dict, sets=(), truth: str | Path | None = None) -> list[Member]:
    """The trainings of a recipe with a ``sweep``; the last key changes fastest.

    Args:
        source, sets: as of :func:`dogcm.learning.recipe.load_recipe`. truth: folder of the truth
            where the recipe names none, shared by members that learn from the same one.

    Raises:
        ConfigError: no sweep, an empty list, two members of one name, an unknown key or a wrong
            value.
    """
    given = dict(sets.items() if isinstance(sets, dict) else map(split_setting, sets))
    whole = load_recipe(source, given)
    swept = whole.sweep
    if not swept:
        raise ConfigError("sweep: name at least one key with a list of values")
    short = _short_names(list(swept))
    shared = truth is not None and not whole.targets.folder and not _of_truth(swept)
    place = {"targets.folder": str(truth)} if shared else {}
    found: list[Member] = []
    for values in itertools.product(*swept.values()):
        chosen = dict(zip(swept, values))
        recipe = load_recipe(source, given | chosen | place | {"sweep": {}})
        name = ",".join(f"{short[k]}={_text(v)}" for k, v in chosen.items())
        if name in {m.folder for m in found}:
            raise ConfigError(f"sweep: two of its trainings would be called {name}")
        found.append(Member(chosen, name, recipe))
    return found


def train_sweep(
    source: str | Path | dict, folder: str | Path, sets=(), *, overwrite: bool = False, **options
) -> list[Path]:
    """Train all members of a sweep, one after the other; every rank calls it.

    Each has a folder in ``folder``. What is finished there is left alone, what was interrupted
    goes on.

    Args:
        overwrite: begin all of them anew. options: ``layout``, ``quiet`` and ``comm`` of
            :func:`dogcm.learning.training.train`.

    Returns:
        folders of the members that are finished: fewer than there are where one was asked to stop.

    Raises:
        see :func:`members_of` and :func:`dogcm.learning.training.train`.
    """
    comm = options.get("comm") or world()
    chosen = members_of(source, sets, Path(folder) / "truth")
    done = []
    for number, member in enumerate(chosen):
        own = Path(folder) / member.folder
        last = sum(stage.updates for stage in member.recipe.curriculum)
        state = "new" if overwrite else on_root(comm, _state, own, last)
        say(comm, f"sweep {number + 1} of {len(chosen)}: {member.folder} ({state})")
        if state == "finished":
            done.append(own)
            continue
        trainer = train(
            member.recipe,
            own,
            resume=state == "interrupted",
            overwrite=state == "new",
            **options,
        )
        if trainer.stopped:
            break
        done.append(own)
    return done


def _state(folder: Path, last: int) -> str:
    """``new``, ``interrupted`` or ``finished``."""
    if checkpoint_path(folder, last).is_file():
        return "finished"
    return "interrupted" if any(folder.glob("checkpoint_*.npz")) else "new"


def _of_truth(keys: Iterable[str]) -> bool:
    return any(key.startswith("targets.") or key == "experiment" for key in keys)


def _short_names(keys: list[str]) -> dict[str, str]:
    """Each key's last words, as many as tell it from the others."""

    def tails(key: str) -> Iterator[str]:
        parts = key.split(".")
        return (".".join(parts[-n:]) for n in range(1, len(parts) + 1))

    ends = lambda tail: sum(k == tail or k.endswith(f".{tail}") for k in keys)
    return {key: next(tail for tail in tails(key) if ends(tail) == 1) for key in keys}


def _text(value) -> str:
    """A value as part of a folder's name."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(c if c.isalnum() or c in "._+-" else "_" for c in text)


__all__ = ["Member", "members_of", "train_sweep"]
