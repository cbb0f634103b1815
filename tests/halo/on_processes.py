"""Tiles on the devices of two processes: started by test_devices.py under mpirun. Ends with status
0 if everything is as on one tile."""

from __future__ import annotations

import sys

import jax.numpy as jnp
import numpy as np
import on_devices as one_process
import pytest

from dogcm.decomp import LayoutError, SerialCommunicator, make_layout, on_devices, world

DEVICES = 2


def halos_and_sums(name):
    """Those of every layout, on four tiles; on one process they are compared with serial ones."""
    options = dict(one_process.LAYOUTS[name])
    shape = options.pop("shape", (8, 12))
    layout = make_layout(shape, **options)
    values = [np.random.default_rng(n).normal(size=(2, *shape)) for n in range(4)]
    values = [one_process._once_told(layout, v, at) for v, at in zip(values, one_process.PLACES)]
    if layout.size != world().size:  # layouts that drop a tile are for three
        return
    halos, sums, _ = one_process.exchanged(world(), layout, values)
    for ours, wanted in zip(halos, one_process.as_mpi_would(layout, world().rank, values)):
        known = np.isfinite(wanted)
        np.testing.assert_array_equal(ours[known], wanted[known])
    alone = make_layout(shape, 1, 1, **{k: v for k, v in options.items() if k[0] not in "pw"})
    for ours, wanted in zip(sums, one_process.exchanged(SerialCommunicator(), alone, values)[1]):
        np.testing.assert_array_equal(ours, wanted)


def host_messages():
    """Between the threads of a process and between processes, in order and crossing."""
    comm = world()
    told = comm.broadcast({"from": comm.rank, "large": np.arange(3)})
    assert told["from"] == 0
    gathered = comm.gather(comm.rank)
    assert gathered == (list(range(comm.size)) if comm.rank == 0 else None)
    assert comm.any(comm.rank == comm.size - 1) and not comm.any(False)
    comm.barrier()
    # Large enough that MPI waits for the receiver, which sends to this rank first.
    many = 300_000
    others = [r for r in range(comm.size) if r != comm.rank]
    for turn in range(2):
        for rank in others:
            if comm.rank < rank:
                comm.send(np.full(many, 10.0 * comm.rank + turn), rank)
            found = comm.receive((many,), np.float64, rank)
            assert (found == 10.0 * rank + turn).all()
            if comm.rank > rank:
                comm.send(np.full(many, 10.0 * comm.rank + turn), rank)


def derivatives():
    found = one_process.toy_derivatives(world(), 2)
    if world().rank == 0:
        alone = one_process.toy_derivatives(SerialCommunicator())
        for name, wanted in alone.items():
            size = np.abs(wanted).max()
            assert size > 0
            np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-13 * size, err_msg=name)


def programs_that_differ():
    """Also where only the other process has another."""
    comm = world()
    halos = one_process.Toy(comm).halos
    with pytest.raises(ValueError, match="rank 2 has another than rank 0"):
        halos.jit(lambda x: jnp.sin(x) if comm.rank >= 2 else x + 1)(jnp.ones(4))


def everything():
    for name in one_process.LAYOUTS:
        halos_and_sums(name)
    host_messages()
    derivatives()
    programs_that_differ()
    return world().rank


def fails():
    if world().rank == 3:
        raise KeyError("the last tile")
    world().barrier()


def main() -> None:
    if sys.argv[1:] == ["fails"]:
        on_devices(fails, DEVICES)
    first = world().rank * DEVICES
    assert on_devices(everything, DEVICES) == [first, first + 1]
    # A second time JAX knows the processes already.
    assert on_devices(lambda: world().size, DEVICES) == [4, 4]
    with pytest.raises(LayoutError, match="same number of devices, not 1 in process 0, 2 in"):
        on_devices(world, 1 + world().rank)
    with pytest.raises(LayoutError, match="3 devices are asked for, .* sees 2 .*process 0 of 2"):
        on_devices(world, 3)


if __name__ == "__main__":
    main()
    print("everything is as on one tile", flush=True)
