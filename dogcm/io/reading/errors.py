"""The one exception of input files."""

from __future__ import annotations


class InputError(ValueError):
    """Input data that cannot be used; says what, where and what to do."""
