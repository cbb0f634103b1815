"""From a network's channels to tendencies that keep what the ocean has to keep.

================  ===================  ==================================================
kind              channels per level   tendency
================  ===================  ==================================================
flux              2 (x, y)             divergence of bounded fluxes through open faces
flux_3d           3 (x, y, z)          the same, also through the interfaces between layers
diffusive         2 (x, y)             diffusion with a learned, bounded diffusivity on faces
tendency          1 (velocity: 2)      a bounded rate; the ocean's mean may change
tendency_no_mean  1                    a bounded rate less its mean over the ocean's volume
stress            2 (of velocity)      divergence of a bounded, symmetric stress
================  ===================  ==================================================

Sea level (``eta``) has one channel and is moved by a network without physics alone.

All of tracers but ``tendency`` conserve the tracer to round-off, and ``stress`` momentum but for
walls (on the sphere angular momentum). All are zero where the channels are zero, and
bounded
by ``rates``: a flux through one face changes a cell as wide as the face's spacing by at most that
rate.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from dogcm.components import Component
from dogcm.field import Field, fmap, minimum
from dogcm.halo import differentiable_sums
from dogcm.operators import (
    diff_x_c2u,
    diff_x_u2c,
    diff_y_c2v,
    diff_y_v2c,
    diff_z_w2c,
    lower_z_c2w,
    mean_x_c2u,
    mean_x_u2c,
    mean_xy_c2q,
    mean_y_c2v,
    mean_y_v2c,
    mean_z_c2w,
    upper_z_c2w,
)
from dogcm.physics.lateral import stress_divergence

VELOCITY, SEA_LEVEL = "velocity", "eta"
DAY = 86400.0
# A learned diffusivity, with the model's own, is between a tenth and ten times the configured one
# ...
_RANGE = math.log(10.0)
# ... lowered where cells are small, so that a step of a day is stable: K (1/dx^2 + 1/dy^2) < 1/2 a
# day.
_LARGEST = 1.0 / (40.0 * DAY)  # in units of dx^2


@dataclass(frozen=True)
class Place:
    """Where outputs become tendencies.

    Attributes:
        rate: largest tendency (unit s-1), a number or a profile ``(nz, 1, 1)``. diffusivity: m2
            s-1, for ``diffusive``.
    """

    name: str
    state: Any
    grid: Any
    halos: Any
    rate: Any
    diffusivity: float

    def bounded(self, x: Field) -> Field:
        """``x`` at layers as a rate below the largest one."""
        return fmap(jnp.tanh, x) * self.rate

    def bounded_between(self, x: Field) -> Field:
        """The same for ``x`` at the interfaces between layers, where the smaller rate of both
        layers holds."""
        rate = jnp.minimum(self.rate[1:], self.rate[:-1]) if jnp.ndim(self.rate) else self.rate
        return fmap(jnp.tanh, x) * rate

    def content(self, fx: Field, fy: Field, fz: Field | None = None) -> dict[str, Field]:
        """Convergence of fluxes per area (unit m s-1) in x, y and, positive up, in z."""
        g = self.grid
        fx, fy = fx * g.h_u * g.dy_u, fy * g.h_v * g.dx_v  # thickness is zero at closed faces
        rate = (diff_x_u2c(fx) + diff_y_v2c(fy)) / g.area_c * (-1.0)
        rate = rate if fz is None else rate - diff_z_w2c(fz)
        return {f"{self.name}_content": rate}


class CorrectorOutput(Component):
    """How channels of a network become the tendency of a variable.

    Attributes:
        directions: channels for each level. corrects: what it can correct: ``tracers``,
            ``velocity`` (by two groups of channels), ``eta``.
    """

    slot: ClassVar[str] = "corrector_output"
    directions: ClassVar[int] = 1
    corrects: ClassVar[tuple[str, ...]] = ("tracers",)

    @abstractmethod
    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        """Tendencies by name, or contents (``NAME_content``: unit m s-1).

        Args:
            raw: channels by direction, ``(nz, y, x)`` at c with one halo cell.
        """


def _faces(raw: list[Field]) -> tuple[Field, Field]:
    return mean_x_c2u(raw[0]), mean_y_c2v(raw[1])


class Flux(CorrectorOutput):
    """Divergence of bounded fluxes through open faces."""

    kind: ClassVar[str] = "flux"
    directions: ClassVar[int] = 2

    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        nx, ny = _faces(raw)
        return p.content(p.bounded(nx) * p.grid.dx_u, p.bounded(ny) * p.grid.dy_v)


class Flux3D(CorrectorOutput):
    """The same, also through the interfaces between layers."""

    kind: ClassVar[str] = "flux_3d"
    directions: ClassVar[int] = 3

    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        nx, ny = _faces(raw)
        thinner = minimum(upper_z_c2w(p.grid.h_c), lower_z_c2w(p.grid.h_c))
        fz = p.bounded_between(mean_z_c2w(raw[2])) * thinner * p.grid.mask_cw
        return p.content(p.bounded(nx) * p.grid.dx_u, p.bounded(ny) * p.grid.dy_v, fz)


class Diffusive(CorrectorOutput):
    """Extra diffusivity ``K (10**tanh(n) - 1)``: with a model diffusivity of K the total is
    positive."""

    kind: ClassVar[str] = "diffusive"
    directions: ClassVar[int] = 2

    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        def extra(n, d):
            return jnp.minimum(p.diffusivity, d * d * _LARGEST) * jnp.expm1(_RANGE * jnp.tanh(n))

        c, g = p.state.tracers[p.name], p.grid
        nx, ny = _faces(raw)
        kx, ky = (
            fmap(extra, nx, g.dx_u, name="diffusivity"),
            fmap(extra, ny, g.dy_v, name="diffusivity"),
        )
        return p.content(kx * diff_x_c2u(c) / g.dx_u * (-1.0), ky * diff_y_c2v(c) / g.dy_v * (-1.0))


class Tendency(CorrectorOutput):
    """A bounded rate; the ocean's mean may change."""

    kind: ClassVar[str] = "tendency"
    directions: ClassVar[int] = 1
    corrects: ClassVar[tuple[str, ...]] = ("tracers", VELOCITY, SEA_LEVEL)

    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        if p.name == VELOCITY:
            nx, ny = _faces(raw)
            return {"u": p.bounded(nx) * p.grid.mask_u, "v": p.bounded(ny) * p.grid.mask_v}
        return {
            p.name: p.bounded(raw[0]) * (p.grid.wet_c if p.name == SEA_LEVEL else p.grid.mask_c)
        }


class TendencyNoMean(CorrectorOutput):
    """A bounded rate less its mean over the ocean's volume."""

    kind: ClassVar[str] = "tendency_no_mean"
    directions: ClassVar[int] = 1

    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        volume = (p.grid.h_c * p.grid.area_c).crop(0)
        rate = p.bounded(raw[0]).crop(0)
        # Order-independent sums: the mean is the same number on every layout.
        total, whole = differentiable_sums(p.halos, (rate * volume).data, volume.data)
        return {f"{p.name}_content": (rate - total / whole) * p.grid.h_c}


class Stress(CorrectorOutput):
    """Divergence of a bounded stress: momentum goes from cell to cell, and none is made.

    One channel is the tension at centres, the other the shearing stress, which is taken to corners.
    A stress across the face of a cell accelerates a cell of its size by the largest rate at most.
    Walls feel none: cells beside them have no tension, corners in them no shearing
    stress. As in Zanna and Bolton (2020, doi:10.1029/2020GL088376), whose stress is an
    equation in place of a network.
    """

    kind: ClassVar[str] = "stress"
    directions: ClassVar[int] = 2
    corrects: ClassVar[tuple[str, ...]] = (VELOCITY,)

    def __call__(self, raw: list[Field], p: Place) -> dict[str, Field]:
        g = p.grid
        open_water = fmap(jnp.floor, mean_x_u2c(g.mask_u) * mean_y_v2c(g.mask_v))
        tension = p.bounded(raw[0]) * g.h_visc_c * fmap(jnp.minimum, g.dx_c, g.dy_c)
        corner = fmap(jnp.minimum, g.dx_q, g.dy_q)
        shear = p.bounded(mean_xy_c2q(raw[1])) * g.h_visc_q * g.mask_q * corner
        u, v = stress_divergence(tension * open_water, shear, g)
        return {"u": u * g.mask_u, "v": v * g.mask_v}


def directions(name: str, output: CorrectorOutput) -> int:
    """Groups of channels of one output, each with one per level."""
    return 2 if name == VELOCITY else output.directions


def channels(outputs: dict[str, CorrectorOutput], nz: int) -> int:
    """Channels that the network has to give for all outputs."""
    return sum(
        1 if name == SEA_LEVEL else nz * directions(name, one) for name, one in outputs.items()
    )


def per_second(value, dtype):
    """A rate a day as one per second: a number, or a profile ``(nz, 1, 1)`` where there is one for
    each level."""
    return (
        jnp.asarray(value, dtype)[:, None, None] / DAY if isinstance(value, list) else value / DAY
    )


def tendencies(raw: Field, config, state, grid, halos) -> dict[str, Field]:
    """Tendencies of all outputs, as :class:`dogcm.timestepping.Dynamics` wants them from its hook.

    Args:
        raw: ``(channels, y, x)`` at c with a halo of one cell or more.
        config: :class:`dogcm.corrector.config.CorrectorConfig`.
    """
    nz, first, out = grid.nz, 0, {}
    for name, output in config.of_network.items():
        if name == SEA_LEVEL:
            parts, first = [raw.level(first)], first + 1
        else:
            count = directions(name, output)
            parts = [raw.level(slice(first + m * nz, first + (m + 1) * nz)) for m in range(count)]
            first += count * nz
        place = Place(
            name,
            state,
            grid,
            halos,
            per_second(config.rates[name], raw.dtype) * config.strength,
            config.diffusivity,
        )
        out |= output(parts, place)
    return {name: f.crop(0).named(name) for name, f in out.items()}
