"""Grids from files of MOM6 and NEMO: the metrics and the ocean of the grid they were made of."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from supergrid_toys import Product, mom6, nemo

import dogcm
from dogcm.components.errors import ConfigError
from dogcm.decomp import Halo, SerialCommunicator, fold, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.grid import supergrid
from dogcm.grid.curvilinear import RotatedGrid, unit
from dogcm.grid.grids import FromFile
from dogcm.grid.horizontal import LatLonGrid
from dogcm.grid.tripolar import TripolarGrid
from dogcm.setups.registry import load_config
from dogcm.simulation.model import Model

one_rank = pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
TRIPOLAR = TripolarGrid(36, 22, south=-76.0, join=64.0)
# Their lines are parallels and meridians, and they give positions as curvilinear ones do.
GLOBE = RotatedGrid(LatLonGrid.regular(24, 14, lat=(-70, 70)))
REGION = RotatedGrid(LatLonGrid.regular(14, 10, lon=(-30, 5), lat=(20, 60)))


def saved(data, folder):
    path = folder / "grid.nc"
    data.to_netcdf(path)
    return str(path)


def opened(data, folder, **options):
    found = FromFile(path=saved(data, folder), **options).horizontal()
    found.check()
    return found


def compare(found, grid, beyond=3, skip=0):
    """Metrics, positions and angles, also beyond the edges; ``skip`` rows of ``grid`` are not
    there."""
    ny, nx = grid.shape
    assert found.shape == (ny - skip, nx)
    assert (found.periodic_x, found.north_fold) == (grid.periodic_x, grid.north_fold)
    first = 0 if skip else -beyond  # what lies south of its first row, a file cannot know
    rows, columns = np.arange(first, ny - skip + beyond), np.arange(-beyond, nx + beyond)
    a, b = found.metrics(rows, columns), grid.metrics(rows + skip, columns)
    for name in a.names():
        x, y = getattr(a, name), getattr(b, name)
        if name in ("area_v", "area_q") and not grid.north_fold:
            x, y = x[rows > 0], y[rows > 0]  # around faces in a wall
        if name.startswith("lon"):
            x = y + (x - y + 180.0) % 360.0 - 180.0
            y, x = (np.where(np.abs(b.lat_c) < 89, v, 0.0) for v in (y, x))
        np.testing.assert_allclose(x, y, rtol=2e-12, atol=1e-9, err_msg=name)
    inside = np.maximum(rows, 0) if grid.north_fold else np.clip(rows, 0, ny - 1)
    for at in "cuvq":
        where = (inside, np.arange(nx))
        there = unit(*grid.points(at, where[0] + skip, where[1]))
        np.testing.assert_allclose(unit(*found.points(at, *where)), there, atol=1e-13)


@one_rank
@pytest.mark.parametrize("grid", [TRIPOLAR, GLOBE, REGION], ids=["tripolar", "globe", "region"])
def test_a_supergrid_of_mom6_is_the_grid_it_was_made_of(grid, tmp_path):
    found = opened(mom6(grid), tmp_path)
    compare(found, grid)
    turn = found.angle("c") - grid.angle("c")
    away = np.abs(grid.points("c")[0]) < 89
    assert np.abs(np.angle(np.exp(1j * turn)))[away].max() < 1e-9
    np.testing.assert_allclose(unit(*found.bounds()), unit(*grid.bounds()), atol=1e-13)
    assert found.row_step() == pytest.approx(grid.row_step(), rel=0.2)


@one_rank
def test_where_mom6_folds_through_corners_rows_are_counted_from_the_fold(tmp_path):
    """As MOM6 has it: whole cells up to the fold. A first half row falls away."""
    data = mom6(TRIPOLAR, first=1)
    assert data.sizes["ny"] % 2 == 0
    compare(opened(data, tmp_path), TRIPOLAR, skip=1)
    walled = opened(data, tmp_path, north_fold="none")
    assert walled.shape == (21, 36) and not walled.north_fold
    half = mom6(TRIPOLAR)
    with pytest.raises(ConfigError, match="43 half rows: an even number where nothing folds"):
        opened(half, tmp_path, north_fold="none")


@one_rank
@pytest.mark.parametrize(
    "grid, kind, repeats, time",
    [
        (TRIPOLAR, "t_point", True, True),
        (TRIPOLAR, "t_point", False, False),
        (TRIPOLAR, "f_point", True, False),
        (TRIPOLAR, "f_point", False, True),
        (GLOBE, "none", True, False),
        (REGION, "none", False, False),
    ],
)
def test_a_mesh_of_nemo_is_the_grid_it_was_made_of(grid, kind, repeats, time, tmp_path):
    data = nemo(grid, kind, repeats, time)
    code = {"t_point": 4, "f_point": 6}.get(kind, int(grid.periodic_x))
    by_entry = opened(data.assign_attrs(nn_perio=code), tmp_path)
    compare(by_entry, Product(grid))
    # NEMO 4.2 says it in other words; where nothing is said, repeated columns tell.
    words = {"Iperio": int(grid.periodic_x), "Jperio": 0, "NFold": int(kind != "none")}
    in_words = saved(data.assign_attrs(**words, NFtype=kind[:1].upper()), tmp_path)
    same(FromFile(path=in_words).horizontal().file, by_entry.file)
    silent = saved(data, tmp_path)
    if repeats and grid.periodic_x:
        same(FromFile(path=silent).horizontal().file, by_entry.file)
    else:
        with pytest.raises(ConfigError, match="does not say whether.*Set grid.periodic"):
            FromFile(path=silent).horizontal()
        asked = FromFile(path=silent, periodic=grid.periodic_x)
        same(asked.horizontal().file, by_entry.file)
    away = np.abs(grid.points("c")[0]) < 80
    turn = np.abs(np.angle(np.exp(1j * (by_entry.angle("c") - grid.angle("c")))))
    assert turn[away & ~_near_poles(grid)].max() < 0.02, "by differences of second order"


def same(a, b):
    """Two readings of one mesh close in the same way, and count lines alike."""
    assert vars(a) == vars(b)


def _near_poles(grid):
    nx = grid.shape[1]
    near = np.abs((np.arange(nx) * 2 / nx) % 1 - 0.5) > 0.35
    return (grid.points("c")[0] > 55) & near[None, :]


@one_rank
def test_metrics_beyond_the_fold_are_copies_to_the_bit(tmp_path):
    found = opened(mom6(TRIPOLAR), tmp_path)
    rows, columns = np.arange(22), np.arange(36)
    m, more = found.metrics(rows, columns), found.metrics(np.arange(26), columns)
    for name in (n for n in m.names() if n[0] in "da"):
        padded = fold.pad_north(getattr(m, name), name[-1], Halo(0, 4, 0, 0), False)
        np.testing.assert_array_equal(padded, getattr(more, name), err_msg=name)


@one_rank
def test_a_rank_reads_the_lines_of_its_tile_alone(tmp_path, monkeypatch):
    found, largest = opened(mom6(GLOBE), tmp_path), []
    read = type(found.file)._read
    monkeypatch.setattr(
        type(found.file),
        "_read",
        lambda *a: largest.append(read(*a).size) or read(*a),
    )
    found.metrics(np.arange(3, 9), np.arange(-2, 6))  # across the seam
    assert max(largest) <= 13 * 17


@one_rank
def test_faults_are_found_in_every_band(tmp_path, monkeypatch):
    monkeypatch.setattr(supergrid, "_BAND", 12)
    opened(mom6(TRIPOLAR), tmp_path)
    for row in (1, 12, 13, 21, 22, 26):  # at both ends, and where bands begin and end
        with pytest.raises(ConfigError, match=rf"angle_dx is not .*first at row {row / 2:g}, col"):
            opened(spoiled("angle_dx", (row, 5), 40.0)(mom6(GLOBE)), tmp_path)


@one_rank
def test_points_spread_over_cells_lie_in_them(tmp_path):
    found = opened(mom6(TRIPOLAR), tmp_path)
    c = unit(*TRIPOLAR.points("c"))
    mean = sum(unit(*p) for p in found.samples(3)) / 9
    size = np.sqrt(TRIPOLAR.metrics(np.arange(22), np.arange(36)).area_c) / TRIPOLAR.radius
    assert (np.linalg.norm(mean - c, axis=-1) < 0.15 * size)[~_near_poles(TRIPOLAR)].all()
    lat, lon, angle = found.positions(np.array([[3.5]]), np.array([[4.5]]))
    exact = TRIPOLAR.positions(3.5, 4.5)
    np.testing.assert_allclose([lat[0, 0], lon[0, 0]], exact[:2], atol=1e-9)
    assert abs(angle[0, 0] - exact[2]) < 1e-3


# ---- bad files
def spoiled(name, place=None, value=np.nan, times=None):
    def change(data):
        values = data[name].values.copy()
        if times is not None:
            values *= times
        else:
            values[place] = value
        data[name] = (data[name].dims, values, data[name].attrs)
        return data

    return change


def sheared(data):
    """Each row of positions is moved on by a third of a cell more than the one below it."""
    shift = (np.arange(data.sizes["nyp"]) * 5.0)[:, None]
    return data.assign(x=(data.x.dims, data.x.values + shift, data.x.attrs))


MOM6_FAULTS = {
    "missing": (lambda d: d.drop_vars("dy"), "MOM6 supergrid, but has no dy"),
    "nan": (spoiled("dx", (7, 5)), r"dx is no number.*first at row 3.5"),
    "filled": (spoiled("y", (7, 5), 1e20), "y is a latitude beyond 90"),
    "negative": (spoiled("area", (7, 5), -1e12), "area is negative"),
    "zero": (spoiled("dy", (slice(6, 8), 5), 0.0), "dy is 0 between places that lie apart"),
    "long": (spoiled("dx", (7, slice(4, 6)), 3e6), "dx does not fit the positions around it"),
    "shape": (lambda d: d.isel(nxp=slice(1, None)), "variable x has .* expected"),
    "kilometres": (spoiled("dx", times=1e-3), "dx is 0.00.* another unit than m"),
    "area": (spoiled("area", times=1.1), "area is typically 1.09.* times dx"),
    "one area": (spoiled("area", (slice(6, 8), slice(4, 6)), 9e12), r"area is not dx \* dy"),
    "sheared": (sheared, "lines do not cross at right angles"),
    "angle": (spoiled("angle_dx", times=np.pi / 180), "angle_dx is not the direction of the lines"),
    "units": (lambda d: d.assign(x=d.x.assign_attrs(units="m")), "x is in m: degrees"),
    "open": (lambda d: d.isel(nx=slice(2, None), nxp=slice(2, None)), "grid.periodic is true"),
}


@one_rank
@pytest.mark.parametrize("fault", MOM6_FAULTS)
def test_faults_of_a_supergrid_are_named(fault, tmp_path):
    change, text = MOM6_FAULTS[fault]
    grid = TRIPOLAR if fault == "angle" else GLOBE
    with pytest.raises(ConfigError, match=text) as error:
        opened(change(mom6(grid)), tmp_path, periodic=True)
    assert str(error.value).startswith("grid.path: ") and "grid.nc" in str(error.value)


@one_rank
def test_a_fold_that_cannot_be_made_is_refused_rather_than_left_out(tmp_path):
    corners = saved(mom6(TRIPOLAR, first=1), tmp_path)
    for options, text in (
        ({"periodic": False}, "own mirror image, but does not close.*Set grid.periodic: true, or"),
        ({"north_fold": "t_point"}, "t_point, but the pivots of its fold are corners"),
    ):
        with pytest.raises(ConfigError, match=text):
            FromFile(path=corners, **options).horizontal()
    asked = FromFile(path=corners, north_fold="f_point").horizontal()
    assert asked.north_fold and asked.shape == (21, 36)
    assert FromFile(path=corners, periodic=False, north_fold="none").horizontal().shape == (21, 36)
    faces = saved(mom6(TRIPOLAR), tmp_path)
    with pytest.raises(ConfigError, match="f_point, but the pivots of its fold are faces"):
        FromFile(path=faces, north_fold="f_point").horizontal()
    mesh = saved(nemo(TRIPOLAR, "t_point").assign_attrs(nn_perio=4), tmp_path)
    with pytest.raises(ConfigError, match="folds in the north, as the file says, but does not"):
        FromFile(path=mesh, periodic=False).horizontal()
    entries = {"Iperio": 1, "Jperio": 0, "NFold": 1}
    untold = saved(nemo(TRIPOLAR, "f_point").assign_attrs(entries), tmp_path)
    assert FromFile(path=untold).horizontal().north_fold
    flat = saved(nemo(GLOBE).assign_attrs(entries), tmp_path)
    with pytest.raises(ConfigError, match="NFtype is neither T nor F, and its last rows are not"):
        FromFile(path=flat).horizontal()
    assert not FromFile(path=flat, north_fold="none").horizontal().north_fold


NEMO_FAULTS = {
    "missing": (lambda d: d.drop_vars(["e1v", "glamf"]), {}, "NEMO mesh, but has no glamf, e1v"),
    "shape": (lambda d: d.assign(e1u=d.e1u.isel(y=slice(1, None)).rename(y="z")), {}, "e1u has"),
    "nan": (spoiled("e2v", (5, 6)), {}, "e2v is no number"),
    "code": (lambda d: d.assign_attrs(jperio=7), {}, "jperio 7 is not possible"),
    "fold": (lambda d: d.assign_attrs(jperio=4), {}, "own mirror image"),
    "no fold": (lambda d: d, {"north_fold": "f_point"}, "own mirror image"),
}


@one_rank
@pytest.mark.parametrize("fault", NEMO_FAULTS)
def test_faults_of_a_mesh_are_named(fault, tmp_path):
    change, options, text = NEMO_FAULTS[fault]
    with pytest.raises(ConfigError, match=text):
        opened(change(nemo(GLOBE)), tmp_path, **options)


@one_rank
def test_files_that_are_no_grids_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        FromFile(path=tmp_path / "none.nc").horizontal()
    with pytest.raises(ConfigError, match="grid.path is not given"):
        FromFile().horizontal()
    (tmp_path / "text.nc").write_text("no grid")
    with pytest.raises(ConfigError, match="no netCDF file"):
        FromFile(path=tmp_path / "text.nc").horizontal()
    whole = Path(saved(mom6(GLOBE), tmp_path)).read_bytes()
    spoilt = bytearray(whole)
    for place in range(len(whole) // 3, len(whole) - 400, 97):
        spoilt[place] ^= 255
    for name, content in {"half.nc": whole[: len(whole) // 2], "spoilt.nc": spoilt}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            FromFile(path=tmp_path / name).horizontal().check()
    with pytest.raises(ConfigError, match="neither a MOM6 supergrid .* it has angle_dx"):
        opened(mom6(GLOBE)[["angle_dx"]], tmp_path)
    with pytest.raises(ConfigError, match="20 x 0 cells are asked for.*makes 24 x 14"):
        opened(mom6(GLOBE), tmp_path, nx=20)
    refused = {"grid": {"kind": "file", "path": saved(mom6(TRIPOLAR), tmp_path)}}
    with pytest.raises(ConfigError, match="does not know the fold"):
        load_config(refused | {"name": "x", "time": {"free_surface": "implicit"}})


# ---- the ocean
def land(grid):
    """A depth (m) with land around the poles of the grid."""
    lat, lon = (np.deg2rad(a) for a in grid.points("c"))
    depth = 2500.0 + 1500.0 * np.sin(2 * lon) * np.cos(lat)
    depth[grid.dry()] = 0.0
    depth[:2] = 0.0
    return fold.consistent(depth, "c") if grid.north_fold else depth


def warm(x, y, depth):
    return 15.0 * np.cos(np.deg2rad(y)) * np.exp(-depth / 1e3)


def westerlies(x, y, t):
    return 0.1 * jnp.cos(jnp.deg2rad(3.0 * y))


def calm(x, y, t):
    return 0.0 * x


def ocean(component, grid, comm=None):
    return Model(
        grid=component,
        bathymetry=land(grid),
        initial={"temperature": warm, "salinity": 35.0},
        forcing={"wind_stress_x": westerlies, "wind_stress_y": calm},
        equation_of_state="linear",
        freezing=None,
        parameters={"lateral_viscosity": 3e5, "lateral_diffusivity": 1e3},
        time_step=3600.0,
        comm=comm,
    )


def stepped(model, other=None):
    """Variables after six steps; of ``other``, by the step of ``model``, which is compiled once."""
    m = other or model
    state = model._advance(m.state, 6, m.params, m.forcing, m.grid)
    return {n: m.gather(f) for n, f in state.variables().items()}


LAYERS = [200.0, 800.0, 3000.0]


class ProductOfTripolar(dogcm.Grid):
    """The tripolar grid with the areas that NEMO has."""

    def horizontal(self):
        return Product(TRIPOLAR)

    def folds(self):
        return True


@one_rank
def test_an_ocean_on_a_file_is_that_of_the_grid_itself(tmp_path):
    """The step is a function of state and grid: one compiled step takes all oceans."""
    size = {"nx": 36, "ny": 22, "layers": LAYERS}
    native = dogcm.TripolarGrid(lon=(60, 420), lat=(-76, 90), join=64, **size)
    mesh = nemo(TRIPOLAR, "f_point").assign_attrs(jperio=6)
    first = None
    for data, same_as in ((mom6(TRIPOLAR), native), (mesh, ProductOfTripolar(**size))):
        a = ocean(dogcm.FileGrid(path=saved(data, tmp_path), layers=LAYERS), TRIPOLAR)
        first = first or a
        found, wanted = stepped(first, a), stepped(first, ocean(same_as, TRIPOLAR))
        for name, y in wanted.items():
            atol = 1e-9 * max(np.abs(y).max(), 1e-6)
            np.testing.assert_allclose(found[name], y, atol=atol, err_msg=name)
        assert np.abs(wanted["u"]).max() > 1e-3
    again = load_config(a.config.model_dump(mode="json")).grid
    assert again == a.config.grid and again.kind == "file"


@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2)
def test_ranks_that_read_their_own_parts_give_the_bits_of_one(tmp_path):
    comm = world()
    folder = comm.broadcast(str(tmp_path))
    path = f"{folder}/grid.nc"
    if comm.rank == 0:
        mom6(TRIPOLAR).to_netcdf(path)
    comm.barrier()
    component = dogcm.FileGrid(path=path, layers=LAYERS)
    arrays, wrong = stepped(ocean(component, TRIPOLAR, comm)), []
    if comm.rank == 0:
        one = stepped(ocean(component, TRIPOLAR, SerialCommunicator()))
        wrong = [n for n in one if not np.array_equal(one[n], arrays[n])]
    assert not comm.broadcast(wrong)
