"""First guess of a corrector's maps: the mean error of short forecasts from the truth, and its
annual cycle.

Gradients through rollouts would find the maps too, but slowly, since an error of the momentum
balance is felt by temperature only after weeks. Two sources of knowledge are direct:

1. The truth changes little from day to day, so the accelerations that the coarse model computes for
the truth's own
   states are its errors of momentum.
2. Short forecasts then drift by what is left: tracers by the mean error of their tendencies. Sea
level within days
   goes to where the depth-averaged forces balance; a sea level that is too high by ``d`` is brought
   down, with the same flow, by the force of the slope of ``-d`` on the whole column.

Step 2 is repeated with part of its answer. This is the classical correction of a model by its mean
short-range errors (Saha 1992, doi:10.1175/1520-0493(1992)120<1723:ROTOIM>2.0.CO;2; DelSole and Hou
1999, doi:10.1175/1520-0493(1999)127<2533:ECOSBM>2.0.CO;2). Between two passes maps of physical
parameters can be searched, see :mod:`dogcm.learning.column_search`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dogcm.corrector.features import annual
from dogcm.corrector.maps import MAPS, rate_of, rates
from dogcm.field import Field, exchange
from dogcm.io.root import RootTask, on_root
from dogcm.learning.column_search import ColumnSearch
from dogcm.learning.losses import observe
from dogcm.operators import diff_x_c2u, diff_y_c2v
from dogcm.simulation.progress import say
from dogcm.timestepping import many_steps

# Parts of an error that one pass corrects: errors come to rest, so all of it would be too much.
_TRACERS, _SEA_LEVEL = 0.6, 0.7


class _Cycle:
    """Least squares for a mean and, with 3 (5) coefficients, an annual cycle of one (two)
    harmonics, on this tile."""

    def __init__(self, count: int, scales):
        self.count, self.scales = count, scales
        self.normal, self.sums, self.squares = np.zeros((count, count)), {}, {}

    def add(self, time: float, errors: dict[str, np.ndarray]) -> None:
        waves = np.array([1.0, *map(float, annual(time, self.scales, self.count // 2))])
        self.normal += np.outer(waves, waves)
        for name, e in errors.items():
            self.sums[name] = self.sums.get(name, 0.0) + waves.reshape(-1, *[1] * e.ndim) * e
            self.squares[name] = self.squares.get(name, 0.0) + e * e

    def coefficients(self) -> dict[str, np.ndarray]:
        """``(count, [nz,] y, x)`` by name."""
        inverse = np.linalg.inv(self.normal)
        return {n: np.einsum("ij,j...->i...", inverse, s) for n, s in self.sums.items()}

    def reliable(self) -> dict[str, np.ndarray]:
        """:meth:`coefficients`, at each place times the part of the errors' squares that they
        account for.

        What changes from forecast to forecast is no error that a map could know: where a front is
        mixed or not, all of the mean would do harm at any other time (as in a Wiener filter).
        """
        found = self.coefficients()
        part = {
            n: (c * self.sums[n]).sum(0) / np.maximum(self.squares[n], 1e-300)
            for n, c in found.items()
        }
        return {n: c * np.clip(part[n], 0.0, 1.0) for n, c in found.items()}


def first_guess(setup) -> dict:
    """``setup.trainable`` with the maps of the corrector, and of physics where searched; every rank
    calls it.

    Args:
        setup: a :class:`dogcm.learning.training.Setup` with a corrector with maps and a truth of
            whole states.
    """
    guess, recipe, path = _Guess(setup), setup.recipe.first_guess, _file(setup)
    if on_root(setup.ranks.comm, path.is_file):
        say(setup.ranks.comm, f"first guess from {path}")
        guess.read(path)
        return guess.trainable
    # The C-D scheme has two velocities to balance, and the maps move both by one force.
    if "u" in guess.maps and setup.model.physics.cd_time is None:
        guess.balance_momentum()
    for n in range(recipe.passes):
        if recipe.columns.factors and n == recipe.columns.after:
            guess.search_columns()
        errors = guess.correct()
        shown = "  ".join(f"{name} {e:.3g}" for name, e in errors.items())
        say(
            setup.ranks.comm,
            f"first guess, pass {n + 1}/{recipe.passes}: error after {recipe.days:g} days  {shown}",
        )
    if recipe.columns.factors and recipe.columns.after >= recipe.passes:
        guess.search_columns()
    guess.write(path)
    return guess.trainable


def _file(setup) -> Path:
    """Beside the truth, under a name that says what it depends on: other seeds and rates of
    learning share it."""
    r = setup.recipe
    parts = [
        r.config().model_dump(mode="json"),
        r.first_guess.model_dump(mode="json"),
        r.targets.test,
        getattr(r.targets, "skip", 0.0),
    ]
    parts += [r.corrector.model_dump(mode="json", include={"maps", "outputs", "rates", "scales"})]
    if r.first_guess.columns.factors:
        parts += [str(r.learnable)]
    if r.weights:
        parts += [r.weights]
    short = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return Path(setup.truth) / f"first_guess_{short}.npz"


class _Guess:
    """The maps while they are improved."""

    def __init__(self, setup):
        self.setup, self.model, self.config = setup, setup.model, setup.recipe.corrector
        self.maps = dict(setup.trainable["corrector"][MAPS])
        self.physics = dict(setup.trainable.get("physics", {}))
        self.scored = [
            n for n in ("temperature", "salinity", "eta") if n in self.maps or n == "eta"
        ]
        self.steps = setup.steps(setup.recipe.first_guess.days, "first_guess.days")

        def forecast(trainable, state, fixed, steps):
            params = setup.problem.params(trainable, fixed)
            step = setup.problem.step
            return many_steps(step, state, steps, params, fixed["forcing"], fixed["grid"])

        self._forecast = self.model.jit(forecast)
        self._accelerations = self.model.jit(self.model.dynamics.accelerations)
        self._slopes = self.model.jit(self._slope)

    @property
    def trainable(self) -> dict:
        """What was found so far, in its place among all that is learned."""
        found = self.setup.trainable | {
            "corrector": self.setup.trainable["corrector"] | {MAPS: self.maps}
        }
        return found | ({"physics": self.physics} if self.physics else {})

    @property
    def _kept(self) -> dict[str, Field]:
        """Everything that a file holds, by name in it."""
        return self.maps | {
            f"physics.{n}": self.physics[n] for n in self.setup.recipe.first_guess.columns.factors
        }

    def write(self, path: Path) -> None:
        """Keep the maps as global arrays.

        Raises:
            OutputError: they cannot be written.
        """
        if self.setup.ranks.group:
            return
        arrays = {
            n: self.model.decomposition.gather(np.asarray(f.data)) for n, f in self._kept.items()
        }
        task = RootTask(self.model.comm, path)
        task.do(lambda: np.savez_compressed(path, **arrays))
        task.finish()

    def read(self, path: Path) -> None:
        """Take the maps that :meth:`write` kept."""
        arrays = None
        if self.model.comm.rank == 0:
            with np.load(path, allow_pickle=False) as file:
                arrays = {n: file[n] for n in file.files}
        scatter = lambda n: self.model.decomposition.scatter(None if arrays is None else arrays[n])
        for n, f in self._kept.items():
            head, _, name = n.partition(".")
            (self.physics if name else self.maps)[name or head] = f.with_data(
                jnp.asarray(scatter(n), f.dtype)
            )

    def _records(self, margin: int, last: int, count: int | None = None) -> np.ndarray:
        """Numbers of training records, evenly spread."""
        count = count or self.setup.recipe.first_guess.windows
        return np.unique(
            np.linspace(margin, last, min(count, last - margin + 1)).round().astype(int)
        )

    def _cycle(self) -> _Cycle:
        """With harmonics where the records for training span a year, as for a climatology; else the
        mean alone."""
        span = (self.setup.train.records - 1) * self.setup.every * self.model.physics.dt
        whole = span >= 11.0 / 12.0 * self.model.config.forcing.year * 86400.0
        return _Cycle(self.config.maps if whole else 1, self.config.scales)

    def balance_momentum(self) -> None:
        """Maps of u and v that make the truth's own flow a steady one but for how it really
        changes."""
        m, train, fit = self.model, self.setup.train, self._cycle()
        for k in self._records(1, train.records - 2):
            before, now, after = (train.state(train.first + k + d) for d in (-1, 0, 1))
            wrong = self._accelerations(now, m.params, m.forcing, m.grid)
            span, errors, moved = (
                float(after.time - before.time),
                {},
                rates(self.maps, self.config, now.time),
            )
            for name, rate in zip(("u", "v"), wrong):
                change = getattr(after, name).interior - getattr(before, name).interior
                already = np.asarray(moved[name].data, float)
                errors[name] = (
                    np.asarray(rate.data, float) + already - np.asarray(change, float) / span
                )
            fit.add(float(now.time), errors)
        for name, error in fit.coefficients().items():
            self._subtract(name, error)

    def correct(self) -> dict[str, float]:
        """One pass over forecasts; returns root mean square errors over the ocean, before the
        correction."""
        fit, squares, count = self._cycle(), {n: 0.0 for n in self.scored}, 0
        for time, errors in self._forecasts(
            self.trainable, self.steps, self.setup.recipe.first_guess.windows
        ):
            fit.add(time, errors)
            count += 1
            for n, e in errors.items():
                squares[n] += float((self._weight(n) * e**2).sum())
        squares = {n: s / count for n, s in squares.items()}
        seconds, found = self.steps * self.model.physics.dt, fit.reliable()
        for name in set(self.scored) & set(self.maps) - {"eta"}:
            self._subtract(name, found[name] * (_TRACERS / seconds))
        if "u" in self.maps:
            depth = lambda f: f[:, None] * np.ones((1, self.model.vertical.nz, 1, 1))
            slopes = [self._slopes(jnp.asarray(e, self.model.dtype)) for e in found["eta"]]
            for n, name in enumerate(("u", "v")):
                force = np.stack([np.asarray(s[n].data, float) for s in slopes])
                self._subtract(name, depth(force) * (_SEA_LEVEL * self.model.physics.gravity))
        return self._summed(squares)

    def search_columns(self) -> None:
        """Improve the maps of physical parameters, see :mod:`dogcm.learning.column_search`."""
        columns = self.setup.recipe.first_guess.columns
        steps = self.setup.steps(columns.days, "first_guess.columns.days")
        weights = {n: self._weight(n) for n in self.scored}

        def forecasts(trainable):
            return (
                (errors, weights)
                for _, errors in self._forecasts(trainable, steps, columns.windows)
            )

        self.physics = ColumnSearch(self.setup, forecasts).run(self.trainable)

    def _forecasts(self, trainable: dict, steps: int, windows: int):
        """Time and errors of forecasts of ``steps`` steps from the truth's states."""
        train, records = self.setup.train, steps // self.setup.every
        for k in self._records(0, train.records - 1 - records, windows):
            start, truth = train.state(train.first + k), train.state(train.first + k + records)
            end = self._forecast(trainable, start, self.setup.fixed, steps)
            yield float(truth.time), {n: self._error(n, end, truth) for n in self.scored}

    def _error(self, name: str, end, truth) -> np.ndarray:
        a, b = (np.asarray(observe(s, [name])[name].data, float) for s in (end, truth))
        valid = (self.setup.train.valid or {}).get(name)
        return np.where(np.asarray(valid.data) > 0, a - b, 0.0) if valid is not None else a - b

    def _slope(self, error):
        """Differences of sea level over distance at open faces."""
        g = self.model.grid
        (f,) = exchange(self.model.halos, (Field(error, "c"), 1))
        f = f * g.wet_c
        return (diff_x_c2u(f) / g.dx_u * g.wet_u).crop(0), (diff_y_c2v(f) / g.dy_v * g.wet_v).crop(
            0
        )

    def _subtract(self, name: str, rate: np.ndarray) -> None:
        """Take ``rate`` (unit s-1; ``(count, nz, y, x)``) off the first coefficients of a map."""
        f = self.maps[name]
        rate = np.concatenate([rate, np.zeros((self.config.maps - len(rate), *rate.shape[1:]))])
        change = rate / np.asarray(rate_of(self.config, name, np.float64))
        self.maps[name] = f.with_data(f.data - jnp.asarray(change.reshape(f.shape), f.dtype))

    def _weight(self, name: str) -> np.ndarray:
        g = self.model.grid
        return np.asarray(
            (g.area_c * g.wet_c if name == "eta" else g.h_c * g.area_c).interior, float
        )

    def _summed(self, squares: dict[str, float]) -> dict[str, float]:
        """Over all ranks, as root mean squares."""
        comm = self.model.comm
        mine = [(squares[n], float(self._weight(n).sum())) for n in self.scored]
        everyone = comm.gather(mine)
        total = np.sum(everyone, axis=0).tolist() if everyone else None
        return {n: float(np.sqrt(a / b)) for n, (a, b) in zip(self.scored, comm.broadcast(total))}


__all__ = ["first_guess"]
