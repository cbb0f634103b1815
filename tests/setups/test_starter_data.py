"""The shipped starter data: complete, small, documented, and such that one would believe them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dogcm.io.reading.reader import read
from dogcm.io.regrid import conservative_average
from dogcm.setups.starter import build_starter_data as build

HERE = Path(build.__file__).parent
FILES = {
    "bathymetry.nc": {"elevation": "m"},
    "hydrography.nc": {"conservative_temperature": "degC", "absolute_salinity": "g kg-1"},
    "surface.nc": {
        "sst": "degC",
        "sss": "g kg-1",
        "taux": "N m-2",
        "tauy": "N m-2",
        "wind_speed": "m s-1",
        "qnet": "W m-2",
    },
}


@pytest.fixture(scope="module")
def data():
    return {name: read(HERE / f, name) for f, names in FILES.items() for name in names}


@pytest.fixture(scope="module")
def ocean(data):
    """Ocean fraction of the 2 degree surface cells."""
    z = data["elevation"]
    fraction, _ = conservative_average(
        (z.values < 0).astype(float),
        z.lat_edges,
        z.lon_edges,
        np.linspace(-90, 90, 91),
        np.linspace(0, 360, 181),
    )
    return fraction


def zonal_mean(field, ocean):
    wet = np.where(ocean > 0.5, 1.0, 0.0)
    return (field * wet).sum(-1) / np.maximum(wet.sum(-1), 1.0)


def test_size_limit():
    assert sum(f.stat().st_size for f in HERE.glob("*.nc")) <= 4_000_000


@pytest.mark.parametrize("name", FILES)
def test_provenance_and_cf_attributes(name):
    with xr.open_dataset(HERE / name, decode_times=False) as ds:
        for key in ("title", "source", "source_checksums", "history", "licence", "references"):
            assert len(ds.attrs.get(key, "")) > 10, key
        assert "ublic domain" in ds.attrs["licence"] and ds.attrs["Conventions"].startswith("CF-")
        assert ds["lat"].attrs["units"] == "degrees_north"
        assert np.all(np.diff(ds["lat"]) > 0) and np.all(np.diff(ds["lon"]) > 0)
        assert 0 <= ds["lon"].min() and ds["lon"].max() < 360
        for variable, unit in FILES[name].items():
            assert ds[variable].attrs["units"] == unit and ds[variable].attrs["long_name"]
        for source in ds.attrs["source_checksums"].split("; "):
            assert source.split(" sha256 ")[0] in (HERE / "PROVENANCE.md").read_text()


def test_complete_everywhere(data):
    for name, v in data.items():
        assert np.isfinite(v.values).all(), name
        assert v.values.shape[0] == 12 or name not in ("sst", "taux", "tauy", "qnet", "wind_speed")


@pytest.mark.parametrize(
    "name, low, high, mean",
    [
        ("elevation", -11000, 50, (-2600, -1900)),
        ("conservative_temperature", -2.3, 32, (3, 9)),
        ("absolute_salinity", 3, 42, (34, 35.5)),
        ("sst", -2.0, 35, (10, 20)),
        ("sss", 3, 42, (32, 35.5)),
        ("taux", -0.6, 0.6, (0, 0.03)),
        ("tauy", -0.6, 0.6, (-0.02, 0.02)),
        ("wind_speed", 0.5, 18, (5, 8)),
        ("qnet", -450, 300, (-10, 10)),
    ],
)
def test_ranges(data, name, low, high, mean):
    v = data[name].values
    assert low <= v.min() and v.max() <= high and mean[0] < v.mean() < mean[1]


def test_nothing_is_colder_than_freezing(data):
    gsw = pytest.importorskip("gsw")
    for temp, salt in (("sst", "sss"), ("conservative_temperature", "absolute_salinity")):
        freezing = gsw.CT_freezing(data[salt].values, 0.0, 0.0)
        assert np.all(data[temp].values >= freezing - 0.01)


def test_zonal_wind_stress_has_the_known_belts(data, ocean):
    taux, lat = data["taux"], data["taux"].lat
    annual = zonal_mean(taux.values.mean(0), ocean)
    assert -56 < lat[np.argmax(annual)] < -46 and 0.15 < annual.max() < 0.22
    # No gap of the Southern Ocean: every month has westerlies all round at 51 S.
    assert taux.values[:, np.argmin(abs(lat + 51))].min() > 0.0
    trades = annual[(abs(lat) > 8) & (abs(lat) < 25)]
    assert -0.09 < trades.min() < -0.045 and trades.max() < 0.0
    assert 0.05 < annual[(lat > 35) & (lat < 60)].max() < 0.13
    # East of Somalia the summer monsoon blows to the north-east, the winter one to the south-west.
    j, i = np.argmin(abs(lat - 11)), np.argmin(abs(taux.lon - 57))
    assert data["tauy"].values[6, j, i] > 0.1 and data["tauy"].values[0, j, i] < -0.02


def test_seasons_and_known_waters(data, ocean):
    sst, lat = data["sst"], data["sst"].lat
    north, south = abs(lat - 35) < 4, abs(lat + 35) < 4
    zonal = zonal_mean(sst.values, ocean)
    assert (zonal[7, north] - zonal[1, north]).min() > 5
    assert (zonal[1, south] - zonal[7, south]).min() > 2
    assert zonal[:, abs(lat) < 5].min() > 24
    hudson = sst.values[1, np.argmin(abs(lat - 59)), np.argmin(abs(sst.lon - 275))]
    assert hudson < -1.0, "Hudson Bay is frozen in February"

    def at(name, depth, y, x):
        v = data[name]
        return v.values[
            np.argmin(abs(v.depth - depth)), np.argmin(abs(v.lat - y)), np.argmin(abs(v.lon - x))
        ]

    assert 12.5 < at("conservative_temperature", 2000, 34.5, 18.5) < 14.5, "Mediterranean"
    assert 38 < at("absolute_salinity", 2000, 34.5, 18.5) < 39.5
    assert 0.5 < at("conservative_temperature", 4000, 20.5, 180.5) < 1.6, "deep Pacific"
    assert at("absolute_salinity", 0, 25.5, 320.5) > at("absolute_salinity", 0, 25.5, 180.5) + 1


def test_rice_speed_and_its_inverse():
    rng = np.random.default_rng(3)
    wind = rng.normal(size=(2, 200000)) * 4.0 + np.array([[5.0], [0.0]])
    mean = np.hypot(*wind).mean()
    assert np.isclose(build.rice_mean_speed(np.array(5.0), np.array(4.0)), mean, rtol=5e-3)
    sigma = build.scatter_from_speed(np.array([5.0, np.nan]), np.array([mean, 1.0]))
    assert np.isclose(sigma[0], 4.0, rtol=1e-2) and np.isnan(sigma[1])


def test_stress_of_a_steady_and_of_a_gusty_wind():
    u, v, none = np.array([8.0]), np.array([-6.0]), np.array([1e-9])
    taux, tauy, speed = build.stress_of(u, v, none)
    assert np.allclose([taux, tauy, speed], [[1.22e-3 * 1.2 * 80], [-1.22e-3 * 1.2 * 60], [10.0]])
    gusty, _, faster = build.stress_of(u, v, np.array([4.0]))
    assert gusty > 1.2 * taux and faster > speed


def test_spikes_are_dropped_and_the_seasonal_cycle_kept():
    month = np.arange(12)[:, None, None]
    cycle = 10 + 6 * np.cos(2 * np.pi * month / 12) + np.zeros((12, 10, 12))
    spoilt = cycle.copy()
    spoilt[4, 3:6, 3:6] += 8.0
    assert np.abs(build.drop_spikes(cycle) - cycle).max() < 1e-12
    assert np.abs(build.drop_spikes(spoilt) - cycle).max() < 3.5


def test_filling_does_not_carry_water_across_land():
    values = np.full((6, 12), np.nan)
    wet = np.zeros((6, 12), bool)
    wet[:, :3], wet[2:4, 6:8] = True, True
    values[:, 0] = 1.0
    above = np.full((6, 12), 7.0)
    points = build.unit_vectors(
        *np.meshgrid(np.arange(-75.0, 90, 30), np.arange(15.0, 360, 30), indexing="ij")
    )
    out = build.fill_within_basins(values, wet, points, above)
    assert np.all(out[:, :3] == 1.0) and np.all(out[2:4, 6:8] == 7.0) and np.isfinite(out).all()
