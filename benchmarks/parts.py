"""Each component's share of a step, and the device's copy bandwidth.

Parts are compiled alone. They then lose what the compiler shares between them, so the shares are
given of the whole step and need not add up to one.
"""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp

from dogcm.dynamics.barotropic import DepthFlow
from dogcm.dynamics.continuity import stretch_c
from dogcm.field import zeros_like
from dogcm.physics.surface import surface_fluxes
from dogcm.timestepping.momentum_step import MomentumInputs
from dogcm.timestepping.tracer_step import TracerInputs


def seconds(function, *arguments, repeats: int = 7) -> float:
    """Median time of a compiled function, s."""
    run = jax.jit(function)
    jax.block_until_ready(run(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _arguments(model):
    """What the parts of one step get from each other, computed once."""
    d, grid, params = model.dynamics, model.grid, model.params

    def prepare(state):
        s = d.with_halos(state, grid)
        stretch, density = stretch_c(s.eta, grid), d.eos.anomaly(s.temperature, s.salinity)
        now = model.forcing.at(s.time)
        mixing = d._mixing(s, density, stretch, now, params, grid)
        viscosity, diffusivity = mixing.viscosity, mixing.diffusivity
        predicted = d.momentum.predict(
            MomentumInputs(s, density, stretch, viscosity, now, params, grid, {})
        )
        top = [f.level(0) for f in (s.temperature, s.salinity, grid.h_c)]
        fluxes = surface_fluxes(now, top[0], top[1], top[2] * stretch, params, grid, d.physics)
        p = predicted
        inner = [f.crop(0) for f in (s.eta, p.U, p.V, p.forcing_u, p.forcing_v)]
        baro = d.split.advance(d.halos, DepthFlow(*inner, fluxes.freshwater.crop(0)), grid)
        _, _, flow_u, flow_v = d.momentum.correct(s.eta, predicted, baro, grid)
        flux = (fluxes.heat, fluxes.salt, fluxes.freshwater)
        return (
            s,
            stretch,
            density,
            viscosity,
            diffusivity,
            now,
            inner,
            flux,
            baro.eta,
            flow_u,
            flow_v,
        )

    return jax.jit(prepare)(model.state)


def _without_terms(predicted) -> tuple:
    """What the step goes on with."""
    found = vars(predicted).items()
    return tuple(v for name, v in found if name not in ("terms", "solves"))


def shares(model) -> dict[str, float]:
    """Seconds of the whole step and of its parts on this rank, and the copy bandwidth in
    bytes/s."""
    from dogcm.physics.surface import SurfaceFluxes

    d, params = model.dynamics, model.params
    s, stretch, density, nu, kappa, now, inner, flux, eta, flow_u, flow_v = _arguments(model)
    # The grid is an argument and not a constant, as in the model's own step: the compiler would
    # fold it in.
    parts = {
        "step": seconds(d.step, model.state, params, model.forcing, model.grid),
        "eos": seconds(lambda T, S: d.eos.anomaly(T, S), s.temperature, s.salinity),
        "mixing": seconds(
            lambda s, r, h, w, g: (lambda m: (m.n2, m.viscosity, m.diffusivity, m.closures))(
                d._mixing(s, r, h, w, params, g)
            ),
            s,
            density,
            stretch,
            now,
            model.grid,
        ),
        "momentum": seconds(
            lambda s, r, h, n, w, g: _without_terms(
                d.momentum.predict(MomentumInputs(s, r, h, n, w, params, g, {}))
            ),
            s,
            density,
            stretch,
            nu,
            now,
            model.grid,
        ),
        "free_surface": seconds(
            lambda i, g: d.split.advance(d.halos, DepthFlow(*i, zeros_like(i[0])), g),
            inner,
            model.grid,
        ),
        "tracers": seconds(
            lambda s, e, fu, fv, k, f, g: d.tracer_step.advance(
                TracerInputs(s, e, fu, fv, k, SurfaceFluxes(*f), params, g, {})
            )[0],
            s,
            eta,
            flow_u,
            flow_v,
            kappa,
            flux,
            model.grid,
        ),
    }
    return {f"{name}_s": value for name, value in parts.items()} | {
        "copy_bytes_per_s": copy_bandwidth()
    }


def copy_bandwidth(megabytes: int | None = None) -> float:
    """Bytes read and written per second when a large array is copied (well beyond the caches)."""
    megabytes = megabytes or (256 if jax.default_backend() == "cpu" else 4096)
    source = jnp.zeros(megabytes * 2**20 // 4, jnp.float32)
    return 2 * source.nbytes / seconds(lambda x: x + 1, source, repeats=5)
