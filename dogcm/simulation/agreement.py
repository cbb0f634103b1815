"""Ranks that do not run the same model are refused before the first step.

A launcher that gives one rank another configuration, software or mode would end in numbers of two
models, or in messages that do not fit each other.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import jax
import jaxlib
import numpy as np

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.lowering.compiler import reproducible

_MOST_TOLD = 5


def require_agreement(comm, config) -> None:
    """Compare configuration, software and modes of all ranks; called on every rank.

    Raises:
        ConfigError: they differ; the same message on every rank, with what differs and where.
    """
    if comm.size == 1:
        return
    found = comm.gather(_leaves(config.model_dump(mode="json")) | _software())
    told = comm.broadcast(_differences(found) if comm.rank == 0 else None)
    if told:
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise ConfigError(
            f"the ranks do not run the same model: {'; '.join(told[:_MOST_TOLD])}{more}. Start all "
            "ranks by the same command, in the same environment"
        )


def _leaves(tree: Any, key: str = "") -> dict[str, Any]:
    """Values by dotted key; lists of text and numbers are values."""
    if not isinstance(tree, Mapping):
        return {key: tree}
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _leaves(value, f"{key}.{name}" if key else str(name))
    return found


def _software() -> dict[str, str]:
    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        "version of dogcm": dogcm.__version__,
        "version of jax": jax.__version__,
        "version of jaxlib": jaxlib.__version__,
        "version of numpy": np.__version__,
        "version of Python": platform.python_version(),
        "device": jax.default_backend(),
        "DOGCM_REPRODUCIBLE": "1" if reproducible() else "0",
        "XLA_FLAGS": " ".join(sorted(f for f in flags if not f.startswith("--xla_dump"))),
    }


def _differences(found: list[dict[str, Any]]) -> list[str]:
    """One text for each key whose value is not the same on all ranks."""
    unlike = [rank for rank, told in enumerate(found) if not isinstance(told, Mapping)]
    if unlike:
        return [f"rank {unlike[0]} asks for devices (--devices) and others do not"]
    keys = dict.fromkeys(k for rank in found for k in rank)
    told = []
    for key in keys:
        values = [rank.get(key, "nothing") for rank in found]
        other = next((r for r, v in enumerate(values) if v != values[0]), None)
        if other is not None:
            told.append(f"{key} is {values[0]} on rank 0 and {values[other]} on rank {other}")
    return told
