"""A command on devices: ``--devices``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any


def on_tiles(command: Callable[[], int], devices: int | None) -> int:
    """Run ``command`` on so many tiles of this process, None: on one that is an MPI rank, if there
    are several; its exit status.

    Only the first tile prints.

    Raises:
        LayoutError: see :func:`dogcm.decomp.devices.on_devices`. Besides, what the command raises.
    """
    if devices is None:
        return command()
    from dogcm.decomp.devices import on_devices

    with redirect_stdout(_OfFirstTile(sys.stdout)):
        return max(on_devices(command, devices))


class _OfFirstTile:
    """A stream that drops what the tiles after the first write."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        tile = threading.current_thread().name.startswith("tile ")
        return len(text) if tile else self._stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def asked_for(words: list[str]) -> int:
    """The number after ``--devices`` in the words of a command, before they are understood: GPUs
    are dealt out before anything heavy is loaded."""
    for word, following in zip(words, [*words[1:], ""]):
        number = following if word == "--devices" else word.removeprefix("--devices=")
        if word.startswith("--devices") and number.isdigit():
            return max(int(number), 1)
    return 1
