"""What the ocean may not depend on: values where there is no water, the units, and where north is.

Each holds for the whole step, so it catches a term that reads land or a halo beyond a wall, a
number that hides a unit, and a formula for v that is not that for u.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.field import Field
from dogcm.physics import eddy_viscosity
from dogcm.physics.eos import PreparedLinear
from dogcm.setups import inputs
from dogcm.simulation.model import Model

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
N, LAYERS = 12, np.array([50.0, 100.0, 200.0, 300.0])
STEPS = 5
# Length across and up, time, temperature, salinity, density: two to these powers.
SCALES = {"L": 7, "H": -3, "T": 5, "K": 4, "S": -6, "R": 2}


def cells() -> np.ndarray:
    """Thickness of cells (nz, N, N): a rough bottom with partial cells, an island, a bay; nothing
    is symmetric."""
    j, i = np.mgrid[:N, :N]
    depth = 450.0 + 190.0 * np.sin(1.3 * i + 0.4 * j) * np.cos(0.9 * j)
    depth[4:6, 6:9] = depth[:3, :2] = depth[9:, 4] = 0.0
    top = np.concatenate([[0.0], np.cumsum(LAYERS)[:-1]])
    return np.clip(depth - top[:, None, None], 0.0, LAYERS[:, None, None])


def box(monkeypatch, changes=(), thickness=None, powers=()) -> Model:
    """A closed f-plane box with all lateral terms, in units that are ``powers`` of two of the usual
    ones."""
    thickness = cells() if thickness is None else thickness
    s = {n: 2.0 ** dict(powers).get(n, 0) for n in SCALES}
    L, H, T = s["L"], s["H"], s["T"]
    monkeypatch.setattr(inputs, "cell_thickness", lambda *_: thickness * H)
    values = {
        "grid.nx": N,
        "grid.ny": N,
        "grid.dx": 2e4 * L,
        "grid.dy": 2e4 * L,
        "grid.f0": 1e-4 / T,
        "grid.beta": 0.0,
        "grid.periodic": False,
        "grid.layers": list(LAYERS * H),
        "bathymetry.depth": 650.0 * H,
        "bathymetry.min_depth": 0.0,
        "forcing.source": "none",
        "physics.gravity": 9.81 * L**2 / (H * T**2),
        "physics.rho0": 1026.0 * s["R"],
        "physics.equation_of_state.thermal_expansion": 2e-4 / s["K"],
        "physics.equation_of_state.haline_contraction": 7.4e-4 / s["S"],
        "physics.friction.no_slip": True,
        "parameters.lateral_viscosity": 300.0 * L**2 / T,
        "parameters.biharmonic_viscosity": 1e10 * L**4 / T,
        "physics.friction.viscosity_power": 0.0,
        "physics.friction.reference_spacing": 2e4 * L,
        "parameters.lateral_diffusivity": 50.0 * L**2 / T,
        "parameters.vertical_viscosity": 1e-3 * H**2 / T,
        "parameters.vertical_diffusivity": 1e-4 * H**2 / T,
        "parameters.mixing_richardson": 5e-3 * H**2 / T,
        "parameters.convection_diffusivity": 1.0 * H**2 / T,
        "parameters.convection_viscosity": 0.1 * H**2 / T,
        "parameters.convection_n2": 1e-7 * (L / (H * T)) ** 2,
        "parameters.bottom_drag_linear": 1e-4 * H / T,
        "parameters.bottom_drag_quadratic": 0.0,
        "time.step": 600.0 * T,
        "time.free_surface.barotropic_steps": 8,
    }
    values |= dict(changes)
    if values.get("physics.coriolis") == "cd":
        values["physics.coriolis.time"] = 321428.0 * T
    m = Model("channel", values, comm=SerialCommunicator())
    eos = PreparedLinear(
        2e-4 / s["K"], 7.4e-4 / s["S"], 1026.0 * s["R"], 10.0 * s["K"], 35.0 * s["S"]
    )
    m.dynamics = replace(m.dynamics, eos=eos)
    factor = {"u": L / T, "v": L / T, "eta": H, "temperature": s["K"], "salinity": s["S"]}
    m.state = started(m, factor)
    return m


def started(m: Model, factor: dict[str, float]):
    """A stratified ocean in motion, the same for every model but for ``factor``."""
    rng, g, s = np.random.default_rng(5), m.grid, m.state
    depth = np.cumsum(LAYERS)[:, None, None]
    values = {
        "u": 0.2 * rng.normal(size=(4, N, N)),
        "v": 0.2 * rng.normal(size=(4, N, N)),
        "eta": 0.2 * rng.normal(size=(N, N)),
        "temperature": 14.0 - 0.01 * depth + 0.3 * rng.normal(size=(4, N, N)),
        "salinity": 35.0 + 0.001 * depth + 0.05 * rng.normal(size=(4, N, N)),
    }
    mask = {
        "u": g.mask_u,
        "v": g.mask_v,
        "eta": g.wet_c,
        "temperature": g.mask_c,
        "salinity": g.mask_c,
    }
    fields = {
        n: Field(jnp.asarray(a * factor[n]), mask[n].at) * mask[n].crop(0)
        for n, a in values.items()
    }
    return s.replace(
        u=fields["u"],
        v=fields["v"],
        eta=fields["eta"],
        tracers={n: fields[n] for n in ("temperature", "salinity")},
    )


def advanced(m: Model, state, grid=None, step=None) -> dict[str, np.ndarray]:
    """The fields after :data:`STEPS` steps; zero on land, where nothing is promised."""
    grid, step = grid or m.grid, step or jax.jit(m.dynamics.step)
    for _ in range(STEPS):
        state = step(state, m.params, m.forcing, grid)
    masks = {"u": grid.mask_u, "v": grid.mask_v, "eta": grid.wet_c}
    found = {}
    for name in ("u", "v", "eta", "temperature", "salinity"):
        wet = np.asarray(masks.get(name, grid.mask_c).interior) > 0
        found[name] = np.where(wet, np.asarray(state.variables()[name].interior), 0.0)
    assert all(np.isfinite(a).all() for a in found.values()) and np.abs(found["u"]).max() > 0
    return found


def same_bits(a: dict, b: dict) -> list[str]:
    """Names of fields that differ."""
    return [f"{n}: {np.abs(a[n] - b[n]).max():.3g}" for n in a if not np.array_equal(a[n], b[n])]


CASES = {
    "short steps": {},
    "implicit": {
        "time.free_surface": "implicit",
        "physics.coriolis": "cd",
        "physics.eddy_viscosity": "smagorinsky",
    },
}
both = pytest.mark.parametrize(
    "case", [pytest.param("short steps", marks=pytest.mark.slow), "implicit"]
)
EDDIES = {"physics.eddies": "isoneutral"}


# ---- no water
class Garbage:
    """An exchange that leaves nonsense beyond the walls of a closed box."""

    def __init__(self, halos):
        self._halos = halos

    def __getattr__(self, name):
        return getattr(self._halos, name)

    def exchange(self, arrays, wants):
        out = []
        for k, (a, w) in enumerate(zip(self._halos.exchange(arrays, wants), wants)):
            inside = np.zeros(a.shape[-2:], bool)
            inside[w.s : a.shape[-2] - w.n, w.w : a.shape[-1] - w.e] = True
            noise = np.random.default_rng(k).normal(size=a.shape) * 1e3
            out.append(jnp.where(inside, a, jnp.asarray(noise, a.dtype)))
        return out


@both
def test_values_on_land_and_beyond_walls_are_not_read(monkeypatch, case):
    m = box(monkeypatch, CASES[case] | EDDIES)
    clean = advanced(m, m.state)
    rng = np.random.default_rng(6)

    def littered(f: Field, mask: Field) -> Field:
        noise = jnp.asarray(rng.normal(size=f.shape) * 1e3)
        return f.with_data(jnp.where(mask.interior > 0, f.data, noise))

    g, s = m.grid, m.state
    dirty = s.replace(
        u=littered(s.u, g.mask_u),
        v=littered(s.v, g.mask_v),
        eta=littered(s.eta, g.wet_c),
        tracers={n: littered(f, g.mask_c) for n, f in s.tracers.items()},
    )
    m.dynamics = replace(m.dynamics, halos=Garbage(m.halos))
    assert same_bits(clean, advanced(m, dirty)) == []


# ---- units
@both
def test_other_units_give_the_same_bits(monkeypatch, case):
    """All lengths, times, temperatures... times a power of two: after scaling back not a bit has
    changed.

    The scales differ, so a number with a unit that hides anywhere in the step shows. Those known
    keep roots and quotients
    smooth where nothing moves: a shear of 1e-5 s-1 in the Richardson number and 1e-4 m s-1 in
    quadratic drag, which are off here; a rate of strain of 1e-10 s-1, which is scaled as well; and
    those of isoneutral slopes, which are left out.
    """
    unmixed = {"parameters.mixing_richardson": 0.0}
    plain = box(monkeypatch, CASES[case] | unmixed)
    a = advanced(plain, plain.state)
    L, H, T, K, S = (2.0 ** SCALES[n] for n in "LHTKS")
    monkeypatch.setattr(eddy_viscosity, "_LEAST", eddy_viscosity._LEAST / T)
    other = box(monkeypatch, CASES[case] | unmixed, powers=SCALES)
    b = advanced(other, other.state)
    factor = {"u": L / T, "v": L / T, "eta": H, "temperature": K, "salinity": S}
    assert same_bits(a, {n: f / factor[n] for n, f in b.items()}) == []


# ---- directions
def turned(a: np.ndarray) -> np.ndarray:
    """Values at centres after a quarter turn to the left: what was east is north."""
    return np.swapaxes(a, -1, -2)[..., ::-1]


def turned_flow(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for (west, south) faces."""
    from_south = np.roll(
        turned(v), 1, axis=-1
    )  # south faces become east faces: the next cell's west faces
    return -from_south, turned(u)


@both
def test_a_turned_ocean_evolves_into_the_turned_ocean(monkeypatch, case):
    """With schemes that take both dimensions alike: forward-backward Coriolis takes u before v,
    split advection x before y, which no turn survives."""
    alike = {"physics.coriolis": "cd", "physics.tracer_advection": "dst3_limited"}
    changes = CASES[case] | EDDIES | alike
    m, around = box(monkeypatch, changes), box(monkeypatch, changes, turned(cells()))
    u, v = turned_flow(np.asarray(m.state.u.data), np.asarray(m.state.v.data))
    s = m.state
    start = around.state.replace(
        u=s.u.with_data(jnp.asarray(u)),
        v=s.v.with_data(jnp.asarray(v)),
        eta=s.eta.with_data(jnp.asarray(turned(np.asarray(s.eta.data)))),
        tracers={
            n: f.with_data(jnp.asarray(turned(np.asarray(f.data)))) for n, f in s.tracers.items()
        },
    )
    np.testing.assert_array_equal(u * np.asarray(around.grid.mask_u.interior), u)
    step = jax.jit(m.dynamics.step)
    a, b = advanced(m, m.state, step=step), advanced(m, start, around.grid, step)
    a["u"], a["v"] = turned_flow(a["u"], a["v"])
    for name in ("u", "v", "eta", "temperature", "salinity"):
        expected = a[name] if name in "uv" else turned(a[name])
        np.testing.assert_allclose(
            b[name], expected, atol=1e-11 * np.abs(expected).max(), err_msg=name
        )
