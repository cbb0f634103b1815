"""Learned maps of tendencies: the mean error of a coarse model at every cell and face, and its
annual cycle.

A map holds ``count`` times ``nz`` numbers a column: the mean, and with ``count`` 3 what goes with
the sine and the cosine of the year, with 5 also with those of half a year. Numbers are in units of
the largest tendencies (``rates``) of the network, but not bounded by them.
Tracers are kept: their maps lose their mean over the ocean's volume.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dogcm.corrector.features import annual
from dogcm.corrector.outputs import SEA_LEVEL, VELOCITY, per_second
from dogcm.field import Field
from dogcm.halo import differentiable_sum

MAPS = "maps"


def places(outputs: dict[str, str]) -> dict[str, str]:
    """Variables that have a map: name to where on the grid."""
    found = {}
    for name in outputs:
        found |= {"u": "u", "v": "v"} if name == VELOCITY else {name: "c"}
    return found


def rate_of(config, name: str, dtype):
    """Unit of a map (unit of the variable s-1): number or profile ``(nz, 1, 1)``."""
    return (
        per_second(config.rates[VELOCITY if name in ("u", "v") else name], dtype) * config.strength
    )


def zero_maps(config, halos, nz: int, dtype) -> dict[str, Field]:
    """Maps before training, on this tile."""
    tile, out = halos.pattern.shape, {}
    for name, at in places(config.outputs).items():
        levels = 1 if name == SEA_LEVEL else nz
        out[name] = Field(jnp.zeros((config.maps * levels, *tile), dtype), at).named(name)
    return out


def conserving(maps: dict[str, Field], config, halos, grid) -> dict[str, Field]:
    """The maps with the global mean of every tracer's tendency removed (order-independent sums)."""
    if not config.learn_maps:
        maps = jax.lax.stop_gradient(maps)
    out, volume = {}, (grid.h_c * grid.area_c).crop(0)
    total = differentiable_sum(halos, volume.data)
    for name, f in maps.items():
        if f.at != "c" or name == SEA_LEVEL:
            out[name] = f
            continue
        unit, parts = rate_of(config, name, f.dtype), []
        for part in jnp.split(f.data, config.maps):
            mean = differentiable_sum(halos, part * unit * volume.data) / total
            parts.append(part - mean / unit)
        out[name] = f.with_data(jnp.concatenate(parts))
    return out


def rates(maps: dict[str, Field], config, time) -> dict[str, Field]:
    """Tendencies (unit s-1) at this time of the year, not masked."""
    out = {}
    for name, f in maps.items():
        parts = jnp.split(f.data, config.maps)
        waves = [jnp.ones(()), *annual(time, config.scales, config.maps // 2)]
        now = sum(p * w.astype(p.dtype) for p, w in zip(parts, waves)) * rate_of(
            config, name, f.dtype
        )
        out[name] = f.with_data(now[0] if name == SEA_LEVEL else now)
    return out


def tendencies(maps: dict[str, Field], config, state, grid) -> dict[str, Field]:
    """The same as :class:`dogcm.timestepping.Dynamics` wants them from its hook: tracers as
    contents, which are kept."""
    out, masks = {}, {"u": grid.mask_u, "v": grid.mask_v}
    for name, f in rates(maps, config, state.time).items():
        if name in masks:
            out[name] = (f * masks[name]).crop(0)
        else:
            out[f"{name}_content"] = (f * grid.h_c).crop(0)
    return {name: f.named(name) for name, f in out.items()}
