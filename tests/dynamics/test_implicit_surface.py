"""The implicit free surface: the solver, what the scheme does to waves and steady flows,
conservation, derivatives."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.dynamics import conjugate_gradients as cg
from dogcm.dynamics.barotropic import LEFT, DepthFlow
from dogcm.dynamics.implicit_surface import largest_f_dt
from dogcm.field import Field
from dogcm.io.restart import read_restart, write_restart
from dogcm.learning.derivatives import check_derivatives, hessian_symmetry
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.simulation.run import ModelBlewUp
from dogcm.verification import verify

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
IMPLICIT = {"time.free_surface": "implicit"}
SMALL = {"grid.nx": 18, "grid.ny": 12, "grid.nz": 4, **IMPLICIT}
ASYNCHRONOUS = {"time.step": 43200.0, "time.momentum_step": 1800.0, "physics.coriolis": "cd"}
BITS_AFTER = 12


def two_basin(changes=(), comm=None) -> Model:
    return Model("two_basin", {**SMALL, **dict(changes)}, comm=comm or SerialCommunicator())


@pytest.fixture(scope="module")
def model() -> Model:
    return two_basin()


# ---- the solver
def system(model, stiffness=300.0) -> cg.Helmholtz:
    """A matrix on the model's grid with rough coefficients."""
    g = model.grid
    noise = lambda f, key: f.with_data(jnp.exp(jnp.sin(37.0 * f.data / f.data.max() + key)))
    area = g.area_c / float(g.area_c.data.max())
    k_u, k_v = noise(g.dy_u, 1.0) * g.wet_u * stiffness, noise(g.dx_v, 2.0) * g.wet_v * stiffness
    return cg.Helmholtz(model.halos, area, k_u, k_v, g.wet_c, cg.DEGREE)


def right_hand_side(model, seed=0) -> Field:
    wet = model.grid.wet_c.crop(0)
    d = model.decomposition
    values = d.scatter(
        np.random.default_rng(seed).normal(size=model.horizontal.shape) if d.is_root else None
    )
    return wet.with_data(jnp.asarray(values, wet.dtype)) * wet


def dense(function, like: Field) -> np.ndarray:
    """The matrix of a linear function of a Field."""
    unit = jnp.eye(like.data.size).reshape(-1, *like.shape)
    columns = jax.jit(jax.vmap(lambda e: function(like.with_data(e)).crop(0).data))(unit)
    return np.asarray(columns).reshape(like.data.size, -1).T


@one_rank
def test_solution_is_that_of_a_dense_solve(model):
    matrix, b = system(model), right_hand_side(model)
    A = dense(matrix, b)
    np.testing.assert_allclose(A, A.T, atol=1e-12 * np.abs(A).max())
    x, count = jax.jit(lambda b: cg.solve(matrix, b, 1e-13, 200))(b)
    expected = np.linalg.solve(A, np.asarray(b.data).ravel())
    np.testing.assert_allclose(
        np.asarray(x.data).ravel(), expected, atol=1e-11 * np.abs(expected).max()
    )
    assert 5 < int(count) < 60


@one_rank
def test_preconditioner_is_symmetric_and_positive_definite(model):
    """And the matrix scaled by its diagonal has the spectrum that it relies on."""
    matrix, like = system(model), right_hand_side(model)
    A, inverse = dense(matrix, like), matrix.inverse_diagonal()
    wet = np.asarray(model.grid.wet_c.interior).ravel() > 0
    A, D = A[wet][:, wet], np.asarray(inverse.interior).ravel()[wet]
    scaled = np.linalg.eigvalsh(A * np.sqrt(D)[:, None] * np.sqrt(D))
    assert 0 < scaled.min() < 0.01 and 1.5 < scaled.max() < 2
    M = dense(cg.chebyshev(matrix, inverse), like)[wet][:, wet]
    np.testing.assert_allclose(M, M.T, atol=1e-13 * np.abs(M).max())
    root = np.linalg.cholesky(M)  # refuses what is not positive definite
    preconditioned = np.linalg.eigvalsh(root.T @ A @ root)
    # A few large steps of the polynomial: a condition number at least degree squared over two times
    # smaller.
    assert (
        scaled.max() / scaled.min() > cg.DEGREE**2 / 2 * preconditioned.max() / preconditioned.min()
    )


@one_rank
def test_too_few_iterations_are_marked(model):
    matrix, b = system(model), right_hand_side(model)
    x, count = jax.jit(lambda b: cg.solve(matrix, b, 1e-13, 3))(b)
    assert int(count) == -3 and bool(jnp.isnan(x.data).all())
    x, count = jax.jit(lambda b: cg.solve(matrix, b * 0.0, 1e-13, 3))(b)
    assert int(count) == 0 and float(jnp.abs(x.data).max()) == 0


@one_rank
def test_single_precision_stays_single(model):
    matrix, b = system(model), right_hand_side(model)
    single = replace(
        matrix, **{n: getattr(matrix, n).astype(jnp.float32) for n in ("area", "k_u", "k_v", "wet")}
    )
    x, count = jax.jit(lambda b: cg.solve(single, b, 1e-11, 200))(b.astype(jnp.float32))
    exact, _ = jax.jit(lambda b: cg.solve(matrix, b, 1e-13, 200))(b)
    assert x.dtype == jnp.float32 and int(count) > 0
    assert float(jnp.abs(x.data - exact.data).max()) < 1e-3 * float(jnp.abs(exact.data).max())


# ---- waves and steady flows
@pytest.fixture(scope="module")
def basin() -> Model:
    flat = {
        "grid.nx": 24,
        "grid.ny": 6,
        "grid.nz": 2,
        "grid.dx": 1e5,
        "grid.dy": 1e5,
        "grid.periodic": False,
        "grid.f0": 0.0,
        "grid.beta": 0.0,
        "grid.depth": 1000.0,
        "bathymetry.depth": 1000.0,
        "bathymetry.min_depth": 0.0,
        "forcing.source": "none",
        **IMPLICIT,
    }
    return Model("channel", flat, comm=SerialCommunicator())


@one_rank
@pytest.mark.parametrize("theta, ratio, courant", [(1.0, 1, 20.0), (0.75, 1, 5.0), (1.0, 36, 0.5)])
def test_gravity_waves_have_the_factor_of_the_theory(basin, theta, ratio, courant):
    """A seiche, an eigenmode of the C grid, is multiplied at each step by
    ``(1 - i (1 - theta) w) / (1 + i theta w)`` with ``w = k sqrt(g H dt dt_u)``: for theta = 1
    damped by
    ``1 / sqrt(1 + w^2)`` a step, at a frequency of ``atan(w) / dt``."""
    g, dx = basin.grid, 1e5
    k = 2 / dx * np.sin(np.pi / 48)  # of the differences on the grid
    dt = courant / (k * np.sqrt(9.81 * 1000.0 / ratio))
    scheme = replace(
        basin.split, dt=dt, momentum_dt=dt / ratio, implicitness=theta, tolerance=1e-14
    )
    shape = np.cos((np.arange(24) + 0.5) * (np.pi / 24))
    like = basin.state.eta
    eta = like.with_data(jnp.broadcast_to(jnp.asarray(shape), like.shape) * 1e-7)
    rest = [f.level(0) * 0.0 for f in (basin.state.u, basin.state.v)]
    pull = 9.81 * 1000.0 / dx

    @jax.jit
    def step(eta, U, V):
        # What the model's predictor adds: the slope of the old sea level.
        slope = -pull * jnp.diff(eta.data, prepend=eta.data[:, :1]) * g.wet_u.interior
        b = scheme.advance(
            basin.halos, DepthFlow(eta, U, V, U.with_data(slope), rest[1], eta * 0.0), g
        )
        return b.eta.crop(0), b.U.crop(0), b.V.crop(0)

    fields, found = (eta, *rest), [1e-7]
    for _ in range(6):
        fields = step(*fields)
        found.append(float((np.asarray(fields[0].data) * shape).sum() / (shape**2).sum() / 6))
    factor = (1 - 1j * (1 - theta) * courant) / (1 + 1j * theta * courant)
    # The real part of c factor**n, for any c, obeys this.
    a = np.array(found)
    np.testing.assert_allclose(
        a[2:], 2 * factor.real * a[1:-1] - abs(factor) ** 2 * a[:-2], atol=1e-9 * a[0]
    )
    assert a[1] / a[0] == pytest.approx(
        1 - theta * courant**2 / (1 + (theta * courant) ** 2), abs=1e-9
    )


def channel(changes=()) -> Model:
    """An f-plane without density, friction and forcing: nothing but sea level and the Coriolis
    force."""
    still = {
        f"parameters.{n}": 0.0
        for n in (
            "lateral_viscosity",
            "lateral_diffusivity",
            "vertical_viscosity",
            "mixing_richardson",
            "convection_viscosity",
            "bottom_drag_linear",
            "bottom_drag_quadratic",
        )
    }
    return Model(
        "channel",
        {
            "grid.nx": 6,
            "grid.ny": 16,
            "grid.nz": 2,
            "grid.f0": 1e-4,
            "grid.beta": 0.0,
            "grid.depth": 1000.0,
            "grid.top": 400.0,
            "bathymetry.depth": 1000.0,
            "forcing.source": "none",
            "physics.friction.no_slip": False,
            "physics.momentum_advection": "none",
            "physics.equation_of_state.thermal_expansion": 0.0,
            "physics.equation_of_state.haline_contraction": 0.0,
            "time.step": 7200.0,
            **IMPLICIT,
            **still,
            **dict(changes),
        },
        comm=SerialCommunicator(),
    )


def with_jet(m: Model) -> tuple[np.ndarray, np.ndarray]:
    """Puts a zonal jet into the model, and the sea level that balances it on the grid; returns both
    by row."""
    u = 0.1 * np.sin(np.pi * (np.arange(16) + 0.5) / 16) ** 2
    eta = np.concatenate([[0.0], np.cumsum(-1e-4 / 9.81 * 0.5 * (u[1:] + u[:-1]) * 50e3)])
    eta -= eta.mean()
    spread = lambda a, like: like.with_data(jnp.array(np.broadcast_to(a[:, None], like.shape)))
    m.state = m.state.replace(u=spread(u, m.state.u), eta=spread(eta, m.state.eta))
    return u, eta


@one_rank
def test_a_geostrophic_current_stays():
    """40 steps of twelve gravity-wave Courant numbers change nothing but roundings."""
    m = channel()
    u, eta = with_jet(m)
    m.advance(40)
    assert np.abs(m.gather("u") - u[:, None]).max() < 1e-12 and np.abs(m.gather("v")).max() < 1e-12
    assert np.abs(m.gather("eta") - eta[:, None]).max() < 1e-11


# ---- conservation
@pytest.fixture(scope="module")
def figures():
    m = two_basin(ASYNCHRONOUS)
    like = m.forcing.records["sst"]
    rain = like.with_data(
        like.data * 0.0 + 1e-7 * jnp.cos(m.grid.lat_c.crop(like.halo).data / 9.0) + 3e-8
    )
    m.forcing = replace(
        m.forcing, records={**m.forcing.records, "freshwater_flux": rain.named("freshwater_flux")}
    )
    # A coarse solution of the system may not cost conservation.
    m.dynamics = replace(m.dynamics, split=replace(m.split, tolerance=1e-4))
    return {f.name: f for f in verify.budget_figures(m, 30)}


@one_rank
@pytest.mark.parametrize("name", ["volume", "heat", "salt", "constant tracer"])
def test_budgets_close_to_rounding(figures, name):
    assert figures[name].passed, figures[name]


# ---- derivatives
def surface_step(model):
    """One step of the free surface as a function of all that enters it, and a place to
    differentiate it at."""
    g, s = model.grid, model.state
    scheme = replace(model.split, tolerance=1e-15, implicitness=0.8, momentum_dt=600.0)

    def wave(at: str, size: float, seed: int) -> Field:
        wet = getattr(g, f"wet_{at}").crop(0)
        return right_hand_side(model, seed).with_data(
            right_hand_side(model, seed).data * size * wet.data, at
        )

    inputs = {
        "eta": wave("c", 1.0, 1),
        "U": wave("u", 10.0, 2),
        "V": wave("v", 10.0, 3),
        "Fu": wave("u", 1e-3, 4),
        "Fv": wave("v", 1e-3, 5),
        "rain": wave("c", 1e-6, 6),
    }

    names = ("eta", "U", "V", "Fu", "Fv", "rain")

    def function(x):
        b = scheme.advance(model.halos, DepthFlow(*(x[n] for n in names)), g)
        return [f.interior for f in (b.eta, b.U, b.V, b.U_mean)]

    assert s.solver and scheme.wide.w >= LEFT.w
    return function, inputs


def loss_of(function):
    def share(x):
        eta, U, V, _ = function(x)
        return (
            jnp.sum(eta**2) + 1e-3 * jnp.sum(U * U * jnp.cos(U / 20.0)) + 1e-3 * jnp.sum(V**2 * eta)
        )

    return share


def derivatives_pass(model, rank=0):
    function, inputs = surface_step(model)
    psum = model.halos.psum if model.comm.size > 1 else None
    report = check_derivatives(
        function, inputs, psum=psum, rank=rank, ladder=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5), decades=2.0
    )
    assert report.passed, report
    if model.comm.size > 2:
        return  # two ranks have said it
    second = hessian_symmetry(loss_of(function), inputs, psum, rank=rank)
    assert second.passed, second


@one_rank
def test_an_iteration_exchanges_once(model, monkeypatch):
    """What the preconditioner is given lasts for its products and the one after them: no second
    exchange is made."""
    monkeypatch.setattr(
        cg, "_with_halo", lambda matrix, f: f
    )  # without halo, a product raises an error
    function, inputs = surface_step(model)
    jax.eval_shape(function, inputs)


@one_rank
def test_derivatives(model):
    """Tangent, transpose, Taylor's remainder and Hessian-vector products through the solver."""
    derivatives_pass(model)


@one_rank
def test_no_derivative_depends_on_the_iterations(model):
    """The tangent is a solution of its own: as exact as asked for, not what the iterations happen
    to do."""
    matrix, b = system(model), right_hand_side(model)
    x = lambda scale: cg.solve(replace(matrix, k_u=matrix.k_u * scale), b, 1e-13, 200)[0].data
    _, slope = jax.jit(lambda s: jax.jvp(x, (s,), (1.0,)))(1.0)
    A = dense(matrix, b)
    dA = dense(replace(matrix, k_u=matrix.k_u * 2.0), b) - A
    expected = -np.linalg.solve(A, dA @ np.linalg.solve(A, np.asarray(b.data).ravel()))
    np.testing.assert_allclose(
        np.asarray(slope).ravel(), expected, atol=1e-10 * np.abs(expected).max()
    )


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_derivatives_across_ranks():
    comm = world()
    derivatives_pass(two_basin(comm=comm), comm.rank)


def many_surface_steps(model) -> dict[str, np.ndarray]:
    """Sea level, flow and iterations after some steps of the free surface alone, as global arrays
    on rank 0."""
    g, scheme = model.grid, model.split
    noise = [right_hand_side(model, seed) for seed in (7, 8, 9, 10)]
    eta, rain = noise[0] * 0.5, noise[3] * 1e-7
    U, V = (f.with_data(f.data * 10.0, at) for f, at in zip(noise[1:], "uv"))
    U, V = U * g.wet_u.crop(0), V * g.wet_v.crop(0)

    @jax.jit
    def step(eta, U, V):
        b = scheme.advance(model.halos, DepthFlow(eta, U, V, U * 1e-6, V * 1e-6, rain), g)
        return (b.eta.crop(0), b.U.crop(0), b.V.crop(0)), b.iterations

    counts = []
    for _ in range(BITS_AFTER):
        (eta, U, V), count = step(eta, U, V)
        counts.append(int(count))
    found = {n: model.gather(f) for n, f in zip(("eta", "U", "V"), (eta, U, V))}
    return found | {"iterations": np.array(counts)}


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_surface_is_the_same_to_the_bit_on_every_layout():
    """The sums decide how often is iterated, and by how much: no rounding of theirs may depend on
    the tiles."""
    comm = world()
    ours, wrong = many_surface_steps(two_basin(comm=comm)), None
    if comm.rank == 0:
        alone = many_surface_steps(two_basin())
        assert alone["iterations"].min() > 5 and np.abs(alone["U"]).max() > 1.0
        wrong = [n for n, a in ours.items() if not np.array_equal(a, alone[n])]
    assert comm.broadcast(wrong) == []


# ---- running and settings
@one_rank
def test_a_run_whose_solver_gives_up_says_so():
    m = channel({"time.free_surface.solver_iterations": 1})
    with_jet(m)
    m.state = m.state.replace(eta=m.state.eta * 2.0)
    with pytest.raises(
        ModelBlewUp,
        match=(
            "time.free_surface.solver_tolerance of 1e-11 after 1 iterations: raise "
            "time.free_surface.solver_iterations"
        ),
    ):
        m.run(1.0, progress=False)


@one_rank
def test_halo_of_the_solver_changes_no_bit_and_a_restart_of_short_steps_is_accepted(
    model, tmp_path
):
    split = two_basin({"time.free_surface": "split"})
    split.state = split.state.replace(eta=split.state.eta + 0.1)
    state = read_restart(write_restart(tmp_path / "split.nc", split), model)
    assert int(state.solver[0]) == 0 and float(state.eta.data.max()) == 0.1
    b, matrix = right_hand_side(model), system(model)
    found = [
        jax.jit(lambda b, d=d: cg.solve(replace(matrix, depth=d), b, 1e-11, 200))(b)
        for d in (1, 3, 4)
    ]
    for x, count in found[1:]:
        np.testing.assert_array_equal(np.asarray(x.data), np.asarray(found[0][0].data))
        assert int(count) == int(found[0][1])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"time.free_surface.barotropic_steps": 20}, ["barotropic_steps", "belongs to kind split"]),
        ({"time.scheme": "ab3"}, ["time.scheme ab3", "forward_backward"]),
        ({"time.step": 7200.0}, ["f dt = 0.88", "0.97", "shorten time.step"]),
        ({"time.free_surface.implicitness": 0.6}, ["f dt = 0.32", "nearer to 1"]),
        ({"time.free_surface.implicitness": 0.4}, ["greater than or equal to 0.5"]),
        ({"time.free_surface.solver_tolerance": 0.0}, ["greater than 0"]),
        ({"time.free_surface.solver_iterations": 0}, ["greater than or equal to 1"]),
        ({"time.free_surface": "rigid"}, ["rigid", "implicit, split"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ConfigError) as error:
        load_config("two_basin", IMPLICIT | change)
    assert all(w in str(error.value) for w in words), error.value


def test_a_fold_is_refused():
    with pytest.raises(ConfigError, match="fold of a tripolar grid"):
        load_config("global_tripolar_2deg", {"time.free_surface": "implicit"})


def test_the_c_d_scheme_lifts_the_limits():
    load_config(
        "two_basin",
        IMPLICIT | {"time.step": 7200.0, "time.scheme": "ab3", "physics.coriolis": "cd"},
    )


def test_limit_of_f_dt_is_where_plane_waves_begin_to_grow():
    """Eigenvalues of (u, v, eta) of one plane wave, sea level scaled so that gravity waves have
    speed 1."""

    def growth(K, L, turn, theta):
        u, v, e = np.eye(3, dtype=complex)
        us = u + turn * v - 1j * K * e
        vs = v - turn * us - 1j * L * e
        mean = K * (theta * us + (1 - theta) * u) + L * (theta * vs + (1 - theta) * v)
        d = -1j * mean / (1 + theta**2 * (K * K + L * L))
        return np.abs(
            np.linalg.eigvals([us - theta * 1j * K * d, vs - theta * 1j * L * d, e + d])
        ).max()

    def grows(turn, theta):
        waves = np.r_[0.0, np.logspace(-1, 2.5, 18)]
        return any(
            growth(K, s * L, turn, theta) > 1 + 1e-9 for K in waves for L in waves for s in (1, -1)
        )

    for theta in (0.6, 1.0):
        limit = largest_f_dt(theta)
        assert not grows(0.97 * limit, theta) and grows(1.1 * limit, theta)
