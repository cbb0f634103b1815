"""Transports through sections, and overturning: numbers that describe the circulation and can be
differentiated.

All ranks get the same numbers, with the same bits on every layout. As a loss, where each rank
differentiates its own share and the shares are added, take the number divided by ``halos.size``:
the sum over ranks inside has the right derivative.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dogcm.dynamics.continuity import stretch_u, stretch_v
from dogcm.field import Field, exchange, fmap
from dogcm.halo import differentiable_sums
from dogcm.operators import lower_x_c2u, lower_y_c2v, min_x_c2u, min_y_c2v, upper_x_c2u, upper_y_c2v
from dogcm.timestepping.state import State

SVERDRUP = 1e6  # m3 s-1


@functools.partial(jax.tree_util.register_dataclass, data_fields=["faces"], meta_fields=[])
@dataclass(frozen=True)
class Section:
    """Faces that a transport is summed over.

    Attributes:
        faces: Field (y, x), 1 at west faces (a section along a meridian) or at south faces (along a
            parallel), 0 elsewhere.
    """

    faces: Field


def meridional_section(
    grid, lon: float, lat: tuple[float, float], period: float | None = 360.0
) -> Section:
    """Faces along the meridian nearest to ``lon`` (between two cell centres), south to north from
    lat[0] to lat[1].

    Args:
        lon, lat: degrees; on a plane x and y in km, with ``period=None``.

    Raises:
        ValueError: latitudes in the wrong order.
    """
    if not lat[0] < lat[1]:
        raise ValueError(
            f"a section from latitude {lat[0]:g} to {lat[1]:g}: give the southern end first"
        )
    west, east = lower_x_c2u(grid.lon_c), upper_x_c2u(grid.lon_c)
    here = _between(lower_x_c2u(grid.lat_c), lat) * _straddled(west, east, lon, period)
    return Section(here.crop(0))


def zonal_section(
    grid, lat: float, lon: tuple[float, float], period: float | None = 360.0
) -> Section:
    """Faces along the parallel nearest to ``lat``, from lon[0] eastwards to lon[1]; with a period
    these may wrap.

    Args:
        lat, lon: degrees; on a plane y and x in km, with ``period=None``.
    """
    south, north = lower_y_c2v(grid.lat_c), upper_y_c2v(grid.lat_c)
    here = _straddled(south, north, lat, None) * _east_of(lower_y_c2v(grid.lon_c), lon, period)
    return Section(here.crop(0))


def within(section: Section, basin: Field) -> Section:
    """The part of a section whose faces have ``basin`` (1 at cell centres, 0 elsewhere, halo of 1)
    on both sides."""
    both = min_x_c2u if section.faces.at == "u" else min_y_c2v
    return Section((section.faces * both(basin)).crop(0))


def box(
    grid, lon: tuple[float, float], lat: tuple[float, float], period: float | None = 360.0
) -> Field:
    """1 at the cell centres from lon[0] eastwards to lon[1] and from lat[0] to lat[1]: a part of a
    basin."""
    return _east_of(grid.lon_c, lon, period) * _between(grid.lat_c, lat)


def transport_by_layer(state: State, section: Section, halos, grid) -> jax.Array:
    """Volume transport (m3 s-1) in each layer, positive to the east or north; float64, shape
    (nz,)."""
    (eta,) = exchange(halos, (state.eta, 1))
    if section.faces.at == "u":
        through = state.u * grid.h_u * stretch_u(eta, grid) * grid.dy_u
    else:
        through = state.v * grid.h_v * stretch_v(eta, grid) * grid.dx_v
    return _sums(halos, (through * section.faces).interior)


def transport(state: State, section: Section, halos, grid) -> jax.Array:
    """Volume transport (m3 s-1) through a section, positive to the east or north; float64
    scalar."""
    return jnp.sum(transport_by_layer(state, section, halos, grid))


def drake_passage(grid, lon: float = 294.0, lat: tuple[float, float] = (-68.0, -52.0)) -> Section:
    """The section between South America and Antarctica; its :func:`transport` is that of the
    Circumpolar Current."""
    return meridional_section(grid, lon, lat)


def overturning(state: State, section: Section, halos, grid) -> jax.Array:
    """Overturning stream function (m3 s-1) at a section along a parallel.

    Northward transport above each layer's bottom; float64, shape (nz,). The last value is the net
    transport, near 0 in a basin that is closed on one side.
    """
    return jnp.cumsum(transport_by_layer(state, section, halos, grid))


def overturning_strength(
    state: State, section: Section, halos, grid, below: float = 500.0
) -> jax.Array:
    """Largest value (m3 s-1) of :func:`overturning` at layer bottoms deeper than ``below`` (m):
    without the Ekman cell.

    Its derivative is that of the level where it is largest.
    """
    bottoms = jnp.cumsum(grid.dz.ravel())
    return jnp.max(jnp.where(bottoms > below, overturning(state, section, halos, grid), -jnp.inf))


# ---- parts
def _sums(halos, layers: jax.Array) -> jax.Array:
    """Sums over the horizontal and all ranks, order-independent, with the derivatives of plain
    ones."""
    return differentiable_sums(halos, *layers.astype(jnp.float64))


def _wrapped(x, period: float | None):
    """To within half a period of 0."""
    return x if period is None else (x + 0.5 * period) % period - 0.5 * period


def _straddled(low: Field, high: Field, value: float, period: float | None) -> Field:
    """1 where ``value`` lies between two neighbouring centres: from the lower one up to just below
    the higher one."""

    def inside(a, b):
        above, below = _wrapped(value - a, period), _wrapped(b - value, period)
        # Half a period away both wrap to the right sign; neighbours are nearer than that.
        near = True if period is None else (above + below < 0.5 * period)
        return ((above >= 0) & (below > 0) & near).astype(a.dtype)

    return fmap(inside, low, high, name="section")


def _between(f: Field, limits: tuple[float, float]) -> Field:
    return fmap(lambda x: ((x >= limits[0]) & (x <= limits[1])).astype(x.dtype), f, name="between")


def _east_of(f: Field, limits: tuple[float, float], period: float | None) -> Field:
    if period is None:
        return _between(f, limits)
    width = (limits[1] - limits[0]) % period or period
    return fmap(lambda x: ((x - limits[0]) % period <= width).astype(x.dtype), f, name="east of")


__all__ = [
    "SVERDRUP",
    "Section",
    "box",
    "drake_passage",
    "meridional_section",
    "overturning",
    "overturning_strength",
    "transport",
    "transport_by_layer",
    "within",
    "zonal_section",
]
