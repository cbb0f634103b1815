"""``python -m benchmarks.backends TABLE.csv``: do the devices of one process compute what one tile
computes?

Six oceans are stepped, and a loss of a rollout is differentiated, on one tile and on several
devices of a CPU; what differs is the largest difference over the largest value. Rows that the
table has already are left out.
"""

from __future__ import annotations

import argparse
import csv
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dogcm

COLUMNS = (
    "ocean",
    "devices",
    "layout",
    "what",
    "length",
    "largest_difference",
    "in",
    "same_bits",
)
STEPS, ROLLOUT = 50, 16
_SMALL = {"grid.nx": 24, "grid.ny": 24}
_COLD = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.lat": [-76, 76],
    "grid.layers": [20.0, 60.0, 200.0, 700.0, 1500.0],
    "bathymetry.depth": 1700.0,
    "initial.surface_temperature": 1.0,
    "initial.deep_temperature": -1.85,
    "initial.salinity": 33.0,
    "time.step": 7200,
    "forcing.bulk": "ncar",
    "physics.sea_ice": "semtner",
}
_AIR = {
    "wind_u": lambda x, y, t: 8.0 * jnp.cos(jnp.deg2rad(3 * y)) + 0 * x,
    "wind_v": lambda x, y, t: 2.0 * jnp.cos(jnp.deg2rad(3 * x)) + 0 * y,
    "air_temperature": lambda x, y, t: 28.0 - 60.0 * jnp.sin(jnp.deg2rad(y)) ** 2 + 0 * x,
    "specific_humidity": lambda x, y, t: 3e-3 + 0 * x * y,
    "shortwave_down": lambda x, y, t: 200.0 * jnp.cos(jnp.deg2rad(y)) + 0 * x,
    "longwave_down": lambda x, y, t: 260.0 + 60.0 * jnp.cos(jnp.deg2rad(y)) + 0 * x,
    "precipitation": lambda x, y, t: 3e-5 + 0 * x * y,
    "snowfall": lambda x, y, t: 1e-5 + 0 * x * y,
}
_FOLD = {"grid.nx": 60, "grid.ny": 32, "bathymetry.straits": []}

# Experiment, changes, forcing, layouts by number of devices.
OCEANS: dict[str, tuple[str, dict, dict, dict[int, str]]] = {
    "closed": ("gyre", _SMALL, {}, {2: "1x2", 4: "2x2", 6: "3x2"}),
    "periodic": ("global_4deg", {}, {}, {2: "1x2", 4: "2x2", 6: "3x2"}),
    "implicit": (
        "global_4deg",
        {"time.free_surface": "implicit"},
        {},
        {2: "2x1", 4: "2x2", 6: "3x2"},
    ),
    "fold": ("global_tripolar_2deg", _FOLD, {}, {2: "2x1", 4: "2x2", 6: "2x3"}),
    "ice": ("two_basin", _COLD, _AIR, {2: "2x1", 4: "2x2", 6: "3x2"}),
    "corrector": (
        "channel_50km",
        {"corrector.weights": "shipped"},
        {},
        {2: "1x2", 4: "2x2", 6: "2x3"},
    ),
}


def build(ocean: str, layout: str = "1x1"):
    """The ocean on this thread's tile."""
    name, changes, forcing, _ = OCEANS[ocean]
    options = {"forcing": forcing} if forcing else {}
    return dogcm.Model(name, changes | {"run.output": {}}, layout=layout, **options)


def state(model) -> dict[str, np.ndarray]:
    """All variables after :data:`STEPS` steps, on rank 0."""
    model.advance(STEPS)
    return {n: model.gather(n) for n in model.state.variables()}


def gradient(model) -> dict[str, np.ndarray]:
    """In reverse mode: of the ocean's mean square of sea level and speed after a rollout, with
    respect to parameters and initial temperature."""
    model.advance(STEPS)
    found = model.jit(jax.grad(_loss(model), argnums=(0, 1)))(*_point(model))
    plain = {k: v for k, v in found[0].items() if k != "corrector"}
    total = model.jit(lambda x: jax.tree.map(model.halos.psum, x))(plain)
    out = {name: np.asarray(x) for name, x in total.items()}
    return out | {"temperature": model.decomposition.gather(np.asarray(found[1]))}


def tangent(model) -> dict[str, np.ndarray]:
    """In forward mode: along the initial temperature itself."""
    model.advance(STEPS)
    loss = _loss(model)

    def along(params, t):
        return jax.jvp(lambda x: model.halos.psum(loss(params, x)), (t,), (t,))

    value, slope = model.jit(along)(*_point(model))
    return {"value": np.asarray(value), "slope": np.asarray(slope)}


def _point(model) -> tuple:
    return model.params, model.state.temperature.data


def _loss(model) -> Callable:
    """This tile's share, as a function of parameters and initial temperature."""

    def loss(params, t):
        tracers = {**model.state.tracers, "temperature": model.state.temperature.with_data(t)}
        last, _ = dogcm.rollout(
            model.step,
            model.state.replace(tracers=tracers),
            params,
            model.forcing,
            model.grid,
            ROLLOUT,
            checkpoint="halo",
        )
        return (last.eta.interior**2).sum() + (last.u.interior**2).sum()

    return loss


KINDS = {"state": state, "reverse": gradient, "forward": tangent}


def _of(kind: str, ocean: str, layout: str) -> dict[str, np.ndarray]:
    return KINDS[kind](build(ocean, layout))


def largest_difference(ours: dict, theirs: dict) -> tuple[float, str]:
    """Over all arrays, relative to the largest value of each; and the array."""
    size = lambda a: float(np.abs(np.asarray(a, float)).max())
    gap = lambda n: size(np.asarray(ours[n], float) - theirs[n]) / (size(theirs[n]) or 1.0)
    return max((gap(n), n) for n in theirs)


def rows(wanted: list[str], kinds: list[str], devices: list[int], known: set):
    """One row for each ocean, number of devices and kind that is not known."""
    for kind in kinds:
        for ocean in wanted:
            layouts = {n: OCEANS[ocean][3][n] for n in devices}
            missing = {n: t for n, t in layouts.items() if (ocean, str(n), kind) not in known}
            if not missing:
                continue
            alone = _of(kind, ocean, "1x1")
            for count, layout in missing.items():
                found = dogcm.on_devices(functools.partial(_of, kind, ocean, layout), count)[0]
                same = all(np.array_equal(found[n], alone[n]) for n in alone)
                gap, where = largest_difference(found, alone)
                length = STEPS if kind == "state" else ROLLOUT
                yield (
                    ocean,
                    count,
                    layout,
                    kind,
                    length,
                    f"{gap:.1e}",
                    where,
                    "yes" if same else "no",
                )


def main() -> None:
    """Write the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--oceans", nargs="+", default=list(OCEANS), choices=list(OCEANS))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--devices", nargs="+", type=int, default=[2, 4, 6])
    chosen = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", max(chosen.devices))
    known = set()
    if chosen.table.exists():
        with open(chosen.table, newline="") as file:
            known = {(r["ocean"], r["devices"], r["what"]) for r in csv.DictReader(file)}
    else:
        chosen.table.write_text(",".join(COLUMNS) + "\n")
    for row in rows(chosen.oceans, chosen.kinds, chosen.devices, known):
        print(*row, flush=True)
        with open(chosen.table, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)


if __name__ == "__main__":
    main()
