"""A network without physics: what a corrected model has to beat.

The same network, inputs and outputs as a corrector, but its tendencies are all that moves the
ocean.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from dogcm.corrector import maps
from dogcm.corrector.corrector import Corrector
from dogcm.corrector.outputs import SEA_LEVEL


def network_alone(dynamics, corrector: Corrector) -> Callable:
    """A step ``(state, params, forcing, grid) -> state`` like that of the physics, to be used in
    its place.

    At every ``corrector.config.every``-th step the state moves by so many steps of the network's
    tendencies, in between it waits. Variables that are no outputs stay as they are.

    Args:
        dynamics: :class:`dogcm.timestepping.Dynamics`, for its time step and halos.

    Raises:
        ValueError: no network, or outputs that are fluxes: their tendencies are of contents, and
            without continuity there is no thickness that they belong to.
    """
    if corrector.network is None:
        raise ValueError(
            "corrector.network is none: without physics it takes a network to move the ocean"
        )
    fluxes = sorted(
        n for n, one in corrector.config.outputs.items() if SEA_LEVEL not in one.corrects
    )
    if fluxes:
        raise ValueError(
            f"corrector.outputs: without physics all must be of kind tendency, not so "
            f"{', '.join(fluxes)}"
        )
    dt, every = dynamics.physics.dt, corrector.config.every

    def moved(state, params, forcing, grid):
        now = forcing.at(state.time + 0.5 * every * dt)
        rates = corrector.tendency(dynamics.with_halos(state, grid), params, now, grid)
        if corrector.config.maps:
            of_maps = maps.rates(params["corrector"][maps.MAPS], corrector.config, state.time)
            rates = of_maps | {n: f + of_maps[n] for n, f in rates.items()}
        after = lambda f, name: (f + rates[name] * (every * dt)).named(name) if name in rates else f
        return state.replace(
            u=after(state.u, "u"),
            v=after(state.v, "v"),
            eta=after(state.eta, "eta"),
            tracers={n: after(f, n) for n, f in state.tracers.items()},
        )

    def step(state, params, forcing, grid):
        acts = lambda s: moved(s, params, forcing, grid)
        # All ranks count the same steps, so all take the same branch and its messages match.
        new = (
            acts(state)
            if every == 1
            else jax.lax.cond(state.steps % every == 0, acts, lambda s: s, state)
        )
        return new.replace(time=state.time + dt, steps=state.steps + 1)

    return step
