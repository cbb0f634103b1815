"""The study of a column: its step is the model's, its truth closes budgets, its parts are apart."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dogcm

FOLDER = Path(__file__).resolve().parents[2] / "training" / "column"
sys.path.insert(0, str(FOLDER))

import cases as parts  # noqa: E402
import columns  # noqa: E402
import second_moment  # noqa: E402
import twin  # noqa: E402
from closure import LearnedTKE, fresh_network, load, save  # noqa: E402

N2, STEPS, DT = 1e-4, 24, 1800.0
STRESS, LOSS = np.array([0.1, 0.0, 0.2]), np.array([0.0, 200.0, 100.0])


def some(**given) -> columns.Cases:
    """Three columns without rotation."""
    values = {"stress": STRESS, "loss": LOSS, "sun": 0.0, "f": 0.0, "n2": N2, "mixed": 0.0} | given
    return columns.Cases(
        **{n: jnp.asarray(np.broadcast_to(np.asarray(v, float), (3,))) for n, v in values.items()}
    )


def trained() -> list:
    """A network whose answer is not 0."""
    *first, (w, b) = fresh_network(0)
    return [*first, (w + 0.3 * np.cos(np.arange(w.size)).reshape(w.shape), b + 0.2)]


def strips(scheme) -> dogcm.Model:
    """The same columns as strips of an ocean, with land between."""
    rows = lambda v: np.array([[v[0]], [0.0], [v[1]], [0.0], [v[2]]])
    return columns.ocean(
        1,
        5,
        [4.0] * 12,
        DT,
        scheme,
        bathymetry=rows([48.0] * 3),
        initial={
            "temperature": lambda x, y, z: columns.SURFACE - N2 / columns.BUOYANCY * z,
            "salinity": columns.SALINITY,
        },
        forcing={"wind_stress_x": rows(STRESS), "heat_flux": rows(-LOSS)},
    )


@pytest.fixture(scope="module")
def plane():
    return columns.Columns.of(3, LearnedTKE(), layer=4.0, depth=48.0, dt=DT)


@pytest.mark.parametrize("scheme", [LearnedTKE(), dogcm.KPP()], ids=["network", "kpp"])
def test_a_step_is_the_models(scheme):
    plane = columns.Columns.of(3, scheme, layer=4.0, depth=48.0, dt=DT)
    ocean, more = strips(scheme), {}
    if isinstance(scheme, LearnedTKE):
        more = {"mixing_network": trained()}
        ocean.params |= more
    run = jax.jit(lambda p: plane.run(p, some(), STEPS * DT / columns.DAY, STEPS * DT))
    found = run(plane.params | more)
    ocean.advance(STEPS)
    for name, field in (("T", ocean.state.temperature), ("u", ocean.state.u)):
        expected = np.asarray(field.interior)[:, ::2, 0]
        np.testing.assert_allclose(found[name][-1], expected, rtol=1e-10, atol=1e-11)
    assert np.ptp(np.asarray(found["T"][-1][0])) > 0.05 and np.asarray(found["u"][-1]).max() > 0.1


def test_a_network_that_has_learned_nothing_changes_nothing(plane):
    tke = columns.Columns.of(3, dogcm.TKE(), layer=4.0, depth=48.0, dt=DT)
    go = lambda p, params: p.step(p.start(some()), params, some(), 0.0)
    plain = jax.jit(lambda: go(tke, tke.params))()
    params = plane.params | {"mixing_network": fresh_network(1)}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15),
        jax.jit(lambda: go(plane, params))(),
        plain,
    )


def test_derivatives_of_a_step(plane):
    """Slopes of a step in motion equal differences; from a calm start in neutral water every
    weight has a finite one."""
    step = jax.jit(lambda s, w, c: plane.step(s, plane.params | {"mixing_network": w}, c, 0.0))
    moving = plane.start(some())
    for _ in range(6):
        moving = step(moving, trained(), some())
    size = lambda new: jnp.sum(new["T"] ** 2) + 1e4 * jnp.sum(new["u"] ** 2)
    slopes = jax.jit(jax.grad(lambda w, s, c: size(step(s, w, c))))
    found, h = slopes(trained(), moving, some()), 1e-4
    along = lambda n: float(
        size(step(moving, [(w * (1 + n * h), b + n * h) for w, b in trained()], some()))
    )
    directional = sum(
        float(jnp.sum(g * w) + jnp.sum(d)) for (g, d), (w, _) in zip(found, trained())
    )
    assert directional == pytest.approx((along(1) - along(-1)) / (2 * h), rel=1e-4)
    neutral = some(n2=0.0, stress=0.0, loss=0.0)
    calm = slopes(fresh_network(0), plane.start(neutral), neutral)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(calm))


def test_the_truth_keeps_heat_and_momentum():
    truth = second_moment.Truth(3, layer=4.0, depth=48.0, dt=300.0)
    cases = some(sun=500.0)
    end = jax.jit(lambda: truth.run(cases, 1.0, columns.DAY))()
    gained = (np.asarray(end["T"][0]) - np.asarray(truth.start(cases)["T"])).sum(0) * 4.0
    expected = (500.0 / np.pi - LOSS) * columns.DAY / (columns.RHO0 * columns.HEAT_CAPACITY)
    np.testing.assert_allclose(gained, expected, rtol=1e-9)
    pushed = np.asarray(end["u"][0]).sum(0) * 4.0
    np.testing.assert_allclose(pushed, STRESS / columns.RHO0 * columns.DAY, rtol=1e-9, atol=1e-12)


def test_the_truths_constants_are_the_published_ones():
    """Where production meets dissipation in neutral water c_m is c_m0**4; c3 is that of Umlauf and
    Burchard (2005) for this model and a steady Richardson number of 0.25."""
    shear = np.linspace(5.0, 25.0, 20001)
    c_m = np.asarray(second_moment.stability(shear, 0.0 * shear)[0])
    balanced = c_m[np.abs(c_m * shear - 1.0).argmin()]
    assert balanced == pytest.approx(second_moment.NEUTRAL**4, rel=2e-3)
    assert second_moment.c3_stable() == pytest.approx(-0.63, abs=0.005)


def test_light_and_depth():
    hours = columns.HOUR * np.arange(24)
    mean = np.mean(columns.light(300.0, hours, columns.HOUR))
    assert mean == pytest.approx(300.0 / np.pi)
    edges = np.arange(0.0, 31.0, 5.0)
    T = np.array([20.0, 20.0, 19.95, 19.85, 19.0, 18.0])[:, None]
    assert columns.mixed_layer_depth(T, edges)[0] == pytest.approx(15.0)
    assert columns.mixed_layer_depth(0 * T, edges)[0] == edges[-1]


def test_parts_share_no_column(monkeypatch):
    cases, names, families = parts.drawn()
    assert len(cases) == len(names) == len(families)
    rows = np.stack(jax.tree.leaves(cases), axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)
    monkeypatch.setattr(parts, "_draw", lambda limits, count, seed: [[0.1] * 6] * count)
    with pytest.raises(ValueError, match="share a column"):
        parts.drawn()


def test_two_numbers_are_found():
    """The twin's search on a product of powers."""

    def misfit(logs):
        x, y = np.exp(logs).T
        zero = 0.0 * x
        values = np.stack([x / y, x**2, np.sqrt(y)], axis=1)
        along_x = np.stack([x / y, 2 * x**2, zero], axis=1)
        along_y = np.stack([-x / y, zero, 0.5 * np.sqrt(y)], axis=1)
        truth = np.array([0.1 / 0.7, 0.01, np.sqrt(0.7)])
        return values - truth, np.stack([along_x, along_y], axis=-1)

    for rows in twin.recover(misfit, twin.STARTS):
        np.testing.assert_allclose(np.exp(rows[-1]["logs"]), twin.TRUE, rtol=1e-6)


def test_weights_are_kept(tmp_path):
    save(tmp_path / "w.npz", {"tke_c_k": 0.1, "mixing_network": trained()})
    back = load(tmp_path / "w.npz")
    assert float(back["tke_c_k"]) == 0.1
    jax.tree.map(np.testing.assert_array_equal, back["mixing_network"], trained())
