"""Regridding: conservation, exactness, periodicity, and messages that help."""

from __future__ import annotations

import numpy as np
import pytest

from dogcm.io import regrid

RNG = np.random.default_rng(7)


def faces(ny, nx, start=0.0):
    return np.linspace(-90, 90, ny + 1), start + np.linspace(0, 360, nx + 1)


def area(lat, lon):
    return np.diff(np.sin(np.deg2rad(lat)))[:, None] * np.deg2rad(np.diff(lon))


@pytest.mark.parametrize("start", [0.0, -180.0, 20.3, 380.0])
def test_conservative_average_keeps_the_integral(start):
    src, dst = faces(36, 60, start), faces(23, 47, 11.7)
    field = RNG.normal(size=(3, 36, 60))
    mean, cover = regrid.conservative_average(field, *src, *dst)
    assert np.allclose(cover, 1.0, atol=1e-13)
    before, after = (field * area(*src)).sum((1, 2)), (mean * area(*dst)).sum((1, 2))
    assert np.allclose(after, before, rtol=0, atol=1e-13)


def test_conservative_average_with_gaps_and_weights_keeps_the_integral():
    src, dst = faces(30, 40), faces(17, 29, -35.0)
    field = RNG.normal(size=(30, 40))
    weight = RNG.uniform(size=(30, 40))
    field[RNG.uniform(size=field.shape) < 0.3] = np.nan
    mean, cover = regrid.conservative_average(field, *src, *dst, weights=weight)
    before = np.nansum(field * weight * area(*src))
    assert np.isclose(np.nansum(mean * cover * area(*dst)), before, rtol=0, atol=1e-13)


def test_conservative_average_regional_cover():
    mean, cover = regrid.conservative_average(
        np.ones((4, 4)), np.linspace(0, 20, 5), np.linspace(350, 370, 5), [-10, 10], [-20, 20]
    )
    south = np.sin(np.deg2rad(10)) / (2 * np.sin(np.deg2rad(10)))
    assert np.isclose(mean, 1.0) and np.isclose(cover, south * 0.5)


def test_conservative_average_uncovered_is_nan_with_zero_cover():
    mean, cover = regrid.conservative_average(
        np.ones((2, 2)), [0, 5, 10], [0, 5, 10], [20, 30], [0, 10]
    )
    assert np.isnan(mean).all() and (cover == 0).all()


def test_conservative_average_same_grid_is_the_identity():
    grid = faces(12, 18)
    field = RNG.normal(size=(12, 18))
    mean, _ = regrid.conservative_average(field, *grid, *grid)
    assert np.allclose(mean, field, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "src_lon, message",
    [
        (np.linspace(0, 370, 5), "repeated"),
        (np.array([0, 90, 80, 270, 360.0]), "ascending"),
        (np.linspace(0, 360, 6), "shape"),
    ],
)
def test_conservative_average_refuses(src_lon, message):
    with pytest.raises(ValueError, match=message):
        regrid.conservative_average(
            np.ones((4, 4)), np.linspace(-90, 90, 5), src_lon, [-90, 90], [0, 360]
        )


def test_bilinear_is_exact_for_a_plane_and_keeps_leading_dimensions():
    lat, lon = np.linspace(-40, 40, 17), np.linspace(10, 100, 31)

    def plane(y, x):
        return 3.0 - 0.2 * y + 0.05 * x + 0.01 * x * y

    field = plane(lat[:, None], lon)
    y, x = RNG.uniform(-40, 40, (5, 6)), RNG.uniform(10, 100, (5, 6))
    out = regrid.bilinear(np.stack([field, 2 * field]), lat, lon, y, x - 360.0)
    assert out.shape == (2, 5, 6)
    assert np.allclose(out[0], plane(y, x), atol=1e-11)
    assert np.allclose(out[1], 2 * plane(y, x), atol=1e-11)


def test_bilinear_is_periodic_and_constant_at_the_poles():
    lat, lon = np.linspace(-87.5, 87.5, 36), np.arange(2.5, 360, 5)
    field = np.cos(np.deg2rad(lon)) + np.zeros((36, 1))
    y, x = np.array([[-90.0, 0.0, 90.0]]), np.array([[359.9, 0.0, 1.0]])
    out = regrid.bilinear(field, lat, lon, y, x)
    assert np.allclose(out, regrid.bilinear(field, lat, lon, y, x + 720), atol=1e-12)
    assert np.allclose(out, np.cos(np.deg2rad(2.5)), atol=1e-12)


def test_bilinear_interpolates_across_the_seam():
    lat, lon = np.array([-10.0, 10.0]), np.arange(0.0, 360, 30)
    field = np.arange(12.0) + np.zeros((2, 1))
    out = regrid.bilinear(field, lat, lon, np.zeros(3), np.array([337.5, -15.0, 352.5]))
    assert np.allclose(out, [11 * 0.75, 11 * 0.5, 11 * 0.25], atol=1e-12)


def test_bilinear_renormalises_around_gaps_and_does_not_extrapolate():
    field = np.array([[1.0, np.nan], [3.0, np.nan]])
    out = regrid.bilinear(field, [0, 10], [0, 10], [5.0, 5.0, 5.0, 50.0], [2.0, 10.0, 90.0, 5.0])
    assert np.isclose(out[0], 2.0) and np.isnan(out[1:]).all()


def test_fill_missing_keeps_known_values_and_range():
    field = RNG.normal(size=(2, 18, 36))
    field[:, 5:11, 20:30] = np.nan
    out = regrid.fill_missing(field)
    known = np.isfinite(field)
    assert np.array_equal(out[known], field[known]) and np.isfinite(out).all()
    for a, b in zip(out, field):
        assert np.nanmin(b) <= a.min() and a.max() <= np.nanmax(b)


def test_fill_missing_solves_laplace_in_the_gap_also_at_the_seam():
    field = RNG.normal(size=(8, 10))
    around = 0.25 * (field[3, 0] + field[5, 0] + field[4, 1] + field[4, 9])
    field[4, 0] = np.nan
    assert np.isclose(regrid.fill_missing(field)[4, 0], around, atol=1e-14)


def test_fill_missing_crosses_the_seam_and_obeys_the_mask():
    field = np.full((18, 36), np.nan)
    field[9, 35], field[9, 17] = 1.0, 2.0
    assert regrid.fill_missing(field, sweeps=0)[9, 0] == 1.0
    field[9, 0] = 99.0
    keep = field != 99.0
    assert regrid.fill_missing(field, keep, sweeps=0)[9, 0] == 1.0
    with pytest.raises(ValueError, match="missing everywhere"):
        regrid.fill_missing(np.full((4, 8), np.nan))


def test_interp_depth_is_exact_for_a_line_and_constant_outside():
    z = np.array([5.0, 20.0, 100.0, 1000.0])
    field = (2.0 - 0.01 * z)[:, None, None] * np.ones((4, 2, 3))
    want = np.array([0.0, 5.0, 60.0, 1000.0, 6000.0])
    out = regrid.interp_depth(field, z, want)
    assert np.allclose(out[:, 1, 2], 2.0 - 0.01 * np.clip(want, 5, 1000), atol=1e-14)
    with pytest.raises(ValueError, match="ascending"):
        regrid.interp_depth(field, z[::-1], want)


def test_a_region_across_the_seam_gives_nothing_beyond_its_cells():
    """From 20 W to 40 E: neither round the globe, nor farther than half a cell."""
    lat, lon = np.linspace(-10, 10, 5), np.arange(-20.0, 41.0, 10.0)
    field = lon + np.zeros((5, 1))
    x = np.array([-24.0, -26.0, -20.0, 355.0, 41.0, 46.0, 120.0, 180.0])
    out = regrid.bilinear(field, lat, lon, np.zeros(8), x)
    np.testing.assert_allclose(out, [-20, np.nan, -20, -5, 40, np.nan, np.nan, np.nan])


def test_a_plane_has_no_seam_and_no_poles():
    y, x = np.arange(50.0, 1000, 100), np.arange(50.0, 2000, 100)
    field = 2.0 + 3e-3 * x + 1e-3 * y[:, None]
    out = regrid.bilinear(
        field, y, x, np.full(3, 400.0), np.array([730.0, 1500.0, 3000.0]), plane=True
    )
    np.testing.assert_allclose(out, [2.0 + 2.19 + 0.4, 2.0 + 4.5 + 0.4, np.nan])
    edges = np.arange(0.0, 1001, 100), np.arange(0.0, 2001, 100)
    coarse = np.arange(0.0, 1001, 500), np.arange(0.0, 2001, 500)
    mean, cover = regrid.conservative_average(field, *edges, *coarse, plane=True)
    np.testing.assert_allclose(cover, 1.0)
    np.testing.assert_allclose(mean, field.reshape(2, 5, 4, 5).mean((1, 3)))
