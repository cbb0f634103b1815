"""Turbulent kinetic energy whose two constants a network adapts to where it is.

`LearnedTKE` is the model's scheme ``tke`` with ``c_k`` and ``c_eps`` multiplied, at each interface,
by factors between 1/20 and 20 that a small network reads from ten numbers without a unit. Before it
is trained both factors are 1. Energy, its budget and the bounds of the scheme stay what they are.

It is a plug-in like any other: put the weights into ``params["mixing_network"]`` and name the class
``closure:LearnedTKE``, or pass it to ``dogcm.Model(vertical_mixing=...)``.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dogcm
from dogcm import operators

FEATURES = (
    "stability",
    "obukhov",
    "bulk",
    "spacing over buoyancy length",
    "energy",
    "above",
    "below",
    "shear over spacing",
    "depth over buoyancy length",
    "stability of energy",
)
OUTPUTS = ("tke_c_k", "tke_c_eps")
LARGEST = 3.0  # of the logarithm of a factor
_KAPPA = 0.4


class LearnedTKE(dogcm.TKE):
    """Mixing by turbulent kinetic energy with constants from a network."""

    def mix(self, column: dogcm.Column, params: dict, grid, physics) -> dogcm.Mixing:
        x, like = features(column, params, grid, physics)
        factors = jnp.exp(self.answer(params["mixing_network"], x))
        learned = {n: like.with_data(params[n] * f) for n, f in zip(OUTPUTS, factors)}
        return super().mix(column, params | learned, grid, physics)

    def answer(self, weights: list, x):
        """Logarithms of the factors, see :func:`network`."""
        return network(weights, x)


def features(column: dogcm.Column, params: dict, grid, physics):
    """Numbers within -1 and 1 at interfaces, (features, nz - 1, y, x), and a Field of their
    place."""
    e, n2, s2, friction, buoyancy = operators.common(
        column.carried["tke"],
        column.n2,
        column.shear2,
        friction_velocity(column.now, grid, physics.rho0),
        buoyancy_flux(column, physics),
    )
    deficit = operators.running_sum_down(n2 * grid.dz_w)
    z = jnp.cumsum(grid.dz[:-1], axis=0)
    dz = grid.dz_w
    u, b = friction.data, buoyancy.data
    e, n2_, s2, deficit = (f.data for f in (e, n2, s2, deficit))
    e = jnp.maximum(e, params["tke_background"])
    # Speeds: of the wind, of plumes, of turbulence; the last over what a layer's N and S make.
    plume = (jnp.maximum(-b, 0.0) * z + 1e-12) ** (1.0 / 3.0)
    driven = u * u + plume * plume + 1e-8
    root, rise = jnp.sqrt(e), jnp.sqrt(jnp.maximum(n2_, 0.0) + 1e-10)
    share = lambda a, b: a / (a + b)
    apart = lambda a, b: (a - b) / (jnp.abs(a) + jnp.abs(b) + 1e-8)
    above = jnp.concatenate([n2_[:1], n2_[:-1]])
    below = jnp.concatenate([n2_[1:], n2_[-1:]])
    found = (
        n2_ / (s2 + jnp.abs(n2_) + 1e-8),
        _KAPPA * z * b / (u**3 + _KAPPA * z * jnp.abs(b) + 1e-12),
        share(jnp.maximum(deficit, 0.0) * z, driven),
        share(dz * rise, root),
        share(e, driven),
        apart(above, n2_),
        apart(below, n2_),
        share(dz * jnp.sqrt(s2 + 1e-12), root),
        share(z * rise, root),
        n2_ * dz * dz / (e + jnp.abs(n2_) * dz * dz),
    )
    return jnp.stack([jnp.broadcast_to(f, e.shape) for f in found]), n2


def friction_velocity(now: dict, grid, rho0: float):
    """u* (m s-1) at centres, of stress on wet faces."""
    square = grid.wet_c * 0.0
    on_u = "taux", operators.sum_x_u2c, grid.wet_u
    on_v = "tauy", operators.sum_y_v2c, grid.wet_v
    for name, add, wet in (on_u, on_v):
        if name in now:
            total, count = add(now[name] * now[name] * wet), add(wet)
            mean = lambda a, n: a / jnp.maximum(n, 1.0)
            square = dogcm.fmap(mean, total, count, name="stress squared") + square
    return dogcm.fmap(lambda s: (s / rho0**2 + 1e-20) ** 0.25, square, name="u*")


def buoyancy_flux(column: dogcm.Column, physics):
    """Into the sea (m2 s-3), of all heat and salt."""
    T, S = (f.level(slice(0, 1)) for f in (column.state.temperature, column.state.salinity))
    if column.fluxes is None:
        return T.level(0) * 0.0
    density = lambda T, S: column.eos.anomaly(T, S, slice(0, 1)).level(0)
    one, none = T.with_data(jnp.ones_like(T.data)), T.with_data(jnp.zeros_like(T.data))
    by_heat, by_salt = (
        jax.jvp(density, (T, S), d)[1] * (-physics.gravity / physics.rho0)
        for d in ((one, none), (none, one))
    )
    heat, salt, fresh = column.fluxes.heat, column.fluxes.salt, column.fluxes.freshwater
    needed = min(min(column.n2.halo), 1)
    if any(min(f.halo) < needed for f in (heat, salt, fresh)):
        heat, salt, fresh = dogcm.exchange(column.halos, (heat, 1), (salt, 1), (fresh, 1))
    return by_heat * heat + by_salt * (salt - S.level(0) * fresh)


def network(weights: list, x):
    """Logarithms of the factors, (outputs, ...), of features (features, ...)."""
    for n, (w, b) in enumerate(weights):
        x = jnp.einsum("of,f...->o...", w, x) + b.reshape(-1, *[1] * (x.ndim - 1))
        x = jnp.tanh(x) if n < len(weights) - 1 else x
    return LARGEST * jnp.tanh(x / LARGEST)


def fresh_network(seed: int, hidden: tuple = (16, 16)) -> list:
    """Weights whose answer is 0."""
    rng = np.random.default_rng(seed)
    sizes = (len(FEATURES), *hidden, len(OUTPUTS))
    layers = []
    for n, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        last = n == len(sizes) - 2
        w = np.zeros((b, a)) if last else rng.normal(size=(b, a)) / np.sqrt(a)
        layers.append((jnp.asarray(w), jnp.zeros(b)))
    return layers


def save(path: Path, params: dict) -> None:
    """Constants by name, and the layers of the network if there is one."""
    arrays = {n: np.asarray(v) for n, v in params.items() if n != "mixing_network"}
    for n, (w, b) in enumerate(params.get("mixing_network", [])):
        arrays |= {f"weight_{n}": np.asarray(w), f"bias_{n}": np.asarray(b)}
    np.savez(path, **arrays)


def load(path: Path) -> dict:
    """What :func:`save` has written."""
    with np.load(path) as data:
        count = sum(n.startswith("weight_") for n in data)
        layers = [
            (jnp.asarray(data[f"weight_{n}"]), jnp.asarray(data[f"bias_{n}"])) for n in range(count)
        ]
        constants = {
            n: jnp.asarray(data[n]) for n in data if not n.startswith(("weight_", "bias_"))
        }
    return constants | ({"mixing_network": layers} if layers else {})
