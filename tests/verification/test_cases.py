"""The verification cases in short and coarse forms; and that they notice a broken model."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from dogcm.cli import main
from dogcm.components import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.verification.cases import Bench, Case, Measure, Outcome, Panel, find, ready
from dogcm.verification.cases.inertial import InertialPeriod
from dogcm.verification.cases.lock_exchange import LockExchange
from dogcm.verification.cases.seamount import Seamount

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")


def bench(**settings) -> Bench:
    return Bench({k.replace("__", "."): v for k, v in settings.items()}, comm=SerialCommunicator())


def failed(outcome: Outcome) -> list[str]:
    return [m.name for m in outcome.measures if not m.passed]


def test_lock_exchange_and_a_gravity_that_is_off():
    case = LockExchange(hours=5.0, layers=10, width=1000.0)
    sound = case.run(bench())
    assert not failed(sound), sound.measures
    assert len(sound.panels) == 2
    broken = case.run(bench(physics__gravity=0.9 * 9.81))
    assert "front of warm water, over theory" in failed(broken)


def test_seamount():
    """In six hours the currents of the two pressure gradients have come apart."""
    outcome = Seamount(width=10e3, days=0.25).run(bench())
    by_layer, true, usual = (m.value for m in outcome.measures)
    assert by_layer < 1e-10 < true < 0.5 * usual


def test_inertial_period():
    outcome = InertialPeriod(days=1.5, rows=20).run(bench())
    assert not failed(outcome), outcome.measures


# ---- the command
class Known(Case):
    """A case of one's own, with figures that are known."""

    title = "known"
    source = "here"
    value: float = 1.0

    def run(self, bench: Bench) -> Outcome:
        x = np.arange(3.0)
        line = Panel("a line", "x", "y", {"one": (x, x), "two": (x, 2 * x)})
        section = Panel("a section", "x", "z", image=x[None], image_x=[0, 1, 2, 3], image_y=[0, 1])
        wide = bench.settings.get("physics.gravity", 9.81)
        measures = (Measure("gravity", wide, "m s-2", 9.8, 9.9), Measure("told", self.value, "1"))
        return Outcome(measures, (line, section))


OWN = f"{__name__}:Known"


def test_the_command_writes_a_table_and_a_picture(tmp_path, capsys):
    assert main(["verify", "cases", OWN, "--output", str(tmp_path / "out")]) == 0
    assert "passed" in capsys.readouterr().out
    with open(tmp_path / "out" / "cases.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["case"], r["figure"], r["value"], r["passed"]) for r in rows] == [
        (OWN, "gravity", "9.81", "yes"),
        (OWN, "told", "1", ""),
    ]
    assert (tmp_path / "out" / "Known.png").stat().st_size > 5000


def test_the_command_falls_short_and_refuses(capsys):
    assert main(["verify", "cases", OWN, "--set", "physics.gravity=8.8"]) == 1
    assert "FELL SHORT" in capsys.readouterr().out
    for words, says in (
        (["cases", "lock_exchnge"], "lock_exchange"),
        (["cases", "--steps", "3"], "--steps"),
        (["layout", "lock_exchange"], "names are those of cases"),
    ):
        assert main(["verify", *words]) == 2
        assert says in capsys.readouterr().err


def test_a_number_that_is_none_never_passes():
    assert not Measure("x", float("nan"), "1").passed
    assert not Measure("x", float("inf"), "1", 0.0).passed
    assert Measure("x", 2.0, "1", 1.0, 3.0, own=True).threshold == "1 to 3 (own)"


def test_every_case_says_where_it_is_from():
    cases = ready(dear=True)
    assert {"lock_exchange", "seamount", "inertial_period"} <= {c.name() for c in cases}
    assert all(c.title and c.source for c in cases)
    assert len(ready()) <= len(cases)
    with pytest.raises(ConfigError):
        find("none")
