"""A grid and an output variable from outside the package, and oceans built in Python."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from same_bits import after, assert_same_bits

import dogcm
from dogcm.cli import main
from dogcm.components import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io.reading.errors import InputError
from dogcm.setups.registry import load_config
from dogcm.simulation.wishes import in_days
from dogcm.verification.verify import verify_restart

PLUGINS = Path(__file__).resolve().parents[2] / "examples" / "plugins"
sys.path.insert(0, str(PLUGINS))
one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
GRID = {
    "kind": "stretched_grid:EquatorialGrid",
    "nx": 24,
    "ny": 18,
    "nz": 5,
    "depth": 3000.0,
    "finest": 0.3,
}
OWN_GRID = {
    "name": "equatorial",
    "grid": GRID,
    "bathymetry": {"source": "flat", "depth": 3000.0},
    "initial": {"source": "profile", "meridional": True},
    "forcing": {"source": "channel"},
    "time": {"step": 3600},
    "run": {
        "variables": {"speed": {"kind": "speed:Speed"}},
        "output": {"daily": {"variables": ["speed", "eta"], "every": 1.0}},
    },
}


# ---- a grid and an output variable of one's own
@one_rank
def test_the_grid_is_refined_at_the_equator():
    model = dogcm.Model(OWN_GRID, comm=SerialCommunicator())
    heights = np.asarray(model.grid.dy_c.interior)[:, 0]
    middle, mean = heights[8:10].mean(), heights.mean()
    assert middle < 0.35 * mean and heights[0] > 1.5 * mean
    model.advance(24)
    assert np.isfinite(model.gather("u")).all() and np.abs(model.gather("u")).max() > 1e-3


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2, 4, slow=(4,))
def test_tiles_give_the_same_bits():
    assert_same_bits(lambda comm: dogcm.Model(OWN_GRID, comm=comm), after(10))


@one_rank
def test_restart_on_the_grid_of_ones_own():
    assert verify_restart(load_config(OWN_GRID), 6).passed


@pytest.mark.mpi
@pytest.mark.ranks(1, 2, slow=(2,))
def test_the_variable_and_the_series_are_written(tmp_path):
    """The last number of the series, of one step, against the state after it."""
    folder = Path(world().broadcast(str(tmp_path / "out")))
    series = {"warm_water": {"kind": "own_series:WarmWater", "warmer_than": 8.0}}
    diagnostics = {"every": 1 / 24, "density": "none", "series": series}
    model = dogcm.Model(OWN_GRID, {"run.diagnostics": diagnostics})
    model.run(2, folder, progress=False)
    u, v, temperature = (model.gather(n) for n in ("u", "v", "temperature"))
    thickness, area = (model.gather(f.crop(0)) for f in (model.grid.h_c, model.grid.area_c))
    if u is None:
        return
    with xr.open_dataset(folder / "daily.nc", decode_times=False) as data:
        speed = data.speed
        assert speed.shape[0] == 2 and speed.attrs["units"] == "m s-1"
        assert speed.attrs["long_name"] == "Speed of the current."
        assert speed.attrs["standard_name"] == "sea_water_speed"
        assert 0 < float(speed.max()) <= np.hypot(np.abs(u).max(), np.abs(v).max())
    wanted = (np.where(temperature > 8.0, thickness, 0.0) * area).sum()
    assert 0 < wanted < 0.9 * (thickness * area).sum()
    with xr.open_dataset(folder / "diagnostics.nc", decode_times=False) as data:
        warm = data.warm_water
        np.testing.assert_allclose(warm[-1].sel(basin=0), wanted, rtol=1e-13)
        assert warm.attrs["units"] == "m3" and warm.attrs["long_name"].startswith("Volume of water")
    assert load_config(model.config.model_dump(mode="json")) == model.config


@one_rank
@pytest.mark.parametrize(
    "entry, text",
    [
        ({"warm": "own_series:Nothing"}, "cannot import 'own_series:Nothing'"),
        ({"warm": "speed:Speed"}, "speed:Speed is no dogcm.diagnostics.series.DiagnosticSeries"),
        ({"warm": {"kind": "own_series:WarmWater", "colder": 1}}, "series.warm.colder"),
        ({"warm water": "own_series:WarmWater"}, "letters, digits and underscores"),
    ],
)
def test_series_that_cannot_be_used_are_refused(entry, text):
    with pytest.raises(ConfigError, match=text):
        load_config(OWN_GRID, {"run.diagnostics": {"series": entry}})


@one_rank
def test_shown(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(load_config(OWN_GRID).to_yaml())
    assert main(["show", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("stretched_grid:EquatorialGrid", "grid.finest", "run.variables.speed.floor"):
        assert words in out


@pytest.mark.slow
@one_rank
def test_gradient_through_the_grid_of_ones_own():
    model = dogcm.Model(OWN_GRID, comm=SerialCommunicator())

    def loss(stress):
        records = {**model.forcing.records}
        records["taux"] = records["taux"].with_data(records["taux"].data * stress)
        forcing = dogcm.Forcing(records, model.forcing.period)
        last, _ = dogcm.rollout(
            model.step, model.state, model.params, forcing, model.grid, 6, checkpoint="step"
        )
        return jnp.sum(last.u.interior**2)

    value = jax.jit(loss)
    expected = (value(1.01) - value(0.99)) / 0.02
    assert float(jax.jit(jax.grad(loss))(1.0)) == pytest.approx(float(expected), rel=1e-5)


# ---- oceans from arrays
N, WIDTH, DEPTH = 16, 40e3, 1500.0


def parts(**changes) -> dict:
    x = (np.arange(N) + 0.5) * WIDTH
    floor = np.full((N, N), DEPTH) - 400.0 * np.exp(-(((x - 300e3) / 100e3) ** 2))
    layers = np.array([50.0, 150.0, 400.0, 900.0])
    return {
        "grid": dogcm.CartesianGrid(nx=N, ny=N, dx=WIDTH, dy=WIDTH, dz=layers, periodic=()),
        "bathymetry": floor,
        "initial": {"temperature": np.array([18.0, 14.0, 9.0, 5.0]), "salinity": 35.0},
        "forcing": {"wind_stress_x": np.linspace(-0.1, 0.1, N)[:, None] * np.ones(N)},
        "friction": dogcm.StressFriction(lateral_viscosity=3e3, viscosity_power=0),
        "time_step": 1800.0,
        "name": "from_arrays",
    } | changes


def build(comm=None, **changes):
    return dogcm.Model(comm=comm or SerialCommunicator(), **parts(**changes))


@one_rank
def test_python_and_yaml_give_the_same_bits(tmp_path):
    """The written configuration, with the same values passed again."""
    first = build(vertical_mixing=dogcm.TKE(tke_c_k=0.12))
    path = tmp_path / "ocean.yaml"
    path.write_text(first.config.to_yaml())
    own = {k: v for k, v in parts().items() if k in ("bathymetry", "initial", "forcing")}
    second = dogcm.Model(path, comm=SerialCommunicator(), **own)
    assert second.config == first.config and "tke_c_k: 0.12" in path.read_text()
    for model in (first, second):
        model.advance(20)
    assert first.read().checksum == second.read().checksum


@one_rank
def test_arrays_and_functions_are_the_same():
    x = (np.arange(N) + 0.5) * WIDTH
    as_functions = build(
        bathymetry=lambda x, y: DEPTH - 400.0 * np.exp(-(((x - 300e3) / 100e3) ** 2)),
        forcing={"taux": lambda x, y, t: -0.1 + 0.2 * (y / WIDTH - 0.5) / (N - 1)},
    )
    plain = build()
    np.testing.assert_array_equal(
        as_functions.gather(as_functions.grid.h_c.crop(0)), plain.gather(plain.grid.h_c.crop(0))
    )
    for model in (as_functions, plain):
        model.advance(20)
    np.testing.assert_allclose(as_functions.gather("u"), plain.gather("u"), rtol=1e-9, atol=1e-14)
    assert x.size == N


@one_rank
def test_forcing_that_changes_in_time():
    """A wind that turns round after an hour."""
    turning = build(forcing={"taux": lambda x, y, t: jnp.where(t < 3600.0, 0.1, -0.1) + 0 * x})
    turning.advance(2)
    before = turning.gather("u")[0].mean()
    turning.advance(4)
    assert before > 0 > turning.gather("u")[0].mean()


@one_rank
def test_a_data_array_s_unit_and_order_are_obeyed():
    t = np.array([18.0, 14.0, 9.0, 5.0])[:, None, None] + np.zeros((4, N, N))
    warm = xr.DataArray(
        np.moveaxis(t + 273.15, 0, -1), dims=("y", "x", "depth"), attrs={"units": "K"}
    )
    found = build(initial={"temperature": warm, "salinity": 35.0})
    np.testing.assert_allclose(
        found.gather("temperature"), build().gather("temperature"), atol=1e-12
    )


@one_rank
def test_a_data_array_on_the_grid_s_own_places():
    """In metres or kilometres, at the faces where wind stress sits."""
    wind = parts()["forcing"]["wind_stress_x"]
    for scale, unit in ((1.0, "m"), (1e-3, "km")):
        x = ("x", FACES * scale, {"units": unit})
        y = ("y", MIDDLES * scale, {"units": unit})
        found = build(forcing={"taux": xr.DataArray(wind, {"y": y, "x": x}, ("y", "x"))})
        given, usual = (m.forcing.records["taux"].data for m in (found, build()))
        np.testing.assert_array_equal(np.asarray(given), np.asarray(usual))


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2)
def test_arrays_on_tiles():
    assert_same_bits(lambda comm: build(comm), after(10))


@pytest.mark.mpi
@pytest.mark.ranks(1, 2)
def test_a_dataset_of_the_state(tmp_path):
    model = dogcm.Model(**parts())
    model.advance(10)
    ds = model.dataset()
    if world().rank:
        assert ds is None
        return
    assert ds.temperature.shape == (4, N, N) and ds.u.dims == ("depth", "y", "x_u")
    assert ds.temperature.attrs["standard_name"] == "sea_water_conservative_temperature"
    assert np.isfinite(ds.eta).all() and float(ds.depth[0]) == 25.0
    ds.to_netcdf(tmp_path / "state.nc")


@pytest.mark.mpi
@pytest.mark.ranks(1, 2)
def test_outputs_and_callbacks(tmp_path):
    folder = Path(world().broadcast(str(tmp_path / "out")))
    model, seen = dogcm.Model(**parts()), []

    def watch(m):
        seen.append(float(m.state.time) / 3600)
        return len(seen) == 3

    tables = [dogcm.Output("surface", ["temperature", "u"], every="2 h", kind="snapshot")]
    callback = dogcm.Callback(watch, every="4 h")
    model.run(1, tables, folder=folder, callbacks=[callback], progress=False)
    assert seen == [4.0, 8.0, 12.0]
    if world().rank == 0:
        with xr.open_dataset(folder / "surface.nc", decode_times=False) as data:
            assert data.sizes["time"] == 6


@one_rank
def test_intervals():
    assert in_days("1 h") == pytest.approx(1 / 24) and in_days("30 min") == pytest.approx(1 / 48)
    assert in_days(5) == 5.0 and in_days("2 days") == 2.0
    with pytest.raises(ConfigError, match="1 h"):
        in_days("often")


LAND = np.full((N, N), np.nan)
MIDDLES = (np.arange(N) + 0.5) * WIDTH
FACES = np.arange(N) * WIDTH
CALM = np.zeros((N, N))
ELSEWHERE = xr.DataArray(CALM, dims=("y", "x"), coords={"y": MIDDLES, "x": FACES + 1e6})
TURNED = xr.DataArray(CALM, dims=("y", "x"), coords={"y": MIDDLES[::-1], "x": FACES})
DATED = xr.DataArray(np.zeros((2, N, N)), dims=("time", "y", "x"), coords={"time": [0.0, 300.0]})
WRONG = [
    ({"bathymetry": np.ones((N, N + 1)) * 100}, "bathymetry: has the shape"),
    ({"bathymetry": np.ones((N, N)) * -100}, "depth is positive"),
    ({"bathymetry": LAND}, "no ocean cell"),
    ({"bathymetry": lambda x: x}, r"function of \(x, y\)"),
    ({"initial": {"temperature": 283.0, "salinity": 35.0}}, "another unit"),
    ({"initial": {"temperature": np.ones(3), "salinity": 35.0}}, "initial.temperature: has the"),
    ({"initial": {"temperatur": 1.0}}, "did you mean temperature"),
    ({"initial": {"temperature": LAND, "salinity": 35.0}}, "temperature"),
    ({"forcing": {"wind_stress": 0.1}}, "did you mean wind_stress"),
    ({"forcing": {"wind_stress_x": 500.0}}, "forcing.taux"),
    ({"forcing": {"taux": lambda x, y, t: x * jnp.nan}}, "forcing.taux: not finite"),
    ({"forcing": {"taux": lambda x, y: x}}, r"function of \(x, y, t\)"),
    ({"forcing": {"taux": lambda x, y, t: jnp.ones((3, 3))}}, "forcing.taux"),
    ({"forcing": {"taux": ELSEWHERE}}, "its x goes from"),
    ({"forcing": {"taux": TURNED}}, "its y goes from"),
    ({"forcing": {"taux": DATED}}, "its time coordinate is not used"),
    ({"vertical_mixin": dogcm.TKE()}, "did you mean vertical_mixing"),
    ({"vertical_mixing": dogcm.Isoneutral()}, "belongs to the slot eddies"),
    ({"grid": {"kind": "cartesian", "nx": 8, "ny": 8, "periodic": ["x", "y"]}}, "in x alone"),
]


@one_rank
@pytest.mark.parametrize("changes, says", WRONG, ids=lambda x: str(x)[:24])
def test_what_cannot_be_is_refused(changes, says):
    with pytest.raises((ConfigError, InputError, ValueError), match=says):
        build(**changes)


@one_rank
def test_values_of_python_are_asked_for_again():
    config = build().config
    with pytest.raises(InputError, match="bathymetry were given in Python"):
        dogcm.Model(config, comm=SerialCommunicator())
    with pytest.raises(ConfigError, match="a grid"):
        dogcm.Model()


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2)
def test_all_ranks_refuse_alike():
    wrong = parts(initial={"temperature": np.ones(3), "salinity": 35.0})
    with pytest.raises(InputError, match="initial.temperature"):
        dogcm.Model(**wrong)
