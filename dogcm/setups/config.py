"""Typed configuration: every parameter with its unit, default and meaning.

Unknown keys are refused with a suggestion, values out of range with the range. The same tables make
``dogcm show`` and the parameter reference in the docs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from dogcm.components import Component, collect, kinds_of, make
from dogcm.components.base import options_of, summary
from dogcm.components.registry import component, slot_of
from dogcm.diagnostics.files import CIRCULATION_FILE
from dogcm.grid import grids  # noqa: F401 defines the grids that ship
from dogcm.timestepping import shipped  # noqa: F401 defines all components that ship
from dogcm.tracers import NAMES_OF_STATE, PassiveTracers


def par(default: Any, unit: str, text: str, **limits) -> Any:
    """A documented parameter: default, unit, meaning and limits (``gt``, ``ge``, ``lt``,
    ``le``)."""
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=text, json_schema_extra={"unit": unit}, **factory, **limits)


# What a typed temperature (degC) can be; 283 is one in kelvin.
_TEMPERATURES = {"ge": -5, "le": 60}
# Largest ratio of time.step to time.momentum_step. Gravity waves slow down by its root, inertial
# motion and short Rossby waves by itself: at 100 a mode of 3 m/s takes a year to cross 10000 km.
LARGEST_ACCELERATION = 100
# File systems take names of 255 bytes; what is written beside a file adds to its name.
_LONGEST_NAME = 200


def check_file_name(name: str, key: str) -> str:
    """A name that becomes that of a file or folder.

    Raises:
        ValueError: it is empty, would lead out of its folder, or is taken.
    """
    printable = name.isprintable() and name == name.strip()
    if not name or not printable or set(name) & set("/\\:") or name.startswith("."):
        raise ValueError(
            f"{key} {name!r}: it becomes the name of a file, so it needs printable characters, "
            "no slashes, backslashes or colons, no spaces at its ends and no dot in front"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"{key}: the name has more than {_LONGEST_NAME} bytes")
    return name


class Section(BaseModel):
    """A group of parameters."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


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

    @field_validator("range")
    @classmethod
    def _from_low_to_high(cls, limits: tuple[float, float] | None):
        if limits is not None and limits[0] >= limits[1]:
            raise ValueError(f"{list(limits)}: the first must be the lower")
        return limits


class InputFile(FileKeys):
    """One variable of a CF file, on its own grid."""

    path: str = par("", "1", "CF netCDF file")
    variable: str = par("", "1", "variable in the file")


class BathymetryConfig(FileKeys):
    """Where the sea floor comes from, and how it is fitted to the grid."""

    source: Literal["starter", "file", "flat", "two_basin", "mitgcm", "given"] = par(
        "flat", "1", "the package's starter data, a CF file, or an idealised shape"
    )
    path: str = par("", "1", "CF netCDF file (source: file) or folder (source: mitgcm)")
    variable: str = par("elevation", "1", "variable in the file: elevation or depth, see sign")
    depth: float = par(4000.0, "m", "depth of an idealised ocean", ge=0.01, le=1e5)
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

    source: Literal["starter", "file", "profile", "channel", "mitgcm", "given"] = par(
        "profile",
        "1",
        "where they come from; channel: a profile under the surface temperature of the channel's "
        "restoring, which is a front",
    )
    path: str = par("", "1", "CF netCDF file (source: file) or folder (source: mitgcm)")
    temperature_variable: str = par("conservative_temperature", "1", "variable in the file")
    salinity_variable: str = par("absolute_salinity", "1", "variable in the file")
    temperature_file: Annotated[InputFile, Field(default_factory=InputFile)]
    salinity_file: Annotated[InputFile, Field(default_factory=InputFile)]
    surface_temperature: float = par(20.0, "degC", "profile: at the surface", **_TEMPERATURES)
    deep_temperature: float = par(
        2.0, "degC", "profile: far below the thermocline", **_TEMPERATURES
    )
    thermocline: float = par(800.0, "m", "profile: e-folding depth", ge=0.01, le=1e5)
    salinity: float = par(35.0, "g kg-1", "profile: uniform salinity", ge=0, le=100)
    meridional: bool = par(
        False, "1", "profile: whether the surface cools towards high latitudes as cos(lat)"
    )
    waves: float = par(
        0.0,
        "K",
        "channel: amplitude of waves of eight lengths in x and in y, from which eddies grow",
        ge=0,
        le=10,
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

    source: Literal[
        "none", "starter", "file", "gyre", "channel", "two_basin", "mitgcm", "given"
    ] = par(
        "none", "1", "starter data, CF files (see files), MITgcm's raw files, or an idealised wind"
    )
    path: str = par("", "1", "folder (source: mitgcm)")
    year: float = par(365.0, "days", "period of the records", ge=0.01, le=1e5)
    files: dict[str, ForcingFile] = par(
        dict,
        "1",
        "surface fields by name, see the docs page on surface forcing: replaces or adds to the "
        "source",
    )
    bulk: component(
        "bulk",
        "none",
        "heat, evaporation and stress from the state of the air",
        "forcing.bulk",
        True,
    )
    fluxes: dict[str, Any] = par(
        dict, "1", "fluxes of one's own by name, {kind: package.module:Class, ...}"
    )
    balance_freshwater: bool = par(
        False,
        "1",
        "take the global mean off the sum of evaporation, precipitation and runoff, at every step",
    )
    balance_salt: bool = par(
        False,
        "1",
        "take the global mean off salinity restoring, at every step: it then moves salt and makes "
        "none",
    )
    heat_flux: bool = par(True, "1", "use the source's heat flux, if it has one")
    freshwater_flux: bool = par(True, "1", "use the source's fresh-water flux, if it has one")
    wind_amplitude: float = par(0.1, "N m-2", "idealised wind: largest stress", ge=-20, le=20)

    @field_validator("fluxes")
    @classmethod
    def _fluxes_are_components(cls, entries: dict) -> dict:
        made = {n: make("surface_flux", e, f"forcing.fluxes.{n}") for n, e in entries.items()}
        return {n: c for n, c in made.items() if c is not None}

    @field_serializer("fluxes")
    def _entries(self, made: dict) -> dict:
        return {n: c.entry() for n, c in made.items()}


def _slot(slot: str, default: str, text: str, optional: bool = False) -> Any:
    return component(slot, default, text, f"physics.{slot}", optional)


class PhysicsConfig(Section):
    """Schemes, each with its own options, and constants nobody would want to learn."""

    gravity: float = par(9.81, "m s-2", "gravity", ge=1e-3, le=1e4)
    rho0: float = par(1026.0, "kg m-3", "reference density", ge=100, le=1e4)
    heat_capacity: float = par(
        3991.868, "J kg-1 K-1", "heat capacity of sea water (TEOS-10)", ge=1000, le=10000
    )
    freezing: float | None = par(
        -1.9, "degC", "surface cooling stops here; null: never", ge=-10, le=10
    )
    equation_of_state: _slot("equation_of_state", "teos10", "density of sea water")
    tracer_advection: _slot("tracer_advection", "dst3_split", "how tracers are carried")
    momentum_advection: _slot(
        "momentum_advection", "energy", "nonlinear terms of the momentum equation", True
    )
    vertical_advection: _slot(
        "vertical_advection", "none", "vertical flow that is carried implicitly", True
    )
    pressure: _slot("pressure", "layers", "density between layer centres")
    coriolis: _slot("coriolis", "c_grid", "how the Coriolis force is averaged")
    friction: _slot("friction", "stress", "lateral friction with given viscosities")
    eddy_viscosity: _slot("eddy_viscosity", "none", "lateral viscosity that follows the flow", True)
    backscatter: _slot(
        "backscatter", "none", "momentum fluxes of eddies that give energy to the flow", True
    )
    lateral_diffusion: _slot(
        "lateral_diffusion", "along_layers", "diffusion of tracers along layers", True
    )
    bottom_drag: _slot("bottom_drag", "drag", "stress of the sea floor", True)
    vertical_mixing: _slot("vertical_mixing", "richardson", "vertical mixing")
    convection: _slot("convection", "enhanced", "mixing of columns that are unstable", True)
    background_mixing: _slot("background_mixing", "constant", "vertical mixing without shear")
    tidal_mixing: _slot("tidal_mixing", "none", "what tides add to background mixing", True)
    eddies: _slot("eddies", "none", "fluxes of tracers by mesoscale eddies", True)
    shortwave: _slot("shortwave", "none", "where light is absorbed; none: in the first layer", True)
    sea_ice: _slot("sea_ice", "none", "sea ice", True)
    surface: _slot("surface", "records", "restoring to records, and the albedo of the sea")


class TimeConfig(Section):
    """Time stepping."""

    step: float = par(3600.0, "s", "time step", ge=1e-3, le=1e7)
    momentum_step: float = par(
        0.0,
        "s",
        "shorter step of velocity for asynchronous spin-up: distorts all but the steady state; 0: "
        "step",
        ge=0,
    )
    scheme: component(
        "time_scheme",
        "forward_backward_ab2",
        "how accelerations are extrapolated, and the flow is turned",
        "time.scheme",
    )
    free_surface: component(
        "free_surface",
        "split",
        "how sea level and the depth-mean flow are stepped",
        "time.free_surface",
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
    format: Literal["netcdf", "zarr"] = par(
        "netcdf", "1", "a file NAME.nc, or a folder NAME.zarr that every rank writes its part of"
    )


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
        "global, atlantic, indo_pacific, indian, pacific; null: the first three where the grid has "
        "them",
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
    series: dict[str, Any] = par(
        dict, "1", "series of one's own by name, {kind: package.module:Class, ...}"
    )

    @field_validator("series")
    @classmethod
    def _series_are_components(cls, entries: dict) -> dict:
        from dogcm.diagnostics import series  # noqa: F401 defines the slot

        for name in entries:
            if not name.isidentifier():
                raise ValueError(
                    f"run.diagnostics.series.{name}: a name of letters, digits and underscores"
                )
        make_one = lambda n, e: make("diagnostic_series", e, f"run.diagnostics.series.{n}")
        return {n: made for n, e in entries.items() if (made := make_one(n, e)) is not None}

    @field_serializer("series")
    def _series_entries(self, made: dict) -> dict:
        return {n: c.entry() for n, c in made.items()}


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
    restart_format: Literal["netcdf", "zarr"] = par(
        "netcdf",
        "1",
        "restart_NUMBER.nc, which rank 0 writes, or a folder restart_NUMBER.zarr that every rank "
        "writes its part of",
    )
    output: dict[str, OutputConfig] = par(
        lambda: {"monthly": OutputConfig()}, "1", "output files by name"
    )
    variables: dict[str, Any] = par(
        dict, "1", "output variables of one's own by name, {kind: package.module:Class, ...}"
    )
    diagnostics: Annotated[DiagnosticsConfig, Field(default_factory=DiagnosticsConfig)]

    @field_validator("output")
    @classmethod
    def _output_files_are_apart(cls, streams: dict[str, OutputConfig]) -> dict:
        seen: dict[str, str] = {}
        for name in streams:
            check_file_name(name, "run.output")
            if f"{name}.nc" == CIRCULATION_FILE or re.fullmatch(r"restart_\d*", name):
                raise ValueError(f"run.output.{name}: dogcm itself writes a file of this name")
            twin = seen.setdefault(name.casefold(), name)
            if twin != name:
                raise ValueError(
                    f"run.output.{name} and run.output.{twin} differ by case alone: on many file "
                    "systems they are one file"
                )
        return streams

    @field_validator("variables")
    @classmethod
    def _variables_are_components(cls, entries: dict) -> dict:
        from dogcm.diagnostics.variables import VARIABLES

        for name in entries:
            if name in VARIABLES:
                raise ValueError(f"run.variables.{name}: there is such a variable already")
        make_one = lambda n, e: make("output_variable", e, f"run.variables.{n}")
        return {n: made for n, e in entries.items() if (made := make_one(n, e)) is not None}

    @field_serializer("variables")
    def _variable_entries(self, made: dict) -> dict:
        return {n: c.entry() for n, c in made.items()}


class CorrectorUse(Section):
    """A trained corrector that takes part in every step."""

    weights: str = par(
        "",
        "1",
        "its file, corrector.npz of a training; shipped: that of this experiment in the package; "
        "empty: none",
    )
    strength: float = par(
        1.0,
        "1",
        "factor of its tendencies: on a finer grid about (its spacing / that of training)^2",
        ge=0,
    )


class Config(Section):
    """A complete experiment."""

    name: str = par("unnamed", "1", "name of the experiment")
    description: str = par("", "1", "one line")
    grid: component("grid", "latlon", "the horizontal grid and the layers")
    bathymetry: Annotated[BathymetryConfig, Field(default_factory=BathymetryConfig)]
    initial: Annotated[InitialConfig, Field(default_factory=InitialConfig)]
    forcing: Annotated[ForcingConfig, Field(default_factory=ForcingConfig)]
    physics: Annotated[PhysicsConfig, Field(default_factory=PhysicsConfig)]
    time: Annotated[TimeConfig, Field(default_factory=TimeConfig)]
    tracers: dict[str, Any] = par(
        dict,
        "1",
        "passive tracers by name, {kind: KIND, ...}: see the docs page on passive tracers",
    )
    corrector: Annotated[CorrectorUse, Field(default_factory=CorrectorUse)]
    run: Annotated[RunConfig, Field(default_factory=RunConfig)]

    def to_yaml(self) -> str:
        """The configuration as a YAML file has it; values that were given in Python are not in
        it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=100)

    def components(self) -> list[Component]:
        """All components in use."""
        sections = (self.forcing, self.physics, self.time, self.run)
        values = [self.grid, *(getattr(s, n) for s in sections for n in type(s).model_fields)]
        found = [v for v in values if isinstance(v, Component)]
        return found + list(self.forcing.fluxes.values())

    @property
    def parameters(self) -> dict[str, float]:
        """Values of the learnable parameters of all components in use, by name."""
        return {n: v for c in self.components() for n, v in c.leaves().items()}

    @field_validator("name")
    @classmethod
    def _name_is_that_of_a_folder(cls, name: str) -> str:
        return check_file_name(name, "name")

    @field_validator("tracers")
    @classmethod
    def _tracers_make_sense(cls, entries: dict) -> dict:
        from dogcm.diagnostics.variables import VARIABLES

        declared = PassiveTracers.declared(entries, taken=(*NAMES_OF_STATE, *VARIABLES))
        return {kind.label: kind for kind in declared.kinds}

    @field_serializer("tracers")
    def _tracer_entries(self, kinds: dict) -> dict:
        return {label: kind.entry() for label, kind in kinds.items()}

    @model_validator(mode="after")
    def _consistent(self):
        for kind in PassiveTracers.declared(self.tracers).kinds:
            if kind.needs_sphere and not self.grid.sphere:
                raise ValueError(
                    f"tracers.{kind.label}: its kind needs daylight at a latitude, so grid.kind: "
                    f"latlon"
                )
        self._curvilinear_fits()
        step, momentum = self.time.step, self.time.momentum_step or self.time.step
        if momentum > step:
            raise ValueError(
                f"time.momentum_step {momentum:g} s is longer than time.step {step:g} s: it is the "
                f"shorter of the two "
                "(time.step is that of tracers and the clock); 0 makes them equal"
            )
        if step > LARGEST_ACCELERATION * momentum:
            raise ValueError(
                f"time.step {step:g} s is {step / momentum:.4g} times time.momentum_step "
                f"{momentum:g} s: beyond "
                f"{LARGEST_ACCELERATION} velocity is slower than the tracers that it should "
                f"follow; shorten time.step"
            )
        if self.forcing.source in ("starter", "mitgcm") and not 300 <= self.forcing.year <= 400:
            raise ValueError(
                f"forcing.year {self.forcing.year:g} days: source {self.forcing.source!r} has the "
                "twelve months of a year, of 300 to 400 days"
            )
        for one in self.components():
            one.check(self)
        collect(self.components())
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
                    f"source {section.source!r} needs a path: --set "
                    f"{type(section).__name__[:-6].lower()}.path=..."
                )
        return self

    def _curvilinear_fits(self) -> None:
        """Refuse sources that are laid out for latitude-longitude grids."""
        if not self.grid.curvilinear:
            return
        for section in (self.bathymetry, self.initial, self.forcing):
            front = section is self.initial and section.source == "channel"
            if section.source in ("mitgcm", "two_basin") or front:
                raise ValueError(
                    f"source {section.source!r} needs grid.kind: latlon, not {self.grid.name()}"
                )


def parameter_table(
    section: type[BaseModel] = Config, prefix: str = "", chosen: BaseModel | None = None
) -> list[tuple[str, str, Any, str]]:
    """All parameters as rows ``(key, unit, default, meaning)``.

    Args:
        chosen: the configuration whose components' options are listed; default: those that are
            used where nothing is said.
    """
    rows = []
    for name, info in section.model_fields.items():
        key, kind = f"{prefix}{name}", info.annotation
        value = getattr(chosen, name) if chosen is not None else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += parameter_table(kind, f"{key}.", value)
        elif (slot := slot_of(info)) is not None:
            rows += _component_rows(key, slot, info.description or "", value, chosen is not None)
        else:
            unit = (info.json_schema_extra or {}).get("unit", "1")
            rows.append(
                (key, unit, info.get_default(call_default_factory=True), info.description or "")
            )
            rows += _labelled_rows(key, value)
    return rows


def _labelled_rows(key: str, value: Any) -> list:
    """Rows of the components that a section declares under labels."""
    rows = []
    for label, one in value.items() if isinstance(value, dict) else ():
        if isinstance(one, Component):
            rows.append((f"{key}.{label}", "1", "", summary(type(one))))
            rows += [(f"{key}.{label}.{o.name}", *o.row) for o in options_of(type(one))]
    return rows


def _component_rows(key: str, slot, text: str, value: Component | None, given: bool) -> list:
    """The row of a slot, and those of the options of the component that fills it."""
    kinds = [*kinds_of(slot.slot), *(["none"] if slot.optional else [])]
    rows = [(key, "1", slot.default, f"{text}: {', '.join(kinds)}, or one's own")]
    filling = type(value) if value is not None else None
    if not given and slot.default != "none":
        filling = kinds_of(slot.slot)[slot.default]
    if filling is not None:
        rows += [(f"{key}.{o.name}", *o.row) for o in options_of(filling)]
    return rows
