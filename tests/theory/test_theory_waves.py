"""Kelvin, Rossby and gravity waves against linear theory.

Each wave starts as the exact eigenmode of the semi-discrete linear equations (the model's C grid,
continuous in time), so that nothing has to adjust. Its frequency is compared twice: with that of
the eigenmode, which leaves the errors of time stepping alone, and with the textbook formula, where
the C grid's truncation adds up.
"""

from __future__ import annotations

import numpy as np
import pytest
from theory_helpers import (
    GRAVITY,
    amplitude,
    channel_modes,
    plane,
    sampled,
    start,
    stratification,
    value,
    vertical_mode,
)

from dogcm.dynamics.free_surface import averaging_weights

pytestmark = pytest.mark.optimised

LAYERS = [200.0] * 10
N2 = 9e-6


def launch(model, mode, k, vertical=None, size=1e-3):
    """Start ``model`` from one channel mode (omega, u, v, p) with largest zonal flow ``size`` (m
    s-1).

    Args:
        vertical: (speed, structure, response) of an internal mode; None for the depth-independent
            one.

    Returns:
        x of cell centres (m).
    """
    omega, u, v, p = mode
    dx, nx = model.horizontal.dx, model.horizontal.nx
    x_c, x_u = (np.arange(nx) + 0.5) * dx, np.arange(nx) * dx
    scale = size / np.abs(u).max()
    if vertical is not None:
        # Internal waves are stepped forward-backward: velocity n belongs half a step before
        # temperature n.
        half = np.exp(0.5j * omega * model.physics.dt)
        u, v = u * half, v * half
    u2, v2, p2 = (sampled(scale * a, k, x) for a, x in ((u, x_u), (v, x_c), (p, x_c)))
    if vertical is None:
        start(model, u=u2, v=v2, eta=p2 / GRAVITY)
        return x_c
    c, structure, response = (np.asarray(a)[..., None, None] for a in vertical)
    # p_t = -c^2 div and T_t = response * div
    background = stratification(LAYERS, N2)[:, None, None]
    start(model, u=structure * u2, v=structure * v2, temperature=background - response * p2 / c**2)
    return x_c


def frequency(model, name, level, row, k, x, steps):
    """Frequency (s-1) and change of size over ``steps`` of the part exp(ikx) of one row."""

    def pick():
        field = value(model, name)
        return amplitude((field if level is None else field[level])[row], k, x)

    before = pick()
    model.advance(steps)
    after = pick()
    return -np.angle(after / before) / (steps * model.physics.dt), abs(after / before)


def closest(modes, omega):
    """The mode whose frequency is nearest to ``omega``."""
    i = np.argmin(np.abs(modes[0] - omega))
    return tuple(m[i] for m in modes)


def near(measured, expected, tolerance, what):
    error = measured / expected - 1
    print(f"{what}: {measured:.6e}, expected {expected:.6e}, relative difference {error:+.2e}")
    assert abs(error) <= tolerance, (
        f"{what}: {measured:.6e} is not {expected:.6e}: off by {error:+.2e} > {tolerance:g}"
    )


def stepped_surface_wave(model, omega):
    """Frequency (s-1) and damping rate (s-1) that the split scheme gives a surface wave.

    From the scheme itself, for sea level and transport scaled to rotate into one another:
    forward-backward short steps; the new transport is their average with weights a, sea level moves
    by their average with weights b.
    """
    a, b = averaging_weights(model.split.steps)
    dt = model.physics.dt
    short = omega * dt / model.split.steps
    one = np.array(
        [[1.0, -short], [short, 1.0 - short**2]]
    )  # (eta, U): eta first, then U from the new eta
    state, U_new, U_mean = np.eye(2), np.zeros(2), np.zeros(2)
    for wa, wb in zip(a, b):
        U_mean = U_mean + wb * state[1]
        state = one @ state
        U_new = U_new + wa * state[1]
    factor = np.linalg.eigvals(np.array([np.array([1.0, 0.0]) - omega * dt * U_mean, U_new]))[0]
    return abs(np.angle(factor)) / dt, -np.log(abs(factor)) / dt


def trapping(amplitudes, dy, rows):
    """e-folding distance (m) from the southern wall, fitted over the first ``rows``."""
    y = (np.arange(rows) + 0.5) * dy
    return -1 / np.polyfit(y, np.log(np.abs(amplitudes[:rows])), 1)[0]


@pytest.fixture(scope="module")
def internal():
    """First internal mode: speed (m s-1), structure of the flow, response of temperature."""
    return vertical_mode(LAYERS, stratification(LAYERS, N2))


def test_internal_mode_speed(internal):
    """The layers' own first mode is that of the continuous ocean, N H / pi (Gill 1982, section
    6.11).

    Ten layers resolve half a cosine: two centred sums, each with (pi / 10)^2 / 24 ... / 12 in c, so
    about (pi / 10)^2 / 12 = 0.8 %.
    """
    near(internal[0], np.sqrt(N2) * sum(LAYERS) / np.pi, 0.01, "first internal mode (m s-1)")


def test_barotropic_kelvin_wave():
    """Runs along the southern wall with sqrt(g H), trapped within the Rossby radius (Gill 1982,
    10.4).

    Over one period against the eigenmode: time stepping, (omega dt)^2 / 12 = 3e-4, and the wobble
    by the part of the start that is not of the mode, measured 1.3e-3 within a quarter period and
    averaging out over a whole one. Against theory: also the C grid, (k dx)^2 / 24 = 1.6e-3 for 32
    cells per wave. Trapping: 12 cells per Rossby radius, (dy / R)^2 / 8 = 8e-4 each by the mean
    over four points and by the difference, and the free-slip northern wall 4 R away, exp(-4)
    squared; 1 % together. Size: the averaging over short steps takes 2.8e-3 (see the seiche), the
    wobble 2e-3.
    """
    nx, ny, dx, dy, depth, f = 32, 50, 200e3, 80e3, 1000.0, 1e-4
    c, k = np.sqrt(GRAVITY * depth), 2 * np.pi / (nx * dx)
    model = plane(nx, ny, [depth / 2] * 2, dx, dy, 600.0, f0=f)
    mode = closest(channel_modes(ny, dx, dy, k, c, np.full(ny, f)), c * k)
    x = launch(model, mode, k)
    quarter = round(2 * np.pi / mode[0] / model.physics.dt / 4)
    parts = [frequency(model, "eta", None, 0, k, x, quarter) for _ in range(4)]
    omega, kept = np.mean([p[0] for p in parts]), np.prod([p[1] for p in parts])
    near(omega, mode[0], 1e-3, "Kelvin wave against its eigenmode (s-1)")
    near(omega, c * k, 3e-3, "Kelvin wave against sqrt(g H) (s-1)")
    near(kept, 1.0, 6e-3, "size left after one period")
    near(trapping(amplitude(value(model, "eta"), k, x), dy, 15), c / f, 0.01, "Rossby radius (m)")


def test_internal_kelvin_wave(internal):
    """The same for the first internal mode (Gill 1982, section 10.4).

    Against the eigenmode: time stepping (omega dt)^2 / 24 = 5e-6 and the free surface, (c1 / c0)^2
    = 2e-4; half a period. Against theory with the layers' c1: the C grid, (k dx)^2 / 24 = 1.6e-3.
    Trapping: 2.4 cells per Rossby radius, (dy / R)^2 / 12 = 1.5 %, beside what start-up noise
        leaves.
    """
    c, nx, ny, dx, dy, f = internal[0], 32, 40, 40e3, 8e3, 1e-4
    k = 2 * np.pi / (nx * dx)
    model = plane(nx, ny, LAYERS, dx, dy, 1200.0, f0=f)
    mode = closest(channel_modes(ny, dx, dy, k, c, np.full(ny, f)), c * k)
    x = launch(model, mode, k, internal)
    omega, kept = frequency(
        model, "temperature", 4, 0, k, x, round(2.8 / mode[0] / model.physics.dt)
    )
    near(omega, mode[0], 1e-3, "internal Kelvin wave against its eigenmode (s-1)")
    near(omega, c * k, 3e-3, "internal Kelvin wave against c1 k (s-1)")
    near(kept, 1.0, 1e-3, "size left after half a period")
    found = amplitude(value(model, "temperature")[4], k, x)
    near(trapping(found, dy, 15), c / f, 0.02, "internal Rossby radius (m)")


def test_barotropic_rossby_wave():
    """Westward with beta / (k^2 + l^2 + 1 / R^2) (Gill 1982, section 12.3), f within 10 % of f0.

    Against the eigenmode: time stepping (omega dt)^2 / 12 = 1e-5 and a few 1e-5 of other modes.
    Against the formula on the C grid, where the beta term is averaged, ``sin(k dx) cos(l dy) / dx``
    for k, and k^2 is ``4 sin(k dx / 2)^2 / dx^2``: 5e-4 for f varying across the channel. Against
    the continuous formula: -(k dx)^2 / 12 - (l dy)^2 / 2 + ... = 1 %.
    """
    nx, ny, d, depth, f0, beta = 32, 32, 40e3, 4000.0, 1e-4, 2e-11
    c, k, l = np.sqrt(GRAVITY * depth), 2 * np.pi / (nx * d), np.pi / (ny * d)
    model = plane(nx, ny, [depth / 2] * 2, d, d, 3600.0, f0=f0, beta=beta, y0=-ny / 2 * d)
    theory = -beta * k / (k**2 + l**2 + (f0 / c) ** 2)
    squared = 4 / d**2 * (np.sin(k * d / 2) ** 2 + np.sin(l * d / 2) ** 2)
    on_grid = -beta * np.sin(k * d) / d * np.cos(l * d) / (squared + (f0 / c) ** 2)
    mode = closest(channel_modes(ny, d, d, k, c, f0 + beta * (np.arange(ny) - ny / 2) * d), theory)
    x = launch(model, mode, k)
    omega, kept = frequency(model, "v", 0, ny // 2, k, x, 136)
    near(omega, mode[0], 2e-4, "Rossby wave against its eigenmode (s-1)")
    near(omega, on_grid, 1e-3, "Rossby wave against the formula on this grid (s-1)")
    near(omega, theory, 0.012, "Rossby wave against beta k / (k^2 + l^2 + 1 / R^2) (s-1)")
    near(kept, 1.0, 5e-4, "size left after a quarter period")


def test_long_internal_rossby_wave(internal):
    """Westward with beta c1^2 / f^2, the speed of the ocean's slow adjustment (Gill 1982, section
    12.3).

    Against the eigenmode: the change of phase is 0.05 rad, and noise of 2e-5 of the amplitude
    shifts it by 5e-4. Against beta / (k^2 + l^2 + 1 / R^2): f varies by 3 % to either side, which
    changes the shape of the mode; the eigenmode itself differs by 5e-3. The long-wave limit is (k^2
    + l^2) R^2 = 4.8 % faster.
    """
    c, nx, ny, dx, dy, f0, beta = internal[0], 32, 40, 80e3, 15e3, 5e-5, 5e-12
    k, l = 2 * np.pi / (nx * dx), np.pi / (ny * dy)
    model = plane(nx, ny, LAYERS, dx, dy, 7200.0, f0=f0, beta=beta, y0=-ny / 2 * dy)
    theory = -beta * k / (k**2 + l**2 + (f0 / c) ** 2)
    mode = closest(
        channel_modes(ny, dx, dy, k, c, f0 + beta * (np.arange(ny) - ny / 2) * dy), theory
    )
    x = launch(model, mode, k, internal)
    omega, kept = frequency(model, "temperature", 4, ny // 2, k, x, 400)
    near(omega, mode[0], 2e-3, "internal Rossby wave against its eigenmode (s-1)")
    near(omega, theory, 0.01, "internal Rossby wave against beta k / (k^2 + l^2 + 1 / R^2) (s-1)")
    near(
        omega / k,
        -beta * c**2 / f0**2,
        0.06,
        "internal Rossby wave against the long-wave speed (m s-1)",
    )
    near(kept, 1.0, 1e-3, "size left")


def test_seiches(internal):
    """Free oscillations of a closed box without rotation, at the surface and inside.

    The frequency of the C grid is ``c sin(k dx / 2) 2 / dx`` exactly. What the steps make of it is
    known too: for the surface from the short steps and their weights (frequency and damping),
    inside ``sin(w dt / 2) = omega dt / 2`` of forward-backward steps. The linear limit: the flow
    squared and eta / H change the frequency by 1e-6 or so, the free surface that of the internal
    mode by (c1 / c0)^2 = 2e-4. Against the
    continuous theory: (k dx)^2 / 24 = 4e-4, and (omega dt)^2 / 24 = 1e-3 for the surface.
    """
    nx, dx = 32, 50e3
    model = plane(nx, 4, LAYERS, dx, dx, 600.0, periodic=False)
    dt, k, x = model.physics.dt, np.pi / (nx * dx), (np.arange(nx) + 0.5) * dx
    shape = np.cos(k * x)
    k_grid = 2 / dx * np.sin(k * dx / 2)
    surface = np.sqrt(GRAVITY * sum(LAYERS))

    start(model, eta=1e-3 * shape)
    omega, damping = oscillation(model, lambda: 2 * np.mean(value(model, "eta")[1] * shape), 40, 1)
    expected, expected_damping = stepped_surface_wave(model, surface * k_grid)
    near(omega, expected, 1e-5, "surface seiche with this grid and step (s-1)")
    near(damping, expected_damping, 1e-3, "its damping by the averages over short steps (s-1)")
    near(omega, surface * k, 2e-3, "surface seiche against pi sqrt(g H) / L (s-1)")

    c, _, response = internal
    background = stratification(LAYERS, N2)[:, None, None]
    start(
        model,
        temperature=background + 1e-3 * (response / np.abs(response).max())[:, None, None] * shape,
    )
    project = lambda: 2 * np.mean((value(model, "temperature") - background)[4, 1] * shape)
    omega, damping = oscillation(model, project, 40, 100)
    near(
        omega,
        2 / dt * np.arcsin(c * k_grid * dt / 2),
        4e-4,
        "internal seiche with this grid and step (s-1)",
    )
    near(omega, c * k, 1e-3, "internal seiche against pi c1 / L (s-1)")
    assert abs(damping) < 1e-4 * omega, f"internal seiche loses {damping:.2e} s-1"


def oscillation(model, project, samples, every):
    """Frequency and damping rate (s-1) of a damped oscillation sampled each ``every`` steps.

    Two linear unknowns, trace and determinant of its two-by-two map: ``x[n+1] = trace x[n] - det
    x[n-1]``.
    """
    x = [project()]
    for _ in range(samples):
        model.advance(every)
        x.append(project())
    x = np.array(x)
    (trace, minus_det), *_ = np.linalg.lstsq(np.stack([x[1:-1], x[:-2]], 1), x[2:], rcond=None)
    factor = np.roots([1.0, -trace, -minus_det]).astype(complex)[0]
    return abs(np.angle(factor)) / (every * model.physics.dt), -np.log(abs(factor)) / (
        every * model.physics.dt
    )
