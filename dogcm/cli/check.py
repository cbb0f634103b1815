"""``dogcm check``: one line for each thing that has to work, and what to do where it does not."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dogcm.cli.errors import FELL_SHORT, OK
from dogcm.decomp.binding import bind_device, launch_size, require_world_size
from dogcm.lowering import compiler

_PACKAGES = ("jax", "jaxlib", "numpy", "netCDF4", "xarray", "pydantic", "gsw")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, and what was found or is to be done."""

    name: str
    ok: bool
    text: str


def check() -> int:
    """Run all checks on every rank; rank 0 prints them. 1 if one fails anywhere."""
    mine = [_guarded(name, function) for name, function in CHECKS]
    from dogcm.decomp import world

    gathered = world().gather(mine) if _launch_works(mine) else [mine]
    if gathered is None:
        return OK
    failed = False
    for findings in zip(*gathered):
        bad = [(rank, f) for rank, f in enumerate(findings) if not f.ok]
        shown = bad[0][1] if bad else findings[0]
        ranks = (
            f" [rank {', '.join(str(r) for r, _ in bad[:8])}]" if bad and len(gathered) > 1 else ""
        )
        print(f"{'ok  ' if not bad else 'FAIL'}  {shown.name:<14} {shown.text}{ranks}")
        failed |= bool(bad)
    print("all well" if not failed else "something is wrong: see FAIL above")
    return FELL_SHORT if failed else OK


def _launch_works(findings: list[Finding]) -> bool:
    return launch_size() == 1 or next(f.ok for f in findings if f.name == "MPI")


def _guarded(name: str, function: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, function())
    except Exception as error:  # noqa: BLE001 a failing check is a result
        return Finding(name, False, " ".join(str(error).split()) or type(error).__name__)


def _versions() -> str:
    import dogcm

    found = [f"{p} {importlib.metadata.version(p)}" for p in _PACKAGES]
    return f"dogcm {dogcm.__version__}, Python {platform.python_version()}, {', '.join(found)}"


def _mpi() -> str:
    if launch_size() == 1:
        return "one rank, so none is needed; to check it too: mpirun -n 2 dogcm check"
    from dogcm.decomp import world

    comm = world()
    require_world_size(comm.size)
    # What the communicator has loaded: MPI itself is imported in dogcm.decomp and dogcm.halo alone.
    library = (
        sys.modules["mpi4py.MPI"].Get_library_version().splitlines()[0].strip("\0 ").split(",")[0]
    )
    return f"{comm.size} ranks, {library[:60]}, mpi4py {importlib.metadata.version('mpi4py')}"


def _mpi4jax() -> str:
    if launch_size() == 1:
        return "not needed on one rank"
    try:
        importlib.import_module("dogcm.halo.mpi")
    except Exception as error:  # noqa: BLE001 it checks versions of jax when imported
        raise RuntimeError(
            f"mpi4jax cannot be used ({error}): install it for this jax and this MPI"
        ) from None
    return f"mpi4jax {importlib.metadata.version('mpi4jax')}"


def _devices() -> str:
    import jax

    binding = bind_device()
    devices = jax.devices()
    if binding.platform == "cuda" and devices[0].platform == "cpu":
        raise RuntimeError(
            f"GPU {binding.device} was found, but jax computes on the CPU: install jax[cuda12] or "
            f"jax[cuda13]"
        )
    value = float(jax.jit(lambda x: (x * x).sum())(jax.numpy.arange(4.0)))
    if value != 14.0:
        raise RuntimeError(
            f"{devices[0]} computes 0 + 1 + 4 + 9 = {value}: the device or its driver is broken"
        )
    notes = "".join(f"; note: {w}" for w in binding.warnings)
    return f"{devices[0].device_kind} ({binding.describe()}), {binding.threads} thread(s){notes}"


def _reproducible() -> str:
    if not compiler.reproducible():
        return (
            "switched off by DOGCM_REPRODUCIBLE=0: faster, and the last bits depend on the layout"
        )
    import jax

    if jax.default_backend() != "cpu":
        return f"on {jax.default_backend()} the last bits may depend on the layout"
    flags = os.environ.get("XLA_FLAGS", "")
    if "--xla_cpu_max_isa=AVX" not in flags.split():
        raise RuntimeError(
            f"XLA_FLAGS is {flags!r}, so results depend on the layout: unset xla_cpu_max_isa in it"
        )
    if "cse_barrier_expander" not in flags:
        raise RuntimeError(
            f"XLA_FLAGS is {flags!r}: without cse_barrier_expander among the disabled passes a "
            f"step is slow"
        )
    return "compiled without fused multiply-adds: the same bits on every layout"


def _halo() -> str:
    """Exchange the number of each cell, and look whether each halo cell has its neighbour's
    number."""
    import jax.numpy as jnp

    from dogcm.decomp import Halo, make_layout, world
    from dogcm.decomp.tiles import pad_global
    from dogcm.halo import connect

    comm = world()
    ny, nx = 5 * comm.size + 1, 6 * comm.size + 1
    # As square as can be, so that messages go both ways.
    px = min(d for d in range(1, comm.size + 1) if comm.size % d == 0 and d * d >= comm.size)
    layout, depth = make_layout((ny, nx), px, comm.size // px), Halo.of(2)
    halos, tile = connect(layout, comm), layout.tile(comm.rank)
    cells = np.arange(2.0 * ny * nx).reshape(2, ny, nx)
    own = cells[:, tile.j0 : tile.j1, tile.i0 : tile.i1]
    got = np.asarray(
        halos.jit(lambda a: halos.exchange([a, a[0]], [depth, depth])[0])(jnp.asarray(own))
    )
    # In y a closed chain of tiles wraps around as well: what comes is the far side, and is masked
    # later.
    padded = pad_global(
        np.concatenate([cells[:, -2:], cells, cells[:, :2]], axis=1), Halo(0, 0, 2, 2), True
    )
    wanted = padded[:, tile.j0 : tile.j1 + 4, tile.i0 : tile.i1 + 4]
    if not np.array_equal(got, wanted):
        raise RuntimeError(
            f"{int((got != wanted).sum())} halo cells hold a wrong value: MPI and mpi4jax do not "
            f"fit together"
        )
    total = float(halos.jit(halos.psum)(jnp.asarray([comm.rank + 1.0]))[0])
    if total != comm.size * (comm.size + 1) / 2:
        raise RuntimeError(
            f"the sum of the ranks' numbers came out as {total}: MPI and mpi4jax do not fit "
            f"together"
        )
    return f"every halo cell has its neighbour's value ({layout.describe()}), sums are right"


def _starter_data() -> str:
    from dogcm.io.reading import reader
    from dogcm.setups import inputs

    for file, variable in (("bathymetry.nc", "elevation"), ("surface.nc", "sst")):
        reader.read(inputs.STARTER / file, variable)
    return f"readable, in {inputs.STARTER}"


def _writing() -> str:
    import netCDF4

    with (
        tempfile.TemporaryDirectory(dir=os.getcwd()) as folder,
        netCDF4.Dataset(f"{folder}/try.nc", "w") as data,
    ):
        data.createDimension("x", 1)
    return f"netCDF files can be written in {os.getcwd()}"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("versions", _versions),
    ("MPI", _mpi),
    ("mpi4jax", _mpi4jax),
    ("devices", _devices),
    ("reproducible", _reproducible),
    ("halo exchange", _halo),
    ("starter data", _starter_data),
    ("writing", _writing),
)

__all__ = ["CHECKS", "Finding", "check"]
