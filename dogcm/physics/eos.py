"""Equations of state: density anomaly at fixed depths.

Layers of a z* model hardly move, so the pressure that enters the equation of state is that of the
layer's depth at rest. A polynomial in (S, T, z) then becomes, level by level, a polynomial in (S,
T) with
coefficients computed once: half the work. The result is the anomaly from a reference profile of
depth alone (density at ``S_REF``, ``T_REF``), which has no horizontal gradient and so no dynamical
effect; taking it off first keeps float32 accurate.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.components import option
from dogcm.field import Field, fence, fmap
from dogcm.lowering.fences import with_stored_derivatives
from dogcm.physics.interfaces import EquationOfState

T_REF, S_REF = 8.0, 35.0  # degC, g kg-1: near the middle of the ocean's volume

# Roquet, Madec, McDougall and Barker (2015), doi:10.1016/j.ocemod.2015.04.002, the 55-term
# Boussinesq polynomial: coefficient of s**i * t**j * z**m with s = sqrt((S_A + 32) /
# 40.18861714...), t = CT / 40, z = depth / 10 km. Keys "ijm".
_TEOS10 = {
    "000": 8.0189615746e02,
    "100": 8.6672408165e02,
    "200": -1.7864682637e03,
    "300": 2.0375295546e03,
    "400": -1.2849161071e03,
    "500": 4.3227585684e02,
    "600": -6.0579916612e01,
    "010": 2.6010145068e01,
    "110": -6.5281885265e01,
    "210": 8.1770425108e01,
    "310": -5.6888046321e01,
    "410": 1.7681814114e01,
    "510": -1.9193502195e00,
    "020": -3.7074170417e01,
    "120": 6.1548258127e01,
    "220": -6.0362551501e01,
    "320": 2.9130021253e01,
    "420": -5.4723692739e00,
    "030": 2.1661789529e01,
    "130": -3.3449108469e01,
    "230": 1.9717078466e01,
    "330": -3.1742946532e00,
    "040": -8.3627885467e00,
    "140": 1.1311538584e01,
    "240": -5.3563304045e00,
    "050": 5.4048723791e-01,
    "150": 4.8169980163e-01,
    "060": -1.9083568888e-01,
    "001": 1.9681925209e01,
    "101": -4.2549998214e01,
    "201": 5.0774768218e01,
    "301": -3.0938076334e01,
    "401": 6.6051753097e00,
    "011": -1.3336301113e01,
    "111": -4.4870114575e00,
    "211": 5.0042598061e00,
    "311": -6.5399043664e-01,
    "021": 6.7080479603e00,
    "121": 3.5063081279e00,
    "221": -1.8795372996e00,
    "031": -2.4649669534e00,
    "131": -5.5077101279e-01,
    "041": 5.5927935970e-01,
    "002": 2.0660924175e00,
    "102": -4.9527603989e00,
    "202": 2.5019633244e00,
    "012": 2.0564311499e00,
    "112": -2.1311365518e-01,
    "022": -1.2419983026e00,
    "003": -2.3342758797e-02,
    "103": -1.8507636718e-02,
    "013": 3.7969820455e-01,
}
_S_UNIT, _S_SHIFT, _T_UNIT, _Z_UNIT = 40 * 35.16504 / 35, 32.0, 40.0, 1e4


def _recentred(depth: np.ndarray, s0: float, t0: float) -> np.ndarray:
    """Coefficients ``[i, j, level]`` of the polynomial in (s - s0, t - t0) at each depth."""
    raw = np.zeros((7, 7, depth.size))
    for key, value in _TEOS10.items():
        i, j, m = (int(c) for c in key)
        raw[i, j] += value * (depth / _Z_UNIT) ** m
    out = np.zeros_like(raw)
    for i in range(7):
        for j in range(7 - i):
            for a in range(i, 7):
                for b in range(j, 7 - a):
                    shift = comb(a, i) * s0 ** (a - i) * comb(b, j) * t0 ** (b - j)
                    out[i, j] += raw[a, b] * shift
    return out


class TEOS10(EquationOfState):
    """TEOS-10 for Boussinesq models; T is conservative temperature (degC), S absolute salinity
    (g/kg).

    Depth stands for pressure, 1 m for 1 dbar. Against the true pressure at depth, density is off by
    up to 0.5 kg m-3, but almost alike everywhere on a level, so it hardly matters to the flow.
    """

    kind: ClassVar[str] = "teos10"
    source: ClassVar[str] = "Roquet et al. (2015), doi:10.1016/j.ocemod.2015.04.002"

    def prepare(
        self, depth: np.ndarray, dtype, rho0: float = 1026.0, gravity: float = 9.81
    ) -> PreparedTEOS10:
        """Coefficients for layers at ``depth`` (m, positive down)."""
        s0, t0 = np.sqrt((S_REF + _S_SHIFT) / _S_UNIT), T_REF / _T_UNIT
        table = _recentred(np.asarray(depth, float), s0, t0)
        table[0, 0] = 0.0
        return PreparedTEOS10(jnp.asarray(table[..., None, None], dtype), float(s0), float(t0))


@dataclass(frozen=True)
class PreparedTEOS10:
    """The polynomial of every level, ready to be evaluated."""

    table: jnp.ndarray
    s0: float
    t0: float

    def anomaly(self, temperature: Field, salinity: Field, levels: slice = slice(None)) -> Field:
        """Density anomaly (kg m-3) of water brought to the depths of ``levels``."""
        c = self.table[:, :, levels]
        degree = np.arange(1, 7).astype(c.dtype).reshape(-1, 1, 1, 1)

        def root(S):
            # S below zero cannot occur in a sane run; the bound keeps the root's derivative finite.
            return jnp.sqrt(jnp.maximum(S + _S_SHIFT, 1.0) * (1.0 / _S_UNIT)) - self.s0

        scaled = lambda T: T * (1.0 / _T_UNIT) - self.t0
        slope = lambda S: jax.jvp(root, (S,), (jnp.ones_like(S),))[1]
        partials = (
            lambda T, S, c: _polynomial(c[:, 1:] * degree, root(S), scaled(T), 5) * (1.0 / _T_UNIT),
            lambda T, S, c: _polynomial(c[1:] * degree[:, None], root(S), scaled(T), 5) * slope(S),
        )
        value = lambda T, S, c: _polynomial(c, root(S), scaled(T), 6, constant=False)
        # The coefficients are an argument: derivatives may be taken where values of this call are
        # out of reach.
        density = with_stored_derivatives(value, 2, partials)
        return fmap(
            lambda T, S: density(T, S, c), *fence(temperature, salinity), name="density_anomaly"
        )


def _polynomial(c, s, t, degree: int, constant: bool = True):
    """Sum of ``c[i, j] s^i t^j`` for i + j up to ``degree``; without c[0, 0] unless
    ``constant``."""
    total = None
    for j in range(degree, -1, -1):
        inner = c[degree - j, j]
        for i in range(degree - 1 - j, -1, -1):
            inner = inner * s + c[i, j] if constant or (i, j) != (0, 0) else inner * s
        total = inner if total is None else total * t + inner
    return total


class LinearEOS(EquationOfState):
    """Density linear in temperature and salinity:
    ``rho = rho0 (1 - alpha (T - T0) + beta (S - S0))``."""

    kind: ClassVar[str] = "linear"
    thermal_expansion: float = option(2.0e-4, "K-1", "thermal expansion alpha", ge=0)
    haline_contraction: float = option(7.4e-4, "kg g-1", "haline contraction beta", ge=0)

    def prepare(
        self, depth: np.ndarray, dtype, rho0: float = 1026.0, gravity: float = 9.81
    ) -> PreparedLinear:
        """It does not depend on depth."""
        return PreparedLinear(self.thermal_expansion, self.haline_contraction, rho0)


@dataclass(frozen=True)
class PreparedLinear:
    """A linear equation of state, ready to be evaluated; alpha in K-1, beta in kg g-1."""

    alpha: float = 2.0e-4
    beta: float = 7.4e-4
    rho0: float = 1026.0
    T0: float = T_REF
    S0: float = S_REF

    def anomaly(self, temperature: Field, salinity: Field, levels: slice = slice(None)) -> Field:
        """Density anomaly (kg m-3)."""
        warm = (temperature - self.T0) * (-self.alpha * self.rho0)
        return warm + (salinity - self.S0) * (self.beta * self.rho0)


def teos10_density(temperature, salinity, depth):
    """In-situ density without the reference profile r0(z), kg m-3, by the published polynomial as
    it stands.

    For checks: arrays of conservative temperature (degC), absolute salinity (g/kg) and depth (m,
        positive).
    """
    s = np.sqrt((np.asarray(salinity) + _S_SHIFT) / _S_UNIT)
    t, z = np.asarray(temperature) / _T_UNIT, np.asarray(depth) / _Z_UNIT
    return sum(v * s ** int(k[0]) * t ** int(k[1]) * z ** int(k[2]) for k, v in _TEOS10.items())


def teos10_reference_profile(depth):
    """r0(z) of Roquet et al. (2015): add it to :func:`teos10_density` for in-situ density, kg
    m-3."""
    z = np.asarray(depth) / _Z_UNIT
    coefficients = (
        4.6494977072e01,
        -5.2099962525e00,
        2.2601900708e-01,
        6.4326772569e-02,
        1.5616995503e-02,
        -1.7243708991e-03,
    )
    return sum(c * z ** (m + 1) for m, c in enumerate(coefficients))
