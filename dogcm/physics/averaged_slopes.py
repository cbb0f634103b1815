"""Isoneutral diffusion and Gent-McWilliams with slopes averaged to where the fluxes are, as in
MITgcm's package gmredi.

Across a face, and up through an interface,

    -(K t C_x + (K - kappa) S t C_z),        -((K + kappa) S t C_x + K S**2 t C_z)

with the slope S of density gradients averaged to the face, or to the interface, from the four
places around, gradients of the tracer likewise, and the taper t of the whole slope (x and y
together). The term in ``S**2`` is a vertical diffusivity for the implicit solver. Gradients across
the sea surface and the floor count as 0, so that in the first and the last layer slopes at faces
are twice those of the one interface there is, and all of K acts.

Beside triads (:mod:`dogcm.physics.isoneutral`): where slopes change from one place to the next, as
at the foot of mixed layers, the square of a mean slope is less than the mean of squares, and less
is mixed vertically. Averages do not see what alternates from cell to cell, and a tracer's variance
need not fall.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.field import Field, fence, fmap, hold
from dogcm.operators import (
    diff_x_c2u,
    diff_y_c2v,
    diff_z_c2w,
    mean_x_c2u,
    mean_x_u2c,
    mean_y_c2v,
    mean_y_v2c,
    mean_z_c2w,
    mean_z_w2c,
)
from dogcm.physics.coefficients import at_interfaces, at_u, at_v
from dogcm.physics.isoneutral import WEAKEST, NeutralDiffusion, SlopeTaper


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["along_x", "along_y", "tilt_x", "tilt_y", "up_x", "up_y", "vertical_diffusivity"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Tensor:
    """Coefficients of one step, alike for all tracers.

    Attributes:
        along_x, along_y: of the difference across west and south faces (m3 s-1). tilt_x, tilt_y: of
            the vertical gradient there (m4 s-1). up_x, up_y: of the horizontal gradients at
            interfaces (m2 s-1). vertical_diffusivity: m2 s-1 at interfaces.
    """

    along_x: Field
    along_y: Field
    tilt_x: Field
    tilt_y: Field
    up_x: Field
    up_y: Field
    vertical_diffusivity: Field


class AveragedSlopes(NeutralDiffusion):
    """Isoneutral diffusion and Gent-McWilliams skew fluxes with averaged slopes, as MITgcm's."""

    kind: ClassVar[str] = "averaged_slopes"
    source: ClassVar[str] = "MITgcm, pkg/gmredi, doi:10.1029/96JC02775"

    def prepare(self, density, n2, stretch, params: dict, grid, physics) -> Tensor:
        density, n2 = fence(density, n2)
        scale = physics.rho0 / physics.gravity
        rise = fmap(lambda n, z: jnp.maximum(n * z * scale, WEAKEST), n2, stretch, name="rise")
        across = diff_x_c2u(density) / grid.dx_u, diff_y_c2v(density) / grid.dy_v
        sx, sy, rise = hold(across[0] * grid.mask_u, across[1] * grid.mask_v, rise * grid.mask_cw)
        middle, taper = mean_z_w2c(rise), self.slope_taper
        along_x, tilt_x = _at_faces(
            (sx, mean_x_c2u(mean_y_v2c(sy)), mean_x_c2u(middle)),
            grid.h_u * grid.dy_u,
            grid.dx_u,
            at_u,
            params,
            taper,
        )
        along_y, tilt_y = _at_faces(
            (sy, mean_y_c2v(mean_x_u2c(sx)), mean_y_c2v(middle)),
            grid.h_v * grid.dx_v,
            grid.dy_v,
            at_v,
            params,
            taper,
        )
        K, kappa = (at_interfaces(params[n]) for n in ("isoneutral_diffusivity", "gm_diffusivity"))
        averages = mean_x_u2c(mean_z_c2w(sx)), mean_y_v2c(mean_z_c2w(sy))
        x, y, squared, _ = _slopes(*averages, rise, taper)
        wet = grid.mask_cw
        both = K + kappa
        up_x, up_y, down = hold(x * both * wet, y * both * wet, squared * K * wet)
        return Tensor(along_x, along_y, tilt_x, tilt_y, up_x, up_y, down)

    def fluxes(self, c: Field, prepared: Tensor, grid) -> tuple[Field, Field, Field]:
        c, t = fence(c), prepared
        dx, dy = hold(diff_x_c2u(c) * grid.mask_u, diff_y_c2v(c) * grid.mask_v)
        down = hold(mean_z_w2c(diff_z_c2w(c) * (1.0 / grid.dz_w) * grid.mask_cw))
        fx = t.along_x * dx + t.tilt_x * mean_x_c2u(down)
        fy = t.along_y * dy + t.tilt_y * mean_y_c2v(down)
        up = t.up_x * mean_x_u2c(mean_z_c2w(dx / grid.dx_u))
        up = up + t.up_y * mean_y_v2c(mean_z_c2w(dy / grid.dy_v))
        return fx * (-1.0), fy * (-1.0), up * (-1.0)


def _slopes(sx: Field, sy: Field, rise: Field, taper: SlopeTaper) -> tuple[Field, ...]:
    """Tapered slopes in x and y, their tapered sum of squares, and the taper.

    Args:
        sx, sy: density gradients (kg m-4) along the layer. rise: downwards.
    """
    # Of the four interfaces around a face one may be stratified as weakly as counts.
    over = fmap(lambda r: 1.0 / jnp.maximum(r, 0.25 * WEAKEST), rise, name="inverse rise")
    x, y = sx * over, sy * over
    squared = x * x + y * y
    shrunk = fmap(taper.shrunk, squared, name="bound")
    root = fmap(jnp.sqrt, shrunk, name="bound")
    part = fmap(lambda s, b: taper.factor(s * b), squared, shrunk, name="taper")
    return x * root * part, y * root * part, squared * shrunk * part, part


def _at_faces(
    gradients: tuple[Field, ...], area, distance, to_faces, params: dict, taper: SlopeTaper
) -> tuple[Field, Field]:
    """Coefficients of the difference across faces (m3 s-1), and of the vertical gradient there
    (m4 s-1).

    Args:
        gradients: of density (kg m-4) along, across and down. area: of the faces (m2). distance:
            between the centres on both sides (m). to_faces: brings a parameter there.
    """
    tilted, _, _, part = _slopes(*gradients, taper)
    K, kappa = to_faces(params["isoneutral_diffusivity"]), to_faces(params["gm_diffusivity"])
    floor = to_faces(params["isoneutral_floor"])
    always = to_faces(params.get("lateral_diffusivity", 0.0))
    along = fmap(lambda a, b: jnp.maximum(a, b), part * K, part * 0.0 + floor, name="along")
    return hold((along + always) * (area / distance), tilted * (K - kappa) * area)


__all__ = ["AveragedSlopes", "Tensor"]
