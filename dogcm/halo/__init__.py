"""The only door to messages inside ``jit``: exchange, psum, pmax, broadcast, exact sums."""

from dogcm.decomp.layout import Layout
from dogcm.halo.exchange import HaloExchange
from dogcm.halo.serial import SerialBackend
from dogcm.halo.sums import differentiable_sum, differentiable_sums, exact_row_sums, exact_sum, once


def reductions(comm):
    """``psum``, ``pmax`` and ``broadcast`` inside ``jit`` over all ranks of a host communicator."""
    if comm.one_program:
        from dogcm.halo.mesh import MeshBackend

        return MeshBackend(comm)
    if comm.mpi is None:
        return SerialBackend()
    from dogcm.halo.mpi import MPIBackend

    return MPIBackend(comm.mpi)


def connect(layout: Layout, comm) -> HaloExchange:
    """The halo exchange of this rank's tile; a serial communicator needs no MPI library."""
    return HaloExchange(layout, reductions(comm))


__all__ = [
    "HaloExchange",
    "SerialBackend",
    "connect",
    "differentiable_sum",
    "differentiable_sums",
    "exact_row_sums",
    "exact_sum",
    "once",
    "reductions",
]
