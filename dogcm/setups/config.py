"""Typed configuration: every parameter with its unit, default and meaning.

Unknown keys are refused with a suggestion, values out of range with the range. The same tables make
``dogcm show`` and the parameter reference in the docs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dogcm.dynamics.momentum import VORTICITY_SCHEMES
from dogcm.dynamics.pressure import PROFILES as PRESSURE_PROFILES
from dogcm.dynamics.tracer_advection import SCHEMES as ADVECTION_SCHEMES
from dogcm.grid.tripolar import TripolarGrid
from dogcm.physics.background_mixing import KINDS as BACKGROUND_KINDS
from dogcm.physics.eddy_viscosity import FORMS as VISCOSITY_FORMS
from dogcm.physics.eddy_viscosity import SCHEMES as VISCOSITY_SCHEMES
from dogcm.physics.isoneutral import TAPERS as SLOPE_TAPERS
from dogcm.physics.surface.shortwave import JERLOV
from dogcm.physics.surface.shortwave import PARAMETERS as LIGHT
from dogcm.physics.vertical_mixing import SCHEMES as MIXING_SCHEMES
from dogcm.physics.visbeck import KINDS as EDDY_COEFFICIENTS
from dogcm.setups.free_surface_settings import check_free_surface
from dogcm.timestepping.schemes import SCHEMES as TIME_SCHEMES
from dogcm.tracers import NAMES_OF_STATE, PassiveTracers


def par(default: Any, unit: str, text: str, **limits) -> Any:
    """A documented parameter: default, unit, meaning and limits (``gt``, ``ge``, ``lt``,
    ``le``)."""
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=text, json_schema_extra={"unit": unit}, **factory, **limits)


# Largest ratio of time.step to time.momentum_step. Gravity waves slow down by its root, inertial
# motion and short Rossby waves by itself: at 100 a mode of 3 m/s takes a year to cross 10000 km.
LARGEST_ACCELERATION = 100


class Section(BaseModel):
    """A group of parameters."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class GridConfig(Section):
    """The horizontal grid and the layers."""

    kind: Literal["latlon", "cartesian", "rotated", "tripolar"] = par(
        "latlon",
        "1",
        "latitude-longitude (rotated: about another pole; tripolar: two poles in the north), or a flat plane",
    )
    nx: int = par(90, "cells", "cells in x (eastward)", ge=2)
    ny: int = par(40, "cells", "cells in y (northward)", ge=2)
    lon: tuple[float, float] = par(
        (0.0, 360.0),
        "degrees_east",
        "western and eastern edge (latlon; rotated: of its own; tripolar: a northern pole)",
    )
    lat: tuple[float, float] = par(
        (-80.0, 80.0),
        "degrees_north",
        "southern and northern edge (latlon; rotated: of its own; tripolar: the first alone)",
    )
    pole: tuple[float, float] = par(
        (180.0, 90.0),
        "degrees",
        "geographic longitude and latitude of the grid's north pole (rotated)",
    )
    join: float = par(
        66.0,
        "degrees_north",
        "latitude where the northern cap begins and its two poles lie (tripolar)",
    )
    mercator: bool = par(
        False, "1", "rows south of the cap as high as wide, instead of equally high (tripolar)"
    )
    radius: float = par(6.371e6, "m", "radius of the planet (on a sphere)", gt=0)
    rotation: float = par(7.292115e-5, "rad s-1", "rotation rate of the planet (on a sphere)")
    dx: float = par(20e3, "m", "cell width (cartesian)", gt=0)
    dy: float = par(20e3, "m", "cell height (cartesian)", gt=0)
    f0: float = par(1e-4, "s-1", "Coriolis parameter at y = 0 (cartesian)")
    beta: float = par(0.0, "m-1 s-1", "northward gradient of the Coriolis parameter (cartesian)")
    y0: float = par(0.0, "m", "y of the southern edge (cartesian)")
    periodic: bool = par(True, "1", "whether the grid closes on itself in x (cartesian)")
    layers: list[float] = par(
        list, "m", "layer thicknesses from the surface down; empty: nz, depth and top below"
    )
    nz: int = par(15, "1", "number of layers, if layers is empty", ge=1)
    depth: float = par(5000.0, "m", "total depth, if layers is empty", gt=0)
    top: float = par(50.0, "m", "thickness of the first layer, if layers is empty", gt=0)

    @property
    def sphere(self) -> bool:
        """Whether it lies on a sphere."""
        return self.kind != "cartesian"


class StraitEdit(Section):
    """One correction by hand of the model's bathymetry."""

    name: str = par("", "1", "for the log")
    lat: tuple[float, float] = par(
        (0.0, 0.0), "degrees_north", "southern and northern limit of the cell centres"
    )
    lon: tuple[float, float] = par(
        (0.0, 0.0), "degrees_east", "western and eastern limit of the cell centres"
    )
    depth: float = par(0.0, "m", "new depth; 0 closes", ge=0)


class FileKeys(Section):
    """What a file does not say itself, or says wrongly; see the docs page on input files."""

    unit: str = par("", "1", "unit of the values; empty: as the file says")
    axes: dict[str, str] = par(
        dict, "1", "names in the file of lat, lon, depth, time (x, y on a plane; angle of vectors)"
    )
    units: dict[str, str] = par(
        dict, "1", "units of these axes; without an entry: as the file says"
    )
    standard_name: str = par("", "1", "CF standard name of the variable; empty: as the file says")
    sign: Literal["", "up", "down", "reversed"] = par(
        "", "1", "sea floor: positive up or down; fluxes: reversed; empty: as the file says"
    )
    select: dict[str, int | float | str] = par(
        dict, "1", "by dimension: the level (m), date (YYYY, YYYY-MM), record N, first or last"
    )
    missing: list[float] = par(list, "1", "values that stand for missing ones")
    mask: str = par("", "1", "variable of the file that is 1 in water")
    range: tuple[float, float] | None = par(
        None, "1", "least and largest value, in the model's unit; null: what is plausible"
    )
    fill: Literal["none", "nearest"] = par(
        "none", "1", "ocean that the file does not cover: refused, or given the nearest value"
    )


class InputFile(FileKeys):
    """One variable of a CF file, on its own grid."""

    path: str = par("", "1", "CF netCDF file")
    variable: str = par("", "1", "variable in the file")


class BathymetryConfig(FileKeys):
    """Where the sea floor comes from, and how it is fitted to the grid."""

    source: Literal["starter", "file", "flat", "two_basin", "mitgcm"] = par(
        "flat", "1", "the package's starter data, a CF file, or an idealised shape"
    )
    path: str = par("", "1", "CF netCDF file (source: file) or folder (source: mitgcm)")
    variable: str = par("elevation", "1", "variable in the file: elevation or depth, see sign")
    depth: float = par(4000.0, "m", "depth of an idealised ocean", gt=0)
    min_ocean_fraction: float = par(
        0.5, "1", "a cell is ocean if at least this part of it is", ge=0, le=1
    )
    min_depth: float = par(50.0, "m", "shallower ocean is deepened to this", ge=0)
    min_fraction: float = par(
        0.2, "1", "smallest part of a layer that a partial bottom cell may fill", gt=0, le=1
    )
    min_thickness: float = par(50.0, "m", "smallest thickness of a partial bottom cell", ge=0)
    remove_lakes: bool = par(True, "1", "keep only the connected ocean")
    fill_holes: bool = par(True, "1", "raise single cells deeper than all four neighbours")
    straits: list[StraitEdit] = par(list, "1", "corrections by hand, made before lakes are removed")


class InitialConfig(Section):
    """Temperature and salinity at the start. The ocean starts at rest."""

    source: Literal["starter", "file", "profile", "mitgcm"] = par(
        "profile", "1", "where they come from"
    )
    path: str = par("", "1", "CF netCDF file (source: file) or folder (source: mitgcm)")
    temperature_variable: str = par("conservative_temperature", "1", "variable in the file")
    salinity_variable: str = par("absolute_salinity", "1", "variable in the file")
    temperature_file: Annotated[InputFile, Field(default_factory=InputFile)]
    salinity_file: Annotated[InputFile, Field(default_factory=InputFile)]
    surface_temperature: float = par(20.0, "degC", "profile: at the surface")
    deep_temperature: float = par(2.0, "degC", "profile: far below the thermocline")
    thermocline: float = par(800.0, "m", "profile: e-folding depth", gt=0)
    salinity: float = par(35.0, "g kg-1", "profile: uniform salinity", ge=0)
    meridional: bool = par(
        False, "1", "profile: whether the surface cools towards high latitudes as cos(lat)"
    )


class ForcingFile(InputFile):
    """One surface field from a CF file, on its own grid."""

    spread: bool = par(
        False, "1", "records are spread evenly over the year in their order, whatever their dates"
    )
    accumulated: float = par(
        0.0,
        "s",
        "the values are sums over this time (J m-2, m), and are divided by it; 0: they are rates",
        ge=0,
    )


class ForcingConfig(Section):
    """What drives the surface. Records are interpolated in time, periodic over ``year``."""

    source: Literal["none", "starter", "file", "gyre", "channel", "two_basin", "mitgcm"] = par(
        "none", "1", "starter data, CF files (see files), MITgcm's raw files, or an idealised wind"
    )
    path: str = par("", "1", "folder (source: mitgcm)")
    year: float = par(365.0, "days", "period of the records", gt=0)
    files: dict[str, ForcingFile] = par(
        dict,
        "1",
        "surface fields by name, see the docs page on surface forcing: replaces or adds to the source",
    )
    bulk: Literal["none", "ncar"] = par(
        "none",
        "1",
        "heat, evaporation and stress from the air by the NCAR bulk formulae (Large and Yeager 2009)",
    )
    bulk_iterations: int = par(2, "1", "bulk: iterations for the stability of the air", ge=2, le=5)
    air_height: float = par(
        10.0, "m", "height of air temperature and humidity (winds: 10 m)", ge=1, le=100
    )
    relative_wind: bool = par(True, "1", "bulk: stress from the wind relative to the current")
    balance_freshwater: bool = par(
        False,
        "1",
        "take the global mean off the sum of evaporation, precipitation and runoff, at every step",
    )
    balance_salt: bool = par(
        False,
        "1",
        "take the global mean off salinity restoring, at every step: it then moves salt and makes none",
    )
    heat_flux: bool = par(True, "1", "use the source's heat flux, if it has one")
    freshwater_flux: bool = par(True, "1", "use the source's fresh-water flux, if it has one")
    wind_amplitude: float = par(0.1, "N m-2", "idealised wind: largest stress")


class PhysicsConfig(Section):
    """Choices of schemes, and constants nobody would want to learn."""

    gravity: float = par(9.81, "m s-2", "gravity", gt=0)
    rho0: float = par(1026.0, "kg m-3", "reference density", gt=0)
    heat_capacity: float = par(3991.868, "J kg-1 K-1", "heat capacity of sea water (TEOS-10)", gt=0)
    freezing: float | None = par(-1.9, "degC", "surface cooling stops here; null: never")
    equation_of_state: Literal["teos10", "jmd95", "linear"] = par(
        "teos10", "1", "equation of state; jmd95 takes potential temperature and practical salinity"
    )
    thermal_expansion: float = par(2.0e-4, "K-1", "linear equation of state", ge=0)
    haline_contraction: float = par(7.4e-4, "kg g-1", "linear equation of state", ge=0)
    tracer_advection: Literal[ADVECTION_SCHEMES] = par(
        "dst3_limited", "1", "reconstruction of tracers at faces"
    )
    momentum_advection: bool = par(True, "1", "nonlinear terms of the momentum equation")
    vorticity_scheme: Literal[VORTICITY_SCHEMES] = par(
        "energy",
        "1",
        "flux of relative vorticity: what it conserves, or weno5, which needs no viscosity",
    )
    no_slip: bool = par(True, "1", "whether coasts exert viscous stress")
    slip: float | None = par(
        None,
        "1",
        "partial slip: part of the stress of a no-slip coast that is missing; null: see no_slip",
        ge=0,
        le=1,
    )
    viscosity_scheme: Literal[VISCOSITY_SCHEMES] = par(
        "constant",
        "1",
        "lateral viscosity by the parameters alone, or one that follows the flow besides",
    )
    viscosity_form: Literal[VISCOSITY_FORMS] = par(
        "harmonic", "1", "form of the friction that follows the flow"
    )
    pressure: Literal[PRESSURE_PROFILES] = par(
        "layers", "1", "density between layer centres: as layers, or linear"
    )
    coriolis: Literal["c_grid", "cd"] = par(
        "c_grid",
        "1",
        "averaged on the C grid, or by the C-D scheme, which suppresses noise on coarse grids",
    )
    cd_time: float = par(
        321428.0, "s", "coupling time of the two velocities of the C-D scheme", gt=0
    )
    friction: Literal["stress", "laplacian"] = par(
        "stress",
        "1",
        "lateral friction: divergence of a stress tensor, or Laplacian of each component",
    )
    vertical_mixing: Literal[MIXING_SCHEMES] = par(
        "richardson",
        "1",
        "vertical mixing: local in the Richardson number, by turbulent kinetic energy, or by K-profiles",
    )
    background_mixing: Literal[BACKGROUND_KINDS] = par(
        "constant",
        "1",
        "vertical mixing without shear: vertical_diffusivity, or a profile that grows with depth",
    )
    tidal_mixing: bool = par(False, "1", "whether tides over the bottom add to background mixing")
    enhanced_convection: bool = par(
        True,
        "1",
        "tke, kpp: whether unstable columns also get convection_diffusivity and convection_viscosity",
    )
    kpp_limits: bool = par(
        False,
        "1",
        "kpp: a sea that gains buoyancy mixes no deeper than its Monin-Obukhov length and its Ekman layer",
    )
    no_slip_bottom: bool = par(
        False, "1", "whether the bottom exerts viscous stress, besides bottom drag"
    )
    shortwave: Literal["surface", "two_band", *JERLOV] = par(
        "surface",
        "1",
        "where light is absorbed: in the first layer, or at depth; a Jerlov water type (I, IA, IB, II, "
        "III) sets parameters.shortwave_*, two_band takes them as they are",
    )
    sea_ice: bool = par(
        False, "1", "thermodynamic sea ice (Semtner 1976), which needs forcing.bulk"
    )
    isoneutral: bool = par(
        False, "1", "eddies: isoneutral diffusion and Gent-McWilliams skew fluxes"
    )
    eddy_coefficient: Literal[EDDY_COEFFICIENTS] = par(
        "constant",
        "1",
        "isoneutral: gm_diffusivity as it is, or by the growth rate of eddies (Visbeck et al. 1997)",
    )
    slope_taper: Literal[SLOPE_TAPERS] = par(
        "gkw91", "1", "what happens where neutral surfaces are steep"
    )
    max_slope: float = par(
        1e-2, "1", "slope of neutral surfaces where gkw91 and clipping begin", gt=0
    )
    critical_slope: float = par(
        4e-3, "1", "slope of neutral surfaces at which dm95 has halved the fluxes", gt=0
    )
    slope_width: float = par(
        1e-3, "1", "range of slopes over which dm95 goes from all to nothing", gt=0
    )


class ParameterConfig(Section):
    """Physical parameters: leaves of the ``params`` tree, which later training may learn."""

    lateral_viscosity: float = par(
        5e5, "m2 s-1", "harmonic viscosity where cells are reference_spacing wide", ge=0
    )
    biharmonic_viscosity: float = par(
        0.0, "m4 s-1", "biharmonic viscosity, scaled likewise (0: off)", ge=0
    )
    smagorinsky: float = par(
        3.0, "1", "coefficient of physics.viscosity_scheme: smagorinsky", ge=0, le=10
    )
    leith: float = par(1.0, "1", "coefficient of physics.viscosity_scheme: leith", ge=0, le=10)
    viscosity_power: float = par(
        1.0, "1", "viscosity varies as (cell width / reference_spacing) to this power", ge=0
    )
    reference_spacing: float = par(444e3, "m", "cell width at which the viscosities hold", gt=0)
    lateral_diffusivity: float = par(
        1e3, "m2 s-1", "harmonic diffusivity of tracers along layers", ge=0
    )
    isoneutral_diffusivity: float = par(
        1e3, "m2 s-1", "diffusivity of tracers along neutral surfaces (isoneutral)", ge=0
    )
    gm_diffusivity: float = par(
        1e3, "m2 s-1", "Gent-McWilliams eddy diffusivity (isoneutral)", ge=0
    )
    visbeck_alpha: float = par(
        0.015, "1", "visbeck: eddy diffusivity over length squared times growth rate", ge=0, le=1
    )
    visbeck_length: float = par(2e5, "m", "visbeck: width of a baroclinic zone", gt=0)
    visbeck_least: float = par(100.0, "m2 s-1", "visbeck: eddy diffusivity without growth", ge=0)
    visbeck_most: float = par(
        2500.0, "m2 s-1", "visbeck: eddy diffusivity of the fastest growth", gt=0
    )
    isoneutral_floor: float = par(
        0.0, "m2 s-1", "least diffusivity along layers where slopes are tapered (isoneutral)", ge=0
    )
    biharmonic_diffusivity: float = par(
        0.0, "m4 s-1", "biharmonic diffusivity of tracers along layers (0: off)", ge=0
    )
    vertical_viscosity: float = par(1e-3, "m2 s-1", "background vertical viscosity", ge=0)
    vertical_diffusivity: float = par(3e-5, "m2 s-1", "background vertical diffusivity", ge=0)
    mixing_richardson: float = par(
        5e-3, "m2 s-1", "Richardson-number mixing: viscosity without stratification", ge=0
    )
    convection_diffusivity: float = par(
        1.0, "m2 s-1", "diffusivity where the column is unstable", ge=0
    )
    convection_viscosity: float = par(0.1, "m2 s-1", "viscosity where the column is unstable", ge=0)
    convection_n2: float = par(1e-7, "s-2", "instability (-N2) at which it is fully reached", gt=0)
    tke_c_k: float = par(0.1, "1", "tke: viscosity over length times root of energy", gt=0)
    tke_c_eps: float = par(
        0.7, "1", "tke: dissipation times length over energy to the power 3/2", gt=0
    )
    tke_alpha: float = par(30.0, "1", "tke: diffusivity of energy over viscosity", ge=0)
    tke_surface_flux: float = par(
        1.0, "1", "tke: flux of energy through the surface over the friction velocity cubed", ge=0
    )
    tke_background: float = par(1e-6, "m2 s-2", "tke: least energy", gt=0)
    kpp_critical_richardson: float = par(
        0.3, "1", "kpp: bulk Richardson number at the foot of the boundary layer", gt=0, le=5
    )
    kpp_unresolved_shear: float = par(
        1.8, "1", "kpp: factor of the squared shear that a grid does not resolve", ge=0, le=10
    )
    kpp_nonlocal: float = par(
        10.0, "1", "kpp: strength of transport without regard to gradients (C*)", ge=0, le=15
    )
    kpp_shear_mixing: float = par(
        5e-3, "m2 s-1", "kpp: viscosity and diffusivity by shear below the boundary layer", ge=0
    )
    kpp_shear_richardson: float = par(
        0.7, "1", "kpp: Richardson number beyond which shear mixes no more", gt=0
    )
    bryan_lewis_mean: float = par(
        0.8e-4, "m2 s-1", "bryan_lewis: diffusivity at bryan_lewis_depth", ge=0
    )
    bryan_lewis_range: float = par(
        1.05e-4, "m2 s-1", "bryan_lewis: increase from far above to far below that depth", ge=0
    )
    bryan_lewis_rate: float = par(
        4.5e-3, "m-1", "bryan_lewis: one over the length over which it changes", gt=0
    )
    bryan_lewis_depth: float = par(2500.0, "m", "bryan_lewis: depth of the change", gt=0)
    tidal_dissipation: float = par(
        1e-3, "W m-2", "tidal mixing: energy dissipated near the bottom, per area", ge=0
    )
    tidal_decay: float = par(500.0, "m", "tidal mixing: height over which it decays", gt=0)
    bottom_drag_linear: float = par(1e-4, "m s-1", "linear bottom drag", ge=0)
    bottom_drag_quadratic: float = par(1e-3, "1", "quadratic bottom drag coefficient", ge=0)
    sst_restoring_time: float = par(
        60.0 * 86400, "s", "time scale of temperature restoring, for the first layer", gt=0
    )
    sss_restoring_time: float = par(
        180.0 * 86400, "s", "time scale of salinity restoring, for the first layer", gt=0
    )
    bulk_momentum_factor: float = par(1.0, "1", "bulk: factor of the drag coefficient", ge=0)
    bulk_heat_factor: float = par(1.0, "1", "bulk: factor of the Stanton number", ge=0)
    bulk_moisture_factor: float = par(1.0, "1", "bulk: factor of the Dalton number", ge=0)
    ocean_albedo: float = par(0.066, "1", "bulk: albedo of open water", ge=0, lt=1)
    shortwave_red_fraction: float = par(0.58, "1", "part of the light that decays fast", gt=0, lt=1)
    shortwave_red_depth: float = par(0.35, "m", "depth over which it decays", gt=0)
    shortwave_blue_depth: float = par(23.0, "m", "depth over which the rest decays", gt=0)
    ice_albedo: float = par(
        0.75, "1", "sea ice: albedo where the air is colder than -2 degC", gt=0, lt=1
    )
    ice_melting_albedo: float = par(
        0.60, "1", "sea ice: albedo where it is warmer than 0 degC", gt=0, lt=1
    )
    ice_conductivity: float = par(2.03, "W m-1 K-1", "sea ice: thermal conductivity", gt=0)
    ice_salinity: float = par(4.0, "g kg-1", "sea ice: salinity", ge=0)
    ice_lead_thickness: float = par(
        0.3, "m", "sea ice: thickness below which open water remains", gt=0
    )
    ice_ocean_exchange: float = par(
        6e-5, "m s-1", "sea ice: velocity of heat exchange with the sea below", ge=0
    )


class TimeConfig(Section):
    """Time stepping."""

    step: float = par(3600.0, "s", "time step", gt=0)
    momentum_step: float = par(
        0.0,
        "s",
        "shorter step of velocity for asynchronous spin-up: distorts all but the steady state; 0: step",
        ge=0,
    )
    scheme: Literal[tuple(TIME_SCHEMES)] = par(
        "forward_backward_ab2", "1", "see the docs page on time stepping"
    )
    free_surface: Literal["split", "implicit"] = par(
        "split",
        "1",
        "short steps that resolve gravity waves, or one linear system a step that damps them",
    )
    implicitness: float = par(
        1.0,
        "1",
        "implicit free surface: weight of the new time; 1 damps gravity waves most",
        ge=0.5,
        le=1,
    )
    solver_tolerance: float = par(
        1e-11,
        "1",
        "implicit free surface: residual of the linear system, relative to its right-hand side",
        gt=0,
        le=1e-3,
    )
    solver_iterations: int = par(
        500, "1", "implicit free surface: largest number of iterations", ge=1
    )
    barotropic_steps: int = par(
        0, "1", "short steps of the free surface per step; 0: as many as stability needs", ge=0
    )
    short_steps_per_exchange: int = par(
        0,
        "1",
        "short steps (implicit: products with the matrix) per halo exchange; 0: chosen from the tile size",
        ge=0,
    )


OutputWhat = Literal["snapshot", "mean", "minimum", "maximum", "root_mean_square"]


class OutputConfig(Section):
    """One output file: which variables, how often, snapshots or means."""

    variables: list[str] = par(
        lambda: ["temperature", "salinity", "u", "v", "w", "eta"],
        "1",
        "variables, see `dogcm show --variables`",
    )
    kind: OutputWhat = par(
        "mean",
        "1",
        "over the interval: mean, minimum, maximum, root_mean_square; or snapshot at its end",
    )
    every: float = par(30.0, "days", "interval", gt=0)


class SectionConfig(Section):
    """A section of one's own, from land to land. Positive is what crosses to the left of the way
    from first to last."""

    points: list[tuple[float, float]] = par(
        list, "degrees", "longitude and latitude of two or more points (x, y in km)"
    )


class DiagnosticsConfig(Section):
    """Transports, overturning and stream functions, as means over an interval, in
    ``diagnostics.nc``."""

    every: float = par(0.0, "days", "interval; 0: none", ge=0)
    basins: list[str] | None = par(
        None,
        "1",
        "global, atlantic, indo_pacific, indian, pacific; null: the first three where the grid has them",
    )
    named_sections: list[str] | None = par(
        None, "1", "see the docs page on diagnostics; null: all that cross water"
    )
    sections: dict[str, SectionConfig] = par(dict, "1", "sections of one's own, by name")
    density: Literal["none", "sigma0", "sigma2"] = par(
        "sigma2", "1", "overturning also in classes of this density"
    )
    density_edges: list[float] = par(
        list, "kg m-3", "edges of the classes, less 1000; empty: a set for the ocean"
    )


class RunConfig(Section):
    """Running: precision, monitoring, restarts."""

    precision: Literal["float64", "float32"] = par("float64", "1", "of the model's arithmetic")
    monitor_every: float = par(
        1.0, "days", "interval of the progress line, checks and monitor file", gt=0
    )
    restart_every: float = par(
        0.0, "days", "interval of restarts besides the one at the end; 0: none", ge=0
    )
    keep_restarts: int = par(2, "1", "how many restarts are kept", ge=1)
    output: dict[str, OutputConfig] = par(
        lambda: {"monthly": OutputConfig()}, "1", "output files by name"
    )
    diagnostics: Annotated[DiagnosticsConfig, Field(default_factory=DiagnosticsConfig)]


class Config(Section):
    """A complete experiment."""

    name: str = par("unnamed", "1", "name of the experiment")
    description: str = par("", "1", "one line")
    grid: Annotated[GridConfig, Field(default_factory=GridConfig)]
    bathymetry: Annotated[BathymetryConfig, Field(default_factory=BathymetryConfig)]
    initial: Annotated[InitialConfig, Field(default_factory=InitialConfig)]
    forcing: Annotated[ForcingConfig, Field(default_factory=ForcingConfig)]
    physics: Annotated[PhysicsConfig, Field(default_factory=PhysicsConfig)]
    parameters: Annotated[ParameterConfig, Field(default_factory=ParameterConfig)]
    time: Annotated[TimeConfig, Field(default_factory=TimeConfig)]
    tracers: dict[str, Any] = par(
        dict,
        "1",
        "passive tracers by name, {kind: KIND, ...}: see the docs page on passive tracers",
    )
    run: Annotated[RunConfig, Field(default_factory=RunConfig)]

    @field_validator("tracers")
    @classmethod
    def _tracers_make_sense(cls, entries: dict) -> dict:
        from dogcm.diagnostics.variables import VARIABLES

        PassiveTracers.declared(entries, taken=(*NAMES_OF_STATE, *VARIABLES))
        return entries

    @model_validator(mode="after")
    def _consistent(self):
        for kind in PassiveTracers.declared(self.tracers).kinds:
            if kind.needs_sphere and not self.grid.sphere:
                raise ValueError(
                    f"tracers.{kind.label}: its kind needs daylight at a latitude, so grid.kind: latlon"
                )
        if (
            self.grid.kind in ("latlon", "rotated")
            and not -90 <= self.grid.lat[0] < self.grid.lat[1] <= 90
        ):
            raise ValueError(f"grid.lat {self.grid.lat}: must increase within -90 to 90 degrees")
        if (
            self.grid.kind in ("latlon", "rotated")
            and not 0 < self.grid.lon[1] - self.grid.lon[0] <= 360
        ):
            raise ValueError(f"grid.lon {self.grid.lon}: must increase by at most 360 degrees")
        self._curvilinear_fits()
        if any(d <= 0 for d in self.grid.layers):
            raise ValueError(
                f"grid.layers {self.grid.layers}: every layer must be thicker than 0 m"
            )
        step, momentum = self.time.step, self.time.momentum_step or self.time.step
        if momentum > step:
            raise ValueError(
                f"time.momentum_step {momentum:g} s is longer than time.step {step:g} s: it is the shorter of the two "
                "(time.step is that of tracers and the clock); 0 makes them equal"
            )
        if step > LARGEST_ACCELERATION * momentum:
            raise ValueError(
                f"time.step {step:g} s is {step / momentum:.4g} times time.momentum_step {momentum:g} s: beyond "
                f"{LARGEST_ACCELERATION} velocity is slower than the tracers that it should follow; shorten time.step"
            )
        check_free_surface(self)
        if self.physics.coriolis == "cd" and self.physics.cd_time < momentum:
            raise ValueError(
                f"physics.cd_time {self.physics.cd_time:g} s is shorter than the step of velocity, {momentum:g} s: the "
                "C-D scheme couples its two velocities once a step"
            )
        if self.physics.sea_ice and self.forcing.bulk == "none":
            raise ValueError(
                "physics.sea_ice needs the air above the ice: set forcing.bulk: ncar, with its files"
            )
        for name, value in zip(LIGHT, JERLOV.get(self.physics.shortwave, ())):
            setattr(self.parameters, name, value)
        if self.physics.viscosity_scheme != "constant" and self.physics.friction != "stress":
            raise ValueError(
                f"physics.viscosity_scheme {self.physics.viscosity_scheme} acts on the stress tensor: it needs "
                "physics.friction: stress"
            )
        if (
            self.physics.vertical_mixing != "richardson"
            and (len(self.grid.layers) or self.grid.nz) < 3
        ):
            raise ValueError(
                f"physics.vertical_mixing {self.physics.vertical_mixing}: needs at least 3 layers (grid.nz)"
            )
        if self.physics.eddy_coefficient != "constant" and not self.physics.isoneutral:
            raise ValueError(
                f"physics.eddy_coefficient {self.physics.eddy_coefficient}: without physics.isoneutral there are no eddies "
                "that it could be the coefficient of; set physics.isoneutral: true"
            )
        if self.parameters.visbeck_most <= self.parameters.visbeck_least:
            raise ValueError(
                f"parameters.visbeck_most {self.parameters.visbeck_most:g} m2 s-1 is not above visbeck_least "
                f"{self.parameters.visbeck_least:g} m2 s-1"
            )
        needs_sphere = {"starter", "mitgcm"}
        for section in (self.bathymetry, self.initial, self.forcing):
            if section.source in needs_sphere and not self.grid.sphere:
                raise ValueError(
                    f"source {section.source!r} needs a grid on the sphere (grid.kind: latlon)"
                )
            if (
                section.source in ("file", "mitgcm")
                and not section.path
                and not getattr(section, "files", None)
            ):
                raise ValueError(
                    f"source {section.source!r} needs a path: --set {type(section).__name__[:-6].lower()}.path=..."
                )
        return self

    def _curvilinear_fits(self) -> None:
        """Refuse what a rotated or tripolar grid cannot be."""
        g = self.grid
        if g.kind == "tripolar":
            if abs(g.lon[1] - g.lon[0] - 360.0) > 1e-9:
                raise ValueError(
                    f"grid.lon {g.lon}: a tripolar grid goes round the globe: (pole, pole + 360)"
                )
            TripolarGrid(g.nx, g.ny, g.lat[0], g.join, g.lon[0], g.mercator)
        if g.kind == "rotated" and not -90 <= g.pole[1] <= 90:
            raise ValueError(f"grid.pole {g.pole}: its latitude must lie within -90 to 90 degrees")
        if g.kind in ("rotated", "tripolar"):
            for section in (self.bathymetry, self.initial, self.forcing):
                if section.source in ("mitgcm", "two_basin"):
                    raise ValueError(
                        f"source {section.source!r} needs grid.kind: latlon, not {g.kind}"
                    )


def parameter_table(
    section: type[Section] = Config, prefix: str = ""
) -> list[tuple[str, str, Any, str]]:
    """All parameters as rows ``(key, unit, default, meaning)``."""
    rows = []
    for name, info in section.model_fields.items():
        key, kind = f"{prefix}{name}", info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            rows += parameter_table(kind, f"{key}.")
        else:
            unit = (info.json_schema_extra or {}).get("unit", "1")
            rows.append(
                (key, unit, info.get_default(call_default_factory=True), info.description or "")
            )
    return rows
