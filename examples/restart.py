"""Stop and go on: the same bits as without stopping."""

import tempfile
from pathlib import Path

import dogcm

settings = {"grid.nx": 24, "grid.ny": 20, "run.output": {}}
with tempfile.TemporaryDirectory() as folder:
    first = dogcm.Model("channel", settings)
    first.run(days=2, output=folder, progress=False)
    restart = max(Path(folder).glob("restart_*.nc"))
    second = dogcm.Model("channel", settings)
    second.run(days=2, output=folder, restart_from=restart, progress=False)
    whole = dogcm.Model("channel", settings)
    whole.run(days=4, progress=False)
    print("the same bits:", second.read().checksum == whole.read().checksum)
