"""What ``diagnostics.nc`` holds: from the means of a few Fields to transports, overturning and
stream functions.

Per step only local sums over depth and density classes are added up; sums over the globe come once
an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components.errors import ConfigError
from dogcm.diagnostics import circulation as numbers
from dogcm.diagnostics.basins import BasinError, check_basins, find_basins, open_faces
from dogcm.diagnostics.sections import NAMED, SectionError, faces_along, find_section, line
from dogcm.diagnostics.series import SAMPLE, Ocean, add_series, check_shapes
from dogcm.diagnostics.variables import VARIABLES, Scene, Variable
from dogcm.field import Field
from dogcm.halo import exact_sum, once
from dogcm.io.description import PLACES, axis_names, horizontal_attributes, place_attributes
from dogcm.io.series import NAME_LENGTH, Axis, SeriesVariable
from dogcm.operators import sum_z

_EDGES = {
    "sigma0": (
        *np.arange(21.0, 25.0, 0.5),
        *np.arange(25.0, 27.0, 0.25),
        *np.arange(27.0, 28.31, 0.1),
    ),
    "sigma2": (
        *np.arange(29.0, 34.0, 0.5),
        *np.arange(34.0, 36.0, 0.25),
        *np.arange(36.0, 37.61, 0.1),
    ),
}
_DEPTH = {"sigma0": 0.0, "sigma2": 2000.0}


# ---- what is averaged: functions (Scene) -> Field
def _flow_u(s: Scene) -> Field:
    return sum_z(s.terms["flow"][0] * s.grid.dy_u)


def _flow_v(s: Scene) -> Field:
    return s.terms["flow"][1] * s.grid.dx_v


@dataclass(frozen=True)
class _FlowByDensity:
    """Northward transport in density classes, of the flow and the water at the beginning of the
    step."""

    classes: numbers.DensityClasses

    def __call__(self, s: Scene) -> Field:
        state = s.parts.tracers.state  # with halos
        density = self.classes.density(s.dynamics.eos, state.temperature, state.salinity)
        return self.classes.sort(_flow_v(s).crop(0), density)


@dataclass(frozen=True)
class _TracerFlux:
    """Depth-integrated flux of a tracer through faces (unit of it times m3 s-1)."""

    tracer: str
    kind: str  # advective, or fluxes: all
    axis: int

    def __call__(self, s: Scene) -> Field:
        return sum_z(getattr(s.terms[self.tracer], self.kind)[self.axis])


def _samples(classes: numbers.DensityClasses | None) -> list[Variable]:
    make = lambda name, at, layers, compute: Variable(
        name, at, layers, "", "", "", compute, of_step=True
    )
    out = [make("flow_u", "u", False, _flow_u), make("flow_v", "v", True, _flow_v)]
    if classes is not None:
        out.append(make("flow_density", "v", True, _FlowByDensity(classes)))
    for tracer in ("temperature", "salinity"):
        out += [
            make(f"{tracer}_u", "u", False, _TracerFlux(tracer, "fluxes", 0)),
            make(f"{tracer}_v", "v", False, _TracerFlux(tracer, "fluxes", 1)),
            make(f"{tracer}_v_advective", "v", False, _TracerFlux(tracer, "advective", 1)),
        ]
    return out + [VARIABLES[n] for n in ("heat_content", "mixed_layer_depth")]


class Circulation:
    """Basins, sections and density classes of a model, and the numbers that come from them.

    Args:
        model: a :class:`dogcm.simulation.model.Model`.

    Attributes:
        samples: variables whose means are wanted. variables, axes, constants: of the file.

    Raises:
        ConfigError: unknown or absent basins and sections, or useless density classes. Every rank
            calls.
    """

    def __init__(self, model):
        self._model, self._halos, c = model, model.halos, model.config.run.diagnostics
        try:
            self._set_up(model, c)
        except (BasinError, SectionError, ValueError) as error:
            raise ConfigError(f"run.diagnostics: {error}") from None

    def _set_up(self, model, c) -> None:
        check_basins(c.basins or ())
        sections = _points(c)
        wet = model.comm.broadcast(model.gather(model.grid.wet_c.crop(0)))
        tile, h = model.decomposition.tile, model.horizontal
        basins = find_basins(h, wet, c.basins)
        self._sections = {n: p for n, p in sections.items() if _crosses_water(h, wet, n, p, c)}
        self._lines = tuple(line(h, p, tile, np.float64, n) for n, p in self._sections.items())
        cut = (slice(None), slice(tile.j0, tile.j1), slice(tile.i0, tile.i1))
        faces, cells = (jnp.asarray(a[cut], jnp.float64) for a in (basins.faces, basins.cells))
        self._classes = None
        if c.density != "none":
            edges = c.density_edges or _EDGES[c.density]
            eos, centres = model.dynamics.eos, model.vertical.centres
            self._classes = numbers.density_classes(
                eos, centres, _DEPTH[c.density], np.round(edges, 6)
            )
        self._own = c.series
        self.samples = _samples(self._classes) + [s.averaged(n) for n, s in c.series.items()]
        self.names = basins.names
        self._grid = {
            "faces": faces,
            "cells": cells,
            "lines": self._lines,
            "area": model.grid.area_c.crop(0),
            "own": model.grid if c.series else None,
        }
        self._compute = self._halos.jit(self._numbers)
        water = Field(model.grid.mask_v.interior, "v")
        northward = self._halos.jit(lambda f, b: numbers.northward(f, b, self._halos))
        self._rows = np.asarray(northward(water, faces)) > 0
        self.axes, self.variables = _axes(model, self), _variables(self, model)
        self.constants = _basin_mask(model, basins.cells) | _places(model)
        add_series(c.series, self.axes, self.variables, self.constants)
        check_shapes(c.series, self.axes, self._ocean(self._grid), model.vertical.nz)

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(self._sections)

    @property
    def classes(self) -> numbers.DensityClasses | None:
        return self._classes

    def numbers(self, means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the file holds, from means of the samples on this tile (arrays without halo); every
        rank calls."""
        places = {v.name: v.at for v in self.samples}
        fields = {n: Field(jnp.asarray(a, jnp.float64), places[n]) for n, a in means.items()}
        found = {k: np.asarray(a) for k, a in self._compute(fields, self._grid).items()}
        found["mixed_layer_depth"] = self._map(means["mixed_layer_depth"])
        for name in (
            "heat_transport",
            "heat_transport_diffusive",
            "salt_transport",
            "freshwater_transport",
        ):
            found[name] = np.where(self._rows.any(axis=1), found[name], np.nan)
        around = np.pad(self._rows, ((0, 0), (1, 1), (0, 0)))
        found["overturning"] = np.where(
            around[:, 1:] | around[:, :-1], found["overturning"], np.nan
        )
        if self._classes is not None:
            found["overturning_density"] = np.where(
                self._rows.any(axis=1)[:, None], found["overturning_density"], np.nan
            )
        return found

    def _map(self, tile: np.ndarray) -> np.ndarray:
        m = self._model
        dry = np.asarray(m.grid.wet_c.interior) == 0
        globe = m.decomposition.gather(np.where(dry, np.nan, np.asarray(tile, float)), np.nan)
        return globe if globe is not None else np.zeros(0)  # rank 0 writes

    def _numbers(self, f: dict[str, Field], g: dict) -> dict:
        p, halos = self._model.physics, self._halos
        per_heat, per_salt = p.rho0 * p.heat_capacity, p.rho0 * 1e-3
        heat, advected, salinity, flow, *classes = _sums_of_rows(f, g["faces"], halos)
        out = {
            "overturning": numbers.streamfunction(flow),
            "barotropic_streamfunction": numbers.barotropic_streamfunction(f["flow_u"], halos),
            "heat_transport": heat * per_heat,
            "heat_transport_diffusive": (heat - advected) * per_heat,
            "salt_transport": salinity * per_salt,
            "freshwater_transport": numbers.freshwater(flow.sum(axis=1), salinity) * p.rho0,
        }
        for by_class in classes:
            # Its edges only: beyond the first and last there is nothing or everything.
            out["overturning_density"] = numbers.streamfunction(by_class)[:, 1:-1]
        if self._lines:
            pairs = [(f["flow_u"], sum_z(f["flow_v"]))]
            pairs += [(f[f"{t}_u"], f[f"{t}_v"]) for t in ("temperature", "salinity")]
            out["section_volume"], warmth, salinity = numbers.through_each(g["lines"], pairs, halos)
            out["section_heat"], out["section_salt"] = warmth * per_heat, salinity * per_salt
            out["section_freshwater"] = numbers.freshwater(out["section_volume"], salinity) * p.rho0
        area = once(halos, g["area"].interior)
        out["heat_content"] = exact_sum(halos, *(g["cells"] * (f["heat_content"].interior * area)))
        for name, one in self._own.items():
            out[name] = one.number(f[f"{SAMPLE}{name}"], self._ocean(g))
        return out

    def _ocean(self, g: dict) -> Ocean:
        return Ocean(g["own"], g["area"].interior, g["cells"], self._halos)


def _sums_of_rows(f: dict[str, Field], faces, halos) -> list[jax.Array]:
    """Northward transports of heat (all, advective), salinity, volume by layer and by class, in one
    message."""
    names = ["temperature_v", "temperature_v_advective", "salinity_v", "flow_v"]
    names += [n for n in f if n == "flow_density"]
    levels = [f[n].interior if f[n].ndim == 3 else f[n].interior[None] for n in names]
    sums = numbers.northward(Field(jnp.concatenate(levels), "v"), faces, halos)
    parts = jnp.split(sums, np.cumsum([len(x) for x in levels])[:-1], axis=1)
    return [part if f[n].ndim == 3 else part[:, 0] for n, part in zip(names, parts)]


# ---- sections
def _points(c) -> dict[str, tuple]:
    """Points of the sections asked for, by name."""
    named = {
        n: find_section(n)[0] for n in (c.named_sections if c.named_sections is not None else NAMED)
    }
    for name, section in c.sections.items():
        if name in named or not 0 < len(name) <= NAME_LENGTH:
            raise SectionError(
                f"section {name!r}: choose another name, of up to {NAME_LENGTH} letters"
            )
        named[name] = section.points
    return named


def _crosses_water(horizontal, wet, name: str, points, c) -> bool:
    """Whether anything can flow through; a section that was asked for by name must."""
    asked = name in c.sections or name in (c.named_sections or ())
    if not asked and not horizontal.spherical:
        return False
    try:
        faces = faces_along(horizontal, points, f"section {name}")
    except SectionError:
        if asked:
            raise
        return False
    open_u, open_v = open_faces(horizontal, np.asarray(wet) > 0)
    water = any((open_u if at == "u" else open_v)[j, i] for at, j, i, _ in faces)
    if asked and not water:
        raise SectionError(f"section {name} crosses no water on this grid")
    return water


# ---- the file
def _axes(model, c: Circulation) -> dict[str, Axis]:
    axes = {}
    for key, (values, unit) in model.horizontal.coordinates().items():
        attributes = horizontal_attributes(key, unit, model.horizontal)
        axes[axis_names(model.horizontal)[key]] = Axis(tuple(values), attributes)
    down = {
        "units": "m",
        "positive": "down",
        "standard_name": "depth",
        "axis": "Z",
        "long_name": "depth of layer interfaces at rest",
    }
    axes["zw"] = Axis(tuple(model.vertical.edges), down)
    axes["basin"] = Axis(
        c.names, {"standard_name": "region", "long_name": "basin", "_Encoding": "utf-8"}
    )
    if c.sections:
        axes["section"] = Axis(c.sections, {"long_name": "section", "_Encoding": "utf-8"})
    if c.classes is not None:
        kind = model.config.run.diagnostics.density
        text = {
            "sigma0": "potential density referred to the surface, less 1000 kg m-3",
            "sigma2": "potential density referred to 2000 dbar, less 1000 kg m-3",
        }[kind]
        axes["sigma"] = Axis(
            c.classes.edges, {"units": "kg m-3", "long_name": text, "positive": "down"}
        )
    return axes


def _basin_mask(model, cells: np.ndarray) -> dict:
    names = axis_names(model.horizontal)
    attributes = {
        "units": "1",
        "long_name": "1 in the cells of the basin",
        "coordinates": " ".join(["basin_name", *_places_of(model, "c")]),
    }
    return {"basin_mask": (("basin", names["lat"], names["lon"]), cells.astype("i1"), attributes)}


def _places_of(model, at: str) -> tuple[str, ...]:
    """Names of the latitudes and longitudes of a place, where lines are no parallels."""
    return PLACES[at] if model.horizontal.curvilinear else ()


def _places(model) -> dict:
    """These latitudes and longitudes, of centres and corners; rank 0 writes."""
    x, y = (axis_names(model.horizontal)[n] for n in ("lon", "lat"))
    found = {}
    for at, axes in (("c", (y, x)), ("q", (f"{y}_v", f"{x}_u"))):
        names = _places_of(model, at)
        values = (
            model.horizontal.points(at) if names and model.comm.rank == 0 else (np.zeros(0),) * 2
        )
        found |= {n: (axes, v, place_attributes(n, at)) for n, v in zip(names, values)}
    return found


def _variables(c: Circulation, model) -> list[SeriesVariable]:
    names = axis_names(model.horizontal)
    x, y = names["lon"], names["lat"]
    V, north = SeriesVariable, ("basin", f"{y}_v")
    psi = (
        "meridional overturning stream function: northward transport above, less the net northward "
        "transport"
    )
    out = [
        V(
            "overturning",
            ("basin", "zw", f"{y}_v"),
            "m3 s-1",
            "ocean_meridional_overturning_streamfunction",
            psi,
        ),
        V(
            "barotropic_streamfunction",
            (f"{y}_v", f"{x}_u"),
            "m3 s-1",
            "ocean_barotropic_streamfunction",
            "stream function of the depth-integrated flow, 0 at the northern wall",
            _places_of(model, "q"),
        ),
        V(
            "heat_transport",
            north,
            "W",
            "northward_ocean_heat_transport",
            "northward transport of heat above 0 degC",
        ),
        V(
            "heat_transport_diffusive",
            north,
            "W",
            "northward_ocean_heat_transport_due_to_diffusion",
            "its part by lateral diffusion and eddy fluxes; the rest is by the resolved flow",
        ),
        V(
            "salt_transport",
            north,
            "kg s-1",
            "northward_ocean_salt_transport",
            "northward transport of salt",
        ),
        V(
            "freshwater_transport",
            north,
            "kg s-1",
            "northward_ocean_freshwater_transport",
            f"northward transport of fresh water, relative to {numbers.REFERENCE_SALINITY:g} g "
            f"kg-1",
        ),
        V("heat_content", ("basin",), "J", "", "heat above 0 degC"),
        V(
            "mixed_layer_depth",
            (y, x),
            "m",
            "ocean_mixed_layer_thickness_defined_by_sigma_theta",
            VARIABLES["mixed_layer_depth"].long_name,
            _places_of(model, "c"),
        ),
    ]
    if c.classes is not None:
        out.insert(
            1,
            V(
                "overturning_density",
                ("basin", "sigma", f"{y}_v"),
                "m3 s-1",
                "ocean_meridional_overturning_streamfunction",
                f"{psi}, in density classes",
            ),
        )
    if c.sections:
        left = "positive to the left of the way from its first point to its last"
        out += [
            V(
                "section_volume",
                ("section",),
                "m3 s-1",
                "ocean_volume_transport_across_line",
                f"volume transport, {left}",
            ),
            V("section_heat", ("section",), "W", "", f"transport of heat above 0 degC, {left}"),
            V("section_salt", ("section",), "kg s-1", "", f"transport of salt, {left}"),
            V(
                "section_freshwater",
                ("section",),
                "kg s-1",
                "",
                f"transport of fresh water relative to {numbers.REFERENCE_SALINITY:g} g kg-1, "
                f"{left}",
            ),
        ]
    return out


__all__ = ["Circulation"]
