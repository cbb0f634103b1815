"""Diagnostics of a running model: closed budgets, what goes round in ``diagnostics.nc``, extremes,
and continuing."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import pytest
import xarray as xr

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.decomp import SerialCommunicator, world
from dogcm.diagnostics.budgets import TERMS, VOLUME_TERMS
from dogcm.diagnostics.circulation_series import Circulation
from dogcm.diagnostics.compare import compare
from dogcm.io.restart import latest_restart
from dogcm.setups.registry import load_config

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "plugins"))
HOUR, NY, NX = 1 / 24, 18, 24
BUDGETS = (
    [f"heat_{t}" for t in TERMS]
    + [f"salt_{t}" for t in TERMS]
    + [f"volume_{t}" for t in VOLUME_TERMS]
)
CHANNEL = {"grid.nx": NX, "grid.ny": NY, "grid.nz": 4, "time.step": 3600, "run.monitor_every": HOUR}
DIAGNOSTICS = {
    "every": 0.25,
    "density_edges": [30.0, 34.0, 36.5],
    "sections": {
        "across": {"points": [(100, 0), (100, 900)]},
        "round": {"points": [(0, 100), (600, 100), (1200, 100)]},
    },
}


def extremes(kind: str) -> dict:
    return {"kind": kind, "variables": ["eta"], "every": 0.25}


OUTPUT = {
    "budget": {"variables": BUDGETS, "every": 0.25},
    "shots": {**extremes("snapshot"), "every": HOUR},
    **{k: extremes(k) for k in ("minimum", "maximum", "root_mean_square")},
}


@pytest.fixture(scope="module")
def model():
    """In motion, with fresh water and lateral diffusion: no term of a budget is zero."""
    more = {
        "run.output": OUTPUT,
        "run.diagnostics": DIAGNOSTICS,
        "physics.momentum_advection": "none",
    }
    m = dogcm.Model("channel", CHANNEL | more, comm=SerialCommunicator())
    rng = np.random.default_rng(0)
    noise = lambda f, size: f.with_data(f.data + size * rng.normal(size=f.shape))
    s, g = m.state, m.grid
    mask = lambda f, name: f.with_data(f.data * np.asarray(getattr(g, name).interior))
    m.state = s.replace(
        u=mask(noise(s.u, 0.05), "mask_u"),
        v=mask(noise(s.v, 0.05), "mask_v"),
        tracers={n: mask(noise(c, 0.2), "mask_c") for n, c in s.tracers.items()},
    )
    from dogcm.decomp import Halo
    from dogcm.field import Field

    rain = 1e-7 * np.random.default_rng(1).normal(size=(1, NY + 4, NX + 4))
    m.forcing = type(m.forcing)(
        m.forcing.records | {"freshwater_flux": Field(jnp.asarray(rain), "c", Halo.of(2))},
        m.forcing.period,
    )
    m.first = jax.tree.map(jnp.copy, m.state)
    return m


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "one"
    model.run(0.5, path, progress=False)
    return path


def read(path, names) -> dict[str, np.ndarray]:
    with netCDF4.Dataset(path) as data:
        return {n: np.ma.filled(data[n][:], 0.0).astype(float) for n in names}


@pytest.mark.parametrize(
    "quantity, terms", [("heat", TERMS), ("salt", TERMS), ("volume", VOLUME_TERMS)]
)
def test_budgets_close_in_every_cell(folder, quantity, terms):
    found = read(folder / "budget.nc", [f"{quantity}_{t}" for t in terms])
    tendency = found[f"{quantity}_tendency"]
    rest = sum(found[f"{quantity}_{t}"] for t in terms[1:])
    largest = max(np.abs(f).max() for f in found.values())
    # Contents are differences of large numbers: of heat, 1e4 m K a cell, over a step.
    np.testing.assert_allclose(tendency, rest, atol=1e-13 * largest, rtol=0)
    silent = {"heat_correction", "salt_correction", "salt_surface"}  # rain brings no salt
    assert all(np.abs(f).max() > 1e-6 * largest for n, f in found.items() if n not in silent)
    assert all(not found[n].any() for n in silent & set(found))


def test_heat_transport_is_what_surface_and_storage_leave(model, folder):
    """Divergence of the northward transport of a row: surface flux less tendency, to round-off."""
    d = read(
        folder / "diagnostics.nc", ["heat_transport", "heat_transport_diffusive", "salt_transport"]
    )
    area = np.asarray(model.grid.area_c.interior)
    for quantity in ("heat", "salt"):
        b = read(folder / "budget.nc", [f"{quantity}_tendency", f"{quantity}_surface"])
        gained = ((b[f"{quantity}_surface"] - b[f"{quantity}_tendency"]).sum(1) * area).sum(-1)
        transport = np.pad(d[f"{quantity}_transport"][:, 0], ((0, 0), (0, 1)))
        scale = np.abs(transport).max()
        np.testing.assert_allclose(np.diff(transport), gained, atol=1e-9 * scale)
        assert scale > 0 and np.abs(gained).max() > 1e-6 * scale
    assert 0 < np.abs(d["heat_transport_diffusive"]).max() < np.abs(d["heat_transport"]).max()


def test_streamfunctions_agree_with_sections(model, folder):
    """What goes round the channel: section, stream function at the southern wall; overturning in
    depth and density."""
    with xr.open_dataset(folder / "diagnostics.nc", decode_timedelta=False) as d:
        names = list(d.section_name.values)
        assert names == ["across", "round"] and list(d.basin_name.values) == ["global"]
        across = d.section_volume.values[:, 0]
        # The section heads north, so positive is to the west.
        np.testing.assert_allclose(
            d.barotropic_streamfunction.sel(x_u=100, y_v=0).values, -across, rtol=1e-12
        )
        assert np.abs(across).min() > 1e3
        surface = d.overturning.isel(basin=0, zw=0).sel(y_v=100).values
        np.testing.assert_allclose(-surface, d.section_volume.values[:, 1], rtol=1e-9)
        assert d.overturning_density.dims == ("time", "basin", "sigma", "y_v")
        assert d.sigma.values.tolist() == [30, 34, 36.5]
        assert (
            d.overturning.attrs["units"] == "m3 s-1" and "time: mean" in d.overturning.cell_methods
        )
        assert d.sizes["time"] == 2 and np.isfinite(d.heat_content.values).all()
        # The bottom is a stream line.
        np.testing.assert_array_equal(np.nan_to_num(d.overturning.values[:, 0, -1]), 0.0)


def test_extremes_and_squares_of_an_interval(folder):
    shots = read(folder / "shots.nc", ["eta"])["eta"].reshape(2, 6, NY, NX)
    for kind, expected in (
        ("minimum", shots.min(1)),
        ("maximum", shots.max(1)),
        ("root_mean_square", np.sqrt((shots**2).mean(1))),
    ):
        found = read(folder / f"{kind}.nc", ["eta"])["eta"]
        np.testing.assert_allclose(found, expected, rtol=1e-13, err_msg=kind)
        with netCDF4.Dataset(folder / f"{kind}.nc") as data:
            assert data["eta"].cell_methods == f"time: {kind}" and data["time_bnds"].shape == (2, 2)


def test_a_continued_run_has_the_files_of_one_run(model, folder, tmp_path):
    """diagnostics.nc and monitor.csv to the bit; records beyond the restart are dropped."""
    two = tmp_path / "two"
    model.state = jax.tree.map(jnp.copy, model.first)
    model.run(0.25, two, progress=False)
    half = latest_restart(two)
    model.run(0.25, two, restart_from=half, progress=False)
    model.run(0.25, two, restart_from=half, progress=False)
    with (
        netCDF4.Dataset(folder / "diagnostics.nc") as one,
        netCDF4.Dataset(two / "diagnostics.nc") as other,
    ):
        assert set(one.variables) == set(other.variables) and len(one["time"]) == 2
        for name in one.variables:
            np.testing.assert_array_equal(one[name][:], other[name][:], err_msg=name)
    found = compare(folder, two)
    assert found.same and "12 steps" in found.text, found.text


def test_pictures_of_the_circulation(folder, tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    from dogcm.plots.circulation import circulation_pictures

    drawn = circulation_pictures(folder / "diagnostics.nc", tmp_path)
    assert {p.stem for p in drawn} == {
        "overturning",
        "overturning_density",
        "barotropic_streamfunction",
        "heat_transport",
        "mixed_layer_depth",
        "section_transports",
    }
    assert all(p.stat().st_size > 5000 for p in drawn)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"named_sections": ["drake"]}, "unknown section 'drake'; did you mean drake_passage"),
        ({"basins": ["atlantik"]}, "unknown basin 'atlantik'; did you mean atlantic"),
        ({"basins": ["atlantic"]}, "this grid has no basin 'atlantic'"),
        (
            {"sections": {"far": {"points": [(0, 0), (0, 9e4)]}}},
            "section far: the point .* lies outside the grid",
        ),
        ({"sections": {"wall": {"points": [(0, 0), (480, 0)]}}}, "section wall crosses no water"),
        ({"density_edges": [3.0, 2.0]}, "must increase"),
    ],
)
def test_useless_diagnostics_are_refused(model, tmp_path, change, message):
    before = model.config
    model.config = load_config(before, {"run.diagnostics": DIAGNOSTICS | change})
    try:
        with pytest.raises(
            ConfigError, match=f"run.diagnostics: {message}|run.diagnostics: .*{message}"
        ):
            model.run(0.25, tmp_path, progress=False)
    finally:
        model.config = before


def test_snapshots_of_a_step_are_refused(model, tmp_path):
    before = model.config
    model.config = load_config(
        before, {"run.output": {"x": {"kind": "snapshot", "variables": ["heat_advection"]}}}
    )
    try:
        with pytest.raises(ConfigError, match="heat_advection describe a step"):
            model.run(0.25, tmp_path, progress=False)
    finally:
        model.config = before


@pytest.mark.ranks(2)
@pytest.mark.mpi(min_size=2)
def test_numbers_of_a_model_on_tiles():
    """From the same means, the same bits as on one rank; also a series of one's own."""
    comm = world()
    own = {"series": {"warm": "own_series:WarmWater"}}
    options = CHANNEL | {"run.diagnostics": DIAGNOSTICS | own}
    rng = np.random.default_rng(5)
    layers = {"flow_v": 4, "flow_density": 4}
    globe = {}

    def numbers(communicator):
        m = dogcm.Model("channel", options, comm=communicator)
        t, c = m.decomposition.tile, Circulation(m)
        for v in c.samples:
            shape = (layers[v.name], NY, NX) if v.layers else (NY, NX)
            globe.setdefault(v.name, rng.normal(size=shape))
        return c.numbers({n: a[..., t.j0 : t.j1, t.i0 : t.i1] for n, a in globe.items()})

    one, many = numbers(SerialCommunicator()), numbers(comm)
    for name, value in one.items():
        if name != "mixed_layer_depth" or comm.rank == 0:
            np.testing.assert_array_equal(many[name], value, err_msg=name)
