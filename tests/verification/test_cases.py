"""The verification cases in short and coarse forms; and that they notice a broken model."""

from __future__ import annotations

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dogcm.cli import main
from dogcm.components import ConfigError
from dogcm.decomp import SerialCommunicator
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.verification.cases import Bench, Case, Measure, Outcome, Panel, find, ready
from dogcm.verification.cases.baroclinic_channel import BaroclinicChannel
from dogcm.verification.cases.cosine_bell import CosineBell
from dogcm.verification.cases.eady import LENGTH, WIDTH, Eady, growth_rate
from dogcm.verification.cases.inertial import InertialPeriod
from dogcm.verification.cases.internal_wave import InternalWave
from dogcm.verification.cases.kato_phillips import KatoPhillips
from dogcm.verification.cases.lock_exchange import LockExchange
from dogcm.verification.cases.manufactured import (
    DEPTH,
    ManufacturedSolution,
    sea_level,
    velocity,
)
from dogcm.verification.cases.merry_go_round import MerryGoRound
from dogcm.verification.cases.overflow import Overflow
from dogcm.verification.cases.seamount import Seamount

pytestmark = [
    pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank"),
    pytest.mark.optimised,
]


def bench(**settings) -> Bench:
    return Bench({k.replace("__", "."): v for k, v in settings.items()}, comm=SerialCommunicator())


def failed(outcome: Outcome) -> list[str]:
    return [m.name for m in outcome.measures if not m.passed]


@pytest.mark.slow
def test_lock_exchange():
    outcome = LockExchange(hours=5.0, layers=10, width=1000.0).run(bench())
    assert not failed(outcome), outcome.measures
    assert len(outcome.panels) == 2


@pytest.mark.slow
def test_seamount():
    """In six hours the currents of the two pressure gradients have come apart."""
    outcome = Seamount(width=10e3, days=0.25).run(bench())
    by_layer, true, usual = (m.value for m in outcome.measures)
    assert by_layer < 1e-10 < true < 0.5 * usual


@pytest.mark.slow
def test_overflow():
    outcome = Overflow(width=4e3, layers=40, days=1, step=120.0, viscosities=[500.0]).run(bench())
    assert not failed(outcome), outcome.measures
    assert outcome["front after a day, 500 m2/s"].value < 200.0


def test_inertial_period():
    outcome = InertialPeriod(days=1.5, rows=20).run(bench())
    assert not failed(outcome), outcome.measures


def test_cosine_bell():
    outcome = CosineBell(cells=[60, 120], schemes=["dst3_split", "dst3_limited"]).run(bench())
    assert outcome["order, dst3_split"].value > 1.2
    # Fluxes that see nothing of each other are first order at best: the case tells.
    assert "order, dst3_limited" in failed(outcome)
    assert errors_of(outcome, "dst3_split") < 0.75 * errors_of(outcome, "dst3_limited")


@pytest.mark.slow
def test_merry_go_round():
    outcome = MerryGoRound(widths=[25.0, 12.5], schemes=["ppm", "upwind"]).run(bench())
    assert outcome["order, ppm"].value > 1.0
    assert "order, upwind" in failed(outcome)
    assert errors_of(outcome, "ppm") < 0.5 * errors_of(outcome, "upwind")


def errors_of(outcome: Outcome, scheme: str) -> float:
    return outcome[f"error on the finest grid, {scheme}"].value


@pytest.mark.slow
def test_internal_wave_and_a_gravity_that_is_off():
    case = InternalWave(width=10e3, layers=10, days=3.0, amplitude=0.5)
    sound = case.run(bench())
    assert not failed(sound), sound.measures
    broken = case.run(bench(physics__gravity=0.9 * 9.81))
    assert failed(broken) == ["frequency of the first hump over theory"]
    assert broken.measures[0].value == pytest.approx(0.9**0.5 * sound.measures[0].value, rel=0.01)


def test_eady():
    outcome = Eady(width=24e3, layers=8, days=16.0, step=1800.0).run(bench())
    assert outcome.measures[0].value == pytest.approx(1.0, abs=0.15)
    assert growth_rate(2 * np.pi / LENGTH, 0.0) > growth_rate(2 * np.pi / LENGTH, np.pi / WIDTH)
    # The fastest wave of an endless channel: 0.3098 f / N times the shear (Vallis 2017, 9.5).
    fastest = max(growth_rate(k, 0.0) for k in np.linspace(1e-5, 5e-5, 400))
    assert fastest == pytest.approx(0.3098 * 1e-4 / 5e-3 * 4e-4, rel=1e-3)


def test_baroclinic_channel():
    outcome = BaroclinicChannel(width=20e3, layers=5, days=2.0).run(bench())
    assert not failed(outcome), outcome.measures
    assert outcome["energy of eddies"].value > 1e-6


@pytest.mark.slow
def test_manufactured_solution():
    outcome = ManufacturedSolution(cells=[16, 32]).run(bench())
    assert outcome["order, flow"].value > 1.0


def test_the_forces_of_the_manufactured_solution_hold_its_sea_level():
    """The rate of sea level is what its transport converges."""
    x, y, t = jnp.float64(1.3e6), jnp.float64(2.9e6), jnp.float64(4e3)
    transport = lambda x, y, n: velocity(x, y, t)[n] * (DEPTH + sea_level(x, y, t))
    converged = jax.grad(transport, 0)(x, y, 0) + jax.grad(transport, 1)(x, y, 1)
    assert float(jax.grad(sea_level, 2)(x, y, t)) == pytest.approx(-float(converged), rel=1e-10)


def test_kato_phillips():
    outcome = KatoPhillips(schemes=["tke"]).run(bench())
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
