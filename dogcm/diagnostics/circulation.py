"""The circulation in numbers: overturning, barotropic stream function, transports by basin and
through sections.

Pure functions of transports through the faces of cells. All ranks get the same numbers with the
same bits on every layout; they may be used inside ``jit``, and differentiated (as a loss, divide by
``halos.size``: see :mod:`dogcm.diagnostics.transports`). Rows are those of the grid: circles of
latitude on a latitude-longitude grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dogcm.diagnostics.sections import Line
from dogcm.field import Field, fmap
from dogcm.halo import differentiable_sums, exact_row_sums
from dogcm.operators import mean_y_c2v
from dogcm.physics.eos import S_REF, T_REF, PreparedTEOS10, teos10_density, teos10_reference_profile
from dogcm.physics.eos_jmd95 import PreparedJMD95, jmd95_density

# Salinity (g kg-1) whose transport counts as none of fresh water.
REFERENCE_SALINITY = 35.0
_DBAR_PER_METRE = 1.015


def northward(flux_v: Field, basins: jax.Array, halos) -> jax.Array:
    """Sums along rows of a flux through south faces, by basin.

    Args:
        flux_v: (y, x) or (z, y, x), anything per face.
        basins: this tile's (basins, y, x), 1 at the south faces that count (see
            :mod:`dogcm.diagnostics.basins`).

    Returns:
        float64 (basins, rows) or (basins, z, rows).
    """
    values = flux_v.interior.astype(jnp.float64)
    lead = values.shape[:-2]
    masked = basins.reshape(basins.shape[0], *(1,) * len(lead), *basins.shape[1:]) * values
    rows = exact_row_sums(halos, masked.reshape(-1, *values.shape[-2:]))
    return rows.reshape(basins.shape[0], *lead, -1)


def overturning(flux_v: Field, basins: jax.Array, halos) -> jax.Array:
    """Overturning stream function (m3 s-1) by basin: what goes north above a level, less what goes
    north in all.

    It is positive where water goes north above and south below, and 0 at the bottom. At the surface
    it is minus the net northward transport (of fresh water, and in a basin with two open ends of
    what flows through).

    Args:
        flux_v: northward volume transport (m3 s-1) through south faces, in layers or density
            classes from light to dense, (n, y, x). basins: see :func:`northward`.

    Returns:
        float64 (basins, n + 1, rows): at the interfaces around the layers, the surface first.
    """
    return streamfunction(northward(flux_v, basins, halos))


def streamfunction(layers: jax.Array) -> jax.Array:
    """:func:`overturning` from northward transports (basins, n, rows): (basins, n + 1, rows)."""
    below = jnp.cumsum(layers[:, ::-1], axis=1)[:, ::-1]
    return -jnp.concatenate([below, jnp.zeros_like(below[:, :1])], axis=1)


def barotropic_streamfunction(flux_u: Field, halos) -> jax.Array:
    """Stream function (m3 s-1) of the depth-integrated flow at south-west corners of cells.

    float64 (rows, columns) of the globe, on every rank.

    Northward transport through a row between two corners is its value at the eastern less that at
    the western one. It is 0 at the northern wall, hence near 0 on land that is connected with it,
    and the transport of the Circumpolar Current in Antarctica. On a grid with a north fold it is 0
    at the grid's first northern pole.
    With sources of volume it is not unique: integrated along each meridian, from the north.

    Args:
        flux_u: depth-integrated eastward volume transport (m3 s-1) through west faces, (y, x).
    """
    globe = jnp.cumsum(assemble(flux_u, halos)[::-1], axis=0)[::-1]
    if halos.layout.north_fold:
        # There is no northern wall: from the southern one, and 0 at the first northern pole of the
        # grid, which is land.
        return globe - globe[:1] + (globe[0, 0] - globe[-1, 0])
    return globe


def assemble(field: Field, halos) -> jax.Array:
    """The whole globe's (rows, columns) of a two-dimensional Field, float64, on every rank; 0 where
    no rank is."""
    globe = jnp.zeros(halos.layout.shape, jnp.float64)
    part = field.interior.astype(jnp.float64)
    return halos.psum(jax.lax.dynamic_update_slice(globe, part, halos.origin))


def through(lines: tuple[Line, ...], flux_u: Field, flux_v: Field, halos) -> jax.Array:
    """Sums of a flux through west and south faces, (y, x) or (z, y, x), over each of the lines;
    float64 (lines,)."""
    return through_each(lines, [(flux_u, flux_v)], halos)[0]


def through_each(lines: tuple[Line, ...], pairs: list[tuple[Field, Field]], halos) -> jax.Array:
    """:func:`through` of several fluxes, in one message: float64 (fluxes, lines)."""
    if not lines:
        return jnp.zeros((len(pairs), 0))
    parts = [_column(u * line.u) + _column(v * line.v) for u, v in pairs for line in lines]
    return differentiable_sums(halos, *parts).reshape(len(pairs), len(lines))


def freshwater(volume, salt, reference: float = REFERENCE_SALINITY):
    """Transport of fresh water (m3 s-1) from those of volume (m3 s-1) and salinity (g kg-1 m3
    s-1)."""
    return volume - salt * (1.0 / reference)


# ---- density classes
@dataclass(frozen=True)
class DensityClasses:
    """Classes of potential density.

    Attributes:
        level: layer whose depth the density is referred to. base: what the equation of state's
            anomaly is counted from there (kg m-3), less 1000. edges: between classes (kg m-3, less
            1000), increasing: one class more than edges, the first and last without end.
    """

    level: int
    base: float
    edges: tuple[float, ...]

    def density(self, eos, temperature: Field, salinity: Field) -> Field:
        """Potential density (kg m-3) less 1000."""
        return eos.anomaly(temperature, salinity, slice(self.level, self.level + 1)) + self.base

    def sort(self, flux_v: Field, density: Field) -> Field:
        """Transport through south faces (z, y, x) by class (classes, y, x), light ones first.

        Args:
            density: at cell centres, with one halo cell to the south; a face has the mean of its
                two cells.
        """
        at_face = mean_y_c2v(density)

        def classes(flux, sigma):
            # What is lighter than each edge; differences of these add up to the whole, whatever the
            # edges.
            edges = jnp.asarray([*self.edges, jnp.inf], sigma.dtype)[:, None, None]

            def add(total, layer):
                flow, density = layer
                return total + jnp.where(density < edges, flow, 0.0), None

            # A scan over layers is several times faster than one sum for each class.
            lighter, _ = jax.lax.scan(
                add, jnp.zeros((edges.shape[0], *flux.shape[1:]), flux.dtype), (flux, sigma)
            )
            return jnp.concatenate([lighter[:1], lighter[1:] - lighter[:-1]])

        return fmap(classes, flux_v, at_face, name="density classes")


def density_classes(eos, depths, depth: float, edges) -> DensityClasses:
    """Classes of the density referred to the layer nearest to ``depth``.

    Args:
        eos: the model's prepared equation of state. depths: of layer centres (m).
        depth: 0 for sigma-0, 2000 for sigma-2 (m). edges: kg m-3 less 1000, increasing.

    Raises:
        ValueError: edges that do not increase.
    """
    edges = tuple(float(e) for e in edges)
    if not edges or any(b <= a for a, b in zip(edges, edges[1:])):
        raise ValueError(f"edges of density classes must increase, got {list(edges)}")
    level = min(range(len(depths)), key=lambda k: abs(float(depths[k]) - depth))
    return DensityClasses(level, reference_density(eos, depth) - 1000.0, edges)


def reference_density(eos, depth: float) -> float:
    """What the equation of state's anomaly is counted from (kg m-3), at a depth (m)."""
    if isinstance(eos, PreparedTEOS10):
        return float(teos10_density(T_REF, S_REF, depth) + teos10_reference_profile(depth))
    if isinstance(eos, PreparedJMD95):
        return float(jmd95_density(T_REF, S_REF, _DBAR_PER_METRE * depth))
    return float(eos.rho0)


def _column(flux: Field) -> jax.Array:
    values = flux.interior.astype(jnp.float64)
    return values.sum(0) if values.ndim == 3 else values


__all__ = [
    "DensityClasses",
    "REFERENCE_SALINITY",
    "assemble",
    "barotropic_streamfunction",
    "density_classes",
    "freshwater",
    "northward",
    "overturning",
    "reference_density",
    "streamfunction",
    "through",
    "through_each",
]
