"""A twin: the mixing that made a set of states is found again by gradient."""

import jax
import jax.numpy as jnp

import dogcm

settings = {"grid.nx": 24, "grid.ny": 18, "grid.nz": 8, "time.step": 7200, "run.output": {}}
truth = dogcm.Model("two_basin", settings | {"parameters.vertical_diffusivity": 2e-3})
truth.advance(60)
guess = dogcm.Model("two_basin", settings | {"parameters.vertical_diffusivity": 5e-4})
start, target = guess.state, truth.state.temperature.interior
learn = dogcm.LearnableSet(["vertical_diffusivity"])
raw = learn.initial(guess.params, guess.grid)


def misfit(raw):
    """Squared error of temperature (K2) after five days."""
    params = learn.apply(raw, guess.params, guess.halos, guess.grid)
    last, _ = dogcm.rollout(
        guess.step, start, params, guess.forcing, guess.grid, 60, checkpoint="step"
    )
    return jnp.sum((last.temperature.interior - target) ** 2 * guess.grid.mask_c.interior)


# The unknown is a logarithm: a few steps of Gauss and Newton's method, by differences of gradients.
slope = jax.jit(jax.grad(misfit))
for _ in range(6):
    here = slope(raw)["vertical_diffusivity"]
    there = slope({"vertical_diffusivity": raw["vertical_diffusivity"] + 1e-3})
    curvature = jnp.abs(there["vertical_diffusivity"] - here) / 1e-3
    raw = {"vertical_diffusivity": raw["vertical_diffusivity"] - jnp.clip(here / curvature, -1, 1)}
found = float(jnp.exp(raw["vertical_diffusivity"]))
print(f"vertical diffusivity {found:.4g} m2/s, the truth is 0.002")
