"""One step's exchange of the ocean with air, rivers and ice, from whatever the records provide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax

from dogcm.components import ConfigError
from dogcm.field import Field, exchange, hold
from dogcm.operators import mean_x_c2u, mean_x_u2c, mean_y_c2v, mean_y_v2c
from dogcm.physics.surface import bulk, ice
from dogcm.physics.surface.fluxes import SurfaceFluxes, global_mean, surface_fluxes

_HALO = 2  # as records have it
OWN_FLUXES = ("heat", "freshwater", "salt")
_FLOWS = ("sensible", "latent", "longwave", "shortwave", "evaporation")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Exchange:
    """What drives one step.

    Attributes:
        now: the records, with stress on faces where it follows from winds, and ``ice_load`` (m of
            water), at centres.
        fluxes: what enters the ocean.
        parts: sensible, latent, longwave, shortwave (W m-2, downward) and evaporation (kg m-2 s-1)
            over the cell, where bulk formulae give them; ``ice_concentration``.
    """

    now: dict[str, Field]
    fluxes: SurfaceFluxes
    parts: dict[str, Field]


def surface_exchange(
    now: dict, state, thickness: Field, params: dict, grid, physics, halos
) -> Exchange:
    """Stress, heat, fresh water and ice of one step.

    Args:
        now: this moment's records. state: with halos. thickness: of the surface layer (m).
    """
    scheme = physics.surface
    temperature, salinity = state.temperature.level(0), state.salinity.level(0)
    if scheme is None:
        return Exchange(
            now, surface_fluxes(now, temperature, salinity, thickness, params, grid, physics), {}
        )
    now, given, parts, frozen = dict(now), dict(now), {}, None
    air = None
    if scheme.bulk:
        air = _bulk(now, state, params, scheme.bulk)
        parts = {n: getattr(air, n) for n in _FLOWS}
    if scheme.ice:
        own = {n: state.closures[n].crop(0) for n in ice.STATE}
        frozen = ice.step(own, air, given, temperature, salinity, thickness, params, physics)
        parts = {n: getattr(frozen, n) for n in _FLOWS} | {
            "ice_concentration": frozen.concentration
        }
    now.update(_pushing(air, state, grid, physics, halos))
    if scheme.bulk:
        given["heat_flux"] = _heat(given, parts, frozen, physics)
    own = _own_fluxes(scheme.extra, state, now, params, grid, physics)
    for name, record in (("heat", "heat_flux"), ("freshwater", "freshwater_flux")):
        if name in own:
            given[record] = own[name] + given[record] if record in given else own[name]
    _freshwater(given, parts, frozen, scheme, grid, halos)
    light = None
    if scheme.shortwave is not None:
        light = _light(given, air, frozen, params, grid, physics)
    fluxes = surface_fluxes(given, temperature, salinity, thickness, params, grid, physics, light)
    if scheme.balance_salt and "sss" in given:
        salt = hold(fluxes.salt.crop(0))
        fluxes = replace(fluxes, salt=(salt - global_mean(salt, halos, grid)) * grid.wet_c)
    if "salt" in own:
        fluxes = replace(fluxes, salt=fluxes.salt + own["salt"] * grid.wet_c)
    if frozen is not None:
        new = {"ice_thickness": (frozen.thickness * grid.wet_c).crop(0)}
        fluxes = replace(fluxes, salt=fluxes.salt + frozen.salt * grid.wet_c, closures=new)
    return Exchange(now, hold_fluxes(fluxes), parts)


def _own_fluxes(extra: tuple, state, now: dict, params: dict, grid, physics) -> dict[str, Field]:
    """Sums of what components of one's own bring through the surface, by :data:`OWN_FLUXES`."""
    total: dict[str, Field] = {}
    temperature, salinity = (f.level(0).crop(0) for f in (state.temperature, state.salinity))
    for label, one in extra:
        found = one.fluxes(temperature, salinity, now, params, grid, state.time + 0.5 * physics.dt)
        for name, flux in found.items():
            if name not in OWN_FLUXES:
                raise ConfigError(
                    f"forcing.fluxes.{label} gives {name!r}; it may give {', '.join(OWN_FLUXES)}"
                )
            flux = flux.crop(0)
            total[name] = total[name] + flux if name in total else flux
    return total


def hold_fluxes(f: SurfaceFluxes) -> SurfaceFluxes:
    """Computed once, here."""
    heat, salt, fresh = hold(f.heat, f.salt, f.freshwater)
    return replace(f, heat=heat, salt=salt, freshwater=fresh)


def _bulk(now: dict, state, params: dict, scheme) -> bulk.AirSea:
    """On the tile alone: what is wanted beyond it is cheaper to send than to compute."""
    near = {n: f.crop(0) for n, f in now.items() if f.at == "c"}
    current = None
    if scheme.relative_wind and "wind_u" in now:
        current = (mean_x_u2c(state.u.level(0)).crop(0), mean_y_v2c(state.v.level(0)).crop(0))
    air = bulk.ncar(near, state.temperature.level(0).crop(0), current, params, scheme)
    names = [n for n, f in vars(air).items() if f is not None]
    return replace(air, **dict(zip(names, hold(*(getattr(air, n) for n in names)))))


def _pushing(air: bulk.AirSea | None, state, grid, physics, halos) -> dict[str, Field]:
    """Stress on faces, which ice hands on to the sea, and the weight of the ice: one message for
    all."""
    wanted = {}
    if air is not None and air.wind_u is not None:
        wanted = {"taux": air.drag * air.wind_u, "tauy": air.drag * air.wind_v}
    if physics.surface.ice:
        wanted["ice_load"] = ice.load(state.closures["ice_thickness"].crop(0), physics)
    if not wanted:
        return {}
    # Only faces between two wet cells count, and beyond a wall an exchange brings values from
    # elsewhere.
    found = dict(
        zip(wanted, exchange(halos, *((f, _HALO, n != "ice_load") for n, f in wanted.items())))
    )
    faces = {"taux": mean_x_c2u, "tauy": mean_y_c2v, "ice_load": lambda f: f * grid.wet_c}
    return {n: hold(faces[n](f)).named(n) for n, f in found.items()}


def _heat(given: dict, parts: dict, frozen, physics) -> Field:
    if frozen is not None:
        heat = frozen.heat
    else:
        heat = parts["sensible"] + parts["latent"] + parts["longwave"] + parts["shortwave"]
        if "snowfall" in given:
            heat = heat + given["snowfall"].crop(0) * (-physics.rho0 * ice.FUSION)
    return heat + given["heat_flux"] if "heat_flux" in given else heat


def _freshwater(given: dict, parts: dict, frozen, scheme, grid, halos) -> None:
    """Put all fresh water into ``given["freshwater_flux"]``. What only moves between ice and sea is
    no imbalance."""
    terms = [given.pop(n) for n in ("freshwater_flux", "runoff") if n in given]
    if scheme.bulk:
        terms += [given["precipitation"], parts["evaporation"] * (-1.0 / bulk.FRESH_WATER_DENSITY)]
    if not terms:
        return
    total = sum(terms[1:], terms[0])
    if scheme.balance_freshwater:
        total = (total.crop(0) * grid.wet_c).crop(0)
        total = total - global_mean(total, halos, grid)
    given["freshwater_flux"] = total if frozen is None else total + frozen.water


def _light(given: dict, air, frozen, params: dict, grid, physics) -> Field:
    """What passes interfaces (K m s-1); none under ice."""
    entering = (
        air.shortwave
        if air is not None
        else given["shortwave_down"] * (1.0 - params["ocean_albedo"])
    )
    if frozen is not None:
        entering = entering * (1.0 - frozen.concentration)
    to_kelvin = 1.0 / (physics.rho0 * physics.heat_capacity)
    return physics.surface.shortwave.penetrating(
        hold(entering * to_kelvin * grid.wet_c), params, grid
    )
