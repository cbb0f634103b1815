"""Equilibria: against theory and brute force, what is conserved, derivatives, and bad input."""

from __future__ import annotations

import copy
import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_basins import DAY, DIFFUSIVITY, YEAR, age_of_a_basin, basin, column, sphere, turning

import dogcm
from dogcm.components import ConfigError
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.simulation.model import Model
from dogcm.spinup import (
    Anderson,
    EquilibriumError,
    NewtonKrylov,
    Settings,
    equilibrium,
    free_years,
    problem_of,
    read_circulation,
    record,
    sensitivity,
    write_circulation,
)

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
AGE = {"age": {"kind": "ideal_age"}}


@pytest.fixture(scope="module")
def aged():
    """A basin, its circulation, and the age there by Newton's method, with advection that has no
    kinks."""
    model, circulation, smooth = age_of_a_basin()
    found = equilibrium(model, "age", NewtonKrylov(), 1e-10, circulation, **smooth)
    return model, circulation, found


def test_age_of_a_column_is_that_of_theory():
    """``K a'' = -1`` with 0 in the first layer and no flux through the bottom: a parabola.

    Differences have it exactly, but for the first layer, which is 0 at the end of a step and
    meanwhile takes up what a step ages.
    """
    model, still = column(AGE)
    found = equilibrium(model, "age", "newton", 1e-11, still, largest_step=73.0)
    h, n, age = 25.0, 40, np.asarray(found.tracers["age"].interior)
    z = np.arange(n) * h
    theory = ((1000.0 - 0.5 * h) * z - 0.5 * z**2) / DIFFUSIVITY / YEAR
    theory[1:] += n * found.problem.cycle.physics.dt / YEAR
    np.testing.assert_allclose(age, np.broadcast_to(theory[:, None, None], age.shape), rtol=1e-8)


def test_the_equilibrium_is_that_of_brute_force(aged):
    model, _, found = aged
    space, year = found.problem.space, jax.jit(found.problem.map)
    there = space.stacked(found.tracers)
    x = jnp.zeros_like(there)
    for _ in range(400):
        x = year(x)
    assert space.residual(year(x) - x, x) < 1e-9
    assert space.residual(there - x, x) < 1e-7
    assert max(free_years(found, 10)) < 1e-9
    age = np.asarray(found.tracers["age"].interior)
    assert (age[0] == 0).all() and age.min() >= 0 and age.max() > 10
    assert (np.asarray(model.state.tracers["age"].interior) == age).all()


@pytest.mark.parametrize(
    "method",
    [
        Anderson(window=10),
        Anderson(window=10, lumped=1),
        NewtonKrylov(lumped=2, years_between=0),
        NewtonKrylov(derivative="differences", refresh=True),
    ],
    ids=lambda m: f"{m.name} lumped {m.lumped}",
)
def test_all_methods_find_the_same(aged, method):
    model, _, wanted = aged
    model.state = model.state.replace(
        tracers={n: f * 0.0 if n == "age" else f for n, f in model.state.tracers.items()}
    )
    found = equilibrium(model, "age", method, 1e-8, copy.copy(wanted.problem))
    space = wanted.problem.space
    a, b = (space.stacked(e.tracers) for e in (found, wanted))
    assert space.residual(a - b, b) < 1e-6
    assert found.residual <= 1e-8 and found.years_to(1e-4) <= found.years_to(1e-8)


def test_the_derivative_of_a_year_is_that_of_differences(aged):
    _, _, found = aged
    problem, x = found.problem, found.problem.space.stacked(found.tracers)
    v, h = problem.probe(), 1e-4
    exact = problem.tangent(x, v)
    near = (problem.year(x + h * v) - problem.year(x - h * v)) / (2 * h)
    space = problem.space
    assert space.residual(exact - near, exact) < 1e-9
    w = v * v
    forth = float(jnp.sum(exact * w))
    assert float(jnp.sum(v * problem.transpose(x, w))) == pytest.approx(forth, rel=1e-12)


def test_the_gradient_of_the_equilibrium_is_that_of_other_equilibria(aged):
    """Without differentiating the spin-up; beside equilibria with more and with less mixing."""
    model, _, found = aged
    problem = copy.copy(found.problem)
    kept, h = problem.params["vertical_diffusivity"], 0.002 * DIFFUSIVITY
    gradient = sensitivity(found, mean_of("age", problem.space), ["vertical_diffusivity"])
    near = []
    for change in (h, -h):
        problem.params = problem.params | {"vertical_diffusivity": kept + change}
        other = equilibrium(model, "age", NewtonKrylov(), 1e-11, problem)
        near.append(mean_of("age", problem.space)(other.tracers, {}))
    slope = float(near[0] - near[1]) / (2 * h)
    assert float(gradient["vertical_diffusivity"]) == pytest.approx(slope, rel=1e-4)
    assert slope < 0


def mean_of(name, space):
    whole = float(space.volume.sum())
    return lambda tracers, params: jnp.sum(tracers[name].data * space.volume) / whole


# ---- a recorded year
@pytest.fixture(scope="module")
def windy():
    """A wind-driven gyre after half a year, and its next year."""
    steps = {"time.step": DAY, "time.momentum_step": 7200.0, "forcing.source": "gyre"}
    dye = {"dye": {"kind": "dye", "lat": [0, 500]}, "even": {"kind": "dye"}}
    model = basin(AGE | dye, overrides=steps)
    model.advance(180)
    return model, record(model, 5)


def test_the_map_does_what_the_model_does_in_a_year(windy):
    model, circulation = windy
    names = ["age", "dye", "even"]
    problem = problem_of(model, names, circulation, Settings(largest_step=5.0))
    before = problem.space.stacked(model.state.tracers)
    after = problem.year(before)
    kept = jax.tree.map(jnp.copy, model.state)
    model.advance(365)
    wanted = problem.space.stacked(model.state.tracers)
    model.state = kept
    rms = lambda d: np.sqrt((np.asarray(d) ** 2 * np.asarray(problem.space.volume)).sum((1, 2, 3)))
    error, change = rms(after - wanted), rms(wanted - before)
    assert (error[:2] < 0.03 * change[:2]).all() and change[1] > 0
    # Sea level still changes from year to year, which is closed as if it were rain.
    np.testing.assert_allclose(after[2], before[2], atol=1e-4)
    content = problem.space.contents
    np.testing.assert_allclose(content(after)[1:], content(before)[1:], rtol=1e-12)


def test_a_circulation_in_a_file_is_the_same(windy, tmp_path):
    model, circulation = windy
    path = write_circulation(tmp_path / "year.npz", circulation, model)
    again = read_circulation(path, model)
    for a, b in zip(jax.tree.leaves(circulation), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ConfigError, match="no circulation of this ocean"):
        read_circulation(path, column(AGE)[0])
    path.write_bytes(b"no")
    with pytest.raises(ConfigError, match="no circulation of this ocean"):
        read_circulation(path, model)


# ---- what is conserved
@pytest.fixture(scope="module")
def fertile():
    """Phosphorus, all of which stays in the basin."""
    model = sphere({"cycle": {"kind": "phosphorus"}})
    found = equilibrium(
        model, "dop", NewtonKrylov(), 1e-10, turning(model, periods=2), largest_step=20.0
    )
    return model, found


def test_phosphorus_is_conserved_and_in_equilibrium(fertile):
    model, found = fertile
    space = found.problem.space
    assert space.names == ("phosphate", "dop") and found.problem.invariants.count == 1
    x = space.stacked(found.tracers)
    content = space.contents(x)[0]
    assert content == pytest.approx(2.17 * float(space.volume.sum()), rel=1e-12)
    assert max(free_years(found, 5)) < 1e-9
    phosphate, dop = np.asarray(x)
    assert phosphate.min() >= 0 and dop.min() >= 0
    assert phosphate[0].mean() < 0.9 * phosphate[-1].mean() and dop[0].mean() > dop[-1].mean()


def test_anderson_finds_the_same_phosphorus(fertile):
    model, wanted = fertile
    start = model.passive.initial(model.grid)
    model.state = model.state.replace(tracers={**model.state.tracers, **start})
    found = equilibrium(model, "dop", Anderson(window=12), 1e-9, copy.copy(wanted.problem))
    space = wanted.problem.space
    a, b = (space.stacked(e.tracers) for e in (found, wanted))
    assert space.residual(a - b, b) < 1e-6
    assert space.contents(a)[0] == pytest.approx(space.contents(b)[0], rel=1e-12)


@pytest.mark.slow
def test_the_gradient_holds_what_is_conserved(fertile):
    model, found = fertile
    problem, name = copy.copy(found.problem), "cycle.decay"
    kept = problem.params[name]
    gradient = sensitivity(found, mean_of("dop", problem.space), [name])
    near = []
    for change in (1e-3, -1e-3):
        problem.params = problem.params | {name: kept + change}
        other = equilibrium(model, "dop", NewtonKrylov(), 1e-11, problem)
        near.append(mean_of("dop", problem.space)(other.tracers, {}))
    assert float(gradient[name]) == pytest.approx(float(near[0] - near[1]) / 2e-3, rel=1e-4)


# ---- bad input
def test_what_has_no_sink_is_refused(aged):
    """The last good state stays in the model."""
    model = basin({"spill": {"kind": "dye", "release": "steady"}})
    model.state = model.state.replace(
        tracers={n: f + 1.0 if n == "spill" else f for n, f in model.state.tracers.items()}
    )
    with pytest.raises(EquilibriumError, match="spill has a source and no sink.* 1 a year"):
        equilibrium(model, "spill", "newton", 1e-6, turning(model, periods=1))
    assert (np.asarray(model.state.tracers["spill"].interior) == 1.0).all()


def test_a_map_that_is_not_periodic_is_refused():
    gas = {"kind": "surface_history", "times": [0.0, 5.0], "values": [0.0, 1.0]}
    model = basin({"gas": gas})
    with pytest.raises(EquilibriumError, match="sources of gas are not the same a year later"):
        equilibrium(model, "gas", "direct", 1e-6, turning(model, periods=1))


def test_records_that_do_not_repeat_within_the_year_are_refused(aged):
    """A calendar of other years than the tracers': the records of the second year differ."""
    model = copy.copy(aged[0])
    model.forcing = dataclasses.replace(model.forcing, period=360 * DAY)
    with pytest.raises(EquilibriumError, match="not periodic.*records repeat after 360 days"):
        record(model)


def test_a_singular_jacobian_is_refused():
    """Still water that does not mix ages for ever below its first layer, where age is held."""
    model, still = column(AGE, layers=4)
    nothing = still.diffusivity.with_data(still.diffusivity.data * 0.0)
    still = dataclasses.replace(still, diffusivity=nothing)
    problem = problem_of(model, "age", still, Settings(largest_step=73.0))
    for method in (NewtonKrylov(), NewtonKrylov(lumped=0), Anderson(lumped=1)):
        with pytest.raises(EquilibriumError) as refused:
            equilibrium(model, "age", method, 1e-6, problem)
        assert "singular" in str(refused.value) and "\n" not in str(refused.value)
        age = np.asarray(model.state.tracers["age"].interior)
        assert (age[0] == 0).all() and age.min() >= 0 and 1 < age.max() < 20


def test_forcing_that_drifts_is_refused():
    model = basin(AGE)
    drifting = {"wind_stress_x": lambda x, y, t: 1e-9 * t + 0.0 * x}
    other = Model(
        grid=dogcm.CartesianGrid(nx=6, ny=6, dx=1e5, dy=1e5, f0=1e-4, nz=3, depth=300.0),
        forcing=drifting,
        tracers=AGE,
        time_step=DAY / 4,
        comm=model.comm,
    )
    with pytest.raises(EquilibriumError, match="forcing is not periodic.*differs from year to"):
        record(other)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"variables": "agee"}, "no passive tracer 'agee'; did you mean age"),
        ({"variables": "temperature"}, "moves the water that carries it"),
        ({"variables": []}, "at least one"),
        ({"method": "newtonian"}, "one of direct, anderson, newton"),
        ({"tolerance": 0.0}, "between 0 and 1"),
        ({"largest_stepp": 1.0}, "no setting 'largest_stepp'; did you mean largest_step"),
        ({"most_years": -1}, "most_years has to be above 0"),
    ],
)
def test_bad_requests_are_refused_before_anything_runs(aged, change, message):
    model, circulation, _ = aged
    request = {"variables": "age", "method": "newton", "tolerance": 1e-6} | change
    with pytest.raises(ConfigError, match=message):
        equilibrium(model, circulation=circulation, **request)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Anderson(window=0), "window of 0"),
        (lambda: NewtonKrylov(derivative="exactly"), "derivative 'exactly'"),
        (lambda: NewtonKrylov(inner=2.0), "inner of 2"),
    ],
)
def test_bad_options_of_methods_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_is_not_reached_leaves_the_best_state_and_goes_on(aged, tmp_path):
    model, _, wanted = aged
    zero = {n: f * 0.0 if n == "age" else f for n, f in model.state.tracers.items()}
    model.state = model.state.replace(tracers=zero)
    request = dict(circulation=copy.copy(wanted.problem), folder=tmp_path)
    with pytest.raises(EquilibriumError, match="the best state is kept"):
        equilibrium(model, "age", "direct", 1e-9, most_years=20, **request)
    years = float(np.asarray(model.state.tracers["age"].interior).max())
    assert 8 < years < 20
    model.state = model.state.replace(tracers=zero)
    found = equilibrium(model, "age", NewtonKrylov(), 1e-9, **request)
    assert len(found.history) > 20 and found.history[0].number == 0
    a, b = (wanted.problem.space.stacked(e.tracers) for e in (found, wanted))
    assert wanted.problem.space.residual(a - b, b) < 1e-6
    (tmp_path / "equilibrium.npz").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot go on from"):
        equilibrium(model, "age", NewtonKrylov(), 1e-9, **request)


def test_a_killed_solve_goes_on_and_ends_the_same(aged, tmp_path, alone):
    """By SIGKILL, wherever it was: whole files are all that it leaves."""
    model, _, wanted = aged
    script = Path(__file__).with_name("solve_alone.py")
    words = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=alone) as process:
        for line in process.stdout:
            if int(line) == 6:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    zero = {n: f * 0.0 if n == "age" else f for n, f in model.state.tracers.items()}
    model.state = model.state.replace(tracers=zero)
    method, problem = Anderson(window=10), copy.copy(wanted.problem)
    found = equilibrium(model, "age", method, 1e-9, problem, folder=tmp_path)
    again = [n for n, row in enumerate(found.history) if n and row.states == 2]
    assert len(again) == 1 and again[0] >= 4 and found.history[0].residual == 1.0
    assert found.history[again[0]].residual < 0.2, "it does not start anew"
    a, b = (wanted.problem.space.stacked(e.tracers) for e in (found, wanted))
    assert wanted.problem.space.residual(a - b, b) < 1e-7
