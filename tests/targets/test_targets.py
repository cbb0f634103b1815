"""Targets: reanalysis files as they come, gridded SST, targets in memory, and messages that
help."""

from __future__ import annotations

import cftime
import gsw
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from dogcm.decomp import Decomposition, SerialCommunicator, make_layout, world
from dogcm.field import Field
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.targets import (
    Clock,
    TargetError,
    TargetGrid,
    Targets,
    TargetWindows,
    read_glorys,
    read_sst,
)
from dogcm.targets.clock import decode_times, middle_of_month
from dogcm.timestepping.state import at_rest

DAY = 86400.0
RNG = np.random.default_rng(11)

# ---- reanalysis
LAT, LON = np.arange(-80.0, 90.5, 2.0), np.arange(-180.0, 180.0, 2.0)
# Stored in single precision, as in the real files.
DEPTH = (
    np.array([0.494025, 5.078224, 15.81007, 40.34405, 109.7293, 318.1274])
    .astype("f4")
    .astype(float)
)
# scale_factor, add_offset, units, standard_name of the real files.
PACKED = {
    "thetao": (0.000732444226741791, 21.0, "degrees_C", "sea_water_potential_temperature"),
    "so": (0.00152592547237873, -0.00152592547237873, "1e-3", "sea_water_salinity"),
    "uo": (0.000610370188951492, 0.0, "m s-1", "eastward_sea_water_velocity"),
    "vo": (0.000610370188951492, 0.0, "m s-1", "northward_sea_water_velocity"),
    "zos": (0.000305185094475746, 0.0, "m", "sea_surface_height_above_geoid"),
}


def analytic(name: str, day: float = 0.0) -> np.ndarray:
    """A smooth field on the file's grid, ``([depth,] lat, lon)``."""
    y, x = np.deg2rad(LAT)[:, None], np.deg2rad(LON)[None, :]
    z = DEPTH[:, None, None]
    return {
        "thetao": 18 * np.cos(y) ** 2 * np.exp(-z / 300) + 2 + 0.5 * np.cos(2 * x) + 0.01 * day,
        "so": 35 + np.sin(x) * np.cos(y) - 1e-3 * z,
        "uo": 0.3 * np.cos(y) * np.sin(x) * np.exp(-z / 100),
        "vo": 0.2 * np.sin(2 * y) * np.cos(x) * np.exp(-z / 100),
        "zos": 0.4 * np.sin(y) * np.cos(3 * x),
    }[name]


def reanalysis(
    path, days=(0.0,), names=tuple(PACKED), land=None, depth_dim="depth", change=None
) -> str:
    """A file in the format of GLORYS12: 16-bit integers, hours since 1950, longitudes from -180."""
    hours = 24 * (15706 + 0.5 + np.asarray(days, float))  # noon, from 1 January 1993
    data = xr.Dataset(
        coords={
            "time": (
                "time",
                hours,
                {"units": "hours since 1950-01-01", "calendar": "gregorian", "axis": "T"},
            ),
            "depth": ("depth", DEPTH.astype("f4"), {"units": "m", "positive": "down", "axis": "Z"}),
            "latitude": ("latitude", LAT.astype("f4"), {"units": "degrees_north", "axis": "Y"}),
            "longitude": ("longitude", LON.astype("f4"), {"units": "degrees_east", "axis": "X"}),
        }
    )
    for name in names:
        scale, offset, unit, standard = PACKED[name]
        values = np.stack([analytic(name, d) for d in days])
        ints = np.round((values - offset) / scale).astype("i2")
        if land is not None:
            ints[..., land] = -32767
        dims = (
            ("time", "latitude", "longitude")
            if name == "zos"
            else ("time", "depth", "latitude", "longitude")
        )
        data[name] = (
            dims,
            ints,
            {
                "scale_factor": scale,
                "add_offset": offset,
                "_FillValue": np.int16(-32767),
                "units": unit,
                "standard_name": standard,
                "cell_methods": "area: mean",
            },
        )
    data = change(data) if change else data
    data.to_netcdf(path)
    return str(path)


def box(lat=(-75.0, 77.0), ny=19, nx=30, layers=(10.0, 30.0, 110.0, 200.0)) -> TargetGrid:
    """All ocean; faces on those of the file, layers across its levels."""
    h = LatLonGrid(np.linspace(-1.0, 359.0, nx + 1), np.linspace(*lat, ny + 1))
    v = VerticalGrid(np.array(layers))
    return TargetGrid(h, v, np.broadcast_to(v.dz[:, None, None], (v.nz, ny, nx)).copy())


def level_edges() -> np.ndarray:
    middle = 0.5 * (DEPTH[1:] + DEPTH[:-1])
    return np.concatenate([[0.0], middle, [2 * DEPTH[-1] - middle[-1]]])


def mean_by_hand(field, grid: TargetGrid) -> np.ndarray:
    """Volume means of a field on the file's grid, for a grid whose faces are the file's: blocks of
    cells."""
    ny, nx = grid.horizontal.shape
    lat = np.clip(np.concatenate([LAT - 1.0, [91.0]]), -90, 90)
    area = np.diff(np.sin(np.deg2rad(lat)))[:, None] * np.ones(LON.size)
    order = np.argsort(LON % 360.0)
    first = int(np.argmin(np.abs(lat - grid.horizontal.lat_edges[0])))
    rows = slice(first, first + ny * (152 // 2 // ny))
    block = lambda a: a[..., rows, :][..., order].reshape(
        *a.shape[:-2], ny, (rows.stop - rows.start) // ny, nx, LON.size // nx
    )
    weight = block(area)
    horizontal = (block(field) * weight).sum((-3, -1)) / weight.sum((-3, -1))
    edges, e = grid.vertical.edges, level_edges()
    overlap = np.maximum(
        np.minimum(edges[1:, None], e[None, 1:]) - np.maximum(edges[:-1, None], e[None, :-1]), 0
    )
    return np.einsum("ks,sji->kji", overlap, horizontal) / overlap.sum(1)[:, None, None]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glorys")
    reanalysis(folder / "a.nc", [0.0, 1.0])
    reanalysis(folder / "b.nc", [2.0])
    return folder


@pytest.fixture(scope="module")
def on_grid(archive):
    return read_glorys(f"{archive}/*.nc", box(), convert=False)


def test_packed_reanalysis_within_packing_precision(on_grid):
    assert on_grid.values["temperature"].shape == (3, 4, 19, 30) and on_grid.values[
        "eta"
    ].shape == (3, 19, 30)
    for name, stored in (("temperature", "thetao"), ("salinity", "so")):
        error = np.abs(on_grid.values[name][1] - mean_by_hand(analytic(stored, 1.0), box()))
        # A mean of rounded values is no farther off than half a unit of the packing.
        assert 0 < error.max() <= 0.5 * PACKED[stored][0] + 1e-9


def test_reanalysis_conserves_heat(on_grid, archive):
    grid = box()
    with xr.open_dataset(archive / "b.nc", decode_times=False) as data:
        stored = data.thetao.values[0].astype(float)
    by_hand = (mean_by_hand(stored, grid) * grid.volume).sum()
    assert (on_grid.values["temperature"][2] * grid.volume).sum() == pytest.approx(
        by_hand, rel=1e-12
    )


def test_velocities_are_brought_to_the_faces(on_grid):
    """Means of a wave over cells centred on the faces; half a cell off would be an error of
    0.03."""
    grid = box()
    x, y = (
        np.deg2rad(grid.horizontal.lon_edges[:-1]),
        np.deg2rad(grid.horizontal.coordinates()["lat"][0]),
    )
    top = on_grid.values["u"][0, 0] / np.abs(on_grid.values["u"][0, 0]).max()
    expected = np.cos(y)[:, None] * np.sin(x)
    assert np.abs(top - expected / np.abs(expected).max()).max() < 0.01
    assert np.isnan(on_grid.values["v"][:, :, 0]).all()  # the southern wall
    y = np.deg2rad(grid.horizontal.lat_edges[1:-1])
    v = on_grid.values["v"][0, 0, 1:]
    c = np.deg2rad(grid.horizontal.coordinates()["lon"][0])
    expected = np.sin(2 * y)[:, None] * np.cos(c)
    assert np.abs(v / np.abs(v).max() - expected / np.abs(expected).max()).max() < 0.01


def test_times_follow_the_calendar(on_grid):
    assert np.allclose(on_grid.times / DAY, [0.5, 1.5, 2.5], atol=1e-9)
    leap = [cftime.DatetimeGregorian(1996, 7, 1), cftime.DatetimeGregorian(1997, 7, 1)]
    assert Clock(1996).seconds(leap) == pytest.approx([182 / 366 * 365 * DAY, (365 + 181) * DAY])
    assert Clock(1996, None).seconds(leap) == pytest.approx([182 * DAY, (366 + 181) * DAY])
    middles = middle_of_month(
        [cftime.DatetimeGregorian(2010, 1, 1), cftime.DatetimeGregorian(2011, 12, 31)]
    )
    assert [(d.month, d.day, d.hour) for d in middles] == [(1, 16, 12), (12, 16, 12)]
    assert decode_times([60], "days since 2001-01-01", "360_day", "x")[0].month == 3


def test_period_picks_records(archive):
    one = read_glorys(
        f"{archive}/*.nc", box(), variables=("eta",), period=("1993-01-02", "1993-01-02")
    )
    assert one.names == ["eta"] and one.times.size == 1


def test_variables_in_files_of_their_own(archive, tmp_path, on_grid):
    for name in ("thetao", "so"):
        reanalysis(tmp_path / f"{name}.nc", [0.0], [name])
    both = read_glorys(
        f"{tmp_path}/*.nc", box(), variables=("temperature", "salinity"), convert=False
    )
    assert np.array_equal(both.values["salinity"][0], on_grid.values["salinity"][0])


def test_land_takes_no_part(tmp_path):
    """Half of a model cell is land in the file: the mean is that of the water, and dry model cells
    stay empty."""
    land = np.zeros((LAT.size, LON.size), bool)
    land[:, (LON >= 0) & (LON < 6)] = True
    path = reanalysis(tmp_path / "land.nc", names=["zos"], land=land)
    grid = box()
    grid.cells[:, 3, :] = 0.0
    eta = read_glorys(path, grid, variables=("eta",)).values["eta"][0]
    assert np.isnan(eta[3]).all() and np.isfinite(np.delete(eta, 3, 0)).all()
    wet = (LON >= 6) & (LON < 11)
    rows = (LAT > -75) & (LAT < -67)
    water = analytic("zos")[rows][:, wet]
    weight = np.cos(np.deg2rad(LAT[rows]))[:, None] * np.ones(wet.sum())
    assert eta[0, 0] == pytest.approx((water * weight).sum() / weight.sum(), abs=2e-4)


def test_a_bottom_within_a_model_cell_counts_by_volume(tmp_path):
    """The upper water fills the cell at 12 degC, the lower only half of it at 2 degC."""

    def change(data):
        scale, offset = PACKED["thetao"][:2]
        ints = data["thetao"].values
        ints[:, 0], ints[:, 1:] = np.round((12 - offset) / scale), np.round((2 - offset) / scale)
        ints[:, 1:, :, (LON % 12 >= 0) & (LON % 12 < 6)] = -32767
        return data

    path = reanalysis(tmp_path / "t.nc", names=["thetao"], change=change)
    split = level_edges()[1]
    grid = box(layers=(2 * split,))
    t = read_glorys(path, grid, variables=("temperature",), convert=False).values["temperature"][
        0, 0
    ]
    assert np.allclose(t, (12 + 2 * 0.5) / 1.5, atol=PACKED["thetao"][0])


def test_partial_bottom_cells_take_their_own_part_of_the_water(tmp_path):
    path = reanalysis(tmp_path / "t.nc", names=["thetao"])
    grid = box(layers=(20.0, 200.0))
    grid.cells[1] = 60.0  # water from 20 to 80 m

    def read(g):
        return read_glorys(path, g, variables=("temperature",), convert=False).values[
            "temperature"
        ][0]

    thin, thick = read(grid), read(box(layers=(20.0, 60.0)))
    assert np.allclose(thin, thick, atol=1e-12) and not np.allclose(
        thin[1], read(box(layers=(20.0, 200.0)))[1]
    )


def test_teos10_conversion(archive):
    t = read_glorys(archive / "b.nc", box(), variables=("temperature", "salinity"))
    c = box().horizontal.coordinates()
    lat, lon = np.meshgrid(c["lat"][0], c["lon"][0], indexing="ij")
    raw = read_glorys(archive / "b.nc", box(), variables=("temperature", "salinity"), convert=False)
    absolute = gsw.SA_from_SP(raw.values["salinity"][0, 0], 5.0, lon, lat)
    conservative = gsw.CT_from_pt(absolute, raw.values["temperature"][0, 0])
    assert np.abs(t.values["salinity"][0, 0] - absolute).max() < 5e-3
    assert np.abs(t.values["temperature"][0, 0] - conservative).max() < 5e-3
    assert np.abs(t.values["salinity"] - raw.values["salinity"]).min() > 0.1


def celsius_in_kelvin(data):
    data["thetao"].attrs["add_offset"] += 273.15
    return data


def with_unit(name, unit):
    def change(data):
        data[name].attrs["units"] = unit
        return data

    return change


BAD = {
    "missing variable": (lambda d: d.drop_vars("so"), "'so'.*is in none of"),
    "mis-shaped": (
        lambda d: d.assign(thetao=d.thetao.isel(depth=0)),
        "has dimensions.*a reanalysis file has",
    ),
    "no latitude": (lambda d: d.drop_vars("latitude"), "no coordinate 'latitude'"),
    "kelvin labelled Celsius": (celsius_in_kelvin, "labelled 'degrees_C'.*cannot be temperature"),
    "temperature in metres": (
        with_unit("thetao", "m"),
        "target of temperature.*cannot convert 'm'",
    ),
    "no unit": (with_unit("zos", ""), "has no units attribute"),
    "not global": (
        lambda d: d.isel(latitude=slice(20, None)),
        r"not cover the ocean: \d+ of 570 wet cells.*between lat -71",
    ),
    "time without unit": (
        lambda d: d.assign_coords(time=("time", d.time.values)),
        "cannot be decoded",
    ),
}


@pytest.mark.parametrize("change, says", BAD.values(), ids=BAD)
def test_bad_files_are_refused_with_one_message(tmp_path, change, says):
    path = reanalysis(tmp_path / "bad.nc", change=change)
    with pytest.raises(TargetError, match=f"(?s){says}") as caught:
        read_glorys(path, box())
    assert "bad.nc" in str(caught.value) and len(str(caught.value)) < 500


def test_kelvin_and_centimetres_with_the_right_label_are_converted(tmp_path):
    def change(data):
        data["zos"].attrs |= {"units": "cm", "scale_factor": data.zos.attrs["scale_factor"] * 100}
        data["thetao"].attrs |= {
            "units": "K",
            "add_offset": data.thetao.attrs["add_offset"] + 273.15,
        }
        return data

    plain, odd = (
        read_glorys(reanalysis(tmp_path / f"{n}.nc", change=c), box(), convert=False)
        for n, c in (("plain", None), ("odd", change))
    )
    for name in ("temperature", "eta"):
        assert np.allclose(plain.values[name], odd.values[name], atol=1e-10, equal_nan=True)


def test_centimetres_labelled_metres(tmp_path):
    def change(data):
        data["zos"].attrs["scale_factor"] *= 100
        return data

    with pytest.raises(TargetError, match="labelled 'm'.*cannot be eta"):
        read_glorys(reanalysis(tmp_path / "cm.nc", change=change), box(), variables=("eta",))


def test_files_and_periods_that_do_not_fit(archive, tmp_path):
    with pytest.raises(TargetError, match="no record between 2001-01-01.*runs from 1993-01-0"):
        read_glorys(f"{archive}/*.nc", box(), period=("2001-01-01", "2001-12-31"))
    with pytest.raises(TargetError, match="no such reanalysis file"):
        read_glorys(tmp_path / "none*.nc", box())
    with pytest.raises(TargetError, match="is in two files"):
        read_glorys([archive / "a.nc", reanalysis(tmp_path / "again.nc", [1.0])], box())
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(TargetError, match="cannot be read as netCDF"):
        read_glorys(tmp_path / "text.nc", box())
    deep = box(layers=(10.0, 300.0, 4000.0, 500.0))
    with pytest.raises(TargetError, match="570 of 2280 wet cells .25.0 %.*depth 4560 and 4560 m"):
        read_glorys(archive / "b.nc", deep, variables=("temperature",))
    flat = TargetGrid(
        CartesianGrid(5, 4, 1e4, 1e4), VerticalGrid(np.array([10.0])), np.full((1, 4, 5), 10.0)
    )
    with pytest.raises(TargetError, match="need a latitude-longitude grid"):
        read_glorys(archive / "b.nc", flat)


# ---- sea surface temperature
def test_ersst(data_dir):
    path = data_dir / "ersstv5" / "ersstv5_monthly_201001_201712.nc"
    grid = TargetGrid(
        LatLonGrid.regular(90, 40), VerticalGrid(np.array([50.0])), np.full((1, 40, 90), 50.0)
    )
    with pytest.raises(TargetError, match=r"not cover the ocean: \d+ of 3600 wet cells"):
        read_sst(path, grid)
    period = ("2015-11-01", "2015-12-31")
    sst = read_sst(path, grid, period=period, max_uncovered=1.0)
    assert sst.values["sst"].shape == (2, 40, 90) and np.nanmax(sst.values["sst"]) < 32
    # The middle of December 2015, with 2015 as model year 1.
    assert sst.times[1] / DAY == pytest.approx(334 + 15.5)
    all_cells = read_sst(path, grid, period=period, max_uncovered=1.0, mask_ice=False).values["sst"]
    ice = np.isfinite(all_cells) & ~np.isfinite(sst.values["sst"])
    assert 0 < ice.sum() and np.allclose(all_cells[ice], -1.8, atol=0.02)
    # A cell of the Niño 3.4 region against the mean of the file's boxes that it overlaps.
    with xr.open_dataset(path) as data:
        boxes = data.sst.sel(lat=slice(2, 0), lon=slice(220, 224)).isel(time=-25).values
    assert sst.values["sst"][1, 20, 55] == pytest.approx(
        (np.array([0.5, 1.0, 0.5]) * (np.array([0.5, 1.0]) @ boxes[:2])).sum() / 3.0, abs=0.35
    )


# ---- targets in memory
def pair() -> Targets:
    eta = np.stack([np.full((4, 6), 1.0), np.full((4, 6), 3.0), np.full((4, 6), 4.0)])
    eta[0, 0, 0] = np.nan
    return Targets([0.0, 10.0, 20.0], {"eta": eta, "temperature": RNG.normal(size=(3, 2, 4, 6))})


def test_targets_in_time():
    t = pair()
    s = t.at(5.0)
    assert float(s.fields["eta"].data[1, 1]) == 2.0 and float(s.valid["eta"].data[0, 0]) == 0.0
    assert float(s.fields["eta"].data[0, 0]) == 0.0 and s.fields["temperature"].at == "c"
    assert (
        float(t.at(10.0).valid["eta"].data.min()) == 1.0
    )  # a record of its own needs no neighbour
    assert t.window(5.0, 15.0).times.tolist() == [10.0, 20.0]
    assert t.sample(["eta"]).fields["eta"].shape == (3, 4, 6) and set(t.sample(["eta"]).valid) == {
        "eta"
    }


def test_weights_of_scores_are_volumes_and_areas():
    grid = box()
    grid.cells[:, 3] = 0.0
    assert np.array_equal(grid.weights("temperature"), grid.volume)
    assert grid.weights("sst").shape == (19, 30) and (grid.weights("eta")[3] == 0).all()
    assert (grid.weights("v")[:, [0, 3, 4]] == 0).all() and (grid.weights("v")[:, 5] > 0).all()
    # A sphere's zone, 2 pi R2 (sin 77 + sin 75), without one row of it.
    north, south, top, bottom = np.sin(np.deg2rad([77.0, -75.0, -43.0, -51.0]))
    zone = 2 * np.pi * 6.371e6**2 * (north - south - (top - bottom))
    assert grid.weights("eta").sum() == pytest.approx(zone, rel=1e-12)


@pytest.mark.parametrize(
    "use, says",
    [
        (
            lambda t: t.require(["salinity"]),
            "no target for salinity; there are targets for eta, temperature",
        ),
        (lambda t: t.require(["eta"], 10.0, 86400.0), "wanted is day 0.00 to 1.00"),
        (lambda t: t.require(["temperature"], nz=5), "2 layers, the model has 5"),
        (lambda t: t.at(25.0), "run from model day"),
        (lambda t: t.window(86400.0, 5.0), "no target between model day 1.00"),
        (lambda t: Targets([0.0], {"eta": np.zeros((4, 6))}), r"eta has shape \(4, 6\)"),
        (lambda t: Targets([0.0], {"oxygen": np.zeros((1, 4, 6))}), "unknown target variables"),
        (lambda t: Targets([1.0, 0.0], {"eta": np.zeros((2, 4, 6))}), "strictly increasing"),
    ],
)
def test_targets_that_do_not_fit(use, says):
    with pytest.raises(TargetError, match=says):
        use(pair())


def windows(**kw) -> TargetWindows:
    """Eleven records 10 s apart whose temperature is the time, on two layers of 4 by 6 cells."""
    times = 10.0 * np.arange(11)
    values = {
        "temperature": times[:, None, None, None] + np.zeros((2, 4, 6)),
        "eta": np.ones((11, 4, 6)),
    }
    values["temperature"][:, :, 0, 0] = np.nan
    tracers = {n: Field(jnp.full((2, 4, 6), -1.0), "c") for n in ("temperature", "salinity")}
    targets = Targets(
        times, values, decomposition=Decomposition(make_layout((4, 6), 1, 1), SerialCommunicator())
    )
    return TargetWindows(targets, at_rest(tracers, memory=1), dt=5.0, every=3, **kw)


def test_windows_to_train_on():
    w = windows(stride=2)
    assert [w.count(n) for n in (0, 3, 6, 20, 21)] == [6, 5, 4, 1, 0]
    window = w.window(2, 6)
    assert window.values["temperature"].data[:, 1, 2, 2].tolist() == [55.0, 70.0]
    assert window.valid["temperature"].data[:, 0, 0, 0].tolist() == [0.0, 0.0]
    assert set(window.values) == {"temperature", "eta"}
    state = window.state
    assert float(state.time) == 40.0 and float(state.temperature.data[0, 1, 1]) == 40.0
    # Where there is no target, and for what there is none, the background stays.
    assert (
        float(state.temperature.data[0, 0, 0]) == -1.0 and float(state.salinity.data.max()) == -1.0
    )
    assert float(state.eta.data[2, 2]) == 1.0 and len(state.history_u) == 1
    assert float(windows(start=()).window(2, 3).state.temperature.data[0, 1, 1]) == -1.0
    for wrong, says in (
        (lambda: w.window(9, 6), "there are 4"),
        (lambda: w.window(0, 4), "choose a multiple"),
        (lambda: windows(names=("u",)), "no target for u"),
        (lambda: windows(stride=0), "at least 1"),
    ):
        with pytest.raises(TargetError, match=says):
            wrong()


@pytest.mark.mpi(min_size=2)
def test_targets_on_tiles():
    comm = world()
    d = Decomposition(make_layout((4, 6), comm.size, 1, min_cells=1), comm)
    t = Targets.on_ranks(d, lambda: Targets([0.0, 2.0], {"eta": np.arange(48.0).reshape(2, 4, 6)}))
    part = t.at(1.0).fields["eta"]
    tile = d.tile
    assert np.array_equal(
        part.data, (np.arange(24.0).reshape(4, 6) + 12.0)[tile.j0 : tile.j1, tile.i0 : tile.i1]
    )
    with pytest.raises(TargetError, match=r"grid of \(3, 6\) cells"):
        Targets.on_ranks(d, lambda: Targets([0.0], {"eta": np.zeros((1, 3, 6))}))
