"""Profiles: exact where they should be, the same on every layout, and an exact transpose."""

from __future__ import annotations

import gsw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from dogcm.decomp import Decomposition, SerialCommunicator, make_layout, world
from dogcm.field import Field, FieldError, exchange
from dogcm.grid.horizontal import LatLonGrid
from dogcm.grid.vertical import VerticalGrid
from dogcm.halo import connect
from dogcm.targets import Profiles, TargetError, gather_profiles, locate, read_profiles

DAY = 86400.0
RNG = np.random.default_rng(13)
SHAPE, NZ = (12, 18), 4
HORIZONTAL = LatLonGrid.regular(18, 12, lat=(-60.0, 60.0))
VERTICAL = VerticalGrid(np.array([10.0, 20.0, 30.0, 40.0]))


def cells_with_land() -> np.ndarray:
    rng = np.random.default_rng(5)
    bottom = rng.integers(0, NZ + 1, SHAPE)
    return np.where(np.arange(NZ)[:, None, None] < bottom, VERTICAL.dz[:, None, None], 0.0)


def floats(n=60) -> Profiles:
    rng = np.random.default_rng(6)
    depth = np.array([0.0, 3.0, 12.0, 40.0, 75.0, 99.0, 150.0])
    return Profiles(
        rng.uniform(-62, 62, n), rng.uniform(-180, 540, n), rng.uniform(0, 1e6, n), depth
    )


def read_at(comm, layout, field, profiles=None, cells=None):
    d = Decomposition(layout, comm)
    halos = connect(layout, comm)
    t = d.tile
    cells = cells_with_land() if cells is None else cells
    profiles = profiles or floats()
    index, mine, operator = locate(profiles, HORIZONTAL, VERTICAL, d, cells if d.is_root else None)
    tile = jnp.asarray(field[..., t.j0 : t.j1, t.i0 : t.i1])
    read = jax.jit(lambda x: operator(exchange(halos, (Field(x, "c"), 1))[0]))
    return d, halos, index, mine, operator, tile, read


def alone(field, **kw):
    d, _, index, _, operator, tile, read = read_at(
        SerialCommunicator(), make_layout(SHAPE, 1, 1), field, **kw
    )
    return index, operator, np.asarray(read(tile))


def test_profiles_read_a_linear_field_exactly():
    """Away from land and from the seam of longitudes, bilinear times linear is exact for what is
    linear."""
    c = HORIZONTAL.coordinates()
    linear = lambda lat, lon, z: 0.1 * lat - 0.02 * lon + 0.03 * z + 1e-3 * lat * lon
    field = linear(
        c["lat"][0][None, :, None], c["lon"][0][None, None, :], VERTICAL.centres[:, None, None]
    )
    rng = np.random.default_rng(1)
    p = Profiles(
        rng.uniform(-54, 54, 40),
        rng.uniform(11, 349, 40),
        np.zeros(40),
        rng.uniform(5, 80, (40, 6)),
    )
    full = np.broadcast_to(VERTICAL.dz[:, None, None], (NZ, *SHAPE))
    index, operator, got = alone(field, profiles=p, cells=full)
    assert index.size == 40 and np.asarray(operator.valid).all()
    assert np.allclose(got, linear(p.lat[:, None], p.lon[:, None], p.depth), atol=1e-12)


def test_profiles_by_hand_beside_land_and_bottom():
    cells = np.zeros((NZ, *SHAPE))
    cells[:, 5, 5], cells[:2, 5, 6] = VERTICAL.dz, VERTICAL.dz[:2]
    field = np.full((NZ, *SHAPE), np.pi * 1e6)  # land must not matter
    field[:, 5, 5], field[:, 5, 6] = [1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]
    # A quarter of a cell east of the centre of cell (5, 5), a bit north; centres at 5, 20, 45, 80
    # m.
    p = Profiles(
        np.array([-3.0, -3.0]),
        np.array([115.0 - 360.0, 135.0]),
        np.zeros(2),
        np.array([[0.0, 12.5, 32.5, 62.5, 99.0, 101.0]] * 2),
    )
    index, operator, got = alone(field, profiles=p, cells=cells)
    assert index.tolist() == [0, 1]
    # At 32.5 m between 20 m, where both cells are wet, and 45 m, where only the first is.
    assert got[0] == pytest.approx([3.5, 4.0, 0.5 * 4.5 + 0.5 * 3.0, 3.5, 4.0, 0.0])
    assert np.asarray(operator.valid).tolist()[0] == [1, 1, 1, 1, 1, 0]
    # On the second cell's centre there is water down to 30 m, and below 20 m nothing to interpolate
    # with.
    assert got[1] == pytest.approx([11.0, 11.5, 0.0, 0.0, 0.0, 0.0])
    p = Profiles(np.array([-5.0]), np.array([130.0]), np.zeros(1), np.array([28.0, 31.0]))
    assert alone(field, profiles=p, cells=cells)[2].tolist() == [[12.0, 0.0]]


def test_profiles_on_land_or_outside_are_left_out():
    cells = cells_with_land()
    index, operator, got = alone(np.full((NZ, *SHAPE), 3.0))
    p = floats()
    i = ((p.lon % 360) // 20).astype(int)
    inside = np.abs(p.lat) <= 60
    j = np.clip(((p.lat + 60) // 10).astype(int), 0, 11)
    assert index.tolist() == np.flatnonzero(inside & (cells[0, j, i] > 0)).tolist()
    valid = np.asarray(operator.valid) > 0
    # Weights add up to one beside any coast, so a uniform field is read exactly.
    assert np.allclose(got[valid], 3.0, rtol=1e-14) and (got[~valid] == 0).all()
    assert 0.3 < valid.mean() < 1.0


def test_operator_checks_its_field_and_finds_snapshots():
    _, operator, _ = alone(np.zeros((NZ, *SHAPE)))
    with pytest.raises(FieldError, match="cell centres"):
        operator(Field(jnp.zeros((NZ, *SHAPE)), "u"))
    with pytest.raises(FieldError, match="not enough valid halo"):
        operator(Field(jnp.zeros((NZ, *SHAPE)), "c"))
    times = np.asarray(operator.times)
    nearest = operator.nearest([0.0, 5e5, 1e6])
    assert np.array_equal(nearest, np.round(times / 5e5).astype(int))


def test_real_profiles(data_dir):
    p = read_profiles(data_dir / "argo" / "argo_6_floats_std_depths.nc")
    assert len(p) == 1013 and (np.diff(p.times) >= 0).all()
    there = np.isfinite(p.values["temperature"])
    assert 0.5 < there.mean() < 1 and p.values["temperature"][there].max() < 33
    assert p.values["salinity"][there].min() > 30
    year = p.window(p.times[0], 365 * DAY)
    assert 0 < len(year) < 1013
    with pytest.raises(TargetError, match="no profile between"):
        p.window(-2 * DAY, DAY)
    with pytest.raises(TargetError, match="has no variable pot"):
        read_profiles(
            data_dir / "argo" / "argo_6_floats_std_depths.nc", names={"temperature": "pot"}
        )


def test_profiles_by_pressure(tmp_path):
    data = xr.Dataset(
        {
            "theta": (("n", "p"), np.full((2, 3), 10.0), {"units": "degC"}),
            "psal": (("n", "p"), np.full((2, 3), 35.0), {"units": "1e-3"}),
            "pres": ("p", [0.0, 100.0, 1000.0], {"units": "dbar"}),
            "lat": ("n", [0.0, 45.0]),
            "lon": ("n", [200.0, 330.0]),
            "juld": ("n", [21916.5, 21915.5], {"units": "days since 1950-01-01 00:00:00 UTC"}),
        }
    )
    data.to_netcdf(tmp_path / "p.nc")
    p = read_profiles(tmp_path / "p.nc", names={"pressure": "pres"})
    assert p.lat.tolist() == [45.0, 0.0] and p.times == pytest.approx(
        [0.5 * DAY, 1.5 * DAY]
    )  # in order of time
    assert p.depth[1] == pytest.approx(-gsw.z_from_p([0.0, 100.0, 1000.0], 0.0))
    assert p.values["temperature"][0, 0] == pytest.approx(
        gsw.CT_from_pt(p.values["salinity"][0, 0], 10.0)
    )
    with pytest.raises(TargetError, match="must all have shape"):
        Profiles(np.zeros(2), np.zeros(3), np.zeros(2), np.zeros(4))


def test_transpose_of_the_operator():
    """<H x, y> = <x, H' y>, and H is its own derivative."""
    x = RNG.normal(size=(NZ, *SHAPE))
    *_, tile, read = read_at(SerialCommunicator(), make_layout(SHAPE, 1, 1), x)
    out, back = jax.vjp(read, tile)
    y = jnp.asarray(RNG.normal(size=out.shape))
    assert float(jnp.vdot(out, y)) == pytest.approx(float(jnp.vdot(tile, back(y)[0])), rel=1e-13)
    assert np.allclose(jax.jvp(read, (tile,), (tile,))[1], out, rtol=1e-14, atol=1e-14)


@pytest.mark.mpi(min_size=2)
def test_profiles_do_not_depend_on_the_layout():
    comm = world()
    field = np.random.default_rng(2).normal(size=(NZ, *SHAPE))
    cells = cells_with_land()
    dropping = make_layout(SHAPE, comm.size + 1, 1, min_cells=2)
    cells[:, :, : dropping.cuts_x[1]] = 0.0  # a tile of land, which gets no rank
    own, _, expected = alone(field, cells=cells)
    layouts = [make_layout(SHAPE, comm.size + 1, 1, min_cells=2, wet=cells[0] > 0)]
    layouts.append(
        make_layout(SHAPE, 2, comm.size // 2, min_cells=2)
        if comm.size % 2 == 0
        else make_layout(SHAPE, 1, comm.size, min_cells=2)
    )
    assert layouts[0].drops_tiles
    for layout in layouts:
        d, halos, index, mine, _, tile, read = read_at(comm, layout, field, cells=cells)
        assert len(mine) == index.size
        whole = gather_profiles(d, read(tile), index, len(floats()))
        if d.is_root:
            assert np.array_equal(whole[own], expected) and np.isnan(np.delete(whole, own, 0)).all()
        out, back = jax.vjp(read, tile)
        y = jnp.asarray(np.random.default_rng(comm.rank).normal(size=out.shape))
        both = [jnp.vdot(out, y), jnp.vdot(tile, back(y)[0])]
        left, right = (float(jax.jit(halos.psum)(b)) for b in both)
        assert left == pytest.approx(right, rel=1e-12)
