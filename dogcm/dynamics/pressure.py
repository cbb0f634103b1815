"""Hydrostatic pressure and its gradient on z* surfaces."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.dynamics.interfaces import Pressure
from dogcm.field import Field, fmap
from dogcm.operators import (
    common,
    diff_x_c2u,
    diff_y_c2v,
    lower_z_c2w,
    mean_x_c2u,
    mean_y_c2v,
    mean_z_c2w,
    running_sum_down,
    upper_z_c2w,
)


def hydrostatic_pressure(
    density: Field, stretch: Field, grid, gravity: float, rho0: float, profile: str = "layers"
) -> Field:
    """Pressure anomaly over rho0 at layer centres (m2 s-2), from the density anomaly (kg m-3).

    Every layer counts with its full thickness at rest, also where the bottom cuts it: a
    horizontally uniform ocean then has exactly uniform pressure on each layer, and stays at rest
    over any bathymetry.

    Args:
        profile: density between the centres: ``layers``: uniform in each layer; ``linear``: from
            centre to centre, which is more accurate where neighbouring layers differ in thickness.
    """
    if profile == "linear":
        first = density.level(slice(0, 1)) * grid.dz[:1] * 0.5
        steps = mean_z_c2w(density) * grid.dz_w
        both = first.with_data(jnp.concatenate([first.data, steps.data]))
        return running_sum_down(both) * (stretch * (gravity / rho0))
    weight = density * grid.dz
    upto = running_sum_down(weight)  # down to the bottom of each layer
    return (upto - 0.5 * weight) * (stretch * (gravity / rho0))


def cell_depths(grid) -> Field:
    """Depth (m, positive down) at rest of the centre of every cell, also where the bottom cuts
    it."""
    top = grid.z_c - 0.5 * grid.dz
    return grid.h_c * 0.5 + top


def pressure_at_centres(
    density: Field, slope: Field, stretch: Field, grid, gravity: float, rho0: float
) -> Field:
    """Pressure anomaly over rho0 (m2 s-2) at the centres of cells, partial cells at theirs.

    Between two centres density is a cubic with the given slopes. In dry cells the value has no
    meaning.

    Args:
        slope: of density with depth (kg m-4) at centres.
    """
    depth = cell_depths(grid)
    z = depth.level(slice(0, 1))
    # Up to the surface density is linear.
    first = z * (density.level(slice(0, 1)) - z * slope.level(slice(0, 1)) * 0.5)
    distance = diff_z_downwards(depth)
    bend = diff_z_downwards(slope) * (distance * distance) * (1.0 / 12.0)
    steps = mean_z_c2w(density) * distance - bend
    both = first.with_data(jnp.concatenate([first.data, steps.data]))
    return running_sum_down(both) * (stretch * (gravity / rho0))


def at_true_depths(eos, temperature: Field, salinity: Field, density: Field, grid) -> Field:
    """``density`` (anomaly, kg m-3, at the depths of layers) with that of partial cells at the
    depth of their own centres, linear in depth between the layer and the one above."""
    layers = slice(1, None)
    T, S = temperature.level(layers), salinity.level(layers)
    higher = eos.anomaly(T, S, slice(None, -1))
    depth, z = cell_depths(grid).level(layers), grid.z_c[1:]
    own, wet = density.level(layers), grid.mask_c.level(layers)

    def brought(own, higher, depth, wet):
        return own + (higher - own) * ((z - depth) / grid.dz_w) * wet

    below = fmap(brought, *common(own, higher, depth, wet), name="density")
    top = density.level(slice(0, 1)).crop(below.halo)
    return density.crop(below.halo).with_data(jnp.concatenate([top.data, below.data]))


def density_slope(density: Field, grid) -> Field:
    """How density grows with depth (kg m-4) at the centres of cells: of the cubics through four
    centres, at the surface and at the bottom of the last one; of lower order in columns of fewer
    cells."""
    if density.shape[0] < 2:
        return density * 0.0
    distance = diff_z_downwards(cell_depths(grid))
    safe = fmap(lambda d: jnp.maximum(d, 1e-3), distance, name="distance")
    rate = diff_z_downwards(density) / safe * grid.mask_cw
    wet = grid.mask_cw.crop(rate.halo).data
    return density.crop(rate.halo).with_data(_slopes(rate.data, safe.crop(rate.halo).data, wet))


def _slopes(r, h, wet):
    """Slopes at all centres, by Newton's divided differences of first (``r``), second and third
    order.

    Args:
        r, h, wet: difference over distance, distance (m), and whether both cells are wet, of
            neighbouring centres.
    """
    none, count = jnp.zeros_like(r[:1]), r.shape[0] - 1
    joined = lambda *parts: jnp.concatenate(parts)[:count]
    curve = (r[1:] - r[:-1]) / (h[1:] + h[:-1]) * wet[1:]
    third = (curve[1:] - curve[:-1]) / (h[2:] + h[1:-1] + h[:-2]) * wet[2:]
    # Of the two cubics around a cell there may be one or none.
    cubics = joined(none, jnp.ones_like(third)) + joined(wet[2:], none)
    mean = (joined(none, third) + joined(third, none)) / jnp.maximum(cubics, 1.0)
    middle = (r[:-1] * h[1:] + r[1:] * h[:-1]) / (h[1:] + h[:-1]) - mean * h[1:] * h[:-1]
    top = r[:1]
    if curve.shape[0]:
        top = top - curve[:1] * h[:1]
    if third.shape[0]:
        top = top + third[:1] * h[:1] * (h[:1] + h[1:2])
    # The deepest wet cell: beyond its own interface nothing is known.
    span = jnp.concatenate([none, h[1:] + h[:-1]])
    higher = jnp.concatenate([none, none, third])[: count + 1] * span
    foot = r + (jnp.concatenate([none, curve]) + higher) * h
    return jnp.concatenate([top, jnp.where(wet[1:] > 0, middle, foot[:-1]), foot[-1:]])


def diff_z_downwards(f: Field) -> Field:
    """Each layer below an interface less the one above it."""
    return lower_z_c2w(f) - upper_z_c2w(f)


def pressure_gradient(
    pressure: Field,
    density: Field,
    eta: Field,
    grid,
    gravity: float,
    rho0: float,
    depth: Field | None = None,
) -> tuple[Field, Field]:
    """Accelerations (m s-2) by the baroclinic pressure gradient, at west and south faces.

    The second term accounts for the slope of z* surfaces, which rise with eta and fade towards the
    bottom: ``z = eta - z_c (1 + eta / H)`` for the depth at rest ``z_c`` (Adcroft and Campin 2004,
    doi:10.1016/j.ocemod.2003.09.003).

    Args:
        depth: at rest of the centres of cells (m) where that differs along a layer; the pressure of
            the deeper of two neighbours is then compared at the depth of the other, with the mean
            density of both in between.
    """
    safe_depth = grid.depth_c + (1.0 - grid.wet_c)
    if depth is None:
        rise = eta - (eta / safe_depth) * grid.z_c
    else:
        rise = eta - (eta / safe_depth) * depth - depth
    slope = gravity / rho0
    fx = diff_x_c2u(pressure) + mean_x_c2u(density) * diff_x_c2u(rise) * slope
    fy = diff_y_c2v(pressure) + mean_y_c2v(density) * diff_y_c2v(rise) * slope
    return -(fx / grid.dx_u) * grid.mask_u, -(fy / grid.dy_v) * grid.mask_v


class LayeredDensity(Pressure):
    """Density uniform in each layer."""

    kind: ClassVar[str] = "layers"

    def hydrostatic(self, density: Field, stretch: Field, grid, physics) -> Field:
        return hydrostatic_pressure(
            density, stretch, grid, physics.gravity, physics.rho0, self.kind
        )

    def gradient(self, pressure, density, eta, grid, physics) -> tuple[Field, Field]:
        return pressure_gradient(pressure, density, eta, grid, physics.gravity, physics.rho0)


class TrueDepths(Pressure):
    """Density a cubic between centres, and water compared at the same depth where the bottom cuts
    cells.

    Temperature and salinity of a partial cell are those at its own centre, which is where
    observations and profiles have them. An ocean whose density is a parabola in depth (a cubic
    where columns have four cells or more) then stays at rest over any bathymetry; under another
    profile currents are as weak as the cubics are accurate. The default takes partial cells for
    whole ones, so that any density that is uniform along layers stays at rest, but one that is
    uniform at true depths does not.
    """

    kind: ClassVar[str] = "true_depths"
    source: ClassVar[str] = (
        "Adcroft, Hill and Marshall (1997), "
        "doi:10.1175/1520-0493(1997)125<2293:ROTBSC>2.0.CO;2; Barnier et al. (2006), "
        "doi:10.1007/s10236-006-0082-1"
    )
    true_depths: ClassVar[bool] = True

    def hydrostatic(self, density: Field, stretch: Field, grid, physics) -> Field:
        slope = density_slope(density, grid)
        return pressure_at_centres(density, slope, stretch, grid, physics.gravity, physics.rho0)

    def gradient(self, pressure, density, eta, grid, physics) -> tuple[Field, Field]:
        depth, g, rho0 = cell_depths(grid), physics.gravity, physics.rho0
        fu, fv = pressure_gradient(pressure, density, eta, grid, g, rho0, depth)
        slope = density_slope(density, grid)
        square = lambda f: f * f
        # What the cubic between the two centres adds to their mean density.
        bx = diff_x_c2u(slope) * square(diff_x_c2u(depth)) * (g / rho0 / 12.0)
        by = diff_y_c2v(slope) * square(diff_y_c2v(depth)) * (g / rho0 / 12.0)
        return fu - bx / grid.dx_u * grid.mask_u, fv - by / grid.dy_v * grid.mask_v


class LinearDensity(LayeredDensity):
    """Density linear from centre to centre: more accurate where layers differ in thickness."""

    kind: ClassVar[str] = "linear"
