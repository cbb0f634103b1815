"""Talking between ranks on the host: set-up, input and output, never inside ``jit``.

:class:`SerialCommunicator` needs no MPI library. :class:`MPICommunicator` wraps a clone of an
mpi4py communicator, so that its messages can never meet those that mpi4jax sends from inside
``jit``. The third kind, between threads that have a device each, is in :mod:`dogcm.decomp.crew`.
"""

from __future__ import annotations

import functools
import math
import sys
import time
import traceback
from typing import Any

import numpy as np

from dogcm.decomp.binding import looks_like_mpi_launch, require_world_size
from dogcm.decomp.crew import DeviceCommunicator, own_communicator

# Seconds that a rank with an error waits for others to have it as well, and between two looks.
_PATIENCE, _NAP = 5.0, 0.01


class SerialCommunicator:
    """One rank that talks to nobody.

    Attributes:
        mpi: the communicator of mpi4py, or None. one_program: whether all ranks share one compiled
            program, and so a size of tile.
    """

    rank = 0
    size = 1
    mpi = None
    one_program = False

    def broadcast(self, value: Any) -> Any:
        """The value that rank 0 holds."""
        return value

    def gather(self, value: Any) -> list | None:
        """All ranks' values on rank 0, None elsewhere."""
        return [value]

    def send(self, array: np.ndarray, rank: int) -> None:
        raise RuntimeError("one rank has nobody to send to")

    def receive(self, shape, dtype, rank: int) -> np.ndarray:
        raise RuntimeError("one rank has nobody to receive from")

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(flag)

    def barrier(self) -> None:
        pass

    def split(self, groups: int) -> tuple[SerialCommunicator, SerialCommunicator]:
        """Communicators of this rank's group, and of the ranks with its place in all groups.

        Neighbouring ranks form a group, so that a group's tiles share a node where they can.

        Raises:
            ValueError: the ranks do not divide into ``groups``.
        """
        _group_size(self.size, groups)
        return self, SerialCommunicator()

    def leave(self, error: BaseException | None) -> None:
        """Wait for all ranks at the end of what they do together; where one comes with an error
        that others do not have, too, end every rank."""

    def abort(self, code: int = 1) -> None:
        """End every rank at once."""
        raise SystemExit(code)


class MPICommunicator:
    """Host messages over MPI."""

    one_program = False

    def __init__(self, mpi_comm=None):
        from mpi4py import MPI

        self.mpi = (mpi_comm or MPI.COMM_WORLD).Clone()
        self._end = self.mpi.Clone()
        self._lor, self._world = MPI.LOR, MPI.COMM_WORLD
        self.rank, self.size = self.mpi.Get_rank(), self.mpi.Get_size()
        if mpi_comm is None:
            require_world_size(self.size)

    def broadcast(self, value):
        return self.mpi.bcast(value, root=0)

    def gather(self, value):
        return self.mpi.gather(value, root=0)

    def send(self, array, rank):
        self.mpi.Send(np.ascontiguousarray(array), dest=rank)

    def receive(self, shape, dtype, rank):
        out = np.empty(shape, dtype)
        self.mpi.Recv(out, source=rank)
        return out

    def any(self, flag):
        return bool(self.mpi.allreduce(bool(flag), op=self._lor))

    def barrier(self):
        self.mpi.Barrier()

    def split(self, groups):
        size = _group_size(self.size, groups)
        parts = []
        for colour in (self.rank // size, self.rank % size):
            part = self.mpi.Split(colour, self.rank)
            parts.append(MPICommunicator(part))
            part.Free()
        return tuple(parts)

    def leave(self, error):
        # A channel of its own, as others may wait for messages that this rank no longer sends.
        last = self._end.Ibarrier()
        limit = math.inf if error is None else time.monotonic() + _PATIENCE
        while not last.Test():
            if time.monotonic() > limit:
                traceback.print_exception(error, file=sys.stderr)
                self.abort()
            time.sleep(_NAP)

    def abort(self, code=1):
        # Of the world, not of a group: a rank that fails ends the whole job.
        self._world.Abort(code)


def _group_size(ranks: int, groups: int) -> int:
    if groups < 1 or ranks % groups:
        raise ValueError(
            f"{ranks} rank{'s' * (ranks != 1)} cannot be split into {groups} groups of equal size; "
            f"start a multiple of "
            f"{groups} ranks, or ask for other groups"
        )
    return ranks // groups


@functools.cache
def _of_launch() -> MPICommunicator:
    return MPICommunicator()


def world() -> SerialCommunicator | MPICommunicator | DeviceCommunicator:
    """The communicator of this launch: MPI under a launcher of several ranks, that of this tile
    inside :func:`dogcm.decomp.devices.on_devices`, serial otherwise.

    The first call is made by all ranks; later ones return the same and may be made by some of them
    (``if world().rank == 0``).

    Raises:
        RuntimeError: several ranks were launched, but no MPI library can be used. Running on
            regardless would start as many independent copies of the model.
    """
    own = own_communicator()
    if own is not None:
        return own
    if not looks_like_mpi_launch():
        return SerialCommunicator()
    try:
        return _of_launch()
    except ImportError as error:
        raise RuntimeError(
            f"several ranks were launched, but mpi4py cannot be used ({error}); install the MPI "
            "extra (pip install 'dogcm[mpi]') with the MPI that launched this job"
        ) from error


def mpi_library() -> tuple[int, str]:
    """Number of ranks that MPI sees, and the names of the library and of mpi4py.

    Raises:
        RuntimeError: mpi4py cannot be used.
    """
    try:
        import mpi4py
        from mpi4py import MPI
    except ImportError as error:
        raise RuntimeError(
            f"mpi4py cannot be used ({error}): pip install 'dogcm[mpi]' with this launcher's MPI"
        ) from None
    library = MPI.Get_library_version().splitlines()[0].strip("\0 ")[:60].split(",")[0]
    return MPI.COMM_WORLD.Get_size(), f"{library}, mpi4py {mpi4py.__version__}"
