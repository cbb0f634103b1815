"""One column of ocean as the real model steps it: a flat sea where no horizontal gradient ever
arises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dogcm.decomp import Halo, SerialCommunicator
from dogcm.field import Field
from dogcm.physics.surface import Forcing
from dogcm.simulation.model import Model

GRAVITY, RHO0, ALPHA, HEAT_CAPACITY = 9.81, 1026.0, 2e-4, 3991.868
# Next to nothing mixes but the scheme under test.
_QUIET = {
    "lateral_viscosity": 0.0,
    "lateral_diffusivity": 0.0,
    "vertical_viscosity": 1e-6,
    "vertical_diffusivity": 1e-7,
    "bottom_drag_linear": 0.0,
    "bottom_drag_quadratic": 0.0,
}


def column(layers, dt: float, scheme: str, physics=(), parameters=(), run=()) -> Model:
    """A model of 4 x 4 alike columns, linear equation of state; walls to the north and south let u
    alone.

    Args:
        layers: thicknesses, m. dt: s. scheme: of vertical mixing. physics, parameters, run:
            changes.
    """
    layers = [float(h) for h in layers]
    return Model(
        {
            "name": "column",
            "grid": {
                "kind": "cartesian",
                "nx": 4,
                "ny": 4,
                "dx": 1e5,
                "dy": 1e5,
                "f0": 0.0,
                "layers": layers,
            },
            "bathymetry": {"source": "flat", "depth": sum(layers)},
            "physics": {
                "equation_of_state": {"kind": "linear", "thermal_expansion": ALPHA},
                "rho0": RHO0,
                "gravity": GRAVITY,
                "momentum_advection": "none",
                "friction": {"no_slip": False, "viscosity_power": 0.0},
                "freezing": None,
                "tracer_advection": "centered",
                "vertical_mixing": scheme,
                "convection": "none",
                **dict(physics),
            },
            "parameters": {**_QUIET, **dict(parameters)},
            "time": {"step": float(dt)},
            "run": dict(run),
        },
        comm=SerialCommunicator(),
    )


def start(model: Model, n2: float, stress: float = 0.0, heat: float = 0.0) -> None:
    """Rest, uniform N2 (s-2), steady wind stress (N m-2) and heat flux into the sea (W m-2)."""
    ny, nx = model.horizontal.shape
    dtype = model.dtype
    z = np.asarray(model.vertical.centres)[:, None, None]
    own = lambda v: Field(jnp.asarray(np.broadcast_to(v, (z.size, ny, nx)).copy(), dtype), "c")
    record = lambda v, at: Field(jnp.full((1, ny + 4, nx + 4), v, dtype), at, Halo.of(2))
    rest = jax.tree.map(jnp.zeros_like, model.state)
    least = float(model.params.get("tke_background", 0.0))
    energy = {
        n: f.with_data(jnp.full(f.shape, least, dtype)) for n, f in model.state.closures.items()
    }
    tracers = {"temperature": own(20.0 - n2 / (GRAVITY * ALPHA) * z), "salinity": own(35.0)}
    model.state = rest.replace(tracers=tracers, closures=energy)
    model.forcing = Forcing(
        {"taux": record(stress, "u"), "heat_flux": record(heat, "c")}, 365 * 86400.0
    )


def buoyancy_flux(heat: float) -> float:
    """m2 s-3, of a heat loss in W m-2."""
    return heat / (RHO0 * HEAT_CAPACITY) * GRAVITY * ALPHA


def stratification(model: Model) -> np.ndarray:
    """N2 (s-2) at the interfaces of one column."""
    T = model.gather("temperature")[:, 1, 1]
    return GRAVITY * ALPHA * (T[:-1] - T[1:]) / np.diff(model.vertical.centres)


def entrainment_depth(model: Model) -> float:
    """Depth (m) where stratification is strongest: the foot of the mixed layer. Uniform layers."""
    n2, z = stratification(model), np.asarray(model.vertical.edges[1:-1])
    k = int(n2.argmax())
    if not 0 < k < n2.size - 1:
        return float(z[k])
    low, mid, high = n2[k - 1 : k + 2]
    return float(z[k] + 0.5 * (low - high) / (low - 2 * mid + high) * (z[1] - z[0]))
