"""The truth of a recipe in its folder: made once, and known again by its description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dogcm.components.errors import ConfigError
from dogcm.decomp import world
from dogcm.io.root import OutputError, on_root
from dogcm.io.whole import whole_file
from dogcm.setups.config import Config
from dogcm.simulation.model import Model
from dogcm.targets.records import UNFINISHED

if TYPE_CHECKING:
    from dogcm.learning.recipe import Recipe

_MANIFEST, _UNFINISHED = "truth.json", "unfinished.json"


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
            on_root(ranks.tiles, _begin, folder, [description])
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


def make_truths(recipes: dict[Path, Recipe], comm=None, layout: str = "auto") -> list[Path]:
    """The truths of recipes that differ in their own grid alone, by one finer run.

    Every rank calls it. A run that was interrupted goes on where it was.

    Args:
        recipes: by the folder of each truth (``targets.folder`` of the recipe).

    Returns:
        the folders that were filled now.

    Raises:
        ConfigError: the recipes want different finer runs, or one wants none.
        OutputError, TargetError: see :func:`make_truth`.
    """
    comm = comm or world()
    described = {Path(f): truth_of(r) for f, r in recipes.items()}
    missing = [f for f in described if not on_root(comm, _present, f, described[f])]
    if not missing:
        return []
    by_folder = {Path(f): r for f, r in recipes.items()}
    first = by_folder[missing[0]]
    finer = {f: _of_the_run(by_folder[f], described[f]) for f in missing}
    for folder in missing[1:]:
        if finer[folder] != finer[missing[0]]:
            raise ConfigError(
                f"{folder}: its recipe wants another finer run than that of {missing[0]}; make "
                "their targets alike but for the folder"
            )
    # The state of the run belongs to all its truths: another set of them begins anew.
    together = [described[folder] for folder in missing]
    on_root(comm, _begin, missing[0], together)
    truth = Model(first.truth_config(), layout=layout, comm=comm)
    models = [Model(by_folder[f].config(), layout=layout, comm=comm) for f in missing]
    first.targets.make_for(truth, list(zip(missing, models)))
    _check(truth, missing[0])
    for folder in missing:
        on_root(comm, _finish, folder, described[folder])
    return missing


def _of_the_run(recipe: Recipe, description: dict) -> dict:
    """What two recipes must agree in to share a finer run."""
    if not hasattr(recipe.targets, "make_for"):
        raise ConfigError(f"{recipe.name}: only targets of kind finer can share a run")
    return {k: v for k, v in description.items() if k != "grid"}


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


def _begin(folder: Path, descriptions: list[dict]) -> None:
    """Forget an unfinished run of other truths."""
    path, state = folder / _UNFINISHED, folder / UNFINISHED
    wanted = json.dumps({"truths": descriptions}, sort_keys=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != wanted:
        state.unlink(missing_ok=True)
    with whole_file(path) as partial:
        partial.write_text(wanted, encoding="utf-8")


def _finish(folder: Path, description: dict) -> None:
    # Last, so that a truth that was interrupted is not taken for whole.
    with whole_file(folder / _MANIFEST) as partial:
        partial.write_text(json.dumps({"truth": description}), encoding="utf-8")
    (folder / _UNFINISHED).unlink(missing_ok=True)


__all__ = ["make_truth", "make_truths", "truth_of"]
