"""Tiles on devices: of one process, or of several that a launcher has started."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from dogcm.decomp.binding import bind_device
from dogcm.decomp.communicator import world
from dogcm.decomp.crew import Crew, TileEnded, as_rank, own_communicator
from dogcm.decomp.layout import LayoutError
from dogcm.decomp.meeting import address
from dogcm.lowering.compiler import configure

# Seconds after which a process that is not heard of counts as gone, and JAX ends the others, which
# wait inside its collectives and see no signal.
_SILENCE = 20


def on_devices(function: Callable[[], Any], count: int) -> list:
    """Call ``function()`` on every one of ``count`` tiles of this process, each with a device of
    its own; return what they return, by rank.

    A model that the function builds is cut into as many tiles as there are devices. With one device
    of one process the function is called as it is. On CPUs a process has as many devices as are
    asked for before JAX computes anything.

    Where a launcher has started several processes (``mpirun``, ``srun``), every one calls it with
    the same ``count``. The tiles of all of them then form one ocean and exchange their halos
    through XLA, while mpi4py carries messages on the host. It must come before JAX computes
    anything. They meet at an address of the first one's machine, see
    :func:`dogcm.decomp.meeting.address`.

    Raises:
        LayoutError: there are not so many devices, processes have different numbers of them or do
            not reach each other, JAX has started already, or the function runs on devices already.
            Besides, what the function raises; where several tiles of a process fail, the error of
            the first. An error that other processes do not have, too, ends all of them.
    """
    if own_communicator() is not None:
        raise LayoutError("on_devices: this is one of several tiles already")
    processes = world()
    _require_same(processes, count)
    devices = _devices(count, processes)
    if len(devices) == 1:
        return [function()]
    found, errors = _by_tile(Crew(devices, processes), function)
    cause = _cause(errors)
    processes.leave(cause)
    if cause is not None:
        raise cause
    return found


def _by_tile(crew: Crew, function: Callable[[], Any]) -> tuple[list, list]:
    """What ``function`` returns and raises on every tile of this process."""
    found: list = [None] * crew.local
    errors: list = [None] * crew.local

    def work(place: int) -> None:
        try:
            with as_rank(crew, crew.first + place):
                found[place] = function()
        except BaseException as error:  # noqa: BLE001 raised by on_devices
            errors[place] = error
            crew.end()

    threads = [
        threading.Thread(target=work, args=(place,), name=f"tile {place}", daemon=True)
        for place in range(1, crew.local)
    ]
    for thread in threads:
        thread.start()
    # Signals reach the main thread alone, which has the first tile if it is this one.
    work(0)
    for thread in threads:
        thread.join()
    return found, errors


def _cause(errors: list) -> BaseException | None:
    """The error that was first: those who found another tile gone have none of their own."""
    told = [e for e in errors if e is not None]
    first = [e for e in told if not isinstance(e, TileEnded)] or told
    return first[0] if first else None


def _require_same(processes, count: int) -> None:
    """Refuse a number of devices that is none, or not the same in all processes."""
    counts = processes.broadcast(processes.gather(count))
    if not all(isinstance(c, int) for c in counts):
        raise LayoutError("on_devices: some processes ask for devices, and others do not")
    if min(counts) < 1:
        raise LayoutError(f"{min(counts)} devices: at least 1")
    if len(set(counts)) > 1:
        told = ", ".join(f"{c} in process {n}" for n, c in enumerate(counts))
        raise LayoutError(f"processes of one ocean have the same number of devices, not {told}")


def _devices(count: int, processes) -> list:
    """Those of all tiles, by rank: the first ``count`` of every process.

    Raises:
        LayoutError: a process has fewer, or JAX started before the processes knew each other.
    """
    configure()
    bind_device(devices=count)
    import jax
    from jax._src import xla_bridge

    started = xla_bridge.backends_are_initialized()
    if not started and "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", count)
    if processes.size > 1:
        _meet(processes, started)
    short = _too_few(jax.local_devices(), count)
    for process, message in enumerate(processes.broadcast(processes.gather(short))):
        if message:
            where = f" (process {process} of {processes.size})" if processes.size > 1 else ""
            raise LayoutError(message + where)
    of = {n: [d for d in jax.devices() if d.process_index == n] for n in range(processes.size)}
    return [device for n in range(processes.size) for device in of[n][:count]]


def _too_few(devices: list, count: int) -> str:
    """What to say where a process has fewer devices; nothing where it has enough."""
    if len(devices) >= count:
        return ""
    kind = devices[0].platform
    more = (
        "; JAX has counted them already: ask before anything is computed, or start Python "
        f"with XLA_FLAGS=--xla_force_host_platform_device_count={count}"
        if kind == "cpu"
        else ""
    )
    return f"{count} devices are asked for, and this process sees {len(devices)} ({kind}){more}"


def _meet(processes, started: bool) -> None:
    """Let JAX know the devices of all processes, once.

    Raises:
        LayoutError: JAX computed something on any of them before.
    """
    import jax

    if jax.distributed.is_initialized():
        if (jax.process_index(), jax.process_count()) != (processes.rank, processes.size):
            raise LayoutError(
                f"jax.distributed knows this process as {jax.process_index()} of "
                f"{jax.process_count()}, and its launcher as {processes.rank} of {processes.size}: "
                "leave it to on_devices"
            )
        return
    if processes.any(started):
        raise LayoutError(
            "JAX has computed something before the devices of several processes were asked for: "
            "call on_devices (or start with --devices) first of all"
        )
    # Its handler of SIGTERM would stand in the way of the model's, which writes a restart.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        address(processes),
        processes.size,
        processes.rank,
        heartbeat_timeout_seconds=_SILENCE,
    )


__all__ = ["on_devices"]
