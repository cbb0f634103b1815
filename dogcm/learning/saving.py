"""Training checkpoints: complete, written atomically, independent of the layout, and without
pickle.

A checkpoint is one npz file: global arrays under the path of their leaf, and a JSON text. Tiled
leaves are gathered when it is written and scattered when it is read, so that training may go on
with other tiles. The file is written beside its final name and renamed when it is safe on disk, so
a file of that name is always whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.io import arrays as files
from dogcm.io.root import OutputError, RootTask, on_root
from dogcm.learning.groups import is_field

_FORMAT = 1
#: The checkpoint with the least error on the records for validation.
BEST_FILE = "best.npz"


class CheckpointError(ValueError):
    """A training checkpoint that cannot be used; the message says why. Nothing was changed."""


def checkpoint_path(folder: str | Path, update: int) -> Path:
    """File of the checkpoint after ``update`` updates."""
    return Path(folder) / f"checkpoint_{update:08d}.npz"


def latest_checkpoint(folder: str | Path) -> Path:
    """The newest checkpoint of a training run.

    Raises:
        CheckpointError: if there is none.
    """
    found = sorted(Path(folder).glob("checkpoint_*.npz"))
    if not found:
        raise CheckpointError(f"no training checkpoint (checkpoint_*.npz) in {folder}")
    return found[-1]


def chosen_checkpoint(folder: str | Path) -> Path:
    """What validation has chosen; without one, the newest checkpoint.

    Raises:
        CheckpointError: if there is none.
    """
    best = Path(folder) / BEST_FILE
    return best if best.is_file() else latest_checkpoint(folder)


def save_checkpoint(path: str | Path, tree, header: dict, decomposition, comm=None) -> Path:
    """Write ``tree`` and ``header``; every rank calls it (in groups of ranks: the first group
    writes).

    Args:
        tree: pytree; Fields are tiled (interior), other leaves the same on every rank.
        header: what JSON can hold; ``identity`` in it is compared by :func:`load_checkpoint`.
        decomposition: of the tiles. comm: of all ranks; default: that of the tiles.

    Raises:
        OutputError: on every rank if it cannot be written; an older file of this name is still
            there.
    """
    path, comm = Path(path), comm or decomposition.comm
    arrays = {}
    if comm.rank < decomposition.comm.size:
        for name, leaf in _named(tree):
            arrays[name] = (
                decomposition.gather(np.asarray(leaf.interior))
                if is_field(leaf)
                else np.asarray(leaf)
            )
    task = RootTask(comm, path)
    task.do(files.write_arrays, path, arrays, {"format": _FORMAT, **header})
    task.finish()
    return path


def _named(tree) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(p), x)
        for p, x in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_field)
    ]


def read_header(path: str | Path) -> dict:
    """The JSON part of a checkpoint.

    Raises:
        CheckpointError: missing or damaged.
    """
    return _read(Path(path))[0]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The global arrays of a checkpoint by the path of their leaf.

    Raises:
        CheckpointError: missing or damaged.
    """
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    try:
        return files.read_arrays(path, _FORMAT)
    except FileNotFoundError:
        raise CheckpointError(f"no such training checkpoint: {path}") from None
    except files.DamagedFileError as error:
        raise CheckpointError(
            f"{path} is damaged or no training checkpoint ({error}); take an earlier one"
        ) from None


def load_checkpoint(
    path: str | Path, like, identity: dict, decomposition, comm=None
) -> tuple[Any, dict]:
    """The tree and header in a checkpoint, on this launch's tiles; every rank calls it.

    Args:
        like: tree of the same structure, whose values are not used.
        identity: what the checkpoint must belong to, a flat dict; compared with the header's
            ``identity``.

    Raises:
        CheckpointError: on every rank: damaged, of another recipe or another network.
    """
    path, comm = Path(path), comm or decomposition.comm
    wanted = [(n, _global_shape(x, decomposition), str(x.dtype)) for n, x in _named(like)]
    arrays = None

    def read():
        nonlocal arrays
        header, arrays = _read(path)
        _compare(path, header.get("identity", {}), identity, arrays, wanted)
        return header

    header = on_root(comm, read)
    leaves = [_leaf(x, n, arrays, decomposition, comm) for n, x in _named(like)]
    structure = jax.tree.structure(like, is_leaf=is_field)
    return jax.tree.unflatten(structure, leaves), header


def _global_shape(leaf, decomposition) -> tuple[int, ...]:
    return (*leaf.shape[:-2], *decomposition.layout.shape) if is_field(leaf) else np.shape(leaf)


def _compare(path: Path, found: dict, identity: dict, arrays: dict, wanted: list) -> None:
    other = [k for k in identity if found.get(k) != identity[k]]
    if other:
        differences = "; ".join(
            f"{k}: {found.get(k, 'nothing')} there, {identity[k]} here" for k in other[:4]
        )
        raise CheckpointError(
            f"{path} belongs to another recipe ({differences}); choose another output folder"
        )
    for name, shape, dtype in wanted:
        if name not in arrays:
            raise CheckpointError(f"{path} belongs to another network: it has no {name}")
        if arrays[name].shape != tuple(shape) or str(arrays[name].dtype) != dtype:
            raise CheckpointError(
                f"{path} belongs to another network or grid: {name} is "
                f"{arrays[name].dtype}{list(arrays[name].shape)} there, {dtype}{list(shape)} here"
            )
    more = sorted(set(arrays) - {n for n, *_ in wanted})
    if more:
        raise CheckpointError(f"{path} belongs to another network: this one has no {more[0]}")


def _leaf(like, name: str, arrays: dict | None, decomposition, comm):
    if not is_field(like):
        return jnp.asarray(comm.broadcast(arrays[name] if arrays is not None else None))
    values = arrays[name] if arrays is not None else None
    if comm.size > decomposition.comm.size:  # every group scatters among its own tiles
        values = comm.broadcast(values)
        values = values if decomposition.is_root else None
    return like.with_data(jnp.asarray(decomposition.scatter(values)))


__all__ = [
    "CheckpointError",
    "OutputError",
    "checkpoint_path",
    "latest_checkpoint",
    "load_checkpoint",
    "read_arrays",
    "read_header",
    "save_checkpoint",
]
