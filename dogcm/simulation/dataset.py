"""The state of a model as an xarray Dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dogcm.diagnostics.variables import VARIABLES, Variable, variables_of
from dogcm.io.description import (
    PLACES,
    axis_names,
    date_of,
    horizontal_attributes,
    place_attributes,
)


def dataset(model, names: Sequence[str] | None = None):
    """The prognostic variables on the global grid, with CF names and units.

    On curvilinear grids variables have the two-dimensional latitudes and longitudes of their
    places as coordinates, by the names that files give them (``lat``, ``lon``, ``lat_u``, ...).

    Args:
        names: of state variables; default: temperature, salinity, u, v, eta and passive tracers.

    Returns:
        An :class:`xarray.Dataset` on rank 0, None on the others; all ranks have to call.

    Raises:
        KeyError: a name that the state does not have.
    """
    import xarray as xr

    fields = model.state.variables()
    own = variables_of(model.passive, model.config.physics.equation_of_state.kind)
    names_of = axis_names(model.horizontal)
    found, axes = {}, _coordinates(model, names_of)
    for name in _prognostic(model) if names is None else names:
        if name not in fields:
            raise KeyError(f"the state has no {name!r}; it has {', '.join(fields)}")
        values = _gathered(model, fields[name])
        if values is None:
            continue
        dims = ("depth",) * (values.ndim == 3) + _axes_at(fields[name].at[0], names_of)
        found[name] = (dims, values, _attributes(own.get(name) or VARIABLES.get(name)))
    if not found:
        return None
    used = {d for dims, *_ in found.values() for d in dims}
    used |= _add_places(model, {n: fields[n].at[0] for n in found}, axes, names_of)
    date = date_of(float(model.state.time), model.config.forcing.year)
    attributes = {"title": model.config.name, "Conventions": "CF-1.11", "model_date": date}
    out = xr.Dataset(found, {n: v for n, v in axes.items() if n in used}, attributes)
    if model.horizontal.curvilinear:
        for name in found:
            out[name].encoding["coordinates"] = " ".join(PLACES[fields[name].at[0]])
    return out


def _attributes(about: Variable | None) -> dict[str, str]:
    if about is None:
        return {}
    found = {"units": about.unit, "long_name": about.long_name}
    return found | ({"standard_name": about.standard_name} if about.standard_name else {})


def _prognostic(model) -> list[str]:
    passive = (v.name for v in model.passive.variables)
    return ["temperature", "salinity", "u", "v", "eta", *passive]


def _gathered(model, field) -> np.ndarray | None:
    """The values of the globe on rank 0, NaN on land."""
    place = field.at[0]
    mask = getattr(model.grid, f"wet_{place}" if field.ndim == 2 else f"mask_{place}").crop(0)
    values, mask = model.gather(field, fill=np.nan), model.gather(mask)
    return None if values is None else np.where(mask > 0, values, np.nan)


def _axes_at(place: str, names_of: dict[str, str]) -> tuple[str, str]:
    """Names of the axes in y and x of a place of the C grid."""
    lat, lon = "lat_v" if place == "v" else "lat", "lon_u" if place == "u" else "lon"
    return names_of[lat], names_of[lon]


def _add_places(model, places: dict[str, str], axes: dict, names_of: dict[str, str]) -> set[str]:
    """Add latitudes and longitudes of the places of variables to ``axes``; returns their names."""
    if not model.horizontal.curvilinear:
        return set()
    added = set()
    for at in sorted(set(places.values())):
        dims = _axes_at(at, names_of)
        for name, values in zip(PLACES[at], model.horizontal.points(at)):
            axes[name] = (dims, values, place_attributes(name, at))
            added.add(name)
    return added


def _coordinates(model, names_of: dict[str, str]) -> dict:
    """One-dimensional coordinates by the names that files give them."""
    depth = {"units": "m", "positive": "down", "standard_name": "depth", "axis": "Z"}
    found = {"depth": ("depth", model.vertical.centres, depth)}
    for key, (values, unit) in model.horizontal.coordinates().items():
        attributes = horizontal_attributes(key, unit, model.horizontal)
        found[names_of[key]] = (names_of[key], np.asarray(values), attributes)
    return found


__all__ = ["dataset"]
