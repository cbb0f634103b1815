"""Many columns of ocean side by side, mixed by a scheme of the model.

A column is what the model's step leaves of an ocean without gradients along layers: heat and
momentum enter through the surface, light is absorbed on its way, the Coriolis force turns the flow,
and a component of the slot ``vertical_mixing`` says how all that is mixed. Columns lie along x of a
plane and do not see each other, so that one array holds them all; the scheme is called as the
model calls it. Without rotation a step is the model's own (``tests/training/test_column.py``).
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

import dogcm
from dogcm.decomp import Halo

DAY, HOUR = 86400.0, 3600.0
GRAVITY, RHO0, EXPANSION, HEAT_CAPACITY = 9.81, 1026.0, 2e-4, 3991.868
BUOYANCY = GRAVITY * EXPANSION  # m s-2 K-1
SALINITY, SURFACE = 35.0, 20.0
# Least viscosity and diffusivity (m2 s-1), little enough not to matter.
QUIET = {"vertical_viscosity": 1e-5, "vertical_diffusivity": 1e-6}
# Light in clear water: Paulson and Simpson (1977),
# doi:10.1175/1520-0485(1977)007<0952:IMITUO>2.0.CO;2
RED, RED_DEPTH, BLUE_DEPTH = 0.58, 0.35, 23.0
THRESHOLD = 0.1  # K: the mixed layer is less than this colder than the first 5 m
REFERENCE = 5.0  # m
STILL = 1e-20


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["stress", "loss", "sun", "f", "n2", "mixed"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Cases:
    """What drives each column, arrays of (columns,).

    Attributes:
        stress: of the wind along x (N m-2). loss: heat that leaves the sea (W m-2). sun: light at
            noon (W m-2).
        f: Coriolis parameter (s-1). n2: squared buoyancy frequency at the start (s-2), below a
            mixed layer of ``mixed`` metres.
    """

    stress: jax.Array
    loss: jax.Array
    sun: jax.Array
    f: jax.Array
    n2: jax.Array
    mixed: jax.Array

    def __len__(self) -> int:
        return len(self.stress)

    def __getitem__(self, which) -> Cases:
        return jax.tree.map(lambda x: x[which], self)


def light(sun, start, dt: float):
    """Mean of the sun's light (W m-2) over a step from ``start`` (s): a cosine by day, 0 by
    night."""

    def until(t):
        """Integral since the first midnight, in days."""
        days = jnp.floor(t / DAY)
        phase = jnp.clip(t / DAY - days, 0.25, 0.75)
        return days / np.pi + (1.0 - jnp.sin(2 * np.pi * phase)) / (2 * np.pi)

    return sun * (until(start + dt) - until(start)) * (DAY / dt)


def passing(depth):
    """Share of light that passes this depth (m)."""
    return RED * np.exp(-depth / RED_DEPTH) + (1 - RED) * np.exp(-depth / BLUE_DEPTH)


@dataclass(frozen=True)
class Columns:
    """The plane: its layers, its step, and the scheme that mixes it.

    Attributes:
        model: whose grid, constants and scheme are used. edges: of layers (m).
        count: of columns.
    """

    model: dogcm.Model
    edges: np.ndarray
    count: int

    @classmethod
    def of(cls, count: int, scheme, layer: float = 5.0, depth: float = 160.0, dt: float = HOUR):
        """``count`` columns of layers of ``layer`` metres, mixed by ``scheme``."""
        layers = [layer] * round(depth / layer)
        return cls(ocean(count, 1, layers, dt, scheme), np.cumsum([0.0, *layers]), count)

    @property
    def dt(self) -> float:
        return self.model.physics.dt

    @property
    def params(self) -> dict:
        return self.model.params

    def start(self, cases: Cases) -> dict:
        """Water at rest, stratified below a mixed layer."""
        middle = 0.5 * (self.edges[1:] + self.edges[:-1])[:, None]
        T = SURFACE - cases.n2 / BUOYANCY * jnp.maximum(middle - cases.mixed, 0.0)
        zero = jnp.zeros_like(T)
        carried = {
            name: field.interior.reshape(-1, self.count)
            for name, field in self.model.state.closures.items()
        }
        return {"u": zero, "v": zero, "T": T, "carried": carried}

    def step(self, state: dict, params: dict, cases: Cases, time) -> dict:
        """The columns ``dt`` seconds later."""
        dt = self.dt
        h = np.diff(self.edges)[:, None]
        apart = 0.5 * (h[1:] + h[:-1])
        heat, penetrating = self._heat(cases, time)
        mixing = self._mix(state, params, cases, heat, penetrating)
        of_column = lambda k: k.interior[:, 0]
        turn = lambda u, v: turned(u, v, 0.5 * dt * cases.f)
        u, v = turn(state["u"], state["v"])
        push = jnp.zeros_like(u).at[0].set(dt / RHO0 * cases.stress)
        u, v = diffuse(
            h, dt / apart * of_column(mixing.viscosity), jnp.stack([u * h + push, v * h])
        )
        u, v = turn(u, v)
        down = penetrating
        layer = mixing.boundary_layer
        if layer is not None:
            share = of_column(layer.share)
            down = down + share * (heat - layer.light.interior[0])
        none = jnp.zeros((1, self.count))
        gain = jnp.concatenate([heat[None], down]) - jnp.concatenate([down, none])
        T = state["T"] * h + dt * gain
        (T,) = diffuse(h, dt / apart * of_column(mixing.diffusivity), T[None])
        carried = {n: of_column(f) for n, f in mixing.closures.items()}
        return {"u": u, "v": v, "T": T, "carried": carried}

    def _heat(self, cases: Cases, time):
        """Flux into the sea, and what passes interfaces as light (K m s-1)."""
        unit = 1.0 / (RHO0 * HEAT_CAPACITY)
        entering = light(cases.sun, time, self.dt) * unit
        return entering - cases.loss * unit, passing(self.edges[1:-1])[:, None] * entering

    def _mix(self, state, params, cases: Cases, heat, penetrating) -> dogcm.Mixing:
        """What the scheme says, called with Fields as in the model's step."""
        m, halo = self.model, self.halo
        u, v, T = state["u"], state["v"], state["T"]
        apart = 0.5 * (self.edges[2:] - self.edges[:-2])[:, None]
        n2 = BUOYANCY * (T[:-1] - T[1:]) / apart
        shear2 = ((u[:-1] - u[1:]) ** 2 + (v[:-1] - v[1:]) ** 2) / apart**2
        field = lambda x, at, halo=halo: dogcm.Field(_with_halo(x, halo), at, halo)
        # Two faces to the north and south of a row belong to its columns alone, so they take both
        # components; schemes see the mean of their squares.
        wide = halo._replace(n=max(halo.n, 1))
        faces = lambda x, y: dogcm.Field(_on_faces(x, y, wide), "v", wide)
        fluxes = SimpleNamespace(
            heat=field(heat, "c"),
            salt=field(heat * 0.0, "c"),
            freshwater=field(heat * 0.0, "c"),
            penetrating=field(penetrating, "cw"),
            closures={},
        )
        temperature, salinity = field(T, "c"), field(T * 0.0 + SALINITY, "c")
        seen = SimpleNamespace(
            u=dogcm.Field(_with_halo(u * 0.0, halo), "u", halo),
            v=faces(u, v),
            temperature=temperature,
            salinity=salinity,
            tracers={"temperature": temperature, "salinity": salinity},
        )
        background = tuple(params[n] for n in QUIET)
        column = dogcm.Column(
            field(n2, "cw"),
            field(shear2, "cw"),
            background,
            {n: field(x, "cw") for n, x in state["carried"].items()},
            seen,
            {"tauy": faces(cases.stress, 0.0 * cases.stress)},
            fluxes,
            m.dynamics.eos,
            m.halos,
        )
        return m.physics.vertical_mixing.mix(column, params, self.grid, m.physics)

    @functools.cached_property
    def halo(self) -> Halo:
        """What the scheme takes its differences over; without any there is less to compute."""
        return Halo.of(2 if isinstance(self.model.physics.vertical_mixing, dogcm.KPP) else 0)

    @functools.cached_property
    def grid(self):
        """The plane's, whose walls count as water: both faces of a row hold its columns' flow."""
        g, ones = self.model.grid, lambda f: f.with_data(np.ones(f.data.shape, f.data.dtype))
        return dataclasses.replace(g, wet_v=ones(g.wet_v), mask_v=ones(g.mask_v))

    def run(self, params: dict, cases: Cases, days: float, every: float, start=None) -> dict:
        """Records after each ``every`` seconds: T, u, v of (records, layers, columns).

        Args:
            start: state and time (s) to go on from.
        """
        steps = round(every / self.dt)

        def one(carry, _):
            state, time = carry
            return (self.step(state, params, cases, time), time + self.dt), None

        def record(carry, _):
            carry = jax.lax.scan(one, carry, None, length=steps)[0]
            return carry, {n: carry[0][n] for n in ("T", "u", "v")}

        begin = (self.start(cases), jnp.zeros(())) if start is None else start
        return jax.lax.scan(record, begin, None, length=round(days * DAY / every))[1]


def ocean(nx: int, ny: int, layers, dt: float, scheme, bathymetry=None, **more) -> dogcm.Model:
    """A flat plane without rotation, where nothing but ``scheme`` mixes."""
    still = ("lateral_viscosity", "lateral_diffusivity", "bottom_drag_linear")
    config = {
        "grid": {
            "kind": "cartesian",
            "nx": nx,
            "ny": ny,
            "dx": 1e5,
            "dy": 1e5,
            "f0": 0.0,
            "layers": [float(h) for h in layers],
        },
        "physics": {
            "equation_of_state": {"kind": "linear", "thermal_expansion": EXPANSION},
            "rho0": RHO0,
            "gravity": GRAVITY,
            "momentum_advection": "none",
            "friction": {"no_slip": False, "viscosity_power": 0.0},
            "freezing": None,
            "tracer_advection": "centered",
            "convection": "none",
        },
        "parameters": {**QUIET, **dict.fromkeys((*still, "bottom_drag_quadratic"), 0.0)},
        "time": {"step": float(dt)},
    }
    depth = float(sum(layers)) if bathymetry is None else bathymetry
    initial = {"temperature": SURFACE, "salinity": SALINITY}
    return dogcm.Model(
        config, bathymetry=depth, vertical_mixing=scheme, **({"initial": initial} | more)
    )


def _with_halo(x, halo: Halo):
    """Rows and columns around (..., columns); what they hold does not matter."""
    x = x[..., None, :]
    width = [(0, 0)] * (x.ndim - 2) + [(halo.s, halo.n), (halo.w, halo.e)]
    return jnp.pad(x, width, mode="edge")


def _on_faces(x, y, halo: Halo):
    """A vector on the two faces of a row, so that the mean of squares is that of the vector."""
    both = jnp.stack([x] * (halo.s + 1) + [y] * halo.n, axis=-2) * np.sqrt(2.0)
    return jnp.pad(both, [(0, 0)] * (both.ndim - 1) + [(halo.w, halo.e)], mode="edge")


def turned(u, v, angle):
    """A vector after a turn to the right by ``angle``."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return u * c + v * s, v * c - u * s


def diffuse(h, k, content):
    """Backward-Euler diffusion: ``h C - [k (C_above - C) + k_below (C_below - C)] = content``.

    Args:
        h: thickness of layers (m), (nz, 1). k: at interfaces (m). content: (variables, nz,
            columns).
    """
    whole = lambda x: jnp.broadcast_to(jnp.asarray(x, content.dtype), (len(x), content.shape[-1]))
    field = lambda x, at: dogcm.Field(whole(x)[:, None], at)
    found = dogcm.implicit_solve([field(c, "c") for c in content], field(h, "c"), field(k, "cw"))
    return jnp.stack([f.data[:, 0] for f in found])


def coarsened(records: dict, edges, coarse) -> dict:
    """Means over coarser layers whose edges are among ``edges``."""
    at = np.searchsorted(edges, np.asarray(coarse) - 1e-9)
    thickness = np.diff(edges)
    mean = lambda x, a, b: np.average(x[..., a:b, :], axis=-2, weights=thickness[a:b])
    return {
        n: np.stack([mean(np.asarray(x), a, b) for a, b in zip(at[:-1], at[1:])], axis=-2)
        for n, x in records.items()
    }


def mixed_layer_depth(T, edges):
    """Depth (m) where water is first ``THRESHOLD`` colder than the mean of the first ``REFERENCE``
    metres; linear between centres of layers, the bottom if nowhere.

    Args:
        T: (..., layers, columns).
    """
    edges = np.asarray(edges)
    share = np.clip(REFERENCE - edges[:-1], 0.0, np.diff(edges)) / REFERENCE
    centres = 0.5 * (edges[1:] + edges[:-1])
    colder = jnp.einsum("k,...kn->...n", share, T)[..., None, :] - T
    before, after = colder[..., :-1, :], colder[..., 1:, :]
    found = after >= THRESHOLD
    first = jnp.argmax(found, axis=-2, keepdims=True)
    pick = lambda x: jnp.take_along_axis(x, first, axis=-2)[..., 0, :]
    low, high = pick(before), pick(after)
    part = jnp.clip((THRESHOLD - low) / jnp.maximum(high - low, 1e-9), 0.0, 1.0)
    first = first[..., 0, :]
    z, dz = jnp.asarray(centres), jnp.asarray(np.diff(centres))
    depth = z[first] + part * dz[first]
    return jnp.where(found.any(-2), depth, edges[-1])
