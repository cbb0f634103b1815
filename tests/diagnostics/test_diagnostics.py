"""Overturning, stream functions, sections, basins and density classes: against flows whose answer
is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_transports import DZ, SHAPE, globe, in_motion, ocean

from dogcm.decomp import Halo, SerialCommunicator, make_layout, world
from dogcm.diagnostics import circulation as ci
from dogcm.diagnostics import sections
from dogcm.diagnostics.basins import BasinError, check_basins, find_basins
from dogcm.diagnostics.compare import StatsError, compare
from dogcm.diagnostics.monitor import Monitor
from dogcm.field import Field, exchange
from dogcm.grid.horizontal import CartesianGrid, LatLonGrid
from dogcm.halo import exact_row_sums
from dogcm.physics.eos import TEOS10, teos10_density, teos10_reference_profile
from dogcm.timestepping.physics import Physics

HORIZONTAL = LatLonGrid.regular(24, 12, lat=(-60, 60))
PHYSICS = Physics(dt=3600.0)
through = jax.jit(ci.through, static_argnums=3)


@pytest.fixture(scope="module")
def o():
    return globe()


@pytest.fixture(scope="module")
def monitor(o):
    """Compiled once; for all grids of this size."""
    return Monitor(o.halos, PHYSICS)


def halves(o) -> np.ndarray:
    """Two basins of south faces: the eastern and the western half of the globe."""
    h, t = o.grid.wet_v.halo, o.tile
    wet = np.asarray(o.grid.wet_v.data)[h.s : -h.n, h.w : -h.e]
    east = (np.arange(t.i0, t.i1) < 12).astype(float)
    return jnp.asarray(np.stack([wet * east, wet * (1 - east)]))


def from_streamfunction(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transports (m3 s-1) through west and south faces from a stream function at corners (ny + 1,
    nx), periodic."""
    return -(psi[1:] - psi[:-1]), np.roll(psi, -1, 1)[:-1] - psi[:-1]


# ---- stream functions
def test_overturning_gives_back_a_stream_function(o):
    """Spread over the faces of each row at random; in both basins, to round-off."""
    rng, basins = np.random.default_rng(1), np.asarray(halves(o))
    psi = np.zeros((2, 5, 12))
    psi[:, 1:4] = 1e7 * rng.normal(size=(2, 3, 12))
    share = rng.random((2, 4, *SHAPE)) * basins[:, None]
    total = share.sum(-1, keepdims=True)
    share = np.divide(share, total, out=np.zeros_like(share), where=total > 0)
    layers = psi[:, 1:] - psi[:, :-1]  # northward above: minus what goes north below
    flux = (layers[..., None] * share).sum(0)
    found = jax.jit(ci.overturning, static_argnums=2)(
        Field(jnp.asarray(flux), "v"), jnp.asarray(basins), o.halos
    )
    open_rows = basins.sum(-1) > 0
    expected = np.where(open_rows[:, None], psi, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert open_rows.sum() > 15 and found.dtype == jnp.float64


def test_barotropic_stream_function_of_a_gyre():
    """Stommel's gyre (1948) in a closed basin: its own stream function comes back to round-off."""
    horizontal = CartesianGrid(24, 12, 100e3, 100e3, f0=1e-4, beta=2e-11, periodic=False)
    o = ocean(SerialCommunicator(), make_layout(SHAPE, 1, 1), horizontal, np.full(SHAPE, 1100.0))
    x, y = np.arange(25) / 24, np.arange(13) / 12
    d, a = 0.05, np.pi
    plus, minus = (-1 + s * np.sqrt(1 + (2 * a * d) ** 2) for s in (1, -1))
    plus, minus = plus / (2 * d), minus / (2 * d)
    p = (1 - np.exp(minus)) / (np.exp(plus) - np.exp(minus))
    psi = (
        3e7
        * np.sin(np.pi * y)[:, None]
        * (1 - p * np.exp(plus * x) - (1 - p) * np.exp(minus * x))[None]
    )
    psi[:, [0, -1]] = 0.0
    u = -(psi[1:] - psi[:-1])[:, :24]
    found = jax.jit(ci.barotropic_streamfunction, static_argnums=1)(
        Field(jnp.asarray(u), "u"), o.halos
    )
    np.testing.assert_allclose(found, psi[:12, :24], atol=1e-6)
    # The western boundary current is where the formula has it.
    assert 0 < np.asarray(found).max(0).argmax() < 6 and found.max() > 9e6


# ---- sections
def test_transport_does_not_depend_on_the_path(o):
    """A difference of the stream function, straight, by a detour, and backwards with the other
    sign."""
    psi = np.random.default_rng(4).normal(size=(13, 24)) * 1e7
    u, v = from_streamfunction(psi)
    u, v = Field(jnp.asarray(u), "u"), Field(jnp.asarray(v), "v")
    ends = (-47.0, -40.0), (61.0, 31.0)  # near the corners (2, 21) and (9, 4)
    paths = [ends, (ends[0], (100.0, -30.0), (20.0, 50.0), ends[1]), ends[::-1]]
    lines = tuple(sections.line(HORIZONTAL, p, o.tile) for p in paths)
    found = through(lines, u, v, o.halos)
    np.testing.assert_allclose(found, (psi[9, 4] - psi[2, 21]) * np.array([1, 1, -1]), rtol=1e-9)
    assert found[0] != 0


def test_sections_of_a_uniform_flow(o):
    """From west to east it counts what goes north; from north to south what goes east; also across
    longitude 0."""
    one, zero = (lambda at, x=x: Field(x, at) for x in (jnp.ones(SHAPE), jnp.zeros(SHAPE)))
    for points, north, east in (
        (((-45, 0), (60, 0)), 7, 0),
        (((60, 0), (-45, 0)), -7, 0),
        (((30, 40), (30, -20)), 0, 6),
        (((30, -20), (30, 40)), 0, -6),
        (((0, -30), (45, 0)), 3, -3),
    ):
        line = (sections.line(HORIZONTAL, points, o.tile),)
        count = lambda u, v: float(through(line, u, v, o.halos)[0])  # noqa: B023
        assert count(zero("u"), one("v")) == north and count(one("u"), zero("v")) == east, points


def test_useless_sections_are_refused():
    with pytest.raises(sections.SectionError, match="did you mean drake_passage"):
        sections.find_section("drake_pasage")
    with pytest.raises(sections.SectionError, match="two points"):
        sections.faces_along(HORIZONTAL, [(0, 0)])
    with pytest.raises(sections.SectionError, match=r"\(10, 80\) lies outside"):
        sections.faces_along(HORIZONTAL, [(10, 0), (10, 80)])
    plane = CartesianGrid(24, 12, 10e3, 10e3, periodic=False)
    assert len(sections.faces_along(plane, [(40, 30), (200, 30)])) == 16


@pytest.mark.parametrize("name", sorted(sections.NAMED))
def test_named_sections_run_from_land_to_land(name):
    """Ends lie on the continents of the real ocean at 1 degree: nothing flows round them."""
    points, _ = sections.find_section(name)
    grid = LatLonGrid.regular(360, 180, lat=(-90, 90))
    faces = sections.faces_along(grid, points, name)
    assert len({f[:3] for f in faces}) == len(faces) > 1


# ---- basins
@pytest.fixture(scope="module")
def earth():
    """Horizontal grid and wet columns of the 4-degree ocean."""
    from dogcm.setups import inputs
    from dogcm.setups.registry import load_config

    config = load_config("global_4deg")
    h = inputs.horizontal_grid(config)
    return h, inputs.cell_thickness(config, h, inputs.vertical_grid(config))[0] > 0


def test_basins_of_the_earth(earth):
    h, wet = earth
    names = ("global", "atlantic", "indo_pacific", "indian", "pacific")
    b = find_basins(h, wet, names)
    everything, atlantic, indo_pacific, indian, pacific = b.cells
    area = h.metrics(np.arange(40), np.arange(90)).area_c
    share = lambda m: (area * m).sum() / (area * wet).sum()
    assert (
        0.17 < share(atlantic) < 0.28
        and 0.4 < share(indo_pacific) < 0.6
        and share(indian) < share(pacific)
    )
    assert not (atlantic & indo_pacific).any() and not (indian & pacific).any()
    np.testing.assert_array_equal(indian | pacific, indo_pacific)
    at = lambda lon, lat: (int((lat + 80) // 4), int(lon % 360 // 4))
    assert all(atlantic[at(*p)] for p in ((-40, 30), (-20, -20), (0, 70), (-60, 25)))
    assert all(pacific[at(*p)] for p in ((-150, 0), (150, 20), (-100, -20))) and indian[at(80, -20)]
    # Nothing but the Southern Ocean leads from one to the other.
    assert (
        not (atlantic & np.roll(indo_pacific, 1, 1)).any()
        and not (atlantic & np.roll(indo_pacific, -1, 1)).any()
    )
    # The southern end counts what enters from the Southern Ocean: all of its row, once.
    row = np.flatnonzero(b.faces[1].any(1))[0]
    np.testing.assert_array_equal(b.faces[1][row] | b.faces[2][row], wet[row] & wet[row - 1])
    assert (
        (h.coordinates()["lat_v"][0][row]) == -32
        and (b.faces[0] == wet & np.roll(wet, 1, 0))[1:].all()
    )
    assert find_basins(h, wet).names == ("global", "atlantic", "indo_pacific")


def test_absent_and_unknown_basins_are_refused(earth):
    with pytest.raises(BasinError, match="did you mean atlantic"):
        check_basins(["atlntic"])
    plane = CartesianGrid(24, 12, 10e3, 10e3)
    with pytest.raises(BasinError, match="has no basin 'atlantic'"):
        find_basins(plane, np.ones(SHAPE), ["atlantic"])
    # One ocean all over: nothing tells the basins apart.
    assert find_basins(earth[0], np.ones((40, 90))).names == ("global",)


# ---- density classes
def test_density_classes_add_up_to_the_depth_integral(o):
    rng = np.random.default_rng(7)
    T, S = (
        Field(jnp.asarray(m + s * rng.normal(size=(4, *SHAPE))), "c")
        for m, s in ((10.0, 6.0), (35.0, 1.0))
    )
    depths = np.cumsum(DZ) - DZ / 2
    eos = TEOS10().prepare(depths, np.float64)
    # Some water is lighter, and some denser, than all edges.
    classes = ci.density_classes(eos, depths, 800.0, [29.0, 29.5, 30.25, 30.5])
    assert classes.level == 3
    basins, flux = halves(o), 1e6 * in_motion(o).v

    @jax.jit
    def both(flux, T, S):
        sigma = classes.density(eos, *exchange(o.halos, (T, 1), (S, 1)))
        sorted_ = classes.sort(flux, sigma)
        return sigma, ci.northward(sorted_, basins, o.halos), ci.northward(flux, basins, o.halos)

    sigma, by_class, by_layer = both(flux, T, S)
    assert by_class.shape == (2, 5, 12)
    np.testing.assert_allclose(by_class.sum(1), by_layer.sum(1), rtol=1e-12, atol=1e-6)
    assert (np.abs(np.asarray(by_class)).max((0, 2)) > 0).all()
    # What the second class gets, by hand.
    values = np.asarray(sigma.data)
    face = 0.5 * (values[:, 1:-1, 1:-1] + values[:, :-2, 1:-1])
    inside = np.where((face >= 29.0) & (face < 29.5), np.asarray(flux.data), 0.0)
    expected = (inside.sum(0) * np.asarray(basins)).sum(-1)
    np.testing.assert_allclose(by_class[:, 1], expected, rtol=1e-12, atol=1e-6)
    # Densities are those of the published polynomial at the layer's depth, but for thermobaricity
    # over 10 m.
    t, s = np.asarray(T.data), np.asarray(S.data)
    there = teos10_density(t, s, 800.0) + teos10_reference_profile(800.0) - 1000
    np.testing.assert_allclose(values[:, 1:-1, 1:-1], there, atol=5e-3)
    with pytest.raises(ValueError, match="must increase"):
        ci.density_classes(eos, depths, 0.0, [30.0, 29.0])


def test_derivatives_of_overturning(o):
    """Linear in the transport; through rows that other ranks hold as well."""
    flux, basins = in_motion(o).v, halves(o)
    number = jax.jit(lambda f: ci.overturning(flux.with_data(f), basins, o.halos)[0, 2, 5])
    slope = jax.jit(jax.grad(number))(flux.data)
    assert (
        jnp.vdot(slope, flux.data) == pytest.approx(float(number(flux.data)), rel=1e-12)
        and slope.any()
    )


def test_row_sums_do_not_hide_bad_values(o):
    values = np.ones((2, *SHAPE))
    values[1, 3, 4] = np.inf
    found = np.asarray(jax.jit(lambda x: exact_row_sums(o.halos, x))(values))
    np.testing.assert_array_equal(found[0], 24.0)
    assert np.isnan(found[1]).all()


# ---- monitor
def test_enstrophy_and_surface_temperature(monitor):
    """Solid-body rotation on a flat channel has vorticity 2 a sin(lat) / R everywhere inside."""
    flat = ocean(
        SerialCommunicator(),
        make_layout(SHAPE, 1, 1, periodic_x=True),
        HORIZONTAL,
        np.full(SHAPE, 1100.0),
    )
    g = flat.grid
    u = 0.5 * np.cos(np.deg2rad(np.asarray(g.lat_c.data)))[2:-2, 2:-2] * np.ones((4, 1, 1))
    warm = flat.state.temperature.with_data(flat.state.temperature.data.at[1:].add(-5.0))
    tracers = {"temperature": warm, "salinity": flat.state.salinity}
    reading = monitor(
        flat.state.replace(u=flat.state.u.with_data(jnp.asarray(u)), tracers=tracers), g
    )
    lat = np.deg2rad(np.asarray(HORIZONTAL.lat_edges)[1:-1])
    zeta = 2 * 0.5 * np.sin(lat) / HORIZONTAL.radius
    area = np.asarray(g.area_q.interior)[1:, 0]
    inside = 0.5 * (zeta**2 * area).sum() * 24 * 1100.0
    assert reading.enstrophy == pytest.approx(inside / reading.volume, rel=2e-2)
    assert reading.sst == pytest.approx(10.0, abs=1e-12) and reading.temperature < 6


def test_checksum_sees_one_bit_and_a_swap(o, monitor):
    state = in_motion(o)
    first = monitor(state, o.grid).checksum
    assert len(first) == 16 and first == monitor(state, o.grid).checksum
    u = np.array(state.u.data)
    k, j, i = np.argwhere(u != 0)[7]
    u[k, j, i] = np.nextafter(u[k, j, i], 1.0)
    changed = monitor(state.replace(u=state.u.with_data(jnp.asarray(u))), o.grid)
    assert changed.checksum != first and changed.heat == monitor(state, o.grid).heat
    eta = np.array(state.eta.data)
    (a, b), (c, d) = np.argwhere(eta != 0)[[3, 9]]
    eta[a, b], eta[c, d] = eta[c, d], eta[a, b]
    assert (
        monitor(state.replace(eta=state.eta.with_data(jnp.asarray(eta))), o.grid).checksum != first
    )


def test_runs_are_compared_to_the_bit(tmp_path):
    lines = ["step,time,heat,checksum", "1,3600.0,1.5,aa", "2,7200.0,2.5,bb", "3,10800.0,3.5,cc"]
    a, b = tmp_path / "a.csv", tmp_path / "b"
    a.write_text("\n".join(lines))
    b.mkdir()
    (b / "monitor.csv").write_text("\n".join(lines[:3]))
    same = compare(a, b)
    assert same.same and "2 steps" in same.text and "1 step in one" in same.text
    (b / "monitor.csv").write_text("\n".join([*lines[:2], "2,7200.0,2.5000000000000004,bd"]))
    found = compare(a, b)
    assert not found.same and "from step 2 on" in found.text and "1.8e-16" in found.text
    (tmp_path / "c.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StatsError, match="no monitor lines"):
        compare(a, tmp_path / "c.csv")
    with pytest.raises(FileNotFoundError, match="no such monitor file"):
        compare(a, tmp_path / "nothing")


# ---- layouts
def everything(o):
    """All numbers of a flow in motion, and its reading."""
    state, rng = in_motion(o), np.random.default_rng(11)
    t = o.tile
    sigma = 29.5 + 0.5 * rng.normal(size=(4, 14, *SHAPE[1:]))[:, t.j0 : t.j1 + 1, t.i0 : t.i1]
    density = Field(jnp.asarray(sigma), "c", Halo(s=1, n=0, w=0, e=0))
    classes = ci.DensityClasses(0, 0.0, (29.0, 29.5, 30.0))
    lines = tuple(
        sections.line(HORIZONTAL, p, t) for p in (((-47, -40), (61, 31)), ((0, 30), (170, 30)))
    )

    basins = halves(o)

    @jax.jit
    def numbers(state):
        u, v = state.u * o.grid.h_u * o.grid.dy_u, state.v * o.grid.h_v * o.grid.dx_v
        depth_u = u.with_data(u.data.sum(0))
        return (
            ci.overturning(v, basins, o.halos),
            ci.barotropic_streamfunction(depth_u, o.halos),
            ci.through(lines, u, v, o.halos),
            ci.northward(classes.sort(v, density), basins, o.halos),
        )

    return numbers(state), Monitor(o.halos, PHYSICS)(state, o.grid)


@pytest.mark.ranks(4)
@pytest.mark.mpi(min_size=2)
def test_the_same_bits_on_every_layout():
    comm = world()
    px = 2 if comm.size % 2 == 0 else 1
    layout = make_layout(SHAPE, px, comm.size // px, periodic_x=True, min_cells=2)
    one, many = everything(globe()), everything(globe(comm, layout))
    for a, b in zip(one[0], many[0]):
        np.testing.assert_array_equal(a, b)
        assert np.abs(np.asarray(a)).max() > 0
    assert one[1] == many[1]
