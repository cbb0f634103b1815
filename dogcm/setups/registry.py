"""Finding and changing experiments: by name, from YAML, with overrides from the command line."""

from __future__ import annotations

import copy
import difflib
import functools
import json
from pathlib import Path

import yaml
from pydantic import ValidationError

from dogcm.components import Component, ConfigError, kinds_of
from dogcm.components.base import options_of
from dogcm.components.names import did_you_mean
from dogcm.components.registry import find, slot_of, slots
from dogcm.setups.config import Config, Section

_FOLDER = Path(__file__).parent / "configs"


# Keys of earlier versions, and what says the same today.
_MOVED = {
    "physics.isoneutral": "physics.eddies: isoneutral",
    "physics.eddy_coefficient": "physics.eddies: visbeck (or isoneutral)",
    "physics.slope_taper": "physics.eddies.taper",
    "physics.max_slope": "physics.eddies.max_slope",
    "physics.critical_slope": "physics.eddies.critical_slope",
    "physics.slope_width": "physics.eddies.slope_width",
    "physics.vorticity_scheme": "physics.momentum_advection",
    "physics.cd_time": "physics.coriolis.time",
    "physics.no_slip": "physics.friction.no_slip",
    "physics.slip": "physics.friction.slip",
    "physics.viscosity_scheme": "physics.eddy_viscosity",
    "physics.viscosity_form": "physics.eddy_viscosity.form",
    "physics.enhanced_convection": "physics.convection: enhanced or none",
    "physics.kpp_limits": "physics.vertical_mixing.limits",
    "physics.no_slip_bottom": "physics.bottom_drag.no_slip",
    "physics.thermal_expansion": "physics.equation_of_state.thermal_expansion",
    "physics.haline_contraction": "physics.equation_of_state.haline_contraction",
    "time.barotropic_steps": "time.free_surface.barotropic_steps",
    "time.short_steps_per_exchange": "time.free_surface.short_steps_per_exchange",
    "time.implicitness": "time.free_surface.implicitness",
    "time.solver_tolerance": "time.free_surface.solver_tolerance",
    "time.solver_iterations": "time.free_surface.solver_iterations",
    "forcing.bulk_iterations": "forcing.bulk.iterations",
    "forcing.air_height": "forcing.bulk.air_height",
    "forcing.relative_wind": "forcing.bulk.relative_wind",
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice; plain YAML would forget the first."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, str) and name in seen:
                raise yaml.YAMLError(
                    f"{name} is given twice, the second time in line {key.start_mark.line + 1}"
                )
            seen.add(name if isinstance(name, str) else None)
        return super().construct_mapping(node, deep)


def experiments() -> dict[str, str]:
    """Names of the ready experiments and one line on each."""
    return {name: str(_ready(name).get("description", "")) for name in _ready_names()}


@functools.cache
def _ready_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@functools.cache
def _ready(name: str) -> dict:
    """The tree of a ready experiment, which nobody may change: its file is read once."""
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def load_config(source: str | Path | dict | Config, overrides: dict | list | tuple = ()) -> Config:
    """A checked configuration.

    Args:
        source: name of a ready experiment, path of a YAML file, a dict, or a Config.
        overrides: ``{"time.step": 1800}`` or ``["time.step=1800"]``.

    Raises:
        ConfigError: unknown experiment or key (with the nearest names), wrong type or value.
    """
    return check_config(unchecked(source, overrides))


def unchecked(source: str | Path | dict | Config, overrides: dict | list | tuple = ()) -> dict:
    """The tree of what :func:`load_config` takes, of one's own, for :func:`check_config`.

    Raises:
        ConfigError: unknown experiment, unreadable file or override.
    """
    if isinstance(source, Config):
        tree = _tree(source)
    elif isinstance(source, dict):
        tree = _own(source)
    else:
        tree = _read(str(source))
    for key, value in as_settings(overrides).items():
        value = _own(value) if isinstance(value, dict) else value
        section, _, rest = key.partition(".")
        _supersede(tree, {section: {rest.rpartition(".")[2]: value}})
        set_key(tree, key, value)
    return tree


def _own(tree: dict) -> dict:
    """A copy whose sections can be changed; what they hold is the same."""
    return {n: _own(v) if isinstance(v, dict) else v for n, v in tree.items()}


def _supersede(tree: dict, change: dict) -> None:
    """Take out of the shorthand section ``parameters`` what ``change`` gives to its owner: the
    later word counts."""
    shorthand = tree.get("parameters")
    if isinstance(shorthand, dict):
        told = _names_of_components(change)
        tree["parameters"] = {n: v for n, v in shorthand.items() if n not in told}


def _names_of_components(tree: dict) -> set[str]:
    """Names of all values in the sections that hold components."""
    found: set[str] = set()
    waiting = [tree[n] for n in ("grid", "forcing", "physics", "time") if n in tree]
    while waiting:
        group = waiting.pop()
        for name, value in group.items() if isinstance(group, dict) else ():
            found.add(name)
            waiting.append(value)
    return found


def as_settings(overrides: dict | list | tuple) -> dict[str, object]:
    """Values by dotted key, from a dict or from texts ``key=value``."""
    return dict(overrides if isinstance(overrides, dict) else map(split_setting, overrides))


def _tree(section: Section) -> dict:
    """A configuration as a tree whose components are the objects themselves."""
    values = {n: getattr(section, n) for n in type(section).model_fields}
    return {n: _tree_of(v) for n, v in values.items()}


def _tree_of(value: object) -> object:
    if isinstance(value, Section):
        return _tree(value)
    return {k: _tree_of(v) for k, v in value.items()} if isinstance(value, dict) else value


def check_config(tree: dict) -> Config:
    """Validate a plain tree; see :func:`load_config`."""
    tree = route_parameters(tree)
    _refuse_unknown(tree, Config, "")
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("; ".join(map(violation, error.errors()))) from None


def route_parameters(tree: dict) -> dict:
    """``tree`` with the entries of its section ``parameters`` given to the components that own
    them.

    The section is a shorthand: ``parameters.tke_c_k`` is
    ``physics.vertical_mixing: {kind: tke, tke_c_k: ...}``.

    Raises:
        ConfigError: no component in use has a parameter of that name.
    """
    if "parameters" not in tree:
        return tree
    given = tree["parameters"]
    if not isinstance(given, dict):
        raise ConfigError(f"parameters is a group of parameters, given: {given!r}")
    out = copy.deepcopy({k: v for k, v in tree.items() if k != "parameters"})
    owners = _owners(out)
    for name, value in given.items():
        if name not in owners:
            raise ConfigError(_no_owner(str(name), owners))
        section, key, kind = owners[name]
        entry = section.get(key, kind)
        entry = dict(entry) if isinstance(entry, dict) else {"kind": kind}
        section[key] = {"kind": kind, **entry, name: value}
    return out


def _owners(tree: dict) -> dict[str, tuple[dict, str, str]]:
    """By parameter: the section of ``tree`` and key of the component that owns it, and its
    kind."""
    found = {}
    for name, info in Config.model_fields.items():
        section = info.annotation
        if not (isinstance(section, type) and issubclass(section, Section)):
            continue
        group = tree.setdefault(name, {})
        if not isinstance(group, dict):
            continue  # refused later
        for key, field in section.model_fields.items():
            slot = slot_of(field)
            if slot is None:
                continue
            entry = group.get(key, slot.default)
            kind = entry.get("kind", slot.default) if isinstance(entry, dict) else entry
            if isinstance(entry, Component):
                kind, group[key] = entry.name(), entry.entry()
            if kind in (None, False, "none"):
                continue
            for parameter in find(slot.slot, kind, f"{name}.{key}").parameter_infos():
                found[parameter] = (group, key, kind)
    return found


def _no_owner(name: str, owners: dict) -> str:
    for slot in slots():
        for kind, component in kinds_of(slot).items():
            if name in component.parameter_infos():
                return (
                    f"parameters.{name} belongs to {slot}: {kind}, which this configuration does "
                    "not use; choose that, or leave the parameter out"
                )
    hint = did_you_mean(name, owners) or _nearest_leaf(name, _all_keys(Config))
    return f"unknown parameter parameters.{name}{hint}"


def violation(error: dict) -> str:
    """One of pydantic's errors in a line: key, what is wrong, what was given."""
    key, text = ".".join(str(p) for p in error["loc"]), error["msg"].removeprefix("Value error, ")
    if not key or text.startswith((f"{key}:", f"{key}.", "unknown parameter")):
        return text
    shown = f" (given: {error['input']!r})" if not isinstance(error["input"], dict) else ""
    return f"{key}: {text}{shown}"


def read_yaml(path: Path, what: str, keys: str) -> dict:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, or no mapping; ``what`` and ``keys`` say what was
            expected.
    """
    if not path.is_file():
        raise ConfigError(f"no such file: {path}")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error}): save it in that encoding") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no {what}: expected keys such as {keys}")
    return tree


def _read(source: str, above: tuple[str, ...] = ()) -> dict:
    """The tree of an experiment or a file on top of its base; ``above`` are the files that name it
    as theirs."""
    known = _ready_names()
    if source in known:
        tree = copy.deepcopy(_ready(source))
        base = tree.pop("base", None)
        return tree if base is None else _merge(_read(base), tree)
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        tree = read_yaml(path, "configuration", "grid, forcing, time")
        shorthand = tree.get("parameters")
        if isinstance(shorthand, dict) and (twice := _names_of_components(tree) & set(shorthand)):
            name = min(twice)
            raise ConfigError(
                f"{path}: {name} is given twice, as parameters.{name} and to its owner"
            )
        base = tree.pop("base", None)
        if base is None:
            return tree
        if not isinstance(base, str):
            raise ConfigError(
                f"{source}: base is {base!r}: it must be the name of an experiment or the path of "
                "a YAML file"
            )
        chain = (*above, str(path.resolve()))
        if str(Path(base).resolve()) in chain:
            raise ConfigError(f"{source}: its base {base} is built on {source} itself")
        return _merge(_read(base, chain), tree)
    raise ConfigError(
        f"unknown experiment {source!r}{_nearest(source, known)}; `dogcm list` shows all, "
        "a path must end in .yaml"
    )


def _merge(base: dict, change: dict) -> dict:
    out = dict(base)
    _supersede(out, change)
    for key, value in change.items():
        old = out.get(key)
        if isinstance(value, dict) and "kind" not in value and isinstance(old, str):
            old = {"kind": old}  # options of a component that the base names by its kind alone
        another = isinstance(value, dict) and isinstance(old, dict)
        if another and value.get("kind", old.get("kind")) != old.get("kind"):
            another = False  # of another kind the options of the base mean nothing
        out[key] = _merge(old, value) if another else value
    return out


def split_setting(text: str) -> tuple[str, object]:
    """Key and value of ``key=value``."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {text!r}: write it as key=value, for example time.step=1800")
    try:
        parsed = yaml.safe_load(value) if value.strip() else ""
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(
            f"--set {text[:80]!r}: {value[:80]!r} is no value that YAML can read"
        ) from None
    if isinstance(parsed, str):
        try:  # YAML reads 1e3 as text
            parsed = json.loads(value)
        except ValueError:
            pass
    return key.strip(), parsed


def set_key(tree: dict, key: str, value, section: type[Section] = Config) -> None:
    """Put ``value`` at the dotted ``key`` of what is to become a ``section``."""
    *parents, last = key.split(".")
    place = tree
    for n, p in enumerate(parents):
        inner = place.setdefault(p, {})
        if isinstance(inner, str) and _is_slot(parents[: n + 1], section):
            inner = place[p] = {"kind": inner}
        if isinstance(inner, Component):
            inner = place[p] = inner.entry()
        place = inner
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {p} is a value, not a group of parameters")
    if last == "kind" and _is_slot(parents, section) and place.get("kind", value) != value:
        place.clear()  # options of another kind
    place[last] = value


def _is_slot(parents: list[str], within: type[Section]) -> bool:
    """Whether a section holds a component there."""
    section, info = within, None
    for name in parents:
        info = section.model_fields.get(name) if section is not None else None
        if info is None:
            return False
        kind = info.annotation
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else None
    return info is not None and slot_of(info) is not None


def _nearest(word: str, known, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(prefix + c for c in close)}?" if close else ""


def _refuse_unknown(tree, section: type[Section], prefix: str) -> None:
    """Unknown keys, with the nearest known ones (pydantic alone would not suggest any)."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if not isinstance(key, str):
            raise ConfigError(f"{prefix}{key}: a key must be a text, not {key!r}")
        info = section.model_fields.get(key)
        if info is None:
            if f"{prefix}{key}" in _MOVED:
                raise ConfigError(f"{prefix}{key} is now {_MOVED[f'{prefix}{key}']}")
            everywhere = _all_keys(Config)
            # A name that exists elsewhere is a matter of the wrong group, not of spelling.
            hint = "" if key in everywhere else _nearest(key, section.model_fields, prefix)
            hint = hint or _nearest_leaf(key, everywhere)
            raise ConfigError(f"unknown parameter {prefix}{key}{hint}")
        kind = info.annotation
        if (slot := slot_of(info)) is not None and isinstance(value, dict):
            _refuse_unknown_options(value, slot, f"{prefix}{key}")
        if isinstance(kind, type) and issubclass(kind, Section):
            if not isinstance(value, dict):
                raise ConfigError(f"{prefix}{key} is a group of parameters, given: {value!r}")
            _refuse_unknown(value, kind, f"{prefix}{key}.")


def _refuse_unknown_options(entry: dict, slot, key: str) -> None:
    """Options that belong to another part of the configuration."""
    kind = entry.get("kind", slot.default)
    if kind in (None, False, "none"):
        return
    known = {o.name for o in options_of(find(slot.slot, kind, key))} | {"kind"}
    everywhere = _all_keys(Config)
    for name in entry:
        if not isinstance(name, str):
            raise ConfigError(f"{key}.{name}: a key must be a text, not {name!r}")
        elsewhere = everywhere.get(name, "")
        if name not in known and elsewhere and not elsewhere.startswith(f"{key}."):
            raise ConfigError(f"unknown parameter {key}.{name}; did you mean {elsewhere}?")


def _all_keys(section: type[Section], prefix: str = "") -> dict[str, str]:
    found = {}
    for name, info in section.model_fields.items():
        slot = slot_of(info)
        for component in kinds_of(slot.slot).values() if slot is not None else ():
            for option in options_of(component):
                found.setdefault(option.name, f"{prefix}{name}.{option.name}")
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            found.update(_all_keys(info.annotation, f"{prefix}{name}."))
        else:
            found[name] = f"{prefix}{name}"
    return found


def _nearest_leaf(word: str, leaves: dict[str, str]) -> str:
    close = difflib.get_close_matches(word, list(leaves), n=1, cutoff=0.6)
    return f"; did you mean {leaves[close[0]]}?" if close else ""
