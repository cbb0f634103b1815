"""Configuration of a corrector: every parameter with its unit, default and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from dogcm.components import Component
from dogcm.components.registry import component, make
from dogcm.corrector import networks  # noqa: F401 defines the networks that ship
from dogcm.corrector.features import GROUPS
from dogcm.corrector.outputs import SEA_LEVEL, VELOCITY, CorrectorOutput, Flux


def _par(default: Any, unit: str, text: str, **limits) -> Any:
    factory = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=text, json_schema_extra={"unit": unit}, **factory, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Scales(_Section):
    """What counts as one. Means and scales of tracers are one number, or one for each level."""

    temperature_mean: list[float] = _par(
        lambda: [10.0], "degC", "reference that anomalies are taken from"
    )
    temperature_scale: list[float] = _par(lambda: [10.0], "K", "size of its anomalies")
    salinity_mean: list[float] = _par(
        lambda: [35.0], "g kg-1", "reference that anomalies are taken from"
    )
    salinity_scale: list[float] = _par(lambda: [1.0], "g kg-1", "size of its anomalies")
    temperature_change: float = _par(2.0, "K", "difference between neighbouring cells", gt=0)
    salinity_change: float = _par(0.2, "g kg-1", "difference between neighbouring cells", gt=0)
    speed: float = _par(0.1, "m s-1", "velocity", gt=0)
    year: float = _par(365.0, "days", "period of seasons", gt=0)
    degrees: float = _par(
        1.0, "degrees", "per unit of grid.lon_c (on a plane they are km: 0.009)", gt=0
    )

    @model_validator(mode="after")
    def _positive(self):
        for name in ("temperature_scale", "salinity_scale"):
            if min(getattr(self, name), default=0.0) <= 0:
                raise ValueError(f"{name}: one or more numbers above 0")
        return self


_DEFAULT_INPUTS = (
    "tracers",
    "gradients",
    "vertical",
    "velocity",
    "surface",
    "sea_level",
    "geometry",
    "mask",
)


def _entry(one: Component) -> Any:
    """Its name alone where it has no options."""
    entry = one.entry()
    return entry if len(entry) > 1 else entry["kind"]


def _one_of(slot: str, key: str) -> Any:
    """Annotation of an entry of a list or dict that is a component of ``slot``."""

    def made(entry: Any) -> Component:
        found = make(slot, entry, key)
        if found is None:
            raise ValueError(f"{key}: none is no choice here")
        return found

    return Annotated[Any, BeforeValidator(made), PlainSerializer(_entry)]


class CorrectorConfig(_Section):
    """A neural corrector."""

    network: component("network", "none", "the network", "corrector.network", True)
    inputs: tuple[_one_of("feature", "corrector.inputs"), ...] = _par(
        lambda: tuple(GROUPS[n]() for n in _DEFAULT_INPUTS),
        "1",
        "feature groups: names, or package.module:Class of one's own",
        min_length=1,
    )
    outputs: dict[str, _one_of("corrector_output", "corrector.outputs")] = _par(
        lambda: {"temperature": Flux(), "salinity": Flux()},
        "1",
        "what is corrected, a tracer or velocity, and how: see dogcm.corrector.outputs; or "
        "package.module:Class of one's own",
    )
    rates: dict[str, float | list[float]] = _par(
        lambda: {"temperature": 0.1, "salinity": 0.02, VELOCITY: 0.01, SEA_LEVEL: 0.05},
        "unit day-1",
        "largest tendency of each variable (K, g kg-1, m s-1 or m a day): one number, or one for "
        "each level",
    )
    maps: Literal[0, 1, 3, 5] = _par(
        0,
        "1",
        "learned maps of every output's tendency: none, the mean, also an annual cycle (3), of two "
        "harmonics (5); they belong to one grid",
    )
    learn_maps: bool = _par(
        True,
        "1",
        "false: maps stay as their first guess is; they are many, and gradients are noisy",
    )
    maps_only: tuple[str, ...] = _par(
        (),
        "1",
        "outputs that maps alone correct: the network has no say in them, and what short rollouts "
        "teach it cannot make them drift",
    )
    diffusivity: float = _par(
        1000.0, "m2 s-1", "kind diffusive: the diffusivity that is multiplied", gt=0
    )
    strength: float = _par(
        1.0,
        "1",
        "factor of all rates: about (this spacing / that of training)^2 where a corrector moves to "
        "a finer grid",
        ge=0,
    )
    every: int = _par(
        24, "steps", "the corrector acts at every n-th step, n times as strongly", ge=1
    )
    precision: Literal["model", "float32", "float64"] = _par("model", "1", "of weights and network")
    halo: Literal["layer", "deep"] = _par("layer", "1", "exchange for each layer, or a deep one")
    scales: Annotated[Scales, Field(default_factory=Scales)]

    @property
    def kind(self) -> str:
        """Name of the network; ``none`` without one."""
        return "none" if self.network is None else self.network.name()

    @model_validator(mode="before")
    @classmethod
    def _options_of_networks(cls, given: Any) -> Any:
        """Options of a network belong to it."""
        moved = ("kind", "width", "depth", "poolings", "heads", "activation")
        found = [n for n in moved if isinstance(given, dict) and n in given]
        if found:
            raise ValueError(
                f"{', '.join(found)}: options of the network are now written "
                "corrector.network: {kind: conv, width: 32, depth: 2}"
            )
        return given

    @model_validator(mode="after")
    def _consistent(self):
        for name, output in self.outputs.items():
            rates = self.rates.get(name, 0.0)
            if min(rates if isinstance(rates, list) else [rates], default=0.0) <= 0:
                raise ValueError(f"rates: give the largest tendency a day of {name!r}, above 0")
            if (name if name in (VELOCITY, SEA_LEVEL) else "tracers") not in output.corrects:
                raise ValueError(
                    f"outputs: {name} cannot be corrected by {output.name()!r}, which is of "
                    f"{' and '.join(output.corrects)}; tendency is of everything"
                )
        if not self.outputs:
            raise ValueError("outputs: name at least one, for example {temperature: flux}")
        unknown = sorted(set(self.maps_only) - set(self.outputs))
        if unknown:
            raise ValueError(
                f"maps_only: {', '.join(unknown)} not among outputs ({', '.join(self.outputs)})"
            )
        if self.maps_only and not self.maps:
            raise ValueError("maps_only: there are no maps; set maps to 1, 3 or 5")
        if not self.of_network:
            raise ValueError("maps_only: leave the network one output or more")
        return self

    @property
    def of_network(self) -> dict[str, CorrectorOutput]:
        """The outputs that the network corrects, with how."""
        return {n: one for n, one in self.outputs.items() if n not in self.maps_only}
