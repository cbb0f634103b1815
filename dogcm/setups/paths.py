"""Paths of inputs, as a configuration that is kept says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Keys whose values are paths; the second may be the name of what comes with the package.
_KEYS = ("path", "weights")
_NAMES = ("", "shipped")


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


__all__ = ["absolute_paths"]
