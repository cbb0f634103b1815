"""The command ``dogcm spinup``."""

from __future__ import annotations

import pytest
import yaml
from small_basins import basin_of

from dogcm.cli import main
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io.restart import latest_restart

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="commands of one rank")


@pytest.fixture
def experiment(tmp_path):
    """A windy basin as a file, with age."""
    config = basin_of({"age": {"kind": "ideal_age"}})
    config["forcing"] = {"source": "gyre"}
    config["time"] = {"step": 86400.0, "momentum_step": 7200.0}
    path = tmp_path / "basin.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_command_writes_a_restart_in_equilibrium(experiment, tmp_path, capsys):
    words = ["spinup", str(experiment), "-v", "age", "--method", "direct", "--tolerance", "0.2"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "age: residual 0." in said and "model-year equivalents; go on from" in said
    assert "residual 1.000e+00" in said, "progress"
    assert latest_restart(tmp_path / "out").exists()
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"equilibrium.npz", "config.yaml"}


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "name the tracers by --variable NAME; there are age"),
        (["-v", "agee"], "no passive tracer 'agee'; did you mean age?"),
        (["-v", "age", "--method", "newtonian"], "one of direct, anderson, newton"),
        (["-v", "age", "--tolerance", "-1"], "between 0 and 1"),
    ],
)
def test_bad_words_are_refused_in_one_line(experiment, words, message, capsys):
    assert main(["spinup", str(experiment), *words]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert message in err and "Traceback" not in err
