"""The truth of the study of surface tracers: releases in a shelf sea of dogcm."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import netCDF4
import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "training" / "surface_tracer" / "truth.py"


def load():
    spec = importlib.util.spec_from_file_location("surface_tracer_truth", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_releases_enter_the_first_layer_and_are_kept(tmp_path):
    truth = load()
    begin, end = (100e3, 150e3), (300e3, 150e3)
    common = {"since": 0.125, "until": 0.625}
    made = {
        "still": truth.Release(begin=begin, end=begin, **common),
        "moving": truth.Release(begin=begin, end=end, rate=2.0, **common),
    }
    truth.make(tmp_path / "file.nc", made, ["train", "test"], 0.5, tmp_path / "run")
    with netCDF4.Dataset(tmp_path / "file.nc") as file:
        value = {n: np.asarray(file[n][:], np.float64) for n in truth.FIELDS}
        assert list(file["split"][:]) == ["train", "test"]
    np.testing.assert_allclose(value["time"], np.arange(5) * 10800.0)
    emitted = value["source_strength"][:, None] * value["time"]
    np.testing.assert_allclose(value["inventory"], emitted, rtol=2e-3)
    first = value["concentration"] * value["thickness"]
    share = first.sum((2, 3))[:, 1:] * truth.CELL**2 / emitted[:, 1:]
    assert (share < 1.0).all() and (share > 0.2).all()
    new = np.diff(first[1], axis=0).sum(1)
    np.testing.assert_allclose(
        (new * value["x"]).sum(1) / new.sum(1), [125e3, 175e3, 225e3, 275e3], atol=8e3
    )
    assert np.abs(value["u"]).max() > 0.01
    assert (value["u"][..., 0] == 0).all() and (value["v"][:, -1] == 0).all()


def test_releases_are_trained_and_tested_and_some_move():
    truth = load()
    made, splits = truth.releases(20.0, 60.0)
    moving = [r.begin != r.end for r in made.values()]
    assert splits.count("train") == 12 and splits.count("test") == 12
    assert sum(moving) == 2 and all(s == "test" for s, m in zip(splits, moving) if m)
    ends = [r.stops - r.since for r in made.values()]
    assert ends[::2] == [60.0] * 12 and ends[1::2] == [5.0] * 12
