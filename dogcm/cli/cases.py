"""``dogcm verify cases``: the field's verification cases as a table beside published values."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from dogcm.cli.console import console
from dogcm.cli.errors import FELL_SHORT, OK
from dogcm.components.errors import ConfigError
from dogcm.decomp import world
from dogcm.io.root import on_root
from dogcm.io.whole import whole_file
from dogcm.plots.cases import draw_panels
from dogcm.setups.registry import as_settings
from dogcm.verification.cases import Bench, Case, Outcome, find, ready

COLUMNS = ("case", "figure", "value", "unit", "low", "high", "own", "passed", "beside", "source")


def refuse(**options) -> None:
    """Options that cases have no use for.

    Raises:
        ConfigError: one of them is given.
    """
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"dogcm verify cases: --{name} has no meaning here; leave it out")


def verify_cases(
    names: list[str],
    sets: list[str],
    precision: str | None,
    layout: str,
    dear: bool,
    output: str | None,
) -> int:
    """Run the cases and print their figures; 1 where one is beyond its threshold.

    Args:
        names: which; none: all that ship, dear ones if ``dear``. sets: ``key=value`` for the
            configuration of all their models. output: folder of ``cases.csv`` and pictures, or
            None.
    """
    settings = as_settings(sets)
    if precision:
        settings["run.precision"] = precision
    chosen = [find(n) for n in names] or ready(dear)
    comm, out = world(), console()
    if output is not None:
        on_root(comm, _make, Path(output))
    bench = Bench(settings, layout, comm, lambda text: out.print(f"[dim]{escape(text)}[/]"))
    rows, passed = [], True
    for case in chosen:
        began = time.perf_counter()
        outcome = case.run(bench)
        out.print(f"[bold]{case.name()}[/]: {case.title}, {time.perf_counter() - began:.0f} s")
        out.print(_table(outcome))
        out.print(f"source: {escape(case.source)}\n")
        passed &= outcome.passed
        rows += rows_of(case, outcome)
        if output is not None:
            on_root(comm, _write, Path(output), case, outcome, rows)
    verdict = "[green]passed[/]" if passed else "[red]FELL SHORT[/]"
    out.print(
        f"{verdict}: every figure within its threshold; those marked own are set around the values "
        "of this model, for want of published ones"
    )
    return OK if passed else FELL_SHORT


def _table(outcome: Outcome) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("figure", "value", "unit", "threshold", "ok", "beside"):
        table.add_column(name)
    for m in outcome.measures:
        ok = "[red]NO[/]" if not m.passed else "yes" if m.judged else ""
        value = f"{m.value:.4g}"
        table.add_row(escape(m.name), value, m.unit, m.threshold, ok, escape(m.beside))
    return table


def rows_of(case: Case, outcome: Outcome) -> list[dict]:
    """A line of ``cases.csv`` for each figure, with the columns of :data:`COLUMNS`."""
    return [
        {
            "case": case.name(),
            "figure": m.name,
            "value": f"{m.value:.6g}",
            "unit": m.unit,
            "low": f"{m.low:g}",
            "high": f"{m.high:g}",
            "own": "yes" if m.own else "",
            "passed": ("yes" if m.passed else "no") if m.judged or not m.passed else "",
            "beside": m.beside,
            "source": case.source,
        }
        for m in outcome.measures
    ]


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _write(folder: Path, case: Case, outcome: Outcome, rows: list[dict]) -> None:
    with (
        whole_file(folder / "cases.csv") as part,
        open(part, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if outcome.panels:
        draw_panels(outcome.panels, folder / f"{case.name().rpartition(':')[2]}.png")
