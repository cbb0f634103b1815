"""Finding and changing experiments: by name, from YAML, with overrides from the command line."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import yaml
from pydantic import ValidationError

from dogcm.components.errors import ConfigError
from dogcm.setups.config import Config, Section

_FOLDER = Path(__file__).parent / "configs"


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
    found = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        found[path.stem] = str(yaml.safe_load(path.read_text()).get("description", ""))
    return found


def load_config(source: str | Path | dict | Config, overrides: dict | list | tuple = ()) -> Config:
    """A checked configuration.

    Args:
        source: name of a ready experiment, path of a YAML file, a dict, or a Config.
        overrides: ``{"time.step": 1800}`` or ``["time.step=1800"]``.

    Raises:
        ConfigError: unknown experiment or key (with the nearest names), wrong type or value.
    """
    if isinstance(source, Config):
        tree = source.model_dump()
    elif isinstance(source, dict):
        tree = dict(source)
    else:
        tree = _read(str(source))
    pairs = overrides.items() if isinstance(overrides, dict) else map(split_setting, overrides)
    for key, value in pairs:
        set_key(tree, key, value)
    return check_config(tree)


def check_config(tree: dict) -> Config:
    """Validate a plain tree; see :func:`load_config`."""
    _refuse_unknown(tree, Config, "")
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("; ".join(map(violation, error.errors()))) from None


def violation(error: dict) -> str:
    """One of pydantic's errors in a line: key, what is wrong, what was given."""
    key, text = ".".join(str(p) for p in error["loc"]), error["msg"].removeprefix("Value error, ")
    shown = f" (given: {error['input']!r})" if key and not isinstance(error["input"], dict) else ""
    return f"{key}: {text}{shown}" if key else text


def read_yaml(path: Path, what: str, keys: str) -> dict:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, or no mapping; ``what`` and ``keys`` say what was
            expected.
    """
    if not path.is_file():
        raise ConfigError(f"no such file: {path}")
    try:
        tree = yaml.load(path.read_text(), _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no {what}: expected keys such as {keys}")
    return tree


def _read(source: str) -> dict:
    known = experiments()
    if source in known:
        return yaml.safe_load((_FOLDER / f"{source}.yaml").read_text())
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        tree = read_yaml(path, "configuration", "grid, forcing, time")
        base = tree.pop("base", None)
        return _merge(_read(base), tree) if base else tree
    raise ConfigError(
        f"unknown experiment {source!r}{_nearest(source, known)}; `dogcm list` shows all, "
        "a path must end in .yaml"
    )


def _merge(base: dict, change: dict) -> dict:
    out = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merge(out[key], value) if both else value
    return out


def split_setting(text: str) -> tuple[str, object]:
    """Key and value of ``key=value``."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {text!r}: write it as key=value, for example time.step=1800")
    try:
        parsed = yaml.safe_load(value) if value.strip() else ""
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: {value!r} is no value that YAML can read") from None
    if isinstance(parsed, str):
        try:  # YAML reads 1e3 as text
            parsed = json.loads(value)
        except ValueError:
            pass
    return key.strip(), parsed


def set_key(tree: dict, key: str, value) -> None:
    """Put ``value`` at the dotted ``key``."""
    *parents, last = key.split(".")
    place = tree
    for p in parents:
        place = place.setdefault(p, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {p} is a value, not a group of parameters")
    place[last] = value


def _nearest(word: str, known, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(prefix + c for c in close)}?" if close else ""


def _refuse_unknown(tree, section: type[Section], prefix: str) -> None:
    """Unknown keys, with the nearest known ones (pydantic alone would not suggest any)."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        info = section.model_fields.get(key)
        if info is None:
            everywhere = _all_keys(Config)
            # A name that exists elsewhere is a matter of the wrong group, not of spelling.
            hint = "" if key in everywhere else _nearest(key, section.model_fields, prefix)
            hint = hint or _nearest_leaf(key, everywhere)
            raise ConfigError(f"unknown parameter {prefix}{key}{hint}")
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            if not isinstance(value, dict):
                raise ConfigError(f"{prefix}{key} is a group of parameters, given: {value!r}")
            _refuse_unknown(value, kind, f"{prefix}{key}.")


def _all_keys(section: type[Section], prefix: str = "") -> dict[str, str]:
    found = {}
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            found.update(_all_keys(info.annotation, f"{prefix}{name}."))
        else:
            found[name] = f"{prefix}{name}"
    return found


def _nearest_leaf(word: str, leaves: dict[str, str]) -> str:
    close = difflib.get_close_matches(word, list(leaves), n=1, cutoff=0.6)
    return f"; did you mean {leaves[close[0]]}?" if close else ""
