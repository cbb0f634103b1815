"""``python -m benchmarks.closures``: what each closure adds to a step, all set-ups taking turns on
one core."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

EDDIES = {"physics.eddies": "isoneutral", "parameters.lateral_diffusivity": 0.0}
# Name to settings; each ratio is to the first.
SETUPS = {
    "as it comes": {},
    "GM-Redi": EDDIES,
    "TKE": {"physics.vertical_mixing": "tke"},
    "GM-Redi and TKE": EDDIES | {"physics.vertical_mixing": "tke"},
    "KPP": {"physics.vertical_mixing": "kpp"},
    "GM-Redi, Visbeck": EDDIES | {"physics.eddies": "visbeck"},
    "Smagorinsky": {"physics.eddy_viscosity": "smagorinsky"},
    "biharmonic Leith": {
        "physics.eddy_viscosity": "leith",
        "physics.eddy_viscosity.form": "biharmonic",
    },
    "vorticity weno5": {"physics.momentum_advection": "weno5"},
    "tracers dst3_limited": {"physics.tracer_advection": "dst3_limited"},
    "tracers weno5": {"physics.tracer_advection": "weno5"},
    "tracers ppm": {"physics.tracer_advection": "ppm"},
    "C-D scheme": {"physics.coriolis": "cd"},
    "GM-Redi, TKE and C-D scheme": EDDIES
    | {"physics.vertical_mixing": "tke", "physics.coriolis": "cd"},
    "implicit free surface": {"physics.coriolis": "cd", "time.free_surface": "implicit"},
    "bulk formulae": {"forcing.bulk": "ncar"},
    "bulk formulae and ice": {"forcing.bulk": "ncar", "physics.sea_ice": "semtner"},
    "all: GM-Redi, TKE, bulk formulae, ice": EDDIES
    | {
        "physics.vertical_mixing": "tke",
        "forcing.bulk": "ncar",
        "physics.sea_ice": "semtner",
    },
}


def write_air(path: Path) -> dict:
    """A zonal, made-up atmosphere of twelve months in a file, cold enough for ice, and the settings
    that point at it."""
    import xarray as xr

    lat = np.arange(-88.0, 89.0, 4.0)
    y, month = np.deg2rad(lat)[None, :, None], np.arange(12.0)[:, None, None]
    winter = np.cos(2 * np.pi * (month - 0.5) / 12) * np.sin(y)  # of the north
    t = 28.0 - 60.0 * np.sin(y) ** 2 - 8.0 * winter
    fields = {
        "wind_u": (-8.0 * np.cos(3 * y), "m s-1"),
        "wind_v": (0.0 * y, "m s-1"),
        "air_temperature": (t, "degC"),
        "specific_humidity": (3.2e-3 * np.exp(0.067 * t), "kg kg-1"),
        "longwave_down": (260.0 + 4.5 * t, "W m-2"),
        "shortwave_down": (np.maximum(330.0 * np.cos(y) - 120.0 * winter, 0.0), "W m-2"),
        "precipitation": (3e-8 * (1.0 + np.cos(6 * y)), "m s-1"),
    }
    axes = {
        "month": ("month", np.arange(12.0), {"axis": "T"}),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", np.arange(5.0, 360.0, 10.0), {"units": "degrees_east"}),
    }
    whole = lambda v: np.broadcast_to(v, (12, lat.size, 36))
    data = {n: (("month", "lat", "lon"), whole(v), {"units": u}) for n, (v, u) in fields.items()}
    xr.Dataset(data, axes).to_netcdf(path)
    return {"forcing.files": {n: {"path": str(path), "variable": n} for n in fields}}


def measure(
    experiment: str, precision: str, names, steps: int, rounds: int
) -> dict[str, list[float]]:
    """Processor seconds of a step, by set-up, one number a round."""
    import jax

    from dogcm.decomp import SerialCommunicator
    from dogcm.simulation.model import Model

    models = {}
    with tempfile.TemporaryDirectory() as folder:
        air = write_air(Path(folder) / "air.nc")
        for name in names:
            settings = {"run.precision": precision, **SETUPS[name]}
            settings |= air if "forcing.bulk" in settings else {}
            models[name] = Model(experiment, settings, comm=SerialCommunicator())
            jax.block_until_ready(models[name].advance(steps))
    times = {name: [] for name in names}
    for _ in range(rounds):
        for name, model in models.items():
            start = time.process_time()
            model.advance(steps)
            jax.block_until_ready(model.state)
            times[name].append((time.process_time() - start) / steps)
    cells = model.vertical.nz * model.horizontal.shape[0] * model.horizontal.shape[1]
    return {"cells": cells, **times}


def table(found: dict) -> str:
    """Median milliseconds, cell-steps per second and the median of the ratios to the first
    set-up."""
    cells, base = found.pop("cells"), next(iter(found.values()))
    rows = ["| set-up | ms/step | million cell-steps/s | times the first |", "|---|---|---|---|"]
    for name, times in found.items():
        seconds = statistics.median(times)
        ratio = statistics.median(a / b for a, b in zip(times, base))
        rows.append(f"| {name} | {seconds * 1e3:.2f} | {cells / seconds / 1e6:.2f} | {ratio:.2f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closures", description=__doc__)
    parser.add_argument("--experiment", default="global_4deg")
    parser.add_argument("--precision", default="float64", choices=["float32", "float64"])
    parser.add_argument(
        "--only",
        nargs="*",
        choices=list(SETUPS),
        help="these set-ups; the first is what others are compared with",
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    print(table(measure(a.experiment, a.precision, a.only or list(SETUPS), a.steps, a.rounds)))


if __name__ == "__main__":
    main()
