"""Run by srun in test_srun.py: MPI on the host and inside jit, on all tasks of the step.

``two_ranks.py fail`` lets the last rank fail while the others wait for it.
"""

import sys

from dogcm.decomp.binding import (
    abort_all_ranks_on_error,
    bind_device,
    launch_size,
    require_world_size,
)

bound = bind_device()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import mpi4jax  # noqa: E402
from mpi4py import MPI  # noqa: E402


def main() -> None:
    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    require_world_size(size)
    messages = world.Clone()  # never one communicator for both mpi4py and mpi4jax

    @jax.jit
    def ring(x):
        right, left = (rank + 1) % size, (rank - 1) % size
        return mpi4jax.sendrecv(x, x, source=left, dest=right, comm=messages)

    got = float(ring(jnp.full(3, float(rank)))[0])
    assert got == (rank - 1) % size, got
    if sys.argv[1:] == ["fail"] and rank == size - 1:
        raise FloatingPointError("temperature is not finite")
    world.Barrier()
    print(
        f"rank {rank} of {size} (launched: {launch_size()}) on {bound.describe()}: ring ok",
        flush=True,
    )


with abort_all_ranks_on_error():
    main()
