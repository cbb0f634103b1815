"""From the first years of a spin-up to its equilibrium, with what has to be kept kept exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import ConfigError
from dogcm.corrector.layers import Level
from dogcm.spinup.jump.config import JumpConfig
from dogcm.spinup.jump.features import Features, features_of
from dogcm.spinup.jump.network import JumpNetwork
from dogcm.spinup.jump.reference import Reference
from dogcm.spinup.jump.weights import JumpWeights, in_type
from dogcm.spinup.problem import Problem


@dataclass(frozen=True)
class Prediction:
    """What a jump says.

    Attributes:
        state: the equilibrium, (tracer, z, y, x), in the tracers' units. spread: standard deviation
            of the networks of the ensemble; 0 with one.
    """

    state: jax.Array
    spread: jax.Array


def level_of(problem: Problem) -> Level:
    """What convolutions on maps know of a tile."""
    grid = problem.grid
    return Level.of(problem.space.halos, grid.wet_c.crop(0), grid.area_c.crop(0), 1)


def value_of(said, features: Features, config: JumpConfig):
    """Tracers (tracer, z, y, x) in units of their scale, of what a network says (column, z,
    tracer)."""
    said = jnp.moveaxis(said, 0, -1).reshape(*said.shape[1:], *features.free.shape[-2:])
    said = jnp.swapaxes(said, 0, 1)
    return changed(said, features.reference, config) * features.free


def changed(said, reference, config: JumpConfig):
    """A reference changed by what a network says of it, element by element."""
    if config.form == "difference":
        return reference + said
    # Beyond a factor of e^4 a network is lost.
    return reference * jnp.exp(4.0 * jnp.tanh(said / 4.0))


def require_variables(problem: Problem, config: JumpConfig) -> None:
    """Refuse weights of other tracers.

    Raises:
        ConfigError: naming both.
    """
    if problem.space.names != config.names:
        raise ConfigError(
            f"the weights of the jump are of {', '.join(config.names)}, and the solve is for "
            f"{', '.join(problem.space.names)}"
        )


def predict(
    problem: Problem,
    states: Sequence[jax.Array],
    weights: JumpWeights,
    constraints: Sequence[str] | None = None,
    network: nn.Module | None = None,
) -> Prediction:
    """The equilibrium that the first years of a spin-up lead to; every rank calls it.

    Args:
        problem: the map whose years these are. states: see
            :func:`dogcm.spinup.jump.features.features_of`.
        constraints: instead of the configuration's. network: that the weights are of, where it is
            not :class:`JumpNetwork`.

    Raises:
        ConfigError: weights of other tracers, too few years, another kind of ocean.
    """
    config = weights.config
    require_variables(problem, config)
    kept = config.constraints if constraints is None else tuple(constraints)
    reference = None if weights.reference is None else known(problem, config, weights.reference)
    features = features_of(problem, states, config, reference)
    network = network or JumpNetwork(config)
    apply = problem.once(
        f"{network} {config.model_dump_json()}", lambda: _applied(problem, config, network)
    )
    found = jnp.stack(
        [apply(in_type(m, features.columns.dtype), features) for m in weights.members]
    )
    scales = jnp.asarray([v.scale for v in config.variables])[:, None, None, None]
    held = states[-1] * (1.0 - features.free) * problem.space.mask
    mean = jnp.mean(found, axis=0) * scales + held
    state = constrained(problem, mean, states[-1], config, kept)
    return Prediction(state, jnp.std(found, axis=0) * scales)


def known(problem: Problem, config: JumpConfig, reference: Reference):
    """The first guess and the modes on a tile, (1 + mode, tracer, z, y, x)."""
    rows = reference.on(problem.grid, np.asarray(problem.space.mask))
    return rows.reshape(-1, len(config.variables), *rows.shape[1:])


def _applied(problem: Problem, config: JumpConfig, network: nn.Module):
    level = level_of(problem)
    return jax.jit(lambda params, f: value_of(network.apply(params, f, level), f, config))


def constrained(problem: Problem, x, like, config: JumpConfig, kept: Sequence[str]):
    """A state within its bounds and with the contents that the map conserves.

    Args:
        like: a state that the map has made. kept: of :data:`dogcm.spinup.jump.config.CONSTRAINTS`.
    """
    if "bounds" in kept:
        most = jnp.asarray([v.most for v in config.variables])[:, None, None, None]
        lowest = {v.name: v.lowest for v in problem.cycle.passive.variables}
        least = jnp.asarray([lowest[n] for n in config.names])[:, None, None, None]
        x = jnp.clip(x, least, most) * problem.space.mask
    if "inventory" in kept and problem.invariants.count:
        x = problem.admissible(x, like)
    return x


def as_features(features: Features, dtype) -> Features:
    """Features in another precision."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), features)


__all__ = [
    "Prediction",
    "as_features",
    "changed",
    "constrained",
    "known",
    "level_of",
    "predict",
    "require_variables",
    "value_of",
]
