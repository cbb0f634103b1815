"""A corrector that was trained on another grid, as the start of a training on this one.

Network weights belong to no grid. Maps do: they are interpolated from water to water, level by
level, so the layers have to be the same. How strong corrections of a finer grid ought to be is a
matter of ``corrector.strength``: errors of second order fall with the square of the spacing.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.corrector.maps import MAPS
from dogcm.io.regrid import bilinear
from dogcm.io.root import on_root
from dogcm.learning.groups import is_field
from dogcm.learning.recipe import load_recipe
from dogcm.learning.saving import chosen_checkpoint, read_arrays
from dogcm.setups import inputs
from dogcm.simulation.progress import say

_TREE = "['now'].average['corrector']"
# From one dictionary to the next in the name of a leaf.
_JOINT = "']['"


def carried_over(folder: str | Path, weights: dict, model) -> dict:
    """The corrector's tree ``weights`` with the numbers that the training in ``folder`` ended with.

    Every rank calls it.

    Args:
        model: :class:`dogcm.simulation.model.Model` of this training.

    Raises:
        ConfigError: on every rank: no training there, another network, other layers.
        CheckpointError: its checkpoint is damaged.
    """
    names = [
        jax.tree_util.keystr(p)
        for p, _ in jax.tree_util.tree_leaves_with_path(weights, is_leaf=is_field)
    ]
    shapes = [
        np.shape(x.data if is_field(x) else x) for x in jax.tree.leaves(weights, is_leaf=is_field)
    ]
    found: dict[str, np.ndarray] = {}
    source = on_root(model.comm, _read, Path(folder), dict(zip(names, shapes)), model, found)
    say(model.comm, f"corrector from {source}")

    def leaf(path, old):
        values = found.get(jax.tree_util.keystr(path))
        if is_field(old):
            return old.with_data(jnp.asarray(model.decomposition.scatter(values), old.dtype))
        return jnp.asarray(model.comm.broadcast(values), old.dtype)

    return jax.tree_util.tree_map_with_path(leaf, weights, is_leaf=is_field)


def _read(folder: Path, wanted: dict[str, tuple], model, found: dict[str, np.ndarray]) -> str:
    """Fills ``found`` on rank 0; returns the file."""
    recipe_file = folder / "recipe.yaml"
    if not recipe_file.is_file():
        raise ConfigError(f"weights: no training in {folder} (recipe.yaml is missing)")
    config = load_recipe(recipe_file).config()
    path = chosen_checkpoint(folder)
    arrays = {k.removeprefix(_TREE): v for k, v in read_arrays(path).items() if k.startswith(_TREE)}
    maps = f"['{MAPS}{_JOINT}"
    for name, shape in wanted.items():
        # A map may be on another grid, but is of as many levels.
        compared = slice(None, -2 if name.startswith(maps) else None)
        if name not in arrays or arrays[name].shape[compared] != shape[compared]:
            there = f"{list(arrays[name].shape)}" if name in arrays else "not there"
            raise ConfigError(
                f"weights: {path} is of another corrector ({name} is {there}, {list(shape)} here); "
                "give corrector the same network, inputs, outputs and maps"
            )
        found[name] = arrays[name]
    fields = {n: v for n, v in found.items() if n.startswith(maps)}
    if fields:
        found |= _on_this_grid(fields, config, model, path)
    return str(path)


def _on_this_grid(fields: dict[str, np.ndarray], config, model, path) -> dict[str, np.ndarray]:
    """Maps (levels, y, x) by the path of their leaf, from the grid of ``config`` to that of
    ``model``."""
    if config.grid == model.config.grid:
        return fields
    if {config.grid.kind, model.config.grid.kind} != {"latlon"}:
        raise ConfigError(
            f"weights: maps in {path} can go to another grid only if both are latlon; set "
            f"corrector.maps: 0"
        )
    horizontal, vertical = inputs.horizontal_grid(config), inputs.vertical_grid(config)
    if not np.array_equal(vertical.dz, model.vertical.dz):
        raise ConfigError(
            f"weights: the maps in {path} are for other layers ({vertical.nz}, {model.vertical.nz} "
            f"here)"
        )
    wet = inputs.cell_thickness(config, horizontal, vertical) > 0
    old, new = horizontal.coordinates(), model.horizontal.coordinates()
    out = {}
    for name, values in fields.items():
        at = name.split(_JOINT)[-1].removesuffix("']")
        at = at if at in ("u", "v") else "c"
        lat, lon = {"c": ("lat", "lon"), "u": ("lat", "lon_u"), "v": ("lat_v", "lon")}[at]
        water = _at_faces(wet, at, horizontal.periodic_x)
        levels = values.reshape(-1, *water.shape)
        known = np.where(water, levels, np.nan)
        points = np.meshgrid(new[lat][0], new[lon][0], indexing="ij")
        there = bilinear(known, old[lat][0], old[lon][0], *points)
        out[name] = np.nan_to_num(there).reshape(-1, *there.shape[-2:])
    return out


def _at_faces(wet: np.ndarray, at: str, periodic: bool) -> np.ndarray:
    """Open faces, level by level."""
    return wet if at == "c" else np.stack([inputs.wet_at(level, at, periodic) for level in wet])


__all__ = ["carried_over"]
