"""What was understood of every input file of an experiment, before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dogcm.io.reading import reader, summary
from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request
from dogcm.setups import atmosphere, vectors, volumes
from dogcm.setups.config import Config
from dogcm.setups.inputs import STARTER, STARTER_RECORDS, records, sea_floor


@dataclass(frozen=True)
class Understood:
    """One input. key: of the configuration. lines: what it holds. refused: why it is not used."""

    key: str
    lines: tuple[str, ...] = ()
    refused: str = ""

    def text(self) -> str:
        """For people."""
        body = [f"  {line}" for line in self.lines] or [f"  refused    {self.refused}"]
        return "\n".join([self.key, *body])


def inputs_of(config: Config) -> list[Understood]:
    """Every input that an experiment reads from netCDF files, understood or refused."""
    plane = not config.grid.sphere
    out = []
    if config.bathymetry.source in ("starter", "file"):
        out.append(
            _one("bathymetry", lambda: summary.lines(sea_floor(config.bathymetry, plane), "depth"))
        )
    if config.initial.source in ("starter", "file"):
        for name in ("temperature", "salinity"):
            out.append(_one(f"initial.{name}", lambda n=name: _volume(config, n, plane)))
    try:
        names = records(config)
    except InputError as error:
        return [*out, Understood("forcing", refused=str(error))]
    for name in names:
        own = [n for n in (name, "dew_point") if n in config.forcing.files]
        if own and (name in own or name == "specific_humidity"):
            out.append(_one(f"forcing.files.{own[0]}", lambda n=own[0]: _surface(config, n, plane)))
        elif config.forcing.source == "starter":
            out.append(_one(f"forcing.{name}", lambda n=name: _starter(n)))
    return out


def variables_of(path: str | Path) -> list[Understood]:
    """Every gridded variable of a file, as the reader understands it by itself."""
    with reader.open_dataset(Path(path)) as data:
        edges = {v.attrs.get(a) for v in data.variables.values() for a in ("bounds", "climatology")}
        names = [
            str(n)
            for n, v in data.data_vars.items()
            if v.ndim >= 2 and np.dtype(v.dtype).kind in "iuf" and n not in edges
        ]
    if not names:
        raise InputError(f"{path} has no variable with two dimensions or more")
    return [_one(n, lambda n=n: summary.lines(_anywhere(path, n))) for n in names]


def _anywhere(path: str | Path, name: str):
    """A variable by latitude and longitude, else by x and y."""
    try:
        return reader.read(path, name)
    except InputError as error:
        try:
            return reader.read(path, name, Request(plane=True))
        except InputError:
            raise error from None


def _one(key: str, describe: Callable[[], list[str]]) -> Understood:
    try:
        return Understood(key, tuple(describe()))
    except (InputError, FileNotFoundError) as error:
        return Understood(key, refused=str(error))


def _volume(config: Config, name: str, plane: bool) -> list[str]:
    scale = volumes.scale_of(config, name, plane)
    wanted = {"teos10": "TEOS-10"}.get(
        config.physics.equation_of_state.kind, "the equation of state"
    )
    note = (
        f"{scale}, converted for {wanted} by gsw" if scale else "taken to be on the model's scale"
    )
    return summary.lines(volumes.source(config, name, plane), name, (note,))


def _surface(config: Config, name: str, plane: bool) -> list[str]:
    source = atmosphere.read(config.forcing.files[name], name, config.forcing, plane)
    if name in vectors.PAIRS:
        source = vectors.eastward_and_northward(config.forcing, name, source, plane)
    count = len(source.values) if source.timed else 1
    note = f"{count} records, in the order of a year" if count > 1 else "steady"
    return summary.lines(source, name, (note,))


def _starter(name: str) -> list[str]:
    return summary.lines(
        reader.read(STARTER / "surface.nc", STARTER_RECORDS[name], field=name), name
    )
