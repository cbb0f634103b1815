"""Damaged and nonsensical input files end in one message that names the file."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import xarray as xr
from legal_forms import Form, write

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.io.reading.errors import InputError
from dogcm.setups import atmosphere, inputs, understood, volumes
from dogcm.setups.config import BathymetryConfig, ForcingConfig, ForcingFile
from dogcm.setups.registry import load_config
from dogcm.targets import TargetError, TargetGrid, read_glorys, read_profiles, read_sst

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
DRAWS = 50
# What xarray and the test itself may raise while a file is spoilt.
NOT_WRITABLE = (ValueError, TypeError, LookupError, NotImplementedError, OSError, RuntimeError)
ODD_TEXTS = ("", " ", "degrees", "m", "K", "1", "seconds since never", "days since 2000-13-45",
             "months since", "°", "\N{SNOWMAN}", "kg/(m^2 s", "1/0", "x" * 300, "nan")  # fmt: skip


def file_damage(rng, path):
    """A file that is cut short, or none at all.

    Bytes changed within a file can crash the netCDF library itself, which no caller can catch.
    """
    whole = path.read_bytes()
    if rng.random() < 0.5:
        whole = whole[: int(rng.integers(0, len(whole)))]
    else:
        whole = rng.integers(0, 256, 500, dtype=np.uint8).tobytes()
    path.write_bytes(whole)


def pick(rng, options):
    options = list(options)
    return options[int(rng.integers(len(options)))] if options else None


def change_attribute(rng, data):
    name = pick(rng, data.variables)
    key = pick(rng, ("units", "standard_name", "axis", "positive", "calendar", "bounds"))
    attrs = data[name].attrs
    if rng.random() < 0.3:
        attrs.pop(key, None)
    elif rng.random() < 0.2:
        attrs[key] = float(rng.normal())
    else:
        attrs[key] = pick(rng, ODD_TEXTS)


def change_numbers(rng, data):
    name = pick(rng, [n for n in data.variables if data[n].size and data[n].dtype.kind == "f"])
    if name is None:
        return
    values = np.array(data[name].values)
    flat = values.reshape(-1)
    kind = rng.integers(6)
    if kind == 0:
        flat[rng.integers(flat.size)] = pick(rng, (np.nan, np.inf, -np.inf, 1e30, -9999.0))
    elif kind == 1:
        flat[:] = pick(rng, (np.nan, 0.0, 1e300, np.inf, 1.0))
    elif kind == 2:
        rng.shuffle(flat)
    elif kind == 3:
        flat[:] = flat[0]
    elif kind == 4:
        flat *= pick(rng, (1e-6, 1e6, -1.0, np.nan))
    else:
        flat[:] = np.arange(flat.size)
    data[name] = data[name].copy(data=values)


def change_shape(rng, data):
    dim = pick(rng, data.sizes)
    kind = rng.integers(6)
    if kind == 0:
        return data.isel({dim: slice(0, int(rng.integers(0, 2)))})
    if kind == 1:
        return data.drop_vars([n for n in (dim, pick(rng, data.variables)) if n in data.variables])
    if kind == 2:
        return data.expand_dims(member=int(rng.integers(1, 4)))
    if kind == 3:
        return data.isel({dim: 0})
    if kind == 4:
        return data.rename({dim: pick(rng, ("time2", "z", "lev", "q", "record"))})
    return data.isel({dim: rng.permutation(data.sizes[dim])})


def change_kind(rng, data):
    name = pick(rng, data.variables)
    if data[name].dims and name not in data.dims:
        data[name] = data[name].astype(str) if rng.random() < 0.5 else data[name] > 0
        data[name].encoding = {}


def damage(rng, path):
    """One to three things wrong with a file."""
    if rng.random() < 0.15:
        return file_damage(rng, path)
    with xr.open_dataset(path, decode_times=False, mask_and_scale=False) as found:
        data = found.load()
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.integers(4)
        if kind == 2:
            changed = change_shape(rng, data)
            data = data if changed is None else changed
        else:
            (change_attribute, change_numbers, None, change_kind)[kind](rng, data)
    for name in data.variables:
        data[name].encoding.pop("coordinates", None)
        data[name].attrs.pop("coordinates", None)
    data.to_netcdf(path)


def function(month, depth, lat, lon):
    return 15.0 + 5.0 * np.sin(np.deg2rad(lat)) + np.cos(np.deg2rad(lon)) - depth / 1000 + month / 9


BASE = load_config("gyre", {"grid.kind": "latlon", "grid.lat": [-60, 60]}).model_dump()


def forcing(path, name):
    own = ForcingFile(path=str(path), variable=name)
    c = load_config(BASE, {"forcing.source": "none", "forcing.files": {"sst": own.model_dump()}})
    source = atmosphere.read(own, "sst", ForcingConfig())
    return volumes.surface(c, "sst", source).values


def initial(path, name):
    own = {"path": str(path), "variable": name}
    change = {"initial.source": "file", "initial.path": "x", "initial.temperature_file": own}
    return volumes.source(load_config(BASE, change), "temperature").values


def floor(path, name):
    own = BathymetryConfig(source="file", path=str(path), variable=name)
    return inputs.sea_floor(own).values


def on_the_grid(path, name):
    own = ForcingFile(path=str(path), variable=name, fill="nearest").model_dump()
    c = load_config(BASE, {"forcing.source": "none", "forcing.files": {"sst": own}})
    horizontal = inputs.horizontal_grid(c)
    return inputs.record(c, "sst", horizontal, np.ones(horizontal.shape, bool))


KINDS = {
    "forcing": (forcing, ("time",)), "initial": (initial, ("depth",)), "floor": (floor, ()),
    "on the grid": (on_the_grid, ("time",)),
}  # fmt: skip


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4))]
)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(tmp_path, kind, seed):
    """1000 files in all: read, or refused by a message that names file, variable or key."""
    call, axes = KINDS[kind]
    came = collections.Counter()
    for n in range(DRAWS):
        rng = np.random.default_rng([seed, n])
        form = Form(rng)
        path = tmp_path / f"{n}.nc"
        if kind == "floor":
            below = lambda *a: -100.0 * function(*a)
            variable, _ = write(path, form, "elevation", below, "length", (-3000, 0), axes)
        else:
            variable, _ = write(path, form, "f", function, "temperature", (5, 25), axes)
        try:
            damage(rng, path)
        except NOT_WRITABLE:
            came["not writable"] += 1
            continue
        try:
            values = call(path, variable)
        except (InputError, FileNotFoundError) as error:
            assert path.name in str(error) or "sst" in str(error) or "bathymetry" in str(error)
            came["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}, draw {n}: {form.choice}") from error
        else:
            assert np.isfinite(values).any()
            came["read"] += 1
        if path.is_file() and n % 10 == 0:
            try:
                understood.variables_of(path)
            except InputError:
                pass
    assert came["refused"] > 10 and came["read"] > 2, came


# ---- targets
@pytest.fixture(scope="module")
def grid():
    c = load_config("two_basin", {"grid.nx": 12, "grid.ny": 8, "grid.lat": [-40, 40]})
    horizontal, vertical = inputs.horizontal_grid(c), inputs.vertical_grid(c)
    shape = (vertical.nz, *horizontal.shape)
    return TargetGrid(
        horizontal, vertical, np.broadcast_to(vertical.dz[:, None, None], shape).copy()
    )


def globe(path, rng, name):
    """Sea surface temperature of four days."""
    lat, lon = np.linspace(-80, 80, 9), np.arange(0.0, 360, 30)
    days = ("time", np.arange(4.0), {"units": "days since 2000-01-01", "calendar": "noleap"})
    axes = {"time": days, "latitude": ("latitude", lat, {"units": "degrees_north"})}
    axes["longitude"] = ("longitude", lon, {"units": "degrees_east"})
    depth = {"depth": ("depth", np.array([5.0, 300.0, 2000.0]), {"units": "m"})}
    flat, deep = ("time", "latitude", "longitude"), ("time", "depth", "latitude", "longitude")
    dims = flat if name == "sst" else deep
    values = 10.0 + rng.uniform(0, 1, (4, *([3] if dims == deep else []), 9, 12))
    data = xr.Dataset(
        {name: (dims, values, {"units": "degC"})}, axes | (depth if dims == deep else {})
    )
    if dims == deep:
        data["so"] = (deep, values + 20.0, {"units": "1e-3"})
    data.to_netcdf(path)


def floats(path, rng):
    n = ("n", "z")
    xr.Dataset(
        {
            "theta": (n, rng.uniform(5, 20, (4, 3)), {"units": "degC"}),
            "psal": (n, np.full((4, 3), 35.0), {"units": "1"}),
            "lat": ("n", rng.uniform(-50, 50, 4)),
            "lon": ("n", rng.uniform(0, 360, 4)),
            "juld": ("n", np.arange(4.0), {"units": "days since 2000-01-01"}),
            "depth": ("z", [0.0, 100.0, 500.0], {"units": "m"}),
        }
    ).to_netcdf(path)


TARGETS = {
    "sst": (lambda p, r: globe(p, r, "sst"), lambda p, g: read_sst(p, g, monthly=False)),
    "reanalysis": (
        lambda p, r: globe(p, r, "thetao"),
        lambda p, g: read_glorys(p, g, variables=("temperature",), max_uncovered=0.9),
    ),
    "profiles": (floats, lambda p, g: read_profiles(p)),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
@pytest.mark.parametrize("kind", TARGETS)
def test_damaged_targets(tmp_path, grid, kind, seed):
    make, call = TARGETS[kind]
    came = collections.Counter()
    for n in range(DRAWS):
        rng = np.random.default_rng([seed, n, 7])
        path = tmp_path / f"{n}.nc"
        make(path, rng)
        try:
            damage(rng, path)
        except NOT_WRITABLE:
            continue
        try:
            call(path, grid)
        except (TargetError, InputError) as error:
            assert path.name in str(error) or "profile" in str(error)
            came["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}, draw {n}") from error
        else:
            came["read"] += 1
    assert came["refused"] > 5 and came["read"] > 2, came
