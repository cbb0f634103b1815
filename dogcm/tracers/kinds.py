"""The kinds of passive tracers by name, and how a configuration's entry becomes one."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from dogcm.tracers.base import TracerKind, learnable_options

KINDS: dict[str, type[TracerKind]] = {}


class TracerError(ValueError):
    """A declaration of a passive tracer that cannot be used; the message says which, why, and what
    to do."""


def register(name: str):
    """Make a :class:`TracerKind` known as ``name``: ``@register("radiocarbon")`` above the class.

    Raises:
        TracerError: the name is another kind's.
    """

    def add(kind: type[TracerKind]) -> type[TracerKind]:
        other = KINDS.get(name)
        # The same class once more is a module that is loaded anew.
        if other is not None and (other.__module__, other.__qualname__) != (
            kind.__module__,
            kind.__qualname__,
        ):
            raise TracerError(
                f"two kinds of tracer are named {name!r}: {other.__qualname__} and {kind.__qualname__}"
            )
        KINDS[name] = kind
        return kind

    return add


def make_kind(label: str, entry: Any) -> TracerKind:
    """The kind that an entry of the section ``tracers`` declares.

    Args:
        label: its name. entry: ``{"kind": NAME, option: value, ...}``; NAME is a registered one or
            ``package.module:Class``.

    Raises:
        TracerError: unknown kind or option (with the nearest ones), a value out of range.
    """
    if not isinstance(entry, dict) or "kind" not in entry:
        raise TracerError(
            f"{label}: write {{kind: ..., options}}, with one of the kinds {', '.join(KINDS)}"
        )
    options = {k: v for k, v in entry.items() if k != "kind"}
    kind = _find(label, entry["kind"])
    for name in options:
        if name not in kind.model_fields:
            near = difflib.get_close_matches(str(name), kind.model_fields, 1)
            known = ", ".join(kind.model_fields) or "none"
            hint = f"did you mean {near[0]}?" if near else f"it has {known}"
            raise TracerError(f"{label}: kind {entry['kind']} has no option {name!r}; {hint}")
    try:
        made = kind(**options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([label, *map(str, first["loc"])])
        raise TracerError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from None
    made._label = label
    return made


def _find(label: str, name: Any) -> type[TracerKind]:
    if name in KINDS:
        return KINDS[name]
    if isinstance(name, str) and ":" in name:
        return _imported(label, name)
    near = difflib.get_close_matches(str(name), KINDS, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KINDS)}"
    raise TracerError(f"{label}: unknown kind of tracer {name!r}; {hint}")


def _imported(label: str, name: str) -> type[TracerKind]:
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise TracerError(f"{label}: cannot import the kind {name!r}: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, TracerKind)):
        raise TracerError(f"{label}: {name} is no TracerKind (see docs/passive_tracers.md)")
    return kind


def unit_of_option(name: str) -> str | None:
    """Unit of the learnable parameter ``LABEL.OPTION`` of any known kind; None if no kind has that
    option."""
    _, dot, option = name.partition(".")
    units = [
        u
        for kind in KINDS.values()
        for n, u in learnable_options(kind).items()
        if dot and n == option
    ]
    return units[0] if units else None
