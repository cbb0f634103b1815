"""Isoneutral diffusion and Gent-McWilliams: density, conservation, variance, tapering, derivatives,
layouts."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_bits import after

from dogcm.components.errors import ConfigError
from dogcm.decomp import Decomposition, Halo, SerialCommunicator, make_layout, world
from dogcm.decomp.binding import looks_like_mpi_launch
from dogcm.diagnostics.variables import find_variables
from dogcm.dynamics.continuity import convergence
from dogcm.field import Field, exchange
from dogcm.grid.geometry import build_grid
from dogcm.grid.grids import LatLon
from dogcm.halo import connect
from dogcm.learning.derivatives import check_derivatives
from dogcm.learning.parameters import LearnableError, LearnableSet
from dogcm.operators import diff_z_w2c, lower_z_c2w, upper_z_c2w
from dogcm.physics import isoneutral
from dogcm.physics.averaged_slopes import AveragedSlopes
from dogcm.physics.isoneutral import SlopeTaper
from dogcm.physics.vertical_mixing import implicit_solve
from dogcm.setups import inputs
from dogcm.setups.config import Config
from dogcm.simulation.model import Model

GRAVITY, RHO0, DT = 9.81, 1030.0, 4e7
NX, NY = 14, 11
LAYERS = [50.0, 80.0, 150.0, 300.0, 600.0]


def off(**values) -> dict:
    """All diffusivities zero but those given."""
    names = ("isoneutral_diffusivity", "gm_diffusivity", "isoneutral_floor", "lateral_diffusivity")
    return {n: jnp.asarray(float(values.get(n, 0.0))) for n in names}


@pytest.fixture(scope="module")
def sea():
    """A rough-bottomed ocean with partial cells and islands on the sphere: grid, halos and how to
    fill them."""
    rng = np.random.default_rng(5)
    grid_config = LatLon(nx=NX, ny=NY, lat=(-60, 60), layers=LAYERS)
    config = Config(
        grid=grid_config,
        bathymetry={},
        initial={},
        forcing={},
        physics={},
        time={},
        run={},
    )
    horizontal, vertical = inputs.horizontal_grid(config), inputs.vertical_grid(config)
    depth = rng.uniform(100.0, 1400.0, (NY, NX)) * (rng.uniform(size=(NY, NX)) > 0.15)
    cells = np.clip(depth - vertical.edges[:-1, None, None], 0.0, vertical.dz[:, None, None])
    comm = SerialCommunicator()
    decomposition = Decomposition(make_layout((NY, NX), 1, 1), comm)
    halos = connect(decomposition.layout, comm)
    grid = build_grid(horizontal, vertical, decomposition, cells, 2, Halo.of(3))

    def field(values):
        return exchange(halos, (Field(jnp.asarray(values), "c"), 2))[0] * grid.mask_c

    noise = lambda size: rng.normal(size=(len(LAYERS), NY, NX)) * size
    z = vertical.centres[:, None, None]
    T = field(20.0 - 12.0 * (1 - np.exp(-z / 400.0)) + noise(0.3))
    S = field(35.0 + 1.0 * np.tanh(z / 300.0) + noise(0.05))
    eta = exchange(halos, (Field(jnp.asarray(rng.normal(size=(NY, NX))), "c"), 2))[0] * grid.wet_c
    stretch = 1.0 + eta / (grid.depth_c + (1.0 - grid.wet_c))
    return SimpleNamespace(grid=grid, T=T, S=S, stretch=stretch, field=field, noise=noise)


def density_of(T, S):
    return (T - 8.0) * (-2e-4 * RHO0) + (S - 35.0) * (7.4e-4 * RHO0)


@functools.partial(jax.jit, static_argnames="taper")
def slopes(T, S, stretch, params, grid, taper):
    density = density_of(T, S)
    rise = lower_z_c2w(density) - upper_z_c2w(density)
    n2 = rise * (GRAVITY / RHO0 / grid.dz_w) / stretch * grid.mask_cw
    return isoneutral.prepare(density, n2, stretch, params, grid, taper, GRAVITY, RHO0)


def closure(sea, T, S, params, taper):
    """Slopes by a linear equation of state."""
    return slopes(T, S, sea.stretch, params, sea.grid, taper)


@jax.jit
def content_rate(c, iso, grid):
    """Of thickness times tracer, explicit part (unit m s-1)."""
    return convergence(*isoneutral.fluxes(c, iso, grid), grid)


@jax.jit
def step(c, iso, grid):
    """One step as the model does it: explicit part, then the implicit vertical one."""
    h = grid.h_c * 1.0
    content = (c * h + content_rate(c, iso, grid) * DT).crop(0)
    (out,) = implicit_solve([content], h, iso.vertical_diffusivity * (DT / grid.dz_w))
    return out * grid.mask_c


@pytest.mark.parametrize("kind", isoneutral.TAPERS)
def test_density_feels_no_isoneutral_diffusion(sea, kind):
    """Linear equation of state: temperature and salinity change, density does not, to round-off."""
    if kind == "clipping":
        taper = SlopeTaper(
            kind, max_slope=1.0
        )  # clipping mixes across neutral surfaces where it acts
    else:
        taper = SlopeTaper(
            kind, max_slope=1e-3 if kind == "gkw91" else 1e-2, critical=5e-4, width=2e-4
        )
    iso = closure(sea, sea.T, sea.S, off(isoneutral_diffusivity=1e3), taper)
    T, S = step(sea.T, iso, sea.grid), step(sea.S, iso, sea.grid)
    moved = float(jnp.abs((T - sea.T).data).max()) * 2e-4 * RHO0
    change = (density_of(T, S) - density_of(sea.T, sea.S)) * sea.grid.mask_c
    assert moved > 1e-3
    assert float(jnp.abs(change.data).max()) < 1e-12


@pytest.mark.parametrize("kind", isoneutral.TAPERS)
def test_tracers_are_conserved(sea, kind):
    params = off(
        isoneutral_diffusivity=800.0,
        gm_diffusivity=1500.0,
        isoneutral_floor=100.0,
        lateral_diffusivity=30.0,
    )
    iso = closure(sea, sea.T, sea.S, params, SlopeTaper(kind, max_slope=2e-3))
    g = sea.grid
    amount = lambda c: float(jnp.sum((c * g.h_c * g.area_c).interior))
    dye = sea.field(sea.noise(1.0) + 3.0)
    after = step(dye, iso, g)
    assert float(jnp.abs((after - dye).data).max()) > 1e-2
    assert abs(amount(after) - amount(dye)) < 1e-13 * amount(dye)
    assert (
        float(jnp.abs(step(sea.grid.mask_c * 7.0, iso, g).data - 7.0 * g.mask_c.interior).max())
        < 1e-13
    )


def variance_rate(sea, params, taper):
    """Half the rate of the volume integral of a tracer's square, all parts explicit, and its
    scale."""
    g = sea.grid
    iso = closure(sea, sea.T, sea.S, params, taper)
    dye = sea.field(sea.noise(1.0))
    vertical = (upper_z_c2w(dye) - lower_z_c2w(dye)) * iso.vertical_diffusivity / g.dz_w
    rate = content_rate(dye, iso, g) + diff_z_w2c(vertical)
    power = (rate * dye * g.area_c).interior
    return float(power.sum()), float(jnp.abs(power).sum())


def test_variance_is_kept_by_the_skew_flux_and_falls_by_isoneutral_diffusion(sea):
    total, size = variance_rate(sea, off(gm_diffusivity=1e3), SlopeTaper("gkw91"))
    assert abs(total) < 1e-13 * size
    for kind in isoneutral.TAPERS:
        total, size = variance_rate(sea, off(isoneutral_diffusivity=1e3), SlopeTaper(kind))
        assert total < -1e-3 * size


def test_vertical_part_has_the_sign_of_diffusion(sea):
    """Potential energy falls by Gent-McWilliams: dense water goes down on the whole."""
    g = sea.grid
    iso = closure(sea, sea.T, sea.S, off(gm_diffusivity=1e3), SlopeTaper("gkw91"))
    _, _, fz = isoneutral.fluxes(density_of(sea.T, sea.S) * g.mask_c, iso, g)
    assert float(jnp.sum((fz * g.area_c * g.dz_w).interior)) < 0


@pytest.fixture(scope="module")
def plane() -> Model:
    return Model(
        {
            "name": "plane",
            "grid": {
                "kind": "cartesian",
                "nx": 8,
                "ny": 6,
                "dx": 1e4,
                "dy": 2e4,
                "layers": [100.0, 150.0, 200.0, 250.0],
            },
            "bathymetry": {"source": "flat", "depth": 700.0},
        },
        {"physics.equation_of_state": "linear"},
        comm=SerialCommunicator(),
    )


def on_plane(model: Model, eddies, s: float, cy: float, cz: float):
    """Of neutral surfaces of slope ``s`` in y and a tracer with constant gradients: the vertical
    diffusivity, and the fluxes north and up."""
    g, vertical = model.grid, -1e-3  # d rho / dz, kg m-4
    y = (np.arange(6) + 0.5)[:, None] * 2e4 * np.ones((1, 8))
    z = -np.asarray(g.z_c)
    whole = lambda a: exchange(model.halos, (Field(jnp.asarray(a * np.ones((4, 6, 8))), "c"), 2))[0]
    density = whole(vertical * (z - s * y))
    rise = (lower_z_c2w(density) - upper_z_c2w(density)) * (GRAVITY / RHO0 / g.dz_w)
    params = {
        **off(),
        "isoneutral_diffusivity": jnp.asarray(700.0),
        "gm_diffusivity": jnp.asarray(1100.0),
    }
    flat = Field(jnp.ones((6, 8)), "c")
    stretch = exchange(model.halos, (flat, 2))[0]
    physics = SimpleNamespace(gravity=GRAVITY, rho0=RHO0)

    @jax.jit
    def found(density, n2, c):
        iso = eddies.prepare(density, n2, stretch, params, g, physics)
        return iso.vertical_diffusivity.interior, *(f.interior for f in eddies.fluxes(c, iso, g))

    down, _, fy, fz = map(np.asarray, found(density, rise, whole(cy * y + cz * z)))
    # From the coasts on, and per area.
    north = fy[:, 2:-1] / np.asarray((g.h_v * g.dx_v).interior)[:, 2:-1]
    return down[:, 1:-1], north, fz[:, 1:-1]


@pytest.mark.parametrize("eddies", [isoneutral.Isoneutral(), AveragedSlopes()])
def test_uniform_slope(plane, eddies):
    """A plane of constant slope s: the coefficients of Redi's tensor and the skew flux, exactly."""
    s, cy, cz = 2e-3, 3e-6, 2e-3
    down, fy, fz = on_plane(plane, eddies, s, cy, cz)
    expected = -(700.0 * cy + (700.0 - 1100.0) * s * cz)
    layers = slice(None) if isinstance(eddies, AveragedSlopes) else slice(1, -1)
    np.testing.assert_allclose(down, 700.0 * s * s, rtol=1e-9)
    np.testing.assert_allclose(fy[layers], expected, rtol=1e-9)
    np.testing.assert_allclose(fz[1:-1], -(700.0 + 1100.0) * s * cy, rtol=1e-9)


@pytest.mark.parametrize(
    "flat, first, last", [("none", 0.5, 0.5), ("surface", 1, 0.5), ("surface_and_bottom", 1, 1)]
)
def test_all_of_the_diffusivity_acts_in_the_outer_layers(plane, flat, first, last):
    eddies = isoneutral.Isoneutral(flat=flat)
    cy, cz, s = 3e-6, 2e-3, 2e-3
    level = on_plane(plane, eddies, 0.0, cy, cz)[1]
    np.testing.assert_allclose(level[:, 0, 0], [-700.0 * cy * n for n in (first, 1, 1, last)])
    # What is flat brings along nothing but diffusion, whatever the slope of the others.
    tilted = on_plane(plane, eddies, s, cy, cz)
    usual = on_plane(plane, isoneutral.Isoneutral(), s, cy, cz)
    more = [-700.0 * cy * n for n in (first - 0.5, 0, 0, last - 0.5)]
    np.testing.assert_allclose((tilted[1] - usual[1])[:, 0, 0], more, atol=1e-15)
    for n in (0, 2):
        np.testing.assert_array_equal(tilted[n], usual[n])


def test_tapers():
    slopes = np.array([0.0, 1e-3, 4e-3, 1e-2, 2e-2, 0.5])
    factor = lambda kind: np.asarray(SlopeTaper(kind).factor(jnp.asarray(slopes) ** 2))
    np.testing.assert_allclose(factor("gkw91"), [1, 1, 1, 1, 0.25, 4e-4], rtol=1e-12)
    np.testing.assert_allclose(
        factor("dm95"), 0.5 * (1 + np.tanh((4e-3 - slopes) / 1e-3)), atol=1e-4
    )
    assert (
        factor("dm95")[2] == pytest.approx(0.5)
        and (factor("none") == 1).all()
        and (factor("clipping") == 1).all()
    )


@pytest.mark.parametrize("kind", isoneutral.TAPERS)
def test_shares_of_a_triad(kind):
    """Weight times tapering over the rise, which counts as no less than makes the steepest
    slope."""
    taper, rise, weight = SlopeTaper(kind), 3e-4, 7.0
    slopes = np.array([0.0, 1e-3, 5e-3, 2e-2, -0.5])
    drop = jnp.asarray(slopes * rise)
    bounded = np.asarray(taper.bounded(rise, drop))
    np.testing.assert_allclose(
        bounded / rise, np.maximum(1.0, np.abs(slopes) / 1e-2) if kind == "clipping" else 1.0
    )
    expected = weight * taper.factor((slopes * rise / bounded) ** 2)
    np.testing.assert_allclose(
        taper.share(rise, drop, weight) * bounded, expected, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        taper.bounded_inverse(1 / rise, rise, drop) * bounded, 1.0, rtol=1e-12
    )


@pytest.mark.parametrize("kind", isoneutral.TAPERS)
def test_derivatives_of_shares_are_finite_in_float32(kind):
    """From the weakest stratification that counts, in thin layers, to the strongest, and any
    slope."""
    taper = SlopeTaper(kind)
    rise = np.float32(isoneutral._UNITS) * np.geomspace(1e-8, 10.0, 40, dtype=np.float32)[:, None]
    drop = rise * np.array([0, 1e-6, 1e-3, 1e-2, 1e-1, 1e3], np.float32)

    def total(r, d):
        share = taper.share(r, d, jnp.float32(200.0))
        return jnp.sum(share * d) + jnp.sum(share * d * d * taper.bounded_inverse(1 / r, r, d))

    value, found = jax.value_and_grad(total, (0, 1))(rise + 0 * drop, drop)
    assert value.dtype == np.float32 and np.isfinite(value)
    assert all(bool(jnp.isfinite(g).all()) for g in found)


# ---- averaged slopes
@functools.partial(jax.jit, static_argnames="eddies")
def averaged(T, S, stretch, q, grid, eddies):
    """What averaged slopes make of temperature, explicit part, and their vertical diffusivity."""
    density = density_of(T, S)
    rise = lower_z_c2w(density) - upper_z_c2w(density)
    n2 = rise * (GRAVITY / RHO0 / grid.dz_w) / stretch * grid.mask_cw
    physics = SimpleNamespace(gravity=GRAVITY, rho0=RHO0)
    tensor = eddies.prepare(density, n2, stretch, q, grid, physics)
    return convergence(*eddies.fluxes(T, tensor, grid), grid), tensor.vertical_diffusivity


def test_averaged_slopes_by_hand(sea):
    """Of one column in the middle: the vertical diffusivity from its own gradients."""
    g, K = sea.grid, 800.0
    q = off(isoneutral_diffusivity=K)
    down = averaged(sea.T, sea.S, sea.stretch, q, g, AveragedSlopes(max_slope=1e-3))[1]
    rho, mask, dx, dy = (
        np.asarray(f.interior) for f in (density_of(sea.T, sea.S), g.mask_c, g.dx_u, g.dy_v)
    )
    wet = lambda *at: mask[at] > 0
    checked = 0
    for k, j, i in np.ndindex(len(LAYERS) - 1, NY - 2, NX - 2):
        j, i = j + 1, i + 1
        if not (wet(k, j, i) and wet(k + 1, j, i)):
            continue
        x = y = 0.0
        for n in (k, k + 1):
            for w, e in ((i - 1, i), (i, i + 1)):
                if wet(n, j, w) and wet(n, j, e):
                    x += 0.25 * (rho[n, j, e] - rho[n, j, w]) / dx[j, e]
            for a, b in ((j - 1, j), (j, j + 1)):
                if wet(n, a, i) and wet(n, b, i):
                    y += 0.25 * (rho[n, b, i] - rho[n, a, i]) / dy[b, i]
        rise = max((rho[k + 1, j, i] - rho[k, j, i]) / float(g.dz_w[k].item()), 1e-9)
        square = (x * x + y * y) / rise**2
        expected = K * square * min(1.0, 1e-6 / square) if square else 0.0
        assert float(down.interior[k, j, i]) == pytest.approx(expected, rel=1e-9)
        checked += 1
    assert checked > 100


@pytest.mark.parametrize("kind", isoneutral.TAPERS)
def test_averaged_slopes_conserve(sea, kind):
    q = off(
        isoneutral_diffusivity=800.0,
        gm_diffusivity=1500.0,
        isoneutral_floor=100.0,
        lateral_diffusivity=30.0,
    )
    eddies = AveragedSlopes(taper=kind, max_slope=2e-3)
    rate, down = averaged(sea.T, sea.S, sea.stretch, q, sea.grid, eddies)
    moved = (rate * sea.grid.area_c).interior
    assert abs(float(moved.sum())) < 1e-12 * float(jnp.abs(moved).sum())
    assert bool((down.interior >= 0).all()) and float(jnp.abs(moved).max()) > 0


def test_derivatives_of_averaged_slopes(sea):
    params = off(isoneutral_diffusivity=800.0, gm_diffusivity=1500.0, lateral_diffusivity=30.0)
    eddies = AveragedSlopes(max_slope=2.5e-3)

    def tendencies(x):
        return averaged(x["T"], x["S"], sea.stretch, {**params, **x["q"]}, sea.grid, eddies)

    learned = {n: params[n] for n in ("isoneutral_diffusivity", "gm_diffusivity")}
    report = check_derivatives(tendencies, {"T": sea.T, "S": sea.S, "q": learned}, decades=3.0)
    assert report.passed, str(report)


def test_floor_where_slopes_are_tapered(sea):
    """All triads tapered away: what is left along layers is the floor."""
    taper = SlopeTaper("dm95", critical=-1.0, width=1e-3)
    iso = closure(
        sea,
        sea.T,
        sea.S,
        off(isoneutral_diffusivity=1e3, gm_diffusivity=1e3, isoneutral_floor=50.0),
        taper,
    )
    fx, _, fz = isoneutral.fluxes(sea.T, iso, sea.grid)
    from dogcm.physics.lateral import diffusive_fluxes

    np.testing.assert_allclose(
        fx.interior, diffusive_fluxes(sea.T, 50.0, sea.grid)[0].interior, rtol=1e-12
    )
    assert (
        float(jnp.abs(fz.data).max()) == 0
        and float(jnp.abs(iso.vertical_diffusivity.data).max()) == 0
    )


# ---- derivatives
def test_derivatives(sea):
    params = off(isoneutral_diffusivity=800.0, gm_diffusivity=1500.0, lateral_diffusivity=30.0)

    def tendencies(x):
        iso = closure(
            sea, x["T"], x["S"], {**params, **x["q"]}, SlopeTaper("gkw91", max_slope=2.5e-3)
        )
        return [content_rate(x["T"], iso, sea.grid), iso.vertical_diffusivity]

    for kind in ("gkw91", "dm95"):
        report = check_derivatives(SlopeTaper(kind).factor, jnp.asarray([9e-6, 1.44e-5, 2e-5]))
        assert report.passed, f"{kind}: {report}"
    learned = {n: params[n] for n in ("isoneutral_diffusivity", "gm_diffusivity")}
    report = check_derivatives(tendencies, {"T": sea.T, "S": sea.S, "q": learned}, decades=3.0)
    assert report.passed, str(report)


def test_derivatives_are_finite_without_stratification(sea):
    """The same water everywhere, but for land: no slope is defined."""
    params = off(isoneutral_diffusivity=800.0, gm_diffusivity=1500.0, isoneutral_floor=50.0)
    dye = sea.field(sea.noise(1.0))

    def loss(T, S, q):
        iso = closure(sea, T, S, q, SlopeTaper("gkw91"))
        return jnp.sum(content_rate(dye, iso, sea.grid).data ** 2) + jnp.sum(
            iso.vertical_diffusivity.data
        )

    found = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(
        sea.grid.mask_c * 5.0, sea.grid.mask_c * 35.0, params
    )
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(found))


def test_maps_of_coefficients(sea):
    """A map with the same value everywhere is the scalar."""
    params = off(isoneutral_diffusivity=800.0, gm_diffusivity=1500.0, isoneutral_floor=100.0)
    blank = sea.stretch * 0.0 + 1.0
    maps = {**params, "isoneutral_diffusivity": blank * 800.0, "gm_diffusivity": blank * 1500.0}
    rates = [
        content_rate(sea.T, closure(sea, sea.T, sea.S, q, SlopeTaper()), sea.grid)
        for q in (params, maps)
    ]
    np.testing.assert_allclose(rates[0].interior, rates[1].interior, rtol=1e-9, atol=1e-18)


# ---- in the model
SMALL = {
    "grid.nx": 24,
    "grid.ny": 18,
    "grid.nz": 4,
    "physics.eddies": "isoneutral",
    "physics.equation_of_state": "jmd95",
    "time.step": 7200,
    "parameters.isoneutral_floor": 50.0,
    "parameters.lateral_diffusivity": 0.0,
}


def test_bad_taper_is_refused():
    with pytest.raises(ConfigError, match="physics.eddies.taper"):
        Model("two_basin", {**SMALL, "physics.eddies.taper": "gkw"}, comm=SerialCommunicator())
    with pytest.raises(ConfigError, match="max_slope"):
        Model("two_basin", {**SMALL, "physics.eddies.max_slope": 0.0}, comm=SerialCommunicator())


# ---- values that differ with depth
def bumpy(sea, seed: int, size: float) -> Field:
    rng = np.random.default_rng(seed)
    return sea.field(rng.uniform(0.2, 2.0, (len(LAYERS), NY, NX)) * size)


def test_volumes_of_coefficients(sea):
    """A value per cell: uniform, it is the scalar; differing, density still feels no isoneutral
    diffusion, variance falls, and tracers are conserved."""
    scalars = off(isoneutral_diffusivity=800.0, gm_diffusivity=1500.0)
    ones = sea.grid.mask_c * 0.0 + 1.0
    same = {n: ones * v if float(v) else v for n, v in scalars.items()}
    rates = [
        content_rate(sea.T, closure(sea, sea.T, sea.S, q, SlopeTaper()), sea.grid)
        for q in (scalars, same)
    ]
    np.testing.assert_allclose(rates[0].interior, rates[1].interior, rtol=1e-9, atol=1e-18)
    K, taper = bumpy(sea, 3, 1e3), SlopeTaper("gkw91", max_slope=1e-3)
    iso = closure(sea, sea.T, sea.S, off() | {"isoneutral_diffusivity": K}, taper)
    T, S = step(sea.T, iso, sea.grid), step(sea.S, iso, sea.grid)
    assert float(jnp.abs((T - sea.T).data).max()) * 2e-4 * RHO0 > 1e-3
    change = (density_of(T, S) - density_of(sea.T, sea.S)) * sea.grid.mask_c
    assert float(jnp.abs(change.data).max()) < 1e-12
    total, _ = variance_rate(sea, off() | {"isoneutral_diffusivity": K}, taper)
    assert total < 0
    total, size = variance_rate(sea, off() | {"gm_diffusivity": bumpy(sea, 4, 1e3)}, taper)
    assert abs(total) < 1e-12 * size


def test_derivatives_of_volumes(sea):
    taper = SlopeTaper("gkw91", max_slope=2.5e-3)

    def tendencies(q):
        iso = closure(sea, sea.T, sea.S, off(lateral_diffusivity=30.0) | q, taper)
        return [content_rate(sea.T, iso, sea.grid), iso.vertical_diffusivity]

    start = {"isoneutral_diffusivity": bumpy(sea, 5, 8e2), "gm_diffusivity": bumpy(sea, 6, 1.5e3)}
    report = check_derivatives(tendencies, start)
    assert report.passed, str(report)


VOLUME = {**SMALL, "run.precision": "float64"}
BOTH = ("isoneutral_diffusivity", "gm_diffusivity")


def with_volumes(comm) -> Model:
    """Diffusivities that fade with depth and differ from column to column."""
    model = Model("two_basin", VOLUME, comm=comm)
    z = np.exp(-np.arange(4.0) / 2)[:, None, None]
    values = 800.0 * z * (1.2 + np.sin(np.arange(18.0))[:, None] * np.cos(np.arange(24.0)))
    wet = model.gather(model.grid.mask_c)
    for name, factor in zip(BOTH, (1.0, 2.0)):
        given = np.where(wet > 0, values * factor, np.nan) if comm.rank == 0 else None
        model.set_parameter(name, given)
    return model


@pytest.mark.slow
@pytest.mark.mpi(min_size=2)
@pytest.mark.ranks(2)
def test_volumes_on_tiles():
    """Given from one array: the same bits, and learned: the same slopes as on one rank."""

    def values(model):
        learn = LearnableSet([f"{name}: volume" for name in BOTH])
        raw, start = learn.initial(model.params, model.grid), model.state

        def share(raw):
            params = learn.apply(raw, model.params, model.halos, model.grid)
            last = model.step(start, params, model.forcing, model.grid)
            prior = learn.prior(raw, model.params, model.halos, model.grid)
            return jnp.sum(last.temperature.interior**2) + prior

        slopes = jax.jit(jax.grad(share))(raw)
        slopes = {n: model.gather(slopes[n]) for n in BOTH}
        return slopes, after(2)(model)

    comm = world()
    slopes, state = values(with_volumes(comm))
    wrong = []
    if comm.rank == 0:
        alone, expected = values(with_volumes(SerialCommunicator()))
        wrong += [n for n in expected if not np.array_equal(state[n], expected[n])]
        for name, slope in alone.items():
            size = np.abs(slope).max()
            close = np.allclose(slopes[name], slope, rtol=1e-9, atol=1e-11 * size)
            wrong += [] if size > 0 and close else [f"slope of {name}"]
    assert not comm.broadcast(wrong)


@pytest.mark.skipif(looks_like_mpi_launch(), reason="checked on one rank")
def test_values_that_do_not_fit_are_refused():
    model = Model("two_basin", SMALL, comm=SerialCommunicator())
    shape = (4, 18, 24)
    for name, values, says in (
        ("gm_diffusivty", 1.0, "no parameter"),
        ("isoneutral_floor", np.ones(shape), "cannot be a volume"),
        ("gm_diffusivity", np.ones((3, 18, 24)), "needs \\(4, 18, 24\\)"),
        ("gm_diffusivity", np.full(shape, np.nan), "missing at sea"),
        ("gm_diffusivity", np.full(shape, -1.0), "out of range"),
    ):
        with pytest.raises(ConfigError, match=says):
            model.set_parameter(name, values)
    model.set_parameter("gm_diffusivity", [800.0, 400.0, 200.0, 100.0])
    model.set_parameter("isoneutral_diffusivity", np.full(shape, 500.0))
    mixing = (SimpleNamespace(n2=None), None)
    scene = SimpleNamespace(
        dynamics=model.dynamics, grid=model.grid, params=model.params, mixing=mixing
    )
    seen = np.asarray(find_variables(["eddy_diffusivity"])[0].compute(scene).interior)
    h = np.asarray(model.grid.h_c.interior)
    profile = np.asarray(model.params["gm_diffusivity"])
    expected = (h * profile).sum(0) / np.maximum(h.sum(0), 1.0)
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    assert 100.0 < seen.max() < 800.0
    with pytest.raises(LearnableError, match="learn it as a volume"):
        LearnableSet(["isoneutral_diffusivity: map"]).initial(model.params, model.grid)
