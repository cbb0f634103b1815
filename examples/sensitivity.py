"""An adjoint sensitivity: where wind stress moves the kinetic energy of a gyre five days later."""

import jax
import jax.numpy as jnp

import dogcm

ocean = dogcm.Model("gyre", {"grid.nx": 30, "grid.ny": 30, "run.output": {}})
ocean.advance(ocean.steps_in(10))
start, wind = ocean.state, ocean.forcing.records["taux"]


def energy(stress):
    """Kinetic energy (m2 s-2, summed over this rank's cells) after five days."""
    records = {**ocean.forcing.records, "taux": wind.with_data(stress)}
    forcing = dogcm.Forcing(records, ocean.forcing.period)
    last, _ = dogcm.rollout(
        ocean.step, start, ocean.params, forcing, ocean.grid, ocean.steps_in(5), checkpoint="step"
    )
    return 0.5 * jnp.sum(last.u.interior**2 + last.v.interior**2)


value, gradient = jax.jit(jax.value_and_grad(energy))(wind.data)
print(f"energy {float(value):.4g}, largest sensitivity {float(jnp.abs(gradient).max()):.3g} per Pa")
