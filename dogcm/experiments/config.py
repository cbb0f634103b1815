"""Typed configuration: every parameter with its unit, default and meaning.

Unknown keys are refused with a suggestion, values out of range with the range. The same tables make
``dogcm show`` and the parameter reference in the docs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dogcm.dynamics.pressure import PROFILES as PRESSURE_PROFILES
from dogcm.dynamics.tracer_advection import SCHEMES as ADVECTION_SCHEMES
from dogcm.physics.isoneutral import TAPERS as SLOPE_TAPERS
from dogcm.timestepping.schemes import SCHEMES as TIME_SCHEMES


def par(default: Any, unit: str, text: str, **limits) -> Any:
    """A documented parameter: default, unit, meaning and limits (``gt``, ``ge``, ``lt``, ``le``)."""
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=text, json_schema_extra={"unit": unit}, **factory, **limits)


class Section(BaseModel):
    """A group of parameters."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class GridConfig(Section):
    """The horizontal grid and the layers."""

    kind: Literal["latlon", "cartesian"] = par("latlon", "1", "spherical latitude-longitude, or a flat plane")
    nx: int = par(90, "cells", "cells in x (eastward)", ge=2)
    ny: int = par(40, "cells", "cells in y (northward)", ge=2)
    lon: tuple[float, float] = par((0.0, 360.0), "degrees_east", "western and eastern edge (latlon)")
    lat: tuple[float, float] = par((-80.0, 80.0), "degrees_north", "southern and northern edge (latlon)")
    radius: float = par(6.371e6, "m", "radius of the planet (latlon)", gt=0)
    rotation: float = par(7.292115e-5, "rad s-1", "rotation rate of the planet (latlon)")
    dx: float = par(20e3, "m", "cell width (cartesian)", gt=0)
    dy: float = par(20e3, "m", "cell height (cartesian)", gt=0)
    f0: float = par(1e-4, "s-1", "Coriolis parameter at y = 0 (cartesian)")
    beta: float = par(0.0, "m-1 s-1", "northward gradient of the Coriolis parameter (cartesian)")
    y0: float = par(0.0, "m", "y of the southern edge (cartesian)")
    periodic: bool = par(True, "1", "whether the grid closes on itself in x (cartesian)")
    layers: list[float] = par(list, "m", "layer thicknesses from the surface down; empty: nz, depth and top below")
    nz: int = par(15, "1", "number of layers, if layers is empty", ge=1)
    depth: float = par(5000.0, "m", "total depth, if layers is empty", gt=0)
    top: float = par(50.0, "m", "thickness of the first layer, if layers is empty", gt=0)


class StraitEdit(Section):
    """One correction by hand of the model's bathymetry."""

    name: str = par("", "1", "for the log")
    lat: tuple[float, float] = par((0.0, 0.0), "degrees_north", "southern and northern limit of the cell centres")
    lon: tuple[float, float] = par((0.0, 0.0), "degrees_east", "western and eastern limit of the cell centres")
    depth: float = par(0.0, "m", "new depth; 0 closes", ge=0)


class BathymetryConfig(Section):
    """Where the sea floor comes from, and how it is fitted to the grid."""

    source: Literal["starter", "file", "flat", "two_basin", "mitgcm"] = par(
        "flat", "1", "the package's starter data, a CF file, or an idealised shape"
    )
    path: str = par("", "1", "CF netCDF file (source: file) or folder (source: mitgcm)")
    variable: str = par("elevation", "1", "variable in the file: elevation, positive up")
    depth: float = par(4000.0, "m", "depth of an idealised ocean", gt=0)
    min_ocean_fraction: float = par(0.5, "1", "a cell is ocean if at least this part of it is", ge=0, le=1)
    min_depth: float = par(50.0, "m", "shallower ocean is deepened to this", ge=0)
    min_fraction: float = par(0.2, "1", "smallest part of a layer that a partial bottom cell may fill", gt=0, le=1)
    min_thickness: float = par(50.0, "m", "smallest thickness of a partial bottom cell", ge=0)
    remove_lakes: bool = par(True, "1", "keep only the connected ocean")
    fill_holes: bool = par(True, "1", "raise single cells deeper than all four neighbours")
    straits: list[StraitEdit] = par(list, "1", "corrections by hand, made before lakes are removed")


class InitialConfig(Section):
    """Temperature and salinity at the start. The ocean starts at rest."""

    source: Literal["starter", "file", "profile", "mitgcm"] = par("profile", "1", "where they come from")
    path: str = par("", "1", "CF netCDF file (source: file) or folder (source: mitgcm)")
    temperature_variable: str = par("conservative_temperature", "1", "variable in the file")
    salinity_variable: str = par("absolute_salinity", "1", "variable in the file")
    surface_temperature: float = par(20.0, "degC", "profile: at the surface")
    deep_temperature: float = par(2.0, "degC", "profile: far below the thermocline")
    thermocline: float = par(800.0, "m", "profile: e-folding depth", gt=0)
    salinity: float = par(35.0, "g kg-1", "profile: uniform salinity", ge=0)
    meridional: bool = par(False, "1", "profile: whether the surface cools towards high latitudes as cos(lat)")


class ForcingFile(Section):
    """One surface field from a CF file, on its own grid."""

    path: str = par("", "1", "CF netCDF file")
    variable: str = par("", "1", "variable name; one record is steady, twelve are months")


class ForcingConfig(Section):
    """What drives the surface. Records are interpolated in time, periodic over ``year``."""

    source: Literal["none", "starter", "file", "gyre", "channel", "two_basin", "mitgcm"] = par(
        "none", "1", "starter data, CF files (see files), MITgcm's raw files, or an idealised wind"
    )
    path: str = par("", "1", "folder (source: mitgcm)")
    year: float = par(365.0, "days", "period of the records", gt=0)
    files: dict[str, ForcingFile] = par(
        dict, "1", "taux, tauy, heat_flux, freshwater_flux, sst, sss: replaces or adds to the source"
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
    tracer_advection: Literal[ADVECTION_SCHEMES] = par("dst3_limited", "1", "reconstruction of tracers at faces")
    momentum_advection: bool = par(True, "1", "nonlinear terms of the momentum equation")
    no_slip: bool = par(True, "1", "whether coasts exert viscous stress")
    pressure: Literal[PRESSURE_PROFILES] = par("layers", "1", "density between layer centres: as layers, or linear")
    coriolis: Literal["c_grid", "cd"] = par(
        "c_grid", "1", "averaged on the C grid, or by the C-D scheme, which suppresses noise on coarse grids"
    )
    cd_time: float = par(321428.0, "s", "coupling time of the two velocities of the C-D scheme", gt=0)
    friction: Literal["stress", "laplacian"] = par(
        "stress", "1", "lateral friction: divergence of a stress tensor, or Laplacian of each component"
    )
    no_slip_bottom: bool = par(False, "1", "whether the bottom exerts viscous stress, besides bottom drag")
    isoneutral: bool = par(False, "1", "eddies: isoneutral diffusion and Gent-McWilliams skew fluxes")
    slope_taper: Literal[SLOPE_TAPERS] = par("gkw91", "1", "what happens where neutral surfaces are steep")
    max_slope: float = par(1e-2, "1", "slope of neutral surfaces where gkw91 and clipping begin", gt=0)
    critical_slope: float = par(4e-3, "1", "slope of neutral surfaces at which dm95 has halved the fluxes", gt=0)
    slope_width: float = par(1e-3, "1", "range of slopes over which dm95 goes from all to nothing", gt=0)


class ParameterConfig(Section):
    """Physical parameters: leaves of the ``params`` tree, which later training may learn."""

    lateral_viscosity: float = par(5e5, "m2 s-1", "harmonic viscosity where cells are reference_spacing wide", ge=0)
    biharmonic_viscosity: float = par(0.0, "m4 s-1", "biharmonic viscosity, scaled likewise (0: off)", ge=0)
    viscosity_power: float = par(1.0, "1", "viscosity varies as (cell width / reference_spacing) to this power", ge=0)
    reference_spacing: float = par(444e3, "m", "cell width at which the viscosities hold", gt=0)
    lateral_diffusivity: float = par(1e3, "m2 s-1", "harmonic diffusivity of tracers along layers", ge=0)
    isoneutral_diffusivity: float = par(1e3, "m2 s-1", "diffusivity of tracers along neutral surfaces (isoneutral)", ge=0)
    gm_diffusivity: float = par(1e3, "m2 s-1", "Gent-McWilliams eddy diffusivity (isoneutral)", ge=0)
    isoneutral_floor: float = par(
        0.0, "m2 s-1", "least diffusivity along layers where slopes are tapered (isoneutral)", ge=0
    )
    biharmonic_diffusivity: float = par(0.0, "m4 s-1", "biharmonic diffusivity of tracers along layers (0: off)", ge=0)
    vertical_viscosity: float = par(1e-3, "m2 s-1", "background vertical viscosity", ge=0)
    vertical_diffusivity: float = par(3e-5, "m2 s-1", "background vertical diffusivity", ge=0)
    mixing_richardson: float = par(5e-3, "m2 s-1", "Richardson-number mixing: viscosity without stratification", ge=0)
    convection_diffusivity: float = par(1.0, "m2 s-1", "diffusivity where the column is unstable", ge=0)
    convection_viscosity: float = par(0.1, "m2 s-1", "viscosity where the column is unstable", ge=0)
    convection_n2: float = par(1e-7, "s-2", "instability (-N2) at which it is fully reached", gt=0)
    bottom_drag_linear: float = par(1e-4, "m s-1", "linear bottom drag", ge=0)
    bottom_drag_quadratic: float = par(1e-3, "1", "quadratic bottom drag coefficient", ge=0)
    sst_restoring_time: float = par(60.0 * 86400, "s", "time scale of temperature restoring, for the first layer", gt=0)
    sss_restoring_time: float = par(180.0 * 86400, "s", "time scale of salinity restoring, for the first layer", gt=0)


class TimeConfig(Section):
    """Time stepping."""

    step: float = par(3600.0, "s", "time step", gt=0)
    scheme: Literal[tuple(TIME_SCHEMES)] = par("forward_backward_ab2", "1", "see the docs page on time stepping")
    barotropic_steps: int = par(0, "1", "short steps of the free surface per step; 0: as many as stability needs", ge=0)
    short_steps_per_exchange: int = par(0, "1", "short steps per halo exchange; 0: chosen from the tile size", ge=0)


OutputWhat = Literal["snapshot", "mean"]


class OutputConfig(Section):
    """One output file: which variables, how often, snapshots or means."""

    variables: list[str] = par(lambda: ["temperature", "salinity", "u", "v", "w", "eta"], "1",
                               "variables, see `dogcm show --variables`")  # fmt: skip
    kind: OutputWhat = par("mean", "1", "mean over the interval, or snapshot at its end")
    every: float = par(30.0, "days", "interval", gt=0)


class RunConfig(Section):
    """Running: precision, monitoring, restarts."""

    precision: Literal["float64", "float32"] = par("float64", "1", "of the model's arithmetic")
    monitor_every: float = par(1.0, "days", "interval of the progress line, checks and monitor file", gt=0)
    restart_every: float = par(0.0, "days", "interval of restarts besides the one at the end; 0: none", ge=0)
    keep_restarts: int = par(2, "1", "how many restarts are kept", ge=1)
    output: dict[str, OutputConfig] = par(lambda: {"monthly": OutputConfig()}, "1", "output files by name")


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
    run: Annotated[RunConfig, Field(default_factory=RunConfig)]

    @model_validator(mode="after")
    def _consistent(self):
        if self.grid.kind == "latlon" and not -90 <= self.grid.lat[0] < self.grid.lat[1] <= 90:
            raise ValueError(f"grid.lat {self.grid.lat}: must increase within -90 to 90 degrees")
        if self.grid.kind == "latlon" and not 0 < self.grid.lon[1] - self.grid.lon[0] <= 360:
            raise ValueError(f"grid.lon {self.grid.lon}: must increase by at most 360 degrees")
        if any(d <= 0 for d in self.grid.layers):
            raise ValueError(f"grid.layers {self.grid.layers}: every layer must be thicker than 0 m")
        if self.physics.coriolis == "cd" and self.physics.cd_time < self.time.step:
            raise ValueError(
                f"physics.cd_time {self.physics.cd_time:g} s is shorter than time.step {self.time.step:g} s: the C-D "
                "scheme couples its two velocities once a step"
            )
        needs_sphere = {"starter", "mitgcm"}
        for section in (self.bathymetry, self.initial, self.forcing):
            if section.source in needs_sphere and self.grid.kind != "latlon":
                raise ValueError(f"source {section.source!r} needs grid.kind: latlon")
            if section.source in ("file", "mitgcm") and not section.path and not getattr(section, "files", None):
                raise ValueError(
                    f"source {section.source!r} needs a path: --set {type(section).__name__[:-6].lower()}.path=..."
                )
        return self


def parameter_table(section: type[Section] = Config, prefix: str = "") -> list[tuple[str, str, Any, str]]:
    """All parameters as rows ``(key, unit, default, meaning)``."""
    rows = []
    for name, info in section.model_fields.items():
        key, kind = f"{prefix}{name}", info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            rows += parameter_table(kind, f"{key}.")
        else:
            unit = (info.json_schema_extra or {}).get("unit", "1")
            rows.append((key, unit, info.get_default(call_default_factory=True), info.description or ""))
    return rows
