"""One process that drives several devices: every tile is a thread of it.

What ranks are to MPI, threads are here: each has a number, a tile and a device, runs the same
program as the others, and talks to them through :class:`DeviceCommunicator`. Host code so needs no
second version. It runs in one thread at a time, which goes on until it waits for others: libraries
that read files are not made for more. Compiled programs do need one: all devices run one and the
same, see :mod:`dogcm.halo.mesh`.
"""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.decomp.layout import LayoutError
from dogcm.lowering.compiler import configure

_here = threading.local()
# Seconds after which a thread that waits for a message looks whether the others still work.
_GLANCE = 0.2


class TileEnded(RuntimeError):
    """Another tile has failed, and this one can only end too."""


class Crew:
    """The threads of one process, one a device, and where they meet."""

    def __init__(self, devices: list):
        self.devices, self.size = devices, len(devices)
        self.shared: dict[Any, Any] = {}
        self._barrier = threading.Barrier(self.size)
        self._turn = threading.RLock()
        self._given: list = [None] * self.size
        self._found: Any = None
        self._error: Exception | None = None
        self._letters: dict[tuple[int, int], queue.Queue] = {
            (a, b): queue.Queue() for a in range(self.size) for b in range(self.size)
        }

    def together(self, rank: int, value, function: Callable[[list], Any]):
        """``function`` of the values of all ranks, called once, on rank 0; its result, or its
        error, on every rank.

        Raises:
            TileEnded: a rank has failed and does not come.
        """
        self._given[rank] = value
        self._meet()
        if rank == 0:
            self._found, self._error = None, None
            try:
                self._found = function(list(self._given))
            except Exception as error:  # noqa: BLE001 raised on every rank
                self._error = error
        self._meet()
        # Rank 0 writes these again only when all have come to the next meeting.
        if self._error is not None:
            raise self._error
        return self._found

    def post(self, source: int, target: int, value) -> None:
        """Leave a value for another rank."""
        self._letters[source, target].put(value)

    def fetch(self, source: int, target: int):
        """What ``source`` has left for ``target``, in order.

        Raises:
            TileEnded: a rank has failed.
        """
        with self._aside():
            while True:
                try:
                    return self._letters[source, target].get(timeout=_GLANCE)
                except queue.Empty:
                    if self._barrier.broken:
                        raise TileEnded("another tile has failed") from None

    def end(self) -> None:
        """Send all home who wait or will wait."""
        self._barrier.abort()

    @contextmanager
    def at_work(self):
        """While a thread runs; the others wait until it waits for them."""
        self._turn.acquire()
        try:
            yield
        finally:
            # Interrupted while it waited for its turn, a thread has none to give back.
            with suppress(RuntimeError):
                self._turn.release()

    @contextmanager
    def _aside(self):
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()

    def _meet(self) -> None:
        try:
            with self._aside():
                self._barrier.wait()
        except threading.BrokenBarrierError:
            raise TileEnded("another tile has failed") from None


class DeviceCommunicator:
    """Host messages between the threads of one process; see
    :class:`dogcm.decomp.communicator.SerialCommunicator`.

    What is sent is copied, as by MPI: two ranks never hold the same object.
    """

    mpi = None
    one_program = True

    def __init__(self, crew: Crew, rank: int):
        self.crew, self.rank, self.size = crew, rank, crew.size

    @property
    def device(self):
        """The device of this rank."""
        return self.crew.devices[self.rank]

    def broadcast(self, value):
        packed = self.crew.together(self.rank, value, lambda given: pickle.dumps(given[0]))
        return value if self.rank == 0 else pickle.loads(packed)

    def gather(self, value):
        parts = self.crew.together(self.rank, pickle.dumps(value), lambda given: given)
        return [pickle.loads(p) for p in parts] if self.rank == 0 else None

    def send(self, array, rank):
        self.crew.post(self.rank, rank, np.array(array))

    def receive(self, shape, dtype, rank):
        return self.crew.fetch(rank, self.rank)

    def any(self, flag):
        return self.crew.together(self.rank, bool(flag), any)

    def barrier(self):
        self.crew.together(self.rank, None, len)

    def split(self, groups):
        raise LayoutError(
            f"{groups} groups of tiles: the devices of one process work on one ocean; start MPI "
            "ranks for groups, or ask for one"
        )

    def abort(self, code=1):
        self.crew.end()
        raise SystemExit(code)


def own_communicator() -> DeviceCommunicator | None:
    """That of this thread, where it is one of :func:`on_devices`."""
    return getattr(_here, "communicator", None)


def on_devices(function: Callable[[], Any], count: int) -> list:
    """Call ``function()`` on every one of ``count`` tiles of this process, each with a device of
    its own; return what they return, by rank.

    A model that the function builds is cut into ``count`` tiles. With one device the function is
    called as it is. On CPUs a process has as many devices as are asked for before JAX computes
    anything.

    Raises:
        LayoutError: there are not so many devices, the process is one of several MPI ranks, or the
            function runs on devices already. Besides, what the function raises; where several
            tiles fail, the error of the first.
    """
    if own_communicator() is not None:
        raise LayoutError("on_devices: this is one of several tiles already")
    if count > 1 and looks_like_mpi_launch():
        raise LayoutError(
            f"{count} devices in each of several MPI ranks: messages go over MPI or between the "
            "devices of one process, not both; start one rank, or leave out --devices"
        )
    devices = _devices(count)
    if count == 1:
        return [function()]
    crew = Crew(devices)
    found: list = [None] * count
    errors: list = [None] * count

    def work(rank: int) -> None:
        try:
            with crew.at_work(), _as_rank(crew, rank):
                found[rank] = function()
        except BaseException as error:  # noqa: BLE001 raised below
            errors[rank] = error
            crew.end()

    threads = [
        threading.Thread(target=work, args=(rank,), name=f"tile {rank}", daemon=True)
        for rank in range(1, count)
    ]
    for thread in threads:
        thread.start()
    # Signals reach the main thread alone, which is rank 0 if it is this one.
    work(0)
    for thread in threads:
        thread.join()
    _raise_first(errors)
    return found


def _raise_first(errors: list) -> None:
    """The error that was the cause: those who found another tile gone have none of their own."""
    told = [e for e in errors if e is not None]
    for error in [e for e in told if not isinstance(e, TileEnded)] or told:
        raise error


@contextmanager
def _as_rank(crew: Crew, rank: int):
    import jax

    _here.communicator = DeviceCommunicator(crew, rank)
    try:
        with jax.default_device(crew.devices[rank]):
            yield
    finally:
        _here.communicator = None


def _devices(count: int) -> list:
    """The first ``count`` devices of this process.

    Raises:
        LayoutError: there are fewer.
    """
    import jax
    from jax._src import xla_bridge

    configure()
    if count < 1:
        raise LayoutError(f"{count} devices: at least 1")
    if not xla_bridge.backends_are_initialized() and "host_platform_device_count" not in _flags():
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.local_devices()
    if len(devices) < count:
        kind = devices[0].platform
        more = (
            "; JAX has counted them already: ask before anything is computed, or start Python "
            f"with XLA_FLAGS=--xla_force_host_platform_device_count={count}"
            if kind == "cpu"
            else ""
        )
        raise LayoutError(
            f"{count} devices are asked for, and this process sees {len(devices)} ({kind}){more}"
        )
    return devices[:count]


def _flags() -> str:
    import os

    return os.environ.get("XLA_FLAGS", "")


__all__ = ["Crew", "DeviceCommunicator", "TileEnded", "on_devices", "own_communicator"]
