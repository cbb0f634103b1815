"""Schemes that are switched on, off or changed where a run goes on from a restart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_air

import dogcm
from dogcm.components import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.grid.tripolar import TripolarGrid
from dogcm.io import cold
from dogcm.io.restart import RestartError, lacking, read_restart, write_restart
from dogcm.physics.surface import ice

SMALL = {"grid.nx": 12, "grid.ny": 10, "grid.nz": 4, "time.step": 3600, "run.output": {}}
TKE = {"physics.vertical_mixing": "tke"}


def channel(**changes):
    return dogcm.Model("channel", SMALL | changes, comm=SerialCommunicator())


@pytest.fixture(scope="module")
def plain():
    """A channel after six steps, in some motion."""
    model, random = channel(), np.random.default_rng(1)
    moving = lambda f, mask: f.with_data(random.normal(0.0, 0.1, f.shape) * mask.interior)
    s = model.state
    model.after_6 = s.replace(
        u=moving(s.u, model.grid.mask_u),
        v=moving(s.v, model.grid.mask_v),
        time=jnp.asarray(6 * 3600.0),
        steps=jnp.asarray(6, jnp.int64),
    )
    return model


@pytest.fixture(scope="module")
def turbulent():
    return channel(**TKE)


@pytest.fixture
def restart(plain, tmp_path):
    plain.state = jax.tree.map(jnp.copy, plain.after_6)
    return write_restart(tmp_path / "plain.nc", plain)


def test_a_scheme_that_the_restart_lacks_is_named_with_the_way_out(turbulent, restart):
    with pytest.raises(RestartError, match="has no tke.*--cold vertical_mixing starts"):
        read_restart(restart, turbulent)


@pytest.mark.parametrize("key", ["vertical_mixing", "physics.vertical_mixing"])
def test_cold_starts_it_from_rest_and_keeps_all_else(turbulent, plain, restart, key):
    with pytest.warns(UserWarning, match="tke start anew"):
        state = read_restart(restart, turbulent, [key])
    rest = turbulent.state.closures["tke"]
    np.testing.assert_array_equal(np.asarray(state.closures["tke"].data), np.asarray(rest.data))
    for name, field in plain.after_6.variables().items():
        np.testing.assert_array_equal(
            np.asarray(state.variables()[name].interior), np.asarray(field.interior), name
        )
    assert int(state.steps) == 6


def test_cold_counts_also_where_the_restart_has_the_fields(turbulent, tmp_path):
    """It is what the word says; only a job script that repeats it goes on as it was."""
    tke = turbulent.state.closures["tke"]
    turbulent.state = turbulent.state.replace(closures={"tke": tke.with_data(tke.data + 1e-3)})
    path = write_restart(tmp_path / "tke.nc", turbulent)
    assert lacking(path, turbulent, ["vertical_mixing"]) == []
    with pytest.warns(UserWarning, match="tke start anew"):
        anew = read_restart(path, turbulent, ["vertical_mixing"])
    np.testing.assert_array_equal(np.asarray(anew.closures["tke"].data), np.asarray(tke.data))
    kept = read_restart(path, turbulent).closures["tke"]
    np.testing.assert_array_equal(np.asarray(kept.data), np.asarray(tke.data) + 1e-3)
    turbulent.state = turbulent.state.replace(closures={"tke": tke})


def test_a_key_that_carries_nothing_is_refused_with_those_that_do(turbulent, plain, restart):
    with pytest.raises(ConfigError, match="--cold convection: .*known here: vertical_mixing"):
        read_restart(restart, turbulent, ["convection"])
    with pytest.raises(ConfigError, match="nor does any other here"):
        read_restart(restart, plain, ["vertical_mixing"])


def test_a_scheme_of_no_content_stays_behind_with_a_word(turbulent, plain, tmp_path):
    path = write_restart(tmp_path / "tke.nc", turbulent)
    with pytest.warns(UserWarning, match="restart's tke stay behind.*no such vertical_mixing"):
        read_restart(path, plain)


def test_the_second_velocity_of_the_cd_scheme_starts_from_the_first(plain, restart):
    model = channel(**{"physics.coriolis": "cd"})
    with pytest.raises(RestartError, match="v_at_u, u_at_v.*--cold coriolis"):
        read_restart(restart, model)
    with pytest.warns(UserWarning, match="start anew"):
        state = read_restart(restart, model, ["coriolis"])
    v = np.asarray(state.v.interior)  # south faces of a channel that is periodic in x
    north = np.concatenate([v[:, 1:], np.zeros_like(v[:, :1])], 1)
    mean = 0.25 * (v + north + np.roll(v, 1, -1) + np.roll(north, 1, -1))
    found = np.asarray(state.d_grid[0].interior)
    np.testing.assert_allclose(found, mean, atol=1e-15)
    assert np.abs(found).max() > 1e-4


def test_ice_is_not_forgotten(tmp_path):
    """Its water and its heat, against sums by hand; switched off by name it may go, whatever else
    is switched off beside it."""
    air = toy_air.SMALL | toy_air.write_air(tmp_path)
    both = air | {"physics.coriolis": "cd"}
    frozen = dogcm.Model({"name": "cold"}, both, comm=SerialCommunicator())
    without = air | {"physics.sea_ice": "none"}
    open_ = dogcm.Model({"name": "cold"}, without, comm=SerialCommunicator())
    path = write_restart(tmp_path / "no_ice.nc", frozen)
    with pytest.warns(UserWarning, match="ice_frazil, ice_thickness, u_at_v, v_at_u stay behind"):
        read_restart(path, open_)  # there is none yet
    wet = frozen.grid.mask_c.interior[0]
    names = dict(zip(ice.STATE, (0.5, 0.01)))
    blank = frozen.state.closures["ice_thickness"]
    thick = {n: blank.with_data(wet * metres).named(n) for n, metres in names.items()}
    frozen.state = frozen.state.replace(closures={**frozen.state.closures, **thick})
    area = float((wet * frozen.grid.area_c.interior).sum())
    water, heat = ice.DENSITY * 0.5 * area, -ice.DENSITY * ice.FUSION * 0.51 * area
    for name in ("ice.nc", "ice.zarr"):
        path = write_restart(tmp_path / name, frozen)
        with pytest.raises(RestartError) as refused:
            read_restart(path, open_)
        for words in (f"{heat:.4g} J of heat", f"{water:.4g} kg of water", "--cold sea_ice"):
            assert words in str(refused.value), words
        assert "--cold coriolis" not in str(refused.value)
    with pytest.warns(UserWarning, match="the ocean loses .* of water"):
        read_restart(path, open_, ["sea_ice"])
    # A job script says the same again when the ice is gone.
    words = ["sea_ice", "physics.coriolis", "ice"]
    assert lacking(path, open_, words) == words
    assert lacking(write_restart(tmp_path / "gone.nc", open_), open_, words) == ["ice"]
    with pytest.warns(UserWarning, match="start anew"):
        state = read_restart(path, frozen, ["sea_ice"])
    assert not np.asarray(state.closures["ice_thickness"].data).any()


def test_what_is_stored_twice_on_a_fold_is_held_once():
    """A metre of ice on all the sphere north of the last wall, against its area."""
    grid = TripolarGrid(48, 36, south=-76.0, join=64.0)
    held = cold.contents(lambda name: np.ones(grid.shape), ["ice_thickness"], grid)
    cap = 2.0 * np.pi * grid.radius**2 * (1.0 + np.sin(np.deg2rad(76.0)))
    assert held["ice_thickness"]["water"] == pytest.approx(ice.DENSITY * cap, rel=1e-3)
    assert cold.contents(str, ["tke"], None) == {}


def test_fluxes_of_ones_own_have_one_key_on_both_sides():
    """A restart does not say under which name a flux that is left behind went."""
    carried = {"fluxes.sun": ("a",), "fluxes.fog": ("b",), "eddies": ("c",)}
    assert cold.chosen(["forcing.fluxes.fog"], carried, {}) == {"fluxes.fog"}
    assert cold.chosen(["fluxes"], carried, {}) == {"fluxes.fog", "fluxes.sun"}
    assert cold.chosen(["fluxes.rain"], {}, {"fluxes": ("d",)}) == {"fluxes"}
    with pytest.raises(ConfigError, match="--cold flux: "):
        cold.chosen(["flux"], carried, {"fluxes": ("d",)})
