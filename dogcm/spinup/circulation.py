"""What carries and mixes tracers through one year, recorded from the model.

A year is cut into equal periods. Of each are kept the mean transports, the mean vertical
diffusivity (convection included) and the mean temperature and salinity, from which eddy fluxes are
made again; and sea level where one period ends and the next begins. Transports of a period then
converge to what sea level rises by, to round-off, so that a uniform tracer stays uniform
(Khatiwala, Visbeck and Cane 2005, doi:10.1016/j.ocemod.2004.04.002, for matrices; here the fluxes
themselves are kept).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from dogcm.components import ConfigError
from dogcm.field import Field
from dogcm.io.restart import fingerprint
from dogcm.learning.saving import CheckpointError, load_checkpoint, read_arrays, save_checkpoint
from dogcm.spinup.errors import EquilibriumError

_BACKGROUND = "vertical_diffusivity"
_PLACES = {
    "flow_u": "u",
    "flow_v": "v",
    "diffusivity": "cw",
    "temperature": "c",
    "salinity": "c",
    "eta": "c",
}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "flow_u",
        "flow_v",
        "diffusivity",
        "temperature",
        "salinity",
        "eta",
        "background",
        "start",
    ],
    meta_fields=["year"],
)
@dataclass(frozen=True)
class Circulation:
    """One year of circulation on one tile, in ``n`` periods of equal length.

    Attributes:
        flow_u, flow_v: mean transports per width (m2 s-1) at west and south faces (n, nz, y, x).
        diffusivity: mean vertical diffusivity (m2 s-1) at interfaces (n, nz - 1, y, x).
        temperature, salinity: means (n, nz, y, x).
        eta: sea level (m) at the ends of periods (n + 1, y, x); the last is the first.
        background: the parameter ``vertical_diffusivity`` that is part of ``diffusivity``, or None.
        start: model time of the beginning (s). year: length (s).
    """

    flow_u: Field
    flow_v: Field
    diffusivity: Field
    temperature: Field
    salinity: Field
    eta: Field
    background: Any
    start: jax.Array
    year: float

    @property
    def periods(self) -> int:
        """Number of periods in the year."""
        return self.flow_u.shape[0]


def record(model, periods: int = 12) -> Circulation:
    """The next year of the model's circulation; the model itself stays where it is.

    Args:
        model: :class:`dogcm.Model`. periods: into how many the year is cut; of the numbers that
            divide its steps the nearest is taken.

    Raises:
        ConfigError: the year is no whole number of steps. EquilibriumError: the forcing is not
            periodic.
    """
    year, dt = model.passive.year, model.physics.dt
    steps = round(year / dt)
    if steps < 1 or abs(steps * dt - year) > 1e-6 * dt:
        raise ConfigError(
            f"a year of {year / 86400:g} days is not a whole number of steps of {dt:g} s; change "
            "time.step"
        )
    if not 1 <= periods:
        raise ConfigError(f"periods: {periods} is no number of periods")
    require_periodic(model)
    count = min(_divisors(steps), key=lambda n: (abs(n - periods), n))
    state, parts, eta = jax.tree.map(jnp.copy, model.state), [], [model.state.eta]
    advance = model.jit(functools.partial(_period, model.dynamics.step_with_parts, steps // count))
    for _ in range(count):
        state, means = advance(state, model.params, model.forcing, model.grid)
        parts.append(means)
        eta.append(state.eta)
    return _joined(model, parts, eta, year)


def frozen(model) -> Circulation:
    """The circulation of this moment, steady: one step's transports and mixing, for all the year.

    The model itself stays where it is.
    """
    advance = model.jit(functools.partial(_period, model.dynamics.step_with_parts, 1))
    _, means = advance(model.state, model.params, model.forcing, model.grid)
    return _joined(model, [means], [model.state.eta] * 2, model.passive.year)


def require_periodic(model) -> None:
    """Refuse forcing by functions of time that differ from one year to the next.

    Raises:
        EquilibriumError: naming them.
    """
    year, forcing = model.passive.year, model.forcing
    wrong = []
    if abs(forcing.period - year) > 1e-6 * year:
        wrong.append(f"records repeat after {forcing.period / 86400:g} days")
    for name, function in forcing.functions:
        x, y = forcing.places[name]
        for share in (0.1, 0.6):
            now = jnp.asarray(function(x.data, y.data, share * year))
            later = jnp.asarray(function(x.data, y.data, (1 + share) * year))
            size = float(jnp.max(jnp.abs(now))) + 1e-300
            if float(jnp.max(jnp.abs(now - later))) > 1e-9 * size:
                wrong.append(f"{name} differs from year to year")
                break
    wrong = sorted({w for part in model.comm.broadcast(wrong) for w in [part]})
    if wrong:
        raise EquilibriumError(
            f"the forcing is not periodic with the year of {year / 86400:g} days, so there is no "
            f"equilibrium: {', '.join(wrong)}"
        )


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _kept(parts) -> dict[str, Field]:
    """What of one step is averaged, without halo."""
    t = parts.tracers
    fields = {
        "flow_u": t.flow_u,
        "flow_v": t.flow_v,
        "diffusivity": t.diffusivity,
        "temperature": t.state.temperature,
        "salinity": t.state.salinity,
    }
    return {n: f.crop(0).named(n) for n, f in fields.items()}


def _period(step_with_parts, steps: int, state, params, forcing, grid):
    """The state after ``steps``, and means over them."""

    def one(carry, _):
        state, sums = carry
        state, _, parts = step_with_parts(state, params, forcing, grid)
        kept = _kept(parts)
        return (state, {n: sums[n] + kept[n] for n in sums}), None

    like = jax.eval_shape(lambda s: _kept(step_with_parts(s, params, forcing, grid)[2]), state)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    (state, sums), _ = jax.lax.scan(one, (state, zero), None, length=steps)
    return state, {n: f * (1.0 / steps) for n, f in sums.items()}


def _joined(model, parts: list[dict], eta: list[Field], year: float) -> Circulation:
    stack = lambda *fields: jax.tree.map(lambda *x: jnp.stack(x), *fields)
    count = len(parts)
    # What the year raised sea level by is taken out evenly: as if that much less rain had fallen.
    rise = eta[-1] - eta[0]
    closed = [e - rise * (k / count) for k, e in enumerate(eta[:-1])]
    means = {n: stack(*(p[n] for p in parts)) for n in parts[0]}
    means = jax.tree.map(lambda x: x.astype(jnp.float64), means)
    levels = jax.tree.map(lambda x: x.astype(jnp.float64), stack(*closed, closed[0]))
    return Circulation(
        **means,
        eta=levels,
        background=model.params.get(_BACKGROUND),
        # A copy: the model gives its state away when it is advanced.
        start=jnp.array(model.state.time, jnp.float64, copy=True),
        year=year,
    )


def mean_of(c: Circulation) -> Circulation:
    """The mean of the year as a year of one period."""
    mean = lambda f: f.with_data(jnp.mean(f.data, axis=0, keepdims=True))
    ends = c.eta.with_data(c.eta.data[jnp.array([0, 0])])
    fields = (c.flow_u, c.flow_v, c.diffusivity, c.temperature, c.salinity)
    return Circulation(*map(mean, fields), ends, c.background, c.start, c.year)


def water_of(c: Circulation, n) -> dict[str, Field]:
    """Temperature and salinity of the ``n``-th period, by name."""
    of = lambda f: f.with_data(jax.lax.dynamic_index_in_dim(f.data, n, keepdims=False))
    return {"temperature": of(c.temperature), "salinity": of(c.salinity)}


def in_double(tree):
    """A pytree with its floating-point leaves in float64: a solve to 1e-8 takes that."""
    wide = lambda x: (
        jnp.asarray(x, jnp.float64) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x
    )
    return jax.tree.map(wide, tree)


def write_circulation(path: str | Path, circulation: Circulation, model) -> Path:
    """Keep a circulation in a file (npz, global arrays); every rank calls it.

    Raises:
        OutputError: it cannot be written.
    """
    header = {"identity": _identity(model), "start": float(circulation.start)}
    return save_checkpoint(path, _tree(circulation), header, model.decomposition)


def read_circulation(path: str | Path, model) -> Circulation:
    """A circulation from :func:`write_circulation`, on this launch's tiles; every rank calls it.

    Raises:
        ConfigError: damaged, or of another ocean.
    """
    tile, nz = model.decomposition.tile, model.grid.nz
    try:
        periods = model.comm.broadcast(_periods(path) if model.comm.rank == 0 else None)
        like = _like(periods, nz, tile.shape, model.params.get(_BACKGROUND))
        tree, header = load_checkpoint(path, like, _identity(model), model.decomposition)
    except CheckpointError as error:
        raise ConfigError(f"{path} is no circulation of this ocean: {error}") from None
    start = jnp.asarray(header["start"], jnp.float64)
    return Circulation(**tree, start=start, year=model.passive.year)


def _identity(model) -> dict:
    grid = model.comm.broadcast(fingerprint(model))
    return {"ocean": model.config.name, "year": model.passive.year, "grid": grid}


def _tree(c: Circulation) -> dict:
    names = [*_PLACES, "background"]
    return {n: getattr(c, n) for n in names}


def _periods(path: str | Path) -> int:
    return int(read_arrays(path)["['flow_u']"].shape[0])


def _like(periods: int, nz: int, tile: tuple[int, int], background) -> dict:
    sizes = {"diffusivity": (periods, nz - 1), "eta": (periods + 1,)}
    like = {
        n: Field(jnp.zeros((*sizes.get(n, (periods, nz)), *tile)), at) for n, at in _PLACES.items()
    }
    return {**like, "background": background}


__all__ = [
    "Circulation",
    "frozen",
    "in_double",
    "mean_of",
    "read_circulation",
    "record",
    "require_periodic",
    "water_of",
    "write_circulation",
]
