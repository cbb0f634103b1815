"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to, which takes its name when all went well.

    Where something fails, nothing is left, and an older file of that name is still there.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def settle(partial: Path, path: Path) -> None:
    """Give a file or folder its name once what it holds is on disk; of a folder the caller sees to
    that. Where a folder replaces another, the older one is ``.NAME.old`` until it is removed."""
    if partial.is_file():
        to_disk(partial)
    try:
        os.replace(partial, path)
    except OSError:
        if not (partial.is_dir() or path.is_dir()) or not path.exists():
            raise
        old = path.with_name(f".{path.name}.old")
        remove(old)
        os.replace(path, old)
        os.replace(partial, path)
        remove(old)
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is safe on disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """:func:`remove` in such a way that a folder of that name is never seen in part."""
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".{path.name}.partial")
        remove(aside)
        path = path.rename(aside)
    remove(path)


__all__ = ["discard", "remove", "settle", "to_disk", "whole_file"]
