"""Variables that can be written to files: name, place, unit, CF names, and how a state gives
them."""

from __future__ import annotations

import difflib
import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import Component
from dogcm.components.base import summary
from dogcm.decomp.depth import Halo
from dogcm.diagnostics.budgets import (
    MOMENTUM_TERMS,
    TERMS,
    VOLUME_TERMS,
    buoyancy_work,
    kinetic_energy_budget,
    momentum_budget,
    tracer_budget,
    volume_budget,
)
from dogcm.diagnostics.circulation import reference_density
from dogcm.dynamics.continuity import divergence, interface_flow, stretch_c, stretch_u, stretch_v
from dogcm.field import Field, exchange, fmap
from dogcm.io.description import FileVariable
from dogcm.operators import common, mean_x_u2c, mean_y_v2c, sum_z
from dogcm.physics.isoneutral import NeutralDiffusion
from dogcm.physics.surface import SurfaceFluxes
from dogcm.physics.surface.air_sea import Exchange

_MLD_THRESHOLD, _MLD_REFERENCE = 0.03, 10.0  # kg m-3, m
_MIXED = 1e-4  # m2 s-1


class Scene:
    """A state with what variables are computed from; shared parts are computed once per trace.

    Args:
        state: :class:`dogcm.timestepping.State`. fluxes: what entered during the last step.
        dynamics, params, forcing, grid: as the step takes them.
        before, parts: the state before the last step and what its tracers were advanced with
            (:meth:`dogcm.timestepping.Dynamics.step_with_parts`), for variables that describe a
            step.
    """

    def __init__(
        self, state, fluxes: SurfaceFluxes, dynamics, params, forcing, grid, before=None, parts=None
    ):
        self.state, self.fluxes, self.dynamics = state, fluxes, dynamics
        self.params, self.forcing, self.grid = params, forcing, grid
        self.before, self.parts = before, parts

    @functools.cached_property
    def terms(self) -> dict:
        """Terms of the last step of the tracers."""
        return self.dynamics.tracer_terms(self.parts)

    def budget(self, what: str) -> dict[str, Field]:
        """The last step's budget of a tracer, ``volume``, ``momentum`` or ``kinetic_energy``, see
        :mod:`dogcm.diagnostics.budgets`."""
        if what not in self._budgets:
            dt, g = self.dynamics.physics.dt, self.grid
            if what == "momentum":
                terms = self.dynamics.momentum_terms(self.parts)
                short = self.dynamics.physics.momentum_dt
                self._budgets[what] = momentum_budget(self.before, self.state, terms, g, short)
            elif what == "kinetic_energy":
                own = self.budget("momentum")
                self._budgets[what] = kinetic_energy_budget(
                    self.before, self.state, own, self.dynamics.halos, g
                )
            elif what == "volume":
                self._budgets[what] = volume_budget(
                    self.before, self.state, self.terms, self.fluxes.freshwater, g, dt
                )
            else:
                self._budgets[what] = tracer_budget(
                    what, self.before, self.state, self.terms, g, dt
                )
        return self._budgets[what]

    @functools.cached_property
    def _budgets(self) -> dict:
        return {}

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
    def deep(self):
        """The state with the halos of a step."""
        return self.dynamics.with_halos(self.state, self.grid)

    @functools.cached_property
    def driven(self):
        """What the surface gets, :class:`dogcm.physics.surface.air_sea.Exchange`, of the state as
        it is now."""
        d, g = self.dynamics, self.grid
        now = self.forcing.at(self.state.time - 0.5 * d.physics.dt)
        if d.physics.surface is None:
            return Exchange(now, self.fluxes, {})
        s = self.deep
        return d.surface(s, now, stretch_c(s.eta, g), self.params, g)

    @functools.cached_property
    def mixing(self):
        """Vertical mixing (:class:`dogcm.physics.interfaces.Mixing`) of the state as it is now,
        and its density."""
        d, g = self.dynamics, self.grid
        s = self.deep
        density = d.eos.anomaly(s.temperature, s.salinity)
        return d._mixing(
            s, density, stretch_c(s.eta, g), self.driven.now, self.params, g, self.driven.fluxes
        ), density

    @functools.cached_property
    def potential_density(self) -> Field:
        """Density of water brought to the first layer, less 1000 (kg m-3)."""
        s, eos = self.state, self.dynamics.eos
        return eos.anomaly(s.temperature, s.salinity, slice(0, 1)) + (
            reference_density(eos, 0.0) - 1000.0
        )


@dataclass(frozen=True)
class Variable(FileVariable):
    """A :class:`dogcm.io.description.FileVariable` and the function ``(Scene) -> Field`` that
    computes it.

    ``of_step``: it describes a step rather than a state, so only its mean over steps can be
    written.
    """

    compute: Callable[[Scene], Field]
    of_step: bool = False


VARIABLES: dict[str, Variable] = {}


def variable(
    name: str, at: str, unit: str, long_name: str, standard_name: str = "", layers: bool = True
):
    """Register a function ``(Scene) -> Field`` as an output variable."""

    def register(function):
        VARIABLES[name] = Variable(name, at, layers, unit, standard_name, long_name, function)
        return function

    return register


@dataclass(frozen=True)
class _OfState:
    """A tracer as it is. Equal for equal names: tables that are equal share their compiled
    program."""

    name: str

    def __call__(self, s: Scene) -> Field:
        return s.state.tracers[self.name]


class OutputVariable(Component):
    """An output variable of one's own, declared under its name in ``run.variables``.

    Attributes:
        at: place on the C grid (c, u or v, with a w at interfaces). layers: whether it has a
            vertical axis. unit: as UDUNITS reads it. standard_name: of the CF table, or empty.
        of_step: it describes a step, so that only its mean over steps can be written.
    """

    slot: ClassVar[str] = "output_variable"
    labelled: ClassVar[bool] = True
    at: ClassVar[str] = "c"
    layers: ClassVar[bool] = True
    unit: ClassVar[str] = "1"
    standard_name: ClassVar[str] = ""
    of_step: ClassVar[bool] = False

    @abstractmethod
    def compute(self, scene: Scene) -> Field:
        """Its values, without halo."""

    def named(self, name: str) -> Variable:
        """As tables take it."""
        about = (name, self.at, self.layers, self.unit, self.standard_name, summary(type(self)))
        return Variable(*about, self.compute, self.of_step)


def variables_of(passive, equation_of_state: str) -> dict[str, Variable]:
    """The output variables that depend on a model: its passive tracers, and which temperature and
    salinity it carries.

    Args:
        passive: :class:`dogcm.tracers.PassiveTracers`. equation_of_state: as in the configuration.
    """
    own = {}
    if equation_of_state == "jmd95":
        for name, words in {
            "temperature": "potential temperature",
            "salinity": "practical salinity",
        }.items():
            standard = "sea_water_" + words.replace(" ", "_")
            unit = "1" if name == "salinity" else "degree_C"
            own[name] = replace(VARIABLES[name], long_name=words, standard_name=standard, unit=unit)
    return own | passive_variables(passive)


def passive_variables(passive) -> dict[str, Variable]:
    """The output variables of a model's passive tracers.

    Args:
        passive: :class:`dogcm.tracers.PassiveTracers`.
    """

    return {
        v.name: Variable(v.name, "c", True, v.unit, v.standard_name, v.long_name, _OfState(v.name))
        for v in passive.variables
    }


def find_variables(names, more: dict[str, Variable] | None = None) -> list[Variable]:
    """The variables of these names.

    Args:
        more: variables of this model alone, such as its passive tracers.

    Raises:
        ValueError: unknown name (with the nearest known ones) or a repeated one.
    """
    names = list(names)
    known = VARIABLES | (more or {})
    for n in names:
        if n not in known:
            close = difflib.get_close_matches(n, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
            raise ValueError(f"unknown output variable {n!r}; {hint}")
    if len(set(names)) < len(names):
        raise ValueError(f"output variables are named twice: {', '.join(names)}")
    return [known[n] for n in names]


@variable(
    "temperature", "c", "degree_C", "conservative temperature", "sea_water_conservative_temperature"
)
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


def _turned(s: Scene) -> tuple[Field, Field]:
    """Velocity at centres, to the east and north."""
    u, v, _eta = s.flow
    u, v = mean_x_u2c(u), mean_y_v2c(v)
    if s.grid.cos_c is None:
        return u, v
    return u * s.grid.cos_c - v * s.grid.sin_c, v * s.grid.cos_c + u * s.grid.sin_c


@variable(
    "u_east", "c", "m s-1", "eastward velocity, at cell centres", "eastward_sea_water_velocity"
)
def _(s: Scene) -> Field:
    return _turned(s)[0]


@variable(
    "v_north", "c", "m s-1", "northward velocity, at cell centres", "northward_sea_water_velocity"
)
def _(s: Scene) -> Field:
    return _turned(s)[1]


@variable(
    "w",
    "cw",
    "m s-1",
    "upward volume flux per area through the (moving) layer interfaces",
    "upward_sea_water_velocity",
)
def _(s: Scene) -> Field:
    U, V = s.transports
    rate = -divergence(sum_z(U), sum_z(V), s.grid)
    return interface_flow(U, V, rate, s.grid)


@variable(
    "eta", "c", "m", "sea level above the geoid", "sea_surface_height_above_geoid", layers=False
)
def _(s: Scene) -> Field:
    return s.state.eta


@variable(
    "speed_surface", "c", "m s-1", "speed of the surface layer", "sea_water_speed", layers=False
)
def _(s: Scene) -> Field:
    u, v, _eta = s.flow
    u, v = mean_x_u2c(u.level(0)), mean_y_v2c(v.level(0))
    return fmap(lambda a, b: jnp.sqrt(a * a + b * b), u, v, name="speed")


@variable(
    "kinetic_energy",
    "c",
    "m2 s-2",
    "kinetic energy per mass",
    "specific_kinetic_energy_of_sea_water",
)
def _(s: Scene) -> Field:
    u, v, _eta = s.flow
    return (mean_x_u2c(u * u) + mean_y_v2c(v * v)) * 0.5


@variable(
    "density_anomaly",
    "c",
    "kg m-3",
    "in-situ density less that of water of 8 degC and 35 g/kg at the same depth",
)
def _(s: Scene) -> Field:
    return s.dynamics.eos.anomaly(s.state.temperature, s.state.salinity)


@variable(
    "potential_density",
    "c",
    "kg m-3",
    "potential density referred to the surface, less 1000 kg m-3",
    "sea_water_sigma_theta",
)
def _(s: Scene) -> Field:
    return s.potential_density


@variable(
    "mixed_layer_depth",
    "c",
    "m",
    "depth at which potential density is 0.03 kg m-3 above that at 10 m",
    "ocean_mixed_layer_thickness_defined_by_sigma_theta",
    layers=False,
)
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
        crossing = jnp.maximum(
            z[k - 1] + weight * (z[k] - z[k - 1]), jnp.minimum(_MLD_REFERENCE, bottom)
        )
        found = (excess[k] > 0) & (wet[k] > 0) & (z[k] > _MLD_REFERENCE)
        depth = jnp.where(found, crossing, depth)
    return Field(depth, "c").named("mixed_layer_depth")


@variable(
    "vertical_viscosity",
    "cw",
    "m2 s-1",
    "vertical viscosity, by all schemes together",
    "ocean_vertical_momentum_diffusivity",
)
def _(s: Scene) -> Field:
    return s.mixing[0].viscosity


@variable(
    "vertical_diffusivity",
    "cw",
    "m2 s-1",
    "vertical diffusivity, by all schemes together but isoneutral mixing",
    "ocean_vertical_tracer_diffusivity",
)
def _(s: Scene) -> Field:
    return s.mixing[0].diffusivity


@variable(
    "tke",
    "cw",
    "m2 s-2",
    "turbulent kinetic energy; 0 in models without it",
    "specific_turbulent_kinetic_energy_of_sea_water",
)
def _(s: Scene) -> Field:
    carried = s.state.closures.get("tke")
    return s.grid.mask_cw.crop(0) * 0.0 if carried is None else carried


@variable(
    "boundary_layer_depth",
    "c",
    "m",
    "depth of the boundary layer of kpp; else to where diffusivity first falls below 1e-4 m2 s-1",
    "ocean_mixed_layer_thickness_defined_by_vertical_tracer_diffusivity",
    layers=False,
)
def _(s: Scene) -> Field:
    layer, g = s.mixing[0].boundary_layer, s.grid
    if layer is not None:
        return layer.depth * g.wet_c
    k, mask = common(s.mixing[0].diffusivity, g.mask_cw)
    strong = k.with_data(jnp.cumprod(((k.data > _MIXED) & (mask.data > 0)).astype(k.dtype), axis=0))
    return g.h_c.level(0) + sum_z(strong * g.h_c.with_data(g.h_c.data[1:], "cw"))


@variable(
    "eddy_diffusivity",
    "c",
    "m2 s-1",
    "Gent-McWilliams diffusivity, mean over depth; 0 in models without it",
    "ocean_tracer_bolus_laplacian_diffusivity",
    layers=False,
)
def _(s: Scene) -> Field:
    d, wet = s.dynamics, s.grid.wet_c.crop(0)
    if not isinstance(d.physics.eddies, NeutralDiffusion):
        return wet * 0.0
    mixing, density = s.mixing
    found = d.physics.eddies.diffusivities(density, mixing.n2, s.params, s.grid, d.physics)
    kappa = found["gm_diffusivity"]
    if jnp.ndim(kappa.data if isinstance(kappa, Field) else kappa) == 3:  # differs with depth
        h = s.grid.h_c
        kappa = sum_z(h * kappa) / (sum_z(h) + (1.0 - s.grid.wet_c))
    return kappa * wet


@variable(
    "buoyancy_work",
    "c",
    "m2 s-3",
    "potential energy that turns into kinetic energy, per mass and time",
)
def _(s: Scene) -> Field:
    p = s.dynamics.physics
    density = s.dynamics.eos.anomaly(s.state.temperature, s.state.salinity)
    return buoyancy_work(density, VARIABLES["w"].compute(s), s.grid, p.gravity, p.rho0)


@variable("U", "u", "m2 s-1", "depth-integrated transport per width along x", layers=False)
def _(s: Scene) -> Field:
    return sum_z(s.transports[0])


@variable("V", "v", "m2 s-1", "depth-integrated transport per width along y", layers=False)
def _(s: Scene) -> Field:
    return sum_z(s.transports[1])


@variable(
    "heat_flux",
    "c",
    "W m-2",
    "heat entering through the surface, as applied",
    "surface_downward_heat_flux_in_sea_water",
    layers=False,
)
def _(s: Scene) -> Field:
    p = s.dynamics.physics
    return s.fluxes.heat * (p.rho0 * p.heat_capacity)


@variable(
    "salt_flux",
    "c",
    "kg m-2 s-1",
    "salt entering through the surface by restoring, as applied",
    layers=False,
)
def _(s: Scene) -> Field:
    return s.fluxes.salt * (s.dynamics.physics.rho0 * 1e-3)


@variable(
    "freshwater_flux",
    "c",
    "kg m-2 s-1",
    "fresh water entering through the surface, as applied",
    "water_flux_into_sea_water",
    layers=False,
)
def _(s: Scene) -> Field:
    return s.fluxes.freshwater * s.dynamics.physics.rho0


def _stress(s: Scene, name: str, wet: Field) -> Field:
    now = s.driven.now
    return now[name] * wet if name in now else wet * 0.0


@variable("taux", "u", "N m-2", "wind stress along x", "surface_downward_x_stress", layers=False)
def _(s: Scene) -> Field:
    return _stress(s, "taux", s.grid.wet_u)


@variable("tauy", "v", "N m-2", "wind stress along y", "surface_downward_y_stress", layers=False)
def _(s: Scene) -> Field:
    return _stress(s, "tauy", s.grid.wet_v)


def _part(name: str, part: str, unit: str, long_name: str, standard_name: str) -> None:
    """A part of the exchange with the air, over water and ice; 0 in models without bulk
    formulae."""

    @variable(name, "c", unit, long_name, standard_name, layers=False)
    def _(s: Scene) -> Field:
        wet = s.grid.wet_c.crop(0)
        return s.driven.parts[part] * wet if part in s.driven.parts else wet * 0.0


_part(
    "sensible_heat_flux",
    "sensible",
    "W m-2",
    "sensible heat, downward",
    "surface_downward_sensible_heat_flux",
)
_part(
    "latent_heat_flux",
    "latent",
    "W m-2",
    "latent heat, downward",
    "surface_downward_latent_heat_flux",
)
_part(
    "longwave_flux",
    "longwave",
    "W m-2",
    "net long wave, downward",
    "surface_net_downward_longwave_flux",
)
_part(
    "shortwave_flux",
    "shortwave",
    "W m-2",
    "net short wave, downward",
    "surface_net_downward_shortwave_flux",
)
_part(
    "evaporation",
    "evaporation",
    "kg m-2 s-1",
    "evaporation, upward",
    "water_evapotranspiration_flux",
)
_part(
    "ice_concentration",
    "ice_concentration",
    "1",
    "part of the cell under sea ice",
    "sea_ice_area_fraction",
)


@variable(
    "ice_thickness", "c", "m", "sea ice, mean over the cell", "sea_ice_thickness", layers=False
)
def _(s: Scene) -> Field:
    ice = s.state.closures.get("ice_thickness")
    return s.grid.wet_c.crop(0) * 0.0 if ice is None else ice


@variable("heat_content", "c", "J m-2", "heat above 0 degC in the whole column", layers=False)
def _(s: Scene) -> Field:
    p = s.dynamics.physics
    thickness = s.grid.h_c * stretch_c(s.state.eta, s.grid)
    return sum_z(s.state.temperature * thickness) * (p.rho0 * p.heat_capacity)


# ---- budgets
@dataclass(frozen=True)
class BudgetTerm:
    """Computes one term of a budget."""

    what: str
    term: str

    def __call__(self, s: Scene) -> Field:
        p = s.dynamics.physics
        factor = {"temperature": p.rho0 * p.heat_capacity, "salinity": p.rho0 * 1e-3}.get(
            self.what, 1.0
        )
        return s.budget(self.what)[self.term] * factor


for _name, _what, _unit, _terms in (
    ("heat", "temperature", "W m-2", TERMS),
    ("salt", "salinity", "kg m-2 s-1", TERMS),
    ("volume", "volume", "m s-1", VOLUME_TERMS),
):
    for _term in _terms:
        _text = f"{_name} budget of the cell, per area: {_term.replace('_', ' ')}"
        VARIABLES[f"{_name}_{_term}"] = Variable(
            f"{_name}_{_term}", "c", True, _unit, "", _text, BudgetTerm(_what, _term), of_step=True
        )


@dataclass(frozen=True)
class MomentumTerm:
    """Computes one term of the budget of u (``axis`` 0) or v (1)."""

    axis: int
    term: str

    def __call__(self, s: Scene) -> Field:
        return s.budget("momentum")[self.term][self.axis]


for _term in MOMENTUM_TERMS:
    _text = f"budget of the cell: {_term.replace('_', ' ')}"
    for _name, _at, _unit, _of, _compute in (
        ("u", "u", "m s-2", "velocity along x", MomentumTerm(0, _term)),
        ("v", "v", "m s-2", "velocity along y", MomentumTerm(1, _term)),
        ("ke", "c", "m2 s-3", "kinetic energy per mass", BudgetTerm("kinetic_energy", _term)),
    ):
        VARIABLES[f"{_name}_{_term}"] = Variable(
            f"{_name}_{_term}", _at, True, _unit, "", f"{_of}, {_text}", _compute, of_step=True
        )


__all__ = [
    "BudgetTerm",
    "Scene",
    "VARIABLES",
    "Variable",
    "find_variables",
    "passive_variables",
    "variable",
    "variables_of",
]
