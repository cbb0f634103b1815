"""Variables that can be written to files: name, place, unit, CF names, and how a state gives them."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from typing import Callable

import jax.numpy as jnp

from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import divergence, interface_flow, stretch_u, stretch_v
from dogcm.field import Field, exchange, fmap
from dogcm.io.output import FileVariable
from dogcm.operators import mean_x_u2c, mean_y_v2c, sum_z
from dogcm.physics.eos import S_REF, T_REF, PreparedTEOS10, teos10_density
from dogcm.physics.surface import SurfaceFluxes

_MLD_THRESHOLD, _MLD_REFERENCE = 0.03, 10.0  # kg m-3, m


class Scene:
    """A state with what variables are computed from; shared parts are computed once per trace.

    Args:
        state: :class:`dogcm.timestepping.State`. fluxes: what entered during the last step.
        dynamics, params, forcing, grid: as the step takes them.
    """

    def __init__(self, state, fluxes: SurfaceFluxes, dynamics, params, forcing, grid):
        self.state, self.fluxes, self.dynamics = state, fluxes, dynamics
        self.params, self.forcing, self.grid = params, forcing, grid

    @functools.cached_property
    def flow(self) -> tuple[Field, Field, Field]:
        """u, v and eta with one halo cell, zero on land."""
        s, one = self.state, Halo.of(1)
        u, v, eta = exchange(self.dynamics.halos, (s.u, one), (s.v, one), (s.eta, one))
        return u * self.grid.mask_u, v * self.grid.mask_v, eta * self.grid.wet_c

    @functools.cached_property
    def transports(self) -> tuple[Field, Field]:
        """Volume transports per width through faces, layer by layer (m2 s-1)."""
        u, v, eta = self.flow
        g = self.grid
        return u * (g.h_u * stretch_u(eta, g)), v * (g.h_v * stretch_v(eta, g))

    @functools.cached_property
    def potential_density(self) -> Field:
        """Density of water brought to the first layer, less 1000 (kg m-3)."""
        s, eos = self.state, self.dynamics.eos
        if isinstance(eos, PreparedTEOS10):
            base = float(teos10_density(T_REF, S_REF, 0.0))
        else:
            base = eos.rho0
        return eos.anomaly(s.temperature, s.salinity, slice(0, 1)) + (base - 1000.0)


@dataclass(frozen=True)
class Variable(FileVariable):
    """A :class:`dogcm.io.output.FileVariable` and the function ``(Scene) -> Field`` that computes it."""

    compute: Callable[[Scene], Field]


VARIABLES: dict[str, Variable] = {}


def variable(name: str, at: str, unit: str, long_name: str, standard_name: str = "", layers: bool = True):
    """Register a function ``(Scene) -> Field`` as an output variable."""

    def register(function):
        VARIABLES[name] = Variable(name, at, layers, unit, standard_name, long_name, function)
        return function

    return register


def find_variables(names) -> list[Variable]:
    """The variables of these names.

    Raises:
        ValueError: unknown name (with the nearest known ones) or a repeated one.
    """
    names = list(names)
    for n in names:
        if n not in VARIABLES:
            close = difflib.get_close_matches(n, VARIABLES, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(VARIABLES)}"
            raise ValueError(f"unknown output variable {n!r}; {hint}")
    if len(set(names)) < len(names):
        raise ValueError(f"output variables are named twice: {', '.join(names)}")
    return [VARIABLES[n] for n in names]


@variable("temperature", "c", "degree_C", "conservative temperature", "sea_water_conservative_temperature")
def _(s: Scene) -> Field:
    return s.state.temperature


@variable("salinity", "c", "g kg-1", "absolute salinity", "sea_water_absolute_salinity")
def _(s: Scene) -> Field:
    return s.state.salinity


@variable("u", "u", "m s-1", "velocity along x", "sea_water_x_velocity")
def _(s: Scene) -> Field:
    return s.state.u


@variable("v", "v", "m s-1", "velocity along y", "sea_water_y_velocity")
def _(s: Scene) -> Field:
    return s.state.v


@variable("w", "cw", "m s-1", "upward volume flux per area through the (moving) layer interfaces",
          "upward_sea_water_velocity")  # fmt: skip
def _(s: Scene) -> Field:
    U, V = s.transports
    rate = -divergence(sum_z(U), sum_z(V), s.grid)
    return interface_flow(U, V, rate, s.grid)


@variable("eta", "c", "m", "sea level above the geoid", "sea_surface_height_above_geoid", layers=False)
def _(s: Scene) -> Field:
    return s.state.eta


@variable("speed_surface", "c", "m s-1", "speed of the surface layer", "sea_water_speed", layers=False)
def _(s: Scene) -> Field:
    u, v, _eta = s.flow
    u, v = mean_x_u2c(u.level(0)), mean_y_v2c(v.level(0))
    return fmap(lambda a, b: jnp.sqrt(a * a + b * b), u, v, name="speed")


@variable("kinetic_energy", "c", "m2 s-2", "kinetic energy per mass", "specific_kinetic_energy_of_sea_water")
def _(s: Scene) -> Field:
    u, v, _eta = s.flow
    return (mean_x_u2c(u * u) + mean_y_v2c(v * v)) * 0.5


@variable("density_anomaly", "c", "kg m-3",
          "in-situ density less that of water of 8 degC and 35 g/kg at the same depth")  # fmt: skip
def _(s: Scene) -> Field:
    return s.dynamics.eos.anomaly(s.state.temperature, s.state.salinity)


@variable("potential_density", "c", "kg m-3", "potential density referred to the surface, less 1000 kg m-3",
          "sea_water_sigma_theta")  # fmt: skip
def _(s: Scene) -> Field:
    return s.potential_density


@variable("mixed_layer_depth", "c", "m", "depth at which potential density is 0.03 kg m-3 above that at 10 m",
          "ocean_mixed_layer_thickness_defined_by_sigma_theta", layers=False)  # fmt: skip
def _(s: Scene) -> Field:
    """De Boyer Montegut et al. (2004), doi:10.1029/2004JC002378; linear between layer centres."""
    sigma, wet = s.potential_density.interior, s.grid.mask_c.interior
    z, bottom = s.grid.z_c[:, 0, 0], s.grid.depth_c.interior
    count = sigma.shape[0]
    reference = sigma[0]
    for k in range(1, count):  # value at 10 m, or of the first layer if its centre is deeper
        weight = jnp.clip((_MLD_REFERENCE - z[k - 1]) / (z[k] - z[k - 1]), 0.0, 1.0)
        reference = reference + weight * (sigma[k] - sigma[k - 1]) * wet[k]
    excess = sigma - reference - _MLD_THRESHOLD
    depth = bottom
    for k in range(count - 1, 0, -1):  # upwards: the shallowest crossing has the last word
        step = excess[k] - excess[k - 1]
        weight = jnp.clip(-excess[k - 1] / jnp.where(step > 0, step, 1.0), 0.0, 1.0)
        crossing = jnp.maximum(z[k - 1] + weight * (z[k] - z[k - 1]), jnp.minimum(_MLD_REFERENCE, bottom))
        found = (excess[k] > 0) & (wet[k] > 0) & (z[k] > _MLD_REFERENCE)
        depth = jnp.where(found, crossing, depth)
    return Field(depth, "c").named("mixed_layer_depth")


@variable("U", "u", "m2 s-1", "depth-integrated transport per width along x", layers=False)
def _(s: Scene) -> Field:
    return sum_z(s.transports[0])


@variable("V", "v", "m2 s-1", "depth-integrated transport per width along y", layers=False)
def _(s: Scene) -> Field:
    return sum_z(s.transports[1])


@variable("heat_flux", "c", "W m-2", "heat entering through the surface, as applied",
          "surface_downward_heat_flux_in_sea_water", layers=False)  # fmt: skip
def _(s: Scene) -> Field:
    p = s.dynamics.physics
    return s.fluxes.heat * (p.rho0 * p.heat_capacity)


@variable("salt_flux", "c", "kg m-2 s-1", "salt entering through the surface by restoring, as applied",
          layers=False)  # fmt: skip
def _(s: Scene) -> Field:
    return s.fluxes.salt * (s.dynamics.physics.rho0 * 1e-3)


@variable("freshwater_flux", "c", "kg m-2 s-1", "fresh water entering through the surface, as applied",
          "water_flux_into_sea_water", layers=False)  # fmt: skip
def _(s: Scene) -> Field:
    return s.fluxes.freshwater * s.dynamics.physics.rho0


def _stress(s: Scene, name: str, wet: Field) -> Field:
    now = s.forcing.at(s.state.time - 0.5 * s.dynamics.physics.dt)
    return now[name] * wet if name in now else wet * 0.0


@variable("taux", "u", "N m-2", "wind stress along x", "surface_downward_x_stress", layers=False)
def _(s: Scene) -> Field:
    return _stress(s, "taux", s.grid.wet_u)


@variable("tauy", "v", "N m-2", "wind stress along y", "surface_downward_y_stress", layers=False)
def _(s: Scene) -> Field:
    return _stress(s, "tauy", s.grid.wet_v)


__all__ = ["Scene", "VARIABLES", "Variable", "find_variables", "variable"]
