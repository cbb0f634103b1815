"""``python -m benchmarks.sensitivities FOLDER``: what five days of ``mitgcm_4deg`` from its start
make of the eddies' diffusivities, by the adjoint and by finite differences; ``FOLDER``: MITgcm's
inputs."""

from __future__ import annotations

import argparse

STEPS, PERCENT = 240, 5.0
PARAMETERS = ("isoneutral_diffusivity", "gm_diffusivity")
# Mean temperature of a layer, south of a latitude.
FIGURES = {"sea surface": (0, 90.0), "455 m, south of 40 S": (4, -40.0)}


def weights(model, layer: int, south_of: float):
    """Share of each cell of a layer in the mean, (y, x)."""
    import numpy as np

    g = model.grid
    volume = np.asarray((g.h_c * g.area_c * g.mask_c).interior)[layer]
    rows = np.linspace(-80, 80, volume.shape[0] + 1)
    volume = volume * (rows[:-1] + rows[1:] < 2 * south_of)[:, None]
    return volume / volume.sum()


def sensitivities(folder: str, eddies: str) -> dict[tuple[str, str], tuple[float, float]]:
    """By parameter and figure: K for a change of the parameter by all of it, by the adjoint and by
    differences."""
    import jax
    import jax.numpy as jnp

    import dogcm

    settings = {"physics.eddies": eddies}
    model = dogcm.Model("mitgcm_4deg", settings, inputs=folder)
    start = jax.tree.map(jnp.copy, model.state)
    masks = [jnp.asarray(weights(model, *f)) for f in FIGURES.values()]
    layers = [layer for layer, _ in FIGURES.values()]

    def figures(temperature):
        means = [jnp.sum(temperature[k] * w) for k, w in zip(layers, masks)]
        return jnp.stack(means)

    def one(params, picked):
        last, _ = dogcm.rollout(
            model.step, start, params, model.forcing, model.grid, STEPS, checkpoint="step"
        )
        return jnp.vdot(figures(last.temperature.interior), picked)

    slope = jax.jit(jax.grad(one))
    slopes = [slope(model.params, picked) for picked in jnp.eye(len(FIGURES))]
    usual, found = dict(model.params), {}
    for name in PARAMETERS:
        value, ends = float(usual[name]), []
        for sign in (1.0, -1.0):
            model.state = jax.tree.map(jnp.copy, start)
            changed = value * (1.0 + sign * PERCENT / 100.0)
            model.params[name] = jnp.full_like(usual[name], changed)
            model.advance(STEPS)
            ends.append(figures(model.state.temperature.interior))
        model.params[name] = usual[name]
        differences = (ends[0] - ends[1]) * (50.0 / PERCENT)
        for n, figure in enumerate(FIGURES):
            found[name, figure] = float(slopes[n][name]) * value, float(differences[n])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--eddies", nargs="+", default=["isoneutral", "averaged_slopes"])
    given = parser.parse_args()
    print("| eddies | parameter | mean temperature | adjoint (K) | differences (K) |")
    print("|---|---|---|---|---|")
    for eddies in given.eddies:
        for (name, figure), (adjoint, differences) in sensitivities(given.folder, eddies).items():
            print(f"| `{eddies}` | `{name}` | {figure} | {adjoint:.4e} | {differences:.4e} |")


if __name__ == "__main__":
    main()
