"""Oceans of few cells: a column, a strip, two rows, one layer; and one from pole to pole."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest

import dogcm
from dogcm.decomp import Halo, SerialCommunicator, make_layout
from dogcm.field import Field, exchange, send_back
from dogcm.halo import connect
from dogcm.io.restart import latest_restart
from dogcm.setups import inputs
from dogcm.setups.registry import load_config

LAYERS = [10.0, 15.0, 25.0, 50.0]


def plane(nx: int, ny: int, layers=LAYERS, periodic: bool = True, **more) -> dogcm.Model:
    grid = dogcm.CartesianGrid(
        nx=nx, ny=ny, dx=2e4, dy=2e4, beta=2e-11, layers=layers, periodic=periodic
    )
    air = {"heat_flux": -200.0, "wind_stress_x": 0.1}
    return dogcm.Model(
        grid=grid,
        bathymetry=float(sum(layers)),
        time_step=600.0,
        forcing=air,
        comm=SerialCommunicator(),
        **more,
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (5, 1)])
def test_a_halo_deeper_than_the_grid_wraps_round_it(shape):
    halos = connect(make_layout(shape, 1, 1), SerialCommunicator())
    random = np.random.default_rng(0)
    values, want = random.normal(size=(2, *shape)), Halo(2, 3, 4, 3)
    field = Field(jnp.asarray(values), "c")
    (deep,) = exchange(halos, (field, want))
    wrapped = np.pad(values, [(0, 0), (2, 3), (4, 3)], mode="wrap")
    np.testing.assert_array_equal(np.asarray(deep.data), wrapped)
    other = random.normal(size=wrapped.shape)
    (back,) = send_back(halos, Field(jnp.asarray(other), "c", want))
    there, here = np.sum(other * wrapped), np.sum(np.asarray(back.data) * values)
    assert there == pytest.approx(here, rel=1e-13)


def test_a_strip_is_one_column_of_cells_of_a_uniform_channel():
    """Where nothing depends on x, the number of cells in x does not matter."""
    strip, channel = plane(1, 6), plane(4, 6)
    for model in (strip, channel):
        model.advance(30)
    assert float(jnp.abs(strip.state.v.data).max()) > 1e-4
    for name in ("u", "v", "eta", "temperature", "salinity"):
        one, many = strip.gather(name), channel.gather(name)
        np.testing.assert_allclose(one + 0 * many, many, rtol=0, atol=1e-12, err_msg=name)


def test_a_closed_column_keeps_its_heat_budget(tmp_path):
    model = plane(1, 1, periodic=False)
    first = model.read()
    model.run(0.25, tmp_path, progress=False)
    last = model.read()
    assert last.speed == 0.0 and last.volume == first.volume
    given = -200.0 * 2e4**2 * 0.25 * 86400
    assert last.heat - first.heat == pytest.approx(given, rel=1e-9)
    with netCDF4.Dataset(tmp_path / "monthly.nc") as data:
        assert data["temperature"].shape == (1, 4, 1, 1)


def test_two_by_two_cells_of_one_layer(tmp_path):
    """The whole way: files, restart, and on from there."""
    model = plane(2, 2, [50.0])
    model.run(0.25, tmp_path, progress=False)
    middle = jax.tree.map(jnp.copy, model.state)
    model.advance(6)
    straight = {n: model.gather(n) for n in model.state.variables()}
    model.state = middle
    last = latest_restart(tmp_path)
    model.run(3600 / 86400, tmp_path, restart_from=last, progress=False)
    for name, values in straight.items():
        np.testing.assert_array_equal(model.gather(name), values, name)


def test_planes_that_close_on_themselves_in_y_are_refused():
    with pytest.raises(ValueError, match="close on itself in x alone"):
        dogcm.CartesianGrid(nx=1, ny=1, periodic=("x", "y"))


GLOBE = {
    "grid": {"nx": 16, "ny": 12, "lon": [0, 360], "lat": [-90, 90], "layers": [100, 400, 500]},
    "bathymetry": {"source": "flat", "depth": 1000.0},
    "initial": {"meridional": True},
    "time": {"step": 1200.0},
}


def test_an_ocean_from_pole_to_pole():
    """Meridians meet at both ends: nothing is lost there, and both ends are alike."""
    model = dogcm.Model(GLOBE, forcing={"wind_stress_x": 0.1}, comm=SerialCommunicator())
    assert [c.cells for c in model.closed] == [32]
    assert "no water crosses it, and cells beside it are 327 km wide" in model.closed[0].text
    first = model.read()
    model.advance(36)
    last = model.read()
    for name in ("volume", "heat", "salt"):
        assert getattr(last, name) == pytest.approx(getattr(first, name), rel=1e-14), name
    u, v = model.gather("u"), model.gather("v")
    assert np.abs(u[:, [0, -1]]).max() < np.abs(u).max() < 0.1
    assert np.abs(u - u[:, ::-1]).max() < 0.03 * np.abs(u).max()
    assert np.abs(v[:, 1:] + v[:, :0:-1]).max() < 0.05 * np.abs(v).max()


def test_a_last_row_of_land_has_nothing_to_tell():
    rows = [{"lat": [75, 90], "lon": [0, 360], "depth": 0}]
    config = load_config(
        "global_4deg", {"grid.lat": [-80, 90], "grid.ny": 34, "bathymetry.straits": rows}
    )
    found: list = []
    inputs.cell_thickness(
        config, inputs.horizontal_grid(config), inputs.vertical_grid(config), told=found
    )
    assert found and not any("pole" in c.text for c in found)
