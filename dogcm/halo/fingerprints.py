"""Whether two traced programs do the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jax._src import core

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


def fingerprint(jaxpr: core.ClosedJaxpr) -> str:
    """Digest of all that a program does; of the arrays that it holds only their number counts."""
    digest = hashlib.sha256()
    _program(jaxpr.jaxpr, digest)
    return digest.hexdigest()


def digest_of(array) -> tuple[tuple[int, ...], str, str]:
    """Shape, type and digest of an array."""
    content = np.ascontiguousarray(np.asarray(array))
    return content.shape, str(content.dtype), hashlib.sha256(content.tobytes()).hexdigest()


def _program(jaxpr: core.Jaxpr, digest) -> None:
    numbers: dict[Any, int] = {}
    for variable in (*jaxpr.constvars, *jaxpr.invars):
        numbers[variable] = len(numbers)
    for equation in jaxpr.eqns:
        digest.update(equation.primitive.name.encode())
        for operand in equation.invars:
            _operand(operand, numbers, digest)
        for name, value in sorted(equation.params.items()):
            digest.update(name.encode())
            _parameter(value, digest)
        for variable in equation.outvars:
            numbers[variable] = len(numbers)
    for operand in jaxpr.outvars:
        _operand(operand, numbers, digest)


def _operand(operand, numbers: dict, digest) -> None:
    digest.update(str(operand.aval).encode())
    if isinstance(operand, core.Literal):
        digest.update(np.asarray(operand.val).tobytes())
    else:
        digest.update(str(numbers[operand]).encode())


def _parameter(value: Any, digest) -> None:
    """Functions and the like are told by what was traced of them."""
    if isinstance(value, core.ClosedJaxpr):
        for array in value.consts:
            digest.update(str(digest_of(array)).encode())
        value = value.jaxpr
    if isinstance(value, core.Jaxpr):
        _program(value, digest)
    elif isinstance(value, tuple | list):
        for part in value:
            _parameter(part, digest)
    elif isinstance(value, _PLAIN):
        digest.update(repr(value).encode())


__all__ = ["digest_of", "fingerprint"]
