"""Bad input is refused before the first step: one clear message, an exit status, nothing lost or
left."""

from __future__ import annotations

import shutil
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from dogcm.cli import main
from dogcm.decomp.binding import looks_like_mpi_launch

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="commands of one rank")

# A sea of 12 x 10 cells that reads all its input from files; no test here gets as far as compiling
# it.
SEA = """
name: sea
grid: {kind: latlon, nx: 12, ny: 10, lon: [0, 48], lat: [10, 50], layers: [50, 200, 750]}
bathymetry: {source: file, path: topography.nc, min_depth: 50}
initial: {source: file, path: hydrography.nc}
forcing: {source: file, files: {sst: {path: sst.nc, variable: sst}}}
"""
LAT, LON, DEPTH = (
    np.arange(5.0, 56.0, 2.5),
    np.arange(-5.0, 55.0, 2.5),
    np.array([0.0, 100.0, 500.0, 1000.0]),
)


def topography() -> xr.Dataset:
    elevation = np.full((LAT.size, LON.size), -900.0)
    elevation[:3], elevation[-3:], elevation[:, :3], elevation[:, -3:] = 100.0, 100.0, 100.0, 100.0
    return xr.Dataset({"elevation": (("lat", "lon"), elevation, {"units": "m"})}, _axes())


def hydrography() -> xr.Dataset:
    shape = (DEPTH.size, LAT.size, LON.size)
    t = np.broadcast_to((20.0 - DEPTH / 100)[:, None, None], shape)
    axes = _axes() | {"depth": ("depth", DEPTH, {"units": "m", "positive": "down"})}
    return xr.Dataset(
        {
            "conservative_temperature": (("depth", "lat", "lon"), t.copy(), {"units": "degC"}),
            "absolute_salinity": (
                ("depth", "lat", "lon"),
                np.full(shape, 35.0),
                {"units": "g kg-1"},
            ),
        },
        axes,
    )


def sst() -> xr.Dataset:
    axes = _axes() | {"month": ("month", np.arange(12.0), {"axis": "T"})}
    values = np.full((12, LAT.size, LON.size), 18.0)
    return xr.Dataset({"sst": (("month", "lat", "lon"), values, {"units": "degC"})}, axes)


def _axes() -> dict:
    return {
        "lat": ("lat", LAT, {"units": "degrees_north"}),
        "lon": ("lon", LON, {"units": "degrees_east"}),
    }


@pytest.fixture
def sea(tmp_path, monkeypatch) -> Path:
    """A folder with sound input files; the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    Path("sea.yaml").write_text(SEA)
    topography().to_netcdf("topography.nc")
    hydrography().to_netcdf("hydrography.nc")
    sst().to_netcdf("sst.nc")
    return tmp_path


def rewrite(name: str, change) -> None:
    with xr.open_dataset(name, decode_times=False) as data:
        changed = change(data.load())
    changed.to_netcdf(name)


def refused(capsys, *words: str, sets=(), experiment="sea.yaml") -> str:
    """The one message with which a run is refused, without a step or an output folder."""
    options = [w for s in sets for w in ("--set", s)]
    status = main(["run", experiment, "--days", "1", "--output", "out", *options])
    out, err = capsys.readouterr()
    assert status in (2, 3), err
    assert (
        err.startswith("dogcm: error") and err.count("dogcm: error") == 1 and "Traceback" not in err
    )
    assert "day 1" not in out and not Path("out").exists()
    for word in words:
        assert word in err
    return err


def test_the_sound_sea_is_accepted(sea):
    """So that the refusals below are for the defects alone."""
    from dogcm.simulation.model import Model

    model = Model("sea.yaml")
    assert float(model.grid.mask_c.interior.sum()) > 50
    assert list(model.forcing.records) == ["sst"]


# ---- files
@pytest.mark.parametrize("name", ["topography.nc", "hydrography.nc", "sst.nc"])
def test_missing_file(sea, name, capsys):
    Path(name).unlink()
    refused(capsys, name)


@pytest.mark.parametrize("name", ["topography.nc", "hydrography.nc", "sst.nc"])
def test_truncated_file(sea, name, capsys):
    Path(name).write_bytes(Path(name).read_bytes()[:1500])
    refused(capsys, name)


def test_file_of_another_format(sea, capsys):
    Path("topography.nc").write_text("not netCDF")
    refused(capsys, "topography.nc", "netCDF")


def test_misspelt_variable(sea, capsys):
    refused(capsys, "elevatoin", "did you mean elevation", sets=["bathymetry.variable=elevatoin"])


def test_folder_without_the_raw_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "mitgcm_4deg", "--inputs", str(tmp_path)]) == 3
    assert "bathymetry.bin" in capsys.readouterr().err


def test_raw_file_of_another_size(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("bathymetry.bin").write_bytes(b"12345678")
    assert main(["run", "mitgcm_4deg", "--inputs", str(tmp_path)]) in (2, 3)
    assert "8 bytes" in capsys.readouterr().err


# ---- what is in them
def test_wrong_dimensions(sea, capsys):
    rewrite("topography.nc", lambda d: d.rename(lat="row").drop_vars("row"))
    refused(capsys, "topography.nc", "row")


def test_volume_without_depth(sea, capsys):
    rewrite("hydrography.nc", lambda d: d.isel(depth=0, drop=True))
    refused(capsys, "hydrography.nc", "depth")


def test_coordinate_that_goes_back_and_forth(sea, capsys):
    def change(data):
        lat = data.lat.values.copy()
        lat[4] = lat[6]
        return data.assign_coords(lat=("lat", lat, data.lat.attrs))

    rewrite("topography.nc", change)
    refused(capsys, "topography.nc", "lat", "monotonic")


@pytest.mark.parametrize(
    "unit, says", [("cubits of Noah", "cubits of Noah"), ("kg", "kg"), ("degC", "degC")]
)
def test_wrong_unit(sea, unit, says, capsys):
    rewrite("topography.nc", lambda d: d.assign(elevation=d.elevation.assign_attrs(units=unit)))
    refused(capsys, says)


def test_nan_in_ocean_cells(sea, capsys):
    def change(data):
        data["conservative_temperature"][1:3, 9:14, 9:14] = np.nan
        return data

    rewrite("hydrography.nc", change)
    refused(capsys, "temperature", "ocean cells have no valid value", "lat", "lon", "depth")


def test_nan_in_the_forcing(sea, capsys):
    def change(data):
        data["sst"][6, 8:15, 8:15] = np.nan
        return data

    rewrite("sst.nc", change)
    refused(capsys, "sst", "record 7", "lat")


def test_bathymetry_without_ocean(sea, capsys):
    rewrite("topography.nc", lambda d: d.assign(elevation=abs(d.elevation).assign_attrs(units="m")))
    refused(capsys, "elevation", "bathymetry.sign: down")


def test_unknown_forcing_field(sea, capsys):
    refused(capsys, "wind", "taux", sets=["forcing.files={wind: {path: sst.nc, variable: sst}}"])


# ---- layout, intervals, output
def test_layout_that_does_not_fit(sea, capsys):
    assert main(["run", "sea.yaml", "--layout", "6x1"]) == 2
    assert "narrower than the halo" in capsys.readouterr().err


def test_output_interval_that_is_no_whole_number_of_steps(sea, capsys):
    refused(
        capsys,
        "whole number of steps",
        "run.output.a",
        sets=["run.output={a: {variables: [eta], every: 0.03}}"],
    )


def test_unknown_output_variable(sea, capsys):
    refused(
        capsys,
        "temprature",
        "temperature",
        sets=["run.output={a: {variables: [temprature], every: 1}}"],
    )


@pytest.mark.parametrize("target", ["occupied", "occupied/below"])
def test_unwritable_folder(sea, target, capsys):
    """A file stands where the folder should be: refused for everybody, root as well."""
    Path("occupied").write_text("mine")
    assert main(["run", "sea.yaml", "--days", "1", "--output", target]) == 3
    assert "occupied" in capsys.readouterr().err
    assert Path("occupied").read_text() == "mine"


# ---- restarts
GYRE = [
    "--set",
    "grid.nx=12",
    "--set",
    "grid.ny=10",
    "--set",
    "grid.nz=3",
    "--set",
    "time.free_surface.barotropic_steps=20",
    "--set",
    "run.output={}",
]


@pytest.fixture(scope="module")
def run_before(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad") / "out"
    assert main(["run", "gyre", "--days", "1", "--output", str(folder), "--quiet", *GYRE]) == 0
    return folder


@pytest.fixture
def earlier(run_before, tmp_path) -> Path:
    return Path(shutil.copytree(run_before, tmp_path / "out"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def restart_refused(capsys, folder: Path, *options: str) -> str:
    before = contents(folder)
    status = main(["restart", str(folder), "--days", "1", *options])
    err = capsys.readouterr().err
    assert status in (2, 3) and err.count("dogcm: error") == 1, err
    assert contents(folder) == before, "a refused restart changed the folder"
    return err


def test_restart_of_another_grid(earlier, capsys):
    assert "another grid" in restart_refused(capsys, earlier, "--set", "grid.nx=14")


def test_damaged_restart(earlier, capsys):
    path = next(earlier.glob("restart_*.nc"))
    with netCDF4.Dataset(path, "a") as data:
        data["temperature"][0, 4, 4] += 1e-9
    assert "checksum of temperature" in restart_refused(capsys, earlier)


def test_truncated_restart(earlier, capsys):
    path = next(earlier.glob("restart_*.nc"))
    path.write_bytes(path.read_bytes()[:2000])
    assert path.name in restart_refused(capsys, earlier)


def test_truncated_restart_of_zarr(earlier, capsys):
    """It is the restart that is meant, not a folder with restarts."""
    path = earlier / "restart_000000012.zarr"
    path.mkdir()
    (path / "zarr.json").write_text('{"attributes": {"time": 1e9')
    assert f"{path} is damaged or not a restart" in restart_refused(capsys, path)


def test_folder_without_restart(earlier, capsys):
    for path in earlier.glob("restart_*.nc"):
        path.unlink()
    assert "no restart" in restart_refused(capsys, earlier)


TKE = ["--set", "physics.vertical_mixing=tke"]


def test_restart_without_what_a_scheme_carries(earlier, capsys):
    assert "--cold vertical_mixing" in restart_refused(capsys, earlier, *TKE)
    err = restart_refused(capsys, earlier, *TKE, "--cold", "eddies")
    assert "--cold eddies" in err and "known here: vertical_mixing" in err
    assert main(["restart", str(earlier), "--days", "1", *TKE, "--cold", "vertical_mixing"]) == 0


def test_cold_needs_a_restart(tmp_path, capsys):
    words = ["run", "gyre", "--cold", "vertical_mixing", "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_restart_without_its_configuration(earlier, capsys):
    (earlier / "config.yaml").unlink()
    assert "config.yaml is missing" in restart_refused(capsys, earlier)


def test_a_new_run_does_not_replace_an_old_one_unasked(earlier, capsys):
    before = contents(earlier)
    assert main(["run", "gyre", "--days", "1", "--output", str(earlier), *GYRE]) == 3
    assert "--overwrite" in capsys.readouterr().err
    assert contents(earlier) == before


def test_blown_up_run_has_its_own_status(tmp_path, capsys):
    status = main(
        [
            "run",
            "gyre",
            "--days",
            "40",
            "--output",
            str(tmp_path / "out"),
            *GYRE,
            "--quiet",
            "--set",
            "forcing.wind_amplitude=20",
            "--set",
            "time.step=43200",
        ]
    )
    err = capsys.readouterr().err
    assert status == 4, err
    assert "blew up" in err and "rank 0" in err
