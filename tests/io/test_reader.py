"""The reader of input files: axes, units, gaps, and messages that name the key that would help."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dogcm.io.reading import units
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.reader import read


@pytest.mark.parametrize(
    "value, unit, wanted, result",
    [
        (0.0, "degC", "K", 273.15),
        (273.15, "Kelvin", "Deg C", 0.0),
        (250.0, "cm", "m", 2.5),
        (1.0, "dyn/cm^2", "N m-2", 0.1),
        (3.0, "Pa", "N/m2", 3.0),
        (5.0, "W/M**2", "W m-2", 5.0),
        (1e-3, "kg m-2 s-1", "m s-1", 1e-6),
        (1e-6, "m/s", "kg/m2/s", 1e-3),
        (35.0, "psu", "1", 35.0),
        (35.0, "PPT", "g kg-1", 35.0),
        (0.035, "kg/kg", "g/kg", 35.0),
    ],
)
def test_units(value, unit, wanted, result):
    assert np.isclose(units.convert(value, unit, wanted), result, atol=1e-12)


@pytest.mark.parametrize(
    "unit, wanted, message",
    [("degC", "m", "temperature"), ("glorp", "m", "not known"), ("", "K", "not known")],
)
def test_units_refuses(unit, wanted, message):
    with pytest.raises(ValueError, match=message):
        units.convert(1.0, unit, wanted)


LON, LAT = np.arange(-175.0, 180, 10), np.arange(85.0, -90, -10)


def dataset(lon=LON, lat=LAT, **attrs):
    """North-to-south file with longitudes from -175, levels as negative heights in cm."""
    data = xr.Dataset(
        coords={
            "record": np.arange(2),
            "height": ("height", [0.0, -1000.0], {"units": "cm"}),
            "north": ("north", lat, {"units": "degrees_north"}),
            "east": ("east", lon, {"units": "degrees_east"}),
        }
    )
    data["record"].attrs["units"] = "days since 2000-01-01"
    data["height"].attrs["axis"] = "Z"
    shape = 2, 2, lat.size, lon.size
    values = (lat[:, None] + lon / 1000 + np.zeros(shape)) + np.array([0, 1000])[:, None, None]
    values[0, 0, 0, 0] = 1e34
    data["temp"] = (("record", "height", "north", "east"), values, {"units": "degC", **attrs})
    return data


def test_read_sorts_axes_and_masks(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc")
    v = read(tmp_path / "a.nc", "temp")
    assert v.values.shape == (2, 2, 18, 36) and v.unit == "degC"
    assert np.array_equal(v.lat, np.arange(-85.0, 90, 10))
    assert np.array_equal(v.lon, np.arange(5.0, 360, 10))
    assert np.array_equal(v.depth, [0.0, 10.0]) and v.time_unit == "days since 2000-01-01"
    signed = np.where(v.lon > 180, v.lon - 360, v.lon)
    assert np.allclose(
        v.values[1], v.lat[:, None] + signed / 1000 + np.array([0, 1000])[:, None, None]
    )
    assert np.argwhere(np.isnan(v.values)).tolist() == [[0, 0, 17, 18]]
    assert v.lat_edges[0] == -90 and np.allclose(v.lon_edges[[0, -1]], [0, 360])


def test_read_drops_a_repeated_column(tmp_path):
    data = dataset(lon=np.arange(5.0, 366, 10))
    with pytest.raises(InputError, match="columns 1 and 37 lie at the same longitude, 5 and 365"):
        data.to_netcdf(tmp_path / "a.nc")
        read(tmp_path / "a.nc", "temp")
    data["temp"][..., -1] = data["temp"][..., 0]
    data.to_netcdf(tmp_path / "b.nc")
    v = read(tmp_path / "b.nc", "temp")
    assert np.array_equal(v.lon, np.arange(5.0, 360, 10)) and v.values.shape[-1] == 36


def test_read_missing_file_and_variable(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.nc"):
        read(tmp_path / "nothing.nc", "temp")
    dataset().to_netcdf(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="did you mean temp"):
        read(tmp_path / "a.nc", "Temps")


def test_read_corrupt_file(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"CDF\x01 not really")
    with pytest.raises(ValueError, match="cannot be read.*a.nc|a.nc cannot be read"):
        read(tmp_path / "a.nc", "temp")


def test_read_truncated_file(tmp_path):
    dataset().to_netcdf(tmp_path / "a.nc")
    whole = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "b.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="b.nc"):
        read(tmp_path / "b.nc", "temp")


def test_read_bad_dimensions_coordinates_units(tmp_path):
    data = dataset()
    data.rename({"record": "member"}).drop_vars("member").to_netcdf(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="'member'.*select: {member: first}"):
        read(tmp_path / "a.nc", "temp")
    data.isel(north=0, drop=True).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(ValueError, match="no lat.* axis"):
        read(tmp_path / "b.nc", "temp")
    lat = np.arange(85.0, -90, -10)
    lat[7] = lat[3]
    dataset(lat=lat).to_netcdf(tmp_path / "c.nc")
    with pytest.raises(ValueError, match="not strictly monotonic"):
        read(tmp_path / "c.nc", "temp")
    dataset(units="glorp").to_netcdf(tmp_path / "d.nc")
    with pytest.raises(ValueError, match="glorp.*d.nc|d.nc.*glorp"):
        read(tmp_path / "d.nc", "temp", field="temperature")


def test_bounds_are_the_faces_of_cells(tmp_path):
    """Cells of unequal size, whose faces do not lie midway between their points."""
    lat, lon = np.array([50.0, -10.0, -60.0]), np.array([-120.0, 10.0, 100.0])
    south = np.array([[40.0, 90.0], [-30.0, 40.0], [-90.0, -30.0]])
    west = np.array([[-180.0, -60.0], [-60.0, 40.0], [40.0, 180.0]])
    data = xr.Dataset(
        {
            "f": (("lat", "lon"), np.arange(9.0).reshape(3, 3), {"units": "m"}),
            "lat_bnds": (("lat", "two"), south),
            "lon_bnds": (("lon", "two"), west),
        },
        {
            "lat": ("lat", lat, {"units": "degrees_north", "bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"units": "degrees_east", "bounds": "lon_bnds"}),
        },
    )
    data.to_netcdf(tmp_path / "a.nc")
    v = read(tmp_path / "a.nc", "f")
    assert v.lat_edges.tolist() == [-90.0, -30.0, 40.0, 90.0]
    assert v.lon.tolist() == [10.0, 100.0, 240.0]
    assert v.lon_edges.tolist() == [-60.0, 40.0, 180.0, 300.0]
    data["lat_bnds"][1] = [-30.0, 20.0]  # they no longer join up
    data.to_netcdf(tmp_path / "b.nc")
    assert read(tmp_path / "b.nc", "f").lat_edges.tolist() == [-85.0, -35.0, 20.0, 80.0]


def test_points_in_no_order(tmp_path):
    """An unstructured grid: latitude and longitude of each cell, land without a position."""
    rng = np.random.default_rng(3)
    lat, lon = rng.uniform(-80, 80, 300), rng.uniform(-180, 180, 300)
    field = 10.0 + 0.1 * lat
    lat[:20] = lon[:20] = np.nan
    data = xr.Dataset(
        {
            "f": ("cell", field, {"units": "degC", "coordinates": "clat clon"}),
            "clat": ("cell", np.deg2rad(lat), {"units": "radian", "standard_name": "latitude"}),
            "clon": ("cell", np.deg2rad(lon), {"units": "radian", "standard_name": "longitude"}),
        }
    )
    data.to_netcdf(tmp_path / "a.nc")
    v = read(tmp_path / "a.nc", "f", field="sst")
    assert v.values.shape == (280,) and np.allclose(v.values, 10.0 + 0.1 * v.lat)
