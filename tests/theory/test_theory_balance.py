"""Rotating flows: inertial oscillation, geostrophic adjustment, thermal wind, Ekman, Munk."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve
from theory_helpers import ALPHA, GRAVITY, RHO0, plane, start, steady_wind, stratification, value

pytestmark = pytest.mark.optimised

F0 = 1e-4  # s-1


# ---- inertial oscillation


@pytest.mark.parametrize("dt", [1200.0, 7200.0])
def test_inertial_oscillation(dt):
    """Two layers moving against each other turn with period 2 pi / f (Gill 1982, section 8.3).

    Stepped u first and then v with the new u, uniform flow follows u[n+1] - 2 cos(w dt) u[n] +
    u[n-1] = 0 with sin(w dt / 2) = f dt / 2: exactly, so to round-off of some 1e-15 per step. w is
    above f by (f dt)^2 /
    24: 6e-4 at 1200 s, 2.3 % at 7200 s. The size is an invariant of the scheme (an ellipse), so
    nothing is lost. The walls are 40 rows away, and their influence passes one row a step through
    the average of four points.
    """
    ny, steps, u0 = 82, 36, 0.1
    model = plane(4, ny, [100.0, 100.0], 50e3, 50e3, dt, f0=F0)
    sign = np.array([1.0, -1.0])[:, None, None]
    start(model, u=u0 * sign, v=0.0)
    u, v = [u0], [0.0]
    for _ in range(steps):
        model.advance(1)
        u.append(value(model, "u")[0, ny // 2, 1])
        v.append(value(model, "v")[0, ny // 2, 1])
    u, v = np.array(u), np.array(v)
    omega = 2 / dt * np.arcsin(F0 * dt / 2)
    steps_done = np.arange(steps + 1)
    expected = u0 * np.cos(omega * dt * (steps_done - 0.5)) / np.cos(omega * dt / 2)
    # u[0] = u0 and v[0] = 0, so u[1] = u0 as well: the phase is zero half a step before the first
    # step ends.
    error = np.abs(u - expected).max() / u0
    print(f"f dt = {F0 * dt:.2f}: error {error:.2e}, frequency over f {omega / F0:.6f}")
    assert error < 1e-12, f"off by {error:.2e} of the amplitude at f dt = {F0 * dt:.2f}"
    assert abs(omega / F0 - 1) < 1.05 * (F0 * dt) ** 2 / 24 + (F0 * dt) ** 4 / 100
    size = u**2 + v**2 + F0 * dt * u * v
    assert np.ptp(size) / size[0] < 1e-12, f"size changes by {np.ptp(size) / size[0]:.2e}"
    assert v[1] < 0, "turns to the right where f > 0"


# ---- geostrophic adjustment


def adjusted():
    """Mean sea level and flow long after a step of sea level was let go, and what theory says.

    Returns:
        y over the Rossby radius; sea level over half the step, flow over the jet; the same of
        Gill's solution; the kinetic energy gained over the potential energy lost.
    """
    ny, depth = 200, 1000.0
    radius = np.sqrt(GRAVITY * depth) / F0
    dy = radius / 10
    model = plane(4, ny, [depth / 2] * 2, dy, dy, 600.0, f0=F0)
    y = (np.arange(ny) + 0.5 - ny / 2) * dy
    eta0 = 1e-3
    start(model, eta=-eta0 * np.sign(y)[:, None])
    model.advance(2000)  # the waves fade, by the averages over short steps
    eta, u, samples = 0.0, 0.0, 300
    for _ in range(samples):
        model.advance(7)
        eta, u = eta + value(model, "eta")[:, 1] / samples, u + value(model, "u")[0, :, 1] / samples
    kinetic = 0.5 * depth * (u**2).sum()
    released = 0.5 * GRAVITY * (eta0**2 - eta**2)[np.abs(y) < 8 * radius].sum()
    y, jet = y / radius, GRAVITY / F0 * eta0 / radius
    gill = np.exp(-np.abs(y))
    return y, eta / eta0, u / jet, -np.sign(y) * (1 - gill), gill, kinetic / released


def test_geostrophic_adjustment():
    """A step of sea level collapses over the Rossby radius, the rest is radiated (Gill 1982,
    section 7.2).

    Final state eta = -eta0 sgn(y) (1 - exp(-|y| / R)), u = -(g / f) d eta/dy. Potential vorticity
    of the start decides, so the mean over many periods of the waves that cannot leave the channel
    must have that shape too. R is 10 cells: the decay over four-point means is off by (dy / R)^2 /
    8 = 1e-3; walls 10 R away reflect; waves left in the mean, about 1 / (f t) of eta0 = 1e-3.
    Together 5e-3 of eta0. u has a kink on the step, which the grid rounds off by dy / 2 R = 5 %, so
    it is compared one R away and beyond: 1 % of the jet. A third of the potential energy released
    becomes kinetic energy (Gill's equation 7.2.24); the rounded kink takes 1 % of it.
    """
    y, eta, u, gill_eta, gill_u, share = adjusted()
    near, away = np.abs(y) < 5, (np.abs(y) < 5) & (np.abs(y) > 1)
    off, off_u = np.abs(eta - gill_eta)[near].max(), np.abs(u - gill_u)[away].max()
    print(f"adjusted: sea level off by {off:.2e}, flow by {off_u:.2e}; energy share {share:.4f}")
    assert off < 0.005, f"sea level off by {off:.2e} of the step"
    assert off_u < 0.01, f"flow off by {off_u:.2e} of the jet"
    assert abs(share - 1 / 3) < 0.01, f"kinetic over released energy: {share:.4f}, not 1/3"


# ---- thermal wind


FRONT, CONTRAST, SCALE = (
    60e3,
    1.0,
    400.0,
)  # half width (m), half contrast (degC), e-folding depth (m)


def front(y, layers):
    """A front warm in the north: temperature (nz, ny), and zonal flow and sea level (m) in balance.

    ``f du/dz = g / rho0 d rho/dy`` for rho = -rho0 alpha T, integrated in closed form; no flow in
    the depth mean.
    """
    layers = np.asarray(layers)[:, None]
    z = np.cumsum(layers, 0) - layers / 2
    temperature = stratification(layers[:, 0], 1e-5)[:, None] + CONTRAST * np.tanh(
        y / FRONT
    ) * np.exp(-z / SCALE)
    shear_depth = SCALE * np.exp(-z / SCALE)
    mean = (shear_depth * layers).sum(0) / layers.sum()
    u = -GRAVITY * ALPHA / F0 * CONTRAST / FRONT / np.cosh(y / FRONT) ** 2 * (shear_depth - mean)
    weight = -GRAVITY * ALPHA * temperature * layers
    pressure = np.cumsum(weight, 0) - weight / 2
    eta = -(pressure * layers).sum(0) / layers.sum() / GRAVITY
    return temperature, u, eta - eta.mean()


def test_thermal_wind_stays():
    """A jet in thermal wind balance stays, for 10 days, nonlinear terms on; shear g / (f rho0) d
    rho/dy.

    Of the jet, the grid's balance takes (dy / L)^2 / 4 by its four-point mean and gives (dy / L)^2
    / 12 by
    its difference: 0.5 % for L = 60 km; 100 m layers on a 400 m scale 0.3 %. That much oscillates
        and does
    not grow: 1 %. On the grid's own terms, mean of the shear on either side against the difference
        of density
    between, only the oscillation is left: 0.5 %. The jet turned round is not in balance.
    """
    ny, dy, layers = 60, 10e3, np.full(10, 100.0)
    model = plane(4, ny, layers, dy, dy, 900.0, f0=F0, physics={"momentum_advection": "energy"})
    y = (np.arange(ny) + 0.5 - ny / 2) * dy
    temperature, u, eta = front(y, layers)
    start(model, u=u[:, :, None], eta=eta[:, None], temperature=temperature[:, :, None])
    model.advance(960)
    jet = np.abs(u).max()
    now, warm = value(model, "u")[:, :, 1], value(model, "temperature")[:, :, 1]
    off, moved = np.abs(now - u).max() / jet, np.abs(warm - temperature).max() / (2 * CONTRAST)
    shear = np.diff(now, axis=0) / -100.0
    between = 0.5 * (warm[1:] + warm[:-1])
    expected = -GRAVITY * ALPHA / F0 * np.diff(between, axis=1) / dy
    shear_off = (
        np.abs(0.5 * (shear[:, 1:] + shear[:, :-1]) - expected).max() / np.abs(expected).max()
    )
    print(
        f"jet {jet:.3f} m/s: changed by {off:.2e}, temperature by {moved:.2e}; shear off by "
        f"{shear_off:.2e}"
    )
    assert off < 0.01 and moved < 0.01, f"jet changed by {off:.2e}, temperature by {moved:.2e}"
    assert shear_off < 0.005, f"shear differs from thermal wind by {shear_off:.2e}"
    start(model, u=-u[:, :, None], eta=eta[:, None], temperature=temperature[:, :, None])
    model.advance(20)
    assert np.abs(value(model, "u")[:, :, 1] + u).max() / jet > 0.2, (
        "the test would not see a jet out of balance"
    )


# ---- Ekman transport


def test_ekman_transport():
    """Steady wind drives tau / (rho0 f) to the right of itself in the upper layer (Gill 1982,
    section 9.2).

    A channel driven by tau(y) until steady: no pressure gradient along it, so the transport of the
    upper half is the Ekman transport, whatever the friction, and the bottom layer brings it back.
    The Coriolis force on
    a row of u takes the mean v of the two faces beside it: with that mean, exact but for what is
    left of the start, by spin-down exp(-30 days * sqrt(nu f / 2) / H) = 1e-4, and of the two Ekman
    spirals at mid-depth, 2 exp(-H / 2 d) = 1.7e-3.
    """
    nz, ny, depth, nu = 40, 12, 200.0, 1e-2
    model = plane(
        4,
        ny,
        [depth / nz] * nz,
        50e3,
        50e3,
        1800.0,
        f0=F0,
        parameters={"vertical_viscosity": nu, "bottom_drag_linear": 1e-2},
    )
    tau = 0.01 * np.sin(np.pi * (np.arange(ny) + 0.5) / ny)
    model.forcing = steady_wind(model, taux=tau[:, None])
    start(model)
    model.advance(1440)
    layers = value(model, "v")[:, :, 1] * (depth / nz)
    upper, lower = layers[: nz // 2].sum(0), layers[nz // 2 :].sum(0)
    at_u = 0.5 * (upper + np.append(upper[1:], 0.0))
    expected = -tau / (RHO0 * F0)
    off = np.abs(at_u - expected).max() / np.abs(expected).max()
    print(
        f"Ekman transport {at_u[ny // 2]:.5f} m2/s, expected {expected[ny // 2]:.5f}; off by "
        f"{off:.2e}"
    )
    assert off < 3e-3, f"transport of the upper half off by {off:.2e}: {at_u} for {expected}"
    assert np.abs(upper + lower).max() < 1e-3 * np.abs(expected).max(), (
        "what goes south above must return below"
    )
    # The spiral: at the surface 45 degrees to the right of the wind (5 m layers, Ekman depth 14 m:
    # half a layer turns the first layer's centre by 10 degrees, and the geostrophic flow is taken
    # off).
    u, v = (
        value(model, "u")[:, ny // 2, 1],
        0.5 * (value(model, "v")[:, ny // 2, 1] + value(model, "v")[:, ny // 2 + 1, 1]),
    )
    inner = nz // 2
    angle = np.rad2deg(np.arctan2(v[0] - v[inner], u[0] - u[inner]))
    thickness = np.sqrt(2 * nu / F0)
    spiral = -45 - np.rad2deg(depth / nz / 2 / thickness)
    print(f"surface flow {angle:.1f} degrees from the wind, expected {spiral:.1f}")
    assert abs(angle - spiral) < 2.0


# ---- Munk's gyre


def gyre(no_slip):
    """A linear gyre on a beta plane, spun up to a steady state; returns what the tests compare.

    Shallow (50 m), which allows long steps, and weak, eta / H = 1e-4; 300 days until basin modes
    have faded. A makes (A / beta)^(1/3) = 60 km, 3 cells.
    """
    n, d, depth, beta, width = 50, 20e3, 50.0, 2e-11, 60e3
    viscosity = beta * width**3
    model = plane(
        n,
        n,
        [depth / 2] * 2,
        d,
        d,
        7200.0,
        f0=F0,
        beta=beta,
        periodic=False,
        physics={"friction": {"no_slip": no_slip, "viscosity_power": 0.0}},
        parameters={"lateral_viscosity": viscosity, "vertical_viscosity": 1.0},
    )
    y = (np.arange(n) + 0.5) * d
    size = n * d
    tau0 = 1e-4
    model.forcing = steady_wind(model, taux=(-tau0 * np.cos(np.pi * y / size))[:, None])
    start(model)
    model.advance(3480)
    before = value(model, "v").sum(0) * depth / 2  # m2 s-1 through south faces
    model.advance(120)
    transport = value(model, "v").sum(0) * depth / 2
    settled = np.abs(transport - before).max() / np.abs(transport).max()
    assert settled < 2e-3, f"not steady: changes by {settled:.2e} in ten days"
    psi = np.concatenate([np.zeros((n, 1)), np.cumsum(transport * d, 1)], 1)  # corners, m3 s-1
    sverdrup = np.pi * tau0 / (RHO0 * size * beta)  # m2 s-1, southward, at mid-latitude
    return dict(
        n=n, d=d, size=size, width=width, psi=psi, v=transport, sverdrup=sverdrup, beta=beta
    )


def munk_profile(g, x, no_slip):
    """Streamfunction (m3 s-1) at mid-latitude of the linear gyre psi = X(x) sin(pi y / L), two
    walls.

    A (X_xxxx - 2 l^2 X_xx + l^4 X) - beta X_x = beta sverdrup, with X = 0 and X_x = 0 (no slip) or
    X_xx = 0 (free slip).
    """
    A, l = g["beta"] * g["width"] ** 3, np.pi / g["size"]
    roots = np.roots([A, 0, -2 * A * l**2, -g["beta"], A * l**4])
    # Each exponential counts from the wall where it is largest, so that none overflows.
    base = np.where(roots.real > 0, g["size"], 0.0)
    particular = g["beta"] * g["sverdrup"] / (A * l**4)
    rows, right = [], []
    for wall in (0.0, g["size"]):
        e = np.exp(roots * (wall - base))
        rows += [e, (roots if no_slip else roots**2) * e]
        right += [-particular, 0.0]
    c = np.linalg.solve(np.array(rows), np.array(right))
    x = np.asarray(x)[:, None]
    return (particular + (c * np.exp(roots * (x - base))).sum(1)).real


def linear_gyre(g, n):
    """Streamfunction (m3 s-1) of the steady linear gyre with no slip on all four walls, on (n +
    1)^2 nodes.

    An independent solution: five-point Laplacians for zeta = lap psi and A lap zeta - beta psi_x =
    beta sverdrup sin(pi y / L), with the wall vorticity 2 psi / h^2 of the first inner node (Thom
    1933), by a sparse solver.
    """
    h, inner = g["size"] / n, n - 1
    one, shift = sparse.identity(inner), sparse.eye(inner, k=1) - sparse.eye(inner, k=-1)
    second = (sparse.eye(inner, k=1) + sparse.eye(inner, k=-1) - 2 * one) / h**2
    lap = sparse.kron(second, one) + sparse.kron(one, second)
    first = np.zeros(inner)
    first[[0, -1]] = (
        2 / h**4
    )  # what the wall's vorticity adds to the Laplacian of the node next to it
    wall = sparse.kron(sparse.diags(first), one) + sparse.kron(one, sparse.diags(first))
    beta_term = sparse.kron(one, shift) * (g["beta"] / (2 * h))
    forcing = g["beta"] * g["sverdrup"] * np.repeat(np.sin(np.pi * np.arange(1, n) / n), inner)
    A = g["beta"] * g["width"] ** 3
    psi = spsolve((A * (lap @ lap + wall) - beta_term).tocsc(), forcing).reshape(inner, inner)
    return np.pad(psi, 1)


def peak(x, psi):
    """Place and size of the largest value, by a parabola through three points."""
    i = int(np.argmax(psi))
    a, b, c = psi[i - 1 : i + 2]
    shift = 0.5 * (a - c) / (a - 2 * b + c)
    return x[i] + shift * (x[1] - x[0]), b - 0.25 * (a - c) * shift


@pytest.mark.parametrize("no_slip", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_munk_gyre(no_slip):
    """Boundary current, maximum and Sverdrup interior of Munk's gyre (1950), the section at
    mid-latitude.

    With free-slip walls his solution is exact. With no slip it leaves out the layers along the
    northern and southern walls, which grow to (w^3 L)^(1/4) = 120 km and reach mid-latitude with 2
    % or so; so the section is compared with the linear equations solved on a finer grid as well. 3
    cells per boundary-layer scale w,
    second order: (dx / w)^2 / 12 = 0.9 % in the boundary current; the stress on a no-slip wall,
    taken over half a cell, adds (dx / w)^2 / 8 = 1.4 %. The wrong one of the two wall conditions is
    off by 22 %.
    """
    g = gyre(no_slip)
    n, size = g["n"], g["size"]
    x, fine = np.linspace(0, size, n + 1), np.linspace(0, size, 2001)
    found = g["psi"][n // 2]
    munk = munk_profile(g, x, no_slip)
    exact = linear_gyre(g, 3 * n)[3 * n // 2, ::3] if no_slip else munk
    off = np.abs(found - exact).max() / exact.max()
    (reach, top), (exact_reach, exact_top) = (
        peak(x, found),
        peak(fine, munk_profile(g, fine, no_slip)),
    )
    inner = slice(22, 41)  # 440 to 820 km
    sverdrup, expected = (
        -np.diff(p[inner]).mean() / g["d"] / g["sverdrup"] for p in (found, exact)
    )
    print(
        f"gyre, no-slip {no_slip}: section off by {off:.2e}; against Munk: maximum "
        f"{top / exact_top - 1:+.2e}, "
        f"reach {reach / 1e3:.1f} km for {exact_reach / 1e3:.1f}; "
        f"interior {sverdrup:.3f} of Sverdrup's for {expected:.3f}"
    )
    assert off < 0.015, f"section off by {off:.2e}"
    assert abs(top / exact_top - 1) < 0.03, f"maximum {top:.4e}, Munk's {exact_top:.4e} m3/s"
    assert abs(reach / exact_reach - 1) < 0.03, (
        f"boundary current reaches {reach:.4e} m, Munk's {exact_reach:.4e} m"
    )
    assert abs(sverdrup / expected - 1) < 0.015, (
        f"interior {sverdrup:.3f} of Sverdrup's, expected {expected:.3f}"
    )
    assert abs(expected - 1) < 0.1
