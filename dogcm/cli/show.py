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


def parameters(source: str | None, sets: list[str], inputs: str | None) -> int:
    """Every parameter of an experiment or a recipe; those that differ from the default are
    marked."""
    from dogcm.setups.config import Config, ForcingFile, OutputConfig, StraitEdit, parameter_table

    chosen, note = _recipe(source, sets), ""
    if chosen is None:
        chosen, note = _config(source, sets, inputs)
    section = type(chosen)
    table = _table()
    values = chosen.model_dump(mode="json")
    for key, unit, default, text in parameter_table(section, chosen=chosen):
        if key not in ("name", "description"):  # they are the heading
            _add(table, key, _unit(unit), _at(values, key), _plain(default), text)
    for part, prefix in (
        (StraitEdit, "bathymetry.straits[]."),
        (ForcingFile, "forcing.files.NAME."),
        (OutputConfig, "run.output.NAME."),
    ):
        for row in parameter_table(part, prefix) if section is Config else ():
            key, unit, default, text = row
            table.add_row(
                "", key, "", escape(_unit(unit)), escape(_short(default)), escape(text), style="dim"
            )
    out = console()
    out.print(
        f"[bold]{escape(chosen.name)}[/]: {escape(chosen.description)}"
        if source
        else "[bold]defaults[/]"
    )
    out.print(table)
    out.print("* differs from the default; change any with --set KEY=VALUE" + note)
    return OK


def _recipe(source: str | None, sets: list[str]):
    """The recipe in a YAML file; None where the source is an experiment."""
    if not (source or "").endswith((".yaml", ".yml")):
        return None
    from dogcm.learning.recipe import is_recipe, load_recipe

    return load_recipe(source, sets) if is_recipe(source) else None


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "parameter", "value", "unit", "default", "meaning"):
        table.add_column(name, no_wrap=name == "parameter")
    return table


def _add(table: Table, key: str, unit: str, value: Any, default: Any, text: str) -> None:
    """A row, marked where the value is not the default."""
    changed = value != default
    table.add_row(
        "*" if changed else "",
        key,
        escape(_short(value)),
        escape(unit),
        escape(_short(default)) if changed else "",
        escape(text),
        style="bold yellow" if changed else "",
    )


def _config(experiment, sets, inputs):
    """The configuration, also where its input files are not at hand."""
    from dogcm.cli.configuration import configuration
    from dogcm.components.errors import ConfigError
    from dogcm.setups.paths import with_inputs
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
_LABELLED = ("forcing.fluxes", "run.diagnostics.series", "run.variables", "tracers")


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _plain(default: Any) -> Any:
    """A default as a configuration holds it."""
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    if isinstance(default, dict):
        return {k: _plain(v) for k, v in default.items()}
    return [_plain(v) for v in default] if isinstance(default, list | tuple) else default


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
