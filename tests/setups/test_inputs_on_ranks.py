"""Input that cannot be used is refused by one message on every rank, before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from toy_inputs import field, floor, sea, volume

from dogcm.cli import main
from dogcm.decomp.communicator import world
from dogcm.io.reading.errors import InputError
from dogcm.simulation.model import Model


def spoilt(what: str, folder: Path) -> dict:
    """The configuration of an experiment with one bad input."""
    path = str(folder / "bad.nc")
    if what == "floor":
        floor(lon=np.arange(200.0, 300, 4)).to_netcdf(path)
        return {"bathymetry.source": "file", "bathymetry.path": path}
    if what == "water":
        volume(np.full((5, 27, 25), 290.0)).to_netcdf(path)
        own = {"initial.temperature_variable": "t", "initial.salinity_variable": "s"}
        return {"initial.source": "file", "initial.path": path, **own}
    field(range(1, 12)).to_netcdf(path)
    return {"forcing.files": {"sst": {"path": path, "variable": "f"}}}


@pytest.mark.mpi(min_size=2)
@pytest.mark.parametrize("what", ["floor", "water", "forcing"])
def test_every_rank_is_told(tmp_path, what):
    comm = world()
    folder = Path(comm.broadcast(str(tmp_path)))
    change = comm.broadcast(spoilt(what, folder) if comm.rank == 0 else None)
    with pytest.raises(InputError, match="bad.nc") as refused:
        Model(sea(**change, **{"grid.nx": 16, "grid.ny": 16}), comm=comm)
    assert comm.broadcast(str(refused.value)) == str(refused.value)


@pytest.mark.mpi_skip
def test_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.nc"
    field(range(1, 12)).to_netcdf(path)
    files = f"forcing.files={{sst: {{path: {path}, variable: f}}}}"
    before = set(os.listdir())
    sets = ["grid.kind=latlon", "grid.lat=[-30,30]", "grid.lon=[60,100]", files]
    status = main(["run", "gyre", "--days", "1", *(w for s in sets for w in ("--set", s))])
    said = capsys.readouterr().err
    assert status in (2, 3) and said.count("dogcm: error") == 1 and "Traceback" not in said
    assert set(os.listdir()) == before
