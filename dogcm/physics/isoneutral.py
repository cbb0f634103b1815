"""Mesoscale eddies: diffusion along neutral surfaces (Redi 1982) and Gent and McWilliams (1990) as a skew flux.

Triads after Griffies et al. (1998), doi:10.1175/1520-0485(1998)028<0805:IDIAZC>2.0.CO;2, and Griffies (1998),
doi:10.1175/1520-0485(1998)028<0831:TGMSF>2.0.CO;2, in the small-slope limit. A triad joins a difference across a
face, in one layer, with a difference across an interface, in one of the face's two columns. With the slope of its own
density differences, ``r = -D_x rho / D_z rho``, it carries

    across the face       -(K (D_x C + r D_z C) - kappa r D_z C) w
    up the interface      -(K (r D_x C + r**2 D_z C) + kappa r D_x C) w

for isoneutral diffusivity K, eddy (thickness) diffusivity kappa and a weight w (its area over the distance across the
face). Where C is the density itself the terms in K vanish triad by triad, so density feels no isoneutral diffusion, and
being a sum of squares it can only lower a tracer's variance. The terms in kappa change no variance at all. The term in
``r**2`` is a vertical diffusivity for the implicit solver.

Density differences are those between neighbours at a common depth, as the pressure gradient and N2 have them.
Slopes are relative to layers and not capped: where they are steep the *triad* is tapered.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dogcm.field import Field, fence, fmap, hold
from dogcm.operators import (
    diff_x_c2u, diff_y_c2v, diff_z_c2w, lower_x_c2u, lower_x_u2c, lower_y_c2v, lower_y_v2c, lower_z_c2w, upper_x_c2u,
    upper_x_u2c, upper_y_c2v, upper_y_v2c, upper_z_c2w,
)  # fmt: skip
from dogcm.physics.coefficients import at_u, at_v

TAPERS = ("gkw91", "dm95", "clipping", "none")
# Steeper than this many times the largest slope, a triad counts as this steep: keeps derivatives finite.
_STEEPEST = 100.0
# Weaker stratification (kg m-4; N2 about 1e-11 s-2), and unstable one, counts as this much.
_WEAKEST = 1e-9


@dataclass(frozen=True)
class SlopeTaper:
    """What happens to a triad of slope S.

    Attributes:
        kind: ``gkw91``: fluxes times ``(max_slope / S)**2`` where steeper (Gerdes, Koeberle and Willebrand 1991,
            doi:10.1007/BF00210006). ``dm95``: fluxes times ``(1 + tanh((critical - S) / width)) / 2`` (Danabasoglu and
            McWilliams 1995, doi:10.1175/1520-0442(1995)008<2967:SOTGOC>2.0.CO;2). ``clipping``: the slope itself is
            bounded by ``max_slope`` (Cox 1987), which mixes across neutral surfaces there. ``none``.
        max_slope, critical, width: slopes.
    """

    kind: str = "gkw91"
    max_slope: float = 1e-2
    critical: float = 4e-3
    width: float = 1e-3

    def factor(self, squared):
        """By what fluxes are multiplied, from the squared slope."""
        if self.kind == "gkw91":
            limit = self.max_slope**2
            return limit / jnp.maximum(squared, limit)
        if self.kind == "dm95":
            # The root's derivative has to be finite at slope 0.
            slope = jnp.sqrt(squared + 1e-16)
            return 0.5 * (1.0 + jnp.tanh((self.critical - slope) * (1.0 / self.width)))
        return jnp.ones_like(squared)

    @property
    def steepest(self) -> float:
        """Bound on the slope of a triad."""
        return self.max_slope if self.kind == "clipping" else _STEEPEST * self.max_slope


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["low_above", "low_below", "high_above", "high_below", "along", "skewed", "raised"], meta_fields=[],
)  # fmt: skip
@dataclass(frozen=True)
class _Axis:
    """Triads of one direction: weights times tapering times r, on interfaces of faces, by column and layer."""

    low_above: Field  # column of lower index, layer above the interface
    low_below: Field
    high_above: Field
    high_below: Field
    along: Field  # what the difference across a face is multiplied by, on layers (m2 s-1 times m)
    skewed: object  # K - kappa on faces
    raised: object  # K + kappa on faces


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["x", "y", "vertical_diffusivity"], meta_fields=[]
)
@dataclass(frozen=True)
class Isoneutral:
    """Slopes and coefficients of one step, alike for all tracers.

    Attributes:
        x, y: triads. vertical_diffusivity: m2 s-1 on interfaces; belongs into the implicit solver.
    """

    x: _Axis
    y: _Axis
    vertical_diffusivity: Field


def prepare(density: Field, n2: Field, stretch: Field, params: dict, grid, taper: SlopeTaper, gravity: float,
            rho0: float) -> Isoneutral:  # fmt: skip
    """Everything that does not depend on the tracer.

    Args:
        density: anomaly (kg m-3) on layers. n2: squared buoyancy frequency (s-2) at interfaces.
        params: ``isoneutral_diffusivity``, ``gm_diffusivity``, ``isoneutral_floor`` and ``lateral_diffusivity``
            (m2 s-1). Along layers diffusivity does not fall below the floor where slopes are tapered; the last one
            is added everywhere.
    """
    density, n2 = fence(density, n2)
    # As N2 has it: density below, less density from above brought down.
    rise = hold(n2 * stretch * (grid.dz_w * (rho0 / gravity)))
    x, steep_x = _axis(diff_x_c2u(density), rise, grid, params, taper, "x")
    y, steep_y = _axis(diff_y_c2v(density), rise, grid, params, taper, "y")
    K33 = hold((_to_columns(*steep_x, "x") + _to_columns(*steep_y, "y")) * grid.dz_w / grid.area_c)
    return Isoneutral(x, y, K33)


def fluxes(c: Field, iso: Isoneutral, grid) -> tuple[Field, Field, Field]:
    """Explicit fluxes of a tracer: through west and south faces (unit of c times m3 s-1), and up through
    interfaces per area (unit of c times m s-1)."""
    c = fence(c)
    step = diff_z_c2w(c)
    fx, up_x = _axis_fluxes(diff_x_c2u(c), lower_x_c2u(step), upper_x_c2u(step), iso.x)
    fy, up_y = _axis_fluxes(diff_y_c2v(c), lower_y_c2v(step), upper_y_c2v(step), iso.y)
    fz = (_to_columns(*up_x, "x") + _to_columns(*up_y, "y")) * (-1.0) / grid.area_c
    return fx, fy, fz


_TOOLS = {
    "x": (lower_x_c2u, upper_x_c2u, lower_x_u2c, upper_x_u2c, at_u),
    "y": (lower_y_c2v, upper_y_c2v, lower_y_v2c, upper_y_v2c, at_v),
}


def _axis(difference: Field, rise: Field, grid, params: dict, taper: SlopeTaper, axis: str):
    """Triads of one direction; and what they add to the vertical diffusivity, by column."""
    lower, upper, _, _, to_faces = _TOOLS[axis]
    h, width, distance = (grid.h_u, grid.dy_u, grid.dx_u) if axis == "x" else (grid.h_v, grid.dx_v, grid.dy_v)
    conductance = h * width / distance
    quarter = conductance * 0.25
    inverse = hold(1.0 / distance)
    K, kappa = to_faces(params["isoneutral_diffusivity"]), to_faces(params["gm_diffusivity"])
    plain, tilted, steep = {}, {}, {}
    for column, pick in (("low", lower), ("high", upper)):
        wet = pick(grid.mask_cw)
        for layer, at_layer in (("above", upper_z_c2w), ("below", lower_z_c2w)):
            triad = _triad(at_layer(difference), pick(rise), inverse, grid.dz_w, at_layer(quarter) * wet, taper)
            plain[column, layer], tilted[column, layer], steep[column, layer] = triad
    untapered = _layers(plain["low", "above"] + plain["high", "above"], plain["low", "below"] + plain["high", "below"])
    floor, always = to_faces(params["isoneutral_floor"]), to_faces(params["lateral_diffusivity"])
    along = fmap(jnp.maximum, untapered * K, conductance * floor) + conductance * always
    stored = hold(*(tilted[c, z] for c in ("low", "high") for z in ("above", "below")), along)
    raise_by = [(steep[c, "above"] + steep[c, "below"]) * K for c in ("low", "high")]
    return _Axis(*stored, K - kappa, K + kappa), hold(*raise_by)


def _triad(difference: Field, rise: Field, inverse: Field, dz_w, weight: Field, taper: SlopeTaper):
    """Weight times tapering times 1, r and r**2; ``inverse``: 1 over the distance across the face."""

    def ratio(d, up, inv):
        # A slope is r times dz_w over the distance.
        least = jnp.maximum(jnp.abs(d) * inv * (1.0 / taper.steepest), _WEAKEST) * dz_w
        return d / jnp.maximum(up, least)

    def tapered(r, inv, w):
        slope = r * inv * dz_w
        return w * taper.factor(slope * slope)

    r = fmap(ratio, difference, rise, inverse, name="r")
    plain = fmap(tapered, r, inverse, weight, name="triad")
    tilted = plain * r
    return plain, tilted, tilted * r


def _axis_fluxes(across: Field, step_low: Field, step_high: Field, t: _Axis):
    """Flux through faces, and what goes up in the columns of lower and higher index."""
    above, below = upper_z_c2w(across), lower_z_c2w(across)
    tilted = _layers(
        t.low_above * step_low + t.high_above * step_high, t.low_below * step_low + t.high_below * step_high
    )
    flux = (t.along * across + tilted * t.skewed) * (-1.0)
    low = (t.low_above * above + t.low_below * below) * t.raised
    high = (t.high_above * above + t.high_below * below) * t.raised
    return flux, (low, high)


def _layers(above: Field, below: Field) -> Field:
    """From interfaces to layers: ``above`` counts for the layer above its interface, ``below`` for the one below."""
    none = jnp.zeros_like(above.data[:1])
    out = jnp.concatenate([above.data, none]) + jnp.concatenate([none, below.data])
    return above.with_data(out, at=above.at[:-1])


def _to_columns(low: Field, high: Field, axis: str) -> Field:
    """Sum over a column's two faces: it is the higher one of its lower face, the lower one of its upper face."""
    _, _, first, second, _ = _TOOLS[axis]
    return first(high) + second(low)


__all__ = ["TAPERS", "Isoneutral", "SlopeTaper", "fluxes", "prepare"]
