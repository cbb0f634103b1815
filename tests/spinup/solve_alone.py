"""A solve for a test to kill: ``python solve_alone.py FOLDER``."""

from __future__ import annotations

import sys

import dogcm

dogcm.configure()

from small_basins import age_of_a_basin  # noqa: E402

from dogcm.spinup import Anderson, equilibrium  # noqa: E402

if __name__ == "__main__":
    model, circulation, smooth = age_of_a_basin()
    options = dict(folder=sys.argv[1], report=lambda row: print(row.number, flush=True))
    equilibrium(model, "age", Anderson(window=10), 1e-14, circulation, **options, **smooth)
