"""What a learned jump predicts and from what: the part of a file of weights that is text."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ENCODERS = ("series", "maps", "scalars", "columns")
CONSTRAINTS = ("bounds", "inventory")


class JumpVariable(BaseModel):
    """One tracer of a jump.

    Attributes:
        name: of the tracer. start: its value everywhere when the spin-up begins. source: what it
            grows by in a year where nothing mixes. scale: its size. most: nothing is above this.
            All in its unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str
    start: float = 0.0
    source: float = 0.0
    scale: float = Field(gt=0)
    most: float = Field(gt=0)


def age_in_years(name: str = "age", most: float = 6000.0) -> JumpVariable:
    """Ideal age, which grows by a year a year from 0."""
    return JumpVariable(name=name, source=1.0, scale=1000.0, most=most)


class JumpConfig(BaseModel):
    """A learned jump but for its numbers.

    Attributes:
        variables: what is predicted. years: of the spin-up that is looked at.
        parameters: of the tracer step, by name, with their usual values.
        encoders: those that take part, of :data:`ENCODERS`.
        form: ``ratio``: the reference times the exponential of what the network says, so that
            nothing is negative; ``difference``: the reference plus so many times ``scale``.
        reference: whether there is a map of the mean equilibrium (else: ``scale`` everywhere).
        modes: how many maps of how equilibria differ from the reference there are: the network says
            how much of each, for the whole ocean, beside what it says of each cell.
        constraints: kept at inference, of :data:`CONSTRAINTS`.
        bands: of latitude, whose means make the series. depths: lower ends (m) of their layers.
        width, heads, layers: of the network.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    variables: tuple[JumpVariable, ...] = Field(min_length=1)
    years: int = Field(20, ge=5)
    parameters: dict[str, float] = {
        "vertical_diffusivity": 3e-5,
        "isoneutral_diffusivity": 1000.0,
        "gm_diffusivity": 1000.0,
    }
    encoders: tuple[Literal[ENCODERS], ...] = ENCODERS
    form: Literal["ratio", "difference"] = "ratio"
    reference: bool = True
    modes: int = Field(6, ge=0)
    constraints: tuple[Literal[CONSTRAINTS], ...] = CONSTRAINTS
    bands: int = Field(8, ge=2)
    depths: tuple[float, ...] = (200.0, 500.0, 1000.0, 2000.0, 3000.0, 1e4)
    width: int = Field(24, ge=4)
    heads: int = Field(4, ge=1)
    layers: int = Field(2, ge=1)

    @property
    def maps_of_modes(self) -> int:
        """How many there are in fact: none without a reference."""
        return self.modes if self.reference else 0

    @property
    def names(self) -> tuple[str, ...]:
        """The tracers."""
        return tuple(v.name for v in self.variables)


__all__ = ["CONSTRAINTS", "ENCODERS", "JumpConfig", "JumpVariable", "age_in_years"]
