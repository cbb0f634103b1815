"""Restarts and weights of planes: open ``.npz`` files of global arrays, whatever the layout.

A file holds the leaves of a tree by path and what it belongs to (version, shape of the plane,
closure with its options); see :mod:`dogcm.io.arrays`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.field import Field, exchange
from dogcm.io.arrays import DamagedFileError, read_arrays, write_arrays
from dogcm.io.root import on_root
from dogcm.planar.model import PlaneModel
from dogcm.planar.plane import PlaneError

_FORMAT = 1


def save_tree(path: str | Path, model: PlaneModel, tree: Any) -> None:
    """Write a state or parameters; all ranks call it.

    Raises:
        OSError: the file cannot be written (on all ranks).
    """
    d, arrays = model.decomposition, {}
    for name, leaf in _leaves(tree).items():
        if isinstance(leaf, Field):
            arrays[name] = d.gather(np.asarray(leaf.interior))
        else:
            arrays[name] = np.asarray(leaf)
    on_root(d.comm, lambda: write_arrays(Path(path), arrays, _about(model)))


def load_tree(path: str | Path, model: PlaneModel, like: Any) -> Any:
    """What :func:`save_tree` wrote, in the structure of ``like``, on this model's tiles.

    Raises:
        PlaneError: no such file, a damaged one, of another plane, closure or hidden size.
    """
    d = model.decomposition
    wanted = _leaves(like)
    shapes = {n: _global_shape(leaf, model) for n, leaf in wanted.items()}
    arrays = on_root(d.comm, lambda: _read(Path(path), _about(model), shapes))
    out = []
    for name, leaf in wanted.items():
        array = arrays[name]
        if isinstance(leaf, Field):
            tile = jnp.asarray(d.scatter(array if d.is_root else None), leaf.dtype)
            (filled,) = exchange(model.halos, (leaf.crop(0).with_data(tile), leaf.halo))
            out.append(filled)
        else:
            out.append(jnp.asarray(array, jnp.asarray(leaf).dtype))
    return jax.tree.unflatten(jax.tree.structure(like, is_leaf=_is_field), out)


def _is_field(x) -> bool:
    return isinstance(x, Field)


def _leaves(tree) -> dict[str, Any]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_field)
    part = lambda k: str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k))))
    return {"/".join(part(k) for k in path): leaf for path, leaf in flat}


def _global_shape(leaf, model) -> tuple[int, ...]:
    if not isinstance(leaf, Field):
        return tuple(np.shape(leaf))
    return (*leaf.shape[:-2], *model.decomposition.layout.shape)


def _about(model: PlaneModel) -> dict:
    closure = "none" if model.closure is None else model.closure.entry()
    p = model.plane
    return {
        "format": _FORMAT,
        "plane": [*model.decomposition.layout.shape, p.dx, p.dy, p.height],
        "closure": json.loads(json.dumps(closure, default=_entry)),
    }


def _entry(x):
    return x.entry()


def _read(path: Path, about: dict, shapes: dict) -> dict[str, np.ndarray]:
    try:
        saved, arrays = read_arrays(path, _FORMAT)
    except FileNotFoundError:
        raise PlaneError(f"no such file: {path}") from None
    except DamagedFileError as error:
        raise PlaneError(f"{path} is damaged or no file of a plane ({error})") from None
    for what in ("plane", "closure"):
        if saved.get(what) != about[what]:
            raise PlaneError(
                f"{path} is of another {what}: {saved.get(what)} there, {about[what]} here; make "
                "the model as it was, or start without the file"
            )
    for name in [*shapes, *arrays]:
        have = arrays[name].shape if name in arrays else "absent"
        if have != shapes.get(name, "absent"):
            raise PlaneError(f"{path}: {name} is {have} there, {shapes.get(name, 'absent')} here")
    return arrays
