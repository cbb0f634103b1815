"""Ranks in training: groups that work on different windows, tiles within a group.

Each group holds the whole ocean, one tile a rank. All groups hold the same weights. Training can so
use more ranks than a small grid has tiles.
"""

from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.field import Field
from dogcm.halo import reductions


def is_field(x) -> bool:
    """For ``is_leaf``: Fields are tiled, all other leaves are the same on every rank."""
    return isinstance(x, Field)


class Ranks:
    """All ranks of a training run.

    Attributes:
        comm: host communicator of all ranks. tiles: that of this rank's group; the Model is built
            on it.
        group, groups: number of this group, and of groups.
    """

    def __init__(self, comm, groups: int = 1):
        """Raises:
        ValueError: the ranks do not divide into ``groups``.
        """
        self.comm, self.groups = comm, groups
        self.tiles, self._across = comm.split(groups) if groups > 1 else (comm, None)
        self.group = comm.rank // self.tiles.size
        self.is_root = comm.rank == 0
        self._all = reductions(comm)
        #: ``jax.jit`` for programs that send messages.
        self.jit = self._all.jit
        self._group = self._all if groups == 1 else reductions(self.tiles)
        self._between = None if groups == 1 else reductions(self._across)

    def reduce(self, shares, gradients):
        """The one place where gradients cross ranks; inside ``jit``.

        Replicated leaves and the shares travel in one sum over all ranks, and then from rank 0 to
        all, so that all ranks hold the same bits whatever order the sum was made in. Gradients of
        tiled leaves stay on their tile, and are averaged over the groups. The loss is the mean over
        the groups.

        Args:
            shares: this rank's share of the loss. gradients: of that share.

        Returns:
            loss, gradients, and their global norm.
        """
        leaves, structure = jax.tree.flatten(gradients, is_leaf=is_field)
        plain = [x for x in leaves if not is_field(x)]
        shares, *plain = _packed(self._total, [shares, *plain])
        if self._between is not None and any(map(is_field, leaves)):
            tiled = [x.data for x in leaves if is_field(x)]
            tiled = iter(
                _packed(
                    lambda b: self._between.broadcast(self._between.psum(b)) / self.groups, tiled
                )
            )
            leaves = [x.with_data(next(tiled)) if is_field(x) else x for x in leaves]
        given = iter(plain)
        gradients = structure.unflatten([x if is_field(x) else next(given) for x in leaves])
        return shares, gradients, self.norm(gradients)

    def _total(self, buffer):
        return self._all.broadcast(self._all.psum(buffer)) / self.groups

    def norm(self, tree):
        """Euclidean norm over all leaves, tiled ones over all tiles; the same bits on all ranks.
        Inside ``jit``."""
        leaves = jax.tree.leaves(tree, is_leaf=is_field)
        square = lambda x: jnp.sum(jnp.square(x.astype(jnp.float64)))
        plain = sum((square(x) for x in leaves if not is_field(x)), jnp.zeros(()))
        tiled = [square(x.data) for x in leaves if is_field(x)]
        if tiled:
            plain = plain + self._all.broadcast(self._group.psum(sum(tiled)))
        return jnp.sqrt(plain)

    def fingerprints(self, tree) -> list[str]:
        """Names of leaves that are not the same bits on all ranks that should hold the same; on
        every rank.

        These are all ranks for replicated leaves, and the ranks of one tile in all groups for tiled
        ones.
        """
        mine = {
            jax.tree_util.keystr(path): (is_field(x), _digest(x))
            for path, x in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_field)
        }
        everyone = self.comm.gather(mine)
        found = set()
        for rank, theirs in enumerate(everyone or []):
            for name, (tiled, digest) in theirs.items():
                other = everyone[rank % self.tiles.size if tiled else 0].get(name)
                if other != (tiled, digest):
                    found.add(f"{name} on rank {rank}")
        return self.comm.broadcast(sorted(found))


def _digest(x) -> str:
    data = np.ascontiguousarray(x.data if is_field(x) else x)
    return hashlib.sha256(str((data.dtype, data.shape)).encode() + data.tobytes()).hexdigest()


def _packed(function, arrays: list) -> list:
    """``function`` of all arrays in one buffer per type."""
    arrays = [jnp.asarray(a) for a in arrays]
    out: dict[int, jax.Array] = {}
    for dtype in sorted({a.dtype.name for a in arrays}):
        chosen = [i for i, a in enumerate(arrays) if a.dtype.name == dtype]
        buffer = function(jnp.concatenate([arrays[i].ravel() for i in chosen]))
        ends = np.cumsum([arrays[i].size for i in chosen])
        for i, part in zip(chosen, jnp.split(buffer, ends[:-1])):
            out[i] = part.reshape(arrays[i].shape)
    return [out[i] for i in range(len(arrays))]
