"""A network of one's own, trained inside the model: it learns a restoring that it is never told."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import dogcm

DAY = 86400.0


class Column(nn.Module):
    """From temperature to its rate of change (K per day), cell by cell; zero before training."""

    @nn.compact
    def __call__(self, temperature):
        x = nn.tanh(nn.Dense(8)((temperature[..., None] - 10.0) / 5.0))
        return nn.Dense(1, kernel_init=nn.initializers.zeros)(x)[..., 0]


network = Column()


def correct(state, params, now, grid):
    """The network's tendency of temperature (K s-1), 0 on land."""
    t = state.temperature
    rate = t.with_data(network.apply(params["network"], t.data) / DAY)
    return {"temperature": rate * grid.mask_c}


settings = {"grid.nx": 16, "grid.ny": 14, "grid.nz": 5, "run.output": {}}
restoring = lambda s, p, now, g: {"temperature": (s.temperature * -1.0 + 8.0) * (0.05 / DAY)}
truth = dogcm.Model("gyre", settings, corrector=restoring)
target = truth.advance(12).temperature.interior
ocean = dogcm.Model("gyre", settings, corrector=correct)
start = ocean.state
weights = network.init(jax.random.key(0), start.temperature.data)


def loss(weights):
    """Squared error of temperature (K2) after a quarter of a day, inside the model."""
    params = {**ocean.params, "network": weights}
    last, _ = dogcm.rollout(
        ocean.step, start, params, ocean.forcing, ocean.grid, 12, checkpoint="step"
    )
    return jnp.mean((last.temperature.interior - target) ** 2)


optimiser = optax.adam(3e-2)
memory, update = optimiser.init(weights), jax.jit(jax.value_and_grad(loss))
first = None
for _ in range(50):
    value, gradient = update(weights)
    first = first or float(value)
    change, memory = optimiser.update(gradient, memory)
    weights = optax.apply_updates(weights, change)
print(f"squared error {first:.3g} K2 before training, {float(value):.3g} K2 after")
