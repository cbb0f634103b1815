"""Compiler settings that have to be made before JAX starts, by environment variables only.

Three of XLA's habits on CPUs stand in this model's way:

* It removes optimisation barriers before it merges loops, and then computes the same flux again and
again. Keeping
  the barriers (see :func:`dogcm.field.hold`) makes a step two to three times faster.
* It merges products and sums into fused multiply-adds, in vector loops differently from their
  remainders, so that the last bit of a value depends on where its tile ends. Without fused
  multiply-adds the answer is the same on every layout; that costs about a fifth of the speed. Set
  ``DOGCM_REPRODUCIBLE=0`` to trade it back.
* It orders operations so that many could run at the same time, which keeps many arrays alive. A
rank has one core, and
  in the order that needs least memory more of them are still in its cache: a gradient takes a
      seventh less time.

It also asks the C library for the working memory of each call and gives it back afterwards, and the
system clears every
page of it anew: a tenth of the time of a gradient. :func:`keep_memory` has the C library hold on to
    it, and take it from
pages of 2 MiB instead of 4 KiB where the system leaves that to the program: large tiles stream
through memory, and a step of a degree takes a twentieth less time, in calls of a few steps a fifth.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import warnings
from pathlib import Path

from dogcm.lowering.gpus import installed_gpus

# Small loops compiled as one kernel cannot hold a barrier, so they stay loops.
_KEEP_BARRIERS = "--xla_disable_hlo_passes=cse_barrier_expander,small-while-loop-hoisting"
_LEAST_MEMORY = "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
_NO_FUSED_MULTIPLY_ADD = "--xla_cpu_max_isa=AVX"


def reproducible() -> bool:
    """Whether answers are asked to be the same on every layout (the default)."""
    return os.environ.get("DOGCM_REPRODUCIBLE", "1") != "0"


def _on_cpu() -> bool:
    platforms = os.environ.get("JAX_PLATFORMS", "").lower()
    if platforms:
        return platforms.split(",")[0] == "cpu"
    return not installed_gpus()


def configure() -> None:
    """Add the settings to ``XLA_FLAGS``, leaving alone what the user has set, and keep memory.

    A model, the command line and the first public name of ``dogcm`` call it; it does its work once.
    A program that uses JAX earlier calls it first of all, or is warned.
    """
    if not _on_cpu():
        return
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = [_KEEP_BARRIERS, _LEAST_MEMORY] + ([_NO_FUSED_MULTIPLY_ADD] if reproducible() else [])
    missing = [f for f in wanted if f.split("=")[0] not in flags]
    if missing and _jax_has_started():
        warnings.warn(
            "JAX has computed something before dogcm.configure() was called: steps are slower, and "
            "the last bits depend on the layout; call it first",
            stacklevel=2,
        )
    os.environ["XLA_FLAGS"] = " ".join([flags, *missing]).strip()
    keep_memory()


def _jax_has_started() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    started = getattr(bridge, "backends_are_initialized", None)
    return bool(started is not None and started())


# mallopt(3) of the GNU C library, and madvise(2).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX, _NEVER, _MADV_HUGEPAGE = -1, -4, -8, -1, 14
_HUGE_PAGE, _CHOICE = 2 << 20, Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PROMISES = Path("/proc/sys/vm/overcommit_memory")


@functools.cache
def keep_memory() -> None:
    """Keep freed memory for the next call, in huge pages, leaving alone what the user has set by
    ``MALLOC_...``."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    library = ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)
    # Where the system counts addresses as memory (2), they are not to be had in advance.
    if "[madvise]" in _read(_CHOICE) and _read(_PROMISES).strip() in ("0", "1"):
        _ask_for_huge_pages(library)


def _read(file: Path) -> str:
    """What the system says there; nothing where it does not (other systems, some containers)."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _ask_for_huge_pages(library) -> None:
    """Have the heap grow once by half of the machine's memory, with advice for all of it: growing
    piece by piece, it would
    have none. These are addresses; memory is used where something is written. Refused, nothing
    changes."""
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = library.malloc(room)
    if start is None:
        return
    first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
    library.madvise(first, (start + room - first) // _HUGE_PAGE * _HUGE_PAGE, _MADV_HUGEPAGE)
    library.free(start)
