"""The nearest known name, for messages about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: object, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Up to ``count`` names among ``known`` that ``word`` may have meant, the nearest first."""
    return difflib.get_close_matches(str(word), list(known), n=count, cutoff=cutoff)


def did_you_mean(word: object, known: Iterable[str], **options) -> str:
    """``; did you mean ...?`` for the end of a message, or nothing; options of :func:`nearest`."""
    close = nearest(word, known, **options)
    return f"; did you mean {' or '.join(close)}?" if close else ""


__all__ = ["did_you_mean", "nearest"]
