"""Files as users have them, read rightly or refused by name with the key that would help."""

from __future__ import annotations

import gsw
import numpy as np
import pytest
import xarray as xr
from legal_forms import turned as tilted
from toy_inputs import (
    DEPTH,
    EAST,
    LAT,
    LON,
    MIDDLES,
    NORTH,
    dated,
    field,
    floor,
    initial,
    ocean,
    sea,
    surface,
    volume,
    wet,
)

from dogcm.components.errors import ConfigError
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io.reading import plausible
from dogcm.io.reading.errors import InputError
from dogcm.physics.surface import RECORDS
from dogcm.setups import atmosphere, inputs, vectors
from dogcm.setups.config import ForcingConfig, ForcingFile
from dogcm.setups.regridding import check_cover

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


@pytest.fixture
def save(tmp_path):
    def write(data: xr.Dataset, name: str = "in.nc"):
        data.to_netcdf(tmp_path / name)
        return tmp_path / name

    return write


# ---- cover ---------------------------------------------------------------------------------------
REGION = np.arange(-20.0, 41.0, 2.0)


def test_a_region_across_greenwich_stays_one_piece(save):
    path = save(field(np.broadcast_to(REGION, (12, LAT.size, REGION.size)), "degC", lon=REGION,
                      valid_min=-100.0))  # fmt: skip
    own = {"range": [-100, 100]}
    found = surface(path, change={"grid.lon": [-12, 28]}, **own)
    np.testing.assert_allclose(found[0, 3], np.arange(-10.0, 28, 4), atol=1e-9)
    for lon in ([60, 100], [0, 40 + 20]):
        with pytest.raises(InputError, match="'f' of .*in.nc does not cover.*lon -20.00 to 40.00"):
            surface(path, change={"grid.lon": lon, "grid.nx": 15}, **own)


@pytest.mark.parametrize("what", ["bathymetry", "initial", "half", "south"])
def test_other_inputs_have_to_cover_the_sea(save, what):
    if what == "bathymetry":
        with pytest.raises(InputError, match="'elevation' of .*does not cover"):
            wet(save(floor(lon=REGION)))
    elif what == "initial":
        with pytest.raises(InputError, match="'t' of .*does not cover"):
            initial(save(volume(lon=REGION)))
    else:
        part = dict(lon=LON[:10]) if what == "half" else dict(lat=LAT[:14])
        with pytest.raises(InputError, match="40 of 80 ocean cells|does not cover"):
            surface(save(field([18.0] * 12, **part)))
        filled = surface(save(field([18.0] * 12, **part)), fill="nearest")
        np.testing.assert_allclose(filled, 18.0)


def turned(angle=25.0, around=(10.0, 60.0), size=40, step=0.3):
    """Latitudes and longitudes of a grid that is turned against both."""
    y, x = step * (np.mgrid[:size, :size] - size / 2)
    a = np.deg2rad(angle)
    lat = around[1] + np.sin(a) * x + np.cos(a) * y
    return lat, around[0] + (np.cos(a) * x - np.sin(a) * y) / np.cos(np.deg2rad(lat))


def curved(values, lat, lon, names=("lat", "lon"), attrs=(NORTH, EAST), unit="degC", **about):
    """A field with two-dimensional coordinates, 12 months."""
    axes = {n: (("j", "i"), v, a) for n, v, a in zip(names, (lat, lon), attrs)}
    v = np.broadcast_to(values, (12, *lat.shape))
    return xr.Dataset({"f": (("month", "j", "i"), v, {"units": unit, **about})}, axes)


def test_winds_over_a_region_do_not_fill_the_globe(save):
    path = save(curved(5.0, *turned()))
    with pytest.raises(InputError, match="does not cover the model's ocean"):
        surface(path)
    assert np.allclose(surface(path, fill="nearest"), 5.0)
    there = {"grid.lon": [8, 12], "grid.lat": [59, 61], "grid.nx": 4, "grid.ny": 4}
    assert np.allclose(surface(path, change=there), 5.0)


def test_rivers_of_the_globe_do_not_end_in_a_region(save):
    """Those within the model's limits reach it, the others do not."""
    lat, lon = np.arange(-88.0, 90, 4), np.arange(2.0, 360, 4)
    globe = field(np.full((12, lat.size, lon.size), 1e-8), "m s-1", lat=lat, lon=lon)
    c = sea(**{"forcing.files": {"runoff": {"path": str(save(globe)), "variable": "f"}}})
    horizontal, cells = ocean(c)
    found = inputs.record(c, "runoff", horizontal, cells[0] > 0)
    area = horizontal.metrics(np.arange(8), np.arange(10)).area_c
    assert (found * area).sum(axis=(1, 2)) == pytest.approx(
        1e-8 * area.sum(), rel=0.15
    )  # whole source cells


def test_a_real_region_does_not_fill_the_globe(data_dir):
    """AROME's winds over the Norwegian Sea: along its own grid, and of three hours."""
    path = data_dir / "samples" / "arome.nc"
    if not path.is_file():
        pytest.skip(f"no {path}")
    own = {"variable": "x_wind_10m", "select": {"time": "record 1"}}
    c = sea()
    entry = ForcingFile(path=str(path), **own)
    source = atmosphere.read(entry, "wind_u", c.forcing)
    with pytest.raises(InputError, match="is x_wind: along the axes of the file's own grid"):
        vectors.eastward_and_northward(
            ForcingConfig(files={"wind_u": entry, "wind_v": entry}), "wind_u", source, False
        )
    with pytest.raises(
        InputError, match="does not cover the model's ocean: it has lat 60.32 to 64.1"
    ):
        check_cover(source, ocean(c)[0], "c", np.ones((8, 10), bool))


def test_units_of_the_records_and_of_plausible_values_agree():
    for name, (_, unit, _) in RECORDS.items():
        assert plausible.RANGES[name].unit == unit, name


# ---- levels, records -----------------------------------------------------------------------------
def with_levels(levels, records):
    v = np.broadcast_to(
        np.array([35.0, 20.0, 10.0])[:levels, None, None], (records, levels, LAT.size, LON.size)
    )
    depth = ("depth", 10.0 * np.arange(levels), {"units": "m", "positive": "down"})
    time = ("time", np.arange(records) + 0.5, {"units": "months since 1955-01-01"})
    axes = {"time": time, "depth": depth, "lat": ("lat", LAT, NORTH), "lon": ("lon", LON, EAST)}
    return xr.Dataset({"f": (("time", "depth", "lat", "lon"), v, {"units": "1e-3"})}, axes)


@pytest.mark.parametrize("levels, records", [(2, 12), (3, 1)])
def test_levels_are_not_months(save, levels, records):
    path = save(with_levels(levels, records))
    with pytest.raises(InputError, match=rf"sss: .*has {levels} levels.*sss.select: {{depth: 0}}"):
        surface(path, "sss")
    found = surface(path, "sss", select={"depth": 0})
    assert found.shape == (records, 8, 10) and np.allclose(found, 35.0)
    assert np.allclose(surface(path, "sss", select={"depth": 10}), 20.0)
    with pytest.raises(InputError, match="no depth is 7; it has 0.0, 10.0"):
        surface(path, "sss", select={"depth": 7})


def test_one_level_is_no_choice(save):
    assert np.allclose(surface(save(with_levels(1, 12)), "sss"), 35.0)


@pytest.mark.parametrize("times", [[0.5], [np.nan], [0.5, 6.5], np.arange(12) + 0.5])
def test_initial_state_with_times(save, times):
    one = volume()
    many = xr.concat([one + n for n in range(len(times))], "time")
    for v in ("t", "s"):
        many[v].attrs = one[v].attrs
    many = many.assign_coords(time=("time", np.asarray(times, float)))
    many.time.attrs["units"] = "months since 1955-01-01"
    path = save(many)
    if len(times) > 1:
        with pytest.raises(InputError, match="temperature_file: .*'t' of .*select: {time: record"):
            initial(path)
        chosen = {"initial.temperature_file.select": {"time": "record 2"}}
        np.testing.assert_allclose(initial(path, **chosen)[:, 4, 4], [20.75, 19.5, 16.0])
        date = {"initial.temperature_file.select": {"time": "1955-01"}}
        np.testing.assert_allclose(initial(path, **date)[:, 4, 4], [19.75, 18.5, 15.0])
    else:
        np.testing.assert_allclose(initial(path)[:, 4, 4], [19.75, 18.5, 15.0])


# ---- positions -----------------------------------------------------------------------------------
ODD = {
    "rotated": ("grid_latitude", "grid_longitude", "degrees", "of a rotated pole"),
    "km": ("projection_y_coordinate", "projection_x_coordinate", "km", "a position on a plane"),
    "index": ("", "", "", "no lat axis"),
}


def odd_axes(data: xr.Dataset, kind: str, where=None) -> xr.Dataset:
    north, east, unit, _ = ODD[kind]
    about = lambda name, letter: (
        {"units": unit, "standard_name": name, "axis": letter} if name else {}
    )
    data = data.rename({"lat": "y", "lon": "x"})
    data["y"].attrs, data["x"].attrs = about(north, "Y"), about(east, "X")
    if where is not None:
        data["lat"], data["lon"] = (("y", "x"), where[0], NORTH), (("y", "x"), where[1], EAST)
    return data


@pytest.mark.parametrize("kind", ODD)
def test_other_coordinates_are_no_degrees(save, kind):
    says = ODD[kind][-1]
    with pytest.raises(InputError, match=f"'f' of .*{says}.*sst.axes: {{lat: NAME, lon: NAME}}"):
        surface(save(odd_axes(field([18.0] * 12), kind), "a.nc"))
    with pytest.raises(InputError, match=f"'elevation' of .*{says}"):
        wet(save(odd_axes(floor(), kind), "b.nc"))
    with pytest.raises(InputError, match=f"'t' of .*{says}"):
        initial(save(odd_axes(volume(), kind), "c.nc"))


def test_radians_are_converted_where_the_file_says_so(save):
    rad = field(np.broadcast_to(LON, (12, LAT.size, LON.size)), valid_min=0.0)
    rad = rad.assign_coords(lat=np.deg2rad(LAT), lon=np.deg2rad(LON))
    for n, standard in (("lat", "latitude"), ("lon", "longitude")):
        rad[n].attrs = {"units": "radian", "standard_name": standard}
    found = surface(save(rad), range=[0, 200])
    np.testing.assert_allclose(found[0, 0], np.arange(62.0, 100, 4), atol=1e-6)


@pytest.mark.parametrize("kind", ODD)
def test_two_dimensional_coordinates_are_used(save, kind):
    """Points every 2 degrees, turned by 30 degrees against the parallels."""
    lat, lon = turned(30.0, (80.0, 0.0), 50, 1.6)
    square = dict(lat=np.arange(50.0), lon=np.arange(50.0))
    t = np.broadcast_to(15.0 + 0.1 * lat, (len(DEPTH), 50, 50))
    path = save(odd_axes(volume(t, **square), kind, (lat, lon)), "a.nc")
    want = 15.0 + 0.1 * np.arange(-14.0, 16, 4)[:, None]
    assert np.abs(initial(path)[0] - want).max() < 0.06
    land = floor(np.where(lat > 4.0, 100.0, -1500.0), **square)
    found = wet(save(odd_axes(land, kind, (lat, lon)), "b.nc"))
    assert found[:5].all() and not found[5:].any()


@pytest.mark.parametrize(
    "grid",
    [
        {"grid.kind": "rotated", "grid.pole": [200.0, 60.0], "grid.lat": [-20, 20]},
        {"grid.kind": "tripolar", "grid.nx": 40, "grid.ny": 24, "grid.lat": [-70, 0],
         "grid.lon": [-60, 300]},
    ],
    ids=["rotated", "tripolar"],
)  # fmt: skip
def test_points_on_grids_that_are_turned_themselves(save, grid):
    """Every point of the file has its own position, and so has every cell of the model."""
    y, x = np.mgrid[-88:89:2.0, 0:359:2.0]
    lat, lon = tilted(y, x)
    rows = {"lat": np.arange(float(len(y))), "lon": np.arange(float(y.shape[1]))}
    data = field(np.broadcast_to(15.0 + 0.1 * lat, (12, *lat.shape)), **rows)
    path = save(odd_axes(data, "index", (lat, lon)), "a.nc")
    c = sea(**{**grid, "forcing.files": {"sst": {"path": str(path), "variable": "f"}}})
    horizontal, cells = ocean(c)
    there = cells[0] > 0
    found = inputs.record(c, "sst", horizontal, there)[0]
    assert np.abs(found - 15.0 - 0.1 * horizontal.points("c")[0])[there].max() < 0.15
    land = odd_axes(floor(np.where(lat > 10, 50.0, -1500.0), **rows), "index", (lat, lon))
    depth = {"bathymetry.source": "file", "bathymetry.path": str(save(land, "b.nc"))}
    _, cells = ocean(sea(**{**grid, **depth}))
    north = horizontal.points("c")[0]
    assert (cells[0] > 0)[(north < 5) & there].mean() > 0.95
    assert not (cells[0] > 0)[north > 15].any()


NAMES = [
    ("nav_lat", "nav_lon"), ("geolat", "geolon"), ("TLAT", "TLONG"), ("gphit", "glamt"),
    ("lat_rho", "lon_rho"), ("latitude", "longitude"),
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("attributes", [True, False])
def test_nominal_axes_are_no_positions(save, names, attributes):
    lat, lon = turned(40.0, (80.0, 0.0), 60, 1.2)
    attrs = (NORTH, EAST) if attributes else ({"units": "degrees"}, {"units": "degrees"})
    data = curved(15.0 + 0.2 * lat, lat, lon, names, attrs)
    nominal = {"units": "degrees_north", "axis": "Y"}, {"units": "degrees_east", "axis": "X"}
    data = data.assign_coords(
        j=("j", np.linspace(-40, 40, 60), nominal[0]), i=("i", np.linspace(40, 120, 60), nominal[1])
    )
    found = surface(save(data))[0]
    assert np.abs(found - 15.0 - 0.2 * np.arange(-14.0, 16, 4)[:, None]).max() < 0.1


def test_several_pairs_of_coordinates_are_asked_about(save):
    lat, lon = turned(40.0, (80.0, 0.0), 60, 1.2)
    data = curved(18.0, lat, lon, ("gphit", "glamt"), ({}, {}))
    data["gphiu"], data["glamu"] = data["gphit"], data["glamt"] + 0.6
    with pytest.raises(InputError, match="more than one pair.*sst.axes: {lat: gphit, lon: glamt}"):
        surface(save(data.reset_coords()))
    assert (
        surface(save(data.reset_coords(), "b.nc"), axes={"lat": "gphit", "lon": "glamt"}) > 17.9
    ).all()


LONGITUDES = {
    "0 to 357": np.arange(0.0, 360, 3),
    "seam twice": np.arange(-180.0, 181, 3),
    "0 to 360": np.arange(0.0, 361, 3),
    "descending": np.arange(180.0, -180, -3),
    "one before the seam": np.r_[-3.0, np.arange(0.0, 358, 3)],
    "from 20 E": np.arange(20.0, 380, 3),
}


@pytest.mark.parametrize("lon", LONGITUDES.values(), ids=LONGITUDES)
def test_longitudes_in_any_notation(save, lon):
    v = 15.0 + 5.0 * np.cos(np.deg2rad(lon)) + np.zeros((12, LAT.size, 1))
    globe = {"grid.lon": [0, 360], "grid.nx": 36}
    found = surface(save(field(v, lon=lon)), change=globe)
    x = np.arange(5.0, 360, 10)
    np.testing.assert_allclose(found[0, 3], 15.0 + 5.0 * np.cos(np.deg2rad(x)), atol=0.02)


def test_longitudes_with_a_gap_are_a_region(save):
    lon = np.r_[0.5, np.arange(325.5, 356, 5)]
    v = np.where(lon > 180, lon - 360, lon) + 50.0 + np.zeros((12, LAT.size, 1))
    path = save(field(v, lon=lon))
    found = surface(path, change={"grid.lon": [-32, 0], "grid.nx": 16}, range=[0, 100])
    assert np.abs(found[0, 2] - np.arange(-31.0, 0, 2) - 50.0).max() < 1.6  # boxes of 5 degrees
    with pytest.raises(InputError, match="does not cover"):
        surface(path, range=[0, 100])


def test_columns_at_one_longitude_have_to_agree(save):
    lon = np.arange(0.0, 361, 3)
    v = 15.0 + lon / 100 + np.zeros((12, LAT.size, 1))
    with pytest.raises(InputError, match="columns 1 and 121 lie at the same longitude"):
        surface(save(field(v, lon=lon)))


def test_latitudes_beyond_the_pole_are_refused(save):
    with pytest.raises(InputError, match="goes from -100 to 100 degrees, which no latitude does"):
        surface(save(field([18.0] * 12, lat=np.linspace(-100, 100, 27))))


# ---- vectors -------------------------------------------------------------------------------------
def winds(names, angle=30.0, values=(10.0, 0.0), with_angle=True):
    """A wind of (10, 0) m/s to east and north, by its components along a turned grid."""
    lat, lon = turned(angle, (80.0, 0.0), 60, 1.2)
    a = np.deg2rad(angle)
    u, v = values
    along = {"x": u * np.cos(a) + v * np.sin(a), "y": v * np.cos(a) - u * np.sin(a)}
    data = curved(along["x"] / 100, lat, lon, unit="N m-2", standard_name=names[0])
    data["g"] = data["f"] * 0.0 + along["y"] / 100
    data["g"].attrs = {"units": "N m-2", "standard_name": names[1]}
    data["angle"] = (("j", "i"), np.full(lat.shape, angle), {"units": "degrees"})
    return data


@pytest.mark.parametrize(
    "names",
    [
        ("surface_downward_x_stress", "surface_downward_y_stress"),
        ("x_wind", "y_wind"),
        ("grid_eastward_wind", "grid_northward_wind"),
    ],
)
def test_components_along_the_file_are_turned_or_refused(save, names):
    path = str(save(winds(names)))
    u, v = {"path": path, "variable": "f"}, {"path": path, "variable": "g"}

    def both(**more):
        c = sea(**{"forcing.files": {"taux": {**u, **more}, "tauy": {**v, **more}}})
        horizontal = inputs.horizontal_grid(c)
        there = np.ones(horizontal.shape, bool)
        return [inputs.record(c, n, horizontal, there)[0, 4, 4] for n in ("taux", "tauy")]

    with pytest.raises(InputError, match=f"'f' of .*is {names[0]}: along the axes.*axes: {{angle"):
        both()
    np.testing.assert_allclose(both(axes={"angle": "angle"}), [0.1, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    "name, standard, unit, sign",
    [
        ("taux", "surface_downward_northward_stress", "N m-2", None),
        ("taux", "surface_upward_eastward_stress", "N m-2", -1),
        ("heat_flux", "surface_upward_heat_flux_in_air", "W m-2", -1),
        ("heat_flux", "surface_downward_heat_flux_in_sea_water", "W m-2", 1),
        ("heat_flux", "surface_net_upward_longwave_flux", "W m-2", None),
        ("sss", "sea_surface_temperature", "1", None),
        ("taux", "surface_downward_y_stress", "N m-2", None),
    ],
)
def test_standard_names_say_what_a_field_is(save, name, standard, unit, sign):
    path = save(field([2.0] * 12, unit, standard_name=standard))
    if sign is None:
        with pytest.raises(InputError, match=f"'f' of .* is {standard}.*{name}.standard_name: "):
            surface(path, name)
    else:
        assert surface(path, name)[0, 4, 4] == 2.0 * sign
        assert surface(path, name, sign="reversed")[0, 4, 4] == -2.0


# ---- times ---------------------------------------------------------------------------------------
YEAR = list(range(1, 13))
MAY = [(m + 4) % 12 + 1 for m in range(12)]
MONTHS = "months since 2000-01-01"
PLACED = {
    "January to December": dated(YEAR, MIDDLES),
    "May to April": dated(MAY, np.r_[MIDDLES[4:], MIDDLES[:4] + 365]),
    "May to April, months": dated(MAY, np.arange(4, 16) + 0.5, MONTHS),
    "January to January": dated([*YEAR, 1], np.arange(13) + 0.5, MONTHS),
    "December to January": dated([12, *YEAR, 1], np.arange(14) - 0.5, MONTHS),
    "months 0 to 13": field([12, *YEAR, 1], time=("month", ("month", np.arange(14.0)))),
    "months 12 to 1": field(YEAR[::-1], time=("month", ("month", np.arange(12.0, 0, -1)))),
    "descending": dated(YEAR[::-1], np.arange(12)[::-1] + 0.5, MONTHS),
    "Gregorian": dated(YEAR, MIDDLES, "days since 2004-01-01", "gregorian"),
    "360 days": dated(YEAR, 30.0 * np.arange(12) + 15, "days since 2004-01-01", "360_day"),
    "starts of months": dated(YEAR, np.arange(12.0), MONTHS),
    "no times": field(YEAR).drop_vars("month"),
    "year 0": dated(YEAR, MIDDLES * 24, "hours since 0000-01-01", "standard"),
}


@pytest.mark.parametrize("data", PLACED.values(), ids=PLACED)
def test_records_are_placed_by_date(save, data):
    assert surface(save(data))[:, 4, 4] == pytest.approx(YEAR)


def test_days_from_july_on(save):
    values = np.r_[181:365, 0:181] / 10
    found = surface(save(dated(values, np.arange(365) + 181.5)))
    np.testing.assert_allclose(found[:, 4, 4], np.arange(365) / 10)


REFUSED = {
    "54 months": (dated([m % 12 for m in range(54)], np.arange(54) + 0.5, MONTHS), "more than a y"),
    "11 months": (dated(YEAR[:11], MIDDLES[:11]), "do not cover the year evenly"),
    "13 unlike months": (dated([*YEAR, 5], np.arange(13) + 0.5, MONTHS), "with other values"),
    "3 years": (dated([1, 2, 3], np.arange(3) + 0.5, "years since 2000-01-01"), "other values"),
    "12 days": (dated(YEAR, np.arange(12.0), "d since 2000-01-01"), "do not cover the year"),
    "uneven": (dated(YEAR, [*np.arange(11.0), 335.0]), "do not cover the year evenly"),
    "11 records": (field(YEAR[:11]), "no months"),
    "20 records without times": (field(range(20)).drop_vars("month"), "without times"),
    "times twice": (field(YEAR, time=("month", ("month", np.ones(12)))), "come twice"),
    "no calendar": (dated(YEAR, MIDDLES, calendar="lunar"), "calendar 'lunar'"),
}


@pytest.mark.parametrize("data, says", REFUSED.values(), ids=REFUSED)
def test_records_that_are_no_year_are_refused(save, data, says):
    with pytest.raises(InputError, match=rf"forcing.files.sst: variable 'f' of .*{says}"):
        surface(save(data))


def test_a_year_of_several_is_selected(save):
    path = save(dated([m // 12 + 1 for m in range(36)], np.arange(36) + 0.5, MONTHS))
    assert (surface(path, select={"time": 2001}) == 2.0).all()
    with pytest.raises(InputError, match="no record of 2010.*2000-01-.* to 2002-12-"):
        surface(path, select={"time": 2010})


def test_records_without_dates_are_spread_when_asked(save):
    assert surface(save(field(range(20)).drop_vars("month")), spread=True).shape[0] == 20


# ---- land and gaps -------------------------------------------------------------------------------
COAST = (LAT[:, None] < -8) | (LON < 66)


def coast(value, land):
    return np.where(COAST, land, value) * np.ones((12, 1, 1))


def test_land_that_is_declared_or_masked(save):
    sound = surface(save(field(coast(18.0, np.nan))), fill="nearest")
    np.testing.assert_allclose(sound, 18.0)
    zero = field(coast(18.0, 0.0))
    with pytest.raises(InputError, match=r"sst: .* are exactly 0, .*land.*sst.missing: \[0\]"):
        surface(save(zero))
    np.testing.assert_allclose(surface(save(zero), fill="nearest", missing=[0]), 18.0)
    zero["mask"] = (("lat", "lon"), (~COAST).astype(float))
    np.testing.assert_allclose(surface(save(zero), fill="nearest", mask="mask"), 18.0)
    declared = field(coast(18.0, -999.0))
    declared["f"].encoding["_FillValue"] = -999.0
    np.testing.assert_allclose(surface(save(declared), fill="nearest"), 18.0)
    ranged = field(coast(18.0, -999.0), valid_range=np.array([-5.0, 50.0]))
    np.testing.assert_allclose(surface(save(ranged), fill="nearest"), 18.0)
    with pytest.raises(InputError, match="ocean cells have no valid value.*fill: nearest"):
        surface(save(declared, "b.nc"))


@pytest.mark.parametrize("land", [-9999.0, -999.0, -32767.0])
def test_undeclared_fill_values_are_counted_and_refused(save, land):
    number = int(12 * COAST.sum())
    with pytest.raises(
        InputError, match=rf"{number} of {12 * COAST.size} values.*missing: \[{land:g}"
    ):
        surface(save(field(coast(18.0, land))))
    with pytest.raises(InputError, match=f"heat_flux: .*values are exactly -999|-{-land:g}"):
        surface(save(field(coast(50.0, land), "W m-2")), "heat_flux")
    with pytest.raises(InputError, match="exactly|beyond"):
        wet(save(floor(np.where(COAST, land, -1500.0))))


def test_cold_water_is_no_land(save):
    """Real temperatures pass through zero, and rounded ones are exactly zero there."""
    v = np.round(0.15 * LAT[:, None] + 0.0 * LON, 1) * np.ones((12, 1, 1))
    v[:, 10:16] = 0.0
    surface(save(field(v)))


FLAT = (np.abs(LAT[:, None]) < 7) & (np.abs(LON - 82) < 7)
WET = ~COAST
FLOORS = {
    "NaN on land": floor(np.where(WET, -1500.0, np.nan)),
    "depth, land 0": floor(np.where(WET, 1500.0, 0.0), positive="down"),
    "depth by name of the standard": floor(
        np.where(WET, 1500.0, -3.0), standard_name="sea_floor_depth_below_geoid"
    ),
    "depth, NaN": floor(np.where(WET, 1500.0, np.nan), positive="down"),
    "depth by name": floor(np.where(WET, 1500.0, -3.0)).rename(elevation="bathymetry"),
    "depth by values": floor(np.where(WET, 1500.0, 0.0)).rename(elevation="f"),
    "km": floor(np.where(WET, -1.5, 0.05), unit="km"),
    "fathoms": floor(np.where(WET, -1500 / 1.8288, 20.0), unit="fathom"),
    "feet": floor(np.where(WET, -1500 / 0.3048, 20.0), unit="feet"),
    "cm": floor(np.where(WET, -1.5e5, 20.0), unit="centimeters"),
}


@pytest.mark.parametrize("data", FLOORS.values(), ids=FLOORS)
def test_sea_floors_of_either_sign(save, data):
    right = wet(save(floor(np.where(WET, -1500.0, 50.0)), "right.nc"))
    assert right.any() and not right.all()
    name = {"bathymetry.variable": next(iter(data.data_vars))}
    np.testing.assert_array_equal(wet(save(data), **name), right)


def test_a_sea_floor_that_may_be_either_is_asked_about(save):
    flats = floor(np.where(FLAT, -5.0, np.where(WET, 1500.0, 0.0)))
    with pytest.raises(InputError, match="bathymetry: .*'elevation' of .*bathymetry.sign: down"):
        wet(save(flats))
    assert wet(save(flats), **{"bathymetry.sign": "down"})[:, 3:].sum() > 20
    with pytest.raises(InputError, match="bathymetry.sign: down"):
        wet(save(floor(np.where(WET, 1500.0, 0.0))))
    named = flats.rename({"elevation": "f"})
    with pytest.raises(InputError, match="elevation or depth.*bathymetry.sign: up"):
        wet(save(named), **{"bathymetry.variable": "f"})
    with pytest.raises(InputError, match=r"bathymetry: .*bathymetry.unit: m"):
        bare = floor()
        del bare["elevation"].attrs["units"]
        wet(save(bare))
    assert wet(save(bare), **{"bathymetry.unit": "m"}).all()


def test_a_mask_beside_a_sea_floor_without_land_is_asked_about(save):
    data = floor(np.full(WET.shape, 1500.0), positive="down")
    data["mask_rho"] = (("lat", "lon"), WET.astype(float))
    with pytest.raises(InputError, match="has no land, but 'mask_rho'.*bathymetry.mask: mask_rho"):
        wet(save(data))
    right = wet(save(floor(np.where(WET, -1500.0, 50.0)), "right.nc"))
    assert (wet(save(data), **{"bathymetry.mask": "mask_rho"}) == right).all()
    assert wet(save(data), **{"bathymetry.mask": "none"}).all()


# ---- plausible values ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, value, unit",
    [
        ("sst", 291.15, "degC"), ("sst", 500.0, "degC"), ("sst", 18.0, "K"), ("sss", 0.035, "1"),
        ("sss", -3.0, "1"), ("sss", 71.0, "1"), ("taux", 1000.0, "N m-2"),
        ("heat_flux", 2.16e6, "W m-2"), ("freshwater_flux", 3.0, "m s-1"), ("sst", np.inf, "degC"),
    ],
)  # fmt: skip
def test_values_that_no_ocean_has_are_refused(save, name, value, unit):
    v = np.full((12, LAT.size, LON.size), 18.0 if np.isinf(value) else value)
    v[3, 5, 6] = value
    with pytest.raises(InputError, match=rf"files.{name}: .* (goes from|infinite)"):
        surface(save(field(v, unit)), name)


@pytest.mark.parametrize("what", ["kelvin", "fraction", "spot"])
def test_initial_values_that_no_ocean_has_are_refused(save, what):
    good = volume()
    if what == "kelvin":
        good["t"] += 273.15
        good["t"].attrs["units"] = "degC"
    elif what == "fraction":
        good["s"] = good["s"] / 1000
        good["s"].attrs["units"] = "1"
    else:
        good["t"][2, 3, 4] = -9999.0
    name = "salinity" if what == "fraction" else "temperature"
    with pytest.raises(InputError, match=rf"initial.{name}_file: .*goes from"):
        initial(save(good), name)
    if what == "spot":
        with pytest.raises(InputError, match="1 of .*lat -20.00, lon 64.00, depth 200 m"):
            initial(save(good), name)


def test_keys_that_mean_nothing_are_refused(save):
    path = save(field([18.0] * 12))
    with pytest.raises(ConfigError, match="range.*the first must be the lower"):
        surface(path, range=[5, 1])
    with pytest.raises(InputError, match="axes: {north: ...}: no such axis; there are lat, lon"):
        surface(path, axes={"north": "lat"})
    with pytest.raises(InputError, match="axes: {lat: phi} names what the file has not"):
        surface(path, axes={"lat": "phi"})
    with pytest.raises(InputError, match="select: {member: 1} names no dimension of it"):
        surface(path, select={"member": 1})
    with pytest.raises(InputError, match="mask: wet names what the file has not"):
        surface(path, mask="wet")


# ---- depths --------------------------------------------------------------------------------------
WANT = [19.75, 18.5, 15.0]


@pytest.mark.parametrize(
    "values, attrs, says",
    [
        (DEPTH, {"units": "m", "positive": "down"}, ""),
        (-DEPTH, {"units": "m", "positive": "up"}, ""),
        (DEPTH * 100, {"units": "centimeters"}, ""),
        (DEPTH / 0.3048, {"units": "feet"}, ""),
        (-gsw.p_from_z(-DEPTH, 0.0) * -1e4, {"units": "Pa", "positive": "down"}, ""),
        (gsw.p_from_z(-DEPTH, 0.0), {"units": "dbar"}, ""),
        (DEPTH * 100, {}, "units: {depth: m}"),
        (np.linspace(-1, 0, 5), {"standard_name": "ocean_sigma_coordinate"}, "are ocean_sigma"),
        (np.arange(5.0), {"units": "1", "standard_name": "model_level_number"}, "model_level"),
        (np.arange(5.0) + 280, {"units": "K", "axis": "Z"}, "are no depths"),
        (DEPTH, {"units": "m", "positive": "up"}, "lie above the sea, up to 2000 m"),
        (None, {}, "have no coordinate"),
    ],
)
def test_levels_are_depths(save, values, attrs, says):
    data = volume(zaxis=attrs) if values is None else volume().assign_coords(
        depth=("depth", values, attrs)
    )  # fmt: skip
    path = save(data.drop_vars("depth") if values is None else data)
    if says:
        with pytest.raises(InputError, match=rf"'t' of .*{says}.*axes: {{depth: NAME}}"):
            initial(path)
    else:
        np.testing.assert_allclose(initial(path)[:, 4, 4], WANT, atol=1e-3)


def test_below_its_last_level_a_file_says_nothing(save):
    path = save(volume().isel(depth=slice(0, 3)))
    with pytest.raises(InputError, match="ends at 200 m, but .* 1000 m.*fill: nearest"):
        initial(path)
    found = initial(path, **{"initial.temperature_file.fill": "nearest"})
    np.testing.assert_allclose(found[:, 4, 4], [19.75, 19.0, 19.0])


# ---- scales of temperature and salinity ----------------------------------------------------------
@pytest.mark.parametrize("eos", ["teos10", "jmd95"])
@pytest.mark.parametrize("kind", ["sea_water_temperature", "sea_water_potential_temperature", ""])
def test_scales_are_those_of_the_equation_of_state(save, eos, kind):
    data = volume(standard_name=kind) if kind else volume()
    data["s"].attrs |= {"units": "1", "standard_name": "sea_water_practical_salinity"}
    path, z = save(data), np.array([50.0, 300.0, 1000.0])
    change = {"physics.equation_of_state": eos}
    t, s = (initial(path, n, **change)[:, 4, 4] for n in ("temperature", "salinity"))
    p = gsw.p_from_z(-z, 2.0)
    SA = gsw.SA_from_SP(35.0, p, 78.0, 2.0)
    np.testing.assert_allclose(s, SA if eos == "teos10" else 35.0, atol=1e-3)
    T = np.interp(z, DEPTH, 20.0 - 5e-3 * DEPTH)
    pt = gsw.pt0_from_t(SA, T, p) if kind == "sea_water_temperature" else T
    want = T if not kind else (gsw.CT_from_pt(SA, pt) if eos == "teos10" else pt)
    np.testing.assert_allclose(t, want, atol=8e-3)  # linear between levels


def test_long_names_and_prescribed_names_say_it_too(save):
    data = volume(long_name="Annual mean in-situ temperature").rename(s="so")
    change = {"initial.salinity_variable": "so"}
    T = np.interp(1000.0, DEPTH, 20.0 - 5e-3 * DEPTH)
    p = gsw.p_from_z(-1000.0, 2.0)
    SA = gsw.SA_from_SP(35.0, p, 78.0, 2.0)
    path = save(data)
    found = [initial(path, n, **change)[-1, 4, 4] for n in ("temperature", "salinity")]
    np.testing.assert_allclose(found, [gsw.CT_from_t(SA, T, p), SA], atol=8e-3)


def test_surface_values_are_converted_too(save):
    path = save(field([35.0] * 12, "1", standard_name="sea_surface_practical_salinity"))
    want = gsw.SA_from_SP(35.0, 0.0, 78.0, 2.0)
    assert abs(surface(path, "sss")[0, 4, 4] - want) < 1e-4
    assert surface(path, "sss", {"physics.equation_of_state": "jmd95"})[0, 4, 4] == 35.0
    own = surface(path, "sss", standard_name="sea_water_absolute_salinity")
    assert own[0, 4, 4] == 35.0


# ---- units ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, unit, factor, shift",
    [
        ("taux", "newton meter-2", 1.0, 0), ("taux", "Newtons m-2", 1.0, 0),
        ("taux", "N*m-2", 1.0, 0), ("taux", "dyn/cm^2", 10.0, 0), ("heat_flux", "W/M**2", 1.0, 0),
        ("heat_flux", "joule m-2 s-1", 1.0, 0), ("sst", "°C", 1.0, 0), ("sst", "Deg C", 1.0, 0),
        ("sst", "degree_kelvin", 1.0, 273.15), ("sst", "degF", 1.8, 32.0), ("sss", "10^-3", 1, 0),
        ("sss", "kg/kg", 1e-3, 0), ("freshwater_flux", "mm d-1", 8.64e7, 0),
        ("freshwater_flux", "kilogram meter-2 second-1", 1e3, 0),
        ("freshwater_flux", "glorp m-2", 1e-6, 0),
    ],
)  # fmt: skip
def test_units_as_tools_spell_them(save, name, unit, factor, shift):
    value = {"taux": 0.1, "heat_flux": 40.0, "sst": 18.0, "sss": 35.0, "freshwater_flux": 2e-8}
    stored = value[name] * factor + shift
    if unit == "glorp m-2":
        with pytest.raises(InputError, match="glorp m-2.*forcing.files.freshwater_flux.unit"):
            surface(save(field([stored] * 12, unit)), name)
    else:
        found = surface(save(field([stored] * 12, unit)), name)[0, 4, 4]
        assert found == pytest.approx(value[name], rel=1e-6)
