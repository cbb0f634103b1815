"""Changes of the initial state as unknowns (strong-constraint 4D-Var).

The optimiser sees dimensionless controls c, one per cell, independent and of unit variance a
priori. They change the start by

    x' = s N D c

with s the standard deviation of the background's error, D a number of steps of explicit diffusion,
which give it correlation lengths, and N the factor that makes up for the variance that D takes
away. With B = s N D D' N s the background term of 4D-Var, ``0.5 x' inv(B) x'``, is ``0.5
sum(c**2)``: the control variable transform, with correlations as in Weaver and Courtier (2001,
doi:10.1002/qj.49712757518). N is exact in wide water on an even grid; beside walls, which diffusion
does not cross, the standard deviation is larger than s, along a straight coast by a factor of up to
1.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.field import Field, exchange, zeros_like
from dogcm.operators import diff_x_c2u, diff_x_u2c, diff_y_c2v, diff_y_v2c, diff_z_c2w, diff_z_w2c

#: Variables whose start can be changed, and a typical error of them.
CHANGEABLE = {"temperature": 0.5, "salinity": 0.1, "eta": 0.05}
# Steps of diffusion, and the largest diffusion number of each, below which no wave changes its
# sign.
_STEPS, _LARGEST = 24, 0.2
#: Longest correlation length in cells (4.4). Where cells are smaller than length / LONGEST the
# length is so many cells.
LONGEST = float(np.sqrt(4 * _STEPS * _LARGEST))


@dataclass(frozen=True)
class InitialChange:
    """What may change about one variable at the start.

    Attributes:
        name: one of :data:`CHANGEABLE`. scale: standard deviation of the background's error, unit
            of the variable.
        length, depth: horizontal and vertical correlation length L (m) of ``exp(-r**2 / (2
            L**2))``, see :data:`LONGEST`; 0: cells are independent.

    Raises:
        ValueError: unknown name, a scale that is not above 0, a negative length.
    """

    name: str
    scale: float
    length: float = 0.0
    depth: float = 0.0

    def __post_init__(self):
        if self.name not in CHANGEABLE:
            raise ValueError(
                f"the start of {self.name!r} cannot be learned; choose from {', '.join(CHANGEABLE)}"
            )
        if not self.scale > 0 or self.length < 0 or self.depth < 0:
            raise ValueError(f"initial.{self.name}: scale must be above 0, lengths at least 0")


class InitialSet:
    """All that one training may change about the start.

    Controls are a dict: name to Field ``([nz,] y, x)`` at cell centres, interior, tiled.

    Args:
        items: :class:`InitialChange` of different variables.
    """

    def __init__(self, items):
        self.items = tuple(items)
        names = [i.name for i in self.items]
        if len(set(names)) < len(names):
            raise ValueError(f"initial: a variable is named twice among {', '.join(names)}")

    def start(self, state) -> dict[str, Field]:
        """Controls of no change."""
        fields = state.variables()
        return {i.name: zeros_like(fields[i.name].crop(0)) for i in self.items}

    def changes(self, controls: dict[str, Field], halos, grid) -> dict[str, Field]:
        """Changes of the variables, in their units, 0 on land; called once per rollout, inside
        ``jit``."""
        return {i.name: _spread(i, controls[i.name], halos, grid) for i in self.items}

    def background(self, controls: dict[str, Field], grid) -> Any:
        """This rank's share of ``0.5 sum(c**2)`` over wet cells."""
        chosen = [controls[i.name] for i in self.items]
        return sum(
            (0.5 * jnp.sum((c**2 * _mask(c, grid, "c")).interior) for c in chosen), jnp.zeros(())
        )


def _mask(f: Field, grid, at: str) -> Field:
    return getattr(grid, f"mask_{at}" if f.ndim == 3 else f"wet_{at}")


def _spread(item: InitialChange, control: Field, halos, grid) -> Field:
    """``s N D c``."""
    f = control * _mask(control, grid, "c")
    factor = item.scale
    if item.depth and f.ndim == 3 and grid.nz > 1:
        numbers = _limited(item.depth, grid.dz_w)
        f = _repeated(lambda f: f + diff_z_w2c(_along_z(f, numbers, grid)) / grid.dz, f)
        factor = factor * _gain(_limited(item.depth, grid.dz) / grid.dz**2)
    if item.length:
        k_x, k_y = (_limited(item.length, s) for s in (grid.dx_u, grid.dy_v))
        k_x = k_x * grid.dy_u / grid.dx_u * _mask(f, grid, "u")
        k_y = k_y * grid.dx_v / grid.dy_v * _mask(f, grid, "v")
        f = _repeated(lambda f: _across(f, k_x, k_y, halos, grid), f)
        factor = _gain_of(item.length, grid.dx_c) * _gain_of(item.length, grid.dy_c) * factor
    return (f * factor).crop(0).named(item.name)


def _limited(length: float, spacing):
    """Diffusivity times time (m2) of one step that leads to ``length``, or to LONGEST cells, after
    all of them.

    D makes a Gaussian of variance ``2 n K t`` of a point, so D D' has twice that, and this is the
    squared length.
    """
    wanted = 0.25 * length**2 / _STEPS
    smaller = lambda s: jnp.minimum(wanted, _LARGEST * s**2)
    return (
        spacing.with_data(smaller(spacing.data)) if isinstance(spacing, Field) else smaller(spacing)
    )


def _along_z(f: Field, numbers, grid) -> Field:
    return diff_z_c2w(f) * (numbers / grid.dz_w) * grid.mask_cw


def _across(f: Field, k_x: Field, k_y: Field, halos, grid) -> Field:
    """One step along x, then one along y, so that the variances of the two multiply."""
    (f,) = exchange(halos, (f, 1))
    f = f + diff_x_u2c(diff_x_c2u(f) * k_x) / grid.area_c
    return (f + diff_y_v2c(diff_y_c2v(f) * k_y) / grid.area_c).crop(0)


def _repeated(step, f: Field) -> Field:
    return jax.lax.scan(lambda f, _: (step(f), None), f, length=_STEPS)[0]


def _gain_of(length: float, spacing: Field) -> Field:
    return spacing.with_data(_gain(_limited(length, spacing.data) / spacing.data**2))


def _gain(number):
    """One over the standard deviation that diffusion with this number leaves of independent values
    of unit variance.

    By Parseval: the mean over wave numbers of the squared response.
    """
    response = 0.0
    # Plain floats: scalars of NumPy would make a float32 run float64.
    waves = ((np.arange(64) + 0.5) * np.pi / 64).tolist()
    for wave in waves:
        response = response + (1.0 - 2.0 * number * (1.0 - math.cos(wave))) ** (2 * _STEPS)
    return (response / len(waves)) ** -0.5


__all__ = ["CHANGEABLE", "InitialChange", "InitialSet", "LONGEST"]
