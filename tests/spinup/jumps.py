"""A small ocean to jump in, with weights that nobody has trained, and what it finds in numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from small_basins import basin_of, turning

import dogcm
from dogcm.decomp import SerialCommunicator
from dogcm.simulation.model import Model
from dogcm.spinup import (
    JumpConfig,
    JumpNetwork,
    JumpVariable,
    JumpWeights,
    Problem,
    Settings,
    features_of,
    predict,
    problem_of,
)
from dogcm.spinup.jump.predict import known, level_of
from dogcm.spinup.jump.reference import Reference

DIFFUSIVITY = "vertical_diffusivity"
AGE = JumpVariable(name="age", source=1.0, scale=100.0, most=40.0)
SMALL = dict(parameters={DIFFUSIVITY: 3e-5}, bands=2, width=8, heads=2, layers=1, years=6, modes=1)


def ocean(tracers: dict | None = None, comm=None) -> Model:
    """A closed flat basin between 20 and 50 degrees north: 12 x 8 cells and 4 layers."""
    config = basin_of(tracers or {"age": {"kind": "ideal_age"}})
    config["grid"] = {"kind": "latlon", "nx": 12, "ny": 8, "lon": [0, 40], "lat": [20, 50]} | {
        "layers": [100.0, 200.0, 400.0, 500.0]
    }
    return Model(config, comm=comm or SerialCommunicator())


def problem_in(model: Model, names) -> Problem:
    """The map of a year there, with advection that has no kinks."""
    settings = Settings(largest_step=60.0, advection=dogcm.Upwind())
    return problem_of(model, names, turning(model, periods=1), settings)


def spun_up(problem: Problem, start, years: int) -> list:
    """The start and the ends of the first years."""
    states = [start]
    for _ in range(years):
        states.append(problem.year(states[-1]))
    return states


def made_up(problem: Problem, states, config: JumpConfig, count: int = 2) -> JumpWeights:
    """Weights by formula, the same on every layout, and large enough to do something."""
    reference = None
    if config.reference:
        reference = _reference(config)
    given = None if reference is None else known(problem, config, reference)
    features = features_of(problem, states, config, given)
    network, level = JumpNetwork(config), level_of(problem)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), features, level))
    members = []
    for seed in range(count):
        leaves, tree = jax.tree.flatten(shapes)
        rng = np.random.default_rng(seed)
        made = [rng.normal(size=x.shape) / np.sqrt(2.0 * max(x.shape[0], 4)) for x in leaves]
        members.append(jax.tree.unflatten(tree, [jnp.asarray(m, jnp.float32) for m in made]))
    return JumpWeights(config, tuple(members), reference)


def _reference(config: JumpConfig) -> Reference:
    """Growing with depth, on a grid of its own."""
    lon, lat = (a.ravel() for a in np.meshgrid(np.arange(0.0, 41, 5), np.arange(20.0, 51, 5)))
    depth = np.array([50.0, 500.0, 1200.0])
    rows = [v.scale * (0.2 + depth / 1000.0) for v in config.variables]
    rows += [0.1 + depth / 5000.0 for _ in range(config.modes) for _ in config.variables]
    values = np.stack(rows)[:, :, None] * (1.0 + 0.1 * np.sin(np.deg2rad(lat)))
    return Reference(lon, lat, depth, values)


# Of one rank; tests on one and on many compare with these.
EXPECTED: dict[str, float] = {
    "mean": 87.40458303809369,
    "size": 96.79759944851845,
    "spread": 55.75666189791117,
    "on a probe": 12.623966387516248,
}


def findings(comm=None) -> dict[str, float]:
    """What a jump says of the age of a basin."""
    model = ocean(comm=comm)
    problem = problem_in(model, "age")
    states = spun_up(problem, problem.space.stacked(model.state.tracers), SMALL["years"])
    config = JumpConfig(variables=(AGE,), **SMALL)
    found = predict(problem, states, made_up(problem, states, config), ())
    space = problem.space
    return {
        "mean": space.contents(found.state)[0] / space.contents(space.mask[None])[0],
        "size": space.sizes(found.state)[0],
        "spread": space.sizes(found.spread)[0],
        "on a probe": space.dot(found.state, problem.probe(), space.volume[None]) / 1e17,
    }
