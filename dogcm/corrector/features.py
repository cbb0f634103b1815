"""What a corrector sees: the state and its surroundings as numbers of order one.

Horizontal change is the difference *across the local cell* (dx dT/dx), not the gradient, so that
one network serves grids of several resolutions; ``geometry`` tells it how large a cell is for the
ocean's eddies. Every feature is bounded by :func:`squash`, finite, and zero on land, with safe
derivatives.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from dogcm.components import Component
from dogcm.components.registry import make
from dogcm.corrector.layers import stack
from dogcm.field import Field, fmap
from dogcm.grid.horizontal import EARTH_ROTATION
from dogcm.operators import (
    diff_x_c2u,
    diff_x_u2c,
    diff_x_v2q,
    diff_y_c2v,
    diff_y_u2q,
    diff_y_v2c,
    diff_z_c2w,
    mean_x_u2c,
    mean_y_q2u,
    mean_y_v2c,
    mean_z_w2c,
)

# Largest absolute value of a feature; below about a third of it squash changes little.
BOUND = 5.0
# Thermal expansion (K-1) and haline contraction (kg g-1) of the density that slopes are taken from,
# and its smallest vertical difference that counts (relative density).
_EXPANSION, _CONTRACTION, _SMALLEST = 2.0e-4, 7.4e-4, 1e-5
_WAVE_SPEED = 2.5  # m s-1, of the first baroclinic mode
# Typical size of surface records (units: dogcm.physics.surface.RECORDS), for sst and sss less the
# sea's own.
_SURFACE = {
    "taux": 0.1,
    "tauy": 0.1,
    "heat_flux": 100.0,
    "freshwater_flux": 3e-8,
    "sst": 3.0,
    "sss": 0.5,
}


class Feature(Component):
    """A group of channels of what a corrector sees."""

    slot: ClassVar[str] = "feature"

    @abstractmethod
    def __call__(self, scene: Scene) -> list[Field]:
        """Fields at c, ``(nz, y, x)`` or ``(y, x)``, of order one; what uses up more than one cell
        of halo does not fit."""


def squash(x):
    """``x`` for small values, never beyond :data:`BOUND`; smooth."""
    return x / jnp.sqrt(1.0 + (x * (1.0 / BOUND)) ** 2)


@dataclass(frozen=True)
class Scene:
    """What features are made of; see :class:`dogcm.timestepping.Dynamics` for the first three."""

    state: Any
    now: dict[str, Field]
    grid: Any
    scales: Any

    def anomaly(self, name: str) -> Field:
        """Temperature or salinity less its reference, in units of its scale."""
        dtype = self.state.tracers[name].dtype
        values = (getattr(self.scales, f"{name}_{p}") for p in ("mean", "scale"))
        mean, scale = (np.asarray(v, dtype)[:, None, None] for v in values)
        return (self.state.tracers[name] - jnp.asarray(mean)) * jnp.asarray(1.0 / scale)

    def across(self, f: Field) -> list[Field]:
        """Change of a Field at c across the cell in x and in y: mean of its faces (closed:
        zero)."""
        flat = f.ndim == 2
        u, v = (self.grid.wet_u, self.grid.wet_v) if flat else (self.grid.mask_u, self.grid.mask_v)
        return [mean_x_u2c(diff_x_c2u(f) * u), mean_y_v2c(diff_y_c2v(f) * v)]

    def down(self, f: Field) -> Field:
        """Change from layer to layer (upper less lower), mean over the cell's two interfaces."""
        return mean_z_w2c(diff_z_c2w(f) * self.grid.mask_cw)


class Tracers(Feature):
    """Temperature and salinity less a reference, in units of their spread."""

    kind: ClassVar[str] = "tracers"

    def __call__(self, s: Scene) -> list[Field]:
        return [s.anomaly("temperature"), s.anomaly("salinity")]


def _differences(s: Scene) -> tuple[Field, Field]:
    """Temperature and salinity in units whose differences between neighbours are of order one."""
    change = s.scales.temperature_change, s.scales.salinity_change
    return s.state.temperature * (1.0 / change[0]), s.state.salinity * (1.0 / change[1])


class Gradients(Feature):
    """Differences of temperature and salinity across the cell, in x and y."""

    kind: ClassVar[str] = "gradients"

    def __call__(self, s: Scene) -> list[Field]:
        return [d for f in _differences(s) for d in s.across(f)]


class VerticalDifferences(Feature):
    """Differences of temperature and salinity from layer to layer."""

    kind: ClassVar[str] = "vertical"

    def __call__(self, s: Scene) -> list[Field]:
        return [s.down(f) for f in _differences(s)]


class Velocity(Feature):
    """Velocity at centres, in units of a typical speed."""

    kind: ClassVar[str] = "velocity"

    def __call__(self, s: Scene) -> list[Field]:
        u, v, scale = s.state.u * s.grid.mask_u, s.state.v * s.grid.mask_v, 1.0 / s.scales.speed
        return [mean_x_u2c(u) * scale, mean_y_v2c(v) * scale]


class Deformation(Feature):
    """Differences of velocity across the cell: those of relative vorticity and of tension."""

    kind: ClassVar[str] = "deformation"

    def __call__(self, s: Scene) -> list[Field]:
        u, v, scale = s.state.u * s.grid.mask_u, s.state.v * s.grid.mask_v, 1.0 / s.scales.speed
        turning = (diff_x_v2q(v) - diff_y_u2q(u)) * s.grid.mask_q
        return [mean_x_u2c(mean_y_q2u(turning)) * scale, (diff_x_u2c(u) - diff_y_v2c(v)) * scale]


class Slope(Feature):
    """Slopes of density surfaces in layers per cell: difference across the cell over difference
    downward."""

    kind: ClassVar[str] = "slope"

    def __call__(self, s: Scene) -> list[Field]:
        t, salt = s.state.temperature, s.state.salinity
        density = salt * _CONTRACTION - t * _EXPANSION
        down = s.down(density)
        safe = lambda a, b: a / jnp.sqrt(b * b + _SMALLEST**2)
        return [fmap(safe, d, down, name="slope") for d in s.across(density)]


class Surface(Feature):
    """All surface records; those an experiment lacks are zero, so that networks fit every
    experiment."""

    kind: ClassVar[str] = "surface"

    def __call__(self, s: Scene) -> list[Field]:
        top = {"sst": s.state.temperature.level(0), "sss": s.state.salinity.level(0)}
        out = []
        for name, scale in _SURFACE.items():
            f = s.now.get(name)
            if f is None:
                out.append(s.grid.wet_c * 0.0)
                continue
            f = f - top[name] if name in top else f
            if f.at == "u":
                f = mean_x_u2c(f * s.grid.wet_u)
            elif f.at == "v":
                f = mean_y_v2c(f * s.grid.wet_v)
            out.append(f * (1.0 / scale))
        return out


class SeaLevel(Feature):
    """Sea level (m), and five times its differences across the cell."""

    kind: ClassVar[str] = "sea_level"

    def __call__(self, s: Scene) -> list[Field]:
        eta = s.state.eta
        return [eta, *(d * 5.0 for d in s.across(eta))]


def sine_of_latitude(grid) -> Field:
    """From the Coriolis parameter, so that it has a meaning on a plane too."""
    sine = mean_x_u2c(mean_y_q2u(grid.f_q)) * (0.5 / EARTH_ROTATION)
    return sine.with_data(jnp.clip(sine.data, -1.0, 1.0))


class Geometry(Feature):
    """Latitude, depth, how well the grid resolves the deformation radius, and how elongated its
    cells are."""

    kind: ClassVar[str] = "geometry"

    def __call__(self, s: Scene) -> list[Field]:
        g, sine = s.grid, sine_of_latitude(s.grid)
        cosine = sine.with_data(jnp.sqrt(jnp.maximum(1.0 - sine.data**2, 1e-6)))
        resolved = lambda f, dx: _WAVE_SPEED / (_WAVE_SPEED + jnp.abs(f) * 2 * EARTH_ROTATION * dx)
        elongated = lambda dx, dy: jnp.log(dx / dy)
        return [
            sine,
            cosine,
            g.depth_c * (1.0 / 4000.0),
            fmap(resolved, sine, g.dx_c),
            fmap(resolved, sine, g.dy_c),
            fmap(elongated, g.dx_c, g.dy_c),
        ]


class Season(Feature):
    """Sine and cosine of the time of the year."""

    kind: ClassVar[str] = "season"

    def __call__(self, s: Scene) -> list[Field]:
        wet = s.grid.wet_c
        return [wet * w.astype(wet.dtype) for w in annual(s.state.time, s.scales)]


def annual(time, scales, harmonics: int = 1) -> list:
    """Sine and cosine of the time of the year, and of ``harmonics - 1`` of its multiples."""
    angle = time * (2 * np.pi / (scales.year * 86400.0))
    return [wave(n * angle) for n in range(1, harmonics + 1) for wave in (jnp.sin, jnp.cos)]


class WaterMask(Feature):
    """1 in water, 0 on land and below the sea floor."""

    kind: ClassVar[str] = "mask"

    def __call__(self, s: Scene) -> list[Field]:
        return [s.grid.mask_c]


_ALL = (
    Tracers,
    Gradients,
    VerticalDifferences,
    Velocity,
    Deformation,
    Slope,
    Surface,
    SeaLevel,
    Geometry,
    Season,
    WaterMask,
)
#: The groups that ship, by name.
GROUPS: dict[str, type[Feature]] = {f.kind: f for f in _ALL}


def inputs(groups: tuple[Feature | str, ...], state, now: dict[str, Field], grid, scales) -> Field:
    """The channels of the groups, ``(channels, y, x)`` at c without halo.

    Args:
        groups: :class:`Feature`s, or their names. state: with at least one valid halo cell.
        scales: :class:`dogcm.corrector.config.Scales`.
    """
    scene = Scene(state, now, grid, scales)
    channels = []
    for group in groups:
        for f in make("feature", group)(scene):
            wet = grid.wet_c if f.ndim == 2 else grid.mask_c
            channels.append((fmap(squash, f) * wet).crop(0))
    return stack(*channels)


def positions(grid, degrees: float = 1.0) -> Field:
    """Unit vectors ``(3, y, x)`` of the cell centres; ``degrees`` per unit of the grid's
    coordinates."""
    rad = degrees * np.pi / 180.0
    lat, lon = grid.lat_c.crop(0).data * rad, grid.lon_c.crop(0).data * rad
    return Field(
        jnp.stack([jnp.cos(lat) * jnp.cos(lon), jnp.cos(lat) * jnp.sin(lon), jnp.sin(lat)]), "c"
    )


__all__ = [
    "BOUND",
    "GROUPS",
    "Feature",
    "Scene",
    "annual",
    "inputs",
    "positions",
    "sine_of_latitude",
    "squash",
]
