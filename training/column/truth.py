"""Make the truth: ten days of every column by the second-moment closure.

    python training/column/truth.py OUTPUT        # some minutes on one core

writes ``OUTPUT/truth.npz`` (means over layers of 5 m, every six hours) unless it is there, and
``truth.csv`` here: how far it is from two laws that it does not know, and from itself on finer
layers with shorter steps.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cases as parts
import jax
import jax.numpy as jnp
import numpy as np
from columns import BUOYANCY, HEAT_CAPACITY, HOUR, RHO0, Cases, coarsened, mixed_layer_depth
from second_moment import Truth

import dogcm

HERE = Path(__file__).resolve().parent
DAYS, EVERY, DEPTH = 10.0, 6 * HOUR, 160.0
LAYER, DT, KEPT = 1.0, 30.0, 5.0
FAMILY_SIZE = parts.PARTS["train"][1]


def make(folder: Path) -> None:
    """All columns, unless they are there."""
    path = folder / "truth.npz"
    if path.exists():
        return
    cases, names, _ = parts.drawn()
    truth = Truth(len(names), LAYER, DEPTH, DT)
    records = jax.jit(lambda c: truth.run(c, DAYS, EVERY))(cases)
    first = {"first": truth.start(cases)["T"][None]}
    edges = np.arange(0.0, DEPTH + KEPT / 2, KEPT)
    means = coarsened(dict(records) | first, truth.edges, edges)
    np.savez(path, edges=edges, **means)


def read(folder: Path) -> dict:
    """Records of T, u, v of (records, layers, columns), the ``first`` T, and ``edges``.

    Raises:
        SystemExit: there is none yet.
    """
    path = folder / "truth.npz"
    if not path.exists():
        raise SystemExit(f"no truth in {folder}: python training/column/truth.py {folder}")
    with np.load(path) as data:
        return dict(data)


def against_laws() -> list[dict]:
    """Depth of the strongest stratification beside the laws, without rotation, after 1 to 4 days.

    Wind: 1.05 u* sqrt(t / N) (Price 1979). Cooling: sqrt(2 (1 + 2 A) B t) / N, whose A is given.
    """
    n2 = 1e-4
    stress, loss = RHO0 * np.array([1e-4, 2e-4, 0.0, 0.0]), np.array([0.0, 0.0, 100.0, 200.0])
    zero = np.zeros(4)
    cases = Cases(*map(jnp.asarray, (stress, loss, zero, zero, zero + n2, zero)))
    truth = Truth(4, LAYER, 80.0, DT)
    T = np.asarray(jax.jit(lambda c: truth.run(c, 4.0, 24 * HOUR))(cases)["T"])
    rows = []
    for day in (1, 2, 4):
        depth, t = _foot(T[day - 1], truth.edges), day * 86400.0
        law = 1.05 * np.sqrt(stress[:2] / RHO0) * np.sqrt(t / np.sqrt(n2))
        released = 2 * BUOYANCY * loss[2:] / (RHO0 * HEAT_CAPACITY) * t
        rows += [
            {
                "day": day,
                "drive": f"u* = {np.sqrt(s / RHO0):.4g} m/s",
                "what": "depth over the law",
                "value": float(d / x),
            }
            for s, d, x in zip(stress, depth[:2], law)
        ]
        rows += [
            {
                "day": day,
                "drive": f"{q:g} W/m2",
                "what": "A",
                "value": float((d * d * n2 / x - 1) / 2),
            }
            for q, d, x in zip(loss[2:], depth[2:], released)
        ]
    return rows


def _foot(T, edges):
    """Where stratification is strongest: a parabola through three interfaces."""
    n2 = T[:-1] - T[1:]
    k = n2.argmax(0)
    low, mid, high = (np.take_along_axis(n2, (k + m)[None], 0)[0] for m in (-1, 0, 1))
    return edges[1:-1][k] + 0.5 * (low - high) / (low - 2 * mid + high) * (edges[1] - edges[0])


def on_finer_layers(folder: Path) -> list[dict]:
    """Root mean square difference of the mixed layer's depth to layers and steps half as large, of
    the first validation columns of each family after two days."""
    cases, names, families = parts.drawn()
    every = [n for n, p in enumerate(names) if p == "validation"]
    which = np.array([n for n in every if n % 16 < 4])
    truth, days = read(folder), 2.0
    fine = Truth(len(which), LAYER / 2, DEPTH, DT / 2)
    T = jax.jit(lambda c: fine.run(c, days, EVERY))(cases[which])["T"]
    T = coarsened({"T": T}, fine.edges, truth["edges"])["T"]
    count = len(T)
    one, other = (mixed_layer_depth(x, truth["edges"]) for x in (T, truth["T"][:count][..., which]))
    rms = float(np.sqrt(np.mean((np.asarray(one) - np.asarray(other)) ** 2)))
    mean = float(np.mean(np.asarray(one)))
    return [
        {
            "day": days,
            "drive": "12 columns",
            "what": "rms to half the layers and steps (m)",
            "value": rms,
        },
        {"day": days, "drive": "12 columns", "what": "mean depth (m)", "value": mean},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    dogcm.configure()
    make(options.output)
    rows = against_laws()
    write(rows)
    write(rows + on_finer_layers(options.output))


def write(rows: list[dict]) -> None:
    with open(HERE / "truth.csv", "w", newline="") as f:
        writer = csv.DictWriter(f, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(r | {"value": f"{r['value']:.4g}"} for r in rows)


if __name__ == "__main__":
    main()
