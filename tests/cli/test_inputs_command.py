"""``dogcm inputs``: what is understood of a file, and of every input of an experiment."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from toy_inputs import LAT, dated, field, floor, volume

from dogcm.cli import main
from dogcm.decomp.binding import looks_like_mpi_launch

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
MONTHS = np.arange(12) + 0.5


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def warm():
    """Monthly temperatures in K that rise northward, with a gap."""
    v = 290.0 + 0.1 * LAT[:, None] + np.zeros((12, 1, 25))
    v[:, 20:, 10:20] = np.nan
    return dated(v, MONTHS, "months since 2001-01-01", unit="K")


def test_a_file(here, capsys):
    warm().to_netcdf("sst.nc")
    assert main(["inputs", "sst.nc"]) == 0
    said = capsys.readouterr().out
    for part in (
        "'f' of sst.nc", "unit       K", "lat: lat, lon: lon, time: time (rectilinear)",
        "lat -26.00 to 26.00, lon 56.00 to 104.00, 27 x 25 points",
        "12 records, 2001-01-16 to 2001-12-16",
        "287.4 (at lat -26.00, lon 56.00, record 1) to 292.6 (",
        "840 of 8100 missing (10.4 %)",
    ):  # fmt: skip
        assert part in said, said
    rows = said.split("\n")[-11:-1]
    assert set(rows[-1].strip()) == {"0"} and set(rows[0].strip()) == {"9", "."}


def test_a_file_of_a_plane(here, capsys):
    data = floor().rename(lat="y", lon="x")
    for name in ("x", "y"):
        data[name].attrs = {"units": "km"}
    data.to_netcdf("plane.nc")
    assert main(["inputs", "plane.nc"]) == 0
    assert "y: y, x: x (x and y on a plane)" in capsys.readouterr().out


def test_a_file_that_is_none(here, capsys):
    (here / "a.nc").write_text("no netCDF")
    assert main(["inputs", "a.nc"]) == 3
    assert "cannot be read as netCDF" in capsys.readouterr().err
    assert main(["inputs", "b.nc"]) == 3
    assert "no file b.nc" in capsys.readouterr().err


def write_experiment(here, **forcing):
    floor().to_netcdf("floor.nc")
    volume(standard_name="sea_water_temperature").to_netcdf("water.nc")
    warm().to_netcdf("sst.nc")
    field([35.0] * 12, "1").to_netcdf("sss.nc")
    entries = {"sst": {"path": "sst.nc", "variable": "f"}, **forcing}
    tree = {
        "grid": {"nx": 10, "ny": 8, "lon": [60, 100], "lat": [-16, 16], "layers": [100, 400, 1000]},
        "bathymetry": {"source": "file", "path": "floor.nc"},
        "initial": {
            "source": "file", "path": "water.nc",
            "temperature_variable": "t", "salinity_variable": "s",
        },
        "forcing": {"source": "file", "files": entries},
    }  # fmt: skip
    (here / "sea.yaml").write_text(yaml.safe_dump(tree))


def test_an_experiment(here, capsys):
    write_experiment(here)
    assert main(["inputs", "sea.yaml"]) == 0
    said = capsys.readouterr().out
    for part in (
        "bathymetry\n", "taken for depth", "initial.temperature\n",
        "in_situ, converted for TEOS-10",
        "initial.salinity\n", "levels     5, 0 to 2000 m", "forcing.files.sst\n",
        "unit       degC, from 'K'", "12 records, in the order of a year",
    ):  # fmt: skip
        assert part in said, said


def test_an_experiment_with_inputs_that_are_refused(here, capsys):
    """All of them are named at once, not the first alone."""
    write_experiment(
        here,
        sss={"path": "sss.nc", "variable": "g"},
        heat_flux={"path": "sst.nc", "variable": "f"},
    )
    assert main(["inputs", "sea.yaml"]) == 3
    said = capsys.readouterr().out
    assert said.count("refused") == 2 and "taken for sst" in said
    assert "no variable 'g'" in said and "forcing.files.heat_flux.unit" in said


def test_an_experiment_without_files(here, capsys):
    assert main(["inputs", "gyre"]) == 0
    assert "reads no netCDF files" in capsys.readouterr().out


def test_a_dry_run_shows_them_too(here, capsys):
    write_experiment(here)
    assert main(["run", "sea.yaml", "--dry-run", "--days", "1"]) == 0
    assert "forcing.files.sst\n" in capsys.readouterr().out
    assert not (here / "output").exists()
