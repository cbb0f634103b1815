"""Components of vectors: along the axes of a file's grid, or to the east and north."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dogcm.io.reading import meaning, reader, units
from dogcm.io.reading.errors import InputError
from dogcm.setups import atmosphere

# Components of one vector: (to the east, to the north).
PAIRS = {n: pair for pair in (("taux", "tauy"), ("wind_u", "wind_v")) for n in pair}


def eastward_and_northward(forcing, name: str, source, plane: bool):
    """``source``, turned together with the other component if they lie along the file's grid.

    They are turned by the angle from east to the grid's x axis, counter-clockwise, that the key
    ``axes: {angle: NAME}`` names.

    Args:
        forcing: section of the configuration. name: of the component. source: as
            :func:`dogcm.setups.atmosphere.read` gives it. plane: the model's grid is Cartesian,
            whose x and y take the place of east and north.

    Raises:
        InputError: no angle, or no second component.
    """
    own = forcing.files[name]
    if plane or not meaning.along_grid(own.standard_name or source.standard_name):
        return source
    key = f"forcing.files.{name}"
    if not own.axes.get("angle"):
        right = meaning.SAME[name][0]
        raise InputError(
            f"{key}: variable '{own.variable}' of {own.path} is {source.standard_name}: along the "
            f"axes of the file's own grid. {key}.axes: {{angle: NAME}} names the angle from east "
            f"to its x axis, by which it is turned; {key}.standard_name: {right} says that it "
            "points east or north all the same"
        )
    pair = PAIRS[name]
    x, y = (source if n == name else _partner(forcing, name, n, source) for n in pair)
    request = replace(atmosphere.request(own, key), standard_name="", select={}, unit="")
    angle = reader.read(own.path, own.axes["angle"], replace(request, missing=(), mask=""))
    a = units.convert(angle.values, angle.unit, "radian")
    east = x.values * np.cos(a) - y.values * np.sin(a)
    north = x.values * np.sin(a) + y.values * np.cos(a)
    return replace(source, values=east if name == pair[0] else north)


def _partner(forcing, name: str, other: str, source):
    """The other component of a vector, on the same points."""
    key = f"forcing.files.{name}"
    if other not in forcing.files:
        raise InputError(
            f"{key} lies along the file's own grid: forcing.files.{other} is needed too"
        )
    found = atmosphere.read(forcing.files[other], other, forcing)
    if found.values.shape != source.values.shape:
        raise InputError(
            f"{key}: '{source.name}' of {source.path} has shape {source.values.shape}, "
            f"'{found.name}' of {found.path} {found.values.shape}: they cannot be turned together"
        )
    return found
