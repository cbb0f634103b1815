"""Lateral viscosity that follows the flow: large where the grid cuts off a cascade, nothing at
rest.

With strain rate D (tension and shearing, s-1), vorticity zeta, divergence delta, and the length L
of a cell, ``2 / L**2 = 1 / dx**2 + 1 / dy**2``:

* ``smagorinsky``: A = (C L / pi)**2 |D| (Smagorinsky 1963; Griffies and Hallberg 2000,
  doi:10.1175/1520-0493(2000)128<2935:BFWASL>2.0.CO;2, who take C from 2.2 to 4);
* ``leith``: A = (C L / pi)**3 (grad(zeta)**2 + grad(delta)**2)**(1/2) (Leith 1996,
  doi:10.1016/S0167-2789(96)00074-3; with divergence as modified by Fox-Kemper and Menemenlis 2008,
  doi:10.1029/177GM19, who take C = 1).

The biharmonic form has the viscosity B = A L**2 / 8, and friction with its root is applied twice:
energy then falls whatever the flow is. Both are kept, smoothly, below what the explicit time step
bears.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from dogcm.components import option, parameter
from dogcm.dynamics.interfaces import EddyViscosity
from dogcm.dynamics.momentum import vorticity
from dogcm.field import Field, fmap, hold
from dogcm.operators import (
    diff_x_c2u,
    diff_x_q2v,
    diff_x_u2c,
    diff_y_c2v,
    diff_y_q2u,
    diff_y_v2c,
    mean_x_q2v,
    mean_x_u2c,
    mean_x_v2q,
    mean_y_c2v,
    mean_y_u2q,
    mean_y_v2c,
)
from dogcm.physics.coefficients import at_q
from dogcm.physics.lateral import friction, strain

SCHEMES = ("smagorinsky", "leith")
FORMS = ("harmonic", "biharmonic")
# Harmonic friction explodes where A dt (1/dx2 + 1/dy2) > 1/2, biharmonic where B dt (..)**2 > 1/8;
# half of it is left for walls and for constant viscosity.
_SHARE, _SHARE_BIHARMONIC = 0.25, 0.0625
# Where a rate vanishes its root has no slope: strain (s-1), and gradients of vorticity times L
# (s-1).
_LEAST = 1e-10

# Halo of velocity from which the two forms leave what a step needs.
HALO = {"harmonic": 3, "biharmonic": 4}


class Closure(NamedTuple):
    """A choice of closure: one of :data:`SCHEMES`, one of :data:`FORMS`, and the step
    that it has to
    bear (s)."""

    scheme: str
    form: str
    dt: float


def _inverse_squares(grid) -> tuple[Field, Field]:
    """``1 / dx**2 + 1 / dy**2`` at centres and corners (m-2)."""
    both = lambda dx, dy: 1.0 / (dx * dx) + 1.0 / (dy * dy)
    return fmap(both, grid.dx_c, grid.dy_c), fmap(both, grid.dx_q, grid.dy_q)


def _to_q(f: Field) -> Field:
    return mean_x_v2q(mean_y_c2v(f))


def _to_c(f: Field) -> Field:
    return mean_y_v2c(mean_x_q2v(f))


def _strain_rate(u: Field, v: Field, grid, wall) -> tuple[Field, Field]:
    """|D| at centres and corners (s-1)."""
    tension, shear = strain(u, v, grid, wall)
    t2, s2 = hold(tension * tension * grid.mask_c, shear * shear)
    return _root(t2 + _to_c(s2)), _root(_to_q(t2) + s2)


def _gradients(u: Field, v: Field, grid) -> tuple[Field, Field]:
    """Gradients of vorticity and divergence together, at centres and corners (m-1 s-1)."""
    zeta = vorticity(u, v, grid)
    delta = (diff_x_u2c(u * grid.dy_u) + diff_y_v2c(v * grid.dx_v)) / grid.area_c * grid.mask_c
    square = lambda f: f * f
    zeta_u, zeta_v = (
        diff_y_q2u(zeta) / grid.dy_u * grid.mask_u,
        diff_x_q2v(zeta) / grid.dx_v * grid.mask_v,
    )
    delta_u, delta_v = (
        diff_x_c2u(delta) / grid.dx_u * grid.mask_u,
        diff_y_c2v(delta) / grid.dy_v * grid.mask_v,
    )
    at_u, at_v = hold(square(zeta_u) + square(delta_u), square(zeta_v) + square(delta_v))
    return mean_x_u2c(at_u) + mean_y_v2c(at_v), mean_y_u2q(at_u) + mean_x_v2q(at_v)


def _root(f: Field) -> Field:
    return fmap(lambda x: jnp.sqrt(x + _LEAST**2), f, name="rate")


def viscosities(
    u: Field, v: Field, coefficient, closure: Closure, grid, wall
) -> tuple[Field, Field]:
    """Viscosity at centres and corners: m2 s-1, or m2 s-1/2 for the root of the biharmonic one.

    Args:
        coefficient: C, a scalar or a map at centres. wall: see
            :func:`dogcm.physics.lateral.friction`.
    """
    squares = _inverse_squares(grid)
    if closure.scheme == "smagorinsky":
        rates, power = _strain_rate(u, v, grid, wall), 2
    else:
        # |grad| times L, of the dimension of a strain.
        found = zip(_gradients(u, v, grid), squares)
        rates, power = tuple(_root(g * 2.0 / s) for g, s in found), 3
    both = zip((coefficient, at_q(coefficient, grid)), rates, squares)
    return hold(*(_bounded(c, r, s, power, closure) for c, r, s in both))


def _bounded(coefficient, rate: Field, squares: Field, power: int, closure: Closure) -> Field:
    """From a rate of strain (s-1) to a viscosity that the step bears.

    ``A dt (1/dx**2 + 1/dy**2)`` is a pure number, ``2 (C / pi)**power rate dt``: the bound is on
    that.
    """
    biharmonic, dt = closure.form == "biharmonic", closure.dt

    def value(c, r, s):
        number = (c * (1 / np.pi)) ** power * r * (2.0 * dt)
        if not biharmonic:
            return number / jnp.sqrt(1.0 + (number / _SHARE) ** 2) / (s * dt)
        number = number * 0.25  # B dt s**2
        # Also at C = 0 the root needs a slope.
        return jnp.sqrt(1e-30 + number / jnp.sqrt(1.0 + (number / _SHARE_BIHARMONIC) ** 2) / dt) / s

    return fmap(value, coefficient, rate, squares, name="viscosity")


def eddy_friction(
    u: Field, v: Field, coefficient, closure: Closure, grid, wall
) -> tuple[Field, Field]:
    """Accelerations (m s-2) at west and south faces.

    The stress is that of :func:`dogcm.physics.lateral.friction`: solid-body rotation feels none,
    angular momentum is conserved, kinetic energy only falls.

    Args:
        u, v: m s-1, with the halo that :data:`HALO` says.
        coefficient: C, a scalar or a map at centres. wall: as there.
    """
    A = viscosities(u, v, coefficient, closure, grid, wall)
    if closure.form == "harmonic":
        return friction(u, v, A, grid, wall)
    fu, fv = friction(*hold(*friction(u, v, A, grid, wall)), A, grid, wall)
    return -fu, -fv


class _FollowsTheFlow(EddyViscosity):
    """Viscosity by the rates of the flow."""

    form: Literal[FORMS] = option("harmonic", "1", "form of the friction")

    def momentum_halo(self) -> int:
        return HALO[self.form]

    def accelerations(self, u: Field, v: Field, params: dict, grid, physics):
        closure = Closure(self.kind, self.form, physics.momentum_dt)
        wall = physics.friction.wall_stress
        return eddy_friction(u, v, params[self.kind], closure, grid, wall)


class Smagorinsky(_FollowsTheFlow):
    """Viscosity by the rate of strain (Smagorinsky 1963)."""

    kind: ClassVar[str] = "smagorinsky"
    source: ClassVar[str] = (
        "Griffies and Hallberg (2000), doi:10.1175/1520-0493(2000)128<2935:BFWASL>2.0.CO;2"
    )
    smagorinsky: float = parameter(3.0, "1", "coefficient C", ge=0, le=10)


class Leith(_FollowsTheFlow):
    """Viscosity by gradients of vorticity and divergence (Leith 1996)."""

    kind: ClassVar[str] = "leith"
    source: ClassVar[str] = "doi:10.1016/S0167-2789(96)00074-3"
    leith: float = parameter(1.0, "1", "coefficient C", ge=0, le=10)
