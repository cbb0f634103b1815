"""``python -m benchmarks.answers FILE.csv``: checksums of thirteen oceans after fifty steps.

Run before and after a change, on any number of ranks (``launch/mpirun.sh -n 4 python -m
benchmarks.answers FILE.csv``): equal checksums mean that not one bit of one cell has changed.
Programs are compiled as users get them. Rows are added to the file; those that are there are not
computed again, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 50
EDDIES = {"physics.eddies": "isoneutral", "parameters.lateral_diffusivity": 0.0}
# Schemes that no other of these oceans has.
ALL_ELSE = {
    "physics.vertical_mixing": "tke",
    "physics.tidal_mixing": "st_laurent",
    "physics.background_mixing": "bryan_lewis",
    "physics.eddies": "visbeck",
    "parameters.lateral_diffusivity": 0.0,
    "physics.coriolis": "cd",
    "physics.bottom_drag.no_slip": True,
    "physics.friction": "laplacian",
    "physics.pressure": "linear",
    "physics.equation_of_state": "jmd95",
    "time.momentum_step": 1800.0,
    "time.step": 3600.0,
    "tracers": {
        "age": {"kind": "ideal_age"},
        "cycle": {"kind": "phosphorus"},
        "uniform": {"kind": "dye"},
    },
}
KPP_WENO = {
    "physics.vertical_mixing": "kpp",
    "physics.vertical_mixing.limits": True,
    "physics.tracer_advection": "weno5",
    "physics.momentum_advection": "weno5",
    "physics.eddy_viscosity": "leith",
    "physics.eddy_viscosity.form": "biharmonic",
}
# The scheme of the default when these oceans were chosen, so that rows compare with older versions.
LIMITED = {"physics.tracer_advection": "dst3_limited"}
# Name to experiment and settings.
OCEANS = {
    "global_4deg_split": ("global_4deg", {"physics.tracer_advection": "dst3_split"}),
    "global_4deg": ("global_4deg", {}),
    "global_4deg_gm_tke": ("global_4deg", EDDIES | {"physics.vertical_mixing": "tke"}),
    "global_4deg_kpp_weno": ("global_4deg", KPP_WENO),
    "bulk_ice": ("two_basin", {}),
    "tripolar_2deg": ("global_tripolar_2deg", {}),
    "implicit_surface": ("global_4deg", {"time.free_surface": "implicit"}),
    "corrector": ("global_4deg", {}),
    "gyre": ("gyre", {}),
    "channel": ("channel", {}),
    "two_basin": ("two_basin", {}),
    "global_2deg_float32": ("global_2deg", {"run.precision": "float32"}),
    "two_basin_all_else": ("two_basin", ALL_ELSE),
}


def under_air(comm) -> dict:
    """Settings of a small ocean under a made-up atmosphere, that of the tests."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from toy_air import SMALL, write_air

    folder = Path(comm.broadcast(tempfile.mkdtemp() if comm.rank == 0 else None))
    return SMALL | comm.broadcast(write_air(folder) if comm.rank == 0 else None)


def corrected(model):
    """The state after the steps of a model with a small convolutional corrector, whose weights are
    given by a formula."""
    from dogcm.corrector import CorrectorConfig, build_corrector

    config = CorrectorConfig(network={"kind": "conv", "width": 8, "depth": 2})
    corrector = build_corrector(config, model.halos, model.vertical.nz)
    state, now = model.state, model.forcing.at(model.state.time)
    deep = model.dynamics.with_halos(state, model.grid)
    weights = corrector.init(jax.random.key(1), deep, model.params, now, model.grid)
    wave = lambda x: 0.05 * jnp.sin(jnp.arange(x.size, dtype=x.dtype) + 1).reshape(x.shape)
    params = {**model.params, "corrector": jax.tree.map(wave, weights)}
    dynamics = replace(model.dynamics, extra_tendency=corrector.tendency)

    @jax.jit
    def go(s, p, f, g):
        return jax.lax.fori_loop(0, STEPS, lambda _, s: dynamics.step(s, p, f, g), s)

    return go(state, corrector.prepared(params, model.grid), model.forcing, model.grid)


def checksum(name: str, comm) -> str:
    """Of one of :data:`OCEANS` after its steps."""
    from dogcm.diagnostics.checksum import state_checksum
    from dogcm.simulation.model import Model

    experiment, settings = OCEANS[name]
    air = under_air(comm) if name == "bulk_ice" else {}
    model = Model(experiment, {"run.output": {}, **LIMITED, **settings, **air}, comm=comm)
    state = corrected(model) if name == "corrector" else model.advance(STEPS)
    if not np.isfinite(np.asarray(state.temperature.interior)).all():
        return "not finite"
    return f"{int(state_checksum(state, model.grid, model.halos)):016x}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(OCEANS), default=list(OCEANS))
    chosen = parser.parse_args()
    from dogcm.decomp import world

    comm = world()
    rows = read(chosen.file) if comm.rank == 0 else None
    rows = comm.broadcast(rows)
    for name in chosen.only:
        if (name, comm.size) in rows:
            continue
        start = time.perf_counter()
        rows[name, comm.size] = checksum(name, comm)
        if comm.rank == 0:
            spent = time.perf_counter() - start
            print(f"{name}, {comm.size} rank(s): {rows[name, comm.size]} ({spent:.0f} s)")
            write(chosen.file, rows)
        jax.clear_caches()


def read(path: Path) -> dict[tuple[str, int], str]:
    """Checksums by ocean and number of ranks; empty without a file."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {(r["ocean"], int(r["ranks"])): r["checksum"] for r in csv.DictReader(file)}


def write(path: Path, rows: dict[tuple[str, int], str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["ocean", "ranks", "checksum"])
        table.writerows([name, ranks, value] for (name, ranks), value in sorted(rows.items()))


if __name__ == "__main__":
    main()
