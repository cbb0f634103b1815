"""What the configuration says of a file where the file does not say it itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """Keys of an input section, see docs/input_files.md.

    Attributes:
        key: of the section, for messages (``forcing.files.sst``).
        axes: ``lat``, ``lon``, ``x``, ``y``, ``depth``, ``time``, ``angle`` -> name in the file.
        unit: of the values. units: of the axes, by the same names.
        standard_name: CF name that holds instead of the file's. sign: ``up`` or ``down``
            (bathymetry), ``reversed`` (fluxes).
        select: dimension or axis -> which record, level or member.
        missing: values that stand for missing ones. mask: variable that is 1 in water.
        range: least and largest value that is taken as it is.
        spread: records without dates are spread evenly over the year.
        plane: the model's grid is Cartesian, positions are x and y.
    """

    key: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    standard_name: str = ""
    sign: str = ""
    select: Mapping[str, object] = field(default_factory=dict)
    missing: tuple[float, ...] = ()
    mask: str = ""
    range: tuple[float, float] | None = None
    spread: bool = False
    plane: bool = False

    def ask(self, option: str, example: str) -> str:
        """How a message names the key that would say it."""
        return f"{self.key}.{option}: {example}" if self.key else f"{option}: {example}"


#: The configuration says nothing: the file is taken at its word.
AS_IT_SAYS = Request()
