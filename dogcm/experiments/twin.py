"""Twin truth: the same model with other parameters, kept as restarts, which hold everything a rollout starts from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jax
import numpy as np

from dogcm.experiments.model import Model
from dogcm.experiments.recipe import Recipe
from dogcm.io.restart import RestartError, read_restart, write_restart
from dogcm.io.root import OutputError, on_root
from dogcm.learning.losses import observe
from dogcm.learning.problem import Window, stacked

_MANIFEST = "truth.json"


def make_truth(recipe: Recipe, folder: Path, ranks, layout: str = "auto") -> bool:
    """Run the truth of a twin into ``folder``, unless it is there; every rank calls it, the first group works.

    Returns:
        whether it was made now.

    Raises:
        OutputError: the folder holds another truth.
    """
    description = json.dumps([recipe.truth_config().model_dump(mode="json"), recipe.targets.spinup,
                              recipe.targets.days, recipe.targets.every])  # fmt: skip
    there = on_root(ranks.comm, _present, folder, description)
    if not there and ranks.group == 0:
        model = Model(recipe.truth_config(), layout=layout, comm=ranks.tiles)
        every = model.steps_in(recipe.targets.every)
        if recipe.targets.spinup:
            model.advance(model.steps_in(recipe.targets.spinup))
        for record in range(round(recipe.targets.days / recipe.targets.every) + 1):
            if record:
                model.advance(every)
            write_restart(record_path(folder, record), model)
        _check(model, folder)
        on_root(ranks.tiles, _finish, folder, description)
    ranks.comm.barrier()
    return not there


def record_path(folder: Path, record: int) -> Path:
    """File of a record."""
    return folder / f"record_{record:05d}.nc"


def _present(folder: Path, description: str) -> bool:
    manifest = folder / _MANIFEST
    if not manifest.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        return False
    if json.loads(manifest.read_text())["truth"] != description:
        raise OutputError(
            f"{folder} holds the truth of another recipe (experiment, changes, length or interval differ); choose "
            "another output folder, or another targets.folder"
        )
    return True


def _check(model: Model, folder: Path) -> None:
    if not model.read().finite:
        raise OutputError(f"the truth blew up while it was made; see targets.changes (records in {folder})")


def _finish(folder: Path, description: str) -> None:
    # Last, so that a truth that was interrupted is not taken for whole.
    partial = folder / f".{_MANIFEST}.partial"
    partial.write_text(json.dumps({"truth": description}))
    os.replace(partial, folder / _MANIFEST)


class TwinTargets:
    """Windows of a twin's records; implements :class:`dogcm.learning.trainer.Targets`.

    Args:
        model: on whose tiles the records are wanted. names: variables that are compared.
        first, last: records that may be used. every: steps between records.
    """

    def __init__(self, model: Model, folder: Path, names, first: int, last: int, every: int):
        self.model, self.folder, self.names = model, folder, list(names)
        self.first, self.last, self.every = first, last, every
        self._states: dict[int, object] = {}

    def state(self, record: int):
        """The truth's state; read once, then kept in the host's memory."""
        if record not in self._states:
            state = read_restart(record_path(self.folder, record), self.model)
            self._states[record] = jax.tree.map(np.asarray, state)
        return jax.tree.map(jax.numpy.asarray, self._states[record])

    def count(self, steps: int) -> int:
        """Number of windows for rollouts of ``steps``."""
        return max(0, self.last - self.first - steps // self.every + 1)

    def window(self, index: int, steps: int) -> Window:
        """The window that starts at the ``index``-th record."""
        start = self.first + index
        records = range(start + 1, start + 1 + steps // self.every)
        return Window(self.state(start), stacked([observe(self.state(r), self.names) for r in records]))


__all__ = ["RestartError", "TwinTargets", "make_truth", "record_path"]
