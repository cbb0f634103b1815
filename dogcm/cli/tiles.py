"""A command on the devices of this process: ``--devices``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any


def on_tiles(command: Callable[[], int], devices: int) -> int:
    """Run ``command`` on so many tiles of this process; its exit status.

    Only the first tile prints.

    Raises:
        LayoutError: see :func:`dogcm.decomp.devices.on_devices`. Besides, what the command raises.
    """
    if devices == 1:
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
