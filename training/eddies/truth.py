"""Run the eddying channel once and keep its states on the grids of 50, 37.5, 25 and 75 km.

    python training/eddies/truth.py OUTPUT

Each grid has a folder in OUTPUT, which recipes name as ``targets.folder``. Started again after an
interruption, the run goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

from runs import GRIDS, recipe

import dogcm

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    dogcm.make_truths({folder / f"truth_{km}": recipe(folder, km) for km in GRIDS})
