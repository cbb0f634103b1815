"""Vorticity fluxes, friction that follows the flow, backscatter, slip: what they conserve, take
away and give; the same on any layout."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout, world
from dogcm.dynamics import momentum, vorticity
from dogcm.field import Field, exchange
from dogcm.grid.geometry import build_grid
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect
from dogcm.learning.derivatives import check_derivatives
from dogcm.operators import diff_x_q2v, diff_x_v2q, diff_y_q2u, diff_y_u2q
from dogcm.physics import lateral
from dogcm.physics.eddy_viscosity import Closure, eddy_friction, viscosities
from dogcm.physics.zanna_bolton import ZannaBolton, stresses
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model

NX, NY, LAYERS, DEPTH = 18, 12, np.array([100.0, 200.0]), 4
DT = 3600.0
SPHERE = LatLonGrid.regular(NX, NY, lon=(0.0, 360.0), lat=(-66.0, 66.0))
PLANE = CartesianGrid(NX, NY, 2e4, 3e4)
CLOSURES = [Closure(s, f, DT) for s in ("smagorinsky", "leith") for f in ("harmonic", "biharmonic")]
named = dict(ids=lambda c: f"{c.scheme}-{c.form}")


class Sea:
    """Two layers, with islands or without, on a plane or a sphere."""

    def __init__(self, comm, horizontal=PLANE, islands=True, dtype=np.float64):
        cuts = {1: (1, 1), 2: (2, 1), 4: (2, 2), 6: (3, 2)}[comm.size]
        self.decomposition = Decomposition(make_layout((NY, NX), *cuts, min_cells=DEPTH), comm)
        self.halos, self.dtype = connect(self.decomposition.layout, comm), dtype
        cells = np.broadcast_to(LAYERS[:, None, None], (2, NY, NX)).copy()
        if islands:
            cells[:, 4:7, 5:9], cells[:, 0:3, 12] = 0.0, 0.0
        self.grid = build_grid(
            horizontal,
            VerticalGrid(LAYERS),
            self.decomposition,
            cells if comm.rank == 0 else None,
            DEPTH,
            Halo.of(DEPTH),
            dtype,
        )

    def field(self, values, at: str) -> Field:
        t = self.decomposition.tile
        mine = jnp.asarray(
            np.broadcast_to(values, (2, NY, NX))[..., t.j0 : t.j1, t.i0 : t.i1], self.dtype
        )
        return exchange(self.halos, (Field(mine, at), DEPTH))[0] * getattr(self.grid, f"mask_{at}")

    def random(self, seed: int, at: str, size: float = 0.1) -> Field:
        return self.field(np.random.default_rng(seed).normal(size=(2, NY, NX)) * size, at)

    def flow(self, size: float = 0.1) -> tuple[Field, Field]:
        return self.random(1, "u", size), self.random(2, "v", size)

    def power(self, fu: Field, fv: Field, u: Field, v: Field) -> tuple[float, float]:
        """Work of accelerations on a flow (m5 s-3): sum, and sum of magnitudes."""
        g = self.grid
        a, b = (fu * u * g.h_u * g.area_u).interior, (fv * v * g.h_v * g.area_v).interior
        return float(a.sum() + b.sum()), float(jnp.abs(a).sum() + jnp.abs(b).sum())


@pytest.fixture(scope="module")
def sea() -> Sea:
    return Sea(SerialCommunicator())


@pytest.fixture(scope="module")
def globe() -> Sea:
    return Sea(SerialCommunicator(), SPHERE)


# ---- vorticity
def turning(u, v, g, scheme):
    q = momentum.vorticity(u, v, g) * g.inv_h_q
    if scheme == "energy":
        return q, momentum.vorticity_flux_u(v, q, g), momentum.vorticity_flux_v(u, q, g)
    return q, *vorticity.SCHEMES[scheme](u, v, q, g)


@pytest.mark.parametrize(
    "scheme, keeps",
    [("energy", "e"), ("enstrophy", "z"), ("energy_enstrophy", "ez"), ("weno5", "")],
)
def test_what_vorticity_fluxes_conserve(sea, scheme, keeps):
    """Energy for any flow; enstrophy without divergence; with islands; to rounding. What is not
    promised is not kept."""
    g = sea.grid
    psi = sea.random(3, "q", 1e3)
    # Without divergence, around the islands too.
    u = diff_y_q2u(psi) * (-1.0) / g.dy_u * g.inv_h_u
    v = diff_x_q2v(psi) / g.dx_v * g.inv_h_v
    _, gu, gv = turning(*sea.flow(), g, scheme)
    energy, size = sea.power(gu, gv, *sea.flow())
    assert (abs(energy) < 1e-13 * size) == ("e" in keeps)
    q, gu, gv = turning(u, v, g, scheme)
    change = (q * (diff_x_v2q(gv * g.dy_v) - diff_y_u2q(gu * g.dx_u)) * g.mask_q).interior
    assert (abs(float(change.sum())) < 1e-13 * float(jnp.abs(change).sum())) == ("z" in keeps)
    if scheme == "weno5":
        # It takes most of the enstrophy of noise at the grid scale.
        assert float(change.sum()) < -0.5 * float(jnp.abs(change).sum())


def test_weno_vorticity_is_carried_exactly_where_it_is_linear():
    """Away from coasts all schemes agree on vorticity that varies linearly along y, in a uniform
    meridional flow."""
    sea = Sea(SerialCommunicator(), islands=False)
    g = sea.grid
    y = (np.arange(NY)[:, None] + 0.5) * 3e4
    u, v = sea.field(1e-12 * y**2, "u"), sea.field(np.full((NY, 1), 0.3), "v")
    found = {s: turning(u, v, g, s)[1].interior[:, 4:-4] for s in ("energy", "weno5", "enstrophy")}
    np.testing.assert_allclose(found["weno5"], found["enstrophy"], rtol=1e-10)
    np.testing.assert_allclose(found["weno5"], found["energy"], rtol=1e-10)


# ---- friction that follows the flow
@pytest.mark.parametrize("closure", CLOSURES, **named)
@pytest.mark.parametrize("wall", [True, False, 0.5])
def test_friction_only_takes_energy(globe, closure, wall):
    """With islands, walls of any slip, and coefficients that differ by cell."""
    u, v = globe.flow()
    C = globe.field(np.random.default_rng(5).uniform(0.5, 4, (NY, NX)), "c").level(0)
    work, size = globe.power(*eddy_friction(u, v, C, closure, globe.grid, wall), u, v)
    assert work < -1e-3 * size


@pytest.mark.parametrize("closure", CLOSURES, **named)
def test_no_torque_and_none_in_solid_body_rotation(closure):
    """Without islands, walls that slip: angular momentum is kept to rounding; rotation of the whole
    ocean is not felt."""
    globe = Sea(SerialCommunicator(), SPHERE, islands=False)
    g, (u, v) = globe.grid, globe.flow()
    cos = np.cos(np.deg2rad(SPHERE.coordinates()["lat"][0]))[:, None]
    fu, _ = eddy_friction(u, v, 2.0, closure, g, False)
    arm = (fu * g.h_u * g.area_u).interior * cos
    assert abs(float(arm.sum())) < 1e-12 * float(jnp.abs(arm).sum())
    solid = globe.field(cos * np.ones(NX), "u")
    fu, fv = eddy_friction(solid, v * 0.0, 2.0, closure, g, False)
    some = float(jnp.abs(eddy_friction(u * 10.0, v, 2.0, closure, g, False)[0].data).max())
    assert max(float(jnp.abs(f.data).max()) for f in (fu, fv)) < 1e-12 * some


def test_coefficients_of_smagorinsky_and_leith():
    """Pure strain D: A = (C L / pi)**2 D; vorticity linear in y: A = (C L / pi)**3 |grad zeta|."""
    sea = Sea(SerialCommunicator(), islands=False)
    g, still = sea.grid, sea.field(np.zeros((NY, NX)), "v")
    y, L2 = (np.arange(NY)[:, None] + 0.5) * 3e4, 2 / (2e4**-2 + 3e4**-2)
    shear = sea.field(1e-6 * y, "u")
    c, q = viscosities(shear, still, 3.0, Closure("smagorinsky", "harmonic", 1.0), g, True)
    for A in (c, q):
        np.testing.assert_allclose(A.interior[:, 3:-3], (3 / np.pi) ** 2 * L2 * 1e-6, rtol=1e-7)
    curved = sea.field(0.5e-11 * y**2, "u")
    for A in viscosities(curved, still, 1.5, Closure("leith", "harmonic", 1.0), g, True):
        np.testing.assert_allclose(
            A.interior[:, 3:-3], (1.5 / np.pi) ** 3 * L2**1.5 * 1e-11, rtol=1e-7
        )
    c2, _ = viscosities(shear, still, 3.0, Closure("smagorinsky", "biharmonic", 1.0), g, True)
    np.testing.assert_allclose(
        c2.interior[:, 3:-3] ** 2, (3 / np.pi) ** 2 * L2**2 / 8 * 1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("closure", CLOSURES, **named)
def test_bounded_by_what_the_step_bears(globe, closure):
    """A storm of 100 m/s of noise: one explicit step does not add energy."""
    u, v = globe.flow(100.0)
    fu, fv = eddy_friction(u, v, 10.0, closure, globe.grid, True)
    new_u, new_v = u + fu * DT, v + fv * DT
    before, after = (
        globe.power(a, b, a, b)[0]
        for a, b in ((u.crop(0), v.crop(0)), (new_u.crop(0), new_v.crop(0)))
    )
    assert after < before
    fu, fv = (jnp.abs(f.interior).max() * DT for f in (fu, fv))
    assert float(fu) > 1.0, "the test is to reach the bound"


@pytest.mark.parametrize("closure", CLOSURES[1:3], **named)
def test_derivatives(globe, closure):
    """With respect to flow and coefficient; finite at rest."""
    u, v = globe.flow()
    one = lambda x: eddy_friction(x["u"], x["v"], x["C"], closure, globe.grid, True)
    x = {"u": u, "v": v, "C": jnp.asarray(2.0)}
    report = check_derivatives(one, x, decades=2.0, ladder=tuple(10.0**-k for k in range(2, 7)))
    assert report.passed, str(report)
    rest = jax.tree.map(jnp.zeros_like, x)
    gradient = jax.jit(jax.grad(lambda x: sum(jnp.sum(f.data**2 + f.data) for f in one(x))))(rest)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradient))


# ---- backscatter
def backscatter(u, v, coefficient, grid, **options):
    return ZannaBolton(**options).accelerations(u, v, {"zanna_bolton": coefficient}, grid)


def test_stress_of_zanna_and_bolton():
    """Of a flow whose gradients are the same everywhere."""
    sea = Sea(SerialCommunicator(), islands=False)
    y, gamma, unit = (np.arange(NY)[:, None] + 0.5) * 3e4, 0.3, 6e8 * LAYERS[:, None, None]
    u, v = sea.field(1e-6 * y, "u"), sea.field(3e-6 * (y - 1.5e4), "v")
    inside = lambda f: f.interior[:, 3:-3]
    difference, trace, beside = map(inside, stresses(u, v, gamma, sea.grid))
    zeta, shear, tension = -1e-6, 1e-6, -3e-6
    squares = zeta**2 + shear**2 + tension**2
    expected = gamma * zeta * shear, -gamma * 0.5 * squares, -gamma * zeta * tension
    for found, value in zip((difference, trace, beside), expected):
        np.testing.assert_allclose(found, value * unit * np.ones((2, NY, NX))[:, 3:-3], rtol=1e-9)


def test_backscatter_conserves_momentum_and_rests_with_the_flow(globe):
    """In a channel whose walls slip; without the trace, which is a pressure, its torque on a sphere
    is zero as well."""
    for horizontal, trace in ((PLANE, True), (SPHERE, False)):
        sea = Sea(SerialCommunicator(), horizontal, islands=False)
        fu, _ = backscatter(*sea.flow(), 0.5, sea.grid, trace=trace, smoothings=1)
        arm = (fu * sea.grid.h_u * sea.grid.area_u).interior
        if horizontal is SPHERE:
            arm = arm * np.cos(np.deg2rad(SPHERE.coordinates()["lat"][0]))[:, None]
        assert abs(float(arm.sum())) < 1e-12 * float(jnp.abs(arm).sum())
    u, v = globe.flow(0.0)
    assert not any(np.any(f.data) for f in backscatter(u, v, 0.5, globe.grid))


def test_energy_of_backscatter(globe):
    """No work at any flow without the filter, with islands, on a sphere. With it filaments give
    energy to the strain that draws them out, and take it from one that makes them shorter."""
    u, v = globe.flow()
    gamma = globe.field(np.random.default_rng(5).uniform(0.5, 4, (NY, NX)), "c").level(0)
    work, size = globe.power(*backscatter(u, v, gamma, globe.grid, smoothings=0, trace=False), u, v)
    assert abs(work) < 1e-13 * size
    sea = Sea(SerialCommunicator(), islands=False)
    g, (j, i) = sea.grid, np.mgrid[:NY, :NX]
    strain = -np.cos(2 * np.pi * i / NX) * np.cos(np.pi * j / NY)  # of u along x, by psi below
    for drawn_out in (1, -1):
        along_x = np.maximum(drawn_out * strain, 0) * np.cos(np.pi * j / 2)
        along_y = np.maximum(-drawn_out * strain, 0) * np.cos(np.pi * i / 2)
        large = np.sin(2 * np.pi * i / NX) * np.sin(np.pi * j / NY)
        psi = sea.field(1e6 * large + 1e5 * (along_x + along_y), "q")
        u = diff_y_q2u(psi) * (-1.0) / g.dy_u * g.inv_h_u
        v = diff_x_q2v(psi) / g.dx_v * g.inv_h_v
        work, size = sea.power(*backscatter(u, v, 0.5, g, trace=False), u, v)
        assert drawn_out * work > 0.5 * size


def test_derivatives_of_backscatter(globe):
    """With respect to flow and coefficient; finite at rest."""
    u, v = globe.flow()
    one = lambda x: backscatter(x["u"], x["v"], x["gamma"], globe.grid, smoothings=1)
    x = {"u": u, "v": v, "gamma": jnp.asarray(0.7)}
    report = check_derivatives(one, x, decades=2.0, ladder=tuple(10.0**-k for k in range(2, 7)))
    assert report.passed, str(report)
    rest = jax.tree.map(jnp.zeros_like, x)
    gradient = jax.jit(jax.grad(lambda x: sum(jnp.sum(f.data**2 + f.data) for f in one(x))))(rest)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradient))


def test_float32_stays():
    sea = Sea(SerialCommunicator(), dtype=np.float32)
    u, v = sea.flow()
    one, single = jnp.float32(2.0), {np.dtype("float32")}
    # Types alone: nothing has to be computed.
    types = lambda go: {f.data.dtype for f in jax.eval_shape(go, u, v)}
    for scheme in vorticity.SCHEMES:
        assert types(lambda u, v, s=scheme: turning(u, v, sea.grid, s)) == single
    for closure in CLOSURES:
        go = lambda u, v, c=closure: eddy_friction(u, v, one, c, sea.grid, 0.5)
        assert types(go) == single
    assert types(lambda u, v: backscatter(u, v, one, sea.grid)) == single


# ---- given viscosities, walls
def test_biharmonic_friction_takes_energy_whatever_the_grid_does(globe):
    """Even where viscosity falls several-fold from one end of a sphere to the other."""
    g, (u, v) = globe.grid, globe.flow()
    root = lateral.spacing_scale(g, 1e6, 10.0)
    fu, fv = lateral.biharmonic_friction(u, v, 1e16, g, True, root)
    work, size = globe.power(fu, fv, u, v)
    assert work < -0.1 * size
    assert float(root[0].data.max() / root[0].data.min()) > 2


def test_partial_slip_lies_between(sea):
    """Stress of walls is proportional to 1 - slip: no slip and free slip are its ends."""
    u, v = sea.flow()
    no, half, free = (
        lateral.friction(u, v, 100.0, sea.grid, w)[0].data for w in (True, 0.5, False)
    )
    np.testing.assert_allclose(half, 0.5 * (no + free), rtol=1e-12, atol=1e-20)
    one, zero = (lateral.friction(u, v, 100.0, sea.grid, w)[0].data for w in (1.0, 0.0))
    np.testing.assert_array_equal(one, no)
    np.testing.assert_array_equal(zero, free)


# ---- settings
SMALL = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 4}


@pytest.mark.parametrize(
    "sets, says",
    [
        (
            {"physics.eddy_viscosity": "leith", "physics.friction": "laplacian"},
            "friction: stress",
        ),
        ({"physics.eddy_viscosity": "smagorinsky", "parameters.smagorinsky": 40.0}, "smagorinsky"),
        ({"parameters.smagorinsky": 1.0}, "eddy_viscosity: smagorinsky"),
        ({"physics.friction.slip": 1.5}, "slip"),
        ({"physics.momentum_advection": "weno7"}, "did you mean weno5"),
        ({"physics.eddy_viscosity": "leith", "parameters.leith": -1.0}, "leith"),
        ({"parameters.zanna_bolton": 1.0}, "backscatter: zanna_bolton"),
        ({"physics.backscatter": {"kind": "zanna_bolton", "smoothings": -1}}, "smoothings"),
    ],
)
def test_settings_that_make_no_sense_are_refused(sets, says):
    with pytest.raises(ConfigError, match=says):
        load_config("two_basin", SMALL | sets)


def test_choices_reach_the_step():
    model = Model(
        "two_basin",
        SMALL
        | {
            "physics.momentum_advection": "weno5",
            "physics.friction.slip": 0.25,
            "physics.eddy_viscosity": "leith",
            "physics.tracer_advection": "ppm",
            "physics.backscatter": "zanna_bolton",
        },
    )
    p = model.physics
    assert (p.halo, p.momentum_halo, p.tracer_halo, p.friction.wall_stress) == (5, 5, 3, 0.75)
    jax.eval_shape(model.step, model.state, model.params, model.forcing, model.grid)
    plain = Model("two_basin", SMALL).physics
    assert (plain.halo, plain.momentum_advection.kind, plain.eddy_viscosity) == (2, "energy", None)
    assert plain.friction.wall_stress is True


def test_quadratic_bottom_drag(sea):
    model = Model("two_basin", SMALL)
    g, drag = model.grid, {"bottom_drag_linear": 0.0, "bottom_drag_quadratic": jnp.asarray(2e-3)}
    speed = g.mask_u * 0.5
    found = model.dynamics.momentum.drag(
        speed, SimpleNamespace(bottom=g.bottom_u, at=lambda x: x), drag, g
    )
    np.testing.assert_allclose(
        found.interior, (g.bottom_u * (2e-3 * 0.5 * model.physics.dt)).interior, rtol=1e-14
    )


# ---- layouts
@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_the_same_bits_on_tiles():
    comm = world()

    def everything(sea):
        u, v = sea.flow()

        def all_of_it(u, v, grid):
            turned = [f for s in vorticity.SCHEMES for f in turning(u, v, grid, s)[1:]]
            slowed = [f for c in CLOSURES[1:3] for f in eddy_friction(u, v, 2.0, c, grid, 0.5)]
            driven = backscatter(u, v, 0.5, grid, smoothings=2)
            return [f.interior for f in (*turned, *slowed, *driven)]

        return jax.jit(all_of_it)(u, v, sea.grid)

    tiled, alone = Sea(comm, SPHERE), Sea(SerialCommunicator(), SPHERE)
    t = tiled.decomposition.tile
    for here, whole in zip(everything(tiled), everything(alone)):
        np.testing.assert_array_equal(here, whole[..., t.j0 : t.j1, t.i0 : t.i1])
