"""The comparison with MITgcm: right numbers, the bar, one clear message for files that do not
fit."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import xarray as xr

from dogcm.cli import main
from dogcm.decomp import SerialCommunicator
from dogcm.setups.inputs import InputError
from dogcm.simulation.model import Model
from dogcm.verification import mitgcm_asynchronous as asynchronous
from dogcm.verification import mitgcm_twin
from dogcm.verification.mitgcm_twin import BAR, TwinRow, compare, reference_folder

NAMES = {"theta": "temperature", "salt": "salinity", "u": "u", "v": "v", "eta": "eta"}
OFFSET = {"theta": 0.02, "salt": 0.003, "u": 1e-4, "v": 2e-4, "eta": 1e-3}


@pytest.fixture(scope="module")
def model() -> Model:
    small = {"grid.nx": 12, "grid.ny": 10, "grid.nz": 3, "bathymetry.min_depth": 50.0}
    return Model("two_basin", small, comm=SerialCommunicator())


@pytest.fixture
def reference(model, tmp_path):
    """What would be MITgcm's results: the model's start with known offsets, and 1e20 on land."""
    data = {}
    wet = {
        n: model.gather(m) > 0
        for n, m in zip("cuv", (model.grid.mask_c, model.grid.mask_u, model.grid.mask_v))
    }
    for name, own in NAMES.items():
        values = model.gather(own)
        mask = wet[name if name in "uv" else "c"]
        values = np.where(mask[0] if values.ndim == 2 else mask, values + OFFSET[name], 1e20)
        dims = ("day", "lat", "lon") if values.ndim == 2 else ("day", "z", "lat", "lon")
        data[name] = (dims, values[None].astype("f4"))
    xr.Dataset(data, coords={"day": [30]}).to_netcdf(tmp_path / mitgcm_twin.STATES)
    with open(tmp_path / mitgcm_twin.YARDSTICK, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["day", "field", "rms_difference"])
        rows.writerows([30, name, value / 2.5] for name, value in OFFSET.items())
    return tmp_path


def test_differences_are_those_put_in(model, reference, monkeypatch):
    monkeypatch.setattr(model, "advance", lambda steps: None)
    rows = compare(model, reference, (30,), progress=None)
    found = {r.field: r for r in rows}
    # Cells whose own faces are shut hold missing values for u and v.
    for name in ("theta", "salt", "eta", "u", "v"):
        assert found[name].rms == pytest.approx(OFFSET[name], rel=2e-3), name
        assert found[name].ratio == pytest.approx(2.5, rel=2e-3)
    assert [r.field for r in rows if not r.passed] == ["theta", "salt"]


def test_bar():
    assert BAR == {"theta": 2, "salt": 2, "eta": 4, "u": 4, "v": 4}
    assert TwinRow(30, "u", 3.9, 1.0).passed and not TwinRow(30, "u", 4.1, 1.0).passed
    assert not TwinRow(30, "u", np.nan, 1.0).passed


def test_files_that_do_not_fit_are_refused(model, reference, tmp_path):
    with pytest.raises(InputError, match="--reference"):
        reference_folder(tmp_path / "inputs")
    assert reference_folder("nowhere", reference) == reference
    with pytest.raises(InputError, match="no day 90"):
        compare(model, reference, (30, 90), progress=None)
    other = Model(
        "two_basin", {"grid.nx": 14, "grid.ny": 10, "grid.nz": 3}, comm=SerialCommunicator()
    )
    with pytest.raises(InputError, match="grid of"):
        compare(other, reference, (30,), progress=None)


def test_command_line(model, reference, monkeypatch, capsys):
    """Exit status 1 where it falls short, and the table."""
    monkeypatch.setattr(model, "advance", lambda steps: None)
    monkeypatch.setattr("dogcm.cli.verifying.Model", lambda config, layout: model)
    words = [
        "verify",
        "mitgcm",
        "--inputs",
        str(reference),
        "--reference",
        str(reference),
        "--days",
        "30",
    ]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "FELL SHORT" in out and "theta" in out and "2.50" in out
    monkeypatch.setattr(mitgcm_twin, "BAR", dict.fromkeys(BAR, 3.0))
    assert main(words) == 0
    assert main(["verify", "mitgcm", "--inputs", str(reference), "--days", "3"]) != 0
    assert main(["verify", "mitgcm", "--experiment", "gyre"]) == 2


def test_the_asynchronous_run_has_its_table(model, tmp_path, monkeypatch, capsys):
    """Against a monitor that holds the model's own statistics, and then against one with other
    deviations."""
    monkeypatch.setattr(model, "advance", lambda steps: None)
    monkeypatch.setattr("dogcm.cli.verifying.Model", lambda config, layout: model)
    words = [
        "verify",
        "mitgcm",
        "--asynchronous",
        "--inputs",
        str(tmp_path),
        "--reference",
        str(tmp_path),
    ]
    assert main(words) != 0 and "--reference" in capsys.readouterr().err
    weights = asynchronous._weights(model)
    for wider, code in ((1.0, 0), (1.03, 1)):
        row = {}
        for name, own in NAMES.items():
            s = asynchronous.statistics(model.gather(own), weights[name])
            key = f"dynstat_{asynchronous._THEIRS.get(name, name)}_"
            # The others are uniform in this model.
            deviation = s.sd * wider if name == "theta" else s.sd or 1e-30
            row |= {
                f"{key}min": s.low,
                f"{key}max": s.high,
                f"{key}mean": s.mean,
                f"{key}sd": deviation,
            }
        with open(tmp_path / asynchronous.MONITOR, "w", newline="") as file:
            rows = csv.DictWriter(file, ["time_secondsf", *row])
            rows.writeheader()
            rows.writerows({"time_secondsf": 86400.0 * day, **row} for day in (1, 10))
        monkeypatch.setattr(
            asynchronous, "BAR", {**asynchronous.BAR, "eta": 2.0, "u": 2.0, "v": 2.0}
        )
        assert main(words) == code
        out = capsys.readouterr().out
        assert "MITgcm" in out and "theta" in out and ("FELL SHORT" in out) == bool(code)


@pytest.mark.slow
@pytest.mark.optimised
def test_a_month_beside_mitgcm(data_dir):
    """The real thing: every field within the bar, and with the same tracer advection far within."""
    inputs = data_dir / "mitgcm_4deg"
    paths = {f"{section}.path": str(inputs) for section in ("bathymetry", "initial", "forcing")}
    rows = compare(Model("mitgcm_4deg", paths), reference_folder(inputs), (30,), progress=None)
    assert all(row.passed for row in rows)
    assert max(row.ratio for row in rows) < 0.5, [(r.field, r.ratio) for r in rows]
