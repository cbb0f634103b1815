"""Truth from a run: a twin or a finer one, kept as restarts, which hold everything a rollout starts
from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jax
import numpy as np
from pydantic import ValidationError

from dogcm.io.restart import RestartError, read_restart, write_restart
from dogcm.io.root import OutputError, on_root
from dogcm.learning.losses import observe
from dogcm.learning.problem import Window, stacked
from dogcm.learning.recipe import Recipe
from dogcm.setups.config import Config, FileKeys
from dogcm.simulation.model import Model
from dogcm.targets.background import make_background
from dogcm.targets.blobs import with_blobs
from dogcm.targets.finer import VALID_FILE, CoarseGrainer, read_valid

_MANIFEST = "truth.json"


def make_truth(recipe: Recipe, folder: Path, ranks, model: Model, layout: str = "auto") -> bool:
    """Run the truth of a recipe into ``folder``, unless it is there; every rank calls it, the first
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
            _run(recipe, folder, ranks, model, layout)
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
    t = recipe.targets
    out = {
        "kind": t.kind,
        "config": recipe.truth_config().model_dump(mode="json"),
        "spinup": t.spinup,
    }
    if t.kind == "sst":
        kept = (
            "seasons",
            *(("hold", "variable", "period", "monthly", "mean", "test") if t.hold else ()),
            *(("file",) if t.hold and t.file != FileKeys() else ()),
        )
        # A file may move.
        return (
            out
            | t.model_dump(mode="json", include=set(kept))
            | ({"file": Path(t.path).name} if t.hold else {})
        )
    out |= {"days": t.days, "every": t.every}
    if t.blobs:
        out["blobs"] = [b.model_dump(mode="json") for b in t.blobs]
    return (
        out | {"grid": _grid_of(recipe.config().model_dump(mode="json"))}
        if t.kind == "finer"
        else out
    )


def _grid_of(config: dict) -> dict:
    """What the records of a finer truth take from the model that is trained."""
    return {k: config[k] for k in ("grid", "bathymetry", "time", "run")}


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


def _run(recipe: Recipe, folder: Path, ranks, model: Model, layout: str) -> None:
    """All records of a truth; of observations the states that windows start from, over a year."""
    t = recipe.targets
    truth = Model(recipe.truth_config(), layout=layout, comm=ranks.tiles)
    # Before the run: grids that do not nest are found out at once.
    grain = CoarseGrainer(truth, model) if t.kind == "finer" else None
    records, every = round(t.days / t.every), truth.steps_in(t.every)
    if t.hold:
        make_background(t, folder, truth, record_path)
        return _check(truth, folder)
    if t.kind == "sst":
        records = t.seasons - 1
        every = round(truth.config.forcing.year * 86400.0 / t.seasons / truth.physics.dt)
    if t.spinup:
        truth.advance(truth.steps_in(t.spinup))
    for record in range(records + 1):
        if record:
            truth.advance(every)
        if grain is None:
            write_restart(record_path(folder, record), truth)
            if not record:
                # Rollouts start from the first record and do not know of these.
                truth.state = with_blobs(truth.state, t.blobs, truth)
        else:
            grain.write(record_path(folder, record))
    _check(truth, folder)
    if grain is not None:
        grain.write_valid(folder / VALID_FILE)


def record_path(folder: Path, record: int) -> Path:
    """File of a record."""
    return folder / f"record_{record:05d}.nc"


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
    partial = folder / f".{_MANIFEST}.partial"
    partial.write_text(json.dumps({"truth": description}), encoding="utf-8")
    os.replace(partial, folder / _MANIFEST)


class TwinTargets:
    """Windows of a truth's records; implements :class:`dogcm.learning.trainer.Targets`.

    All ranks build it together.

    Args:
        model: on whose tiles the records are wanted. names: variables that are compared.
        first, last: records that may be used. every: steps between records.
    """

    def __init__(self, model: Model, folder: Path, names, first: int, last: int, every: int):
        self.model, self.folder, self.names = model, folder, list(names)
        self.first, self.last, self.every = first, last, every
        #: Name to Field, 1 where the truth holds a value; None: wherever the model has water.
        self.valid = read_valid(folder / VALID_FILE, model, self.names)
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
        values = stacked([observe(self.state(r), self.names) for r in records])
        valid = None if self.valid is None else stacked([self.valid] * len(records))
        return Window(self.state(start), values, valid)

    def record(self, number: int) -> tuple[float, dict, dict | None]:
        """Time (s), observed variables (Fields) of the ``number``-th record of this part, and
        :attr:`valid`."""
        state = self.state(self.first + number)
        return float(state.time), observe(state, self.names), self.valid

    @property
    def records(self) -> int:
        """Number of records of this part."""
        return self.last - self.first + 1


__all__ = ["RestartError", "TwinTargets", "make_truth", "record_path", "truth_of"]
