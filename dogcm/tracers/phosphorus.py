"""A small biogeochemistry: phosphate and dissolved organic phosphorus.

Production is limited by light and phosphate; part of it becomes dissolved organic phosphorus, which
decays, and the rest sinks and is remineralised along a power law of depth. As in Dutkiewicz,
Sokolov, Scott and Stone (2005), MIT Joint Program Report 122, and in OCMIP-2 (Najjar et al. 2007,
doi:10.1029/2006GB002857). The total is conserved to round-off.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from dogcm.components import option, parameter
from dogcm.field import Field, fmap
from dogcm.operators import diff_z_w2c, running_sum_down, upper_z_c2w
from dogcm.tracers.base import Sources, TracerKind, TracerVariable, Water
from dogcm.tracers.light import daily_insolation

PHOSPHATE, ORGANIC = "phosphate", "dop"


class Phosphorus(TracerKind):
    """A small biogeochemistry: the tracers ``phosphate`` and ``dop`` (mmol m-3).

    ``J = production * I / (I + half_light) * P / (P + half_phosphate)``; ``dissolved`` of it
    becomes DOP, which decays at ``decay``; the rest sinks from the layer's bottom as ``F(z) = F(z0)
    (z / z0)^-martin``, z0 the deeper of that and ``euphotic_depth`` (Martin et al. 1987,
    doi:10.1016/0198-0149(87)90086-0). What reaches the bottom is remineralised there.
    """

    kind: ClassVar[str] = "phosphorus"

    needs_sphere = True
    initial_phosphate: float = option(2.17, "mmol m-3", "uniform phosphate at the start", ge=0)
    euphotic_depth: float = option(75.0, "m", "below it sinking particles are remineralised", gt=0)
    surface_light: float = option(
        0.16, "1", "part of the insolation that enters the sea as usable light", gt=0, le=1
    )
    light_depth: float = option(50.0, "m", "e-folding depth of light", gt=0)
    production: float = parameter(
        2.0, "mmol m-3 year-1", "production where nothing limits it", ge=0
    )
    half_phosphate: float = parameter(0.5, "mmol m-3", "phosphate that halves production", gt=0)
    half_light: float = parameter(30.0, "W m-2", "light that halves production", gt=0)
    dissolved: float = parameter(
        0.67, "1", "part of production that becomes dissolved organic phosphorus", ge=0, le=1
    )
    decay: float = parameter(2.0, "year-1", "decay of dissolved organic phosphorus", ge=0)
    martin: float = parameter(0.9, "1", "exponent of the sinking flux over depth", ge=0)

    def variables(self) -> tuple[TracerVariable, ...]:
        return (
            TracerVariable(
                PHOSPHATE, "mmol m-3", "phosphate", "mole_concentration_of_phosphate_in_sea_water"
            ),
            TracerVariable(
                ORGANIC,
                "mmol m-3",
                "dissolved organic phosphorus",
                "mole_concentration_of_dissolved_organic_phosphorus_in_sea_water",
            ),
        )

    def initial(self, grid) -> dict[str, Field]:
        return {PHOSPHATE: grid.mask_c.crop(0) * self.initial_phosphate}

    def sources(self, water: Water) -> Sources:
        p, h = water.parameters, water.thickness
        made = self._uptake(water) * h
        dissolved = made * p["dissolved"]
        sinking = made - dissolved
        decayed = water.tracers[ORGANIC] * h * (p["decay"] * (1.0 / water.year))
        # Downward flux through each interface; the layer keeps what comes in from above and does
        # not go on.
        flux = self._sinking_flux(sinking, p["martin"], water.grid)
        return Sources(
            contents={
                PHOSPHATE: decayed - dissolved + diff_z_w2c(flux),
                ORGANIC: dissolved - decayed,
            }
        )

    def _uptake(self, water: Water) -> Field:
        """Production (mmol m-3 s-1), at most all there is within the step."""
        p, phosphate = water.parameters, water.tracers[PHOSPHATE]

        def rate(c, light, largest, half_light, half_phosphate):
            there = jnp.maximum(c, 0.0)
            grown = largest * light / (light + half_light) * there / (there + half_phosphate)
            return jnp.minimum(grown, there * (1.0 / water.dt))

        return fmap(
            rate,
            phosphate,
            self._light(water),
            p["production"] * (1.0 / water.year),
            p["half_light"],
            p["half_phosphate"],
            name="uptake",
        )

    def _light(self, water: Water) -> Field:
        """Usable light (W m-2), mean over each layer at rest."""
        grid = water.grid
        bottom = jnp.cumsum(grid.dz, axis=0)
        top, scale = bottom - grid.dz, self.light_depth
        share = (jnp.exp(-top / scale) - jnp.exp(-bottom / scale)) * scale / grid.dz
        above = fmap(
            lambda y: daily_insolation(y, water.time, water.year),
            grid.lat_c.crop(0),
            name="insolation",
        )
        # Multiplied by a Field on layers, which the profile then belongs to.
        return grid.mask_c.crop(0) * (above * self.surface_light) * share

    def _sinking_flux(self, sinking: Field, martin, grid) -> Field:
        """Downward flux (mmol m-2 s-1) through the interfaces below all layers but the last.

        Of what enters at ``z0``, ``(z / z0)^-martin`` is left at z: with
        ``f = (max(z, euphotic) / euphotic)^-martin`` the flux is f times the running sum of
        ``sinking / f``.
        """
        depth = jnp.log(
            jnp.maximum(jnp.cumsum(grid.dz, axis=0), self.euphotic_depth) / self.euphotic_depth
        )
        one = grid.mask_c.crop(0) * 0.0 + 1.0
        left = fmap(lambda m, z, a: m * jnp.exp(-a * z), one, depth, martin, name="martin")
        return upper_z_c2w(running_sum_down(sinking / left) * left) * grid.mask_cw.crop(0)
