"""Turbulent kinetic energy: vertical mixing after Gaspar, Gregoris and Lefevre (1990),
doi:10.1029/JC095iC09p16179.

Turbulent kinetic energy e (m2 s-2) lives at the interfaces between layers and obeys

    de/dt = d/dz (alpha K de/dz) + K S2 - K_H N2 - c_eps e**(3/2) / l_eps
    K = c_k l_k sqrt(e),   K_H = K / Pr,   Pr = 6.6 Ri within 1 and 10

with squared shear S2, squared buoyancy frequency N2 and ``Ri = N2 / S2`` (Pr: Gaspar et al. have 1;
a factor of Ri within bounds since Blanke and Delecluse 1993,
doi:10.1175/1520-0485(1993)023<1363:VOTTAO>2.0.CO;2).

Both lengths start from the height that a parcel rises against the stratification, ``l = sqrt(2 e) /
N`` (Deardorff 1980, doi:10.1007/BF00119502), and from there none changes faster than the distance:
``l_up`` downwards from 0 at the surface, ``l_down`` upwards from 0 at the bottom. Then ``l_k =
min(l_up, l_down)`` and ``l_eps = sqrt(l_up l_down)``. Where the column is unstable only distances
bound them, and K_H N2 is a source.

Wind brings the flux ``c_s u***3`` through the surface, with the friction velocity ``u*``; nothing
passes the bottom.

The coefficients of a step follow from the energy at its start. Then the energy is advanced with
them: diffusion and sinks implicitly (the buoyancy sink in proportion to the new energy, dissipation
by a Newton step), sources explicitly, so that it stays positive for steps of any length.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from dogcm.components import parameter
from dogcm.field import Field, fmap, hold
from dogcm.operators import common
from dogcm.physics.interfaces import Column, Mixing, VerticalMixing, needs_layers
from dogcm.physics.vertical_mixing import diffuse, stress_squared

NAME = "tke"
_AT_INTERFACES = {"shapes": ("scalar", "profile", "map"), "levels": "interfaces"}
# Weaker stratification (s-2) counts as this much: a length that is still longer than it matters,
# with a derivative.
_WEAKEST_N2 = 1e-10
_SHORTEST = 1e-2  # m, of dissipation
_DRY = 1e-12  # m2: gives the root a derivative
_STILL = 1e-20  # m4 s-4: keeps the wind's derivative finite in a calm


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["energy", "viscosity", "diffusivity", "decay"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Turbulence:
    """What the energy of one step gives, at interfaces.

    Attributes:
        energy: m2 s-2, at least the background. viscosity, diffusivity: m2 s-1, at least theirs.
        decay: c_eps sqrt(e) / l_eps (s-1).
    """

    energy: Field
    viscosity: Field
    diffusivity: Field
    decay: Field


def _root(f: Field) -> Field:
    """Square root of a positive Field, in a loop of its own: in one with constants it is three
    times slower."""
    return hold(fmap(jnp.sqrt, hold(f), name="root"))


def lengths(energy: Field, n2: Field, grid) -> tuple[Field, Field]:
    """Lengths (m) at interfaces that are bounded from above and from below; next to nothing where
    dry.

    Args:
        energy: m2 s-2, positive everywhere. n2: s-2.
    """
    energy, n2, mask, h = common(energy, n2, grid.mask_cw, grid.h_c)
    squared = lambda e, n2, mask: 2.0 * e / jnp.maximum(n2, _WEAKEST_N2) * mask + _DRY
    free = _root(fmap(squared, energy, n2, mask, name="length squared"))
    thickness = jnp.broadcast_to(grid.dz[:-1], (grid.nz - 1, 1, 1))
    up = _no_steeper(free.data, thickness, reverse=False)
    # At a dry interface there is no length, so the bottom is where the column ends, also above a
    # partial cell.
    down = _no_steeper(free.data, h.data[1:], reverse=True)
    return hold(free.with_data(up), free.with_data(down))


def _no_steeper(length, distance, reverse: bool):
    """Lengths that grow by no more than the distance from one interface to the next, from 0
    outside."""

    def bound(before, level):
        own, step = level
        now = jnp.minimum(own, before + step)
        return now, now

    return jax.lax.scan(bound, jnp.zeros_like(length[0]), (length, distance), reverse=reverse)[1]


def inverse_prandtl(n2, s2):
    """One over the turbulent Prandtl number, from N2 and S2 (s-2)."""
    # Without shear it is 0.1 where stable, and 1 where N2 is zero or less.
    return jnp.clip((s2 + 1e-10) / (6.6 * jnp.maximum(n2, 1e-12)), 0.1, 1.0)


def turbulence(
    energy: Field, n2: Field, shear2: Field, background: tuple, params: dict, grid
) -> Turbulence:
    """Coefficients of mixing from the energy (m2 s-2), N2 and S2 (s-2).

    Args:
        background: least viscosity and diffusivity (m2 s-1), see
            :mod:`dogcm.physics.background_mixing`.
    """
    energy = hold(fmap(jnp.maximum, energy, params["tke_background"], name="energy"))
    up, down = lengths(energy, n2, grid)
    root = _root(energy)
    root, n2, shear2, mask, up, down = common(root, n2, shear2, grid.mask_cw, up, down)
    length = _root(fmap(lambda a, b: a * b + _DRY, up.crop(0), down.crop(0), name="length"))

    def mixing(root, up, down, mask, c_k, floor):
        return jnp.maximum(c_k * jnp.minimum(up, down) * root, floor) * mask

    def heat(root, up, down, n2, s2, mask, c_k, floor):
        return (
            jnp.maximum(c_k * jnp.minimum(up, down) * root * inverse_prandtl(n2, s2), floor) * mask
        )

    c_k = params["tke_c_k"]
    viscosity = fmap(mixing, root, up, down, mask, c_k, background[0], name="viscosity")
    diffusivity = fmap(
        heat, root, up, down, n2, shear2, mask, c_k, background[1], name="diffusivity"
    )
    decay = lambda r, length, c: c * r / jnp.maximum(length, _SHORTEST)
    rate = fmap(decay, root.crop(0), length, params["tke_c_eps"], name="decay")
    return Turbulence(energy, *hold(viscosity, diffusivity, rate))


def friction_velocity_cubed(now: dict[str, Field], grid, rho0: float) -> Field | None:
    """``(|wind stress| / rho0)**1.5`` (m3 s-3) at cell centres; None without wind."""
    square = stress_squared(now, grid)
    if square is None:
        return None

    def cubed(square, wet):
        root = jnp.sqrt(square * (1.0 / rho0**2) + _STILL)
        return root * jnp.sqrt(root) * wet

    return fmap(cubed, square, grid.wet_c, name="u*3")


def advance(
    t: Turbulence, n2: Field, shear2: Field, wind: Field | None, params: dict, grid, dt: float
) -> Field:
    """Energy (m2 s-2, without halo) after ``dt`` seconds, at least the background in water and 0
    elsewhere.

    Distances are those at rest.

    Args:
        wind: cube of the friction velocity (m3 s-3), or None.
    """
    e, nu, kappa, decay, n2, shear2, mask = (
        f.crop(0) for f in (t.energy, t.viscosity, t.diffusivity, t.decay, n2, shear2, grid.mask_cw)
    )
    least, dz_w = params["tke_background"], grid.dz_w

    def sinks(e, kappa, n2, decay, dz_w):
        # Newton: e**1.5 is 1.5 sqrt(e) e_new - 0.5 e**1.5.
        return (1.5 * decay + jnp.maximum(kappa * n2, 0.0) / e) * (dz_w * dt)

    def sources(e, nu, kappa, n2, shear2, decay, dz_w, mask):
        gained = nu * shear2 + jnp.maximum(-(kappa * n2), 0.0)
        return (e * (1.0 + (0.5 * dt) * decay) + dt * gained) * (dz_w * mask)

    sink = fmap(sinks, e, kappa, n2, decay, dz_w, name="sinks of tke")
    content = fmap(sources, e, nu, kappa, n2, shear2, decay, dz_w, mask, name="sources of tke")
    if wind is not None:
        content = _add_first(content, wind * params["tke_surface_flux"] * (dt * mask.level(0)))
    content, h, sink, between = hold(
        content, mask * dz_w, sink, _between(nu, params["tke_alpha"], mask, grid, dt)
    )
    (new,) = diffuse(h.data, between.data, sink.data, (content.data,))
    return fmap(
        lambda x, mask, least: jnp.maximum(x, least) * mask, e.with_data(new), mask, least
    ).named(NAME)


class TKE(VerticalMixing):
    """Mixing by turbulent kinetic energy, a prognostic variable (Gaspar et al. 1990)."""

    kind: ClassVar[str] = "tke"
    source: ClassVar[str] = "doi:10.1029/JC095iC09p16179"
    tke_c_k: float = parameter(
        0.1, "1", "viscosity over length times root of energy", gt=0, **_AT_INTERFACES
    )
    tke_c_eps: float = parameter(
        0.7, "1", "dissipation times length over energy to the power 3/2", gt=0, **_AT_INTERFACES
    )
    tke_alpha: float = parameter(30.0, "1", "diffusivity of energy over viscosity", ge=0)
    tke_surface_flux: float = parameter(
        1.0, "1", "flux of energy through the surface over the friction velocity cubed", ge=0
    )
    tke_background: float = parameter(1e-6, "m2 s-2", "least energy", gt=0, **_AT_INTERFACES)

    def carries(self) -> tuple[str, ...]:
        return (NAME,)

    def carried_halo(self) -> int:
        return 1

    def at_rest(self, like: Field, params: dict, grid) -> dict[str, Field]:
        return {NAME: at_rest(like, params, grid)}

    def check(self, config) -> None:
        needs_layers(config, self.name(), 3)

    def mix(self, column: Column, params: dict, grid, physics) -> Mixing:
        n2, shear2 = column.n2, column.shear2
        t = turbulence(column.carried[NAME], n2, shear2, column.background, params, grid)
        wind = friction_velocity_cubed(column.now, grid, physics.rho0)
        energy = advance(t, n2, shear2, wind, params, grid, physics.momentum_dt)
        viscosity, diffusivity = t.viscosity, t.diffusivity
        if physics.convection is not None:
            more = lambda k, name: physics.convection.add(k, n2, name, params) * grid.mask_cw
            viscosity, diffusivity = hold(
                more(viscosity, "viscosity"), more(diffusivity, "diffusivity")
            )
        return Mixing(n2, viscosity, diffusivity, {NAME: energy})


def _between(viscosity: Field, alpha, mask: Field, grid, dt: float) -> Field:
    """Exchange of energy (m) across the layers between two interfaces, 0 where the lower one is
    dry."""
    pair = viscosity.level(slice(None, -1)) + viscosity.level(slice(1, None))
    return pair * mask.level(slice(1, None)) * alpha * ((0.5 * dt) / grid.dz[1:-1])


def _add_first(f: Field, flux: Field) -> Field:
    """Add to the first interface."""
    return f.with_data(jnp.concatenate([(f.level(0) + flux).data[None], f.data[1:]]))


def at_rest(like: Field, params: dict, grid) -> Field:
    """The background energy everywhere in water: where a run starts."""
    return (grid.mask_cw * params["tke_background"]).crop(0).astype(like.dtype).named(NAME)


__all__ = [
    "NAME",
    "TKE",
    "Turbulence",
    "advance",
    "at_rest",
    "friction_velocity_cubed",
    "inverse_prandtl",
    "lengths",
    "turbulence",
]
