"""Eddy (thickness) diffusivity that follows the flow (Visbeck, Marshall, Haine and Spall 1997,
doi:10.1175/1520-0485(1997)027<0381:SOEHTV>2.0.CO;2):

    kappa = alpha l**2 <sigma>,      sigma = f / sqrt(Ri) = N S = M2 / N

with the Eady growth rate sigma, averaged over the depth of the column, the length l of a baroclinic
zone, and M2 the horizontal gradient of buoyancy. Where neutral surfaces are steep, sigma goes over
from N S to N S_max:

    sigma**2 = N2 M2**2 S_max**2 / (M2**2 + N2**2 S_max**2)

which is zero where there is no stratification. With ``x = kappa / (most - least)`` what acts is

    least + (most - least) x / (1 + x**4)**(1/4)

It differs from ``least + kappa`` by less than one per cent up to x = 0.4, and has a derivative
everywhere.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.components.bijectors import LogInterval
from dogcm.field import Field, fence, fmap, hold
from dogcm.operators import common, diff_x_c2u, diff_y_c2v, mean_z_c2w, sum_x_u2c, sum_y_v2c, sum_z
from dogcm.physics.isoneutral import Isoneutral

HALO = 2  # of density
_NONE = 1e-26  # s-8: keeps the ratio finite without gradients
_SLOWEST = 1e-20  # s-2: a growth rate of 1e-10 s-1, whose root has a derivative


def growth_rate(
    density: Field, n2: Field, grid, max_slope: float, gravity: float, rho0: float
) -> Field:
    """Eady growth rate (s-1), mean over the depth of the column, (y, x); next to nothing on land.

    Args:
        density: anomaly (kg m-3) on layers. n2: squared buoyancy frequency (s-2) at interfaces.
    """
    density = fence(density)
    bx = mean_z_c2w(diff_x_c2u(density) / grid.dx_u * grid.mask_u) * grid.mask_uw
    by = mean_z_c2w(diff_y_c2v(density) / grid.dy_v * grid.mask_v) * grid.mask_vw
    # Over the wet faces: there is no gradient across the others.
    m4 = _of_wet(sum_x_u2c(bx * bx), sum_x_u2c(grid.mask_uw)) + _of_wet(
        sum_y_v2c(by * by), sum_y_v2c(grid.mask_vw)
    )
    steepest, factor = max_slope**2, (gravity / rho0) ** 2

    def rate(m4, n2, mask):
        m4, n2 = factor * m4, jnp.maximum(n2, 0.0)
        square = n2 * m4 * steepest / (m4 + n2 * n2 * steepest + _NONE)
        return jnp.sqrt(square + _SLOWEST) * mask

    m4, n2, mask = common(hold(m4), n2, grid.mask_cw)
    total, depth = (
        sum_z(fmap(rate, m4, n2, mask, name="growth rate") * grid.dz_w),
        sum_z(mask * grid.dz_w),
    )
    return fmap(lambda t, d: t / jnp.maximum(d, 1.0), total, depth, name="growth rate")


def _of_wet(total: Field, count: Field) -> Field:
    return fmap(lambda t, n: t / jnp.maximum(n, 1.0), total, count, name="mean over wet faces")


def diffusivity(
    density: Field, n2: Field, params: dict, grid, max_slope: float, gravity: float, rho0: float
) -> Field:
    """Eddy diffusivity (m2 s-1) at centres, (y, x); arguments as for :func:`growth_rate`."""

    def bounded(sigma, alpha, length, least, most):
        span = jnp.maximum(most - least, 1e-3)
        x = alpha * length * length * sigma / span
        square = x * x
        return least + span * x / jnp.sqrt(jnp.sqrt(1.0 + square * square))

    names = ("visbeck_alpha", "visbeck_length", "visbeck_least", "visbeck_most")
    sigma = growth_rate(density, n2, grid, max_slope, gravity, rho0)
    return hold(fmap(bounded, sigma, *(params[n] for n in names), name="eddy diffusivity"))


class Visbeck(Isoneutral):
    """Isoneutral diffusion, and Gent-McWilliams skew fluxes by the growth rate of eddies (Visbeck
    et al. 1997)."""

    kind: ClassVar[str] = "visbeck"
    source: ClassVar[str] = "doi:10.1175/1520-0485(1997)027<0381:SOEHTV>2.0.CO;2"
    visbeck_alpha: float = parameter(
        0.015,
        "1",
        "eddy diffusivity over length squared times growth rate",
        bijector=LogInterval(1e-4, 1.0),
        ge=0,
        le=1,
    )
    visbeck_length: float = parameter(2e5, "m", "width of a baroclinic zone", gt=0)
    visbeck_least: float = parameter(100.0, "m2 s-1", "eddy diffusivity without growth", ge=0)
    visbeck_most: float = parameter(
        2500.0, "m2 s-1", "eddy diffusivity of the fastest growth", gt=0
    )

    def tracer_halo(self) -> int:
        return HALO

    def check(self, config) -> None:
        if self.visbeck_most <= self.visbeck_least:
            raise ValueError(
                f"parameters.visbeck_most {self.visbeck_most:g} m2 s-1 is not above visbeck_least "
                f"{self.visbeck_least:g} m2 s-1"
            )

    def diffusivities(self, density: Field, n2: Field, params: dict, grid, physics) -> dict:
        found = diffusivity(
            density, n2, params, grid, self.max_slope, physics.gravity, physics.rho0
        )
        return {**params, "gm_diffusivity": found}


__all__ = ["HALO", "Visbeck", "diffusivity", "growth_rate"]
