"""``dogcm list`` and ``dogcm show``."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from dogcm.cli.console import console
from dogcm.cli.errors import OK


def experiment_list() -> int:
    """One line for each ready experiment."""
    from dogcm.setups.registry import experiments

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("experiment", style="cyan", no_wrap=True)
    table.add_column("description")
    for name, text in experiments().items():
        table.add_row(name, escape(text))
    console().print(table)
    return OK


def parameters(experiment: str | None, sets: list[str], inputs: str | None) -> int:
    """Every parameter; those that differ from the default are marked."""
    from dogcm.setups.config import ForcingFile, OutputConfig, StraitEdit, parameter_table

    config, note = _config(experiment, sets, inputs)
    values = config.model_dump(mode="json")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "parameter", "value", "unit", "default", "meaning"):
        table.add_column(name, no_wrap=name == "parameter")
    for key, unit, default, text in parameter_table(chosen=config):
        if key in ("name", "description"):
            continue  # they are the heading
        value, default = _at(values, key), _plain(default)
        changed = value != default
        style = "bold yellow" if changed else ""
        table.add_row(
            "*" if changed else "",
            key,
            escape(_short(value)),
            escape(_unit(unit)),
            escape(_short(default)) if changed else "",
            escape(text),
            style=style,
        )
    for section, prefix in (
        (StraitEdit, "bathymetry.straits[]."),
        (ForcingFile, "forcing.files.NAME."),
        (OutputConfig, "run.output.NAME."),
    ):
        for key, unit, default, text in parameter_table(section, prefix):
            table.add_row(
                "", key, "", escape(_unit(unit)), escape(_short(default)), escape(text), style="dim"
            )
    out = console()
    out.print(
        f"[bold]{escape(config.name)}[/]: {escape(config.description)}"
        if experiment
        else "[bold]defaults[/]"
    )
    out.print(table)
    out.print("* differs from the default; change any with --set KEY=VALUE" + note)
    return OK


def _config(experiment, sets, inputs):
    """The configuration, also where its input files are not at hand."""
    from dogcm.cli.configuration import configuration, with_inputs
    from dogcm.components.errors import ConfigError
    from dogcm.setups.registry import load_config

    if experiment is None:
        return load_config({}, sets), ""
    try:
        return configuration(experiment, sets, None, inputs), ""
    except ConfigError as error:
        if "--inputs" not in str(error):
            raise
        from pathlib import Path

        return with_inputs(experiment, sets, Path("FOLDER")), "; FOLDER is to be given by --inputs"


def _at(tree: dict, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    # A component's options have rows of their own.
    if isinstance(tree, dict) and "kind" in tree:
        return tree["kind"]
    labelled = isinstance(tree, dict) and tree and all("kind" in _dict(v) for v in tree.values())
    return list(tree) if labelled and key in _LABELLED else tree


# Keys whose entries are components under labels.
_LABELLED = ("forcing.fluxes", "run.variables", "tracers")


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _plain(default: Any) -> Any:
    """A default as a configuration holds it."""
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    if isinstance(default, dict):
        return {k: _plain(v) for k, v in default.items()}
    return list(default) if isinstance(default, tuple) else default


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _short(value: Any) -> str:
    """A value as one would write it in YAML, on one line."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str):
        return value or '""'
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()
    return text.removesuffix("\n...").removesuffix("...").strip()


def variables() -> int:
    """What a table of ``run.output`` may name."""
    from dogcm.diagnostics.variables import VARIABLES

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("variable", "place", "unit", "meaning"):
        table.add_column(name)
    for v in VARIABLES.values():
        table.add_row(v.name, v.at, escape(_unit(v.unit)), escape(v.long_name))
    console().print(table)
    return OK
