"""``dogcm verify``: the figures of :mod:`dogcm.verification.verify` as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from dogcm.cli.console import console
from dogcm.cli.errors import FELL_SHORT, OK
from dogcm.components.errors import ConfigError
from dogcm.setups.config import Config
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model
from dogcm.verification import gradients, mitgcm_asynchronous, mitgcm_twin
from dogcm.verification import verify as checks

KINDS = ("layout", "restart", "conservation", "gradients")
# A gradient costs several runs, and needs fewer steps to show what is wrong.
STEPS = {"gradients": 48}
DEFAULT_STEPS = 200
_EXPLAINED = {
    "layout": "every variable of the state has the same value in every cell",
    "restart": "stopping and going on changes no value",
    "conservation": "residuals are of the size of rounding (epsilon of the arithmetic)",
    "gradients": "derivatives are those of one rank, and agree with differences and with each "
    "other",
}


def refuse_names(what: str, names: list[str] | None) -> None:
    """Names follow ``cases`` alone.

    Raises:
        ConfigError: there are some.
    """
    if names:
        raise ConfigError(
            f"dogcm verify {what} {' '.join(names)}: names are those of cases (dogcm verify cases "
            f"NAME); an experiment is given by --experiment"
        )


def verify_mitgcm(
    config: Config,
    reference: str | None,
    days: float | None,
    layout: str,
    asynchronous: bool = False,
) -> int:
    """Run MITgcm's ocean beside MITgcm's own results; 1 where a difference is beyond the bar.

    Args:
        reference: folder with its results; None: ``mitgcm_reference`` beside the inputs.
        days: the last day compared; None: all, of the asynchronous run the first 20.
        asynchronous: the tutorial as published, with tracers at a step of a day, instead of one
            step for all.
    """
    if config.bathymetry.source != "mitgcm":
        raise ConfigError(
            f"dogcm verify mitgcm: {config.name} does not read MITgcm's inputs; leave --experiment "
            f"out"
        )
    if asynchronous or config.time.momentum_step:
        return _asynchronous(config, reference, days, layout)
    folder = mitgcm_twin.reference_folder(config.bathymetry.path, reference)
    wanted = [day for day in mitgcm_twin.DAYS if days is None or day <= days]
    if not wanted:
        raise ConfigError(f"--days {days:g}: the first day with results is {mitgcm_twin.DAYS[0]}")
    out = console()
    rows = mitgcm_twin.compare(
        Model(config, layout=layout),
        folder,
        wanted,
        lambda text: out.print(f"[dim]{escape(text)}[/]"),
    )
    out.print(
        f"[bold]mitgcm[/]: {escape(config.name)}, {config.run.precision}, steps of "
        f"{config.time.step:g} s"
    )
    out.print(_twin(rows))
    passed = all(row.passed for row in rows)
    verdict = "[green]passed[/]" if passed else "[red]FELL SHORT[/]"
    out.print(
        f"{verdict}: differences beside those of two runs of MITgcm that differ in tracer "
        f"advection alone"
    )
    return OK if passed else FELL_SHORT


def _asynchronous(config: Config, reference: str | None, days: float | None, layout: str) -> int:
    if not config.time.momentum_step:
        config = load_config(config, mitgcm_asynchronous.SETTINGS)
    folder = (
        Path(reference)
        if reference
        else Path(config.bathymetry.path).resolve().parent / "mitgcm_reference"
    )
    last = mitgcm_asynchronous.STATE_DAYS[-1] if days is None else days
    wanted = [day for day in mitgcm_asynchronous.available_days(folder) if day <= last]
    if not wanted:
        raise ConfigError(
            f"--days {last:g}: the first day with results is {mitgcm_asynchronous.DAYS[0]}"
        )
    out = console()
    rows = mitgcm_asynchronous.compare(
        Model(config, layout=layout),
        folder,
        wanted,
        lambda text: out.print(f"[dim]{escape(text)}[/]"),
    )
    out.print(
        f"[bold]mitgcm[/]: {escape(config.name)}, {config.run.precision}, steps of "
        f"{config.time.step:g} s, of velocity "
        f"{config.time.momentum_step:g} s"
    )
    out.print(_statistics(rows))
    passed = all(row.passed for row in rows)
    out.print(
        f"{'[green]passed[/]' if passed else '[red]FELL SHORT[/]'}: standard deviations within "
        f"{mitgcm_asynchronous.BAR['theta']:.0%} (flow: {mitgcm_asynchronous.BAR['u']:.0%}), means "
        f"within {mitgcm_asynchronous.MEAN_BAR:.0%} of one, "
        f"from day {mitgcm_asynchronous.FIRST_DAY_OF_BAR} on"
    )
    return OK if passed else FELL_SHORT


def _statistics(rows: list[mitgcm_asynchronous.StatisticsRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("day", "field", "model", "min", "max", "mean", "sd", "rms difference", "ok"):
        table.add_column(name)
    for r in rows:
        for who, s in (("dogcm", r.own), ("MITgcm", r.theirs)):
            own = s is r.own
            rms = f"{r.rms:.3g}" if own and r.rms is not None else ""
            ok = ("yes" if r.passed else "[red]NO[/]") if own else ""
            heading = (str(r.day), r.field) if own else ("", "")
            table.add_row(
                *heading,
                who,
                f"{s.low:.6g}",
                f"{s.high:.6g}",
                f"{s.mean:.7g}",
                f"{s.sd:.6g}",
                rms,
                ok,
            )
    return table


def _twin(rows: list[mitgcm_twin.TwinRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("day", "field", "difference", "yardstick", "ratio", "limit", "ok"):
        table.add_column(name)
    for r in rows:
        ok = "yes" if r.passed else "[red]NO[/]"
        limit = f"{mitgcm_twin.BAR[r.field]:g}"
        table.add_row(
            str(r.day), r.field, f"{r.rms:.3g}", f"{r.yardstick:.3g}", f"{r.ratio:.2f}", limit, ok
        )
    return table


def verify(what: str, config: Config, steps: int | None, layout: str) -> int:
    """Run the checks asked for and print their figures; 1 where one falls short.

    Args:
        steps: of each run; None: 48 for gradients, 200 for all else.
    """
    if what != "all" and what not in KINDS:
        raise ConfigError(
            f"dogcm verify {what}: choose {', '.join(KINDS)} or all; or mitgcm, with "
            "--inputs; or cases"
        )
    wanted = KINDS if what == "all" else (what,)
    passed = [
        _one(kind, config, steps or STEPS.get(kind, DEFAULT_STEPS), layout) for kind in wanted
    ]
    return OK if all(passed) else FELL_SHORT


def _one(kind: str, config: Config, steps: int, layout: str) -> bool:
    result: Any
    out = console()
    heading = f"[bold]{kind}[/]: {escape(config.name)}, {config.run.precision}, {steps} steps"
    if kind == "conservation":
        result = checks.verify_conservation(config, steps, layout)
        out.print(heading)
        out.print(_figures(result))
    elif kind == "gradients":
        result = gradients.verify_gradients(
            config, steps, layout, say=lambda text: out.print(f"[dim]{text}[/] ...")
        )
        out.print(f"{heading}, {escape(result.title)}")
        out.print(_figures(result))
        if result.note:
            out.print(f"note: {escape(result.note)}")
    else:
        function = checks.verify_layout if kind == "layout" else checks.verify_restart
        result = function(config, steps, layout)
        out.print(f"{heading}, {escape(result.title)}")
        out.print(_rows(result))
        if result.note:
            out.print(f"note: {escape(result.note)}")
    verdict = "[green]passed[/]" if result.passed else "[red]FELL SHORT[/]"
    out.print(
        f"{verdict}: {_EXPLAINED[kind]}\n"
        if result.passed
        else f"{verdict} of: {_EXPLAINED[kind]}\n"
    )
    return result.passed


def _rows(result: checks.Comparisons) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("variable", "identical", "largest difference"):
        table.add_column(name)
    for row in result.rows:
        table.add_row(row.name, "yes" if row.identical else "[red]NO[/]", f"{row.difference:.3g}")
    return table


def _figures(result: checks.Conservation | gradients.Gradients) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("check", "figure", "limit", "unit", "ok", "meaning"):
        table.add_column(name)
    for f in result.figures:
        ok = "yes" if f.passed else "[red]NO[/]"
        table.add_row(f.name, f"{f.value:.3g}", f"{f.limit:.3g}", f.unit, ok, escape(f.meaning))
    return table
