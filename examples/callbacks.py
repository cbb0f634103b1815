"""Callbacks: a diagnostic of one's own, a wind that dies after ten days, and an early end."""

import jax.numpy as jnp

import dogcm

ocean = dogcm.Model("channel", {"grid.nx": 24, "grid.ny": 20, "run.output": {}})
speeds = []


def watch(model):
    """Largest speed of this rank's cells (m s-1); the run ends where it is falling."""
    speeds.append(float(jnp.abs(model.state.u.interior).max()))
    return len(speeds) > 15 and speeds[-1] < speeds[-2]


def calm(model):
    """No wind from day 10 on."""
    if float(model.state.time) >= 10 * 86400.0:
        still = {n: f.with_data(f.data * 0.0) for n, f in model.forcing.records.items()}
        records = {**model.forcing.records, "taux": still["taux"]}
        model.forcing = dogcm.Forcing(records, model.forcing.period)


callbacks = [dogcm.Callback(watch, every="1 d"), dogcm.Callback(calm, every="10 d")]
ocean.run(days=40, callbacks=callbacks, progress=False)
print(f"ended after {float(ocean.state.time) / 86400:.0f} days at {speeds[-1]:.3f} m/s")
