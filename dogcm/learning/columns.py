"""Targets that are known at some columns only, like profiles of floats."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from dogcm.learning.losses import COMPARED, SquaredError


def at_columns(
    loss: SquaredError, columns: dict[str, int], decomposition, halos, grid, seed: int = 0
) -> SquaredError:
    """The loss with some variables compared at a few columns; every rank calls it.

    Columns are drawn by area from all that are wet, the same for every variable of the same number;
    what is drawn depends on the seed and the global grid alone. Every level keeps the weight that
    it had in all.

    Args:
        columns: variable at cell centres to number of columns.

    Raises:
        ValueError: a variable that is not compared or not at cell centres, or more columns than
            there are.
    """
    weights = dict(loss.weights)
    for name, count in columns.items():
        if name not in weights or COMPARED[name][0] != "c":
            raise ValueError(
                f"loss.columns: {name} is not among the compared variables at cell centres"
            )
        chosen = jnp.asarray(_draw(decomposition, grid, count, seed), bool)
        weights[name] = halos.jit(_restricted, static_argnums=0)(halos, weights[name], chosen)
    return replace(loss, weights=weights)


def _draw(decomposition, grid, count: int, seed: int) -> np.ndarray:
    """1 at the chosen columns of this tile."""
    area = decomposition.gather(np.asarray((grid.area_c * grid.wet_c).interior, np.float64))
    chosen, error = None, None
    if decomposition.is_root:
        if 0 < count <= np.count_nonzero(area):
            places = np.random.default_rng(seed).choice(
                area.size, count, replace=False, p=area.ravel() / area.sum()
            )
            chosen = np.zeros(area.size)
            chosen[places] = 1.0
            chosen = chosen.reshape(area.shape)
        else:
            error = (
                f"loss.columns: {count} columns cannot be drawn from {np.count_nonzero(area)} that "
                f"are wet"
            )
    error = decomposition.comm.broadcast(error)
    if error is not None:
        raise ValueError(error)
    return decomposition.scatter(chosen)


def _restricted(halos, weight, chosen):
    kept = jnp.where(chosen, weight, 0.0)
    before, after = (halos.psum(jnp.sum(w, axis=(-2, -1), keepdims=True)) for w in (weight, kept))
    return kept * jnp.where(after > 0, before / jnp.where(after > 0, after, 1.0), 0.0)


__all__ = ["at_columns"]
