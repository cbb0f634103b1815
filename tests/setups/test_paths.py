"""A run that goes on in another folder reads the files that were meant where it began."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import dogcm
from dogcm.decomp import SerialCommunicator
from dogcm.setups import inputs
from dogcm.setups.paths import absolute_paths, with_inputs
from dogcm.setups.registry import load_config
from dogcm.simulation.folder import configuration_text, write_config

SEA = {
    "name": "sea",
    "grid": {"nx": 6, "ny": 5, "lon": [10, 34], "lat": [10, 30], "layers": [100, 400, 1500]},
    "bathymetry": {"source": "file", "path": "data/topography.nc"},
    "forcing": {"files": {"sst": {"path": "sst.nc", "variable": "sst", "range": [0, 40]}}},
}


def write_inputs(folder: Path, depth: float, warmth: float) -> None:
    lat = ("lat", np.arange(8.0, 33.0, 2.0), {"units": "degrees_north"})
    lon = ("lon", np.arange(8.0, 37.0, 2.0), {"units": "degrees_east"})
    shape = len(lat[1]), len(lon[1])
    field = lambda value, unit: (("lat", "lon"), np.full(shape, value), {"units": unit})
    axes = {"lat": lat, "lon": lon}
    (folder / "data").mkdir(parents=True)
    xr.Dataset({"elevation": field(-depth, "m")}, axes).to_netcdf(folder / "data" / "topography.nc")
    xr.Dataset({"sst": field(warmth, "degC")}, axes).to_netcdf(folder / "sst.nc")


@pytest.fixture
def two_folders(tmp_path) -> tuple[Path, Path]:
    """Files of the same names with other values."""
    write_inputs(tmp_path / "here", 1500.0, 20.0)
    write_inputs(tmp_path / "there", 300.0, 5.0)
    return tmp_path / "here", tmp_path / "there"


def understood(config) -> tuple[float, float]:
    """Depth of the sea and its surface temperature, as they are read."""
    horizontal, vertical = inputs.horizontal_grid(config), inputs.vertical_grid(config)
    cells = inputs.cell_thickness(config, horizontal, vertical)
    sst = inputs.record(config, "sst", horizontal, cells[0] > 0)
    return cells.sum(0).max(), sst.max()


def test_a_configuration_that_is_kept_means_the_same_files(two_folders, monkeypatch):
    here, there = two_folders
    monkeypatch.chdir(here)
    config = load_config(SEA)
    assert understood(config) == pytest.approx((1500.0, 20.0))
    write_config(here, config)
    (here / "inside.json").write_text(configuration_text(config))
    monkeypatch.chdir(there)
    assert understood(load_config(SEA)) == pytest.approx((300.0, 5.0))
    for kept in (here / "config.yaml", json.loads((here / "inside.json").read_text())):
        assert understood(load_config(kept)) == pytest.approx((1500.0, 20.0))


def test_the_folder_of_the_inputs(two_folders, tmp_path):
    """Paths of a file or dict count from it, as on the command line (``--inputs``)."""
    here, there = two_folders
    (tmp_path / "sea.yaml").write_text(yaml.safe_dump(SEA))
    for source in (SEA, str(tmp_path / "sea.yaml")):
        assert understood(with_inputs(source, {}, here)) == pytest.approx((1500.0, 20.0))
        assert understood(with_inputs(source, {}, there)) == pytest.approx((300.0, 5.0))
    away = {"forcing.files.sst.path": str(here / "sst.nc")}
    assert understood(with_inputs(SEA, away, there)) == pytest.approx((300.0, 20.0))
    profile = {"source": "file", "path": "a.nc", "temperature_file": {"path": "t.nc"}}
    config = with_inputs(SEA | {"initial": profile}, {}, here)
    assert config.initial.path == str(here / "a.nc")
    assert config.initial.temperature_file.path == str(here / "t.nc")


def test_paths_of_overrides_count_from_the_working_directory(two_folders, monkeypatch):
    here, there = two_folders
    monkeypatch.chdir(there)
    away = {"bathymetry.path": "data/topography.nc", "forcing.files.sst.path": "sst.nc"}
    assert understood(with_inputs(SEA, away, here)) == pytest.approx((300.0, 5.0))
    shallow = {"bathymetry.path": "data/topography.nc"}
    assert understood(with_inputs(SEA, shallow, here)) == pytest.approx((300.0, 20.0))
    given = {"bathymetry": {"source": "file", "path": "mine.nc"}}
    assert with_inputs(SEA, given, here).bathymetry.path == "mine.nc"


def test_a_grid_from_a_file_of_the_folder(tmp_path):
    entry = {"kind": "file", "path": "hgrid.nc", "layers": [100, 400]}
    for source in ({"grid": entry}, load_config({"grid": entry})):
        assert with_inputs(source, {}, tmp_path).grid.path == str(tmp_path / "hgrid.nc")
        assert with_inputs(source, {"grid.path": "mine.nc"}, tmp_path).grid.path == "mine.nc"


def test_sources_that_are_a_folder(tmp_path):
    """By the experiment or by an override; a path that is given is kept."""
    found = with_inputs("mitgcm_4deg", {"initial.path": "mine"}, tmp_path)
    paths = [found.bathymetry.path, found.initial.path, found.forcing.path]
    assert paths == [str(tmp_path), "mine", str(tmp_path)]
    found = with_inputs("mitgcm_4deg", ["forcing.source=two_basin"], tmp_path)
    assert found.forcing.path == ""
    found = with_inputs("global_4deg", ["forcing.source=mitgcm"], tmp_path)
    assert (found.forcing.path, found.initial.path) == (str(tmp_path), "")


def test_the_folder_of_the_inputs_in_python(two_folders):
    model = dogcm.Model(SEA, {"run.output": {}}, inputs=two_folders[1], comm=SerialCommunicator())
    assert float(model.grid.depth_c.interior.max()) == pytest.approx(300.0)


def test_nothing_but_paths_changes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tree = load_config("global_4deg").model_dump(mode="json")
    assert absolute_paths(tree) == tree
    tree["forcing"]["files"] = {"sst": {"path": "a/b.nc"}, "sss": {"path": "/c.nc"}}
    found = absolute_paths(tree)["forcing"]["files"]
    assert found == {"sst": {"path": str(tmp_path / "a" / "b.nc")}, "sss": {"path": "/c.nc"}}
    for name in ("corrector.npz", "best"):
        found = absolute_paths({"corrector": {"weights": name}})
        assert found == {"corrector": {"weights": str(tmp_path / name)}}
    assert absolute_paths({"weights": "shipped"}) == {"weights": "shipped"}
    assert yaml.safe_load(configuration_text(load_config("gyre")))["name"] == "gyre"
