"""All components by slot and kind, and how an entry of a configuration becomes one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationError

from dogcm.components.base import Component, ParameterInfo, option, options_of
from dogcm.components.errors import ConfigError
from dogcm.components.known import BASES, KINDS, PARAMETERS
from dogcm.components.names import did_you_mean


def kinds_of(slot: str) -> dict[str, type[Component]]:
    """The classes of a slot that have a name, by kind; in alphabetical order, whatever was imported
    first."""
    return dict(sorted(KINDS.get(slot, {}).items()))


def slots() -> tuple[str, ...]:
    """All slots that are defined."""
    return tuple(BASES)


def labelled_parameter(name: str) -> ParameterInfo | None:
    """What is known about ``LABEL.OPTION``, for any class whose components are labelled."""
    _, dot, option_name = name.partition(".")
    for base in BASES.values() if dot else ():
        for one in KINDS[base.slot].values() if base.labelled else ():
            info = one.parameter_infos().get(option_name)
            if info is not None:
                return replace(info, name=name)
    return None


def known_parameters() -> dict[str, ParameterInfo]:
    """Learnable parameters of all components that have been defined, by name."""
    return dict(PARAMETERS)


def make(slot: str, entry: Any, key: str = "", default: str = "") -> Component | None:
    """The component that an entry of a configuration names.

    Args:
        slot: which base class it has. key: of the entry, for messages.
        entry: a component; its kind; ``{"kind": KIND, option: value, ...}``, where KIND may be
            ``package.module:Class``; or ``"none"`` (also null and false).
        default: the kind of an entry that only gives options.

    Returns:
        None for ``"none"``.

    Raises:
        ConfigError: unknown kind or option (with the nearest), a value out of range, a class that
            cannot be imported, is no component of this slot or lacks a method.
    """
    key = key or slot
    if isinstance(entry, Component):
        return _of_slot(entry, slot, key)
    if entry is None or entry is False or entry == "none":
        return None
    if isinstance(entry, str):
        entry = {"kind": entry}
    if not isinstance(entry, dict) or not entry.get("kind", default):
        known = ", ".join(kinds_of(slot)) or "package.module:Class"
        raise ConfigError(
            f"{key}: write a kind ({known}) or {{kind: ..., options}}; given: {entry!r}"
        )
    kind = entry.get("kind", default)
    options = {k: v for k, v in entry.items() if k != "kind"}
    if kind in ("none", None, False):
        if options:
            raise ConfigError(f"{key}: there is no {next(iter(options))} where kind is none")
        return None
    found = find(slot, kind, key)
    declared = {row.name for row in options_of(found)}
    for name in options:
        if name not in declared:
            raise ConfigError(_unknown_option(slot, kind, found, str(name), key))
    try:
        return found(**options)
    except ValidationError as error:
        raise ConfigError("; ".join(_violation(e, key) for e in error.errors())) from None
    except TypeError as error:  # an abstract method is missing
        raise ConfigError(f"{key}: {found.name()} is incomplete: {error}") from None


def _violation(error: Any, key: str) -> str:
    where = ".".join([key, *map(str, error["loc"])])
    text = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return text if text.startswith(key) else f"{key}: {text}"
    if error["type"] == "extra_forbidden":
        return f"unknown parameter {where}"
    return f"{where}: {text} (given: {error['input']!r})"


def find(slot: str, kind: Any, key: str = "") -> type[Component]:
    """The class of a kind, or of ``package.module:Class``; errors as for :func:`make`."""
    kinds, key = kinds_of(slot), key or slot
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    if isinstance(kind, str) and ":" in kind:
        return _imported(slot, kind, key)
    known = f"known: {', '.join(kinds)}, or package.module:Class of your own"
    raise ConfigError(f"{key}: unknown kind {kind!r}{did_you_mean(kind, kinds) or '; ' + known}")


def _imported(slot: str, name: str, key: str) -> type[Component]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 whatever a user's module raises
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            hint = "; put its folder on PYTHONPATH, or install it"
        raise ConfigError(f"{key}: cannot import {name!r}: {error}{hint}") from None
    base = BASES[slot]
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{key}: {name} is no {base.__module__}.{base.__qualname__}")
    return found


def _of_slot(component: Component, slot: str, key: str) -> Component:
    if component.slot != slot:
        raise ConfigError(
            f"{key}: {type(component).__name__} belongs to the slot {component.slot}, not {slot}"
        )
    return component


def _unknown_option(slot: str, kind, found: type[Component], name: str, key: str) -> str:
    hint = did_you_mean(name, found.model_fields)
    if not hint:
        owners = [k for k, c in kinds_of(slot).items() if name in c.model_fields]
        known = ", ".join(found.model_fields) or "none"
        hint = f"; it belongs to kind {owners[0]}" if owners else f"; it has {known}"
    return f"unknown parameter {key}.{name}: {kind} has no such option{hint}"


@dataclass(frozen=True)
class SlotOf:
    """Marks a configuration's field as one that holds a component.

    Attributes:
        slot: which. default: its kind where nothing is said; ``none`` for an empty slot.
        optional: whether it may be empty.
    """

    slot: str
    default: str
    optional: bool


def slot_of(info) -> SlotOf | None:
    """The slot of a configuration's field (:class:`pydantic.fields.FieldInfo`), if it has one."""
    return next((m for m in info.metadata if isinstance(m, SlotOf)), None)


def component(slot: str, default: Any, text: str, key: str = "", optional: bool = False) -> Any:
    """Annotation of a configuration's field that holds a component of ``slot``, or None.

    Args:
        default: kind where the configuration says nothing. text: meaning. key: of the field.
        optional: whether the slot may be empty (``none``).
    """
    key = key or slot

    def made(entry):
        found = make(slot, entry, key, default)
        if found is None and not optional:
            raise ConfigError(f"{key}: none is no choice here; known: {', '.join(kinds_of(slot))}")
        return found

    return Annotated[
        Any,
        BeforeValidator(made),
        SlotOf(slot, default, optional),
        PlainSerializer(lambda c: "none" if c is None else c.entry()),
        option(lambda: make(slot, default, key), "1", text),
    ]


def collect(components: Iterable[Component]) -> dict[str, Component]:
    """The owner of every learnable parameter.

    Raises:
        ConfigError: two components in use own a parameter of one name, or one has the name of
            another component's parameter and another meaning.
    """
    owners: dict[str, Component] = {}
    for one in components:
        for name, info in one.parameter_infos().items():
            if name in owners:
                raise ConfigError(
                    f"{owners[name].name()} and {one.name()} both have a parameter {name}; "
                    "rename one"
                )
            if not one.labelled and info != PARAMETERS[name]:
                raise ConfigError(
                    f"{one.name()}: the parameter {name} of another component has another unit, "
                    "shape or bijector; rename one"
                )
            owners[name] = one
    return owners


__all__ = [
    "SlotOf",
    "collect",
    "component",
    "find",
    "kinds_of",
    "known_parameters",
    "labelled_parameter",
    "make",
    "slot_of",
    "slots",
]
