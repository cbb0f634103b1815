"""Lateral friction and diffusion, harmonic and biharmonic."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import option, parameter
from dogcm.components.base import SHAPES
from dogcm.dynamics.interfaces import BottomDrag, Friction, LateralDiffusion
from dogcm.field import Field, fence, fmap, hold
from dogcm.operators import (
    diff_x_c2u,
    diff_x_q2v,
    diff_x_u2c,
    diff_x_v2q,
    diff_y_c2v,
    diff_y_q2u,
    diff_y_u2q,
    diff_y_v2c,
)
from dogcm.physics.coefficients import at_faces, at_q, on_layers


def spacing_scale(grid, reference: float, power: float) -> tuple:
    """Factors at centres and corners: (smaller side of the cell / reference spacing) to a power."""
    if power == 0.0:
        return 1.0, 1.0

    def scale(dx, dy):
        return (jnp.minimum(dx, dy) * (1.0 / reference)) ** power

    return fmap(scale, grid.dx_c, grid.dy_c), fmap(scale, grid.dx_q, grid.dy_q)


def viscosities(value, scale: tuple, grid) -> tuple:
    """A viscosity parameter (scalar, profile over layers, or map at centres) at centres and
    corners.

    Args:
        scale: factors there, from :func:`spacing_scale`.
    """
    return scale[0] * value, scale[1] * at_q(value, grid)


def strain(u: Field, v: Field, grid, no_slip: bool | float) -> tuple[Field, Field]:
    """Tension at centres and shearing strain at corners (s-1), in orthogonal coordinates: none in
    solid-body rotation.

    Args:
        no_slip: see :func:`friction`.
    """
    tension = diff_x_u2c(u / grid.dy_u) * (grid.dy_c / grid.dx_c) - diff_y_v2c(v / grid.dx_v) * (
        grid.dx_c / grid.dy_c
    )
    shear = diff_y_u2q(u / grid.dx_u) * (grid.dx_q / grid.dy_q) + diff_x_v2q(v / grid.dy_v) * (
        grid.dy_q / grid.dx_q
    )
    # Next to a wall the velocity falls to zero over half a cell, so the strain is twice as large.
    return tension, shear * (2.0 * no_slip + grid.mask_q * (1.0 - 2.0 * no_slip))


def friction(u: Field, v: Field, viscosity, grid, no_slip: bool | float) -> tuple[Field, Field]:
    """Divergence of the viscous stress: accelerations (m s-2) at west and south faces.

    The stress is the viscosity times tension and shearing strain in orthogonal coordinates
    (Smagorinsky 1993; Griffies and Hallberg 2000,
    doi:10.1175/1520-0493(2000)128<2935:BFWASL>2.0.CO;2): solid-body rotation feels none, angular
    momentum is conserved, kinetic energy only falls.

    Args:
        viscosity: m2 s-1; a scalar, or a pair for c and q of scalars, profiles over layers or
            Fields.
        no_slip: whether walls exert stress (velocity zero at the wall) or not; a number between 0
            and 1 is the part of that stress (partial slip).
    """
    A_c, A_q = viscosity if isinstance(viscosity, tuple) else (viscosity, viscosity)
    tension, shear = strain(*fence(u, v), grid, no_slip)
    return stress_divergence(
        *hold(tension * grid.h_visc_c * A_c, shear * grid.h_visc_q * A_q), grid
    )


def stress_divergence(stress_c: Field, stress_q: Field, grid) -> tuple[Field, Field]:
    """Accelerations (m s-2) at west and south faces by a symmetric stress without trace.

    What one cell loses its neighbour gains: angular momentum changes at walls alone, where
    ``stress_q`` acts.

    Args:
        stress_c: tension at centres, times thickness (m3 s-2). stress_q: shearing stress at
            corners, times thickness.
    """
    across, along = stress_c * (grid.dy_c**2), stress_q * (grid.dx_q**2)
    # On land the inverse thicknesses are zero.
    fu = (
        (diff_x_c2u(across) / grid.dy_u + diff_y_q2u(along) / grid.dx_u)
        * grid.inv_h_u
        / grid.area_u
    )
    across, along = stress_c * (grid.dx_c**2), stress_q * (grid.dy_q**2)
    fv = (
        (diff_x_q2v(along) / grid.dy_v - diff_y_c2v(across) / grid.dx_v)
        * grid.inv_h_v
        / grid.area_v
    )
    return fu, fv


def biharmonic_friction(
    u: Field, v: Field, viscosity, grid, no_slip: bool | float, root_scale=(1.0, 1.0)
):
    """Minus the friction of the friction: accelerations (m s-2); ``viscosity`` in m4 s-1.

    Where the viscosity varies in space by a factor, both frictions take its root, ``root_scale``
    (centres and corners): with all of it in one of them kinetic energy could rise.
    """
    lu, lv = friction(u, v, root_scale, grid, no_slip)
    fu, fv = friction(lu, lv, viscosities(viscosity, root_scale, grid), grid, no_slip)
    return -fu, -fv


def diffusive_fluxes(c: Field, diffusivity, grid) -> tuple[Field, Field]:
    """Fluxes through west and south faces (unit of c times m3 s-1 per layer) along layers.

    Args:
        diffusivity: m2 s-1; a scalar, a profile over layers, a Field at c, or a pair of Fields at u
            and v (orthotropic).
    """
    K_u, K_v = at_faces(diffusivity)
    c = fence(c)
    fx = diff_x_c2u(c) * (grid.h_u * grid.dy_u / grid.dx_u) * (-1.0) * K_u
    fy = diff_y_c2v(c) * (grid.h_v * grid.dx_v / grid.dy_v) * (-1.0) * K_v
    return fx, fy


def biharmonic_diffusive_fluxes(c: Field, diffusivity, grid) -> tuple[Field, Field]:
    """Fluxes of ``-div(D grad(div grad c))``; ``diffusivity`` in m4 s-1."""
    fx, fy = diffusive_fluxes(c, 1.0, grid)
    volume = grid.h_c * grid.area_c + (1.0 - grid.mask_c)
    curvature = hold((diff_x_u2c(fx) + diff_y_v2c(fy)) / volume * grid.mask_c)
    return diffusive_fluxes(curvature, diffusivity, grid)


class FrictionOfForm(Friction):
    """Friction with given viscosities in one of two forms."""

    def form(self, u: Field, v: Field, viscosity, grid, wall) -> tuple[Field, Field]:
        raise NotImplementedError

    def accelerations(self, u: Field, v: Field, params: dict, grid) -> tuple[Field, Field]:
        power, spacing, wall = self.viscosity_power, self.reference_spacing, self.wall_stress
        scale = spacing_scale(grid, spacing, power)
        viscosity = viscosities(params["lateral_viscosity"], scale, grid)
        fu, fv = self.form(u, v, viscosity, grid, wall)
        if self.biharmonic:
            root = spacing_scale(grid, spacing, 0.5 * power)
            value = params["biharmonic_viscosity"]
            bu, bv = biharmonic_friction(u, v, value, grid, wall, root)
            fu, fv = fu + bu, fv + bv
        return fu, fv


class StressFriction(FrictionOfForm):
    """Divergence of a viscous stress: solid-body rotation feels none."""

    kind: ClassVar[str] = "stress"
    source: ClassVar[str] = (
        "Griffies and Hallberg (2000), doi:10.1175/1520-0493(2000)128<2935:BFWASL>2.0.CO;2"
    )

    def form(self, u, v, viscosity, grid, wall) -> tuple[Field, Field]:
        return friction(u, v, viscosity, grid, wall)


class AlongLayers(LateralDiffusion):
    """Diffusion along layers, harmonic and biharmonic."""

    kind: ClassVar[str] = "along_layers"
    lateral_diffusivity: float = parameter(
        1e3, "m2 s-1", "harmonic diffusivity of tracers along layers", shapes=SHAPES, ge=0
    )
    biharmonic_diffusivity: float = parameter(
        0.0,
        "m4 s-1",
        "biharmonic diffusivity of tracers along layers (0: off)",
        shapes=SHAPES,
        ge=0,
    )

    def fluxes(self, c: Field, params: dict, grid, harmonic: bool) -> list[tuple[Field, Field]]:
        terms = []
        if harmonic:
            terms.append(diffusive_fluxes(c, params["lateral_diffusivity"], grid))
        if self.biharmonic_diffusivity > 0:
            terms.append(biharmonic_diffusive_fluxes(c, params["biharmonic_diffusivity"], grid))
        return terms


class Drag(BottomDrag):
    """Linear and quadratic bottom drag."""

    kind: ClassVar[str] = "drag"
    no_slip: bool = option(
        False, "1", "whether the bottom exerts viscous stress, besides bottom drag"
    )
    bottom_drag_linear: float = parameter(1e-4, "m s-1", "linear bottom drag", ge=0)
    bottom_drag_quadratic: float = parameter(1e-3, "1", "quadratic bottom drag coefficient", ge=0)

    def coefficients(self, params: dict, at, grid) -> tuple:
        linear, quadratic = at(params["bottom_drag_linear"]), at(params["bottom_drag_quadratic"])
        if self.no_slip:
            # Velocity falls to zero over half a layer.
            viscosity = at(on_layers(params["vertical_viscosity"]))
            linear = linear + viscosity * (2.0 / grid.dz)
        return linear, quadratic

    def check(self, config) -> None:
        owner = config.physics.background_mixing
        if self.no_slip and "vertical_viscosity" not in owner.parameter_infos():
            raise ValueError(
                "physics.bottom_drag.no_slip takes vertical_viscosity, which "
                f"physics.background_mixing: {owner.name()} does not have"
            )
