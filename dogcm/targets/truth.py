"""The truth of a recipe in its folder: made once, and known again by its description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dogcm.io.root import OutputError, on_root
from dogcm.io.whole import whole_file
from dogcm.setups.config import Config
from dogcm.simulation.model import Model

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe

_MANIFEST = "truth.json"


def make_truth(recipe: Recipe, folder: Path, ranks, model: Model, layout: str = "auto") -> bool:
    """Make the truth of a recipe in ``folder``, unless it is there; every rank calls it, the first
    group works.

    Args:
        model: that is trained; a finer truth is brought to its grid.

    Returns:
        whether it was made now.

    Raises:
        OutputError: the folder holds another truth. TargetError: the finer grid does not nest in
            the model's.
    """
    description = truth_of(recipe)
    there = on_root(ranks.comm, _present, folder, description)
    error = None
    if not there and ranks.group == 0:
        try:
            truth = Model(recipe.truth_config(), layout=layout, comm=ranks.tiles)
            recipe.targets.make(folder, truth, model)
            _check(truth, folder)
            on_root(ranks.tiles, _finish, folder, description)
        # These are raised on all ranks of the group alike; the other groups wait and have to hear
        # of them.
        except (OutputError, ValueError) as e:
            error = e
    error = ranks.comm.broadcast(error)
    if error is not None:
        raise error
    return not there


def truth_of(recipe: Recipe) -> dict:
    """All that makes the records of a recipe's truth what they are."""
    return recipe.targets.description(recipe)


def _same(stored: dict, wanted: dict) -> bool:
    """Whether two descriptions agree. A key that is younger than the stored one had its default
    then."""
    try:
        own = Config.model_validate(stored["config"]).model_dump(mode="json")
        stored = stored | {"config": own}
        if "grid" in stored:
            sections = Config.model_validate(stored["grid"]).model_dump(mode="json")
            stored["grid"] = {k: sections[k] for k in stored["grid"]}
    except (KeyError, TypeError, ValidationError):
        return False  # a key that is no more
    return stored == wanted


def _present(folder: Path, description: dict) -> bool:
    manifest = folder / _MANIFEST
    if not manifest.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        return False
    if not _same(json.loads(manifest.read_text(encoding="utf-8"))["truth"], description):
        raise OutputError(
            f"{folder} holds the truth of another recipe (experiment, changes, length or interval "
            f"differ); choose "
            "another output folder, or another targets.folder"
        )
    return True


def _check(model: Model, folder: Path) -> None:
    if not model.read().finite:
        raise OutputError(
            f"the truth blew up while it was made; see targets.changes (records in {folder})"
        )


def _finish(folder: Path, description: dict) -> None:
    # Last, so that a truth that was interrupted is not taken for whole.
    with whole_file(folder / _MANIFEST) as partial:
        partial.write_text(json.dumps({"truth": description}), encoding="utf-8")


__all__ = ["make_truth", "truth_of"]
