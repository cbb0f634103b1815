"""Air from files: units, names, time axes, curvilinear grids, rivers; what cannot be used is
refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from toy_air import LAT, LON, SMALL, air, files, write_air

from dogcm.components.errors import ConfigError
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io import curvilinear
from dogcm.io.reading import reader
from dogcm.io.regrid import GriddedVariable
from dogcm.physics.surface import shortwave
from dogcm.setups import atmosphere, inputs
from dogcm.setups.atmosphere import InputError
from dogcm.setups.config import ForcingFile
from dogcm.setups.registry import load_config

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("air")
    write_air(path)
    return path


def config(folder, change=None, **more):
    settings = {**SMALL, **files(folder / "air.nc"), **more}
    settings["forcing.files"] = {**settings["forcing.files"], **(change or {})}
    settings["forcing.files"] = {
        n: f for n, f in settings["forcing.files"].items() if f is not None
    }
    return load_config("two_basin", settings)


def sea(c):
    horizontal, vertical = inputs.horizontal_grid(c), inputs.vertical_grid(c)
    return horizontal, inputs.cell_thickness(c, horizontal, vertical)[0] > 0


def read(c, name):
    return inputs.record(c, name, *sea(c))


# ---- what is needed
@pytest.mark.parametrize("name", atmosphere._NEEDED)
def test_missing_field_is_named(folder, name):
    with pytest.raises(InputError, match=f"ncar needs {name}.*forcing.files.{name}: "):
        inputs.records(config(folder, {name: None}))


def test_wind_or_stress(folder):
    with pytest.raises(InputError, match="needs wind_v;"):
        inputs.records(config(folder, {"wind_v": None}))
    with pytest.raises(InputError, match="needs wind_u and wind_v"):
        inputs.records(config(folder, {"wind_v": None, "wind_u": None}))
    assert "taux" not in inputs.records(config(folder))
    entry = files(folder / "air.nc")["forcing.files"]["wind_v"]
    alone = config(folder, {"wind_u": None, "wind_v": None, "wind_speed": entry})
    assert {"taux", "wind_speed"} <= set(inputs.records(alone))
    with pytest.raises(InputError, match="winds and taux"):
        inputs.records(config(folder, {"taux": entry}))


def test_settings_that_make_no_sense(folder):
    with pytest.raises(InputError, match="air_temperature is of no use"):
        inputs.records(config(folder, **{"forcing.bulk": "none", "physics.sea_ice": "none"}))
    with pytest.raises(ConfigError, match="sea_ice needs the air"):
        config(folder, **{"forcing.bulk": "none"})
    with pytest.raises(InputError, match="dew_point and specific_humidity"):
        inputs.records(config(folder, {"dew_point": {"path": "x", "variable": "y"}}))
    with pytest.raises(InputError, match="needs shortwave_down"):
        inputs.records(load_config("two_basin", {"physics.shortwave": "IB"}))


def test_water_type_sets_the_parameters(folder):
    murky = load_config("two_basin", {"physics.shortwave": "III"}).parameters
    assert tuple(murky[n] for n in shortwave.PARAMETERS) == shortwave.JERLOV["III"]
    own = load_config(
        "two_basin", {"physics.shortwave": "two_band", "parameters.shortwave_blue_depth": 11.0}
    )
    assert own.parameters["shortwave_blue_depth"] == 11.0


def test_refused_before_the_first_step(folder, capsys):
    from dogcm.cli import main

    sets = ["forcing.bulk=ncar"]
    assert main(["run", "two_basin", "--days", "1", *(w for s in sets for w in ("--set", s))]) in (
        2,
        3,
    )
    err = capsys.readouterr().err
    assert "air_temperature" in err and err.count("dogcm: error") == 1


# ---- units
@pytest.mark.parametrize(
    "value, unit, wanted, accumulated, expected",
    [
        (300.0, "K", "degC", 0, 26.85),
        (26.85, "degree_Celsius", "degC", 0, 26.85),
        (8.0, "g kg-1", "kg kg-1", 0, 8e-3),
        (8e-3, "1", "kg kg-1", 0, 8e-3),
        (8e-3, "kg kg**-1", "kg kg-1", 0, 8e-3),
        (1013.0, "hPa", "Pa", 0, 101300.0),
        (1013.0, "mb", "Pa", 0, 101300.0),
        (7.2e5, "J m**-2", "W m-2", 3600, 200.0),
        (8.64e6, "J m-2", "W m-2", 86400, 100.0),
        (3.6e-3, "m", "m s-1", 3600, 1e-6),
        (3.6, "kg m-2", "m s-1", 3600, 1e-6),
        (1e-3, "kg m-2 s-1", "m s-1", 0, 1e-6),
        (8.64, "mm", "m s-1", 86400, 1e-7),
        (86.4, "mm day-1", "m s-1", 0, 1e-6),
    ],
)
def test_units(value, unit, wanted, accumulated, expected):
    assert float(atmosphere.convert(value, unit, wanted, accumulated)) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize(
    "unit, wanted, accumulated, says",
    [
        ("J m-2", "W m-2", 0, "amount.*set accumulated"),
        ("m", "m s-1", 0, "amount"),
        ("W m-2", "W m-2", 3600, "no amount"),
        ("degC", "W m-2", 0, "cannot convert"),
        ("glorp", "Pa", 0, "glorp"),
    ],
)
def test_wrong_units_are_refused(unit, wanted, accumulated, says):
    with pytest.raises(ValueError, match=says):
        atmosphere.convert(1.0, unit, wanted, accumulated)


def test_a_unit_that_no_air_can_have_is_refused(folder):
    """Kelvin labelled as degrees Celsius; and the way out."""
    data = air()
    data["air_temperature"].attrs["units"] = "degC"
    data.to_netcdf(folder / "wrong.nc")
    entry = {"path": str(folder / "wrong.nc"), "variable": "air_temperature"}
    with pytest.raises(
        InputError, match="air_temperature.*beyond what.*files.air_temperature.unit"
    ):
        read(config(folder, {"air_temperature": entry}), "air_temperature")
    found = read(config(folder, {"air_temperature": {**entry, "unit": "K"}}), "air_temperature")
    np.testing.assert_array_equal(found, read(config(folder), "air_temperature"))
    with pytest.raises(InputError, match="files.shortwave_down"):
        read(config(folder, {"shortwave_down": entry}), "shortwave_down")


def test_dew_point_gives_humidity(folder):
    """Saturated air of 20 degC at 1000 hPa holds 14.7 g/kg."""
    shape = (12, LAT.size, LON.size)
    fields = {"d2m": (293.15, "K"), "msl": (1000.0, "hPa")}
    axes = {n: air()[n] for n in ("lat", "lon", "month")}
    xr.Dataset(
        {
            n: (("month", "lat", "lon"), np.full(shape, v), {"units": u})
            for n, (v, u) in fields.items()
        },
        axes,
    ).to_netcdf(folder / "era.nc")
    entry = lambda n: {"path": str(folder / "era.nc"), "variable": n}
    c = config(
        folder,
        {"specific_humidity": None, "dew_point": entry("d2m"), "sea_level_pressure": entry("msl")},
    )
    assert {"specific_humidity", "sea_level_pressure"} <= set(inputs.records(c))
    q = read(c, "specific_humidity")
    np.testing.assert_allclose(q[:, sea(c)[1]], 0.0147, rtol=5e-3)


# ---- time axes
@pytest.mark.parametrize(
    "count, hours, good",
    [(365, 24, True), (366, 24, True), (1460, 6, True), (730, 24, False), (48, 6, False)],
)
def test_records_have_to_cover_the_year(folder, count, hours, good):
    few = dict(lat=slice(None, None, 4), lon=slice(None, None, 6), month=np.arange(count) % 12)
    data = air()[["longwave_down"]].isel(few)
    data = data.drop_vars("month").rename(month="time")
    data["time"] = (
        "time",
        np.arange(count) * float(hours),
        {"units": f"hours since {2000 if count == 366 else 2001}-01-01"},
    )
    path = folder / f"{count}_{hours}.nc"
    data.to_netcdf(path)
    own = ForcingFile(path=str(path), variable="longwave_down")
    forcing = config(folder).forcing
    if good:
        assert atmosphere.read(own, "longwave_down", forcing).values.shape[0] == count
    else:
        with pytest.raises(InputError, match="forcing.year is 365"):
            atmosphere.read(own, "longwave_down", forcing)


# ---- curvilinear grids and rivers
def turned(values, folder, name="field", unit="m s-1"):
    """A file whose rows and columns follow neither latitudes nor longitudes."""
    y, x = np.meshgrid(np.linspace(-89, 89, 90), np.linspace(0, 358, 120), indexing="ij")
    vectors = (
        curvilinear.unit_vectors(y, x)
        @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    )
    lat, lon = (
        np.rad2deg(np.arcsin(vectors[..., 2])),
        np.rad2deg(np.arctan2(vectors[..., 1], vectors[..., 0])),
    )
    area = np.cos(np.deg2rad(y))
    area *= 4 * np.pi * 6.371e6**2 / area.sum()
    xr.Dataset(
        {
            name: (("month", "y", "x"), np.stack([values(lat, lon)] * 2), {"units": unit}),
            "lat": (("y", "x"), lat, {"units": "degrees_north"}),
            "lon": (("y", "x"), lon, {"units": "degrees_east"}),
            "area": (("y", "x"), area, {"units": "m2"}),
        }
    ).to_netcdf(folder / "turned.nc")
    return reader.read(folder / "turned.nc", name)


def test_a_curvilinear_field_is_interpolated(folder):
    smooth = lambda lat, lon: (
        np.sin(np.deg2rad(lat)) + np.cos(np.deg2rad(lat)) * np.cos(np.deg2rad(lon))
    )
    source = turned(smooth, folder)
    lat, lon = np.meshgrid(np.linspace(-75, 75, 21), np.linspace(2, 350, 30), indexing="ij")
    found = curvilinear.interpolate(source.values, source.lat, source.lon, lat, lon)
    assert found.shape == (2, 21, 30) and np.abs(found - smooth(lat, lon)).max() < 0.03
    assert isinstance(reader.read(folder / "air.nc", "wind_u"), GriddedVariable)
    with xr.open_dataset(folder / "turned.nc") as data:
        data.assign(field=data["field"].expand_dims(member=2)).to_netcdf(folder / "members.nc")
    with pytest.raises(InputError, match="'member' of 2.*select: {member: first}"):
        reader.read(folder / "members.nc", "field")


def test_restoring_may_come_from_a_curvilinear_file(folder):
    """What ocean models are given is read as the air is."""
    turned(lambda lat, lon: 15.0 + 0.1 * lat, folder, "sst", "degC")
    c = config(
        folder,
        {"sst": ForcingFile(path=str(folder / "turned.nc"), variable="sst", spread=True)},
        **{"forcing.year": 365},
    )
    horizontal, wet = sea(c)
    found = inputs.record(c, "sst", horizontal, wet)
    lat = np.broadcast_to(horizontal.coordinates()["lat"][0][:, None], wet.shape)
    assert found.shape == (2, *wet.shape) and np.abs(found[0] - 15.0 - 0.1 * lat)[wet].max() < 0.2


def test_one_component_of_a_vector_is_refused_where_it_has_to_be_turned(folder):
    entry = files(folder / "air.nc")["forcing.files"]["wind_v"]
    with pytest.raises(InputError, match="taux and tauy are turned together"):
        inputs.records(
            load_config(
                "global_tripolar_2deg", {"forcing.source": "none", "forcing.files": {"tauy": entry}}
            )
        )


def test_rivers_lose_no_water(folder):
    """What falls on land reaches the nearest sea."""
    source = turned(lambda lat, lon: 1e-8 * (lat > 30), folder, "runoff")
    c = config(folder)
    horizontal, wet = sea(c)
    poured = atmosphere.spread_runoff(source, horizontal, wet, *inputs._points(horizontal, "c"))
    area = horizontal.metrics(np.arange(18), np.arange(24)).area_c
    expected = (np.nan_to_num(source.values) * source.area).sum(1)
    np.testing.assert_allclose((poured * area).sum((1, 2)), expected, rtol=1e-12)
    assert (poured[:, ~wet] == 0).all()
    found = read(c, "runoff")  # the regular file
    given = air()["runoff"].values
    band = (
        np.deg2rad(5.0)
        * np.diff(np.sin(np.deg2rad(np.append(LAT - 2, 90.0))))[:, None]
        * 6.371e6**2
    )
    np.testing.assert_allclose((found * area).sum((1, 2)), (given * band).sum((1, 2)), rtol=1e-9)


def test_core_normal_year(data_dir):
    """The cubed sphere's fields on the 4-degree grid, against area means of the sphere between 60 S
    and 60 N."""
    path = data_dir / "core_cs32" / "core_nyf_monthly_cs32.nc"
    if not path.is_file():
        pytest.skip(f"no {path}")
    names = {"air_temperature": "t_air", "shortwave_down": "sw_down", "runoff": "runoff"}
    entries = {n: {"path": str(path), "variable": v} for n, v in names.items()}
    c = load_config("global_4deg", {"forcing.files": entries})
    horizontal = inputs.horizontal_grid(c)
    everywhere = np.ones(horizontal.shape, bool)
    area = horizontal.metrics(np.arange(40), np.arange(90)).area_c
    with xr.open_dataset(path) as data:
        for name, unit in (("air_temperature", -273.15), ("shortwave_down", 0.0)):
            found = inputs.record(c, name, horizontal, everywhere)
            band = np.abs(horizontal.coordinates()["lat"][0]) < 60
            w = data.area * (abs(data.lat) < 60)
            expected = (data[names[name]].astype(float) * w).sum(("y", "x")) / w.sum() + unit
            mean = (found * area)[:, band].sum((1, 2)) / area[band].sum()
            np.testing.assert_allclose(mean, expected, rtol=1e-2)
        rivers = (inputs.record(c, "runoff", horizontal, everywhere) * area).sum((1, 2))
        np.testing.assert_allclose(
            rivers, (data.runoff.astype(float) * data.area).sum(("y", "x")), rtol=1e-6
        )
