"""Advection, diffusion, friction and drag: orders of accuracy, bounds, conservation, exact discrete
decay."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from theory_helpers import order, own, plane, start, value

import dogcm
from dogcm.components import make
from dogcm.decomp.depth import Halo
from dogcm.dynamics.continuity import convergence
from dogcm.dynamics.interfaces import Flow
from dogcm.field import exchange
from dogcm.operators import diff_x_q2v, diff_y_q2u

pytestmark = pytest.mark.optimised

EPS = np.finfo(float).eps


# ---- advection


class Carried:
    """One tracer carried by a steady flow through the model's own tracer code, in two equal layers.

    Args:
        psi: streamfunction (m2 s-1) at the south-west corners of cells, (ny, nx), zero on walls; or
            None with ``u``, a uniform zonal flow (m s-1).
    """

    def __init__(self, model, scheme, dt, psi=None, u=0.0):
        self.model, self.dt = model, dt
        self.dynamics = replace(
            model.dynamics,
            physics=replace(
                model.physics, tracer_advection=make("tracer_advection", scheme), dt=dt
            ),
        )
        g = model.grid
        if psi is None:
            self.flow_u, self.flow_v = g.h_u * g.mask_u * u, g.h_v * 0.0
        else:
            (q,) = exchange(
                model.halos, (own(np.broadcast_to(psi, (2, *psi.shape)), "q"), Halo.of(3))
            )
            self.flow_u = -diff_y_q2u(q) / g.dy_u * g.h_u * g.mask_u
            self.flow_v = diff_x_q2v(q) / g.dx_v * g.h_v * g.mask_v
        self.w = g.mask_cw * 0.0
        self._many = jax.jit(self._steps, static_argnums=1)

    def rate(self, c):
        """Tendency (s-1 times the tracer's unit), (nz, ny, nx), for interior values ``c``."""
        m = self.model
        (f,) = exchange(m.halos, (own(0, "c").with_data(c), Halo.of(2)))
        flow = Flow(self.flow_u, self.flow_v, self.w, m.grid.h_c, self.dt)
        scheme = self.dynamics.physics.tracer_advection
        advective = scheme.prepare({"c": f}, flow, m.halos, 0, m.grid)("c")
        fluxes = self.dynamics.tracer_step.fluxes(f, advective, m.params, m.grid)
        content = convergence(*fluxes, m.grid)
        return content.interior / jnp.asarray(m.vertical.dz)[:, None, None]

    def _steps(self, c, count):
        return jax.lax.fori_loop(0, count, lambda _, c: c + self.dt * self.rate(c), c)

    def carry(self, c, count):
        """The field (ny, nx) after ``count`` steps."""
        return np.asarray(self._many(jnp.asarray(np.broadcast_to(c, (2, *c.shape))), count))[0]


def strip(n):
    return plane(n, 4, [10.0, 10.0], 1.0 / n, 0.25, 1.0)


def wave_errors(scheme, sizes, courant=0.3):
    """r.m.s. error of a sine wave carried around a periodic strip once."""
    errors = []
    for n in sizes:
        x = (np.arange(n) + 0.5) / n
        c0 = np.tile(np.sin(2 * np.pi * x), (4, 1))
        steps = round(n / courant)
        c = Carried(strip(n), scheme, 1.0 / steps, u=1.0).carry(c0, steps)
        errors.append(np.sqrt(((c - c0) ** 2).mean()))
    return errors


def test_advection_order_in_uniform_flow():
    """Direct space-time schemes are third order at a fixed Courant number, upwind is first.

    The leading error of the wave falls with exactly that power; the next term changes the observed
    order by some 0.02 at these sizes for third order and by 0.1 for upwind, whose error is no
    longer small.
    """
    third, first = wave_errors("dst3", (20, 40, 80)), wave_errors("upwind", (80, 160, 320))
    print(f"dst3 {third} order {order(third)}; upwind {first} order {order(first)}")
    assert abs(order(third)[-1] - 3) < 0.1, f"dst3: errors {third}, order {order(third)}"
    assert abs(order(first)[-1] - 1) < 0.1, f"upwind: errors {first}, order {order(first)}"


def rotating(n, scheme="dst3", dt=None):
    """A basin of 1 m by 1 m with a flow that turns rigidly (once in 1 s) and stops before the
    walls."""
    model = plane(n, n, [10.0, 10.0], 1.0 / n, 1.0 / n, 1.0, periodic=False)
    y, x = np.meshgrid(np.arange(n) / n - 0.5, np.arange(n) / n - 0.5, indexing="ij")
    psi = np.pi * (np.minimum(np.hypot(x, y), 0.5) ** 2 - 0.25)
    return Carried(model, scheme, dt or 1.0 / (20 * n), psi)


def cell_means(function, n, nodes=4):
    """Means over the n by n cells by Gauss-Legendre quadrature."""
    at, weight = np.polynomial.legendre.leggauss(nodes)
    edge = (np.arange(n) + 0.5) / n - 0.5
    out = np.zeros((n, n))
    for a, wa in zip(at, weight):
        for b, wb in zip(at, weight):
            x, y = np.meshgrid(edge + a / (2 * n), edge + b / (2 * n))
            out += 0.25 * wa * wb * function(x, y)
    return out


def bump(x, y, width=0.06):
    return np.exp(-((x - 0.15) ** 2 + y**2) / (2 * width**2))


def bump_rate(x, y, width=0.06):
    """-(u c_x + v c_y) for rigid rotation u = -2 pi y, v = 2 pi x."""
    c_x, c_y = -(x - 0.15) / width**2 * bump(x, y), -y / width**2 * bump(x, y)
    return 2 * np.pi * (y * c_x - x * c_y)


@pytest.mark.parametrize(
    "scheme, expected, within",
    [
        pytest.param("dst3", 3, 0.15, marks=pytest.mark.slow),
        ("upwind", 1, 0.15),
        ("centered", 2, 0.15),
    ],
)
def test_advection_order_in_rotation(scheme, expected, within):
    """The tendency of a smooth bump in rigid rotation, as cell means and at vanishing Courant
    number.

    Reconstruction alone is measured: at finite steps the unsplit sum of two directions adds errors
    of order dt by the missing cross difference. Third order holds here although the product of face
    means is second
    order in general: in rigid rotation on square cells those terms of x and y cancel. 0.15: the
    next order in cells per bump, 3 to 12 of them.
    """
    errors = []
    for n in (40, 80, 160):
        rate = np.asarray(
            rotating(n, scheme, 1e-9).rate(jnp.asarray(np.tile(cell_means(bump, n), (2, 1, 1))))
        )[0]
        errors.append(np.sqrt(((rate - cell_means(bump_rate, n)) ** 2).mean()))
    print(scheme, errors, order(errors))
    assert abs(order(errors)[-1] - expected) < within, (
        f"{scheme}: errors {errors}, orders {order(errors)}"
    )


@pytest.mark.parametrize("scheme, largest", [("dst3", 0.035), ("dst3_limited", 0.04)])
def test_one_rotation(scheme, largest):
    """The bump (width 0.08 of the basin, 64 cells across: 5 cells per width) after one turn.

    Courant number at most 0.16. r.m.s. error relative to r.m.s. bump. Upwind third order leaves the
    damping u dx^3 / 12 c_xxxx in each direction; with <k^4> = 3 / (4 s^4) for a bump of width s,
    and 2 pi 0.15 the way it goes (half of it along either axis), dx^3 pi 0.15 / (12 s^4) = 4 %,
    less what spreading takes off. The limiter adds the flattened top.
    """
    n = 64
    c0 = cell_means(lambda x, y: bump(x, y, 0.08), n)
    c = rotating(n, scheme).carry(c0, 20 * n)
    error = np.sqrt(((c - c0) ** 2).mean() / (c0**2).mean())
    print(scheme, "after one turn", error, c.min(), c.max(), c0.max())
    assert error < largest, f"{scheme}: relative error {error:.3f} after one turn"
    # Fluxes leave one cell and enter the next: round-off of 1280 sums.
    drift = abs(c.sum() - c0.sum()) / c0.sum()
    assert drift < 1e-13, f"{scheme}: the integral drifts by {drift:.2e}"


@pytest.mark.parametrize("scheme", ["dst3_limited", "dst3", "centered", "upwind"])
def test_uniform_tracer_stays_uniform(scheme):
    """The flow of a streamfunction diverges by round-off only, and so does the tendency of a
    constant."""
    carried = rotating(32, scheme)
    error = np.abs(carried.carry(np.full((32, 32), 35.0), 200) - 35.0).max()
    assert error < 200 * 35 * EPS, f"{scheme}: a constant changes by {error:.2e}"


def steps_of_one_and_zero(n):
    x = (np.arange(n) + 0.5) / n
    return np.tile(((x > 0.3) & (x < 0.6)).astype(float), (4, 1))


@pytest.mark.parametrize("courant", [0.05, 0.3, 0.9])
def test_limited_scheme_keeps_bounds(courant):
    """The limiter lets no new extremum arise in one dimension at any Courant number to 1 (Sweby
    1984).

    Exactly, but for round-off. Without it the same front overshoots by several per cent: the test
    would notice.
    """
    n, steps = 50, round(50 / courant)
    c0 = steps_of_one_and_zero(n)
    limited, plain = (
        Carried(strip(n), s, 1.0 / steps, u=1.0).carry(c0, steps // 2)
        for s in ("dst3_limited", "dst3")
    )
    low, high = limited.min(), limited.max() - 1
    assert low > -100 * EPS and high < 100 * EPS, (
        f"limited scheme: {low:.2e} below, {high:.2e} above"
    )
    variation = np.abs(np.diff(limited[1], append=limited[1, :1])).sum()
    assert variation < 2 + 1000 * EPS, f"limited scheme: total variation grew to {variation}"
    assert plain.max() - 1 > 0.005, (
        f"the unlimited scheme should overshoot here: {plain.max() - 1:.2e}"
    )


def test_limited_scheme_in_rotation():
    """A disc of 1 in 0, once around, Courant number at most 0.16 in each direction.

    The limiter works along each direction by itself; the sum of two may leave the bounds a little:
    measured 0.1 %, where the unlimited scheme does 9 %. Asked for: below 0.5 %, and a tenth of the
    unlimited one's.
    """
    n = 64
    c0 = cell_means(lambda x, y: (np.hypot(x - 0.15, y) < 0.15).astype(float), n)
    over = {
        s: (lambda c: max(c.max() - 1, -c.min()))(rotating(n, s).carry(c0, 20 * n))
        for s in ("dst3_limited", "dst3")
    }
    print("out of bounds", over)
    assert over["dst3_limited"] < 0.005, f"out of bounds by {over}"
    assert over["dst3_limited"] < 0.1 * over["dst3"], f"out of bounds by {over}"


def test_zonal_flow_on_the_sphere():
    """Solid-body zonal flow on latitudes and longitudes carries each circle alone and equally far.

    One turn of a wave; the flow through a face is its mean of ``U cos(lat)``, which the cells'
    areas contain too. Third order in longitude as on a strip. The Courant number of the
    reconstruction takes the length of the cell's middle where the volume would be exact, so that it
    is off by (d lat)^2 / 24 = 3e-4; that leaves an (anti)diffusion of u dx / 2 times it, 3 % of the
    error on the finer grid, and 0.1 of the order.
    """
    errors = []
    for n in (36, 72):
        model = dogcm.Model(
            {
                "name": "ring",
                "grid": {"nx": n, "ny": 8, "lat": (20, 60), "layers": [10.0, 10.0]},
                "bathymetry": {"source": "flat", "depth": 20.0},
                "physics": {"equation_of_state": "linear"},
                "parameters": {"lateral_diffusivity": 0.0},
            }
        )
        steps = 4 * n
        carried = Carried(model, "dst3", 1.0 / steps)
        g = model.grid
        carried.flow_u = g.h_u * g.mask_u * g.area_u / g.dy_u * n  # one turn in 1 s
        lon = np.deg2rad((np.arange(n) + 0.5) * 360 / n)
        c0 = np.tile(np.sin(2 * lon), (8, 1))
        error = np.sqrt(((carried.carry(c0, steps) - c0) ** 2).mean(1))
        assert np.ptp(error) < 0.01 * error[0], f"circles of latitude differ: {error}"
        errors.append(error[0])
    print("zonal flow", errors, order(errors))
    assert abs(order(errors)[0] - 3) < 0.15, f"errors {errors}, order {order(errors)}"


# ---- diffusion, friction, drag


@pytest.fixture(scope="module")
def still():
    """A channel without rotation and without expansion by heat: nothing but mixing happens."""
    return plane(
        8,
        16,
        [20.0] * 8,
        10e3,
        10e3,
        1000.0,
        physics={"equation_of_state": {"kind": "linear", "thermal_expansion": 0.0}},
    )


@pytest.fixture
def mixing(still):
    """``still`` with parameters set for one test."""
    before = dict(still.params)

    def change(**values):
        still.params = {**before, **{k: jnp.asarray(v) for k, v in values.items()}}
        return still

    yield change
    still.params = before


def test_vertical_diffusion_decays_exactly(mixing):
    """A cosine over depth is an eigenvector of the layers; backward Euler takes 1 / (1 + K mu dt) a
    step.

    mu = 4 sin^2(m pi / 2 nz) / dz^2. Exact: round-off of 20 solves. Against the continuous decay
    exp(-K m^2 t): the layers' (m dz)^2 / 12 = 5 % for m = 2, and K mu dt / 2.
    """
    nz, dz, K, steps, m = 8, 20.0, 1e-3, 20, 2
    model = mixing(vertical_diffusivity=K)
    shape = np.cos(m * np.pi * (np.arange(nz) + 0.5) / nz)[:, None, None]
    start(model, temperature=10 + shape)
    model.advance(steps)
    rate = K * 4 * np.sin(m * np.pi / (2 * nz)) ** 2 / dz**2
    expected = 10 + shape * (1 + rate * model.physics.dt) ** -steps
    error = np.abs(value(model, "temperature") - expected).max()
    assert error < 1e-12, f"off by {error:.2e} degC"
    continuous = np.exp(-K * (m * np.pi / (nz * dz)) ** 2 * steps * model.physics.dt)
    ratio = (1 + rate * model.physics.dt) ** -steps / continuous
    assert abs(ratio - 1) < 0.05, f"decay differs from the continuous one by the factor {ratio:.4f}"


def test_vertical_viscosity_decays_exactly(mixing):
    """The same for a sheared flow; the depth mean stays."""
    nz, dz, A, steps = 8, 20.0, 2e-3, 20
    model = mixing(vertical_viscosity=A)
    shape = np.cos(np.pi * (np.arange(nz) + 0.5) / nz)[:, None, None]
    start(model, u=0.1 + 0.1 * shape)
    model.advance(steps)
    factor = (1 + A * 4 * np.sin(np.pi / (2 * nz)) ** 2 / dz**2 * model.physics.dt) ** -steps
    error = np.abs(value(model, "u") - (0.1 + 0.1 * shape * factor)).max()
    assert error < 1e-13, f"off by {error:.2e} m/s"


def test_lateral_diffusion_decays_exactly(mixing):
    """A product of cosines is an eigenvector; forward Euler takes 1 - K (k^2 + l^2) dt, the grid's
    k, l."""
    nx, ny, d, K, steps = 8, 16, 10e3, 2e3, 20
    model = mixing(lateral_diffusivity=K)
    x, y = (np.arange(nx) + 0.5) / nx, (np.arange(ny)[:, None] + 0.5) / ny
    shape = np.cos(2 * np.pi * x) * np.cos(np.pi * y)
    start(model, temperature=10 + shape)
    model.advance(steps)
    squares = 4 / d**2 * (np.sin(np.pi / nx) ** 2 + np.sin(np.pi / (2 * ny)) ** 2)
    expected = 10 + shape * (1 - K * squares * model.physics.dt) ** steps
    error = np.abs(value(model, "temperature") - expected).max()
    assert error < 1e-12, f"off by {error:.2e} degC"


def test_lateral_viscosity_decays_exactly(mixing):
    """A cosine shear flow along a free-slip channel: forward Euler takes 1 - A l^2 dt, the grid's
    l."""
    ny, d, A, steps = 16, 10e3, 5e3, 20
    model = mixing(lateral_viscosity=A)
    shape = np.cos(np.pi * (np.arange(ny)[:, None] + 0.5) / ny)
    start(model, u=0.1 * shape)
    model.advance(steps)
    factor = (1 - A * 4 / d**2 * np.sin(np.pi / (2 * ny)) ** 2 * model.physics.dt) ** steps
    error = np.abs(value(model, "u") - 0.1 * shape * factor).max()
    assert error < 1e-13, f"off by {error:.2e} m/s"


def test_linear_bottom_drag(mixing):
    """Drag r u on the lowest layer alone, backward Euler: 1 / (1 + r dt / h) a step; none above."""
    r, h, steps = 1e-3, 20.0, 10
    model = mixing(bottom_drag_linear=r)
    start(model, u=0.1)
    model.advance(steps)
    expected = np.full(8, 0.1)
    expected[-1] *= (1 + r * model.physics.dt / h) ** -steps
    error = np.abs(value(model, "u") - expected[:, None, None]).max()
    assert error < 1e-13, f"off by {error:.2e} m/s"


def test_spin_down_of_a_stirred_column(mixing):
    """With strong vertical friction the whole column slows at r / H.

    The continuous answer exp(-r t / H); backward Euler is slower by r dt / 2 H = 0.3 %, shear over
    depth r H / 3 nu = 0.5 % of the rate.
    """
    r, steps, depth = 1e-3, 100, 160.0
    model = mixing(bottom_drag_linear=r, vertical_viscosity=10.0)
    start(model, u=0.1)
    model.advance(steps)
    left = value(model, "u").mean() / 0.1
    rate = -np.log(left) / (steps * model.physics.dt)
    assert abs(rate / (r / depth) - 1) < 0.01, (
        f"spins down at {rate:.4e} s-1, expected {r / depth:.4e}"
    )


def test_quadratic_bottom_drag(mixing):
    """du/dt = -C u^2 / h gives u = u0 / (1 + C u0 t / h) in the lowest layer.

    The speed is that of the old step, the flow that of the new: first order, C u0 dt / h = 0.5 %
    here, half of it times ln(u0 / u) / (1 - u / u0), measured below 0.2 %. (A floor of 1e-4 m/s
    under the root is 1e-6 of it.)
    """
    C, h, u0, steps = 1e-3, 20.0, 0.1, 100
    model = mixing(bottom_drag_quadratic=C)
    start(model, u=u0)
    model.advance(steps)
    expected = u0 / (1 + C * u0 * steps * model.physics.dt / h)
    found = value(model, "u")[-1].mean()
    assert abs(found / expected - 1) < 0.003, f"{found:.6e} m/s, expected {expected:.6e}"
