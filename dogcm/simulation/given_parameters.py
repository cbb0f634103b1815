"""Parameters given as arrays: one number, a profile, a map, or a value for every cell."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from dogcm.components.base import ParameterInfo
from dogcm.components.errors import ConfigError
from dogcm.components.registry import known_parameters, labelled_parameter
from dogcm.field import Field
from dogcm.io.root import on_root

# By number of axes.
_SHAPES = {0: "scalar", 1: "profile", 2: "map", 3: "volume"}


def parameter_on_tiles(model, name: str, values: Any):
    """What ``model.params[name]`` has to be for these values; every rank calls it.

    Args:
        values: on rank 0: a number, or an array ``(level,)``, ``(y, x)`` or ``(level, y, x)`` over
            the whole grid (an :class:`xarray.DataArray` of this order too); NaN on land.

    Raises:
        ConfigError: on every rank: an unknown name, a shape that the physics does not take or that
            is not the grid's, values that are missing in the ocean or out of range.
    """
    info = known_parameters().get(name) or labelled_parameter(name)
    if info is None or name not in model.params:
        raise ConfigError(f"the model has no parameter {name}")
    levels = model.grid.nz - (info.levels == "interfaces")
    wet = model.gather(model.grid.mask_c)
    array = on_root(model.comm, _checked, model, info, values, levels, wet)
    if array.ndim < 2:
        plain = array.reshape(-1, 1, 1) if array.ndim else array
        return jnp.asarray(plain, model.dtype)
    halo = model.grid.h_c.halo
    tiled = model.decomposition.scatter(array if model.comm.rank == 0 else None, halo)
    return Field(jnp.asarray(tiled, model.dtype), "c", halo).named(name)


def _checked(model, info: ParameterInfo, values: Any, levels: int, wet) -> np.ndarray:
    array = np.asarray(values, float)
    shape, size = _SHAPES.get(array.ndim, "array"), model.horizontal.shape
    if shape not in info.shapes:
        raise ConfigError(
            f"{info.name} cannot be a {shape} (given: shape {array.shape}); it can be a "
            f"{' or '.join(info.shapes)}"
        )
    whole = {"scalar": (), "profile": (levels,), "map": size, "volume": (levels, *size)}[shape]
    if array.shape != whole:
        raise ConfigError(
            f"{info.name}: an array of shape {array.shape} on a grid that needs {whole}"
        )
    if array.ndim < 2:
        counts = np.ones(array.shape, bool)
    else:
        counts = (wet[0] if array.ndim == 2 else wet) > 0
    found = array[counts]
    if not np.isfinite(found).all():
        raise ConfigError(f"{info.name}: {np.sum(~np.isfinite(found))} values are missing at sea")
    _check_range(model, info, found)
    # What land holds has no effect, but a logarithm may be taken of it.
    return np.where(counts, array, found.mean())


def _check_range(model, info: ParameterInfo, found: np.ndarray) -> None:
    owner = next((c for c in model.config.components() if info.name in c.parameter_infos()), None)
    if owner is None:
        return
    for limit in type(owner).model_fields[info.name].metadata:
        for kind, bad in (("ge", np.less), ("gt", np.less_equal), ("le", np.greater)):
            bound = getattr(limit, kind, None)
            if bound is not None and bad(found, bound).any():
                raise ConfigError(
                    f"{info.name} from {found.min():g} to {found.max():g} {info.unit}: out of "
                    f"range ({kind} {bound:g})"
                )


__all__ = ["parameter_on_tiles"]
