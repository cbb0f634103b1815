"""Paths of input files: those of a folder, and those in a configuration that is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dogcm.components import Component
from dogcm.setups.config import Config
from dogcm.setups.registry import check_config, unchecked

_SECTIONS = ("bathymetry", "initial", "forcing")
# Keys whose values are paths, and words that are none: of what comes with the package.
_KEYS = ("path", "weights")
_NAMES = ("", "shipped")


def with_inputs(source: Any, overrides: Any, folder: Path) -> Config:
    """The configuration of an experiment whose own input files lie in ``folder``.

    Args:
        source, overrides: as :func:`dogcm.load_config` takes them.
        folder: what relative paths in ``source`` count from (of the grid, the sea floor, the
            initial state and the forcing), and itself the path where a section's source is
            ``mitgcm`` and it gives none. Paths in ``overrides`` are left as they are: they count
            from the working directory.

    Raises:
        ConfigError: see :func:`dogcm.load_config`.
    """
    tree = unchecked(source)
    for name in ("grid", *_SECTIONS):
        if name in tree:
            tree[name] = _changed(tree[name], ("path",), lambda path: str(folder / path))
    tree = unchecked(tree, overrides)
    for name in _SECTIONS:
        section = tree.get(name)
        if isinstance(section, dict) and section.get("source") == "mitgcm":
            section["path"] = section.get("path") or str(folder)
    return check_config(tree)


def absolute_paths(tree: Any) -> Any:
    """A configuration's tree whose relative paths (every key ``path`` and ``weights``) are
    absolute.

    A path counts from the working directory of the command that gives it. What is written into a
    run's folder is read again from anywhere, where the same words may mean another file.
    """
    return _changed(tree, _KEYS, lambda path: str(Path(path).absolute()))


def _changed(tree: Any, keys: tuple[str, ...], change: Callable[[Any], str]) -> Any:
    """A copy of ``tree`` with ``change`` of every path that one of ``keys`` gives."""
    if isinstance(tree, list):
        return [_changed(value, keys, change) for value in tree]
    if isinstance(tree, Component) and getattr(tree, "path", ""):
        tree = tree.entry()
    if not isinstance(tree, dict):
        return tree
    return {
        key: change(value)
        if key in keys and isinstance(value, (str, os.PathLike)) and value not in _NAMES
        else _changed(value, keys, change)
        for key, value in tree.items()
    }


__all__ = ["absolute_paths", "with_inputs"]
