"""What a learned jump looks at: the first years of a spin-up and what carries its tracers.

All of it is local or a mean over a band of latitudes, in physical scales: nothing knows how many
cells the grid has, so that weights serve other resolutions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dogcm.components import ConfigError
from dogcm.field import Field
from dogcm.halo import exact_row_sums
from dogcm.spinup.jump.config import JumpConfig
from dogcm.spinup.problem import Problem

# Of the circulation, in this order; those of the tracers follow.
COLUMNS = (
    "depth",
    "height above the bottom",
    "thickness",
    "water",
    "mean diffusivity",
    "largest diffusivity",
    "temperature",
    "salinity",
    "u",
    "v",
    "w",
)
MAPS = (
    "depth",
    "sine of latitude",
    "cosine of longitude",
    "sine of longitude",
    "mixed depth",
    "surface temperature",
    "surface salinity",
    "bottom temperature",
    "bottom salinity",
)
# Of each tracer.
COLUMNS_OF_TRACER = ("value", "logarithm of the change", "late change", "reference")
MAPS_OF_TRACER = ("change above 1000 m", "change below 1000 m", "reference below 1000 m")
_LEAST = 1e-8  # part of the scale of a change, below which it is nothing
_LATE = 5  # years
# What of a configuration features depend on.
_SHAPING = {"variables", "years", "parameters", "bands", "depths", "modes", "reference"}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["columns", "maps", "series", "bands", "scalars", "reference", "modes", "free"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Features:
    """What a network is given on one tile.

    Attributes:
        columns: (channel, z, y, x). maps: (channel, y, x) at c, without halo.
        series: means of layers and bands, (1 + bands, year, channel); the first of all latitudes.
        bands: share of each band in a column, (bands, y, x). scalars: (parameter,).
        reference: a first guess of the equilibrium in units of scale, (tracer, z, y, x).
        modes: how equilibria differ from it, (mode, tracer, z, y, x).
        free: 1 where water is not held at its value, (tracer, z, y, x).
    """

    columns: jax.Array
    maps: Field
    series: jax.Array
    bands: jax.Array
    scalars: jax.Array
    reference: jax.Array
    modes: jax.Array
    free: jax.Array


def features_of(
    problem: Problem, states: Sequence[jax.Array], config: JumpConfig, reference=None
) -> Features:
    """Features from the states at the ends of the first years of a spin-up.

    Args:
        problem: whose tracers are those of ``config``. states: (tracer, z, y, x) each: the start
            and the ends of ``config.years`` years, or more. reference: the first
            guess, in the tracers' units, and the modes, (1 + mode, tracer, z, y, x); or None.

    Raises:
        ConfigError: too few years; a parameter that this ocean lacks; an ocean that is no sphere.
    """
    if len(states) <= config.years:
        raise ConfigError(
            f"the jump was learned from {config.years} years of a spin-up and their start; there "
            f"are {max(len(states) - 1, 0)}"
        )
    if not problem.grid.spherical:
        raise ConfigError("the jump looks at latitudes and longitudes: this ocean is no sphere")
    missing = [n for n in config.parameters if n not in problem.params]
    if missing:
        raise ConfigError(
            f"the jump looks at the parameter {missing[0]}, which this ocean does not have"
        )
    x = jnp.stack(list(states[: config.years + 1]))
    if reference is None:
        scale = jnp.asarray([v.scale for v in config.variables])[:, None, None, None]
        reference = jnp.broadcast_to(scale, (1, *x.shape[1:]))
    shaping = config.model_dump_json(include=_SHAPING)
    make = problem.once(f"features of {shaping}", lambda: jax.jit(_features(problem, config)))
    space = problem.space
    own = (space.volume, space.mask, problem.circulation, problem.grid, problem.params)
    return make(x, jnp.asarray(reference), *own)


def _features(problem: Problem, config: JumpConfig):
    """The function that makes features, of arrays alone."""
    cycle, halos = problem.cycle, problem.space.halos

    def of(x, reference, volume, mask, circulation, grid, params) -> Features:
        water = _circulation_of(cycle, circulation, grid, params)
        seen = _Seen.of(x, reference[0], water, mask, config)
        return Features(
            _columns(grid, seen),
            Field(_maps(grid, seen), "c"),
            _series(halos, volume, grid, seen, config),
            bands_of(grid, config.bands),
            _scalars(params, config),
            seen.reference,
            reference[1:] * mask,
            seen.free,
        )

    return of


@dataclass(frozen=True)
class _Seen:
    """What columns, maps and series are made of.

    Attributes:
        water: the circulation's part, by name. value: (year, tracer, z, y, x), over what it may
            have become. change: what it differs by from where nothing mixes, (year, ...), likewise.
        late: what the last years changed it by. reference, free: see :class:`Features`. mask: 1 in
            water, (z, y, x).
    """

    water: dict[str, jax.Array]
    value: jax.Array
    change: jax.Array
    late: jax.Array
    reference: jax.Array
    free: jax.Array
    mask: jax.Array

    @staticmethod
    def of(x, reference, water, mask, config: JumpConfig) -> _Seen:
        row = lambda name: jnp.asarray([getattr(v, name) for v in config.variables])
        start, source, scale = (row(n)[:, None, None, None] for n in ("start", "source", "scale"))
        years = jnp.arange(1, config.years + 1)[:, None, None, None, None]
        size = jnp.where(source > 0, source * years, scale)
        value = x[1:] / size
        change = (x[1:] - start - source * years) / size * mask
        late = (x[-1] - x[-1 - _LATE]) / (size[-1] - jnp.where(source > 0, size[-1 - _LATE], 0.0))
        moving = jnp.any(x[1:] != x[:1], axis=0)
        free = jnp.where(moving, mask, 0.0)
        return _Seen(water, value, change, late, reference * mask / scale, free, mask)


def _circulation_of(cycle, circulation, grid, params) -> dict[str, jax.Array]:
    """Means over the year of what carries the tracers, (z, y, x), interfaces (z - 1, y, x)."""

    def period(n):
        p = cycle.period(n, params, circulation, grid)
        flow = cycle.vertical_flow(p, grid).crop(0).data
        fields = (p.flow_u, p.flow_v, p.diffusivity, p.temperature, p.salinity)
        return (*(f.crop(0).data for f in fields), flow)

    found = jax.lax.map(period, jnp.arange(circulation.periods))
    means = dict(zip(("u", "v", "k", "t", "s", "w"), (jnp.mean(f, axis=0) for f in found)))
    return means | {"largest": jnp.max(found[2], axis=0)}


def _logarithm(change):
    """Of the size of a change: 1 at its scale, -1 at a hundred millionth of it."""
    return jnp.log10(_LEAST + jnp.abs(change)) / 4.0 + 1.0


def _columns(grid, seen: _Seen):
    mask, water = seen.mask, seen.water
    thick = grid.h_c.crop(0).data
    safe = jnp.where(thick > 0, thick, 1.0)
    mixing = lambda k: jnp.log10(jnp.maximum(k, 1e-7) / 3e-5) / 3.0
    mean, largest = mixing(water["k"]), mixing(water["largest"])
    # A layer lies between two interfaces.
    above = lambda k: jnp.concatenate([k[:1], k])
    below = lambda k: jnp.concatenate([k, k[-1:]])
    w = jnp.concatenate([jnp.zeros_like(thick[:1]), water["w"]])
    whole = jnp.ones_like(mask)
    rows = {
        "depth": grid.z_c / 5000.0 * whole,
        "height above the bottom": (grid.depth_c.crop(0).data - grid.z_c) / 5000.0,
        "thickness": thick / 500.0,
        "water": mask,
        "mean diffusivity": 0.5 * (above(mean) + below(mean)),
        "largest diffusivity": jnp.maximum(above(largest), below(largest)),
        "temperature": water["t"] / 20.0,
        "salinity": water["s"] - 35.0,
        "u": jnp.arcsinh(water["u"] / safe / 0.01),
        "v": jnp.arcsinh(water["v"] / safe / 0.01),
        "w": jnp.arcsinh(w / 1e-6),
    }
    of_tracers = {
        "value": seen.value[-1],
        "logarithm of the change": _logarithm(seen.change[-1]),
        "late change": seen.late,
        "reference": jnp.log(seen.reference + 0.01),
    }
    listed = [rows[n][None] for n in COLUMNS] + [of_tracers[n] for n in COLUMNS_OF_TRACER]
    return jnp.concatenate(listed) * mask


def _maps(grid, seen: _Seen):
    mask, water = seen.mask, seen.water
    lat, lon = (jnp.deg2rad(f.crop(0).data) for f in (grid.lat_c, grid.lon_c))
    mixed = jnp.cumprod(water["largest"] > 0.1, axis=0) * grid.dz_w
    last = jnp.maximum(jnp.sum(mask, axis=0).astype(int) - 1, 0)[None]
    bottom = lambda f: jnp.take_along_axis(f, last, axis=0)[0]
    rows = {
        "depth": grid.depth_c.crop(0).data / 5000.0,
        "sine of latitude": jnp.sin(lat),
        "cosine of longitude": jnp.cos(lat) * jnp.cos(lon),
        "sine of longitude": jnp.cos(lat) * jnp.sin(lon),
        "mixed depth": jnp.sum(mixed, axis=0) / 1000.0,
        "surface temperature": water["t"][0] / 20.0,
        "surface salinity": water["s"][0] - 35.0,
        "bottom temperature": bottom(water["t"]) / 20.0,
        "bottom salinity": bottom(water["s"]) - 35.0,
    }
    thick = grid.h_c.crop(0).data
    parts = {"above": thick * (grid.z_c < 1000.0), "below": thick * (grid.z_c >= 1000.0)}

    def mean(values, part):
        whole = jnp.sum(parts[part], axis=0)
        return jnp.sum(values * parts[part], axis=-3) / jnp.where(whole > 0, whole, 1.0)

    changed = _logarithm(seen.change[-1])
    of_tracers = {
        "change above 1000 m": mean(changed, "above"),
        "change below 1000 m": mean(changed, "below"),
        "reference below 1000 m": mean(seen.reference, "below"),
    }
    listed = [rows[n][None] for n in MAPS] + [of_tracers[n] for n in MAPS_OF_TRACER]
    return jnp.concatenate(listed) * mask[:1]


def bands_of(grid, count: int):
    """Shares of bands of latitude in each column, (bands, y, x), linear between their middles from
    70 S to 70 N."""
    lat = grid.lat_c.crop(0).data
    place = jnp.clip((lat + 70.0) / 140.0, 0.0, 1.0) * (count - 1)
    number = jnp.arange(count)[:, None, None]
    return jnp.maximum(1.0 - jnp.abs(place[None] - number), 0.0)


def _series(halos, volume, grid, seen: _Seen, config: JumpConfig):
    """(1 + bands, year, channel): means of value and of change in layers of each band, by sums
    that do not depend on the tiles."""
    shares = bands_of(grid, config.bands)
    shares = jnp.concatenate([jnp.ones_like(shares[:1]), shares])
    both = jnp.concatenate([seen.value, seen.change])  # (2 years, tracer, z, y, x)
    layer = jnp.searchsorted(jnp.asarray(config.depths), grid.z_c[:, 0, 0])
    within = layer[None] == jnp.arange(len(config.depths))[:, None]

    def of_band(share):
        def sums(values):
            terms = values * (volume * share)
            rows = exact_row_sums(halos, terms.reshape(-1, *terms.shape[-2:]))
            return jnp.sum(rows, axis=-1).reshape(values.shape[:-2])

        water = within @ sums(seen.mask)
        total = sums(both) @ within.T
        return total / jnp.where(water > 0, water, 1.0)

    mean = jax.lax.map(of_band, shares)  # (band, 2 years, tracer, layer)
    value, change = jnp.split(mean, 2, axis=1)
    rows = jnp.concatenate([value, _logarithm(change)], axis=-1)
    return rows.reshape(*rows.shape[:2], -1)


def _scalars(params, config: JumpConfig):
    usual = config.parameters
    values = [jnp.mean(jnp.asarray(params[n])) / usual[n] for n in usual]
    return jnp.log(jnp.stack(values)) if values else jnp.zeros(0)


__all__ = [
    "COLUMNS",
    "COLUMNS_OF_TRACER",
    "MAPS",
    "MAPS_OF_TRACER",
    "Features",
    "bands_of",
    "features_of",
]
