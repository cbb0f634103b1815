"""Which core and which accelerator this rank should use, told from the environment alone.

Nothing heavy is imported here: :func:`bind_device` has to run before JAX opens its devices, and a
run on one rank must not need an MPI library. What the launcher says (Open MPI, MPICH, Intel MPI,
MVAPICH, Cray PALS, Slurm) is read from the variables it sets on every rank.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from dogcm.lowering.gpus import installed_gpus

# In order of trust: an mpirun inside a Slurm allocation starts its ranks below a Slurm step of its
# own, whose variables describe that step and not the ranks. So Slurm comes last.
_LOCAL_RANK = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PALS_LOCAL_RANKID",
    "SLURM_LOCALID",
)
_LOCAL_SIZE = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "PALS_LOCAL_SIZE",
)
_RANK = ("OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK", "PALS_RANKID", "SLURM_PROCID")
_SIZE = ("OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE", "PALS_NRANKS")
# What one of these launchers leaves in the environment of a rank and of every process that the rank
# starts.
_LAUNCH_VARIABLE = re.compile(
    r"OMPI_(?!MCA_|ALLOW_)|PMIX_|PMI_|MV2_COMM_|MPI_LOCAL|PALS_|PRTE_(?!ALLOW_)|SLURM_(STEP|PROCID|LOCALID|PMI|MPI|TASK)"
)

# What this process was dealt, and how many ranks have the same.
_DEALT = "DOGCM_GPU_DEALT"


@dataclass(frozen=True)
class DeviceBinding:
    """What a rank computes on.

    Attributes:
        platform: "cpu" or "cuda".
        device: the accelerator's number or identifier on this machine, None on the CPU.
        local_rank: place of this rank among those of its machine.
        local_size: number of ranks on this machine.
        ranks_per_device: how many of them use the same accelerator (1 on the CPU).
        cpus: the cores this rank may run on.
        warnings: what is unlikely to be meant, one sentence each.
    """

    platform: str
    device: str | None
    local_rank: int
    local_size: int
    ranks_per_device: int
    cpus: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """Size of the thread pool that JAX will start on the CPU (it follows the affinity mask)."""
        return len(self.cpus)

    def describe(self) -> str:
        """One entry for the start table, such as ``cuda:3`` or ``cpu, cores 4-7``."""
        if self.platform == "cuda":
            shared = (
                f", shared by {self.ranks_per_device} ranks" if self.ranks_per_device > 1 else ""
            )
            return f"cuda:{self.device}{shared}"
        return f"cpu, core{'s' if self.threads > 1 else ''} {_ranges(self.cpus)}"


def _first_integer(names: tuple[str, ...], env: Mapping[str, str]) -> int | None:
    for name in names:
        value = env.get(name, "").strip()
        if value.isdigit():
            return int(value)
    return None


def _is_slurm_step(env: Mapping[str, str]) -> bool:
    # A batch script has SLURM_NTASKS and SLURM_PROCID as well, but it is one process: only srun
    # makes a step.
    return "SLURM_STEP_ID" in env and "SLURM_PROCID" in env


def launch_size(env: Mapping[str, str] | None = None) -> int:
    """Number of ranks that the launcher started, 1 if there was no launcher."""
    env = os.environ if env is None else env
    size = _first_integer(_SIZE, env)
    if size is None and _is_slurm_step(env):
        size = _first_integer(("SLURM_STEP_NUM_TASKS",), env)
    return size or 1


def launch_rank(env: Mapping[str, str] | None = None) -> int:
    """Number of this rank as the launcher counts, 0 if there was no launcher. For messages before
    MPI is up."""
    env = os.environ if env is None else env
    return (_first_integer(_RANK, env) or 0) if launch_size(env) > 1 else 0


def looks_like_mpi_launch(env: Mapping[str, str] | None = None) -> bool:
    """Whether this process is one of several started by mpirun, mpiexec or srun.

    ``mpirun -n 1`` gives False: one rank needs no MPI library.
    """
    return launch_size(env) > 1


def local_rank(env: Mapping[str, str] | None = None) -> int:
    """Place of this rank among the ranks of its machine, 0 without a launcher."""
    env = os.environ if env is None else env
    return (_first_integer(_LOCAL_RANK, env) or 0) if launch_size(env) > 1 else 0


def local_size(env: Mapping[str, str] | None = None) -> int:
    """Number of ranks on this machine, 1 without a launcher."""
    env = os.environ if env is None else env
    if launch_size(env) == 1:
        return 1
    size = _first_integer(_LOCAL_SIZE, env)
    if size is None and _is_slurm_step(env):
        counts = _slurm_counts(env.get("SLURM_STEP_TASKS_PER_NODE", ""))
        node = _first_integer(("SLURM_NODEID",), env) or 0
        size = counts[node] if node < len(counts) else None
    # Unknown: all on one machine is the guess that shares memory rather than runs out of it.
    return size or launch_size(env)


def _slurm_counts(text: str) -> list[int]:
    """Slurm's short form of a list: ``4(x2),1`` is 4, 4, 1."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            return []
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def require_world_size(size: int, env: Mapping[str, str] | None = None) -> None:
    """Refuse to go on if MPI sees another number of ranks than the launcher started.

    It happens when launcher and MPI library do not know each other, and without this check every
    rank would run the whole model alone and write over the others' files.

    Args:
        size: the size of ``MPI.COMM_WORLD``.

    Raises:
        RuntimeError: with what to do.
    """
    env = os.environ if env is None else env
    expected = launch_size(env)
    if size == expected:
        return
    launcher = (
        "srun" if _is_slurm_step(env) and _first_integer(_SIZE[:2], env) is None else "mpirun"
    )
    advice = (
        "choose another plug-in ('srun --mpi=list' names them): --mpi=pmix fits Open MPI, "
        "--mpi=pmi2 fits MPICH; "
        "or use mpirun inside the allocation"
        if launcher == "srun"
        else (
            "take the mpirun that belongs to the MPI library which mpi4py loads (launch/mpirun.sh "
            "does)"
        )
    )
    raise RuntimeError(
        f"{launcher} started {expected} ranks, but MPI sees {size}: they do not fit together; "
        f"{advice} (launch/README.md)"
    )


def environment_without_launch(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment less what a launcher set: for a process that a rank starts and that is to run
    alone."""
    env = os.environ if env is None else env
    return {name: value for name, value in env.items() if not _LAUNCH_VARIABLE.match(name)}


def cpu_affinity() -> tuple[int, ...]:
    """The cores that this process may run on, in ascending order."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        return tuple(range(os.cpu_count() or 1))


def thread_count() -> int:
    """Number of threads worth starting: the cores this process may run on."""
    return len(cpu_affinity())


def _ranges(numbers: tuple[int, ...]) -> str:
    """0, 1, 2, 5 -> ``0-2,5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def _jax_has_cuda() -> bool:
    return any(
        importlib.util.find_spec(f"jax_cuda{version}_plugin") is not None
        for version in (12, 13, 14)
    )


def _jax_devices_are_open() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(getattr(bridge, "_backends", None))


def bind_device(share: bool | None = None, devices: int = 1) -> DeviceBinding:
    """Give this rank its accelerator, or several. Call it before JAX is imported.

    Without ``CUDA_VISIBLE_DEVICES`` the ranks of a machine take its GPUs in turn. A list in it (set
    by hand, or by Slurm to all that the job may use) is dealt out in the same way; one device in it
    stays. What was dealt once stays as it is. Ranks that share a GPU also share its memory:
    pre-allocation is switched off and each gets its part of it, unless the variables
    ``XLA_PYTHON_CLIENT_PREALLOCATE`` and ``XLA_PYTHON_CLIENT_MEM_FRACTION`` are set.

    Args:
        share: several ranks to a GPU are meant, so say nothing about it. None: what
            ``DOGCM_SHARE_GPU`` says (0 or 1).
        devices: GPUs for each rank.

    Returns:
        What was chosen, with warnings to print.
    """
    env = os.environ
    rank, size, cpus = local_rank(), local_size(), cpu_affinity()
    share = env.get("DOGCM_SHARE_GPU", "0") == "1" if share is None else share
    platforms = env.get("JAX_PLATFORMS", "").lower()
    visible = env.get("CUDA_VISIBLE_DEVICES")
    # CUDA_VISIBLE_DEVICES set but empty, or -1, hides all GPUs.
    gpus = (
        installed_gpus()
        if visible is None
        else [d for d in visible.replace(" ", "").split(",") if d not in ("", "-1")]
    )
    wanted = any(name in platforms for name in ("cuda", "gpu")) if platforms else True
    warnings: list[str] = []
    if gpus and wanted and not _jax_has_cuda():
        warnings.append(
            f"{len(gpus)} GPU(s) on this machine, but jax is installed without CUDA, so the CPU is "
            f"used; "
            "install jax[cuda12] or jax[cuda13], or set JAX_PLATFORMS=cpu if the CPU is meant"
        )
        gpus = []
    if platforms and wanted and not gpus and visible is None and _jax_has_cuda():
        warnings.append(
            f"JAX_PLATFORMS={platforms}, but no device file of a GPU is seen (/dev/nvidia*): left "
            "to CUDA, which will say whether there is one"
        )
        gpus = ["0"]
    if not gpus or not wanted:
        return DeviceBinding(
            "cpu", None, rank, size, 1, cpus, (*warnings, *_core_warnings(size, cpus))
        )
    dealt = env.get(_DEALT, "").split()
    if dealt and dealt[0] == visible:
        return DeviceBinding("cuda", dealt[0], rank, size, int(dealt[1]), cpus, tuple(warnings))
    device, ranks_per_device = _deal(gpus, rank, size, env, devices)
    if size > 1:
        if _jax_devices_are_open():
            warnings.append(
                "JAX opened its devices before dogcm chose one: call bind_device() before the "
                "first computation"
            )
        env["CUDA_VISIBLE_DEVICES"] = device
        env[_DEALT] = f"{device} {ranks_per_device}"
    if ranks_per_device > 1:
        env.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        env.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / ranks_per_device:.3f}")
        if not share:
            warnings.append(
                f"{ranks_per_device} ranks share GPU {device} and will run slower than one; start "
                f"as many ranks as GPUs "
                f"({len(gpus)} on this machine), or set DOGCM_SHARE_GPU=1 if this is meant"
            )
    return DeviceBinding("cuda", device, rank, size, ranks_per_device, cpus, tuple(warnings))


def _deal(
    gpus: list[str], rank: int, size: int, env: Mapping[str, str], devices: int = 1
) -> tuple[str, int]:
    """This rank's GPU, or so many with commas between, and the number of ranks that have the
    same."""
    bound_by_slurm = "SLURM_GPUS_PER_TASK" in env or "SLURM_GPU_BIND" in env
    if len(gpus) == 1 and bound_by_slurm and "OMPI_COMM_WORLD_SIZE" not in env:
        return gpus[0], 1  # srun gave each task its own; all are called 0 from inside
    if size == 1:
        return (gpus[0] if devices == 1 else ",".join(gpus[:devices])), 1
    shares = max(len(gpus) // devices, 1)
    place = rank % shares
    mine = gpus[place * devices : (place + 1) * devices]
    return ",".join(mine), len(range(place, size, shares)) or 1


def _core_warnings(size: int, cpus: tuple[int, ...]) -> list[str]:
    """Several ranks on the CPU that were left to wander over all cores each start a thread per
    core."""
    machine = os.cpu_count() or 1
    if size > 1 and machine > 1 and len(cpus) == machine:
        if size > machine:
            return [
                f"{size} ranks share {machine} cores and wait for each other's turn: fine for "
                f"tests, slow for work"
            ]
        return [
            f"ranks are not bound to cores ({size} ranks, each with {machine} threads): start with "
            f"launch/mpirun.sh, "
            "mpirun --bind-to core or srun --cpu-bind=cores"
        ]
    return []


@contextmanager
def abort_all_ranks_on_error() -> Iterator[None]:
    """Let an error on one rank end all ranks at once, after its traceback was printed.

    Without this the failing rank waits for the others in ``MPI_Finalize``, and they wait for its
    messages: for ever. It covers exceptions and non-zero ``SystemExit``. Harmless on one rank. Put
        it round a command's main function.
    """
    try:
        yield
    except SystemExit as stop:
        if stop.code in (None, 0) or not _mpi_ranks():
            raise
        if not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
        abort_all_ranks(stop.code if isinstance(stop.code, int) else 1)
    except BaseException:
        if not _mpi_ranks():
            raise
        print(f"rank {launch_rank()} failed:\n{traceback.format_exc()}", file=sys.stderr)
        abort_all_ranks(1)


def _mpi_ranks() -> int:
    """Size of the MPI world if MPI is up in this process, 0 if it is not or has one rank. Never
    loads MPI."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or not mpi.Is_initialized() or mpi.Is_finalized():
        return 0
    size = mpi.COMM_WORLD.Get_size()
    return size if size > 1 else 0


def abort_all_ranks(code: int) -> None:
    """End every rank with this exit status; return only if MPI is not up with several ranks."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _mpi_ranks():
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(code)
