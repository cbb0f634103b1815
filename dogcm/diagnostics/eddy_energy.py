"""Kinetic energy of eddies: what varies about the mean of an interval."""

from __future__ import annotations

from typing import Any

import numpy as np


def eddy_kinetic_energy(
    u: np.ndarray, v: np.ndarray, kinetic_energy: np.ndarray, north_fold: bool = False
) -> np.ndarray:
    """Mean kinetic energy less that of the mean flow, per mass (m2 s-2), at cell centres.

    The means are those of an output file of kind ``mean`` with the variables ``u``, ``v`` and
    ``kinetic_energy``. All steps count, and both energies are averaged from faces to centres in
    the same way, so that the result is half the variance of the flow, never negative but for
    rounding.

    Args:
        u, v: means (m s-1) at west and south faces, (..., y, x); NaN or 0 on land and walls.
        kinetic_energy: mean (m2 s-2) at centres. north_fold: whether the grid is folded in the
            north; the northern faces of the last row are not in the file, and that row is NaN.
    """
    west, south = np.nan_to_num(np.asarray(u, float)), np.nan_to_num(np.asarray(v, float))
    # Beyond the last face lies the first: where nothing is periodic, both are walls.
    east, north = np.roll(west, -1, -1), np.roll(south, -1, -2)
    mean_flow = 0.25 * (west**2 + east**2 + south**2 + north**2)
    found = np.asarray(kinetic_energy, float) - mean_flow
    if north_fold:
        found[..., -1, :] = np.nan
    return found


def eddy_energy_of(dataset: Any, north_fold: bool = False) -> Any:
    """:func:`eddy_kinetic_energy` of an output file, as a DataArray with its coordinates.

    Args:
        dataset: an opened output file of kind ``mean`` with ``u``, ``v`` and ``kinetic_energy``.

    Raises:
        ValueError: a variable is missing, or is no mean.
    """
    for name in ("u", "v", "kinetic_energy"):
        if name not in dataset:
            raise ValueError(
                f"eddy kinetic energy: the file has no {name}; write u, v and kinetic_energy "
                "with kind: mean"
            )
        if "mean" not in str(dataset[name].attrs.get("cell_methods", "")):
            raise ValueError(f"eddy kinetic energy: {name} is no mean; write it with kind: mean")
    kinetic = dataset["kinetic_energy"]
    values = eddy_kinetic_energy(
        dataset["u"].values, dataset["v"].values, kinetic.values, north_fold
    )
    found = kinetic.copy(data=np.where(np.isfinite(kinetic.values), values, np.nan))
    found.attrs |= {"long_name": "kinetic energy of eddies per mass", "units": "m2 s-2"}
    found.attrs.pop("standard_name", None)
    return found.rename("eddy_kinetic_energy")


__all__ = ["eddy_energy_of", "eddy_kinetic_energy"]
