"""Passive tracers: ages grow, dyes and phosphorus are conserved, gases follow the air, on any cut
and through a restart.

One model, stepped asynchronously, serves all tests of whole steps.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.components.errors import ConfigError
from dogcm.decomp import Halo, SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.diagnostics.variables import VARIABLES, find_variables, passive_variables, variables_of
from dogcm.dynamics.continuity import stretch_c
from dogcm.field import Field
from dogcm.io.restart import read_restart, write_restart
from dogcm.learning.parameters import LearnableError, LearnableSet
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.tracers import PassiveTracers, Water, make_kind
from dogcm.tracers.light import daily_insolation
from dogcm.tracers.region import region

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
DAY, YEAR = 86400.0, 365 * 86400.0
TRACERS = {
    "age": {"kind": "ideal_age"},
    "once": {"kind": "dye", "lat": [-30, 30], "lon": [350, 100], "depth": [0, 900]},
    "held": {"kind": "dye", "release": "held", "lat": [-70, -40], "value": 2.0},
    "steady": {"kind": "dye", "release": "steady", "lat": [20, 70], "rate": 3.0},
    "uniform": {"kind": "dye"},
    "gas": {"kind": "surface_history", "times": [0, 1], "values": [1.0, 1.0]},
    "cycle": {"kind": "phosphorus"},
}
SMALL = {
    "grid.nx": 18,
    "grid.ny": 12,
    "grid.nz": 5,
    "time.step": DAY / 2,
    "time.momentum_step": 1800.0,
    "tracers": TRACERS,
}
STEPS = 30


def build(comm=None, rain: float = 0.0) -> Model:
    """The model, with rain and evaporation that make up ``rain`` (m s-1) at most."""
    model = Model("two_basin", SMALL, comm=comm)
    like = model.forcing.records["sst"]
    rows = model.grid.lat_c.crop(like.halo).data
    water = like.with_data(like.data * 0.0 + rain * jnp.cos(rows / 15.0)).named("freshwater_flux")
    model.forcing = replace(
        model.forcing, records={**model.forcing.records, "freshwater_flux": water}
    )
    return model


def copy(state):
    return jax.tree.map(jnp.copy, state)


@pytest.fixture(scope="module")
def model() -> Model:
    m = build(SerialCommunicator(), rain=1e-7)
    m.start = copy(m.state)
    m.before = contents(m)
    m.advance(STEPS)
    m.after = copy(m.state)
    return m


def contents(m) -> dict[str, float]:
    cell = (m.grid.h_c * m.grid.area_c * stretch_c(m.state.eta, m.grid)).interior
    return {n: float(jnp.sum(cell * c.interior)) for n, c in m.state.tracers.items()} | {
        "volume": float(cell.sum())
    }


def values(m, state, name) -> np.ndarray:
    m.state = state
    return m.gather(name)


# ---- whole steps
@one_rank
def test_age_grows_a_year_a_year_below_and_is_zero_above(model):
    age, wet = values(model, model.after, "age"), model.gather(model.grid.mask_c) > 0
    elapsed = STEPS * DAY / 2 / YEAR
    assert (age[0] == 0).all() and (age[~wet] == 0).all() and age.min() >= 0
    assert age.max() == pytest.approx(elapsed, rel=1e-3) and age.max() < elapsed * (1 + 1e-12)
    assert np.median(age[-1][wet[-1]]) == pytest.approx(elapsed, rel=0.02)


@one_rank
@pytest.mark.parametrize("name", ["once", "uniform"])
def test_dye_is_conserved(model, name):
    """Also under rain, which dilutes it: at a tracer step of twelve hours and a momentum step of
    half of one."""
    model.state = model.after
    now = contents(model)
    assert now[name] == pytest.approx(model.before[name], rel=1e-13)
    assert model.before[name] > 0 and abs(now["volume"] / model.before["volume"] - 1) > 1e-9
    there = values(model, model.after, name)
    assert np.abs(there - values(model, model.start, name)).max() > 1e-6


@one_rank
def test_dye_enters_at_its_rate_and_where_it_is_held(model):
    added = jnp.sum(
        (
            model.dynamics.passive.kinds[3]._region(model.grid) * model.grid.h_c * model.grid.area_c
        ).interior
    )
    model.state = model.after
    # Thickness varies a little with sea level.
    assert contents(model)["steady"] == pytest.approx(
        3.0 * STEPS * DAY / 2 / YEAR * float(added), rel=1e-3
    )
    held, lat = values(model, model.after, "held"), model.gather(model.grid.lat_c)
    wet = model.gather(model.grid.mask_c) > 0
    inside = wet & ((lat >= -70) & (lat <= -40))
    assert (held[inside] == 2.0).all() and 0 < held[wet & ~inside].max() < 2.0


@one_rank
def test_total_phosphorus_is_conserved(model):
    total = lambda c: c["phosphate"] + c["dop"]
    model.state = model.after
    now = contents(model)
    assert total(now) == pytest.approx(total(model.before), rel=1e-14 * STEPS)
    assert now["dop"] > 1e-4 * now["phosphate"]
    p, wet = values(model, model.after, "phosphate"), model.gather(model.grid.mask_c) > 0
    mean = lambda k: p[k][wet[k]].mean()
    assert mean(0) < 2.165 < 2.17 < max(mean(k) for k in range(1, 5)), (
        "taken up above, remineralised below"
    )


@one_rank
def test_gas_of_the_surface_value_stays(model):
    """Rain brings gas of the value it falls on: a constant stays constant, in asynchronous steps
    too."""
    state = copy(model.start)
    ones = state.tracers["gas"].with_data(model.grid.mask_c.crop(0).data)
    model.state = state.replace(tracers={**state.tracers, "gas": ones})
    model.advance(STEPS)
    wet = model.gather(model.grid.mask_c) > 0
    assert np.abs(model.gather("gas")[wet] - 1).max() < 1e-14 * STEPS


@one_rank
def test_restart_gives_identical_bits(model, tmp_path):
    model.state = copy(model.start)
    model.advance(STEPS // 2)
    path = write_restart(tmp_path / "restart.nc", model)
    model.state = jax.tree.map(lambda x: jnp.full_like(x, -1), model.state)
    model.state = read_restart(path, model)
    model.advance(STEPS - STEPS // 2)
    for name, field in model.after.variables().items():
        np.testing.assert_array_equal(model.gather(name), model.gather(field), err_msg=name)
    late = {"tracers": {**TRACERS, "late": {"kind": "dye", "value": 3.0}}}
    one_more = Model("two_basin", {**SMALL, **late}, comm=SerialCommunicator())
    with pytest.warns(UserWarning, match="no late: passive tracers that start now"):
        state = read_restart(path, one_more)
    assert (
        float(state.tracers["late"].data.max()) == 3.0
        and float(state.tracers["age"].data.max()) > 0
    )


@one_rank
def test_derivative_of_mean_age(model):
    """With respect to vertical_diffusivity, against differences, as for any other parameter."""

    age_alone = replace(model.dynamics, passive=PassiveTracers(model.passive.kinds[:1], YEAR))
    kept = {n: model.after.tracers[n] for n in ("age", "temperature", "salinity")}
    start = model.after.replace(tracers=kept)

    def mean_age(diffusivity):
        params = {**model.params, "vertical_diffusivity": diffusivity}
        state = age_alone.step(start, params, model.forcing, model.grid)
        return jnp.sum((state.tracers["age"] * model.grid.h_c * model.grid.area_c).interior) / YEAR

    k = model.params["vertical_diffusivity"]
    both = jax.jit(lambda k: jax.jvp(mean_age, (k,), (jnp.ones_like(k),)))
    exact, h = both(k)[1], 1e-3 * k
    difference = (both(k + h)[0] - both(k - h)[0]) / (2 * h)
    assert exact < 0 and float(exact) == pytest.approx(float(difference), rel=1e-5)


# ---- kinds alone
def water_of(m, kind, tracers: dict, time=0.0, dt=DAY) -> Water:
    own = {n: jnp.asarray(v, m.dtype) for n, v in kind.leaves().items()}
    return Water(tracers, m.grid.h_c.crop(0), own, m.grid, jnp.asarray(time), dt, YEAR)


@one_rank
@pytest.mark.parametrize(
    "years, rtol", [((0.0,), 3e-3), ((0.0, 100.0), 5e-3)], ids=["step", "ramp"]
)
def test_gas_uptake_of_a_well_mixed_box(model, years, rtol):
    """Against ``C' = k / h (C_s - C)``: for a jump of C_s, and for one that grows steadily."""
    rise = 0.02  # a year
    series = [1.0] if len(years) == 1 else [0.0, 100 * rise]
    kind = make_kind(
        "gas",
        {"kind": "surface_history", "times": years, "values": series, "piston_velocity": 1e-5},
    )
    h = float(model.grid.h_c.interior[0].max())
    tau, dt, n = h / 1e-5, DAY, 200

    def one(step, c):
        flux = kind.sources(water_of(model, kind, {"gas": c}, (step + 0.5) * dt, dt)).surface["gas"]
        return c.with_data(c.data.at[0].add(dt * flux.data / h))

    c = jax.jit(lambda c: jax.lax.fori_loop(0, n, one, c))(model.grid.mask_c.crop(0) * 0.0)
    t = n * dt
    grown = 1 - np.exp(-t / tau)
    expected = grown if len(years) == 1 else rise * (t - tau * grown) / YEAR
    deepest = np.unravel_index(np.argmax(model.grid.h_c.interior[0]), c.shape[1:])
    assert float(c.data[0][deepest]) == pytest.approx(expected, rel=rtol)
    assert float(jnp.abs(c.data[1:]).max()) == 0 and expected > 0.001


@one_rank
def test_sinking_follows_the_power_law(model):
    kind = make_kind("cycle", {"kind": "phosphorus"})
    g, wet = model.grid, model.grid.mask_c.crop(0)
    made = wet.with_data(jnp.concatenate([wet.data[:1], 0 * wet.data[1:]]))
    flux = kind._sinking_flux(made, jnp.asarray(0.9), g)
    bottom = np.cumsum(np.asarray(g.dz).ravel())
    column = np.unravel_index(np.argmax(np.asarray(g.depth_c.interior)), made.shape[1:])
    expected = (np.maximum(bottom, 75.0) / max(bottom[0], 75.0)) ** -0.9
    np.testing.assert_allclose(
        np.asarray(flux.data)[(slice(None), *column)], expected[:-1], rtol=1e-13
    )
    dry_below = np.asarray(g.mask_cw.interior) == 0
    assert (np.asarray(flux.data)[dry_below] == 0).all() and dry_below.any()


@one_rank
def test_derivatives_of_production_are_finite(model):
    """Also where phosphate is zero or negative, in the dark and on land."""
    kind = make_kind("cycle", {"kind": "phosphorus"})
    names = [v.name for v in kind.variables()]

    def total(c, p):
        water = replace(
            water_of(
                model, kind, {n: model.grid.mask_c.crop(0).with_data(x) for n, x in zip(names, c)}
            ),
            parameters=p,
        )
        return sum(jnp.sum(jnp.sin(f.data * 1e9)) for f in kind.sources(water).contents.values())

    shape = model.grid.mask_c.crop(0).shape
    own = {n: jnp.asarray(v) for n, v in kind.leaves().items()}
    for start in (0.0, -0.1, 1.0):
        c = [jnp.full(shape, start)] * 2
        found = jax.jit(jax.grad(total, (0, 1)))(c, own)
        assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(found)), start


def test_insolation():
    """Equinox at the equator, polar night, and the mean over the sphere, a quarter of the solar
    constant."""
    lat = jnp.linspace(-89.95, 89.95, 1800)
    weight = jnp.cos(jnp.deg2rad(lat))
    for part in (0.0, 0.2, 0.47, 0.8):
        q = daily_insolation(lat, part * YEAR, YEAR)
        assert float((q * weight).sum() / weight.sum()) == pytest.approx(1361 / 4, rel=1e-4)
    equinox = (0.25 - 10 / 365) * YEAR
    assert float(daily_insolation(jnp.zeros(()), equinox, YEAR)) == pytest.approx(
        1361 / np.pi, rel=1e-6
    )
    assert float(daily_insolation(jnp.asarray(80.0), 0.0, YEAR)) == 0
    assert float(daily_insolation(jnp.asarray(-80.0), 0.0, YEAR)) > 450


@one_rank
def test_float32_stays_float32():
    m = Model("two_basin", {**SMALL, "run.precision": "float32"}, comm=SerialCommunicator())
    shapes = jax.eval_shape(m.step, m.state, m.params, m.forcing, m.grid)
    assert {n: f.dtype for n, f in shapes.variables().items()} == dict.fromkeys(
        m.state.variables(), jnp.float32
    )


# ---- declaring
BAD = [
    ({"age": {"kind": "ideal_agee"}}, ["age", "ideal_agee", "did you mean ideal_age"]),
    ({"age": {"kind": "nowhere.near:Kind"}}, ["cannot import", "nowhere"]),
    ({"age": 3}, ["age", "{kind: ..."]),
    ({"mark": {"kind": "dye", "valu": 2}}, ["mark", "valu", "did you mean value"]),
    ({"mark": {"kind": "dye", "lat": [10, -10]}}, ["mark", "lat", "larger"]),
    ({"mark": {"kind": "dye", "half_life": -1}}, ["mark.half_life", "greater than"]),
    (
        {"gas": {"kind": "surface_history", "times": [0, 1], "values": [1]}},
        ["gas", "2 times and 1 values"],
    ),
    ({"gas": {"kind": "surface_history", "times": [1, 0], "values": [1, 2]}}, ["gas", "increase"]),
    ({"temperature": {"kind": "dye"}}, ["'temperature'", "already"]),
    ({"eta": {"kind": "dye"}}, ["'eta'", "already"]),
    ({"u": {"kind": "ideal_age"}}, ["'u'", "already"]),
    ({"ice_frazil": {"kind": "dye"}}, ["ice_frazil", "already"]),
    ({"flow": {"kind": "dye"}}, ["flow", "already"]),
    ({"mixed_layer_depth": {"kind": "ideal_age"}}, ["mixed_layer_depth", "already"]),
    ({"history_u_1": {"kind": "ideal_age"}}, ["history_u_1", "already"]),
    ({"my dye": {"kind": "dye"}}, ["my dye", "letters"]),
    (
        {"a": {"kind": "phosphorus"}, "b": {"kind": "phosphorus"}},
        ["phosphate", "declared twice", "a", "b"],
    ),
    ({"dop": {"kind": "dye"}, "cycle": {"kind": "phosphorus"}}, ["dop", "declared twice"]),
]


@pytest.mark.parametrize(
    "tracers, words", BAD, ids=lambda x: next(iter(x)) if isinstance(x, dict) else ""
)
def test_what_cannot_be_is_refused(tracers, words):
    with pytest.raises(ConfigError) as error:
        load_config("two_basin", {"tracers": tracers})
    assert all(w in str(error.value) for w in words), error.value


def test_a_name_given_twice_in_a_file_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("base: two_basin\ntracers:\n  age: {kind: ideal_age}\n  age: {kind: dye}\n")
    with pytest.raises(ConfigError, match="age.*twice"):
        load_config(str(path))


def test_a_region_of_a_plane_does_not_come_again():
    """Its east is counted in km; on the sphere it comes round after 360 degrees."""
    x = np.array([[50.0, 150.0, 410.0, 450.0]])
    place = Field(jnp.asarray(x), "c", Halo())
    grid = SimpleNamespace(
        mask_c=Field(jnp.ones((1, *x.shape)), "c", Halo()),
        lat_c=place,
        lon_c=place,
        spherical=False,
    )
    assert region(grid, None, (0.0, 100.0), None).data.tolist() == [[[1, 0, 0, 0]]]
    grid.spherical = True
    assert region(grid, None, (0.0, 100.0), None).data.tolist() == [[[1, 0, 1, 1]]]
    assert region(grid, None, (-310.0, 50.0), None).data.tolist() == [[[1, 1, 1, 1]]]


def test_daylight_needs_a_latitude():
    with pytest.raises(ConfigError, match="cycle.*latlon"):
        load_config("gyre", {"tracers.cycle.kind": "phosphorus"})
    aged = load_config("gyre", {"tracers.age.kind": "ideal_age"})
    assert aged.model_dump()["tracers"] == {"age": {"kind": "ideal_age"}}
    assert load_config("gyre", {"tracers.age": "ideal_age"}) == aged


def test_names_units_and_leaves():
    passive = PassiveTracers.declared(TRACERS)
    found = passive_variables(passive)
    assert found["age"].unit == "year" and found["phosphate"].unit == "mmol m-3"
    assert [v.name for v in find_variables(["age", "eta", "dop"], found)] == ["age", "eta", "dop"]
    with pytest.raises(ValueError, match="did you mean phosphate"):
        find_variables(["phosphat"], found)
    assert not set(found) & set(VARIABLES)
    assert found == passive_variables(PassiveTracers.declared(TRACERS)), (
        "or every run would compile its output again"
    )
    assert passive.parameters()["cycle.martin"] == 0.9


def test_temperature_is_named_after_the_equation_of_state():
    none = PassiveTracers()
    assert variables_of(none, "teos10") == {}
    own = variables_of(none, "jmd95")
    assert (
        own["temperature"].standard_name == "sea_water_potential_temperature"
        and own["temperature"].unit == "degree_C"
    )
    assert (
        own["salinity"].standard_name == "sea_water_practical_salinity"
        and own["salinity"].unit == "1"
    )


@one_rank
def test_parameters_of_kinds_can_be_learned(model):
    params = {n: jnp.asarray(v) for n, v in PassiveTracers.declared(TRACERS).parameters().items()}
    learn = LearnableSet(["cycle.production", "gas.piston_velocity"])
    assert learn.items[0].info.unit == "mmol m-3 year-1"
    raw = learn.initial(params, model.grid)
    assert float(learn.values(raw)["gas.piston_velocity"]) == pytest.approx(5e-5)
    with pytest.raises(LearnableError, match="unknown parameter"):
        LearnableSet(["cycle.producton"])


@one_rank
def test_a_kind_of_ones_own(model):
    """A class in a module of one's own, named in the configuration."""
    own = f"{OwnKind.__module__}:OwnKind"
    passive = PassiveTracers.declared({"mine": {"kind": own, "pull": 0.5}}, YEAR)
    c = passive.initial(model.grid) | {
        n: model.after.tracers[n].crop(0) for n in ("temperature", "salinity")
    }
    params = {"mine.pull": jnp.asarray(0.5)}
    found = passive.sources(c, model.grid.h_c, params, model.grid, jnp.zeros(()), DAY)
    expected = 0.5 * (c["temperature"] - c["mine"])
    np.testing.assert_allclose(found.rates["mine"].data, expected.data, rtol=1e-14)
    assert isinstance(found.rates["mine"], Field)


from dogcm.tracers import Sources, TracerKind, TracerVariable, parameter  # noqa: E402


class OwnKind(TracerKind):
    """Follows temperature."""

    pull: float = parameter(1.0, "s-1", "how fast")

    def variables(self):
        return (TracerVariable(self.label, "degC", "follows temperature"),)

    def sources(self, water):
        return Sources(
            rates={
                self.label: (water.tracers["temperature"] - water.tracers[self.label])
                * water.parameters["pull"]
            }
        )
