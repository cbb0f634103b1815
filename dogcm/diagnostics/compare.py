"""Two runs' monitor files, compared to the last bit."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from dogcm.diagnostics.files import MONITOR_FILE

# More differing columns than this are counted, not named.
_NAMED = 4


class StatsError(ValueError):
    """A file that holds no monitor lines, or two that have nothing in common."""


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`. same: bit for bit, at all common steps. text: for people."""

    same: bool
    text: str


def compare(a: str | Path, b: str | Path) -> Comparison:
    """Compare two monitor files (or the output folders they lie in) at the steps that both have.

    Numbers are written with all their digits, so equal text is equal bits. The checksum covers
    every prognostic value.

    Raises:
        FileNotFoundError, StatsError: no such file, no monitor lines in it, or no step in common.
    """
    first, second = read(a), read(b)
    common = [step for step in first if step in second]
    if not common:
        raise StatsError(f"{a} and {b} have no step in common")
    columns = [c for c in first[common[0]] if c in second[common[0]]]
    for step in common:
        one, two = first[step], second[step]
        different = [c for c in columns if one[c] != two[c]]
        if different:
            return Comparison(False, _difference(step, one, two, different, common))
    only = len(set(first) ^ set(second))
    more = f"; {only} step{'s' * (only != 1)} in one of them only" if only else ""
    what = (
        "all columns"
        if "checksum" in columns
        else "all columns (no checksum of the state among them)"
    )
    return Comparison(True, f"the same bits at {len(common)} steps, {what}{more}")


def read(path: str | Path) -> dict[int, dict[str, str]]:
    """Lines of a monitor file by step, values as text."""
    path = Path(path)
    path = path / MONITOR_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no such monitor file: {path}")
    with open(path, newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(line for line in file if not line.startswith("#"))]
    try:
        return {int(row["step"]): row for row in rows}
    except (KeyError, TypeError, ValueError):
        raise StatsError(
            f"{path} holds no monitor lines (a table with a column step is expected)"
        ) from None


def _difference(step, one, two, different, common) -> str:
    lines = [
        f"they differ from step {step} on (day {_number(one.get('time')) / 86400:g}; line "
        f"{common.index(step) + 1} of {len(common)} in common), in {', '.join(different[:_NAMED])}"
        + (f" and {len(different) - _NAMED} more" if len(different) > _NAMED else "")
    ]
    for c in different[:_NAMED]:
        x, y = _number(one[c]), _number(two[c])
        size = max(abs(x), abs(y))
        relative = f"  (relative difference {abs(x - y) / size:.1e})" if size > 0 else ""
        lines.append(f"  {c}: {one[c]} and {two[c]}{relative}")
    return "\n".join(lines)


def _number(text) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


__all__ = ["Comparison", "StatsError", "compare", "read"]
