"""Losses: squared errors of a rollout against targets, weighted by area or volume, in units of a
scale.

Each rank computes its share: a sum over its own cells, divided by weights that were summed over all
ranks once. The loss is the sum of the shares, and nothing has to be sent while it is computed or
differentiated.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dogcm.field import Field
from dogcm.halo import once
from dogcm.learning.penalties import Penalty, Squared
from dogcm.timestepping.state import State

SQUARED = Squared()

#: Variables that can be compared: place, whether there are layers, unit, a typical size of errors.
COMPARED = {
    "temperature": ("c", True, "degC", 0.5),
    "salinity": ("c", True, "g kg-1", 0.1),
    "u": ("u", True, "m s-1", 0.05),
    "v": ("v", True, "m s-1", 0.05),
    "eta": ("c", False, "m", 0.05),
    "sst": ("c", False, "degC", 0.5),
    "sss": ("c", False, "g kg-1", 0.2),
}


def observe(state: State, names) -> dict[str, Field]:
    """What a target of these names is compared with.

    Raises:
        ValueError: a name not in :data:`COMPARED`.
    """
    check_names(names)
    everything = {"u": state.u, "v": state.v, "eta": state.eta, **state.tracers}
    everything |= {"sst": state.temperature.level(0), "sss": state.salinity.level(0)}
    return {n: everything[n].crop(0) for n in names}


def check_names(names) -> None:
    """Raises:
    ValueError: a name not in :data:`COMPARED`.
    """
    unknown = sorted(set(names) - set(COMPARED))
    if unknown:
        raise ValueError(f"cannot compare {', '.join(unknown)}; known are {', '.join(COMPARED)}")


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["weights", "scales"], meta_fields=["penalty"]
)
@dataclass(frozen=True)
class SquaredError:
    """Weighted mean of squared errors, each in units of its scale, summed over variables.

    Attributes:
        weights: name to ``([nz,] y, x)`` on this tile; over all ranks they add up to the variable's
            factor.
        scales: name to a scalar or a profile ``(nz, 1, 1)`` in the unit of the variable.
        penalty: how an error counts, in place of its square.
    """

    weights: dict[str, Any]
    scales: dict[str, Any]
    penalty: Penalty = SQUARED

    @property
    def names(self) -> list[str]:
        return list(self.weights)

    def __call__(
        self,
        predicted: dict[str, Field],
        target: dict[str, Field],
        valid: dict[str, Field] | None = None,
    ):
        """This rank's share of the loss: scalar.

        Args:
            predicted, target: name to Field ``([n,] [nz,] y, x)``; over n times the mean is taken.
            valid: same shapes, 1 where there is a target. What has no target counts as no error:
                the divisor stays that of the whole ocean.
        """
        return sum(jnp.mean(e) for e in self.by_time(predicted, target, valid).values())

    def by_time(self, predicted, target, valid=None) -> dict[str, Any]:
        """Shares by variable, ``(n,)`` or scalar; not summed over ranks."""
        return {
            n: self._one(n, predicted[n], target[n], (valid or {}).get(n)) for n in self.weights
        }

    def _one(self, name: str, predicted: Field, target: Field, valid: Field | None):
        weight = self.weights[name]
        # Where there is no target its value is arbitrary, even NaN, and must not reach the
        # derivative.
        there = weight > 0 if valid is None else (weight > 0) & (valid.interior > 0)
        error = jnp.where(there, predicted.interior - jnp.where(there, target.interior, 0.0), 0.0)
        counted = weight * self.penalty(error / self.scales[name])
        return jnp.sum(counted, axis=tuple(range(-weight.ndim, 0)))


def squared_error(
    halos,
    grid,
    factors: dict[str, float],
    scales: dict[str, Any],
    vertical: str = "volume",
    penalty: Penalty = SQUARED,
) -> SquaredError:
    """The loss of these variables; called on every rank.

    Args:
        factors: name to how much the variable counts. scales: name to scalar or profile; default: a
            typical error.
        vertical: ``volume``: every cell counts by its volume, or ``level``: every level counts the
            same. penalty: how an error counts, in place of its square.

    Raises:
        ValueError: unknown names or weighting, scales that are not above 0.
    """
    check_names([*factors, *scales])
    if vertical not in ("volume", "level"):
        raise ValueError(f"vertical weighting {vertical!r}: choose volume or level")
    scales = {n: jnp.asarray(scales.get(n, COMPARED[n][3]), grid.dz.dtype) for n in factors}
    bad = [n for n, s in scales.items() if not bool(jnp.all(jnp.isfinite(s) & (s > 0)))]
    if bad:
        raise ValueError(f"the scale of {', '.join(bad)} must be a number above 0")
    weights = {n: _weight(grid, n, vertical) for n in factors}
    weights = {n: once(halos, w, COMPARED[n][0]) for n, w in weights.items()}
    weights = halos.jit(lambda w: {n: _normalised(halos, w[n], vertical) * factors[n] for n in w})(
        weights
    )
    return SquaredError(weights, scales, penalty)


def _weight(grid, name: str, vertical: str):
    """Volume (m3) or area (m2) of each cell of this tile; 0 on land."""
    at, layered, *_ = COMPARED[name]
    area, wet = getattr(grid, f"area_{at}"), getattr(grid, f"wet_{at}")
    if not layered:
        return (area * wet).interior
    mask = getattr(grid, f"mask_{at}")
    return (mask * area * (getattr(grid, f"h_{at}") if vertical == "volume" else 1.0)).interior


def _normalised(halos, weight, vertical: str):
    if weight.ndim == 3 and vertical == "level":
        total = halos.psum(jnp.sum(weight, axis=(-2, -1), keepdims=True))
        return weight / jnp.where(total > 0, total, 1.0) / jnp.maximum(jnp.sum(total > 0), 1)
    return weight / halos.psum(jnp.sum(weight))


def level_spread(
    halos, grid, values: dict[str, Field], reference: dict[str, Field], floor: float = 0.05
) -> dict[str, Any]:
    """Root mean square of ``values - reference`` by level, over time and area: scales for
    :func:`squared_error`.

    With the state at the start of each window as reference, a loss of 1 is that of persistence.
    Quiet levels get at least ``floor`` of the largest value, or their round-off would count as much
    as the thermocline.

    Args:
        values, reference: name to Field ``([n,] [nz,] y, x)``.

    Returns:
        name to profile ``(nz, 1, 1)``, or scalar for variables without layers.
    """

    def spread(values, reference):
        out = {}
        for n in values:
            w = once(halos, _weight(grid, n, "level"), COMPARED[n][0])
            squared = jnp.square(values[n].interior - reference[n].interior)
            squared = squared.reshape(-1, *w.shape).mean(0)
            top, bottom = (
                jnp.sum(jnp.where(w > 0, x, 0.0), axis=(-2, -1), keepdims=True)
                for x in (w * squared, w)
            )
            top, bottom = halos.psum(jnp.stack([top, bottom]))
            rms = jnp.sqrt(top / jnp.where(bottom > 0, bottom, 1.0))
            rms = jnp.maximum(rms, jnp.maximum(floor * jnp.max(rms), 1e-12))
            out[n] = rms if w.ndim == 3 else rms.reshape(())
        return out

    return halos.jit(spread)(values, reference)
