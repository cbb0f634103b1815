"""Mesoscale eddies: diffusion along neutral surfaces (Redi 1982) and Gent and McWilliams (1990) as
a skew flux.

Triads after Griffies et al. (1998), doi:10.1175/1520-0485(1998)028<0805:IDIAZC>2.0.CO;2, and
Griffies (1998), doi:10.1175/1520-0485(1998)028<0831:TGMSF>2.0.CO;2, in the small-slope limit. A
triad joins a difference across a face, in one layer, with a difference across an interface, in one
of the face's two columns. With the slope of its own density differences, ``r = -D_x rho / D_z
rho``, it carries

    across the face       -(K (D_x C + r D_z C) - kappa r D_z C) w
    up the interface      -(K (r D_x C + r**2 D_z C) + kappa r D_x C) w

for isoneutral diffusivity K, eddy (thickness) diffusivity kappa and a weight w (its area over the
distance across the face). Where C is the density itself the terms in K vanish triad by triad, so
density feels no isoneutral diffusion, and being a sum of squares it can only lower a tracer's
variance. The terms in kappa change no variance at all. The term in ``r**2`` is a vertical
diffusivity for the implicit solver.

Density differences are those between neighbours at a common depth, as the pressure gradient and N2
have them.
Slopes are relative to layers and not capped: where they are steep the *triad* is tapered.

In the first layer two of a face's four triads would reach beyond the sea surface, and are not
there: along that layer tracers are diffused by half of K only, and by as much less where a column's
last layer ends. With :attr:`Isoneutral.flat` these count as triads of slope 0, as slopes have to
vanish at a boundary: they add ``K D_x C w`` across the face and nothing else, so that all of K acts
along the layer. That is symmetric, too, but diffuses density along that layer.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from dogcm.components import option, parameter
from dogcm.field import Field, fence, fmap, hold
from dogcm.operators import (
    around_layers,
    diff_x_c2u,
    diff_y_c2v,
    diff_z_c2w,
    lower_x_c2u,
    lower_x_u2c,
    lower_y_c2v,
    lower_y_v2c,
    lower_z_c2w,
    upper_x_c2u,
    upper_x_u2c,
    upper_y_c2v,
    upper_y_v2c,
    upper_z_c2w,
)
from dogcm.physics.coefficients import at_u, at_v
from dogcm.physics.interfaces import Eddies

_ANYWHERE = ("scalar", "profile", "map", "volume")
TAPERS = ("gkw91", "dm95", "clipping", "none")
FLAT = ("none", "surface", "surface_and_bottom")
# Steeper than this many times the largest slope, a triad counts as this steep: keeps derivatives
# finite.
_STEEPEST = 100.0
# Weaker stratification (kg m-4; N2 about 1e-11 s-2), and unstable one, counts as this much.
WEAKEST = 1e-9
# Density differences are in units of 2**-27 kg m-3 (7e-9), or the squares of the weakest, and what
# derivatives divide by them, would be beyond the range of float32.
_UNITS = 2.0**27


@dataclass(frozen=True)
class SlopeTaper:
    """What happens to a triad of slope S.

    Attributes:
        kind: ``gkw91``: fluxes times ``(max_slope / S)**2`` where steeper (Gerdes, Koeberle and
            Willebrand 1991, doi:10.1007/BF00210006). ``dm95``: fluxes times ``(1 + tanh((critical -
            S) / width)) / 2`` (Danabasoglu and McWilliams 1995,
            doi:10.1175/1520-0442(1995)008<2967:SOTGOC>2.0.CO;2). ``clipping``: the slope itself is
            bounded by ``max_slope`` (Cox 1987), which mixes across neutral surfaces there.
            ``none``.
        max_slope, critical, width: slopes. flat: where triads that would reach beyond the water
            count as triads of slope 0, one of :data:`FLAT`.
    """

    kind: str = "gkw91"
    max_slope: float = 1e-2
    critical: float = 4e-3
    width: float = 1e-3
    flat: str = "none"

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

    def shrunk(self, squared):
        """By what squared slopes are multiplied where they would be steeper than is told apart."""
        if self.kind == "gkw91":
            return jnp.ones_like(squared)
        limit = self.steepest**2
        return limit / jnp.maximum(squared, limit)

    @property
    def steepest(self) -> float:
        """The slope beyond which a steeper one counts as this one (but for gkw91)."""
        return self.max_slope if self.kind == "clipping" else _STEEPEST * self.max_slope

    def bounded(self, rise, drop):
        """``rise`` of density across an interface, and more where a triad would be steeper than is
        told apart.

        Args:
            rise: positive, in any unit of density. drop: the triad's slope times ``rise``.
        """
        if self.kind == "gkw91":
            return rise  # its fluxes are small there
        return jnp.maximum(rise, jnp.abs(drop) * (1.0 / self.steepest))

    def bounded_inverse(self, inverse, rise, drop):
        """One over the bounded ``rise``, of which ``inverse`` is one over; arguments as for
        :meth:`bounded`."""
        return inverse if self.kind == "gkw91" else 1.0 / self.bounded(rise, drop)

    def share(self, rise, drop, weight):
        """Weight times tapering over the (bounded) ``rise``; arguments as for :meth:`bounded`.

        Times that rise it is weight times tapering, times the density difference across the face
        also times r.
        """
        if self.kind == "gkw91":
            limit = self.max_slope**2  # all in one division
            return weight * (limit * rise) / jnp.maximum(drop * drop, limit * (rise * rise))
        rise = self.bounded(rise, drop)
        slope = drop / rise
        return weight * self.factor(slope * slope) / rise


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["shares", "difference", "along", "K", "kappa"],
    meta_fields=[],
)
@dataclass(frozen=True)
class _Axis:
    """Triads of one direction, on the layers of faces, by column (:data:`_COLUMNS`) and the
    interface of the layer
    (:data:`_SIDES`) that they reach to."""

    shares: dict[tuple[str, str], Field]  # see SlopeTaper.share
    difference: Field  # of density across faces (in _UNITS)
    along: Field  # what the difference across a face is multiplied by (m2 s-1 times m)
    K: object  # isoneutral and eddy diffusivity on faces (m2 s-1)
    kappa: object


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["x", "y", "vertical_diffusivity"], meta_fields=[]
)
@dataclass(frozen=True)
class Triads:
    """Slopes and coefficients of one step, alike for all tracers.

    Attributes:
        x, y: triads. vertical_diffusivity: m2 s-1 on interfaces; belongs into the implicit solver.
    """

    x: _Axis
    y: _Axis
    vertical_diffusivity: Field


def prepare(
    density: Field,
    n2: Field,
    stretch: Field,
    params: dict,
    grid,
    taper: SlopeTaper,
    gravity: float,
    rho0: float,
) -> Triads:
    """Everything that does not depend on the tracer.

    Args:
        density: anomaly (kg m-3) on layers. n2: squared buoyancy frequency (s-2) at interfaces.
        params: ``isoneutral_diffusivity`` and ``gm_diffusivity`` (both may have a value for every
            cell), ``isoneutral_floor`` and ``lateral_diffusivity`` (m2 s-1). Along layers
            diffusivity does not fall below the floor where slopes are tapered; the last one is
            added everywhere.
    """
    density, n2 = fence(density, n2)
    # As N2 has it: density below, less density from above brought down.
    gradient = fmap(
        lambda n, z: jnp.maximum(n * z * (rho0 / gravity), WEAKEST),
        n2,
        stretch,
        name="density gradient",
    )
    rise = gradient * (grid.dz_w * _UNITS)
    inverse = around_layers(fmap(lambda r: 1.0 / r, rise, name="inverse rise"), outside=1.0)
    rise = around_layers(rise, outside=1.0)
    wet = around_layers(grid.mask_cw)
    x = _axis(diff_x_c2u(density), rise, wet, grid, params, taper, "x")
    y = _axis(diff_y_c2v(density), rise, wet, grid, params, taper, "y")
    steep_x, steep_y = (
        _steep(t, rise, inverse, grid, taper, axis) for t, axis in ((x, "x"), (y, "y"))
    )
    steep = _to_columns(steep_x, "x") + _to_columns(steep_y, "y")
    return Triads(x, y, hold(steep * grid.dz_w / grid.area_c))


def fluxes(c: Field, iso: Triads, grid) -> tuple[Field, Field, Field]:
    """Explicit fluxes of a tracer: through west and south faces (unit of c times m3 s-1), and up
    through
    interfaces per area (unit of c times m s-1)."""
    c = fence(c)
    step = around_layers(diff_z_c2w(c))
    fx, up_x = _axis_fluxes(diff_x_c2u(c), step, iso, "x")
    fy, up_y = _axis_fluxes(diff_y_c2v(c), step, iso, "y")
    fz = (_to_columns(up_x, "x") + _to_columns(up_y, "y")) * (-1.0) / grid.area_c
    return fx, fy, fz


class NeutralDiffusion(Eddies):
    """What schemes of isoneutral diffusion and Gent-McWilliams skew fluxes have in common."""

    along_layers: ClassVar[bool] = True
    taper: Literal[TAPERS] = option("gkw91", "1", "what happens where neutral surfaces are steep")
    max_slope: float = option(
        1e-2, "1", "slope of neutral surfaces where gkw91 and clipping begin", gt=0
    )
    critical_slope: float = option(
        4e-3, "1", "slope of neutral surfaces at which dm95 has halved the fluxes", gt=0
    )
    slope_width: float = option(
        1e-3, "1", "range of slopes over which dm95 goes from all to nothing", gt=0
    )
    isoneutral_diffusivity: float = parameter(
        1e3, "m2 s-1", "diffusivity of tracers along neutral surfaces", shapes=_ANYWHERE, ge=0
    )
    gm_diffusivity: float = parameter(
        1e3, "m2 s-1", "Gent-McWilliams eddy diffusivity", shapes=_ANYWHERE, ge=0
    )
    isoneutral_floor: float = parameter(
        0.0, "m2 s-1", "least diffusivity along layers where slopes are tapered", ge=0
    )

    @property
    def slope_taper(self) -> SlopeTaper:
        """What happens where slopes are steep."""
        return SlopeTaper(self.taper, self.max_slope, self.critical_slope, self.slope_width)

    def diffusivities(self, density: Field, n2: Field, params: dict, grid, physics) -> dict:
        """``params`` with the ``gm_diffusivity`` (m2 s-1) of this state."""
        return params


class Isoneutral(NeutralDiffusion):
    """Isoneutral diffusion and Gent-McWilliams skew fluxes with given diffusivities."""

    kind: ClassVar[str] = "isoneutral"
    source: ClassVar[str] = "Griffies (1998), doi:10.1175/1520-0485(1998)028<0831:TGMSF>2.0.CO;2"
    flat: Literal[FLAT] = option(
        "none",
        "1",
        "where neutral surfaces count as flat because a triad would reach beyond the water",
    )

    def prepare(self, density, n2, stretch, params: dict, grid, physics) -> Triads:
        now = self.diffusivities(density, n2, params, grid, physics)
        taper = dataclasses.replace(self.slope_taper, flat=self.flat)
        return prepare(density, n2, stretch, now, grid, taper, physics.gravity, physics.rho0)

    def fluxes(self, c: Field, prepared: Triads, grid) -> tuple[Field, Field, Field]:
        return fluxes(c, prepared, grid)


_COLUMNS, _SIDES = (
    ("low", "high"),
    ("above", "below"),
)  # a face's two columns, a layer's two interfaces
_TOOLS = {
    "x": ((lower_x_c2u, upper_x_c2u), lower_x_u2c, upper_x_u2c, at_u),
    "y": ((lower_y_c2v, upper_y_c2v), lower_y_v2c, upper_y_v2c, at_v),
}


def _each(axis: str):
    """Column and interface of a triad, how to pick a face's column, and number of the interface."""
    for column, pick in zip(_COLUMNS, _TOOLS[axis][0]):
        for n, side in enumerate(_SIDES):
            yield (column, side), pick, n


def _inverse_distances(grid, axis: str) -> tuple[Field, Field]:
    """Distance between a layer's centre and the next ones, above and below, over that between a
    face's columns: times
    a density difference across the face it is a triad's slope times its rise."""
    apart = 1.0 / (grid.dx_u if axis == "x" else grid.dy_v)
    none = jnp.ones_like(grid.dz_w[:1])
    return apart * jnp.concatenate([none, grid.dz_w]), apart * jnp.concatenate([grid.dz_w, none])


def _axis(difference: Field, rise, wet, grid, params: dict, taper: SlopeTaper, axis: str) -> _Axis:
    """Triads of one direction; ``wet``: 1 at the wet interfaces above and below layers."""
    to_faces = _TOOLS[axis][-1]
    h, width, distance = (
        (grid.h_u, grid.dy_u, grid.dx_u) if axis == "x" else (grid.h_v, grid.dx_v, grid.dy_v)
    )
    conductance = h * width / distance
    K, kappa = to_faces(params["isoneutral_diffusivity"]), to_faces(params["gm_diffusivity"])
    d, tilt = hold(difference * _UNITS), _inverse_distances(grid, axis)
    shares, plain = {}, None
    for triad, pick, n in _each(axis):
        weight = conductance * 0.25 * pick(wet[n])
        shares[triad] = fmap(taper.share, pick(rise[n]), d * tilt[n], weight, name="triad")
    shares = dict(zip(shares, hold(*shares.values())))
    for triad, pick, n in _each(axis):
        up = fmap(taper.bounded, pick(rise[n]), d * tilt[n], name="rise")
        untilted = shares[triad] * up
        plain = untilted if plain is None else plain + untilted
        if taper.flat != "none":
            plain = plain + conductance * 0.25 * (1.0 - pick(_reached(wet[n], n, taper.flat)))
    floor, always = (
        to_faces(params["isoneutral_floor"]),
        to_faces(params.get("lateral_diffusivity", 0.0)),
    )
    along = fmap(jnp.maximum, plain * K, conductance * floor) + conductance * always
    return _Axis(shares, d, hold(along), K, kappa)


def _reached(wet: Field, side: int, flat: str) -> Field:
    """1 at interfaces of layers that triads reach, or that they do not miss; ``side``: 0 above
    layers, 1 below."""
    if flat == "surface_and_bottom":
        return wet
    whole = wet.with_data(jnp.ones_like(wet.data))
    return whole.with_data(whole.data.at[0].set(wet.data[0])) if side == 0 else whole


def _steep(t: _Axis, rise, inverse, grid, taper: SlopeTaper, axis: str) -> dict:
    """What triads add to the vertical diffusivity: K times weight times tapering times r**2;
    ``rise`` and its ``inverse`` are
    those at the interfaces above and below layers."""
    square, tilt, found = t.difference * t.difference * t.K, _inverse_distances(grid, axis), {}
    for triad, pick, n in _each(axis):
        per_rise = fmap(
            taper.bounded_inverse,
            pick(inverse[n]),
            pick(rise[n]),
            t.difference * tilt[n],
            name="inverse rise",
        )
        found[triad] = t.shares[triad] * square * per_rise
    return found


def _axis_fluxes(across: Field, step, iso: Triads, axis: str):
    """Flux through faces, and what goes up, by triad; ``step``: of the tracer, at interfaces around
    layers."""
    # r times a triad's weight is its share times the density difference across the face, which all
    # four have in common.
    t = iso.x if axis == "x" else iso.y
    up, tilted, slanted = {}, None, t.difference * across * (t.K + t.kappa)
    for triad, pick, n in _each(axis):
        part = t.shares[triad] * pick(step[n])
        tilted = part if tilted is None else tilted + part
        up[triad] = t.shares[triad] * slanted
    return (t.along * across + tilted * t.difference * (t.K - t.kappa)) * (-1.0), up


def _to_columns(of: dict, axis: str) -> Field:
    """From triads to the interfaces of columns, each of which is the higher one of its lower face,
    the lower one of its
    upper face."""
    _, first, second, _ = _TOOLS[axis]
    low, high = (upper_z_c2w(of[c, "below"]) + lower_z_c2w(of[c, "above"]) for c in _COLUMNS)
    return first(high) + second(low)


__all__ = [
    "FLAT",
    "TAPERS",
    "WEAKEST",
    "Isoneutral",
    "NeutralDiffusion",
    "SlopeTaper",
    "Triads",
    "fluxes",
    "prepare",
]
