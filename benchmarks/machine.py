"""What the figures were measured on, and how its cores are held still."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def describe() -> dict[str, str | int]:
    """The machine and the versions that speed depends on."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "accelerator": accelerator(),
        "python": platform.python_version(),
        "jax": version("jax"),
        "jaxlib": version("jaxlib"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def cpu_model() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        "unknown",
    )


def accelerator() -> str:
    """Name of the first GPU, or none."""
    try:
        out = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:
        return "none"
    return out.splitlines()[0].split("(")[0].strip() if out.strip() else "none"


def environment(reproducible: bool = True, **more: str) -> dict[str, str]:
    """The environment of a measuring process, free of settings that would change what is
    measured."""
    env = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "DOGCM_REPRODUCIBLE")}
    path = os.pathsep.join(filter(None, [str(REPOSITORY), env.get("PYTHONPATH")]))
    return env | {"DOGCM_REPRODUCIBLE": str(int(reproducible)), "PYTHONPATH": path} | more


def pinned(arguments: list[str], env: dict[str, str], core: int | None) -> subprocess.Popen:
    """Start Python on one core: JAX sizes its thread pool by what it may use.

    Args:
        core: number of the core, None to leave the choice to the system (GPU runs).
    """
    bind = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
    return _start([sys.executable, *arguments], env, preexec_fn=bind)


def launched(ranks: int, arguments: list[str], env: dict[str, str]) -> subprocess.Popen:
    """Start Python on several ranks, one core each."""
    command = [
        str(REPOSITORY / "launch" / "mpirun.sh"),
        "-n",
        str(ranks),
        sys.executable,
        *arguments,
    ]
    return _start(command, env)


def _start(command: list[str], env: dict[str, str], **options) -> subprocess.Popen:
    return subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
