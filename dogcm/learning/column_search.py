"""Maps of physical parameters by trial: each water column takes the value with which short
forecasts err least.

Where a parameter decides whether a column is mixed or not, gradients along rollouts are noise: the
column of a coarse ocean stands for several of a finer one, which do not turn over at the same
moment. Forecasts of ten days, on the other hand, hardly leave their column. So forecasts from many
states of the truth are repeated with the parameter multiplied by each of a few factors everywhere,
and every column chooses for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np

from dogcm.field import Field
from dogcm.halo import exact_sum
from dogcm.learning.parameters import parse_learnable
from dogcm.simulation.progress import say

# Tracers stay where they are; sea level answers to the whole ocean.
_LOCAL = ("temperature", "salinity")


class ColumnSearch:
    """The search of one training.

    Args:
        setup: a :class:`dogcm.learning.training.Setup` that learns maps of the parameters to be
            searched.
        forecasts: gives, for a tree of what is learned, ``(errors, weights)`` of each forecast by
            variable: arrays (nz, y, x) on this tile.
    """

    def __init__(self, setup, forecasts: Callable[[dict], Iterator[tuple[dict, dict]]]):
        self.setup, self.config, self.forecasts = setup, setup.recipe.first_guess.columns, forecasts
        self.learnable = {item.name: item for item in map(parse_learnable, setup.recipe.learnable)}

    def run(self, trainable: dict) -> dict[str, Field]:
        """``trainable["physics"]`` with the maps that were found.

        A column changes only if that lowers its errors by ``least_gain`` of them; and if all
        columns together are no better with what they chose, nothing changes.
        """
        comm, physics = self.setup.ranks.comm, trainable["physics"]
        choices = [{}] + [
            {name: f} for name, factors in self.config.factors.items() for f in factors
        ]
        costs = [self._costs(trainable, self._changed(physics, choice)) for choice in choices]
        before = self._totals(costs[0])
        joint = np.array([sum(c[n] / before[n] for n in c) for c in costs])
        best = joint.argmin(0)
        best = np.where(joint.min(0) < (1 - self.config.least_gain) * joint[0], best, 0)
        found = self._changed(physics, self._chosen(choices, best))
        after = self._totals(self._costs(trainable, found))
        shown = "  ".join(f"{n} {np.sqrt(after[n] / before[n]):.3f}" for n in before)
        better = sum(after[n] / before[n] for n in before) < len(before)
        (moved,) = self._sums([(best > 0).astype(float)])
        verdict = "" if better else "; no better together, so nothing is changed"
        say(comm, f"first guess, columns: {moved:.0f} changed, errors times  {shown}{verdict}")
        return found if better else physics

    def _chosen(self, choices: list[dict], best: np.ndarray) -> dict[str, np.ndarray]:
        """Factors by parameter and column."""
        out = {name: np.ones(best.shape) for name in self.config.factors}
        for number, choice in enumerate(choices):
            for name, factor in choice.items():
                out[name] = np.where(best == number, factor, out[name])
        return out

    def _changed(self, physics: dict, factors: dict) -> dict:
        """Raw numbers whose values are ``factors`` times as large."""
        out = dict(physics)
        for name, factor in factors.items():
            bijector, raw = self.learnable[name].bijector, physics[name]
            value = bijector.forward(raw.data) * jnp.asarray(factor, raw.dtype)
            inside = jnp.clip(value, bijector.low * 1.001, bijector.high * 0.999)
            out[name] = raw.with_data(bijector.inverse(inside).astype(raw.dtype))
        return out

    def _costs(self, trainable: dict, physics: dict) -> dict[str, np.ndarray]:
        """Squared errors times volume, by variable and column, summed over the forecasts."""
        total = {}
        for errors, weights in self.forecasts(trainable | {"physics": physics}):
            for name in set(errors) & set(_LOCAL):
                total[name] = total.get(name, 0.0) + (weights[name] * errors[name] ** 2).sum(0)
        return {n: total[n] for n in sorted(total)}

    def _totals(self, costs: dict[str, np.ndarray]) -> dict[str, float]:
        sums = self._sums(list(costs.values()))
        return {n: max(float(s), 1e-300) for n, s in zip(costs, sums)}

    def _sums(self, columns: list[np.ndarray]) -> np.ndarray:
        """Over the ocean, the same on every layout: what is decided by them is as well."""
        halos = self.setup.model.halos
        return np.asarray(halos.jit(lambda terms: exact_sum(halos, *terms))(columns))
