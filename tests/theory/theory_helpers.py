"""What the theory tests share: small models on a plane, their states, linear theory on the C
grid."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from dogcm import Model
from dogcm.decomp.depth import Halo
from dogcm.field import Field
from dogcm.physics.surface import Forcing
from dogcm.verification.cases.base import QUIET

GRAVITY = 9.81  # m s-2
RHO0 = 1026.0  # kg m-3
ALPHA = 2.0e-4  # K-1, thermal expansion of the linear equation of state

# Everything that is not the term under test is off.
INVISCID = QUIET


def plane(
    nx,
    ny,
    layers,
    dx,
    dy,
    dt,
    *,
    f0=0.0,
    beta=0.0,
    y0=0.0,
    periodic=True,
    parameters=(),
    physics=(),
    time=(),
):
    """A linear, inviscid, unforced ocean of uniform depth on a plane, at rest with uniform
    salinity.

    Args:
        layers: thicknesses, m. dx, dy: m. dt: s. f0: s-1 at y = 0. beta: m-1 s-1. y0: southern
            wall, m.
        parameters, physics, time: changes to those sections of the configuration.
    """
    layers = [float(h) for h in layers]
    return Model(
        {
            "name": "theory",
            "grid": {
                "kind": "cartesian",
                "nx": nx,
                "ny": ny,
                "dx": float(dx),
                "dy": float(dy),
                "f0": f0,
                "beta": beta,
                "y0": float(y0),
                "periodic": periodic,
                "layers": layers,
            },
            "bathymetry": {"source": "flat", "depth": sum(layers)},
            "initial": {"source": "profile"},
            "forcing": {"source": "none"},
            "physics": {
                "equation_of_state": {"kind": "linear", "thermal_expansion": ALPHA},
                "momentum_advection": "none",
                "friction": {"no_slip": False, "viscosity_power": 0.0},
                "freezing": None,
                "tracer_advection": "centered",
                **dict(physics),
            },
            "parameters": {**INVISCID, **dict(parameters)},
            "time": {"step": float(dt), **dict(time)},
        }
    )


def own(values, at: str) -> Field:
    """A Field without halo."""
    return Field(jnp.array(np.asarray(values, float)), at)


def start(model, *, u=None, v=None, eta=None, temperature=None, **others) -> None:
    """Put the model into a state without history: arrays broadcast to the grid, what is not given
    is 0.

    Temperature that is not given is uniform. The state is copied, since advancing gives it away.
    """
    ny, nx = model.horizontal.shape
    full = lambda a, *lead: np.broadcast_to(0.0 if a is None else a, (*lead, ny, nx))
    nz = model.vertical.nz
    g, s = model.grid, model.state
    level = full(8.0 if temperature is None else temperature, nz)
    model.state = s.replace(
        u=own(full(u, nz) * np.asarray(g.mask_u.interior), "u"),
        v=own(full(v, nz) * np.asarray(g.mask_v.interior), "v"),
        eta=own(full(eta), "c"),
        tracers={"temperature": own(level, "c"), "salinity": own(np.full((nz, ny, nx), 35.0), "c")},
        history_u=tuple(h.with_data(jnp.zeros_like(h.data)) for h in s.history_u),
        history_v=tuple(h.with_data(jnp.zeros_like(h.data)) for h in s.history_v),
        time=jnp.asarray(0.0),
        steps=jnp.asarray(0, jnp.int32),
        **others,
    )


def value(model, name: str) -> np.ndarray:
    """A state variable as an array that survives the next step."""
    return np.array(model.gather(name))


def steady_wind(model, **stress) -> Forcing:
    """Steady forcing from arrays (ny, nx) by record name."""
    at = {"taux": "u", "tauy": "v"}
    ny, nx = model.horizontal.shape
    records = {}
    for name, values in stress.items():
        mode = "wrap" if model.horizontal.periodic_x else "edge"
        a = np.pad(np.broadcast_to(values, (ny, nx)), ((0, 0), (2, 2)), mode=mode)
        a = np.pad(a, ((2, 2), (0, 0)), mode="edge")
        records[name] = Field(jnp.asarray(a[None]), at[name], Halo.of(2)).named(name)
    return Forcing(records, 365 * 86400.0)


def stratification(layers, n2: float) -> np.ndarray:
    """Temperature (degC) of the layers for a uniform buoyancy frequency squared (s-2), linear
    equation."""
    layers = np.asarray(layers, float)
    z = np.cumsum(layers) - layers / 2
    return 20.0 - n2 / (GRAVITY * ALPHA) * z


def vertical_mode(layers, temperature, mode: int = 1) -> tuple[float, np.ndarray, np.ndarray]:
    """Internal mode of the layered equations under a rigid lid.

    The layers' own equations: hydrostatic pressure summed from the top with half of each layer at
    its centre, vertical flow summed from the bottom, centred vertical advection. So its speed is
    what the model should have, apart from the free surface (relative change ``(c1 / c0)**2``, some
    1e-4).

    Returns:
        Speed c (m s-1); structure of the horizontal flow (nz,), largest value 1; and the
        temperature change per (u_x times time) (degC, nz): ``T_t = response * u_x`` for ``u =
        structure * u_x``.
    """
    h = np.asarray(layers, float)
    T, nz = np.asarray(temperature, float), len(layers)
    up = -np.triu(np.ones((nz, nz)), 1) * h  # w below layer k per u_x: what converges underneath
    above = np.vstack(
        [-np.ones(nz) * h * 0, up[:-1]]
    )  # w above layer k: 0 at the lid for modes without mean
    d_up = np.concatenate([[0.0], T[:-1] - T[1:]])
    d_down = np.concatenate([T[:-1] - T[1:], [0.0]])
    # Layer by layer: T_t = -(w_above (T_above - T) / 2 + w_below (T - T_below) / 2) / h
    rate = -(above * d_up[:, None] + up * d_down[:, None]) / 2 / h[:, None]
    weight = np.tril(np.ones((nz, nz)), -1) * h + np.diag(h) / 2
    pressure = GRAVITY * weight * (-ALPHA)  # p / rho0 from temperature
    remove_mean = np.eye(nz) - np.ones((nz, 1)) * h / h.sum()
    squares, vectors = np.linalg.eig(-(remove_mean @ pressure @ rate @ remove_mean))
    order = np.argsort(-squares.real)
    structure = vectors[:, order[mode - 1]].real
    structure = structure / structure[np.abs(structure).argmax()]
    return float(np.sqrt(squares.real[order[mode - 1]])), structure, rate @ structure


def channel_modes(ny, dx, dy, k, speed, f_at_v, depth=1.0):
    """Linear shallow-water modes ``exp(i (k x - omega t))`` of a channel, on the model's C grid.

    Args:
        k: zonal wavenumber (m-1). speed: of long gravity waves, m s-1. f_at_v: f on the ny southern
        faces, s-1.

    Returns:
        omega (n,), u (n, ny), v (n, ny), p (n, ny), with p the pressure over rho0 (m2 s-2), each
        sampled
        where it lives: the phase shift between u and p is part of ``exp(i k x)``.
    """
    dk, ck = 2j * np.sin(k * dx / 2) / dx, np.cos(k * dx / 2)
    eye = np.eye(ny)
    upper = np.eye(ny, k=1)  # the next row to the north
    lower = np.eye(ny, k=-1)
    wet = np.ones(ny)
    wet[0] = 0.0
    W, F = np.diag(wet), np.diag(f_at_v)
    to_u = 0.5 * (eye + upper)  # mean of the rows of v (or q) around a row of u
    to_v = 0.5 * (eye + lower)
    div_y, grad_y = (upper - eye) / dy, (eye - lower) / dy
    zero = np.zeros((ny, ny))
    A = np.block(
        [
            [zero, to_u @ F @ W * ck, -dk * eye],
            [-W @ F @ to_v * ck, zero, -W @ grad_y],
            [-(speed**2) * dk * eye, -(speed**2) * div_y @ W, zero],
        ]
    )
    values, vectors = np.linalg.eig(A)
    omega, fields = -values.imag, vectors.T  # d/dt = -i omega
    return omega, fields[:, :ny], fields[:, ny : 2 * ny], fields[:, 2 * ny :]


def sampled(amplitude, k, x):
    """Real part of ``amplitude(y) exp(i k x)``: rows by columns."""
    return (np.asarray(amplitude)[:, None] * np.exp(1j * k * np.asarray(x))[None, :]).real


def amplitude(values, k, x) -> np.ndarray:
    """Complex amplitude (per row) of the part ``exp(i k x)`` of real values, x over whole
    wavelengths."""
    return 2 * np.mean(np.asarray(values) * np.exp(-1j * k * np.asarray(x)), axis=-1)


def order(errors, refinement: float = 2.0) -> np.ndarray:
    """Observed order of convergence between successive refinements."""
    e = np.asarray(errors)
    return np.log(e[:-1] / e[1:]) / np.log(refinement)
