"""The accelerators of a machine, told without opening one."""

from __future__ import annotations

from pathlib import Path

_DEVICES = Path("/dev")


def installed_gpus() -> list[str]:
    """The numbers by which CUDA knows the NVIDIA GPUs that this process can see.

    CUDA counts from 0 whatever the names of the device files are: a container that was given
    ``/dev/nvidia3`` alone has one GPU, number 0. Windows' Linux subsystem has no device file per
    GPU, but ``/dev/dxg``, and says no more than that there is one.
    """
    found = [p for p in _DEVICES.glob("nvidia*") if p.name[6:].isdigit()]
    count = len(found) or int((_DEVICES / "dxg").exists())
    return [str(n) for n in range(count)]
