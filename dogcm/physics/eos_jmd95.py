"""Equation of state of Jackett and McDougall (1995),
doi:10.1175/1520-0426(1995)012<0381:MAOHPT>2.0.CO;2.

Density as a function of *potential* temperature (degC), *practical* salinity and pressure: the
surface density of UNESCO (1981) and a bulk modulus of its own, ``rho = rho_surface K / (K - p)``.
MITgcm calls it JMD95.

As in :mod:`dogcm.physics.eos` pressure is that of a layer's depth at rest, ``rho0 g z``. Surface
density and bulk modulus of a layer are then polynomials in ``sqrt(S)`` and ``T``. They are
recentred on ``S_REF`` and ``T_REF``, so that the anomaly from water of those is computed without a
difference of large numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from dogcm.field import Field, fence, fmap
from dogcm.lowering.fences import with_stored_derivatives
from dogcm.physics.eos import S_REF, T_REF
from dogcm.physics.interfaces import EquationOfState

_PASCAL_PER_BAR = 1e5
# Coefficients of S**(i / 2) * T**j by i, then j. Surface density, kg m-3 (UNESCO 1981).
_SURFACE = {
    0: (999.842594, 6.793952e-2, -9.095290e-3, 1.001685e-4, -1.120083e-6, 6.536332e-9),
    2: (8.24493e-1, -4.0899e-3, 7.6438e-5, -8.2467e-7, 5.3875e-9),
    3: (-5.72466e-3, 1.0227e-4, -1.6546e-6),
    4: (4.8314e-4,),
}
# Secant bulk modulus, bar (Jackett and McDougall 1995): terms without pressure, with p and with
# p**2 (p in bar).
_MODULUS = (
    {
        0: (1.965933e4, 1.444304e2, -1.706103, 9.648704e-3, -4.190253e-5),
        2: (5.284855e1, -3.101089e-1, 6.283263e-3, -5.084188e-5),
        3: (3.886640e-1, 9.085835e-3, -4.619924e-4),
    },
    {
        0: (3.186519, 2.212276e-2, -2.984642e-4, 1.956415e-6),
        2: (6.704388e-3, -1.847318e-4, 2.059331e-7),
        3: (1.480266e-4,),
    },
    {0: (2.102898e-4, -1.202016e-5, 1.394680e-7), 2: (-2.040237e-6, 6.128773e-8, 6.207323e-10)},
)
_LEAST_SALINITY = 1e-3  # the root's derivative is finite from here on; no sane sea is fresher


def _recentred(raw: np.ndarray, s0: float, t0: float) -> np.ndarray:
    """Coefficients ``[i, j, ...]`` of the polynomial in (s - s0, t - t0) from those in (s, t)."""
    out = np.zeros_like(raw)
    rows, columns = raw.shape[:2]
    for i in range(rows):
        for j in range(columns):
            for a in range(i, rows):
                for b in range(j, columns):
                    out[i, j] += raw[a, b] * (
                        comb(a, i) * s0 ** (a - i) * comb(b, j) * t0 ** (b - j)
                    )
    return out


def _table(terms: dict[int, tuple], levels: int) -> np.ndarray:
    out = np.zeros((5, 6, levels))
    for i, row in terms.items():
        for j, value in enumerate(row):
            out[i, j] = value
    return out


def _extent(table: np.ndarray) -> tuple[int, ...]:
    """By power of s - s0: the highest power of t - t0 with a coefficient."""
    used = np.abs(table).max(axis=-1) > 0
    return tuple(int(np.nonzero(row)[0].max()) if row.any() else -1 for row in used)


class JMD95(EquationOfState):
    """UNESCO's as modified by Jackett and McDougall (1995): T is potential temperature (degC), S
    practical salinity.
    """

    kind: ClassVar[str] = "jmd95"
    source: ClassVar[str] = (
        "Jackett and McDougall (1995), doi:10.1175/1520-0426(1995)012<0381:MAOHPT>2.0.CO;2"
    )

    def prepare(
        self, depth: np.ndarray, dtype, rho0: float = 1035.0, gravity: float = 9.81
    ) -> PreparedJMD95:
        """Coefficients for layers at ``depth`` (m, positive down), where pressure is ``rho0 gravity
        depth``."""
        depth = np.atleast_1d(np.asarray(depth, float))
        p = rho0 * gravity * depth / _PASCAL_PER_BAR
        s0, t0 = float(np.sqrt(S_REF)), T_REF
        surface = _recentred(_table(_SURFACE, depth.size), s0, t0)
        modulus = sum(_table(terms, depth.size) * p**m for m, terms in enumerate(_MODULUS))
        modulus = _recentred(modulus, s0, t0)
        density, stiffness = surface[0, 0].copy(), modulus[0, 0].copy()
        surface[0, 0] = modulus[0, 0] = 0.0
        column = lambda x: jnp.asarray(x[..., None, None], dtype)
        return PreparedJMD95(
            column(surface),
            column(modulus),
            column(stiffness),
            column(stiffness - p),
            column(density * p / (stiffness - p)),
            _extent(surface),
            _extent(modulus),
            s0,
            t0,
        )


@dataclass(frozen=True)
class PreparedJMD95:
    """The polynomials of every level, ready to be evaluated.

    With r and k the deviations of surface density and bulk modulus from those of reference water (R
    and K there), the density anomaly is ``(r (K + k) - R p / (K - p) k) / (K - p + k)``.
    """

    surface: jnp.ndarray
    modulus: jnp.ndarray
    stiffness: jnp.ndarray  # K (bar)
    room: jnp.ndarray  # K - p
    squeeze: jnp.ndarray  # R p / (K - p)
    surface_extent: tuple[int, ...]
    modulus_extent: tuple[int, ...]
    s0: float
    t0: float

    def anomaly(self, temperature: Field, salinity: Field, levels: slice = slice(None)) -> Field:
        """Density anomaly (kg m-3) of water brought to the depths of ``levels``."""
        of_levels = (
            self.surface[:, :, levels],
            self.modulus[:, :, levels],
            self.stiffness[levels],
            self.room[levels],
            self.squeeze[levels],
        )

        def value(T, S, surface, modulus, stiffness, room, squeeze):
            s = jnp.sqrt(jnp.maximum(S, _LEAST_SALINITY)) - self.s0
            t = T - self.t0
            r = _horner(surface, self.surface_extent, s, t)
            k = _horner(modulus, self.modulus_extent, s, t)
            return (r * (stiffness + k) - squeeze * k) / (room + k)

        return fmap(
            lambda T, S: with_stored_derivatives(value, 2)(T, S, *of_levels),
            *fence(temperature, salinity),
            name="density_anomaly",
        )


def _horner(table, extent: tuple[int, ...], s, t):
    """The polynomial without its constant."""
    total = None
    for i in range(len(extent) - 1, -1, -1):
        if extent[i] < 0:
            continue
        row = table[i, extent[i]]
        for j in range(extent[i] - 1, -1, -1):
            row = row * t + table[i, j] if (i, j) != (0, 0) else row * t
        total = row if total is None else total * s + row
    return total


def jmd95_density(temperature, salinity, pressure):
    """In-situ density, kg m-3, by the published formula as it stands.

    For checks: arrays of potential temperature (degC), practical salinity and pressure (dbar).
    """
    T, S, p = (
        np.asarray(x, float) for x in (temperature, salinity, np.asarray(pressure, float) * 0.1)
    )
    evaluate = lambda terms: sum(
        value * S ** (0.5 * i) * T**j for i, row in terms.items() for j, value in enumerate(row)
    )
    modulus = sum(evaluate(terms) * p**m for m, terms in enumerate(_MODULUS))
    return evaluate(_SURFACE) / (1.0 - p / modulus)
