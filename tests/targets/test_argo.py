"""Profiles as Argo's data centres give them: scales, flags, adjusted values, missing positions."""

from __future__ import annotations

import gsw
import numpy as np
import pytest
import xarray as xr

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.targets import TargetError, read_profiles

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")

P = np.array([5.0, 100.0, 1000.0, 2000.0])
T, S = np.array([28.0, 20.0, 6.0, 2.6]), np.full(4, 35.0)
ABOUT = {
    "TEMP": {"units": "degree_Celsius", "standard_name": "sea_water_temperature"},
    "PSAL": {"units": "psu", "standard_name": "sea_water_salinity"},
    "PRES": {"units": "decibar", "standard_name": "sea_water_pressure"},
}


def argo(path, mode=b"R", change=lambda d: None):
    """Three profiles of four levels, all of them good; their adjusted values are 0.1 higher."""
    both, one = ("N_PROF", "N_LEVELS"), ("N_PROF",)
    data = xr.Dataset()
    for name, values in (("TEMP", T), ("PSAL", S), ("PRES", P)):
        for suffix, shift in (("", 0.0), ("_ADJUSTED", 0.1)):
            data[name + suffix] = (both, np.tile(values + shift, (3, 1)), ABOUT[name])
            data[f"{name}{suffix}_QC"] = (both, np.full((3, 4), b"1"))
    data["LATITUDE"], data["LONGITUDE"] = (one, [1.0, 2.0, 3.0]), (one, [60.0, 61.0, 62.0])
    data["JULD"] = (one, [2e4, 2.001e4, 2.002e4], {"units": "days since 1950-01-01 00:00:00 UTC"})
    data["POSITION_QC"], data["JULD_QC"] = (one, np.full(3, b"1")), (one, np.full(3, b"1"))
    data["DATA_MODE"] = (one, np.full(3, mode))
    change(data)
    for name, variable in data.variables.items():
        if variable.dtype.kind == "f":
            data[name].encoding["_FillValue"] = 99999.0
    data.to_netcdf(path)
    return read_profiles(path)


def expected(shift=0.0, lat=1.0, lon=60.0):
    SA = gsw.SA_from_SP(S + shift, P + shift, lon, lat)
    return gsw.CT_from_t(SA, T + shift, P + shift), SA


def test_in_situ_temperature_and_practical_salinity(tmp_path):
    found = argo(tmp_path / "a.nc")
    CT, SA = expected()
    np.testing.assert_allclose(found.values["temperature"][0], CT, atol=2e-5)
    np.testing.assert_allclose(found.values["salinity"][0], SA, atol=2e-5)
    np.testing.assert_allclose(found.depth[0], -gsw.z_from_p(P, 1.0), atol=1e-9)
    assert not any(found.left_out.values())


@pytest.mark.parametrize("mode", [b"A", b"D"])
def test_adjusted_values_hold_where_the_mode_says_so(tmp_path, mode):
    found = argo(tmp_path / "a.nc", mode)
    np.testing.assert_allclose(found.values["temperature"][0], expected(0.1)[0], atol=2e-5)

    def mixed(data):
        data["DATA_MODE"][1] = b"R"

    found = argo(tmp_path / "b.nc", mode, mixed)
    np.testing.assert_allclose(found.values["salinity"][1], expected(0.0, 2.0, 61.0)[1], atol=2e-5)
    np.testing.assert_allclose(found.values["salinity"][2], expected(0.1, 3.0, 62.0)[1], atol=2e-5)


@pytest.mark.parametrize("flag, taken", [(b"1", True), (b"2", True), (b"8", True), (b"3", False),
                                         (b"4", False), (b"9", False), (b"0", False)])  # fmt: skip
def test_flags_are_obeyed_and_counted(tmp_path, flag, taken):
    def spoil(data):
        data["PSAL"][1, 1] = 33.0
        data["PSAL_QC"][1, 1] = flag

    found = argo(tmp_path / "a.nc", change=spoil)
    salinity = found.values["salinity"]
    assert np.isfinite(salinity[1, 1]) == taken and np.isfinite(np.delete(salinity, 1, 0)).all()
    assert found.left_out.get("values of PSAL by their flags", 0) == (not taken)


@pytest.mark.parametrize("name, what", [("LATITUDE", "position"), ("JULD", "time")])
@pytest.mark.parametrize("how", ["missing", "flag"])
def test_one_profile_without_position_or_time_costs_no_other(tmp_path, name, what, how):
    def spoil(data):
        if how == "missing":
            data[name][1] = np.nan
        else:
            data["POSITION_QC" if what == "position" else "JULD_QC"][1] = b"4"

    found = argo(tmp_path / "a.nc", change=spoil)
    assert found.lat.tolist() == [1.0, 3.0]
    assert found.left_out[f"profiles without {what}"] == 1

    def all_bad(data):
        data[name][:] = np.nan

    with pytest.raises(TargetError, match=rf"none of 3 profiles has a position.*{name}"):
        argo(tmp_path / "b.nc", change=all_bad)


@pytest.mark.parametrize("unit, factor", [("cm", 100.0), ("km", 1e-3), ("feet", 1 / 0.3048)])
def test_depths_in_other_units(tmp_path, unit, factor):
    z = np.array([0.0, 100.0, 200.0])
    xr.Dataset(
        {
            "theta": (("n", "z"), np.full((2, 3), 10.0), {"units": "degC"}),
            "psal": (("n", "z"), np.full((2, 3), 35.0), {"units": "1"}),
            "lat": ("n", [10.0, 20.0]),
            "lon": ("n", [60.0, 61.0]),
            "juld": ("n", [1.0, 2.0], {"units": "days since 2000-01-01"}),
            "depth": ("z", z * factor, {"units": unit}),
        }
    ).to_netcdf(tmp_path / "p.nc")
    np.testing.assert_allclose(read_profiles(tmp_path / "p.nc").depth[0], z, rtol=1e-12)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"CDF no more")
    with pytest.raises(TargetError, match="a.nc cannot be read"):
        read_profiles(tmp_path / "a.nc")

    def words(data):
        data["TEMP"] = data["TEMP"].astype(str) + " degrees"

    with pytest.raises(TargetError, match="b.nc cannot be read as profiles"):
        argo(tmp_path / "b.nc", change=words)


def test_a_real_float(data_dir):
    """98 profiles of the Indian Ocean in real time, some values of which are flagged bad."""
    path = data_dir / "samples" / "argo_prof.nc"
    if not path.is_file():
        pytest.skip(f"no {path}")
    found = read_profiles(path)
    with xr.open_dataset(path, decode_times=False) as data:
        bad = {
            n: int((data[n].notnull() & ~data[f"{n}_QC"].astype("S").isin([b"1"])).sum())
            for n in ("TEMP", "PSAL")
        }
    assert len(found) == 98 and bad["TEMP"] > 0
    for name, count in bad.items():
        assert found.left_out[f"values of {name} by their flags"] == count
    assert 30.0 < np.nanmin(found.values["salinity"]) < np.nanmax(found.values["salinity"]) < 36.0
