"""Recover c_k and c_eps of the TKE scheme from mixed-layer depths of a twin, through the model's
own step.

    python training/column/twin.py                 # some minutes on one core

Six columns under wind and cooling are strips of one ocean, a cell wide, with land between them, so
that they do not see each other; the constants are maps, so that all starts run side by side.
Rollouts of 5 and of 1000 steps start from a day of spin-up with the true constants; all that is
known of the truth is the depth of the mixed layer at five moments. Gauss and Newton's method with
tangents of the whole rollout finds the logarithms of both constants. Writes ``twin.csv``, and
``slopes.csv``: the gradient by reverse and by forward mode beside central differences.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from columns import BUOYANCY, SURFACE, mixed_layer_depth, ocean

import dogcm

HERE = Path(__file__).resolve().parent
NAMES = ("tke_c_k", "tke_c_eps")
TRUE = (0.1, 0.7)
STARTS = ((0.05, 1.4), (0.2, 0.35), (0.15, 1.0))
LENGTHS = (5, 1000)
LOOKS, UPDATES = 5, 14
# Damping of the first step, and the largest step of a logarithm.
METHODS = {"damped": (1.0, np.log(1.3)), "bold": (1e-3, np.log(2.0))}
STEP, LAYERS, N2 = 300.0, 60, 1e-4
SPIN_UP = 288  # steps
STRESS = (0.05, 0.1, 0.2, 0.0, 0.0, 0.1)  # N m-2
LOSS = (0.0, 0.0, 0.0, 100.0, 200.0, 150.0)  # W m-2
LADDER = (1e-3, 1e-4, 1e-5)
ENOUGH = 1e-16  # m2: of the mean square misfit


class Twin:
    """The strips after spin-up, six for each start, and what is seen of a rollout."""

    def __init__(self):
        columns, copies = len(STRESS), len(STARTS)
        self.rows = rows = 2 * np.arange(columns * copies)
        strips = lambda values: _on_rows(np.tile(values, copies), rows)
        self.model = m = ocean(
            1,
            2 * len(rows) - 1,
            [1.0] * LAYERS,
            STEP,
            dogcm.TKE(),
            bathymetry=strips(np.full(columns, float(LAYERS))),
            initial={"temperature": lambda x, y, z: SURFACE - N2 / BUOYANCY * z, "salinity": 35.0},
            forcing={"wind_stress_x": strips(STRESS), "heat_flux": strips(-np.array(LOSS))},
        )
        shape = m.horizontal.shape
        for name, value in zip(NAMES, TRUE):
            m.set_parameter(name, np.full(shape, value))
        m.advance(SPIN_UP)
        self.edges = np.arange(LAYERS + 1.0)

    def seen(self, logs, steps: int):
        """Depths of the mixed layers (m) at ``LOOKS`` moments, (moments, starts, columns).

        Args:
            logs: of both constants, (starts, 2).
        """
        m = self.model
        params = m.params | {n: self._map(n, x) for n, x in zip(NAMES, jnp.exp(logs).T)}
        look = lambda s: mixed_layer_depth(s.temperature.interior[:, self.rows, 0], self.edges)
        depth = dogcm.rollout(
            m.step,
            m.state,
            params,
            m.forcing,
            m.grid,
            steps,
            checkpoint="none",
            observe=look,
            observe_every=steps // LOOKS,
        )[1]
        return depth.reshape(LOOKS, len(STARTS), -1)

    def _map(self, name: str, values):
        """A constant on the strips of each start."""
        like = self.model.params[name]
        rows = np.arange(like.data.shape[0]) - like.halo.s
        start = np.clip(rows // 2 // len(STRESS), 0, len(STARTS) - 1)
        return like.with_data(jnp.broadcast_to(values[start][:, None], like.data.shape))


def _on_rows(values, rows):
    out = np.zeros((2 * len(rows) - 1, 1))
    out[rows, 0] = values
    return out


def recover(misfit_and_slopes, starts, method: str = "damped") -> list[list[dict]]:
    """Gauss and Newton's steps for each start, damped, the more the less they help.

    Bold first steps take a start from which depths hardly depend on ``c_eps`` to a minimum at
    thirty times its value.

    Args:
        misfit_and_slopes: of logarithms (starts, 2): (starts, values) and (starts, values, 2).
    """
    logs = np.log(np.asarray(starts, float))
    first, largest = METHODS[method]
    damping = np.full(len(logs), first)
    misfit, slopes = misfit_and_slopes(logs)
    rows: list[list[dict]] = [[] for _ in logs]
    for update in range(UPDATES + 1):
        loss = (misfit**2).mean(1)
        for row, x, value in zip(rows, logs, loss):
            row.append({"update": update, "loss": float(value), "logs": x.copy()})
        if update == UPDATES or (loss < ENOUGH).all():
            return rows
        tried = logs + np.stack([_step(*x, largest) for x in zip(misfit, slopes, damping)])
        new_misfit, new_slopes = misfit_and_slopes(tried)
        better = (new_misfit**2).mean(1) < loss
        damping = np.where(better, damping / 10, damping * 10)
        logs = np.where(better[:, None], tried, logs)
        misfit = np.where(better[:, None], new_misfit, misfit)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
    return rows


def _step(misfit, slopes, damping, largest):
    square = slopes.T @ slopes
    step = np.linalg.solve(square + damping * np.diag(np.diag(square)), -slopes.T @ misfit)
    return step * min(1.0, largest / np.abs(step).max())


def slopes_of(twin: Twin, steps: int, truth, tangents) -> list[dict]:
    """Gradient of the mean square misfit at each start, in three ways.

    Args:
        tangents: misfit and slopes there, as :func:`recover` has them.
    """
    at = jnp.log(jnp.asarray(STARTS))
    loss = lambda logs: ((twin.seen(logs, steps) - truth) ** 2).mean((0, 2))
    reverse = np.asarray(jax.jit(jax.grad(lambda x: loss(x).sum()))(at))
    plain = jax.jit(loss)
    misfit, slopes = tangents
    forward = 2 * np.einsum("sv,svn->sn", misfit, slopes) / misfit.shape[1]
    rows = []
    for n, name in enumerate(NAMES):
        found = [
            np.asarray(plain(at.at[:, n].add(h)) - plain(at.at[:, n].add(-h))) / (2 * h)
            for h in LADDER
        ]
        for s, start in enumerate(STARTS):
            slope = float(reverse[s, n])
            best = min((float(f[s]) for f in found), key=lambda d: abs(d - slope))
            rows.append(
                {"steps": steps}
                | {f"start_{k}": v for k, v in zip(NAMES, start)}
                | {"of": name, "reverse": slope}
                | {"forward_minus_reverse": float(forward[s, n]) / slope - 1}
                | {"difference_minus_reverse": best / slope - 1}
            )
    return rows


def write(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="STEPS")
    parser.add_argument("--method", choices=tuple(METHODS), default="damped")
    parser.add_argument("--only", choices=("twin", "slopes"), help="one of the two tables")
    options = parser.parse_args()
    twin, table, checks = Twin(), [], []
    for steps in options.lengths:
        truth = np.asarray(
            jax.jit(lambda x, n=steps: twin.seen(x, n))(jnp.log(jnp.asarray([TRUE] * len(STARTS))))
        )
        both = jax.jit(lambda x, n=steps: _with_slopes(lambda y: twin.seen(y, n), x))

        def misfit_and_slopes(logs, both=both, truth=truth):
            value, tangents = map(np.asarray, both(jnp.asarray(logs)))
            return _by_start(value - truth), _by_start(tangents)

        first = misfit_and_slopes(np.log(STARTS))
        if options.only != "twin":
            checks += slopes_of(twin, steps, truth, first)
            write(options.output / "slopes.csv", checks)
        if options.only == "slopes":
            continue
        for start, rows in zip(STARTS, recover(misfit_and_slopes, STARTS, options.method)):
            last = np.exp(rows[-1]["logs"])
            needed = next((r["update"] for r in rows if within(r["logs"])), None)
            table.append(
                {"steps": steps, "method": options.method}
                | {f"start_{n}": s for n, s in zip(NAMES, start)}
                | {n: float(x) for n, x in zip(NAMES, last)}
                | {f"error_{n}_percent": 100 * (x / t - 1) for n, x, t in zip(NAMES, last, TRUE)}
                | {"updates_to_0.2_percent": needed, "rms_m": float(np.sqrt(rows[-1]["loss"]))}
            )
            print(table[-1], flush=True)
        write(options.output / "twin.csv", table)


def _by_start(seen):
    """(starts, values, ...) of what is seen."""
    return np.moveaxis(seen, 1, 0).reshape(len(STARTS), -1, *seen.shape[3:])


def within(logs) -> bool:
    """Both constants to 0.2 %."""
    return bool((np.abs(np.exp(logs) / np.array(TRUE) - 1) < 0.002).all())


def _with_slopes(function, x):
    """A function of (starts, 2), and its tangents along a last axis; starts do not see each
    other, so that two directions do for all."""
    moved = lambda shift: (function(x + shift),) * 2
    tangents, value = jax.jacfwd(moved, has_aux=True)(jnp.zeros(2))
    return value, tangents


if __name__ == "__main__":
    main()
