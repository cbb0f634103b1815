"""Truth from a finer run: its states brought to the grid that is trained, as restarts of the
coarser model.

A record is a full state, so that a rollout can start from it: ``u, v, eta`` and tracers are those
of the finer run, averaged as :mod:`dogcm.targets.twin` does it, and so are the velocities of a C-D
scheme. Coarse cells without fine water keep what the coarser model starts with, and are marked as
not valid. Old accelerations have no meaning on another grid: the time scheme starts anew.
"""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dogcm.dynamics import coriolis_cd
from dogcm.dynamics.coriolis_cd import D_GRID
from dogcm.field import Field
from dogcm.io.restart import write_restart
from dogcm.io.root import RootTask, on_root
from dogcm.learning.losses import COMPARED
from dogcm.simulation.model import Model
from dogcm.simulation.progress import say
from dogcm.targets import Coarsening, TargetError, TargetGrid, nesting_problems
from dogcm.timestepping import State

VALID_FILE = "valid.npz"
#: What is compared at the surface: the variable that it is the first layer of.
_SURFACE = {"sst": "temperature", "sss": "salinity"}


class CoarseGrainer:
    """Brings the present state of a finer model to the grid of a coarser one; every rank calls its
    methods.

    Args:
        fine, coarse: models on the same ranks; their layouts may differ. ``coarse`` is left as it
            is.

    Raises:
        TargetError: the horizontal grids do not nest, or the coarser ocean alone has the C-D
            scheme.
    """

    def __init__(self, fine: Model, coarse: Model):
        if coarse.state.d_grid and not fine.state.d_grid:
            raise TargetError(
                "targets: the recipe's ocean turns by the C-D scheme, the finer one does not and "
                "has no velocities for "
                "it; set physics.coriolis: cd in targets.changes"
            )
        self.fine, self.coarse = fine, coarse
        self._coarsening: Coarsening | None = None  # on rank 0
        self._valid: dict[str, np.ndarray] = {}
        grids = TargetGrid.gather(fine), TargetGrid.gather(coarse)
        note = on_root(coarse.comm, self._prepare, *grids)
        if note:
            say(coarse.comm, note)

    def _prepare(self, fine: TargetGrid, coarse: TargetGrid) -> str:
        """Sets the coarsening up on rank 0; returns what the user should know of it."""
        try:
            self._coarsening = Coarsening(fine, coarse)
        except TargetError as error:
            raise TargetError(
                f"targets: {error}. The faces of the recipe's grid must be faces of the finer one: "
                f"choose grid.nx "
                "and grid.ny (and dx, dy, lon, lat) of targets.changes as whole multiples"
            ) from None
        notes = [f"truth: {p} (they are remapped)" for p in nesting_problems(fine, coarse)]
        empty, wet, lost = self._coarsening.missing()
        if empty or lost > 1e-12:
            notes.append(
                f"truth: {empty} of {wet} ocean cells hold no water of the finer run and are left "
                f"out; "
                f"{100 * lost:.2g} % of its water lies in land"
            )
        return "\n".join(notes)

    def state(self) -> State:
        """The finer model's present state on the coarser model's tiles."""
        now = self.fine.state
        # Old accelerations stay behind.
        names = ["u", "v", "eta", *now.tracers]
        old = self.coarse.state
        d_grid = D_GRID if old.d_grid and now.d_grid else ()
        arrays = {n: self.fine.gather(n) for n in (*names, *d_grid)}
        means = on_root_only(self.coarse.comm, self._coarsened, arrays)
        variables = old.variables()

        def field(name: str) -> Field:
            values = self.coarse.decomposition.scatter(None if means is None else means[name])
            kept = np.asarray(variables[name].interior)
            values = np.where(np.isfinite(values), values, kept).astype(self.coarse.dtype)
            return Field(jnp.asarray(values), variables[name].at).named(name)

        new = {n: field(n) for n in (*names, *d_grid)}
        zero = lambda fields: tuple(f.with_data(jnp.zeros_like(f.data)) for f in fields)
        return old.replace(
            u=new["u"],
            v=new["v"],
            eta=new["eta"],
            tracers={n: new[n] for n in now.tracers},
            history_u=zero(old.history_u),
            history_v=zero(old.history_v),
            time=jnp.asarray(float(now.time), jnp.float64),
            steps=jnp.zeros_like(old.steps),
            d_grid=self._d_grid(new, d_grid),
        )

    def _d_grid(self, new: dict[str, Field], names: tuple[str, ...]) -> tuple[Field, ...]:
        """What the coarser model's C-D scheme keeps: ``names`` are averaged, and what was before is
        as it is."""
        velocities = tuple(new[n] for n in names) or self.coarse.state.d_grid[: len(D_GRID)]
        found = (*velocities, *coriolis_cd.before(new["u"], new["v"], new["eta"]))
        kept = self.coarse.physics.coriolis.keeps()
        return tuple(f.named(n) for n, f in zip(kept, found))

    def _coarsened(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        turned = {at: arrays.pop(n) for n, at in zip(D_GRID, "uv") if n in arrays}
        values = self._coarsening(arrays).values
        valid = {n: np.isfinite(v) for n, v in values.items()}
        water = valid["temperature"]
        # A face that is shut in the finer run carries nothing, which is known; beyond its water
        # nothing is known. What lies across the edge of the grid does not matter: such faces are
        # shut, or the grid is periodic in x.
        valid["u"] &= water & np.roll(water, 1, -1)
        valid["v"] &= water & np.roll(water, 1, -2)
        self._valid = valid
        if turned:
            there = self._coarsening(turned | {"eta": arrays["eta"]}).values
            values |= {n: np.nan_to_num(there[at]) for n, at in zip(D_GRID, "uv")}
        return values

    def write(self, path: Path) -> None:
        """Write :meth:`state` as a restart of the coarser model.

        Raises:
            OutputError: it cannot be written.
        """
        kept = self.coarse.state
        try:
            self.coarse.state = self.state()
            write_restart(path, self.coarse)
        finally:
            self.coarse.state = kept

    def write_valid(self, path: Path) -> None:
        """Write where the records hold values; after :meth:`state` or :meth:`write`.

        Raises:
            OutputError: it cannot be written.
        """
        task = RootTask(self.coarse.comm, path)
        task.do(lambda: np.savez_compressed(path, **self._valid))
        task.finish()


def on_root_only(comm, function, *args):
    """``function(*args)`` on rank 0, None elsewhere; an error there is raised on every rank."""
    found = []
    on_root(comm, lambda: found.append(function(*args)))
    return found[0] if found else None


def read_valid(path: Path, model: Model, names) -> dict[str, Field] | None:
    """Where a truth holds values, on this tile: name to Field of 1 and 0; None if there is no such
    file."""
    if not on_root(model.comm, path.is_file):
        return None
    arrays = on_root_only(model.comm, _load, path)
    out = {}
    for name in names:
        values = None
        if arrays is not None:
            values = arrays[name] if name not in _SURFACE else arrays[_SURFACE[name]][0]
            values = values.astype(model.dtype)
        tile = model.decomposition.scatter(values)
        out[name] = Field(jnp.asarray(tile), COMPARED[name][0]).named(f"valid {name}")
    return out


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {n: data[n] for n in data.files}


__all__ = ["VALID_FILE", "CoarseGrainer", "read_valid"]
