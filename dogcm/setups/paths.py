"""Paths of input files: those of a folder, and those in a configuration that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dogcm.components import ConfigError
from dogcm.setups.config import Config
from dogcm.setups.registry import load_config

_UNSET = "?"
_SECTIONS = ("bathymetry", "initial", "forcing")
# Keys whose values are paths; the second may be the name of what comes with the package.
_KEYS = ("path", "weights")
_NAMES = ("", "shipped")


def with_inputs(source: Any, overrides: Any, folder: Path) -> Config:
    """The configuration of an experiment whose own input files lie in ``folder``.

    Args:
        source, overrides: as :func:`dogcm.load_config` takes them.
        folder: itself the path where a source is ``mitgcm``; where it is ``file``, and in
            ``forcing.files``, what relative paths count from. Paths that ``overrides`` give win.

    Raises:
        ConfigError: see :func:`dogcm.load_config`.
    """
    tree = load_config(_with_some_paths(source), overrides).model_dump()
    for name in _SECTIONS:
        section = tree[name]
        given = "" if section["path"] == _UNSET else section["path"]
        if section["source"] == "mitgcm":
            section["path"] = given or str(folder)
        else:
            within = given and section["source"] == "file"
            section["path"] = str(folder / given) if within else given
    initial = tree["initial"]
    for entry in (
        *tree["forcing"]["files"].values(),
        initial["temperature_file"],
        initial["salinity_file"],
    ):
        if entry["path"]:
            entry["path"] = str(folder / entry["path"])
    return load_config(tree)


def _with_some_paths(source: Any) -> Config:
    """The configuration, with a path that satisfies the checks where one is lacking."""
    lacking: dict[str, str] = {}
    while True:
        try:
            return load_config(source, lacking)
        except ConfigError as error:
            asked = [s for s in _SECTIONS if f"{s}.path=" in str(error)]
            if not asked or lacking.get(f"{asked[0]}.path"):
                raise
            lacking[f"{asked[0]}.path"] = _UNSET


def absolute_paths(tree: Any) -> Any:
    """A configuration's tree whose relative paths (every key ``path``, and ``weights`` that name
    a file) are absolute.

    A path counts from the working directory of the command that gives it. What is written into a
    run's folder is read again from anywhere, where the same words may mean another file.
    """
    if isinstance(tree, list):
        return [absolute_paths(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: _absolute(value) if _is_path(key, value) else absolute_paths(value)
        for key, value in tree.items()
    }


def _is_path(key: str, value: Any) -> bool:
    return key == "path" or (key == "weights" and str(value).endswith(".npz"))


def _absolute(path: Any) -> Any:
    if not isinstance(path, str) or path in _NAMES:
        return path
    return str(Path(path).absolute())


__all__ = ["absolute_paths", "with_inputs"]
