"""K-profile parameterisation of vertical mixing (Large, McWilliams and Doney 1994,
doi:10.1029/94RG01872).

A boundary layer reaches from the surface to the depth h at which the bulk Richardson number

    Ri_b(d) = (B_r - B(d)) d / (|V_r - V(d)|**2 + V_t**2(d)),    V_t**2 = C_v sqrt(0.2 / (c_s eps))
    / (Ri_c kappa**2) d N w_s

first exceeds Ri_c, with buoyancy B, velocity V, their means (r) over the upper tenth of d, and the
shear V_t that a grid does not resolve, which gives free convection its entrainment. Within it, with
s = d / h,

    K_x = h w_x(s) G(s),       G(s) = s (1 - s)**2,        w_x = kappa u* / phi_x(s h / L)

for momentum (x = m) and tracers (x = s), and where the sea loses buoyancy tracers are also carried
without regard to their gradient, by ``C* kappa (c_s kappa eps)**(1/3) G(s)`` times their flux
through the surface. Below it act shear, the background, and convection; they fade in as ``s**2 (3 -
2 s)`` from the surface down, so that nothing jumps where an interface leaves the boundary layer. G
vanishes at s = 1 ("simple shapes" of CVMix).

B is the integral of N2: what a parcel meets on its way, without another equation of state. Ri_b is
linear between the centres of layers, so h moves continuously. Distances are those at rest.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import option, parameter
from dogcm.components.base import internal
from dogcm.components.bijectors import Interval, LogInterval
from dogcm.field import Field, exchange, fence, fmap, hold
from dogcm.operators import common, mean_x_q2v, mean_x_u2c, mean_y_v2c, running_sum_down, sum_z
from dogcm.physics.interfaces import Column, Mixing, VerticalMixing, needs_layers
from dogcm.physics.vertical_mixing import stress_squared

_KAPPA = 0.4  # von Karman
_EXTENT = 0.1  # of the surface layer, as a part of the boundary layer
# m: a surface layer is no thicker than this; what is deeper is homogeneous where this matters.
_THICKEST = 50.0
# phi_x where it is very unstable: (a - c zeta)**(-1/3) below zeta = -limit.
_MOMENTUM, _TRACER = (1.26, 8.38, 0.2), (-28.86, 98.96, 1.0)
_NONLOCAL = _KAPPA * (_TRACER[1] * _KAPPA * _EXTENT) ** (1.0 / 3.0)
_UNRESOLVED = (0.2 / (_TRACER[1] * _EXTENT)) ** 0.5 / _KAPPA**2
_STILL = 1e-20  # m4 s-4: a friction velocity of 1e-5 m s-1, and a derivative in a calm
_WEAKEST = 1e-10  # s-2: gives N a derivative
_SLOW = 1e-6  # m2 s-2: of the shear
_CLOSEST = 1e-6  # difference of two bulk Richardson numbers that are divided by
_EKMAN = 0.7
_AT_INTERFACES = {"shapes": ("scalar", "profile", "map"), "levels": "interfaces"}


class KPP(VerticalMixing):
    """Mixing by profiles within a boundary layer (Large, McWilliams and Doney 1994)."""

    kind: ClassVar[str] = "kpp"
    source: ClassVar[str] = "doi:10.1029/94RG01872"
    limits: bool = option(
        False,
        "1",
        "a sea that gains buoyancy mixes no deeper than its Monin-Obukhov length and its Ekman "
        "layer",
    )
    kpp_critical_richardson: float = parameter(
        0.3,
        "1",
        "bulk Richardson number at the foot of the boundary layer",
        bijector=LogInterval(0.05, 2.0),
        gt=0,
        le=5,
    )
    kpp_unresolved_shear: float = parameter(
        1.8, "1", "factor of the squared shear that a grid does not resolve", ge=0, le=10
    )
    kpp_nonlocal: float = parameter(
        10.0,
        "1",
        "strength of transport without regard to gradients (C*)",
        bijector=Interval(0.0, 15.0),
        ge=0,
        le=15,
    )
    kpp_shear_mixing: float = parameter(
        5e-3,
        "m2 s-1",
        "viscosity and diffusivity by shear below the boundary layer",
        ge=0,
        **_AT_INTERFACES,
    )
    kpp_shear_richardson: float = parameter(
        0.7, "1", "Richardson number beyond which shear mixes no more", gt=0, **_AT_INTERFACES
    )
    # How many layers a surface layer can reach into.
    layers: int = internal(1)

    def prepared(self, dz) -> KPP:
        return self.model_copy(update={"layers": surface_layers(dz)})

    def check(self, config) -> None:
        needs_layers(config, self.name(), 3)

    def mix(self, column: Column, params: dict, grid, physics) -> Mixing:
        drive = driving(
            column.state, column.now, column.fluxes, column.eos, column.halos, grid, physics
        )
        layer = profiles(column, drive, params, grid, physics)
        return Mixing(column.n2, layer.viscosity, layer.diffusivity, boundary_layer=layer)


def surface_layers(dz) -> int:
    """How many of the layers (thicknesses dz, m) the thickest surface layer reaches into."""
    edges = np.concatenate([[0.0], np.cumsum(dz)])
    return int(np.sum(edges[:-1] < min(_THICKEST, _EXTENT * edges[-1])))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["u", "v", "friction", "buoyancy", "expansion", "light"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Driving:
    """What a boundary layer is made by.

    Attributes:
        u, v: velocity (m s-1) on faces. friction: velocity u* (m s-1). buoyancy: flux into the sea
            (m2 s-3), of all heat.
        expansion: gravity times thermal expansion (m s-2 K-1). light: that passes interfaces (K m
            s-1), or None.
    """

    u: Field
    v: Field
    friction: Field
    buoyancy: Field
    expansion: Field
    light: Field | None


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["depth", "viscosity", "diffusivity", "share", "light"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Profiles:
    """What follows for one step.

    Attributes:
        depth: of the boundary layer (m). viscosity, diffusivity: m2 s-1 at interfaces.
        share: of a tracer's flux through the surface, carried through each interface without regard
            to its gradient.
        light: that passes the boundary layer (K m s-1), or None.
    """

    depth: Field
    viscosity: Field
    diffusivity: Field
    share: Field
    light: Field | None


def driving(s, now: dict, fluxes, eos, halos, grid, physics) -> Driving:
    """Fluxes and velocity at the start of a step, with one halo cell.

    Args:
        s: state with halos. now: records of this moment. fluxes:
            :class:`dogcm.physics.surface.SurfaceFluxes`, or None.
    """
    T, S = s.temperature.level(slice(0, 1)), s.salinity.level(slice(0, 1))
    one, none = T.with_data(jnp.ones_like(T.data)), T.with_data(jnp.zeros_like(T.data))
    density = lambda T, S: eos.anomaly(T, S, slice(0, 1))
    weight = -physics.gravity / physics.rho0
    by_heat, by_salt = (
        jax.jvp(density, (T, S), d)[1].level(0) * weight for d in ((one, none), (none, one))
    )
    square = stress_squared(now, grid, 1)
    if square is None:
        square = grid.wet_c.crop(1) * 0.0
    friction = fmap(
        lambda t: jnp.sqrt(jnp.sqrt(t * (1.0 / physics.rho0**2) + _STILL)), square, name="u*"
    )
    if fluxes is None:
        return Driving(s.u, s.v, friction, friction * 0.0, by_heat.crop(1), None)
    given = [fluxes.heat, fluxes.salt, fluxes.freshwater] + (
        [] if fluxes.penetrating is None else [fluxes.penetrating]
    )
    if any(min(f.halo) < 1 for f in given):
        given = exchange(halos, *((f, 1) for f in given))
    heat, salt, fresh, *light = given
    buoyancy = (by_heat * heat + by_salt * (salt - S.level(0) * fresh)) * grid.wet_c
    light = light[0].crop(1) * grid.wet_c if light else None
    return Driving(s.u, s.v, friction, buoyancy.crop(1), by_heat.crop(1), light)


def profiles(column: Column, drive: Driving, params: dict, grid, physics) -> Profiles:
    """Depth of the boundary layer and mixing within and below it, with one halo cell.

    Args:
        physics: its ``vertical_mixing`` is the scheme.
    """
    scheme = physics.vertical_mixing
    friction, buoyancy, n2 = hold(drive.friction, drive.buoyancy, column.n2.crop(1))
    shear2 = column.shear2.crop(1)
    richardson = bulk_richardson(n2, drive, friction, buoyancy, params, grid, scheme.layers)
    depth = boundary_layer_depth(richardson, params["kpp_critical_richardson"], grid)
    passing = None
    if drive.light is not None:
        passing = _light_at(depth, drive.light, grid)
        buoyancy = buoyancy - drive.expansion * passing
    if scheme.limits:
        depth = limited(depth, friction, buoyancy, grid)
    depth, buoyancy = hold(depth, buoyancy)
    inner = interior(n2, shear2, column.background, params, physics.convection)
    return _profiles(depth, friction, buoyancy, *inner, passing, params, grid)


def _light_at(depth: Field, light: Field, grid) -> Field:
    """Light (K m s-1) that passes ``depth``; linear between interfaces, all that is left below the
    last."""
    top = grid.z_c[1:] - 0.5 * grid.dz[1:]
    below = jnp.concatenate([light.data[1:], jnp.zeros_like(light.data[:1])])
    share = jnp.clip((depth.crop(light.halo).data - top) * (1.0 / grid.dz[1:]), 0.0, 1.0)
    return light.level(0) - sum_z(light.with_data((light.data - below) * share))


# By type: integer of the same size, bits below the exponent's, and a third of its bias and of what
# makes the error small.
_BITS = {"float32": (jnp.int32, 0, 709921077.0), "float64": (jnp.int64, 32, 715094163.0)}


@jax.custom_jvp
def cube_root(x):
    """Of positive numbers, to rounding: a third of the exponent, then three steps of Halley's.
    ``jnp.cbrt`` takes nine
    times as long on a CPU, where nothing else in a step would be as slow."""
    whole, shift, offset = _BITS[x.dtype.name]
    high = jax.lax.bitcast_convert_type(x, whole) >> shift
    guess = (high.astype(x.dtype) * (1.0 / 3.0) + offset).astype(whole) << shift
    y = jax.lax.bitcast_convert_type(guess, x.dtype)
    for _ in range(3):
        cube = y * y * y
        y = y * ((cube + 2.0 * x) / (2.0 * cube + x))
    return y


@cube_root.defjvp
def _(primals, tangents):
    y = cube_root(*primals)
    return y, tangents[0] / (3.0 * y * y)


def velocity_scale(friction, stability, which: tuple):
    """``kappa u* / phi`` (m s-1).

    Args:
        friction: u* (m s-1), positive. stability: ``kappa d B`` (m3 s-3), zeta times ``u***3``.
        which: coefficients, ``_MOMENTUM`` or ``_TRACER``.
    """
    a, c, limit = which
    cube = friction * friction * friction
    loss = jnp.maximum(-stability, 0.0)
    stable = friction * cube / (cube + 5.0 * jnp.maximum(stability, 0.0))
    # Each branch is also evaluated where it does not hold, so its argument is bounded by where it
    # ends.
    near = jnp.sqrt(friction * friction + 16.0 * jnp.minimum(loss, limit * cube) / friction)
    if which is _MOMENTUM:
        near = jnp.sqrt(friction * near)
    far = cube_root(a * cube + c * jnp.maximum(loss, limit * cube))
    return _KAPPA * jnp.where(stability >= 0, stable, jnp.where(loss < limit * cube, near, far))


def bulk_richardson(
    n2: Field, drive: Driving, friction: Field, buoyancy: Field, params: dict, grid, layers: int
) -> Field:
    """Bulk Richardson number (1) at the centres of layers; 0 in the first."""
    weights = _surface_weights(grid, layers)
    deficit = running_sum_down(n2 * grid.dz_w).data
    deficit = n2.with_data(jnp.concatenate([jnp.zeros_like(deficit[:1]), deficit]), "c")
    u, v = fence(drive.u, drive.v)
    du, dv = _from_surface(u, weights) * grid.mask_u, _from_surface(v, weights) * grid.mask_v
    shear = mean_x_u2c(du * du) + mean_y_v2c(dv * dv)
    less, shear = hold(_from_surface(deficit, weights), shear.crop(1))
    below = hold(n2.with_data(jnp.concatenate([n2.data, n2.data[-1:]]), "c"))
    entering = buoyancy
    if drive.light is not None:
        dark = jnp.pad(drive.light.data, ((0, 1), (0, 0), (0, 0)))
        middle = 0.5 * (dark + jnp.concatenate([dark[:1], dark[:-1]]))
        entering = hold(buoyancy - drive.expansion * drive.light.with_data(middle, "c"))
    d = grid.z_c

    def number(less, shear, n2, friction, entering, critical, unresolved):
        # Where it is stable the scale is that of the foot, else that of the surface layer's, as of
        # all below it.
        reach = jnp.where(entering >= 0, 1.0, _EXTENT)
        scale = velocity_scale(friction, _KAPPA * reach * d * entering, _TRACER)
        hidden = (
            unresolved
            / critical
            * _UNRESOLVED
            * d
            * jnp.sqrt(jnp.maximum(n2, 0.0) + _WEAKEST)
            * scale
        )
        return less * d / (shear + hidden + _SLOW)

    arguments = (less, shear, below, friction, entering)
    return hold(
        fmap(
            number,
            *arguments,
            params["kpp_critical_richardson"],
            params["kpp_unresolved_shear"],
            name="Ri_b",
        )
    )


def _surface_weights(grid, layers: int):
    """Weights of the first layers in the surface layer's mean of a boundary layer that ends at each
    centre."""
    reach = jnp.minimum(_EXTENT * grid.z_c, _THICKEST)
    edge = grid.z_c - 0.5 * grid.dz
    return [jnp.clip(reach - edge[m], 0.0, grid.dz[m]) / reach for m in range(layers)]


def _from_surface(f: Field, weights) -> Field:
    """Each layer less the mean of its surface layer."""
    mean = sum((w * f.data[m] for m, w in enumerate(weights[1:], 1)), weights[0] * f.data[0])
    return f.with_data(f.data - mean)


def boundary_layer_depth(richardson: Field, critical, grid) -> Field:
    """Depth (m) at which ``richardson`` (on layers) first exceeds ``critical``, linear between
    centres.

    Nearest the bottom it grows by ``critical`` more, so that a layer that reaches the bottom gets
    there continuously.
    """
    given = [critical] if isinstance(critical, Field) else []
    ri, mask, total, *maps = common(richardson, grid.mask_c, grid.depth_c, *given)
    critical = maps[0].data if maps else critical
    wet = jnp.pad(mask.data, ((0, 1), (0, 0), (0, 0)))

    def upwards(depth, level):
        z, z_above, value, above, wet, wet_below = level
        rest = jnp.clip((critical - value) / critical, 0.0, 1.0)
        # The deepest cell may be partly filled, and end above the centre of its layer.
        depth = jnp.where(
            wet_below > 0,
            depth,
            jnp.minimum(z + rest * jnp.maximum(total.data - z, 0.0), total.data),
        )
        share = (critical - above) / jnp.maximum(value - above, _CLOSEST)
        found = z_above + jnp.clip(share, 0.0, 1.0) * (z - z_above)
        return jnp.where(
            (value > critical) & (wet > 0), jnp.minimum(found, total.data), depth
        ), None

    z, last = grid.z_c, jnp.zeros_like(ri.data[:1])
    above = jnp.concatenate([last, ri.data[:-1]])
    levels = (z, jnp.concatenate([z[:1], z[:-1]]), ri.data, above, wet[:-1], wet[1:])
    depth = jax.lax.scan(upwards, total.data * 1.0, levels, reverse=True)[0]
    return total.with_data(jnp.maximum(depth, 0.5 * grid.dz[0])).named("boundary layer depth")


def limited(depth: Field, friction: Field, buoyancy: Field, grid) -> Field:
    """No deeper than the Monin-Obukhov length and 0.7 u* / f where the sea gains buoyancy; the
    second comes in with it."""
    coriolis = mean_y_v2c(mean_x_q2v(grid.f_q))

    def shallower(h, u, b, f):
        inverse = _KAPPA * jnp.maximum(b, 0.0) / (u * u * u)
        stable = jnp.clip(h * inverse, 0.0, 1.0)
        h = jnp.where(h * inverse > 1.0, 1.0 / jnp.maximum(inverse, 1e-6), h)
        ekman = _EKMAN * u / jnp.maximum(jnp.abs(f), 1e-7)
        h = h + stable * (jnp.minimum(h, ekman) - h)
        return jnp.maximum(h, 0.5 * grid.dz[0, 0, 0])

    return fmap(shallower, depth, friction, buoyancy, coriolis, name="boundary layer depth")


def interior(
    n2: Field, shear2: Field, background: tuple, params: dict, convection
) -> tuple[Field, Field]:
    """Viscosity and diffusivity (m2 s-1) below the boundary layer: ``nu0 (1 - (Ri / Ri0)**2)**3``,
    background,
    convection."""

    def shear_mixing(n2, s2, strongest, least, floor):
        ratio = jnp.clip(n2 / (s2 + 1e-10) / least, 0.0, 1.0)
        rest = 1.0 - ratio * ratio
        return strongest * rest * rest * rest + floor

    out = []
    for name, floor in zip(("viscosity", "diffusivity"), background):
        k = fmap(
            shear_mixing,
            n2,
            shear2,
            params["kpp_shear_mixing"],
            params["kpp_shear_richardson"],
            floor,
            name=name,
        )
        out.append(k if convection is None else convection.add(k, n2, name, params))
    return tuple(out)


def _profiles(
    depth, friction, buoyancy, viscosity, diffusivity, light, params: dict, grid
) -> Profiles:
    d = grid.z_c[:-1] + 0.5 * grid.dz[:-1]

    def place(h):
        # Less than the depth of the first interface, and beyond the foot, the boundary layer has no
        # interface.
        s = jnp.minimum(d / h, 1.0)
        return s, s * (1.0 - s) * (1.0 - s)

    def within(which):
        def coefficient(inner, h, u, b, mask):
            s, shape = place(h)
            reach = jnp.where(b >= 0, s, jnp.minimum(s, _EXTENT))
            scale = velocity_scale(u, _KAPPA * reach * h * b, which)
            return (h * scale * shape + s * s * (3.0 - 2.0 * s) * inner) * mask

        return coefficient

    def carried(h, u, b, mask, strength):
        # It comes in between neutral and h = -L.
        unstable = jnp.clip(-(_KAPPA * h * b) / (u * u * u), 0.0, 1.0)
        return strength * _NONLOCAL * unstable * place(h)[1] * mask

    at = depth, friction, buoyancy, grid.mask_cw
    momentum = fmap(within(_MOMENTUM), viscosity, *at, name="viscosity")
    tracers = fmap(within(_TRACER), diffusivity, *at, name="diffusivity")
    share = fmap(carried, *at, params["kpp_nonlocal"], name="nonlocal")
    return Profiles(depth, *hold(momentum.crop(1), tracers.crop(1), share.crop(0)), light)


def nonlocal_flux(name: str, c: Field, source: Field | None, fluxes, layer: Profiles) -> Field:
    """Downward flux of a tracer (its unit times m s-1) through interfaces, which does not follow
    its gradient.

    Args:
        name, c: of the tracer. source: what enters with and without water. fluxes: of the surface.
    """
    # Water of the layer's own concentration changes none.
    entering = fluxes.freshwater * c.level(0) * (-1.0)
    entering = entering if source is None else entering + source
    if name == "temperature" and layer.light is not None:
        entering = entering - layer.light
    return layer.share * entering.crop(0)


__all__ = [
    "KPP",
    "Driving",
    "Profiles",
    "boundary_layer_depth",
    "bulk_richardson",
    "driving",
    "interior",
    "limited",
    "nonlocal_flux",
    "profiles",
    "surface_layers",
    "velocity_scale",
]
