"""Raw inputs of MITgcm's 4-degree global ocean tutorial, read from a folder the user gives.

Big-endian binary without header, x fastest, ``[month, level, lat, lon]``; MITgcm's heat and
fresh-water fluxes are positive upwards. Missing values are 0 on land.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

_RECORDS = {
    "taux": ("trenberth_taux.bin", 1.0),
    "tauy": ("trenberth_tauy.bin", 1.0),
    "heat_flux": ("ncep_qnet.bin", -1.0),
    "freshwater_flux": ("ncep_emp.bin", -1.0),
    "sst": ("lev_sst.bin", 1.0),
    "sss": ("lev_sss.bin", 1.0),
}
_COLDEST = -1.9  # degC; interpolation left colder water in the file, MITgcm clips it likewise


def _read(folder: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    path = Path(folder) / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: point the path at the folder with MITgcm's "
            f"tutorial_global_oce_latlon inputs"
        )
    expected = int(np.prod(shape)) * 4
    if path.stat().st_size != expected:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, {expected} expected for float32 {shape}: "
            f"damaged or another grid"
        )
    return np.fromfile(path, ">f4").reshape(shape).astype(float)


def depth(folder: str, shape: tuple[int, int]) -> np.ndarray:
    """Depth (m, positive, 0 on land)."""
    return -_read(folder, "bathymetry.bin", shape)


def initial(folder: str, name: str, shape: tuple[int, int], nz: int) -> np.ndarray:
    """January temperature (potential, degC) or salinity (psu), (nz, ny, nx)."""
    file = {"temperature": "lev_t.bin", "salinity": "lev_s.bin"}[name]
    values = _read(folder, file, (12, nz, *shape))[0]
    return np.maximum(values, _COLDEST) if name == "temperature" else values


def record(folder: str, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Twelve monthly records of a surface field, signs as dogcm has them."""
    file, sign = _RECORDS[name]
    values = sign * _read(folder, file, (12, *shape))
    return np.maximum(values, _COLDEST) if name == "sst" else values
