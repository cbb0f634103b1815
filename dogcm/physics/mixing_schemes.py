"""Vertical mixing by the scheme of choice: what the step asks for, and what a scheme carries from
step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

from dogcm.field import Field, hold
from dogcm.physics import kpp, tke
from dogcm.physics.background_mixing import background
from dogcm.physics.vertical_mixing import enhanced, richardson_mixing

# What each scheme carries (State.closures), at interfaces; a step needs one cell of its halo.
CARRIED = {"richardson": (), "tke": (tke.NAME,), "kpp": ()}


@dataclass(frozen=True)
class Mixing:
    """Vertical mixing of one step.

    Attributes:
        n2: squared buoyancy frequency (s-2). viscosity, diffusivity: m2 s-1; all three at
            interfaces of centres.
        closures: what the scheme carries, at the end of the step, without halo.
        boundary_layer: of kpp, with what it carries without regard to gradients; else None.
    """

    n2: Field
    viscosity: Field
    diffusivity: Field
    closures: dict[str, Field] = field(default_factory=dict)
    boundary_layer: kpp.Profiles | None = None


def at_rest(like: Field, params: dict, grid, physics) -> dict[str, Field]:
    """What the scheme carries at the start of a run; ``like``: a Field of the run's dtype."""
    return {tke.NAME: tke.at_rest(like, params, grid)} if physics.vertical_mixing == "tke" else {}


def mix(
    carried: dict[str, Field],
    n2: Field,
    shear2: Field,
    now: dict[str, Field],
    params: dict,
    grid,
    physics,
    drive: kpp.Driving | None = None,
) -> Mixing:
    """Mixing from the state at the start of a step.

    Args:
        carried: ``State.closures``, with one cell of halo.
        n2, shear2: squares of buoyancy frequency and shear (s-2) at interfaces.
        now: forcing of this moment, by name. physics: choices of schemes and constants.
        drive: fluxes and velocity, for kpp.
    """
    floor = background(n2, params, grid, physics)
    if physics.vertical_mixing == "tke":
        return _by_energy(carried[tke.NAME], n2, shear2, now, floor, params, grid, physics)
    if physics.vertical_mixing == "kpp":
        layer = kpp.profiles(n2, shear2, drive, floor, params, grid, physics)
        return Mixing(n2, layer.viscosity, layer.diffusivity, boundary_layer=layer)
    return Mixing(n2, *hold(*richardson_mixing(n2, shear2, params, grid, floor)))


def _by_energy(energy, n2, shear2, now, floor, params, grid, physics) -> Mixing:
    t = tke.turbulence(energy, n2, shear2, floor, params, grid)
    wind = tke.friction_velocity_cubed(now, grid, physics.rho0)
    energy = tke.advance(t, n2, shear2, wind, params, grid, physics.momentum_dt)
    return Mixing(
        n2,
        *_with_convection(t.viscosity, t.diffusivity, n2, params, grid, physics),
        {tke.NAME: energy},
    )


def _with_convection(viscosity, diffusivity, n2, params, grid, physics) -> tuple[Field, Field]:
    if not physics.enhanced_convection:
        return viscosity, diffusivity
    more = lambda k, name: enhanced(k, n2, params[f"convection_{name}"], params) * grid.mask_cw
    return hold(more(viscosity, "viscosity"), more(diffusivity, "diffusivity"))


__all__ = ["CARRIED", "Mixing", "at_rest", "mix"]
