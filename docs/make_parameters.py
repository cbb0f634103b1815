"""Write docs/parameters.md from the typed configuration: ``python docs/make_parameters.py``."""

from __future__ import annotations

from pathlib import Path

from dogcm.components.base import options_of, summary
from dogcm.components.registry import kinds_of, slot_of
from dogcm.learning import recipe  # noqa: F401 defines the networks and targets of recipes
from dogcm.setups.config import (
    Config,
    ForcingFile,
    OutputConfig,
    StraitEdit,
    parameter_table,
)

_HEAD = """# All parameters

Written by `python docs/make_parameters.py` from the configuration's own definition. Set any of them
in a YAML file, with `--set key=value` on the command line, or with `overrides={"key": value}` in
Python. `dogcm show EXPERIMENT` prints the values that an experiment uses. A section each lists
the options of every scheme that ships; those marked learnable are leaves of `params`.
"""


_OF_RECIPES = {
    "targets": "targets",
    "loss.penalty": "penalty",
    "corrector.network": "network",
    "corrector.inputs": "feature",
    "corrector.outputs.NAME": "corrector_output",
}


def _rows(rows) -> list[str]:
    out = ["| parameter | unit | default | meaning |", "|---|---|---|---|"]
    for key, unit, default, meaning in rows:
        shown = "" if default in ("", [], {}, None) else f"`{_plain(default)}`"
        out.append(f"| `{key}` | {'' if unit == '1' else unit} | {shown} | {meaning} |")
    return out


def _plain(default) -> str:
    if isinstance(default, dict):
        return "{" + ", ".join(f"{k}: ..." for k in default) + "}"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _slots():
    """Keys of the configuration that hold a component, with their slots."""
    for section, info in Config.model_fields.items():
        if slot_of(info) is not None:
            yield section, slot_of(info).slot
        for name, field in getattr(info.annotation, "model_fields", {}).items():
            slot = slot_of(field)
            if slot is not None:
                yield f"{section}.{name}", slot.slot
    yield "tracers.NAME", "passive_tracer"
    for key, slot in _OF_RECIPES.items():
        yield f"Recipe: {key}", slot


def _about(section: str) -> str:
    if not section:
        return "Name and description."
    info = Config.model_fields[section]
    return info.description or info.annotation.__doc__


def page() -> str:
    """The whole page as text."""
    lines, section = [_HEAD], None
    groups: dict[str, list] = {}
    for row in parameter_table():
        groups.setdefault(row[0].split(".")[0] if "." in row[0] else "", []).append(row)
    for section, rows in groups.items():
        title = section or "experiment"
        doc = _about(section)
        lines += [f"\n## {title}\n", doc.strip().split("\n")[0] + "\n", *_rows(rows)]
    for name, kind in (
        ("bathymetry.straits", StraitEdit),
        ("forcing.files.NAME", ForcingFile),
        ("run.output.NAME", OutputConfig),
    ):
        lines += [
            f"\n## {name}\n",
            kind.__doc__.strip().split("\n")[0] + "\n",
            *_rows(parameter_table(kind)),
        ]
    for key, slot in _slots():
        for kind, component in kinds_of(slot).items():
            lines += [f"\n## {key}, kind {kind}\n", summary(component) + "\n"]
            if component.source:
                lines += [component.source + ".\n"]
            rows = [
                (f"{o.name} (learnable)" if o.learnable else o.name, o.unit, o.default, o.text)
                for o in options_of(component)
            ]
            lines += _rows(rows) if rows else ["No options."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("parameters.md").write_text(page(), encoding="utf-8")
