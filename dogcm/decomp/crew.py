"""Processes that drive several devices each: every tile is a thread.

What ranks are to MPI, threads are here: each has a number, a tile and a device, runs the same
program as the others, and talks to them through :class:`DeviceCommunicator`. Host code so needs no
second version. In a process it runs in one thread at a time, which goes on until it waits for
others: libraries that read files are not made for more. Compiled programs do need one: all devices
of all processes run one and the same, see :mod:`dogcm.halo.mesh`.

Ranks count through the processes: the threads of the first, those of the second, and so on. Where
all ranks meet, the threads of a process meet first, and one of them speaks for it to the others.
"""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from dogcm.decomp.layout import LayoutError

_here = threading.local()
# Seconds after which a thread that waits for a message looks whether the others still work.
_GLANCE = 0.2
# Seconds between looks at whether a message from or to another process has arrived.
_NAP = 1e-3


class TileEnded(RuntimeError):
    """Another tile has failed, and this one can only end too."""


class Crew:
    """The threads of this process, one a device, and where they meet.

    Attributes:
        devices: of all tiles, by rank. processes: host messages between processes, a
            :class:`dogcm.decomp.communicator.MPICommunicator`, or a serial one. first: rank of the
            first thread of this process. local: number of its threads. shared: what they keep
            together.
    """

    def __init__(self, devices: list, processes):
        self.devices, self.processes, self.size = devices, processes, len(devices)
        self.local = self.size // processes.size
        self.first = processes.rank * self.local
        self.shared: dict[Any, Any] = {}
        self._barrier = threading.Barrier(self.local)
        self._turn = threading.RLock()
        self._given: list = [None] * self.local
        self._found: Any = None
        self._error: Exception | None = None
        here = range(self.first, self.first + self.local)
        self._letters: dict[tuple[int, int], queue.Queue] = {
            (a, b): queue.Queue() for a in here for b in here
        }

    def together(self, rank: int, value, function: Callable[[list], Any]):
        """``function`` of the values of this process's ranks, called once, on the first of them;
        its result, or its error, on each.

        Raises:
            TileEnded: a rank has failed and does not come.
        """
        self._given[rank - self.first] = value
        self._meet()
        if rank == self.first:
            self._found, self._error = None, None
            try:
                self._found = function(list(self._given))
            except Exception as error:  # noqa: BLE001 raised on every rank
                self._error = error
        self._meet()
        # The first writes these again only when all have come to the next meeting.
        if self._error is not None:
            raise self._error
        return self._found

    def all_together(self, rank: int, value, function: Callable[[list], Any]):
        """``function`` of the values of all ranks, called once; its result, or its error, on every
        rank. Between processes values and results are pickled.

        Raises:
            TileEnded: a rank has failed and does not come.
        """
        return self.together(rank, value, lambda given: self._of_all(given, function))

    def _of_all(self, given: list, function: Callable[[list], Any]):
        parts, found, error = self.processes.gather(given), None, None
        if parts is not None:
            try:
                found = function([value for part in parts for value in part])
            except Exception as problem:  # noqa: BLE001 raised in every process
                error = problem
        found, error = self.processes.broadcast((found, error))
        if error is not None:
            raise error
        return found

    def holds(self, rank: int) -> bool:
        """Whether a rank is a thread of this process."""
        return self.first <= rank < self.first + self.local

    def post(self, source: int, target: int, array: np.ndarray) -> None:
        """Send an array to another rank.

        Raises:
            TileEnded: a rank has failed.
        """
        if self.holds(target):
            self._letters[source, target].put(np.array(array))
            return
        array = np.ascontiguousarray(array)
        place, tag = target // self.local, self._tag(source, target)
        self._wait(self.processes.mpi.Isend(array, dest=place, tag=tag))

    def fetch(self, source: int, target: int, like: np.ndarray) -> np.ndarray:
        """What ``source`` has sent to ``target``, in order; from another process into ``like``.

        Raises:
            TileEnded: a rank has failed.
        """
        if self.holds(source):
            return self._letter(source, target)
        place, tag = source // self.local, self._tag(source, target)
        self._wait(self.processes.mpi.Irecv(like, source=place, tag=tag))
        return like

    def _letter(self, source: int, target: int) -> np.ndarray:
        with self._aside():
            while True:
                try:
                    return self._letters[source, target].get(timeout=_GLANCE)
                except queue.Empty:
                    self._check()

    def _tag(self, source: int, target: int) -> int:
        """A number for the two threads, the same in both processes."""
        return source % self.local * self.local + target % self.local

    def _wait(self, request) -> None:
        """Until a message has gone or come; the other threads go on meanwhile."""
        while not request.Test():
            with self._aside():
                time.sleep(_NAP)
            self._check()

    def _check(self) -> None:
        if self._barrier.broken:
            raise TileEnded("another tile has failed")

    def end(self) -> None:
        """Send all of this process home who wait or will wait."""
        self._barrier.abort()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While a thread runs; the others wait until it waits for them."""
        self._turn.acquire()
        try:
            yield
        finally:
            # Interrupted while it waited for its turn, a thread has none to give back.
            with suppress(RuntimeError):
                self._turn.release()

    @contextmanager
    def _aside(self) -> Iterator[None]:
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
    """Host messages between threads, each the rank of a device; see
    :class:`dogcm.decomp.communicator.SerialCommunicator`.

    What is sent is copied, as by MPI: two ranks never hold the same object.

    Attributes:
        place: number of this rank among those of its process.
    """

    mpi = None
    one_program = True

    def __init__(self, crew: Crew, rank: int):
        self.crew, self.rank, self.size = crew, rank, crew.size
        self.place = rank - crew.first

    @property
    def device(self):
        """The device of this rank."""
        return self.crew.devices[self.rank]

    def broadcast(self, value):
        tell = lambda given: self.crew.processes.broadcast(pickle.dumps(given[0]))
        packed = self.crew.together(self.rank, value, tell)
        return value if self.rank == 0 else pickle.loads(packed)

    def gather(self, value):
        collect = self.crew.processes.gather
        parts = self.crew.together(self.rank, pickle.dumps(value), collect)
        if self.rank:
            return None
        return [pickle.loads(packed) for part in parts for packed in part]

    def compare(self, value, function: Callable[[list], Any]):
        """``function`` of what all ranks give, or its error, on every rank."""
        return self.crew.all_together(self.rank, value, function)

    def send(self, array, rank):
        self.crew.post(self.rank, rank, array)

    def receive(self, shape, dtype, rank):
        return self.crew.fetch(rank, self.rank, np.empty(shape, dtype))

    def any(self, flag):
        spoken = lambda flags: self.crew.processes.any(any(flags))
        return self.crew.together(self.rank, bool(flag), spoken)

    def barrier(self):
        self.crew.together(self.rank, None, lambda _: self.crew.processes.barrier())

    def split(self, groups):
        raise LayoutError(
            f"{groups} groups of tiles: devices that share a program work on one ocean; start MPI "
            "ranks for groups, or ask for one"
        )

    def abort(self, code=1):
        self.crew.end()
        self.crew.processes.abort(code)


def own_communicator() -> DeviceCommunicator | None:
    """That of this thread, where it is one of :func:`dogcm.decomp.devices.on_devices`."""
    return getattr(_here, "communicator", None)


@contextmanager
def as_rank(crew: Crew, rank: int) -> Iterator[None]:
    """This thread as the rank of a device, when its turn comes."""
    import jax

    _here.communicator = DeviceCommunicator(crew, rank)
    try:
        with crew.at_work(), jax.default_device(crew.devices[rank]):
            yield
    finally:
        _here.communicator = None


__all__ = ["Crew", "DeviceCommunicator", "TileEnded", "as_rank", "own_communicator"]
