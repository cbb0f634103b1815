"""One compiled program that all devices run together, each on its tile.

Every tile is a thread (:mod:`dogcm.decomp.crew`) with arrays on its own device. When all threads of
a process have come with their arguments, one of them starts the program on arrays that consist of
all of theirs and, where there are several processes, of those that the others hold, without a copy;
then each takes its part of what came out.

At the first call every tile traces its own function. The operations have to be the same on all.
Arrays that a function holds without having them as arguments may differ: they become arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lax.lax import _convert_element_type
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dogcm.halo.fingerprints import digest_of, fingerprint

#: The axis of the device mesh: its index is the rank.
AXIS = "tile"
_TILES, _SAME = PartitionSpec(AXIS), PartitionSpec()
_NUMBER = bool | int | float | complex


class _Kind(NamedTuple):
    """What a program is compiled for, of one argument.

    Attributes:
        shape, dtype: of a tile's array; None and the type for a plain number of Python, which is
            the same on all tiles. weak: whether its type gives way, as a plain number's does.
    """

    shape: tuple[int, ...] | None
    dtype: Any
    weak: bool


class _Call(NamedTuple):
    """A tile's arguments: arrays and numbers, what they are, of which argument they are part, and
    the rest."""

    leaves: list
    kinds: tuple[_Kind, ...]
    owners: tuple[int, ...]
    tree: Any
    static: tuple

    @property
    def key(self) -> tuple:
        return self.kinds, self.tree, self.static


class _Traced(NamedTuple):
    """What a tile knows of the program for one set of shapes.

    Attributes:
        jaxpr: traced on this tile. own: numbers of the arrays it holds that other tiles have
            otherwise. held: these arrays. tree: of the result. scalars: which leaves of it are
            numbers.
    """

    jaxpr: Any
    own: tuple[int, ...]
    held: list
    tree: Any
    scalars: list[bool]


class SharedProgram:
    """``jax.jit`` for devices that share a program.

    Args:
        function: of this tile's arrays. What it does must not depend on the tile, except by
            :meth:`dogcm.halo.HaloExchange.here`; the arrays that it uses may.
        comm: :class:`dogcm.decomp.crew.DeviceCommunicator`.
        donate_argnums, static_argnums: as those of ``jax.jit``.
    """

    def __init__(self, function: Callable, comm, donate_argnums=(), static_argnums=()):
        self._function, self._comm = function, comm
        self._donate, self._static = _numbers(donate_argnums), _numbers(static_argnums)
        self._traced: dict[Any, _Traced] = {}
        self._compiled: dict[Any, Callable] = {}

    def __call__(self, *args):
        """Every tile calls it, with arrays of the same shapes.

        Raises:
            ValueError: they are not, or the functions do not do the same.
        """
        call = self._call(args)
        if any(isinstance(x, jax.core.Tracer) for x in call.leaves):
            return self._function(*args)  # part of a larger program
        comm = self._comm
        if call.key not in self._traced:
            self._traced[call.key] = self._trace(call)
        traced = self._traced[call.key]
        leaves = [*traced.held, *(_on(x, comm.device) for x in call.leaves)]
        parts = comm.crew.together(comm.rank, call._replace(leaves=leaves), self._run)
        own = (part[comm.place] for part in parts)
        found = [x.reshape(()) if s else x for x, s in zip(own, traced.scalars)]
        return jax.tree.unflatten(traced.tree, found)

    def _call(self, args: tuple) -> _Call:
        static = tuple((n, args[n]) for n in self._static)
        moving = [n for n in range(len(args)) if n not in self._static]
        leaves, tree = jax.tree.flatten(tuple(args[n] for n in moving))
        owners = tuple(n for n in moving for _ in jax.tree.leaves(args[n]))
        return _Call(leaves, tuple(map(_kind, leaves)), owners, tree, static)

    def _trace(self, call: _Call) -> _Traced:
        """What the function does on this tile, once all tiles have found that it is the same."""
        comm = self._comm
        on_leaves = lambda *leaves: self._function(*_arguments(call, leaves))
        make = jax.make_jaxpr(on_leaves, axis_env=[(AXIS, comm.size)], return_shape=True)
        jaxpr, shapes = make(*call.leaves)
        told = (call.kinds, fingerprint(jaxpr), [digest_of(c) for c in jaxpr.consts])
        own = comm.compare(told, _compared)
        held = [_on(jaxpr.consts[n], comm.device) for n in own]
        out, tree = jax.tree.flatten(shapes)
        return _Traced(jaxpr, own, held, tree, [s.shape == () for s in out])

    # ---- on the first rank of a process, for all of it
    def _run(self, calls: list[_Call]) -> list[list]:
        """Of each leaf of the result the parts of this process's ranks."""
        first, crew = calls[0], self._comm.crew
        devices = crew.devices
        _check_alike(calls)
        mesh = crew.shared.setdefault("mesh", Mesh(np.array(devices), (AXIS,)))
        traced = self._traced[first.key]
        kinds = (*(_kind(x) for x in traced.held), *first.kinds)
        if first.key not in self._compiled:
            self._compiled[first.key] = self._compile(first, traced, kinds, mesh)
        sharding = NamedSharding(mesh, _TILES)
        arrays = [
            _joined([c.leaves[n] for c in calls], kind, sharding) for n, kind in enumerate(kinds)
        ]
        own = devices[crew.first : crew.first + crew.local]
        return [_parts(x, own) for x in self._compiled[first.key](*arrays)]

    def _compile(self, call: _Call, traced: _Traced, kinds: tuple, mesh: Mesh) -> Callable:
        before = len(traced.held)
        known = [_kind(traced.jaxpr.consts[n]) for n in traced.own]
        as_traced = [*known, *call.kinds]

        def on_tile(*leaves):
            given = [_as_given(x, kind) for x, kind in zip(leaves, as_traced)]
            jaxpr = traced.jaxpr.replace(
                consts=_with(traced.jaxpr.consts, traced.own, given[:before])
            )
            found = jaxpr_as_fun(jaxpr)(*given[before:])
            return [jnp.reshape(x, (1,)) if s else x for x, s in zip(found, traced.scalars)]

        specs = tuple(_SAME if k.shape is None else _TILES for k in kinds)
        sharded = jax.shard_map(
            on_tile, mesh=mesh, in_specs=specs, out_specs=_TILES, check_vma=False
        )
        donated = [
            before + leaf
            for leaf, (owner, kind) in enumerate(zip(call.owners, call.kinds))
            if owner in self._donate and kind.shape is not None
        ]
        return jax.jit(sharded, donate_argnums=donated)


def _numbers(given) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)


def _arguments(call: _Call, leaves) -> tuple:
    """All arguments of the function, in order."""
    args = list(jax.tree.unflatten(call.tree, list(leaves)))
    for n, value in call.static:
        args.insert(n, value)
    return tuple(args)


def _with(values: list, places: tuple[int, ...], new: list) -> list:
    """``values`` with those at ``places`` replaced."""
    out = list(values)
    for place, value in zip(places, new):
        out[place] = value
    return out


def _kind(leaf) -> _Kind:
    if isinstance(leaf, _NUMBER):
        return _Kind(None, type(leaf), True)
    return _Kind(np.shape(leaf), leaf.dtype, bool(getattr(leaf, "weak_type", False)))


def _on(leaf, device):
    """A tile's array on its own device, with one axis at least."""
    if isinstance(leaf, _NUMBER):
        return leaf
    if not isinstance(leaf, jax.Array) or leaf.devices() != {device}:
        leaf = jax.device_put(np.asarray(leaf) if not isinstance(leaf, jax.Array) else leaf, device)
    return leaf if leaf.ndim else leaf.reshape((1,))


def _as_given(leaf, kind: _Kind):
    """A leaf inside the program as the function expects it."""
    if kind.shape is None:
        return leaf
    leaf = leaf if kind.shape else jnp.reshape(leaf, ())
    return _convert_element_type(leaf, weak_type=True) if kind.weak else leaf


def _joined(parts: list, kind: _Kind, sharding: NamedSharding):
    """The array that consists of all tiles' parts, one after the other along the first axis; given
    are those of this process."""
    if kind.shape is None:
        if any(p != parts[0] for p in parts):
            raise ValueError(
                f"plain numbers in a program of all tiles are the same on each, not {parts}; "
                "give an array"
            )
        return parts[0]
    head = kind.shape[0] if kind.shape else 1
    shape = (head * sharding.mesh.size, *kind.shape[1:])
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)


def _parts(whole, devices: list) -> list:
    """What each device holds of a result."""
    held = {s.device: s.data for s in whole.addressable_shards}
    return [held[d] for d in devices]


# ---- do the tiles agree?
def _check_alike(calls: list) -> None:
    for rank, call in enumerate(calls):
        if call.kinds != calls[0].kinds:
            _refuse_kinds(calls[0].kinds, call.kinds, rank)


def _refuse_kinds(first: tuple[_Kind, ...], other: tuple[_Kind, ...], rank: int) -> None:
    where = f"{len(first)} arrays on rank 0, {len(other)}"
    if len(first) == len(other):
        a, b = next((a, b) for a, b in zip(first, other) if a != b)
        where = f"{a.shape} {a.dtype} on rank 0, {b.shape} {b.dtype}"
    raise ValueError(f"tiles of one program need arrays alike: {where} on rank {rank}")


def _compared(told: list[tuple]) -> tuple[int, ...]:
    """Which of the arrays that a program holds are not the same on all tiles."""
    kinds, does, holds = told[0]
    for rank, (their_kinds, theirs, their_arrays) in enumerate(told):
        if their_kinds != kinds:
            _refuse_kinds(kinds, their_kinds, rank)
        shapes = lambda arrays: [a[:2] for a in arrays]
        if theirs != does or shapes(their_arrays) != shapes(holds):
            raise ValueError(
                f"tiles on devices share a program, and rank {rank} has another than rank "
                "0: what belongs to a tile goes into arrays, or is asked of model.halos.here; a "
                "plain number or a choice in Python has to be the same on all"
            )
    return tuple(n for n in range(len(holds)) if any(t[2][n] != holds[n] for t in told))


__all__ = ["AXIS", "SharedProgram"]
