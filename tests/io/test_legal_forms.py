"""A field is read to the same numbers in whatever legal form it is written: 1000 drawn forms."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from legal_forms import Form, encode, positions, write

from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.setups import atmosphere, inputs, volumes
from dogcm.setups.config import BathymetryConfig, ForcingConfig, ForcingFile
from dogcm.setups.registry import load_config
from dogcm.targets import TargetGrid, read_glorys, read_profiles, read_sst
from dogcm.targets.clock import Clock

pytestmark = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
DRAWS = 25


def wave(month, depth, lat, lon):
    """Between -1 and 1; a different number at every place, level and month."""
    y, x = np.deg2rad(lat), np.deg2rad(lon)
    return 0.4 * np.sin(y) + 0.3 * np.cos(y) * np.cos(x - 0.3) + 0.2 * np.cos(
        2 * np.pi * (month - 1) / 12 + 0.5
    ) - depth / 25000.0  # fmt: skip


def gaps(lat, lon):
    """Some places without a value."""
    return np.cos(np.deg2rad(3 * lat)) * np.cos(np.deg2rad(2 * lon + 17)) > 0.8


def draw(seed, each):
    """``DRAWS`` forms of a seed; a failure tells what was drawn."""
    for n in range(DRAWS):
        form = Form(np.random.default_rng([seed, n]))
        try:
            each(form)
        except Exception as error:
            raise AssertionError(f"seed {seed}, draw {n}: {form.choice}: {error}") from error


FIELDS = {
    "sst": ("temperature", 15.0, 12.0), "sss": ("salinity", 34.0, 3.0),
    "taux": ("stress", 0.0, 0.3),
    "freshwater_flux": ("water", 0.0, 5e-8),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(14))
def test_forcing(tmp_path, seed):
    def each(form: Form):
        name = form.pick("field", FIELDS)
        kind, middle, size = FIELDS[name]
        axes = form.pick("axes", (("time",), ("time",), ()))
        missing = form.flip("gaps")

        def function(month, depth, lat, lon):
            v = middle + size * wave(month, depth, lat, lon)
            return np.where(missing & gaps(lat, lon), np.nan, v)

        path = tmp_path / "f.nc"
        limits = (middle - size, middle + size)
        variable, error = write(path, form, "f", function, kind, limits, axes)
        own = ForcingFile(path=str(path), variable=variable)
        found = atmosphere.read(own, name, ForcingConfig())
        month = np.arange(12.0).reshape(-1, *[1] * found.space) if axes else 0.0
        compare(found, function(month, 0.0, *places(found)), error, size)

    draw(seed, each)


def places(found):
    """Latitudes and longitudes that broadcast to the values."""
    return (found.lat[:, None], found.lon) if found.space == 2 else (found.lat, found.lon)


def compare(found, want, error, size):
    want = np.broadcast_to(want, found.values.shape)
    assert (np.isnan(found.values) == np.isnan(want)).all(), "other gaps"
    worst = np.nanmax(np.abs(found.values - want))
    assert worst <= 0.51 * error + 1e-9 * size, f"off by {worst:g}, stored to {error:g}"


@pytest.mark.parametrize("seed", range(10))
def test_initial_state(tmp_path, seed):
    base = load_config("gyre", {"grid.kind": "latlon", "grid.lat": [-60, 60]}).model_dump()

    def each(form: Form):
        name = form.pick("field", ("temperature", "salinity"))
        middle, size = {"temperature": (15.0, 12.0), "salinity": (34.0, 3.0)}[name]
        missing = form.flip("gaps")

        def function(month, depth, lat, lon):
            v = middle + size * wave(0.0, depth, lat, lon)
            return np.where(missing & gaps(lat, lon), np.nan, v)

        path = tmp_path / "i.nc"
        limits = (middle - size, middle + size)
        variable, error = write(path, form, "v", function, name, limits, ("depth",))
        own = {"path": str(path), "variable": variable}
        c = load_config(
            base, {"initial.source": "file", "initial.path": "x", f"initial.{name}_file": own}
        )
        found = volumes.source(c, name)
        assert np.allclose(found.depth, [5, 50, 300, 1000, 2500])
        depth = found.depth.reshape(-1, *[1] * found.space)
        compare(found, function(0.0, depth, *places(found)), error, size)

    draw(seed, each)


@pytest.mark.parametrize("seed", range(8))
def test_bathymetry(tmp_path, seed):
    def each(form: Form):
        up = form.flip("up")
        missing = form.flip("gaps")

        def elevation(month, depth, lat, lon):
            v = -2500.0 + 3000.0 * wave(0.0, 0.0, lat, lon)
            return np.where(missing & gaps(lat, lon), np.nan, v)

        sign = 1.0 if up else -1.0
        about = form.pick(
            "said by",
            (
                {"positive": "up" if up else "down"},
                {"standard_name": "surface_altitude" if up else "sea_floor_depth_below_geoid"},
                {},
            ),
        )
        name = ("elevation" if up else "deptho") if not about else "f"
        path = tmp_path / "b.nc"
        function = lambda *a: sign * elevation(*a)
        limits = (-5000.0, 500.0) if up else (-500.0, 5000.0)
        variable, error = write(path, form, name, function, "length", limits, (), **about)
        found = inputs.sea_floor(BathymetryConfig(source="file", path=str(path), variable=variable))
        compare(found, elevation(0.0, 0.0, *places(found)), error, 3000.0)

    draw(seed, each)


# ---- targets
@pytest.fixture(scope="module")
def grid():
    c = load_config("two_basin", {"grid.nx": 12, "grid.ny": 8, "grid.lat": [-40, 40]})
    horizontal, vertical = inputs.horizontal_grid(c), inputs.vertical_grid(c)
    shape = (vertical.nz, *horizontal.shape)
    return TargetGrid(
        horizontal, vertical, np.broadcast_to(vertical.dz[:, None, None], shape).copy()
    )


def plain(values, lat, lon):
    """The mean over the target's cells of the field as boxes about its points."""
    from dogcm.io import regrid

    source = regrid.GriddedVariable(values, lat, lon)
    return lambda g: regrid.conservative_average(
        values, source.lat_edges, source.lon_edges, *g.edges("c")
    )[0]


def turn(lon):
    """Longitudes within [0, 360), each once, ascending."""
    return np.unique(np.mod(lon, 360.0).round(9) % 360.0)


@pytest.mark.parametrize("seed", range(4))
def test_sea_surface_temperature(tmp_path, grid, seed):
    def each(form: Form):
        form.fixed = {"globe": True, "turned": False}
        function = lambda month, depth, lat, lon: 15.0 + 12.0 * wave(month, 0.0, lat, lon)
        path = tmp_path / "s.nc"
        _, error = write(path, form, "f", function, "temperature", (3.0, 27.0), ("time",))
        order = np.argsort(form.axes["time"])
        month = form.axes["month"][order][:, None, None]
        y, x = np.sort(form.axes["lat"]), turn(form.axes["lon"])
        found = read_sst(path, grid, variable="f", monthly=False)
        want = plain(function(month, 0.0, y[:, None], x), y, x)(grid)
        worst = np.abs(found.values["sst"] - want).max()
        assert (np.diff(found.times) > 0).all()
        assert worst <= 0.51 * error + 1e-7, f"off by {worst:g}"

    draw(seed, each)


@pytest.mark.parametrize("seed", range(2))
def test_reanalysis(tmp_path, grid, seed):
    def each(form: Form):
        form.fixed = {"globe": True}
        lat, lon = positions(form)
        y, x = np.sort(lat), turn(lon)
        v = wave(0.0, 0.0, lat[:, None], lon)[None]
        stored, about, encoding, error = encode(form, "zos", v, "length", -1.0, 1.0)
        data = xr.Dataset(
            {"zos": (("time", "latitude", "longitude"), stored, about)},
            {
                "time": ("time", [10.0], {"units": "days since 2000-01-01"}),
                "latitude": ("latitude", lat, {"units": "degrees_north"}),
                "longitude": ("longitude", lon, {"units": "degrees_east"}),
            },
        )
        data["zos"].encoding = encoding
        data.to_netcdf(tmp_path / "g.nc")
        found = read_glorys(tmp_path / "g.nc", grid, variables=("eta",)).values["eta"][0]
        worst = np.abs(found - plain(wave(0.0, 0.0, y[:, None], x), y, x)(grid)).max()
        assert worst <= 0.51 * error + 1e-7, f"off by {worst:g}"

    draw(seed, each)


@pytest.mark.parametrize("seed", range(2))
def test_profiles(tmp_path, seed):
    def each(form: Form):
        n = int(form.pick("profiles", (1, 3, 8)))
        rng = form.rng
        lat, lon = rng.uniform(-60, 60, n), rng.uniform(-180, 360, n)
        z = np.array([0.0, 50.0, 400.0, 1500.0])
        t = 15.0 + 12.0 * wave(0.0, z, lat[:, None], lon[:, None])
        stored, about, encoding, error = encode(form, "theta", t, "temperature", 3.0, 27.0)
        about["standard_name"] = "sea_water_conservative_temperature"
        unit, factor = form.pick("depth unit", (("m", 1.0), ("cm", 100.0), ("feet", 1 / 0.3048)))
        per_profile = form.flip("depth of every profile")
        depth = (
            (("n", "z"), np.tile(z * factor, (n, 1)), {"units": unit})
            if per_profile
            else (("z",), z * factor, {"units": unit})
        )
        data = xr.Dataset(
            {
                "theta": (("n", "z"), stored, about),
                "psal": (("n", "z"), np.full(t.shape, 35.0), {"units": "1e-3"}),
                "lat": ("n", lat), "lon": ("n", lon), "depth": depth,
                "juld": ("n", np.arange(n) * 3.0, {"units": "days since 2000-01-01"}),
            }
        )  # fmt: skip
        data["theta"].encoding = encoding
        data.to_netcdf(tmp_path / "p.nc")
        found = read_profiles(tmp_path / "p.nc", clock=Clock(2000))
        assert np.allclose(found.depth, z)
        worst = np.abs(found.values["temperature"] - t).max()
        assert worst <= 0.51 * error + 1e-7, f"off by {worst:g}"

    draw(seed, each)


def test_there_are_a_thousand():
    assert DRAWS * (14 + 10 + 8 + 4 + 2 + 2) == 1000
