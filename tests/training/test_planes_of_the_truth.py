"""What the study of closures with memory reads of the truth."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "memory_closure"))

from planes import Truth, TruthError, read_truth

NY, NX = 4, 6
SHAPES = {
    "concentration": ("case", "time", "y", "x"), "mask": ("y", "x"), "u": ("y", "x_face"),
    "v": ("y_face", "x"), "eddy_diffusivity": ("y", "x"), "open_x": ("y", "x_face"),
    "open_y": ("y_face", "x"), "time": ("time",), "flow": ("case",), "source_travel": ("case",),
    **{f"source_{n}": ("case", "source") for n in ("x", "y", "end_x", "end_y", "strength")},
}  # fmt: skip


def write(path, version=1, **values) -> Path:
    sizes = dict(case=2, time=3, y=NY, x=NX, y_face=NY + 1, x_face=NX + 1, source=1)
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"version": version, "family": "truth", "plane_spacing": 0.5})
        file.plane_thickness = 0.5
        for name, size in sizes.items():
            file.createDimension(name, size)
        for name, axes in SHAPES.items():
            file.createVariable(name, "f8", axes)[:] = values.get(name, 1.0)
        file["u"][:] = file["v"][:] = 0.0
        file["time"][:] = [0, 4, 8]
        file["flow"][:] = 0
        file.createVariable("split", str, ("case",))[:] = np.array(["train", "test"], object)
    return path


def test_a_truth_is_read(tmp_path):
    truth = read_truth(write(tmp_path / "truth.nc", source_end_x=2.0, source_travel=10.0))
    assert (truth.shape, truth.cell) == ((NY, NX), (0.5, 0.5, 0.5))
    assert truth.train.tolist() == [True, False] and truth.moves()
    rates = truth.sources([1], 20.0, 2.0)
    assert rates.shape == (10, 1, NY, NX)
    np.testing.assert_allclose(rates.sum((1, 2, 3)) * 0.5**3, 1.0)  # kg s-1
    where = [int(np.argwhere(r[0])[0, 1]) for r in rates]
    assert where[0] == 2 and where[-1] == 4 and sorted(where) == where


def test_what_is_no_truth_of_this_room_is_refused(tmp_path):
    path = write(tmp_path / "truth.nc")
    truth = read_truth(path)
    with pytest.raises(TruthError, match="another grid: \\(4, 6\\) cells of \\(0.5, 0.5, 0.5\\) m"):
        read_truth(path, replace(truth, cell=(1.0, 1.0, 0.5)))
    with pytest.raises(TruthError, match="has version 7"):
        read_truth(write(tmp_path / "new.nc", version=7))
    with pytest.raises(TruthError, match="x = 3.5 m, y = 1 m is outside the plane"):
        read_truth(write(tmp_path / "far.nc", source_x=3.5, source_end_x=3.5))
    with pytest.raises(TruthError, match="truth.py make absent"):
        read_truth(tmp_path / "absent.nc")
    assert isinstance(truth, Truth)
